"""Back-tests of a policy version: begun by a form, run in a child process, shown under an address of their own.

- One runs at a time in the installation, whichever process began it; who comes second is led to it.
- A page of one that runs has its share and a link that loads it again; with JavaScript it does so by itself.
- What came of it is kept, so its address can be sent to others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import g, redirect, render_template, url_for
from werkzeug.wrappers import Response

from gate.core.backtests import ALL, RECORDED, Backtest, BacktestState
from gate.core.errors import GateError, Malformed, NotFound
from gate.flows import backtests
from gate.ports import Backtester, Clock, Store
from gate.web import forms
from gate.web.backtest_chart import draw
from gate.web.event_words import TESTED
from gate.web.texts import translate

SHOWN = 10
BEAT_S = 2.0
log = logging.getLogger(__name__)


def choices(tester: Backtester | None) -> Sequence[tuple[str, str]]:
    """(value, words) of what can be lived through; empty where nothing is run here."""
    if tester is None:
        return ()
    every = (RECORDED, "the days that this gate has recorded, 14 of them at most"), (ALL, "all of these scenarios")
    return *((one, one) for one in tester.scenarios), every[1], every[0]


def tab(commit: str) -> Mapping[str, Any]:
    """What the policy's tab shows: the form, what runs, and what came of earlier ones of this version."""
    with g.parts.store.read() as tx:
        busy = tx.running_backtest()
        earlier = tx.backtests(commit, SHOWN)
    busy = None if busy is not None and backtests.died(busy, g.now) else busy
    return {"choices": choices(g.parts.backtester), "busy": busy, "earlier": earlier, "what_of": what_of}


def begin_backtest() -> Response:
    """Begins one, and leads to it, or to the one that runs already."""
    tester: Backtester | None = g.parts.backtester
    what = forms.text("what", 60)
    if tester is None or what not in dict(choices(tester)):
        raise Malformed("bad_field", "what is to be tested is one of those in the form")
    commit = forms.known_commit(forms.text("version", 40))
    g.parts.gate.policy(commit)
    with g.parts.store.write() as tx:
        one, ours = backtests.begin(tx, commit, what, forms.me(), g.now)
    if ours:
        sides = {"this": commit, "other": one.against}
        texts = {side: str(g.parts.gate.texts.read(of)) for side, of in sides.items() if side == "this" or of != commit}
        arguments = (g.parts.store, g.parts.clock, tester, one, texts)
        threading.Thread(target=live, args=arguments, name=f"backtest-{one.id}", daemon=True).start()
    return redirect(url_for("backtest", test_id=one.id), 303)


def live(store: Store, clock: Clock, tester: Backtester, one: Backtest, texts: Mapping[str, str]) -> None:
    """Runs one to its end, and says how far it is."""
    said_at = 0.0

    def told(done: float) -> bool:
        nonlocal said_at
        if time.monotonic() - said_at < BEAT_S:
            return True
        said_at = time.monotonic()
        with store.write() as tx:
            return backtests.beat(tx, one.id, done, clock.now())

    problem, found = "", None
    try:
        found = tester.run(texts, one.what, one.asked_at, told)
    except GateError as refused:
        problem = refused.detail
    except Exception:  # a thread's edge: whoever looks must not wait for ever
        log.exception("a back-test failed")
        problem = "it failed; the log says why"
    with store.write() as tx:
        backtests.end(tx, one, found, problem, clock.now())


def backtest(test_id: str) -> str:
    """One: how far it is, or what came of it.

    Raises:
        NotFound: no such back-test.
    """
    with g.parts.store.read() as tx:
        found, active = tx.backtest(test_id), tx.active_policy()
    if found is None:
        raise NotFound(f"there is no back-test {test_id}")
    came: Mapping[str, Any] = found.found or {"rows": [], "worse": [], "days": [], "notes": []}
    days = [{**one, "began_at": datetime.fromisoformat(one["began_at"])} for one in came["days"]]
    return render_template(
        "backtest.html",
        test=found,
        active=active,
        died=backtests.died(found, g.now),
        what_of=what_of,
        rows=came["rows"],
        sides={row["policy"] for row in came["rows"]},
        worse=came["worse"],
        days=days,
        notes=came["notes"],
        picture=draw(came["rows"], g.language, lambda text: translate(text, g.language)),
        states=BacktestState,
    )


def stop_backtest(test_id: str) -> Response:
    """Ends one that runs."""
    with g.parts.store.write() as tx:
        backtests.stop(tx, test_id, forms.me(), g.now)
    return redirect(url_for("backtest", test_id=test_id), 303)


def what_of(what: str) -> str:
    """What was lived through, in the visitor's language; a scenario by its name."""
    return translate(TESTED[what], g.language) if what in TESTED else what


VIEWS = (
    ("/policy/backtests", begin_backtest, "policy", ["POST"]),
    ("/policy/backtests/<test_id>", backtest, "view", ["GET"]),
    ("/policy/backtests/<test_id>/stop", stop_backtest, "policy", ["POST"]),
)
