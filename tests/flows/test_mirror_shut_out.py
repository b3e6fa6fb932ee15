"""Who may read the mirror no more: revoked machines and revoked tokens are served nothing, by rows and on disk."""

from __future__ import annotations

import pytest

from gate.adapters.mirror_folder import MirrorFolder
from gate.core.model import Machine
from gate.flows import machines, mirror
from gate.flows.decommission import decommission
from gate.flows.mirror_rounds import MirrorRounds
from gate.ports import MirrorToken, Tx
from gate.worker import Transactions
from tests.flows.test_mirror import OLD, SOURCE, Client, admitted, both, content
from tests.real_gate import RealGate


@pytest.fixture
def two(real_gate: RealGate) -> tuple[RealGate, Client, Client]:
    return both(real_gate)


def machine(tx: Tx, client: Client) -> Machine:
    found = tx.machine(client.machine)
    assert found is not None
    return found


def valid(tx: Tx, holder: str) -> list[MirrorToken]:
    return [one for one in tx.mirror_tokens(holder=holder) if one.revoked_at is None]


@pytest.mark.parametrize("gone", [False, True], ids=["revoked", "decommissioned"])
def test_a_revoked_machine_loses_each_of_its_tokens_in_the_same_transaction(
    two: tuple[RealGate, Client, Client], gone: bool
) -> None:
    gate, first, rest = two
    admitted(gate, "2" * 32, machine=first.machine)
    with gate.opened.store.write() as tx:
        assert (len(valid(tx, first.machine)), len(valid(tx, rest.machine))) == (2, 1)
        if gone:
            decommission(tx, gate.opened.gate, machine(tx, first), "anna", "stolen", gate.clock.now())
        else:
            machines.revoke(tx, machine(tx, first), "anna", "stolen", gate.clock.now())
        assert (valid(tx, first.machine), len(valid(tx, rest.machine))) == ([], 1)
        assert (tx.pointer(SOURCE, first.machine), tx.pointer(SOURCE, rest.machine) is None) == (None, False)
        events = [one for one in tx.events(subject=first.machine) if one.kind == "mirror_token_revoked"]
        assert [one.actor for one in events] == ["anna", "anna"]


def test_a_token_of_a_machine_that_was_revoked_without_it_goes_with_the_next_repair(
    two: tuple[RealGate, Client, Client],
) -> None:
    gate, first, rest = two
    with gate.opened.store.write() as tx:
        assert tx.revoke_machine(first.machine, gate.clock.now())
        assert [one.holder for one in tx.mirror_tokens_left()] == [first.machine]
    gate.pass_minutes(2)
    with gate.opened.store.read() as tx:
        assert (valid(tx, first.machine), len(valid(tx, rest.machine))) == ([], 1)
        assert tx.mirror_tokens_left() == []
        (event,) = [one for one in tx.events(subject=first.machine) if one.kind == "mirror_token_revoked"]
        assert event.actor == "gate"


def links(gate: RealGate, kind: str) -> set[str]:
    return {link.name for link in (gate.opened.settings.mirror / kind / SOURCE).glob("*")}


def test_what_was_committed_and_not_done_on_disk_is_done_by_the_next_repair(
    two: tuple[RealGate, Client, Client],
) -> None:
    gate, first, rest = two
    lent = gate.opened.mirror.lend(SOURCE, rest.machine)
    gate.opened.mirror.admit(SOURCE, "u" * 32, rest.machine)  # the database has never heard of it
    with gate.opened.store.write() as tx:  # and gate is killed here
        (token,) = valid(tx, first.machine)
        mirror.revoke(tx, token.id, "anna", gate.clock.now())
    assert (first.served, content(gate, "u" * 32)) == (OLD, OLD)
    gate.pass_minutes(2)
    assert (first.served, content(gate, "u" * 32), rest.served) == ("", "", OLD)
    assert links(gate, "at") == {rest.secret, lent}
    assert links(gate, "to") == {rest.machine}


def test_a_revoked_machine_is_served_nothing_within_the_repair(two: tuple[RealGate, Client, Client]) -> None:
    gate, first, rest = two
    with gate.opened.store.write() as tx:
        machines.revoke(tx, machine(tx, first), "anna", "stolen", gate.clock.now())
    gate.pass_minutes(2)
    assert (first.served, rest.served) == ("", OLD)


def test_a_holder_with_another_token_goes_on_being_served(two: tuple[RealGate, Client, Client]) -> None:
    gate, first, _ = two
    other = admitted(gate, "2" * 32, machine=first.machine)
    with gate.opened.store.write() as tx:
        mirror.revoke(tx, other.id, "anna", gate.clock.now())
    gate.pass_minutes(2)
    assert (first.served, content(gate, "2" * 32)) == (OLD, "")


class Busy(MirrorFolder):
    """Somebody makes a token just before the folder is looked at."""

    def __init__(self, gate: RealGate, machine: str) -> None:
        super().__init__(gate.opened.settings.mirror, gate.opened.settings.public / "content" / "blobs")
        self._gate, self._machine = gate, machine

    def admitted(self) -> set[tuple[str, str]]:
        admitted(self._gate, "n" * 32, machine=self._machine)
        return super().admitted()


def test_a_token_that_is_made_during_a_repair_is_not_shut_out(two: tuple[RealGate, Client, Client]) -> None:
    gate, first, _ = two
    opened = gate.opened
    folder, blobs = Busy(gate, first.machine), opened.settings.public / "content" / "blobs"
    rounds = MirrorRounds(Transactions(opened.store), opened.gate, folder, blobs, lambda *_: (blobs, None))
    rounds.once(gate.clock.now())
    assert content(gate, "n" * 32) == first.served == OLD
