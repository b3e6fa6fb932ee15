"""The agent as it is shipped, where nothing changes: memory, CPU and bytes of a round, and how soon it is heard.

Bytes are those of HTTP both ways, without TCP's and TLS's own. Rounds follow each other without a pause here; what a
poll each minute or each five minutes (`checkin: 5m`, the default) costs is computed from one of them.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gate.bootstrap import Opened
from tests.load import RealAgents
from tests.process_tree import memory_mb

CPU_POLL_S, WIRE_POLL_S = 60, 300
DAY_S = 86_400
Say = Callable[..., None]


class Relay(socketserver.ThreadingTCPServer):
    """Passes on to a port, counts the bytes, and notes when the first check-in went by."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, to: int) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.to = to
        self.bytes = 0
        self.heard = threading.Event()

    def passed(self, data: bytes) -> None:
        self.bytes += len(data)
        if data.startswith(b"POST /v1/checkin"):
            self.heard.set()


class Passing(socketserver.BaseRequestHandler):
    """One connection."""

    server: Relay

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.to)) as there:
            back = threading.Thread(target=self._pump, args=(there, self.request), daemon=True)
            back.start()
            self._pump(self.request, there)
            back.join()

    def _pump(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self.server.passed(data)
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)


def agent(folder: Path, opened: Opened, port: int, rounds: int, say: Say) -> None:
    """Every line about the agent; ``rounds`` is how many polls the last ones go on for."""
    folder.mkdir()
    relay = Relay(port)
    threading.Thread(target=relay.serve_forever, daemon=True).start()
    agents = RealAgents(folder, opened, relay.server_address[1], 1)
    state = folder / "agent-0"
    try:
        _starting(agents, relay, say)
        _going_on(state, relay, rounds, say)
    finally:
        agents.end()
        relay.shutdown()
        relay.server_close()


def _starting(agents: RealAgents, relay: Relay, say: Say) -> None:
    relay.heard.clear()
    began = time.perf_counter()
    agents.start(0)
    assert relay.heard.wait(30), agents.said()
    took = time.perf_counter() - began
    say("agent: from its start to its first check-in", f"{took:.2f} s", "", "< 2 s", took < 2)
    time.sleep(2)  # the round ends
    megabytes = memory_mb(agents.processes[0].pid)
    say("agent: resident memory while it waits", f"{megabytes:.1f} MB", "", "< 45 MB", megabytes < 45)
    agents.kill(0)


def _going_on(state: Path, relay: Relay, rounds: int, say: Say) -> None:
    before = relay.bytes
    words = [sys.executable, "-m", "tests.bench.polls", str(state), str(rounds)]
    found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    cpu_ms, wire = 1000 * found["cpu_s"] / rounds, (relay.bytes - before) / rounds
    share = cpu_ms / 1000 / CPU_POLL_S
    day = wire * DAY_S / WIRE_POLL_S / 1e6
    say(f"agent: CPU of a poll and check-in, each {CPU_POLL_S} s", f"{cpu_ms:.1f} ms, {100 * share:.3f} % of a core",
        "", "< 0.2 %", share < 0.002)  # fmt: skip
    say(f"agent: bytes of a poll and check-in, each {WIRE_POLL_S} s", f"{wire:,.0f}, {day:.2f} MB a day", "",
        "< 1 MB a day", day < 1)  # fmt: skip
    grown = (found["after_kb"] - found["warm_kb"]) / 1000
    say(f"agent: memory after {rounds:,} polls", f"{found['after_kb'] / 1000:.1f} MB, grown by {grown:.1f} MB", "",
        "no growth (< 1 MB)", grown < 1)  # fmt: skip
