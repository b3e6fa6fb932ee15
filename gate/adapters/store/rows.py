"""What every part of a transaction shares: the connection, short words for statements, JSON in columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update
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


class Rows:
    """One connection inside a transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._depth = 0
        self.writes = 0
        """How many statements may have changed something: what an act did not begin need not be undone."""

    @property
    def connection(self) -> Connection:
        """For a restore, which knows tables only."""
        return self._connection

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of the transaction that can be rolled back alone."""
        self._depth += 1
        name = f"gate_{self._depth}"
        try:
            command(self._connection, f"SAVEPOINT {name}")
            try:
                yield
            except BaseException:
                command(self._connection, f"ROLLBACK TO SAVEPOINT {name}")
                raise
            finally:
                command(self._connection, f"RELEASE SAVEPOINT {name}")
        finally:
            self._depth -= 1

    def _run(self, statement: Prepared, **values: Any) -> int:
        """How many rows were changed."""
        self.writes += 1
        return statement.run(self._connection, values)

    def _first(self, statement: Prepared, **values: Any) -> dict[str, Any] | None:
        return statement.first(self._connection, values)

    def _rows(self, statement: Prepared, **values: Any) -> list[dict[str, Any]]:
        return statement.rows(self._connection, values)

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
        where = [into.c[name] == value for name, value in key.items()]
        if self._update(into, where, **values) == 0:
            self._insert(into, **key, **values)
