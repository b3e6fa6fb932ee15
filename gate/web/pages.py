"""What people look at: one function a page; each reads in one transaction, renders, and changes nothing."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from flask import Response, g, render_template, request
from markupsafe import Markup

from gate.core import agenda, background, explained, opening, said_texts, stats
from gate.core.boot_times import NEEDED
from gate.core.claims import FAILURE
from gate.core.errors import NotFound, OperatorError
from gate.core.lists import MachineList
from gate.core.model import Action, Machine, Release, RingState, Rollout, RolloutState
from gate.core.policy import Policy
from gate.core.times import Freeze
from gate.flows import agenda as days
from gate.flows import (
    explain,
    facts_json,
    holds,
    observed,
    orders,
    people,
    protection,
    recalls,
    sentences,
    shadow,
    shadow_words,
)
from gate.flows import levers as lever_flow
from gate.flows import why as reasons
from gate.ports import Proposal, StoredDecision, Tx
from gate.web import morning as mornings
from gate.web import policy_edit_pages, proposals, system
from gate.web.ladder import Rung, draw, rungs
from gate.web.texts import translate

PAGE = 50
GAPS_FOR = timedelta(days=7)
MOVING = (RolloutState.HALTED, RolloutState.RECALLED, RolloutState.RUNNING, RolloutState.HELD, RolloutState.QUEUED)


@dataclass(frozen=True, slots=True)
class Line:
    """A rollout as the overview shows it."""

    rollout: Rollout
    version: str
    steps: Sequence[Rung]
    picture: Markup
    stands: str
    next_at: datetime | None = None
    """When the last of what holds it can change; None: not known."""


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


def healthz() -> Response:
    """The process answers."""
    return Response("ok\n", mimetype="text/plain")


def readyz() -> Response:
    """Database, policy, keys, and whether somebody works; a line each, and 503 where one is not well."""
    found = g.parts.ready()
    good = all(well for _, well, _ in found)
    lines = [f"{'good' if well else 'BAD'}  {what}: {sentence}" for what, well, sentence in found]
    text = "\n".join([*lines, "ready" if good else "not ready"]) + "\n"
    return Response(text, 200 if good else 503, mimetype="text/plain")


def metrics() -> Response:
    """What has been counted, for Prometheus; needs the bearer token of the settings."""
    said = request.headers.get("Authorization", "")
    if g.parts.metrics is None or not hmac.compare_digest(said.encode(), f"Bearer {g.parts.metrics_token}".encode()):
        raise NotFound("there is no such page")
    return Response(g.parts.metrics(), mimetype="text/plain")


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
        ages = _ages(tx)
        holding = tx.holds(g.now)
        gaps = tx.gaps(g.now - GAPS_FOR)
        dark = tx.dark_sites()
        levers = _levers(tx, dict(troubles))
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
        ages=ages,
        holding=[(one, holds.words(one)) for one in holding],
        gaps=gaps,
        dark=dark,
        levers=levers,
        bypasses=bypasses,
        undone=undone,
        frozen=_frozen(),
        decided_at=decision[1] if decision else None,
        now=g.now,
    )


def rollout(rollout_id: str) -> str:
    """One rollout: ladder, evidence per ring and make, exposure, failures, decisions, events."""
    with g.parts.store.read() as tx:
        found = tx.rollout(rollout_id)
        if found is None:
            raise NotFound(f"there is no rollout {rollout_id}")
        (line,) = lines_of(tx, [found])
        policy = g.parts.gate.policy(found.policy_version)
        strata = sorted(tx.strata(found.id), key=lambda one: (policy.index(one.ring), one.make))
        evidence = [(one, _bound(one.healthy, one.bad, one.pending, policy)) for one in strata]
        failures = tx.claims(found.id, states=tuple(FAILURE), limit=PAGE)
        names = {claim.machine: _name(tx, claim.machine) for claim in failures}
        needing = [
            step for step in line.steps if policy.settings_for(step.ring, found.source).wants_people and not step.open
        ]
        return render_template(
            "rollout.html",
            line=line,
            bypasses=observed.bypasses(tx, source=found.source),
            plans=orders.planned(tx, found.id),
            rollout=found,
            release=tx.release(found.release),
            evidence=evidence,
            budgets=[one for one in tx.budgets(found.id) if one.in_flight or one.healthy or one.failed],
            failures=[(claim, names[claim.machine]) for claim in failures if claim.action == Action.INSTALL],
            ages=_ages(tx, found.source),
            origin=background.origin(policy, found.background),
            watched=tx.count_watched(found.id),
            attributions=(left := tx.attributions(found.id)),
            explained_by={one.claim: one for one in left if one.kind == "explained"},
            decisions=tx.decisions(found.id, 20),
            events=tx.events(subject=found.id, limit=40),
            proposal=_open_proposal(tx, found),
            recall=_open_proposal(tx, found, "recall"),
            needing=needing,
            waivers=_waivers(tx, found),
            ended=sentences.ended(tx, found, g.language),
            said=sentences.of_rollout(tx, g.parts.gate, found, g.now, g.language)[1:],
            waiting=explain.waiting(tx, g.parts.gate, found, g.now),
            zone=policy.zone,
            dark=tx.dark_sites(found.id),
            said_of=_reason,
            line_of=lambda rule, version: g.parts.gate.policy(version).line_of(rule),
            holders=recalls.holders(tx, g.parts.gate, found, g.now) if found.state is RolloutState.RECALLED else [],
            halted_because=said_texts.halted(found.halted_because, found.halted_by, g.language),
            halted_line=policy.line_of(found.halted_by) if found.halted_by else 0,
        )


def why() -> str | tuple[str, int]:
    """Why does this machine not have it? Without one: which?"""
    machine, source = request.args.get("machine", "").strip(), request.args.get("source", "")
    with g.parts.store.read() as tx:
        found = tx.machine(machine) or _only_one_named(tx, machine)
        if found is None:
            return render_template("why.html", asked=machine, answers=()), 404 if machine else 200
        answers = [reasons.why(tx, g.parts.gate, found.id, name, g.now, g.language) for name in sources_of(source)]
    return render_template("why.html", machine=found, answers=answers)


def _only_one_named(tx: Tx, name: str) -> Machine | None:
    named = [one for one in tx.list_machines(MachineList(text=name), PAGE) if one.name == name] if name else []
    return named[0] if len(named) == 1 else None


def shadowed() -> str:
    """Where people open the rings: the gate's word beside theirs, how it ended, what has been learned."""
    with g.parts.store.read() as tx:
        found = shadow.look(tx, g.parts.gate)
    said = [*shadow_words.summary(found, g.language), *shadow_words.learned_sentences(found.learned, g.language)]
    halts = [(one, shadow_words.halt_sentence(one, g.language)) for one in found.halts]
    return render_template("shadow.html", found=found, said=said, halts=halts, needed=NEEDED)


