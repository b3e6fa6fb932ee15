"""What is over for long leaves the database, and nothing that anybody still needs."""

from __future__ import annotations

import gzip
import json
import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate.adapters.shelf import FileShelf
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import Opened
from gate.core import merkle, opening
from gate.core.errors import OperatorError
from gate.core.model import RolloutState
from gate.flows import approvals, facts_json, retention
from gate.ports import Mark
from tests import long_run
from tests.conftest import NOW
from tests.real_gate import RealGate

DAY = timedelta(days=1)


def run(store: SqlStore, shelf: FileShelf | None) -> dict[str, Any]:
    """Four days of four releases each; every night what is older than a day is shelved, where there is a shelf."""
    plan = long_run.plan(sites=6, days=4, releases_a_day=4)
    sim, _ = long_run.simulation(store, plan)
    sim.start()
    releases = {}
    for day in range(4):
        sim.advance_to(plan.start + (day + 1) * DAY)
        result = long_run.figures(sim.result())
        releases.update({one["version"]: one for one in result["releases"]})
        while shelf is not None and retention.shelve_some(store, shelf, DAY, sim.now):
            pass
    return {**result, "releases": releases}


@pytest.mark.slow
def test_a_fleet_goes_on_as_if_nothing_had_left(store: SqlStore, tmp_path: Path) -> None:
    whole = SqlStore(f"sqlite:///{tmp_path / 'whole.db'}", durable=False)
    whole.upgrade()
    shelf = FileShelf(tmp_path / "shelf")
    assert run(store, shelf) == run(whole, None)

    with whole.read() as all_of_it, store.read() as tx:
        done = [one for one in tx.rollouts(limit=1000) if one.state is not RolloutState.SUPERSEDED]
        over = [one for one in all_of_it.rollouts(limit=1000) if one.state is RolloutState.SUPERSEDED]
        left = {one.id for one in tx.rollouts(limit=1000)}
        assert over
        for one in done:
            assert tx.claims(one.id, limit=10_000) == all_of_it.claims(one.id, limit=10_000)
        shelved = [json.loads(line) for line in shelf.lines("claims")]
        assert len(shelved) > 50
        assert {one["rollout"] for one in shelved} <= {one.id for one in over}
        in_database = {claim.id for one in over for claim in tx.claims(one.id, limit=10_000)}
        before = {claim.id for one in over for claim in all_of_it.claims(one.id, limit=10_000)}
        assert in_database | {one["id"] for one in shelved} == before, "in the database or on the shelf, never nowhere"
        assert not in_database & {one["id"] for one in shelved}

        gone = {one["id"]: one for one in map(json.loads, shelf.lines("rollouts"))}
        assert gone
        assert gone.keys() | left == {one.id for one in all_of_it.rollouts(limit=1000)}
        assert not gone.keys() & left
        for one in gone.values():
            assert one["state"] == "superseded"
            for kind in (all_of_it.rings, all_of_it.strata, all_of_it.budgets):
                assert len(one[kind.__name__]) == len(kind(one["id"])) > 0, "it takes its parts along"
            assert tx.release(one["release"]) == all_of_it.release(one["release"]), "its release stays"

        decisions = [json.loads(line) for line in shelf.lines("decisions")]
        assert decisions
        for one in decisions:
            again = opening.judge(facts_json.load(one["facts"]))
            assert (again.verdict.name, list(again.makes)) == (one["verdict"], one["makes"]), "a shelved one replays"
        assert tx.audit_head() == all_of_it.audit_head()
        size, root = tx.audit_head()

    gate = SimpleNamespace(settings=SimpleNamespace(shelf=tmp_path / "shelf"), store=store)
    leaves = list(Opened.audit_leaves(gate, size))  # type: ignore[arg-type]
    assert merkle.root_of([merkle.leaf_hash(leaf) for leaf in leaves]) == root, "shelf and database are the whole tree"
    whole.close()


def test_an_approval_of_a_ring_that_may_still_open_stays(store: SqlStore, tmp_path: Path) -> None:
    plan = long_run.plan(sites=6, days=1, releases_a_day=1)
    sim, _ = long_run.simulation(store, plan)
    sim.start()
    sim.advance_to(plan.start + timedelta(hours=3))
    with store.write() as tx:
        rollout = tx.rollouts(limit=1)[0]
        tx.append("ring_approved", "anna", f"{rollout.id}/all", sim.now)
        tx.append("ring_approved", "anna", "r-of-long-ago/all", sim.now)
    shelf = FileShelf(tmp_path / "shelf")
    while retention.shelve_some(store, shelf, DAY, sim.now + 30 * DAY):
        pass
    with store.read() as tx:
        assert [event.subject for event in tx.events()] == [f"{rollout.id}/all"]
        assert tx.claims(rollout.id), "a rollout that may still be judged keeps its claims"
        assert tx.decisions(rollout.id)
        size = tx.audit_head()[0]
    assert [json.loads(line)["index"] for line in shelf.lines("events")] == list(range(size))


