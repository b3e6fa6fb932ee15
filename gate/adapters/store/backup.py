"""Backup and restore of a database, the same for SQLite and PostgreSQL: each table as JSON lines.

- A backup is one snapshot, taken while the gate runs; it may be restored into the other kind of database.
- A row is a JSON list in the order of the head line's columns; times are microseconds, bytes are base64.
- A restore goes into an empty schema of the same revision, in one transaction: all of it or nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Integer, LargeBinary, Table, func, insert, select, text
from sqlmodel import SQLModel

from gate.adapters.store import tables
from gate.adapters.store.sql import MIGRATIONS, SqlStore
from gate.core.errors import OperatorError

BATCH = 1000
Moment = tables.Moment
EPOCH, MICRO = tables.EPOCH, tables.MICRO


def revision(store: SqlStore) -> str:
    """The migration that the database is at; empty: none."""
    with store.connection() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def newest() -> str:
    """The migration that this version of gate wants."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head() or ""


def problems(store: SqlStore) -> list[str]:
    """What is wrong with the database itself; empty: nothing."""
    if revision(store) != newest():
        return [f"the schema is at {revision(store) or 'nothing'}, this gate wants {newest()}: gate db upgrade"]
    found = []
    with store.connection() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), SQLModel.metadata)
        found += [f"the schema differs: {difference}" for difference in differences]
        if connection.dialect.name == "sqlite":
            said = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check"))]
            found += [f"SQLite says: {line}" for line in said if line != "ok"]
            broken = connection.execute(text("PRAGMA foreign_key_check")).fetchall()
            found += [f"SQLite says: {len(broken)} rows point nowhere"] if broken else []
    return found


def dump(store: SqlStore, folder: Path) -> dict[str, int]:
    """Every table into ``folder/<table>.jsonl``, as of one moment; returns how many rows each has."""
    counts = {}
    with store.snapshot() as connection:
        for table in SQLModel.metadata.sorted_tables:
            with (folder / f"{table.name}.jsonl").open("w", encoding="utf-8") as file:
                counts[table.name] = _write(connection, table, file)
    return counts


def _write(connection: Connection, table: Table, file: IO[str]) -> int:
    file.write(json.dumps([column.name for column in table.columns]) + "\n")
    pack = [_packer(column) for column in table.columns]
    count = 0
    for row in connection.execution_options(stream_results=True).execute(select(table)):
        file.write(json.dumps([one(value) for one, value in zip(pack, row, strict=True)], ensure_ascii=True) + "\n")
        count += 1
    return count


def _packer(column: Any) -> Callable[[Any], Any]:
    if isinstance(column.type, Moment):
        return lambda value: None if value is None else (value - EPOCH) // MICRO
    if isinstance(column.type, LargeBinary):
        return lambda value: base64.b64encode(value).decode()
    return lambda value: value


def _unpacker(column: Any) -> Callable[[Any], Any]:
    if isinstance(column.type, Moment):
        return lambda value: None if value is None else EPOCH + value * MICRO
    if isinstance(column.type, LargeBinary):
        return base64.b64decode
    return lambda value: value


def load(store: SqlStore, folder: Path) -> dict[str, int]:
    """What ``dump`` wrote into an empty schema; returns how many rows each table has.

    Raises:
        OperatorError: the database is not empty, or a file is missing or another shape.
    """
    counts = {}
    with store.write() as tx:
        connection = tx.connection
        for table in SQLModel.metadata.sorted_tables:
            if table.name == "audit_head":
                connection.execute(table.delete())  # the first migration makes this one row
            if connection.execute(select(func.count()).select_from(table)).scalar_one():
                raise OperatorError("not_empty", f"{table.name} has rows already: restore into an empty database")
            counts[table.name] = _read(connection, table, folder / f"{table.name}.jsonl")
        if connection.dialect.name == "postgresql":
            for table in SQLModel.metadata.sorted_tables:
                _renew_sequence(connection, table)
    return counts


def _read(connection: Connection, table: Table, path: Path) -> int:
    if not path.is_file():
        raise OperatorError("bad_backup", f"the backup has no {path.name}")
    with path.open(encoding="utf-8") as file:
        names = json.loads(file.readline())
        if names != [column.name for column in table.columns]:
            raise OperatorError("bad_backup", f"{path.name} has other columns than this version's table")
        unpack = [_unpacker(column) for column in table.columns]
        count = 0
        for batch in _batches(file):
            rows = [
                dict(zip(names, (one(v) for one, v in zip(unpack, row, strict=True)), strict=True)) for row in batch
            ]
            connection.execute(insert(table), rows)
            count += len(rows)
    return count


def _batches(file: IO[str]) -> Iterator[list[list[Any]]]:
    while batch := [json.loads(line) for line in islice(file, BATCH)]:
        yield batch


def _renew_sequence(connection: Connection, table: Table) -> None:
    key = list(table.primary_key.columns)
    if len(key) != 1 or not isinstance(key[0].type, Integer) or table.autoincrement_column is None:
        return
    name = connection.execute(select(func.pg_get_serial_sequence(table.name, key[0].name))).scalar()
    most = connection.execute(select(func.max(key[0]))).scalar()
    if name and most is not None:
        connection.execute(select(func.setval(name, most)))
