"""Recorded days are replayed under another policy, from what the database and the shelf keep: both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.shelf import FileShelf
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import OneText, scenario_of, simulation
from gate.core.errors import NotFound
from gate.core.model import Claim, ClaimState, RolloutState, SiteTime, TimeKind
from gate.flows import people, retention
from gate.ports import Gate
from gate.sim import recorded
from gate.sim.fleet import World
from gate.sim.outcomes import Outcome, as_recorded, replayed
from gate.sim.recorded import Recorded
from gate.sim.run import Simulation
from gate.sim.scenario import Fault, Scenario
from tests.flows.small_fleet import joins

pytestmark = pytest.mark.slow

DAY = timedelta(days=1)
SHOP = frozenset({"content"})
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: content, plugin: directory, kind: content, boot_critical: true, lever: held}
rings:
  - {name: first, why: some try it, pick: {label: pilot, role: till}, windows: [always], at_most: {per_site: half},
     gate: {soak: 1h open, at_least: 3}}
  - {name: rest, why: everybody, pick: {role: [till, server]}, windows: [always], at_most: {per_site: half},
     gate: {soak: 1h open, at_least: 3}}
at_risk: {per_make: 10, fleet: 20}
first_batch: 3
defaults: {stay_up: 5m, checkin: 5m, lease: 30m, deadline: 2h open, reboot: after install, background: 0.75%}
"""
LOOSER = POLICY.replace("first_batch: 3", "first_batch: 9")
STRICTER = POLICY.replace("first_batch: 3", "first_batch: 1")
DAYS = """\
scenario: 1
name: lived
seed: 4
start: "2026-03-02T06:00:00+01:00"
run: 12h
fleet:
  sites: 30
  land: [NW]
  hours: "Mo-Sa 08:00-18:30"
  check_ins: true
  machines:
    - {role: server, count: 1, on: {from: 90m before opening, to: 10m after closing}}
    - {role: till, count: 2, on: {from: 90m before opening, to: 10m after closing}}
  labels: {pilot: {share: 50%}}
releases:
  - {at: "2026-03-02T09:00:00+01:00", source: content, version: "1", boot_critical: true, FAULT}
"""
KILLS = DAYS.replace("FAULT", "fault: {on: boot, effect: brick}")
HEALS = DAYS.replace(", FAULT", "")


def lived(store: SqlStore, days: str | Scenario, policy: str = POLICY) -> Simulation:
    """An installation that has lived through such days, under this policy."""
    plan = days if isinstance(days, Scenario) else scenario_of(days, "lived")
    parsed = parse_text(policy)
    texts = OneText(policy)
    gate = Gate(policy=lambda _: parsed, texts=texts, hours=OpeningCalendar(parsed.timezone))
    sim = Simulation(plan, store, gate, texts.commit)
    sim.run()
    return sim


def nothing(_: str) -> Iterable[bytes]:
    return ()


def days(store: SqlStore, sim: Simulation, shelf: Callable[[str], Iterable[bytes]] = nothing) -> Recorded:
    return recorded.read(store, shelf, sim.scenario.start, sim.now, SHOP)


def again(was: Recorded, policy: str, folder: Path) -> Outcome:
    """What these days come to under a policy."""
    folder.mkdir()
    return replayed(was, simulation(was.scenario, policy, folder).run())


def test_a_looser_policy_exposes_more_on_a_recorded_bad_day_and_a_stricter_one_fewer(
    store: SqlStore, tmp_path: Path
) -> None:
    was = days(store, lived(store, KILLS))
    then = as_recorded(was)
    assert (then.exposed, then.bricked) == (3, 3)
    assert was.days[0].harmful
    assert (was.days[0].known, was.days[0].drawn, was.days[0].from_all) == (3, 57, 30)
    same, looser, stricter = (
        again(was, text, tmp_path / name)
        for name, text in (("same", POLICY), ("looser", LOOSER), ("stricter", STRICTER))
    )
    assert (same.exposed, same.bricked) == (then.exposed, then.bricked)
    assert looser.exposed == looser.bricked == 9
    assert stricter.exposed == stricter.bricked == 2, "one, and one more batch of one"
    assert not any(one.falsely_halted for one in (same, looser, stricter))
    assert same.hours is None


def test_a_recorded_good_day_goes_through_and_a_halt_of_it_is_false(store: SqlStore, tmp_path: Path) -> None:
    sim = lived(store, HEALS)
    was = days(store, sim)
    then, found = as_recorded(was), again(was, POLICY, tmp_path / "same")
    assert then.hours is not None
    assert found == replace(then, hours=found.hours)
    assert found.exposed == 90
    assert found.hours == pytest.approx(then.hours, abs=1.0)
    assert not was.days[0].harmful
    result: dict[str, Any] = {
        "releases": [{"halted_at": "x", "halted_by": "brakes[0]", "full_at": None, "exposed": 1, "bricked": 0}],
        "sites_without_till": 0,
    }
    assert replayed(was, result).falsely_halted == 1


