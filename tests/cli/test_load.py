"""What other tests wait with."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.load import await_answer, free_port


class Unavailable(BaseHTTPRequestHandler):
    """Answers 503, for ever."""

    def do_GET(self) -> None:
        self.send_error(503, "not yet")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def test_who_waits_for_an_answer_is_told_what_came_instead() -> None:
    server = HTTPServer(("127.0.0.1", 0), Unavailable)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.raises(AssertionError, match=r"did not answer /healthz with 200 in 0\.2 s: 503"):
        await_answer(server.server_port, seconds=0.2)
    server.shutdown()
    thread.join()
    server.server_close()
    with pytest.raises(AssertionError, match="Refused"):
        await_answer(free_port(), seconds=0)
