"""Spans, what they add up to, and the machines that a rollout is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, and_, case, exists, func, or_, select, type_coerce
from sqlalchemy.dialects import postgresql

from gate.adapters.store import tables
from gate.adapters.store.prepared import Prepared, change, equal, given
from gate.adapters.store.rows import Rows, table
from gate.adapters.store.tables import EPOCH, MICRO
from gate.adapters.store.tx_machines import MACHINES, SITES, times_of
from gate.core.errors import Overtaken
from gate.core.evalues import Running
from gate.core.model import Action, ClaimState, MachineStatus
from gate.core.spans import EVERY_BOOT, Place, SpanRow, Sum
from gate.ports import Controls, Sight

SPANS = table(tables.SpanRow)
SUMS = table(tables.SumRow)
SIGHTS = table(tables.SightRow)
CLAIMS = table(tables.ClaimRow)
GAPS = table(tables.GapRow)
LOGS = ("log_1", "log_2", "log_3", "log_4")

_SPAN = postgresql.insert(SPANS).values(
    **{name: given(SPANS.c[name]) for name in ("rollout", "hour", "make", "boot")},
    exposed=given(SPANS.c.exposed, "more_tried"),
    failed=given(SPANS.c.failed, "more_failed"),
)
COUNT_SPAN = Prepared(
    _SPAN.on_conflict_do_update(
        index_elements=["rollout", "hour", "make", "boot"],
        set_={name: SPANS.c[name] + _SPAN.excluded[name] for name in ("exposed", "failed")},
    ),
    touches=["spans"],
)
_SUM_NAMES = (*LOGS, "exposed", "failed")
_SUM = postgresql.insert(SUMS).values(
    **{name: given(SUMS.c[name]) for name in ("rollout", "make", "boot", *_SUM_NAMES)},
)
ADD_SUM = Prepared(
    _SUM.on_conflict_do_update(
        index_elements=["rollout", "make", "boot"],
        set_={name: SUMS.c[name] + _SUM.excluded[name] for name in _SUM_NAMES},
    ),
    touches=["sums"],
)
_STALE = or_(SPANS.c.folded_exposed != SPANS.c.exposed, SPANS.c.folded_failed != SPANS.c.failed)
_OWN = SPANS.alias("own")
SPANS_OF = select(_OWN).where(
    _OWN.c.rollout == given(_OWN.c.rollout),
    or_(
        _OWN.c.closed.is_(False),
        exists().where(
            SPANS.c.rollout == _OWN.c.rollout,
            SPANS.c.hour == _OWN.c.hour,
            SPANS.c.make == _OWN.c.make,
            SPANS.c.closed.is_(True),
            _STALE,
        ),
    ),
)
LIVE_SPANS = Prepared(SPANS_OF, touches=["spans"])
LOOK_DUE = Prepared(
    select(SPANS.c.hour)
    .where(
        *equal(SPANS, "rollout"),
        SPANS.c.boot == EVERY_BOOT,
        SPANS.c.closed.is_(False),
        SPANS.c.failed > SPANS.c.failed_then,
        or_(SPANS.c.looked_at.is_(None), SPANS.c.looked_at <= given(SPANS.c.looked_at, "before")),
    )
    .limit(1)
)
_SPAN_KEY = equal(SPANS, "rollout", "hour", "make", "boot")
LOOKED_AT = change(SPANS, _SPAN_KEY, "controls", "controls_failed", "looked_at", "failed_then")
CLOSE = change(
    SPANS,
    [
        *_SPAN_KEY,
        SPANS.c.closed == given(SPANS.c.closed, "was_closed"),
        SPANS.c.folded_exposed == given(SPANS.c.folded_exposed, "was_exposed"),
        SPANS.c.folded_failed == given(SPANS.c.folded_failed, "was_failed"),
    ],
    "closed",
    "folded_exposed",
    "folded_failed",
)
_GAP_END: Any = select(func.max(GAPS.c.end_at, type_=tables.Moment())).scalar_subquery().label("gap_end_at")
_KEPT = ("looked_at", "controls", "silent", "unclear_since", "asked_at")
_GIVEN = select(given(SIGHTS.c.rollout).label("rollout")).subquery("wanted")
SIGHT_OF = select(*(SIGHTS.c[name] for name in _KEPT), _GAP_END).select_from(
    _GIVEN.outerjoin(SIGHTS, SIGHTS.c.rollout == _GIVEN.c.rollout)
)
SIGHT = Prepared(SIGHT_OF, touches=["sights", "gaps"])
_NOT_EXPOSED = (ClaimState.GRANTED.value, ClaimState.EXPIRED.value)
_BEFORE = -1


def to_span(row: Any) -> SpanRow:
    """Row -> core."""
    return SpanRow(**{**{name: row[name] for name in SpanRow.__slots__}, "closed": bool(row["closed"])})


def to_sum(row: Any) -> Sum:
    """Row -> core."""
    return Sum(Running((row["log_1"], row["log_2"], row["log_3"], row["log_4"])), row["exposed"], row["failed"])


def to_sight(row: Any) -> Sight:
    """Row -> port value; a rollout that nobody has looked at yet has nulls."""
    return Sight(**{**row, "controls": row["controls"] or 0, "silent": row["silent"] or 0})


class SpansTx(Rows):
    """See ``gate.ports.Tx``."""

    def spans(self, rollout_id: str) -> list[SpanRow]:
        return [to_span(row) for row in self._rows(LIVE_SPANS, rollout=rollout_id)]

    def look_due(self, rollout_id: str, before: datetime) -> bool:
        return bool(self._rows(LOOK_DUE, rollout=rollout_id, before=before))

    def looked(self, rollout_id: str, row: SpanRow) -> None:
        self._run(
            LOOKED_AT,
            rollout=rollout_id,
            hour=row.hour,
            make=row.make,
            boot=row.boot,
            to_controls=row.controls,
            to_controls_failed=row.controls_failed,
            to_looked_at=row.looked_at,
            to_failed_then=row.failed_then,
        )

    def fold(self, rollout_id: str, rows: Sequence[SpanRow], more: Mapping[Place, Sum]) -> None:
        for row in rows:
            changed = self._run(
                CLOSE,
                rollout=rollout_id,
                hour=row.hour,
                make=row.make,
                boot=row.boot,
                was_closed=row.closed,
                was_exposed=row.folded_exposed,
                was_failed=row.folded_failed,
                to_closed=True,
                to_folded_exposed=row.exposed,
                to_folded_failed=row.failed,
            )
            if changed != 1:
                raise Overtaken
        for (make, boot), one in sorted(more.items()):
            logs = dict(zip(LOGS, one.running.logs, strict=True))
            self._run(ADD_SUM, rollout=rollout_id, make=make, boot=boot, **logs, exposed=one.exposed, failed=one.failed)

    def drop_span(self, rollout_id: str, hour: datetime, make: str) -> None:
        self._delete(SPANS, SPANS.c.rollout == rollout_id, SPANS.c.hour == hour, SPANS.c.make == make)

    def sight(self, rollout_id: str) -> Sight:
        row = self._first(SIGHT, rollout=rollout_id)
        assert row is not None
        return to_sight(row)

    def save_sight(self, rollout_id: str, sight: Sight) -> None:
        self._upsert(SIGHTS, {"rollout": rollout_id}, **{name: getattr(sight, name) for name in _KEPT})

    def controls(self, rollout_id: str, since: datetime, step: timedelta) -> list[Controls]:
        """One statement: active machines by the kind of their site, by make and by when they were last heard."""
        exposed = exists().where(
            CLAIMS.c.rollout == rollout_id,
            CLAIMS.c.site == SITES.c.id,
            CLAIMS.c.state.not_in(_NOT_EXPOSED),
            CLAIMS.c.action != Action.RECALL.value,
        )
        sites = select(SITES.c.id, SITES.c.hours, SITES.c.land, SITES.c.always_on, SITES.c.times).where(~exposed)
        free = sites.subquery("free")
        heard = type_coerce(MACHINES.c.last_seen_at, BigInteger)
        began, width = (since - EPOCH) // MICRO, step // MICRO
        steps = case((heard < began, _BEFORE), else_=(heard - began) // width).label("steps")
        down = MACHINES.c.down_at.is_not(None).label("down")
        kind = (free.c.hours, free.c.land, free.c.always_on, free.c.times, MACHINES.c.make, steps, down)
        found = (
            select(*kind, func.count().label("machines"))
            .select_from(MACHINES.join(free, free.c.id == MACHINES.c.site))
            .where(
                and_(
                    MACHINES.c.status == MachineStatus.ACTIVE.value,
                    MACHINES.c.claim.is_(None),
                    MACHINES.c.last_seen_at.is_not(None),
                    MACHINES.c.accepted_at <= since,
                )
            )
            .group_by(*kind)
        )
        return [
            Controls(
                hours=row["hours"],
                land=row["land"],
                always_on=bool(row["always_on"]),
                times=times_of(row["times"]),
                make=row["make"],
                heard_at=None if row["steps"] == _BEFORE else since + row["steps"] * step,
                down=bool(row["down"]),
                machines=row["machines"],
            )
            for row in self._all(found)
        ]
