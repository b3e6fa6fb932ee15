"""The brake on everything: what somebody changes meanwhile is halted too, and what is over by then is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core.errors import Conflict
from gate.core.model import Machine, Release, Rollout, RolloutState, Site, Trust
from gate.core.verdict import Refusal
from gate.flows import advance, claims, people, recalls
from gate.ports import ActivePolicy, Gate, Proposal, Tx
from tests.conftest import NOW
from tests.flows.small_fleet import appears, joins
from tests.flows.test_stateful import gate_for


class Meanwhile:
    """A transaction in which somebody else changes a rollout between what is read and what is saved."""

    def __init__(self, tx: Tx, name: str, change: Callable[[Rollout], Rollout], times: int) -> None:
        self._tx, self._name, self._change, self._left = tx, name, change, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def save_rollout(self, rollout: Rollout) -> bool:
        if rollout.id == self._name and self._left:
            self._left -= 1
            before = self._tx.rollout(rollout.id)
            assert before is not None
            assert self._tx.save_rollout(replace(self._change(before), version=before.version + 1))
        return self._tx.save_rollout(rollout)


def braked(store: SqlStore, change: Callable[[Rollout], Rollout], times: int = 1) -> dict[str, Rollout]:
    """The rollouts after the brake; ``two`` is changed meanwhile."""
    with store.write() as tx:
        for name in ("one", "two", "three"):
            assert tx.add_release(Release(name, name, "1", "content", False, 1, (), Trust.DIGEST_PINNED, NOW), b"")
            tx.add_rollout(Rollout(name, name, name, RolloutState.RUNNING, -1, "s", "v", 1, NOW), (), ())
    with store.write() as tx:
        people.halt_all(Meanwhile(tx, "two", change, times), "anna", "tills freeze", NOW)  # type: ignore[arg-type]
    with store.read() as tx:
        halted = {one.subject for one in tx.events(limit=9) if one.kind == "rollout_halted"}
        found = {one.id: one for one in tx.rollouts()}
    assert halted == {name for name, one in found.items() if one.state is RolloutState.HALTED}
    return found


def test_the_brake_halts_what_the_worker_changes_at_that_moment_and_keeps_the_change(store: SqlStore) -> None:
    found = braked(store, lambda one: replace(one, reached=2))
    assert {one.state for one in found.values()} == {RolloutState.HALTED}
    assert (found["two"].reached, found["two"].halted_by) == (2, "anna")


@pytest.mark.parametrize("state", [RolloutState.SUPERSEDED, RolloutState.RECALLED])
def test_the_brake_leaves_what_is_over_by_then_and_halts_the_rest(store: SqlStore, state: RolloutState) -> None:
    found = braked(store, lambda one: replace(one, state=state))
    assert found["two"].state is state
    assert found["one"].state is found["three"].state is RolloutState.HALTED


def test_a_brake_that_never_gets_its_turn_says_so(store: SqlStore) -> None:
    with pytest.raises(Conflict, match="look again"):
        braked(store, lambda one: replace(one, reached=one.reached + 1), people.TRIES)


def test_the_brake_reaches_more_rollouts_than_one_look_shows(store: SqlStore) -> None:
    names = [f"r{number:03}" for number in range(201)]
    with store.write() as tx:
        for name in names:
            assert tx.add_release(Release(name, name, "1", "content", False, 1, (), Trust.DIGEST_PINNED, NOW), b"")
            tx.add_rollout(Rollout(name, name, name, RolloutState.RUNNING, -1, "s", "v", 1, NOW), (), ())
    with store.write() as tx:
        assert len(tx.rollouts()) < len(names), "or this shows nothing"
        assert {one.id for one in people.halt_all(tx, "anna", "tills freeze", NOW)} == set(names)
        assert tx.rollouts(states=people.MOVING) == []
        assert people.halt_all(tx, "anna", "again", NOW) == []


POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: one, plugin: directory, on_halt: recall}
rings:
  - {name: all, why: w, pick: {role: [till]}, windows: [always], at_most: {per_site: 4}, gate: {soak: 30m, at_least: 3}}
"""


def done(store: SqlStore, gate: Gate) -> tuple[Rollout, Machine]:
    """A rollout that is done, and a till that has yet to take it."""
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", NOW, "test"), "")
        tx.save_site(Site("s", "S", "NW", "Mo-Su 00:00-24:00"))
        till = joins(tx, "till", "s", "all", NOW)
        name = appears(tx, gate, NOW)
        advance.advance_rollout(tx, gate, name, NOW)
        opened = tx.rollout(name)
        assert opened is not None
        found = replace(opened, state=RolloutState.DONE, done_at=NOW, version=opened.version + 1)
        assert tx.save_rollout(found)
    return found, till


def test_the_brake_halts_what_is_done_and_still_handed_out_and_has_nobody_go_back(store: SqlStore) -> None:
    gate = gate_for(POLICY)
    rollout, till = done(store, gate)
    with store.write() as tx:
        assert [one.id for one in people.halt_all(tx, "anna", "tills freeze", NOW)] == [rollout.id]
    with store.write() as tx:
        answer = claims.claim(tx, gate, till, "one", rollout.release, "b", NOW)
        assert isinstance(answer, Refusal)
        assert answer.kind == "halted"
        assert recalls.by_policy(tx, gate, NOW) == [], "what everybody has goes back at two people's word"
        assert isinstance(recalls.recall(tx, rollout.id, "anna", "it is bad", NOW), Proposal)


def test_the_halt_of_one_rollout_that_is_done_is_a_recall_where_the_policy_says_so(store: SqlStore) -> None:
    gate = gate_for(POLICY)
    rollout, _ = done(store, gate)
    with store.write() as tx:
        people.halt_all(tx, "anna", "tills freeze", NOW)
        for who in ("anna", "berta"):
            people.resume(tx, rollout.id, who, "it was the printer", NOW)
        people.halt(tx, rollout.id, "anna", "it is bad", NOW)
        assert [one.id for one in recalls.by_policy(tx, gate, NOW)] == [rollout.id]
