"""What is looked for among the events of a rollout is found however many machines have reported since."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.shelf import FileShelf
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.bootstrap import OneText
from gate.core.model import Rollout, RolloutState, Site, Step
from gate.flows import advance, people, recalls, retention, shadow, shadow_words, unclear
from gate.ports import Gate
from gate.sim import recorded
from gate.sim.outcomes import as_recorded
from gate.sim.results import Record, of_release
from gate.sim.scenario import SimRelease
from tests.flows.small_fleet import appears, joins, says, takes

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory, evidence: alive}]
rings:
  - {name: a, why: w, pick: {role: till}, gate: {at_least: 3, soak: 1m}, windows: [always]}
defaults: {stay_up: 1m, deadline: 2h, background: 0.75%, decides: people}
at_risk: {per_make: 100, fleet: 200}
first_batch: 100
brakes: [{if: failed >= 2, within: 3m, then: halt, why: two is enough}]
"""


def gate_of() -> Gate:
    policy = parse_text(POLICY)
    return Gate(policy=lambda _: policy, texts=OneText(POLICY), hours=OpeningCalendar("Europe/Berlin"))


def busy(tx: SqlTx, rollout: str, reports: int, now: datetime) -> None:
    """As many reports as a fleet of that size makes."""
    for number in range(reports):
        tx.append("report_step", f"machine:m{number}", rollout, now, {"claim": f"c{number}", "state": "healthy"})


def running(store: SqlStore, gate: Gate) -> str:
    with store.write() as tx:
        for number in range(3):
            tx.save_site(Site(f"s{number}", f"s{number}", "NW", "Mo-Su 00:00-24:00", always_on=True))
            joins(tx, f"t{number}", f"s{number}", "a", NOW)
        rollout = appears(tx, gate, NOW, policy=OneText(POLICY).commit, critical=False)
        people.approve_ring(tx, gate, rollout, "a", "anna", "ok", NOW)
    with store.write() as tx:
        advance.advance_rollout(tx, gate, rollout, NOW)
    return rollout


def stored(tx: SqlTx, rollout: str) -> Rollout:
    found = tx.rollout(rollout)
    assert found is not None
    return found


def test_when_a_release_was_everywhere_and_a_person_was_asked_is_known_after_many_reports(store: SqlStore) -> None:
    rollout = running(store, gate_of())
    with store.write() as tx:
        before = stored(tx, rollout)
        done = replace(before, state=RolloutState.DONE, done_at=NOW + MINUTE, version=before.version + 1)
        for at in (NOW, NOW + MINUTE):
            tx.append(unclear.ASKED, "gate", rollout, at)
        assert tx.save_rollout(done)
        tx.append("rollout_done", "gate", rollout, NOW + MINUTE)
        busy(tx, rollout, 500, NOW + MINUTE)
    with store.read() as tx:
        one = SimRelease(NOW, "one", "1", boot_critical=False)
        found = of_release(tx, Record(one, rollout), {})
    assert found is not None
    assert (found["full_at"], found["asked_at"]) == ((NOW + MINUTE).isoformat(), NOW.isoformat())


def test_a_halt_of_the_gate_is_compared_after_many_reports_and_is_said_in_german(store: SqlStore) -> None:
    gate = gate_of()
    rollout = running(store, gate)
    for name in ("t0", "t1"):
        with store.write() as tx:
            claim = takes(tx, gate, rollout, name, NOW)
        with store.write() as tx:
            says(tx, gate, claim, Step.FAILED, "b0", NOW)
    with store.write() as tx:
        advance.advance_rollout(tx, gate, rollout, NOW)
        assert stored(tx, rollout).state is RolloutState.HALTED
    with store.write() as tx:
        for by in ("anna", "bert"):
            people.resume(tx, rollout, by, "it was the switch", NOW + MINUTE)
        busy(tx, rollout, 100, NOW + MINUTE)
    with store.read() as tx:
        [halted] = shadow.look(tx, gate).halts
    assert (halted.at, halted.resumed_at) == (NOW, NOW + MINUTE)
    german, english = (shadow_words.halt_sentence(halted, language) for language in ("de", "en"))
    assert halted.because in english
    assert halted.because not in german


def days(store: SqlStore, shelf: FileShelf) -> recorded.Recorded:
    return recorded.read(store, shelf.lines, NOW - MINUTE, NOW + timedelta(days=1), frozenset({"one"}))


