"""The read plane over HTTP: ``/metadata/`` and ``/content/`` from the published directory, in front of Flask.

- GET and HEAD only; a name that the layout does not know is 404, so no path ever leaves the directory.
- ETag and Last-Modified; ``If-None-Match`` and ``If-Modified-Since`` are answered before ``Range``.
- Whether ``timestamp.json`` is still what a caller has is answered from memory; the file's times are looked at again
  after 50 ms. A look at each request would give up the interpreter's lock each time, which costs more than the rest.
- A body is a list: the server sends one as a whole, and hands anything else on piece by piece, at 15 us a request.
- Versioned files are immutable for caches; ``timestamp.json`` must be asked for again; a 404 is never cached.
"""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

Start = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], Start], Iterable[bytes]]

SLUG = r"[a-z0-9][a-z0-9-]{0,40}"
METADATA = re.compile(r"/metadata/(timestamp|\d{1,10}\.[a-z0-9][a-z0-9-]{0,60})\.json\Z", re.ASCII)
CONTENT = re.compile(rf"/content/(blobs/[0-9a-f]{{64}}|{SLUG}/[0-9a-f]{{64}}\.[0-9a-f]{{64}}\.json)\Z", re.ASCII)
RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})\Z", re.ASCII)
TIMESTAMP = "/metadata/timestamp.json"
PART = 1 << 16
LOOK_AGAIN_S = 0.05
NEW = "no-cache"  # to be asked for again each time
FOR_EVER = "public, max-age=31536000, immutable"


class StaticPlane:
    """Answers the read plane's paths; every other path goes to ``inner``."""

    def __init__(self, folder: Path, inner: Wsgi) -> None:
        self._folder = str(folder)
        self._timestamp = self._folder + TIMESTAMP
        self._kept: tuple[float, str, list[tuple[str, str]]] = (-1.0, "", [])
        self._inner = inner

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == TIMESTAMP and "HTTP_IF_NONE_MATCH" in environ and (headers := self._if_same(environ)):
            start_response("304 Not Modified", headers)
            return []
        if not path.startswith(("/metadata/", "/content/")):
            return self._inner(environ, start_response)
        method = environ.get("REQUEST_METHOD", "GET")
        if method not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return []
        if not (METADATA.match(path) or CONTENT.match(path)):
            return missing(start_response)
        try:
            file = open(self._folder + path, "rb", opener=no_link)  # noqa: SIM115  (closed by who reads it)
        except OSError:
            return missing(start_response)
        kind = "application/json" if path.endswith(".json") else "application/octet-stream"
        return answer(file, kind, NEW if path == TIMESTAMP else FOR_EVER, environ, start_response)

    def _if_same(self, environ: dict[str, Any]) -> list[tuple[str, str]] | None:
        """The answer's headers, where the caller has this very file."""
        kept, now = self._kept, time.monotonic()
        if now > kept[0]:
            try:
                found = os.stat(self._timestamp, follow_symlinks=False)
            except OSError:
                return None
            kept = self._kept = (now + LOOK_AGAIN_S, _tag(found), _headers(found, NEW))
        same = environ["HTTP_IF_NONE_MATCH"] == kept[1] and environ["REQUEST_METHOD"] in ("GET", "HEAD")
        return kept[2] if same else None


def _tag(found: os.stat_result) -> str:
    return f'"{found.st_mtime_ns:x}-{found.st_size:x}"'


def _headers(found: os.stat_result, caching: str) -> list[tuple[str, str]]:
    return [
        ("ETag", _tag(found)),
        ("Last-Modified", _said(int(found.st_mtime))),
        ("Cache-Control", caching),
        ("Accept-Ranges", "bytes"),
        ("X-Content-Type-Options", "nosniff"),
    ]


@dataclass(frozen=True, slots=True)
class Kept:
    """What an answer says of a file, with its bytes where it is small."""

    body: bytes | None
    """None: it is large, and read for each answer that carries any of it."""
    tag: str
    modified: int
    exact: str
    """The same as a date, where the file's time is a whole second, as the mirror's are; else it could be another's."""
    headers: list[tuple[str, str]]
    whole: list[tuple[str, str]]
    kind: str


