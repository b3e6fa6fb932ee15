"""The plan: the earliest opening of each ring with its arithmetic, and what could be lost before silence counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.adapters.store.tx_rollouts import BUDGETS
from gate.bootstrap import OneText, planning_gate, simulation
from gate.core.model import Machine, MachineStatus, RolloutState, Site, Step
from gate.core.policy import Policy
from gate.flows import advance, plan_words
from gate.flows.fleet_plan import fleet_plan
from gate.flows.plan import Plan, plan
from gate.ports import Gate
from gate.sim import scenario
from tests.flows.small_fleet import appears, joins, says, takes

PILOT = frozenset({"pilot"})
REBOOT = ", reboot: after install"
BERLIN = ZoneInfo("Europe/Berlin")
TEXT = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: s, plugin: directory}]
rings:
  - {name: a, why: w, pick: {label: pilot}, #a#}#between#
  - {name: b, why: w, pick: {role: till}, #b#}
windows: {day: {from: 30m after opening, to: 60m before closing}}
defaults: {stay_up: 10m, deadline: 2h open, #defaults#}
#top#
"""
FRIDAY = datetime(2026, 7, 24, 9, 0, tzinfo=BERLIN)


def policy_text(**parts: str) -> str:
    said = TEXT
    usual = {"a": "gate: {at_least: 1}, reboot: after install", "b": "gate: {at_least: 1}, reboot: after install"}
    for name in ("a", "between", "b", "defaults", "top"):
        said = said.replace(f"#{name}#", parts.get(name, usual.get(name, "")))
    return said


def course(at: datetime = FRIDAY, days: int = 14, sites: int = 4, tills: int = 2, **parts: str) -> Plan:
    policy = parse_text(policy_text(**parts))
    hours = "Mo-Fr 08:00-18:00"
    places = {f"s{n}": Site(f"s{n}", f"s{n}", "NW", hours) for n in range(sites)}
    machines = [
        Machine(f"{site}-{n}", site, MachineStatus.ACTIVE, "", {"role": "till"}, PILOT if site == "s0" else frozenset())
        for site in places
        for n in range(tills)
    ]  # fmt: skip
    return plan(planning_gate(policy), policy, policy.sources[0], machines, places, at.astimezone(UTC), days)


def local(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(BERLIN):%d %b %H:%M}"


ARITHMETIC = [
    # what, ring a, ring b, when b opens, what held b last
    ("one machine of ten minutes", "gate: {at_least: 1}" + REBOOT, "", "24 Jul 09:10", "at_least"),
    ("two on one site, one after the other", "gate: {at_least: 2, sites: 1}" + REBOOT, "", "24 Jul 09:20", "at_least"),
    ("more asked for than there are", "gate: {at_least: 9}" + REBOOT, "", "24 Jul 09:20", "at_least"),
    ("soak by the clock", "gate: {at_least: 1, soak: 10h}" + REBOOT, "", "24 Jul 19:10", "soak"),
    ("soak in opening hours", "gate: {at_least: 1, soak: 10h open}" + REBOOT, "", "27 Jul 09:10", "soak"),
    ("soak of an opening day", "gate: {at_least: 1, soak: 1d open}" + REBOOT, "", "27 Jul 09:10", "soak"),
    ("the floor is later", "gate: {at_least: 1}" + REBOOT, "floor: 12h", "24 Jul 21:00", "floor"),
    ("the floor is earlier", "gate: {at_least: 1}" + REBOOT, "floor: 5m", "24 Jul 09:10", "at_least"),
    ("the next boot is on Monday", "gate: {at_least: 1}", "", "27 Jul 06:40", "at_least"),
    ("two boots", "gate: {at_least: 1, boots: 2}", "", "28 Jul 06:40", "at_least"),
    ("the window is open", "gate: {at_least: 1}, windows: [day]" + REBOOT, "", "24 Jul 09:10", "at_least"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "a", "b", "opens", "last"), ARITHMETIC, ids=[row[0] for row in ARITHMETIC])
def test_the_earliest_opening_is_the_latest_of_what_it_waits_for(
    what: str, a: str, b: str, opens: str, last: str
) -> None:
    ring = course(a=a, b=b).rings[1]
    assert local(ring.opened_at) == opens
    assert max((held for held in ring.held if held.until), key=lambda one: one.until or FRIDAY).code == last
    assert max(held.until for held in ring.held if held.until) == ring.opened_at


def test_who_is_outside_a_share_is_planned_with_the_ring_that_it_follows_with() -> None:
    found = course(a="gate: {at_least: 1}, at_most: {share: 50%}" + REBOOT)
    assert [ring.members for ring in found.rings] == [1, 7], "one of the two pilots, and the other one with ring b"


