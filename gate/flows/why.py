"""Why does this machine not have it yet? The same object for the page and for ``gate why``.

- The answer is the refusal that a claim would get now, with its rule's line, who changed that line last, and when
  it can change.
- Asking changes nothing: a claim is never granted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gate.core import admission
from gate.core.claims import FAILURE, HOLDS_SLOT
from gate.core.errors import GateError, NotFound
from gate.core.model import Action, Claim, ClaimState, Machine, Rollout, RolloutState
from gate.core.policy import Policy
from gate.core.verdict import Refusal
from gate.flows.approvals import former
from gate.flows.claims import ask_of
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


def why(tx: Tx, gate: Gate, machine_id: str, source: str, now: datetime) -> Why:
    """Explains one machine and source.

    Raises:
        NotFound: no such machine.
    """
    machine = tx.machine(machine_id)
    if machine is None:
        raise NotFound(f"there is no machine {machine_id}")
    rollout = _newest(tx, source)
    if rollout is None:
        return Why(machine.id, source, "no_release", f"{source} has brought nothing yet", "nothing to install")
    release = tx.release(rollout.release)
    version = release.version if release else ""
    own = tx.claim_of(machine.id, rollout.id)
    if rollout.state is RolloutState.RECALLED:
        return _recalled(tx, machine, rollout, own, version)
    if own is not None and own.state in HOLDS_SLOT | {ClaimState.HEALTHY}:
        sentence = f"{machine.name} has {source} {version}: {own.state.value}"
        return Why(machine.id, source, own.state.value, sentence, "", release=rollout.release, version=version)
    ask, policy = ask_of(tx, gate, machine, source, rollout.release, rollout, own, now)
    answer = admission.answer(ask)
    if not isinstance(answer, Refusal):
        sentence = f"{machine.name} may take {source} {version} when it asks next"
        return Why(machine.id, source, "offer", sentence, "", release=rollout.release, version=version)
    rule, detail, earliest = answer.rule, answer.detail, answer.earliest_at
    if answer.kind in ("ring_not_open", "make_unproven"):
        rule, detail, earliest = _from_decision(tx, rollout, answer)
    elif answer.kind == "halted" and policy is not None and policy.line_of(rollout.halted_by):
        rule = rollout.halted_by
    if own is not None and own.state in FAILURE:
        detail = f"{detail.removesuffix('.')}; it has tried this release itself: {own.state.value.replace('_', ' ')}"
    return _quote(
        gate, policy, rollout, machine.name, version, Refusal(answer.kind, detail, 0, rule, earliest), machine.id
    )


def _recalled(tx: Tx, machine: Machine, rollout: Rollout, own: Claim | None, version: str) -> Why:
    """Whether it has gone back, is asked to, or never had it."""
    session = tx.session(machine.id)
    has = session is not None and session.installed.get(rollout.source) == rollout.release
    named = f"{rollout.source} {version}"
    if own is not None and own.action == Action.RECALL and own.state is ClaimState.ROLLED_BACK:
        kind, sentence = "went_back", f"{machine.name} has gone back from {named}, which is recalled"
    elif not has and (own is None or own.state not in HOLDS_SLOT | {ClaimState.SILENT}):
        kind, sentence = "not_there", f"{machine.name} does not have {named}, which is recalled"
    else:
        target = tx.release(former(tx, rollout, machine.ring))
        to = f"to {target.version}" if target else "to none"
        seen = f"{machine.last_seen_at:%a %d %b %H:%M} UTC" if machine.last_seen_at else "never"
        kind, sentence = "recalled", f"{machine.name} is asked to go back from {named} {to}; last heard of {seen}"
    sentence += f": {rollout.halted_because}." if rollout.halted_because else "."
    return Why(machine.id, rollout.source, kind, sentence, "", release=rollout.release, version=version)


def _newest(tx: Tx, source: str) -> Rollout | None:
    states = (RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED, RolloutState.DONE, RolloutState.RECALLED)
    found = tx.rollouts(states=states, source=source, limit=1)
    return found[0] if found else None


def _from_decision(tx: Tx, rollout: Rollout, answer: Refusal) -> tuple[str, str, datetime | None]:
    """The reasons of the newest decision that held the rollout up say more than the refusal."""
    for decision in tx.decisions(rollout.id, 20):
        if decision.verdict == "OPEN":
            continue
        if not decision.reasons:
            continue
        worst = max(decision.reasons, key=lambda reason: str(reason["verdict"]) == "HALT")
        text = "; ".join(str(reason["detail"]) for reason in decision.reasons[:4])
        times = [reason["earliest_at"] for reason in decision.reasons if reason["earliest_at"]]
        earliest = datetime.fromisoformat(max(times)) if len(times) == len(decision.reasons) else None
        return str(worst["rule"]) or answer.rule, f"{answer.detail}: ring {decision.ring}: {text}", earliest
    return answer.rule, answer.detail, answer.earliest_at


def _quote(
    gate: Gate, policy: Policy | None, rollout: Rollout, name: str, version: str, no: Refusal, machine_id: str
) -> Why:
    line = policy.line_of(no.rule) if policy and no.rule else 0
    text = by = because = ""
    at = None
    if line:
        try:
            text = gate.texts.read(rollout.policy_version).splitlines()[line - 1].strip()
            by, at, because = gate.texts.blame(rollout.policy_version, line)
        except (GateError, IndexError):
            text, by = "", ""
    sentence = f"{name} waits with {rollout.source} {version}: {no.detail.removesuffix('.')}."
    if line:
        sentence += f" Rule: {no.rule}, policy.yaml line {line}"
        sentence += f", changed {at:%d %B %Y} by {by}: '{because}'." if at and because else "."
    if no.earliest_at:
        sentence += f" Earliest: {no.earliest_at:%a %d %b %H:%M} UTC."
    return Why(
        machine_id,
        rollout.source,
        no.kind,
        sentence,
        no.detail,
        no.rule,
        line,
        text,
        by,
        at,
        because,
        no.earliest_at,
        rollout.release,
        version,
    )
