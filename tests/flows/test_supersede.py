"""A newer release while one runs: it waits, takes over at ring 0, or takes over where the running one stands."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import OneText
from gate.core.errors import OperatorError
from gate.core.model import FLEET, ClaimState, Rollout, RolloutState, Site, Step
from gate.core.policy import Policy
from gate.flows import advance, intake, people, recalls
from gate.flows.claims import Report, report
from gate.ports import ActivePolicy, Gate
from gate.sim.run import Simulation
from tests import long_run
from tests.flows.small_fleet import appears, joins, takes
from tests.flows.test_many_releases import seen

NINE = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
SECOND = "name: all, why: everybody,"


def running(store: SqlStore, defaults: str, floor: str = "") -> tuple[Simulation, Gate, Rollout]:
    """A release that has just opened the second ring."""
    text = long_run.POLICY.replace("defaults: {", f"defaults: {{{defaults}, ")
    text = text.replace(SECOND, f"{SECOND} floor: {floor},") if floor else text
    plan = long_run.plan(sites=6, days=1, releases_a_day=1)
    sim, gate = long_run.simulation(store, plan, text)
    sim.start()
    for minutes in range(120, 720, 5):
        sim.advance_to(plan.start + timedelta(minutes=minutes))
        with store.read() as tx:
            found = tx.rollouts()
        if found and found[0].reached == 1:
            return sim, gate, found[0]
    raise AssertionError("the second ring has not opened")


def after(store: SqlStore, sim: Simulation, gate: Gate, later: timedelta = timedelta()) -> tuple[Rollout, Rollout]:
    """A newer release is seen and judged: the older and the newer rollout."""
    seen(sim, store, gate, "newer")
    with store.write() as tx:
        for one in tx.rollouts(states=(RolloutState.RUNNING,)):
            advance.advance_rollout(tx, gate, one.id, sim.now + later)
        newer, older = tx.rollouts()
    return older, newer


@pytest.mark.parametrize(
    ("defaults", "older", "newer", "reached"),
    [
        ("supersede: queue", RolloutState.RUNNING, RolloutState.QUEUED, -1),
        ("supersede: restart", RolloutState.SUPERSEDED, RolloutState.RUNNING, 0),
        ("supersede: inherit", RolloutState.SUPERSEDED, RolloutState.RUNNING, 1),
    ],
)
def test_what_a_newer_release_does_is_what_the_policy_says(
    store: SqlStore, defaults: str, older: RolloutState, newer: RolloutState, reached: int
) -> None:
    sim, gate, before = running(store, defaults)
    first, second = after(store, sim, gate)
    assert first.id == before.id
    assert (first.state, second.state, second.reached) == (older, newer, reached)
    if newer is RolloutState.RUNNING:
        with store.read() as tx:
            assert {b.limit for b in tx.budgets(second.id) if b.make != FLEET} == {10}, "a first batch of each make"
            assert all(b.in_flight == b.healthy == 0 for b in tx.budgets(second.id))
    with store.write() as tx:
        one = tx.claims(first.id, states=(ClaimState.HEALTHY,))[0]
        machine = tx.machine(one.machine)
        assert machine is not None
        said = Report(one.id, Step.UNHEALTHY, "another", timedelta(hours=1), one.release)
        assert report(tx, gate, machine, said, sim.now)[1] is ClaimState.RELAPSED, "those that have it still count"


@pytest.mark.parametrize(("hours", "reached"), [(0, 0), (1, 0), (2, 1)])
def test_what_takes_over_waits_for_the_floor_of_each_ring(store: SqlStore, hours: int, reached: int) -> None:
    sim, gate, before = running(store, "supersede: inherit", floor="2h")
    assert before.reached == 1
    _, second = after(store, sim, gate, timedelta(hours=hours))
    assert second.reached == reached


def test_releases_that_come_faster_than_a_floor_hand_on_what_they_have_taken_over_themselves(store: SqlStore) -> None:
    sim, gate, before = running(store, "supersede: inherit", floor="2h")
    for number in range(3):
        seen(sim, store, gate, f"1{number}")
        with store.write() as tx:
            advance.advance_rollout(tx, gate, tx.rollouts()[0].id, sim.now)
            newest = tx.rollouts()[0]
        assert (newest.reached, newest.inherited) == (0, 1), "the floor of the second ring stands in the way"
    with store.write() as tx:
        advance.advance_rollout(tx, gate, newest.id, sim.now + timedelta(hours=2))
        opened = [
            {one.make for one in tx.strata(rollout) if one.ring == "all" and one.open}
            for rollout in (newest.id, before.id)
        ]
    assert opened[0] == opened[1] != set()


@pytest.mark.parametrize("state", [RolloutState.HALTED, RolloutState.RECALLED])
def test_nothing_is_taken_over_from_one_that_was_halted_meanwhile(store: SqlStore, state: RolloutState) -> None:
    sim, gate, before = running(store, "supersede: inherit", floor="2h")
    seen(sim, store, gate, "newer")
    with store.write() as tx:
        newest = tx.rollouts()[0]
        older = tx.rollout(before.id)
        assert older is not None
        assert tx.save_rollout(replace(older, state=state, version=older.version + 1))
        advance.advance_rollout(tx, gate, newest.id, sim.now + timedelta(hours=2))
        after = tx.rollout(newest.id)
    assert after is not None
    assert after.reached == 0, "its second ring has to be shown"


def test_a_make_that_was_stopped_is_not_taken_over(store: SqlStore) -> None:
    sim, gate, before = running(store, "supersede: inherit")
    with store.write() as tx:
        opened = {one.make for one in tx.strata(before.id) if one.ring == "all" and one.open}
        stopped = min(opened)
        tx.set_limits([replace(b, stopped=True) for b in tx.budgets(before.id) if b.make == stopped])
    _, second = after(store, sim, gate)
    with store.read() as tx:
        taken = {one.make for one in tx.strata(second.id) if one.ring == "all" and one.open}
    assert taken == opened - {stopped}


@pytest.mark.parametrize(
    ("who", "second"),
    [("a person", RolloutState.RUNNING), ("its vendor", RolloutState.RUNNING), ("the brake", RolloutState.HALTED)],
)
def test_what_waits_starts_once_a_person_or_the_vendor_has_halted_what_runs(
    store: SqlStore, who: str, second: RolloutState
) -> None:
    sim, gate, _ = running(store, "supersede: queue")
    older, newer = after(store, sim, gate)
    assert newer.state is RolloutState.QUEUED
    with store.write() as tx:
        release = tx.release(older.release)
        assert release is not None
        if who == "a person":
            people.halt(tx, older.id, "anna", "it breaks tills", sim.now)
        elif who == "its vendor":
            recalls.withdrawn(tx, older.source, [release.version], sim.now)
        else:
            people.halt_all(tx, "anna", "everything", sim.now)
        for source in intake.may_begin(tx):
            intake.promote_queued(tx, gate, source, sim.now)
        assert [one.state for one in tx.rollouts()] == [second, RolloutState.HALTED]


def test_a_limit_that_was_none_while_others_were_in_flight_is_counted_anew_once_they_have_resolved(
    store: SqlStore,
) -> None:
    sim, gate, _ = running(store, "supersede: restart")
    _, newer = after(store, sim, gate)
    with store.write() as tx:
        whole = tx.budgets(newer.id)
        assert all(one.limit and not one.in_flight for one in whole)
        tx.set_limits([replace(one, limit=0) for one in whole])  # as who opened the ring read it a moment before
    with store.write() as tx:
        advance.advance_rollout(tx, gate, newer.id, sim.now)
        assert tx.budgets(newer.id) == whole


HEAD = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
"""
RULING = {
    "came": """\
sources: [{name: one, plugin: directory, evidence: alive}]
rings:
  - {name: a, why: w, pick: {role: till}, at_most: {cap: 2}, gate: {at_least: 1}, windows: [always]}
  - {name: b, why: w, pick: {role: server}}
first_batch: 2
defaults: {background: 1%, supersede: queue}
""",
    "rules": """\
sources: [{name: one, plugin: directory, evidence: alive}]
rings:
  - {name: c, why: w, pick: {role: server}, gate: {at_least: 1}, windows: [always]}
  - {name: a, why: w, pick: {role: till}, at_most: {cap: 5}}
at_risk: {per_make: 4, fleet: 9}
first_batch: 4
defaults: {background: 2%, supersede: queue}
""",
    "other": """\
sources: [{name: two, plugin: directory, evidence: alive}]
rings:
  - {name: a, why: w, pick: {role: till}}
""",
}


