"""Each part of a gate is broken once: `/readyz` and `gate doctor` name that part, and no other hides behind it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import delete, update

from gate.adapters.store.tx_retention import MARKS
from gate.bootstrap import Opened, pages
from gate.cli.main import main
from gate.config import load
from gate.web.agent_api import Wsgi
from tests.real_gate import RealGate, WsgiAdapter


def asked(gate: RealGate, opened: Opened) -> tuple[int, dict[str, tuple[bool, str]]]:
    """What `/readyz` says: status, and (good, sentence) of each part."""
    app: Wsgi = pages(opened)
    session = gate.session()
    session.mount("http://", WsgiAdapter(app))
    answer = session.get("http://127.0.0.1:8400/readyz")
    found = re.findall(r"(?m)^(good|BAD)  ([a-z ]+): (.*)$", answer.text)
    return answer.status_code, {what: (word == "good", sentence) for word, what, sentence in found}


def told(gate: RealGate) -> tuple[int, dict[str, tuple[bool, str]]]:
    """What `gate doctor` says."""
    done = CliRunner().invoke(main, ["doctor", "-o", "json", "--settings", str(gate.made.settings)])
    return done.exit_code, {row["what"]: (row["good"], row["detail"]) for row in json.loads(done.stdout)}


def no_database(gate: RealGate) -> None:
    url = gate.opened.settings.database
    gate.opened.store.close()
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).write_bytes(b"no database at all" * 1000)
        return
    address, _, name = url.replace("postgresql+psycopg", "postgresql").partition("?")[0].rpartition("/")
    with psycopg.connect(address + "/postgres" + url[url.find("?") :] * ("?" in url), autocommit=True) as other:
        other.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")


def no_table(gate: RealGate) -> None:
    with gate.opened.store.write() as tx:
        tx.connection.exec_driver_sql("ALTER TABLE active_policy RENAME TO gone")


def no_policy(gate: RealGate) -> None:
    with gate.opened.store.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM active_policy")


def no_repository(gate: RealGate) -> None:
    shutil.rmtree(gate.opened.settings.policy)


def no_keys(gate: RealGate) -> None:
    (gate.opened.settings.keys / "timestamp.pem").chmod(0o644)


def no_read_plane(gate: RealGate) -> None:
    (gate.opened.settings.public / "metadata" / "timestamp.json").unlink()


def no_plugin(gate: RealGate) -> None:
    policies = gate.opened.policies
    head = policies.head()
    text = policies.read(head).replace("plugin: directory", "plugin: nowhere")
    gate.policy_says(text, "A plugin that is not here")


def old_tick(gate: RealGate) -> None:
    with gate.opened.store.write() as tx:
        tx.connection.execute(
            update(MARKS).values(at=gate.clock.now() - gate.clock.ahead).where(MARKS.c.name == "worker")
        )
    gate.clock.forward(seconds=61)


def no_tick(gate: RealGate) -> None:
    with gate.opened.store.write() as tx:
        tx.connection.execute(delete(MARKS))


@pytest.mark.parametrize(
    ("spoil", "ready", "doctor"),
    [
        (no_database, {"database", "worker"}, {"database", "active policy"}),
        (no_table, {"database"}, {"active policy"}),
    ],
)
def test_a_broken_database_is_named_on_either_kind(
    real_gate: RealGate, spoil: Callable[[RealGate], None], ready: set[str], doctor: set[str]
) -> None:
    named(real_gate, spoil, ready, doctor)


@pytest.mark.parametrize(
    ("spoil", "ready", "doctor"),
    [
        (no_policy, {"database"}, {"active policy"}),
        (no_repository, {"policy repository"}, {"policy repository"}),
        (no_keys, {"keys"}, {"keys", "read plane"}),
        (no_read_plane, set(), {"read plane"}),
        (no_plugin, set(), {"source shop-content"}),
        (no_tick, {"worker"}, set()),
        (old_tick, {"worker"}, set()),
    ],
)
def test_a_broken_part_is_named_and_no_other(
    sqlite_gate: RealGate, spoil: Callable[[RealGate], None], ready: set[str], doctor: set[str]
) -> None:
    named(sqlite_gate, spoil, ready, doctor)


def named(gate: RealGate, spoil: Callable[[RealGate], None], ready: set[str], doctor: set[str]) -> None:
    """Both say what is broken once it is, and nothing before."""
    gate.worker.tick()
    assert asked(gate, gate.opened)[0] == 200
    assert told(gate)[0] == 0
    spoil(gate)
    fresh = Opened(load(gate.made.settings), gate.clock)
    try:
        status, found = asked(gate, fresh)
    finally:
        fresh.close()
    assert {what for what, (good, _) in found.items() if not good} == ready
    assert status == (503 if ready else 200)
    assert found.keys() == {"database", "disk", "keys", "policy repository", "worker"}
    code, said = told(gate)
    assert {what for what, (good, _) in said.items() if not good} == doctor
    assert code == (1 if doctor else 0)
    assert all(sentence for _, sentence in (*found.values(), *said.values()))
