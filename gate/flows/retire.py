"""A rollout that is over is retired once nobody has anything of it any more.

- Superseded: it speaks for no ring (newer ones do), no machine has its release or may have it, no claim is in flight.
- Recalled: no machine has its release or may have it, and no claim is in flight. Its rings are then spoken for by the
  release before, which is where its machines went back to.
- A machine that was never heard of again still has it: decommission it, or wait.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gate.core.claims import HOLDS_SLOT, may_step
from gate.core.model import Rollout, RolloutState
from gate.flows.approvals import speaking
from gate.ports import Tx

OVER = (RolloutState.SUPERSEDED, RolloutState.RECALLED)


def retire(tx: Tx, now: datetime) -> list[Rollout]:
    """Retires what nobody has any more."""
    found, speaks = [], dict[str, set[str]]()
    for rollout in tx.rollouts(states=OVER):
        if rollout.source not in speaks:
            speaks[rollout.source] = speaking(tx, rollout.source)
        said = rollout.state is RolloutState.SUPERSEDED and rollout.id in speaks[rollout.source]
        if said or _held(tx, rollout, now) or not may_step(rollout.state, RolloutState.RETIRED):
            continue
        after = replace(rollout, state=RolloutState.RETIRED, version=rollout.version + 1)
        if tx.save_rollout(after):
            tx.append("rollout_retired", "gate", rollout.id, now, {"was": rollout.state.value})
            found.append(after)
    return found


def _held(tx: Tx, rollout: Rollout, now: datetime) -> bool:
    """Does any machine have it, or may it still get it?"""
    return bool(tx.claims(rollout.id, states=tuple(HOLDS_SLOT), limit=1) or tx.holders(rollout.id, now, 1))
