"""The age of each ring's protection, and the alarm of a release that must be everywhere by some time."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core.model import RingState, Rollout, Site, Step
from gate.flows import advance, people, protection
from gate.flows.protection import IS_LATE, WILL_BE_LATE
from gate.ports import ActivePolicy, Gate
from gate.sim.run import Simulation
from tests import long_run
from tests.flows.small_fleet import appears, joins, says, takes
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

SEEN = long_run.START + timedelta(hours=2)
RINGS = ["pilot", "all"]


def begun(store: SqlStore, within: str = "", releases: int = 1, at: datetime = SEEN) -> tuple[Simulation, Gate]:
    text = long_run.POLICY
    if within:
        text = text.replace("keep: 5}", f"keep: 5, must_be_everywhere_by: {within}}}")
    wanted = long_run.plan(sites=20, days=1, releases_a_day=releases)
    sim, gate = long_run.simulation(store, wanted, text)
    sim.start()
    sim.advance_to(at + timedelta(minutes=2))
    return sim, gate


def first(store: SqlStore) -> tuple[Rollout, list[RingState], datetime]:
    with store.read() as tx:
        rollout = tx.rollouts()[-1]
        release = tx.release(rollout.release)
        assert release is not None
        return rollout, tx.rings(rollout.id), release.first_seen_at


ALARMS = [
    # must be everywhere within, seconds after it was first seen, what was raised before, what is raised now
    ("11m", 120, [], [WILL_BE_LATE]),  # two minutes are gone and ten of soak to come
    ("12m", 120, [], []),  # it could just be
    ("3h", 120, [], []),
    ("11m", 660, [], [WILL_BE_LATE]),  # at its time it is not late yet
    ("11m", 661, [], [IS_LATE]),
    ("11m", 661, [120], [IS_LATE]),
    ("11m", 180, [120], []),  # each alarm once
    ("11m", 900, [661], []),
]


@pytest.mark.parametrize(("within", "seconds", "before", "raised"), ALARMS)
def test_it_alarms_when_it_cannot_arrive_in_time_and_again_when_the_time_has_passed(
    store: SqlStore, within: str, seconds: int, before: list[int], raised: list[str]
) -> None:
    _, gate = begun(store, within)
    rollout, rings, seen = first(store)
    with store.write() as tx:
        people.halt(tx, rollout.id, "anna", "we look at it", seen + timedelta(minutes=1))
    for earlier in before:
        assert protection.foresee(store, gate, seen + timedelta(seconds=earlier))
    assert protection.foresee(store, gate, seen + timedelta(seconds=seconds)) == raised
    after, later, _ = first(store)
    assert later == rings, "an alarm opens nothing"
    assert after.state.value == "halted"
    with store.read() as tx:
        said = [event.kind for event in tx.events(subject=protection.late_subject(rollout))]
        assert protection.alarmed(tx, rollout) == (said[0] if said else "")


def test_a_source_without_such_a_time_is_never_late(store: SqlStore) -> None:
    _, gate = begun(store)
    assert protection.foresee(store, gate, SEEN + timedelta(days=30)) == []


def test_what_has_reached_its_last_ring_is_late_no_longer(store: SqlStore) -> None:
    sim, gate = begun(store, "11m")
    rollout, _, seen = first(store)
    assert protection.foresee(store, gate, seen + timedelta(minutes=3)) == [WILL_BE_LATE]
    sim.advance_to(SEEN + timedelta(hours=5))
    _, rings, _ = first(store)
    assert rings[-1].opened_at is not None
    assert protection.foresee(store, gate, SEEN + timedelta(hours=5)) == []
    with store.read() as tx:
        assert protection.alarmed(tx, rollout) == ""


def test_a_ring_is_behind_since_the_first_release_that_it_lacks(store: SqlStore) -> None:
    begun(store, releases=3, at=SEEN + timedelta(hours=3))
    with store.write() as tx:
        newest = tx.rollouts()[0]
        found = protection.ages(tx, "shop", RINGS)
        releases = {one.version: one for one in tx.releases("shop", 10)}
    assert [(one.ring, one.version, one.behind) for one in found] == [("pilot", "0.1", 0), ("all", "0.0", 1)]
    assert found[0].since is None
    assert found[1].since == releases["0.1"].first_seen_at
    with store.write() as tx:
        people.halt(tx, newest.id, "anna", "smells", SEEN + timedelta(hours=4))
        pilot = protection.ages(tx, "shop", RINGS)[0]
        assert protection.ages(tx, "nobody", RINGS) == []
    assert (pilot.version, pilot.behind) == ("0.0", 1), "what is halted protects nobody"


def test_a_ring_that_nothing_has_reached_has_nothing_yet(store: SqlStore) -> None:
    begun(store)
    with store.read() as tx:
        last = protection.ages(tx, "shop", RINGS)[-1]
    assert (last.version, last.behind, last.newest) == ("", 1, "0.0")


BEGUN = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory, must_be_everywhere_by: WITHIN}]
rings:
  - {name: first, why: w, pick: {label: first}, gate: {soak: 10m, at_least: 4}}
  - {name: mid, why: w, pick: {label: mid}, at_most: {per_site: 9}, gate: {soak: 10m, at_least: 4}}
  - {name: rest, why: w, pick: {role: till}, gate: {soak: 10m, at_least: 1}}
first_batch: 9
defaults: {stay_up: 2m, deadline: 2h open, reboot: after install, background: 0.75%}
"""


