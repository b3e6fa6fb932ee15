"""The background: the share of boots that fail or stay silent although the release is harmless.

- As the policy states it, or measured: over the boots of earlier rollouts that ended well. Failures that people have
  explained are part of it: a broken cable is just that.
- Until 200 boots are known it is ``UNTIL_KNOWN``, what the reference country of the evidence is judged by.
- Measured, it is never above the policy's ``background_cap`` nor below ``evalues.LEAST_BACKGROUND``.
- Measured above the cap, nothing is concluded: a release that is held against the cap would carry the fleet's own
  failures, and one that is not would hide in them. A person is asked.
- Fixed when a rollout is made: what the release itself breaks can never become its excuse.
"""

from __future__ import annotations

from enum import StrEnum

from gate.core.evalues import LEAST_BACKGROUND
from gate.core.policy import Policy

UNTIL_KNOWN = 0.0075
LEAST_BOOTS = 200
CAP = 0.03


class Origin(StrEnum):
    """Where a rollout's background comes from."""

    STATED = "stated by the policy"
    UNKNOWN = "assumed until 200 boots are known"
    MEASURED = "measured on earlier rollouts"


def origin(policy: Policy, background: float) -> Origin:
    """As the policy states it, assumed, or measured."""
    if isinstance(policy.defaults.background, float):
        return Origin.STATED
    return Origin.UNKNOWN if background == UNTIL_KNOWN else Origin.MEASURED


def of(policy: Policy, tried: int, failed: int) -> float:
    """The background for a new rollout; ``tried`` and ``failed``: boots of earlier rollouts."""
    stated = policy.defaults.background
    if isinstance(stated, float):
        return stated
    share = measured(policy, tried, failed) or (UNTIL_KNOWN if tried < LEAST_BOOTS else 0.0)
    return min(max(share, LEAST_BACKGROUND), cap(policy))


def measured(policy: Policy, tried: int, failed: int) -> float:
    """The share as it was measured, without bounds; 0 where the policy states it or too few boots are known."""
    known = tried >= LEAST_BOOTS and not isinstance(policy.defaults.background, float)
    return failed / tried if known else 0.0


def cap(policy: Policy) -> float:
    """``background_cap``: what more than that is silent or fails without the release, it decides nothing."""
    return float(policy.defaults.later.get("background_cap", CAP))
