"""A disk whose power fails: at the n-th step below a folder everything stops, and three worlds may be found afterwards.

- A step is a file or folder made, an ``fsync``, a rename, a link, a removal; the power fails before it is done.
- ``lost``: only what was made durable is there: a file's bytes as they were at its last ``fsync``, a folder's names as
  they were at the folder's last ``fsync``. ``torn``: all names are there, bytes that were not synced are there by half.
  ``kept``: all is there.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WORLDS = ("lost", "torn", "kept")
Entry = tuple[str, int, str]  # kind, inode, where a link leads


class PowerCut(BaseException):
    """Nothing runs any more; no plugin's edge catches it."""


class Disk:
    """A folder's durable shadow. ``left``: steps until the power fails; 0: it does not."""

    def __init__(self, root: Path, left: int = 0) -> None:
        self.root, self.left = root, left
        self.steps: list[str] = []
        self.dead = False
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, Entry]] = {}
        self._held: list[int] = []
        self._plain_open, self._plain_close = os.open, os.close
        for path in [root, *root.rglob("*")]:
            if path.is_symlink():
                continue
            self._hold(path)
            if path.is_dir():
                self._names[path.stat().st_ino] = self._scan(path)
            else:
                self._bytes[path.stat().st_ino] = path.read_bytes()

    def close(self) -> None:
        for handle in self._held:
            self._plain_close(handle)
        self._held.clear()

    def found_after(self, world: str) -> None:
        """What is below the folder once the power is back."""
        new = self.root.with_name(f"{self.root.name}.found")
        if world == "lost":
            self._build(self.root.stat().st_ino, new)
        else:
            shutil.copytree(self.root, new, symlinks=True)
            for path in [] if world == "kept" else self.root.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    content = path.read_bytes()
                    (new / path.relative_to(self.root)).write_bytes(
                        self._bytes.get(path.stat().st_ino, content[: len(content) // 2])
                    )
        shutil.rmtree(self.root)
        new.rename(self.root)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """The steps of this process are counted, and the power fails where it is to."""
        with contextlib.ExitStack() as undo:
            for module, name, new in self._watchers():
                old = getattr(module, name)
                setattr(module, name, new(old))
                undo.callback(setattr, module, name, old)
            yield

    def _watchers(self) -> list[tuple[Any, str, Callable[[Any], Any]]]:
        acts = ("rename", "replace", "unlink", "remove", "rmdir", "symlink", "link")
        found: list[tuple[Any, str, Callable[[Any], Any]]] = [(os, name, self._act(name)) for name in acts]
        found += [(os, "fsync", self._fsync), (os, "mkdir", self._mkdir), (os, "open", self._open)]
        return [*found, (io, "open", self._open_file), (builtins, "open", self._open_file)]

    def _step(self, what: str) -> None:
        if self.dead:
            raise PowerCut(what)
        self.steps.append(what)
        if self.left and len(self.steps) == self.left:
            self.dead = True
            raise PowerCut(what)

    def _act(self, name: str) -> Callable[[Any], Any]:
        def watcher(old: Any) -> Any:
            def act(*args: Any, **more: Any) -> Any:
                path = self._below(args[1] if name in ("rename", "replace", "symlink", "link") else args[0], more)
                if path:
                    self._step(f"{name} {path.name}")
                return old(*args, **more)

            return act

        return watcher

    def _mkdir(self, old: Any) -> Any:
        def act(path: Any, *args: Any, **more: Any) -> Any:
            below = self._below(path, more)
            if below and not below.exists():
                self._step(f"mkdir {below.name}")
            old(path, *args, **more)
            if below:
                self._hold(below)
                self._names[below.stat().st_ino] = {}

        return act

    def _open(self, old: Any) -> Any:
        def act(path: Any, flags: int, *args: Any, **more: Any) -> int:
            below = self._below(path, more) if flags & os.O_CREAT else None
            if below and not below.exists():
                self._step(f"make {below.name}")
            handle: int = old(path, flags, *args, **more)
            if below:
                self._hold(below)
            return handle

        return act

    def _open_file(self, old: Any) -> Any:
        def act(file: Any, mode: str = "r", *args: Any, **more: Any) -> Any:
            below = self._below(file, more) if set(mode) & set("wax") and not isinstance(file, int) else None
            if below:
                self._step(f"open {below.name}")
            found = old(file, mode, *args, **more)
            if below:
                self._hold(below)
            return found

        return act

    def _fsync(self, old: Any) -> Any:
        def act(handle: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{handle}"))
            if not path.is_relative_to(self.root):
                old(handle)
                return
            self._step(f"fsync {path.name}")
            found = os.fstat(handle)
            if stat.S_ISDIR(found.st_mode):
                self._names[found.st_ino] = self._scan(path)
            else:
                self._bytes[found.st_ino] = Path(f"/proc/self/fd/{handle}").read_bytes()

        return act

    def _below(self, path: Any, more: dict[str, Any]) -> Path | None:
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        whole = Path(os.fsdecode(path))
        folder = more.get("dir_fd") if more.get("dir_fd") is not None else more.get("dst_dir_fd")
        if folder is not None:
            whole = Path(os.readlink(f"/proc/self/fd/{folder}")) / whole
        return whole if whole.is_relative_to(self.root) else None

    def _hold(self, path: Path) -> None:
        """No inode's number is given away a second time."""
        self._held.append(self._plain_open(path, os.O_RDONLY))

    def _scan(self, folder: Path) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for one in os.scandir(folder):
            if one.is_symlink():
                found[one.name] = ("link", 0, os.readlink(one.path))
            else:
                found[one.name] = ("folder" if one.is_dir() else "file", one.inode(), "")
        return found

    def _build(self, folder: int, to: Path) -> None:
        to.mkdir(mode=0o700)
        for name, (kind, inode, leads) in self._names.get(folder, {}).items():
            path = to / name
            match kind:
                case "link":
                    path.symlink_to(leads)
                case "folder":
                    self._build(inode, path)
                case _:
                    path.write_bytes(self._bytes.get(inode, b""))
                    path.chmod(0o600)
