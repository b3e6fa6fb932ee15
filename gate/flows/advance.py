"""Rollouts advance: facts are gathered from counters, core judges, what it answers is stored.

- Nothing here walks the fleet, but for a ring's membership, once, when it opens.
- The budgets and what the boots have shown are read once; the e-values are made of their counters, and of the spans
  that machines without the release speak for.
- A decision is appended when its verdict, its makes or its reasons' codes change; the facts stand beside it.
- A rollout is saved only where its version is the one read; a deadline passes only in expected-on time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gate.core import background, evalues, opening, spans, stats
from gate.core.errors import Overtaken
from gate.core.model import DONE, FLEET, Budget, ClaimState, Release, RingState, Rollout, RolloutState, Stratum, Trust
from gate.core.mornings import Morning
from gate.core.opening import BrakeCount, Facts, GateRule, Shown
from gate.core.policy import Policy
from gate.core.verdict import Decision, Reason, Verdict
from gate.flows import facts_json, mornings, silence, unclear, watch, when
from gate.flows.claims import renew_limits
from gate.flows.expedite import skips
from gate.flows.intake import cohort, counted, promote_queued
from gate.ports import Gate, Sight, StoredDecision, Tx

COUNTED = {
    "crashed": (ClaimState.FAILED,),
    "failed": (ClaimState.FAILED, ClaimState.UNHEALTHY, ClaimState.ROLLED_BACK),
    "relapsed": (ClaimState.RELAPSED,),
}


@dataclass(frozen=True, slots=True)
class Read:
    """What is read once for all rings of a rollout; its rings and strata anew when one has opened."""

    policy: Policy
    rollout: Rollout
    release: Release
    rings: list[RingState]
    strata: list[Stratum]
    brakes: tuple[BrakeCount, ...]
    budgets: Mapping[str, Budget]
    sight: Sight
    morning: Morning | None


def read_of(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> Read:
    policy = gate.policy(rollout.policy_version)
    release = tx.release(rollout.release)
    assert release is not None
    budgets = {budget.make: budget for budget in tx.budgets(rollout.id)}
    morning = tx.morning()
    brakes = _brakes(tx, gate, policy, rollout, morning, now)
    return Read(
        policy,
        rollout,
        release,
        tx.rings(rollout.id),
        tx.strata(rollout.id),
        brakes,
        budgets,
        tx.sight(rollout.id),
        morning,
    )


def advance_rollout(tx: Tx, gate: Gate, rollout_id: str, now: datetime) -> list[Decision]:
    """Judges every ring of a running rollout that still has makes to open; returns what was decided."""
    rollout = tx.rollout(rollout_id)
    if rollout is None or rollout.state is not RolloutState.RUNNING:
        return []
    read = read_of(tx, gate, rollout, now)
    seen = seen_of(tx, read, now)
    decisions = []
    for position in range(len(read.rings) + 1):
        facts = gather(tx, gate, read, position, now)
        if facts is None:
            continue
        facts = replace(facts, **seen)
        decision = opening.judge(facts)
        decisions.append(decision)
        _store(tx, rollout, decision, facts, now)
        if decision.verdict is Verdict.HALT:
            _halt(tx, read.policy, rollout, decision, now)
            promote_queued(tx, rollout.source, now)
            break
        if decision.verdict is Verdict.OPEN:
            rollout = _open(tx, gate, read, position, decision, now)
            read = replace(read, rollout=rollout, rings=tx.rings(rollout.id), strata=tx.strata(rollout.id))
            if rollout.state is RolloutState.DONE:
                promote_queued(tx, rollout.source, now)
                break
        elif position > rollout.reached:
            break
    unclear.note(tx, read.policy, rollout, read.sight, decisions, now)
    return decisions


def watch_rollout(tx: Tx, gate: Gate, rollout_id: str, now: datetime) -> Rollout | None:
    """The brakes of a rollout that is done: what relapses in any ring while it is watched still halts all of it."""
    rollout = tx.rollout(rollout_id)
    if rollout is None or rollout.state is not RolloutState.DONE:
        return None
    policy = gate.policy(rollout.policy_version)
    for brake in _brakes(tx, gate, policy, rollout, tx.morning(), now):
        if brake.count >= brake.limit:
            detail = f"{brake.text}: {brake.count} counted. {brake.why}".strip()
            reason = Reason(Verdict.HALT, "brake", detail, brake.path)
            _halt(tx, policy, rollout, Decision(Verdict.HALT, DONE, (), (reason,)), now)
            return tx.rollout(rollout_id)
    return None


def gather(tx: Tx, gate: Gate, read: Read, position: int, now: datetime, *, looks: bool = False) -> Facts | None:
    """All that the decision about the ring at ``position`` rests on; None when nothing is left to decide there.
    ``looks``: somebody only looks; nothing is stored, and the members of a ring are counted instead of drawn."""
    policy, rollout, rings = read.policy, read.rollout, read.rings
    last = position == len(rings)
    ring = DONE if last else rings[position].ring
    before = rings[position - 1] if position else None
    if position > rollout.reached + 1:
        return None
    if last:
        assert before is not None
        members, mine = before.members, [replace(s, open=False) for s in read.strata if s.ring == before.ring]
    elif rings[position].opened_at is not None:
        members, mine = rings[position].members, [s for s in read.strata if s.ring == ring]
    else:
        members, mine = (counted if looks else cohort)(tx, gate, policy, rollout, ring)
    if mine and all(stratum.open for stratum in mine):
        return None
    taken = _taken_over(tx, rollout, ring, position)
    if any(s.make in taken and not s.open for s in mine):  # its first batch starts anew; floor, freeze and people rule
        mine = [s for s in mine if s.make in taken]
        gate_rule = None
    else:
        gate_rule = _gate_rule(policy, rollout, rings, position)
    makes = _shown(tx, gate, read, position, mine, gate_rule, now, looks=looks) if gate_rule else _first(mine)
    freeze = when.dated_freeze(policy, now)
    settings = None if last else policy.settings_for(ring, rollout.source)
    return Facts(
        now=now,
        ring=ring,
        path=f"rings[{min(position, len(rings) - 1)}]",
        position=position,
        members=members,
        halted=False,
        verified=read.release.trust is not Trust.UNVERIFIED,
        first_seen_at=read.release.first_seen_at,
        floor=settings.floor if settings else now - now,
        freeze=freeze.name if freeze and not last else "",
        freeze_why="" if freeze is None else when.freeze_why(policy, freeze.name),
        freeze_path=freeze.path if freeze else "",
        freeze_until=freeze.until if freeze else None,
        people_needed=settings.needs_people if settings else 0,
        people=_approvers(tx, rollout, ring) if settings and settings.needs_people else (),
        previous_open=before is None or before.opened_at is not None,
        previous_empty=before is not None and before.opened_at is not None and before.members == 0,
        gate=gate_rule,
        confidence=policy.defaults.confidence,
        background=rollout.background,
        brakes=read.brakes,
        makes=tuple(makes),
        whole=last,
        false_halt=policy.defaults.false_halt,
        max_lead=int(policy.defaults.later.get("max_lead_rings", 1)),
    )


def _failures(tx: Tx, read: Read) -> dict[str, Any]:
    """How strongly the failures speak against chance, and on how many machines and sites; the sites are looked up only
    where they can matter."""
    rollout, budgets = read.rollout, read.budgets
    fleet = budgets[FLEET]
    if fleet.tried_failed == 0:
        return {}
    makes = {make: evalues.Span(one.tried, one.tried_failed) for make, one in budgets.items() if make != FLEET}
    compared = tx.sums(rollout.id)
    for place, more in spans.unfolded(tx.spans(rollout.id), read.policy.first_batch).items():
        compared[place] = compared.get(place, spans.Sum()).plus(more)
    log_e = spans.log_e(rollout.background, makes, tx.boots(rollout.id), compared)
    found = {"log_e": log_e, "failed_machines": fleet.tried_failed}
    if evalues.halts(log_e, read.policy.defaults.false_halt, 2, 2, 2):
        names = [ring.ring for ring in read.rings]
        found |= {
            "failed_sites": tx.failed_sites(rollout.id, names),
            "exposed_sites": tx.exposed_sites(rollout.id),
        }
    return found


def _seen(policy: Policy, rollout: Rollout, sight: Sight, now: datetime) -> dict[str, Any]:
    """What stands in the way of concluding anything."""
    until = None if sight.gap_end_at is None else sight.gap_end_at + policy.checkin
    return {
        "gap_until": until if until is not None and until > now else None,
        "controls": sight.controls,
        "controls_silent": sight.silent,
        "measured": rollout.measured,
        "background_cap": background.cap(policy),
    }


def _taken_over(tx: Tx, rollout: Rollout, ring: str, position: int) -> set[str]:
    """The makes that the superseded release before had opened this ring for, where they are inherited."""
    if position > rollout.inherited:
        return set()
    before = tx.rollouts(states=(RolloutState.SUPERSEDED,), source=rollout.source, limit=1, opened=True)
    stopped = {budget.make for one in before for budget in tx.budgets(one.id) if budget.stopped}
    return {s.make for one in before for s in tx.strata(one.id) if s.ring == ring and s.open} - stopped


def _gate_rule(policy: Policy, rollout: Rollout, rings: list[RingState], position: int) -> GateRule | None:
    if position == 0:
        return None
    settings = policy.settings_for(rings[position - 1].ring, rollout.source)
    return GateRule(
        path=f"rings[{position - 1}]",
        at_least=settings.at_least,
        sites=settings.sites,
        rule_out_make=settings.rule_out_make,
        rule_out_fleet=settings.rule_out_fleet,
        soak_text=str(settings.soak),
    )


def _first(strata: list[Stratum]) -> list[Shown]:
    return [Shown(s.make, True, s.open, 0, 0, 0, 0, 0, 0, 0, False, None, False) for s in strata]


def _shown(
    tx: Tx, gate: Gate, read: Read, position: int, mine: list[Stratum], rule: GateRule, now: datetime, *, looks: bool
) -> list[Shown]:
    policy, rollout, rings, stored, budgets = read.policy, read.rollout, read.rings, read.strata, read.budgets
    first = position - 1 if position == len(rings) else 0  # a rollout is done when its last ring itself has shown it
    earlier = {row.ring: row.position for row in rings if first <= row.position < position}
    opened = {stratum.make: stratum.open for stratum in mine}
    reached = _reached(rings, stored)
    names = sorted({*opened, *(s.make for s in stored if s.ring in earlier)})
    shown = []
    for make in names:
        rows = [s for s in stored if s.make == make and s.ring in earlier]
        available = sum(row.share_members for row in rows)
        healthy = sum(row.healthy for row in rows)
        last = next((row for row in rows if earlier[row.ring] == position - 1), None)
        one = Shown(
            make=make,
            wanted=make in opened,
            opened=opened.get(make, False),
            available=available,
            sites=sum(row.sites for row in rows),
            healthy=healthy,
            healthy_sites=0,
            bad=sum(row.bad + row.late_failed - row.explained for row in rows),
            pending=sum(row.pending for row in rows),
            explained=sum(row.explained for row in rows),
            stopped=_stopped(budgets.get(make), rollout.background),
            soak_until=None,
            in_previous=last is not None,
            reached=reached.get(make),
            extending=make in budgets and not budgets[make].stopped,
        )
        marker = last or (rows[-1] if rows else None)
        if marker is not None:
            one, changed = _met(tx, gate, read, one, rule, marker, sorted(earlier), now)
            if changed is not None and not looks:
                tx.save_strata_times(changed)
            if one.soak_until is not None and "soak" in skips(policy, rollout, now):
                one = replace(one, soak_until=min(one.soak_until, now))
        shown.append(one)
    return shown


def _stopped(budget: Budget | None, background: float) -> bool:
    """Are a make's failures more than its background explains?"""
    if budget is None:
        return False
    return budget.stopped or stats.unexplained(budget.failed, budget.healthy + budget.failed, background)


