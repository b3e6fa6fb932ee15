"""The silent-morning guard, on both databases and on the fake: who is missing, what it holds, what ends it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core.errors import Conflict, Malformed
from gate.core.model import Artifact, RolloutState, Site, SiteTime, TimeKind, Trust
from gate.core.mornings import Morning
from gate.flows import advance, intake, mornings, replay, site_times
from gate.ports import ActivePolicy
from tests.flows.small_fleet import joins
from tests.flows.test_site_times import BERLIN, at
from tests.flows.test_stateful import gate_for
from tests.real_gate import RealGate

pytestmark = pytest.mark.slow

MINUTE = timedelta(minutes=1)
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: one, plugin: directory, evidence: alive}
rings:
  - {name: all, why: w, pick: {role: [till, server, screen]}, gate: {soak: 1m, at_least: 1}}
"""
BRAKE = POLICY + "brakes:\n  - {if: missing >= 20%, at: 30m before opening, then: halt, why: early}\n"
MONDAY = "2026-11-23"


class Shop:
    """Ten sites of a server, two tills and a screen; they open at 8:00, two of them at 9:00. It is Monday, 6:00."""

    def __init__(self, store: Any, policy: str = POLICY) -> None:
        self.store, self.gate = store, gate_for(policy)
        self.now = at(f"{MONDAY} 06:00")
        with store.write() as tx:
            tx.activate_policy(ActivePolicy("v", self.now, "test"), "")
            for number in range(10):
                site = f"s{number}"
                tx.save_site(Site(site, site, "NW", "Mo-Sa 09:00-18:00" if number > 7 else "Mo-Sa 08:00-18:00"))
                for role, name in (("server", "v"), ("till", "t"), ("till", "u"), ("screen", "x")):
                    one = joins(tx, f"{site}{name}", site, "all", self.now, role)
                    tx.seen(one.id, self.now - timedelta(hours=11))
        self.look()

    def look(self, clock: str = "", day: str = MONDAY) -> Morning | None:
        """The worker's minute."""
        if clock:
            self.now = at(f"{day} {clock}")
        with self.store.write() as tx:
            while mornings.plan(tx, self.gate, self.now):
                pass
            parties = mornings.count(tx, self.gate, self.now)
            return None if parties is None else mornings.look(tx, self.gate, parties, self.now)

    def hear(self, *sites: int, only: str = "vtux") -> None:
        with self.store.write() as tx:
            for number in sites:
                for name in only:
                    tx.seen(f"s{number}{name}", self.now)

    def tick(self, clock: str, *sites: int, only: str = "vtux", day: str = MONDAY) -> Morning:
        """These are heard of at this moment; then the worker looks."""
        self.now = at(f"{day} {clock}")
        self.hear(*sites, only=only)
        found = self.look()
        assert found is not None
        return found

    def rollout(self) -> str:
        with self.store.write() as tx:
            found = intake.candidate_seen(
                tx, self.gate, source="one", version="1", kind="content", boot_critical=False,
                artifacts=(Artifact("a", 1, "0" * 64),), trust=Trust.DIGEST_PINNED, now=self.now, policy_version="v",
            )  # fmt: skip
            assert found is not None
            return str(found.id)

    def advance(self, rollout: str) -> list[Any]:
        with self.store.write() as tx:
            return list(advance.advance_rollout(tx, self.gate, rollout, self.now))

    def kinds(self) -> list[str]:
        with self.store.read() as tx:
            return [one.kind for one in reversed(tx.events(subject="fleet"))]

    def usual_mornings(self, missing: int = 0) -> None:
        with self.store.write() as tx:
            for day in range(1, 10):
                moment = at(f"2026-11-{day:02d} 12:00")
                tx.save_morning(Morning(f"2026-11-{day:02d}", moment, moment, 0.0, 100, missing, ()))


@pytest.fixture
def shop(any_store: Any) -> Shop:
    return Shop(any_store)


ALL = range(10)
EARLY = range(8)


def test_nothing_is_counted_before_the_first_scheduled_boot_nor_two_hours_after_the_last_opening(shop: Shop) -> None:
    assert shop.look("06:29") is None
    shop.tick("06:30")
    shop.tick("07:30", *ALL)
    assert shop.look("10:59") is not None
    assert shop.look("11:00") is None


