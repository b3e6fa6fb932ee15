"""What lies in a drop folder: which drops, and what each of them announces.

- ``manifest.json`` is ``{"version": "...", "files": [{"name", "length", "sha256"}]}``; no other keys.
- A name is one plain file name: no path, no leading dot, no control characters. Links are refused everywhere.
- Where a drop folder is a mounted share, what goes wrong with it is said in those words: stale, silent, not mounted.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.hookspecs import Announced, Candidate

NAME = re.compile(r"[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]{0,199}\Z")
UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
DIGEST = re.compile(r"[0-9a-f]{64}\Z")
MAX_MANIFEST = 1024 * 1024
MAX_FILES = 10_000
READY, WITHDRAWN, MANIFEST, SIGNATURE = "READY", "WITHDRAWN", "manifest.json", "manifest.json.minisig"
OURS = (READY, WITHDRAWN, MANIFEST, SIGNATURE)
SILENT = (errno.EIO, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNABORTED)


class BadDrop(Exception):
    """A drop, or a folder of drops, that cannot be taken, with the reason."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A drop as its folder lists it, no byte read: name -> (kind and rights, size, time, inode). ``problem``: why it
    cannot be listed."""

    name: str
    files: Mapping[str, tuple[int, int, int, int]]
    problem: str = ""

    @property
    def complete(self) -> bool:
        """Not half-written; what cannot be listed must be told."""
        return bool(self.problem) or READY in self.files


def seen(folder: Path) -> Iterator[Seen]:
    """Every drop, by name.

    Raises:
        BadDrop: the folder is not there, or its share does not answer.
    """
    try:
        with os.scandir(folder) as listed:
            drops = sorted((one for one in listed if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError as problem:
        raise BadDrop(f"{folder}: {said(problem)}") from problem
    for drop in drops:
        if drop.is_symlink():
            yield Seen(drop.name, {}, "is a link")
        elif drop.is_dir(follow_symlinks=False):
            try:
                yield Seen(drop.name, _files(drop.path))
            except OSError as problem:
                yield Seen(drop.name, {}, said(problem))


def said(problem: OSError) -> str:
    """What is wrong, and what helps where the folder is a share."""
    if problem.errno == errno.ESTALE:
        return "the share is stale, its server has changed below it: unmount it and mount it again"
    if problem.errno in SILENT:
        return f"the share does not answer ({problem.strerror}): look at its server and at the mount"
    if problem.errno == errno.ENOENT:
        return "it is not there; a share: is it mounted?"
    return problem.strerror or str(problem)


def mounted(folder: Path) -> bool:
    """Whether it lies on anything that is mounted below the root."""
    return any(os.path.ismount(place) for place in (folder, *folder.parents) if place != Path(folder.anchor))


def read_manifest(raw: bytes, where: str, max_bytes: int) -> Candidate:
    """What a drop's manifest announces.

    Raises:
        BadDrop: with the reason.
    """
    found = _object(raw)
    version, files = found.get("version"), found.get("files")
    if set(found) != {"version", "files"} or not isinstance(version, str) or not isinstance(files, list):
        raise BadDrop("manifest.json is not {version, files}")
    if not 1 <= len(version) <= 128 or UNSTORABLE.search(version):
        raise BadDrop("version is empty, too long or has control characters")
    if not 1 <= len(files) <= MAX_FILES:
        raise BadDrop(f"manifest.json lists {len(files)} files")
    artifacts = tuple(_announced(file) for file in files)
    names = [artifact.name for artifact in artifacts]
    if len({name.casefold() for name in names}) != len(names):
        raise BadDrop("a name is listed twice")
    if sum(artifact.length for artifact in artifacts) > max_bytes:
        raise BadDrop(f"larger than {max_bytes} bytes")
    return Candidate(version, artifacts, where)


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_MANIFEST:
        raise BadDrop("manifest.json is too large")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise BadDrop("manifest.json is not JSON") from problem
    if not isinstance(found, dict):
        raise BadDrop("manifest.json is not an object")
    return found


def _announced(file: Any) -> Announced:
    if not isinstance(file, dict) or set(file) != {"name", "length", "sha256"}:
        raise BadDrop("a file is not {name, length, sha256}")
    name, length, digest = file["name"], file["length"], file["sha256"]
    if not isinstance(name, str) or not NAME.match(name) or UNSTORABLE.search(name) or name in OURS:
        raise BadDrop(f"{str(name)[:80]!r} is not a plain file name")
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise BadDrop(f"{name}: length is not a number of bytes")
    if not isinstance(digest, str) or not DIGEST.match(digest):
        raise BadDrop(f"{name}: sha256 is not 64 lower case hex digits")
    return Announced(name, length, digest)


def plain(path: Path, *, keep: bool = False) -> int:
    """Opens a regular file, never through a link; returns the handle where it is kept, else -1."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise BadDrop(f"{path.name} is missing, a link or not readable ({said(problem)})") from problem
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BadDrop(f"{path.name} is not a plain file")
    if keep:
        return handle
    os.close(handle)
    return -1


def _files(path: str) -> dict[str, tuple[int, int, int, int]]:
    found = {}
    with os.scandir(path) as listed:
        for one in listed:
            told = one.stat(follow_symlinks=False)
            found[one.name] = (told.st_mode, told.st_size, told.st_mtime_ns, told.st_ino)
    return found
