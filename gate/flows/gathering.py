"""What a decision rests on, gathered from counters; nothing is decided here.

- Nothing here walks the fleet, but for a ring's membership, once, when it opens.
- The budgets and what the boots have shown are read once; the e-values are made of their counters, and of the spans
  that machines without the release speak for.
- Sites are looked up only where they can matter, so that a decision takes no statement a make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gate.core import background, evalues, evidence, spans, stats
from gate.core.facts import BrakeCount, Facts, GateRule, Shown
from gate.core.model import DONE, FLEET, Budget, ClaimState, Release, RingState, Rollout, RolloutState, Stratum, Trust
from gate.core.mornings import Morning
from gate.core.policy import Policy
from gate.flows import mornings, silence, when
from gate.flows.expedite import skips
from gate.flows.intake import cohort, counted
from gate.ports import Gate, Sight, Tx

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
    brakes = brake_counts(tx, gate, policy, rollout, morning, now)
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
    shadowed = settings is not None and settings.decides == "people"
    people_decide = policy.stated_at("decides", ring, rollout.source) if shadowed else ""
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
        people=_approvers(tx, rollout, ring) if settings and settings.wants_people else (),
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
        people_decide=people_decide,
        waived=not last and rings[position].waived_at is not None,
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
    need = evidence.required(rule.at_least, shown)
    if not asked or not need or shown.healthy < need:
        over = marker.met_at is not None and shown.healthy < need
        return shown, replace(marker, met_at=None, soak_until=None) if over else None
    wanted = evidence.sites_required(rule, shown)
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


def brake_counts(
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
