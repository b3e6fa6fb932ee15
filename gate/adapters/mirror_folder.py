"""The vendor mirror on disk: what stock clients fetch is a path of links that any file server can follow.

- ``at/<source>/<token>`` is a link to ``to/<source>/<holder>``, and that one to a view, a folder with a release's
  files. A token comes and goes by the first link, content moves by the second: one rename for all of its files.
- A file server says a file's own time as ``Last-Modified``, and clients take older content only where that time is
  newer than their copy. So a view has files of its own, whose time is the second after the pointer moved; a file
  system that can share blocks does so. At most ``VIEWS`` views a release: then the newest one is dated anew, and who
  has it already fetches the same bytes once more.
- What a plugin made for the moment of a move (a date that must go forward) is never dated anew: it gets a view more.
  What it made for one ring is another ring's only where it is the same bytes.
- Bytes are compared with their digest as they come into a view. What is no longer pointed to goes, but never what is.
- A token's name is the token itself, for a file server cannot hash: ``at/<source>`` may be entered and not listed.
- ``.moving`` is the lock of whoever moves, and counts how often anybody has: whoever remembers where a path leads looks
  there whether that still holds.
- The time of a token's link is when it was last used, to ten minutes; 1970: never.
- A token that is lent to a probe goes with the next tidying up after ``LENT``, where the probe died over it.
"""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from gate.core.errors import OperatorError
from gate.ports import Laid

VIEWS = 4
PART = 1 << 20
COUNT = 8  # bytes
LENT, LENT_S = "probe-", 3600.0
CLONE = 0x40049409  # FICLONE of Linux: the copy shares the blocks


