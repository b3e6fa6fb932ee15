"""A download on its way: the bytes that are here, and what they belong to. It outlives the call that began it."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from io import RawIOBase
from pathlib import Path

from urllib3.response import BaseHTTPResponse

NUMBER = re.compile(r"\d{1,15}\Z", re.ASCII)


def number(response: BaseHTTPResponse, header: str) -> int | None:
    """What a header says in digits; None: nothing that is a number."""
    said = response.headers.get(header, "")
    return int(said) if NUMBER.match(said) else None


@dataclass(slots=True)
class Part:
    """A download on its way: its bytes, and beside them what they belong to."""

    file: RawIOBase
    note: Path
    url: str
    length: int = 0
    etag: str = ""
    modified: str = ""

    def __post_init__(self) -> None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self.note.read_bytes())
            self.length = int(found["length"])
            self.etag, self.modified = str(found["etag"]), str(found["modified"])

    def have(self) -> int:
        """Bytes so far."""
        return self.file.seek(0, 2)

    def add(self, block: bytes) -> None:
        """All of it, or an ``OSError``: a disk that is nearly full takes a part."""
        rest = memoryview(block)
        while rest:
            rest = rest[self.file.write(rest) or 0 :]

    def validator(self) -> str:
        """What says that it is still the same file; empty: nothing does."""
        return self.etag if self.etag.startswith('"') else self.modified

    def asked(self, have: int) -> dict[str, str]:
        """The headers that ask for the rest."""
        if not have or not self.validator():
            return {}
        return {"Range": f"bytes={have}-", "If-Range": self.validator()}

    def goes_on(self, response: BaseHTTPResponse, have: int) -> bool:
        """Is this answer the rest of what is here?"""
        if self.etag and response.headers.get("ETag", self.etag) != self.etag:  # it knows no If-Range
            return False
        unit, _, span = response.headers.get("Content-Range", "").partition(" ")
        return (unit, span) == ("bytes", f"{have}-{self.length - 1}/{self.length}")

    def restart(self, response: BaseHTTPResponse) -> None:
        """From the first byte, as this answer describes the file."""
        self.file.truncate(0)
        self.length = (number(response, "Content-Length") or 0) if response.status == 200 else 0
        self.etag, self.modified = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
        told = {"url": self.url, "length": self.length, "etag": self.etag, "modified": self.modified}
        self.note.write_text(json.dumps(told))

    def forget(self) -> None:
        """It is whole, or no use."""
        self.note.unlink(missing_ok=True)
        self.etag = self.modified = ""

    def drop(self) -> None:
        """Gives the room back that it takes on a full disk."""
        self.file.truncate(0)
        self.forget()
