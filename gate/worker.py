"""The worker: a tick looks at the policy's head, sweeps, advances, publishes; other loops move the mirror, look at the
sources, tell their vendors what is wanted, and look at what machines really run.

- Each piece of work stands alone: one that fails is logged, and the next is done all the same.
- Nothing here decides; it calls flows. Several workers may run side by side: correctness rests on the store's
  conditional statements, and one publisher at a time holds the lock.
- A tick shares one second between the looks at controls and what is over and still watched; who had to wait is first in
  the next one. What runs is decided on in each tick.
- Each tick leaves a mark, so that others see that somebody works. What is over for long is shelved, by one worker.
- A plugin that hangs holds up no look at another source, no decision, no publication and no hold.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from gate.core.errors import GateError, OperatorError, Overtaken
from gate.core.model import RolloutState
from gate.core.policy import SourceRule
from gate.core.verdict import Verdict
from gate.flows import (
    advance,
    edits,
    intake,
    levers,
    listening,
    look,
    placing,
    policy_remote,
    protection,
    publication,
    recalls,
    retention,
    retire,
    rounds,
    shadow,
    sweep,
)
from gate.flows.lever_rounds import Hands, HoldRounds, MoveRounds
from gate.flows.look_rounds import LookRounds
from gate.flows.mirror_rounds import MirrorRounds
from gate.flows.observe_rounds import ObserveRounds
from gate.flows.placing import Walked
from gate.hookspecs import Released, Served
from gate.ports import Clock, Gate, Line, Mirror, Publisher, Shelf, Sources, Store, Tx, Wanted

log = logging.getLogger(__name__)
T = TypeVar("T")
BY = "worker"
TRIES = 5
MARK = listening.MARK
MARK_EVERY = timedelta(seconds=5)
LOOKS = timedelta(seconds=1)
KEPT_EVERY = timedelta(minutes=5)
SHELVE = "retention"
FORESEE = "plans"
SHELVE_EVERY = timedelta(hours=1)
LOOK_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """All that the worker needs."""

    store: Store
    gate: Gate
    clock: Clock
    publisher: Publisher
    sources: Sources
    options: Mapping[str, Mapping[str, str]]
    response_key: str
    shelf: Shelf
    mirror: Mirror
    blobs: Path
    """Where artifacts lie by their digest."""
    line: Line
    """As a stock client asks this gate."""
    measure: Callable[[str, str, float], None] = lambda *_: None
    """Told each piece of work: its name, ``done`` or ``failed``, seconds."""
    keep: timedelta = timedelta()
    """How long what is over stays in the database; zero: for ever."""
    fetch: Callable[[], str] | None = None
    """Brings what the remote of the policy repository has; none: there is no remote."""
    tick_s: float = 0.5
    source_s: float = 60.0


class Transactions:
    """Those of a store; one that writes is tried again at once where another worker or a machine was faster."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, act: Callable[[Tx], T]) -> T:
        """What ``act`` finds."""
        with self._store.read() as tx:
            return act(tx)

    def write(self, act: Callable[[Tx], T]) -> T:
        """What ``act`` answers, once it is committed."""
        for _ in range(TRIES - 1):
            try:
                with self._store.write() as tx:
                    return act(tx)
            except Overtaken:
                continue
        with self._store.write() as tx:
            return act(tx)


