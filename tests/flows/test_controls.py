"""The running gate compares with machines that were not updated, in the same hours: both databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from gate.adapters.store import prepared
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core import evalues, spans
from gate.core.evalues import Span
from gate.core.model import (
    Artifact,
    Claim,
    ClaimState,
    Rollout,
    RolloutState,
    Site,
    SiteTime,
    Step,
    TimeKind,
    Trust,
)
from gate.core.opening import judge
from gate.core.spans import EVERY_BOOT, Sum
from gate.flows import (
    advance,
    claims,
    controls,
    facts_json,
    intake,
    listening,
    people,
    replay,
    site_times,
    sweep,
    unclear,
    watch,
)
from gate.ports import ActivePolicy, Gate, Sight
from tests.fake_store import FakeStore
from tests.flows.small_fleet import appears, draws_nobody, joins, says, takes
from tests.flows.test_site_times import BERLIN, at
from tests.flows.test_stateful import gate_for

pytestmark = pytest.mark.slow

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
NINE = at("2026-11-23 09:00")  # a Monday
MAKE = "role=till"
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: one, plugin: directory}
rings:
  - {name: first, why: w, pick: {label: first}, at_most: {per_site: half}, gate: {soak: 1h open, at_least: 3}}
  - {name: rest, why: w, pick: {role: [till]}, gate: {soak: 1h open, at_least: 1}}
at_risk: {per_make: 300, fleet: 300}
first_batch: 3
defaults: {stay_up: 1m, deadline: 2h open, reboot: after install, background: 0.75%, inconclusive_after: 3h}
"""


class Country:
    """Two tills at each of ``exposed`` sites of the first ring and at each of ``others``; one rollout is running."""

    def __init__(self, store: SqlStore, exposed: int = 40, others: int = 130, text: str = POLICY) -> None:
        self.store, self.gate, self.now = store, gate_for(text), NINE
        self.compares = True
        self.first = [f"e{number:03}" for number in range(exposed)]
        self.others = [f"o{number:03}" for number in range(others)]
        self.machines = [f"{site}-{till}" for site in (*self.first, *self.others) for till in "ab"]
        with store.write() as tx:
            tx.activate_policy(ActivePolicy("v", NINE, "test"), "")
            for site in (*self.first, *self.others):
                tx.save_site(Site(site, site, "NW", "Mo-Fr 08:00-18:00"))
            for name in self.machines:
                ring = "first" if name[0] == "e" else "rest"
                joins(tx, name, name[:4], ring, NINE - timedelta(days=9))
                tx.seen(name, NINE)
            self.rollout = appears(tx, self.gate, NINE)
        self.tick(NINE)

    def tick(self, now: datetime) -> None:
        """As the worker does."""
        self.now = now
        with self.store.write() as tx:
            sweep.sweep(tx, self.gate, now)
        if self.compares:
            with self.store.read() as tx:
                due = controls.due(tx, self.rollout, now)
                counted = controls.count(tx, self.gate, self.rollout, now) if due else None
            if counted is not None:
                with self.store.write() as tx:
                    controls.look(tx, self.gate, self.rollout, counted, now)
        with self.store.write() as tx:
            advance.watch_rollout(tx, self.gate, self.rollout, now)
            advance.advance_rollout(tx, self.gate, self.rollout, now)
            draws_nobody(tx, self.rollout)

    def looks(self, tx: SqlTx, now: datetime) -> None:
        counted = controls.count(tx, self.gate, self.rollout, now)
        assert counted is not None
        controls.look(tx, self.gate, self.rollout, counted, now)

    def heard(self, silent: frozenset[str] = frozenset()) -> None:
        with self.store.write() as tx:
            for name in self.machines:
                if name not in silent:
                    tx.seen(name, self.now)

    def takes(self, *names: str) -> list[Claim]:
        found = []
        for name in names:
            with self.store.write() as tx:
                found.append(takes(tx, self.gate, self.rollout, name, self.now))
        return found

    def report(self, tx: SqlTx, claim: Claim, step: Step, boot: str) -> Claim:
        return says(tx, self.gate, claim, step, boot, self.now)

    def ends(self, claim: Claim, step: Step) -> None:
        with self.store.write() as tx:
            before = tx.claim(claim.id)
            assert before is not None
            if step is Step.HEALTHY and before.state is ClaimState.INSTALLED:
                self.report(tx, before, Step.BOOTED, "b1")
            self.report(tx, before, step, "b1")

    def begun(self, more: int) -> list[Claim]:
        """Three have shown that it works; ``more`` take it at half past nine."""
        for claim in self.takes("e000-a", "e001-a", "e002-a"):
            self.ends(claim, Step.HEALTHY)
        self.heard()
        self.tick(NINE + 30 * MINUTE)
        return self.takes(*[f"{site}-a" for site in self.first[3 : 3 + more]])

    def until(self, end: datetime, silent: frozenset[str] = frozenset()) -> None:
        """Ten minutes at a time; those that can be heard are."""
        while self.now < end:
            self.now += 10 * MINUTE
            self.heard(silent)
            self.tick(self.now)

    @property
    def state(self) -> Rollout:
        with self.store.read() as tx:
            found = tx.rollout(self.rollout)
        assert found is not None
        return found

    @property
    def halted(self) -> bool:
        return self.state.state is RolloutState.HALTED

    def codes(self) -> set[str]:
        with self.store.read() as tx:
            return {str(reason["code"]) for one in tx.decisions(self.rollout, 1) for reason in one.reasons}


