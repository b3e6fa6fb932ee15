"""How boots ended: what is remembered, what the log adds, and which word is the surer."""

from __future__ import annotations

import pytest

from gate.agent.boots import Cause, Ended, Left, begun, crashed, crashes, lost, merged, since
from gate.agent.times import moment

A, B, C = Ended("a"), Ended("b"), Ended("c")
PANIC = "Kernel panic - not syncing"


def test_a_boot_is_begun_once_and_our_mark_says_how_the_one_before_ended() -> None:
    assert begun((), "a", "t", False) == (Ended("a", "t"),)
    assert begun((A,), "a", "t", True) == (A,), "the same boot"
    assert begun((A,), "b", "t", False)[0].ended == "unknown"
    assert begun((A,), "b", "t", True)[0] == Ended("a", ended="clean", cause=Cause.PLANNED)


AT = {"a": "2026-03-02T06:00:00Z", "b": "2026-03-02T06:10:00Z", "c": "2026-03-02T06:20:00Z"}
KNOWN = tuple(Ended(name, at) for name, at in AT.items())


@pytest.mark.parametrize(
    ("at", "whose"),
    [
        (None, ""),
        ("2026-03-02T05:59:58.9Z", ""),
        ("2026-03-02T05:59:59Z", "a"),
        ("2026-03-02T06:05:00Z", "a"),
        ("2026-03-02T06:09:59.9Z", "a"),
        ("2026-03-02T06:10:00Z", "b"),
        ("2026-03-02T06:20:00.9Z", "b"),
        ("2026-03-02T06:20:01Z", ""),
        ("1970-01-01T00:00:00Z", ""),
        ("2036-03-02T06:10:00Z", ""),
    ],
)
def test_a_crash_belongs_to_the_boot_in_whose_span_it_was(at: str | None, whose: str) -> None:
    found = crashed(KNOWN, Left("k", PANIC, moment(at) if at else None))
    assert "".join(one.boot_id for one in found or () if one.cause == Cause.CRASH) == whose
    assert (found is None) is (whose == "")
    if found is not None:
        crash = next(one for one in found if one.boot_id == whose)
        assert (crash.ended, crash.detail) == ("unclean", PANIC)


def test_a_crash_is_nobodys_where_no_span_is_known_and_surer_than_our_mark() -> None:
    left = Left("k", PANIC, moment(AT["a"]))
    assert crashed((A, B), left) is None
    assert crashed((), left) is None
    assert crashed(KNOWN[:1], left) is None, "the present boot has not ended"
    marked = begun(KNOWN[:1], "b", AT["b"], True)
    found = crashed(marked, left)
    assert found is not None and found[0].cause == Cause.CRASH


def test_only_so_many_boots_are_remembered() -> None:
    known: tuple[Ended, ...] = ()
    for number in range(100):
        known = begun(known, f"b{number}", "", False)
    assert len(known) == 32
    assert known[-1].boot_id == "b99"


def test_the_log_adds_boots_that_nobody_was_awake_in_and_how_they_ended() -> None:
    crash = Ended("x", "t", "unclean", Cause.CRASH, PANIC)
    log = (Ended("0", ended="clean"), Ended("a", ended="clean", cause=Cause.PLANNED), crash, Ended("b"))
    found = merged((A, B, C), log)
    assert [one.boot_id for one in found] == ["a", "x", "b", "c"], "in their order, none from before we came"
    assert found[0].cause == Cause.PLANNED
    assert crashes(found) == (PANIC,)


def test_a_log_in_another_order_adds_no_boot_twice() -> None:
    d, x, y = Ended("d"), Ended("x"), Ended("y")
    found = merged((A, B, C, d), (A, x, C, y, B, d))
    assert sorted(one.boot_id for one in found) == ["a", "b", "c", "d", "x", "y"]


def test_boots_between_the_last_known_and_the_present_are_there_too() -> None:
    assert [one.boot_id for one in merged((A, C), (A, B))] == ["a", "b", "c"]
    assert merged((), (A,)) == ()
    assert merged((A, B), ()) == (A, B)


def test_a_crash_is_surer_than_our_mark_and_our_mark_than_a_loss_of_power() -> None:
    mine = Ended("a", ended="clean", cause=Cause.PLANNED)
    dead = Ended("a", ended="unclean", cause=Cause.POWER_LOSS)
    crash = Ended("a", ended="unclean", cause=Cause.CRASH, detail=PANIC)
    assert merged((mine, B), (dead,))[0] == mine
    assert merged((mine, B), (crash,))[0].cause == Cause.CRASH
    assert merged((crash, B), (mine,))[0].cause == Cause.CRASH


def test_since_a_boot_and_all_where_it_is_forgotten() -> None:
    assert since((A, B, C), "b") == (B, C)
    assert since((A, B, C), "long ago") == (A, B, C)


def test_boots_that_a_counter_saw_and_nobody_else_are_lost() -> None:
    assert (lost(10, 12, 2), lost(10, 13, 2), lost(10, 11, 2)) == (0, 1, 0)
    assert (lost(-1, 13, 2), lost(10, None, 2)) == (0, 0), "a counter that is not known lost nothing"
