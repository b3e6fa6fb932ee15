"""The evidence that a gate asks for: healthy machines, their sites, the bound on a failure rate, the soak.

- Make by make first, then the rate of all makes together.
- A make needs no more than the earlier rings have of it; one that none of them has starts once the others have passed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from gate.core import stats
from gate.core.facts import Facts, GateRule, Shown
from gate.core.verdict import Reason, Verdict


def makes_lack(facts: Facts) -> list[Reason]:
    """Stopped makes, then the numbers, then the soak, for each make that the ring waits for; one that the policy has
    dropped is passed once the ring before it is."""
    if facts.gate is None:
        return []
    reasons: list[Reason] = []
    lacks = {m.make: _lacks(facts.gate, m, facts) for m in facts.makes if m.in_previous or (m.wanted and not m.opened)}
    laggards = any(m.in_previous and (m.stopped or lacks[m.make]) for m in facts.makes)
    for shown in facts.makes:
        if not ((shown.wanted and not shown.opened) or (facts.dropped and shown.in_previous)):
            continue
        if shown.stopped:
            who = "a batch more is tried" if shown.extending else "a person decides"
            detail = f"{shown.bad} of {shown.make} failed without an explanation; {who}"
            numbers = {"bad": shown.bad, "extending": int(shown.extending)}
            reasons.append(Reason(Verdict.HOLD, "unexplained_failure", detail, make=shown.make, numbers=numbers))
        elif shown.available == 0:
            if laggards:
                detail = f"no earlier ring has {shown.make}; it starts once the others have passed"
                reasons.append(Reason(Verdict.HOLD, "make_unproven", detail, facts.gate.path, make=shown.make))
        else:
            reasons.extend(lacks[shown.make])
    return reasons


def fleet_lacks(facts: Facts) -> list[Reason]:
    gate = facts.gate
    if gate is None or gate.rule_out_fleet is None:
        return []
    rate = rate_of(facts.makes, gate.rule_out_fleet, facts)
    if rate.more == 0:
        return []
    detail = f"up to {rate.bound:.1%} of the fleet could fail, {gate.rule_out_fleet:.1%} must be ruled out"
    return [Reason(Verdict.HOLD, "rule_out", detail, f"{gate.path}.gate.rule_out", numbers=rate.numbers())]


def required(at_least: int, shown: Shown) -> int:
    """Healthy machines that a make needs: ``at_least``, or all that the earlier rings have, if fewer."""
    return min(at_least, shown.available)


def sites_required(gate: GateRule, shown: Shown) -> int:
    """Different sites that a make's healthy machines must be at."""
    return min(gate.sites or gate.at_least, shown.sites)


def sites_met(gate: GateRule, shown: Shown) -> bool:
    """Are a make's healthy machines at enough sites, or all that take part healthy?"""
    all_healthy = not shown.bad and not shown.pending and shown.healthy >= shown.available
    return all_healthy or shown.healthy_sites >= sites_required(gate, shown)


def _lacks(gate: GateRule, shown: Shown, facts: Facts) -> list[Reason]:
    need = required(gate.at_least, shown) - shown.healthy
    if need > 0:
        detail = f"needs {need} more healthy of {shown.make}"
        numbers = {"more": need, "wanted": required(gate.at_least, shown), "healthy": shown.healthy}
        return [_lacking("at_least", detail, gate, shown, numbers)]
    if not sites_met(gate, shown):
        more_sites = sites_required(gate, shown) - shown.healthy_sites
        detail = f"needs {shown.make} healthy at {more_sites} more sites"
        return [_lacking("sites", detail, gate, shown, {"more": more_sites, "healthy": shown.healthy_sites})]
    if gate.rule_out_make is not None:
        rate = rate_of([shown], gate.rule_out_make, facts)
        if rate.more != 0:
            detail = f"up to {rate.bound:.1%} of {shown.make} could fail, {gate.rule_out_make:.1%} must be ruled out"
            return [_lacking("rule_out", detail, gate, shown, rate.numbers())]
    if shown.soak_until is None or facts.now < shown.soak_until:
        detail = f"{shown.make} soaks {gate.soak_text}"
        return [_lacking("soak", detail, gate, shown, {"soak": gate.soak_text}, shown.soak_until)]
    return []


def _lacking(
    code: str,
    detail: str,
    gate: GateRule,
    shown: Shown,
    numbers: Mapping[str, float | str],
    earliest_at: datetime | None = None,
) -> Reason:
    return Reason(Verdict.HOLD, code, detail, f"{gate.path}.gate.{code}", earliest_at, shown.make, numbers)


@dataclass(frozen=True, slots=True)
class Rate:
    """The bound on a failure rate beside what it must come to.

    ``more``: the fewest further healthy machines that bring it there, 0 where it is there, None where none do;
    ``left``: machines that these rings may still give.
    """

    bound: float
    limit: float  # what must be ruled out, and the background
    rule_out: float
    more: int | None
    left: int

    def numbers(self) -> dict[str, float | str]:
        """As a reason carries them."""
        found = {name: getattr(self, name) for name in ("bound", "limit", "rule_out", "more", "left")}
        return {name: value for name, value in found.items() if value is not None}


def rate_of(makes: Sequence[Shown], rule_out: float, facts: Facts) -> Rate:
    """Of one make or of the fleet. Met by the bound, or because every machine that these rings may take has resolved
    without a failure."""
    if len(makes) == 1:
        one = makes[0]
        counts = one.healthy, one.bad, one.pending, one.available
    else:
        healthy, bad = sum(m.healthy for m in makes), sum(m.bad for m in makes)
        counts = healthy, bad, sum(m.pending for m in makes), sum(m.available for m in makes)
    return _rate(*counts, rule_out, facts.background, facts.confidence)


@lru_cache(maxsize=16384)
def _rate(
    healthy: int, bad: int, pending: int, available: int, rule_out: float, background: float, confidence: float
) -> Rate:
    limit = rule_out + background
    more = stats.more_healthy(limit, healthy, bad, pending, confidence)
    if bad == 0:
        rest = max(available - healthy, 0)
        more = rest if more is None else min(more, rest)
    bound = stats.upper_bound(healthy, bad, pending, confidence)
    return Rate(bound, limit, rule_out, more, max(available - healthy - bad, 0))
