"""What the read plane must say: one approval a ring and source, from what has been decided and committed.

- The newest rollout that has opened a ring speaks for it; a halted one says ``hold``; stopped makes are left out.
- A recalled one says ``recall`` and names the release to go back to, or itself where it is to be removed.
- One that has opened all of its rings has the last word: nothing older is looked at, however many there are.
- The publisher compares with what is published: a crash between the two is repaired by the next tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gate.core.model import Action, Rollout, RolloutState
from gate.ports import Tx


@dataclass(frozen=True, slots=True)
class Approval:
    """The wanted state of ``rings/<ring>/<source>/current``."""

    ring: str
    source: str
    release: str
    decision: str
    decided_at: datetime
    policy_version: str
    makes: tuple[str, ...]
    action: Action
    recalls: str = ""
    """The release that is to go; ``makes`` are all then."""


LOOK_BACK = 200
SPEAKS = (
    RolloutState.RUNNING,
    RolloutState.DONE,
    RolloutState.HALTED,
    RolloutState.HELD,
    RolloutState.SUPERSEDED,
    RolloutState.RECALLED,
)


def wanted(tx: Tx, sources: list[str]) -> list[Approval]:
    """Every approval that should stand now."""
    found = []
    for source in sources:
        spoken: set[str] = set()
        for rollout in tx.rollouts(states=SPEAKS, source=source, limit=LOOK_BACK, opened=True):
            recalled = rollout.state is RolloutState.RECALLED
            held = rollout.state in (RolloutState.HALTED, RolloutState.HELD)
            stopped = {budget.make for budget in tx.budgets(rollout.id) if budget.stopped}
            strata, rings = tx.strata(rollout.id), tx.rings(rollout.id)
            for ring in rings:
                if ring.opened_at is None or ring.ring in spoken:
                    continue
                spoken.add(ring.ring)
                makes = sorted(s.make for s in strata if s.ring == ring.ring and s.open and s.make not in stopped)
                decision = tx.last_decision(rollout.id, ring.ring)
                action = Action.RECALL if recalled else Action.HOLD if held else Action.INSTALL
                back_to = former(tx, rollout, ring.ring) if recalled else ""
                found.append(
                    Approval(
                        ring.ring,
                        source,
                        back_to or rollout.release,
                        str(decision.id) if decision else "",
                        ring.opened_at,
                        rollout.policy_version,
                        tuple(makes),
                        action,
                        rollout.release if recalled else "",
                    )
                )
            if all(ring.opened_at is not None for ring in rings):
                break
    return found


def speaking(tx: Tx, source: str) -> set[str]:
    """The rollouts of a source that speak for a ring."""
    spoken, found = set[str](), set[str]()
    for rollout in tx.rollouts(states=SPEAKS, source=source, limit=LOOK_BACK, opened=True):
        rings = tx.rings(rollout.id)
        new = {ring.ring for ring in rings if ring.opened_at is not None} - spoken
        if new:
            found.add(rollout.id)
            spoken |= new
        if all(ring.opened_at is not None for ring in rings):
            break
    return found


def former(tx: Tx, rollout: Rollout, ring: str) -> str:
    """The newest older release of the source that was done and knew this ring; empty: there is none."""
    for other in tx.done_before(rollout.id):
        if any(row.ring == ring for row in tx.rings(other.id)):
            return other.release
    return ""


def speaker(tx: Tx, source: str, ring: str) -> Rollout | None:
    """The rollout whose word stands for this ring and source."""
    for rollout in tx.rollouts(states=SPEAKS, source=source, limit=LOOK_BACK, opened=True):
        rings = tx.rings(rollout.id)
        if any(row.ring == ring and row.opened_at is not None for row in rings):
            return rollout
        if all(row.opened_at is not None for row in rings):
            return None
    return None
