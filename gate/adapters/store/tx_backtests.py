"""Back-tests: one runs at a time, which a unique column sees to; every change is of one that still runs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from gate.adapters.store import tables
from gate.adapters.store.rows import Rows, pack, table
from gate.core.backtests import Backtest, BacktestState

TESTS = table(tables.BacktestRow)
RUNNING = BacktestState.RUNNING.value


class BacktestsTx(Rows):
    """See ``gate.ports.Tx``."""

    def begin_backtest(self, one: Backtest) -> bool:
        values = _values(one)
        return self._insert_new(TESTS, {"slot": 1}, **values)

    def beat_backtest(self, test_id: str, done: float, now: datetime) -> bool:
        return self._update(TESTS, [TESTS.c.id == test_id, TESTS.c.state == RUNNING], done=done, beat_at=now) == 1

    def end_backtest(self, ended: Backtest, beat_at: datetime | None = None) -> bool:
        where = [TESTS.c.id == ended.id, TESTS.c.state == RUNNING]
        if beat_at is not None:
            where.append(TESTS.c.beat_at == beat_at)
        return self._update(TESTS, where, slot=None, **_values(ended)) == 1

    def backtest(self, test_id: str) -> Backtest | None:
        row = self._one(TESTS, TESTS.c.id == test_id)
        return _test(row) if row else None

    def running_backtest(self) -> Backtest | None:
        row = self._one(TESTS, TESTS.c.slot == 1)
        return _test(row) if row else None

    def backtests(self, commit: str = "", limit: int = 100) -> list[Backtest]:
        found = select(TESTS).order_by(TESTS.c.asked_at.desc(), TESTS.c.id).limit(limit)
        return [_test(row) for row in self._all(found.where(TESTS.c.commit == commit) if commit else found)]

    def drop_backtests(self, keep: int) -> int:
        kept = select(TESTS.c.id).order_by(TESTS.c.asked_at.desc(), TESTS.c.id).limit(keep)
        return self._delete(TESTS, TESTS.c.id.not_in(kept), TESTS.c.slot.is_(None))


def _values(one: Backtest) -> dict[str, Any]:
    values = {name: getattr(one, name) for name in Backtest.__slots__}
    return {**values, "state": one.state.value, "found": "" if one.found is None else pack(one.found)}


def _test(row: RowMapping) -> Backtest:
    values = {name: row[name] for name in Backtest.__slots__}
    found = json.loads(row["found"]) if row["found"] else None
    return Backtest(**{**values, "state": BacktestState(row["state"]), "found": found})
