"""What did the gate know and decide at a time? From stored decisions and events alone; and what nobody can know now.

- A rollout's state is what its last event before said; a ring was open from the time that is stored; why it was not is
  the last decision before, in the words that were stored with it.
- Refusals, counters and places of machines are not stored as they were: the answer says so in so many words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gate.core import explained, words
from gate.core.claims import FAILURE
from gate.core.model import Claim, ClaimState, Machine, Rollout, RolloutState
from gate.core.past_texts import past
from gate.core.reason_texts import text
from gate.flows import facts_json
from gate.ports import Asked, Event, Gate, StoredDecision, Tx

STATES = {
    "rollout_started": None,  # the event says which
    "rollout_running": RolloutState.RUNNING,
    "rollout_halted": RolloutState.HALTED,
    "rollout_resumed": RolloutState.RUNNING,
    "rollout_superseded": RolloutState.SUPERSEDED,
    "rollout_recalled": RolloutState.RECALLED,
    "rollout_retired": RolloutState.RETIRED,
    "rollout_done": RolloutState.DONE,
}
LOOKED_AT = 1000
MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Then:
    """A rollout as it was; ``sentences`` say it, ``unknown`` say what cannot be said."""

    rollout: str
    source: str
    version: str
    state: str
    halted_because: str
    rings: dict[str, bool]
    sentences: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def rollouts(tx: Tx, gate: Gate, at: datetime, language: str = "en", limit: int = 20, source: str = "") -> list[Then]:
    """The newest that had begun, newest first."""
    begun = [one for one in tx.rollouts(source=source, limit=LOOKED_AT) if one.started_at <= at]
    return [rollout(tx, gate, one, at, language) for one in begun[:limit]]


def rollout(tx: Tx, gate: Gate, found: Rollout, at: datetime, language: str = "en") -> Then:
    """One rollout as the gate knew it then."""
    zone, release = gate.policy(found.policy_version).zone, tx.release(found.release)
    version = release.version if release else ""
    made = Then(found.id, found.source, version, "", "", {}, unknown=_unknown(tx, gate, found, language))
    when = words.moment(at, language, zone)
    if found.started_at > at:
        began = words.moment(found.started_at, language, zone)
        return replace(made, sentences=[past("not_started", language, at=when, began=began)], unknown=[])
    last = _last(tx, found, at)
    state = _state(last)
    named = f"{found.source} {version}"
    said = [past("is", language, at=when, release=named, state=text(f"state.{state}", language))]
    because = ""
    if last is not None and last.kind == "rollout_halted":
        because = last.because
        said.append(past("halted_by", language, by=last.actor, because=because))
    rings = {}
    for ring in tx.rings(found.id):
        opened_at = ring.opened_at if ring.opened_at is not None and ring.opened_at <= at else None
        rings[ring.ring] = opened_at is not None
        if opened_at is not None:
            said.append(past("open", language, ring=ring.ring, since=words.moment(opened_at, language, zone)))
        else:
            said.append(past("shut", language, ring=ring.ring))
            said.append(_decided(gate, tx.decision_before(found.id, ring.ring, at), ring.ring, language))
    return replace(made, state=str(state), halted_because=because, rings=rings, sentences=said)


def why(tx: Tx, gate: Gate, machine: Machine, source: str, at: datetime, language: str = "en") -> Then:
    """What the gate knew of this machine and what a source had brought last."""
    begun = [one for one in tx.rollouts(source=source, limit=LOOKED_AT) if one.started_at <= at]
    if not begun:
        when = f"{at:%Y-%m-%d %H:%M} UTC"
        return Then("", source, "", "", "", {}, [past("nothing", language, at=when, source=source)])
    known = rollout(tx, gate, begun[0], at, language)
    zone = gate.policy(begun[0].policy_version).zone
    claim = tx.claim_of(machine.id, begun[0].id)
    more = [past("unknown.refusal", language)]
    if claim is not None and claim.granted_at <= at:
        said = _claimed(machine, claim, at, language, lambda one: words.moment(one, language, zone))
    else:
        said = [past("unclaimed", language, machine=machine.name)]
        more.append(past("unknown.place", language))
        ring = machine.ring
        if not known.rings.get(ring, False):
            said.append(past("shut", language, ring=ring))
            said.append(_decided(gate, tx.decision_before(begun[0].id, ring, at), ring, language))
    state = known.sentences[:2] if known.halted_because else known.sentences[:1]
    return replace(known, sentences=[*state, *said], unknown=[*more, *known.unknown])


def _claimed(machine: Machine, claim: Claim, at: datetime, language: str, said: Callable[[datetime], str]) -> list[str]:
    found = [past("claimed", language, machine=machine.name, since=said(claim.granted_at), ring=claim.ring)]
    if claim.installed_at is not None and claim.installed_at <= at:
        found.append(past("installed", language, since=said(claim.installed_at)))
    if claim.resolved_at is not None and claim.resolved_at <= at:
        state = claim.state if claim.state in FAILURE else ClaimState.HEALTHY
        found.append(past("resolved", language, since=said(claim.resolved_at), state=text(f"state.{state}", language)))
    else:
        found.append(past("pending", language))
    return found


def _last(tx: Tx, found: Rollout, at: datetime) -> Event | None:
    events = [
        event
        for kind in STATES
        for event in tx.asked_events(Asked(subject=found.id, kind=kind, until=at + MOMENT), None, 1)
    ]
    return max(events, key=lambda one: one.index, default=None)


def _state(last: Event | None) -> RolloutState:
    """Before its first event is written a rollout runs: what began it is on the shelf."""
    if last is None:
        return RolloutState.RUNNING
    return STATES[last.kind] or RolloutState(str(last.detail.get("state", RolloutState.RUNNING)))


def _decided(gate: Gate, decision: StoredDecision | None, ring: str, language: str) -> str:
    if decision is None:
        return past("undecided", language, ring=ring)
    zone = gate.policy(decision.policy_version).zone
    reasons = [facts_json.reason_of(one) for one in decision.reasons[:3]]
    said = "; ".join(explained.sentence(one, language, zone) for one in reasons) or "–"
    since = words.moment(decision.at, language, zone)
    return past("decided", language, ring=ring, verdict=decision.verdict, since=since, said=said)


def _unknown(tx: Tx, gate: Gate, found: Rollout, language: str) -> list[str]:
    said = [past("unknown.counts", language)]
    since = tx.first_event_at()
    if since is not None:
        zone = gate.policy(found.policy_version).zone
        said.append(past("unknown.shelf", language, since=words.moment(since, language, zone)))
    return said
