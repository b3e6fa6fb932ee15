"""A machine asks, installs, reports: claims are granted under conditions and moved by reports.

- ``claim`` answers a machine: the pure rules first, then the store's conditional statements, which decide.
- ``report`` moves a claim by one legal step; what does not count is kept as an event and changes nothing.
- A good report of one boot is not healthy yet where the policy asks for more boots.
- Each report renews the exposure budget of its make and of the fleet, so that a claim compares two columns; what a
  failure that nobody has explained does to it is ``core.exposure``'s to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from gate.core import admission, boot_times, exposure, makes, stats
from gate.core.claims import CRASHES, HOLDS_SLOT, LEFT_BEHIND, WORKING, Taken, next_state
from gate.core.counters import counts
from gate.core.errors import Conflict, Overtaken
from gate.core.model import FLEET, Action, Budget, Claim, ClaimState, Machine, Rollout, RolloutState, Step, Stratum
from gate.core.policy import Policy
from gate.core.spans import dated
from gate.core.verdict import Offer, Refusal
from gate.flows import boots_told, followers, going_back, holds, watch, when
from gate.flows.expedite import skips
from gate.flows.new_claim import new_claim
from gate.ports import Gate, GrantLimits, Standing, Tx

RESOLVED = {
    ClaimState.HEALTHY,
    ClaimState.UNHEALTHY,
    ClaimState.FAILED,
    ClaimState.ROLLED_BACK,
    ClaimState.SILENT,
    ClaimState.RELAPSED,
}
OFFERED = (RolloutState.RUNNING, RolloutState.DONE)
FULL_S = 120
NOWHERE = Standing(None, None, None, None)


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe's answer."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it came; times are the machine's own and decide nothing."""

    claim: str
    step: Step
    boot_id: str
    uptime: timedelta
    release: str
    probes: tuple[Probe, ...] = ()
    prev_boot_id: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


class Heard(Protocol):
    """What a check-in says that evidence is taken from."""

    @property
    def boot_id(self) -> str: ...
    @property
    def uptime(self) -> timedelta: ...
    @property
    def installed(self) -> Mapping[str, str]: ...
    @property
    def facts(self) -> Mapping[str, str]: ...


def claim(
    tx: Tx, gate: Gate, machine: Machine, source: str, release: str, boot_id: str, now: datetime
) -> tuple[Claim, bool] | Refusal:
    """Grants a claim, gives the live one again, or refuses. The bool says whether it is new."""
    rollout = _rollout_for(tx, source, release)
    if rollout is None or rollout.state not in OFFERED:
        back = going_back.claim(tx, gate, machine, source, release, boot_id, now)
        if back is not None:
            return back
    own = tx.claim_of(machine.id, rollout.id) if rollout else None
    if own is not None and own.state in HOLDS_SLOT and now < own.lease_until and own.release == release:
        begun = own.state is not ClaimState.GRANTED  # a machine that has begun goes back under the claim in hand
        recalled = rollout is not None and rollout.state is RolloutState.RECALLED and not begun
        if rollout is not None and (rollout.state is RolloutState.HALTED or recalled):
            return Refusal("halted", f"halted by {rollout.halted_by}: {rollout.halted_because}", 600)
        hold = holds.over(tx, machine, source, now)
        return (own, False) if hold is None else admission.held(hold, now)
    ask, policy = ask_of(tx, gate, machine, source, release, rollout, own, now)
    answer = admission.answer(ask)
    if isinstance(answer, Refusal):
        return answer
    assert rollout is not None
    assert policy is not None
    machine, wanted = ask.machine, rollout.release
    new = new_claim(tx, gate, policy, machine, rollout, boot_id, now, release=wanted, cohort=answer.cohort)
    kind = tx.grant(new, _limits(policy, ask, answer))
    return (new, True) if kind is None else _full(policy, ask, kind)


