"""Nothing acknowledged is lost (P9): fifty machines under load while server, worker and agents are killed with -9.

Releases are dropped and policies committed all the while, so that kills hit intakes, publications and activations.
At the end the database is compared with the records, its counters with a recount, the read plane with the decisions.
"""

from __future__ import annotations

import os
import random
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

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
    whereabouts,
)

pytestmark = pytest.mark.soak

KILLS, AGENTS = int(os.environ.get("GATE_SOAK_KILLS", "50")), 3


def test_what_was_acknowledged_is_there_once_after_every_kill(store_url: str, tmp_path: Path) -> None:
    port, stop, dice = free_port(), threading.Event(), random.Random(19)
    clients = [Client(number, port, stop) for number in range(MACHINES)]
    url = "" if store_url.startswith("sqlite") else store_url
    opened = prepare(tmp_path, url, clients, port)
    reader = Reader(opened.settings.data, tmp_path / "cache", ("first", "rest"))
    served = Served(tmp_path / "gate" / "gate.toml", tmp_path)
    await_answer(port)
    agents = RealAgents(tmp_path, opened, port, AGENTS)
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    releases = kills = 0
    WANTED.clear()
    try:
        reader.start()
        for number in range(AGENTS):
            agents.start(number)
        for thread in threads:
            thread.start()
        drop_release(tmp_path, 0)
        until = time.monotonic() + 300
        while not any(told.kind == "report" for client in clients for told in client.told):
            assert time.monotonic() < until, served.logs()[-4000:]
            WANTED["release"] = newest(opened)
            time.sleep(0.1)
        while kills < KILLS:
            if kills % 4 == 0:
                releases += 1
                drop_release(tmp_path, releases)
            if kills % 5 == 0:
                head = opened.policies.head()
                text = opened.policies.read(head)
                opened.policies.write(f"{text}# {kills}\n", head, "anna", "a comment", datetime.now(UTC))
            WANTED["release"] = newest(opened)
            explain_failures(opened)
            time.sleep(dice.uniform(0.3, 4.0))
            WANTED["release"] = newest(opened)
            for role in ("web", "worker") if kills % 7 == 0 else (dice.choice(("web", "worker")),):
                served.kill(role)
                served.start(role)
                kills += 1
            agent = dice.randrange(AGENTS)
            agents.kill(agent)
            agents.start(agent)
        releases += 1
        WANTED["calm"] = "yes"
        drop_release(tmp_path, releases)
        last = f"release {releases}"
        until = time.monotonic() + 300
        while time.monotonic() < until and any(agents.content(number) != last for number in range(AGENTS)):
            WANTED["release"] = newest(opened)
            explain_failures(opened)
            time.sleep(0.2)
        waited = "" if all(agents.content(number) == last for number in range(AGENTS)) else whereabouts(opened)
        for number in range(AGENTS):
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
    assert [agents.content(number) for number in range(AGENTS)] == [last] * AGENTS, (
        f"{waited}\n{agents.said()[-6000:]}\n{logs[-4000:]}"
    )
    assert [fault for client in clients for fault in client.faults] == [], logs[-4000:]
    assert reader.faults == []
    assert reader.refreshed > 50
    assert "Traceback" not in logs, logs[-6000:]
    compare(opened, clients, least=min(MACHINES, 4 * KILLS))
    print(f"{kills} kills, {releases} releases, {sum(len(c.told) for c in clients)} answers,"
          f" {sum(c.lost for c in clients)} calls repeated, {reader.refreshed} refreshes")  # fmt: skip
    opened.close()