def part(names: list[str], share: int) -> frozenset[str]:
    """``share`` percent of them, spread evenly."""
    return frozenset(name for number, name in enumerate(names) if number * share % 100 < share)


def outage(country: Country, until: str = "2026-11-23 13:00", state: RolloutState | None = None) -> None:
    """From half past nine on 30 % of all machines cannot be heard; the others are healthy."""
    flying = country.begun(30)
    silent = part([claim.machine for claim in flying], 30) | part([m for m in country.machines if m[0] == "o"], 30)
    for claim in flying:
        if claim.machine not in silent:
            country.ends(claim, Step.HEALTHY)
    if state is not None:
        with country.store.write() as tx:
            found = tx.rollout(country.rollout)
            assert found is not None
            assert tx.save_rollout(replace(found, state=state, version=found.version + 1))
    country.until(at(until), silent)


@pytest.mark.parametrize("compares", [True, False], ids=["controls", "fixed"])
def test_an_outage_does_not_halt_a_healthy_release_and_would_against_a_fixed_background(
    store: SqlStore, compares: bool
) -> None:
    country = Country(store)
    country.compares = compares
    outage(country)
    with store.read() as tx:
        assert tx.budgets(country.rollout)[0].tried_failed == 9, "nine of thirty were silent"
    assert country.halted is not compares
    if compares:
        assert country.codes() >= {"controls_silent"}


@pytest.mark.parametrize("compares", [True, False], ids=["controls", "fixed"])
@pytest.mark.parametrize("state", [RolloutState.DONE, RolloutState.SUPERSEDED])
def test_what_is_over_and_watched_is_compared_with_controls_as_what_runs(
    store: SqlStore, state: RolloutState, *, compares: bool
) -> None:
    country = Country(store)
    country.compares = compares
    outage(country, state=state)
    with store.read() as tx:
        assert tx.budgets(country.rollout)[0].tried_failed == 9, "nine of thirty were silent"
    assert country.halted is not compares


@pytest.mark.parametrize("compares", [True, False], ids=["controls", "fixed"])
@pytest.mark.parametrize("step", [Step.FAILED, None], ids=["says so", "silent"])
def test_a_bad_release_halts_in_the_same_tick_as_without_controls(
    store: SqlStore, compares: bool, step: Step | None
) -> None:
    country = Country(store)
    country.compares = compares
    bad = country.takes("e000-a", "e001-a", "e002-a")
    country.until(NINE + 20 * MINUTE, frozenset(claim.machine for claim in bad))
    for claim in bad[:2]:
        if step is not None:
            country.ends(claim, step)
    dead = frozenset(claim.machine for claim in bad)
    country.until(NINE + 2 * HOUR if step is None else country.now, dead)
    assert not country.halted
    country.tick(country.now + MINUTE)
    assert country.halted
    assert country.state.halted_by == "defaults.false_halt"


