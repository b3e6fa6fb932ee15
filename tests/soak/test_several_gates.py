"""Three web processes and two workers on one PostgreSQL behind nginx, a worker killed every ten seconds.

Everything that holds for one gate holds for all of them together: nothing acknowledged is lost, nothing is decided or
granted twice, and what was decided is published within two seconds.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.conftest import missing
from tests.load import (
    MACHINES,
    WANTED,
    Client,
    Reader,
    RealAgents,
    Served,
    await_answer,
    compare,
    drop_release,
    explain_failures,
    free_port,
    newest,
    prepare,
)
from tests.nginx import in_front, nginx

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("GATE_SOAK_SECONDS", "90"))
WEBS, WORKERS = ("web-1", "web-2", "web-3"), ("worker-1", "worker-2")


@pytest.fixture
def database(postgres: str) -> Any:
    name = f"several_{os.getpid()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    address, _, query = postgres.partition("?")
    own = address.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")
    yield own.replace("postgresql://", "postgresql+psycopg://", 1)
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_many_processes_are_one_gate(database: str, tmp_path: Path) -> None:
    if nginx() is None:
        missing("nginx")
    stop, dice = threading.Event(), random.Random(7)
    ports = {name: free_port() for name in WEBS}
    clients = [Client(number, 0, stop) for number in range(MACHINES)]
    opened = prepare(tmp_path, database, clients, free_port())
    reader = Reader(opened.settings.data, tmp_path / "cache", ("first", "rest"))
    served = Served(
        tmp_path / "gate" / "gate.toml", tmp_path, (*WEBS, *WORKERS), ports, {"GATE_METRICS_TOKEN": "for-this-test"}
    )
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    with in_front(tmp_path, opened.settings.data, list(ports.values())) as front:
        for port in ports.values():
            await_answer(port)
        for client in clients:
            client.port = front
        agents = RealAgents(tmp_path, opened, front, 2)
        releases, kills = 0, Counter[str]()
        WANTED.clear()
        try:
            reader.start()
            for number in agents.machines:
                agents.start(number)
            for thread in threads:
                thread.start()
            began = time.monotonic()
            while time.monotonic() < began + SECONDS:
                releases += 1
                drop_release(tmp_path, releases)
                for name in (dice.choice(WORKERS), dice.choice(WEBS)):
                    until = time.monotonic() + 5
                    while time.monotonic() < until:
                        WANTED["release"] = newest(opened)
                        time.sleep(0.1)
                    served.kill(name)
                    served.start(name)
                    kills[name.partition("-")[0]] += 1
            releases += 1
            WANTED["calm"] = "yes"
            drop_release(tmp_path, releases)
            last = f"release {releases}"
            until = time.monotonic() + 120
            while time.monotonic() < until and any(agents.content(number) != last for number in agents.machines):
                WANTED["release"] = newest(opened)
                explain_failures(opened)
                time.sleep(0.2)
            for number in list(agents.machines):
                if agents.content(number) != last:
                    agents.abort(number)
            stop.set()
            for thread in threads:
                thread.join(90)
            assert not any(thread.is_alive() for thread in threads), "every call is answered in the end"
            time.sleep(3)  # what the last reports have decided is published
        finally:
            stop.set()
            reader.stop.set()
            reader.join(30)
            agents.end()
            served.end()
    logs = served.logs()
    faults = [(fault, client.told[-4:]) for client in clients for fault in client.faults]
    assert faults == [], logs[-4000:]
    assert reader.faults == []
    assert "Traceback" not in logs, logs[-6000:]
    assert [agents.content(number) for number in agents.machines] == [last] * len(agents.machines), agents.said()
    compare(opened, clients, least=MACHINES)
    with opened.store.read() as tx:
        opens = [
            one
            for rollout in tx.rollouts(limit=1000)
            for one in tx.decisions(rollout.id, 1000)
            if one.verdict == "OPEN"
        ]
    waits = sorted((reader.seen[str(one.id)] - one.at).total_seconds() for one in opens if str(one.id) in reader.seen)
    assert len(waits) > 4, (sorted(reader.seen)[-20:], [one.id for one in opens][:20], reader.refreshed)
    print(
        f"{dict(kills)} kills, {releases} releases, {sum(len(c.told) for c in clients)} answers,"
        f" {sum(c.lost for c in clients)} calls repeated, {len(waits)} approvals published after"
        f" {waits[len(waits) // 2]:.2f} s (median), {waits[-1]:.2f} s (longest) at {datetime.now(UTC):%H:%M}"
    )
    assert waits[int(len(waits) * 0.9)] < 2, waits
    opened.close()
