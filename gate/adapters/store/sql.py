"""The store on SQLite and PostgreSQL from the same code.

- SQLite: WAL, synchronous=FULL, foreign keys; a writing transaction takes the write lock at its start.
- PostgreSQL: READ COMMITTED; correctness rests on conditional statements and their row counts.
- A database that cannot be reached, is locked too long or has no room is ``Unavailable``, never a half-written act.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError

from gate.adapters.store.tx_facts import FactsTx
from gate.adapters.store.tx_people import PeopleTx
from gate.adapters.store.tx_retention import RetentionTx
from gate.adapters.store.tx_speakers import SpeakersTx
from gate.core.errors import OperatorError, Overtaken, Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MS = 10_000


COLLISIONS = ("40001", "40P01")  # PostgreSQL: serialization failure, deadlock detected


class SqlTx(SpeakersTx, FactsTx, PeopleTx, RetentionTx):
    """One transaction on a connection."""


class SqlStore:
    """A database by its SQLAlchemy URL. ``durable=False`` is for simulations only: commits are not forced to disk."""

    def __init__(self, url: str, *, durable: bool = True) -> None:
        self.url = url
        self._engine = _engine(url, durable)

    @contextmanager
    def write(self) -> Iterator[SqlTx]:
        """A transaction that may write; rolled back by any exception."""
        with _translated(), self._engine.connect().execution_options(gate_write=True) as connection, connection.begin():
            yield SqlTx(connection)
            _sound(connection)

    @contextmanager
    def read(self) -> Iterator[SqlTx]:
        """A transaction that only reads."""
        with _translated(), self._engine.connect() as connection, connection.begin():
            yield SqlTx(connection)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection that sees one moment for as long as it is open."""
        level = {} if self.url.startswith("sqlite") else {"isolation_level": "REPEATABLE READ"}
        with _translated(), self._engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection

    def upgrade(self) -> None:
        """Brings the schema up to the newest migration."""
        with _translated(), self._engine.connect() as connection:
            command.upgrade(alembic_config(connection), "head")
            connection.commit()

    def connection(self) -> Connection:
        """A bare connection, for migrations and their checks."""
        return self._engine.connect()

    def close(self) -> None:
        """Gives every connection back."""
        self._engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """Alembic's settings, built here: no ini file."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _sound(connection: Connection) -> None:
    """PostgreSQL takes the COMMIT of a transaction that has failed, undoes it, and says nothing."""
    if connection.dialect.name != "postgresql":
        return
    driver: Any = connection.connection.driver_connection
    if driver.info.transaction_status == TransactionStatus.INERROR:
        raise Unavailable("the transaction failed on the way")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as problem:
        if getattr(problem.orig, "sqlstate", "") in COLLISIONS:
            raise Overtaken("another transaction was in the way") from problem
        raise Unavailable(f"the database does not answer: {str(problem.orig)[:200]}") from problem
    except DBAPIError as problem:
        if problem.connection_invalidated:
            raise Unavailable("the database connection was lost") from problem
        if type(problem) is DatabaseError:  # SQLite's word for a file that is none of its own, or is torn
            raise OperatorError("bad_database", f"the database is not sound: {problem.orig}") from problem
        raise


def _engine(url: str, durable: bool) -> Engine:
    engine = create_engine(
        url, pool_pre_ping=not url.startswith("sqlite"), pool_size=10, max_overflow=30, hide_parameters=True
    )
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connected(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            for pragma in (
                f"busy_timeout={BUSY_MS}",
                "journal_mode=WAL",
                f"synchronous={'FULL' if durable else 'OFF'}",
                "foreign_keys=ON",
            ):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def begun(connection: Connection) -> None:
            writes = connection.get_execution_options().get("gate_write")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
