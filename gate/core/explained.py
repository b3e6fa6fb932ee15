"""Why a ring is not open and what would open it, in sentences: the one object that pages and commands say it from.

- A reason's sentence is made of its code and its numbers; one that was stored before there were numbers keeps its own.
- The earliest time is the latest of the times that the reasons have. It is one only where every reason has a time.
- The numbers of a make are those that ``judge`` decides by: ``rate_of`` and ``required`` are shared with it.
- A reason of a make also says how many more machines would do; ``Explanation.risk`` what opening now could cost.
- At worst lost is what the exposure budget lets out, if all of it were as bad as the bound allows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gate.core import evidence, opening, said_texts, stats, words
from gate.core.evidence import Rate
from gate.core.facts import Facts
from gate.core.model import DONE, FLEET
from gate.core.reason_texts import LANGUAGES, text
from gate.core.verdict import Decision, Reason, Refusal, Verdict


@dataclass(frozen=True, slots=True)
class MakeNeeds:
    """One make before a ring's gate: what it has shown and what it lacks (counts of machines and sites; 0: nothing).

    ``lost``: machines of it that could be lost at worst if the ring opened now; None where nobody has counted.
    """

    make: str
    passed: bool
    healthy: int
    wanted: int
    bad: int
    explained: int
    pending: int
    more_healthy: int
    more_sites: int
    bound: float  # the failure rate that is not excluded yet
    rate: Rate | None  # beside its limit, where the gate states one
    soak_until: datetime | None
    lost: int | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """One ring of one rollout, as it stands now."""

    facts: Facts
    decision: Decision
    makes: tuple[MakeNeeds, ...]
    fleet: Rate | None
    lost: int | None

    @property
    def ring(self) -> str:
        """The ring that is to open; ``done`` is the rollout's end."""
        return self.facts.ring

    def reasons(self, make: str = "") -> list[Reason]:
        """What holds it: all of it, or what matters to one make, the gravest first."""
        known = make in {one.make for one in self.makes}
        holding = [one for one in self.decision.reasons if one.verdict is not Verdict.OPEN]
        found = [one for one in holding if not known or one.make in ("", make)]
        return sorted(found, key=lambda one: -one.verdict)

    def sentences(self, language: str, zone: ZoneInfo, make: str = "") -> list[str]:
        """The reasons, then the earliest time with its arithmetic."""
        found = self.reasons(make)
        where = place(self.ring, language)
        said = [text("ring", language, place=where, said=sentence(one, language, zone)) for one in found]
        return [*said, earliest(self.ring, found, language, zone)] if found else said

    @property
    def earliest_at(self) -> datetime | None:
        """When it can open at the earliest; None where a reason has no time of its own, or nothing holds it."""
        times = [one.earliest_at for one in self.reasons()]
        known = [at for at in times if at is not None]
        return max(known) if known and len(known) == len(times) else None

    def risk(self, language: str) -> str:
        """What could be lost at worst if it opened now, make by make; empty where nobody has counted."""
        if self.lost is None:
            return ""
        parts = [
            text("risk.one", language, count=one.lost, some=words.make(one.make, language, one.lost))
            for one in self.makes
            if one.lost
        ]
        if len(parts) < 2:
            none = text("risk.one", language, count=0, some=words.make("", language))
            return text("risk", language, ring=self.ring, lost=parts[0] if parts else none)
        lost = words.counted(self.lost, "unit.machine", language)
        return text("risk.fleet", language, ring=self.ring, lost=lost, parts=words.joined(parts, language))


def explained(facts: Facts, lost: Mapping[str, int] | None = None) -> Explanation:
    """``lost``: make (and ``*``) -> machines that could be lost at worst, of the makes that the ring would open for."""
    decision, gate = opening.judge(facts), facts.gate
    holding = [reason for reason in decision.reasons if reason.verdict is not Verdict.OPEN]
    held = {reason.make for reason in holding if reason.make and reason.code != opening.APPROVAL}
    shut = any(not reason.make for reason in holding)
    rows = []
    for one in facts.makes:
        if not one.wanted or one.opened:
            continue
        bound = stats.upper_bound(one.healthy, one.bad, one.pending, facts.confidence)
        wanted = evidence.required(gate.at_least, one) if gate else 0
        rated = gate is not None and gate.rule_out_make is not None and one.available > 0
        rows.append(
            MakeNeeds(
                make=one.make,
                passed=not shut and one.make not in held,
                healthy=one.healthy,
                wanted=wanted,
                bad=one.bad,
                explained=one.explained,
                pending=one.pending,
                more_healthy=max(wanted - one.healthy, 0),
                more_sites=max(evidence.sites_required(gate, one) - one.healthy_sites, 0) if gate else 0,
                bound=bound,
                rate=evidence.rate_of([one], gate.rule_out_make, facts)
                if rated and gate and gate.rule_out_make
                else None,
                soak_until=one.soak_until,
                lost=None if lost is None else lost.get(one.make, 0),
            )
        )
    fleet = evidence.rate_of(facts.makes, gate.rule_out_fleet, facts) if gate and gate.rule_out_fleet else None
    return Explanation(facts, decision, tuple(rows), fleet, None if lost is None else lost.get(FLEET, 0))