def test_the_curve_is_what_should_be_up_and_what_was_heard_of(shop: Shop) -> None:
    shop.tick("06:30")
    shop.tick("06:31", 0, 1)
    shop.tick("07:30", *EARLY)
    shop.tick("07:31", 9)
    with shop.store.read() as tx:
        points = tx.points(MONDAY)
    assert [(one.expected, one.seen) for one in points] == [(24, 0), (24, 6), (30, 24), (30, 27)]  # screens never count


def test_machines_that_come_in_time_raise_no_alarm(shop: Shop) -> None:
    shop.tick("07:44", *EARLY)
    shop.tick("07:45")
    shop.tick("08:44", 8, 9)
    found = shop.tick("08:45")
    assert (found.alarm, found.expected, found.missing) == (None, 30, 0)
    assert shop.kinds() == []


def test_it_rises_a_quarter_of_an_hour_before_opening_and_not_before(shop: Shop) -> None:
    shop.usual_mornings()
    found = shop.tick("07:44", *EARLY, only="v")
    assert found.alarm is None
    found = shop.tick("07:45")
    assert found.alarm is not None
    assert (found.alarm.expected, found.alarm.missing, found.alarm.limit) == (24, 16, 4)
    shop.tick("07:46")
    assert shop.kinds() == ["silent_morning"], "once"


@pytest.mark.parametrize(("missing", "stands"), [(3, False), (4, True)])
def test_the_limit_at_a_small_fleet(shop: Shop, missing: int, stands: bool) -> None:
    shop.usual_mornings()
    shop.tick("07:00", *EARLY[missing:])
    shop.hear(*EARLY[:missing], only="vt")
    assert shop.tick("07:45").stands is stands


def test_a_whole_pharmacy_without_power_raises_none(shop: Shop) -> None:
    with shop.store.write() as tx:
        for number in range(20):
            tx.seen(joins(tx, f"m{number}", "s0", "all", shop.now).id, shop.now)
    shop.usual_mornings()
    found = shop.tick("07:45", *EARLY[1:])
    assert (found.missing, found.alarm) == (23, None)


def test_who_has_not_been_heard_of_for_a_fortnight_is_not_expected(shop: Shop) -> None:
    with shop.store.write() as tx:
        tx.seen("s0t", at("2026-11-09 06:29"))
        tx.seen("s1t", at("2026-11-09 06:31"))
    assert shop.tick("06:30").parties[0].machines == 23


def test_a_site_that_has_closed_for_the_day_is_not_expected(shop: Shop) -> None:
    with shop.store.write() as tx:
        site_times.close(tx, "s0", date(2026, 11, 23), date(2026, 11, 23), BERLIN, "rebuilding", "anna", shop.now)
    assert shop.tick("07:45").parties[0].machines == 21


def test_a_site_that_changes_its_hours_is_planned_anew(shop: Shop) -> None:
    with shop.store.write() as tx:
        tx.save_site(Site("s0", "s0", "NW", "Mo-Sa 09:00-18:00"))
    found = shop.tick("07:00")
    assert [one.machines for one in found.parties] == [21, 9]


def test_an_unusual_share_on_a_fleet_that_is_usually_late_is_no_alarm(shop: Shop) -> None:
    shop.usual_mornings(missing=67)
    found = shop.tick("07:45", *EARLY, only="v")
    assert (found.missing, found.usual, found.alarm) == (16, 0.67, None)


def silent(shop: Shop) -> str:
    """A rollout that waits for its first ring, on a silent morning."""
    shop.usual_mornings()
    rollout = shop.rollout()
    assert shop.tick("07:45", *EARLY, only="v").stands
    return rollout


def reasons(shop: Shop, rollout: str) -> list[tuple[str, datetime | None]]:
    """What holds the first ring; nothing once it has opened."""
    first = next((one for one in shop.advance(rollout) if one.ring == "all"), None)
    return [(reason.code, reason.earliest_at) for reason in first.reasons] if first else []