def test_a_bad_release_halts_in_an_outage_too(store: SqlStore) -> None:
    country = Country(store)
    flying = country.begun(30)
    silent = frozenset(one.machine for one in flying) | part([m for m in country.machines if m[0] == "o"], 30)
    country.until(at("2026-11-23 11:30"), silent)
    assert not country.halted
    country.until(at("2026-11-23 11:40"), silent)
    assert country.halted


@pytest.mark.parametrize(("others", "halted"), [(100, False), (99, True)])
def test_two_hundred_controls_of_a_make_are_enough_and_fewer_are_not(
    store: SqlStore, others: int, halted: bool
) -> None:
    country = Country(store, exposed=33, others=others)  # two tills each; the first ring's sites all have one
    outage(country, "2026-11-23 12:00")
    assert country.halted is halted


def test_an_outage_that_is_over_before_the_hour_is_closed_is_not_forgotten(store: SqlStore) -> None:
    country = Country(store)
    outage(country, "2026-11-23 11:40")
    country.until(at("2026-11-23 14:00"))
    with store.read() as tx:
        assert tx.trials(country.rollout).sums[MAKE, EVERY_BOOT].failed == 9, "it is closed"
    assert not country.halted
    assert "controls_silent" not in country.codes()


def replayed(country: Country) -> None:
    policy = country.gate.policy("v")
    gate = Gate(policy=lambda _: policy, texts=country.gate.texts, hours=country.gate.hours)
    with country.store.read() as tx:
        found = tx.decisions(country.rollout, 500)
    assert found
    for one in found:
        assert replay.replay(gate, one, "one").differences == ()
        again = judge(facts_json.load(json.loads(json.dumps(dict(one.facts)))))
        assert (again.verdict.name, again.makes) == (one.verdict, one.makes)


@pytest.mark.parametrize("bad", [False, True])
def test_every_decision_can_be_replayed(store: SqlStore, bad: bool) -> None:
    country = Country(store)
    country.compares = not bad
    outage(country)
    assert country.halted is bad
    replayed(country)


# what is kept


def shown(country: Country) -> dict[tuple[str, int], Sum]:
    """All that is judged against controls."""
    with country.store.read() as tx:
        found = tx.trials(country.rollout).sums
        for place, more in spans.unfolded(tx.spans(country.rollout), 3).items():
            found[place] = found.get(place, Sum()).plus(more)
    return found


def same(one: dict[tuple[str, int], Sum], other: dict[tuple[str, int], Sum]) -> bool:
    return one.keys() == other.keys() and all(
        (one[place].exposed, one[place].failed) == (other[place].exposed, other[place].failed)
        and one[place].running.logs == pytest.approx(other[place].running.logs, abs=1e-9)
        for place in one
    )


def test_a_restart_changes_nothing_and_what_is_folded_is_not_folded_again(store: SqlStore) -> None:
    country = Country(store)
    outage(country)
    before = shown(country)
    assert before[MAKE, EVERY_BOOT].exposed == 33
    assert before[MAKE, EVERY_BOOT].failed == 9
    again = SqlStore(store.url)
    country.store, country.gate = again, gate_for(POLICY)
    country.until(at("2026-11-23 15:00"))
    with again.read() as tx:
        assert tx.spans(country.rollout) == [], "all are closed"
    assert same(shown(country), before)
    again.close()


@pytest.mark.parametrize("closes", [False, True], ids=["before it is closed", "after it is closed"])
def test_a_failure_that_a_person_explains_leaves_its_span_as_it_leaves_k(store: SqlStore, closes: bool) -> None:
    country = Country(store)
    outage(country, "2026-11-23 13:00" if closes else "2026-11-23 11:40")
    with store.write() as tx:
        lost = tx.claims(country.rollout, states=(ClaimState.SILENT,))
        for claim in lost:
            people.explain_failure(tx, country.gate, claim.id, "anna", "the line was down", country.now)
        advance.advance_rollout(tx, country.gate, country.rollout, country.now)
    expected = [(24, 0), (24, 0)]
    places = [(MAKE, EVERY_BOOT), ("*", 1)]
    assert [(shown(country)[one].exposed, shown(country)[one].failed) for one in places] == expected
    country.until(at("2026-11-23 15:00"))
    with store.read() as tx:
        sums = tx.trials(country.rollout).sums
    assert [(sums[one].exposed, sums[one].failed) for one in places] == expected


