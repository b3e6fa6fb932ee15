"""Do the machines of one site fail together? Limits and properties of the estimate."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.correlation import LEAST_FAILURES, Pairs, correlation, counts_as, pairs_of

SITES = st.lists(
    st.integers(0, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1, max_size=40
)


@pytest.mark.parametrize(
    ("sites", "rho"),
    [
        ([(4, 4), (4, 0), (4, 4), (4, 0)], 1.0),  # a site fails as one
        ([(2, 1)] * 10, 0.0),  # never together: less than by chance is said as nothing
        ([(1, 1)] * 5 + [(1, 0)] * 5, None),  # no site has two machines
        ([(5, 4), (5, 0)], None),  # too few failures
        ([(5, 5), (5, 0)], 1.0),
        ([(5, 5), (5, 5)], None),  # all failed: nothing to compare with
        ([], None),
    ],
)
def test_it_is_known_where_enough_has_been_shown(sites: list[tuple[int, int]], rho: float | None) -> None:
    assert correlation(pairs_of(sites)) == rho


def test_a_failure_less_than_is_needed_says_nothing() -> None:
    shown = Pairs(100, LEAST_FAILURES, 50, 2)
    assert correlation(shown) is not None
    assert correlation(Pairs(100, LEAST_FAILURES - 1, 50, 2)) is None


def test_it_finds_the_correlation_that_machines_were_drawn_with() -> None:
    draw = random.Random(5)
    for rho in (0.0, 0.3, 0.8):
        sites = []
        for _ in range(20_000):
            together, first = draw.random() < rho, draw.random() < 0.1
            sites.append((5, 5 * first if together else sum(draw.random() < 0.1 for _ in range(5))))
        found = correlation(pairs_of(sites))
        assert found == pytest.approx(rho, abs=0.02)


@given(SITES, SITES)
def test_releases_add_up_in_any_order(one: list[tuple[int, int]], two: list[tuple[int, int]]) -> None:
    both = pairs_of(one).plus(pairs_of(two))
    assert both == pairs_of(two + one) == pairs_of(two).plus(pairs_of(one))
    rho = correlation(both)
    assert rho is None or 0 <= rho <= 1


@pytest.mark.parametrize(("rho", "like"), [(0.0, 100), (1.0, 20), (0.25, 50)])
def test_machines_that_fail_together_count_for_fewer(rho: float, like: float) -> None:
    assert counts_as(100, 5, rho) == like
