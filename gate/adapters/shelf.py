"""The shelf: what has left the database, as compressed JSON lines beside it, one file a month and kind.

- Lines are only ever added, each batch as a gzip member of its own, synced before the rows leave the database.
- A crash between the two leaves a line twice, never none: readers go by the id (events: the index) in the line.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from gate.core.errors import OperatorError


class FileShelf:
    """A folder of ``<kind>-<year>-<month>.jsonl.gz``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, kind: str, lines: Sequence[bytes], now: datetime) -> None:
        """Adds lines, durably.

        Raises:
            OperatorError: the folder cannot be written.
        """
        if not lines:
            return
        path = self._folder / f"{kind}-{now:%Y-%m}.jsonl.gz"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(handle, "ab") as file:
                size = os.fstat(file.fileno()).st_size
                try:
                    file.write(gzip.compress(b"".join(line + b"\n" for line in lines)))
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(size)
                    raise
        except OSError as problem:
            raise OperatorError("no_shelf", f"{path} cannot be written: {problem.strerror}") from problem

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