def test_what_has_left_for_the_shelf_is_replayed_as_if_it_had_not(store: SqlStore, tmp_path: Path) -> None:
    second = '  - {at: "2026-03-03T09:00:00+01:00", source: content, version: "2", boot_critical: true}\n'
    plan = scenario_of((HEALS + second).replace("run: 12h", "run: 34h"), "lived")
    signed = ((plan.releases[0].at + timedelta(hours=1), "anna", "rest"),)
    plan = replace(plan, releases=(replace(plan.releases[0], signed=signed), plan.releases[1]))
    sim = lived(store, plan)
    before = days(store, sim)
    with store.read() as tx:
        assert [one.state for one in tx.rollouts()] == [RolloutState.DONE, RolloutState.SUPERSEDED]
    shelf = FileShelf(tmp_path / "shelf")
    while retention.shelve_some(store, shelf, timedelta(), sim.now + DAY):
        pass
    assert [one.version for one in days(store, sim).days] == ["2"]
    assert days(store, sim, shelf.lines) == before
    assert before.days[0].known == 90
    assert before.scenario.releases[0].signed == signed


def test_a_claim_and_a_rollout_come_back_from_their_lines(store: SqlStore) -> None:
    lived(store, KILLS.replace("run: 12h", "run: 4h"))
    with store.read() as tx:
        rollout = tx.rollouts()[0]
        claims = tx.claims(rollout.id)
    assert len(claims) == 3
    assert retention.rollout_of(retention.line_of(rollout)) == rollout
    assert [retention.claim_of(retention.line_of(one)) for one in claims] == claims


@pytest.mark.parametrize(
    ("state", "more", "effect", "on"),
    [
        (ClaimState.HEALTHY, {}, None, None),
        (ClaimState.SILENT, {}, "brick", "boot:1"),
        (ClaimState.SILENT, {"boots_healthy": 1}, "brick", "boot:2"),
        (ClaimState.SILENT, {"installed_at": None}, "brick", "apply"),
        (ClaimState.SILENT, {"evidence": "alive"}, "brick", "apply"),
        (ClaimState.SILENT, {"recovered": True}, "slow", "boot"),
        (ClaimState.RELAPSED, {}, "relapse", "boot"),
        (ClaimState.UNHEALTHY, {}, "unhealthy", "boot"),
        (ClaimState.FAILED, {}, "unhealthy", "boot"),
        (ClaimState.ROLLED_BACK, {}, "unhealthy", "boot"),
    ],
)
def test_each_outcome_happens_again(
    state: ClaimState, more: dict[str, Any], effect: str | None, on: str | None
) -> None:
    at = datetime.fromisoformat("2026-03-02T09:00:00+01:00")
    claim = Claim(
        "c", "r", "sha256:0", "content", "m", "s", "till", "first", "role=till", state, at, at, at, "b0", "boot", 1,
        timedelta(minutes=5), "natural", 1, True, installed_at=at, resolved_at=at + 3 * timedelta(hours=1),
    )  # fmt: skip
    found = recorded.fate(replace(claim, **more))
    assert (found and found.effect, found and found.on) == (effect, on)
    if effect == "slow":
        assert found is not None
        assert found.delay == timedelta(hours=3)


def test_the_vendor_our_own_gaps_and_the_fleet_of_then_are_part_of_it(store: SqlStore) -> None:
    sim = lived(store, KILLS.replace("run: 12h", "run: 4h"))
    nine = sim.scenario.releases[0].at
    midnight = nine - timedelta(hours=9)
    closed = SiteTime(midnight + 2 * DAY, midnight + 3 * DAY, TimeKind.CLOSED, "holidays", "anna")
    with store.write() as tx:
        rollout = tx.rollouts()[0]
        dead = tx.claims(rollout.id)[0].machine
        assert tx.revoke_machine(dead, sim.now)
        assert tx.revoke_machine("s00030-server-1", sim.now)
        joins(tx, "later", "s00001", "first", sim.now + DAY)
        assert tx.save_times("s00001", (closed,), ())
        tx.add_gap(nine, nine + timedelta(minutes=40))
        people.halt(tx, rollout.id, "source:content", "withdrawn", sim.now)
    was = days(store, sim)
    plan = was.scenario
    assert list(plan.events) == [
        {"at": nine, "gate_down": {"for": "2400s"}},
        {"at": sim.now, "vendor_reverts": "content"},
    ]
    names = {one.id for one in plan.machines}
    assert dead in names, "it has a claim of those days"
    assert names.isdisjoint({"s00030-server-1", "later"})
    assert next(one for one in plan.sites if one.id == "s00001").times == (closed,)
    world = World(plan, OpeningCalendar("Europe/Berlin"), "Europe/Berlin")
    till = next(one for one in plan.machines if one.id == "s00001-till-1")
    assert world.next_on(till, nine) == nine
    assert world.next_on(till, nine + 2 * DAY) == nine + 3 * DAY - timedelta(minutes=150), "a declared closing day"


