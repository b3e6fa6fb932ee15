"""A site is added or changed; its machines stand in the ring that its labels give them, at once.

- Labels of a site count for its machines. Where they would bring machines into the first rings, it takes two people, as
  for a machine itself: the first proposes, the same change by another enacts. It is bound to the site as it was then:
  whatever changes that meanwhile voids it.
- At the server's own shell one person is enough.
- A form says a whole site, so it says too on what it stands: where that is not the site as it is, nothing is changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from gate.core.errors import Conflict
from gate.core.model import Machine, MachineStatus, Site
from gate.core.policy import Policy
from gate.flows.agreement import agreed
from gate.flows.machines import TWO_PEOPLE_RINGS
from gate.flows.placing import placed
from gate.ports import Proposal, Tx

KIND = "change_site"
PAGE = 1000


def change(
    tx: Tx, policy: Policy | None, made: Site, by: str, now: datetime, *, people: int = 2, stands_on: str | None = None
) -> Proposal | None:
    """Adds or changes a site; the proposal where another person must do the same.

    ``stands_on``: the ``mark`` of the site that was shown, empty where none was; None: nobody was shown any.

    Raises:
        Conflict: needs_people, where the proposer asks again; site_is_other, where it does not stand on the site as
            it is.
    """
    before = tx.site(made.id)
    if before is not None and stands_on is not None:
        _stands(before, stands_on)
    if people > 1 and policy is not None and into_first(tx, policy, made):
        text = written(made)
        proposal = agreed(tx, KIND, made.id, _exact(before, text), text, by, now)
        if proposal is not None:
            return proposal
    save(tx, policy, made)
    detail = {"name": made.name, "hours": made.hours, "land": made.land, "labels": sorted(made.labels)}
    kind = "site_changed" if before else "site_added"
    tx.append(kind, by, made.id, now, detail)
    return None


def _exact(before: Site | None, text: str) -> str:
    return hashlib.sha256(f"{KIND}/{mark(before) if before else ''}/{text}".encode()).hexdigest()


def _stands(before: Site, on: str) -> None:
    if not on:
        raise Conflict("site_is_other", "there is a site of this id already; nothing was changed")
    if on != mark(before):
        raise Conflict("site_is_other", "somebody has changed this site since it was shown; nothing was changed")


def save(tx: Tx, policy: Policy | None, made: Site) -> None:
    """Stores a site, and where its machines stand now.

    Raises:
        Conflict: no_policy, where its labels change and nobody can say what that moves.
    """
    before = tx.site(made.id)
    moves = before is not None and before.labels != made.labels
    if moves and policy is None and tx.active_policy() is not None:
        raise Conflict(
            "no_policy", "the policy cannot be read now, and labels of a site say which ring its machines are in"
        )
    tx.save_site(made)
    if moves and policy is not None:
        tx.memberships([(machine.id, *placed(policy, machine, made)) for machine in _active(tx, made.id)])


def into_first(tx: Tx, policy: Policy, made: Site) -> list[Machine]:
    """Machines that would come into ring 0 or 1, or from 1 to 0, with the labels that a site would have."""
    before = tx.site(made.id)
    if before is None or before.labels == made.labels:
        return []
    early: Sequence[str] = [rule.name for rule in policy.rings[:TWO_PEOPLE_RINGS]]
    found = []
    for machine in _active(tx, made.id):
        ring = placed(policy, machine, made)[0]
        if ring in early and (machine.ring not in early or early.index(ring) < early.index(machine.ring)):
            found.append(machine)
    return found


def written(site: Site) -> str:
    """A site as a proposal has it."""
    return json.dumps([site.id, site.name, site.land, site.hours, site.always_on, sorted(site.labels)])


def mark(site: Site) -> str:
    """What a form carries of the site that it shows."""
    return hashlib.sha256(written(site).encode()).hexdigest()


def read(text: str) -> Site:
    """What ``written`` has written."""
    site_id, name, land, hours, always_on, labels = json.loads(text)
    return Site(site_id, name, land, hours, always_on, frozenset(labels))


def waiting(tx: Tx, site_id: str, now: datetime) -> list[tuple[Proposal, Site]]:
    """The changes of a site that wait for another person; void ones are left out."""
    found = [one for one in tx.proposals("open", site_id, now) if one.kind == KIND]
    return [(one, read(one.because)) for one in found if not void(tx, one)]


def void(tx: Tx, proposal: Proposal) -> bool:
    """Is the site another by now than the one that somebody proposed to change?"""
    return proposal.sha256 != _exact(tx.site(proposal.subject), proposal.because)


def _active(tx: Tx, site_id: str) -> Iterator[Machine]:
    after = ""
    while page := tx.machines(after=after, limit=PAGE, site=site_id):
        yield from (one for one in page if one.status is MachineStatus.ACTIVE)
        after = page[-1].id