def test_a_superseded_rollout_that_still_speaks_for_a_ring_stays(store: SqlStore, tmp_path: Path) -> None:
    plan = long_run.plan(sites=6, days=1, releases_a_day=2)
    sim, _ = long_run.simulation(store, plan)
    sim.start()
    sim.advance_to(plan.releases[1].at + timedelta(minutes=8))
    with store.read() as tx:
        newer, older = tx.rollouts()
        assert (newer.state, older.state) == (RolloutState.RUNNING, RolloutState.SUPERSEDED)
        before = approvals.wanted(tx, ["shop"])
        assert {one.release for one in before} >= {older.release}
    while retention.shelve_some(store, FileShelf(tmp_path / "shelf"), DAY, sim.now + 30 * DAY):
        pass
    with store.read() as tx:
        assert approvals.wanted(tx, ["shop"]) == before, "its approval names its decision"
        assert tx.decisions(older.id)
        assert tx.rollout(older.id) == older


def test_a_crash_between_shelf_and_database_loses_nothing(store: SqlStore, tmp_path: Path) -> None:
    """The lines are written again, and readers go by their index."""
    with store.write() as tx:
        for number in range(5):
            tx.append("said", "x", str(number), NOW)
        leaves = tx.old_events(0, NOW + DAY, 3)
    shelf = FileShelf(tmp_path / "shelf")
    shelf.put("events", [leaf.text for leaf in leaves], NOW)  # and here it dies
    retention.shelve_some(store, shelf, timedelta(), NOW + DAY)
    gate = SimpleNamespace(settings=SimpleNamespace(shelf=tmp_path / "shelf"), store=store)
    found = [json.loads(leaf)["index"] for leaf in Opened.audit_leaves(gate, 5)]  # type: ignore[arg-type]
    assert found == [0, 1, 2, 3, 4]


def test_a_shelf_that_is_cut_short_says_so(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path)
    shelf.put("events", [b"{}"] * 1000, NOW)
    file = next(tmp_path.iterdir())
    assert (file.stat().st_mode & 0o777, len(list(shelf.lines("events")))) == (0o600, 1000)
    shelf.put("events", [b"1"], NOW)
    assert gzip.decompress(file.read_bytes()).endswith(b"{}\n1\n")
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(OperatorError) as said:
        list(shelf.lines("events"))
    assert said.value.kind == "bad_shelf"


def test_a_batch_that_was_torn_while_it_was_written_gives_way_to_the_next(tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path)
    shelf.put("events", [b"1"] * 1000, NOW)
    shelf.put("events", [b"2"], NOW)
    file = next(tmp_path.iterdir())
    whole = file.read_bytes()
    for cut in (1, 4, 12, 20):
        file.write_bytes(whole[:-cut])
        FileShelf(tmp_path).put("events", [b"3"], NOW)
        assert list(shelf.lines("events")) == [*[b"1"] * 1000, b"3"]
    spoilt = bytearray(whole)
    spoilt[15] ^= 0xFF
    file.write_bytes(spoilt)
    with pytest.raises(OperatorError) as said:
        FileShelf(tmp_path).put("events", [b"3"], NOW)
    assert said.value.kind == "bad_shelf"
    assert file.read_bytes() == spoilt, "what may still be saved is left alone"


def test_one_worker_at_a_time_takes_the_turn(store: SqlStore) -> None:
    hour = timedelta(hours=1)
    with store.write() as tx:
        assert tx.mark("retention") == Mark(None, 0)
        assert tx.take_turn("retention", NOW, hour)
        assert not tx.take_turn("retention", NOW, hour)
        assert not tx.take_turn("retention", NOW + hour - NOW.resolution, hour)
        assert tx.take_turn("retention", NOW + hour, hour)
        assert not tx.take_turn("retention", NOW, hour), "an hour back: the turn was taken"
        assert tx.take_turn("retention", NOW - timedelta(minutes=1), hour), "set back further, nobody waits"


def test_artifacts_that_nothing_names_go_after_a_day_and_no_sooner(sqlite_gate: RealGate) -> None:
    sqlite_gate.bring("1.0")
    content = sqlite_gate.opened.settings.public / "content"
    named = {path for path in content.rglob("*") if path.is_file()}
    stray = content / "blobs" / ("0" * 64)
    stray.write_bytes(b"of nobody")
    publisher, now = sqlite_gate.opened.publisher, sqlite_gate.clock.now()
    assert publisher.tidy(now) == 0
    for path in (*named, stray):
        os.utime(path, (0, 0))
    assert publisher.tidy(now) == 1
    assert {path for path in content.rglob("*") if path.is_file()} == named


def test_the_worker_shelves_once_an_hour_what_is_older_than_the_setting(tmp_path: Path) -> None:
    gate = RealGate(tmp_path, "")
    try:
        worker = gate.worker
        worker.retain()
        gate.clock.forward(days=401)
        gate.drop("1.0")
        worker.look()
        worker.retain()
        with gate.opened.store.read() as tx:
            kinds = [event.kind for event in tx.events()]
            assert tx.mark("retention").at is not None
        assert "policy_activated" not in kinds
        assert "release_seen" in kinds
        shelved = [json.loads(line)["kind"] for line in FileShelf(gate.opened.settings.shelf).lines("events")]
        assert "policy_activated" in shelved
        size, root = _head(gate)
        leaves = list(gate.opened.audit_leaves(size))
        assert merkle.root_of([merkle.leaf_hash(leaf) for leaf in leaves]) == root
    finally:
        gate.close()


def _head(gate: RealGate) -> tuple[int, bytes]:
    with gate.opened.store.read() as tx:
        return tx.audit_head()
