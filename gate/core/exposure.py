"""How many more machines may have it at once: the exposure budget, and what an unexplained failure does to it.

- Per make and for the fleet: ``unresolved * max(U - b, 0) <= at_risk``; while nothing is resolved, ``first_batch``.
- A make whose failures are more than its background explains takes no further claim. It is extended by one batch, at
  most twice in a ring, to see whether it was chance; then a person is asked. It never times out.
- A batch begins once nothing of the make is in flight, and ends when so many more have resolved.
- So does a make, or the fleet, that falls short of a ring's numbers though every machine of the ring has resolved.
- Failures that a person has explained are not counted here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import Enum

from gate.core import stats
from gate.core.model import Budget

EXTENSIONS = 2


class Pace(Enum):
    """What a make may do next."""

    GROW = "grow"  # claims up to the budget's limit
    EXTEND = "extend"  # one more batch, then look again
    ASK = "ask"  # no further claim: a person decides


def pace(failed: int, resolved: int, background: float, extended: int, short: bool = False) -> Pace:
    """``extended``: batches that this ring has been extended by; ``short``: all resolved, and yet not enough shown."""
    if not short and not stats.unexplained(failed, resolved, background):
        return Pace.GROW
    return Pace.EXTEND if extended < EXTENSIONS else Pace.ASK


def batch(resolved: int, first_batch: int) -> int:
    """How many machines an extension takes: a tenth of what has resolved, at least the first batch."""
    return max(first_batch, resolved // 10)


def renewed(budget: Budget, at_risk: int, first_batch: int, background: float, confidence: float) -> Budget:
    """A make's budget with its limit after what has resolved so far."""
    resolved = budget.healthy + budget.failed
    match pace(budget.failed, resolved, background, budget.extended):
        case Pace.GROW:
            limit = stats.in_flight_limit(budget.healthy, budget.failed, at_risk, background, confidence, first_batch)
            return replace(budget, limit=limit, stopped=False, extend_to=0)
        case _ if resolved < budget.extend_to:
            return replace(budget, limit=budget.extend_to - resolved, stopped=False)
        case _ if budget.in_flight:
            return replace(budget, limit=0, stopped=False)
        case Pace.EXTEND:
            more = batch(resolved, first_batch)
            return replace(budget, limit=more, stopped=False, extended=budget.extended + 1, extend_to=resolved + more)
        case Pace.ASK:
            return replace(budget, limit=0, stopped=True)


def lost(budget: Budget, more: int, background: float, confidence: float) -> int:
    """How many machines could be lost at worst, at this confidence, if ``more`` might take it now: those that are then
    unresolved, at the failure rate that is not excluded yet, beyond the background. A limit that has shrunk meanwhile
    stops who comes next, and takes it from nobody."""
    unresolved = max(budget.in_flight, min(budget.limit, budget.in_flight + more))
    excess = max(stats.upper_bound(budget.healthy, budget.failed, 0, confidence) - background, 0.0)
    return math.ceil(unresolved * excess - 1e-9)