def test_a_silent_morning_holds_every_opening_and_says_when_that_can_change(shop: Shop) -> None:
    rollout = silent(shop)
    assert reasons(shop, rollout) == [("silent_morning", shop.now + MINUTE)]
    with shop.store.read() as tx:
        stored = tx.last_decision(rollout, "all")
        assert stored.verdict == "HOLD"
        assert "16 of 24 machines were missing, 4 are far above the usual 0.0%" in stored.reasons[0]["detail"]
        assert replay.replay(shop.gate, stored, "one").differences == ()


def test_it_ends_by_itself_once_they_have_come(shop: Shop) -> None:
    rollout = silent(shop)
    assert shop.tick("08:10", *EARLY[:6]).stands, "four are still missing"
    assert not shop.tick("08:20", *EARLY[:7]).stands
    assert reasons(shop, rollout) == []
    assert shop.kinds() == ["silent_morning", "silent_morning_over"]
    assert shop.tick("08:45").stands, "the later two sites are missing as well"


def test_one_that_goes_to_and_fro_about_its_limit_rises_once_and_is_withdrawn_once(shop: Shop) -> None:
    """It rises at four; three of four are still too many, two are not."""
    shop.usual_mornings()
    shop.tick("07:00", 4, 5, 6, 7)
    shop.hear(0, 1, 2, 3, only="vt")
    found = [shop.tick("07:45").stands]
    for clock, gone, come in (("07:46", "", "s0u"), ("07:47", "s0u", ""), ("07:48", "", "s0u"), ("07:49", "", "s1u")):
        with shop.store.write() as tx:
            if gone:
                tx.seen(gone, at(f"{MONDAY} 06:00"))
            if come:
                tx.seen(come, at(f"{MONDAY} {clock}"))
        found.append(shop.tick(clock).stands)
    for clock in ("07:50", "07:51"):
        with shop.store.write() as tx:
            tx.seen("s0u", at(f"{MONDAY} {'06:00' if clock == '07:50' else clock}"))
        found.append(shop.tick(clock).stands)
    assert found == [True, True, True, True, False, False, False]
    assert shop.kinds() == ["silent_morning", "silent_morning_over"]


def test_a_person_ends_it_for_the_day_with_a_reason(shop: Shop) -> None:
    rollout = silent(shop)
    with shop.store.write() as tx:
        with pytest.raises(Malformed):
            mornings.end(tx, "anna", " ", shop.now)
        mornings.end(tx, "anna", "their line is down, the tills work", shop.now)
        with pytest.raises(Conflict):
            mornings.end(tx, "anna", "again", shop.now)
    assert reasons(shop, rollout) == []
    for clock in ("07:46", "08:45", "09:30"):
        assert not shop.tick(clock).stands
    assert shop.kinds() == ["silent_morning", "silent_morning_over"]


def test_one_that_nobody_ends_stands_over_the_night_until_a_good_morning(shop: Shop) -> None:
    rollout = silent(shop)
    assert shop.tick("15:00").stands
    assert shop.tick("00:10", day="2026-11-24").stands
    assert shop.tick("06:45", *range(4), day="2026-11-24").stands, "nobody is due yet"
    assert reasons(shop, rollout)[0][0] == "silent_morning"
    assert not shop.tick("07:45", *EARLY, day="2026-11-24").stands
    assert shop.tick("07:50", day="2026-11-24").day == "2026-11-24"
    assert reasons(shop, rollout) == []


def test_what_a_person_has_ended_may_rise_on_the_next_day(shop: Shop) -> None:
    silent(shop)
    with shop.store.write() as tx:
        mornings.end(tx, "anna", "their line is down", shop.now)
    assert shop.tick("07:45", *EARLY, only="v", day="2026-11-24").stands


def test_a_gap_of_our_own_is_no_silent_morning(shop: Shop) -> None:
    shop.usual_mornings()
    with shop.store.write() as tx:
        tx.add_gap(at(f"{MONDAY} 07:00"), at(f"{MONDAY} 07:50"))
    for clock in ("07:50", "07:55"):
        found = shop.tick(clock)
        assert (found.alarm, found.judged_at, found.expected) == (None, None, 0), "each gets one check-in first"
    found = shop.tick("07:57")
    assert (found.stands, found.expected) == (True, 24)


