"""Why the rings of a rollout are not open, as of now: counted for whoever looks; nothing is stored, nothing decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from gate.core import exposure
from gate.core.explained import Explanation, explained
from gate.core.model import FLEET, Budget, RingState, Rollout, RolloutState
from gate.core.opening import Facts
from gate.core.policy import Policy
from gate.flows import advance, intake
from gate.ports import Gate, Tx


def waiting(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> list[Explanation]:
    """The rings that still have makes to open, in order; the last is the one that opens next. None where it halts."""
    return list(_waiting(tx, gate, rollout, now)) if rollout.state is RolloutState.RUNNING else []


def _waiting(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> Iterator[Explanation]:
    policy, rings = gate.policy(rollout.policy_version), tx.rings(rollout.id)
    budgets = {budget.make: budget for budget in tx.budgets(rollout.id)}
    brakes = advance.brakes_of(tx, gate, policy, rollout, now)
    failures = advance.failures_of(tx, policy, rollout, rings, budgets)
    for position in range(min(rollout.reached + 2, len(rings) + 1)):
        facts = advance.gather(tx, gate, policy, rollout, rings, position, brakes, budgets, now, looks=True)
        if facts is not None:
            facts = replace(facts, **failures)
            yield explained(facts, _lost(tx, gate, policy, rollout, rings, facts, budgets))


def _lost(
    tx: Tx,
    gate: Gate,
    policy: Policy,
    rollout: Rollout,
    rings: list[RingState],
    facts: Facts,
    budgets: Mapping[str, Budget],
) -> dict[str, int] | None:
    """make -> machines that could be lost at worst if the ring opened for it now; of the fleet no more than its own."""
    if facts.position == len(rings):
        return None
    _, members = intake.counted(tx, gate, policy, rollout, facts.ring)
    taking = {one.make: one.share_members for one in members}
    cap = rings[facts.position].cap
    found, more = dict[str, int](), 0
    for one in facts.makes:
        if not one.wanted or one.opened:
            continue
        budget = budgets.get(one.make) or Budget(rollout.id, one.make, 0, policy.first_batch, 0, 0, False)
        number = min(taking.get(one.make, 0), cap or taking.get(one.make, 0))
        found[one.make] = exposure.lost(budget, number, facts.background, facts.confidence)
        more += number
    together = exposure.lost(budgets[FLEET], more, facts.background, facts.confidence)
    return {**found, FLEET: min(sum(found.values()), together)}
