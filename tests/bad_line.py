"""A TLS front of a gate whose line is bad in one way at a time."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections import Counter

PAGE = b"<!doctype html><html><title>Welcome to our wifi</title>please log in</html>"
MODES = ("well", "slow", "500", "login page", "cut", "wrong certificate", "refused")
IDLE_S, PIECE, PAUSE_S = 60, 256, 0.02


class BadLine:
    """Listens on a port of its own in front of ``to``; ``mode`` is one of ``MODES``, ``met`` counts what it did,
    ``fooled`` who went on although the certificate was wrong."""

    def __init__(self, to: int, right: ssl.SSLContext, wrong: ssl.SSLContext) -> None:
        self.mode = "well"
        self.met: Counter[str] = Counter()
        self.fooled = 0
        self._to, self._contexts = to, (right, wrong)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def end(self) -> None:
        self._door.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        mode = self.mode
        with line, contextlib.suppress(OSError):
            if mode == "refused":
                self.met[mode] += 1
                return
            if mode == "wrong certificate":
                self.met[mode] += 1
            line.settimeout(IDLE_S)
            context = self._contexts[mode == "wrong certificate"]
            there = socket.create_connection(("127.0.0.1", self._to))
            with there, context.wrap_socket(line, server_side=True) as secure:  # returns once the other side agrees
                self.fooled += mode == "wrong certificate"
                self._pass(secure, there)

    def _pass(self, secure: ssl.SSLSocket, there: socket.socket) -> None:
        while True:
            ready = [secure] if secure.pending() else select.select([secure, there], [], [], IDLE_S)[0]
            if not ready:
                return
            source = ready[0]
            data = source.recv(65_536)
            mode = self.mode
            if not data:
                return
            if source is there:
                if not self._answered(secure, data, mode):
                    return
            elif mode in ("500", "login page"):
                self.met[mode] += 1
                status = b"500 Internal Server Error" if mode == "500" else b"200 OK"
                head = b"HTTP/1.1 " + status + b"\r\nContent-Type: text/html\r\nConnection: close\r\n"
                secure.sendall(head + b"Content-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
                return
            else:
                there.sendall(data)

    def _answered(self, secure: ssl.SSLSocket, data: bytes, mode: str) -> bool:
        """Whether the line stays."""
        self.met[mode] += 1
        if mode == "cut":
            secure.sendall(data[: len(data) // 2])
            return False
        for start in range(0, len(data), PIECE if mode == "slow" else len(data)):
            secure.sendall(data[start : start + PIECE] if mode == "slow" else data)
            time.sleep(PAUSE_S if mode == "slow" else 0)
        return True
