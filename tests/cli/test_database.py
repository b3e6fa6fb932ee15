"""Backups: taken while the gate runs, restored into either database, and a rollout goes on from there."""

from __future__ import annotations

import json
import sqlite3
import tarfile
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gate.bootstrap import Opened, pages
from gate.cli.main import main
from gate.config import load
from gate.core.model import ClaimState
from tests.real_gate import PlayedMachine, RealGate, WsgiAdapter


def gate(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def in_flight(one: RealGate) -> tuple[PlayedMachine, str, str]:
    """A machine that holds a claim: itself, the claim and the release."""
    machine = PlayedMachine(one)
    machine.enrol()
    one.accept(machine.machine, "till", "first")
    other = PlayedMachine(one, "the other")
    other.enrol()
    one.accept(other.machine)
    one.bring("1.0")
    machine.checkin()
    with one.opened.store.read() as tx:
        release = tx.rollouts()[0].release
    status, answer = machine.claim(release)
    assert status == 201, answer
    return machine, answer["claim"], release


def goes_on(one: RealGate, restored: Opened, machine: PlayedMachine, claim: str, release: str) -> None:
    """The machine speaks to the restored gate as if nothing had been."""
    machine.http.mount("http://", WsgiAdapter(restored.wsgi(pages(restored))))
    machine.checkin(installed={"shop-content": release})
    for step in ("installed", "healthy"):
        status, answer = machine.report(claim, step, release)
        assert status == 202, answer
    worker = restored.worker()
    worker.tick()
    with restored.store.read() as tx:
        found = tx.claim(claim)
        events = {event.kind for event in tx.events(limit=100)}
    assert found is not None
    assert found.state is ClaimState.HEALTHY
    assert {"release_seen", "ring_opened", "machine_accepted"} <= events
    one.clock.forward(seconds=30)
    worker.tick()
    with restored.store.read() as tx:
        rings = tx.rings(found.rollout)
    assert rings[1].opened_at is not None, "the next ring opens"


def test_a_rollout_goes_on_from_a_backup(real_gate: RealGate, tmp_path: Path) -> None:
    machine, claim, release = in_flight(real_gate)
    archive = tmp_path / "gate.tar.gz"
    done = gate("db", "backup", archive, "--with-keys", "--settings", real_gate.made.settings)
    assert done.exit_code == 0, done.output
    assert archive.stat().st_mode & 0o077 == 0, "keys are in it"
    made = gate("db", "restore", archive, tmp_path / "again")
    assert made.exit_code == 0, made.output
    restored = Opened(load(tmp_path / "again" / "gate.toml"), real_gate.clock)
    assert gate("audit", "verify", "--settings", tmp_path / "again" / "gate.toml").exit_code == 0
    assert gate("doctor", "--settings", tmp_path / "again" / "gate.toml").exit_code == 0
    goes_on(real_gate, restored, machine, claim, release)
    restored.close()


def test_a_backup_moves_a_gate_to_either_database(sqlite_gate: RealGate, empty_url: str, tmp_path: Path) -> None:
    machine, claim, release = in_flight(sqlite_gate)
    archive = tmp_path / "gate.tar.gz"
    gate("db", "backup", archive, "--with-keys", "--settings", sqlite_gate.made.settings)
    made = gate("db", "restore", archive, tmp_path / "moved", "--database", empty_url)
    assert made.exit_code == 0, made.output
    restored = Opened(load(tmp_path / "moved" / "gate.toml"), sqlite_gate.clock)
    assert restored.settings.database == empty_url
    goes_on(sqlite_gate, restored, machine, claim, release)
    restored.close()
    again = gate("db", "restore", archive, tmp_path / "twice", "--database", empty_url)
    assert again.exit_code == 1
    assert "empty database" in again.output


def test_the_shelf_is_in_a_backup_and_the_restored_log_is_whole(sqlite_gate: RealGate, tmp_path: Path) -> None:
    sqlite_gate.bring("1.0")
    sqlite_gate.clock.forward(days=401)
    sqlite_gate.worker.retain()
    assert list(sqlite_gate.opened.settings.shelf.glob("events-*"))
    archive, settings = tmp_path / "gate.tar.gz", sqlite_gate.made.settings
    assert gate("db", "backup", archive, "--settings", settings).exit_code == 0
    assert gate("db", "restore", archive, tmp_path / "again").exit_code == 0
    done = gate("audit", "verify", "--settings", tmp_path / "again" / "gate.toml")
    assert done.exit_code == 0, done.output


def test_without_the_keys_it_says_where_they_go(sqlite_gate: RealGate, tmp_path: Path) -> None:
    archive = tmp_path / "gate.tar.gz"
    settings = sqlite_gate.made.settings
    assert "the keys are not in it" in gate("db", "backup", archive, "--settings", settings).output
    with tarfile.open(archive) as tar:
        assert not [name for name in tar.getnames() if "keys" in name]
    made = gate("db", "restore", archive, tmp_path / "again")
    assert "put the keys into" in made.output
    assert gate("db", "backup", archive, "--settings", settings).exit_code == 1, "no backup is overwritten"
    assert gate("db", "restore", archive, tmp_path / "again").exit_code == 1, "nor a gate"


@pytest.mark.parametrize("raw", [b"", b"not a tar", b"\x1f\x8b\x08\x00\x00"])
def test_what_is_no_backup_is_refused_and_leaves_nothing(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.tar.gz").write_bytes(raw)
    refused = gate("db", "restore", tmp_path / "x.tar.gz", tmp_path / "again")
    assert refused.exit_code == 1
    assert refused.output.startswith("bad_backup: ")
    assert not (tmp_path / "again").exists()


def test_a_path_that_leads_out_of_the_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil").write_text("x")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "evil", "../../evil-was-here")
    refused = gate("db", "restore", tmp_path / "x.tar.gz", tmp_path / "again")
    assert refused.exit_code == 1
    assert refused.output.startswith("bad_backup: ")


def test_the_schema_is_checked_and_brought_up(sqlite_gate: RealGate, tmp_path: Path) -> None:
    settings = sqlite_gate.made.settings
    assert gate("db", "check", "--settings", settings).output == "good\n"
    with sqlite3.connect(sqlite_gate.made.settings.parent / "data" / "gate.db") as connection:
        connection.execute("ALTER TABLE sites ADD COLUMN colour TEXT")
    connection.close()
    said = gate("db", "check", "--settings", settings)
    assert said.exit_code == 1
    assert "colour" in said.output
    empty = tmp_path / "empty.toml"
    text = settings.read_text().replace("sqlite:///data/gate.db", f"sqlite:///{tmp_path}/empty.db")
    empty.write_text(text.replace('data = "data"', f'data = "{settings.parent / "data"}"'))
    said = gate("db", "check", "--settings", empty)
    assert said.exit_code == 1
    assert "gate db upgrade" in said.output
    assert gate("db", "upgrade", "--settings", empty).output.startswith("schema empty -> ")
    assert gate("db", "check", "--settings", empty).exit_code == 0


def test_a_backup_that_cannot_be_written_is_a_sentence(sqlite_gate: RealGate, tmp_path: Path) -> None:
    said = gate("db", "backup", tmp_path / "nowhere" / "x.tar.gz", "--settings", sqlite_gate.made.settings)
    assert said.exit_code == 1
    assert "x.tar.gz cannot be written: No such file" in said.output


def test_a_backup_says_what_is_in_it(sqlite_gate: RealGate, tmp_path: Path) -> None:
    archive = tmp_path / "gate.tar.gz"
    gate("db", "backup", archive, "--settings", sqlite_gate.made.settings)
    with tarfile.open(archive) as tar:
        raw = tar.extractfile("about.json")
        assert raw is not None
        about = json.loads(raw.read())
    assert about["fleet"] == "test-fleet"
    assert about["rows"]["sites"] == 2
    assert about["schema"]


def test_a_backup_under_writes_is_one_moment(real_gate: RealGate, tmp_path: Path) -> None:
    """Events with their leaves, and claims with their counters, are written all the while."""
    machine, claim, release = in_flight(real_gate)
    stop, said = threading.Event(), []
    with real_gate.opened.store.write() as tx:
        for number in range(2000):
            tx.append("noted", "tester", f"o{number}", real_gate.clock.now(), {"number": number})

    def write() -> None:
        number = 0
        while not stop.is_set():
            with real_gate.opened.store.write() as tx:
                tx.append("noted", "tester", f"n{number}", real_gate.clock.now(), {"number": number})
            said.append(machine.report(claim, "installed" if number % 2 else "booted", release)[0])
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        archives = [tmp_path / f"{number}.tar.gz" for number in range(3)]
        for archive in archives:
            before = len(said)
            assert gate("db", "backup", archive, "--settings", real_gate.made.settings).exit_code == 0
            assert len(said) > before, "nobody waited for the backup"
    finally:
        stop.set()
        writer.join()
    assert set(said) <= {200, 202}
    for archive in archives:
        folder = tmp_path / archive.name.removesuffix(".tar.gz")
        made = gate("db", "restore", archive, folder, "--database", f"sqlite:///{folder}/gate.db")
        assert made.exit_code == 0, made.output
        whole = gate("audit", "verify", "--settings", folder / "gate.toml")
        assert whole.exit_code == 0, whole.output
        with sqlite3.connect(folder / "gate.db") as connection:
            (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
        connection.close()
        assert whole.output.startswith(f"good: {events} leaves"), "events and their tree are of one moment"
