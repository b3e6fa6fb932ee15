"""Where a rollout stands, in sentences: for the page and for ``gate rollout show``."""

from __future__ import annotations

from datetime import datetime

from gate.core.model import Rollout, RolloutState
from gate.flows import holds, recalls
from gate.flows.expedite import skips
from gate.ports import Gate, Tx


def of_rollout(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> list[str]:
    """Its state first, then all that people should know beside it."""
    release = tx.release(rollout.release)
    version = release.version if release else rollout.release
    found = [f"{rollout.source} {version} is {rollout.state.value}"]
    if rollout.halted_because:
        found[0] += f", halted by {rollout.halted_by}: {rollout.halted_because}"
    if rollout.expedited_until is not None and now < rollout.expedited_until:
        skipped = ", ".join(sorted(skips(gate.policy(rollout.policy_version), rollout, now))) or "nothing"
        found.append(f"expedited until {rollout.expedited_until:%d %B %Y %H:%M} UTC; the fast lane skips {skipped}")
    for hold in tx.holds(now):
        if hold.source in ("", rollout.source):
            end = f"{hold.until:%d %B %Y %H:%M} UTC"
            found.append(f"{holds.words(hold)} is held until {end} by {hold.owner}: {hold.because} ({hold.id})")
    if rollout.state is RolloutState.RECALLED:
        found.append(_recalled(tx, gate, rollout, now))
    return found


def _recalled(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> str:
    sites = recalls.holders(tx, gate, rollout, now)
    machines, unheard = sum(one.machines for one in sites), sum(one.unheard for one in sites)
    if not machines:
        return "no machine has it any more"
    said = f"{machines} machines at {len(sites)} sites still have it or may have it"
    away = [one for one in sites if one.unheard]
    if not away:
        return f"{said}; all of them are heard of"
    names = ", ".join(f"{one.name} ({one.unheard})" for one in away[:5])
    more = f" and {len(away) - 5} more sites" if len(away) > 5 else ""
    return f"{said}; {unheard} are not heard of: {names}{more}"