class Worker:
    """Ticks until it is stopped."""

    def __init__(self, parts: WorkerParts) -> None:
        self._parts = parts
        self._within = Transactions(parts.store)
        hands = Hands(self._within, parts.gate, parts.clock, parts.sources, parts.options, parts.blobs)
        self._holds, self._moves, self._observe = HoldRounds(hands), MoveRounds(hands), ObserveRounds(hands)
        told = hands.publishes
        self._mirror = MirrorRounds(self._within, parts.gate, parts.mirror, parts.blobs, self._serve, told)
        self._looking = look.Looking(
            parts.store, self._within, parts.gate, parts.clock, parts.sources, parts.publisher, parts.options
        )
        self._looks = LookRounds(self._looking, parts.mirror, self._alone, lambda: self._stop.is_set())
        self._tidied: datetime | None = None
        self._kept: tuple[datetime, publication.Kept] | None = None
        self._waits = list[str]()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Every loop, each in its own thread."""
        for name, act, pause in (
            ("worker-tick", self.decide, self._parts.tick_s),
            ("worker-mirror", self.mirror, self._parts.tick_s),
            ("worker-holds", self.hold, self._parts.tick_s),
            ("worker-vendors", self.tell, self._parts.tick_s),
            ("worker-observed", self.observe, self._parts.source_s),
            ("worker-sources", self.look_out, self._parts.source_s),
            ("worker-policy", self.fetch, self._parts.source_s),
            ("worker-retention", self.retain, LOOK_EVERY_S),
            ("worker-plans", self.foresee, LOOK_EVERY_S),
            ("worker-levers", self.prove, LOOK_EVERY_S),
        ):
            thread = threading.Thread(target=self._loop, args=(name, act, pause), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, seconds: float = 90.0) -> None:
        """Ends every loop and every look after what it is at; waits for them no longer than that."""
        self._stop.set()
        until = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(timeout=max(0.0, until - time.monotonic()))
        looks = self._looks.at_work()  # none begins once the loops have ended
        for thread in looks:
            thread.join(timeout=max(0.0, until - time.monotonic()))
        late = [thread.name for thread in (*self._threads, *looks) if thread.is_alive()]
        log.log(logging.WARNING if late else logging.INFO, "the worker has ended%s", f" without {late}" if late else "")

    def tick(self) -> None:
        """What is decided, and the mirror after it, in this thread."""
        self.decide()
        self.mirror()

    def mirror(self) -> None:
        """Moves what stock clients are served to where it has been decided; waits for plugins that lay it out."""
        now = self._parts.clock.now()
        self._alone("mirror", "", lambda: self._mirror.once(now))

    def decide(self) -> None:
        """Everything that time or a report may have made due."""
        now = self._parts.clock.now()
        self._alone("policy", "", lambda: self._activate(now))
        gate, within = self._parts.gate, self._within
        self._alone("sweep", "", lambda: rounds.sweep(within, gate, now))
        self._alone("morning", "", lambda: rounds.morning(within, gate, now, lambda: not self._stop.is_set()))
        self._alone("recall", "", lambda: self._recall(now))
        self._alone("queue", "", lambda: self._begin(now))
        self._alone("watch", "", lambda: self._look_after(now))
        judged, until = self._judged(now), self._parts.clock.now() + LOOKS
        waited, self._waits = [one for one in self._waits if one in judged], []
        for rollout_id in [*waited, *(one for one in judged if one not in waited)]:
            work, act = judged[rollout_id]
            if work == "watch" and self._parts.clock.now() >= until:
                self._waits.append(rollout_id)
                continue
            self._alone("controls", rollout_id, lambda one=rollout_id: self._compare(one, now, until))  # type: ignore[misc]
            if rollout_id not in self._waits:
                self._alone(work, rollout_id, lambda act=act, one=rollout_id: act(one, now))  # type: ignore[misc]
        self._alone("publication", "", lambda: self.publish(now))
        self._alone("mark", "", lambda: self._mark(now))

    def retain(self) -> None:
        """Retires what nobody has any more, compares the machines of each site, shelves what has been over for long;
        one worker, once an hour. Each tidies the spools of its own host."""
        parts, now = self._parts, self._parts.clock.now()
        if self._tidied is None or abs(now - self._tidied) >= SHELVE_EVERY:
            self._tidied = now
            parts.sources.tidy()
        with parts.store.read() as tx:
            last = tx.mark(SHELVE).at
        if last is not None and abs(now - last) < SHELVE_EVERY:
            return
        with parts.store.write() as tx:
            if not tx.take_turn(SHELVE, now, SHELVE_EVERY):
                return
            tx.drop_expired(now)
            retire.retire(tx, now)
        shadow.compare_sites(parts.store, parts.gate, now)
        while parts.keep and not self._stop.is_set():
            if retention.shelve_some(parts.store, parts.shelf, parts.keep, now) == 0:
                break
        parts.publisher.tidy(now)

    def foresee(self) -> None:
        """Will every release be everywhere by its time? One worker, once an hour; it plans, and only alarms."""
        parts, now = self._parts, self._parts.clock.now()
        with parts.store.read() as tx:
            active, last = tx.active_policy(), tx.mark(FORESEE).at
        if active is None or all(s.must_be_everywhere_by is None for s in parts.gate.policy(active.commit).sources):
            return
        if last is not None and abs(now - last) < protection.FORESEE_EVERY:
            return
        with parts.store.write() as tx:
            mine = tx.take_turn(FORESEE, now, protection.FORESEE_EVERY)
        if mine:
            protection.foresee(parts.store, parts.gate, now)

    def look_out(self) -> None:
        """Begins a look at every source of the active policy; waits for none of them."""
        self._looks.once()

    def look(self) -> None:
        """As ``look_out``, and waits for all of them."""
        for one in self._looks.once():
            one.join()

    def hold(self) -> None:
        """Begins to hold at their vendors what has halted; waits for none of them."""
        self._holds.once()

    def held(self) -> None:
        """As ``hold``, and waits for all of them."""
        for one in self._holds.once():
            one.join()

    def tell(self) -> None:
        """Tells vendors which machines may have what, and asks how a recall would go."""
        self._moves.once(self._alone)

    def observe(self) -> None:
        """What machines really run."""
        with self._parts.store.read() as tx:
            active = tx.active_policy()
        if active is not None:
            self._observe.once(self._parts.gate.policy(active.commit).sources, self._alone)

    def prove(self) -> None:
        """Each source's lever, once a month, as a stock client would try it."""
        parts, now = self._parts, self._parts.clock.now()
        with parts.store.read() as tx:
            active = tx.active_policy()
            rules = parts.gate.policy(active.commit).sources if active else ()
            marks = tx.marks([levers.PROBED + rule.name for rule in rules])
        for rule in rules:
            if not self._stop.is_set() and levers.due(marks.get(levers.PROBED + rule.name), now):
                self._alone("lever", rule.name, lambda one=rule: self._prove(one, now))  # type: ignore[misc]

    def _prove(self, rule: SourceRule, now: datetime) -> None:
        probe = levers.prove(self._within, self._parts.mirror, self._parts.line, rule, BY, now)
        if probe.shown is levers.Shown.BROKEN:
            log.error("lever of %s: %s", rule.name, probe.detail)

    def fetch(self) -> None:
        """Brings what the remote of the policy repository has; the next tick judges it."""
        parts = self._parts
        if parts.fetch is not None:
            policy_remote.look(parts.store, parts.fetch, parts.clock.now())

    def publish(self, now: datetime) -> None:
        """Makes the read plane say what has been decided."""
        parts = self._parts

        def wanted() -> Wanted | None:
            with parts.store.read() as tx:
                if self._kept is None or abs(now - self._kept[0]) >= KEPT_EVERY:
                    self._kept = now, publication.kept(tx, parts.gate)
                root = parts.publisher.root_sha256
                return publication.wanted(tx, parts.gate, parts.response_key, root, self._kept[1])

        parts.publisher.reconcile(wanted, now)

    def _mark(self, now: datetime) -> None:
        with self._parts.store.read() as tx:
            last = tx.mark(MARK).at
        if last is None or abs(now - last) >= MARK_EVERY:
            with self._parts.store.write() as tx:
                tx.set_mark(MARK, now)

    def _activate(self, now: datetime) -> None:
        parts = self._parts
        with parts.store.read() as tx:
            active = tx.active_policy()
            signed = edits.signed(tx, parts.gate, now)
        for proposal in signed:  # a process died over it
            self._alone("proposal", proposal, lambda one=proposal: self._finish(one, now))  # type: ignore[misc]
        head = self._head()
        if active is None or active.problem or head != active.commit:
            judged = active is not None and f"commit {head[:12]} " in active.problem  # a walk would show no more
            if judged:
                refused = self._within.write(lambda tx: self._taken_up(tx, now, None))
            else:
                refused = placing.written(
                    parts.store, lambda: parts.gate.policy(head), lambda tx, fleet: self._taken_up(tx, now, fleet)
                )
            if refused:
                log.warning("policy: %s", refused)

    def _head(self) -> str:
        """The branch's head; empty where the repository cannot be read."""
        try:
            return self._parts.gate.texts.head()
        except OperatorError as problem:
            log.error("policy: %s", problem)
            return ""

    def _taken_up(self, tx: Tx, now: datetime, fleet: Walked | None) -> str:
        """What is wrong with the head, where that is new."""
        before = tx.active_policy()
        edits.activate_head(tx, self._parts.gate, BY, now, fleet)
        after = tx.active_policy()
        return after.problem if before is not None and after is not None and after.problem != before.problem else ""

    def _finish(self, proposal: str, now: datetime) -> None:
        store, gate = self._parts.store, self._parts.gate
        placing.written(
            store,
            lambda: placing.proposed(store, gate, proposal),
            lambda tx, fleet: edits.finish(tx, gate, proposal, now, fleet),
        )

    def _recall(self, now: datetime) -> None:
        with self._parts.store.read() as tx:
            halted = tx.rollouts(states=(RolloutState.HALTED,), limit=1)
        if halted:
            self._within.write(lambda tx: recalls.by_policy(tx, self._parts.gate, now))

    def _begin(self, now: datetime) -> None:
        gate = self._parts.gate
        for source in self._within.read(intake.may_begin):
            self._within.write(lambda tx, of=source: intake.promote_queued(tx, gate, of, now))  # type: ignore[misc]

    def _judged(self, now: datetime) -> dict[str, tuple[str, Callable[[str, datetime], None]]]:
        """What runs, then what is over and still watched, each with how it is judged."""
        found = dict[str, tuple[str, Callable[[str, datetime], None]]]()
        try:
            with self._parts.store.read() as tx:
                running, over = tx.rollouts(states=(RolloutState.RUNNING,)), tx.exposed()
        except GateError as problem:
            log.error("decisions: %s", problem)
            return found
        found |= {one.id: ("decision", self._advance) for one in running}
        for one, last in over:
            try:
                if advance.watched(self._parts.gate, one, last, now):
                    found[one.id] = "watch", self._watch
            except GateError as problem:
                log.error("watch %s: %s", one.id, problem)
        return found

    def _compare(self, rollout_id: str, now: datetime, until: datetime) -> None:
        """A look at the controls, where one is due. After ``until`` it waits: then the rollout is among the next tick's
        first, and is not decided on without."""
        parts = self._parts
        if not rounds.compare(self._within, parts.gate, rollout_id, now, lambda: parts.clock.now() < until):
            self._waits.append(rollout_id)

    def _advance(self, rollout_id: str, now: datetime) -> None:
        for one in self._within.write(lambda tx: advance.advance_rollout(tx, self._parts.gate, rollout_id, now)):
            if one.verdict is Verdict.HALT:
                because = next(reason.detail for reason in one.reasons if reason.verdict is Verdict.HALT)
                log.warning("rollout %s is halted: %s", rollout_id, because)

    def _look_after(self, now: datetime) -> None:
        parts = self._parts
        with parts.store.read() as tx:
            due = tx.watched(now, 1)
        if due:
            self._within.write(lambda tx: sweep.look_after(tx, parts.gate, now))

    def _watch(self, rollout_id: str, now: datetime) -> None:
        gate, within = self._parts.gate, self._within
        if within.read(lambda tx: advance.halting(tx, gate, rollout_id, now)) is None:
            return
        halted = within.write(lambda tx: advance.watch_rollout(tx, gate, rollout_id, now))
        if halted is not None:
            log.warning("rollout %s is halted: %s", rollout_id, halted.halted_because)

    def _serve(self, source: str, ring: str, release: Released, at: datetime) -> tuple[Path, Served | None]:
        """What stock clients see of a release, as the source's plugin lays it out."""
        parts = self._parts
        with parts.store.read() as tx:
            active = tx.active_policy()
        rule = parts.gate.policy(active.commit).source(source) if active else None
        if rule is None:
            return parts.blobs, None
        return parts.sources.serve(rule.plugin, look.configured(rule, parts.options), ring, release, at)

    def _alone(self, work: str, of: str, act: Callable[[], None]) -> None:
        began, outcome = time.perf_counter(), "done"
        try:
            act()
        except Overtaken:
            outcome = "overtaken"
            log.info("%s %s: others were faster; the next tick looks again", work, of)
        except GateError as problem:
            outcome = "failed"
            log.error("%s %s: %s", work, of, problem)
        except Exception:
            outcome = "failed"
            log.exception("%s %s failed", work, of)
        self._parts.measure(work, outcome, time.perf_counter() - began)

    def _loop(self, name: str, act: Callable[[], None], pause: float) -> None:
        while not self._stop.is_set():
            self._alone(name, "", act)
            self._stop.wait(pause)
