"""A commit is a proposal; the row is the act: the branch head becomes the active policy when it parses.

- A broken head is refused whole: the old policy stays active, and the row says why, for the banner. So is a head
  that does not descend from the active commit: a rewound branch never rules.
- Memberships (ring and make of every machine) are computed once, here, when a policy becomes active.
"""

from __future__ import annotations

from datetime import datetime

from gate.core import makes
from gate.core.errors import Conflict, GateError, Overtaken
from gate.core.model import Machine, Site
from gate.core.policy import Policy
from gate.ports import ActivePolicy, Gate, Tx

PAGE = 1000


def activate_head(tx: Tx, gate: Gate, by: str, now: datetime) -> ActivePolicy | None:
    """Makes the branch head active if it is new and parses; returns the row that rules now.

    Raises:
        Overtaken: another process has activated a commit meanwhile.
    """
    active = tx.active_policy()
    head = gate.texts.head()
    if active is not None and active.commit == head:
        if active.problem:
            tx.policy_problem("")
        return active
    try:
        if active is not None and not gate.texts.descends(head, active.commit):
            raise Conflict("rewound", f"it does not descend from the active {active.commit[:12]}")
        policy = gate.policy(head)
    except GateError as problem:
        said = f"commit {head[:12]} is refused: {problem.detail}"
        if active is not None and active.problem != said:
            tx.policy_problem(said)
            tx.append("policy_refused", by, head, now, {"problem": problem.detail[:2000]})
        return active
    row = ActivePolicy(head, now, by)
    if not tx.activate_policy(row, active.commit if active else ""):
        raise Overtaken
    tx.append("policy_activated", by, head, now, {"before": active.commit if active else ""}, "", head)
    place_all(tx, policy)
    return row


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