def policy_of(commit: str) -> Policy:
    if commit not in RULING:
        raise OperatorError("policy_unreadable", f"{commit} cannot be read")
    return parse_text(HEAD + RULING[commit])


@pytest.fixture
def waiting(store: SqlStore) -> tuple[SqlStore, Gate, Rollout]:
    """A release that has waited until what ran was halted; it came under the policy ``came``."""
    gate = Gate(policy=policy_of, texts=OneText(""), hours=OpeningCalendar("Europe/Berlin"))
    with store.write() as tx:
        tx.save_site(Site("s", "s", "NW", "", True))
        for number in range(3):
            joins(tx, f"t{number}", "s", "a", NINE)
            joins(tx, f"s{number}", "s", "c", NINE, role="server")
        first = appears(tx, gate, NINE, policy="came", critical=False)
        second = tx.rollout(appears(tx, gate, NINE, "2", policy="came", critical=False))
        assert intake.may_begin(tx) == []
        people.halt(tx, first, "anna", "it smells", NINE)
    assert second is not None
    assert second.state is RolloutState.QUEUED
    return store, gate, second


def test_what_has_waited_runs_under_the_policy_that_rules_when_it_begins(
    waiting: tuple[SqlStore, Gate, Rollout],
) -> None:
    store, gate, before = waiting
    with store.write() as tx:
        assert [(one.ring, one.cap) for one in tx.rings(before.id)] == [("a", 2), ("b", 0)]
        assert tx.activate_policy(ActivePolicy("rules", NINE, "anna"), "")
        assert intake.may_begin(tx) == ["one"]
        found = intake.promote_queued(tx, gate, "one", NINE)
        assert found == tx.rollout(before.id)
        assert found == replace(
            before, state=RolloutState.RUNNING, policy_version="rules", background=0.02, version=before.version + 1
        )
        rings = [(one.ring, one.position, one.cap, one.opened_at, one.members) for one in tx.rings(before.id)]
        assert rings == [("c", 0, 0, None, 0), ("a", 1, 5, None, 0)]
        limits = {one.make: (one.limit, one.in_flight) for one in tx.budgets(before.id)}
        assert limits == {"role=server": (4, 0), "role=till": (4, 0), FLEET: (9, 0)}
        told = tx.events(subject=before.id, limit=1)[0]
        assert (told.kind, told.policy_version) == ("rollout_running", "rules")
        assert told.detail == {"came_under": "came"}
        advance.advance_rollout(tx, gate, before.id, NINE)
        assert takes(tx, gate, before.id, "s0", NINE).ring == "c"
        assert intake.may_begin(tx) == []


@pytest.mark.parametrize("rules", ["", "other", "gone"])
def test_it_keeps_the_policy_in_which_it_came_where_the_one_that_rules_has_no_word_for_it(
    waiting: tuple[SqlStore, Gate, Rollout], rules: str
) -> None:
    store, gate, before = waiting
    with store.write() as tx:
        if rules:
            assert tx.activate_policy(ActivePolicy(rules, NINE, "anna"), "")
        rings, budgets = tx.rings(before.id), tx.budgets(before.id)
        found = intake.promote_queued(tx, gate, "one", NINE)
        assert found == replace(before, state=RolloutState.RUNNING, version=before.version + 1)
        assert (tx.rings(before.id), tx.budgets(before.id)) == (rings, budgets)


def test_nothing_of_it_changes_where_somebody_else_was_faster(waiting: tuple[SqlStore, Gate, Rollout]) -> None:
    store, _, before = waiting
    with store.write() as tx:
        rings, budgets = tx.rings(before.id), tx.budgets(before.id)
        assert not tx.begin_rollout(replace(before, state=RolloutState.RUNNING), [], [])
        assert (tx.rollout(before.id), tx.rings(before.id), tx.budgets(before.id)) == (before, rings, budgets)
