"""What check-ins teach of when a machine is on, and who goes by it: deadlines, the silence brake, the morning."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core import habits
from gate.core.habits import Habit
from gate.core.model import Site, SiteTime, Step, TimeKind
from gate.core.mornings import SiteDay
from gate.flows import machines, silence
from tests.core.test_habits import kept
from tests.flows.test_mornings import EARLY, MONDAY, Shop
from tests.flows.test_silence import POLICY
from tests.flows.test_silence import Shop as Silence
from tests.flows.test_site_times import BERLIN, at

MINUTE = timedelta(minutes=1)
LATE = kept(*[("09:20", "18:00")] * 10)
EARLIER = kept(*[("06:20", "18:00")] * 10)


def check_in(tx: Any, shop: Any, name: str) -> None:
    machine = tx.machine(name)
    machines.checkin(tx, shop.gate, machine, machines.CheckIn("b", MINUTE), lambda one: (one.ring, one.make), shop.now)
    tx.seen(name, shop.now)


def test_eleven_days_of_check_ins_teach_when_a_machine_is_on(any_store: Any) -> None:
    shop, day = Shop(any_store), date(2026, 11, 23)
    for number in range(11):
        for clock in ("09:31", "13:00", "16:50", "17:42"):
            working = day + timedelta(days=number // 5 * 7 + number % 5)
            shop.now = at(f"{working} {clock}")
            with shop.store.write() as tx:
                check_in(tx, shop, "s0t")
        with shop.store.read() as tx:
            found = habits.usual(habits.read(tx.machine("s0t").habit), 0)
            assert found == (None if number < 10 else (580, 1060))


def test_a_check_in_writes_no_more_for_it_but_at_the_start_of_a_day(store: SqlStore) -> None:
    shop = Shop(store)

    def writes(clock: str) -> int:
        shop.now = at(f"{MONDAY} {clock}")
        with shop.store.write() as tx:
            before = tx.writes
            check_in(tx, shop, "s0t")
            return int(tx.writes - before) - 1  # its being seen

    assert [writes(clock) for clock in ("07:00", "07:05", "11:05", "15:06")] == [1, 0, 0, 1]


def test_a_site_that_changes_its_hours_makes_its_machines_habits_worth_nothing(any_store: Any) -> None:
    shop = Shop(any_store)
    with shop.store.write() as tx:
        for name in ("s0t", "s1t"):
            tx.learn(name, LATE)
        tx.save_site(replace(tx.site("s0"), name="another name"))
        assert tx.machine("s0t").habit == str(LATE)
        tx.save_site(replace(tx.site("s0"), hours="Mo-Sa 10:00-20:00"))
        assert [tx.machine(name).habit for name in ("s0t", "s1t")] == ["", str(LATE)]
    assert shop.tick("09:00").parties[-1].expected == 3, "by the new hours again"


@pytest.mark.parametrize(("day", "group"), [(MONDAY, 0), ("2026-11-28", 1), ("2026-11-29", 2)])
def test_then_its_site_s_hours_say_again_when_it_is_expected_on_every_day(any_store: Any, day: str, group: int) -> None:
    shop = Shop(any_store)
    groups = tuple(LATE.groups[0] if number == group else () for number in range(3))
    with shop.store.write() as tx:
        tx.learn("s0t", replace(LATE, groups=groups))
        tx.seen("s0t", at(f"{MONDAY} 06:00"))

    def expected(hours: str) -> int:
        with shop.store.write() as tx:
            tx.save_site(replace(tx.site("s0"), hours=hours))
            now = at(f"{day} 07:00")
            tx.save_days([SiteDay("s0", day, now - MINUTE, now + MINUTE, now + MINUTE)])
            return sum(one.expected for one in tx.parties(day, 7 * 60, now) if one.boots_at == now - MINUTE)

    assert [expected("Mo-Sa 08:00-18:00"), expected("Mo-Su 08:00-18:00")] == [2, 3]


# the morning


def test_a_machine_is_expected_from_its_own_time_on_whatever_its_role(any_store: Any) -> None:
    shop = Shop(any_store)
    with shop.store.write() as tx:
        tx.learn("s0t", LATE)
        tx.learn("s1x", EARLIER)  # a screen, by its habit
        tx.learn("s2t", replace(LATE, groups=((), LATE.groups[0], ())))  # of Saturdays nothing follows for a Monday
    found = [shop.tick(clock).parties[0].expected for clock in ("06:30", "06:31", "09:29", "09:30")]
    assert found == [24, 24, 24, 25]
    assert shop.tick("09:30").parties[0].machines == 25


def test_a_late_machine_is_not_missing_before_its_time(any_store: Any) -> None:
    shop = Shop(any_store)
    shop.usual_mornings()
    with shop.store.write() as tx:
        for number in EARLY:
            tx.learn(f"s{number}u", LATE)
    found = shop.tick("07:45", *EARLY, only="vt")
    assert (found.expected, found.missing, found.alarm) == (16, 0, None)
    assert shop.tick("09:30").stands


# deadlines and the brake

NATURAL = POLICY.replace("reboot: after install", "reboot: natural")


@pytest.mark.parametrize(
    ("habit", "deadline"),
    [
        (Habit(), "2026-11-24 10:01"),
        (LATE, "2026-11-24 11:31"),
        (EARLIER, "2026-11-24 08:31"),
        (kept(*[("09:20", "10:30")] * 10), "2026-11-25 10:31"),  # an hour a day
        (kept(*[("09:20", "18:00")] * 9), "2026-11-24 10:01"),
    ],
)
def test_a_deadline_passes_while_the_machine_itself_is_usually_on(store: SqlStore, habit: Habit, deadline: str) -> None:
    shop = Silence(store, NATURAL)
    with shop.write() as tx:
        tx.learn("c0", habit)
    [claim] = shop.installed("c0")
    assert claim.deadline_at == at(deadline)
    assert shop.sweep((at(deadline) - MINUTE).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M")) == 0
    assert shop.sweep(at(deadline).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M")) == 1


def test_night_duty_stops_no_clock_of_a_machine_whose_habit_is_known(store: SqlStore) -> None:
    shop = Silence(store)
    with shop.write() as tx:
        assert tx.save_times("c", [SiteTime(at("2026-11-23 09:00"), at("2026-11-24 09:00"), TimeKind.DUTY)], [])
        tx.learn("c0", kept(*[("07:50", "18:40")] * 10))
    shop.at("2026-11-23 17:30")
    [claim] = shop.installed("c0")
    assert claim.deadline_at == at("2026-11-23 19:31")
    assert [shop.sweep(now) for now in ("2026-11-23 19:30", "2026-11-23 19:31")] == [0, 1]


@pytest.mark.parametrize(
    ("hours", "habit", "deadline"),
    [
        ("24/7", Habit(), "2026-11-24 02:01"),
        ("24/7", kept(*[("07:50", "18:40")] * 10), "2026-11-24 10:01"),
        ("PH,Mo-Su 06:00-02:00", Habit(), "2026-11-24 08:01"),
    ],
)
def test_hours_that_never_close_for_long_leave_no_claim_pending(
    store: SqlStore, hours: str, habit: Habit, deadline: str
) -> None:
    shop = Silence(store, NATURAL)
    with shop.write() as tx:
        tx.save_site(Site("c", "c", "NW", hours))
        tx.learn("c0", habit)
    [claim] = shop.installed("c0")
    assert claim.deadline_at == at(deadline)
    assert shop.sweep(at(deadline).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M")) == 1


def test_a_machine_of_a_site_that_never_closes_is_watched_every_day(store: SqlStore) -> None:
    shop = Silence(store)
    with shop.write() as tx:
        tx.save_site(Site("c", "c", "NW", "24/7"))
    [claim] = shop.installed("c0")
    shop.at("2026-11-23 09:10")
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        shop.report(tx, claim, Step.HEALTHY, "boot-1")
    assert shop.claim("c0").watch_at == at("2026-11-24 02:01")


def test_what_is_learned_after_the_grant_moves_a_deadline_later(store: SqlStore) -> None:
    shop = Silence(store, NATURAL)
    shop.installed("c0")
    with shop.write() as tx:
        tx.learn("c0", LATE)
    assert shop.sweep("2026-11-24 10:01") == 0
    assert shop.claim("c0").deadline_at == at("2026-11-24 11:31")


def test_a_machine_that_boots_long_before_opening_has_had_that_days_boot(store: SqlStore) -> None:
    shop = Silence(store, NATURAL.replace("stay_up: 1m", "stay_up: 1m, boots: 2"))
    with shop.write() as tx:
        tx.learn("c0", kept(*[("05:00", "18:00")] * 10))
    [claim] = shop.installed("c0")
    shop.at("2026-11-24 05:12")
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        shop.report(tx, claim, Step.HEALTHY, "boot-1")
    assert shop.claim("c0").deadline_at == at("2026-11-25 07:11"), "two hours from its own time on"


def test_the_time_that_a_boot_took_is_counted_on_the_same_clock(store: SqlStore) -> None:
    shop = Silence(store, NATURAL)
    with shop.write() as tx:
        tx.learn("c0", LATE)
    [claim] = shop.installed("c0")
    shop.at("2026-11-24 09:41")
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        shop.report(tx, claim, Step.HEALTHY, "boot-1")
        assert tx.boot_times("role=till") == {0: 1}, "ten minutes, not a hundred"


@pytest.mark.parametrize(("habit", "count"), [(Habit(), 2), (kept(*[("08:00", "09:10")] * 10), 0)])
def test_the_silence_brake_counts_while_the_machine_itself_is_usually_on(
    store: SqlStore, habit: Habit, count: int
) -> None:
    shop = Silence(store)
    with shop.write() as tx:
        for name in ("a0", "b0"):
            tx.learn(name, habit)
    shop.installed("a0", "b0")
    shop.at("2026-11-23 09:30")
    shop.hear("a1", "b1")
    policy = shop.gate.policy("v")
    with shop.store.read() as tx:
        rings = ["all"]
        [found] = silence.count_silent(shop.gate, tx, policy, "one", shop.rollout, [(rings, 20 * MINUTE, 99)], shop.now)
    assert found == count
