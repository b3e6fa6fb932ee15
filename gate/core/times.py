"""Values of time in a policy: open durations, edges, windows, freezes.

- ``4h open`` counts hours in which the machine's site is open; ``1d open`` is one whole opening day.
- An edge is relative to a site's opening, closing or boot. Clock times are local; local at the edge, UTC inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum


class Anchor(StrEnum):
    """What an edge is relative to."""

    OPENING = "opening"
    CLOSING = "closing"
    BOOT = "boot"  # the machine's first expected-on minute of the day


@dataclass(frozen=True, slots=True)
class OpenDuration:
    """``4h open`` (amount), ``1d open`` (days) or plain ``30m`` of the wall clock."""

    amount: timedelta
    days: int = 0
    open: bool = False

    def __str__(self) -> str:
        """As it is written in a policy."""
        if self.days:
            return f"{self.days}d open"
        seconds = int(self.amount.total_seconds())
        units = (("h", 3600), ("m", 60)) if self.open else (("d", 86400), ("h", 3600), ("m", 60))
        for unit, size in units:  # 1d open is not 24h open
            if seconds and seconds % size == 0:
                return f"{seconds // size}{unit}" + (" open" if self.open else "")
        return f"{seconds}s" + (" open" if self.open else "")


@dataclass(frozen=True, slots=True)
class Edge:
    """``30m after opening``: offset (negative: before) and anchor."""

    offset: timedelta
    anchor: Anchor


@dataclass(frozen=True, slots=True)
class Window:
    """When a claim may be granted; without edges: always."""

    name: str
    start: Edge | None = None
    end: Edge | None = None


@dataclass(frozen=True, slots=True)
class Freeze:
    """When nothing opens or is granted. Exactly one of edges, dates, days of the month or duty rules it.

    ``first``/``last``: local dates, both included; ``days`` with ``until_minute``: minutes after local midnight.
    """

    name: str
    why: str = ""
    owner: str = ""
    start: Edge | None = None
    end: Edge | None = None
    first: date | None = None
    last: date | None = None
    days: tuple[int, ...] = ()
    until_minute: int = 24 * 60
    duty: bool = False
