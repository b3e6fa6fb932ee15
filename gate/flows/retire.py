"""A rollout that is over is retired once nobody has anything of it any more.

- Superseded: it speaks for no ring (newer ones do), no machine has its release or may have it, no claim is in flight.
- Recalled: no machine has its release or may have it, and no claim is in flight. Its rings are then spoken for by the
  release before, which is where its machines went back to.
- A machine that was never heard of again still has it: decommission it, or wait.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gate.core.claims import may_step
from gate.core.model import Rollout, RolloutState
from gate.flows.approvals import speaking
from gate.flows.recalls import had
from gate.ports import EVERY, Tx

OVER = (RolloutState.SUPERSEDED, RolloutState.RECALLED)


def retire(tx: Tx, now: datetime) -> list[Rollout]:
    """Retires what nobody has any more."""
    found, speaks = [], dict[str, set[str]]()
    for rollout in tx.rollouts(states=OVER, limit=EVERY):
        if rollout.source not in speaks:
            speaks[rollout.source] = speaking(tx, rollout.source)
        said = rollout.state is RolloutState.SUPERSEDED and rollout.id in speaks[rollout.source]
        if said or had(tx, rollout, now) or not may_step(rollout.state, RolloutState.RETIRED):
            continue
        after = replace(rollout, state=RolloutState.RETIRED, version=rollout.version + 1)
        if tx.save_rollout(after):
            tx.append("rollout_retired", "gate", rollout.id, now, {"was": rollout.state.value})
            found.append(after)
    return found
