"""What an unexplained failure does to a make: one batch more, at most twice, then a person."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.exposure import Pace, batch, lost, pace
from gate.core.model import Budget


@pytest.mark.parametrize(
    ("failed", "resolved", "extended", "short", "found"),
    [
        (0, 0, 0, False, Pace.GROW),
        (0, 3, 2, False, Pace.GROW),
        (1, 3, 0, False, Pace.EXTEND),
        (1, 6, 1, False, Pace.EXTEND),
        (1, 6, 2, False, Pace.ASK),
        (1, 7, 2, False, Pace.GROW),  # 5.1 %: chance again
        (1, 9, 2, False, Pace.GROW),
        (3, 3, 2, False, Pace.ASK),
        (0, 25, 0, True, Pace.EXTEND),  # all resolved, and yet not enough shown
        (0, 25, 1, True, Pace.EXTEND),
        (0, 25, 2, True, Pace.ASK),
    ],
)
def test_a_make_grows_or_is_extended_twice_or_a_person_is_asked(
    failed: int, resolved: int, extended: int, short: bool, found: Pace
) -> None:
    assert pace(failed, resolved, 0.0075, extended, short) is found


@pytest.mark.parametrize(("resolved", "machines"), [(0, 3), (3, 3), (39, 3), (40, 4), (1000, 100)])
def test_an_extension_takes_a_tenth_of_what_has_resolved_and_at_least_the_first_batch(
    resolved: int, machines: int
) -> None:
    assert batch(resolved, 3) == machines


@pytest.mark.parametrize(
    ("limit", "in_flight", "more", "expected"),
    [
        (0, 44, 0, 12),  # nothing was said to be at risk of those that are in flight
        (0, 44, 20, 12),
        (10, 44, 20, 12),
        (44, 44, 20, 12),
        (50, 44, 20, 13),
        (64, 44, 20, 17),
        (70, 44, 20, 17),  # no more than would take it
        (0, 0, 20, 0),
        (3, 0, 20, 1),
    ],
)
def test_what_is_in_flight_can_be_lost_whatever_the_limit_has_become(
    limit: int, in_flight: int, more: int, expected: int
) -> None:
    budget = Budget("r", "m", in_flight, limit, 10, 0, False)  # 10 healthy: 25.9 % could fail
    assert lost(budget, more, 0.0, 0.95) == expected


@given(st.integers(0, 40), st.integers(0, 400), st.integers(0, 5), st.booleans())
def test_one_more_failure_never_speeds_a_make_up(failed: int, healthy: int, extended: int, short: bool) -> None:
    order = (Pace.GROW, Pace.EXTEND, Pace.ASK)
    now = pace(failed, failed + healthy, 0.0075, extended, short)
    worse = pace(failed + 1, failed + 1 + healthy, 0.0075, extended, short)
    assert order.index(worse) >= order.index(now)
