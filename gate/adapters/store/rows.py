"""What every part of a transaction shares: the connection, short words for statements, JSON in columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, NestedTransaction, Table, insert, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import SQLModel


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

    def savepoint(self) -> NestedTransaction:
        """A part of the transaction that can be rolled back alone."""
        return self._connection.begin_nested()

    def _one(self, of: Table, *where: ColumnElement[bool]) -> RowMapping | None:
        return self._connection.execute(select(of).where(*where)).mappings().first()

    def _all(self, statement: Any) -> Sequence[RowMapping]:
        return self._connection.execute(statement).mappings().all()

    def _insert(self, into: Table, **values: Any) -> None:
        self._connection.execute(insert(into).values(**values))

    def _update(self, of: Table, where: Sequence[ColumnElement[bool]], **values: Any) -> int:
        """How many rows were changed."""
        return self._connection.execute(update(of).where(*where).values(**values)).rowcount

    def _upsert(self, into: Table, key: Mapping[str, Any], **values: Any) -> None:
        where = [into.c[name] == value for name, value in key.items()]
        if self._update(into, where, **values) == 0:
            self._insert(into, **key, **values)