def sentence(reason: Reason, language: str, zone: ZoneInfo) -> str:
    """One reason, without its ring."""
    numbers = reason.numbers
    if (reason.code not in LANGUAGES[language]) or (not numbers and reason.code not in WITHOUT_NUMBERS):
        return _old(reason, language)
    said = text(_key(reason), language, **_arguments(reason, language, zone))
    left, more = numbers.get("left"), numbers.get("more")
    if reason.code == "rule_out" and isinstance(left, int) and (more is None or int(more) > left):
        return text("rule_out_left", language, said=said, left=left)
    return said


def counts(reason: Reason) -> bool:
    """Does it say numbers that go on changing while it holds?"""
    return not reason.numbers.keys().isdisjoint(("more", "bad", "bound"))


NAMED = re.compile(r"\{(\w+)\}")
WITHOUT_NUMBERS = (
    *("not_verified", "lever_broken", "ring_before", "ring_empty", "make_unproven"),
    opening.APPROVAL,
)


def _key(reason: Reason) -> str:
    numbers = reason.numbers
    match reason.code:
        case "ring_empty" if not numbers:
            return "ring_empty_before"
        case "frozen" | "soak" if reason.earliest_at is None:
            return f"{reason.code}_open"
        case "unexplained_failure" if numbers["extending"]:
            return "unexplained_failure_extending"
        case "rule_out" if "more" not in numbers:
            return "rule_out_never"
        case code:
            return code


def _arguments(reason: Reason, language: str, zone: ZoneInfo) -> dict[str, object]:
    found: dict[str, object] = dict(reason.numbers)
    make = str(found.get("make", reason.make))
    found["makes"] = words.make(make, language)
    found["all"] = text("all", language, makes=found["makes"]) if make else text("fleet", language)
    found["some"] = words.make(make, language, float(found.get("more", 2)))  # type: ignore[arg-type]
    until, since = reason.earliest_at, datetime.fromisoformat(str(found["since"])) if "since" in found else None
    if until is not None:
        found["until"] = words.moment(until, language, zone, *([since] if since else []))
    if since is not None:
        found["since"] = words.moment(since, language, zone, *([until] if until else []))
        found["span"] = words.span(timedelta(seconds=float(reason.numbers["floor_s"])), language)
    for name in ("bound", "limit"):
        if name in found:
            found[name] = words.share(float(reason.numbers[name]), language)
    if "soak" in found:
        found["soak"] = words.open_span(str(found["soak"]), language)
    if reason.code == "sites":
        found["more_sites"] = words.counted(int(reason.numbers["more"]), "unit.more_site", language)
    for name in ("machines", "sites"):
        if name in found:
            found[name] = words.counted(int(reason.numbers[name]), f"unit.{name.removesuffix('s')}", language)
    if "log_e" in found:
        log_e = float(reason.numbers["log_e"])
        odds = f"{math.exp(log_e):,.0f}" if log_e < 20 else "100,000,000"
        found["odds"] = odds.replace(",", ".") if language == "de" else odds
    return found


def _old(reason: Reason, language: str) -> str:
    """What was stored before reasons had numbers: its own sentence, with its make in words."""
    if not reason.make:
        return said_texts.said(reason.detail, language)
    return reason.detail.replace(reason.make, words.make(reason.make, language))


def earliest(ring: str, reasons: Sequence[Reason], language: str, zone: ZoneInfo) -> str:
    """When it can open: the latest of the reasons' times, each with how it comes about."""
    holding = [one for one in reasons if one.verdict is not Verdict.OPEN]
    timed = [one for one in holding if one.earliest_at is not None]
    if not timed:
        return text("earliest.none", language, place=place(ring, language))
    at = max(one.earliest_at for one in timed if one.earliest_at is not None)
    parts = []
    for one in timed:
        known = f"earliest.{one.code}" in LANGUAGES[language] and one.numbers
        arguments = _arguments(one, language, zone)
        parts.append(text(f"earliest.{one.code}", language, **arguments) if known else _old(one, language))
    said = parts[0] if len(parts) == 1 else text("earliest.latest", language, parts=words.joined(parts, language))
    key = "earliest" if len(timed) == len(holding) else "earliest.not_before"
    return text(key, language, place=place(ring, language), at=words.moment(at, language, zone), parts=said)


def place(ring: str, language: str) -> str:
    """The ring, or the rollout's end, at the head of a sentence."""
    return text("place.done" if ring == DONE else "place", language, ring=ring)


def refused(no: Refusal, language: str, zone: ZoneInfo) -> str:
    """A refusal's sentence, without whose it is."""
    key = f"refusal.{no.kind}"
    if no.kind == "unexplained_failure" and "make" not in no.numbers:
        key = "refusal.own_failure"
    if no.kind == "held" and "owner" not in no.numbers:
        key = "refusal.held_rollout"
    if no.kind == "outside_share" and "ring" not in no.numbers:
        key = "refusal.drawn"
    if no.kind == "outside_share" and not no.numbers.get("later", True):
        key = "refusal.outside_share.gate"
    found: dict[str, object] = dict(no.numbers)
    known = {*found, "makes"} | ({"until"} if no.earliest_at is not None else set())
    if not known.issuperset(
        NAMED.findall(LANGUAGES[language].get(key, "{unknown}"))
    ):  # what lost a race has no numbers
        return said_texts.said(no.detail.removesuffix("."), language)
    found["makes"] = words.make(str(found.get("make", "")), language)
    if no.kind == "halted":
        found["because"] = said_texts.halted(str(found["because"]), str(found["by"]), language)
    if no.earliest_at is not None:
        found["until"] = words.moment(no.earliest_at, language, zone)
    return text(key, language, **found)