def test_the_sentences_of_a_plan_name_the_clock_on_the_night_of_a_clock_change() -> None:
    policy = parse_text(policy_text())
    found = course(at=datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN))
    assert found.rings[0].opened_at is not None
    for language, said in (("en", "appears Sun 25 Oct 02:30 CEST:"), ("de", "die So 25.10. 02:30 CEST erscheint:")):
        assert next(plan_words.lines(found, None, policy, 14, language)).endswith(said)


def test_a_freeze_by_date_a_holiday_and_a_closed_window_put_it_off() -> None:
    frozen = course(top="freeze: [{name: x, from: 2026-07-24, to: 2026-07-26}]")
    assert local(frozen.rings[0].opened_at) == "27 Jul 00:00"
    assert [(one.code, one.freeze, one.rule) for one in frozen.rings[0].held] == [("frozen", "x", "freeze[0]")]
    night = course(at=FRIDAY.replace(hour=19), a="windows: [day], reboot: after install, gate: {at_least: 1}")
    assert (local(night.rings[0].opened_at), local(night.rings[0].first_at)) == ("24 Jul 19:00", "27 Jul 08:30")
    unity = datetime(2025, 10, 2, 9, 0, tzinfo=BERLIN)  # the day after is a holiday, then comes a weekend
    assert local(course(at=unity, a="gate: {at_least: 1}").rings[1].opened_at) == "06 Oct 06:40"


def test_a_release_that_comes_to_nothing_says_where_it_stands() -> None:
    found = course(top="freeze: [{name: x, from: 2026-07-25, to: 2026-12-31}]", a="gate: {at_least: 1}", days=5)
    last = found.rings[1]
    assert (last.opened_at, last.first_at, found.done_at) == (None, None, None)
    assert {one.code: one.until for one in last.held}["frozen"] is None


RISKS = [
    # what, b, the rest, machines of ring b that could have it
    ("the budget of a make of which two are proven", "at_most: {per_site: 2}", "", 12, 13),
    ("one machine a site", "", "", 4, 3),
    ("two machines a site", "at_most: {per_site: 2}", "", 4, 6),
    ("half of two", "at_most: {per_site: half}", "", 4, 3),
    ("the ring's cap", "at_most: {per_site: 2, cap: 5}", "", 4, 5),
    ("the share", "at_most: {per_site: 2, share: 50%}, gate: {at_least: 1}", "", 4, 3),
    ("at_risk a make", "at_most: {per_site: 2}", "at_risk: {per_make: 1}", 4, 1),
    ("at_risk of the fleet", "at_most: {per_site: 2}", "at_risk: {per_make: 9, fleet: 3}", 4, 3),
]  # fmt: skip


EARLY = [f"\n  - {{name: x{n}, why: w, pick: {{label: none}}}}" for n in range(2)]


@pytest.mark.parametrize(("what", "b", "top", "sites", "most"), RISKS, ids=[row[0] for row in RISKS])
def test_what_could_be_lost_is_the_smallest_limit(what: str, b: str, top: str, sites: int, most: int) -> None:
    found = course(b=b, top=top, sites=sites, between="".join(EARLY)).rings[-1]
    assert found.at_risk == most


@pytest.mark.parametrize(("between", "most"), [(1, 3), (2, 6)])
def test_rings_0_to_2_risk_one_machine_of_a_make_at_a_site(between: int, most: int) -> None:
    found = course(b="at_most: {per_site: 2}", between="".join(EARLY[:between])).rings[-1]
    assert found.at_risk == most


def test_a_make_that_nobody_has_survived_risks_its_first_batch_on_different_sites() -> None:
    first = course(sites=4, a="at_most: {per_site: 2}").rings[0]
    assert (first.members, first.at_risk) == (2, 1), "two machines on one site"
    assert course(sites=4, top="first_batch: 1").rings[0].at_risk == 1


def test_silence_counts_from_the_first_machine_that_took_it() -> None:
    found = course().rings[0]
    assert local(found.first_at) == "24 Jul 09:00"
    assert local(found.silent_at) == "24 Jul 11:10"


