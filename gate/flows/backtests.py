"""Back-tests that people begin on a page: one at a time in an installation, and what came of each is kept.

- Whoever comes second is shown the one that runs.
- Whoever runs one says so every few seconds. One that has not been heard of for ``QUIET`` died with its process: it
  has failed, and the next may begin. A person may stop it. Who began or stopped one, and of which version and days,
  stands in the audit log.
- The version that is active when it begins is what it is held against. Nothing of the fleet is changed by any of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from gate.core.backtests import DIED, Backtest, BacktestState
from gate.core.errors import NotFound
from gate.ports import Tx

QUIET = timedelta(minutes=2)
KEPT = 200


def begin(tx: Tx, commit: str, what: str, by: str, now: datetime) -> tuple[Backtest, bool]:
    """The back-test that runs from now on, and whether it is this one.

    Raises:
        NotFound: no policy is active.
    """
    active = tx.active_policy()
    if active is None:
        raise NotFound("no policy is active")
    quiet = running(tx, now)
    if quiet is not None:
        return quiet, False
    name = "b-" + hashlib.sha256(f"{commit}/{what}/{by}/{now.isoformat()}".encode()).hexdigest()[:24]
    wanted = Backtest(name, commit, active.commit, what, by, now, now)
    if not tx.begin_backtest(wanted):
        other = tx.running_backtest()
        return (other, False) if other is not None else begin(tx, commit, what, by, now)
    tx.drop_backtests(KEPT)
    tx.append("backtest_begun", by, name, now, {"tested": what, "version": commit, "against": active.commit})
    return wanted, True


def running(tx: Tx, now: datetime) -> Backtest | None:
    """The one that runs; one that died is ended."""
    found = tx.running_backtest()
    if found is None or not died(found, now):
        return found
    tx.end_backtest(_ended(found, BacktestState.FAILED, now, problem=DIED), found.beat_at)
    return tx.running_backtest()


def died(one: Backtest, now: datetime) -> bool:
    """Has nobody been heard of who runs it?"""
    return one.state is BacktestState.RUNNING and now - one.beat_at > QUIET


def beat(tx: Tx, test_id: str, done: float, now: datetime) -> bool:
    """How far it is; False where somebody has stopped it."""
    return tx.beat_backtest(test_id, done, now)


def end(tx: Tx, one: Backtest, found: Mapping[str, Any] | None, problem: str, now: datetime) -> bool:
    """What came of it; False where it was stopped or given up before."""
    state = BacktestState.DONE if found is not None else BacktestState.FAILED
    return tx.end_backtest(_ended(one, state, now, found, problem))


def stop(tx: Tx, test_id: str, by: str, now: datetime) -> Backtest:
    """Ends it without a result; what has ended stays as it is.

    Raises:
        NotFound: no such back-test.
    """
    found = tx.backtest(test_id)
    if found is None:
        raise NotFound(f"there is no back-test {test_id}")
    stopped = _ended(found, BacktestState.STOPPED, now, problem=f"stopped by {by}")
    if found.state is BacktestState.RUNNING and tx.end_backtest(stopped):
        detail = {"tested": found.what, "version": found.commit, "against": found.against}
        tx.append("backtest_stopped", by, test_id, now, detail)
    return found


def _ended(
    one: Backtest, state: BacktestState, now: datetime, found: Mapping[str, Any] | None = None, problem: str = ""
) -> Backtest:
    done = 1.0 if state is BacktestState.DONE else one.done
    return replace(one, state=state, done=done, beat_at=now, ended_at=now, found=found, problem=problem)
