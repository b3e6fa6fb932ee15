"""May the next ring open? One function a check, each gives its reasons; the most cautious verdict wins.

- Silence is never consent: what has not resolved is not healthy, and nothing here times out into OPEN.
- A ring opens make by make: each climbs on what the rings before have shown of it.
- A make that no earlier ring has is *unproven*: it starts at its first batch, once every make of the ring
  before has passed; one that failures have stopped has not.
- By statistics it halts at E >= 1/``false_halt``, with two machines at two sites; a brake of the policy as written.
- A make with failures that nobody has explained holds the others once it is more than ``max_lead`` rings behind.
- Nothing is concluded (a HOLD, and the clock stands) while machines catch up with a gap of our own, while those that
  were not updated are silent themselves, and where the measured background is above the policy's cap.
- Same facts, same Decision: nothing is read here but the facts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gate.core import evalues, stats
from gate.core.verdict import Decision, Reason, Verdict


@dataclass(frozen=True, slots=True)
class GateRule:
    """What the ring before must have shown. ``rule_out_*`` are shares (0.12 = 12 %), None where not asked for."""

    path: str  # of the ring before in the policy: rings[2]
    at_least: int
    sites: int | None
    rule_out_make: float | None
    rule_out_fleet: float | None
    soak_text: str


@dataclass(frozen=True, slots=True)
class Shown:
    """What the earlier rings have shown of one make (counts of machines), and what they could show at most.

    ``available``: share members of the earlier rings; ``sites``: different sites among them.
    """

    make: str
    wanted: bool  # the ring that may open has members of it
    opened: bool  # the ring is open for it already
    available: int
    sites: int
    healthy: int
    healthy_sites: int
    bad: int
    pending: int
    explained: int
    stopped: bool
    soak_until: datetime | None
    in_previous: bool  # the ring just before has members of it
    reached: int | None = None  # the last ring before the first one that has opened without it; None: it is in all
    extending: bool = False  # stopped, and a batch more is being tried


@dataclass(frozen=True, slots=True)
class BrakeCount:
    """One brake of the policy and what it counts now."""

    path: str
    text: str
    why: str
    limit: int
    count: int


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision about one ring rests on; stored with it, so that it can be replayed."""

    now: datetime
    ring: str
    path: str
    position: int
    members: int
    halted: bool
    verified: bool
    first_seen_at: datetime
    floor: timedelta
    freeze: str  # the name of a dated freeze in force, or empty
    freeze_why: str
    freeze_path: str
    freeze_until: datetime | None
    people_needed: int
    people: tuple[str, ...]
    previous_open: bool
    previous_empty: bool
    gate: GateRule | None
    confidence: float
    background: float
    brakes: tuple[BrakeCount, ...]
    makes: tuple[Shown, ...]
    whole: bool = False  # it opens for all makes together or not at all (the rollout's end)
    log_e: float = 0.0  # of evalues.merged; 0: nothing shown
    false_halt: float = 0.01
    failed_machines: int = 0  # different machines whose trials have failed
    failed_sites: int = 0  # their sites; looked up where log_e alone would halt, as are
    exposed_sites: int = 0  # sites with an exposed machine, counted up to two
    max_lead: int = 1
    gap_until: datetime | None = None  # nobody listened, and machines may come back until then
    controls: int = 0  # machines without the release that were to be on, at the last look
    controls_silent: int = 0
    measured: float = 0.0  # the background as it was measured; 0: stated, or not known
    background_cap: float | None = None  # None: facts from before it was looked at
    morning: str = ""  # why openings wait after a silent morning
    morning_until: datetime | None = None
    people_decide: str = ""  # the rule by which people open this ring; empty: the gate does
    waived: bool = False  # two people have set what the rings before must show aside


def judge(facts: Facts) -> Decision:
    """OPEN for the makes that passed, HOLD or HALT; with every reason that spoke against."""
    reasons = [reason for check in CHECKS for reason in check(facts)]
    if facts.waived:
        reasons = [replace(one, verdict=Verdict.OPEN) if one.code in WAIVABLE else one for one in reasons]
    holding = [reason for reason in reasons if reason.verdict is not Verdict.OPEN]
    worst = max((reason.verdict for reason in holding if not reason.make), default=Verdict.OPEN)
    blocked = {reason.make for reason in holding if reason.make}
    passed = tuple(m.make for m in facts.makes if m.wanted and not m.opened and m.make not in blocked)
    if facts.whole and len(passed) < sum(m.wanted for m in facts.makes):
        passed = ()
    if worst is not Verdict.OPEN:
        return Decision(worst, facts.ring, (), tuple(reasons))
    if facts.people_decide and not facts.people and not facts.waived:
        return Decision(Verdict.HOLD, facts.ring, (), (*reasons, *_wanted(facts, passed)))
    return Decision(Verdict.OPEN if passed else Verdict.HOLD, facts.ring, passed, tuple(reasons))


