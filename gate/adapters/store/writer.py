"""Group commit: many requests share one durable commit; none waits for a timer.

- One writer thread a process. It takes whatever waits, runs one act after another, commits once, answers all. What
  comes before an act (reading, verifying) runs on that thread too: sixty threads that want the interpreter at once
  cost more than the work itself.
- An act that raises before it has written anything is simply not there. One that raises later spoils the batch, which
  is undone and run again with a savepoint for each act: rare, and dearer only then.
- A transaction that met another one's locks crosswise is undone by the database and run again.
- An act that raises rolls back only itself; a commit that fails is everybody's ``Unavailable``.
- A caller never waits past its deadline, also when the writer is gone: then the answer is ``Unavailable``, and the act
  either has not begun or is known by its stored answer to a repeat of the same call.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError

from gate.adapters.store.rows import Spoilt
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core.errors import GateError, Overtaken, Unavailable

T = TypeVar("T")
LOG = logging.getLogger(__name__)
MOST = 256
TRIES = 10
Act = Callable[[Any], Any]
Outcome = tuple[Any, BaseException | None]


class _Waiting:
    """One act that waits for a commit; a bare lock wakes its caller, which is far cheaper than a condition."""

    __slots__ = ("act", "before", "done", "given_up", "outcome", "speaker")

    def __init__(self, act: Act, before: Callable[[], str] | None) -> None:
        self.act, self.before, self.speaker = act, before, ""
        self.outcome: Outcome = (None, None)
        self.given_up = False
        self.done = threading.Lock()
        self.done.acquire()


class GroupCommit:
    """Shares commits of one process on one store."""

    def __init__(self, store: SqlStore, timeout_s: float = 20.0) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, act: Callable[[Any], T], before: Callable[[], str] | None = None) -> T:
        """Runs ``act`` in a shared transaction; returns its answer once it is durable. ``before`` runs ahead of that
        transaction and returns the key id of the machine that the act is about, so that all of a batch are read at
        once; where it raises, there is no act.

        Raises:
            Unavailable: the commit failed, or the deadline passed.
            Exception: whatever the act itself raised; then nothing of it is stored.
        """
        waiting = _Waiting(act, before)
        self._waiting.put(waiting)
        self._supervise()
        if not waiting.done.acquire(timeout=self._timeout_s):
            waiting.given_up = True
            raise Unavailable("the database is too slow just now", 10)
        value, error = waiting.outcome
        if error is not None:
            raise error
        found: T = value
        return found

    def close(self) -> None:
        """Stops the writer after what waits now."""
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(self._timeout_s)

    def _supervise(self) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="group-commit", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            if first is None:
                return
            batch, stop = [first], False
            while len(batch) < MOST and not self._waiting.empty():
                more = self._waiting.get()
                if more is None:
                    stop = True
                    break
                batch.append(more)
            self._commit([one for one in batch if not one.given_up and _begun(one)])
            if stop:
                return

    def _commit(self, batch: list[_Waiting]) -> None:
        if not batch:
            return
        try:
            done = self._run_all([one.act for one in batch], [one.speaker for one in batch if one.speaker])
        except BaseException as problem:  # noqa: BLE001  (the writer must outlive any failure of one commit)
            LOG.warning("a shared commit failed: %s", problem)
            failure = problem if isinstance(problem, GateError) else Unavailable("the commit failed", 5)
            done = [(None, failure)] * len(batch)
        for one, outcome in zip(batch, done, strict=True):
            one.outcome = outcome
            one.done.release()

    def _run_all(self, acts: list[Act], speakers: list[str]) -> list[Outcome]:
        careful, overtaken = False, 0
        while True:
            try:
                with self._store.write() as tx:
                    tx.shared = not careful
                    if tx.shared and len(speakers) > 1:
                        tx.expect(speakers)
                    done = [_attempt(tx, act, careful) for act in acts]
                    tx.settle()
                    return done
            except Spoilt:
                careful = True
            except Overtaken:
                overtaken += 1
                if overtaken == TRIES:
                    raise


def _begun(one: _Waiting) -> bool:
    try:
        if one.before is not None:
            one.speaker = one.before()
        return True
    except Exception as problem:  # noqa: BLE001  (whatever it is, its caller is told)
        one.outcome = (None, problem)
        one.done.release()
        return False


def _attempt(tx: SqlTx, act: Act, careful: bool) -> Outcome:
    before = tx.writes
    try:
        if not careful:
            return act(tx), None
        with tx.savepoint():
            return act(tx), None
    except (Unavailable, DBAPIError):  # the database's own trouble is everybody's: the transaction is lost
        raise
    except Exception as problem:
        if not careful and tx.writes != before:
            raise Spoilt from problem
        return None, problem
