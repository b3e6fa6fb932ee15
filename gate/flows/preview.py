"""What an edit of the policy would do to this fleet, by the very functions that decide.

- The fleet is walked once, in a reading transaction: where each machine stands is stored, ``placing`` says where it
  would stand. So a machine that has said something new of itself since moves here as it will with the next policy.
  Counts are kept, and the first names of each move; nothing is stored.
- A running rollout keeps the policy version that it began with. Its verdicts may still change, since memberships move
  at once: it is judged, under its own rules, on the members that its next ring would have.
- A site whose tills stand in several rings today and would all stand in one will be refused: ``one_ring``.
- Earliest times are ``plan``'s, for at most ``PLANNED`` machines, drawn by whole sites; the worst case of each ring is
  that of the whole fleet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, cast

from gate.core import boot_times, makes, opening
from gate.core.facts import Facts
from gate.core.model import Machine, MachineStatus, Rollout, RolloutState, Site
from gate.core.policy import Policy
from gate.core.times import OpenDuration
from gate.core.verdict import Decision
from gate.flows import gathering
from gate.flows.intake import background_now
from gate.flows.placing import FIRST, TILL, Places, Tills
from gate.flows.plan import RingPlan, exposure, plan
from gate.ports import Gate, Tx

PAGE = 1000
PLANNED = 10_000
DAYS = 14
EARLY = 2  # rings 0 and 1: the canaries


@dataclass(slots=True)
class Move:
    """Machines that would leave ``old`` for ``new``; an empty ring is none."""

    old: str
    new: str
    count: int = 0
    first: list[Machine] = field(default_factory=list)
    sites: Counter[str] = field(default_factory=Counter)
    roles: Counter[str] = field(default_factory=Counter)
    makes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class OneRing:
    """A site whose tills would all be in one ring."""

    site: str
    name: str
    ring: str
    tills: int


@dataclass(frozen=True, slots=True)
class Turn:
    """A verdict about a ring of a running rollout that would change."""

    rollout: Rollout
    ring: str
    before: Decision
    after: Decision


@dataclass(frozen=True, slots=True)
class Course:
    """One ring for one source: its plan and its worst case before and after; None where it is not there."""

    source: str
    ring: str
    before: RingPlan | None
    after: RingPlan | None


@dataclass(frozen=True, slots=True)
class Preview:
    """All of it. ``members``: ring -> machines before and after, in the new order, those that are gone last."""

    machines: int
    moves: tuple[Move, ...]
    members: tuple[tuple[str, int | None, int | None], ...]
    uncovered: tuple[str, ...]  # makes that would lose their canaries
    one_ring: tuple[OneRing, ...]
    turns: tuple[Turn, ...]
    keep: tuple[Rollout, ...]  # rollouts that keep the policy version that they began with
    courses: tuple[Course, ...]
    planned: int  # machines that the earliest times are planned for

    @property
    def moved(self) -> int:
        """Machines that change their ring."""
        return sum(one.count for one in self.moves)


@dataclass(slots=True)
class _Walk:
    """What is kept of the walk: counts, one line a site, and what a plan needs of each machine."""

    moves: dict[tuple[str, str], Move] = field(default_factory=dict)
    members: tuple[Counter[str], Counter[str]] = field(default_factory=lambda: (Counter(), Counter()))
    early: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    makes: set[str] = field(default_factory=set)
    ring_makes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    tills: Tills = field(default_factory=Tills)
    fleet: list[Machine] = field(default_factory=list)
    sites: dict[str, Site] = field(default_factory=dict)


def preview(tx: Tx, gate: Gate, old: Policy, new: Policy, now: datetime) -> Preview:
    """What the fleet would make of ``new`` instead of ``old``."""
    walk = _walk(tx, old, new)
    running = tx.rollouts(states=(RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED, RolloutState.QUEUED))
    names = [ring.name for ring in new.rings] + [ring.name for ring in old.rings if not _has(new, ring.name)]
    moves = sorted(walk.moves.values(), key=lambda one: (-one.count, one.old, one.new))
    was, would = walk.members
    members = [
        (name, was[name] if _has(old, name) else None, would[name] if _has(new, name) else None) for name in names
    ]
    return Preview(
        machines=len(walk.fleet),
        moves=tuple(moves),
        members=tuple(members),
        uncovered=tuple(sorted((walk.early[0] - walk.early[1]) & walk.makes)),
        one_ring=tuple(_one_ring(walk)),
        turns=tuple(_turns(tx, gate, running, walk, now)) if moves else (),
        keep=tuple(running),
        courses=tuple(_courses(tx, gate, old, new, walk, now)),
        planned=len(_planned(walk)),
    )


def _has(policy: Policy, ring: str) -> bool:
    return any(one.name == ring for one in policy.rings)


def _walk(tx: Tx, old: Policy, new: Policy) -> _Walk:
    walk = _Walk(sites=_sites(tx))
    places = Places(new)
    early = [{ring.name for ring in rules.rings[:EARLY]} for rules in (old, new)]
    for machine, labels in tx.fleet():
        if machine.status is not MachineStatus.ACTIVE:
            continue
        was, would = (machine.ring, machine.make), places.of(machine, labels)
        walk.members[0][was[0]] += 1
        walk.members[1][would[0]] += 1
        walk.makes.add(would[1])
        walk.ring_makes[would[0]][would[1]] += 1
        for index, ring in enumerate((was[0], would[0])):
            if ring in early[index]:
                walk.early[index].add(would[1])
        if was[0] != would[0]:
            _count_move(walk, machine, was[0], would)
        if machine.role == TILL:
            walk.tills.count(machine.site, was[0], would[0])
        walk.fleet.append(machine)
    return walk


def _sites(tx: Tx) -> dict[str, Site]:
    found, after = dict[str, Site](), ""
    while page := tx.sites(after, PAGE):
        found |= {one.id: one for one in page}
        after = page[-1].id
    return found


def _one_ring(walk: _Walk) -> Iterator[OneRing]:
    for site, ring, tills in walk.tills.in_one_ring():
        yield OneRing(site, walk.sites[site].name if site in walk.sites else site, ring, tills)


def _count_move(walk: _Walk, machine: Machine, old: str, would: tuple[str, str]) -> None:
    move = walk.moves.setdefault((old, would[0]), Move(old, would[0]))
    move.count += 1
    move.sites[machine.site] += 1
    move.roles[machine.role] += 1
    move.makes[would[1]] += 1
    if len(move.first) < FIRST:
        move.first.append(machine)


class _Moved:
    """A transaction in which every machine stands where it would stand."""

    def __init__(self, tx: Tx, ring_makes: Mapping[str, Mapping[str, int]]) -> None:
        self._tx, self._ring_makes = tx, ring_makes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def ring_makes(self, ring: str) -> dict[str, int]:
        """make -> active machines of it that this ring would have."""
        return dict(self._ring_makes.get(ring, {}))


def _turns(tx: Tx, gate: Gate, rollouts: Sequence[Rollout], walk: _Walk, now: datetime) -> Iterator[Turn]:
    moved = cast(Tx, _Moved(tx, walk.ring_makes))
    for rollout in rollouts:
        if rollout.state is not RolloutState.RUNNING:
            continue
        before, after = _judged(tx, gate, rollout, now), _judged(moved, gate, rollout, now)
        for ring, one in after.items():
            was = before.get(ring)
            if was is not None and _gist(was) != _gist(one):
                yield Turn(rollout, ring, was, one)


def _judged(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> dict[str, Decision]:
    """What would be decided now about each ring that has makes to open."""
    read = gathering.read_of(tx, gate, rollout, now)
    seen, found = gathering.seen_of(tx, read, now), {}
    for position in range(len(read.rings) + 1):
        facts: Facts | None = gathering.gather(tx, gate, read, position, now, looks=True)
        if facts is not None:
            found[facts.ring] = opening.judge(replace(facts, **seen))
    return found


def _gist(decision: Decision) -> tuple[object, ...]:
    return decision.verdict, decision.makes, sorted((one.code, one.make, one.detail) for one in decision.reasons)


def _planned(walk: _Walk) -> list[Machine]:
    """The machines that are planned for: all, or those of as many sites as hold ``PLANNED``, by their hash."""
    if len(walk.fleet) <= PLANNED:
        return walk.fleet
    sizes, drawn, count = Counter(one.site for one in walk.fleet), set[str](), 0
    for site in sorted(sizes, key=lambda one: makes.rank("preview", one)):
        drawn.add(site)
        count += sizes[site]
        if count >= PLANNED:
            break
    return [one for one in walk.fleet if one.site in drawn]


def _courses(tx: Tx, gate: Gate, old: Policy, new: Policy, walk: _Walk, now: datetime) -> Iterator[Course]:
    shown = {make: boot_times.learned(tx.boot_times(make)) for make in sorted(tx.boot_counts())}
    learned = {make: limit for make, limit in shown.items() if limit is not None}
    plans = [_plans(gate, rules, walk, learned, background_now(tx, rules), now) for rules in (old, new)]
    for source, ring in dict.fromkeys([*plans[1], *plans[0]]):
        yield Course(source, ring, plans[0].get((source, ring)), plans[1].get((source, ring)))


def _plans(
    gate: Gate, policy: Policy, walk: _Walk, learned: Mapping[str, OpenDuration], share: float, now: datetime
) -> dict[tuple[str, str], RingPlan]:
    some, found = _planned(walk), {}
    for source in policy.sources:
        worst = exposure(gate, policy, source, walk.fleet, walk.sites, now, share)
        for ring, risk in zip(
            plan(gate, policy, source, some, walk.sites, now, DAYS, learned, share).rings, worst, strict=True
        ):
            found[source.name, ring.ring] = replace(ring, at_risk=risk)
    return found