WAIVABLE = frozenset({"at_least", "sites", "rule_out", "soak", "make_unproven"})
"""What two people may set aside: that too little has been shown. Failures, floors, freezes and brakes hold on."""
APPROVAL = "approval_wanted"


def _wanted(facts: Facts, makes: Sequence[str]) -> list[Reason]:
    """The gate would open for these makes, and people decide."""
    detail = "the gate would open it; a person decides"
    return [Reason(Verdict.HOLD, APPROVAL, detail, facts.people_decide, make=make) for make in makes]


def ready(decision: Decision) -> tuple[str, ...]:
    """The makes that the gate itself would open for, where people decide."""
    return tuple(reason.make for reason in decision.reasons if reason.code == APPROVAL)


def _halted(facts: Facts) -> list[Reason]:
    if not facts.halted:
        return []
    return [Reason(Verdict.HALT, "halted", "the rollout is halted; two people can resume it")]


def _chance(facts: Facts) -> list[Reason]:
    machines, sites = facts.failed_machines, facts.failed_sites
    if not evalues.halts(facts.log_e, facts.false_halt, machines, sites, facts.exposed_sites):
        return []
    odds = f"{math.exp(facts.log_e):,.0f}" if facts.log_e < 20 else "more than 100,000,000"
    detail = f"{machines} machines at {sites} sites have failed: {odds} to 1 against chance"
    numbers = {"machines": machines, "sites": sites, "log_e": facts.log_e}
    return [Reason(Verdict.HALT, "not_chance", detail, "defaults.false_halt", numbers=numbers)]


FAR_ABOVE = 5  # times the cap: in any fleet some machines are off for a holiday or for good
UNCLEAR = frozenset({"gap", "controls_silent", "background_high"})
"""The codes of a HOLD because nothing can be concluded."""


def unclear(decision: Decision) -> list[str]:
    """Why nothing can be concluded: codes, none where something can."""
    return sorted({reason.code for reason in decision.reasons} & UNCLEAR)


def _unclear(facts: Facts) -> list[Reason]:
    found = []
    if facts.gap_until is not None and facts.now < facts.gap_until:
        detail = "nobody listened until a moment ago; every machine gets the time to come back"
        found.append(Reason(Verdict.HOLD, "gap", detail, earliest_at=facts.gap_until))
    cap = facts.background_cap
    if cap is None:
        return found
    rule = "defaults.background_cap"
    if facts.controls >= evalues.CONTROLS_PER_MAKE and facts.controls_silent > FAR_ABOVE * cap * facts.controls:
        detail = f"{facts.controls_silent} of {facts.controls} machines that were not updated are silent themselves"
        found.append(Reason(Verdict.HOLD, "controls_silent", detail, rule))
    if facts.measured > cap:
        detail = f"{facts.measured:.1%} of earlier boots failed without this release, more than {cap:.1%}"
        found.append(Reason(Verdict.HOLD, "background_high", detail, rule))
    return found


def _brakes(facts: Facts) -> list[Reason]:
    return [
        Reason(
            Verdict.HALT,
            "brake",
            f"{b.text}: {b.count} counted. {b.why}".strip(),
            b.path,
            numbers={"text": b.text, "count": b.count, "why": b.why},
        )
        for b in facts.brakes
        if b.count >= b.limit
    ]


def _verified(facts: Facts) -> list[Reason]:
    return (
        [] if facts.verified else [Reason(Verdict.HOLD, "not_verified", "the release's origin could not be verified")]
    )


def _previous(facts: Facts) -> list[Reason]:
    if facts.previous_empty:
        return [Reason(Verdict.HOLD, "ring_empty", "the ring before has no machine, so it proves nothing", facts.path)]
    return [] if facts.previous_open else [Reason(Verdict.HOLD, "ring_before", "the ring before has not opened yet")]


def _lead(facts: Facts) -> list[Reason]:
    behind = facts.position - facts.max_lead
    return [
        Reason(
            Verdict.HOLD,
            "make_behind",
            f"{m.bad} of {m.make} failed and it has come no further than ring {m.reached}",
            facts.path,
            numbers={"make": m.make, "bad": m.bad},
        )
        for m in facts.makes
        if m.bad and m.reached is not None and m.reached < behind
    ]


