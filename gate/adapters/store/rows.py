"""What every part of a transaction shares: the connection, short words for statements, JSON in columns.

- Where many acts share one transaction, writes whose outcome nobody waits for are gathered and run at the end, each
  statement once for all its rows; sums of one row become one.
- What every transaction of a kind changes in the same row (the fleet's version) comes last, when all other rows are
  locked: so two of them wait for each other and never crosswise.
- Whatever reads or changes what is gathered runs it first. A write that must hit exactly one row and did not spoils
  the whole transaction, which is then run again act by act.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import SQLModel

from gate.adapters.store.prepared import Prepared, command


def table(model: type[SQLModel]) -> Table:
    """The table behind a row class."""
    found: Table = model.__table__  # type: ignore[attr-defined]
    return found


def pack(value: Any) -> str:
    """JSON for a text column; sets become sorted lists."""
    if isinstance(value, frozenset | set):
        value = sorted(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


ASIDE = frozenset({"machine_sessions", "machines.last_seen_at", "machines.habit", "events", "audit_head"})
"""What a statement inside a savepoint neither reads nor changes: it may stay gathered there."""


class Spoilt(Exception):
    """The transaction cannot be kept; its acts must be run again one by one."""


class Rows:
    """One connection inside a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._raw = connection
        self._depth = 0
        self.shared = False
        """Whether writes may be gathered: only where ``settle`` is sure to be called."""
        self._gathered: dict[Prepared, list[dict[str, Any]]] = {}
        self._sums: dict[Prepared, dict[tuple[Any, ...], tuple[dict[str, Any], dict[str, int]]]] = {}
        self._afterwards: dict[Hashable, Callable[[], None]] = {}
        self._last: dict[Hashable, Callable[[], None]] = {}
        self._exact: set[Prepared] = set()
        self._pending: set[str] = set()
        self.writes = 0
        """How many statements may have changed something: what an act did not begin need not be undone."""

    @property
    def connection(self) -> Connection:
        """For a restore, which knows tables only."""
        return self._connection

    @property
    def _connection(self) -> Connection:
        """For statements that are built as they are needed: what is gathered comes before them."""
        if self._pending:
            self.settle()
        return self._raw

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction that can be rolled back alone."""
        if not self._pending <= ASIDE:
            self.settle()
        self._depth += 1
        name = f"gate_{self._depth}"
        try:
            command(self._raw, f"SAVEPOINT {name}")
            try:
                yield
            except BaseException:
                command(self._raw, f"ROLLBACK TO SAVEPOINT {name}")
                raise
            finally:
                command(self._raw, f"RELEASE SAVEPOINT {name}")
        finally:
            self._depth -= 1

    def settle(self) -> None:
        """Runs what was gathered."""
        assert self._depth == 0, "what is gathered must not be undone with a savepoint"
        while self._gathered or self._sums or self._afterwards:
            gathered, self._gathered = self._gathered, {}
            sums, self._sums = self._sums, {}
            afterwards, self._afterwards = self._afterwards, {}
            self._pending = set()
            for statement, rows in gathered.items():
                if statement.many(self._raw, rows) != len(rows) and statement in self._exact:
                    raise Spoilt
            for statement, keys in sums.items():
                statement.many(self._raw, [key | more for key, more in keys.values()])
            for act in afterwards.values():
                act()

    def afterwards(self, key: Hashable, touches: str, act: Callable[[], None]) -> None:
        """Runs ``act`` once for all calls with this key, before anything reads the table that it ``touches`` and at
        the latest before the commit; at once where the transaction is not shared."""
        if not self.shared:
            act()
            return
        self._afterwards[key] = act
        self._pending.add(touches)

    def last(self, key: Hashable, act: Callable[[], None]) -> None:
        """Runs ``act`` once for all calls with this key, when everything else of the transaction has been done."""
        self.writes += 1
        self._last[key] = act

    def finish(self) -> None:
        """Runs what comes last; right before the commit."""
        while self._last:
            last, self._last = self._last, {}
            for act in last.values():
                act()

    def _before(self, touches: frozenset[str]) -> None:
        if self._pending and any(one in touches or one.partition(".")[0] in touches for one in self._pending):
            self.settle()

    def _later(self, statement: Prepared, *, exact: bool = False, **values: Any) -> bool:
        """Gathers a write; whether it changed one row, where that is known already. ``exact``: it must."""
        self.writes += 1
        if not self.shared:
            return statement.run(self._raw, values) == 1
        self._gathered.setdefault(statement, []).append(values)
        if exact:
            self._exact.add(statement)
        self._pending |= statement.touches
        return True

    def _sum(self, statement: Prepared, key: dict[str, Any], more: dict[str, int]) -> None:
        """Adds to columns of the row of ``key``."""
        self.writes += 1
        if not self.shared:
            statement.run(self._raw, key | more)
            return
        kept = self._sums.setdefault(statement, {}).setdefault(tuple(key.values()), (key, {}))[1]
        for name, number in more.items():
            kept[name] = kept.get(name, 0) + number
        self._pending |= statement.touches

    def _run(self, statement: Prepared, **values: Any) -> int:
        """How many rows were changed."""
        self._before(statement.touches)
        self.writes += 1
        return statement.run(self._raw, values)

    def _first(self, statement: Prepared, **values: Any) -> dict[str, Any] | None:
        self._before(statement.touches)
        return statement.first(self._raw, values)

    def _rows(self, statement: Prepared, **values: Any) -> list[dict[str, Any]]:
        self._before(statement.touches)
        return statement.rows(self._raw, values)

    def _one(self, of: Table, *where: ColumnElement[bool]) -> RowMapping | None:
        return self._connection.execute(select(of).where(*where)).mappings().first()

    def _all(self, statement: Any) -> Sequence[RowMapping]:
        return self._connection.execute(statement).mappings().all()

    def _insert(self, into: Table, **values: Any) -> None:
        self.writes += 1
        self._connection.execute(insert(into).values(**values))

    def _update(self, of: Table, where: Sequence[ColumnElement[bool]], **values: Any) -> int:
        """How many rows were changed."""
        self.writes += 1
        return self._connection.execute(update(of).where(*where).values(**values)).rowcount

    def _delete(self, of: Table, *where: ColumnElement[bool]) -> int:
        """How many rows are gone."""
        self.writes += 1
        return self._connection.execute(delete(of).where(*where)).rowcount

    def _upsert(self, into: Table, key: Mapping[str, Any], **values: Any) -> None:
        """One statement, so that two processes that bring the same new row are one after the other."""
        statement = self._insertion(into).values(**key, **values)
        self._connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))

    def _insert_new(self, into: Table, key: Mapping[str, Any], **values: Any) -> bool:
        """Whether the row was new; where there is one with this key, nothing is changed."""
        columns = [into.c[name] for name in key]
        statement = self._insertion(into).values(**key, **values).on_conflict_do_nothing(index_elements=list(key))
        return self._connection.execute(statement.returning(*columns)).first() is not None

    def _insertion(self, into: Table) -> Any:
        self.writes += 1
        dialect = sqlite if self._raw.dialect.name == "sqlite" else postgresql
        return dialect.insert(into)
