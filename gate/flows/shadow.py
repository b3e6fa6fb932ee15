"""Shadowed: where the policy says ``decides: people``, the gate says what it would do and people open the rings.

- A person's word opens a ring as soon as the gate would; before that two people set aside what is still to be shown.
- A halt acts all the same: who disagrees resumes, with a second person. Floors, freezes and budgets rule as ever.
- ``look`` compares: when the gate would have opened, when people did, how it ended; and what has been learned.
- Sites are compared once a rollout, when it has ended well and its watch is over: see ``core.correlation``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from gate.core.boot_times import NEEDED
from gate.core.correlation import LEAST_FAILURES, Pairs, correlation, pairs_of
from gate.core.errors import Conflict, NotFound
from gate.core.evalues import Span
from gate.core.model import FLEET, RingState, Rollout, RolloutState, Stratum
from gate.core.policy import Policy
from gate.flows.agreement import agreed, reason_given
from gate.flows.people import digest
from gate.ports import Asked, Gate, Proposal, Store, Tx

ROLLOUTS = 30  # that are compared
HALTS = 1000  # of a rollout
PAST = 50  # rollouts whose boots and sites are counted, as the background's are

BY_GATE = re.compile(r"gate\Z|brakes\[|defaults\.")
"""Who halts where the gate does: the rule."""


class Match(StrEnum):
    """What the gate said of one ring beside what people did."""

    AGREED = "agreed"  # the gate would have opened it, and people did
    EARLIER = "earlier"  # people opened it before the gate would have
    WAITS = "waits"  # the gate would open it; nobody has decided
    KEPT_SHUT = "kept_shut"  # the gate would have opened it; people never did


class Outcome(StrEnum):
    """How it ended, as far as it has."""

    GOOD = "good"
    BAD = "bad"  # machines of this ring failed, or the rollout was halted
    OPEN = "open"  # it still runs


@dataclass(frozen=True, slots=True)
class Comparison:
    """One ring of one rollout. ``waited``: from the gate's word to the people's."""

    rollout: str
    source: str
    version: str
    ring: str
    ready_at: datetime | None
    opened_at: datetime | None
    match: Match
    outcome: Outcome
    exposed: int
    bad: int

    @property
    def waited(self) -> timedelta | None:
        """None where the gate did not speak first, or people have not opened it."""
        if self.ready_at is None or self.opened_at is None or self.opened_at < self.ready_at:
            return None
        return self.opened_at - self.ready_at


@dataclass(frozen=True, slots=True)
class Halted:
    """A halt by the gate itself; ``resumed_at``: two people disagreed."""

    rollout: str
    source: str
    version: str
    at: datetime
    because: str
    resumed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Learned:
    """What has been learned before trust is asked for."""

    past: Span  # boots of earlier rollouts that ended well
    boots: dict[str, int]  # make -> healthy boots whose length is known; the makes of the rollouts looked at
    pairs: Pairs
    rho: float | None

    @property
    def makes_known(self) -> int:
        """Makes whose report times are learned."""
        return sum(count >= NEEDED for count in self.boots.values())

    def lacks(self) -> list[tuple[str, int, int]]:
        """(what, so far, wanted) of what is not known yet."""
        found = [
            ("background", self.past.exposed, NEEDED),
            ("report_times", self.makes_known, len(self.boots)),
            ("sites", self.pairs.failed, LEAST_FAILURES),
        ]
        return [(what, so_far, wanted) for what, so_far, wanted in found if so_far < wanted]


@dataclass(frozen=True, slots=True)
class Shadow:
    """The comparison, newest first; ``on``: people decide somewhere in the active policy."""

    on: bool
    rows: Sequence[Comparison]
    halts: Sequence[Halted]
    learned: Learned
    cells: Counter[tuple[Match, Outcome]] = field(default_factory=Counter)


def waive(tx: Tx, gate: Gate, rollout_id: str, ring: str, by: str, because: str, now: datetime) -> Proposal | None:
    """Sets aside what a ring still waits to be shown: the first person proposes, another enacts (None then).

    The proposal is bound to the ring and to the failures so far: one more, and it is void.

    Raises:
        NotFound: no such rollout or ring. Malformed: no reason.
        Conflict: not_running, not_next, waived (already, or it is open), needs_people (the proposer asks again).
    """
    reason_given(because)
    rollout = tx.rollout(rollout_id)
    rows = tx.rings(rollout_id) if rollout else []
    row = next((one for one in rows if one.ring == ring), None)
    if rollout is None or row is None:
        raise NotFound(f"there is no ring {ring} in rollout {rollout_id}")
    if rollout.state is not RolloutState.RUNNING:
        raise Conflict("not_running", f"the rollout is {rollout.state.value}")
    if not 0 < row.position <= rollout.reached + 1:
        raise Conflict("not_next", f"ring {ring} waits for nothing that its rings before have to show")
    proposal = agreed(tx, "waive", rollout.id, bound(tx, rollout, ring), because, by, now)
    if proposal is not None:
        return proposal
    if not tx.waive_ring(rollout.id, ring, now):
        raise Conflict("waived", f"the gate of ring {ring} has been set aside, or the ring is open")
    tx.append("ring_waived", by, rollout.id, now, {"ring": ring}, because, rollout.policy_version)
    return None


def bound(tx: Tx, rollout: Rollout, ring: str) -> str:
    """What the signatures of a waiver are bound to: this ring, and the failures that both people have seen, those that
    were explained among them."""
    failed = next((one.failed for one in tx.budgets(rollout.id) if one.make == FLEET), 0)
    explained = sum(one.explained for one in tx.strata(rollout.id))
    return digest(json.dumps(["waive", rollout.id, ring, failed, explained]))


def compare_sites(store: Store, gate: Gate, now: datetime, limit: int = 20) -> int:
    """Notes how the machines of one site failed together, of rollouts that ended well; returns of how many."""
    with store.read() as tx:
        active = tx.active_policy()
        if active is None:
            return 0
        over = now - gate.policy(active.commit).defaults.watch
        found = {one: pairs_of(tx.site_outcomes(one)) for one in tx.uncorrelated(over, limit)}
    for rollout_id, shown in found.items():
        with store.write() as tx:
            tx.correlate(rollout_id, shown, now)
    return len(found)


def look(tx: Tx, gate: Gate) -> Shadow:
    """What the gate said, what people did, how it ended, and what has been learned: a handful of statements, and one
    for each rollout that people decided."""
    active = tx.active_policy()
    policy = gate.policy(active.commit) if active else None
    rollouts = tx.rollouts(limit=ROLLOUTS)
    ladders, rows, halts = tx.ladders(rollouts), list[Comparison](), list[Halted]()
    for rollout in rollouts:
        ladder, rules = ladders[rollout.id], gate.policy(rollout.policy_version)
        theirs = [one for one in ladder.rings if _theirs(rules, one, rollout.source)]
        for ring in theirs:
            one = _compared(rollout, ladder.version, ring, [row for row in ladder.strata if row.ring == ring.ring])
            rows += [one] if one is not None else []
        if theirs:
            halts += _halts(tx, rollout, ladder.version)
    cells = Counter((one.match, one.outcome) for one in rows)
    makes = {row.make for ladder in ladders.values() for row in ladder.strata}
    return Shadow(policy is not None and _on(policy), rows, halts, _learned(tx, makes), cells)


def _theirs(policy: Policy, ring: RingState, source: str) -> bool:
    return ring.waived_at is not None or policy.settings_for(ring.ring, source).decides == "people"


def _on(policy: Policy) -> bool:
    names = [one.name for one in policy.sources]
    return any(policy.settings_for(ring.name, name).decides == "people" for ring in policy.rings for name in names)


def _halts(tx: Tx, rollout: Rollout, version: str) -> list[Halted]:
    """By kind: among its events there is one for each report."""
    halted = tx.asked_events(Asked(subject=rollout.id, kind="rollout_halted"), None, HALTS)
    resumed = tx.asked_events(Asked(subject=rollout.id, kind="rollout_resumed"), None, HALTS) if halted else []
    found, resumed_at = list[Halted](), None
    for event in sorted([*halted, *resumed], key=lambda one: -one.index):  # the newest first
        if event.kind == "rollout_resumed":
            resumed_at = event.at
        elif event.kind == "rollout_halted" and BY_GATE.match(event.actor):
            found.append(Halted(rollout.id, rollout.source, version, event.at, event.because, resumed_at))
    return found


def _compared(rollout: Rollout, version: str, ring: RingState, strata: Sequence[Stratum]) -> Comparison | None:
    ready = ring.ready_at or (ring.opened_at if ring.waived_at is None else None)
    if ring.opened_at is None:
        if ready is None:
            return None
        match = Match.WAITS if rollout.state is RolloutState.RUNNING else Match.KEPT_SHUT
    else:
        early = ring.waived_at is not None and (ready is None or ready > ring.opened_at)
        match = Match.EARLIER if early else Match.AGREED
    exposed, bad = sum(one.exposed for one in strata), sum(one.unexplained for one in strata)
    stopped = rollout.state in (RolloutState.HALTED, RolloutState.RECALLED) or rollout.halted_at is not None
    running = rollout.state in (RolloutState.RUNNING, RolloutState.HELD, RolloutState.QUEUED)
    outcome = Outcome.BAD if bad or stopped else Outcome.OPEN if running else Outcome.GOOD
    who = rollout.id, rollout.source, version, ring.ring
    return Comparison(*who, ready, ring.opened_at, match, outcome, exposed, bad)


def _learned(tx: Tx, makes: Iterable[str]) -> Learned:
    counts = tx.boot_counts()
    pairs = Pairs()
    for one in tx.correlations(PAST):
        pairs = pairs.plus(one)
    boots = {make: counts.get(make, 0) for make in sorted(makes)}
    return Learned(tx.past_trials(PAST), boots, pairs, correlation(pairs))