def test_a_report_that_comes_after_its_hour_was_closed_is_folded_against_the_controls_of_that_hour(
    store: SqlStore,
) -> None:
    """One country hears of a relapse at once, the other only once the hour is closed."""
    ends = []
    for late in (False, True):
        country = Country(store) if not ends else _another(store)
        claim = country.takes("e000-a")[0]
        country.ends(claim, Step.HEALTHY)
        if not late:
            country.ends(claim, Step.UNHEALTHY)
        country.until(at("2026-11-23 13:20"))
        if late:
            with store.read() as tx:
                assert tx.spans(country.rollout) == []
            country.ends(claim, Step.UNHEALTHY)
            with store.read() as tx:
                assert len(tx.spans(country.rollout)) == 2, "the make's and the boot's"
            country.until(at("2026-11-23 14:30"))
        with store.read() as tx:
            assert tx.spans(country.rollout) == []
            ends.append(tx.trials(country.rollout).sums)
    assert ends[0][MAKE, EVERY_BOOT].failed == 1
    assert same(*ends)


def _another(store: SqlStore) -> Country:
    """The same country in an empty database."""
    from sqlmodel import SQLModel

    with store.write() as tx:
        for table in reversed(SQLModel.metadata.sorted_tables):
            if table.name != "audit_head":
                tx.connection.execute(table.delete())
        tx.connection.exec_driver_sql("UPDATE audit_head SET size = 0, peaks = ''")
    return Country(store)


def test_a_report_costs_the_same_statements_however_many_spans_there_are(store: SqlStore) -> None:
    country = Country(store)
    first = country.takes("e000-a", "e001-a")
    with counted() as few:
        country.ends(first[0], Step.HEALTHY)
    with store.write() as tx:
        row = "INSERT INTO spans (rollout, hour, make, boot, exposed, failed) VALUES "
        values = ", ".join(f"('{country.rollout}', {hour}, 'make{hour % 7}', 0, 5, 1)" for hour in range(500))
        tx.connection.exec_driver_sql(row + values)
    with counted() as many:
        country.ends(first[1], Step.HEALTHY)
    assert len(few) == len(many)
    assert sum("INSERT INTO spans" in one for one in many) == 2, "the make's and the boot's"


@contextmanager
def counted() -> Iterator[list[str]]:
    """The prepared statements that are run meanwhile."""
    found: list[str] = []
    plain = prepared._cursor

    def counting(connection: Any, text: str) -> Any:
        found.append(text)
        return plain(connection, text)

    prepared._cursor = counting
    try:
        yield found
    finally:
        prepared._cursor = plain


# who is a control


def tally(country: Country, hour: str, now: str) -> tuple[int, int]:
    moment = at(now)
    with country.store.read() as tx:
        groups = tx.controls(country.rollout, moment - controls.BACK, controls.STEP)
        found = controls.Tally(country.gate, country.gate.policy("v"), groups, [], moment).of(at(hour))
    return found.get(MAKE, (0, 0))


def test_a_control_is_active_free_and_at_a_site_without_an_exposed_machine(store: SqlStore) -> None:
    country = Country(store, exposed=3, others=3)

    def now() -> tuple[int, int]:
        return tally(country, "2026-11-23 08:00", "2026-11-23 09:20")

    assert now() == (12, 0)
    with store.write() as tx:
        rollout, machine = tx.rollout(country.rollout), tx.machine("e000-a")
        answer = claims.claim(tx, country.gate, machine, "one", rollout.release, "b0", country.now)
        assert isinstance(answer, tuple)
    assert now() == (11, 0), "one has a claim in hand; nothing is applied yet"
    with store.write() as tx:
        country.report(tx, answer[0], Step.INSTALLED, "b0")
    assert now() == (10, 0), "its whole site is out"
    with store.write() as tx:
        assert tx.revoke_machine("o000-a", country.now)
    assert now() == (9, 0)
    with store.write() as tx:
        joins(tx, "new", "o001", "rest", country.now)
    assert now() == (9, 0), "accepted today, and never heard"