def probes(tx: Tx, gate: Gate, given: Claim) -> list[str]:
    """The probes by name that a machine must pass under this claim, by the rollout's policy."""
    rollout = tx.rollout(given.rollout)
    assert rollout is not None
    policy = gate.policy(rollout.policy_version)
    if given.ring not in {ring.name for ring in policy.rings}:
        return []
    return makes.asked_of(policy.settings_for(given.ring, given.source).probes, given.make)


def offered(
    tx: Tx, gate: Gate, policy: Policy, machine: Machine, rollout: Rollout, ask: admission.Ask, answer: Offer
) -> Refusal | None:
    """What would refuse it that the pure rules offer: a cap or a slot that is taken now. Reads only."""
    machine, wanted = ask.machine, rollout.release
    new = new_claim(tx, gate, policy, machine, rollout, "", ask.now, release=wanted, cohort=answer.cohort)
    kind = tx.would_refuse(new, _limits(policy, ask, answer))
    return None if kind is None else _full(policy, ask, kind)


def _limits(policy: Policy, ask: admission.Ask, answer: Offer) -> GrantLimits:
    at_least = policy.settings_for(answer.ring, ask.rollout.source).at_least if ask.rollout else 0
    sole_after = max(min(at_least, ask.stratum.plural - ask.stratum.bad), 0) if ask.stratum else 0
    return GrantLimits(answer.per_site, answer.one_of_make, answer.sole, sole_after, ask.now - WORKING)


def _full(policy: Policy, ask: admission.Ask, kind: str) -> Refusal:
    retry_s = min(FULL_S, int(policy.checkin.total_seconds()))  # a place may be free when it comes again anyway
    return Refusal(kind, REFUSALS[kind], retry_s, f"{ask.ring_path}.at_most")


REFUSALS = {
    "halted": "halted a moment ago",
    "held": "the rollout waits",
    "superseded": "a newer release has taken over",
    "ring_not_open": "the ring has not opened",
    "cap_reached": "as many machines of the ring are in flight as its cap allows",
    "make_unproven": "the make has not been proven for this ring",
    "unexplained_failure": "a failure of this make waits for a person",
    "budget_reached": "more in flight would put more machines at risk than the policy allows",
    "site_limit": "another machine of this site is in flight",
    "last_of_role": "the site would have no working machine of this role",
    "other_in_flight": "this machine has another claim in hand",
}


def report(tx: Tx, gate: Gate, machine: Machine, said: Report, now: datetime) -> tuple[Claim, ClaimState]:
    """Moves the claim by the report; returns it and its state afterwards.

    Raises:
        Conflict: ``unknown_claim`` when this machine never had such a claim.
    """
    before = tx.claim_in_hand(machine.id, said.claim)
    if before is None or before.machine != machine.id:
        raise Conflict("unknown_claim", "this machine has no such claim")
    step, problem = _counts_as(before, said)
    after, taken = (before, Taken.KEPT) if problem else _after(before, step, said, now, gate, tx, machine)
    detail = {"step": said.step.value, "claim": before.id, "state": after.state.value, "boot_id": said.boot_id}
    if problem:
        detail["not_counted"] = problem
    bad = {probe.name: probe.detail for probe in said.probes if not probe.ok}
    if bad:
        detail["bad_probes"] = str(bad)[:500]
    boots_told.keep(tx, before, said.step, said.boot_id, said.release, said.more.get("boots", ()))
    unclean = [boot_id for boot_id, _, ended in said.more.get("boots", ()) if ended == "unclean"]
    if unclean:
        detail["unclean_boots"] = ", ".join(unclean)[:500]
    if taken is not Taken.KEPT:
        after = dated(before, after)
        if not tx.move(before, replace(after, version=before.version + 1)):
            raise Overtaken
        if before.action == Action.RECALL and after.state is ClaimState.ROLLED_BACK:
            going_back.settle(tx, after, now)
        if counts(after) != counts(before):
            rollout, make = before.rollout, before.make
            tx.afterwards(("limits", rollout, make), "budgets", lambda: renew_limits(tx, gate, rollout, make))
    tx.append(f"report_{taken.value}", f"machine:{machine.id}", before.rollout, now, detail)
    return after, after.state


