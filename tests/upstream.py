"""An upstream on this machine: a table of answers by path, and what it was asked."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """``cut``: so many bytes of the body, then the line breaks. ``length``: said instead of the body's own. ``ends``:
    no length is said, the body ends with the line."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    length: int | None = None
    ends: bool = False


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Upstream:
    """``answers``: path -> what it answers, or a function of the request."""

    def __init__(self) -> None:
        self.answers: dict[str, Reply | Callable[[Asked], Reply]] = {}
        self.asked: list[Asked] = []
        self.port = 0
        self.scheme = "http"

    @property
    def host(self) -> str:
        """As a policy names it."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        """The address of a path."""
        return f"{self.scheme}://{self.host}{path}"

    def file(self, path: str, body: bytes, *, etag: str = '"1"', cut: int | None = None) -> None:
        """A file as a good file server has it: conditional requests and ranges."""

        def answer(asked: Asked) -> Reply:
            headers = {"ETag": etag, "Last-Modified": formatdate(0, usegmt=True)}
            if asked.headers.get("if-none-match") == etag:
                return Reply(304, b"", headers)
            wanted = asked.headers.get("range", "")
            if wanted and asked.headers.get("if-range") in (None, etag):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end = int(first), min(int(last) if last else len(body) - 1, len(body) - 1)
                if start >= len(body):
                    return Reply(416, b"", headers)
                more = {"Content-Range": f"bytes {start}-{end}/{len(body)}"}
                return Reply(206, body[start : end + 1], {**headers, **more})
            return Reply(200, body, headers, cut)

        self.answers[path] = answer


@contextmanager
def upstream(context: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    """Runs one; ``context`` makes it https."""
    state = Upstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            state.asked.append(asked)
            found = state.answers.get(self.path.partition("?")[0], Reply(404))
            reply = found(asked) if callable(found) else found
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            length = len(reply.body) if reply.length is None else reply.length
            self.send_header(*(("Connection", "close") if reply.ends else ("Content-Length", str(length))))
            self.end_headers()
            self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
            if reply.cut is not None:
                self.close_connection = True

        do_POST = do_PATCH = do_DELETE = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  (a client that was refused hangs up)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        state.scheme = "https"
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
