"""What vendors are told, and what machines really run; every row is saved where it still is what was read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Table, and_, case, func, or_, select

from gate.adapters.store import tables
from gate.adapters.store.prepared import get
from gate.adapters.store.rows import Rows, table
from gate.adapters.store.tx_machines import MACHINES, SESSIONS, to_machine
from gate.adapters.store.tx_mirror import POINTERS
from gate.core.model import Machine, MachineStatus
from gate.ports import LeverTrouble, MoveDue, Observation, Pointer, VendorHold, VendorMove

HOLDS = table(tables.VendorHoldRow)
MOVES = table(tables.VendorMoveRow)
SEEN = table(tables.ObservationRow)
HOLD = get(HOLDS, "source", "ring")
OBSERVATION = get(SEEN, "source", "machine")
ACTIVE = MachineStatus.ACTIVE.value


class LeversTx(Rows):
    """See ``gate.ports.Tx``."""

    def add_pointer(self, pointer: Pointer) -> bool:
        values = asdict(pointer)
        return self._insert_new(POINTERS, {name: values.pop(name) for name in ("source", "holder")}, **values)

    def vendor_hold(self, source: str, ring: str) -> VendorHold | None:
        row = self._first(HOLD, source=source, ring=ring)
        return VendorHold(**row) if row else None

    def save_vendor_hold(self, after: VendorHold, before: VendorHold | None) -> bool:
        return self._kept(HOLDS, ("source", "ring"), after, before)

    def moves_due(self, source: str, now: datetime, limit: int = 100) -> list[MoveDue]:
        wanted: Any = case((MACHINES.c.status == ACTIVE, POINTERS.c.release), else_="").label("wanted")
        told = MOVES.c.machine.is_not(None)
        found = (
            select(MACHINES, wanted, *(column.label(f"told_{column.name}") for column in MOVES.c))
            .select_from(POINTERS.join(MACHINES, MACHINES.c.id == POINTERS.c.machine))
            .outerjoin(MOVES, and_(MOVES.c.source == POINTERS.c.source, MOVES.c.machine == POINTERS.c.machine))
            .where(
                POINTERS.c.source == source,
                or_(
                    and_(~told, wanted != ""),
                    and_(
                        told,
                        MOVES.c.try_at <= now,
                        or_(MOVES.c.release != wanted, and_(wanted != "", MOVES.c.ring != MACHINES.c.ring)),
                    ),
                ),
            )
            .order_by(MACHINES.c.ring, "wanted", MACHINES.c.id)
            .limit(limit)
        )
        return [_due(row) for row in self._all(found)]

    def save_vendor_move(self, after: VendorMove, before: VendorMove | None) -> bool:
        return self._kept(MOVES, ("source", "machine"), after, before)

    def lever_troubles(self) -> list[LeverTrouble]:
        holds = self._all(select(HOLDS).where(HOLDS.c.ok.is_(False)).order_by(HOLDS.c.source, HOLDS.c.ring))
        moves = self._all(
            select(MACHINES.c.ring, MOVES.c.source, func.max(MOVES.c.detail).label("detail"), func.count().label("all"))
            .select_from(MOVES.join(MACHINES, MACHINES.c.id == MOVES.c.machine))
            .where(MOVES.c.tries > 0)
            .group_by(MOVES.c.source, MACHINES.c.ring)
            .order_by(MOVES.c.source, MACHINES.c.ring)
        )
        found = [LeverTrouble(row["source"], row["ring"], row["detail"], 0) for row in holds]
        found += [LeverTrouble(row["source"], row["ring"], row["detail"], int(row["all"])) for row in moves]
        return sorted(found, key=lambda one: (one.source, one.ring, one.machines))

    def observation(self, source: str, machine: str) -> Observation | None:
        row = self._first(OBSERVATION, source=source, machine=machine)
        return Observation(**row) if row else None

    def save_observation(self, after: Observation, before: Observation | None) -> bool:
        return self._kept(SEEN, ("source", "machine"), after, before)

    def observations(
        self, standing: str = "", source: str = "", machine: str = "", limit: int = 100
    ) -> list[Observation]:
        found = (
            select(SEEN)
            .join(MACHINES, MACHINES.c.id == SEEN.c.machine)
            .where(MACHINES.c.status == ACTIVE)
            .order_by(SEEN.c.at.desc(), SEEN.c.source, SEEN.c.machine)
            .limit(limit)
        )
        for column, word in ((SEEN.c.standing, standing), (SEEN.c.source, source), (SEEN.c.machine, machine)):
            found = found.where(column == word) if word else found
        return [Observation(**row) for row in self._all(found)]

    def heard_since(self, since: datetime, after: str, limit: int) -> list[tuple[Machine, Mapping[str, str]]]:
        found = (
            select(MACHINES, SESSIONS.c.installed)
            .join(SESSIONS, SESSIONS.c.machine == MACHINES.c.id)
            .where(MACHINES.c.status == ACTIVE, MACHINES.c.last_seen_at >= since, MACHINES.c.id > after)
            .order_by(MACHINES.c.id)
            .limit(limit)
        )
        return [(to_machine(row), json.loads(row["installed"])) for row in self._all(found)]

    def _kept(self, of: Table, key: tuple[str, ...], after: Any, before: Any) -> bool:
        values = asdict(after)
        if before is None:
            return self._insert_new(of, {name: values.pop(name) for name in key}, **values)
        same = [of.c[name] == value for name, value in asdict(before).items()]
        return self._update(of, same, **values) == 1


def _due(row: Any) -> MoveDue:
    told = {name: row[f"told_{name}"] for name in VendorMove.__slots__}
    return MoveDue(to_machine(row), row["wanted"], VendorMove(**told) if told["machine"] is not None else None)