def test_mornings_are_planned_once_and_a_site_that_is_always_on_has_none(shop: Shop) -> None:
    with shop.store.write() as tx:
        assert tx.sites_to_plan(shop.now, 99) == []
        tx.save_site(Site("s0", "s0", "NW", "", always_on=True))
        assert [one.id for one in tx.sites_to_plan(shop.now, 99)] == ["s0"]
    assert shop.tick("07:45").parties[0].machines == 21
    with shop.store.write() as tx:
        assert tx.sites_to_plan(at("2026-11-23 23:59"), 99) == []
        assert len(tx.sites_to_plan(at("2026-11-24 00:00"), 99)) == 10


def test_curves_are_kept_for_a_month_and_mornings_for_a_quarter(store: SqlStore) -> None:
    shop = Shop(store)
    shop.tick("07:00")

    def left(days: int) -> tuple[int, bool]:
        with store.write() as tx:
            tx.drop_expired(shop.now + timedelta(days=days))
            return len(tx.points(MONDAY)), tx.morning() is not None

    assert [left(days) for days in (30, 31, 91, 92)] == [(1, True), (0, True), (0, True), (0, False)]


@pytest.mark.parametrize(
    ("hours", "opens"),
    [("24/7", None), ("Mo-Su,PH 00:00-24:00", None), ("Mo-Su,PH 06:00-03:00", "06:00"), ("Mo-Sa 08:00-18:00", "08:00")],
)
def test_a_site_that_never_closes_has_no_morning(hours: str, opens: str | None) -> None:
    found = mornings.day_of(gate_for(POLICY), BERLIN, Site("s", "s", "NW", hours), at(f"{MONDAY} 05:00"))
    assert found.opens_at == (at(f"{MONDAY} {opens}") if opens else None)


@pytest.fixture
def braked(any_store: Any) -> Shop:
    return Shop(any_store, BRAKE)


def state(shop: Shop, rollout: str) -> RolloutState:
    shop.advance(rollout)
    with shop.store.read() as tx:
        found = tx.rollout(rollout).state
        assert isinstance(found, RolloutState)
        return found


@pytest.mark.parametrize(("missing", "after"), [(5, RolloutState.RUNNING), (6, RolloutState.HALTED)])
def test_the_brake_halts_at_its_share_of_the_whole_morning(braked: Shop, missing: int, after: RolloutState) -> None:
    """Twenty per cent of thirty are six, though six more come later."""
    rollout = braked.rollout()
    braked.tick("07:00", *EARLY[missing:])
    braked.hear(*EARLY[:missing], only="vt")
    braked.tick("07:29")
    assert state(braked, rollout) is RolloutState.RUNNING
    braked.tick("07:30", *EARLY[missing:])
    assert state(braked, rollout) is after


def test_the_brake_says_what_it_counted_and_is_replayed(braked: Shop) -> None:
    rollout = braked.rollout()
    braked.tick("07:30", *EARLY, only="v")
    assert state(braked, rollout) is RolloutState.HALTED
    with braked.store.read() as tx:
        found = tx.rollout(rollout)
        assert (found.halted_by, found.halted_because) == ("brakes[0]", "missing >= 20%: 16 counted. early")
        stored = tx.last_decision(rollout, "all")
    assert replay.replay(braked.gate, stored, "one").differences == ()
    [brake] = stored.facts["brakes"]
    for limit, of, wanted in ((9, 30, 6), (6, 40, 8), (2, 0, 3)):
        changed = {**stored.facts, "brakes": [{**brake, "limit": limit, "of": of}]}
        said = replay.replay(braked.gate, replace(stored, facts=changed), "one").differences
        assert f"brakes[0] was {limit} in its facts, and is {wanted} in policy {stored.policy_version[:12]}" in said


def test_the_brake_does_not_act_when_nobody_at_all_is_heard(braked: Shop) -> None:
    """Then it is us: the guard holds, the brake does not halt."""
    rollout = braked.rollout()
    assert braked.tick("07:45").stands
    assert state(braked, rollout) is RolloutState.RUNNING


def test_the_brake_does_not_act_after_a_person_has_ended_the_alarm(braked: Shop) -> None:
    braked.tick("07:45", *EARLY, only="v")
    with braked.store.write() as tx:
        mornings.end(tx, "anna", "their line is down", braked.now)
    assert state(braked, braked.rollout()) is RolloutState.RUNNING


