"""Statements of the hot paths: built and compiled once, then handed to the driver as they are.

- Building and looking up a Core statement costs three times what SQLite needs to run it; here that is paid once.
- ``together`` sends several statements to PostgreSQL in one round trip; SQLite has none to save.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Boolean, Connection, Select, Table, TypeDecorator, bindparam, insert, select, update
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.util import find_tables

Processor = Callable[[Any], Any]


@contextmanager
def _cursor(connection: Connection, text: str) -> Iterator[Any]:
    """The driver's own cursor inside the transaction; its errors are SQLAlchemy's, as everywhere else."""
    driver: Any = connection.dialect.loaded_dbapi
    cursor = connection.connection.cursor()
    try:
        yield cursor
    except driver.Error as problem:
        raise DBAPIError.instance(text, None, problem, driver.Error, dialect=connection.dialect) from problem
    finally:
        cursor.close()


def command(connection: Connection, text: str) -> None:
    """A statement without parameters or rows."""
    with _cursor(connection, text) as cursor:
        cursor.execute(text)


class Prepared:
    """One statement; its ``bindparam`` names are the keywords of ``run``, ``first`` and ``rows``.

    ``touches`` names the tables that it reads or changes, or single columns as ``table.column`` where others of the
    same rows may wait in a queue meanwhile."""

    def __init__(self, statement: Select[Any] | UpdateBase, touches: Iterable[str] = ()) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}
        found = find_tables(statement, check_columns=True, include_crud=True, include_selects=True)
        self.touches = frozenset(touches) or frozenset(str(one.description) for one in found)

    def run(self, connection: Connection, values: dict[str, Any]) -> int:
        """How many rows were changed."""
        compiled = self._on(connection)
        with _cursor(connection, compiled.text) as cursor:
            cursor.execute(compiled.text, compiled.bound(values))
            return int(cursor.rowcount)

    def count(self, connection: Connection, values: dict[str, Any]) -> int:
        """How many rows were changed, or found."""
        if isinstance(self._statement, Select):
            return len(self.rows(connection, values))
        return self.run(connection, values)

    def rows(self, connection: Connection, values: dict[str, Any]) -> list[dict[str, Any]]:
        """Every row, by column name."""
        compiled = self._on(connection)
        with _cursor(connection, compiled.text) as cursor:
            cursor.execute(compiled.text, compiled.bound(values))
            return [compiled.row(row) for row in cursor.fetchall()]

    def first(self, connection: Connection, values: dict[str, Any]) -> dict[str, Any] | None:
        """The first row."""
        compiled = self._on(connection)
        with _cursor(connection, compiled.text) as cursor:
            cursor.execute(compiled.text, compiled.bound(values))
            row = cursor.fetchone()
        return None if row is None else compiled.row(row)

    def many(self, connection: Connection, rows: list[dict[str, Any]]) -> int:
        """The statement once for each of ``rows``; how many rows were changed in all."""
        compiled = self._on(connection)
        with _cursor(connection, compiled.text) as cursor:
            cursor.executemany(compiled.text, [compiled.bound(row) for row in rows])
            return int(cursor.rowcount)

    def bound(self, connection: Connection, values: dict[str, Any]) -> tuple[str, Any]:
        """Text and parameters for this connection's driver."""
        compiled = self._on(connection)
        return compiled.text, compiled.bound(values)

    def _on(self, connection: Connection) -> _Compiled:
        name = connection.dialect.name
        found = self._compiled.get(name)
        if found is None:
            found = self._compiled[name] = _Compiled(self._statement, connection.dialect)
        return found


def together(connection: Connection, statements: Sequence[tuple[Prepared, dict[str, Any]]]) -> list[int]:
    """How many rows each of them changed or found; PostgreSQL gets all of them in one round trip."""
    cursors = []
    driver: Any = connection.connection.driver_connection
    with _cursor(connection, "several statements"), driver.pipeline():
        for statement, values in statements:
            cursor = driver.cursor()
            cursors.append(cursor)
            cursor.execute(*statement.bound(connection, values))
    counted = [int(cursor.rowcount) for cursor in cursors]
    for cursor in cursors:
        cursor.close()
    return counted


class _Compiled:
    """A statement's text for one driver, with what turns values into the driver's and back."""

    def __init__(self, statement: Select[Any] | UpdateBase, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.text: str = str(compiled)
        self._positions: list[str] | None = compiled.positiontup
        self._fixed: dict[str, Any] = {}
        self._given: list[tuple[str, Processor | None]] = []
        for name, bind in compiled.binds.items():
            process = bind.type.dialect_impl(dialect).bind_processor(dialect)
            if bind.required:
                self._given.append((name, process))
            else:
                value = bind.effective_value
                self._fixed[name] = process(value) if process else value
        for column in compiled.insert_prefetch:
            assert column.default.is_scalar, "a default that the driver cannot be given once"
            process = column.type.dialect_impl(dialect).bind_processor(dialect)
            self._fixed[column.key] = process(column.default.arg) if process else column.default.arg
        self._columns: list[tuple[str, Any]] = []
        if isinstance(statement, Select):
            for column in statement.selected_columns:
                ours = isinstance(column.type, Boolean | TypeDecorator)  # the drivers themselves know all other types
                process = column.type.dialect_impl(dialect).result_processor(dialect, None) if ours else None
                self._columns.append((str(column.key), process))

    def bound(self, values: dict[str, Any]) -> Any:
        """The driver's parameters."""
        found = dict(self._fixed)
        for name, process in self._given:
            value = values[name]
            found[name] = process(value) if process is not None else value
        return found if self._positions is None else [found[name] for name in self._positions]

    def row(self, row: Any) -> dict[str, Any]:
        """A row by column name."""
        return {
            name: value if process is None or value is None else process(value)
            for (name, process), value in zip(self._columns, row, strict=True)
        }


def given(column: Any, name: str = "") -> BindParameter[Any]:
    """A value of a column's type that comes with the call, under the column's name or another."""
    return bindparam(name or column.key, type_=column.type, required=True)


def equal(of: Table, *names: str) -> list[ColumnElement[bool]]:
    """``column = :column`` for each name."""
    return [of.c[name] == given(of.c[name]) for name in names]


def get(of: Table, *names: str) -> Prepared:
    """Rows of a table by the equality of these columns."""
    return Prepared(select(of).where(*equal(of, *names)))


def add(into: Table, *names: str) -> Prepared:
    """A new row with these columns (all of them when none is named)."""
    wanted = names or tuple(column.name for column in into.columns)
    return Prepared(insert(into).values({name: given(into.c[name]) for name in wanted}))


def change(
    of: Table, where: list[ColumnElement[bool]], *names: str, touches: Iterable[str] = (), **sums: Any
) -> Prepared:
    """Sets ``names`` to ``:to_<name>`` and each of ``sums`` to its expression, where all of ``where`` holds."""
    values: dict[str, Any] = {name: given(of.c[name], f"to_{name}") for name in names}
    return Prepared(update(of).where(*where).values(values | sums), touches)