@pytest.mark.parametrize("where", ["database", "shelf"])
def test_what_people_recalled_and_signed_is_known_after_many_reports_and_from_the_shelf(
    store: SqlStore, tmp_path: Path, where: str
) -> None:
    gate, shelf = gate_of(), FileShelf(tmp_path / "shelf")
    rollout = running(store, gate)
    with store.write() as tx:
        claim = takes(tx, gate, rollout, "t0", NOW)
    with store.write() as tx:
        says(tx, gate, claim, Step.HEALTHY, "b0", NOW + 2 * MINUTE)
        people.halt(tx, rollout, "anna", "wrong prices", NOW + 3 * MINUTE)
        for by in ("anna", "bert"):
            recalls.recall(tx, rollout, by, "wrong prices", NOW + 3 * MINUTE)
        busy(tx, rollout, 1000, NOW + 3 * MINUTE)
    if where == "shelf":
        while retention.shelve_some(store, shelf, timedelta(), NOW + timedelta(hours=1)):
            pass
        with store.read() as tx:
            assert not [one for one in tx.events(subject=rollout) if one.kind == "rollout_recalled"]
    found = days(store, shelf)
    [day], [release] = found.days, found.scenario.releases
    assert (day.halted, day.harmful) == (True, True)
    assert not as_recorded(found).falsely_halted
    assert release.signed == ((NOW, "anna", "a"),)


def test_a_recall_by_the_policy_is_no_word_of_people_also_from_the_shelf(store: SqlStore, tmp_path: Path) -> None:
    shelf = FileShelf(tmp_path / "shelf")
    rollout = running(store, gate_of())
    with store.write() as tx:
        people.halt(tx, rollout, "anna", "a feeling", NOW)
        tx.append("rollout_recalled", "policy", rollout, NOW)
    assert not days(store, shelf).days[0].harmful
    while retention.shelve_some(store, shelf, timedelta(), NOW + timedelta(hours=1)):
        pass
    assert not days(store, shelf).days[0].harmful


def test_a_halt_that_people_lifted_was_a_halt_then(store: SqlStore, tmp_path: Path) -> None:
    rollout = running(store, gate_of())
    with store.write() as tx:
        people.halt(tx, rollout, "defaults.false_halt", "by chance", NOW)
        for by in ("anna", "bert"):
            people.resume(tx, rollout, by, "nothing was wrong", NOW + MINUTE)
    found = days(store, FileShelf(tmp_path / "shelf"))
    assert (found.days[0].halted, found.days[0].harmful) == (True, False)
    assert as_recorded(found).falsely_halted == 1


def test_what_a_vendor_took_back_is_harmful_also_where_people_let_it_go_on(store: SqlStore, tmp_path: Path) -> None:
    rollout = running(store, gate_of())
    with store.write() as tx:
        people.halt(tx, rollout, "source:one", "withdrawn", NOW)
        for by in ("anna", "bert"):
            people.resume(tx, rollout, by, "nothing was wrong", NOW + MINUTE)
    assert days(store, FileShelf(tmp_path / "shelf")).days[0].harmful


@pytest.mark.parametrize("where", ["database", "shelf"])
def test_a_failure_that_a_person_explained_harms_nobody_in_recorded_days(
    store: SqlStore, tmp_path: Path, where: str
) -> None:
    gate, shelf = gate_of(), FileShelf(tmp_path / "shelf")
    rollout = running(store, gate)
    failed = []
    for name in ("t0", "t1"):
        with store.write() as tx:
            claim = takes(tx, gate, rollout, name, NOW)
        with store.write() as tx:
            failed.append(says(tx, gate, claim, Step.FAILED, "b0", NOW).id)
    with store.write() as tx:
        advance.advance_rollout(tx, gate, rollout, NOW)
    before = days(store, shelf)
    assert before.days[0].harmful
    assert set(before.scenario.releases[0].fates or {}) == {"t0", "t1", "t2"}
    with store.write() as tx:
        for one in failed:
            people.explain_failure(tx, gate, one, "anna", "the switch of that street", NOW)
    if where == "shelf":
        while retention.shelve_some(store, shelf, timedelta(), NOW + timedelta(hours=1)):
            pass
    after = days(store, shelf)
    assert (after.days[0].harmful, after.days[0].unknown, as_recorded(after).falsely_halted) == (False, 1, 1)
    assert set(after.scenario.releases[0].fates or {}) == {"t0", "t1"}, "they fail again; a third one does not"