def test_a_halt_alone_is_no_harm_what_a_vendor_or_people_take_back_is(store: SqlStore) -> None:
    sim = lived(store, HEALS.replace("run: 12h", "run: 4h"))

    def harmful(**halted: str) -> bool:
        with store.write() as tx:
            before = tx.rollouts()[0]
            assert tx.save_rollout(replace(before, version=before.version + 1, **halted))  # type: ignore[arg-type]
        (day,) = days(store, sim).days
        assert day.halted
        return day.harmful

    with store.write() as tx:
        rollout = people.halt(tx, tx.rollouts()[0].id, "eve", "a feeling", sim.now)
    assert not harmful()
    assert harmful(halted_by="source:content")
    with store.write() as tx:
        tx.append("rollout_recalled", "policy", rollout.id, sim.now)
    assert not harmful(halted_by="defaults.false_halt")
    with store.write() as tx:
        tx.append("rollout_recalled", "anna", rollout.id, sim.now)
    assert harmful()


def test_what_people_signed_then_is_signed_again(store: SqlStore, tmp_path: Path) -> None:
    needs = POLICY.replace("{name: rest, why: everybody,", "{name: rest, why: everybody, needs: {people: 1},")
    plan = scenario_of(HEALS, "lived")
    signed = ((plan.releases[0].at + timedelta(hours=1), "anna", "rest"),)
    plan = replace(plan, releases=(replace(plan.releases[0], signed=signed),))
    was = days(store, lived(store, plan, needs))
    assert was.scenario.releases[0].signed == signed
    assert again(was, needs, tmp_path / "signed").exposed == 90
    nobody = replace(was.scenario, releases=(replace(was.scenario.releases[0], signed=()),))
    assert again(replace(was, scenario=nobody), needs, tmp_path / "unsigned").exposed < 45


def test_a_machine_that_a_later_release_found_alive_lives_again(tmp_path: Path) -> None:
    plan = scenario_of(HEALS.replace("sites: 30", "sites: 6"), "lived")
    tills = frozenset(one.id for one in plan.machines if one.role == "till")
    dies = {name: Fault({}, "boot:1", 1.0, "brick", timedelta()) for name in tills}
    first = replace(plan.releases[0], fates=dies, living=tills)
    second = replace(first, at=first.at + timedelta(hours=5), version="2", fates={}, living=tills)
    policy = POLICY.replace("sources:", "sources:\n  - {name: other, plugin: directory, kind: content, lever: held}")
    found = []
    for name, last in (("alive", second), ("dead", replace(second, living=frozenset()))):
        (tmp_path / name).mkdir()
        both = replace(plan, releases=(first, replace(last, source="other", boot_critical=False)))
        result = simulation(both, policy, tmp_path / name).run()
        found.append([one["exposed"] for one in result["releases"]])
    (dead, all_alive), (same, fewer) = found
    assert dead == same > 0
    assert all_alive > fewer


def test_who_died_at_a_second_boot_dies_at_it_where_one_is_asked_for_too(store: SqlStore, tmp_path: Path) -> None:
    two = POLICY.replace("gate: {soak: 1h open, at_least: 3}}", "gate: {soak: 1h open, at_least: 3, boots: 2}}")
    second = HEALS.replace("critical: true}", 'critical: true, fault: {on: "boot:2", effect: brick}}')
    was = days(store, lived(store, second.replace("run: 12h", "run: 30h"), two))
    assert as_recorded(was).bricked == 3
    assert again(was, two, tmp_path / "two").bricked == 3
    one = again(was, POLICY, tmp_path / "one")
    assert one.exposed == 90
    assert one.bricked > 40


def test_days_without_a_release_are_said(store: SqlStore) -> None:
    sim = lived(store, HEALS.replace("run: 12h", "run: 4h"))
    with pytest.raises(NotFound, match="no release began from"):
        recorded.read(store, nothing, sim.now, sim.now + DAY, SHOP)
    with pytest.raises(NotFound):
        recorded.read(store, nothing, sim.scenario.start, sim.now, frozenset({"other"}))
