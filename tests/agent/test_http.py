"""A server that drips holds the agent no longer than a call may take."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gate.agent import http
from gate.agent.errors import Misuse, Unreachable
from gate.agent.http import Http
from gate.agent.settings import load
from tests.certificates import certificate
from tests.upstream import Reply, upstream

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
LIMIT_S, PATIENCE_S = 0.5, 15.0


class Server:
    """Says ``first`` at once, then a byte every twentieth of a second, until it is stopped or nobody listens."""

    def __init__(self, first: bytes, more: bytes = b"x") -> None:
        self.first, self.more = first, more
        self.stop = threading.Event()
        self.door = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.door.getsockname()[1]}"

    def _serve(self) -> None:
        try:
            line, _ = self.door.accept()
        except OSError:
            return
        with line:
            try:
                line.recv(65536)
                line.sendall(self.first)
                while not self.stop.wait(0.05):
                    line.sendall(self.more)
            except OSError:
                return

    def end(self) -> None:
        self.stop.set()
        self.door.close()
        self.thread.join(10)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setattr(http, "CALL_S", LIMIT_S)
    monkeypatch.setattr(http, "WHOLE_S", LIMIT_S)
    made: list[Server] = []

    def start(*args: object, **more: object) -> Server:
        made.append(Server(*args, **more))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for one in made:
        one.end()


def refused_in_time(call: Callable[[], object]) -> None:
    began = time.monotonic()
    with pytest.raises(Unreachable):
        call()
    assert time.monotonic() - began < PATIENCE_S


@pytest.mark.parametrize(
    "first", [HEAD, b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTT", b""], ids=["body", "head", "line", "0"]
)
def test_what_drips_is_no_answer(serve: Callable[..., Server], tmp_path: Path, first: bytes) -> None:
    for number, call in enumerate(("get", "post", "download")):
        server = serve(first)
        gate, to = Http(f"http://{server.address}"), tmp_path / str(number)
        match call:
            case "get":
                refused_in_time(lambda gate=gate: gate.get("/x", 200_000))  # type: ignore[misc]
            case "post":
                refused_in_time(lambda gate=gate: gate.post("/x", b"{}"))  # type: ignore[misc]
            case _:
                refused_in_time(lambda gate=gate, to=to: gate.download("/x", to, 100_000))  # type: ignore[misc]
                assert first != HEAD or 0 < to.stat().st_size < 1000, "what has come is gone on with"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_proxy_that_drips_is_no_answer(serve: Callable[..., Server]) -> None:
    server = serve(b"HTTP/1.1 200 Connection established\r\nX: ")
    gate = Http("https://gate.example", proxy=f"http://{server.address}")
    refused_in_time(lambda: gate.get("/x", 1000))
    gc.collect()  # Python's ssl forgets to close what it wraps on a line that is shut


@pytest.mark.parametrize(("most", "whole"), [(5, True), (4, False)])
def test_an_answer_is_taken_up_to_its_limit(serve: Callable[..., Server], most: int, whole: bool) -> None:
    server = serve(b"HTTP/1.1 200 OK\r\nETag: t\r\nContent-Length: 5\r\n\r\nabcde")
    gate = Http(f"http://{server.address}")
    if whole:
        assert gate.get("/x", most) == (200, b"abcde", "t")
    else:
        with pytest.raises(Unreachable):
            gate.get("/x", most)


def test_an_answer_that_breaks_off_is_none(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(HEAD + b"abc", b"")
    server.stop.set()
    refused_in_time(lambda: Http(f"http://{server.address}").get("/x", 200_000))
    chunked = serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"")
    chunked.stop.set()
    refused_in_time(lambda: Http(f"http://{chunked.address}").get("/x", 200_000))


def test_an_authority_of_ones_own_is_the_only_one_that_is_trusted(tmp_path: Path) -> None:
    server, trusted = certificate(tmp_path / "right", "localhost")
    _, another = certificate(tmp_path / "another", "localhost")
    with upstream(server) as gate:
        gate.answers["/x"] = Reply(200, b"x")
        url = f"https://localhost:{gate.port}"
        assert Http(url, ca=str(trusted)).get("/x", 10)[:2] == (200, b"x")
        for ca in ("", str(another)):
            with pytest.raises(Unreachable):
                Http(url, ca=ca).get("/x", 10)


def test_an_authority_that_is_not_there_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('ca = "/nowhere/ca.pem"\n')
    with pytest.raises(Misuse, match="is no file"):
        Http("https://gate.example", ca=load(tmp_path / "agent.toml").ca)
