"""A load driver: keep-alive connections that each send the next request as soon as they have an answer.

An asyncio protocol without a library in between does tens of thousands of requests a second from one process.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class Load:
    """What one load gave: seconds, the latency of each request in seconds, statuses, bodies where they were kept."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    bodies: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


class _Line(asyncio.Protocol):
    def __init__(self, wanted: Iterator[tuple[int, bytes]], load: Load, keep: bool, done: asyncio.Event) -> None:
        self._wanted, self._load, self._keep, self._done = wanted, load, keep, done
        self._buffer = b""
        self._left = 0
        self._number = 0
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def _next(self) -> None:
        try:
            self._number, request = next(self._wanted)
        except StopIteration:
            self._transport.close()
            self._done.set()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._left > len(data):  # of a large body that nobody keeps, only its length counts
            self._left -= len(data)
            return
        if self._left:
            self._left = 0
            self._answered()
            return
        buffer = self._buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        status = int(buffer[9:12])
        length = 0
        if status != 304:
            head = buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        if len(buffer) < end + 4 + length and self._keep:
            return
        self._load.statuses[status] += 1
        if self._keep:
            self._load.bodies.append((self._number, buffer[end + 4 : end + 4 + length]))
        self._buffer, self._left = b"", max(0, end + 4 + length - len(buffer))
        if not self._left:
            self._answered()

    def _answered(self) -> None:
        self._load.latencies.append(time.perf_counter() - self._sent)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._done.set()


async def _drive(port: int, requests: Sequence[bytes], connections: int, keep: bool) -> Load:
    load = Load()
    wanted = iter(enumerate(requests))
    loop = asyncio.get_running_loop()
    ends = [asyncio.Event() for _ in range(connections)]
    began = time.perf_counter()
    for end in ends:
        await loop.create_connection(lambda end=end: _Line(wanted, load, keep, end), "127.0.0.1", port)
    for end in ends:
        await end.wait()
    load.seconds = time.perf_counter() - began
    return load


def drive(port: int, requests: Sequence[bytes], connections: int = 64, *, keep: bool = False) -> Load:
    """Every request once, over so many connections; ``keep`` keeps (number, body)."""
    return asyncio.run(_drive(port, requests, connections, keep))


def get(path: str, **headers: str) -> bytes:
    """A GET as bytes."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode()


def post(path: str, body: bytes) -> bytes:
    """A POST of JSON as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
