"""The vendor mirror over HTTP: ``/mirror/<source>/<token>/<name>`` from links on disk, in front of Flask.

- No database: a token is a link, and so is what its machine is served (see ``adapters.mirror_folder``). So a halted or
  held machine goes on being served what it was last released, also while nothing else of the gate works.
- ``Last-Modified`` is when the pointer moved; ``If-Modified-Since`` is answered before ``Range``; caches ask each time.
- An unknown token, also one that can be none, and one that nothing is released for yet, is 429 with a short
  ``Retry-After``. A 403 would make freshclam refuse this mirror for a day, also after the token is well again.
- A name that the release does not have is 404: stock clients ask for several and expect it.
- Small files are kept in memory by what they are on disk (device, inode, times, size): many tokens lead to one file.
  Of a large one only what an answer says of it is: *not modified* needs no look at the disk.
- Where a path leads is remembered for half a minute, but only until a pointer moves or a token comes or goes: that is
  counted in the folder, and the count is looked at each 50 ms. A look at the disk at each request would give up the
  interpreter's lock each time, which costs more than the rest. What is changed behind the gate's back takes that half
  minute.
- That a token is used is noted on its link, at most once in ten minutes a process.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, BinaryIO

from gate.hookvalues import PATH
from gate.web.static_plane import (
    LOOK_AGAIN_S,
    NEW,
    PART,
    SLUG,
    Kept,
    Start,
    Wsgi,
    answer,
    answer_kept,
    kept,
    missing,
    no_link,
)

PLACE = re.compile(rf"/mirror/({SLUG})/([A-Za-z0-9_-]{{20,64}})/({PATH})\Z", re.ASCII)
POINTER = re.compile(rf"/mirror/({SLUG}/[A-Za-z0-9_-]{{20,64}})/", re.ASCII)
RETRY_S = 60
NOTE_EVERY_S = 600.0
NOTED = 100_000
FILES = 256  # of at most 64 KiB
PATHS = 20_000
KNOWN_S = 30.0
COUNT, COUNT_BYTES = ".moving", 8
KIND = "application/octet-stream"
Known = dict[str, tuple[float, Kept]]
"""Path -> until when it is known to lead to these bytes."""


class MirrorPlane:
    """Answers the mirror's paths; every other path goes to ``inner``. ``clock``: seconds that only rise."""

    def __init__(self, folder: Path, inner: Wsgi, clock: Callable[[], float] = time.monotonic) -> None:
        self._at = str(folder / "at")
        self._counted = str(folder / COUNT)
        self._inner = inner
        self._clock = clock
        self._noted: dict[str, float] = {}
        self._files: dict[tuple[int, ...], Kept] = {}
        self._known: Known = {}
        self._count = b""
        self._again = clock()

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not path.startswith("/mirror/"):
            return self._inner(environ, start_response)
        if environ.get("REQUEST_METHOD", "GET") not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Length", "0")])
            return []
        now = self._clock()
        if now >= self._again:
            self._look_again(now)
        known = self._known
        found = known.get(path)
        if found is not None and now < found[0]:
            answered = answer_kept(found[1], environ, start_response)
            if answered is not None:
                return answered
        return self._looked_up(path, known, now, environ, start_response)

    def _look_again(self, now: float) -> None:
        """Forgets where paths lead, once the folder has moved anything. Who looks up meanwhile adds to the old dict."""
        try:
            with open(self._counted, "rb", buffering=0) as file:
                count = file.read(COUNT_BYTES)
        except OSError:
            count = b""
        if count != self._count or not count:
            self._known = {}
        self._count, self._again = count, now + LOOK_AGAIN_S

    def _looked_up(
        self, path: str, known: Known, now: float, environ: dict[str, Any], start_response: Start
    ) -> Iterable[bytes]:
        match = PLACE.match(path)
        if match is None:
            known_token = POINTER.match(path)
            there = known_token is not None and os.path.isdir(f"{self._at}/{known_token[1]}")
            return missing(start_response) if there else _later(start_response)
        pointer = f"{self._at}/{match[1]}/{match[2]}"
        place = os.fsencode(pointer) + b"/" + match[3].encode("latin-1", "replace")  # WSGI's way to hand over bytes
        try:
            found = os.stat(place, follow_symlinks=False)
            said = self._files.get(_key(found))
            file: BinaryIO | None = None
            if said is None:
                file = open(place, "rb", opener=no_link)  # noqa: SIM115  (closed by who reads)
                said = self._keep(file, found.st_size)
        except OSError:
            if os.path.isdir(pointer):
                self._note(pointer)
                return missing(start_response)
            return _later(start_response)
        self._note(pointer)
        if len(known) >= PATHS:
            known.clear()
        known[path] = now + KNOWN_S, said
        answered = answer_kept(said, environ, start_response)
        if answered is not None:
            if file is not None:
                file.close()
            return answered
        assert file is not None
        return answer(file, KIND, NEW, environ, start_response)

    def _keep(self, file: BinaryIO, size: int) -> Kept:
        """A file as it is now; a small one is read once."""
        found = os.fstat(file.fileno())
        if max(size, found.st_size) > PART:  # the pointer may have moved since ``size`` was seen
            return kept(found, None, KIND, NEW)
        with file:
            whole = kept(found, file.read(PART + 1), KIND, NEW)
        if len(self._files) >= FILES:
            self._files.clear()
        if whole.body is not None and len(whole.body) == found.st_size:
            self._files[_key(found)] = whole
        return whole

    def _note(self, pointer: str) -> None:
        now = time.monotonic()
        if now < self._noted.get(pointer, 0.0):
            return
        if len(self._noted) >= NOTED:
            self._noted.clear()
        self._noted[pointer] = now + NOTE_EVERY_S
        with contextlib.suppress(OSError):  # a read-only disk serves all the same
            os.utime(pointer, follow_symlinks=False)


def _key(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _later(start_response: Start) -> Iterable[bytes]:
    body = b"nothing is released for this token\n"
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
    start_response("429 Too Many Requests", [*headers, ("Retry-After", str(RETRY_S)), ("Cache-Control", "no-store")])
    return [body]
