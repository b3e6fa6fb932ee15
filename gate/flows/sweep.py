"""Claims whose deadline has passed, in expected-on time, and machines that are watched after a healthy report."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gate.core.model import ClaimState
from gate.flows import silence, watch
from gate.flows.claims import renew_limits
from gate.ports import Gate, Tx


def sweep(tx: Tx, gate: Gate, now: datetime) -> int:
    """Claims whose deadline has passed in expected-on time without a healthy report become silent; returns how many."""
    count = 0
    for claim in tx.due_claims(now):
        after = silence.judge(tx, gate, claim, now)
        if not tx.move(claim, replace(after, version=claim.version + 1)) or after.state is not ClaimState.SILENT:
            continue
        count += 1
        detail = {"claim": claim.id, "machine": claim.machine, "was": claim.state.value}
        tx.append("claim_silent", "gate", claim.rollout, now, detail)
        renew_limits(tx, gate, claim.rollout, claim.make)
    return count


def look_after(tx: Tx, gate: Gate, now: datetime) -> int:
    """Looks at the machines that are watched; returns how many have relapsed."""
    relapsed = list(watch.look(tx, gate, now))
    for rollout_id, make in dict.fromkeys(relapsed):
        renew_limits(tx, gate, rollout_id, make)
    return len(relapsed)