@pytest.mark.parametrize(
    ("heard", "now", "expected"),
    [
        ("09:05", "09:20", 0),  # within three check-ins
        ("09:04", "09:20", 2),
        ("10:00", "11:00", 0),  # since the hour's end
        ("09:59", "11:00", 2),
    ],
)
def test_a_control_is_silent_when_it_was_not_heard_since_the_hour_ended_or_for_three_check_ins(
    store: SqlStore, heard: str, now: str, expected: int
) -> None:
    country = Country(store, exposed=1, others=3)
    with store.write() as tx:
        for name in country.machines:
            tx.seen(name, at(f"2026-11-23 {heard if name.startswith('o000') else now}"))
    assert tally(country, "2026-11-23 09:00", f"2026-11-23 {now}") == (8, expected)


@pytest.mark.parametrize(
    ("hours", "times", "hour", "now", "expected"),
    [
        ("Mo-Fr 08:00-18:00", (), "08:00", "09:20", True),
        ("Mo-Fr 10:00-18:00", (), "08:00", "11:20", False),  # not open in that hour
        ("Mo-Fr 08:00-09:14", (), "08:00", "10:00", False),  # not open for three check-ins since
        ("Mo-Fr 08:00-09:15", (), "08:00", "10:00", True),
        ("Tu-Fr 08:00-18:00", (), "08:00", "09:20", False),
        ("Tu-Fr 08:00-18:00", ((TimeKind.DUTY, 6, 12),), "08:00", "09:20", True),
        ("Mo-Fr 08:00-18:00", ((TimeKind.CLOSED, 0, 24),), "08:00", "09:20", False),
        ("", (), "08:00", "09:20", False),
    ],
)
def test_a_control_is_expected_on_by_its_sites_hours_duty_and_closing_days(
    store: SqlStore, hours: str, times: Any, hour: str, now: str, expected: bool
) -> None:
    country = Country(store, exposed=1, others=1)
    midnight = at("2026-11-23 00:00")
    own = [SiteTime(midnight + a * HOUR, midnight + b * HOUR, kind) for kind, a, b in times]
    with store.write() as tx:
        tx.save_site(Site("o000", "o000", "NW", hours))
        assert tx.save_times("o000", own, ())
    assert tally(country, f"2026-11-23 {hour}", f"2026-11-23 {now}")[0] == (4 if expected else 2)


def test_a_control_that_went_down_as_planned_is_dark_today_and_missing_tomorrow(store: SqlStore) -> None:
    country = Country(store, exposed=1, others=3)
    with store.write() as tx:
        for name in country.machines:
            tx.seen(name, at("2026-11-23 11:00"), down=name == "o000-a")
    country.now = at("2026-11-23 13:00")
    with store.write() as tx:
        for name in country.machines:
            if name != "o000-a":
                tx.seen(name, country.now)
    assert tally(country, "2026-11-23 11:00", "2026-11-23 13:00") == (7, 0)
    with store.write() as tx:
        for name in country.machines:
            if name != "o000-a":
                tx.seen(name, at("2026-11-24 10:00"))
    assert tally(country, "2026-11-24 08:00", "2026-11-24 10:00") == (8, 1)


def test_nothing_is_known_of_hours_in_a_gap_of_our_own(store: SqlStore) -> None:
    country = Country(store, exposed=1, others=3)
    with store.write() as tx:
        tx.add_gap(at("2026-11-23 09:10"), at("2026-11-23 09:40"))
        country.looks(tx, at("2026-11-23 11:00"))
        assert tx.sight(country.rollout).controls == 0


