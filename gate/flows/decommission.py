"""A machine is gone, a person says: it is revoked, and leaves what its rollouts count.

- Of a rollout that is not over, what it showed leaves n and k, and it is no member of its ring any more.
- One that was revoked before can be decommissioned as well: revoking frees no slot of what the release broke.
- It frees its slots at once, in every rollout: nobody waits for a machine that stands in the cellar.
- Who, when, why and what it had shown stays with each rollout for ever, and is an event.
- The same transaction moves every counter, revokes the machine and writes it down.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gate.core import makes
from gate.core.claims import WORKING
from gate.core.counters import Counts, counts
from gate.core.errors import Conflict, Overtaken
from gate.core.model import Attribution, Claim, ClaimState, Machine, MachineStatus, Rollout, RolloutState
from gate.flows import followers, machines
from gate.flows.agreement import reason_given
from gate.flows.claims import renew_limits
from gate.ports import EVERY, Gate, Tx

EVER = timedelta(days=36500)
OPEN = (RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED)
OVER = (RolloutState.DONE, RolloutState.RECALLED, RolloutState.SUPERSEDED, RolloutState.RETIRED)


def decommission(tx: Tx, gate: Gate, machine: Machine, by: str, because: str, now: datetime) -> list[Attribution]:
    """Revokes a machine as gone, where it was not revoked before; returns what has left, a line a rollout.

    Raises:
        Malformed: no reason. Conflict: decommissioned already.
    """
    reason_given(because)
    if not tx.take_turn(_mark(machine.id), now, EVER):
        raise Conflict("decommissioned", f"machine {machine.id} is decommissioned already")
    if machine.status is not MachineStatus.REVOKED:
        machines.revoke(tx, machine, by, because, now)
    found = []
    for rollout in _concerned(tx, machine):
        claims = [one for one in tx.claims_of(machine.id, rollout.id) if counts(one) != Counts()]
        if rollout.state in OVER:
            claims = [one for one in claims if counts(one).busy]
        for claim in claims:
            _leave(tx, gate, claim, now)
        member = rollout.state in OPEN and _leave_ring(tx, gate, rollout, machine, claims, now)
        if claims or member:
            said = _said(rollout, machine, claims, by, because, now)
            tx.attribute(said)
            left = [one.id for one in claims]
            detail = {"machine": machine.id, "name": machine.name, "claim": said.claim, "was": said.was, "claims": left}
            tx.append("machine_left", by, rollout.id, now, detail, because)
            found.append(said)
    tx.append("machine_decommissioned", by, machine.id, now, {"rollouts": [one.rollout for one in found]}, because)
    return found


def _concerned(tx: Tx, machine: Machine) -> list[Rollout]:
    """What it may be a member of, and what it has ever had: however many releases came since."""
    open_ones = tx.rollouts(states=OPEN, limit=EVERY)
    known = {one.id for one in open_ones}
    return [*open_ones, *(one for one in tx.rollouts_of(machine.id) if one.id not in known)]


def is_gone(tx: Tx, machine_id: str) -> bool:
    """Has a person said so?"""
    return tx.mark(_mark(machine_id)).at is not None


def _mark(machine_id: str) -> str:
    return f"decommissioned {machine_id}"


def _leave(tx: Tx, gate: Gate, claim: Claim, now: datetime) -> None:
    after = replace(claim, state=ClaimState.GONE, resolved_at=claim.resolved_at or now, watch_at=None)
    if not tx.leave(claim, replace(after, version=claim.version + 1)):
        raise Overtaken
    renew_limits(tx, gate, claim.rollout, claim.make)


def _leave_ring(tx: Tx, gate: Gate, rollout: Rollout, machine: Machine, claims: list[Claim], now: datetime) -> bool:
    """It is no member of its opened ring any more, where it was one when the ring opened."""
    if machine.status is MachineStatus.PENDING or (claims and not claims[0].cohort):
        return False
    ring, make = (claims[0].ring, claims[0].make) if claims else (machine.ring, machine.make)
    later = None if claims else followers.counts_in(tx, gate.policy(rollout.policy_version), rollout, machine)
    counted = later is not None and machine.accepted_at is not None and machine.accepted_at <= later[1]
    if later is not None and counted:
        _is_less(tx, rollout, machine, later[0], make, now, share=True)
    opened = next((one.opened_at for one in tx.rings(rollout.id) if one.ring == ring), None)
    if opened is None or machine.accepted_at is None or machine.accepted_at > opened:
        return counted
    stratum = tx.standing(rollout.id, ring, make).stratum
    share = stratum is None or ring != machine.ring or makes.in_share(rollout.salt, machine.id, stratum.share_cut)
    return _is_less(tx, rollout, machine, ring, make, now, share=share)


def _is_less(tx: Tx, rollout: Rollout, machine: Machine, ring: str, make: str, now: datetime, *, share: bool) -> bool:
    alone = not tx.machines(site=machine.site, make=make, status="active", limit=1)
    plural = share and not tx.is_sole(machine, now - WORKING)
    return tx.leave_ring(rollout.id, ring, make, share=share, site=share and alone, plural=plural)


def _said(rollout: Rollout, machine: Machine, claims: list[Claim], by: str, because: str, now: datetime) -> Attribution:
    newest = claims[0] if claims else None
    return Attribution(
        rollout=rollout.id,
        kind="decommissioned",
        claim=newest.id if newest else "",
        machine=machine.id,
        name=machine.name,
        site=newest.site if newest else machine.site,
        ring=newest.ring if newest else machine.ring,
        make=newest.make if newest else machine.make,
        was=newest.state.value if newest else "",
        by=by,
        because=because,
        at=now,
    )
