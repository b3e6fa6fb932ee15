"""Why does this machine not have it yet? The same object for the page and for ``gate why``.

- The answer is the refusal that a claim would get now, with its rule's line, who changed that line last, and when
  it can change.
- Where its ring has not opened for it, the sentences are those of the rollout's page: ``core.explained`` says them.
- Asking changes nothing: a claim is never granted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from gate.core import admission, said_texts, words
from gate.core.claims import FAILURE, HOLDS_SLOT
from gate.core.errors import GateError, NotFound
from gate.core.explained import place, refused
from gate.core.model import Action, Claim, ClaimState, Machine, Rollout, RolloutState
from gate.core.policy import Policy
from gate.core.reason_texts import text
from gate.core.verdict import Refusal
from gate.flows import explain
from gate.flows.approvals import former
from gate.flows.claims import ask_of, offered
from gate.ports import Gate, Tx


@dataclass(frozen=True, slots=True)
class Why:
    """A sentence and what stands behind it."""

    machine: str
    source: str
    kind: str
    sentence: str
    detail: str
    rule: str = ""
    line: int = 0
    rule_text: str = ""
    changed_by: str = ""
    changed_at: datetime | None = None
    changed_because: str = ""
    earliest_at: datetime | None = None
    release: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class _No:
    """Why not, in words already; ``timed``: its earliest time is among them."""

    kind: str
    said: str
    rule: str
    earliest_at: datetime | None
    timed: bool = False


def why(tx: Tx, gate: Gate, machine_id: str, source: str, now: datetime, language: str = "en") -> Why:
    """Explains one machine and source.

    Raises:
        NotFound: no such machine.
    """
    machine = tx.machine(machine_id)
    if machine is None:
        raise NotFound(f"there is no machine {machine_id}")
    rollout = _newest(tx, source)
    if rollout is None:
        return Why(machine.id, source, "no_release", text("why.no_release", language, source=source), "")
    release = tx.release(rollout.release)
    version = release.version if release else ""
    named = f"{source} {version}"
    own = tx.claim_of(machine.id, rollout.id)
    if rollout.state in (RolloutState.RECALLED, RolloutState.RETIRED):
        return _recalled(tx, gate, machine, rollout, own, version, language)
    if own is not None and own.state in HOLDS_SLOT | {ClaimState.HEALTHY}:
        sentence = text(
            "why.has", language, machine=machine.name, release=named, state=text(f"state.{own.state}", language)
        )
        return Why(machine.id, source, own.state.value, sentence, "", release=rollout.release, version=version)
    ask, policy = ask_of(tx, gate, machine, source, rollout.release, rollout, own, now)
    answer = admission.answer(ask)
    assert policy is not None, "a rollout has a policy"
    refusal = answer if isinstance(answer, Refusal) else offered(tx, gate, policy, machine, rollout, ask, answer)
    if refusal is None:
        sentence = text("why.offer", language, machine=machine.name, release=named)
        return Why(machine.id, source, "offer", sentence, "", release=rollout.release, version=version)
    no = _no(tx, gate, policy, machine, rollout, refusal, now, language)
    if own is not None and own.state in FAILURE:
        tried = text("why.tried", language, state=text(f"state.{own.state}", language))
        no = _No(no.kind, f"{no.said.removesuffix('.')}; {tried}", no.rule, no.earliest_at, no.timed)
    return _quote(gate, policy, rollout, machine, version, no, language)


def _no(
    tx: Tx,
    gate: Gate,
    policy: Policy,
    machine: Machine,
    rollout: Rollout,
    answer: Refusal,
    now: datetime,
    language: str,
) -> _No:
    said, rule = refused(answer, language, policy.zone), answer.rule
    if answer.kind in ("ring_not_open", "make_unproven"):
        found = explain.waiting(tx, gate, rollout, now)
        mine = next((one for one in found if one.ring == machine.ring), found[-1] if found else None)
        sentences = mine.sentences(language, policy.zone, machine.make) if mine else []
        if mine is not None and sentences:
            held = mine.reasons(machine.make)
            times = [one.earliest_at for one in held if one.earliest_at is not None]
            earliest = max(times) if len(times) == len(held) else None
            if mine.ring != machine.ring:
                where = place(mine.ring, language)
                said += "; " + text("why.after", language, ring=machine.ring, place=where)
            return _No(answer.kind, f"{said}. {' '.join(sentences)}", held[0].rule or rule, earliest, timed=True)
    if answer.kind == "halted" and policy.line_of(rollout.halted_by):
        rule = rollout.halted_by
    return _No(answer.kind, said, rule, answer.earliest_at)


def _recalled(
    tx: Tx, gate: Gate, machine: Machine, rollout: Rollout, own: Claim | None, version: str, language: str
) -> Why:
    """Whether it has gone back, is asked to, or never had it."""
    session = tx.session(machine.id)
    has = session is not None and session.installed.get(rollout.source) == rollout.release
    said = {"machine": machine.name, "release": f"{rollout.source} {version}"}
    if own is not None and own.action == Action.RECALL and own.state is ClaimState.ROLLED_BACK:
        kind = "went_back"
    elif not has and (own is None or own.state not in HOLDS_SLOT | {ClaimState.SILENT}):
        kind = "not_there"
    else:
        kind = "recalled"
        target, zone = tx.release(former(tx, rollout, machine.ring)), gate.policy(rollout.policy_version).zone
        seen = words.moment(machine.last_seen_at, language, zone) if machine.last_seen_at else ""
        said["target"] = target.version if target else text("why.target_none", language)
        said["seen"] = seen or text("why.never", language)
    sentence = text(f"why.{kind}", language, **said)
    because = said_texts.halted(rollout.halted_because, rollout.halted_by, language)
    sentence += f": {because}." if because else "."
    return Why(machine.id, rollout.source, kind, sentence, "", release=rollout.release, version=version)


def _newest(tx: Tx, source: str) -> Rollout | None:
    states = tuple(state for state in RolloutState if state not in (RolloutState.QUEUED, RolloutState.SUPERSEDED))
    found = tx.rollouts(states=states, source=source, limit=1)
    return found[0] if found else None


def _quote(gate: Gate, policy: Policy, rollout: Rollout, machine: Machine, version: str, no: _No, language: str) -> Why:
    """The refusal with its rule's line and whoever changed it last."""
    line = policy.line_of(no.rule) if no.rule else 0
    written = by = because = ""
    at = None
    if line:
        try:
            written = gate.texts.read(rollout.policy_version).splitlines()[line - 1].strip()
            by, at, because = gate.texts.blame(rollout.policy_version, line)
        except (GateError, IndexError):
            written, by = "", ""
    named = f"{rollout.source} {version}"
    parts = [text("why.waits", language, machine=machine.name, release=named, said=no.said.removesuffix("."))]
    if line:
        key = "why.rule_changed" if at and because else "why.rule"
        day = _day(at, language, policy.zone) if at else ""
        parts.append(text(key, language, rule=no.rule, line=line, at=day, by=by, because=because))
    if no.earliest_at and not no.timed:
        parts.append(text("why.earliest", language, at=words.moment(no.earliest_at, language, policy.zone)))
    return Why(
        machine.id,
        rollout.source,
        no.kind,
        " ".join(parts),
        no.said,
        no.rule,
        line,
        written,
        by,
        at,
        because,
        no.earliest_at,
        rollout.release,
        version,
    )


def _day(at: datetime, language: str, zone: ZoneInfo) -> str:
    here = at.astimezone(zone)
    return f"{here:%d.%m.%Y}" if language == "de" else f"{here:%d %B %Y}"
