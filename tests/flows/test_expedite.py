"""The fast lane: enough people, soak and windows only, and only for its time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core.errors import Conflict
from gate.flows import advance, expedite, people, user_changes
from gate.ports import Gate
from tests import long_run

LANE = "expedite: {people: 2, may_skip: [soak, windows], never_skip: [rings, per_site, brakes], expires: 1h}\n"
AT = long_run.START + timedelta(hours=4)


def ready(store: SqlStore, more: str) -> Gate:
    """A release whose first ring is healthy and soaks for two opening days."""
    text = long_run.POLICY.replace("gate: {soak: 10m, at_least: 3}", "gate: {soak: 2d open, at_least: 3}") + more
    sim, gate = long_run.simulation(store, long_run.plan(sites=6, days=1, releases_a_day=1), text)
    sim.start()
    sim.advance_to(AT)
    return gate


def reached(tx: SqlTx, gate: Gate, minutes: int) -> int:
    """How far it comes, judged so many minutes later."""
    [rollout] = tx.rollouts()
    advance.advance_rollout(tx, gate, rollout.id, AT + timedelta(minutes=minutes))
    return tx.rollouts()[0].reached


@pytest.mark.parametrize(
    ("lane", "people", "minutes", "opens"),
    [
        (LANE, 0, 59, False),
        (LANE, 1, 59, False),
        (LANE, 2, 59, True),
        (LANE, 2, 60, False),  # it has expired
        (LANE, 2, 61, False),
        (LANE.replace("people: 2", "people: 3"), 2, 59, False),
        (LANE.replace("people: 2", "people: 3"), 3, 59, True),
        (LANE.replace("may_skip: [soak, windows]", "may_skip: [windows]"), 2, 59, False),
        (LANE.replace("never_skip: [rings", "never_skip: [soak, rings"), 2, 59, False),
    ],
)
def test_a_soak_is_skipped_when_enough_people_agree_and_only_for_the_time_of_the_lane(
    store: SqlStore, lane: str, people: int, minutes: int, opens: bool
) -> None:
    gate = ready(store, lane)
    with store.write() as tx:
        before = reached(tx, gate, 0)
        tills = [one.make for one in tx.strata(tx.rollouts()[0].id) if one.ring == "all" and one.open]
        for name in ("anna", "bert", "carl")[:people]:
            expedite.expedite(tx, gate, tx.rollouts()[0].id, name, "a hole that is being used", AT)
        reached(tx, gate, minutes)
        opened = [one.make for one in tx.strata(tx.rollouts()[0].id) if one.ring == "all" and one.open]
    assert before <= 1
    assert (len(opened) > len(tills)) == opens


def test_without_a_lane_in_the_policy_nobody_opens_one(store: SqlStore) -> None:
    gate = ready(store, "")
    with store.write() as tx, pytest.raises(Conflict, match="no fast lane"):
        expedite.expedite(tx, gate, tx.rollouts()[0].id, "anna", "hurry", AT)


def test_one_person_agrees_once_and_a_word_holds_for_a_day(store: SqlStore) -> None:
    gate = ready(store, LANE)
    with store.write() as tx:
        [rollout] = tx.rollouts()
        assert expedite.expedite(tx, gate, rollout.id, "anna", "hurry", AT)[1] == 1
        with pytest.raises(Conflict, match="another person"):
            expedite.expedite(tx, gate, rollout.id, "anna", "hurry", AT + timedelta(hours=23))
        assert expedite.expedite(tx, gate, rollout.id, "bert", "hurry", AT + timedelta(hours=24))[1] == 1
        found, missing = expedite.expedite(tx, gate, rollout.id, "anna", "hurry", AT + timedelta(hours=25))
        assert missing == 0
        assert found.expedited_until == AT + timedelta(hours=26)


def test_the_word_of_a_person_who_may_no_longer_approve_does_not_count(store: SqlStore) -> None:
    gate = ready(store, LANE)
    with store.write() as tx:
        [rollout] = tx.rollouts()
        people.add_user(tx, "kim", "kim", "approver", "link", "test", AT)
        assert expedite.expedite(tx, gate, rollout.id, "kim", "hurry", AT)[1] == 1
        user_changes.change_role(tx, "kim", "technician", "anna", "another post", AT)
        assert expedite.expedite(tx, gate, rollout.id, "anna", "hurry", AT)[1] == 1
        assert expedite.expedite(tx, gate, rollout.id, "bert", "hurry", AT)[1] == 0


def test_a_halt_that_is_lifted_leaves_neither_the_fast_lane_nor_a_word_for_it_nor_a_waived_gate(
    store: SqlStore,
) -> None:
    gate = ready(store, LANE)
    with store.write() as tx:
        [rollout] = tx.rollouts()
        assert tx.waive_ring(rollout.id, "all", AT)
        for name in ("anna", "bert"):
            expedite.expedite(tx, gate, rollout.id, name, "hurry", AT)
        resumed(tx, rollout.id, 1)
        [after] = tx.rollouts()
        assert after.expedited_until is None
        assert [one.waived_at for one in tx.rings(rollout.id)] == [None, None]
        expedite.expedite(tx, gate, rollout.id, "anna", "hurry", AT + timedelta(minutes=3))
        resumed(tx, rollout.id, 4)
        at = AT + timedelta(minutes=6)
        assert expedite.expedite(tx, gate, rollout.id, "bert", "hurry", at)[1] == 1, "anna has not known of this halt"
        assert expedite.expedite(tx, gate, rollout.id, "anna", "hurry", at)[1] == 0


def resumed(tx: SqlTx, rollout: str, minutes: int) -> None:
    at = AT + timedelta(minutes=minutes)
    people.halt(tx, rollout, "carl", "what is it", at)
    for name in ("anna", "bert"):
        people.resume(tx, rollout, name, "it is nothing", at + timedelta(minutes=1))
