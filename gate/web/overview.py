"""The overview: is anything wrong, is anything moving, what waits for a person? What is broken comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import g, render_template

from gate.core import agenda, opening
from gate.core.model import Release, Rollout, RolloutState
from gate.core.times import Freeze
from gate.flows import agenda as days
from gate.flows import expedite, holds, intake, observed, orders, protection
from gate.flows import levers as lever_flow
from gate.ports import Tx
from gate.web import morning as mornings
from gate.web import policy_edit_pages, proposals, system
from gate.web.rollout_lines import MOVING, ages, lines_of, open_proposal, sources_of, translated, version_of

PAGE = 50
HOLDS = 20
GAPS_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Lever:
    """How a source can be held, and when it last brought something or failed."""

    source: str
    lever: str
    broken: bool
    release: Release | None
    trouble: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that a person must do, with its link."""

    text: str
    what: str
    link: str


def overview() -> str:
    """Is anything wrong? Is anything moving? What waits for a person?"""
    with g.parts.store.read() as tx:
        figures = tx.overview()
        moving = tx.rollouts(states=MOVING, limit=30)
        recent = tx.rollouts(states=(RolloutState.DONE,), limit=5)
        order = {state: index for index, state in enumerate(MOVING)}
        lines = lines_of(tx, [*sorted(moving, key=lambda one: order[one.state]), *recent])
        waiting = _waiting(tx, moving)
        steps = _first_steps(tx, figures)
        broken = [(what, said) for what, well, said in system.policy_checks(tx) if not well]
        troubles = _source_troubles(tx)
        shown = mornings.shown(tx, translated)
        aged = ages(tx)
        holding = sorted(tx.holds(g.now), key=lambda one: (one.until, one.id))
        gaps = tx.gaps(g.now - GAPS_FOR)
        dark = tx.dark_sites()
        levers = _levers(tx, dict(reversed(troubles)))
        bypasses, undone = observed.bypasses(tx), orders.troubles(tx)
        decision = tx.newest_decision()
    if shown is not None and shown.morning.stands:
        what = f"{shown.missing} / {shown.due}"
        waiting.insert(0, Waiting("machines are missing this morning: no ring opens", what, "/morning"))
    leaking = [one.source for one in levers if one.broken]
    waiting[:0] = [Waiting("its lever does not hold: no ring opens", source, "/sources") for source in leaking]
    sentence = "Nothing moves and nothing is wrong."
    if bypasses:
        sentence = "Somebody went past the gate"
    elif any(line.rollout.state is RolloutState.HALTED for line in lines):
        sentence = "Something is halted."
    elif broken or leaking or troubles:
        sentence = "Something is wrong."
    elif waiting:
        sentence = "Something waits for a person."
    elif any(line.rollout.state is RolloutState.RUNNING for line in lines):
        sentence = "Releases are on their way."
    elif lines:
        sentence = "All releases have arrived."
    story = g.parts.story() if g.parts.story else None
    return render_template(
        "overview.html",
        sentence=sentence,
        figures=figures,
        lines=lines,
        waiting=waiting,
        steps=steps,
        story=story,
        broken=broken,
        troubles=troubles,
        shown=shown,
        ages=aged,
        holding=[(one, holds.words(one)) for one in holding[:HOLDS]],
        more_holds=len(holding[HOLDS:]),
        gaps=gaps,
        dark=dark,
        levers=levers,
        bypasses=bypasses,
        undone=undone,
        frozen=_frozen(),
        decided_at=decision[1] if decision else None,
        now=g.now,
    )


def _waiting(tx: Tx, moving: Sequence[Rollout]) -> list[Waiting]:
    found = []
    pending = tx.machines(status="pending", limit=PAGE)
    if pending:
        count = f"{len(pending)}" if len(pending) < PAGE else f"{PAGE}+"
        found.append(Waiting("machines wait to be accepted", count, "/machines?status=pending"))
    for one in policy_edit_pages.waiting(tx.proposals("open", now=g.now)):
        text = "a change of the policy waits for another person"
        found.append(Waiting(text, one.because, f"/policy/proposals/{one.id}"))
    found += [Waiting(*one) for one in proposals.waiting(tx, g.now)]
    for rollout in moving:
        where, version = f"/rollouts/{rollout.id}", version_of(tx, rollout)
        if rollout.state is RolloutState.HALTED:
            proposed = open_proposal(tx, rollout) is not None
            text = "may be resumed: another person must agree" if proposed else "is halted: look why"
            found.append(Waiting(text, f"{rollout.source} {version}", where))
        late = protection.alarmed(tx, rollout)
        if late:
            text = "is late: it is not everywhere yet" if late == protection.IS_LATE else "cannot be everywhere in time"
            found.append(Waiting(text, f"{rollout.source} {version}", where))
        if any(budget.stopped for budget in tx.budgets(rollout.id) if budget.make != "*"):
            what = f"{rollout.source} {version}:"
            found.append(Waiting("failures wait for an explanation", what, f"{where}#failures"))
        lane = expedite.lane(tx, g.parts.gate, rollout, g.now) if g.parts.policy() else None
        if lane and lane.given and not lane.open:
            found.append(
                Waiting("a fast lane waits for another person", f"{rollout.source} {version}", f"{where}#lane")
            )
        if rollout.state is RolloutState.RUNNING:
            rings = tx.rings(rollout.id)
            if rollout.reached + 1 < len(rings):
                ring = rings[rollout.reached + 1].ring
                decision = tx.last_decision(rollout.id, ring)
                codes = {reason["code"] for reason in decision.reasons} if decision else set()
                if "needs_people" in codes:
                    found.append(Waiting("needs people before it opens", f"{version}: {ring}", where))
                if opening.APPROVAL in codes:
                    found.append(Waiting("would be opened by the gate; you decide", f"{version}: {ring}", where))
    return found


def _first_steps(tx: Tx, figures: Any) -> list[tuple[str, bool, str]]:
    if g.parts.guest is not None:
        return []
    steps = [
        ("Add a second person: what loosens takes two", sum(not u.disabled for u in tx.users()) > 1, "/people"),
        ("Add a source", bool(sources_of("")), "/sources"),
        ("Add a site", figures["sites"] > 0, "/sites"),
        ("Enrol a machine and accept it", figures["machines_active"] > 0, "/sites"),
        ("Bring a first release", bool(tx.rollouts(limit=1)), "/rollouts"),
    ]
    return [] if all(done for _, done, _ in steps) else steps


def _source_troubles(tx: Tx) -> list[tuple[str, str]]:
    found = []
    for name in sources_of(""):
        found += [(name, detail) for detail in intake.troubles(tx, name).values()]
    return found


def _levers(tx: Tx, troubles: Mapping[str, str]) -> list[Lever]:
    policy = g.parts.policy()
    rules = policy.sources if policy else ()
    held = lever_flow.levers(tx, rules)
    newest = {one.name: next(iter(tx.releases(one.name, 1)), None) for one in rules}
    return [
        Lever(name, held[name].lever, held[name].broken, release, troubles.get(name, ""))
        for name, release in newest.items()
    ]


def _frozen() -> list[tuple[int, Freeze]]:
    """Freezes by date that hold today, by their place in the policy."""
    policy = g.parts.policy()
    if policy is None:
        return []
    today = agenda.days_from(g.now.astimezone(policy.zone).date(), 1, policy.zone)
    return [(one.index, one.freeze) for row in days.dated(policy, today) for one in row.frozen]


VIEWS = (("/", overview, "view", ["GET"]),)
