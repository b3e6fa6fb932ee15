"""Why the rings of a rollout are not open, as of now: counted for whoever looks; nothing is stored, nothing decided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from gate.core import exposure
from gate.core.explained import Explanation, explained
from gate.core.facts import Facts
from gate.core.model import FLEET, Budget, Rollout, RolloutState
from gate.flows import gathering, intake
from gate.ports import Gate, Tx


def waiting(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> list[Explanation]:
    """The rings that still have makes to open, in order; the last is the one that opens next. None where it halts."""
    return list(_waiting(tx, gate, rollout, now)) if rollout.state is RolloutState.RUNNING else []


def _waiting(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> Iterator[Explanation]:
    read = gathering.read_of(tx, gate, rollout, now)
    seen = gathering.seen_of(tx, read, now)
    for position in range(min(rollout.reached + 2, len(read.rings) + 1)):
        facts = gathering.gather(tx, gate, read, position, now, looks=True)
        if facts is not None:
            facts = replace(facts, **seen)
            yield explained(facts, _lost(tx, gate, read, facts))


def _lost(tx: Tx, gate: Gate, read: gathering.Read, facts: Facts) -> dict[str, int] | None:
    """make -> machines that could be lost at worst if the ring opened for it now; of the fleet no more than its own."""
    policy, rollout, rings, budgets = read.policy, read.rollout, read.rings, read.grounds.budgets
    if facts.position == len(rings):
        return None
    _, members = intake.counted(tx, policy, rollout, facts.ring)
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
