"""What takes long for a large fleet is made beside the request: one at a time, in a thread, kept for a while.

- A page never waits: it shows what was made, or since when it is being made, or why it could not be.
- Of different things ``MOST`` wait at a time; more are refused: each holds a thread, and an edit can be any text.
- What failed is not tried anew before its reason has been shown for ``SHOWN``.
- Python hands its lock on every ``YIELD_S`` meanwhile: a page asks the database dozens of times, and each time it would
  wait for 5 ms to go on.
- The same thing is not made twice at once. What is older than ``fresh`` is made anew, the old one shown till then.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from gate.core.errors import Busy, GateError
from gate.ports import Store, Tx

KEPT = 8
MOST = 5
SHOWN = timedelta(minutes=1)
YIELD_S = 0.0002
log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """``since``: it is being made; ``found``: the last one, as of ``at``; ``problem``: why there is none,
    shown first at ``at``."""

    since: datetime | None = None
    at: datetime | None = None
    found: T | None = None
    problem: str = ""


class _Yielding:
    """Who is in here lets the other threads go on sooner. Python has one interval for the whole process: the first sets
    it, the last puts it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside, self._usual = 0, 0.0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(YIELD_S)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                sys.setswitchinterval(self._usual)


class Beside(Generic[T]):
    """What one process has made beside its requests, by key."""

    _yielding = _Yielding()

    def __init__(self, store: Store, fresh: timedelta) -> None:
        self._store, self._fresh = store, fresh
        self._lock = threading.Lock()
        self._busy = threading.Lock()
        self._made: dict[str, Made[T]] = {}

    def get(self, key: str, now: datetime, act: Callable[[Tx], T]) -> Made[T]:
        """What there is; begun where there is none, or an old one.

        Raises:
            Busy: as many others wait as may; an old one is shown all the same.
        """
        with self._lock:
            made: Made[T] = self._made.get(key) or Made()
            if made.problem and made.at is None:
                made = self._made[key] = replace(made, at=now)
            if made.problem and made.at is not None and now - made.at < SHOWN:
                return made
            old = made.found is None or made.at is None or now - made.at >= self._fresh
            full = sum(one.since is not None for one in self._made.values()) >= MOST
            if made.since is None and old and full and made.found is None:
                raise Busy("others have asked for as much as can be worked out at once; try again in a moment")
            if made.since is None and old and not full:
                made = replace(made, since=now, problem="")
                if len(self._made) >= KEPT:
                    for one in [one for one, other in self._made.items() if other.since is None]:
                        del self._made[one]
                self._made[key] = made
                threading.Thread(target=self._make, args=(key, now, act), daemon=True).start()
            return made

    def wait(self) -> None:
        """Until what has begun is made."""
        while any(made.since is not None for made in list(self._made.values())):
            with self._busy:
                pass

    def _make(self, key: str, now: datetime, act: Callable[[Tx], T]) -> None:
        with self._busy:
            try:
                with self._yielding, self._store.read() as tx:
                    made: Made[T] = Made(at=now, found=act(tx))
            except GateError as problem:
                made = Made(problem=problem.detail)
            except Exception:  # a thread's edge: whoever looks must not wait for ever
                log.exception("what was to be made beside a request failed")
                made = Made(problem="it failed; the log says why")
            with self._lock:
                self._made[key] = made
