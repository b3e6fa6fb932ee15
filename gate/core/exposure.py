"""How many more machines may have it at once: the exposure budget, and what an unexplained failure does to it.

- Per make and for the fleet: ``unresolved * max(U - b, 0) <= at_risk``; while nothing is resolved, ``first_batch``.
- A make whose failures are more than its background explains takes no further claim. It is extended by one batch, at
  most twice in a ring, to see whether it was chance; then a person is asked. It never times out.
- So does a make, or the fleet, that falls short of a ring's numbers though every machine of the ring has resolved.
- Failures that a person has explained are not counted here.
"""

from __future__ import annotations

from enum import Enum

from gate.core import stats

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
