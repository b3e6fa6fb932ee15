"""Rollouts advance: facts are gathered, core judges, what it answers is stored.

- A decision is appended when its verdict, its makes or its reasons' codes change; the facts stand beside it.
- A rollout is saved only where its version is the one read.
- What is over (done, superseded) is watched by the same rules while machines are in flight under it, and for ``watch``
  after the last of them has resolved. A silent morning names no release: it halts nothing that was superseded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from gate.core import opening
from gate.core.errors import Overtaken
from gate.core.facts import BrakeCount, Facts
from gate.core.model import Rollout, RolloutState
from gate.core.policy import Policy
from gate.core.verdict import Decision, Verdict
from gate.flows import facts_json, gathering, unclear
from gate.flows.claims import begin_again, renew_all
from gate.flows.intake import cohort, promote_queued
from gate.ports import Gate, Said, StoredDecision, Tx

OVER = (RolloutState.DONE, RolloutState.SUPERSEDED)
DECIDED_LATE = timedelta(days=7)
"""A day of the watch is decided after its deadline, and where its site was dark, after that site's next days."""


def advance_rollout(tx: Tx, gate: Gate, rollout_id: str, now: datetime) -> list[Decision]:
    """Judges every ring of a running rollout that still has makes to open; returns what was decided."""
    rollout = tx.rollout(rollout_id)
    if rollout is None or rollout.state is not RolloutState.RUNNING:
        return []
    read, started = gathering.read_of(tx, gate, rollout, now), rollout
    seen = gathering.seen_of(tx, read, now)
    decisions = []
    for position in range(len(read.rings) + 1):
        facts = gathering.gather(tx, gate, read, position, now)
        if facts is None:
            continue
        facts = replace(facts, **seen)
        decision = opening.judge(facts)
        decisions.append(decision)
        _store(tx, rollout, decision, facts, read.grounds.said.get(decision.ring), now)
        if decision.verdict is Verdict.HALT:
            _halt(tx, read.policy, rollout, decision, now)
            promote_queued(tx, gate, rollout.source, now)
            break
        if decision.verdict is Verdict.OPEN:
            rollout = _open(tx, gate, read, position, decision, now)
            read = replace(read, rollout=rollout, rings=tx.rings(rollout.id), strata=tx.strata(rollout.id))
            if rollout.state is RolloutState.DONE:
                promote_queued(tx, gate, rollout.source, now)
                break
        elif position > rollout.reached:
            break
    if rollout is started and not any(one.verdict is Verdict.HALT for one in decisions):
        begin_again(tx, gate, rollout, read.grounds.budgets.values())
    unclear.note(tx, gate, read.policy, rollout, read.grounds.sight, decisions, now)
    return decisions


def watched(gate: Gate, rollout: Rollout, last: datetime | None, now: datetime) -> bool:
    """Is a rollout that is over still watched? ``last``: when a machine has resolved last; none: some are in flight."""
    return last is None or now <= last + gate.policy(rollout.policy_version).defaults.watch + DECIDED_LATE


def watch_rollout(tx: Tx, gate: Gate, rollout_id: str, now: datetime) -> Rollout | None:
    """Halts a rollout that is over where what it shows would halt one that runs, in any ring. Returns it as it is then;
    None where nothing halts it."""
    rollout, found = tx.rollout(rollout_id), halting(tx, gate, rollout_id, now)
    if rollout is None or found is None:
        return None
    decision, facts = found
    _store(tx, rollout, decision, facts, None, now)
    _halt(tx, gate.policy(rollout.policy_version), rollout, decision, now)
    return tx.rollout(rollout_id)


