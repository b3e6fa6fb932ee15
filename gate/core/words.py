"""Makes, shares, spans and moments in words of German or English: what every page and command says alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import MAXYEAR, UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gate.core import makes
from gate.core.model import ABSENT, FLEET
from gate.core.reason_texts import LANGUAGES, chosen, text

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
KINDS = ("till", "server", "workstation")
DAY = timedelta(days=1)


def make(written: str, language: str, number: float = 2) -> str:
    """``role=till|platform=hyperv|os_build=19045`` -> ``tills on hyperv with 19045``; ``number``: one or several.
    What a machine has not said is left out."""
    if written == FLEET:
        return text("fleet", language)
    facts = makes.facts_of(written)
    role, platform = facts.pop("role", ABSENT), facts.pop("platform", ABSENT)
    known = role in KINDS or role == ABSENT
    said = chosen(f"kind.{'machine' if role == ABSENT else role}", language, number) if known else role
    if platform != ABSENT:
        said = text("make.on", language, kind=said, platform=platform)
    more = [value for value in facts.values() if value != ABSENT]
    return text("make.with", language, kind=said, facts=joined(more, language)) if more else said


def joined(parts: Sequence[str], language: str) -> str:
    """``a, b and c``."""
    return ", ".join(parts[:-1]) + (f" {text('and', language)} " if len(parts) > 1 else "") + "".join(parts[-1:])


def share(rate: float, language: str) -> str:
    """``12.3%``; what is not nothing is never shown as 0."""
    percent = rate * 100
    digits = 1 if percent >= 1 else next((digits for digits in (2, 3) if round(percent, digits) > 0), 4)
    said = f"{percent:.{digits}f}".rstrip("0").rstrip(".")
    return said.replace(".", ",") + " %" if language == "de" else said + "%"


def span(value: timedelta, language: str) -> str:
    """A duration in its largest whole unit."""
    seconds = int(value.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds >= UNITS[unit] and seconds % UNITS[unit] == 0:
            return counted(seconds // UNITS[unit], f"unit.{unit}", language)
    return counted(seconds, "unit.s", language)


def open_span(written: str, language: str) -> str:
    """``4h open`` as a policy writes it -> ``4 opening hours``."""
    found = re.fullmatch(r"(\d+)([smhd])( open)?", written)
    if found is None:
        return written
    return counted(int(found[1]), f"unit.{'open.' if found[3] else ''}{found[2]}", language)


def counted(number: int, key: str, language: str) -> str:
    """A number with its noun."""
    return f"{number} {chosen(key, language, number)}"


def moment(at: datetime, language: str, zone: ZoneInfo, *beside: datetime) -> str:
    """``Tue 10 Mar 10:40``, local; near a clock change with the clock's name. ``beside``: moments in the same sum."""
    here = at.astimezone(zone)
    day = LANGUAGES[language]["days"].split()[here.weekday()]
    said = f"{here:%d.%m. %H:%M}" if language == "de" else f"{here:%d %b %H:%M}"
    return f"{day} {said}{clock(at, zone, *beside)}"


def clock(at: datetime, zone: ZoneInfo, *beside: datetime) -> str:
    """`` CEST`` where the zone has another clock within a day of ``at``, or at a moment beside it; else empty."""
    here = at.astimezone(zone)
    if here.year == MAXYEAR:  # there may be no day after it
        return ""
    others = (at.astimezone(UTC) - DAY, at.astimezone(UTC) + DAY, *beside)
    same = all(one.astimezone(zone).utcoffset() == here.utcoffset() for one in others)
    return "" if same else f" {here.tzname()}"
