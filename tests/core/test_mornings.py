"""Is a morning far above the usual: each limit, inside, at and outside, and what holds for any numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import mornings
from gate.core.mornings import Alarm, Measure, Morning, Party
from gate.core.times import Anchor, Edge

OPENS = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
BOOTS = OPENS - timedelta(minutes=90)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("expected", "share", "fewest"),
    [
        (0, 0.0, 3),
        (7, 0.0, 3),  # one in 1,000 of 7 at 1 %: never fewer than three
        (35, 0.0, 4),  # three of 35 would be one morning in 200
        (280, 0.0, 10),
        (280, 0.01, 10),  # the usual is never taken for less than 1 %
        (280, 0.05, 42),  # three times
        (10_000, 0.0, 200),  # two points above it
        (10_000, 0.005, 250),
        (10_000, 0.01, 300),
        (10_000, 0.05, 1500),
        (10_000, 0.20, 6000),  # three times, and half-way to everybody
        (10_000, 0.30, 6500),  # half-way to everybody
        (10_000, 0.90, 9500),
        (10_000, 0.98, 10_000),
        (120_000, 0.01, 3600),
    ],
)
def test_the_fewest_that_are_far_above_the_usual(expected: int, share: float, fewest: int) -> None:
    assert mornings.limit(expected, share) == fewest
    found = Measure(expected, expected, fewest, 2, 9)
    assert mornings.is_silent(found, share)
    assert not mornings.is_silent(replace(found, missing=fewest - 1), share)


@pytest.mark.parametrize(
    ("sites_missing", "all_sites", "silent"), [(0, 9, False), (1, 9, False), (2, 9, True), (1, 1, True), (1, 2, False)]
)
def test_one_pharmacy_without_power_is_not_a_silent_morning(sites_missing: int, all_sites: int, silent: bool) -> None:
    assert mornings.is_silent(Measure(100, 100, 50, sites_missing, all_sites), 0.0) is silent


def morning(missing: int = 0, expected: int = 100, alarm: Alarm | None = None) -> Morning:
    return Morning("2026-03-02", OPENS, OPENS, 0.0, expected, missing, (), alarm)


@pytest.mark.parametrize(
    ("missing", "share"),
    [
        ([], 0.05),
        ([0, 0, 0, 0], 0.05),
        ([0, 0, 0, 0, 0], 0.0),
        ([1, 2, 3, 4, 100], 0.03),
        ([1, 1, 1, 100, 100], 0.01),
        ([2] * 20 + [50] * 40, 0.02),
    ],
)
def test_usual_is_the_median_of_the_last_twenty_mornings_once_there_are_five(missing: list[int], share: float) -> None:
    assert mornings.usual([morning(one) for one in missing]) == share


def test_a_morning_on_which_nobody_was_expected_says_nothing() -> None:
    assert mornings.usual([morning(0, 0)] * 9 + [morning(9)] * 4) == mornings.UNKNOWN


ALARM = Alarm(OPENS, 1000, 200, 20)


@pytest.mark.parametrize(
    ("expected", "missing", "over"),
    [(1000, 11, True), (1000, 12, False), (500, 7, True), (499, 0, False), (2000, 20, True), (2000, 21, False)],
)
def test_an_alarm_is_over_when_half_of_its_limit_is_missing_of_half_as_many(
    expected: int, missing: int, over: bool
) -> None:
    assert mornings.is_over(ALARM, Measure(2000, expected, missing, 3, 9), 0.0) is over


@pytest.mark.parametrize(("by", "rises"), [("gate", True), ("anna", False)])
def test_an_alarm_rises_again_unless_a_person_has_ended_it(by: str, rises: bool) -> None:
    before = morning(alarm=replace(ALARM, over_at=OPENS, over_by=by))
    after = mornings.judged(before, Measure(1000, 1000, 500, 9, 9), OPENS + MINUTE)
    assert after.stands is rises


def party(opens: datetime = OPENS, expected: int = 10, seen: int = 8) -> Party:
    return Party(opens - timedelta(minutes=90), opens, 12, expected, seen, 3, 2, OPENS)


@pytest.mark.parametrize(
    ("edge", "before", "missing"),
    [
        (mornings.DUE, 16, 0),
        (mornings.DUE, 15, 2),
        (mornings.DUE, 14, 2),
        (Edge(timedelta(minutes=60), Anchor.BOOT), 31, 0),
        (Edge(timedelta(minutes=60), Anchor.BOOT), 30, 2),
        (Edge(timedelta(), Anchor.OPENING), 1, 0),
        (Edge(timedelta(), Anchor.OPENING), 0, 2),
    ],
)
def test_a_site_is_due_from_its_edge_on(edge: Edge, before: int, missing: int) -> None:
    later = party(OPENS + timedelta(hours=1))
    found = mornings.measured([party(), later], edge, OPENS - before * MINUTE)
    assert (found.missing, found.machines, found.all_sites) == (missing, 24, 6)


def test_each_site_is_counted_once_for_the_usual_when_it_becomes_due() -> None:
    parties = [party(), party(OPENS + timedelta(hours=1), 20, 20)]
    due = OPENS - timedelta(minutes=15)
    assert mornings.newly_due(parties, None, due - MINUTE) == (0, 0)
    assert mornings.newly_due(parties, due - MINUTE, due) == (10, 2)
    assert mornings.newly_due(parties, due, due + MINUTE) == (0, 0)
    assert mornings.newly_due(parties, due, OPENS + timedelta(hours=1)) == (20, 0)


@pytest.mark.parametrize(
    ("number", "machines", "share", "limit"),
    [(0.05, 0, True, 3), (0.05, 60, True, 3), (0.05, 61, True, 4), (0.05, 1000, True, 50), (40, 1000, False, 40)],
)
def test_a_brake_in_per_cent_counts_from_three_machines_on(
    number: float, machines: int, share: bool, limit: int
) -> None:
    assert mornings.brake_limit(number, machines, share=share) == limit


@given(st.integers(3, 5000), st.floats(0, 1), st.floats(0, 1))
def test_the_limit_never_falls_when_more_is_usual_and_is_always_above_it(expected: int, one: float, two: float) -> None:
    low, high = sorted((one, two))
    assert mornings.FLOOR <= mornings.limit(expected, low) <= mornings.limit(expected, high)
    assert mornings.limit(expected, low) >= low * expected


@given(st.integers(0, 2000), st.integers(0, 2000), st.floats(0, 1), st.integers(0, 5))
def test_no_alarm_is_over_while_it_would_rise(expected: int, missing: int, share: float, sites: int) -> None:
    found = Measure(expected, expected, min(missing, expected), sites, 5)
    risen = mornings.judged(replace(morning(), usual=share), found, OPENS)
    assert risen.stands is mornings.is_silent(found, share)
    assert mornings.judged(risen, found, OPENS + MINUTE).stands is risen.stands
