"""Soaks that run: when they are over once their clock has stood.

- A soak is over when enough machines have each run the release for so long on their own site's clock.
- Its clock stands in our own gaps, where it counts open time, and while nothing can be concluded: what was left of it
  then is left when the clock goes on.
- Late, never early: only sites count that were still to be open for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from gate.core.calendar import Interval
from gate.core.model import Stratum
from gate.core.policy import Policy
from gate.flows import when
from gate.ports import Gate, Tx


def stood(
    tx: Tx,
    gate: Gate,
    policy: Policy,
    source: str,
    markers: Iterable[Stratum],
    strata: Sequence[Stratum],
    place: Mapping[str, int],
    since: datetime,
    now: datetime,
    before: Sequence[Interval] | None = None,
) -> list[Stratum]:
    """Those of these that run, with the ends of their soaks, whose clocks stood from ``since`` until ``now``; in three
    statements a ring. ``strata``: all of the rollout; ``place``: its rings; ``before``: our own gaps without one that
    ends now, where it is that which made the clocks stand."""
    running = [one for one in markers if _runs(one, since)]
    gaps = when.gaps(tx, policy, since) if running else []
    found = []
    for ring in sorted({one.ring for one in running}, key=lambda name: place[name]):
        soak = policy.settings_for(ring, source).soak
        mine = [one for one in running if one.ring == ring]
        rows = [one for one in strata if place[one.ring] <= place[ring]]
        need = {one.make: needed(policy, source, one, rows) for one in mine}
        least = policy.settings_for(ring, source).sites or 1
        most = {make: max(count, least) for make, count in need.items()}
        sites = tx.healthy_sites(mine[0].rollout, sorted({one.ring for one in rows}), most)
        known = tx.sites_of(sorted({site for make in most for site in sites[make]}))
        for one in mine:
            assert one.met_at is not None
            assert one.soak_until is not None
            start = max(since, one.met_at)
            gone = gaps if before is None else before, gaps
            left = start, one.soak_until, now
            until = when.soak_resumed(gate, sites[one.make], known, need[one.make], soak, left, gone)
            found.append(replace(one, soak_until=max(until, one.soak_until)))
    return found


def needed(policy: Policy, source: str, marker: Stratum, rows: Iterable[Stratum]) -> int:
    """How many machines of a make must have soaked; ``rows``: of the rings up to its own."""
    members = sum(one.share_members - one.explained for one in rows if one.make == marker.make)
    return min(policy.settings_for(marker.ring, source).at_least, max(members, 0))


def _runs(marker: Stratum, since: datetime) -> bool:
    if marker.met_at is None or marker.soak_until is None:
        return False
    return marker.soak_until > max(since, marker.met_at)
