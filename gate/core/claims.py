"""The life of a claim and of a rollout: one table of legal steps each, checked here and nowhere else.

- A report out of order, late or repeated is kept as an event and changes nothing.
- A claim that is silent stays a failure: a later good report, or one that it went back, marks it recovered.
- What is worse is never said away: one that has crashed has crashed also after it went back, and one that has relapsed
  and went back is a relapse that is recovered. So the order of its failures' reports does not matter.
- ``HOLDS_SLOT``: states in which a claim is in flight and unresolved.
- ``CRASHES``: it says that it failed, or that it went back by itself, which a machine does after a failed boot. The
  claim keeps when it first told of one, whatever its state: also of one that had relapsed or was silent before.
- ``WORKING``: a machine that was not heard of for longer is not one that its site can rely on.
- ``BROKEN``: resolved, and the machine is not known to work: its site's role slot stays taken.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from gate.core.model import Action, ClaimState, RolloutState, Step

C = ClaimState
R = RolloutState

HOLDS_SLOT = frozenset({C.GRANTED, C.INSTALLED, C.BOOTED})
BROKEN = frozenset({C.UNHEALTHY, C.FAILED, C.SILENT, C.RELAPSED})
WORKING = timedelta(days=7)
CRASHES = frozenset({Step.FAILED, Step.ROLLED_BACK})
FAILURE = frozenset({C.UNHEALTHY, C.FAILED, C.SILENT, C.RELAPSED, C.ROLLED_BACK})

STEPS: dict[tuple[ClaimState, Step], ClaimState] = {
    (C.GRANTED, Step.INSTALLED): C.INSTALLED,
    (C.GRANTED, Step.FAILED): C.FAILED,
    (C.GRANTED, Step.ROLLED_BACK): C.ROLLED_BACK,
    (C.INSTALLED, Step.BOOTED): C.BOOTED,
    (C.INSTALLED, Step.FAILED): C.FAILED,
    (C.INSTALLED, Step.UNHEALTHY): C.UNHEALTHY,
    (C.INSTALLED, Step.ROLLED_BACK): C.ROLLED_BACK,
    (C.INSTALLED, Step.HEALTHY): C.HEALTHY,  # only where the policy asks for `alive`
    (C.BOOTED, Step.HEALTHY): C.HEALTHY,
    (C.BOOTED, Step.BOOTED): C.BOOTED,  # the next of several boots
    (C.BOOTED, Step.UNHEALTHY): C.UNHEALTHY,
    (C.BOOTED, Step.FAILED): C.FAILED,
    (C.BOOTED, Step.ROLLED_BACK): C.ROLLED_BACK,
    (C.HEALTHY, Step.UNHEALTHY): C.RELAPSED,
    (C.HEALTHY, Step.FAILED): C.RELAPSED,
    (C.HEALTHY, Step.ROLLED_BACK): C.RELAPSED,
    (C.UNHEALTHY, Step.FAILED): C.FAILED,
    (C.UNHEALTHY, Step.ROLLED_BACK): C.ROLLED_BACK,
    (C.FAILED, Step.ROLLED_BACK): C.ROLLED_BACK,
    (C.RELAPSED, Step.FAILED): C.RELAPSED,
    (C.RELAPSED, Step.UNHEALTHY): C.RELAPSED,
    (C.RELAPSED, Step.ROLLED_BACK): C.RELAPSED,
    (C.SILENT, Step.FAILED): C.SILENT,  # it tells of the crash that it was silent for
}

RECALL_STEPS: dict[tuple[ClaimState, Step], ClaimState] = {
    (C.GRANTED, Step.ROLLED_BACK): C.ROLLED_BACK,
    (C.GRANTED, Step.FAILED): C.FAILED,
    (C.SILENT, Step.ROLLED_BACK): C.ROLLED_BACK,
    (C.FAILED, Step.ROLLED_BACK): C.ROLLED_BACK,
    (C.EXPIRED, Step.ROLLED_BACK): C.ROLLED_BACK,
}
"""A claim to go back: gone back is what it is for, however late it is said."""

LEFT_BEHIND = frozenset({R.SUPERSEDED, R.HALTED, R.RECALLED})
"""What is in flight under them counts against the exposure budget of the release that runs now."""
ROLLOUT_STEPS: frozenset[tuple[RolloutState, RolloutState]] = frozenset(
    {
        (R.QUEUED, R.RUNNING),
        (R.QUEUED, R.SUPERSEDED),
        (R.QUEUED, R.HALTED),
        (R.RUNNING, R.HELD),
        (R.RUNNING, R.HALTED),
        (R.RUNNING, R.DONE),
        (R.RUNNING, R.SUPERSEDED),
        (R.HELD, R.RUNNING),
        (R.HELD, R.HALTED),
        (R.HELD, R.SUPERSEDED),
        (R.HALTED, R.RUNNING),
        (R.HALTED, R.RECALLED),
        (R.HALTED, R.SUPERSEDED),
        (R.DONE, R.HALTED),
        (R.DONE, R.SUPERSEDED),
        (R.SUPERSEDED, R.HALTED),
        (R.SUPERSEDED, R.RETIRED),
        (R.RECALLED, R.RETIRED),
    }
)


class Taken(StrEnum):
    """What became of a report."""

    STEP = "step"  # the claim moved
    RECOVERED = "recovered"  # silent before, heard now
    KEPT = "kept"  # stored as an event; nothing moved


def next_state(state: ClaimState, step: Step, action: str = Action.INSTALL) -> tuple[ClaimState, Taken]:
    """The state after a report of ``step``; late, repeated and reordered reports change nothing."""
    if action == Action.RECALL:
        back = RECALL_STEPS.get((state, step))
        return (state, Taken.KEPT) if back is None else (back, Taken.STEP)
    after = STEPS.get((state, step))
    if after is not None:
        return after, Taken.STEP
    if state is C.SILENT and step in (Step.BOOTED, Step.HEALTHY, Step.ROLLED_BACK):
        return state, Taken.RECOVERED
    return state, Taken.KEPT


def may_step(before: RolloutState, after: RolloutState) -> bool:
    """Is this step of a rollout legal?"""
    return (before, after) in ROLLOUT_STEPS