@pytest.mark.parametrize(
    ("had", "seen", "kept"),
    [
        ((0, 0), (150, 3), (150, 3)),  # too few so far: the newer look
        ((300, 90), (300, 2), (300, 90)),  # the outage is over; what was seen in it stays
        ((300, 2), (300, 90), (300, 90)),
        ((300, 90), (150, 150), (300, 90)),  # too few to replace anything
        ((300, 3), (600, 6), (300, 3)),
        ((300, 3), (600, 7), (600, 7)),
    ],
)
def test_of_several_looks_the_one_with_the_most_silent_controls_counts(
    had: tuple[int, int], seen: tuple[int, int], kept: tuple[int, int]
) -> None:
    row = spans.SpanRow(MAKE, EVERY_BOOT, NINE, 5, 2, *had)
    after = controls._worst(row, seen, NINE + HOUR)
    assert (after.controls, after.controls_failed) == kept
    assert (after.looked_at, after.failed_then) == (NINE + HOUR, 2)


@pytest.mark.parametrize(("now", "compared"), [("14:10", True), ("14:11", False)])
def test_an_hour_that_was_over_for_two_hours_is_not_looked_at_any_more(
    store: SqlStore, now: str, compared: bool
) -> None:
    country = Country(store)
    claim = country.takes("e000-a")[0]
    country.ends(claim, Step.HEALTHY)
    country.now = at(f"2026-11-23 {now}")  # nine to ten, two hours, a minute to stay up, ten to be sure: 12:11
    country.heard()
    with store.write() as tx:
        country.looks(tx, country.now)
        assert bool(tx.trials(country.rollout).sums) is compared
        assert tx.spans(country.rollout) == []


# when a trial began


@pytest.mark.parametrize(
    ("claimed", "reboot", "began"),
    [
        ("2026-11-23 09:40", "after install", "2026-11-23 09:40"),
        ("2026-11-23 20:00", "after install", "2026-11-24 08:00"),  # its clock waits for the opening
        ("2026-11-23 09:40", "natural", "2026-11-24 08:00"),
        ("2026-11-23 05:00", "natural", "2026-11-23 08:00"),
        ("2026-11-27 09:40", "natural", "2026-11-30 08:00"),  # over a weekend
    ],
)
def test_a_trial_begins_when_its_machine_is_expected_on(store: SqlStore, claimed: str, reboot: str, began: str) -> None:
    country = Country(store, exposed=1, others=1, text=POLICY.replace("after install", reboot))
    country.now = at(claimed)
    [claim] = country.takes("e000-a")
    assert claim.trial_at == at(began)
    country.ends(claim, Step.FAILED)
    with store.read() as tx:
        [own, boot] = sorted(tx.spans(country.rollout), key=lambda row: row.boot)
        assert (own.boot, own.exposed, own.failed, boot.boot) == (0, 1, 1, 1)
        assert own.hour == spans.hour_of(at(began)), "however early it is decided: as those that are decided later"


@pytest.mark.parametrize("heard_at", ["06:40", "08:20"])
@pytest.mark.parametrize(("outage", "state"), [(True, RolloutState.RUNNING), (False, RolloutState.HALTED)])
def test_who_boots_before_opening_is_compared_with_those_who_do_not(heard_at: str, outage: bool, state: str) -> None:
    """Three of ten are silent: everywhere, or only where the release is. Who is well says so as it boots; who is silent
    is silent from the opening on. All of them are one hour's trials."""
    country = Country(FakeStore(), exposed=55, others=130, text=POLICY.replace("after install", "natural"))
    flying = country.begun(50)
    country.until(at("2026-11-23 18:00"))
    silent = part([one.machine for one in flying], 30)
    if outage:
        silent |= part([name for name in country.machines if name[0] == "o"], 30)
    country.now = at(f"2026-11-24 {heard_at}")
    country.heard(silent)
    for one in flying:
        if one.machine not in silent:
            country.ends(one, Step.HEALTHY)
    for clock in ("09:00", "09:30", "10:00", "10:10", "10:20", "10:40", "11:00", "12:00", "13:00"):
        country.now = at(f"2026-11-24 {clock}")
        country.heard(silent)
        country.tick(country.now)
        if country.halted:
            break
    assert country.state.state is state


def test_silence_counts_in_the_hour_in_which_the_trial_began(store: SqlStore) -> None:
    country = Country(store, exposed=2, others=1, text=POLICY.replace("after install", "natural"))
    country.takes("e000-a")
    country.now = at("2026-11-24 10:01")
    with store.write() as tx:
        tx.seen("e000-b", country.now)
        assert sweep.sweep(tx, country.gate, country.now) == 1
        assert {row.hour for row in tx.spans(country.rollout)} == {at("2026-11-24 08:00")}


