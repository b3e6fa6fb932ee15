"""May the next ring open? One function a check, each gives its reasons; the most cautious verdict wins.

- Silence is never consent: what has not resolved is not healthy, and nothing here times out into OPEN.
- A ring opens make by make: each climbs on what the rings before have shown of it.
- A make that no earlier ring has is *unproven*: it starts at its first batch, once every make of the ring
  before has passed; one that failures have stopped has not.
- By statistics it halts at E >= 1/``false_halt``, with two machines at two sites; a brake of the policy as written.
- A make with failures that nobody has explained holds the others once it is more than ``max_lead`` rings behind.
- Nothing is concluded (a HOLD, and the clock stands) while machines catch up with a gap of our own, while those that
  were not updated are silent themselves, and where the measured background is above the policy's cap.
- A source whose lever a probe has found broken opens no ring until a person has cleared it.
- Same facts, same Decision: nothing is read here but the facts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from gate.core import evalues, words
from gate.core.evidence import fleet_lacks, makes_lack
from gate.core.facts import Facts
from gate.core.verdict import Decision, Reason, Verdict


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
    opens = passed or (facts.dropped and not blocked)
    return Decision(Verdict.OPEN if opens else Verdict.HOLD, facts.ring, passed, tuple(reasons))


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


def _chance(facts: Facts) -> list[Reason]:
    machines, sites = facts.failed_machines, facts.failed_sites
    if not evalues.halts(facts.log_e, facts.false_halt, machines, sites, facts.exposed_sites):
        return []
    odds = f"{math.exp(facts.log_e):,.0f}" if facts.log_e < 20 else "more than 100,000,000"
    hit = [words.counted(machines, "unit.machine", "en"), words.counted(sites, "unit.site", "en")]
    detail = f"{hit[0]} at {hit[1]} have failed: {odds} to 1 against chance"
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


def _lever(facts: Facts) -> list[Reason]:
    if not facts.lever_broken:
        return []
    detail = "a probe got what is withheld: a person must clear the source's lever"
    return [Reason(Verdict.HOLD, "lever_broken", detail)]


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
    if facts.members or facts.dropped:
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


CHECKS: tuple[Callable[[Facts], list[Reason]], ...] = (
    _chance,
    _brakes,
    _unclear,
    _verified,
    _lever,
    _previous,
    _lead,
    _members,
    _floor,
    _freeze,
    _morning,
    _people,
    fleet_lacks,
    makes_lack,
)
