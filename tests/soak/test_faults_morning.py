"""A thousand agents wake at once after a night with the gate down: all are served in two minutes, and spread after."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from gate.core.model import Machine, MachineStatus
from tests import load
from tests.faults import get, post
from tests.load import Client, Served, free_port, prepare
from tests.real_gate import opened as payload_of

pytestmark = pytest.mark.soak

AGENTS, THREADS, CHECKIN = 1000, 50, 30


class Morning:
    """Machines that knock until the gate is up, and come again when they are told."""

    def __init__(self, port: int, clients: list[Client]) -> None:
        self.port, self.lock, self.began = port, threading.Lock(), time.monotonic()
        self.due = [(0.0, client, 0) for client in clients]
        self.refusals: Counter[str] = Counter()
        self.polls: dict[int, list[float]] = {0: [], 1: []}
        self.told: list[int] = []

    def run(self) -> None:
        while True:
            with self.lock:
                if not self.due:
                    return
                at, client, visit = self.due.pop(0)
            time.sleep(max(0.0, self.began + at - time.monotonic()))
            self.visit(client, visit)

    def visit(self, client: Client, visit: int) -> None:
        body = client.sealed_checkin()
        while True:
            try:
                get(self.port, "/metadata/timestamp.json")
                status, answer, _ = post(self.port, "/v1/checkin", body)
            except OSError:
                time.sleep(0.5)  # the gate is still down
                continue
            if status == 200:
                break
            with self.lock:
                self.refusals[answer["kind"]] += 1
            time.sleep(answer["retry_after_s"])
        told, now = payload_of(answer), time.monotonic() - self.began
        client.challenge = told["challenge"]
        with self.lock:
            self.polls[visit].append(now)
            if visit == 0:
                self.told.append(told["poll_after_s"])
                self.due.append((now + told["poll_after_s"], client, 1))
                self.due.sort(key=lambda one: one[0])


def test_a_thousand_agents_that_wake_at_once_are_served_and_spread(tmp_path: Path) -> None:
    port, stop = free_port(), threading.Event()
    clients = [Client(number, port, stop) for number in range(AGENTS)]
    text = load.POLICY.replace("checkin: 2s", f"checkin: {CHECKIN}s")
    opened = prepare(tmp_path, "", [], port, text)
    with opened.store.write() as tx:
        for client in clients:
            row = client.row()
            row = Machine(
                row.id, "s0", MachineStatus.ACTIVE, row.name, row.facts, row.labels, public_key=row.public_key
            )
            tx.add_machine(row, client.keyid)
    morning = Morning(port, clients)
    threads = [threading.Thread(target=morning.run, daemon=True) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    served = Served(tmp_path / "gate" / "gate.toml", tmp_path)
    try:
        for thread in threads:
            thread.join(170)
    finally:
        served.end()
        opened.close()
    first, again = morning.polls[0], morning.polls[1]
    spread = sorted(Counter(morning.told).items())
    print(f"{len(first)} served between {min(first):.1f} and {max(first):.1f} s, {len(again)} again until"
          f" {max(again):.1f} s; {dict(morning.refusals)}; poll_after_s {spread}")  # fmt: skip
    assert (len(first), len(again)) == (AGENTS, AGENTS)
    assert max(again) < 120
    assert set(morning.refusals) <= {"slow_down"}
    assert min(morning.told) >= 0.9 * CHECKIN
    assert max(morning.told) <= 1.1 * CHECKIN
    assert max(Counter(morning.told).values()) < AGENTS / 4, "a tenth to either side, no second has a crowd"
    assert "Traceback" not in served.logs()
