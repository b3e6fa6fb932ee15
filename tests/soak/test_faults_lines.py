"""Ten thousand slow lines, and bodies without end: others are served, memory stays flat, the lines end in time."""

from __future__ import annotations

import contextlib
import resource
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.faults import get, post, until
from tests.load import Client, Served, await_answer, free_port, prepare
from tests.nginx import in_front, nginx
from tests.process_tree import own_mb
from tests.real_gate import opened as payload_of

pytestmark = pytest.mark.soak

LINES = 10_000
HALF = b"POST /v1/checkin HTTP/1.1\r\nHost: gate\r\nX-Slow: "
HEAD = b"POST /v1/checkin HTTP/1.1\r\nHost: gate\r\nContent-Type: application/json\r\n"


class Gate:
    """A served gate without a worker, and one machine of it."""

    def __init__(self, folder: Path) -> None:
        import threading

        self.port = free_port()
        self.client = Client(0, self.port, threading.Event())
        self.opened = prepare(folder, "", [self.client], self.port)
        self.served = Served(folder / "gate" / "gate.toml", folder, ("web",))
        await_answer(self.port)

    def serves(self, port: int) -> float:
        """Seconds that a poll and a check-in took together."""
        began = time.monotonic()
        assert get(port, "/metadata/timestamp.json")[0] == 200
        status, body, _ = post(port, "/v1/checkin", self.client.sealed_checkin())
        assert (status, payload_of(body)["status"]) == (200, "active")
        return time.monotonic() - began

    def memory(self) -> float:
        return own_mb(self.served.processes["web"].pid)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < LINES + 2000:
        missing(f"the right to open {LINES} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    made = Gate(tmp_path)
    yield made
    made.served.end()
    made.opened.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "Traceback" not in made.served.logs()


@contextlib.contextmanager
def slow_lines(port: int, said: bytes, count: int = LINES) -> Iterator[list[socket.socket]]:
    lines = []
    try:
        for _ in range(count):
            line = socket.create_connection(("127.0.0.1", port), timeout=20)
            line.send(said)
            line.setblocking(False)
            lines.append(line)
        yield lines
    finally:
        for line in lines:
            line.close()


def ended(lines: list[socket.socket]) -> int:
    """How many the other side has ended or answered."""
    poll = select.poll()
    for line in lines:
        poll.register(line, select.POLLIN)
    return len(poll.poll(0))


def trickle(lines: list[socket.socket]) -> None:
    for line in lines:
        with contextlib.suppress(OSError):
            line.send(b"a")


@pytest.mark.parametrize("said", [HALF, b""], ids=["half a header", "nothing at all"])
@pytest.mark.parametrize("front", ["gate alone", "nginx"])
def test_ten_thousand_slow_lines_keep_nobody_out(front: str, said: bytes, gate: Gate, tmp_path: Path) -> None:
    if front == "nginx" and nginx() is None:
        missing("nginx")
    with contextlib.ExitStack() as stack:
        port = gate.port
        if front == "nginx":
            port = stack.enter_context(in_front(tmp_path, gate.opened.settings.data, [gate.port]))
        gate.serves(port)
        before = gate.memory()
        lines = stack.enter_context(slow_lines(port, said))
        waits, most, began = [], before, time.monotonic()
        while ended(lines) < LINES:
            assert time.monotonic() - began < 60, f"{LINES - ended(lines)} lines are still open"
            if said:
                trickle(lines)
            waits.append(gate.serves(port))
            most = max(most, gate.memory())
            time.sleep(1)
        print(f"{front}: ended after {time.monotonic() - began:.0f} s; others waited {max(waits):.2f} s at most;"
              f" memory {before:.0f} -> {most:.0f} MB")  # fmt: skip
    assert max(waits) < 5
    assert most - before < 400, "memory of ten thousand lines is bounded"


ENDLESS = [
    (b"Transfer-Encoding: chunked\r\n\r\n", b"411"),
    (b"Content-Length: 65537\r\n\r\n", b"413"),
    (b"Content-Length: 99999999999999\r\n\r\n", b"413"),
]


def test_a_body_without_end_is_refused_before_it_comes(gate: Gate) -> None:
    before = gate.memory()
    for head, status in ENDLESS:
        with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as line:
            line.sendall(HEAD + head)
            sent = 0
            with contextlib.suppress(OSError):
                while sent < 200_000_000:
                    line.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                    sent += 65536
        assert sent < 200_000_000, f"nobody reads {head!r} for ever"
        with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as line:
            line.sendall(HEAD + head)
            assert line.recv(1000).split()[1] == status, head
    assert gate.memory() - before < 60
    gate.serves(gate.port)


def test_a_body_that_is_shorter_than_it_says_is_408(gate: Gate) -> None:
    with socket.create_connection(("127.0.0.1", gate.port), timeout=20) as line:
        line.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{}")
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(1000)
    assert not answer or answer.split()[1] == b"408"
    gate.serves(gate.port)


def test_bodies_that_never_come_end_at_nginx(gate: Gate, tmp_path: Path) -> None:
    """gate alone would wait for them on a thread each: that is why nginx stands in front."""
    if nginx() is None:
        missing("nginx")
    with in_front(tmp_path, gate.opened.settings.data, [gate.port]) as port:
        gate.serves(port)
        before = gate.memory()
        with slow_lines(port, HEAD + b"Content-Length: 1000\r\n\r\n{", 2000) as lines:
            assert gate.serves(port) < 5
            until(lambda: ended(lines) == 2000, "they never ended", 40)
        assert gate.memory() - before < 60
