"""Two people act in the same moment, on the database where two transactions write side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core.errors import Conflict
from gate.flows import expedite, user_changes
from gate.flows.user_changes import Act, Change
from gate.ports import User
from tests.adapters.test_store import waits
from tests.conftest import NOW, migrated
from tests.flows.test_expedite import AT, LANE, ready


@pytest.fixture
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    for url in migrated(request, "postgres", tmp_path):
        made = SqlStore(url)
        made.upgrade()
        yield made
        made.close()


def both(store: SqlStore, first: Callable[[SqlTx], object], second: Callable[[SqlTx], object]) -> list[object]:
    """What each was answered; the second begins while the first has not been committed."""
    answers: list[object] = []

    def acts() -> None:
        try:
            with store.write() as tx:
                answers.append(second(tx))
        except Conflict as problem:
            answers.append(problem.kind)

    thread = threading.Thread(target=acts)
    with store.write() as tx:
        answers.append(first(tx))
        thread.start()
        waits(store)
    thread.join()
    return answers


def test_two_people_who_agree_with_the_fast_lane_in_the_same_moment_open_it(shared: SqlStore) -> None:
    gate = ready(shared, LANE)
    with shared.read() as tx:
        [rollout] = tx.rollouts()

    def agrees(tx: SqlTx, who: str) -> int:
        return expedite.expedite(tx, gate, rollout.id, who, "hurry", AT)[1]

    assert both(shared, lambda tx: agrees(tx, "anna"), lambda tx: agrees(tx, "bert")) == [1, 0]
    with shared.read() as tx:
        assert tx.rollouts()[0].expedited_until is not None


def test_two_people_who_are_disabled_in_the_same_moment_do_not_leave_one_admin(shared: SqlStore) -> None:
    with shared.write() as tx:
        for who in ("anna", "bert", "carl"):
            tx.save_user(User(who, who, "admin", "", False, NOW))
        for gone in ("anna", "bert"):
            assert disabled(tx, gone, "carl") is not None

    def second(tx: SqlTx) -> object:
        return disabled(tx, "bert", "anna")

    assert both(shared, lambda tx: disabled(tx, "anna", "bert"), second) == [None, "needs_people"]
    with shared.read() as tx:
        assert [one.id for one in tx.users() if not one.disabled] == ["bert", "carl"]


def disabled(tx: SqlTx, who: str, by: str) -> object:
    return user_changes.change(tx, Change(Act.DISABLE, who), "", None, by, "gone", NOW)
