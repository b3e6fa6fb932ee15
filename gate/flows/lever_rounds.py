"""The rounds that tell vendors what is wanted of them, as the worker makes them.

- Each hold has a thread of its own, which ends with the process: a halt waits for no other call, nor for what another
  plugin says of itself.
- A plugin runs outside of any transaction; what it answered is kept in one. One that fails is an answer: not done.
- A plugin that cannot say how a recall would go is asked ``TRIES`` times, after ``AGAIN`` and then less and less often;
  then it is left to hands.
- What remembers here only saves work: what is wanted and what is done are in the store.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from gate.core.errors import GateError, Overtaken, SourceError
from gate.core.policy import Policy, SourceRule
from gate.flows import orders
from gate.flows.look import configured
from gate.flows.rounds import Transactions
from gate.hookspecs import Announced, Held, Published, RecallPlan, Released
from gate.ports import Clock, Gate, MoveDue, Sources, Tx

log = logging.getLogger(__name__)
AGAIN, TRIES = timedelta(minutes=1), 5
PUBLISH, HOLD = "gate_publish", "gate_hold"


@dataclass(frozen=True, slots=True)
class Hands:
    """What a round needs, and what this process remembers. ``hooks``: plugin -> what it has."""

    within: Transactions
    gate: Gate
    clock: Clock
    sources: Sources
    options: Mapping[str, Mapping[str, str]]
    blobs: Path
    hooks: dict[str, frozenset[str]] = field(default_factory=dict)

    def policy(self) -> Policy | None:
        """The active one."""
        active = self.within.read(lambda tx: tx.active_policy())
        return self.gate.policy(active.commit) if active else None

    def has(self, plugin: str, hook: str) -> bool:
        """Whether a plugin has a hook; False while it cannot say."""
        if plugin not in self.hooks:
            try:
                self.hooks[plugin] = frozenset(self.sources.hooks(plugin))
            except GateError as problem:
                log.error("plugin %s: %s", plugin, problem)
                return False
        return hook in self.hooks[plugin]

    def lacks(self, plugin: str, hook: str) -> bool:
        """Whether a plugin has said that it has no such hook; asks nobody."""
        return hook not in self.hooks.get(plugin, (hook,))

    def publishes(self, source: str) -> bool:
        """Whether this source's vendor delivers, by its plugin."""
        policy = self.policy()
        rule = policy.source(source) if policy else None
        return rule is not None and self.has(rule.plugin, PUBLISH)


