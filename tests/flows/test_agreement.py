"""Persons are counted, not accounts: also where two accounts of one person act at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core.errors import Conflict, GateError
from gate.core.model import RolloutState
from gate.flows import people, user_changes
from gate.flows.agreement import ACT_OF, agreed
from gate.flows.roles import NEEDS
from gate.ports import Tx
from tests.conftest import NOW
from tests.flows.test_orders import Host
from tests.real_gate import RealGate

TWO = "    needs: {people: 2}\n"


class Both:
    """A transaction that has read, and writes its first event only when the other one has read too."""

    def __init__(self, tx: Tx, other: threading.Barrier) -> None:
        self._tx, self._other = tx, other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def append(self, *said: Any) -> None:
        self._other.wait(20)
        self._tx.append(*said)


@pytest.fixture
def shop(real_gate: RealGate) -> RealGate:
    """A release that waits for two people in its first ring; anna has a shell of her own."""
    policies = real_gate.opened.policies
    text = policies.read(policies.head())
    changed = text.replace("  - name: first\n", "  - name: first\n" + TWO)
    assert changed != text
    with real_gate.opened.store.write() as tx:
        people.add_user(tx, "berta", "berta", "admin", "berta", "test", real_gate.clock.now())
        tx.add_identity("shell", "anna", "anna", real_gate.clock.now())
    real_gate.policy_says(changed)
    Host(real_gate, "first", "nord", "first")
    real_gate.bring("1")
    return real_gate


def at_once(gate: RealGate, act: Callable[[Tx, str], object], accounts: Sequence[str]) -> list[str]:
    """What each was refused with. On SQLite writers are one after another; on PostgreSQL each has read before any of
    them writes."""
    refused: list[str] = []
    crossed = not gate.opened.store.url.startswith("sqlite")
    begun, read = threading.Barrier(len(accounts)), threading.Barrier(len(accounts))

    def acts(by: str) -> None:
        begun.wait(20)
        try:
            with gate.opened.store.write() as tx:
                act(Both(tx, read) if crossed else tx, by)  # type: ignore[arg-type]
        except GateError as problem:
            refused.append(problem.kind)

    threads = [threading.Thread(target=acts, args=(one,)) for one in accounts]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return refused


def rollout(gate: RealGate) -> Any:
    with gate.opened.store.read() as tx:
        return tx.rollouts(limit=1)[0]


def opened(gate: RealGate) -> bool:
    gate.clock.forward(seconds=6)
    gate.worker.tick()
    with gate.opened.store.read() as tx:
        return any(one.opened_at is not None for one in tx.rings(rollout(gate).id))


def test_a_ring_that_needs_two_people_is_not_opened_by_two_accounts_of_one_that_act_at_once(shop: RealGate) -> None:
    gate, found = shop, rollout(shop)

    def approve(tx: Tx, by: str) -> None:
        people.approve_ring(tx, gate.opened.gate, found.id, "first", by, "looks well", gate.clock.now())

    refused = at_once(gate, approve, ["anna", "shell:anna"])
    assert refused in ([], ["given"])
    assert not opened(gate)
    with gate.opened.store.write() as tx:
        approve(tx, "berta")
    assert opened(gate)


def test_a_halt_is_not_lifted_by_two_accounts_of_one_person_that_act_at_once(shop: RealGate) -> None:
    gate, found = shop, rollout(shop)
    with gate.opened.store.write() as tx:
        people.halt(tx, found.id, "berta", "tills freeze", gate.clock.now())

    def resume(tx: Tx, by: str) -> None:
        people.resume(tx, found.id, by, "it was the printer", gate.clock.now())

    refused = at_once(gate, resume, ["anna", "shell:anna"])
    assert refused in ([], ["needs_people"])
    assert rollout(gate).state is RolloutState.HALTED
    for by in ("anna", "shell:anna"):
        with gate.opened.store.write() as tx, pytest.raises(Conflict, match="another person must"):
            resume(tx, by)
    with gate.opened.store.write() as tx:
        resume(tx, "berta")
    assert rollout(gate).state is RolloutState.RUNNING


@pytest.mark.parametrize(("kind", "role"), [("resume", "approver"), ("waive", "approver"), ("user_change", "admin")])
def test_nobody_agrees_with_a_person_whose_role_does_not_allow_it_any_more(
    store: SqlStore, kind: str, role: str
) -> None:
    with store.write() as tx:
        people.add_user(tx, "kim", "kim", role, "link", "test", NOW)
        assert agreed(tx, kind, "s", "exact", "why", "kim", NOW) is not None
        user_changes.change_role(tx, "kim", "technician", "anna", "another post", NOW)
        mine = agreed(tx, kind, "s", "exact", "why", "berta", NOW)
        assert mine is not None
        assert mine.proposed_by == "berta"
        assert agreed(tx, kind, "s", "exact", "why", "carl", NOW) is None


def test_every_kind_that_two_people_do_is_an_act_of_a_role() -> None:
    assert set(ACT_OF.values()) <= set(NEEDS)
