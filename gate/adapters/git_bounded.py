"""The objects of a git repository, of which none is inflated that is larger than ``MOST`` bytes, or is made of such.

Git's sizes stand before the bytes: a loose object's in its first ones, a packed one's in its entry, where for a delta
that of what it makes follows in its own first bytes. Dulwich inflates no more than an object says of itself.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from dulwich.object_store import DiskObjectStore
from dulwich.objects import ObjectID, RawObjectID, hex_to_filename, sha_to_hex
from dulwich.pack import OFS_DELTA, REF_DELTA, Pack
from dulwich.repo import Repo

MOST = 1024 * 1024
HEADER = 64
TABLE = 1024
"""Compressed bytes that give the first ``HEADER``: a table of codes takes at most some 300 (RFC 1951, 3.2.7)."""
LONGEST_CHAIN = 4095
"""The longest chain of deltas that git makes."""


class TooLarge(ValueError):
    """An object is larger than is read here."""


class BoundedObjects(DiskObjectStore):
    """What ``Repo`` opens, with a limit."""

    @classmethod
    def of(cls, repo: Repo) -> BoundedObjects:
        """The objects of an opened repository, in its place."""
        found = repo.object_store
        assert isinstance(found, DiskObjectStore)
        made = cls.from_config(found.path, repo.get_config(), shared_perm=found.shared_perm)
        assert isinstance(made, BoundedObjects)
        made.loose_object_size_limit = MOST + HEADER
        return made

    def get_raw(self, name: RawObjectID | ObjectID) -> tuple[int, bytes]:
        """As in ``DiskObjectStore``.

        Raises:
            TooLarge: nothing of it is inflated. KeyError: no such object.
        """
        for pack in self.packs:
            for size in _packed(pack, name):
                _within(size, name)
        path = Path(hex_to_filename(str(self.path), _hex(name)))
        if path.is_file():
            _within(_loose(path), name)
        return super().get_raw(name)


def _within(size: int, name: RawObjectID | ObjectID) -> None:
    if size > MOST:
        raise TooLarge(f"{_hex(name)[:12].decode()} is larger than {MOST} bytes, or is made of what is")


def _hex(name: RawObjectID | ObjectID) -> ObjectID:
    return sha_to_hex(RawObjectID(name)) if len(name) == 20 else ObjectID(name)


def _loose(path: Path) -> int:
    """What a loose object says of its size, in bytes."""
    with path.open("rb") as file:
        said = _first(file)
    return int(said.partition(b"\0")[0].split(b" ")[1])


def _first(file: BinaryIO) -> bytes:
    """The first ``HEADER`` bytes of what is compressed from here on; a table of codes stands before them."""
    return zlib.decompressobj().decompress(file.read(TABLE), HEADER)


def _packed(pack: Pack, name: RawObjectID | ObjectID) -> Iterator[int]:
    """The sizes, in bytes, of an entry, of what it makes and of those that it is made of; none: it is not here."""
    try:
        place = pack.index.object_offset(name)
    except KeyError:
        return
    with Path(pack.data.path).open("rb") as file:
        for _ in range(LONGEST_CHAIN):
            file.seek(place)
            kind, size = _entry(file)
            yield size
            if kind == OFS_DELTA:
                place -= _back(file)
            elif kind == REF_DELTA:
                place = pack.index.object_offset(RawObjectID(file.read(20)))
            else:
                return
            yield _made(file)
    raise TooLarge(f"{_hex(name)[:12].decode()} is made of more than {LONGEST_CHAIN} deltas")


def _entry(file: BinaryIO) -> tuple[int, int]:
    """(kind, size) of the entry that begins here; its size is four bits, then seven a byte, the lowest first."""
    byte = file.read(1)[0]
    kind, size, shift = byte >> 4 & 7, byte & 15, 4
    while byte & 0x80:
        byte = file.read(1)[0]
        size |= (byte & 0x7F) << shift
        shift += 7
    return kind, size


def _back(file: BinaryIO) -> int:
    """How far before a delta its base stands."""
    byte = file.read(1)[0]
    far = byte & 0x7F
    while byte & 0x80:
        byte = file.read(1)[0]
        far = (far + 1 << 7) + (byte & 0x7F)
    return far


def _made(file: BinaryIO) -> int:
    """The size of what the delta that begins here makes: the second number in it."""
    said = _first(file)
    ends = [place for place, byte in enumerate(said) if not byte & 0x80]
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(said[ends[0] + 1 : ends[1] + 1]))
