"""Lines to a gate that can be cut: what drips in, a byte at a time, holds the agent no longer than a call may take.

A socket's own time limit begins anew with every byte. So whoever waits for the head of an answer sets a time at which
all lines are shut; a body is measured by who reads it, a handshake by Python's ssl.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

AGAIN_S = 0.5


class _Line(HTTPConnection):
    """One connection."""

    open_lines: WeakSet[_Line]

    def _new_conn(self) -> socket.socket:
        self.open_lines.add(self)
        return super()._new_conn()

    def cut(self) -> None:
        line = self.sock
        if isinstance(line, socket.socket):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(line, socket.SHUT_RDWR)  # TLS's own would take its state from who reads


class Lines(HTTPAdapter):
    """All connections of one agent, which speaks to one gate, one call at a time."""

    def __init__(self) -> None:
        self._open: WeakSet[_Line] = WeakSet()
        plain = type("Plain", (_Line,), {"open_lines": self._open})
        secure = type("Secure", (_Line, HTTPSConnection), {"open_lines": self._open})
        self._pools = {
            "http": type("PlainPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }
        super().__init__()

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        """As ever, with lines that can be cut."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **more: Any) -> Any:
        """As ever, with lines that can be cut."""
        manager = super().proxy_manager_for(proxy, **more)
        manager.pool_classes_by_scheme = self._pools
        return manager

    @contextlib.contextmanager
    def cut_after(self, limit_s: float) -> Iterator[None]:
        """Whatever still waits after so many seconds fails, and whatever is begun later."""
        done = threading.Event()
        threading.Thread(target=self._watch, args=(done, limit_s), daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def _watch(self, done: threading.Event, limit_s: float) -> None:
        while not done.wait(limit_s):
            self._cut()
            limit_s = AGAIN_S

    def _cut(self) -> None:
        for line in list(self._open):
            line.cut()