def brake() -> str:
    """The brake: scope and reason."""
    with g.parts.store.read() as tx:
        moving = tx.rollouts(states=(RolloutState.RUNNING, RolloutState.HELD, RolloutState.QUEUED), limit=PAGE)
        lines = [(one, _version(tx, one)) for one in moving]
    return render_template("brake.html", lines=lines, chosen=request.args.get("rollout", ""))


def lines_of(tx: Tx, rollouts: Sequence[Rollout]) -> list[Line]:
    """A line each, read together; only what moves is asked why it stands."""
    ladders, found = tx.ladders(rollouts), []
    for rollout in rollouts:
        ladder = ladders[rollout.id]
        steps = rungs(rollout, ladder.rings, ladder.strata)
        picture = draw(steps, f"{rollout.source} {ladder.version}", rollout.id, translated)
        stands, next_at = _stands(tx, rollout, ladder.rings)
        found.append(Line(rollout, ladder.version, steps, picture, stands, next_at))
    return found


def translated(text: str) -> str:
    """In the visitor's language."""
    return translate(text, g.language)


def _version(tx: Tx, rollout: Rollout) -> str:
    release = tx.release(rollout.release)
    return release.version if release else ""


def _stands(tx: Tx, rollout: Rollout, rings: Sequence[RingState]) -> tuple[str, datetime | None]:
    """One sentence: the newest reasons that hold it; and when all of them can have changed, where each says so."""
    if rollout.state in (RolloutState.HALTED, RolloutState.RECALLED):
        return said_texts.halted(rollout.halted_because, rollout.halted_by, g.language), None
    if rollout.state is not RolloutState.RUNNING:
        return "", None
    following = rings[rollout.reached + 1].ring if rollout.reached + 1 < len(rings) else "done"
    decision = tx.last_decision(rollout.id, following)
    if decision is None or decision.verdict == "OPEN":
        return "", None
    times = [facts_json.reason_of(one).earliest_at for one in decision.reasons]
    known = [at for at in times if at is not None]
    return reasons_of(decision), max(known) if known and len(known) == len(times) else None


def reasons_of(decision: StoredDecision) -> str:
    """Its first three reasons in the visitor's language."""
    return "; ".join(_reason(reason, decision.policy_version) for reason in decision.reasons[:3])


