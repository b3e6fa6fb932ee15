"""What the API for people can be asked: a door each, in one transaction, by the flows that the pages call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gate.core import explained
from gate.core.errors import Malformed, NotFound
from gate.core.explained import Explanation, MakeNeeds
from gate.core.model import Machine, Rollout
from gate.core.policy import Policy
from gate.core.verdict import Reason
from gate.flows import audit as log
from gate.flows import expedite as fast_lane
from gate.flows import explain, people, protection, recalls, sentences, shadow
from gate.flows import machines as fleet
from gate.flows import why as reasons
from gate.ports import Event, Gate, Proposal, Tx, User
from gate.web import people_wire as shapes

PAGE = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that was read: who asks, what the path and the query name, the body."""

    tx: Tx
    gate: Gate
    now: datetime
    user: User
    names: Mapping[str, str]
    query: Mapping[str, str]
    body: Any = None


def status(ask: Ask) -> shapes.StatusSaid:
    """What moves, what is halted, how old each ring's content is."""
    figures = ask.tx.overview()
    return shapes.StatusSaid(
        machines_active=figures["machines_active"],
        machines_pending=figures["machines_pending"],
        sites=figures["sites"],
        rollouts=[_rollout(ask.tx, one) for one in ask.tx.rollouts(limit=20)],
        ages=_ages(ask),
    )


def rollouts(ask: Ask) -> shapes.RolloutsSaid:
    """The newest hundred."""
    return shapes.RolloutsSaid([_rollout(ask.tx, one) for one in ask.tx.rollouts(limit=PAGE)])


def rollout(ask: Ask) -> shapes.OneRollout:
    """One rollout, and why it stands."""
    found = _found(ask)
    policy, waiting = ask.gate.policy(found.policy_version), explain.waiting(ask.tx, ask.gate, found, ask.now)
    said = sentences.of_rollout(ask.tx, ask.gate, found, ask.now, "en")
    said += sentences.of_waiting(waiting, "en", policy.zone)
    return shapes.OneRollout(_rollout(ask.tx, found), said, [_waiting(one, policy) for one in waiting])


def why(ask: Ask) -> shapes.Answers:
    """Why does this machine not have what each source, or this one, brought last?"""
    machine = _machine(ask, ask.query.get("machine", ""))
    active = ask.tx.active_policy()
    known = [one.name for one in ask.gate.policy(active.commit).sources] if active else []
    names = [one for one in known if ask.query.get("source", one) == one]
    answers = []
    for name in names:
        one = reasons.why(ask.tx, ask.gate, machine.id, name, ask.now)
        answers.append(
            shapes.WhySaid(
                machine=one.machine,
                source=one.source,
                kind=one.kind,
                sentence=one.sentence,
                rule=one.rule,
                line=one.line,
                rule_text=one.rule_text,
                changed_by=one.changed_by,
                earliest_at=one.earliest_at,
                release=one.release,
                version=one.version,
            )
        )
    return shapes.Answers(answers)


def sites(ask: Ask) -> shapes.Sites:
    """A page of sites, by id."""
    found = ask.tx.sites(after=ask.query.get("after", ""), limit=PAGE + 1)
    said = [shapes.SiteSaid(one.id, one.name, one.land, one.hours, sorted(one.labels)) for one in found[:PAGE]]
    return shapes.Sites(said, found[PAGE - 1].id if len(found) > PAGE else "")


def machines(ask: Ask) -> shapes.Machines:
    """A page of machines, by id."""
    words = {name: ask.query.get(name, "") for name in ("after", "site", "ring", "make", "status")}
    found = ask.tx.machines(limit=PAGE + 1, **words)
    said = [
        shapes.MachineSaid(one.id, one.name, one.site, one.status.value, one.role, one.ring, one.make, one.last_seen_at)
        for one in found[:PAGE]
    ]
    return shapes.Machines(said, found[PAGE - 1].id if len(found) > PAGE else "")


def audit(ask: Ask) -> shapes.Audit:
    """A page of the audit log, newest first, of a person, a kind, a subject, a time."""
    before = ask.query.get("before", "")
    if before and not (before.isascii() and before.isdigit() and len(before) < 16):
        raise Malformed("bad_field", "before is an index")
    size, root = ask.tx.audit_head()
    found = ask.tx.asked_events(log.asked(ask.query), int(before) if before else None, PAGE + 1)
    following = found[PAGE - 1].index if len(found) > PAGE else None
    return shapes.Audit(size, root.hex(), [event_of(one) for one in found[:PAGE]], following)


def event_of(event: Event) -> shapes.EventSaid:
    """A stored fact as it is said."""
    return shapes.EventSaid(**{name: getattr(event, name) for name in shapes.EventSaid.__struct_fields__})


def halt_all(ask: Ask) -> shapes.Halted:
    """The brake: everything that moves."""
    return shapes.Halted([one.id for one in people.halt_all(ask.tx, ask.user.id, ask.body.because, ask.now)])