def _reached(rings: list[RingState], stored: list[Stratum]) -> dict[str, int]:
    """The ring before the first one that has opened without a make, for each make that there is such a ring for."""
    position = {ring.ring: ring.position for ring in rings}
    found: dict[str, int] = {}
    for stratum in stored:
        if not stratum.open:
            found[stratum.make] = min(position[stratum.ring] - 1, found.get(stratum.make, len(rings)))
    return found


def _met(
    tx: Tx, gate: Gate, read: Read, shown: Shown, rule: GateRule, marker: Stratum, rings: list[str], now: datetime
) -> tuple[Shown, Stratum | None]:
    """With its sites and the end of its soak: ``at_least`` healthy machines at enough sites have each run it on their
    own site's clock since the numbers were first met. Stored once; a relapse below the numbers starts it again. With it
    what is to be stored now.

    Sites are looked up only for a make that the ring waits for, while its numbers say enough, and, once they were met,
    only where it has failures: so a decision takes no statement a make."""
    asked = (shown.wanted and not shown.opened) or shown.in_previous
    need = opening.required(rule.at_least, shown)
    if not asked or not need or shown.healthy < need:
        over = marker.met_at is not None and shown.healthy < need
        return shown, replace(marker, met_at=None, soak_until=None) if over else None
    wanted = opening.sites_required(rule, shown)
    if marker.soak_until is not None and not shown.bad and not shown.explained:
        return replace(shown, healthy_sites=wanted, soak_until=marker.soak_until), None
    sites = tx.healthy_sites(read.rollout.id, rings, shown.make, 500)
    shown = replace(shown, healthy_sites=len(set(sites)), soak_until=marker.soak_until)
    if shown.soak_until is not None or shown.healthy_sites < wanted:
        return shown, None
    soak = read.policy.settings_for(marker.ring, read.rollout.source).soak
    ends = sorted(when.soak_end(gate, tx.site(site), soak, now, read.policy) for site in sites)
    until = ends[need - 1]
    return replace(shown, soak_until=until), replace(marker, met_at=now, soak_until=until)


