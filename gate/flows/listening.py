"""Our own gaps: while nobody listened, silence says nothing and every clock stands.

- The worker's mark says when somebody was at work last. Where it is older than two minutes, that was a gap: of several
  workers the one that moves the mark on records it, before it looks at any deadline.
- A gap lasts one check-in longer than nobody listened: every machine gets its chance to come back first.
- Soaks that run are counted again when a gap is recorded, and only then.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gate.core.model import RolloutState, Stratum
from gate.core.policy import Policy
from gate.flows import soaks, when
from gate.ports import Gate, Tx

MARK = "worker"
GAP = timedelta(minutes=2)


def note_gap(tx: Tx, gate: Gate, now: datetime) -> bool:
    """Records the gap that ends now, if there is one; whether this worker did."""
    last = tx.mark(MARK).at
    if last is None or now - last <= GAP or not tx.move_mark(MARK, last, now):
        return False
    known = {one.id: one for one in tx.rollouts(states=(RolloutState.RUNNING,))}
    before = {name: when.gaps(tx, gate.policy(one.policy_version), last) for name, one in known.items()}
    tx.add_gap(last, now)
    tx.append("nobody_listened", "gate", "gate", now, {"from": last.isoformat(), "to": now.isoformat()})
    for rollout in known.values():
        policy = gate.policy(rollout.policy_version)
        strata = tx.strata(rollout.id)
        place = {ring.ring: ring.position for ring in tx.rings(rollout.id)}
        opened = [one for one in strata if policy.settings_for(one.ring, rollout.source).soak.open]
        pushed = soaks.stood(tx, gate, policy, rollout.source, opened, strata, place, last, now, before[rollout.id])
        ends = {(one.ring, one.make): one.soak_until for one in pushed}
        again = []
        for marker in strata:
            if marker.met_at is not None and marker.soak_until is not None and marker.soak_until > last:
                until = _soak_again(tx, gate, policy, rollout.source, marker, strata, place)
                latest = ends.get((marker.ring, marker.make)) or until
                again.append(replace(marker, soak_until=max(until, latest, marker.soak_until)))
        tx.save_strata_times(again)
    return True


def _soak_again(
    tx: Tx, gate: Gate, policy: Policy, source: str, marker: Stratum, strata: list[Stratum], place: dict[str, int]
) -> datetime:
    """The end of a soak that has begun, counted anew without all gaps since."""
    assert marker.met_at is not None
    settings = policy.settings_for(marker.ring, source)
    rows = [one for one in strata if one.make == marker.make and place[one.ring] <= place[marker.ring]]
    needed = soaks.needed(policy, source, marker, rows)
    gone = when.gaps(tx, policy, marker.met_at)
    most = max(needed, settings.sites or 1)
    sites = tx.healthy_sites(marker.rollout, sorted(one.ring for one in rows), {marker.make: most})[marker.make]
    known = tx.sites_of(sorted(sites))
    until = when.soak_over(gate, sites, known, needed, settings.soak, marker.met_at, policy, gone)
    return max([until, *(one.end_at for one in gone if one.start_at <= until)])
