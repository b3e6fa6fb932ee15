"""The only way out for a source: https to hosts that the policy names, at addresses that were checked, within caps.

- Each address that a name resolves to is checked by ``addresses``; one that is refused refuses them all. The
  connection goes to a checked address itself: nobody resolves a second time. TLS is held to the name.
- Redirects are followed hop by hop, each as a new address; another host is told no header but those of ``TOLD``.
- Where one of several addresses fails, the next is asked; what is no mere question (``send``) only where nothing of it
  can have gone out.
- Proxies, cookies and netrc of the environment do not exist here. Encoded bodies are refused: what is counted is
  what is written.
- Caps: bytes and time of one call, bytes a second, requests, hops, tries. A server that drips is cut by the time.
- A download that is cut off goes on with ``Range`` and ``If-Range``; where the call's time is over it is *unfinished*
  and goes on with the next call, if the server gave it an ETag or a date.
- A download leaves ``spare`` bytes of its disk free, however long it is said to be, and gives up what it has for that.
- Plain http, and addresses of this machine, only where the setting ``loopback_sources`` lets them, for tests.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar
from urllib.parse import SplitResult, urljoin, urlsplit

import certifi
import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError
from urllib3.response import BaseHTTPResponse

from gate.adapters.addresses import is_loopback, refused
from gate.adapters.egress_part import Part, number
from gate.hookspecs import Answer, Fetched, Status

T = TypeVar("T")
PART = 1 << 16
WAIT_S = 30.0  # for the next bytes, or as Retry-After says
QUESTIONS = ("GET", "HEAD")
REDIRECTS = (301, 302, 303, 307, 308)
LATER = (429, 502, 503, 504)
TOLD = ("accept", "accept-language", "range", "if-range", "if-match", "if-none-match", "if-modified-since")
"""Headers that any host may hear: the vendor's keys have many names."""


class Refused(OSError):
    """Against the rules of this module; trying again would not help."""


class Unfinished(OSError):
    """The time is up; the download goes on with the next call."""


class NoRoom(OSError):
    """The disk is too full for the rest of a download."""


class Late(OSError):
    """The call's time is over."""


class Cut(OSError):
    """The line broke, or the server is busy: worth another try. ``after_s``: what the server asked for."""

    def __init__(self, said: str, after_s: float = 0.0) -> None:
        super().__init__(said)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Caps:
    """Of one call. ``per_second``: bytes; 0: as fast as it goes. ``spare``: bytes of the disk that stay free."""

    bytes: int
    seconds: float
    per_second: int = 0
    requests: int = 1000
    hops: int = 5
    tries: int = 4
    spare: int = 0


def resolved(host: str, port: int) -> list[str]:
    """Every address of a name, as the system resolves it."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        raise Cut(f"{host} does not resolve") from problem
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def free(file: int) -> int:
    """Bytes that are free on an open file's disk."""
    found = os.fstatvfs(file)
    return found.f_bavail * found.f_frsize


@lru_cache(maxsize=1)
def trusting() -> ssl.SSLContext:
    """Whom TLS trusts; reading it takes longer than most looks."""
    return ssl.create_default_context(cafile=certifi.where())


@dataclass(frozen=True, slots=True)
class World:
    """What a test puts in place of the real thing."""

    resolve: Callable[[str, int], Sequence[str]] = resolved
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    jitter: Callable[[], float] = random.random
    context: ssl.SSLContext | None = None
    free: Callable[[int], int] = free


