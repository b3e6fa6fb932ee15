"""The store on SQLite and PostgreSQL from the same code.

- SQLite: WAL, synchronous=FULL, foreign keys; a writing transaction takes the write lock at its start, in its turn.
- PostgreSQL: READ COMMITTED; correctness rests on conditional statements and their row counts.
- A database that cannot be reached, is locked too long or has no room is ``Unavailable``, never a half-written act.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError

from gate.adapters.store.tx_backtests import BacktestsTx
from gate.adapters.store.tx_correlations import CorrelationsTx
from gate.adapters.store.tx_facts import FactsTx
from gate.adapters.store.tx_grounds import GroundsTx
from gate.adapters.store.tx_levers import LeversTx
from gate.adapters.store.tx_lists import ListsTx
from gate.adapters.store.tx_mirror import MirrorTx
from gate.adapters.store.tx_mornings import MorningsTx
from gate.adapters.store.tx_people import PeopleTx
from gate.adapters.store.tx_recovery import RecoveryTx
from gate.adapters.store.tx_retention import RetentionTx
from gate.adapters.store.tx_spans import SpansTx
from gate.adapters.store.tx_speakers import SpeakersTx
from gate.core.errors import OperatorError, Overtaken, Unavailable

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_MS = 10_000


COLLISIONS = ("40001", "40P01")  # PostgreSQL: serialization failure, deadlock detected
READ_ONLY = "25006"  # PostgreSQL: the server that we speak to has become a standby
LINE = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
        "tcp_user_timeout": 15_000}  # fmt: skip
"""How soon a server that says nothing is given up, in seconds and milliseconds; the URL may say otherwise."""


class SqlTx(
    SpeakersTx,
    FactsTx,
    PeopleTx,
    MorningsTx,
    RetentionTx,
    SpansTx,
    GroundsTx,
    CorrelationsTx,
    ListsTx,
    MirrorTx,
    LeversTx,
    BacktestsTx,
    RecoveryTx,
):
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
            tx = SqlTx(connection)
            yield tx
            tx.finish()
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


def check_url(url: str) -> None:
    """Raises OperatorError where this is no address of a database that gate can use."""
    try:
        said = make_url(url)
    except ArgumentError as problem:
        raise OperatorError(
            "bad_database", "a database is sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        ) from problem
    if said.drivername not in ("sqlite", "postgresql+psycopg") or not said.database:
        name = said.drivername[:40]
        raise OperatorError(
            "bad_database", f"{name}: a database is sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        )


def _engine(url: str, durable: bool) -> Engine:
    engine = create_engine(
        url,
        pool_pre_ping=not url.startswith("sqlite"),
        pool_size=10,
        max_overflow=30,
        hide_parameters=True,
        connect_args=_connect_args(url),
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
            if not writes:
                connection.exec_driver_sql("BEGIN")
                return
            with _turn(engine.url.database if durable else None):
                connection.exec_driver_sql("BEGIN IMMEDIATE")

    else:

        @event.listens_for(engine, "handle_error")
        def failed(context: ExceptionContext) -> None:
            if getattr(context.original_exception, "sqlstate", "") == READ_ONLY:
                context.is_disconnect = True

    return engine


@contextmanager
def _turn(database: str | None) -> Iterator[None]:
    """Writers of an SQLite file begin one after another. SQLite itself lets them look again every tenth of a second:
    who commits without a pause would keep all others out, the brake too. A courtesy: without it one still begins."""
    handle = -1
    with suppress(OSError):
        if database:
            handle = os.open(f"{database}.turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            end = time.monotonic() + BUSY_MS / 1000
            while not _locked(handle) and time.monotonic() < end:
                time.sleep(0.001)
    try:
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _connect_args(url: str) -> dict[str, int]:
    return (
        {} if url.startswith("sqlite") else {name: at for name, at in LINE.items() if name not in make_url(url).query}
    )
