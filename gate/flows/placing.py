"""Where every machine stands under a policy: ring and make, computed once, when the policy becomes active."""

from __future__ import annotations

from gate.core import makes
from gate.core.model import Machine, Site
from gate.core.policy import Policy
from gate.ports import Tx

PAGE = 1000


def place_all(tx: Tx, policy: Policy) -> None:
    """Ring and make of every machine under this policy."""
    after = ""
    while True:
        page = tx.machines(after=after, limit=PAGE)
        if not page:
            return
        tx.memberships([(machine.id, *place(tx, policy, machine)) for machine in page])
        after = page[-1].id


def place(tx: Tx, policy: Policy, machine: Machine) -> tuple[str, str]:
    """(ring, make) of one machine; the ring is empty where no ring picks it."""
    return placed(policy, machine, tx.site(machine.site))


def placed(policy: Policy, machine: Machine, site: Site | None) -> tuple[str, str]:
    """(ring, make) of a machine of this site."""
    labels = machine.labels | (site.labels if site else frozenset())
    picks = [(ring.name, ring.pick) for ring in policy.rings]
    ring = makes.ring_of(picks, machine.site, labels, machine.facts)
    return ring or "", makes.make_of(machine.facts, policy.makes)
