"""How long healthy boots of a make took in expected-on time, as counts per step, and the deadline that follows. Pure.

- Step 0 is up to 30 minutes; each further step is a fourth root of two longer (in whole minutes), the last is 16 hours
  and whatever took longer.
- From 200 boots on, the deadline is the end of the step that holds the 99.9 % quantile: of n boots the one with
  floor(n/1000) longer ones. So it is never below 30 minutes, never before the quantile, and at most a fifth after it.
- A boot that came after its deadline counts where it took at most twice that: else each deadline would cut the next one
  shorter, and so it can grow step by step. What took longer is a repair: one machine that comes back after days says
  nothing about the others of its make.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from datetime import timedelta

from gate.core.times import OpenDuration

NEEDED = 200
STEPS = tuple(timedelta(minutes=round(30 * 2 ** (step / 4))) for step in range(21))


def is_late(took: timedelta, deadline: timedelta) -> bool:
    """Is a boot after its deadline a late one (or else a repair)?"""
    return took <= 2 * deadline


def step_of(took: timedelta) -> int:
    """The step that a boot of this length counts in."""
    return min(bisect_left(STEPS, took), len(STEPS) - 1)


def learned(boots: Mapping[int, int]) -> OpenDuration | None:
    """The deadline of a make with these boots a step; None before there are enough."""
    total = sum(boots.values())
    if total < NEEDED:
        return None
    longer = total // 1000
    for step in sorted(boots, reverse=True):
        longer -= boots[step]
        if longer < 0:
            return OpenDuration(STEPS[min(step, len(STEPS) - 1)], 0, True)
    raise AssertionError("more boots than there are")