def lapse(tx: Tx, gate: Gate, claim: Claim, now: datetime, *, given_up: bool = False) -> Claim | None:
    """A check-in after the lease, or one that gives the claim up, shows the release absent: the claim never started,
    its slot is free again. One that has become silent meanwhile stays a failure and is recovered."""
    detail = {"claim": claim.id, "machine": claim.machine}
    silent = claim.state is ClaimState.SILENT and claim.installed_at is None and not claim.recovered
    if silent:
        after = replace(claim, recovered=True)
    elif claim.state is ClaimState.GRANTED and (given_up or now > claim.lease_until):
        after = replace(claim, state=ClaimState.EXPIRED, resolved_at=now)
    else:
        return None
    after = replace(after, version=claim.version + 1)
    if not tx.move(claim, after):
        raise Overtaken
    renew_limits(tx, gate, claim.rollout, claim.make)  # an extension waits until nothing is in flight
    kind = "claim_heard" if silent else "claim_expired"
    tx.append(kind, "gate", claim.rollout, now, detail)
    return after


def _counts_as(before: Claim, said: Report) -> tuple[Step, str]:
    """The step that the report's evidence carries, and why it does not count (empty: it counts)."""
    good = said.step in (Step.INSTALLED, Step.BOOTED, Step.HEALTHY)
    if good and said.release != before.release:
        return said.step, "it names another release"
    if before.action == Action.RECALL and said.step is Step.ROLLED_BACK and said.release != before.release:
        return said.step, "it names another release"
    needs_boot = before.evidence == "boot" and said.step in (Step.BOOTED, Step.HEALTHY)
    if needs_boot and said.boot_id == before.boot_id:
        return said.step, "the machine has not booted since the claim"
    if needs_boot and before.boots_healthy and said.boot_id == before.last_boot_id:
        return said.step, "this boot has been counted"
    if said.step is Step.HEALTHY and not all(probe.ok for probe in said.probes):
        return Step.UNHEALTHY, ""
    if said.step is Step.HEALTHY and said.uptime < before.stay_up:
        return said.step, "it has not stayed up long enough"
    return said.step, ""


def _after(
    before: Claim, step: Step, said: Report, now: datetime, gate: Gate, tx: Tx, machine: Machine
) -> tuple[Claim, Taken]:
    state, taken = next_state(before.state, step, before.action)
    if taken is Taken.KEPT:
        return before, taken
    after = replace(before, state=state, crashed_at=_crashed_at(before, step, now))
    if state is ClaimState.SILENT:
        after = replace(after, recovered=before.recovered or taken is Taken.RECOVERED)
        back = step is Step.ROLLED_BACK  # that is no boot with the release
        if after.recovered and not before.recovered and not back:
            _count_boot(tx, gate, before, machine, now)
        return (before, Taken.KEPT) if after == before else (after, taken)
    if step is Step.INSTALLED:
        placed = replace(after, installed_at=now)
        after = when.clocked(gate, tx, placed, machine, tx.site(before.site), now)
    if state is ClaimState.HEALTHY:
        healthy = before.boots_healthy + 1
        _count_boot(tx, gate, before, machine, now)
        after = replace(after, boots_healthy=healthy, last_boot_id=said.boot_id)
        if healthy < before.boots:
            waits = replace(after, state=ClaimState.BOOTED)
            return when.clocked(gate, tx, waits, machine, tx.site(before.site), now), taken
        after = watch.begun(tx, gate, after, machine, now)
    if state is ClaimState.RELAPSED:
        return _relapsed(before, after, step, now)
    if state in RESOLVED and before.resolved_at is None:
        after = replace(after, resolved_at=now)
    return after, taken


