"""No pointer of the mirror goes to a recalled release, nor stays at one that its machine never took."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gate.core.model import Machine, MachineStatus, RolloutState
from gate.flows import mirror
from gate.ports import Gate, Pointer, Tx

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
DONE, HALTED, RECALLED = RolloutState.SUPERSEDED, RolloutState.HALTED, RolloutState.RECALLED


class Played:
    """What a store would say of three releases in one ring; the newest speaks for it. ``states``: of 1, 2 and 3."""

    def __init__(self, states: tuple[RolloutState, ...], has: str, status: MachineStatus, *, opened: bool) -> None:
        made = [
            SimpleNamespace(id=str(at), release=str(at), state=one, halted_at=None) for at, one in enumerate(states, 1)
        ]
        self.made: list[Any] = made[::-1]
        self.has = has
        self.status = status
        self.opened_at = NOW if opened else None

    def machine(self, machine: str) -> Machine:
        return Machine(machine, "nord", self.status, machine, {}, ring="all")

    def session(self, _: str) -> Any:
        return SimpleNamespace(installed={"shop": self.has}, boot_id="b0") if self.has else None

    def rollouts(self, **_: Any) -> list[Any]:
        return self.made

    def rings(self, _: str) -> list[Any]:
        return [SimpleNamespace(ring="all", opened_at=self.opened_at)]

    def rollout_of(self, release: str) -> Any:
        return next(one for one in self.made if one.release == release)

    def done_before(self, rollout: str) -> list[Any]:
        return [one for one in self.made if one.id < rollout and one.state is DONE]

    def ask_pointer_at(self, *_: Any) -> bool:
        return True

    move_pointer = ask_pointer_at

    def append(self, *_: Any) -> None:
        return


def asked(
    states: tuple[RolloutState, ...],
    has: str,
    release: str,
    before: str,
    ring: str = "",
    status: MachineStatus = MachineStatus.ACTIVE,
    *,
    opened: bool = True,
) -> str:
    """What a machine's (or a ring's) pointer serves afterwards. ``has``: empty where its agent was never heard of;
    ``opened``: is there a rollout that speaks for the ring?"""
    pointer = Pointer("shop", "m", "" if ring else "m", ring, release, before, NOW, NOW)
    moved = mirror.ask(cast(Tx, Played(states, has, status, opened=opened)), cast(Gate, None), pointer, NOW)
    return (moved or pointer).release


@pytest.mark.parametrize("has", ["1", "2"])
def test_a_halt_takes_an_offer_back_to_what_is_not_recalled(has: str) -> None:
    assert asked((DONE, DONE, HALTED), has, "3", "2") == "2"
    assert asked((DONE, RECALLED, HALTED), has, "3", "2") == "1"


@pytest.mark.parametrize("newest", [HALTED, RECALLED])
def test_a_pointer_leaves_a_recalled_release_whatever_has_become_of_a_newer_one(newest: RolloutState) -> None:
    assert asked((DONE, RECALLED, newest), "1", "2", "1") == "1"
    assert asked((DONE, RECALLED, newest), "", "2", "1", ring="all") == "1"


@pytest.mark.parametrize(
    ("has", "status", "opened"),
    [
        ("3", MachineStatus.REVOKED, True),
        ("2", MachineStatus.REVOKED, True),
        ("", MachineStatus.REVOKED, True),
        ("", MachineStatus.ACTIVE, True),
        ("2", MachineStatus.ACTIVE, False),
    ],
    ids=["revoked with it", "revoked without it", "revoked and silent", "never heard of", "nobody speaks for its ring"],
)
def test_a_machine_that_nobody_claims_for_is_not_served_what_was_recalled(
    has: str, status: MachineStatus, opened: bool
) -> None:
    assert asked((DONE, DONE, RECALLED), has, "3", "2", status=status, opened=opened) == "2"
    assert asked((DONE, RECALLED, RECALLED), has, "3", "2", status=status, opened=opened) == "1"
    assert asked((RECALLED,), has, "1", "", status=status, opened=opened) == ""
    assert asked((DONE, DONE, HALTED), has, "2", "1", status=status, opened=opened) == "2"