def test_the_brake_does_not_act_on_yesterdays_morning(braked: Shop) -> None:
    braked.tick("07:45", *EARLY, only="v")
    rollout = braked.rollout()
    braked.now = at("2026-11-24 06:00")
    assert state(braked, rollout) is RolloutState.RUNNING
    braked.now = at("2026-11-23 07:45")
    assert state(braked, rollout) is RolloutState.HALTED


FIRST = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: one, plugin: directory, evidence: alive}
rings:
  - {name: first, why: w, pick: {label: first}, gate: {soak: 1m, at_least: 1}}
  - {name: second, why: w, pick: {label: second}, gate: {soak: 1m, at_least: 1}}
  - {name: all, why: w, pick: {role: [till, server, screen]}, gate: {soak: 1m, at_least: 1}}
brakes:
  - {if: missing >= 2, in: [first, second], then: halt, and: [page, morning_notice], why: early}
  - {if: missing >= 20, in: [all], then: halt, why: many}
"""


@pytest.fixture
def ringed(any_store: Any) -> Shop:
    """A till each of four sites and a server of the first are in the first two rings."""
    shop = Shop(any_store, FIRST)
    with shop.store.write() as tx:
        places = {"s0t": "first", "s0v": "first", "s1t": "first", "s2t": "second", "s3t": "second"}
        tx.memberships([(name, ring, "till") for name, ring in places.items()])
    return shop


@pytest.mark.parametrize(
    ("missing", "after"),
    [
        ((), RolloutState.RUNNING),
        (("s0u", "s1u", "s2u", "s3u"), RolloutState.RUNNING),  # of another ring
        (("s0t", "s1u", "s2u"), RolloutState.RUNNING),
        (("s0t", "s0v"), RolloutState.RUNNING),  # at one site
        (("s0t", "s1t"), RolloutState.HALTED),
        (("s1t", "s3t"), RolloutState.HALTED),  # one of each ring
    ],
)
def test_a_brake_counts_the_machines_of_the_rings_that_it_names(
    ringed: Shop, missing: tuple[str, ...], after: RolloutState
) -> None:
    rollout = ringed.rollout()
    ringed.tick("07:40")
    with ringed.store.write() as tx:
        for one in tx.machines(limit=1000):
            if one.id not in missing:
                tx.seen(one.id, ringed.now)
    found = ringed.tick("07:45")
    assert sum(one.machines for one in found.parties) == 30, "the fleet's morning is as it was"
    counted = {one.rings: 0 for one in found.of_rings}
    for one in found.of_rings:
        counted[one.rings] += one.machines
    assert counted == {("first", "second"): 5, ("all",): 25}
    assert state(ringed, rollout) is after


def test_a_rollout_under_an_older_policy_keeps_the_rings_of_its_own_brake(ringed: Shop) -> None:
    rollout = ringed.rollout()
    policies = {"w": gate_for(POLICY).policy("v"), "v": ringed.gate.policy("v")}
    ringed.gate = replace(ringed.gate, policy=policies.__getitem__)
    with ringed.store.write() as tx:
        tx.activate_policy(ActivePolicy("w", ringed.now, "test"), "v")
    ringed.tick("07:44", *range(4, 8))
    found = ringed.tick("07:45")
    assert {one.rings for one in found.of_rings} == {("first", "second"), ("all",)}
    assert state(ringed, rollout) is RolloutState.HALTED


def test_a_brake_that_should_tell_somebody_leaves_an_event_that_says_so(ringed: Shop) -> None:
    rollout = ringed.rollout()
    ringed.tick("07:45", *range(4, 8))
    assert state(ringed, rollout) is RolloutState.HALTED
    with ringed.store.read() as tx:
        [wanted] = [one for one in tx.events(subject=rollout) if one.kind == "notice_wanted"]
    assert (wanted.actor, wanted.detail["notices"]) == ("brakes[0]", ["page", "morning_notice"])
    assert wanted.because == "missing >= 2: 5 counted. early"


def test_a_brake_that_tells_nobody_leaves_no_such_event(braked: Shop) -> None:
    rollout = braked.rollout()
    braked.tick("07:30", *EARLY, only="v")
    assert state(braked, rollout) is RolloutState.HALTED
    with braked.store.read() as tx:
        assert [one.kind for one in tx.events(subject=rollout)][:1] == ["rollout_halted"]


def test_the_worker_looks_once_a_minute_and_only_within_a_morning(real_gate: RealGate) -> None:
    gate = real_gate
    with gate.opened.store.write() as tx:
        tx.save_site(Site("ost", "Ost", "NW", "Mo-Su,PH 08:00-18:00"))
    berlin = gate.clock.now().astimezone(BERLIN)
    half_past_six = datetime.combine(berlin.date() + timedelta(days=1), time(6, 30), BERLIN)
    gate.clock.ahead += half_past_six - gate.clock.now()

    def points() -> int:
        with gate.opened.store.read() as tx:
            return len(tx.points(half_past_six.date().isoformat()))

    found = []
    for step in ({"minutes": -2}, {"minutes": 3}, {"seconds": 20}, {"seconds": 41}, {"hours": 3, "minutes": 40}):
        gate.clock.forward(**step)
        gate.worker.tick()
        found.append(points())
    assert found == [0, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("duty", "opens"),
    [
        ((), "2026-11-24 08:00"),
        (("2026-11-23 09:00", "2026-11-24 09:00"), "2026-11-24 08:00"),  # through the night
        (("2026-11-24 00:00", "2026-11-24 08:00"), "2026-11-24 08:00"),
        (("2026-11-24 20:00", "2026-11-25 08:00"), "2026-11-24 08:00"),
    ],
    ids=["none", "the night before", "from midnight on", "the night after"],
)
def test_a_site_with_night_duty_has_its_ordinary_morning(shop: Shop, duty: tuple[str, ...], opens: str) -> None:
    if duty:
        begins, ends = duty
        with shop.store.write() as tx:
            night = SiteTime(at(begins), at(ends), TimeKind.DUTY, "duty", "anna")
            site_times.take_duty(tx, {f"s{number}": [night] for number in EARLY}, "anna", shop.now)
    shop.tick("06:30", *ALL)
    shop.look("00:01", day="2026-11-24")
    with shop.store.read() as tx:
        span = tx.morning_span("2026-11-24")
    assert span is not None
    assert span[0] == at(opens) - 90 * MINUTE
    assert shop.tick("08:00", *ALL, day="2026-11-24").missing == 0
    shop.look("00:01", day="2026-11-25")
    with shop.store.read() as tx:
        span = tx.morning_span("2026-11-25")
    assert span is not None
    assert span[0] == at("2026-11-25 06:30")


def test_duty_on_a_day_without_hours_makes_a_morning(shop: Shop) -> None:
    sunday = SiteTime(at("2026-11-29 09:00"), at("2026-11-30 09:00"), TimeKind.DUTY, "duty", "anna")
    with shop.store.write() as tx:
        site_times.take_duty(tx, {"s0": [sunday]}, "anna", shop.now)
    shop.look("00:01", day="2026-11-29")
    with shop.store.read() as tx:
        assert tx.morning_span("2026-11-29") == (at("2026-11-29 07:30"), at("2026-11-29 09:00"))
    shop.look("00:01", day="2026-11-30")
    with shop.store.read() as tx:
        assert tx.morning_span("2026-11-30") == (at("2026-11-30 06:30"), at("2026-11-30 09:00"))


def test_who_does_not_come_on_the_morning_after_night_duty_is_missing(shop: Shop) -> None:
    nights = {f"s{number}": [SiteTime(at("2026-11-23 09:00"), at("2026-11-24 09:00"), TimeKind.DUTY)] for number in ALL}
    shop.usual_mornings()
    with shop.store.write() as tx:
        site_times.take_duty(tx, nights, "anna", shop.now)
    shop.tick("07:30", *ALL)
    shop.look("00:01", day="2026-11-24")
    shop.tick("06:40", 0, day="2026-11-24")
    shop.tick("08:00", 0, day="2026-11-24")
    morning = shop.tick("09:00", 0, day="2026-11-24")
    assert morning.stands