def seen_of(tx: Tx, read: Read, now: datetime) -> dict[str, Any]:
    """The facts that are the same for all rings."""
    return {**_failures(tx, read), **_seen(read.policy, read.rollout, read.sight, now), **_morning(read.morning)}


def _morning(morning: Morning | None) -> dict[str, Any]:
    said = mornings.sentence(morning)
    return {"morning": said, "morning_until": mornings.until(morning)} if said else {}


def _brakes(
    tx: Tx, gate: Gate, policy: Policy, rollout: Rollout, morning: Morning | None, now: datetime
) -> tuple[BrakeCount, ...]:
    counts = []
    for index, brake in enumerate(policy.brakes):
        rings = list(brake.rings) or [ring.name for ring in policy.rings]
        if brake.what in COUNTED and not brake.share:
            since = rollout.started_at if brake.within is None else now - brake.within
            count = tx.count_bad(rollout.id, rings, COUNTED[brake.what], since)
        elif brake.what == "silent" and brake.within is not None and not brake.share:
            count = silence.count_silent(gate, tx, policy, rollout.source, rollout.id, (rings, brake.within), now)
        elif brake.what == "missing":
            counts.append(mornings.brake_count(policy, f"brakes[{index}]", brake, morning, now))
            continue
        else:
            continue
        counts.append(BrakeCount(f"brakes[{index}]", brake.text, brake.why, int(brake.number), count))
    return tuple(counts)