def test_each_opening_day_of_the_watch_is_a_trial_of_the_next_number(store: SqlStore) -> None:
    country = Country(store, exposed=4, others=1)
    for claim in country.takes("e000-a", "e001-a", "e002-a"):
        country.ends(claim, Step.HEALTHY)
    for day, gone in (("2026-11-24", ""), ("2026-11-25", "e001-a")):
        with store.write() as tx:
            for name in country.machines:
                if name != gone:
                    tx.seen(name, at(f"{day} 08:10"))
            list(watch.look(tx, country.gate, at(f"{day} 10:30")))
    with store.read() as tx:
        assert tx.trials(country.rollout).boots == {
            1: Span(3, 0),
            2: Span(3, 0),
            3: Span(3, 1),
            4: Span(0, 0),
            5: Span(0, 0),
        }
        found = {(row.hour, row.boot): (row.exposed, row.failed) for row in tx.spans(country.rollout)}
        assert found[at("2026-11-25 08:00"), 3] == (3, 1)
        assert found[at("2026-11-25 08:00"), EVERY_BOOT] == (3, 1)
        [budget] = [one for one in tx.budgets(country.rollout) if one.make == MAKE]
        assert (budget.tried, budget.tried_failed) == (9, 1)


# nothing is concluded


def saw(country: Country, sight: Sight) -> None:
    with country.store.write() as tx:
        tx.save_sight(country.rollout, sight)


def test_nothing_opens_while_controls_are_silent_and_a_person_is_asked_once(store: SqlStore) -> None:
    country = Country(store)
    country.compares = False
    for claim in country.takes("e000-a", "e001-a", "e002-a"):
        country.ends(claim, Step.HEALTHY)
    saw(country, Sight(NINE, 300, 90))
    country.until(at("2026-11-23 12:00"))
    assert country.state.reached == 0
    assert country.codes() == {"controls_silent", "soak"}
    with store.read() as tx:
        assert tx.sight(country.rollout).unclear_since == at("2026-11-23 09:10")
        assert [e.kind for e in tx.events(subject=country.rollout)].count(unclear.ASKED) == 0
    country.until(at("2026-11-23 14:00"))
    with store.read() as tx:
        [asked] = [e for e in tx.events(subject=country.rollout) if e.kind == unclear.ASKED]
        assert asked.at == at("2026-11-23 12:10")
        assert asked.detail["because"] == ["controls_silent"]
    with store.write() as tx:
        tx.save_sight(country.rollout, replace(tx.sight(country.rollout), silent=9))
    country.tick(country.now + MINUTE)
    assert (country.state.reached, "soak" in country.codes()) == (0, True), "3 % of 300 are silent: below the cap"
    with store.read() as tx:
        assert tx.sight(country.rollout).unclear_since is None
        [soak] = [one.soak_until for one in tx.strata(country.rollout) if one.soak_until is not None]
        assert soak == at("2026-11-23 15:01"), "it had an hour left when nothing could be concluded any more"


@pytest.mark.parametrize(
    ("unclear_from", "unclear_to", "over"),
    [
        ("09:10", "09:10", "10:10"),
        ("09:40", "09:50", "10:20"),
        ("09:20", "13:20", "14:10"),
        ("10:10", "13:10", "13:10"),  # it was over before
    ],
    ids=["never", "for ten minutes", "for four hours", "after it"],
)
def test_a_soak_stands_while_nothing_can_be_concluded(
    store: SqlStore, unclear_from: str, unclear_to: str, over: str
) -> None:
    """The first look after nine o'clock, at ten past, finds enough healthy machines: an hour from there."""
    country = Country(store)
    country.compares = False
    for claim in country.takes("e000-a", "e001-a", "e002-a"):
        country.ends(claim, Step.HEALTHY)
    opened, clear = None, Sight(NINE, 300, 9)
    while opened is None and country.now < at("2026-11-23 16:00"):
        country.now += 10 * MINUTE
        with store.write() as tx:
            before = tx.sight(country.rollout)
            silent = at(f"2026-11-23 {unclear_from}") <= country.now < at(f"2026-11-23 {unclear_to}")
            tx.save_sight(
                country.rollout, replace(clear, silent=90 if silent else 9, unclear_since=before.unclear_since)
            )
        country.heard()
        country.tick(country.now)
        opened = country.now if country.state.reached else None
    assert opened == at(f"2026-11-23 {over}")


