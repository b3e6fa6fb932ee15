"""The rounds that look at sources, as the worker makes them.

- Each source has a thread of its own, which ends with the process: one that is slow or hangs delays no other.
  ``AT_WORK`` of them are at work at once, the others wait for their turn.
- A source that is still being looked at, or waits for its turn, is not begun again.
- What its plugin says that its lever is comes before the first look, once for each source and its rule.
- What a source takes up on the disk is measured once an hour, and after something has come in: pages only read it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from gate.core.policy import SourceRule
from gate.flows import levers, look, sources
from gate.ports import Mirror

AT_WORK = 4
WEIGH_EVERY = timedelta(hours=1)
Alone = Callable[[str, str, Callable[[], None]], None]
"""(what, of which source, the act)."""


class LookRounds:
    """Those of one worker; what it remembers only saves work."""

    def __init__(self, parts: look.Looking, mirror: Mirror, alone: Alone, stopped: Callable[[], bool]) -> None:
        """``alone`` keeps what fails from the rest; ``stopped``: what has not begun is not begun any more."""
        self._parts = parts
        self._mirror = mirror
        self._alone = alone
        self._stopped = stopped
        self._claims: dict[str, SourceRule] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(AT_WORK)

    def once(self) -> list[threading.Thread]:
        """Begins a look at every source of the active policy that is not being looked at; returns what has begun."""
        with self._parts.store.read() as tx:
            active = tx.active_policy()
        rules = self._parts.gate.policy(active.commit).sources if active else ()
        with self._lock:
            idle = [rule for rule in rules if rule.name not in self._threads]
            begun = [self._thread(rule, active.commit) for rule in idle if active]
            self._threads |= {rule.name: thread for rule, thread in zip(idle, begun, strict=True)}
            for thread in begun:
                thread.start()
        return begun

    def at_work(self) -> list[threading.Thread]:
        """The looks that have begun and not ended."""
        with self._lock:
            return list(self._threads.values())

    def _thread(self, rule: SourceRule, commit: str) -> threading.Thread:
        return threading.Thread(target=self._in_turn, args=(rule, commit), name=f"look {rule.name}", daemon=True)

    def _in_turn(self, rule: SourceRule, commit: str) -> None:
        try:
            with self._turns:
                if self._stopped():
                    return
                if self._claims.get(rule.name) != rule:
                    self._alone("claim", rule.name, lambda: self._claim(rule))
                self._alone("source", rule.name, lambda: self._look(rule, commit))
        finally:
            with self._lock:
                del self._threads[rule.name]

    def _claim(self, rule: SourceRule) -> None:
        parts = self._parts
        found = parts.sources.describe(rule.plugin)
        found = levers.of_streams(found, look.configured(rule, parts.options).options)
        parts.within.write(lambda tx: levers.note_claim(tx, rule, found, parts.clock.now()))
        self._claims[rule.name] = rule

    def _look(self, rule: SourceRule, commit: str) -> None:
        try:
            look.look_at(self._parts, rule, commit)
        finally:
            self._weigh(rule.name, rule.keep)

    def _weigh(self, source: str, keep: int) -> None:
        parts, now = self._parts, self._parts.clock.now()
        with parts.store.read() as tx:
            last, newest = tx.mark(sources.DISK + source).at, tx.releases(source, keep)
        came = last is not None and any(one.first_seen_at > last for one in newest)
        if last is None or came or abs(now - last) >= WEIGH_EVERY:
            files = {one.sha256: one.length for release in newest for one in release.artifacts}
            taken = parts.publisher.taken(source, files) + self._mirror.taken(source) + parts.sources.taken(source)
            parts.within.write(lambda tx: tx.set_mark(sources.DISK + source, now, taken))