class MirrorFolder:
    """The folder of one gate; ``blobs``: where artifacts lie by their digest."""

    def __init__(self, folder: Path, blobs: Path) -> None:
        self._folder = folder
        self._blobs = blobs

    def admit(self, source: str, token: str, holder: str) -> None:
        """From now on this token reads what its holder may have."""
        with self._locked():
            home = self._folder / "at" / source
            home.mkdir(parents=True, exist_ok=True)
            home.chmod(0o711)
            _link(home / token, Path("../../to") / source / holder)
            os.utime(home / token, (0, 0), follow_symlinks=False)

    def shut_out(self, source: str, sha256: str) -> bool:
        """A token is worth nothing any more; False where it is not here."""
        with self._locked():
            for link in self._tokens(source):
                if hashlib.sha256(link.name.encode()).hexdigest() == sha256:
                    link.unlink()
                    return True
        return False

    def admitted(self) -> set[tuple[str, str]]:
        """(source, sha256) of each token that is let in, but for those that are lent."""
        return {
            (home.name, hashlib.sha256(link.name.encode()).hexdigest())
            for home in (self._folder / "at").glob("*")
            for link in self._tokens(home.name)
            if not link.name.startswith(LENT)
        }

    def holders(self) -> set[tuple[str, str]]:
        """(source, holder) of each that is served something."""
        return {(link.parent.name, link.name) for link in (self._folder / "to").glob("*/*") if link.exists()}

    def used(self, source: str) -> dict[str, datetime]:
        """sha256 of a token -> when it was last used; those that were."""
        found = {}
        for link in self._tokens(source):
            with contextlib.suppress(OSError):
                at = link.lstat().st_mtime
                if at > 0:
                    found[hashlib.sha256(link.name.encode()).hexdigest()] = datetime.fromtimestamp(at, UTC)
        return found

    def begins(self, source: str) -> dict[str, str]:
        """sha256 of a token -> its first six characters."""
        return {hashlib.sha256(link.name.encode()).hexdigest(): link.name[:6] for link in self._tokens(source)}

    def stands(self, source: str, holder: str) -> str:
        """The release (hex) that a holder is served; empty: none."""
        return _release(self._view_of(source, holder))

    def point(self, source: str, holder: str, release: str, files: Sequence[Laid], now: datetime) -> bool:
        """Serves a holder this release (hex; empty: nothing) from now on; False where it is so already.

        Raises:
            OperatorError: bytes are missing, spoilt, or the folder cannot be written; the pointer stays where it is.
        """
        try:
            with self._locked():
                before = self._view_of(source, holder)
                if _release(before) == release:
                    return False
                pointer = self._folder / "to" / source / holder
                if not release:
                    pointer.unlink()
                    return True
                after = max(int(now.timestamp()), _moment(before)) + 1
                view = self._view(source, release, files, after)
                pointer.parent.mkdir(parents=True, exist_ok=True)
                _link(pointer, Path("../../views") / source / view.name)
                return True
        except OSError as problem:
            raise OperatorError("no_mirror", f"the mirror cannot be written: {problem}") from problem

    def lend(self, source: str, holder: str) -> str:
        """A token for a probe."""
        token = LENT + secrets.token_urlsafe(24)
        self.admit(source, token, holder)
        return token

    def paths(self, source: str, release: str) -> tuple[str, ...]:
        """What a client of a release may ask for, where it is laid out."""
        for view in (self._folder / "views" / source).glob(f"{release}.*"):
            return tuple(sorted(str(path.relative_to(view)) for path in view.rglob("*") if path.is_file()))
        return ()

    def taken(self, source: str) -> int:
        """Bytes of the views of a source."""
        size = 0
        for path in (self._folder / "views" / source).rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # tidied away meanwhile
                size += path.stat().st_size if path.is_file() else 0
        return size

    def tidy(self) -> int:
        """Removes views that no pointer leads to; returns how many."""
        with self._locked():
            for link in (self._folder / "at").glob(f"*/{LENT}*"):
                with contextlib.suppress(OSError):  # its probe has ended meanwhile
                    if time.time() - link.lstat().st_ctime > LENT_S:
                        link.unlink()
            named = {link.resolve() for link in (self._folder / "to").glob("*/*")}
            gone = [view for view in (self._folder / "views").glob("*/*") if view.resolve() not in named]
            for view in gone:
                shutil.rmtree(view, ignore_errors=True)
            return len(gone)

    def _tokens(self, source: str) -> list[Path]:
        home = self._folder / "at" / source
        return [link for link in home.iterdir() if link.is_symlink()] if home.is_dir() else []

    def _view_of(self, source: str, holder: str) -> Path | None:
        try:
            name = os.path.basename(os.readlink(self._folder / "to" / source / holder))
        except OSError:
            return None
        view = self._folder / "views" / source / name
        return view if view.is_dir() else None

    def _view(self, source: str, release: str, files: Sequence[Laid], after: int) -> Path:
        """A view of the release with these files, which are dated ``after`` (seconds since 1970) or later."""
        home = self._folder / "views" / source
        views = sorted(home.glob(f"{release}.*"), key=_moment)
        alike = [view for view in views if all(_shows(view, file) for file in files)]
        fitting = [view for view in alike if _moment(view) >= after]
        if fitting:
            return fitting[0]
        if len(alike) < VIEWS or any(file.made for file in files):
            numbers = {int(view.name.rpartition(".")[2]) for view in views}
            free = next(number for number in range(len(views) + 1) if number not in numbers)
            return self._made(home / f"{release}.{free}", files, after)
        _date(alike[-1], after)
        return alike[-1]

    def _made(self, view: Path, files: Sequence[Laid], after: int) -> Path:
        new = view.with_name(f".{view.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        try:
            for file in files:
                to = new / file.path
                to.parent.mkdir(parents=True, exist_ok=True)
                _bring(file.made or self._blobs / file.sha256, to, file.sha256)
            _date(new, after)
            new.rename(view)
            _sync(view.parent)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return view

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._folder / ".moving", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            try:
                yield
            finally:
                count = int.from_bytes(os.pread(handle, COUNT, 0), "little") + 1
                os.pwrite(handle, (count % (1 << 8 * COUNT)).to_bytes(COUNT, "little"), 0)
        finally:
            os.close(handle)


def _release(view: Path | None) -> str:
    return view.name.rpartition(".")[0] if view else ""


def _moment(view: Path | None) -> int:
    return int(view.stat().st_mtime) if view else 0


def _shows(view: Path, file: Laid) -> bool:
    """Has a view this very file, as it may have been made for one ring only?"""
    place = view / file.path
    return place.is_file() and (file.made is None or filecmp.cmp(place, file.made, shallow=False))


def _date(view: Path, moment: int) -> None:
    for path in [*view.rglob("*"), view]:
        os.utime(path, (moment, moment))


def _bring(blob: Path, to: Path, sha256: str) -> None:
    """The bytes as a file of its own, compared with their digest where they have one.

    Raises:
        OperatorError: they are not what they were.
    """
    with blob.open("rb") as source, to.open("w+b") as copy:
        try:
            fcntl.ioctl(copy.fileno(), CLONE, source.fileno())
        except OSError:
            shutil.copyfileobj(source, copy, PART)
        copy.flush()
        copy.seek(0)
        if sha256 and hashlib.file_digest(copy, "sha256").hexdigest() != sha256:
            raise OperatorError("changed_bytes", f"{to.name}: the stored bytes are not what they were")
        os.fsync(copy.fileno())


def _link(path: Path, to: Path) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(to)
    temporary.rename(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
