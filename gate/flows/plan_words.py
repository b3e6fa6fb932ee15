"""A plan in sentences of German or English."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from gate.core.policy import Policy
from gate.core.policy_texts import LANGUAGES, text
from gate.core.policy_words import counted, joined
from gate.core.words import clock
from gate.flows.plan import Held, Plan, RingPlan


def slowest(plans: list[Plan]) -> Plan:
    """The plan whose last ring opens latest after its release; one that never does is the slowest."""
    return max(plans, key=lambda one: _span(one) or timedelta.max)


def _span(found: Plan) -> timedelta | None:
    opened = found.rings[-1].opened_at
    return None if opened is None else opened - found.at


def lines(found: Plan, slow: Plan | None, ruling: Policy, days: int, language: str) -> Iterator[str]:
    """The plan; beside it the slowest, where there is one."""

    def local(at: datetime) -> str:
        here = at.astimezone(ruling.zone)
        day = LANGUAGES[language][f"day.{here.weekday()}"]
        moment = f"{here:%d.%m. %H:%M}" if language == "de" else f"{here:%d %b %H:%M}"
        return f"{day} {moment}{clock(at, ruling.zone)}"

    def said(key: str, **arguments: Any) -> str:
        return text(f"plan.{key}", language, **arguments)

    span = counted(days, "unit.d", language)
    yield said("release", source=found.source, at=local(found.at))
    for ring in found.rings:
        yield from _ring_lines(ring, local, said, span, language)
    yield said("done", at=local(found.done_at)) if found.done_at else said("not_done", days=span)
    if slow is not None:
        taken = _span(slow)
        if taken is None:
            yield said("worst_never", at=local(slow.at), days=span)
        else:
            yield said("worst", at=local(slow.at), span=_roughly(taken, language))
    yield said("people")


def _ring_lines(ring: RingPlan, local: Any, said: Any, days: str, language: str) -> Iterator[str]:
    if ring.opened_at is None:
        yield said("never", ring=ring.ring, days=days)
    else:
        line = said("opens", ring=ring.ring, at=local(ring.opened_at))
        if ring.all_open_at is not None and ring.all_open_at != ring.opened_at:
            line += " " + said("all", at=local(ring.all_open_at))
        yield line
    for held in sorted(
        ring.held, key=lambda one: (one.until is None, one.until or ring.opened_at or datetime.max.replace(tzinfo=UTC))
    ):
        why = _why(held, language)
        rule = held.rule or "rings"
        yield "  " + (
            said("waits", at=local(held.until), why=why, rule=rule)
            if held.until
            else said("stands", why=why, rule=rule)
        )
    if ring.first_at is not None:
        yield "  " + said("first", at=local(ring.first_at))
    members = counted(ring.members, "unit.machine", language)
    if ring.silent_at is not None:
        yield "  " + said("risk", count=ring.at_risk, members=members, at=local(ring.silent_at))
    elif ring.members:
        yield "  " + said("risk_open", count=ring.at_risk, members=members)


def _why(held: Held, language: str) -> str:
    known = f"why.{held.code}"
    return text(known, language, freeze=held.freeze) if known in LANGUAGES[language] else held.code


def _roughly(taken: timedelta, language: str) -> str:
    """Days and hours."""
    hours = round(taken.total_seconds() / 3600)
    parts = [(hours // 24, "unit.d"), (hours % 24, "unit.h")]
    return joined([counted(number, unit, language) for number, unit in parts if number], "and", language) or "0 h"
