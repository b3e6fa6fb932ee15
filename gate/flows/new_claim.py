"""A claim as it is asked for: under the settings that its ring has now, with a clock that begins now."""

from __future__ import annotations

import hashlib
from datetime import datetime

from gate.core.model import Action, Claim, ClaimState, Machine, Rollout
from gate.core.policy import Policy
from gate.flows import when
from gate.ports import Gate, Tx


def new_claim(
    tx: Tx,
    gate: Gate,
    policy: Policy,
    machine: Machine,
    rollout: Rollout,
    boot_id: str,
    now: datetime,
    *,
    release: str,
    cohort: bool = False,
    action: Action = Action.INSTALL,
) -> Claim:
    """``release``: what it is to have afterwards; ``cohort``: it was in the ring when the ring started."""
    settings = policy.settings_for(machine.ring, rollout.source)
    seed = f"{rollout.id}/{machine.id}/{action.value}/{now.isoformat()}"
    new = Claim(
        id="c-" + hashlib.sha256(seed.encode()).hexdigest()[:24],
        rollout=rollout.id,
        release=release,
        source=rollout.source,
        machine=machine.id,
        site=machine.site,
        role=machine.role,
        ring=machine.ring,
        make=machine.make,
        state=ClaimState.GRANTED,
        granted_at=now,
        lease_until=now + settings.lease,
        deadline_at=now,
        boot_id=boot_id,
        evidence=settings.evidence,
        boots=settings.boots,
        stay_up=settings.stay_up,
        reboot=settings.reboot,
        tries=settings.tries,
        cohort=cohort,
        action=action.value,
    )
    return when.clocked(gate, tx, new, machine, tx.site(machine.site), now)