def _members(facts: Facts) -> list[Reason]:
    if facts.members:
        return []
    detail = f"ring {facts.ring} has no machine, so it proves nothing; drop it from the policy or give it machines"
    return [Reason(Verdict.HOLD, "ring_empty", detail, f"{facts.path}.pick", numbers={"ring": facts.ring})]


def _floor(facts: Facts) -> list[Reason]:
    earliest = facts.first_seen_at + facts.floor
    if facts.now >= earliest:
        return []
    detail = f"ring {facts.ring} takes no younger content"
    numbers: dict[str, float | str] = {"since": facts.first_seen_at.isoformat(), "floor_s": facts.floor.total_seconds()}
    return [Reason(Verdict.HOLD, "floor", detail, f"{facts.path}.floor", earliest, numbers=numbers)]


def _freeze(facts: Facts) -> list[Reason]:
    if not facts.freeze:
        return []
    detail = f"freeze {facts.freeze}: {facts.freeze_why}"
    numbers = {"name": facts.freeze, "why": facts.freeze_why}
    return [Reason(Verdict.HOLD, "frozen", detail, facts.freeze_path, facts.freeze_until, numbers=numbers)]


def _morning(facts: Facts) -> list[Reason]:
    if not facts.morning:
        return []
    return [Reason(Verdict.HOLD, "silent_morning", facts.morning, "", facts.morning_until)]


def _people(facts: Facts) -> list[Reason]:
    missing = facts.people_needed - len(set(facts.people))
    if missing <= 0:
        return []
    detail, rule = f"{missing} more must approve", f"{facts.path}.needs.people"
    return [Reason(Verdict.HOLD, "needs_people", detail, rule, numbers={"more": missing})]


def required(at_least: int, shown: Shown) -> int:
    """Healthy machines that a make needs: ``at_least``, or all that the earlier rings have, if fewer."""
    return min(at_least, shown.available)


def _makes(facts: Facts) -> list[Reason]:
    """Stopped makes, then the numbers, then the soak, for each make that the ring waits for."""
    if facts.gate is None:
        return []
    reasons: list[Reason] = []
    lacks = {m.make: _lacks(facts.gate, m, facts) for m in facts.makes if m.in_previous or (m.wanted and not m.opened)}
    laggards = any(m.in_previous and (m.stopped or lacks[m.make]) for m in facts.makes)
    for shown in facts.makes:
        if not shown.wanted or shown.opened:
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


def sites_required(gate: GateRule, shown: Shown) -> int:
    """Different sites that a make's healthy machines must be at."""
    return min(gate.sites or gate.at_least, shown.sites)


def _lacks(gate: GateRule, shown: Shown, facts: Facts) -> list[Reason]:
    need = required(gate.at_least, shown) - shown.healthy
    if need > 0:
        detail = f"needs {need} more healthy of {shown.make}"
        numbers = {"more": need, "wanted": required(gate.at_least, shown), "healthy": shown.healthy}
        return [_lacking("at_least", detail, gate, shown, numbers)]
    more_sites = sites_required(gate, shown) - shown.healthy_sites
    if more_sites > 0:
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
    healthy, bad = sum(m.healthy for m in makes), sum(m.bad for m in makes)
    pending, available = sum(m.pending for m in makes), sum(m.available for m in makes)
    limit = rule_out + facts.background
    more = stats.more_healthy(limit, healthy, bad, pending, facts.confidence)
    if bad == 0:
        rest = max(available - healthy, 0)
        more = rest if more is None else min(more, rest)
    bound = stats.upper_bound(healthy, bad, pending, facts.confidence)
    return Rate(bound, limit, rule_out, more, max(available - healthy - bad, 0))


def _fleet(facts: Facts) -> list[Reason]:
    gate = facts.gate
    if gate is None or gate.rule_out_fleet is None:
        return []
    rate = rate_of(facts.makes, gate.rule_out_fleet, facts)
    if rate.more == 0:
        return []
    detail = f"up to {rate.bound:.1%} of the fleet could fail, {gate.rule_out_fleet:.1%} must be ruled out"
    return [Reason(Verdict.HOLD, "rule_out", detail, f"{gate.path}.gate.rule_out", numbers=rate.numbers())]


CHECKS: tuple[Callable[[Facts], list[Reason]], ...] = (
    _halted,
    _chance,
    _brakes,
    _unclear,
    _verified,
    _previous,
    _lead,
    _members,
    _floor,
    _freeze,
    _morning,
    _people,
    _fleet,
    _makes,
)
