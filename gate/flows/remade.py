"""What is of another make than when its ring opened: a machine whose make changes, and one that comes later.

- A machine whose make changes after its ring has opened leaves the old make's count and joins the new one's.

- An OS or sensor update makes another make of it: the old one would wait for it for ever, the new one be nobody's.
- Where the rollout runs, the new make of an open ring waits for its proof as any other; where it is done, it may start
  at its first batch.
- A machine that has a claim of the rollout keeps the make that the claim was granted under.
- One that came after its ring had opened is never waited for; where its make is new there, the make may start.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gate.core import makes
from gate.core.claims import WORKING
from gate.core.model import Machine, Rollout, RolloutState
from gate.flows import followers
from gate.ports import EVERY, Gate, Joining, Tx

MOVING = (RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED, RolloutState.DONE)


def moved(tx: Tx, gate: Gate, machine: Machine, make: str, now: datetime) -> None:
    """``machine`` as it was until now; it is of ``make`` from now on."""
    for rollout, opened_at in _opened(tx, machine.ring):
        if not tx.claims_of(machine.id, rollout.id):
            _leave(tx, gate, rollout, machine, opened_at)
            _join(tx, gate, rollout, replace(machine, make=make), opened_at, now)


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


def _leave(tx: Tx, gate: Gate, rollout: Rollout, machine: Machine, opened_at: datetime) -> None:
    """It is counted no more where it was: in its own ring, and in the one that it follows with."""
    alone = len(tx.machines(site=machine.site, make=machine.make, status="active", limit=2)) < 2
    stratum = tx.standing(rollout.id, machine.ring, machine.make).stratum
    if stratum is not None and not _late(machine, opened_at):
        share = makes.in_share(rollout.salt, machine.id, stratum.share_cut)
        tx.leave_ring(rollout.id, machine.ring, machine.make, share=share, site=share and alone)
    later = followers.counts_in(tx, gate.policy(rollout.policy_version), rollout, machine)
    if later is not None and not _late(machine, later[1]):
        tx.leave_ring(rollout.id, later[0], machine.make, share=True, site=alone)


def _join(tx: Tx, gate: Gate, rollout: Rollout, machine: Machine, opened_at: datetime, now: datetime) -> None:
    """It counts where it is from now on; nobody waits for one that came after the ring had opened."""
    policy, done = gate.policy(rollout.policy_version), rollout.state is RolloutState.DONE
    alone = not tx.machines(site=machine.site, make=machine.make, status="active", limit=1)
    plural = not tx.is_sole(machine, now - WORKING)
    stratum = tx.standing(rollout.id, machine.ring, machine.make).stratum
    share = stratum is None or makes.in_share(rollout.salt, machine.id, stratum.share_cut)

    def joins(ring: str, since: datetime, *, takes_part: bool) -> None:
        if _late(machine, since):
            _meet(tx, gate, rollout, ring, machine.make)
            return
        joining = Joining(rollout.id, ring, machine.make, takes_part, takes_part and alone, takes_part and plural)
        tx.join_ring(joining, first_batch=policy.first_batch, opened=done)

    joins(machine.ring, opened_at, takes_part=share)
    later = followers.counts_in(tx, policy, rollout, machine)
    if later is not None:
        joins(*later, takes_part=True)


def _late(machine: Machine, opened_at: datetime) -> bool:
    return machine.accepted_at is not None and machine.accepted_at > opened_at
