"""The rounds that look at what machines really run, as the worker makes them.

- Looked at are machines that were heard of since the last round, and of them those that say something new. A machine
  that is past the gate is looked at with every word of its own.
- Where a vendor delivers, it is asked itself, for every machine, each ``VENDOR_EVERY``.
- A plugin that fails leaves what is known as it is; that is an event once, and one when it answers again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from gate.core.bypass import Standing
from gate.core.errors import OperatorError, Overtaken, SourceError
from gate.core.model import Machine
from gate.core.policy import SourceRule
from gate.flows import observed, orders
from gate.flows.lever_rounds import PUBLISH, Hands
from gate.flows.look import configured
from gate.flows.observed import Heard
from gate.hookspecs import Observed
from gate.ports import Tx

log = logging.getLogger(__name__)
OBSERVED = "gate_observed"
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
VENDOR_EVERY = timedelta(minutes=5)
OVERLAP = timedelta(minutes=2)
PAGE = 200
Alone = Callable[[str, str, Callable[[], None]], None]
"""(what, of which source, the act)."""


class ObserveRounds:
    """Those of one worker; what it remembers only saves work."""

    def __init__(self, hands: Hands) -> None:
        self._hands = hands
        self._heard = NEVER
        self._asked: dict[str, datetime] = {}
        self._known: dict[tuple[str, str], tuple[str, str, str]] = {}

    def once(self, rules: Sequence[SourceRule], alone: Alone) -> None:
        """A round; ``alone`` keeps one source that fails from the others. Machines are walked once for all sources."""
        now = self._hands.clock.now()
        asked = [one for one in rules if self._hands.has(one.plugin, PUBLISH) and self._hands.has(one.plugin, OBSERVED)]
        for rule in asked:
            if abs(now - self._asked.get(rule.name, NEVER)) >= VENDOR_EVERY:
                alone("observed", rule.name, lambda one=rule: self._ask(one, now))  # type: ignore[misc]
        others = [one for one in rules if one not in asked]
        since = min(self._heard, now) - OVERLAP if self._heard > NEVER else NEVER
        alone("observed", "", lambda: self._walk(others, since, now))

    def _ask(self, rule: SourceRule, now: datetime) -> None:
        if all(self._keep(rule, [observed.heard(*one, rule.name) for one in page], now) for page in self._pages(NEVER)):
            self._asked[rule.name] = now

    def _walk(self, rules: Sequence[SourceRule], since: datetime, now: datetime) -> None:
        again = {  # a way past the gate ends with an opening; what was unknown may have come in since
            (one.source, one.machine)
            for standing in (Standing.BYPASSED, Standing.UNKNOWN)
            for one in self._hands.within.read(lambda tx, of=standing: tx.observations(of.value, limit=10_000))  # type: ignore[misc]
        }
        for page in self._pages(since) if rules else ():
            for rule in rules:
                said = [observed.heard(*one, rule.name) for one in page]
                self._keep(
                    rule, [one for one in said if (rule.name, one.machine.id) in again or self._new(rule, one)], now
                )
        self._heard = now  # whom a plugin could not read is new with its next word

    def _pages(self, since: datetime) -> Iterator[list[tuple[Machine, Mapping[str, str]]]]:
        after = ""
        while page := self._hands.within.read(lambda tx: tx.heard_since(since, after, PAGE)):  # noqa: B023  (at once)
            after = page[-1][0].id
            yield page

    def _new(self, rule: SourceRule, said: Heard) -> bool:
        return self._known.get((rule.name, said.machine.id)) != _word(said)

    def _keep(self, rule: SourceRule, said: Sequence[Heard], now: datetime) -> bool:
        """False where the plugin has failed."""
        delivers = self._hands.has(rule.plugin, PUBLISH)
        asked = [one for one in said if delivers or one.report]
        try:
            read = self._read(rule, asked) if asked and self._hands.has(rule.plugin, OBSERVED) else {}
        except (SourceError, OperatorError) as problem:
            log.warning("source %s: what machines run cannot be read: %s", rule.name, problem.detail)
            self._hands.within.write(lambda tx, said=problem.detail: _failed(tx, rule.name, said, now))  # type: ignore[misc]
            return False
        if asked:
            self._hands.within.write(lambda tx: _failed(tx, rule.name, "", now))
        for one in said:
            try:
                seen = read.get(one.machine.id)
                self._hands.within.write(lambda tx, of=one, as_read=seen: observed.keep(tx, rule, of, as_read, now))  # type: ignore[misc]
                self._known[rule.name, one.machine.id] = _word(one)
            except Overtaken:
                log.info("machine %s: another worker has judged what it runs", one.machine.id)
        return True

    def _read(self, rule: SourceRule, asked: Sequence[Heard]) -> dict[str, Observed]:
        source = configured(rule, self._hands.options)
        reports = [(orders.receiver(one.machine), one.report) for one in asked]
        answers = self._hands.sources.observed(rule.plugin, source, reports) or []
        pairs = zip(asked, answers, strict=False)  # a plugin that has lost the hook answers nothing
        return {one.machine.id: answer for one, answer in pairs if answer is not None}


def _word(said: Heard) -> tuple[str, str, str]:
    return said.installed, said.report, said.machine.ring


def _failed(tx: Tx, source: str, detail: str, now: datetime) -> None:
    """An event where this is new; without ``detail``: it answers."""
    last = trouble(tx, source)
    if detail and detail[: orders.LONG] != last:
        tx.append("observe_failed", "gate", _subject(source), now, {"detail": detail[: orders.LONG]})
    elif last and not detail:
        tx.append("observe_recovered", "gate", _subject(source), now)


def trouble(tx: Tx, source: str) -> str:
    """Why nobody can read what a source's machines run; empty: it can be read."""
    last = next(iter(tx.events(subject=_subject(source), limit=1)), None)
    return str(last.detail.get("detail", "")) if last is not None and last.kind == "observe_failed" else ""


def _subject(source: str) -> str:
    return f"source:{source}/observed"
