"""The bounds on the failure rate: the decision's figures, SciPy, exact arithmetic, and properties."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from gate.core import stats

CONFIDENCES = (0.9, 0.95, 0.99, 0.999)
COUNTS = [
    (healthy, failed, pending)
    for healthy in (1, 3, 10, 24, 299, 2995, 30_000, 119_000)
    for failed in (0, 1, 3, 40, 1_000)
    for pending in (0, 1, 5, 700, 60_000)
    if healthy + failed + pending <= 120_000
]


def relative(got: float, want: float) -> float:
    return abs(got - want) / want


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_the_bound_agrees_with_scipy_up_to_120_000_machines(confidence: float) -> None:
    for healthy, failed, pending in COUNTS:
        want = float(scipy_stats.beta.ppf(confidence, failed + pending + 1, healthy))
        got = stats.upper_bound(healthy, failed, pending, confidence)
        assert relative(got, want) < 1e-12, (healthy, failed, pending)


def exact_tail(k: int, n: int, rate: float) -> float:
    with localcontext() as context:
        context.prec = 60
        p = Decimal(rate)
        term = total = (1 - p) ** n
        for i in range(1, k):
            term = term * (n - i + 1) / i * p / (1 - p)
            total += term
        return float(1 - total)


@pytest.mark.parametrize(
    ("k", "n", "rate"),
    [
        (1, 3, 0.0075),
        (3, 25, 0.0075),
        (39, 76_066, 0.00019018375947826854),  # by way of 1 - rate this loses four digits
        (37, 102_500, 0.00036938041432448313),  # here SciPy itself is 3e-12 off
        (100, 78_977, 0.0006590972869744869),
        (500, 60_000, 0.008),
        (900, 120_000, 0.0075),
        (60_100, 120_000, 0.5),
    ],
)
def test_the_tail_agrees_with_exact_arithmetic_and_nearly_with_scipy(k: int, n: int, rate: float) -> None:
    assert relative(stats.binomial_tail(k, n, rate), exact_tail(k, n, rate)) < 1e-13
    assert relative(stats.binomial_tail(k, n, rate), float(scipy_stats.binom.sf(k - 1, n, rate))) < 1e-11


@pytest.mark.parametrize(
    ("healthy", "failed", "pending", "percent"),
    [(0, 0, 0, 100), (0, 3, 0, 100), (0, 0, 9, 100), (3, 0, 0, 63.2), (10, 0, 0, 25.9), (10, 0, 5, 58), (100, 0, 0, 3)],
)
def test_the_bound_is_what_the_decision_says(healthy: int, failed: int, pending: int, percent: float) -> None:
    assert stats.upper_bound(healthy, failed, pending, 0.95) * 100 == pytest.approx(percent, abs=0.5)


def test_a_clean_ring_has_the_closed_form() -> None:
    assert stats.upper_bound(24, 0, 0, 0.95) == pytest.approx(1 - 0.05 ** (1 / 24), rel=1e-14)


@pytest.mark.parametrize(
    ("bound", "machines"), [(0.65, 3), (0.35, 7), (0.12, 24), (0.03, 99), (0.01, 299), (0.001, 2995)]
)
def test_as_many_machines_as_needed_rule_a_rate_out_and_one_fewer_does_not(bound: float, machines: int) -> None:
    assert stats.needed_for(bound, 0.95) == machines
    assert stats.rules_out(bound, machines, 0, 0, 0.0, 0.95)
    assert not stats.rules_out(bound, machines - 1, 0, 0, 0.0, 0.95)
    assert not stats.rules_out(bound, machines, 1, 0, 0.0, 0.95)
    assert not stats.rules_out(bound, machines, 0, 1, 0.0, 0.95)


# At risk 20, 100 healthy: 20 / 2.9513 % = 677.67, so 677; twice the rounded 338 would be 676.
@pytest.mark.parametrize(
    ("healthy", "of_ten", "of_twenty"), [(0, 3, 3), (3, 15, 31), (10, 38, 77), (100, 338, 677), (1000, 3343, 6686)]
)
def test_the_exposure_budget_grows_with_what_survived(healthy: int, of_ten: int, of_twenty: int) -> None:
    assert stats.in_flight_limit(healthy, 0, 10, 0.0, 0.95, 3) == of_ten
    assert stats.in_flight_limit(healthy, 0, 20, 0.0, 0.95, 3) == of_twenty


def test_after_three_of_three_died_the_budget_alone_allows_ten_but_they_are_unexplained() -> None:
    assert stats.in_flight_limit(0, 3, 10, 0.0, 0.95, 3) == 10
    assert stats.unexplained(3, 3, 0.0)


def test_a_bound_below_the_background_sets_no_limit() -> None:
    assert stats.in_flight_limit(1000, 0, 10, 0.0075, 0.95, 3) > 10**9


@pytest.mark.parametrize(
    ("failed", "resolved", "background", "alarm"),
    [
        (0, 0, 0.0, False),
        (0, 100, 0.0, False),
        (1, 100_000, 0.0, True),
        (1, 3, 0.0075, True),  # 2.2 %
        (1, 6, 0.0075, True),  # 4.4 %
        (1, 7, 0.0075, False),  # 5.1 %
        (2, 47, 0.0075, True),  # 4.8 %
        (2, 48, 0.0075, False),  # 5.04 %
    ],
)
def test_failures_are_unexplained_below_five_percent(
    failed: int, resolved: int, background: float, alarm: bool
) -> None:
    assert stats.unexplained(failed, resolved, background) is alarm


@pytest.mark.parametrize(
    ("k", "rate", "want"), [(0, 0.2, 1.0), (-1, 0.2, 1.0), (6, 0.2, 0.0), (2, 0.0, 0.0), (5, 1.0, 1.0)]
)
def test_the_tail_is_certain_at_its_ends(k: int, rate: float, want: float) -> None:
    assert stats.binomial_tail(k, 5, rate) == want


machines = st.integers(0, 3000)


@given(machines, machines, machines, st.sampled_from(CONFIDENCES))
def test_pending_machines_never_improve_the_bound_and_healthy_ones_never_worsen_it(
    healthy: int, failed: int, pending: int, confidence: float
) -> None:
    bound = stats.upper_bound(healthy, failed, pending, confidence)
    slack = 1 + 1e-12
    assert 0 < bound <= 1
    assert bound <= stats.upper_bound(healthy, failed, pending + 1, confidence) * slack
    assert bound <= stats.upper_bound(healthy, failed + 1, pending, confidence) * slack
    assert stats.upper_bound(healthy + 1, failed, pending, confidence) <= bound * slack


@given(machines, machines, st.integers(1, 500))
def test_an_early_pass_is_never_reversed_by_the_pending(healthy: int, failed: int, pending: int) -> None:
    early = stats.upper_bound(healthy, failed, pending, 0.95)
    for died in (0, pending // 2, pending):
        assert stats.upper_bound(healthy + pending - died, failed + died, 0, 0.95) <= early * (1 + 1e-12)


@given(machines, st.integers(0, 50), st.integers(1, 50), st.sampled_from((0.0, 0.005, 0.0075)))
def test_the_limit_is_the_largest_that_keeps_the_budget(
    healthy: int, failed: int, at_risk: int, background: float
) -> None:
    limit = stats.in_flight_limit(healthy, failed, at_risk, background, 0.95, 3)
    if healthy + failed == 0:
        assert limit == 3
        return
    excess = max(stats.upper_bound(healthy, failed, 0, 0.95) - background, 0)
    assert limit * excess <= at_risk * (1 + 1e-8)
    if excess:
        assert (limit + 1) * excess > at_risk


@given(st.integers(1, 400), st.floats(0.001, 0.999), st.data())
def test_the_tail_is_the_sum_of_the_probabilities(n: int, rate: float, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    want = math.fsum(math.comb(n, i) * rate**i * (1 - rate) ** (n - i) for i in range(k, n + 1))
    assert stats.binomial_tail(k, n, rate) == pytest.approx(want, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("limit", [0.0085, 0.0425, 0.1275, 0.6575])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_fewest_further_machines_are_found_from_wherever_it_begins(limit: float, confidence: float) -> None:
    for healthy, failed, pending in ((0, 0, 0), (3, 0, 0), (3, 1, 0), (40, 2, 5), (500, 9, 40), (7, 20, 3), (0, 0, 60)):
        found = stats.more_healthy(limit, healthy, failed, pending, confidence)
        assert found is not None

        def bound(more: int, healthy: int = healthy, failed: int = failed, pending: int = pending) -> float:
            return stats.upper_bound(healthy + more, failed, max(pending - more, 0), confidence)

        assert bound(found) <= limit
        assert found == 0 or bound(found - 1) > limit


def test_a_rate_that_is_all_but_one_is_ruled_out_by_the_first_healthy_machine() -> None:
    assert stats.more_healthy(1.0, 0, 5, 5, 0.95) in (0, 1)
