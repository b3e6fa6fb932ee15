"""A release is taken back: by two people, by the policy's ``on_halt: recall``, or at its vendor's word.

- Two people recall what is halted. A recall is not undone: the source's next release goes through the rings again.
- ``on_halt: recall`` was signed with the policy; what halts is recalled by the worker. What was done when somebody
  pulled the brake on everything is not: that says nothing about any one release, and everybody has it.
- A vendor that withdraws a release halts its rollout at once; where it was superseded and no machine has it, that is an
  event and no more.
- Machines that have it and are not heard of are counted, site by site.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from gate.core.claims import HOLDS_SLOT, may_step
from gate.core.errors import Conflict, NotFound
from gate.core.model import Rollout, RolloutState
from gate.flows import people
from gate.flows.agreement import reason_given
from gate.flows.approvals import former
from gate.flows.orders import Planned, planned
from gate.ports import EVERY, Gate, Holder, Proposal, Tx

UNHEARD_CHECKINS = 4
BY_HAND = "none"  # as a RecallPlan says it


def recall(tx: Tx, rollout_id: str, by: str, because: str, now: datetime) -> Rollout | Proposal:
    """Asks the machines that have a halted release to go back: one person proposes, the same call by another enacts.

    Raises:
        NotFound, Malformed, Conflict: not_halted, nothing_opened, needs_people (the proposer asks again).
    """
    reason_given(because)
    rollout = tx.rollout(rollout_id)
    if rollout is None:
        raise NotFound(f"there is no rollout {rollout_id}")
    if rollout.state is not RolloutState.HALTED:
        raise Conflict("not_halted", f"the rollout is {rollout.state.value}; halt it first, then recall it")
    if rollout.reached < 0:
        raise Conflict("nothing_opened", "no ring has opened: no machine has it")
    proposal = people.second(tx, "recall", rollout, because, by, now)
    return proposal if proposal is not None else _recalled(tx, rollout, by, because, now)


def by_policy(tx: Tx, gate: Gate, now: datetime) -> list[Rollout]:
    """Recalls what is halted where the policy says ``on_halt: recall``."""
    found = []
    for rollout in tx.rollouts(states=(RolloutState.HALTED,), limit=EVERY, opened=True):
        if gate.policy(rollout.policy_version).on_halt(rollout.source) != "recall":
            continue
        if rollout.done_at is None or not people.by_brake(tx, rollout):
            found.append(_recalled(tx, rollout, "policy", "on_halt: recall", now))
    return found


def _recalled(tx: Tx, rollout: Rollout, by: str, because: str, now: datetime) -> Rollout:
    after = replace(rollout, state=RolloutState.RECALLED, version=rollout.version + 1)
    if not tx.save_rollout(after):
        raise Conflict("changed", "the rollout has changed a moment ago; look again")
    back_to = {ring.ring: former(tx, after, ring.ring) for ring in tx.rings(after.id) if ring.opened_at is not None}
    tx.append("rollout_recalled", by, after.id, now, {"because": because, "back_to": back_to}, because)
    return after


def withdrawn(tx: Tx, source: str, versions: Iterable[str], now: datetime) -> list[Rollout]:
    """A vendor has taken versions back: what runs of them halts, each once."""
    halted = []
    for version in versions:
        release = tx.release_by_version(source, version)
        if release is None or any(event.kind == "release_withdrawn" for event in tx.events(subject=release.id)):
            continue
        because = f"the vendor has withdrawn {version}"
        tx.append("release_withdrawn", f"source:{source}", release.id, now, {"version": version}, because)
        rollout = tx.rollout_of(release.id)
        if rollout is None or not may_step(rollout.state, RolloutState.HALTED):
            continue
        if rollout.state is not RolloutState.SUPERSEDED or had(tx, rollout, now):
            halted.append(people.halt(tx, rollout.id, f"source:{source}", because, now))
    return halted


def had(tx: Tx, rollout: Rollout, now: datetime) -> bool:
    """Does any machine have it, or may it still get it?"""
    return bool(tx.claims(rollout.id, states=tuple(HOLDS_SLOT), limit=1) or tx.holders(rollout.id, now, 1))


def holders(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> list[Holder]:
    """Where machines still have a recalled release; not heard of: for several check-ins."""
    policy = gate.policy(rollout.policy_version)
    return tx.holders(rollout.id, now - UNHEARD_CHECKINS * policy.checkin, EVERY)


@dataclass(frozen=True, slots=True)
class WayBack:
    """How the machines of a ring that have a stopped release go back, and how many of them by what."""

    plan: Planned
    alone: int
    by_agent: int
    by_hand: int


def ways_back(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> list[WayBack]:
    """Ring by ring, as the source's plugin has said it."""
    plans = planned(tx, rollout.id)
    if not plans:
        return []
    checkin = gate.policy(rollout.policy_version).checkin
    held = tx.count_holders(rollout.id, now - UNHEARD_CHECKINS * checkin)
    return [way_back(one, *held.get(one.ring, (0, 0))) for one in plans]


def way_back(plan: Planned, machines: int, unheard: int) -> WayBack:
    """A machine that is not heard of needs hands, whatever the way."""
    if plan.how == BY_HAND:
        return WayBack(plan, 0, 0, machines)
    heard = machines - unheard
    return WayBack(plan, 0 if plan.needs_agent else heard, heard if plan.needs_agent else 0, unheard)
