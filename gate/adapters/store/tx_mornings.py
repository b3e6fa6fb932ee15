"""When each site's morning begins, who is missing, and what was seen of the fleet's mornings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Integer, and_, bindparam, case, cast, func, or_, select

from gate.adapters.store import tables
from gate.adapters.store.prepared import Prepared, change, equal, given
from gate.adapters.store.rows import Rows, pack, table
from gate.adapters.store.tables import EPOCH, MICRO
from gate.adapters.store.tx_machines import DAYS, MACHINES, SITES, UP, to_site
from gate.core import habits
from gate.core.lists import Look
from gate.core.model import MachineStatus, Site
from gate.core.mornings import Alarm, Morning, Party, Point, SiteDay

MORNINGS = table(tables.MorningRow)
POINTS = table(tables.MorningPointRow)

ROLES = ("till", "server")
"""Whose absence before opening says something, until their own habits are known."""
KNOWN_FOR = timedelta(days=14)
"""Who has not been heard of for so long is not expected."""
PLAN = change(DAYS, equal(DAYS, "site"), "day", "boots_at", "opens_at", "until")
LAST_MORNING = select(MORNINGS).where(MORNINGS.c.day == select(func.max(MORNINGS.c.day)).scalar_subquery())
NEWEST = Prepared(LAST_MORNING)
SPAN = Prepared(
    select(
        func.min(DAYS.c.boots_at, type_=tables.Moment()).label("first"),
        func.max(DAYS.c.opens_at, type_=tables.Moment()).label("last"),
    ).where(DAYS.c.day == given(DAYS.c.day))
)
_NOW: Any = given(DAYS.c.boots_at, "now")
_HEARD = MACHINES.c.last_seen_at >= DAYS.c.boots_at


def _count(of: Any) -> Any:
    return cast(func.coalesce(func.sum(case((of, 1), else_=0)), 0), Integer)


def _up(own: Any, now: Any, minute: Any) -> Any:
    """``own``: the minute of the day from which a machine should be up, where it is known."""
    return case((own.is_(None), DAYS.c.boots_at <= now), else_=own <= minute)


def _counted(own: Any) -> list[Any]:
    """Whose word of a morning counts: active, and of a role that is expected or with habits of its own."""
    said = or_(*(MACHINES.c.role == role for role in ROLES), own.is_not(None))
    return [MACHINES.c.status == MachineStatus.ACTIVE.value, said]


def expected(look: Look) -> list[Any]:
    """The machines that should be up at a look, each beside its site's day."""
    own = MACHINES.c[UP[habits.group_of(date.fromisoformat(look.day))]]
    known = MACHINES.c.last_seen_at >= look.at - KNOWN_FOR
    return [DAYS.c.day == look.day, *_counted(own), known, _up(own, look.at, look.minute)]


def _parties(own: Any) -> Any:
    up = _up(own, _NOW, bindparam("minute", type_=Integer, required=True))
    counted = select(
        DAYS.c.boots_at,
        DAYS.c.opens_at,
        func.count().label("machines"),
        _count(up).label("expected"),
        _count(and_(up, _HEARD)).label("seen"),
        func.count(DAYS.c.site.distinct()).label("sites"),
        func.count(case((and_(up, ~_HEARD), DAYS.c.site)).distinct()).label("sites_missing"),
        func.max(MACHINES.c.last_seen_at, type_=tables.Moment()).label("heard_at"),
    )
    wanted = [
        DAYS.c.day == given(DAYS.c.day),
        *_counted(own),
        MACHINES.c.last_seen_at >= given(MACHINES.c.last_seen_at, "known_since"),
    ]
    by = DAYS.c.opens_at, DAYS.c.boots_at
    joined = MACHINES.join(DAYS, DAYS.c.site == MACHINES.c.site)
    return counted.select_from(joined).where(*wanted).group_by(*by).order_by(*by)


PARTIES = tuple(_parties(MACHINES.c[name]) for name in UP)
"""The one statement that looks at the fleet, for each group of weekdays; a few rows, whatever the fleet's size."""


