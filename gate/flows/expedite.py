"""The fast lane of one rollout: as many people as the policy says, for as long as it says.

- It skips soak and windows, as far as ``may_skip`` names them and ``never_skip`` does not. Nothing else is skipped:
  rings, numbers, floors, freezes, ``per_site``, budget and brakes rule as ever.
- Each person's word counts once and for 24 hours; the last one that is needed opens the lane.
- Once a halt is lifted there is no lane, and no word for one: they were given before anybody knew why it would halt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gate.core.errors import Conflict, NotFound
from gate.core.model import Rollout, RolloutState
from gate.core.policy import LANE, Policy
from gate.flows.agreement import person, reason_given, shut_out, somebody
from gate.ports import Event, Gate, Tx

WORD_FOR = timedelta(hours=24)
TRIES = 20
OVER = ("rollout_expedited", "expedite_void")
"""Words before these events count no more."""
CAN_SKIP = frozenset({"soak", "windows"})


@dataclass(frozen=True, slots=True)
class Lane:
    """The fast lane of a running rollout: is it ``open``, how many people it takes, whose words count, by person."""

    open: bool
    people: int
    given: Mapping[str, Event]

    @property
    def missing(self) -> int:
        """How many more people must agree."""
        return self.people - len(self.given)


def lane(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> Lane | None:
    """None where the rollout does not run, or its policy has no fast lane."""
    rule = gate.policy(rollout.policy_version).expedite
    if rollout.state is not RolloutState.RUNNING or not rule:
        return None
    opened = rollout.expedited_until is not None and now < rollout.expedited_until
    return Lane(opened, int(rule.get("people", LANE["people"])), _given(tx, rollout, now))


def _given(tx: Tx, rollout: Rollout, now: datetime) -> dict[str, Event]:
    """person -> the word that counts, since the lane was opened last."""
    given: dict[str, Event] = {}
    for event in tx.events(subject=f"{rollout.id}/expedite", limit=100):
        if event.kind in OVER or event.at <= now - WORD_FOR:
            break
        if not shut_out(tx, event.actor, "approve"):
            given[person(tx, event.actor)] = event
    return given


def expedite(tx: Tx, gate: Gate, rollout_id: str, by: str, because: str, now: datetime) -> tuple[Rollout, int]:
    """A person's word for the fast lane; the rollout and how many more must agree (0: the lane is open).

    Raises:
        NotFound, Malformed. Conflict: not_running, no_lane, given (this person has agreed already).
    """
    reason_given(because)
    rollout = _alone(tx, rollout_id)
    policy = gate.policy(rollout.policy_version)
    rule, asks = policy.expedite, policy.ruled("expedite.people")
    if not rule:
        raise Conflict("no_lane", "the policy has no fast lane (expedite)")
    given, who = _given(tx, rollout, now), somebody(tx, by, **asks)
    if who in given:
        raise Conflict("given", f"{who} has agreed already; another person must", **asks)
    needed = int(rule.get("people", LANE["people"])) - len(given) - 1
    tx.append("expedite_agreed", by, f"{rollout.id}/expedite", now, {}, because, rollout.policy_version)
    if needed > 0:
        return rollout, needed
    after = replace(rollout, expedited_until=now + rule.get("expires", LANE["expires"]), version=rollout.version + 1)
    if not tx.save_rollout(after):
        raise Conflict("changed", "the rollout has changed a moment ago; look again")
    assert after.expedited_until is not None
    detail = {"until": after.expedited_until.isoformat(), "by": sorted({*given, who})}
    for subject in (f"{rollout.id}/expedite", rollout.id):
        tx.append("rollout_expedited", by, subject, now, detail, because, rollout.policy_version)
    return after, 0


def _alone(tx: Tx, rollout_id: str) -> Rollout:
    """The running rollout; who else agrees in this moment waits until our word is stored, and counts it."""
    for _ in range(TRIES):
        rollout = tx.rollout(rollout_id)
        if rollout is None:
            raise NotFound(f"there is no rollout {rollout_id}")
        if rollout.state is not RolloutState.RUNNING:
            raise Conflict("not_running", f"the rollout is {rollout.state.value}")
        touched = replace(rollout, version=rollout.version + 1)
        if tx.save_rollout(touched):
            return touched
    raise Conflict("changed", "the rollout has changed a moment ago; look again")


def void(tx: Tx, rollout: Rollout, by: str, because: str, now: datetime) -> None:
    """The words given so far for its fast lane count no more."""
    subject = f"{rollout.id}/expedite"
    if any(event.kind != "expedite_void" for event in tx.events(subject=subject, limit=1)):
        tx.append("expedite_void", by, subject, now, {}, because)


def skips(policy: Policy, rollout: Rollout, now: datetime) -> frozenset[str]:
    """What the fast lane skips now; nothing once it has expired."""
    if rollout.expedited_until is None or now >= rollout.expedited_until:
        return frozenset()
    return CAN_SKIP & frozenset(policy.expedite.get("may_skip", ())) - frozenset(policy.expedite.get("never_skip", ()))
