"""The boots of this machine, and how each ended: what is remembered, and how a new finding changes it. Pure.

- A boot is begun by whoever of us runs first in it. What the boot before left decides how that ended: a crash's text,
  our own mark of a planned stop, or what the system's log says.
- From the most certain: a crash that left its text or code; our mark; the log. An end that nobody knows stays unknown.
- A crash's text belongs to the boot in whose span its moment lies. One whose moment is not known, or lies in none, is
  nobody's: an old text that turns up late takes no good release back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Any

from gate.agent.times import moment

KEPT = 32
DETAIL = 500
NEAR = timedelta(seconds=1)
"""A boot's start is counted back from a clock, and cut to seconds."""


class Cause(StrEnum):
    """What ended a boot."""

    PLANNED = "planned"  # somebody or something asked for it
    CRASH = "crash"  # a kernel's panic, a bugcheck
    POWER_LOSS = "power_loss"  # it stopped without a word
    POWER_BUTTON = "power_button"  # held until it was off
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ended:
    """One boot. ``ended``: clean, unclean or unknown, as on the wire; ``started_at`` RFC 3339, may be empty."""

    boot_id: str
    started_at: str = ""
    ended: str = "unknown"
    cause: str = Cause.UNKNOWN
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Left:
    """What a crash left. ``key``: what it is known by; ``at``: the moment of the crash, None: not known."""

    key: str
    text: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Running:
    """What the present boot says of itself. ``ready_s``: seconds until it was up, None while that is not known."""

    system: str = ""
    ready_s: float | None = None
    safe_mode: bool = False
    fast_start: bool = False


def begun(known: Sequence[Ended], boot_id: str, at: str, well: bool) -> tuple[Ended, ...]:
    """The boots with the present one; ``well``: the one before said that it goes down as planned."""
    if known and known[-1].boot_id == boot_id:
        return tuple(known)
    before = list(known)
    if before and well:
        before[-1] = replace(before[-1], ended="clean", cause=Cause.PLANNED)
    return (*before, Ended(boot_id, at))[-KEPT:]


def crashed(known: Sequence[Ended], left: Left) -> tuple[Ended, ...] | None:
    """The boots with the one that this is of ended by a crash; None: it is of none of them."""
    if left.at is None:
        return None
    starts = [moment(one.started_at) if one.started_at else None for one in known]
    within = []
    for index, (start, end) in enumerate(pairwise(starts)):
        if start is not None and end is not None and start - NEAR <= left.at < end + NEAR:
            within.append((start <= left.at < end, index))
    if not within:
        return None
    found, (_, which) = list(known), max(within)
    found[which] = replace(found[which], ended="unclean", cause=Cause.CRASH, detail=left.text[:DETAIL])
    return tuple(found)


def merged(known: Sequence[Ended], found: Iterable[Ended]) -> tuple[Ended, ...]:
    """The boots with what a log says of them, and with those between that none of us was awake in."""
    log = list(found)
    place = {one.boot_id: index for index, one in enumerate(log)}
    mine = {one.boot_id for one in known}
    upto: int | None = None
    out: list[Ended] = []
    for one in known:
        present = one is known[-1]
        here = place.get(one.boot_id, len(log) if present else None)
        if here is not None:
            between = log[upto + 1 : here] if upto is not None else []
            out += [other for other in between if other.boot_id not in mine]
            mine |= {other.boot_id for other in between}  # a clock that was off may have put it in two places
            upto = here
        out.append(one if present or one.boot_id not in place else _surer(one, log[place[one.boot_id]]))
    return tuple(out[-KEPT:])


def since(known: Sequence[Ended], boot_id: str) -> tuple[Ended, ...]:
    """The boots from this one on; all where it is not remembered any more."""
    ids = [one.boot_id for one in known]
    return tuple(known[ids.index(boot_id) :] if boot_id in ids else known)


def crashes(known: Sequence[Ended]) -> tuple[str, ...]:
    """What the crashes among them say."""
    return tuple(one.detail or one.boot_id for one in known if one.cause == Cause.CRASH)


def lost(before: int, now: int | None, seen: int) -> int:
    """Boots that the machine's own counter saw since and nobody else did. A counter that is not known lost nothing."""
    return 0 if before < 0 or now is None else max(now - before - seen, 0)


def plain(known: Iterable[Ended]) -> list[dict[str, Any]]:
    """For the disk."""
    return [asdict(one) for one in known]


def _surer(mine: Ended, log: Ended) -> Ended:
    if log.cause == Cause.CRASH or (mine.ended == "unknown" and log.ended != "unknown"):
        return replace(mine, ended=log.ended, cause=log.cause, detail=log.detail[:DETAIL] or mine.detail)
    return mine
