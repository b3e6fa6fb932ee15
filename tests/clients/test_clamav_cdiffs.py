"""Stock freshclam with ``ScriptedUpdates`` patches what it has by cdiffs that the gate's mirror serves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.clients.clam import PatchedGate, PatchedMachine, needed
from tests.clients.served import promoted, until
from tests.cvds import vendor

pytestmark = pytest.mark.clients


@pytest.fixture
def gate(tmp_path: Path, shared_data: Path) -> Iterator[PatchedGate]:
    needed()
    served = PatchedGate(tmp_path)
    yield served
    served.end()


@pytest.fixture
def machines(gate: PatchedGate) -> Iterator[tuple[PatchedMachine, PatchedMachine]]:
    """The only one of the first ring, and one of the rest."""
    first, rest = PatchedMachine(gate, "first", "nord", ["first"]), PatchedMachine(gate, "rest", "sued")
    yield first, rest
    for machine in (first, rest):
        machine.end()


def cdiff(machine: PatchedMachine, version: int) -> tuple[int, bytes]:
    """What the mirror answers this machine."""
    answer = requests.get(f"{machine.address}/test-{version}.cdiff", timeout=10)
    return answer.status_code, answer.content


def test_cdiffs_go_with_their_version_and_to_nobody_else(
    gate: PatchedGate, machines: tuple[PatchedMachine, PatchedMachine], shared_data: Path
) -> None:
    first, rest = machines
    patch = (shared_data / "clamav" / "test-2.cdiff").read_bytes()
    gate.brings(1, vendor(shared_data, 1))
    for machine in machines:
        promoted(machine, "1")
    gate.brings(2, vendor(shared_data, 2), patch)
    until(lambda: first.serves() == "2", "2 is not served")
    assert cdiff(first, 2) == (200, patch)
    assert cdiff(rest, 2)[0] == 404  # its ring is not open
    assert [rest.updates() for _ in range(3)] == ["1"] * 3  # held: exit code 0, and what it had
    promoted(first, "2")
    assert [path.name for path in first.databases.glob("test.c?d")] == ["test.cld"]  # it patched, and took no whole one
    promoted(rest, "2")
    assert [path.name for path in rest.databases.glob("test.c?d")] == ["test.cld"]
    gate.brings(3, vendor(shared_data, 3))  # without a cdiff, which comes late
    until(lambda: first.serves() == "3", "3 is not served")
    (gate.upstream / "test-3.cdiff").write_bytes((shared_data / "clamav" / "test-3.cdiff").read_bytes())
    assert cdiff(first, 3) == (200, b"")
    promoted(first, "3")  # one version behind, and by the empty cdiff it takes the whole database
    assert [path.name for path in first.databases.glob("test.c?d")] == ["test.cvd"]
    with gate.opened.store.read() as tx:
        refused = [one for one in tx.events(subject=f"source:{gate.source}") if one.kind == "candidate_refused"]
    assert [one.detail for one in refused] == [{"detail": "skipped test.cvd is not there"}]  # before the first one came


def test_who_skips_a_version_settles_with_the_whole_database(
    gate: PatchedGate, machines: tuple[PatchedMachine, PatchedMachine], shared_data: Path
) -> None:
    first, _ = machines
    gate.brings(2, vendor(shared_data, 2))
    for machine in machines:
        promoted(machine, "2")
    gate.brings(4, vendor(shared_data, 4), (shared_data / "clamav" / "test-4.cdiff").read_bytes())
    until(lambda: first.serves() == "4", "4 is not served")
    assert cdiff(first, 3)[0] == 404
    code, said = first.freshclam()
    assert (code, first.version()) == (0, "4"), said
    assert "Incremental update failed, trying to download test.cvd" in said