class HoldRounds:
    """Those of one worker: each source's vendor is asked beside the others."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._busy: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def once(self) -> list[threading.Thread]:
        """Begins what is due; returns what has begun."""
        hands, now = self._hands, self._hands.clock.now()
        policy = hands.policy()
        names = [rule.name for rule in policy.sources] if policy else []
        stopped = hands.within.read(lambda tx: orders.sources_stopped(tx, names))
        begun: list[threading.Thread] = []
        for rule in policy.sources if policy else ():
            if rule.name in stopped and not hands.lacks(rule.plugin, HOLD):
                due = hands.within.read(lambda tx, of=rule.name: orders.holds_due(tx, of, now))  # type: ignore[misc]
                begun += [self._thread(rule, one) for one in due if self._mine(one)]
        return begun

    def _thread(self, rule: SourceRule, due: orders.HoldDue) -> threading.Thread:
        thread = threading.Thread(target=self._hold, args=(rule, due), name="worker-hold", daemon=True)
        thread.start()
        return thread

    def _mine(self, due: orders.HoldDue) -> bool:
        with self._lock:
            if (due.source, due.ring) in self._busy:
                return False
            self._busy.add((due.source, due.ring))
            return True

    def _hold(self, rule: SourceRule, due: orders.HoldDue) -> None:
        hands = self._hands
        reason = due.rollout.halted_because or "held by the gate"
        try:
            if not hands.has(rule.plugin, HOLD) and hands.lacks(rule.plugin, HOLD):
                return
            alone = hands.within.read(lambda tx: orders.quiet(tx, due.source, due.ring, hands.clock.now()))
            try:
                said = hands.sources.hold(rule.plugin, configured(rule, hands.options), due.ring, reason)
            except SourceError as problem:
                said = Held(False, problem.detail)
            if not said.ok:
                log.error("source %s ring %s: its vendor has not stopped: %s", due.source, due.ring, said.detail)
            hands.within.write(lambda tx: orders.held(tx, due, said, hands.clock.now(), alone=alone))
        except Overtaken:
            log.info("source %s ring %s: another worker has asked its vendor", due.source, due.ring)
        except Exception:
            log.exception("source %s ring %s: the hold cannot be kept", due.source, due.ring)
        finally:
            with self._lock:
                self._busy.discard((due.source, due.ring))


class MoveRounds:
    """Those of one worker: which machines get what, and how a recall would go."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._admitted: dict[str, int] = {}
        self._planned: set[tuple[str, int]] = set()
        self._tried: dict[tuple[str, str], tuple[int, datetime]] = {}

    def once(self, alone: Callable[[str, str, Callable[[], None]], None]) -> None:
        """A round over every source; ``alone`` keeps one that fails from the others."""
        policy = self._hands.policy()
        halted = self._hands.within.read(lambda tx: tx.rollouts(states=orders.PLANNED, opened=True))
        self._planned &= {(one.id, one.version) for one in halted}
        new = [one for one in halted if (one.id, one.version) not in self._planned]
        for rule in policy.sources if policy else ():
            if self._hands.has(rule.plugin, PUBLISH):
                alone("vendor", rule.name, lambda one=rule: self._publish(one))  # type: ignore[misc]
            mine = [(one.id, one.version) for one in new if one.source == rule.name]
            if mine:
                alone("recall plan", rule.name, lambda one=rule, of=mine: self._plan(one, of))  # type: ignore[misc]

    def _publish(self, rule: SourceRule) -> None:
        hands, now = self._hands, self._hands.clock.now()
        fleet = hands.within.read(lambda tx: tx.fleet_version())
        if self._admitted.get(rule.name) != fleet:
            hands.within.write(lambda tx: orders.admit(tx, rule.name, now))
            self._admitted[rule.name] = fleet
        for dues in hands.within.read(lambda tx: orders.moves(tx, rule.name, now)):
            self._move(rule, dues)

    def _move(self, rule: SourceRule, dues: list[MoveDue]) -> None:
        hands, ring = self._hands, dues[0].machine.ring
        hands.within.write(lambda tx: orders.begun(tx, rule.name, ring, hands.clock.now()))
        try:
            self._tell(rule, ring, dues)
        finally:
            hands.within.write(lambda tx: orders.ended(tx, rule.name, ring, hands.clock.now()))

    def _tell(self, rule: SourceRule, ring: str, dues: list[MoveDue]) -> None:
        hands, wanted = self._hands, dues[0].release
        if hands.within.read(lambda tx: orders.stopped(tx, wanted)):  # since the round began, whose calls are slow
            return
        release = hands.within.read(lambda tx: self._released(tx, wanted))
        told = [orders.receiver(one.machine) for one in dues]
        try:
            said = hands.sources.publish(rule.plugin, configured(rule, hands.options), ring, release, told)
        except SourceError as problem:
            said = Published((), problem.detail)
        if len(said.machines) < len(dues):
            log.warning("source %s ring %s: its vendor has not done it: %s", rule.name, ring, said.detail)
        hands.within.write(lambda tx: orders.moved(tx, rule.name, dues, said, hands.clock.now()))

    def _released(self, tx: Tx, release_id: str) -> Released | None:
        found = tx.release(release_id) if release_id else None
        if found is None:
            return None
        announced = tuple(Announced(one.name, one.length, one.sha256) for one in found.artifacts)
        files = {one.name: self._hands.blobs / one.sha256 for one in found.artifacts}
        return Released(found.hex, found.version, announced, files)

    def _plan(self, rule: SourceRule, halted: list[tuple[str, int]]) -> None:
        hands, source, waits = self._hands, configured(rule, self._hands.options), False
        for rollout, ring, bad, good in hands.within.read(lambda tx: list(orders.unplanned(tx, rule.name))):
            now = hands.clock.now()
            tries, at = self._tried.get((rollout.id, ring), (0, now))
            if tries and abs(now - at) < AGAIN * 2 ** (tries - 1):
                waits = True
                continue
            try:
                said = hands.sources.recall_plan(rule.plugin, source, ring, bad.version, good)
            except SourceError as problem:
                log.warning("source %s ring %s: no recall plan: %s", rule.name, ring, problem.detail)
                if tries + 1 < TRIES:
                    self._tried[rollout.id, ring] = tries + 1, now
                    waits = True
                    continue
                said = RecallPlan("none", (f"The plugin could not say how: {problem.detail}",), False)
            hands.within.write(
                lambda tx, of=rollout, at=ring, how=said: orders.plan(tx, of, at, how, hands.clock.now())  # type: ignore[misc]
            )
            self._tried.pop((rollout.id, ring), None)
        if not waits:
            self._planned.update(halted)