def _reason(stored: Mapping[str, Any], policy_version: str) -> str:
    """A stored reason in the visitor's language."""
    try:
        zone = g.parts.gate.policy(policy_version).zone
    except OperatorError:  # the repository is gone: the brake's page is shown all the same
        zone = ZoneInfo("Europe/Berlin")
    return explained.sentence(facts_json.reason_of(stored), g.language, zone)


def _waiting(tx: Tx, moving: Sequence[Rollout]) -> list[Waiting]:
    found = []
    pending = tx.machines(status="pending", limit=PAGE)
    if pending:
        count = f"{len(pending)}" if len(pending) < PAGE else f"{PAGE}+"
        found.append(Waiting("machines wait to be accepted", count, "/machines?status=pending"))
    for one in policy_edit_pages.waiting(tx.proposals("open"), g.now):
        text = "a change of the policy waits for another person"
        found.append(Waiting(text, one.because, f"/policy/proposals/{one.id}"))
    found += [Waiting(*one) for one in proposals.waiting(tx, g.now)]
    for rollout in moving:
        where, version = f"/rollouts/{rollout.id}", _version(tx, rollout)
        if rollout.state is RolloutState.HALTED:
            proposed = _open_proposal(tx, rollout) is not None
            text = "may be resumed: another person must agree" if proposed else "is halted: look why"
            found.append(Waiting(text, f"{rollout.source} {version}", where))
        late = protection.alarmed(tx, rollout)
        if late:
            text = "is late: it is not everywhere yet" if late == protection.IS_LATE else "cannot be everywhere in time"
            found.append(Waiting(text, f"{rollout.source} {version}", where))
        if any(budget.stopped for budget in tx.budgets(rollout.id) if budget.make != "*"):
            what = f"{rollout.source} {version}:"
            found.append(Waiting("failures wait for an explanation", what, f"{where}#failures"))
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


def _ages(tx: Tx, source: str = "") -> list[protection.Protection]:
    """How old each ring's content is against the newest release; without the sources that have brought nothing."""
    rings = ring_names()
    return [one for name in sources_of(source) for one in protection.ages(tx, name, rings)]


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
        newest = next(iter(tx.events(subject=f"source:{name}", limit=1)), None)
        if newest is not None and newest.kind in ("source_failed", "candidate_refused"):
            found.append((name, str(newest.detail.get("detail", newest.kind))))
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


def _open_proposal(tx: Tx, rollout: Rollout, kind: str = "resume") -> Proposal | None:
    found = [one for one in tx.proposals("open", rollout.id) if one.kind == kind and one.expires_at > g.now]
    bound = people.bound(kind, rollout)
    return next((one for one in found if one.sha256 == bound), None)


def _waivers(tx: Tx, rollout: Rollout) -> dict[str, Proposal | None]:
    """The rings whose gate two people may set aside, each with the proposal that stands."""
    if rollout.state is not RolloutState.RUNNING:
        return {}
    rings = [one for one in tx.rings(rollout.id) if 0 < one.position <= rollout.reached + 1 and one.waived_at is None]
    found = [one for one in tx.proposals("open", rollout.id) if one.kind == "waive" and one.expires_at > g.now]
    exact = {one.ring: shadow.bound(tx, rollout, one.ring) for one in rings}
    return {ring: next((one for one in found if one.sha256 == text), None) for ring, text in exact.items()}


def _bound(healthy: int, bad: int, pending: int, policy: Policy) -> float:
    """The upper bound on the failure rate, at the policy's confidence."""
    return stats.upper_bound(healthy, bad, pending, policy.defaults.confidence)


def _name(tx: Tx, machine_id: str) -> str:
    found = tx.machine(machine_id)
    return found.name if found else machine_id


def ring_names() -> list[str]:
    """Of the active policy, in order."""
    policy = g.parts.policy()
    return [ring.name for ring in policy.rings] if policy else []


def sources_of(only: str) -> list[str]:
    """The policy's sources, or only that one."""
    policy = g.parts.policy()
    names = [rule.name for rule in policy.sources] if policy else []
    return [only] if only in names else names


GET = ["GET"]
VIEWS = (
    ("/", overview, "view", GET),
    ("/morning", mornings.morning, "view", GET),
    ("/rollouts/<rollout_id>", rollout, "view", GET),
    ("/why", why, "view", GET),
    ("/shadow", shadowed, "view", GET),
    ("/brake", brake, "view", GET),
    ("/healthz", healthz, "public", GET),
    ("/readyz", readyz, "public", GET),
    ("/metrics", metrics, "public", GET),
)