class Egress:
    """The network of one call."""

    def __init__(
        self, hosts: Sequence[str], caps: Caps, *, parts: Path, loopback: bool = False, world: World | None = None
    ) -> None:
        self._hosts = frozenset(hosts)
        self._caps = caps
        self._parts = parts
        self._loopback = loopback
        self._world = world or World()
        self._began = self._world.clock()
        self._bytes = self._requests = 0
        self._context = self._world.context or trusting()

    def get(self, url: str, *, most: int = 4 * 1024**2, headers: Mapping[str, str] | None = None) -> Answer:
        """A small document; 200 or 304.

        Raises:
            OSError: anything else.
        """

        def once() -> Answer:
            with self._opened(url, headers or {}) as response:
                _must(response, url, 200, 304)
                body = b"".join(self._read(response, most)) if response.status == 200 else b""
                _whole(response, len(body))
                return Answer(response.status, _headers(response), body)

        return self._tried(once)

    def send(self, method: str, url: str, *, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """One call, once; every status below 500 is an answer.

        Raises:
            OSError: no answer, or a status from 500 on.
        """
        with self._hop(method, url, headers or {}, body) as response:
            if response.status >= 500:
                raise Cut(f"{_place(url)} answered {response.status}")
            return Answer(response.status, _headers(response), b"".join(self._read(response, 4 * 1024**2)))

    def download(self, url: str, to: Path, *, most: int, headers: Mapping[str, str] | None = None) -> Fetched:
        """A file, which goes on where it was cut.

        Raises:
            Unfinished: the next call goes on with it. OSError: anything else.
        """
        self._parts.mkdir(parents=True, exist_ok=True)
        path = self._parts / sha256(url.encode()).hexdigest()[:32]
        with path.open("a+b", buffering=0) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                raise Unfinished(f"{_place(url)}: another process is at it") from problem
            part = Part(file, path.with_suffix(".json"), url)
            try:
                self._tried(lambda: self._more(part, most, headers or {}), part)
            except OSError as problem:
                if isinstance(problem, NoRoom) or problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    part.drop()
                raise
            part.forget()
            path.replace(to)
        digest = sha256()
        with to.open("rb") as whole:
            length = 0
            while block := whole.read(1 << 20):
                digest.update(block)
                length += len(block)
        return Fetched(to.name, length, digest.hexdigest())

    def _more(self, part: Part, most: int, headers: Mapping[str, str]) -> None:
        have = part.have()
        with self._opened(part.url, {**headers, **part.asked(have)}) as response:
            if response.status == 416 and have == part.length:
                return
            if response.status == 416:
                part.restart(response)
                raise Cut(f"{_place(part.url)} has another file now")
            _must(response, part.url, 200, 206)
            if response.status == 200 or not part.goes_on(response, have):
                if response.status == 206:
                    part.forget()
                    raise Cut(f"{_place(part.url)} answered another part than was asked for")
                part.restart(response)
                have = 0
            if max(part.length, have) > most:
                raise Refused(f"{_place(part.url)}: larger than {most} bytes")
            self._fits(part, part.length - have)
            for block in self._read(response, most - have):
                self._fits(part, len(block))
                part.add(block)
            if part.length and part.have() != part.length:
                raise Cut(f"{_place(part.url)} ended after {part.have()} of {part.length} bytes")

    def _fits(self, part: Part, more: int) -> None:
        left = self._world.free(part.file.fileno())
        if left < max(more, 0) + self._caps.spare:
            said = f"no room: {left >> 20} MiB are free, and {self._caps.spare >> 20} MiB stay so"
            raise NoRoom(f"{_place(part.url)}: {said}")

    def _tried(self, act: Callable[[], T], part: Part | None = None) -> T:
        """Again after a cut line, later each time, while there is time."""
        for attempt in range(self._caps.tries):
            try:
                return act()
            except Cut as problem:
                wait = max(2**attempt * (0.5 + self._world.jitter()), problem.after_s)
                if attempt + 1 == self._caps.tries:
                    raise
                if wait >= self._left():
                    raise self._over(part, str(problem)) from problem
                self._world.sleep(wait)
            except Late as problem:
                raise self._over(part, str(problem)) from problem
        raise AssertionError("no try at all")

    def _over(self, part: Part | None, said: str) -> OSError:
        if part is not None and part.have() and part.validator():
            return Unfinished(f"{_place(part.url)}: {part.have()} of {part.length or '?'} bytes so far")
        return OSError(said)

    def _left(self) -> float:
        return self._began + self._caps.seconds - self._world.clock()

    @contextlib.contextmanager
    def _opened(self, url: str, headers: Mapping[str, str]) -> Iterator[BaseHTTPResponse]:
        """The answer at the end of the redirects."""
        for _ in range(self._caps.hops + 1):
            with self._hop("GET", url, headers, None) as response:
                target = response.headers.get("Location")
                if response.status not in REDIRECTS or target is None:
                    yield response
                    return
            before = url
            try:
                url = urljoin(before, target)
                elsewhere = urlsplit(before).netloc != urlsplit(url).netloc
            except ValueError as problem:
                raise Refused(f"{_place(before)} leads to what is no address of the web") from problem
            if elsewhere:
                headers = {name: value for name, value in headers.items() if name.lower() in TOLD}
        raise Refused(f"{_place(url)}: more than {self._caps.hops} redirects")

    @contextlib.contextmanager
    def _hop(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Iterator[BaseHTTPResponse]:
        """One request to one checked address."""
        self._requests += 1
        if self._requests > self._caps.requests:
            raise Refused(f"more than {self._caps.requests} requests in one call")
        asked, host, port = self._allowed(url)
        target = asked.path.replace(" ", "%20") or "/"
        target += f"?{asked.query}" if asked.query else ""
        sent = {"Host": asked.netloc, "User-Agent": "gate", "Accept-Encoding": "identity", **headers}
        problem: Exception | None = None
        for address in self._checked(asked.scheme, host, port):
            pool = self._pool(asked.scheme, address, host, port)
            try:
                response = pool.urlopen(
                    method, target, body, sent, retries=False, redirect=False, preload_content=False,
                    decode_content=False, assert_same_host=False, timeout=self._patience(),
                )  # fmt: skip
            except (HTTPError, OSError, ValueError) as found:
                pool.close()
                problem = found
                if method in QUESTIONS or isinstance(found, ConnectTimeoutError | NewConnectionError):
                    continue
                break
            try:
                if response.headers.get("Content-Encoding", "identity") != "identity":
                    raise Refused(f"{host} answered an encoded body")
                yield response
            finally:
                response.close()
                pool.close()
            return
        raise Cut(f"{host} does not answer: {type(problem).__name__}") from problem

    def _pool(self, scheme: str, address: str, host: str, port: int) -> urllib3.HTTPConnectionPool:
        if scheme == "http":
            return urllib3.HTTPConnectionPool(address, port)
        return urllib3.HTTPSConnectionPool(
            address, port, ssl_context=self._context, server_hostname=host, assert_hostname=host
        )

    def _patience(self) -> urllib3.Timeout:
        left = self._left()
        if left <= 0:
            raise Late(f"took longer than {self._caps.seconds:g} s")
        return urllib3.Timeout(connect=min(left, 10.0), read=min(left, WAIT_S))

    def _allowed(self, url: str) -> tuple[SplitResult, str, int]:
        try:
            asked = urlsplit(url)
            host, port = asked.hostname or "", asked.port
        except ValueError as problem:
            raise Refused("not an address of the web") from problem
        if any(ord(char) <= 32 or ord(char) == 127 for char in url) or "\\" in url or not url.isascii():
            raise Refused("not a plain address of the web")
        if asked.scheme != "https" and not (asked.scheme == "http" and self._loopback):
            raise Refused(f"{asked.scheme[:20]!r} is not https")
        if asked.username is not None or asked.password is not None or "@" in asked.netloc:
            raise Refused("an address with a name or a password in it")
        port = port or (443 if asked.scheme == "https" else 80)
        if (host if port == 443 else f"{host}:{port}") not in self._hosts:
            raise Refused(f"{host[:100]}:{port} is none of the hosts that the policy names for this source")
        return asked, host, port

    def _checked(self, scheme: str, host: str, port: int) -> Sequence[str]:
        addresses = self._world.resolve(host, port)
        for address in addresses:
            why = refused(address)
            here = self._loopback and why != "not an address" and is_loopback(address)
            if why and not here:
                raise Refused(f"{host} is at {address}: {why}")
            if scheme == "http" and not here:
                raise Refused(f"{host}: plain http is for this machine alone")
        if not addresses:
            raise Cut(f"{host} does not resolve")
        return addresses

    def _read(self, response: BaseHTTPResponse, most: int) -> Iterator[bytes]:
        began, here = self._world.clock(), 0
        while True:
            if self._left() <= 0:
                raise Late(f"took longer than {self._caps.seconds:g} s")
            try:
                block = response.read1(PART)
            except (HTTPError, OSError) as problem:
                raise Cut(f"the line was cut: {type(problem).__name__}") from problem
            if not block:
                return
            here += len(block)
            self._bytes += len(block)
            if here > most or self._bytes > self._caps.bytes:
                raise Refused(f"more than {min(most, self._caps.bytes)} bytes")
            yield block
            if self._caps.per_second:
                ahead = here / self._caps.per_second - (self._world.clock() - began)
                if ahead > 0:
                    self._world.sleep(min(ahead, max(self._left(), 0.0)))


def _must(response: BaseHTTPResponse, url: str, *statuses: int) -> None:
    if response.status in LATER:
        wait = min(float(number(response, "Retry-After") or 0), WAIT_S)
        raise Cut(f"{_place(url)} answered {response.status}", wait)
    if response.status not in statuses:
        raise Status(f"{_place(url)} answered {response.status}", response.status)


def _whole(response: BaseHTTPResponse, length: int) -> None:
    said = number(response, "Content-Length")
    if response.status == 200 and said not in (None, length):
        raise Cut(f"ended after {length} of {said} bytes")


def _headers(response: BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _place(url: str) -> str:
    """For people: without the query, which may hold a secret."""
    asked = urlsplit(url)
    return f"{asked.hostname}{asked.path}"[:200]
