"""Machines outside their ring's share: each follows with the last ring whose pick it also meets, and counts there.

- Where no later ring picks one, it follows once its own ring's gate has passed, and counts in its own.
- A ring with a share before it is walked for them once, when it opens; who looks counts them by what their make says.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from gate.core import makes
from gate.core.model import Machine, Rollout, RolloutState, Site, Stratum
from gate.core.policy import Policy
from gate.flows.placing import Places
from gate.ports import Tx


def waits_for(
    tx: Tx, policy: Policy, rollout: Rollout, machine: Machine, site: Site | None, now: datetime
) -> tuple[str, bool]:
    """The ring that a machine outside its ring's share follows with, and whether it may: that has opened, or its own
    ring's gate has passed for its make."""
    ring = _ring(policy, machine, site)
    opened = {one.ring: one.opened_at for one in tx.rings(rollout.id)}
    if ring != machine.ring:
        return ring, opened.get(ring) is not None
    names = list(opened)
    after = names[names.index(ring) + 1 :]
    if not after or opened[after[0]] is None:
        return ring, rollout.state is RolloutState.DONE
    later = tx.standing(rollout.id, after[0], machine.make).stratum
    if later is not None:
        return ring, later.open
    own = tx.standing(rollout.id, ring, machine.make).stratum
    return ring, own is not None and own.soak_until is not None and own.soak_until <= now


def of(tx: Tx, policy: Policy, rollout: Rollout, ring: str) -> dict[str, str]:
    """machine -> the later ring that it follows with, of those that a ring before this one has not taken; the fleet is
    walked where one has taken a share."""
    cuts = {(one.ring, one.make): one.share_cut for one in _before(tx, policy, rollout, ring)}
    places, found = Places(policy), dict[str, str]()
    for machine, site, active, own, make, said, labels in tx.stands(places.facts) if cuts else ():
        cut = cuts.get((own, make))
        if cut is None or not active or makes.rank(rollout.salt, machine) <= cut:
            continue
        later = places.last(site, said, labels)
        if later and policy.index(later) > policy.index(own):
            found[machine] = later
    return found


def counted(tx: Tx, policy: Policy, rollout: Rollout, ring: str) -> Counter[str]:
    """make -> how many follow with a ring, by the facts that the make names."""
    picks, found = [(one.name, one.pick) for one in policy.rings], Counter[str]()
    for one in _before(tx, policy, rollout, ring):
        if makes.last_ring(picks, "", (), makes.facts_of(one.make)) == ring:
            found[one.make] += one.members - one.share_members
    return found


def counts_in(tx: Tx, policy: Policy, rollout: Rollout, machine: Machine) -> tuple[str, datetime] | None:
    """The later ring that counts a machine outside its ring's share, and when that opened; None where none does."""
    stratum = tx.standing(rollout.id, machine.ring, machine.make).stratum
    if stratum is None or makes.in_share(rollout.salt, machine.id, stratum.share_cut):
        return None
    ring = _ring(policy, machine, tx.site(machine.site))
    opened = next((one.opened_at for one in tx.rings(rollout.id) if one.ring == ring), None)
    return None if ring == machine.ring or opened is None else (ring, opened)


def _before(tx: Tx, policy: Policy, rollout: Rollout, ring: str) -> list[Stratum]:
    """What the rings before have taken a share of."""
    earlier = {rule.name for rule in policy.rings[: policy.index(ring)]}
    return [one for one in tx.strata(rollout.id) if one.share_cut < 1 and one.ring in earlier]


def _ring(policy: Policy, machine: Machine, site: Site | None) -> str:
    labels = machine.labels | (site.labels if site else frozenset())
    picks = [(one.name, one.pick) for one in policy.rings]
    later = makes.last_ring(picks, machine.site, labels, machine.facts)
    known = [one.name for one in policy.rings]
    return later if later and known.index(later) > known.index(machine.ring) else machine.ring