@pytest.mark.parametrize(("within", "raised"), [("21m", []), ("20m", [WILL_BE_LATE])])
def test_what_earlier_rings_have_shown_counts_for_those_that_are_left(
    store: SqlStore, within: str, raised: list[str]
) -> None:
    """Four tills at one shop take it one after the other; nobody waits for them, four others are healthy."""
    nine, minute = at("2026-11-23 09:00"), timedelta(minutes=1)
    gate = gate_for(BEGUN.replace("WITHIN", within))
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", nine, "test"), "")
        tx.save_site(Site("shop", "", "NW", "Mo-Fr 08:00-18:00"))
        for number in range(4):
            tx.save_site(Site(f"s{number}", "", "NW", "Mo-Fr 08:00-18:00"))
            joins(tx, f"a{number}", f"s{number}", "first", nine, labels={"first"})
            joins(tx, f"b{number}", "shop", "mid", nine, labels={"mid"})
            joins(tx, f"c{number}", f"s{number}", "rest", nine)
        rollout = appears(tx, gate, nine)
        advance.advance_rollout(tx, gate, rollout, nine)
        for number in range(4):
            taken = takes(tx, gate, rollout, f"a{number}", nine)
            says(tx, gate, taken, Step.HEALTHY, "b1", nine + minute)
        advance.advance_rollout(tx, gate, rollout, nine + minute)
    assert protection.foresee(store, gate, nine + minute) == raised


TWO_MAKES = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory, must_be_everywhere_by: 1h}]
rings:
  - {name: first, why: w, pick: {label: first}, gate: {at_least: 3}}
  - {name: rest, why: w, pick: {role: [till, server]}, gate: {at_least: 3}}
first_batch: 9
defaults: {stay_up: 2m, deadline: 9h open, reboot: after install, background: 0.75%}
"""


def test_a_release_that_the_last_ring_has_for_one_make_only_is_not_everywhere(store: SqlStore) -> None:
    nine, minute = at("2026-11-23 09:00"), timedelta(minutes=1)
    gate = gate_for(TWO_MAKES)

    def healthy(role: str, after: int) -> None:
        with store.write() as tx:
            for number in range(3):
                taken = takes(tx, gate, rollout, f"{role}{number}", nine + (after - 3) * minute)
                says(tx, gate, taken, Step.HEALTHY, "b1", nine + after * minute)
            advance.advance_rollout(tx, gate, rollout, nine + after * minute)

    def told() -> tuple[str, str]:
        with store.read() as tx:
            found = tx.rollout(rollout)
            assert found is not None
            return protection.alarmed(tx, found), protection.ages(tx, "one", ["first", "rest"])[-1].version

    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", nine, "test"), "")
        for number in range(3):
            tx.save_site(Site(f"s{number}", "", "NW", "Mo-Fr 08:00-18:00"))
            tx.save_site(Site(f"r{number}", "", "NW", "Mo-Fr 08:00-18:00"))
            for role in ("till", "server"):
                joins(tx, f"{role}{number}", f"s{number}", "first", nine, role=role, labels={"first"})
                joins(tx, f"{role}-r{number}", f"r{number}", "rest", nine, role=role)
        rollout = appears(tx, gate, nine)
        advance.advance_rollout(tx, gate, rollout, nine)
    healthy("till", 4)
    with store.read() as tx:
        assert {one.make: one.open for one in tx.strata(rollout) if one.ring == "rest"} == {
            "role=till": True,
            "role=server": False,
        }
    assert protection.foresee(store, gate, nine + 60 * minute) == []
    assert protection.foresee(store, gate, nine + 61 * minute) == [IS_LATE]
    assert protection.foresee(store, gate, nine + 62 * minute) == []
    assert told() == (IS_LATE, "")
    healthy("server", 70)
    assert protection.foresee(store, gate, nine + 71 * minute) == []
    assert told() == ("", "1")
