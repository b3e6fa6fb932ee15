"""Bounds on the failure rate, exact, in pure Python.

- The bound is one-sided Clopper-Pearson; what is pending counts as failed, so it can never reverse an early pass.
- The binomial probabilities follow C. Loader, "Fast and Accurate Computation of Binomial Probabilities" (2000):
  the saddle-point form keeps full precision at 120,000 machines, where differences of log-gammas lose four digits.
- Rates are shares between 0 and 1; counts are machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

CLOSE = 1e-9  # a step of Newton's that is smaller than this share has found all digits of a float
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


@lru_cache(maxsize=65536)
def more_healthy(limit: float, healthy: int, failed: int, pending: int, confidence: float) -> int | None:
    """The smallest number of further healthy machines that brings the bound to ``limit`` or below it; None where no
    number does. Those that are pending come first: each that turns out healthy counts twice."""
    if limit <= 0:
        return None

    def within(more: int) -> bool:
        return upper_bound(healthy + more, failed, max(pending - more, 0), confidence) <= limit

    def nearly(more: int) -> bool:
        """The same but for the last digits: one tail instead of the rate that has it."""
        bad = failed + max(pending - more, 0)
        return healthy + more > 0 and _sum_down(bad, healthy + more + bad, limit) <= 1 - confidence

    if within(0):
        return 0
    if limit >= 1:
        return 1
    at = _needed(limit, failed + pending, confidence) - healthy - failed - pending
    low, high = _bracket(nearly, max(at, 1))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if nearly(middle) else (middle, high)
    while not within(high):
        high += 1
    while high > 1 and within(high - 1):
        high -= 1
    return high


def _needed(limit: float, bad: int, confidence: float) -> int:
    """About how many trials with so many failures rule out ``limit`` (Wilson and Hilferty on the Poisson bound)."""
    k = bad + 1
    return int(k * (1 - 1 / (9 * k) + _normal(1 - confidence) / (3 * math.sqrt(k))) ** 3 / limit)


def _bracket(holds: Callable[[int], bool], at: int) -> tuple[int, int]:
    """Two numbers around the first that ``holds``, which is not 0 and is looked for near ``at``."""
    step = max(at // 64, 1)
    if holds(at):
        while at - step > 0 and holds(at - step):
            at, step = at - step, step * 2
        return max(at - step, 0), at
    while not holds(at + step):
        at, step = at + step, step * 2
    return at, at + step


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


@lru_cache(maxsize=65536)
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
    """The rate p with P(X <= bad | trials, p) = tail: by Newton's steps, by bisection where one leads astray."""
    low, high = 0.0, 1.0
    rate = _near(bad, trials, tail)
    for _ in range(200):
        last = _pmf(bad, trials, rate)
        value = _sum_down(bad, trials, rate, last) - tail
        if value > 0:
            low = rate
        else:
            high = rate
        slope = last * (trials - bad) / (1 - rate)
        step = rate + value / slope if slope > 0 else low
        if slope > 0 and abs(step - rate) <= CLOSE * rate:  # each step has twice the digits of the one before
            return step
        rate = step if low < step < high else (low + high) / 2
    return rate


def _near(bad: int, trials: int, tail: float) -> float:
    """Where that rate is to be looked for: by the normal approximation to the beta distribution (Abramowitz and Stegun
    26.5.22)."""
    a, b = bad + 1, trials - bad
    if b == 1:
        return (bad + 1) / (trials + 1)
    z = _normal(tail)
    more = (z * z - 3) / 6
    h = 2 / (1 / (2 * a - 1) + 1 / (2 * b - 1))
    w = z * math.sqrt(h + more) / h - (1 / (2 * b - 1) - 1 / (2 * a - 1)) * (more + 5 / 6 - 2 / (3 * h))
    return min(max(a / (a + b * math.exp(-2 * w)), 1e-12), 1 - 1e-12)


@lru_cache(maxsize=64)
def _normal(tail: float) -> float:
    return NormalDist().inv_cdf(1 - tail)


def _sum_down(k: int, n: int, rate: float, last: float | None = None) -> float:
    """P(X <= k): the largest terms first, each from the one before. ``last``: P(X = k), where it is known."""
    if k >= n:
        return 1.0
    if k < 0:
        return 0.0
    if k > n * rate:
        return 1.0 - _sum_up(k + 1, n, rate)
    term = _pmf(k, n, rate) if last is None else last
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
