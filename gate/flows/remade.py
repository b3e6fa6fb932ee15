"""What is of another make than when its ring opened: a machine whose make changes, and one that comes later.

- A machine whose make changes after its ring has opened leaves the old make's count and joins the new one's.

- An OS or sensor update makes another make of it: the old one would wait for it for ever, the new one be nobody's.
- Where the rollout runs, the new make of an open ring waits for its proof as any other; where it is done, it may start
  at its first batch.
- A machine that has a claim of the rollout keeps the make that the claim was granted under.
- One that came after its ring had opened is never waited for; where its make is new there, the make may start.
"""

from __future__ import annotations

from datetime import datetime

from gate.core import makes
from gate.core.claims import WORKING
from gate.core.model import Machine, Rollout, RolloutState
from gate.flows import followers
from gate.ports import EVERY, Gate, Tx

MOVING = (RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED, RolloutState.DONE)


def moved(tx: Tx, gate: Gate, machine: Machine, make: str, now: datetime) -> None:
    """``machine`` as it was until now; it is of ``make`` from now on."""
    for rollout, opened_at in _opened(tx, machine.ring):
        if tx.claims_of(machine.id, rollout.id):
            continue
        if machine.accepted_at is not None and machine.accepted_at > opened_at:
            _meet(tx, gate, rollout, machine.ring, make)
            continue
        _leave(tx, gate, rollout, machine)
        first = gate.policy(rollout.policy_version).first_batch
        alone = not tx.machines(site=machine.site, ring=machine.ring, make=make, status="active", limit=1)
        done = rollout.state is RolloutState.DONE
        plural = not tx.is_sole(machine, now - WORKING)
        tx.join_ring(rollout.id, machine.ring, make, site=alone, plural=plural, first_batch=first, opened=done)


def came(tx: Tx, gate: Gate, machine: Machine) -> None:
    """``machine`` has been accepted now."""
    for rollout, _ in _opened(tx, machine.ring):
        _meet(tx, gate, rollout, machine.ring, machine.make)
        later = followers.counts_in(tx, gate.policy(rollout.policy_version), rollout, machine)
        if later is not None:
            _meet(tx, gate, rollout, later[0], machine.make)


def _opened(tx: Tx, ring: str) -> list[tuple[Rollout, datetime]]:
    """The rollouts that hand out or may go on, where the ring is open, and since when."""
    found = []
    for rollout in tx.rollouts(states=MOVING, limit=EVERY, opened=True):
        opened_at = next((one.opened_at for one in tx.rings(rollout.id) if one.ring == ring), None)
        if opened_at is not None:
            found.append((rollout, opened_at))
    return found


def _meet(tx: Tx, gate: Gate, rollout: Rollout, ring: str, make: str) -> None:
    first, done = gate.policy(rollout.policy_version).first_batch, rollout.state is RolloutState.DONE
    tx.add_make(rollout.id, ring, make, first_batch=first, opened=done)


def _leave(tx: Tx, gate: Gate, rollout: Rollout, machine: Machine) -> None:
    stratum = tx.standing(rollout.id, machine.ring, machine.make).stratum
    if stratum is None:
        return
    share = makes.in_share(rollout.salt, machine.id, stratum.share_cut)
    alone = len(tx.machines(site=machine.site, ring=machine.ring, make=machine.make, status="active", limit=2)) < 2
    tx.leave_ring(rollout.id, machine.ring, machine.make, share=share, site=alone)
    later = followers.counts_in(tx, gate.policy(rollout.policy_version), rollout, machine)
    if later is not None:
        tx.leave_ring(rollout.id, later[0], machine.make, share=True, site=alone)