class MorningsTx(Rows):
    """See ``gate.ports.Tx``."""

    def sites_to_plan(self, now: datetime, limit: int) -> list[Site]:
        due = select(SITES).join(DAYS, DAYS.c.site == SITES.c.id).where(DAYS.c.until <= now)
        return [to_site(row) for row in self._all(due.order_by(DAYS.c.until, DAYS.c.site).limit(limit))]

    def save_days(self, days: Sequence[SiteDay]) -> None:
        rows = [
            {"site": one.site, "to_day": one.day, "to_boots_at": one.boots_at, "to_opens_at": one.opens_at}
            | {"to_until": one.until}
            for one in days
        ]
        if rows:
            self.writes += 1
            PLAN.many(self._connection, rows)

    def morning_span(self, day: str) -> tuple[datetime, datetime] | None:
        row = self._first(SPAN, day=day)
        return (row["first"], row["last"]) if row and row["first"] is not None else None

    def parties(self, day: str, minute: int, now: datetime, rings: tuple[str, ...] = ()) -> list[Party]:
        statement = PARTIES[habits.group_of(date.fromisoformat(day))]
        if rings:
            statement = statement.where(MACHINES.c.ring.in_(rings))
        values = {"day": day, "minute": minute, "now": now, "known_since": now - KNOWN_FOR}
        return [Party(**row, rings=rings) for row in self._connection.execute(statement, values).mappings()]

    def morning(self) -> Morning | None:
        row = self._first(NEWEST)
        return to_morning(row) if row else None

    def mornings(self, before: str, limit: int) -> list[Morning]:
        found = select(MORNINGS).where(MORNINGS.c.day < before).order_by(MORNINGS.c.day.desc()).limit(limit)
        return [to_morning(row) for row in self._all(found)]

    def save_morning(self, morning: Morning) -> None:
        self._upsert(
            MORNINGS,
            {"day": morning.day},
            looked_at=morning.looked_at,
            judged_at=morning.judged_at,
            usual=morning.usual,
            expected=morning.expected,
            missing=morning.missing,
            parties=pack([_packed(one) for one in (*morning.parties, *morning.of_rings)]),
            alarm=_packed_alarm(morning.alarm),
        )

    def add_point(self, day: str, point: Point) -> None:
        self._upsert(POINTS, {"day": day, "at": point.at}, expected=point.expected, seen=point.seen)

    def points(self, day: str) -> list[Point]:
        found = select(POINTS.c.at, POINTS.c.expected, POINTS.c.seen).where(POINTS.c.day == day).order_by(POINTS.c.at)
        return [Point(**row) for row in self._all(found)]


def to_morning(row: Any) -> Morning:
    """Row -> core."""
    parties = [_party(*one) for one in json.loads(row["parties"])]
    own, of_rings = (tuple(one for one in parties if bool(one.rings) is named) for named in (False, True))
    alarm = _alarm(json.loads(row["alarm"])) if row["alarm"] else None
    values = {name: row[name] for name in ("day", "looked_at", "judged_at", "usual", "expected", "missing")}
    return Morning(**values, parties=own, alarm=alarm, of_rings=of_rings)


def _packed(one: Party) -> list[Any]:
    counts = (one.machines, one.expected, one.seen, one.sites, one.sites_missing)
    return [_number(one.boots_at), _number(one.opens_at), _number(one.heard_at), *counts, *one.rings]


def _party(boots: int, opens: int, heard: int, *rest: Any) -> Party:
    machines, expected, seen, sites, missing, *rings = rest
    return Party(_time(boots), _time(opens), machines, expected, seen, sites, missing, _time(heard), tuple(rings))


def _packed_alarm(alarm: Alarm | None) -> str:
    if alarm is None:
        return ""
    over = _number(alarm.over_at) if alarm.over_at else None
    return pack([_number(alarm.at), alarm.expected, alarm.missing, alarm.limit, over, alarm.over_by])


def _alarm(packed: list[Any]) -> Alarm:
    at, expected, missing, limit, over, over_by = packed
    return Alarm(_time(at), expected, missing, limit, None if over is None else _time(over), over_by)


def _number(at: datetime) -> int:
    return (at - EPOCH) // MICRO


def _time(number: int) -> datetime:
    return EPOCH + number * MICRO