def _approvers(tx: Tx, rollout: Rollout, ring: str) -> tuple[str, ...]:
    wanted = f"{rollout.id}/{ring}"
    events = tx.events(subject=wanted, limit=50)
    return tuple(sorted({event.actor for event in events if event.kind == "ring_approved"}))


def _store(tx: Tx, rollout: Rollout, decision: Decision, facts: Facts, now: datetime) -> None:
    reasons = [facts_json.reason(reason) for reason in decision.reasons]
    last = tx.last_decision(rollout.id, decision.ring)
    if last is not None and (last.verdict, tuple(last.makes)) == (decision.verdict.name, decision.makes):
        before = [_gist(reason) for reason in last.reasons]
        if before == [_gist(reason) for reason in reasons] and not decision.makes:
            return
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


def _open(tx: Tx, gate: Gate, read: Read, position: int, decision: Decision, now: datetime) -> Rollout:
    policy, rollout, rings = read.policy, read.rollout, read.rings
    if position == len(rings):
        after = replace(rollout, state=RolloutState.DONE, done_at=now, version=rollout.version + 1)
    else:
        ring = rings[position]
        if ring.opened_at is None:
            members, strata = cohort(tx, gate, policy, rollout, ring.ring)
            ring = replace(ring, opened_at=now, members=members)
        else:
            strata = [s for s in read.strata if s.ring == ring.ring and s.make in decision.makes]
        tx.open_ring(ring, [replace(s, open=s.open or s.make in decision.makes) for s in strata])
        again = [one for one in tx.budgets(rollout.id) if one.make in decision.makes and one.extended]
        tx.set_limits([replace(one, extended=0) for one in again])
        after = replace(rollout, reached=max(rollout.reached, position), version=rollout.version + 1)
    if not tx.save_rollout(after):
        raise Overtaken
    kind = "rollout_done" if after.state is RolloutState.DONE else "ring_opened"
    detail = {"ring": decision.ring, "makes": list(decision.makes)}
    tx.append(kind, "gate", rollout.id, now, detail, "", rollout.policy_version)
    return after


def sweep(tx: Tx, gate: Gate, now: datetime) -> int:
    """Claims whose deadline has passed in expected-on time without a healthy report become silent; returns how many."""
    count = 0
    for claim in tx.due_claims(now):
        after = silence.judge(tx, gate, claim, now)
        if not tx.move(claim, replace(after, version=claim.version + 1)) or after.state is not ClaimState.SILENT:
            continue
        count += 1
        detail = {"claim": claim.id, "machine": claim.machine, "was": claim.state.value}
        tx.append("claim_silent", "gate", claim.rollout, now, detail)
        renew_limits(tx, gate, claim.rollout, claim.make)
    return count


def look_after(tx: Tx, gate: Gate, now: datetime) -> int:
    """Looks at the machines that are watched; returns how many have relapsed."""
    relapsed = list(watch.look(tx, gate, now))
    for rollout_id, make in dict.fromkeys(relapsed):
        renew_limits(tx, gate, rollout_id, make)
    return len(relapsed)
