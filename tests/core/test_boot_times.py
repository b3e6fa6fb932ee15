"""The learned deadline: not before 200 boots, never below 30 minutes, never before the quantile, little after it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import boot_times

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("took", "step"),
    [
        (timedelta(), 0),
        (30 * MINUTE, 0),
        (30 * MINUTE + timedelta(seconds=1), 1),
        (36 * MINUTE, 1),
        (37 * MINUTE, 2),
        (960 * MINUTE, 20),
        (9600 * MINUTE, 20),
    ],
)
def test_a_boot_counts_in_the_step_that_holds_it(took: timedelta, step: int) -> None:
    assert boot_times.step_of(took) == step


@pytest.mark.parametrize(
    ("boots", "deadline"),
    [
        ({}, None),
        ({0: 199}, None),
        ({0: 200}, "30m open"),
        ({0: 199, 1: 1}, "36m open"),  # below a thousand the longest rules
        ({0: 998, 4: 1}, "1h open"),
        ({0: 999, 4: 1}, "30m open"),  # one of a thousand may be longer
        ({0: 998, 4: 2}, "1h open"),
        ({0: 1997, 4: 1, 20: 2}, "1h open"),
        ({0: 100, 20: 100}, "16h open"),
    ],
)
def test_the_deadline_is_the_end_of_the_step_that_holds_the_quantile(
    boots: dict[int, int], deadline: str | None
) -> None:
    found = boot_times.learned(boots)
    assert (str(found) if found else None) == deadline


several = st.lists(st.tuples(st.integers(0, 900), st.integers(1, 900)), min_size=1, max_size=12)


@given(several.map(lambda found: [minutes for minutes, times in [(0, 199), *found] for _ in range(times)]))
def test_the_deadline_is_never_before_the_quantile_and_at_most_a_fifth_after(minutes: list[int]) -> None:
    found = boot_times.learned(Counter(boot_times.step_of(one * MINUTE) for one in minutes))
    quantile = sorted(minutes, reverse=True)[len(minutes) // 1000] * MINUTE
    assert found is not None
    assert max(quantile, 30 * MINUTE) <= found.amount <= max(quantile, 30 * MINUTE) * 1.21
