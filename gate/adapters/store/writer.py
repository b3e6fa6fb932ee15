"""Group commit: many requests share one durable commit; none waits for a timer.

- One writer thread a process. It takes whatever waits, runs one act after another, commits once, answers all.
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
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from typing import Any, TypeVar

from gate.adapters.store.rows import Spoilt
from gate.adapters.store.sql import Collision, SqlStore, SqlTx
from gate.core.errors import GateError, Unavailable

T = TypeVar("T")
LOG = logging.getLogger(__name__)
MOST = 256
TRIES = 10
Outcome = tuple[Any, BaseException | None]
Act = Callable[[Any], Any]
Waiting = tuple[Act, str, "Future[Any]"]


class GroupCommit:
    """Shares commits of one process on one store."""

    def __init__(self, store: SqlStore, timeout_s: float = 20.0) -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, act: Callable[[Any], T], speaker: str = "") -> T:
        """Runs ``act`` in a shared transaction; returns its answer once it is durable. ``speaker`` is the key id of
        the machine that the act is about, so that all of a batch are read at once.

        Raises:
            Unavailable: the commit failed, or the deadline passed.
            Exception: whatever the act itself raised; then nothing of it is stored.
        """
        answer: Future[T] = Future()
        self._waiting.put((act, speaker, answer))
        self._supervise()
        try:
            return answer.result(self._timeout_s)
        except Late:
            answer.cancel()
            raise Unavailable("the database is too slow just now", 10) from None

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
            self._commit(batch)
            if stop:
                return

    def _commit(self, batch: list[Waiting]) -> None:
        live = [one for one in batch if one[2].set_running_or_notify_cancel()]
        try:
            done = self._run_all([act for act, _, _ in live], [speaker for _, speaker, _ in live if speaker])
        except BaseException as problem:  # noqa: BLE001  (the writer must outlive any failure of one commit)
            LOG.warning("a shared commit failed: %s", problem)
            failure = problem if isinstance(problem, GateError) else Unavailable("the commit failed", 5)
            for _, _, answer in live:
                answer.set_exception(failure)
            return
        for (_, _, answer), (value, error) in zip(live, done, strict=True):
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(value)

    def _run_all(self, acts: list[Act], speakers: list[str]) -> list[Outcome]:
        careful, collisions = False, 0
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
            except Collision:
                collisions += 1
                if collisions == TRIES:
                    raise


def _attempt(tx: SqlTx, act: Act, careful: bool) -> Outcome:
    before = tx.writes
    try:
        if not careful:
            return act(tx), None
        with tx.savepoint():
            return act(tx), None
    except Unavailable:
        raise
    except Exception as problem:
        if not careful and tx.writes != before:
            raise Spoilt from problem
        return None, problem
