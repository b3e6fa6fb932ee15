"""The shelf: what has left the database, as compressed JSON lines beside it, one file a month and kind.

- Lines are only ever added, each batch as a gzip member of its own, synced before the rows leave the database.
- A crash between the two leaves a line twice, never none: readers go by the id (events: the index) in the line.
- A crash in the middle of a batch leaves a torn end, whose rows are still in the database: the next batch takes its
  place. A file that is spoilt elsewhere is never written to, and so nothing leaves the database until a person looks.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO

from gate.core.errors import OperatorError

CHUNK = 1 << 20
GZIP = 16 + zlib.MAX_WBITS


class FileShelf:
    """A folder of ``<kind>-<year>-<month>.jsonl.gz``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends: dict[Path, int] = {}

    def put(self, kind: str, lines: Sequence[bytes], now: datetime) -> None:
        """Adds lines, durably.

        Raises:
            OperatorError: the folder cannot be written, or the file is not what was written.
        """
        if not lines:
            return
        path = self._folder / f"{kind}-{now:%Y-%m}.jsonl.gz"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            with os.fdopen(handle, "r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                size = os.fstat(file.fileno()).st_size
                end = size if size == self._ends.get(path) else _sound_end(file)
                file.truncate(end)
                file.seek(end)
                try:
                    file.write(gzip.compress(b"".join(line + b"\n" for line in lines)))
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(end)
                    raise
                self._ends[path] = file.tell()
        except zlib.error as problem:
            raise OperatorError("bad_shelf", f"{path} is not sound: {problem}") from problem
        except OSError as problem:
            raise OperatorError("no_shelf", f"{path} cannot be written: {problem.strerror}") from problem

    def files(self) -> Iterator[Path]:
        """Each file, while nobody adds to it."""
        for path in sorted(self._folder.glob("*.jsonl.gz")):
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH)
                yield path

    def lines(self, kind: str) -> Iterator[bytes]:
        """Every line of a kind, oldest file first.

        Raises:
            OperatorError: a file is not what was written.
        """
        for path in sorted(self._folder.glob(f"{kind}-*.jsonl.gz")):
            try:
                with gzip.open(path, "rb") as file:
                    for line in file:
                        yield line.rstrip(b"\n")
            except (OSError, EOFError, zlib.error) as problem:
                raise OperatorError("bad_shelf", f"{path} is not sound: {problem}") from problem


def _sound_end(file: IO[bytes]) -> int:
    """Where the last batch that is whole ends; what follows was torn while it was written.

    Raises:
        zlib.error: a batch is there in full length and is not what was written.
    """
    member, end, read = zlib.decompressobj(GZIP), 0, 0
    while part := file.read(CHUNK):
        read += len(part)
        while part:
            member.decompress(part)
            part = member.unused_data
            if member.eof:
                end, member = read - len(part), zlib.decompressobj(GZIP)
    return end
