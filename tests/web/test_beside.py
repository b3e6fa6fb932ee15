"""What is made beside the requests."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import cast

from gate.core.errors import OperatorError
from gate.ports import Store, Tx
from gate.web.beside import SHOWN, Beside
from tests.fake_store import FakeStore

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def test_what_failed_is_shown_for_a_while_and_not_tried_anew_by_each_look() -> None:
    beside: Beside[str] = Beside(cast(Store, FakeStore()), timedelta(minutes=10))
    tries = 0

    def fails(_: Tx) -> str:
        nonlocal tries
        tries += 1
        raise OperatorError("nothing", "no text can be read")

    beside.get("one", NOW, fails)
    beside.wait()
    first = NOW + timedelta(minutes=5)  # it took that long
    for look in (first, first + timedelta(seconds=2), first + SHOWN - timedelta(seconds=1)):
        shown = beside.get("one", look, fails)
        assert (shown.problem, shown.since) == ("no text can be read", None)
    assert tries == 1
    beside.get("one", first + SHOWN, fails)
    beside.wait()
    assert tries == 2


def test_pages_get_pythons_lock_sooner_while_something_is_made() -> None:
    beside: Beside[float] = Beside(cast(Store, FakeStore()), timedelta(minutes=10))
    usual = sys.getswitchinterval()
    beside.get("one", NOW, lambda _: sys.getswitchinterval())
    beside.wait()
    made = beside.get("one", NOW, lambda _: 0.0).found
    assert made is not None
    assert made < usual / 10
    assert sys.getswitchinterval() == usual


def test_python_hands_its_lock_on_as_ever_once_the_last_of_several_is_made() -> None:
    plans: Beside[int] = Beside(cast(Store, FakeStore()), timedelta(minutes=10))
    previews: Beside[int] = Beside(cast(Store, FakeStore()), timedelta(minutes=10))
    usual, began, both, over = sys.getswitchinterval(), threading.Event(), threading.Event(), threading.Event()

    def first(_: Tx) -> int:
        began.set()
        return int(both.wait(10))

    def last(_: Tx) -> int:
        both.set()
        return int(over.wait(10))

    plans.get("one", NOW, first)
    assert began.wait(10)
    previews.get("two", NOW, last)
    plans.wait()
    over.set()
    previews.wait()
    assert sys.getswitchinterval() == usual