def test_a_gap_of_our_own_and_a_time_of_which_nothing_is_known_each_make_a_soak_stand_once(store: SqlStore) -> None:
    country = Country(store)
    country.compares = False
    for claim in country.takes("e000-a", "e001-a", "e002-a"):
        country.ends(claim, Step.HEALTHY)
    country.until(at("2026-11-23 09:20"))  # fifty minutes are left
    saw(country, Sight(NINE, 300, 90))
    country.until(at("2026-11-23 10:20"))  # since half past nine nothing is concluded: forty minutes are left
    with store.write() as tx:
        tx.set_mark(listening.MARK, country.now)
    country.now = at("2026-11-23 11:20")
    with store.write() as tx:
        assert listening.note_gap(tx, country.gate, country.now)
    country.until(at("2026-11-23 11:40"))
    with store.write() as tx:
        tx.save_sight(country.rollout, replace(tx.sight(country.rollout), silent=9))
    country.tick(at("2026-11-23 12:00"))
    with store.read() as tx:
        [soak] = [one.soak_until for one in tx.strata(country.rollout) if one.soak_until is not None]
    assert soak == at("2026-11-23 12:40")
    with store.write() as tx:
        tx.set_mark(listening.MARK, country.now)
        assert listening.note_gap(tx, country.gate, country.now + HOUR)
        [soak] = [one.soak_until for one in tx.strata(country.rollout) if one.soak_until is not None]
    assert soak == at("2026-11-23 13:45"), "an hour and a check-in more; what stood before is not forgotten"


def test_nothing_opens_until_a_gap_of_our_own_is_caught_up(store: SqlStore) -> None:
    country = Country(store)
    for claim in country.takes("e000-a", "e001-a", "e002-a"):
        country.ends(claim, Step.HEALTHY)
    country.until(at("2026-11-23 09:50"))
    with store.write() as tx:
        tx.add_gap(at("2026-11-23 09:51"), at("2026-11-23 11:00"))
    country.heard()
    country.tick(at("2026-11-23 11:04:59"))
    assert (country.state.reached, country.codes()) == (0, {"gap"})
    country.tick(at("2026-11-23 11:05"))
    assert country.state.reached == 1


def test_a_background_above_the_cap_holds_the_next_release(store: SqlStore) -> None:
    text = POLICY.replace("background: 0.75%", "background: measured")
    country = Country(store, exposed=2, others=1, text=text)
    with store.write() as tx:
        tx.connection.exec_driver_sql("UPDATE budgets SET tried = 1000, tried_failed = 31")
        assert tx.save_rollout(replace(country.state, state=RolloutState.DONE, version=country.state.version + 1))
    with store.write() as tx:
        made = intake.candidate_seen(
            tx, country.gate, source="one", version="2", kind="content", boot_critical=True,
            artifacts=(Artifact("a", 1, "1" * 64),), trust=Trust.DIGEST_PINNED, now=NINE, policy_version="v",
        )  # fmt: skip
        assert made is not None
        country.rollout = made.id
    country.tick(NINE + MINUTE)
    assert country.codes() == {"background_high"}
    assert country.state.reached == -1
    assert (country.state.background, country.state.measured) == (0.03, 0.031)
    replayed(country)


def test_closing_days_of_the_controls_leave_the_background(store: SqlStore) -> None:
    """Where nobody is left to compare with, it is as it was before."""
    country = Country(store)
    with store.write() as tx:
        for site in (*country.others, *country.first):
            day = date(2026, 11, 23)
            if site[0] == "o":
                site_times.close(tx, site, day, day, BERLIN, "a holiday of theirs", "anna", NINE)
    outage(country, "2026-11-23 12:00")
    assert country.halted
    assert evalues.CONTROLS_PER_MAKE == 200
