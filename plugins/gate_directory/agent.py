"""A folder as target: releases beside each other, one link that says which is in place.

- ``<folder>/releases/<hex>/`` holds a release's files and ``manifest.json``; ``<folder>/current`` is a relative link to
  it. The link is swapped by rename: who reads ``current`` sees the old release or the new one, never half of one.
- The release before stays for a rollback; older ones go.
- ``probe`` (option) is a command, split like a shell would but run without one; ``{current}`` in it is the folder in
  place; exit code 0 within ``probe_s`` seconds (10) is good. The digests of the files in place are a probe too.

Needs a file system with symbolic links.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

from gate.hookspecs import Placed, Placing, Probed, ProbeResult, Target, hookimpl

PART = 1 << 20
DETAIL = 500


@hookimpl
def gate_agent_install(target: Target, placing: Placing) -> Placed:
    """The files go into a folder of their own; then the link moves."""
    before = _current(target.folder)
    if before == placing.release:
        return Placed(True, before, "in place already")
    home = target.folder / "releases"
    final = home / placing.release
    new = home / f".{placing.release}.new"
    shutil.rmtree(new, ignore_errors=True)
    _make(home)
    new.mkdir()
    files = []
    try:
        for artifact in placing.artifacts:
            _copy(placing.files[artifact.name], new / artifact.name, artifact.sha256)
            files.append({"name": artifact.name, "length": artifact.length, "sha256": artifact.sha256})
    except (OSError, ValueError):
        shutil.rmtree(new, ignore_errors=True)  # half of it may be what fills the disk
        raise
    (new / "manifest.json").write_text(json.dumps({"version": placing.version, "files": files}, indent=1))
    _sync(new / "manifest.json")
    _sync(new)
    if final.exists():
        shutil.rmtree(final)
    new.rename(final)
    _sync(home)
    _point(target.folder, placing.release)
    for old in home.iterdir():
        if old.name not in (placing.release, before):
            shutil.rmtree(old, ignore_errors=True)
    return Placed(True, placing.release)


@hookimpl
def gate_agent_rollback(target: Target, release: str, good: str) -> Placed:
    """The link goes back; without a release before, it is removed."""
    if not target.folder.is_dir():
        return Placed(False, "", "the folder is not there (not mounted?)")
    now = _current(target.folder)
    if now != release:
        return Placed(now == good, now, "" if now == good else "another release is in place")
    if not good:
        (target.folder / "current").unlink(missing_ok=True)
        _sync(target.folder)
        return Placed(True, "")
    if not (target.folder / "releases" / good).is_dir():
        return Placed(False, now, "the release before is not here any more")
    _point(target.folder, good)
    return Placed(True, good)


@hookimpl
def gate_agent_probe(target: Target) -> Probed:
    """The files in place are the release's, and the command, where there is one, is content with them."""
    release = _current(target.folder)
    probes = [_files(target.folder / "releases" / release)] if release else []
    if release and target.options.get("probe"):
        probes.append(_command(target, target.options["probe"]))
    return Probed(release, tuple(probes))


def _current(folder: Path) -> str:
    try:
        return os.path.basename(os.readlink(folder / "current"))
    except OSError:
        return ""


def _make(folder: Path) -> None:
    """The folder and those above it, each of them durable: a name that only its child is synced below can be lost."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _point(folder: Path, release: str) -> None:
    temporary = folder / ".current.new"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(Path("releases") / release)
    temporary.rename(folder / "current")
    _sync(folder)


def _copy(path: Path, to: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as source, to.open("xb") as copy:
        while part := source.read(PART):
            digest.update(part)
            copy.write(part)
        copy.flush()
        os.fsync(copy.fileno())
    if digest.hexdigest() != sha256:
        raise ValueError(f"{to.name} changed before it was put in place")


def _files(folder: Path) -> ProbeResult:
    try:
        listed = json.loads((folder / "manifest.json").read_text())["files"]
        wrong = [file["name"] for file in listed if _digest(folder / file["name"]) != file["sha256"]]
    except (OSError, ValueError, KeyError, TypeError) as problem:
        return ProbeResult("files", False, str(problem)[:DETAIL])
    return ProbeResult("files", not wrong, f"changed: {', '.join(wrong)}"[:DETAIL] if wrong else "")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def _command(target: Target, text: str) -> ProbeResult:
    current = str(target.folder / "current")
    words = [word.replace("{current}", current) for word in shlex.split(text)]
    limit = float(target.options.get("probe_s", "10"))
    try:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # a child that lives on may hold a pipe
            child = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=current, start_new_session=True
            )
            try:
                code = child.wait(limit)
            except subprocess.TimeoutExpired:
                _end(child)
                return ProbeResult("command", False, f"no answer within {limit:g} s")
            said = (_last(err) or _last(out)).decode(errors="replace").strip()[-DETAIL:]
    except OSError as problem:
        return ProbeResult("command", False, str(problem)[:DETAIL])
    return ProbeResult("command", code == 0, "" if code == 0 else said or f"exit {code}")


def _last(file: IO[bytes]) -> bytes:
    file.seek(max(file.seek(0, os.SEEK_END) - 4 * DETAIL, 0))
    return file.read(4 * DETAIL)


def _end(child: subprocess.Popen[bytes]) -> None:
    """It and its children."""
    if sys.platform == "win32":
        child.kill()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(1)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