def kept(found: os.stat_result, body: bytes | None, kind: str, caching: str) -> Kept:
    """A file of these bytes; None: of more than are kept."""
    headers = _headers(found, caching)
    whole = [*headers, ("Content-Type", kind), ("Content-Length", str(found.st_size if body is None else len(body)))]
    exact = "" if found.st_mtime_ns % 10**9 else _said(int(found.st_mtime))
    return Kept(body, _tag(found), int(found.st_mtime), exact, headers, whole, kind)


def answer_kept(file: Kept, environ: dict[str, Any], start_response: Start) -> Iterable[bytes] | None:
    """As ``answer`` does, without a look at the disk; None: nothing is said yet, for bytes are wanted that are not
    kept."""
    if _unchanged(environ, file.tag, file.modified):
        start_response("304 Not Modified", file.headers)
        return []
    if file.body is None:
        return None
    if "HTTP_RANGE" in environ or environ.get("REQUEST_METHOD") == "HEAD":
        return _answer(io.BytesIO(file.body), file, len(file.body), environ, start_response)
    start_response("200 OK", file.whole)
    return [file.body]


def answer(file: BinaryIO, kind: str, caching: str, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """A file as GET or HEAD is answered: conditions first, then a single range. Closes it."""
    found = os.fstat(file.fileno())
    said = kept(found, None, kind, caching)
    if _unchanged(environ, said.tag, said.modified):
        file.close()
        start_response("304 Not Modified", said.headers)
        return []
    return _answer(file, said, found.st_size, environ, start_response)


def _answer(file: BinaryIO, said: Kept, size: int, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
    """All of it, a range of it, or only what is said of it. Closes it."""
    headers, first, last = said.headers, 0, size - 1
    status = "200 OK"
    asked = environ.get("HTTP_RANGE", "")
    if asked and environ.get("HTTP_IF_RANGE", said.tag) in (said.tag, said.exact):
        wanted = _range(asked, size)
        if wanted == "bad":
            file.close()
            bad = [("Content-Range", f"bytes */{size}"), ("Content-Length", "0")]
            start_response("416 Range Not Satisfiable", headers + bad)
            return []
        if isinstance(wanted, tuple):
            first, last = wanted
            status = "206 Partial Content"
            headers = [*headers, ("Content-Range", f"bytes {first}-{last}/{size}")]
    length = last - first + 1
    start_response(status, [*headers, ("Content-Type", said.kind), ("Content-Length", str(length))])
    if environ.get("REQUEST_METHOD") == "HEAD":
        file.close()
        return []
    if length <= PART:
        with file:
            file.seek(first)
            return [file.read(length)]
    return _parts(file, first, length)


def _parts(file: BinaryIO, first: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(first)
        while length > 0 and (part := file.read(min(PART, length))):
            length -= len(part)
            yield part


def _unchanged(environ: dict[str, Any], tag: str, modified: int) -> bool:
    asked = environ.get("HTTP_IF_NONE_MATCH")
    if asked is not None:
        return asked.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in asked.split(",")}
    since = environ.get("HTTP_IF_MODIFIED_SINCE")
    if not since:
        return False
    asked_since = _moment(since) if len(since) < 64 else None
    return asked_since is not None and modified <= asked_since


@lru_cache(4096)
def _said(moment: int) -> str:
    """Many ask for few files: their dates are written once."""
    return formatdate(moment, usegmt=True)


@lru_cache(4096)
def _moment(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def _range(asked: str, size: int) -> tuple[int, int] | str | None:
    """(first, last); ``bad`` when it cannot be satisfied; None when it is no single range and is ignored."""
    match = RANGE.match(asked.strip())
    if match is None or (not match[1] and not match[2]):
        return None
    if not match[1]:
        count = min(int(match[2]), size)
        return (size - count, size - 1) if count else "bad"
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < first:
        return None
    return (first, last) if first < size else "bad"


def missing(start_response: Start) -> Iterable[bytes]:
    """404, never to be cached."""
    body = b"not found\n"
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    start_response("404 Not Found", headers)
    return [body]


def no_link(path: str | bytes, flags: int) -> int:
    """Opens what is no link itself."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
