"""A rules tarball that nobody trusts, read as a stream; nothing is ever unpacked onto a disk.

- gzip and tar, as suricata-update reads it. Members are plain files and folders: no link, device, pipe or sparse file.
- A name is relative, without ``..``, backslash and control characters, and stands there once.
- Caps: ``MEMBERS``, and ``BYTES`` of the whole when unpacked, headers and padding included: a bomb ends there.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

MEMBERS = 5000
BYTES = 512 * 1024**2
NAME = re.compile(r"[^/\\\x00-\x1f\x7f\ud800-\udfff][^\\\x00-\x1f\x7f\ud800-\udfff]{0,254}\Z")


class BadTarball(Exception):
    """A tarball that is not taken, with the reason."""


class Capped:
    """A stream that ends with an error after so many bytes."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file = file
        self._left = most

    def read(self, size: int) -> bytes:
        """The next bytes.

        Raises:
            BadTarball: there are too many.
        """
        found = self._file.read(size)
        self._left -= len(found)
        if self._left < 0:
            raise BadTarball("it is too large when unpacked")
        return found


def rule_files(path: Path, most: int = BYTES) -> Iterator[tuple[str, bytes]]:
    """Name and content of each ``*.rules``, while the whole tarball is looked through.

    Raises:
        BadTarball: as soon as something is wrong with it.
    """
    names: set[str] = set()
    try:
        with gzip.open(path) as unpacked, tarfile.open(fileobj=Capped(unpacked, most), mode="r|") as tar:  # type: ignore[arg-type, call-overload]
            for member in tar:
                _plain(member, names)
                file = tar.extractfile(member) if member.name.endswith(".rules") and member.isfile() else None
                if file is not None:
                    yield member.name, file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, UnicodeError) as problem:
        raise BadTarball(f"it is no tar.gz: {type(problem).__name__}") from problem


def _plain(member: tarfile.TarInfo, names: set[str]) -> None:
    name = member.name.removeprefix("./")
    if not NAME.match(name) or ".." in name.split("/"):
        raise BadTarball(f"{name[:80]!r} is not a plain relative name")
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise BadTarball(f"{name[:80]!r} is a link, a device or a pipe")
    if name.casefold() in names and member.isfile():
        raise BadTarball(f"{name[:80]!r} is there twice")
    names.add(name.casefold())
    if len(names) > MEMBERS:
        raise BadTarball(f"it has more than {MEMBERS} members")
