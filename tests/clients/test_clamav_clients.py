"""Stock ClamAV takes its databases through the gate: promoted ring by ring, held, halted, recalled, never spoilt."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from gate.core.model import ClaimState, RolloutState
from tests.clients.clam import SOURCE, ClamGate, ClamMachine, needed
from tests.clients.served import promoted, until
from tests.conftest import missing
from tests.cvds import vendor
from tests.load import await_answer
from tests.nginx import in_front, nginx

pytestmark = pytest.mark.clients

Start = Callable[..., ClamMachine]


@pytest.fixture
def gate(tmp_path: Path, shared_data: Path) -> Iterator[ClamGate]:
    needed()
    served = ClamGate(tmp_path)
    yield served
    served.end()


@pytest.fixture
def start(gate: ClamGate) -> Iterator[Start]:
    """Starts machines; ``first`` is the only one of its ring."""
    started: list[ClamMachine] = []

    def one(name: str, port: int = 0, client: str = "mirror") -> ClamMachine:
        labels, site = (["first"], "nord") if name == "first" else ([], "sued")
        started.append(ClamMachine(gate, name, site, labels, port, client))
        return started[-1]

    yield one
    for machine in started:
        machine.end()


@pytest.fixture(params=["built-in", "nginx"])
def port(request: pytest.FixtureRequest, gate: ClamGate, tmp_path: Path) -> Iterator[int]:
    """Where clients find the mirror."""
    if request.param == "built-in":
        yield gate.port
        return
    if nginx() is None:
        missing("nginx is not installed")
    (tmp_path / "nginx").mkdir()
    data = gate.opened.settings.data
    for folder in (data, *tmp_path.parents, tmp_path, tmp_path / "gate"):  # nginx's own user must get there
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o055)
    with in_front(tmp_path / "nginx", data, [gate.port]) as found:
        yield found


def test_versions_go_ring_by_ring_and_stay_where_the_ring_is_not_open(
    gate: ClamGate, start: Start, port: int, shared_data: Path
) -> None:
    first, rest = start("first", port), start("rest", port)
    gate.brings(vendor(shared_data, 1))
    promoted(first, "1")
    promoted(rest, "1")
    gate.brings(vendor(shared_data, 2))
    until(lambda: first.serves() == "2", "2 is not served")
    assert first.updates() == "2"
    assert [rest.updates() for _ in range(3)] == ["1"] * 3  # held: exit code 0, and what it had
    promoted(first, "2")
    promoted(rest, "2")
    gate.brings(vendor(shared_data, 3))
    until(lambda: first.serves() == "3", "3 is not served")
    assert (first.updates(), rest.updates()) == ("3", "2")
    assert (first.detects(), rest.detects()) == (True, False)
    gate.brings(vendor(shared_data, 4))
    until(lambda: gate.rollout("4") is not None, "4 was not seen")
    for _ in range(10):  # new versions arrive, ring 1 waits
        assert (first.updates(), rest.updates()) == ("3", "2")
    promoted(first, "3")
    promoted(rest, "3")
    assert rest.detects()
    promoted(first, "4")


def with_three(gate: ClamGate, start: Start, shared_data: Path, client: str) -> tuple[ClamMachine, ClamMachine]:
    """Both have 3, and had 2 before it."""
    first, rest = start("first", client=client), start("rest", client=client)
    for version in (2, 3):
        gate.brings(vendor(shared_data, version))
        promoted(first, str(version))
        promoted(rest, str(version))
    until(lambda: gate.rollout("3").state is RolloutState.DONE, "3 is not done")  # type: ignore[union-attr]
    assert (first.detects(), rest.detects()) == (True, True)
    return first, rest


def back(machine: ClamMachine) -> bool:
    machine.says()
    return machine.claim("3") is ClaimState.ROLLED_BACK


def test_a_recall_takes_the_agent_where_freshclam_keeps_what_is_newer(
    gate: ClamGate, start: Start, shared_data: Path
) -> None:
    first, rest = with_three(gate, start, shared_data, "mirror")
    gate.recalls()
    for machine in (first, rest):
        until(lambda one=machine: one.serves() == "2", "the pointer has not gone back")  # type: ignore[misc]
        assert machine.updates() == "3"  # content, and as wrong as before
        until(lambda one=machine: back(one), f"not back: {machine.agent.state.said}")  # type: ignore[misc]
        assert (machine.version(), machine.detects()) == ("2", False)
        assert machine.updates() == "2"


def test_a_recall_of_a_custom_database_needs_the_server_alone(gate: ClamGate, start: Start, shared_data: Path) -> None:
    first, rest = with_three(gate, start, shared_data, "custom")
    assert rest.updates() == "3"  # once more, where it had fetched in the very second of the move
    for _ in range(3):
        code, said = rest.freshclam()
        assert (code, rest.version()) == (0, "3")
        assert "up-to-date" in said  # 304
    gate.recalls()
    for machine in (first, rest):
        until(lambda one=machine: one.serves() == "2", "the pointer has not gone back")  # type: ignore[misc]
        assert (machine.updates(), machine.detects()) == ("2", False)
        until(lambda one=machine: back(one), f"not back: {machine.agent.state.said}")  # type: ignore[misc]


def test_what_is_halted_stays_where_it_is_and_goes_nowhere_else(
    gate: ClamGate, start: Start, shared_data: Path
) -> None:
    first, rest = start("first"), start("rest")
    gate.brings(vendor(shared_data, 2))
    promoted(first, "2")
    promoted(rest, "2")
    gate.brings(vendor(shared_data, 3))
    promoted(first, "3")
    gate.halts()
    for _ in range(5):
        assert first.updates() == "3"
        first.says()
    served = {rest.serves(), rest.updates()}
    assert served <= {"2"} or rest.claim("3") is not None  # it was faster than the halt
    assert len(served) == 1


def test_a_flipped_byte_reaches_no_client(gate: ClamGate, start: Start, shared_data: Path) -> None:
    first = start("first")
    gate.brings(vendor(shared_data, 2))
    promoted(first, "2")
    spoilt = bytearray(vendor(shared_data, 3))
    spoilt[2000] ^= 1
    gate.brings(bytes(spoilt))

    def refused() -> bool:
        with gate.opened.store.read() as tx:
            return any(one.kind == "candidate_refused" for one in tx.events(subject="source:clamav-daily"))

    until(refused, "nobody refused it")
    assert (gate.rollout("3"), first.serves(), first.updates()) == (None, "2", "2")
    (view,) = {path.resolve() for path in (gate.opened.settings.mirror / "to" / "clamav-daily").iterdir()}
    stored = bytearray((view / "daily.cvd").read_bytes())
    stored[2000] ^= 1
    (view / "daily.cvd").write_bytes(stored)  # on the gate's own disk, behind its back
    gate.opened.mirror.tidy()  # what the mirror remembers is forgotten
    address = f"{first.address}/daily.cvd"
    until(lambda: requests.get(address, timeout=10).content == stored, "the mirror still serves what it remembers")
    (first.databases / "daily.cvd").unlink()
    code, _ = first.freshclam()
    assert code != 0
    assert first.version() == ""  # nothing is better than that: freshclam checks the vendor's signature


def test_while_the_gate_is_down_clients_keep_what_they_have_and_are_well_again_with_it(
    gate: ClamGate, start: Start, port: int, shared_data: Path
) -> None:
    first, rest = start("first", port), start("rest", port)
    gate.brings(vendor(shared_data, 2))
    promoted(first, "2")
    promoted(rest, "2")
    gate.served.kill("web,worker")
    code, _ = first.freshclam()
    assert (code == 0) is (port != gate.port)  # a file server in front goes on without it
    assert first.version() == "2"
    gate.brings(vendor(shared_data, 3))
    gate.served.start("web,worker")
    await_answer(gate.port)
    until(lambda: first.serves() == "3", "3 is not served")
    assert (first.updates(), rest.updates()) == ("3", "2")  # before anybody has said that 3 is good: a second later
    promoted(first, "3")  # the ring after may open, and its machine have it
    assert first.detects()


def test_a_token_that_is_worth_nothing_keeps_freshclam_away_for_a_minute_and_not_for_a_day(
    gate: ClamGate, start: Start, port: int, shared_data: Path
) -> None:
    first = start("first", port)
    gate.brings(vendor(shared_data, 2))
    promoted(first, "2")
    assert gate.opened.mirror.shut_out(SOURCE, hashlib.sha256(first.secret.encode()).hexdigest())
    first.freshclam()
    _, said = first.freshclam()
    (until_then,) = re.findall(r"cool-down until after: ([-0-9]+ [:0-9]+)", said)
    waits = datetime.fromisoformat(f"{until_then}+00:00") - datetime.now(UTC)
    assert waits < timedelta(minutes=2)
    assert first.version() == "2"