def halt(ask: Ask) -> shapes.Halted:
    """One rollout is offered to nobody any more."""
    return shapes.Halted([people.halt(ask.tx, ask.names["rollout"], ask.user.id, ask.body.because, ask.now).id])


def resume(ask: Ask) -> shapes.Done:
    """Propose to lift a halt, or agree."""
    return _done(people.resume(ask.tx, ask.names["rollout"], ask.user.id, ask.body.because, ask.now))


def recall(ask: Ask) -> shapes.Done:
    """Propose to recall what is halted, or agree."""
    return _done(recalls.recall(ask.tx, ask.names["rollout"], ask.user.id, ask.body.because, ask.now))


def expedite(ask: Ask) -> shapes.Done:
    """A person's word for the fast lane; the last one that is needed opens it."""
    _, missing = fast_lane.expedite(ask.tx, ask.gate, ask.names["rollout"], ask.user.id, ask.body.because, ask.now)
    return shapes.Done(missing == 0, None if missing == 0 else ask.now + fast_lane.WORD_FOR)


def approve(ask: Ask) -> shapes.Done:
    """A person's word for a ring."""
    people.approve_ring(ask.tx, ask.gate, ask.names["rollout"], ask.body.ring, ask.user.id, ask.body.because, ask.now)
    return shapes.Done(True)


def waive(ask: Ask) -> shapes.Done:
    """Propose to set aside what a ring still waits to be shown, or agree."""
    return _done(
        shadow.waive(ask.tx, ask.gate, ask.names["rollout"], ask.body.ring, ask.user.id, ask.body.because, ask.now)
    )


def accept(ask: Ask) -> shapes.Done:
    """Let a pending machine in; into the first rings another person must do the same."""
    machine, active = _machine(ask, ask.names["machine"]), ask.tx.active_policy()
    if active is None:
        raise NotFound("no policy is active")
    policy, said = ask.gate.policy(active.commit), ask.body
    site, who = machine.site, ask.user.id
    return _done(fleet.accept(ask.tx, ask.gate, machine, site, said.role, said.labels, who, ask.now, policy))


def _done(found: object) -> shapes.Done:
    return shapes.Done(False, found.expires_at) if isinstance(found, Proposal) else shapes.Done(True)


def _found(ask: Ask) -> Rollout:
    found = ask.tx.rollout(ask.names["rollout"])
    if found is None:
        raise NotFound(f"there is no rollout {ask.names['rollout']}")
    return found


def _machine(ask: Ask, wanted: str) -> Machine:
    found = ask.tx.machine(wanted)
    if found is None:
        raise NotFound(f"there is no machine {wanted}")
    return found


def _rollout(tx: Tx, found: Rollout) -> shapes.RolloutSaid:
    release, strata = tx.release(found.release), tx.strata(found.id)
    rings = []
    for ring in tx.rings(found.id):
        mine = [one for one in strata if one.ring == ring.ring]
        healthy, bad = sum(one.healthy for one in mine), sum(one.unexplained for one in mine)
        rings.append(shapes.RingSaid(ring.ring, ring.opened_at is not None, ring.members, healthy, bad))
    return shapes.RolloutSaid(
        rollout=found.id,
        source=found.source,
        release=found.release,
        version=release.version if release else "",
        state=found.state.value,
        started_at=found.started_at,
        halted_by=found.halted_by,
        halted_because=found.halted_because,
        rings=rings,
    )


def _waiting(found: Explanation, policy: Policy) -> shapes.WaitingSaid:
    return shapes.WaitingSaid(
        ring=found.ring,
        verdict=found.decision.verdict.name,
        earliest_at=found.earliest_at,
        sentences=found.sentences("en", policy.zone),
        risk=found.risk("en"),
        lost=found.lost,
        reasons=[_reason(one, policy) for one in found.reasons()],
        makes=[_needs(one) for one in found.makes],
    )


def _reason(one: Reason, policy: Policy) -> shapes.ReasonSaid:
    return shapes.ReasonSaid(
        code=one.code,
        verdict=one.verdict.name,
        make=one.make,
        sentence=explained.sentence(one, "en", policy.zone),
        rule=one.rule,
        line=policy.line_of(one.rule) if one.rule else 0,
        earliest_at=one.earliest_at,
        numbers=one.numbers,
    )


def _needs(one: MakeNeeds) -> shapes.NeedsSaid:
    same = {name: getattr(one, name) for name in shapes.NeedsSaid.__struct_fields__ if hasattr(one, name)}
    limit, more = (one.rate.limit, one.rate.more) if one.rate else (None, None)
    return shapes.NeedsSaid(**same, limit=limit, more_for_limit=more)


def _ages(ask: Ask) -> list[shapes.AgeSaid]:
    active = ask.tx.active_policy()
    if active is None:
        return []
    policy = ask.gate.policy(active.commit)
    rings = [ring.name for ring in policy.rings]
    found = [one for rule in policy.sources for one in protection.ages(ask.tx, rule.name, rings)]
    return [shapes.AgeSaid(one.source, one.ring, one.version, one.newest, one.behind, one.since) for one in found]


Door = Callable[[Ask], shapes.Said]