def _crashed_at(before: Claim, step: Step, now: datetime) -> datetime | None:
    """When it first told of a crash; one that goes back because it is asked to tells of none."""
    told = step in CRASHES and before.action != Action.RECALL
    return now if told and before.crashed_at is None else before.crashed_at


def _relapsed(before: Claim, after: Claim, step: Step, now: datetime) -> tuple[Claim, Taken]:
    """A machine that was healthy says that it is not: to be heard of does not make it well, to go back does."""
    after = replace(after, watch_at=None, recovered=before.recovered or step is Step.ROLLED_BACK)
    if before.state is not ClaimState.RELAPSED:
        return replace(after, resolved_at=now), Taken.STEP
    return (before, Taken.KEPT) if after == before else (after, Taken.STEP)


def _count_boot(tx: Tx, gate: Gate, claim: Claim, machine: Machine, now: datetime) -> None:
    """What the make's deadline is learned from: boots only, also late ones, but no repairs."""
    if claim.evidence == "boot":
        took, deadline = when.took(gate, tx, claim, machine, tx.site(claim.site), now)
        if claim.state is not ClaimState.SILENT or boot_times.is_late(took, deadline):
            tx.count_boot(claim.make, boot_times.step_of(took))


def renew_limits(tx: Tx, gate: Gate, rollout_id: str, make: str) -> None:
    """The budget's limits of one make and of the fleet, from what has resolved so far."""
    rollout = tx.rollout(rollout_id)
    assert rollout is not None
    policy = gate.policy(rollout.policy_version)
    elsewhere = tx.in_flight_before(rollout.id)
    before = [budget for budget in tx.budgets(rollout_id) if budget.make in (make, FLEET)]
    after = [renewed(policy, budget, rollout.background, elsewhere.get(budget.make, 0)) for budget in before]
    after = [_alone(tx, budget) if budget.extend_to and not budget.in_flight else budget for budget in after]
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    tx.set_limits(changed)
    if rollout.state in LEFT_BEHIND:  # what it has in flight counts against the one that took over
        for one in tx.rollouts(states=(RolloutState.RUNNING,), source=rollout.source, limit=1):
            renew_limits(tx, gate, one.id, make)


def _alone(tx: Tx, budget: Budget) -> Budget:
    """An extension that no machine of the open rings is left for ends at once: a person is asked."""
    mine = [one for one in tx.strata(budget.rollout) if one.make == budget.make and one.open]
    left = sum(max(one.share_members - one.exposed, 0) for one in mine)
    return budget if left > 0 else replace(budget, limit=0, stopped=True)


def renewed(policy: Policy, budget: Budget, background: float, elsewhere: int = 0) -> Budget:
    """A budget with what of a make (or of the fleet) may be in flight now, and whether failures stop it.
    ``elsewhere``: machines in flight under releases of the source that were superseded, halted or recalled."""
    confidence = policy.defaults.confidence
    if budget.make == FLEET:
        at_risk = policy.at_risk.fleet
        first = max(at_risk, policy.first_batch)
        limit = stats.in_flight_limit(budget.healthy, budget.failed, at_risk, background, confidence, first)
        return replace(budget, limit=max(limit - elsewhere, 0))
    after = exposure.renewed(budget, policy.at_risk.per_make, policy.first_batch, background, confidence)
    return replace(after, limit=max(after.limit - elsewhere, 0))


def renew_all(tx: Tx, gate: Gate, rollout: Rollout) -> None:
    """Every make's limit when a ring opens, where the releases before have machines in flight."""
    policy, elsewhere = gate.policy(rollout.policy_version), tx.in_flight_before(rollout.id)
    if elsewhere:
        before = tx.budgets(rollout.id)
        tx.set_limits([renewed(policy, one, rollout.background, elsewhere.get(one.make, 0)) for one in before])


