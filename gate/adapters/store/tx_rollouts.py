"""Releases, rollouts, their rings, strata and budgets."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.exc import IntegrityError

from gate.adapters.store import tables
from gate.adapters.store.prepared import Prepared, change, equal, get, given
from gate.adapters.store.rows import Rows, pack, table
from gate.core import evalues
from gate.core.claims import LEFT_BEHIND
from gate.core.evalues import Span
from gate.core.model import FLEET, Artifact, Budget, Hold, Release, RingState, Rollout, RolloutState, Stratum, Trust
from gate.ports import Ladder, Standing

RELEASES = table(tables.ReleaseRow)
CURSORS = table(tables.CursorRow)
ROLLOUTS = table(tables.RolloutRow)
RINGS = table(tables.RingRow)
STRATA = table(tables.StratumRow)
BUDGETS = table(tables.BudgetRow)
BOOTS = table(tables.BootRow)

HOLDS = table(tables.HoldRow)
HOLDING = Prepared(select(HOLDS).where(HOLDS.c.lifted_at.is_(None), HOLDS.c.until > given(HOLDS.c.until, "now")))
KNOWN_AT_ONCE = 500
_LISTED = select(*(column for column in RELEASES.columns if column.name != "manifest"))
_NOT_RECALLED = or_(ROLLOUTS.c.state != RolloutState.RETIRED.value, ROLLOUTS.c.halted_at.is_(None))
GOOD = (RolloutState.DONE.value, RolloutState.SUPERSEDED.value, RolloutState.RETIRED.value)

RELEASE = get(RELEASES, "id")
ROLLOUT = get(ROLLOUTS, "id")
ROLLOUT_OF = Prepared(select(ROLLOUTS).where(*equal(ROLLOUTS, "release")).order_by(ROLLOUTS.c.number.desc()).limit(1))
RINGS_OF = Prepared(select(RINGS).where(*equal(RINGS, "rollout")).order_by(RINGS.c.position))
STRATA_OF = Prepared(select(STRATA).where(*equal(STRATA, "rollout")).order_by(STRATA.c.ring, STRATA.c.make))
STRATUM = get(STRATA, "rollout", "ring", "make")
BUDGETS_OF = get(BUDGETS, "rollout")
_OF_MAKE, _OF_FLEET = BUDGETS.alias("of_make"), BUDGETS.alias("of_fleet")
_STANDING = (("ring", RINGS), ("stratum", STRATA), ("make", _OF_MAKE), ("fleet", _OF_FLEET))
STANDING = Prepared(
    select(
        *(column.label(f"{part}_{column.name}") for part, of in _STANDING for column in of.columns),
    )
    .select_from(
        ROLLOUTS.outerjoin(RINGS, and_(RINGS.c.rollout == ROLLOUTS.c.id, *equal(RINGS, "ring")))
        .outerjoin(STRATA, and_(STRATA.c.rollout == ROLLOUTS.c.id, *equal(STRATA, "ring", "make")))
        .outerjoin(_OF_MAKE, and_(_OF_MAKE.c.rollout == ROLLOUTS.c.id, _OF_MAKE.c.make == given(STRATA.c.make)))
        .outerjoin(_OF_FLEET, and_(_OF_FLEET.c.rollout == ROLLOUTS.c.id, _OF_FLEET.c.make == FLEET))
    )
    .where(*equal(ROLLOUTS, "id")),
    touches=["rollout_rings", "strata", "budgets"],
)
STRATA_TIMES = change(STRATA, equal(STRATA, "rollout", "ring", "make"), "met_at", "soak_until")
_NEW = ROLLOUTS.alias("new")
FLYING_BEFORE = Prepared(
    select(BUDGETS.c.make, func.sum(BUDGETS.c.in_flight).label("flying"))
    .join(ROLLOUTS, ROLLOUTS.c.id == BUDGETS.c.rollout)
    .join(_NEW, and_(_NEW.c.source == ROLLOUTS.c.source, _NEW.c.id != ROLLOUTS.c.id))
    .where(
        _NEW.c.id == given(ROLLOUTS.c.id),
        or_(*(ROLLOUTS.c.state == one.value for one in sorted(LEFT_BEHIND))),
        BUDGETS.c.in_flight > 0,
    )
    .group_by(BUDGETS.c.make),
    touches=["budgets"],
)
SET_LIMIT = change(BUDGETS, equal(BUDGETS, "rollout", "make"), "allowed", "stopped", "extended", "extend_to")

_SHUT = or_(
    RINGS.c.opened_at.is_(None),
    exists().where(STRATA.c.rollout == RINGS.c.rollout, STRATA.c.ring == RINGS.c.ring, ~STRATA.c.open),
)
"""The ring is not open, or not for all of its makes."""

_EXPLAINED = (
    select(func.coalesce(func.sum(STRATA.c.explained), 0)).where(STRATA.c.rollout == ROLLOUTS.c.id).scalar_subquery()
)


def to_rollout(row: Any) -> Rollout:
    """Row -> core."""
    values = {name: row[name] for name in Rollout.__slots__}
    return Rollout(**{**values, "state": RolloutState(row["state"])})


def to_release(row: Any) -> Release:
    """Row -> core."""
    return Release(
        id=row["id"],
        source=row["source"],
        version=row["version"],
        kind=row["kind"],
        boot_critical=bool(row["boot_critical"]),
        counter=row["counter"],
        artifacts=tuple(Artifact(**artifact) for artifact in json.loads(row["artifacts"])),
        trust=Trust(row["trust"]),
        first_seen_at=row["first_seen_at"],
    )


def to_stratum(row: Any) -> Stratum:
    """Row -> core."""
    return Stratum(**{**row, "open": bool(row["open"])})


def to_hold(row: Any) -> Hold:
    """Row -> core."""
    values = {name: row[name] for name in Hold.__slots__}
    return Hold(**{**values, "pick": {key: tuple(any_of) for key, any_of in json.loads(row["pick"]).items()}})


def to_budget(row: Any) -> Budget:
    """Row -> core."""
    return Budget(
        row["rollout"],
        row["make"],
        row["in_flight"],
        row["allowed"],
        row["healthy"],
        row["failed"],
        bool(row["stopped"]),
        row["tried"],
        row["tried_failed"],
        row["extended"],
        row["extend_to"],
    )


class RolloutsTx(Rows):
    """See ``gate.ports.Tx``."""

    def add_release(self, release: Release, manifest: bytes) -> bool:
        try:
            with self.savepoint():
                self._insert(
                    RELEASES,
                    id=release.id,
                    source=release.source,
                    version=release.version,
                    kind=release.kind,
                    boot_critical=release.boot_critical,
                    counter=release.counter,
                    artifacts=pack([asdict(artifact) for artifact in release.artifacts]),
                    trust=release.trust.value,
                    first_seen_at=release.first_seen_at,
                    manifest=manifest,
                )
        except IntegrityError:
            return False
        return True

    def release(self, release_id: str) -> Release | None:
        row = self._first(RELEASE, id=release_id)
        return to_release(row) if row else None

    def release_by_version(self, source: str, version: str) -> Release | None:
        row = self._one(RELEASES, RELEASES.c.source == source, RELEASES.c.version == version)
        return to_release(row) if row else None

    def releases(self, source: str, limit: int) -> list[Release]:
        newest = _LISTED.where(RELEASES.c.source == source).order_by(RELEASES.c.counter.desc()).limit(limit)
        return [to_release(row) for row in self._connection.execute(newest).mappings()]

    def releases_by_version(self, source: str, versions: Sequence[str]) -> Mapping[str, Release]:
        found = dict[str, Release]()
        for start in range(0, len(versions), KNOWN_AT_ONCE):
            some = RELEASES.c.version.in_(versions[start : start + KNOWN_AT_ONCE])
            rows = self._all(_LISTED.where(RELEASES.c.source == source, some))
            found |= {row["version"]: to_release(row) for row in rows}
        return found

    def manifest(self, release_id: str) -> bytes | None:
        found = self._connection.execute(select(RELEASES.c.manifest).where(RELEASES.c.id == release_id)).scalar()
        return bytes(found) if found is not None else None

    def next_counter(self, source: str) -> int:
        newest = select(func.max(RELEASES.c.counter)).where(RELEASES.c.source == source)
        return int(self._connection.execute(newest).scalar() or 0) + 1

    def cursor(self, source: str) -> str:
        row = self._one(CURSORS, CURSORS.c.source == source)
        return str(row["cursor"]) if row else ""

    def save_cursor(self, source: str, cursor: str) -> None:
        self._upsert(CURSORS, {"source": source}, cursor=cursor)

    def add_rollout(self, rollout: Rollout, rings: Sequence[RingState], budgets: Sequence[Budget]) -> None:
        self._insert(ROLLOUTS, **{**asdict(rollout), "state": rollout.state.value}, claims=0)
        self._add_places(rings, budgets)
        for number in range(1, evalues.BOOTS + 1):
            self._insert(BOOTS, rollout=rollout.id, boot=number)

    def begin_rollout(self, rollout: Rollout, rings: Sequence[RingState], budgets: Sequence[Budget]) -> bool:
        if not self.save_rollout(rollout):
            return False
        for of in (STRATA, RINGS, BUDGETS):
            self._delete(of, of.c.rollout == rollout.id)
        self._add_places(rings, budgets)
        return True

    def _add_places(self, rings: Sequence[RingState], budgets: Sequence[Budget]) -> None:
        for ring in rings:
            self._insert(RINGS, **asdict(ring))
        for budget in budgets:
            values = asdict(budget)
            self._insert(BUDGETS, allowed=values.pop("limit"), **values)

    def rollout(self, rollout_id: str) -> Rollout | None:
        row = self._first(ROLLOUT, id=rollout_id)
        return to_rollout(row) if row else None

    def rollouts(
        self, states: Sequence[RolloutState] = (), source: str = "", limit: int = 200, *, opened: bool = False
    ) -> list[Rollout]:
        found = select(ROLLOUTS).order_by(ROLLOUTS.c.number.desc()).limit(limit)
        if states:
            found = found.where(ROLLOUTS.c.state.in_([state.value for state in states]))
        if source:
            found = found.where(ROLLOUTS.c.source == source)
        if opened:
            found = found.where(ROLLOUTS.c.reached >= 0)
        return [to_rollout(row) for row in self._all(found)]

    def save_rollout(self, rollout: Rollout) -> bool:
        values = {**asdict(rollout), "state": rollout.state.value}
        where = [ROLLOUTS.c.id == values.pop("id"), ROLLOUTS.c.version == rollout.version - 1]
        return self._update(ROLLOUTS, where, **values) == 1

    def rings(self, rollout_id: str) -> list[RingState]:
        found = self._rows(RINGS_OF, rollout=rollout_id)
        return [RingState(**row) for row in found]

    def strata(self, rollout_id: str) -> list[Stratum]:
        return [to_stratum(row) for row in self._rows(STRATA_OF, rollout=rollout_id)]

    def ladders(self, rollouts: Sequence[Rollout]) -> Mapping[str, Ladder]:
        ids = [one.id for one in rollouts]
        wanted = select(RELEASES.c.id, RELEASES.c.version).where(RELEASES.c.id.in_([one.release for one in rollouts]))
        versions = {row["id"]: str(row["version"]) for row in self._all(wanted)}
        rings: dict[str, list[RingState]] = defaultdict(list)
        for row in self._all(select(RINGS).where(RINGS.c.rollout.in_(ids)).order_by(RINGS.c.position)):
            rings[row["rollout"]].append(RingState(**row))
        strata: dict[str, list[Stratum]] = defaultdict(list)
        for row in self._all(select(STRATA).where(STRATA.c.rollout.in_(ids))):
            strata[row["rollout"]].append(to_stratum(row))
        return {one.id: Ladder(versions.get(one.release, ""), rings[one.id], strata[one.id]) for one in rollouts}

    def standing(self, rollout_id: str, ring: str, make: str) -> Standing:
        """Ring, stratum and budgets of one place: one statement, however large the rollout."""
        row = self._first(STANDING, id=rollout_id, ring=ring, make=make)
        if row is None:
            return Standing(None, None, None, None)
        parts: dict[str, Any] = {}
        for part, of in _STANDING:
            values = {column.name: row[f"{part}_{column.name}"] for column in of.columns}
            parts[part] = values if values["rollout"] is not None else None
        stratum = parts["stratum"]
        return Standing(
            ring=RingState(**parts["ring"]) if parts["ring"] else None,
            stratum=to_stratum(stratum) if stratum else None,
            make=to_budget(parts["make"]) if parts["make"] else None,
            fleet=to_budget(parts["fleet"]) if parts["fleet"] else None,
        )

    def rollout_of(self, release_id: str) -> Rollout | None:
        row = self._first(ROLLOUT_OF, release=release_id)
        return to_rollout(row) if row else None

    def done_before(self, rollout_id: str, limit: int = 20) -> list[Rollout]:
        own = ROLLOUTS.alias("own")
        found = (
            select(ROLLOUTS)
            .join(own, and_(own.c.source == ROLLOUTS.c.source, own.c.number > ROLLOUTS.c.number))
            .where(own.c.id == rollout_id, ROLLOUTS.c.done_at.is_not(None), ROLLOUTS.c.state.in_(GOOD), _NOT_RECALLED)
            .order_by(ROLLOUTS.c.number.desc())
            .limit(limit)
        )
        return [to_rollout(row) for row in self._all(found)]

    def add_hold(self, hold: Hold) -> None:
        pick = pack({key: list(values) for key, values in hold.pick.items()})
        self._insert(HOLDS, **{**{name: getattr(hold, name) for name in Hold.__slots__}, "pick": pick})

    def hold(self, hold_id: str) -> Hold | None:
        row = self._one(HOLDS, HOLDS.c.id == hold_id)
        return to_hold(row) if row else None

    def holds(self, now: datetime) -> list[Hold]:
        return [to_hold(row) for row in self._rows(HOLDING, now=now)]

    def lift_hold(self, hold_id: str, at: datetime) -> bool:
        return self._update(HOLDS, [HOLDS.c.id == hold_id, HOLDS.c.lifted_at.is_(None)], lifted_at=at) == 1

    def budgets(self, rollout_id: str) -> list[Budget]:
        return [to_budget(row) for row in self._rows(BUDGETS_OF, rollout=rollout_id)]

    def open_ring(self, ring: RingState, strata: Sequence[Stratum], *, first_batch: int) -> None:
        where = [RINGS.c.rollout == ring.rollout, RINGS.c.ring == ring.ring]
        self._update(RINGS, where, opened_at=ring.opened_at, members=ring.members, cap=ring.cap)
        known = {row.make for row in self.strata(ring.rollout) if row.ring == ring.ring}
        budgets = {row.make for row in self.budgets(ring.rollout)}
        for stratum in strata:
            if stratum.make not in known:
                self._insert(STRATA, **asdict(stratum))
            elif stratum.open:
                self._update(STRATA, self._key(stratum), open=True, opened_at=stratum.opened_at)
            if stratum.make not in budgets:
                self._insert(BUDGETS, rollout=ring.rollout, make=stratum.make, in_flight=0, allowed=first_batch)

    def ring_ready(self, rollout_id: str, ring: str, at: datetime) -> bool:
        mine = [RINGS.c.rollout == rollout_id, RINGS.c.ring == ring, RINGS.c.ready_at.is_(None)]
        return self._update(RINGS, mine, ready_at=at) == 1

    def waive_ring(self, rollout_id: str, ring: str, at: datetime) -> bool:
        mine = [RINGS.c.rollout == rollout_id, RINGS.c.ring == ring, RINGS.c.waived_at.is_(None)]
        return self._update(RINGS, [*mine, _SHUT], waived_at=at) == 1

    def void_waivers(self, rollout_id: str) -> list[str]:
        mine = [RINGS.c.rollout == rollout_id, RINGS.c.waived_at.is_not(None), _SHUT]
        found = [str(row["ring"]) for row in self._all(select(RINGS.c.ring).where(*mine).order_by(RINGS.c.position))]
        if found:
            self._update(RINGS, mine, waived_at=None)
        return found

    @staticmethod
    def _key(stratum: Stratum) -> list[Any]:
        return [STRATA.c.rollout == stratum.rollout, STRATA.c.ring == stratum.ring, STRATA.c.make == stratum.make]

    def save_strata_times(self, strata: Sequence[Stratum]) -> None:
        if not strata:
            return
        self.writes += 1
        rows = [
            {"rollout": one.rollout, "ring": one.ring, "make": one.make}
            | {"to_met_at": one.met_at, "to_soak_until": one.soak_until}
            for one in strata
        ]
        STRATA_TIMES.many(self._connection, rows)

    def in_flight_before(self, rollout_id: str) -> dict[str, int]:
        return {row["make"]: int(row["flying"]) for row in self._rows(FLYING_BEFORE, id=rollout_id)}

    def set_limits(self, budgets: Sequence[Budget]) -> None:
        for one in budgets:
            self._run(
                SET_LIMIT,
                rollout=one.rollout,
                make=one.make,
                to_allowed=one.limit,
                to_stopped=one.stopped,
                to_extended=one.extended,
                to_extend_to=one.extend_to,
            )

    def past_trials(self, limit: int) -> Span:
        found = (
            select(BUDGETS.c.tried, BUDGETS.c.tried_failed, _EXPLAINED.label("explained"))
            .join(ROLLOUTS, ROLLOUTS.c.id == BUDGETS.c.rollout)
            .where(BUDGETS.c.make == FLEET, ROLLOUTS.c.state.in_(GOOD), ROLLOUTS.c.halted_at.is_(None))
            .order_by(ROLLOUTS.c.number.desc())
            .limit(limit)
        )
        rows = self._all(found)
        explained = sum(int(row["explained"]) for row in rows)
        return Span(sum(row["tried"] for row in rows) + explained, sum(row["tried_failed"] for row in rows) + explained)