def test_no_ring_of_a_simulated_fleet_opens_before_its_plan(tmp_path: Path) -> None:
    """The plan is held to the real flows: they are later (machines poll), by little, and never earlier."""
    world = scenario.parse(
        {
            "scenario": 1,
            "name": "plan",
            "start": "2026-07-20T08:00:00+02:00",
            "run": "30h",
            "fleet": {
                "sites": 6,
                "land": ["NW"],
                "hours": "Mo-Fr 08:00-18:30",
                "machines": [
                    {"role": "till", "count": 2, "on": {"from": "90m before opening", "to": "10m after closing"}}
                ],
                "labels": {"pilot": {"share": "40%"}},
            },
            "releases": [{"at": "2026-07-20T09:00:00+02:00", "source": "s", "version": "1"}],
        }
    )
    text = policy_text(
        a="gate: {at_least: 2, soak: 1h open}, reboot: after install", b="floor: 2h, gate: {at_least: 1}"
    )
    policy = parse_text(text)
    machines = [
        Machine(one.id, one.site.id, MachineStatus.ACTIVE, one.id, one.facts, one.site.labels) for one in world.machines
    ]
    sites = {site.id: site for site in world.sites}
    at = world.releases[0].at.astimezone(UTC)
    planned = plan(planning_gate(policy), policy, policy.sources[0], machines, sites, at, 3)
    (release,) = simulation(world, text, tmp_path).run(lambda _: None)["releases"]
    for ring, real in zip(planned.rings, release["rings"], strict=True):
        assert ring.opened_at is not None
        assert real["opened_at"], ring
        late = datetime.fromisoformat(real["opened_at"]) - ring.opened_at
        assert 0 <= late.total_seconds() <= 3600, (ring.ring, late)


def test_the_plan_of_this_fleet_is_made_with_the_background_that_has_been_measured(store: SqlStore) -> None:
    """A boot in forty fails anyway: then fewer healthy machines rule out what a ring asks for."""
    policy = parse_text(policy_text(a="at_most: {per_site: 9}, gate: {at_least: 1, rule_out: {make: 3%}}" + REBOOT))
    gate, now = planning_gate(policy), FRIDAY.astimezone(UTC)
    with store.write() as tx:
        for n in range(40):
            tx.save_site(Site(f"s{n}", f"s{n}", "NW", "Mo-Fr 08:00-18:00"))
            for till in range(3):
                joins(tx, f"s{n}-{till}", f"s{n}", "a" if till else "b", now, labels=PILOT if till else ())
        early = fleet_plan(tx, gate, policy, now).plans[0].rings[1].opened_at
        rollout = tx.rollout(intake_of(tx, policy, now))
        assert rollout is not None
        assert tx.save_rollout(replace(rollout, state=RolloutState.DONE, done_at=now, version=rollout.version + 1))
    with store.connection() as connection, connection.begin():
        connection.execute(update(BUDGETS).values(tried=1000, tried_failed=25))
    with store.read() as tx:
        measured = fleet_plan(tx, gate, policy, now).plans[0].rings[1].opened_at
    assert early is not None
    assert measured is not None
    assert measured < early


def intake_of(tx: SqlTx, policy: Policy, now: datetime) -> str:
    gate = Gate(policy=lambda _: policy, texts=OneText(""), hours=OpeningCalendar("Europe/Berlin"))
    return appears(tx, gate, now)


BY_HAND = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory}]
rings:
  - {name: a, why: w, pick: {label: pilot}, gate: {at_least: 1, soak: 1m}, windows: [always]}
  - {name: b, why: w, pick: {role: till}, gate: {at_least: 3, soak: 1m}}
defaults: {stay_up: 1m, deadline: 2h open, background: 0.75%}
"""


def test_a_pilot_rebooted_by_hand_is_earlier_than_the_plan_and_the_plan_says_so(store: SqlStore) -> None:
    now, minute = datetime(2026, 3, 2, 9, tzinfo=UTC), timedelta(minutes=1)
    policy = parse_text(BY_HAND)
    gate = Gate(policy=lambda _: policy, texts=OneText(BY_HAND), hours=OpeningCalendar(policy.timezone))
    with store.write() as tx:
        for number in range(5):
            tx.save_site(Site(f"s{number}", f"s{number}", "NW", "Mo-Fr 08:00-18:00"))
            joins(tx, f"s{number}", f"s{number}", "b" if number else "a", now, labels=() if number else PILOT)
        rollout = appears(tx, gate, now, policy=OneText(BY_HAND).commit)
        machines, sites = tx.machines(limit=9), {one.id: one for one in tx.sites()}
    with store.write() as tx:
        advance.advance_rollout(tx, gate, rollout, now)
        claim = takes(tx, gate, rollout, "s0", now)
        claim = says(tx, gate, claim, Step.BOOTED, "b1", now + 10 * minute)
        says(tx, gate, claim, Step.HEALTHY, "b1", now + 13 * minute)
    for minutes in (14, 17):
        with store.write() as tx:
            advance.advance_rollout(tx, gate, rollout, now + minutes * minute)
    with store.read() as tx:
        opened = next(one.opened_at for one in tx.rings(rollout) if one.ring == "b")
    found = plan(planning_gate(policy), policy, policy.sources[0], machines, sites, now, 14)
    planned = found.rings[1].opened_at
    assert opened is not None
    assert planned is not None
    assert opened < planned
    for language, words in (
        ("en", "nobody reboots a machine by hand"),
        ("de", "niemand startet einen Rechner von Hand neu"),
    ):
        assert words in list(plan_words.lines(found, None, policy, 14, language))[-1]
