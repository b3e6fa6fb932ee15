"""Each kind of trouble with a source stands until that kind is over, whatever else happens meanwhile."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from gate.adapters.mirror_folder import MirrorFolder
from gate.adapters.store.sql import SqlStore
from gate.core.errors import SourceError
from gate.flows import intake
from gate.flows import sources as known
from gate.flows.mirror_rounds import MirrorRounds
from gate.hookspecs import Released, Served, ServedFile
from gate.worker import Transactions
from tests.conftest import NOW
from tests.flows.test_mirror import NEW, OLD, SOURCE, Client, admitted, both, settled, spoilt
from tests.real_gate import RealGate


def state(gate: RealGate) -> tuple[str, list[str]]:
    policy = gate.opened.rules.policy()
    assert policy is not None
    with gate.opened.store.read() as tx:
        (found,) = known.states(tx, policy, timedelta(minutes=1))
    return found.state, [one for one, _ in found.beside]


def test_no_kind_of_trouble_hides_or_ends_another(store: SqlStore) -> None:
    with store.write() as tx:
        for kind in ("candidate_refused", "source_failed", "mirror_failed"):
            intake.failed(tx, "shop", kind, f"of {kind}", NOW)
        worst_first = ["source_failed", "mirror_failed", "candidate_refused"]
        assert intake.troubles(tx, "shop") == {kind: f"of {kind}" for kind in worst_first}
        for over, left in (("source_failed", worst_first[1:]), ("candidate_refused", ["mirror_failed"])):
            intake.recovered(tx, "shop", over, NOW)
            assert list(intake.troubles(tx, "shop")) == left
        intake.recovered(tx, "shop", "mirror_failed", NOW)
        assert intake.troubles(tx, "shop") == {}
        before = len(tx.events(subject="source:shop"))
        for kind in worst_first:
            intake.recovered(tx, "shop", kind, NOW)
        assert len(tx.events(subject="source:shop")) == before == 6


def test_the_same_trouble_is_an_event_once_until_it_is_over(store: SqlStore) -> None:
    with store.write() as tx:
        for kind, over in intake.RECOVERED.items():
            for _ in range(2):
                intake.failed(tx, kind, kind, "again", NOW)
                intake.failed(tx, kind, kind, "again", NOW)
                intake.recovered(tx, kind, kind, NOW)
            assert [one.kind for one in tx.events(subject=f"source:{kind}")] == [over, kind, over, kind]


def test_many_alarms_of_one_kind_hide_no_other(store: SqlStore) -> None:
    with store.write() as tx:
        intake.failed(tx, "shop", "source_failed", "away", NOW)
        intake.recovered(tx, "shop", "source_failed", NOW)
        intake.failed(tx, "shop", "mirror_failed", "full", NOW)
        for number in range(intake.SCANNED + 1):
            intake.failed(tx, "shop", "candidate_refused", f"{number} is bad", NOW)
        last = f"{intake.SCANNED} is bad"
        assert intake.troubles(tx, "shop") == {"mirror_failed": "full", "candidate_refused": last}


def test_a_refused_candidate_stays_trouble_until_nothing_that_is_offered_is_refused(sqlite_gate: RealGate) -> None:
    gate = sqlite_gate
    gate.bring("1")
    place, away = gate.drop_folder / "1", gate.folder / "away"
    (place / "prices.json").write_text("{}")
    listed = {"name": "prices.json", "length": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    (place / "manifest.json").write_text(json.dumps({"version": "1", "files": [listed]}))
    gate.worker.look()
    assert state(gate) == ("refused", [])
    gate.drop_folder.rename(away)
    gate.worker.look()
    assert state(gate) == ("failed", ["refused"])
    away.rename(gate.drop_folder)
    for _ in range(2):
        gate.worker.look()
        assert state(gate) == ("refused", [])
    shutil.rmtree(place)
    gate.worker.look()
    assert state(gate) == ("ok", [])


def test_a_mirror_that_cannot_follow_is_shown_and_recovers(sqlite_gate: RealGate) -> None:
    gate, first = sqlite_gate, Client(sqlite_gate, "first", "nord", "first")
    rest = Client(gate, "rest", "sued")
    gate.bring("1", OLD)
    settled(gate, first, rest)
    blob = spoilt(gate)
    gate.worker.tick()
    gate.worker.look()
    assert state(gate) == ("mirror", [])
    gate.pass_minutes(2)
    assert state(gate) == ("mirror", [])
    blob.write_text(NEW)
    gate.pass_minutes(2)
    assert (state(gate), first.served) == (("ok", []), NEW)


class Away:
    """A plugin that cannot lay anything out, until it can."""

    def __init__(self, blobs: Path) -> None:
        self.blobs = blobs
        self.asked: list[str] = []
        self.well = False

    def __call__(self, source: str, ring: str, release: Released, at: datetime) -> tuple[Path, Served | None]:
        self.asked.append(ring)
        if self.well:
            return self.blobs, None
        raise SourceError("source_failed", "gate_serve takes too long")


def test_a_plugin_that_lays_nothing_out_is_asked_once_for_all_and_less_and_less_often(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    gate, _, _ = both(sqlite_gate)
    for number, ring in enumerate(("first", "rest")):
        admitted(gate, f"{number}" * 32, ring=ring)
    gate.worker.tick()
    opened, now = gate.opened, gate.clock.now()
    blobs = opened.settings.public / "content" / "blobs"
    away, folder = Away(blobs), MirrorFolder(tmp_path / "other", blobs)
    rounds = MirrorRounds(Transactions(opened.store), opened.gate, folder, blobs, away)
    for seconds, asked in ((0, 2), (59, 2), (61, 4), (122, 4), (183, 6)):
        rounds.once(now + timedelta(seconds=seconds))
        assert (seconds, len(away.asked)) == (seconds, asked)
    assert state(gate) == ("mirror", [])
    away.well = True
    rounds.once(now + timedelta(minutes=40))
    assert len(away.asked) == 8
    assert len([holder for source, holder in folder.holders() if source == SOURCE]) == 4
    assert state(gate) == ("ok", [])


def test_decisions_do_not_wait_for_the_mirror(sqlite_gate: RealGate) -> None:
    gate, first, _ = both(sqlite_gate)
    gate.drop("2", NEW)
    gate.worker.look()
    gate.worker.decide()
    with gate.opened.store.read() as tx:
        assert [one.opened_at is not None for one in tx.rings(tx.rollouts(limit=1)[0].id)] == [True, False]
    assert first.served == OLD
    gate.worker.mirror()
    assert first.served == NEW


def test_what_a_plugin_made_for_one_ring_is_served_to_that_ring_only(sqlite_gate: RealGate, tmp_path: Path) -> None:
    gate, first, rest = both(sqlite_gate)
    for number, ring in enumerate(("first", "rest")):
        admitted(gate, f"{number}" * 32, ring=ring)
    gate.worker.tick()
    opened, into = gate.opened, tmp_path / "made"
    blobs = opened.settings.public / "content" / "blobs"

    def made(source: str, ring: str, release: Released, at: datetime) -> tuple[Path, Served | None]:
        shutil.rmtree(into, ignore_errors=True)  # as each call of a plugin begins
        into.mkdir()
        (into / "ring").write_text(ring)
        return into, Served((ServedFile("ring", made="ring"),))

    folder = tmp_path / "other"
    rounds = MirrorRounds(Transactions(opened.store), opened.gate, MirrorFolder(folder, blobs), blobs, made)
    rounds.once(gate.clock.now())
    names = {first.machine: "first", "ring-first": "first", rest.machine: "rest", "ring-rest": "rest"}
    assert {one: (folder / "to" / SOURCE / one / "ring").read_text() for one in names} == names