def begin_again(tx: Tx, gate: Gate, rollout: Rollout, budgets: Iterable[Budget]) -> None:
    """Counts a limit anew that lets nobody begin though nothing is in flight: what was in flight under the releases
    before may have resolved in the moment in which the ring opened, and nothing else would count it again."""
    for one in budgets:
        if not (one.limit or one.in_flight or one.stopped):
            renew_limits(tx, gate, rollout.id, one.make)


def _rollout_for(tx: Tx, source: str, release: str) -> Rollout | None:
    found = tx.rollout_of(release)
    return found if found is not None and found.source == source else None


def ask_of(
    tx: Tx,
    gate: Gate,
    machine: Machine,
    source: str,
    release: str,
    rollout: Rollout | None,
    own: Claim | None,
    now: datetime,
) -> tuple[admission.Ask, Policy | None]:
    known = tx.release(release)
    policy = gate.policy(rollout.policy_version) if rollout else None
    picked = policy is not None and machine.ring in {ring.name for ring in policy.rings}
    standing = tx.standing(rollout.id, machine.ring, machine.make) if rollout else NOWHERE
    site, follows = tx.site(machine.site), ""
    if rollout and policy and picked and not _in_share(rollout, standing.stratum, machine):
        follows, may = followers.waits_for(tx, policy, rollout, machine, site, now)
        if may:
            machine, follows = replace(machine, ring=follows), ""
            standing = tx.standing(rollout.id, machine.ring, machine.make)
    position = policy.index(machine.ring) if policy and picked else -1
    stratum, budgets = standing.stratum, [b for b in (standing.make, standing.fleet) if b is not None]
    settings = policy.settings_for(machine.ring, source) if policy and picked else None
    drawn_since = _drawn_since(standing, rollout, machine)
    session = tx.session(machine.id)
    expedited = policy is not None and rollout is not None and "windows" in skips(policy, rollout, now)
    ask = admission.Ask(
        now=now,
        machine=machine if picked else replace(machine, ring=""),
        release=release,
        known_release=known is not None and known.source == source,
        rollout=rollout,
        ring_path=f"rings[{position}]",
        position=position,
        ring_opened_at=standing.ring.opened_at if standing.ring else None,
        stratum=stratum,
        stopped=any(budget.stopped for budget in budgets),
        budget_full=any(budget.in_flight >= budget.limit for budget in budgets),
        resolved=standing.make.healthy + standing.make.failed if standing.make else 0,
        follows=follows,
        drawn_until=when.drawn_wait(gate, policy, settings, known, site, drawn_since, now)
        if policy and settings and drawn_since
        else None,
        installed=bool(session and session.installed.get(source) == release),
        own=own,
        live=tx.live_claim(machine.id),
        checkin_s=int(policy.checkin.total_seconds()) if policy else 600,
        freeze=when.freeze_wait(gate, policy, site, now) if policy and picked else None,
        window=when.window_wait(gate, policy, settings, known, site, now)
        if policy and settings and not expedited
        else None,
        per_site=_per_site(settings),
        sole=tx.is_sole(machine, now - WORKING),
        hold=holds.over(tx, machine, source, now),
    )
    return ask, policy


def _drawn_since(standing: Standing, rollout: Rollout | None, machine: Machine) -> datetime | None:
    """Since when others of its make are drawn to be first in this ring; None where it is drawn, or one has shown it."""
    ring, stratum, make = standing.ring, standing.stratum, standing.make
    if rollout is None or ring is None or stratum is None or stratum.first_cut >= 1:
        return None
    if (make is not None and make.healthy + make.failed) or makes.in_share(rollout.salt, machine.id, stratum.first_cut):
        return None
    return stratum.opened_at or ring.opened_at


def _in_share(rollout: Rollout, stratum: Stratum | None, machine: Machine) -> bool:
    return stratum is None or stratum.share_cut >= 1 or makes.in_share(rollout.salt, machine.id, stratum.share_cut)


def _per_site(settings: Any) -> int:
    if settings is None:
        return 1
    return 0 if settings.per_site == "half" else int(settings.per_site)