def halting(tx: Tx, gate: Gate, rollout_id: str, now: datetime) -> tuple[Decision, Facts] | None:
    """What halts a rollout that is over, where something does. Reads only."""
    rollout = tx.rollout(rollout_id)
    if rollout is None or rollout.state not in OVER:
        return None
    read = gathering.read_of(tx, gate, rollout, now)
    if rollout.state is RolloutState.SUPERSEDED:
        read = replace(read, brakes=tuple(one for one in read.brakes if not _of_morning(read.policy, one)))
    facts = gathering.gather(tx, gate, read, min(rollout.reached + 1, len(read.rings)), now, looks=True)
    if facts is None:
        return None
    facts = replace(facts, **gathering.seen_of(tx, read, now))
    decision = opening.judge(facts)
    return (decision, facts) if decision.verdict is Verdict.HALT else None


def _of_morning(policy: Policy, brake: BrakeCount) -> bool:
    return any(brake.path == f"brakes[{index}]" for index, one in enumerate(policy.brakes) if one.what == "missing")


def _store(tx: Tx, rollout: Rollout, decision: Decision, facts: Facts, last: Said | None, now: datetime) -> None:
    reasons = [facts_json.reason(reason) for reason in decision.reasons]
    if last is not None and (last.verdict, last.makes) == (decision.verdict.name, decision.makes):
        before = [_gist(reason) for reason in last.reasons]
        if before == [_gist(reason) for reason in reasons] and not decision.makes:
            return
    if opening.ready(decision):
        tx.ring_ready(rollout.id, decision.ring, now)
    tx.add_decision(
        StoredDecision(
            0,
            rollout.id,
            decision.ring,
            now,
            decision.verdict.name,
            decision.makes,
            reasons,
            facts_json.dump(facts),
            rollout.policy_version,
        )
    )


def _gist(reason: Mapping[str, Any]) -> tuple[object, ...]:
    return reason["code"], reason["make"], reason["rule"]


def _halt(tx: Tx, policy: Policy, rollout: Rollout, decision: Decision, now: datetime) -> None:
    reason = next(r for r in decision.reasons if r.verdict is Verdict.HALT)
    halted = replace(
        rollout,
        state=RolloutState.HALTED,
        halted_by=reason.rule or reason.code,
        halted_because=reason.detail,
        halted_at=now,
        version=rollout.version + 1,
    )
    if not tx.save_rollout(halted):
        raise Overtaken
    tx.append("rollout_halted", reason.rule or "gate", rollout.id, now, {"because": reason.detail}, reason.detail)
    for index, brake in enumerate(policy.brakes):
        if brake.and_ and reason.rule == f"brakes[{index}]":
            tx.append("notice_wanted", reason.rule, rollout.id, now, {"notices": list(brake.and_)}, reason.detail)


def _open(tx: Tx, gate: Gate, read: gathering.Read, position: int, decision: Decision, now: datetime) -> Rollout:
    policy, rollout, rings = read.policy, read.rollout, read.rings
    if position == len(rings):
        after = replace(rollout, state=RolloutState.DONE, done_at=now, version=rollout.version + 1)
    else:
        ring = rings[position]
        if ring.opened_at is None:
            members, strata = cohort(tx, gate, policy, rollout, ring.ring, now)
            ring = replace(ring, opened_at=now, members=members)
        else:
            strata = [s for s in read.strata if s.ring == ring.ring and s.make in decision.makes]
        mine = set(decision.makes)
        opened = [replace(s, open=True, opened_at=now) if s.make in mine and not s.open else s for s in strata]
        tx.open_ring(ring, opened, first_batch=policy.first_batch)
        again = [one for one in tx.budgets(rollout.id) if one.make in decision.makes and one.extended]
        tx.set_limits([replace(one, extended=0) for one in again])
        renew_all(tx, gate, rollout)
        after = replace(rollout, reached=max(rollout.reached, position), version=rollout.version + 1)
    if not tx.save_rollout(after):
        raise Overtaken
    kind = "rollout_done" if after.state is RolloutState.DONE else "ring_opened"
    detail = {"ring": decision.ring, "makes": list(decision.makes)}
    tx.append(kind, "gate", rollout.id, now, detail, "", rollout.policy_version)
    return after
