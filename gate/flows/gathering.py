"""What a decision rests on, gathered from counters; nothing is decided here.

- Nothing here walks the fleet, but for a ring's membership, once, when it opens.
- The budgets and what the boots have shown are read once; the e-values are made of their counters, and of the spans
  that machines without the release speak for.
- Sites are looked up only where they can matter, so that a decision takes no statement a make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from gate.core import background, evalues, evidence, spans, stats
from gate.core.claims import FAILURE
from gate.core.facts import BrakeCount, Facts, GateRule, Shown
from gate.core.model import DONE, FLEET, Budget, ClaimState, Release, RingState, Rollout, Stratum, Trust
from gate.core.mornings import Morning
from gate.core.policy import Brake, Policy
from gate.flows import inheritance, mornings, silence, soaks, when
from gate.flows.agreement import person
from gate.flows.expedite import skips
from gate.flows.intake import cohort, counted, ruling
from gate.ports import Bad, Gate, Grounds, Sight, Tx

COUNTED = {
    "crashed": tuple(sorted(FAILURE)),  # whichever: a crash may be told of after it
    "failed": (ClaimState.FAILED, ClaimState.UNHEALTHY, ClaimState.ROLLED_BACK),
    "relapsed": (ClaimState.RELAPSED,),
}


@dataclass(frozen=True, slots=True)
class Read:
    """What is read once for all rings of a rollout; its rings and strata anew when one has opened."""

    policy: Policy
    rollout: Rollout
    grounds: Grounds
    rings: list[RingState]
    strata: list[Stratum]
    brakes: tuple[BrakeCount, ...]
    taken_over: Mapping[str, frozenset[str]]


def read_of(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> Read:
    policy = gate.policy(rollout.policy_version)
    grounds = tx.grounds(rollout.id, now)
    rings = grounds.rings
    brakes = brake_counts(tx, gate, policy, rollout, grounds.morning, now)
    closed = {one.ring for one in grounds.strata if not one.open}
    inherits = any(one.opened_at is None or one.ring in closed for one in rings if one.position <= rollout.inherited)
    taken_over = inheritance.taken_over(tx, rollout) if inherits else {}
    return Read(policy, rollout, grounds, rings, grounds.strata, brakes, taken_over)


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
        members, mine = counted(tx, policy, rollout, ring) if looks else cohort(tx, gate, policy, rollout, ring, now)
    if mine and all(stratum.open for stratum in mine):
        return None
    taken = _taken(read, ring) if position <= rollout.inherited else frozenset()
    if any(s.make in taken and not s.open for s in mine):  # its first batch starts anew; floor, freeze and people rule
        mine = [s for s in mine if s.make in taken]
        gate_rule = None
    else:
        gate_rule = _gate_rule(policy, rollout, rings, position)
    makes = _shown(tx, gate, read, position, mine, gate_rule, now, looks=looks) if gate_rule else _first(mine)
    settings = None if last else policy.settings_for(ring, rollout.source)
    shadowed = settings is not None and settings.decides == "people"
    people_decide = policy.stated_at("decides", ring, rollout.source) if shadowed else ""
    return Facts(
        now=now,
        ring=ring,
        path=f"rings[{min(position, len(rings) - 1)}]",
        position=position,
        members=members,
        verified=_vouched_for(policy, read.grounds.release),
        first_seen_at=read.grounds.release.first_seen_at,
        floor=settings.floor if settings else now - now,
        **freeze_of(policy, now, last=last),
        people_needed=settings.needs_people if settings else 0,
        people=_persons(tx, read.grounds.approved_by.get(ring, ())) if settings and settings.wants_people else (),
        previous_open=before is None or before.opened_at is not None,
        previous_empty=before is not None
        and before.opened_at is not None
        and not before.members
        and not _dropped(tx, gate, before.ring),
        dropped=not members and not last and _dropped(tx, gate, ring),
        gate=gate_rule,
        confidence=policy.defaults.confidence,
        background=rollout.background,
        brakes=read.brakes,
        makes=tuple(makes),
        whole=last,
        false_halt=policy.defaults.false_halt,
        max_lead=policy.max_lead,
        people_decide=people_decide,
        waived=not last and rings[position].waived_at is not None,
    )


def _dropped(tx: Tx, gate: Gate, ring: str) -> bool:
    """Has the policy of today a ring no more? Asked only where the ring has no machine."""
    rules = ruling(tx, gate)
    return rules is not None and ring not in {one.name for one in rules[1].rings}


def _taken(read: Read, ring: str) -> frozenset[str]:
    """The makes that it takes over in a ring: none of which too many have failed under it."""
    found, background = read.taken_over.get(ring, frozenset()), read.rollout.background
    return frozenset(make for make in found if not _stopped(read.grounds.budgets.get(make), background))


def freeze_of(policy: Policy, now: datetime, *, last: bool) -> dict[str, Any]:
    """The facts about a dated freeze; the end of a rollout waits for none."""
    freeze = when.dated_freeze(policy, now)
    return {
        "freeze": freeze.name if freeze and not last else "",
        "freeze_why": "" if freeze is None else when.freeze_why(policy, freeze.name),
        "freeze_path": freeze.path if freeze else "",
        "freeze_until": freeze.until if freeze else None,
    }


def _vouched_for(policy: Policy, release: Release) -> bool:
    """By its digest or its vendor; or two people have signed that the source brings bytes for which nobody does."""
    rule = policy.source(release.source)
    return release.trust is not Trust.UNVERIFIED or (rule is not None and rule.trust == Trust.UNVERIFIED.value)


def _persons(tx: Tx, approved_by: Iterable[str]) -> tuple[str, ...]:
    """Persons, each once, not the accounts that they spoke through."""
    return tuple(sorted({person(tx, one) for one in approved_by} - {""}))


def _failures(tx: Tx, read: Read) -> dict[str, Any]:
    """How strongly the failures speak against chance, and on how many machines and sites; the sites are looked up only
    where they can matter."""
    rollout, budgets = read.rollout, read.grounds.budgets
    fleet = budgets[FLEET]
    if fleet.tried_failed == 0:
        return {}
    makes = {make: evalues.Span(one.tried, one.tried_failed) for make, one in budgets.items() if make != FLEET}
    trials = tx.trials(rollout.id)
    compared = dict(trials.sums)
    for place, more in spans.unfolded(trials.spans, read.policy.first_batch).items():
        compared[place] = compared.get(place, spans.Sum()).plus(more)
    log_e = spans.log_e(rollout.background, makes, trials.boots, compared)
    found = {"log_e": log_e, "failed_machines": fleet.tried_failed}
    if evalues.halts(log_e, read.policy.defaults.false_halt, 2, 2, 2):
        failed, exposed = tx.sites_hit(rollout.id, [ring.ring for ring in read.rings])
        found |= {"failed_sites": failed, "exposed_sites": exposed}
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
    rings, stored = read.rings, read.strata
    first = position - 1 if position == len(rings) else 0  # a rollout is done when its last ring itself has shown it
    earlier = {row.ring: row.position for row in rings if first <= row.position < position}
    opened = {stratum.make: stratum.open for stratum in mine}
    by_make: dict[str, list[Stratum]] = {make: [] for make in opened}
    for row in stored:
        if row.ring in earlier:
            by_make.setdefault(row.make, []).append(row)
    reached = _reached(rings, stored)
    shown, markers = [], dict[str, Stratum]()
    for make, rows in sorted(by_make.items()):
        last = next((row for row in rows if earlier[row.ring] == position - 1), None)
        has = last is not None and bool(last.share_members or last.exposed)  # it may have left since the ring opened
        shown.append(_counted(read, make, rows, opened.get(make), has, reached.get(make)))
        if rows:
            markers[make] = last or rows[-1]
    unclear_since = read.grounds.sight.unclear_since
    if unclear_since is not None:  # the clocks stand; that is stored once something can be concluded again
        place, known = {ring.ring: ring.position for ring in rings}, markers.values()
        for one in soaks.stood(tx, gate, read.policy, read.rollout.source, known, stored, place, unclear_since, now):
            markers[one.make] = one
    shown, changed = _met(tx, gate, read, shown, rule, markers, sorted(earlier), now)
    if not looks:
        tx.save_strata_times(changed)
    if "soak" in skips(read.policy, read.rollout, now):
        return [one if one.soak_until is None else replace(one, soak_until=min(one.soak_until, now)) for one in shown]
    return shown


def _counted(
    read: Read, make: str, rows: list[Stratum], opened: bool | None, in_previous: bool, reached: int | None
) -> Shown:
    """What the rows of the earlier rings show of a make, but for its sites. ``opened``: the ring is open for it; None:
    has none of it. A machine whose failure a person has explained does not try again: nobody waits for it."""
    budget = read.grounds.budgets.get(make)
    available = sum(row.healthy + row.bad - row.explained + row.left for row in rows)
    return Shown(
        make=make,
        wanted=opened is not None,
        opened=bool(opened),
        available=available,
        sites=min(sum(row.sites for row in rows), available),
        healthy=sum(row.healthy for row in rows),
        healthy_sites=0,
        bad=sum(row.unexplained for row in rows),
        pending=sum(row.pending + read.grounds.overdue.get((row.ring, make), 0) for row in rows),
        explained=sum(row.explained for row in rows),
        stopped=_stopped(budget, read.rollout.background),
        soak_until=None,
        in_previous=in_previous,
        reached=reached,
        extending=budget is not None and not budget.stopped,
    )


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
    tx: Tx,
    gate: Gate,
    read: Read,
    shown: list[Shown],
    rule: GateRule,
    markers: Mapping[str, Stratum],
    rings: list[str],
    now: datetime,
) -> tuple[list[Shown], list[Stratum]]:
    """With their sites and the ends of their soaks: ``at_least`` healthy machines at enough sites have each run it on
    their own site's clock since the numbers were first met. Stored once; a relapse below the numbers starts it again.
    With them what is to be stored now.

    Sites are looked up, in one statement, for the makes that the ring waits for, while their numbers say enough, and,
    once they were met, only where there are failures."""
    found, changed, asked = dict[str, Shown](), list[Stratum](), dict[str, int]()
    for one in shown:
        found[one.make] = one
        marker, need = markers.get(one.make), evidence.required(rule.at_least, one)
        if marker is None:
            continue
        if not need or one.healthy < need or not ((one.wanted and not one.opened) or one.in_previous):
            if marker.met_at is not None and one.healthy < need:
                changed.append(replace(marker, met_at=None, soak_until=None))
        elif marker.soak_until is not None and not one.bad and not one.explained:
            wanted = evidence.sites_required(rule, one)
            found[one.make] = replace(one, healthy_sites=wanted, soak_until=marker.soak_until)
        else:
            asked[one.make] = max(need, evidence.sites_required(rule, one))  # so many sites have as many machines
    sites = tx.healthy_sites(read.rollout.id, rings, asked)
    begins = []
    for make in asked:
        one = replace(found[make], healthy_sites=len(sites[make]), soak_until=markers[make].soak_until)
        found[make] = one
        if one.soak_until is None and evidence.sites_met(rule, one):
            begins.append(make)
    known = tx.sites_of(sorted({site for make in begins for site in sites[make]}))
    for make in begins:
        marker, need = markers[make], evidence.required(rule.at_least, found[make])
        soak = read.policy.settings_for(marker.ring, read.rollout.source).soak
        until = when.soak_over(gate, sites[make], known, need, soak, now, read.policy)
        found[make] = replace(found[make], soak_until=until)
        changed.append(replace(marker, met_at=now, soak_until=until))
    return list(found.values()), changed


def seen_of(tx: Tx, read: Read, now: datetime) -> dict[str, Any]:
    """The facts that are the same for all rings."""
    return {
        **_failures(tx, read),
        **_seen(read.policy, read.rollout, read.grounds.sight, now),
        **_morning(read.grounds.morning),
        "lever_broken": read.grounds.lever_broken,
    }


def _morning(morning: Morning | None) -> dict[str, Any]:
    said = mornings.sentence(morning)
    return {"morning": said, "morning_until": mornings.until(morning)} if said else {}


def brake_counts(
    tx: Tx, gate: Gate, policy: Policy, rollout: Rollout, morning: Morning | None, now: datetime
) -> tuple[BrakeCount, ...]:
    """What each brake counts now: all that count resolved claims in one statement."""
    wanted: dict[int, Bad] = {}
    for index, brake in enumerate(policy.brakes):
        if not countable(brake):
            continue
        if brake.what in COUNTED:
            since = rollout.started_at if brake.within is None else now - brake.within
            crashes = brake.what == "crashed"
            wanted[index] = Bad(_rings(policy, brake), COUNTED[brake.what], since, crashed=crashes)
        elif brake.within is not None and brake.what == "silent":
            wanted[index] = Bad(_rings(policy, brake), (ClaimState.SILENT,), now - brake.within)
    counts = dict(zip(wanted, tx.count_bad(rollout.id, list(wanted.values())), strict=True))
    asked = {
        index: (_rings(policy, brake), brake.within, int(brake.number))
        for index, brake in enumerate(policy.brakes)
        if index in wanted and brake.what == "silent" and brake.within is not None
    }
    silent = silence.count_silent(gate, tx, policy, rollout.source, rollout.id, list(asked.values()), now)
    quiet = dict(zip(asked, silent, strict=True))
    found = []
    for index, brake in enumerate(policy.brakes):
        path = f"brakes[{index}]"
        if brake.what == "missing":
            found.append(mornings.brake_count(policy, path, brake, morning, now))
        elif index in counts:
            count = counts[index] + quiet.get(index, 0)
            found.append(BrakeCount(path, brake.text, brake.why, int(brake.number), count))
    return tuple(found)


def countable(brake: Brake) -> bool:
    """Is there a count of it in every decision? A share of anything but missing machines has none, nor has silence
    without a span."""
    spanned = brake.what in COUNTED or (brake.what == "silent" and brake.within is not None)
    return brake.what == "missing" or (spanned and not brake.share)


def _rings(policy: Policy, brake: Brake) -> list[str]:
    return list(brake.rings) or [ring.name for ring in policy.rings]
