"""Bounds on the failure rate, exact, in pure Python.

- The bound is one-sided Clopper-Pearson; what is pending counts as failed, so it can never reverse an early pass.
- The binomial probabilities follow C. Loader, "Fast and Accurate Computation of Binomial Probabilities" (2000):
  the saddle-point form keeps full precision at 120,000 machines, where differences of log-gammas lose four digits.
- Rates are shares between 0 and 1; counts are machines.
"""

from __future__ import annotations

import math
from functools import lru_cache

ALARM = 0.05  # failures rarer than this under the background are unexplained


def upper_bound(healthy: int, failed: int, pending: int, confidence: float) -> float:
    """The failure rate excluded at ``confidence``: BetaInv(confidence; k+u+1, n-k); 1.0 while nothing is healthy.

    ``healthy + failed`` is n, ``failed`` k, ``pending`` u of the decision's text. 10 healthy and 5 pending give 0.58.
    """
    assert healthy >= 0 and failed >= 0 and pending >= 0 and 0 < confidence < 1
    if healthy == 0:
        return 1.0
    bad = failed + pending
    if bad == 0:
        return -math.expm1(math.log(1 - confidence) / healthy)
    return _solve(bad, healthy + bad, 1 - confidence)


def rules_out(bound: float, healthy: int, failed: int, pending: int, background: float, confidence: float) -> bool:
    """Is a failure rate of ``background + bound`` excluded at ``confidence``?"""
    return upper_bound(healthy, failed, pending, confidence) <= background + bound


def needed_for(bound: float, confidence: float) -> int:
    """How many healthy machines without a failure exclude ``bound``: 3 for 65 %, 24 for 12 %, 299 for 1 %."""
    assert 0 < bound < 1
    return math.ceil(math.log(1 - confidence) / math.log1p(-bound) - 1e-9)


def more_healthy(limit: float, healthy: int, failed: int, pending: int, confidence: float) -> int | None:
    """The smallest number of further healthy machines that brings the bound to ``limit`` or below it; None where no
    number does. Those that are pending come first: each that turns out healthy counts twice."""
    if limit <= 0:
        return None

    def within(more: int) -> bool:
        return upper_bound(healthy + more, failed, max(pending - more, 0), confidence) <= limit

    if within(0):
        return 0
    high = 1
    while not within(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if within(middle) else (middle, high)
    return high


def binomial_tail(k: int, n: int, rate: float) -> float:
    """P(X >= k) for X binomial with n trials."""
    if k <= 0:
        return 1.0
    if k > n or rate <= 0:
        return 0.0
    if rate >= 1:
        return 1.0
    if k > n * rate:  # sum the smaller side, so that nothing is lost in 1 - x
        return _sum_up(k, n, rate)
    return 1.0 - _sum_down(k - 1, n, rate)


def unexplained(failed: int, resolved: int, background: float) -> bool:
    """Are these failures more than the background explains? P(X >= k | n, b) < 5 %; with no background any failure."""
    return failed > 0 and binomial_tail(failed, resolved, background) < ALARM


def in_flight_limit(
    healthy: int, failed: int, at_risk: int, background: float, confidence: float, first_batch: int
) -> int:
    """The exposure budget: the most machines in flight with ``unresolved * max(U - b, 0) <= at_risk``."""
    if healthy + failed == 0:
        return first_batch
    excess = upper_bound(healthy, failed, 0, confidence) - background
    if excess <= 0:
        return 2**31 - 1
    return math.floor(at_risk / excess + 1e-9)


@lru_cache(maxsize=65536)
def _solve(bad: int, trials: int, tail: float) -> float:
    """The rate p with P(X <= bad | trials, p) = tail, by bisection until Newton takes over."""
    low, high = 0.0, 1.0
    rate = (bad + 1) / (trials + 1)
    for _ in range(200):
        value = _sum_down(bad, trials, rate) - tail
        if value > 0:
            low = rate
        else:
            high = rate
        slope = trials * _pmf(bad, trials - 1, rate)
        step = rate + value / slope if slope > 0 else low
        if not low < step < high:
            step = (low + high) / 2
        if abs(step - rate) <= 1e-16 * rate:
            return step
        rate = step
    return rate


def _sum_down(k: int, n: int, rate: float) -> float:
    """P(X <= k): the largest terms first, each from the one before."""
    if k >= n:
        return 1.0
    if k < 0:
        return 0.0
    if k > n * rate:
        return 1.0 - _sum_up(k + 1, n, rate)
    term = _pmf(k, n, rate)
    terms = []
    odds = (1 - rate) / rate
    while term > 0:
        terms.append(term)
        if k == 0 or term < 1e-18 * terms[0]:
            break
        term *= k / (n - k + 1) * odds
        k -= 1
    return math.fsum(terms)


def _sum_up(k: int, n: int, rate: float) -> float:
    """P(X >= k) for k above the mean; never by way of 1 - rate, which loses four digits of a rate of 0.02 %."""
    term = _pmf(k, n, rate)
    terms = []
    odds = rate / (1 - rate)
    while term > 0:
        terms.append(term)
        if k == n or term < 1e-18 * terms[0]:
            break
        term *= (n - k) / (k + 1) * odds
        k += 1
    return math.fsum(terms)


def _pmf(k: int, n: int, rate: float) -> float:
    """P(X = k), Loader's saddle-point form."""
    if k == 0:
        return math.exp(n * math.log1p(-rate))
    if k == n:
        return rate**n
    missing = _stirling(n) - _stirling(k) - _stirling(n - k)
    deviance = _deviance(k, n * rate) + _deviance(n - k, n * (1 - rate))
    return math.exp(missing - deviance) * math.sqrt(n / (2 * math.pi * k * (n - k)))


def _stirling(n: int) -> float:
    """log(n!) minus Stirling's formula."""
    if n < 16:
        return math.lgamma(n + 1) - (n + 0.5) * math.log(n) + n - 0.5 * math.log(2 * math.pi)
    square = float(n) * n
    return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / n


def _deviance(x: float, mean: float) -> float:
    """x log(x/mean) + mean - x, without cancellation near the mean."""
    if abs(x - mean) >= 0.1 * (x + mean):
        return x * math.log(x / mean) + mean - x
    v = (x - mean) / (x + mean)
    total, power, j = (x - mean) * v, 2 * x * v, 1
    while True:
        power *= v * v
        after = total + power / (2 * j + 1)
        if after == total:
            return total
        total, j = after, j + 1
