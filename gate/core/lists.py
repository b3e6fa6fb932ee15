"""What a long list shows, in which order, and after which row it goes on: paged by key, never by a number of rows.

- An empty text filters nothing. ``text`` is how a name or an id begins, in any case of letters.
- ``after`` is the sort key and the id of the last row that was shown; ``key`` and ``after_of`` turn both into one word
  of an address and back. What is no such word begins at the first page.
- With a rollout the state of a claim is that of its claims; without one, of any that is kept, and *healthy* of those
  rollouts only that rule today.
- ``morning`` asks by this morning's last look, whose day and times the door adds (``look``): *here* are those of the
  expected that were heard of since their first boot, *missing* the others where it opens within a quarter of an hour or
  is open, *late* the others elsewhere.
- ``standing`` asks what machines really run, as it was judged for any source.
- A hold holds until it is lifted or its end has come; ``place`` is the id of a machine or of a site that it keeps out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gate.core.claims import FAILURE, HOLDS_SLOT
from gate.core.model import ClaimState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
LAST_SEEN = ("last_seen", "-last_seen")
MACHINE_SORTS = ("name", "-name", "site", *LAST_SEEN)
SITE_SORTS = ("name", "site", *LAST_SEEN)
ROLLOUT_SORTS = ("newest", "oldest", "source")
PERSON_SORTS = ("login", "name", "role")
PERSON_STATES = ("active", "disabled")
HOLD_SORTS = ("until", "-until", "-made")
HOLD_STATES = ("held", "lifted", "over", "ever")
BY_TIME = (*LAST_SEEN, *HOLD_SORTS)
GROUPS = {"in_flight": HOLDS_SLOT, "failure": FAILURE}
MORNING = ("expected", "here", "late", "missing")
After = tuple[str | int, str]


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a morning: its local date, the minute of the local day, and the latest opening that is due."""

    day: str
    minute: int
    at: datetime
    due_by: datetime


@dataclass(frozen=True, slots=True)
class MachineList:
    """Machines; ``dark``: only those of sites that are dark."""

    site: str = ""
    ring: str = ""
    make: str = ""
    role: str = ""
    status: str = ""
    claim: str = ""
    rollout: str = ""
    morning: str = ""
    standing: str = ""
    text: str = ""
    dark: bool = False
    sort: str = "name"
    after: After | None = None
    look: Look | None = None


@dataclass(frozen=True, slots=True)
class SiteList:
    """Sites; ring, make, role and status: those that have such a machine."""

    land: str = ""
    ring: str = ""
    make: str = ""
    role: str = ""
    status: str = ""
    text: str = ""
    dark: bool = False
    sort: str = "name"
    after: After | None = None


@dataclass(frozen=True, slots=True)
class RolloutList:
    """Rollouts; ``text`` is how the version begins."""

    source: str = ""
    state: str = ""
    text: str = ""
    sort: str = "newest"
    after: After | None = None


@dataclass(frozen=True, slots=True)
class PersonList:
    """People; ``text`` is how a login or a name begins."""

    role: str = ""
    state: str = ""
    text: str = ""
    sort: str = "login"
    after: After | None = None


@dataclass(frozen=True, slots=True)
class HoldList:
    """Holds: those that hold now where no ``state`` is asked for. With a source those of all sources too; ``text`` is
    how its owner, or who placed it, begins."""

    state: str = ""
    source: str = ""
    place: str = ""
    text: str = ""
    sort: str = "until"
    after: After | None = None


@dataclass(frozen=True, slots=True)
class VersionList:
    """Versions of the policy, newest first: what stands in author and message, and days; ``after`` is a commit."""

    author: str = ""
    text: str = ""
    since: str = ""
    until: str = ""
    after: str | None = None


def states_of(claim: str) -> tuple[str, ...]:
    """The states that a word of a filter stands for; none where it stands for nothing."""
    if claim in GROUPS:
        return tuple(sorted(state.value for state in GROUPS[claim]))
    return (claim,) if claim in {state.value for state in ClaimState} else ()


def key(value: str | int, row_id: str) -> str:
    """The word of an address for a row: its sort key and its id."""
    return f"{value}~{row_id}"


def after_of(word: str, sort: str) -> After | None:
    """What ``key`` made; None for the first page."""
    value, mark, row_id = word.rpartition("~")
    if not mark:
        return None
    if sort not in BY_TIME:
        return value, row_id
    return (int(value), row_id) if value.isascii() and value.isdigit() and len(value) < 19 else None


def micros(at: datetime | None) -> int:
    """A time as a sort key; never is before everything."""
    return 0 if at is None else (at - EPOCH) // MICRO
