"""Where every machine stands under a policy: ring and make, written when the policy becomes active.

- The fleet is walked in a reading transaction, so that nobody waits for it. What that has shown is written only where
  no membership has changed since; else the transaction that writes ends, and the fleet is walked again, ``TRIES`` times
  at most: where machines join all the time, who acts is told to try again.
- Who has no other transaction to walk in walks in its own: a new gate, which has no machines yet, and a simulation.
- A site whose tills stand in several rings today and would all stand in one is refused: ``one_ring``. Where they stand
  in one ring today already, that counts for nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gate.core import makes
from gate.core.errors import Conflict, GateError, NotFound, Overtaken
from gate.core.model import Machine, Site
from gate.core.policy import Policy
from gate.ports import Gate, Store, Tx

T = TypeVar("T")
FIRST = 5
TRIES = 5
ROLE, TILL = "role", "till"
SEVERAL = "*"  # this site's tills stand in several rings


@dataclass(frozen=True, slots=True)
class Walked:
    """What ``policy`` would change, as of one version of the fleet: (machine, ring, make) of all that would stand
    elsewhere, and the sites that forbid it."""

    policy: Policy
    fleet: int
    moves: Sequence[tuple[str, str, str]]
    one_ring: Sequence[str]


class Places:
    """Ring and make under one policy, worked out once for machines that are alike in what it asks for."""

    def __init__(self, policy: Policy) -> None:
        self._picks = [(ring.name, ring.pick) for ring in policy.rings]
        self._makes = policy.makes
        self._named = {site for _, pick in self._picks for site in pick.get("site", ())}  # the others are alike
        asked = {key for _, pick in self._picks for key in pick} - {"site", "label"}
        self.facts = tuple(dict.fromkeys((ROLE, *sorted(asked), *policy.makes)))
        """The facts that decide, the role first."""
        self._known: dict[tuple[object, ...], tuple[str, str]] = {}
        self._last: dict[tuple[object, ...], str] = {}

    def of(self, machine: Machine, labels: frozenset[str]) -> tuple[str, str]:
        """(ring, make) of a machine of a site with these labels; the ring is empty where no ring picks it."""
        return self.alike(machine.site, tuple(map(machine.facts.get, self.facts)), machine.labels | labels)

    def alike(self, site: str, said: tuple[str | None, ...], labels: frozenset[str]) -> tuple[str, str]:
        """As ``of``, by what ``facts`` names of it and by all its labels."""
        site = site if site in self._named else ""
        found = self._known.get((site, said, labels))
        if found is None:
            facts = self._facts(said)
            ring = makes.ring_of(self._picks, site, labels, facts)
            found = self._known[site, said, labels] = ring or "", makes.make_of(facts, self._makes)
        return found

    def last(self, site: str, said: tuple[str | None, ...], labels: frozenset[str]) -> str:
        """The last ring whose pick it meets; empty where none does."""
        site = site if site in self._named else ""
        found = self._last.get((site, said, labels))
        if found is None:
            ring = makes.last_ring(self._picks, site, labels, self._facts(said))
            found = self._last[site, said, labels] = ring or ""
        return found

    def last_of(self, machine: Machine, labels: frozenset[str]) -> str:
        """As ``last``, of a machine of a site with these labels."""
        return self.last(machine.site, tuple(map(machine.facts.get, self.facts)), machine.labels | labels)

    def _facts(self, said: tuple[str | None, ...]) -> dict[str, str]:
        return {name: fact for name, fact in zip(self.facts, said, strict=True) if fact is not None}


class Tills:
    """The tills of each site: how many, and whether they stand in one ring before and after."""

    def __init__(self) -> None:
        self._found: dict[str, list[Any]] = {}  # site -> [tills, ring before, ring after]

    def count(self, site: str, old: str, new: str) -> None:
        """One till, which stands in ``old`` and would in ``new``."""
        found = self._found.get(site)
        if found is None:
            self._found[site] = [1, old, new]
            return
        found[0] += 1
        found[1] = old if found[1] == old else SEVERAL
        found[2] = new if found[2] == new else SEVERAL

    def in_one_ring(self) -> list[tuple[str, str, int]]:
        """(site, ring, tills) of what is newly affected, by site; tills in no ring at all receive nothing."""
        return sorted(
            (site, new, count)
            for site, (count, old, new) in self._found.items()
            if new not in ("", SEVERAL) and old == SEVERAL
        )


def walk(tx: Tx, policy: Policy) -> Walked:
    """What this policy would change; one walk over the fleet, and nothing is written."""
    version, places, tills = tx.fleet_version(), Places(policy), Tills()
    moves = []
    for machine, site, active, ring, make, said, labels in tx.stands(places.facts):
        would = places.alike(site, said, labels)
        if would != (ring, make):
            moves.append((machine, *would))
        if active and said[0] == TILL:
            tills.count(site, ring, would[0])
    return Walked(policy, version, sorted(moves), [site for site, *_ in tills.in_one_ring()])


def walked(store: Store, read: Callable[[], Policy]) -> Walked | None:
    """The fleet under what ``read`` says; None where that cannot be read: whoever writes then says why."""
    try:
        policy = read()
    except GateError:
        return None
    with store.read() as tx:
        return walk(tx, policy)


def written(
    store: Store, read: Callable[[], Policy], act: Callable[[Tx, Walked | None], T], fleet: Walked | None = None
) -> T:
    """What ``act`` answers, in a transaction that writes, to the fleet under what ``read`` says; ``fleet``: as it was
    walked a moment ago.

    Raises:
        Overtaken: memberships have changed at each try, or somebody else does the same.
    """
    for _ in range(TRIES - 1):
        fleet = fleet or walked(store, read)
        try:
            with store.write() as tx:
                return act(tx, fleet)
        except Overtaken:
            fleet = None
    fleet = walked(store, read)
    with store.write() as tx:
        return act(tx, fleet)


def proposed(store: Store, gate: Gate, proposal_id: str) -> Policy:
    """What a proposal says.

    Raises:
        NotFound.
    """
    with store.read() as tx:
        proposal = tx.proposal(proposal_id)
    if proposal is None:
        raise NotFound(f"there is no proposal {proposal_id}")
    return gate.policy(proposal.subject)


def refuse_one_ring(tx: Tx, old: Policy, new: Policy, walked: Walked | None = None) -> None:
    """Looks where the edit could move a machine.

    Raises:
        Conflict: one_ring; a site's tills would all be in one ring.
        Overtaken: the fleet is not as it was walked any more, or was walked for another policy.
    """
    if [(one.name, one.pick) for one in old.rings] == [(one.name, one.pick) for one in new.rings]:
        return
    if walked is not None and not (walked.policy == new and walked.fleet == tx.fleet_version()):
        raise Overtaken
    found = walked or walk(tx, new)
    if found.one_ring:
        named = ", ".join(found.one_ring[:FIRST]) + (" ..." if len(found.one_ring) > FIRST else "")
        raise Conflict(
            "one_ring",
            f"all tills of a site would be in one ring; {len(found.one_ring)} affected: {named}",
            **new.ruled("rings"),
        )


def place_all(tx: Tx, policy: Policy, walked: Walked | None = None) -> None:
    """Ring and make of every machine under this policy.

    Raises:
        Overtaken: the fleet is not as it was walked any more, or was walked for another policy.
    """
    found = walked or walk(tx, policy)
    if found.policy != policy:
        raise Overtaken
    tx.move_members(found.moves, found.fleet)


def place(tx: Tx, policy: Policy, machine: Machine) -> tuple[str, str]:
    """(ring, make) of one machine; the ring is empty where no ring picks it."""
    return placed(policy, machine, tx.site(machine.site))


def placed(policy: Policy, machine: Machine, site: Site | None) -> tuple[str, str]:
    """(ring, make) of a machine of this site."""
    return Places(policy).of(machine, site.labels if site else frozenset())
