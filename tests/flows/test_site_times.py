"""Duty and closing days are kept on both databases, with an event each, and the gate's clock goes by them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore
from gate.core import calendar
from gate.core.errors import CallerError, Conflict, NotFound
from gate.core.habits import Habit
from gate.core.model import Site, SiteTime, TimeKind
from gate.core.times import OpenDuration
from gate.flows import site_times, when
from gate.ports import Gate
from tests.flows.test_stateful import POLICY, gate_for

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURS = "Mo-Fr 08:00-18:00"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(UTC)


def duty(start: str) -> SiteTime:
    return SiteTime(at(start), at(start) + DAY, TimeKind.DUTY, by="anna")


@pytest.fixture
def shop(store: SqlStore) -> SqlStore:
    with store.write() as tx:
        tx.save_site(Site("a", "A", "NW", HOURS))
        tx.save_site(Site("b", "B", "NW", "", True))
    return store


def times(store: SqlStore, site: str = "a") -> tuple[SiteTime, ...]:
    with store.read() as tx:
        found = tx.site(site)
        assert found is not None
        assert found in tx.sites()
        return found.times


def test_an_import_replaces_what_it_spans_and_nothing_else(shop: SqlStore) -> None:
    old = [duty("2026-11-21 09:00"), duty("2026-11-25 09:00"), duty("2026-12-01 09:00")]
    with shop.write() as tx:
        assert site_times.take_duty(tx, {"a": old}, "anna", NOW) == 3
    with shop.write() as tx:
        fresh = [duty("2026-11-24 09:00"), duty("2026-11-27 09:00")]
        assert site_times.take_duty(tx, {"a": fresh}, "anna", NOW) == 2
    assert times(shop) == (old[0], *fresh, old[2])
    with shop.write() as tx:
        assert site_times.take_duty(tx, {"a": fresh}, "anna", NOW) == 0, "the same file again changes nothing"
        assert [one.kind for one in tx.events(subject="a")] == ["duty_imported"] * 3
    assert times(shop) == (old[0], *fresh, old[2])


def test_an_import_of_the_sites_list_keeps_duty_and_closing_days(shop: SqlStore) -> None:
    with shop.write() as tx:
        site_times.take_duty(tx, {"a": [duty("2026-11-21 09:00")]}, "anna", NOW)
        tx.save_site(Site("a", "A", "NW", "Mo-Sa 08:00-20:00"))
    assert times(shop) == (duty("2026-11-21 09:00"),)


def test_closing_days_are_declared_and_taken_back(shop: SqlStore) -> None:
    with shop.write() as tx:
        site_times.close(tx, "a", date(2026, 12, 28), date(2026, 12, 30), BERLIN, "holiday", "anna", NOW)
    assert times(shop) == (SiteTime(at("2026-12-28"), at("2026-12-31"), TimeKind.CLOSED, "holiday", "anna"),)
    with shop.write() as tx:
        site_times.reopen(tx, "a", date(2026, 12, 28), BERLIN, "no holiday", "anna", NOW)
        assert [one.because for one in tx.events(subject="a")] == ["no holiday", "holiday"]
    assert times(shop) == ()


@pytest.mark.parametrize(
    ("site", "first", "last", "kind"),
    [
        ("a", date(2026, 11, 20), date(2026, 11, 20), ""),  # today
        ("a", date(2026, 11, 19), date(2026, 11, 19), "bad_field"),  # over
        ("a", date(2026, 12, 2), date(2026, 12, 1), "bad_field"),
        ("a", date(2026, 12, 1), date(2027, 12, 1), ""),  # 366 days
        ("a", date(2026, 12, 1), date(2027, 12, 2), "bad_field"),
        ("b", date(2026, 12, 1), date(2026, 12, 1), "always_on"),
        ("c", date(2026, 12, 1), date(2026, 12, 1), "not_found"),
    ],
)
def test_closing_days_have_limits(shop: SqlStore, site: str, first: date, last: date, kind: str) -> None:
    try:
        with shop.write() as tx:
            site_times.close(tx, site, first, last, BERLIN, "why", "anna", NOW)
    except CallerError as problem:
        assert problem.kind == kind
    else:
        assert kind == ""


def test_the_same_closing_day_is_declared_once_and_an_unknown_one_is_not_taken_back(shop: SqlStore) -> None:
    with shop.write() as tx:
        site_times.close(tx, "a", date(2026, 12, 1), date(2026, 12, 1), BERLIN, "why", "anna", NOW)
    with pytest.raises(Conflict), shop.write() as tx:
        site_times.close(tx, "a", date(2026, 12, 1), date(2026, 12, 2), BERLIN, "why", "anna", NOW)
    with pytest.raises(NotFound), shop.write() as tx:
        site_times.reopen(tx, "a", date(2026, 12, 2), BERLIN, "why", "anna", NOW)


def test_what_is_long_over_goes_and_a_site_has_at_most_four_hundred(shop: SqlStore) -> None:
    with shop.write() as tx:
        site_times.take_duty(tx, {"a": [duty("2026-11-21 09:00")]}, "anna", NOW)
        later = at("2026-11-22 09:00") + site_times.KEPT
        many = [SiteTime(later + n * HOUR, later + (n + 1) * HOUR, TimeKind.DUTY) for n in range(site_times.MOST)]
        site_times.take_duty(tx, {"a": many}, "anna", later)
    assert times(shop) == tuple(many)
    with pytest.raises(Conflict), shop.write() as tx:
        site_times.take_duty(tx, {"a": [duty("2028-11-21 09:00")]}, "anna", later)


def test_only_the_one_who_read_the_times_last_may_change_them(shop: SqlStore) -> None:
    with shop.write() as tx:
        assert tx.save_times("a", [duty("2026-11-21 09:00")], ())
        assert not tx.save_times("a", [], ())
    assert times(shop) == (duty("2026-11-21 09:00"),)


# the clock

SITE = Site("a", "A", "NW", HOURS)
FRI = at("2026-11-20 10:00")


def deadline(gate: Gate, site: Site, now: datetime, *, natural: bool = False) -> datetime:
    policy = gate.policy("")
    return when.silent_at(gate, policy, OpenDuration(2 * HOUR, 0, True), site, now, timedelta(), natural=natural)


@pytest.mark.parametrize(
    ("site", "now", "until"),
    [
        (SITE, "2026-11-20 10:00", "2026-11-20 12:00"),
        (SITE, "2026-11-20 17:00", "2026-11-23 09:00"),  # over the weekend
        (replace(SITE, times=(duty("2026-11-20 09:00"),)), "2026-11-20 17:00", "2026-11-20 19:00"),  # on duty it is on
        (
            replace(SITE, times=(SiteTime(at("2026-11-23"), at("2026-11-24"), TimeKind.CLOSED),)),
            "2026-11-20 17:00",
            "2026-11-24 09:00",
        ),
        (replace(SITE, land="BY", hours="Mo-Su 08:00-18:00"), "2027-01-05 17:00", "2027-01-07 09:00"),  # 6 January
        (replace(SITE, hours="Mo-Su 08:00-18:00"), "2027-01-05 17:00", "2027-01-06 09:00"),  # not in NW
        (replace(SITE, land="SN"), "2026-11-17 17:00", "2026-11-19 09:00"),  # Buss- und Bettag
        (replace(SITE, hours="Mo-Fr 08:00-18:00; Dec 24,Dec 31 08:00-12:00"), "2026-12-24 11:00", "2026-12-28 09:00"),
        (replace(SITE, hours="Mo-Fr 08:00-18:00; Dec 24,Dec 31 08:00-12:00"), "2026-12-31 11:00", "2027-01-04 09:00"),
        (replace(SITE, hours="24/7"), "2026-10-25 01:00", "2026-10-25 02:00"),  # the second 2:00 is two hours later
    ],
)
def test_a_deadline_passes_only_while_the_site_is_open(site: Site, now: str, until: str) -> None:
    end = deadline(gate_for(POLICY), site, at(now))
    wanted = at(until) if site.hours != "24/7" else at(now) + 2 * HOUR
    assert end == wanted


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-24 06:29", "2026-11-24 10:00"),  # not up yet: this morning's boot is the next one
        ("2026-11-24 06:30", "2026-11-25 10:00"),  # the day has begun: the next boot is tomorrow's
        ("2026-11-24 07:59", "2026-11-25 10:00"),
        ("2026-11-24 08:00", "2026-11-25 10:00"),
        ("2026-11-24 18:01", "2026-11-25 10:00"),
        ("2026-11-27 06:30", "2026-11-30 10:00"),  # over the weekend
    ],
)
def test_the_next_boot_is_that_of_the_next_day_from_the_first_scheduled_boot_on(now: str, until: str) -> None:
    site = replace(SITE, hours="Mo-Fr 08:00-18:00")
    assert deadline(gate_for(POLICY), site, at(now), natural=True) == at(until)


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        ("08:00-12:30,15:00-18:30", "2026-11-24 12:15", "2026-11-25 10:00"),
        ("08:00-12:30,15:00-18:30", "2026-11-24 12:30", "2026-11-25 10:00"),  # they are at lunch: no new day begins
        ("08:00-12:30,15:00-18:30", "2026-11-24 14:59", "2026-11-25 10:00"),
        ("08:00-12:30,15:00-18:30", "2026-11-24 15:00", "2026-11-25 10:00"),
        ("08:00-12:30,15:00-18:30", "2026-11-24 18:30", "2026-11-25 10:00"),
        ("08:00-12:00,16:00-18:30", "2026-11-24 12:30", "2026-11-25 10:00"),  # four hours are a break still
        ("08:00-12:00,16:01-18:30", "2026-11-24 12:30", "2026-11-24 18:01"),  # longer: it closes, and boots again
    ],
)
def test_a_break_at_noon_begins_no_new_day(hours: str, now: str, until: str) -> None:
    site = replace(SITE, hours=f"Mo-Fr {hours}")
    assert deadline(gate_for(POLICY), site, at(now), natural=True) == at(until)


@pytest.mark.parametrize("hours", ["08:00-18:30", "08:00-13:00,14:00-18:30", "08:00-12:30,15:00-18:30"])
def test_what_is_known_of_a_machine_holds_after_the_break_too(hours: str) -> None:
    gate, site = gate_for(POLICY), replace(SITE, hours=f"Mo-Fr {hours}")
    habit = Habit(1, 42, (((42, 102),) * 10, (), ()))  # usually on from 7:00 to 17:00, in steps of ten minutes
    policy, off = gate.policy(""), at("2026-11-24 17:00")
    on = when.expected_on(when.around(gate, site, off, off + HOUR), site, habit, policy)
    assert calendar.open_time(on, off, off + HOUR) == timedelta()


def test_a_site_on_duty_is_frozen_where_the_policy_says_so_until_the_duty_ends() -> None:
    text = POLICY + "freeze:\n  - {name: night-duty, during: duty, why: the only open pharmacy for miles}\n"
    policy, gate = parse_text(text), gate_for(text)
    on_duty = replace(SITE, times=(duty("2026-11-20 09:00"),))
    held = when.freeze_wait(gate, policy, on_duty, at("2026-11-20 23:00"))
    assert held is not None
    assert (held.name, held.until) == ("night-duty", at("2026-11-21 09:00"))
    assert when.freeze_wait(gate, policy, on_duty, at("2026-11-21 09:00")) is None
    assert when.freeze_wait(gate, policy, SITE, at("2026-11-20 23:00")) is None
