"""What the agent writes down, and where it looks: its state, its clock, its boots. No network.

- What is said to the gate is made fit for it here, and nowhere else (``texts``): whatever a panic or a probe holds, no
  report is refused for it, and none is too large.
- What is said to the gate is kept until the gate has taken it: reports in their order, events beside them.
- A report is dropped only after ``KEEP`` by the gate's own clock. One that was written under a clock that cannot be
  right (behind a timestamp that was signed before) counts from the day on which it is first sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from gate.agent import boot, boots
from gate.agent.accept import BEHIND
from gate.agent.boot import Boot
from gate.agent.boots import Cause, Ended, Left, Running
from gate.agent.deadline import Deadline
from gate.agent.settings import AgentSettings
from gate.agent.state import ClaimInHand, State, StateFolder, known
from gate.agent.texts import SHORT, clean
from gate.agent.times import moment, wire

log = logging.getLogger("gate.agent")
Clock = Callable[[], datetime]
Answers = Sequence[tuple[str, bool, str]]
KEEP = timedelta(days=30)
BOOTS_SAID = 16
PROBES_SAID = 32
FACTS_SAID = 32
PANICS = 64
"""Texts that are remembered though they lie nowhere any more: they may only be on their way."""
OVER_AND_OVER = ("metadata", "freeze")
"""Said once while it waits to be told: a line that fails now so, now so, must not push out what happened."""
PANICS_S = 5.0
"""For reading what panics left: it lies in firmware, and a boot is to be counted whatever that does."""
PENDING = ("installing", "installed", "booted")
NOT_USED = "claim_not_used"


class Boots(Protocol):
    """What this machine's system knows of its boots. ``this``: the id of the present one, empty where a file has it."""

    def this(self) -> str: ...
    def ended(self, known: Sequence[Ended]) -> tuple[Ended, ...]: ...
    def panics(self) -> tuple[Left, ...]: ...
    def running(self) -> Running: ...
    def boot_count(self) -> int | None: ...


class Diary:
    """One machine's state, and what is said of it."""

    def __init__(self, folder: StateFolder, settings: AgentSettings, clock: Clock, system: Boots) -> None:
        self.folder, self.settings, self.clock, self.system = folder, settings, clock, system
        self.state: State = folder.state()
        self._looked, self._left = False, Deadline()

    def boot(self) -> Boot:
        """This boot.

        Raises:
            Misuse: this machine does not say which.
        """
        return boot.read(self.settings.boot_id_path, self.settings.uptime_path, self.settings.awake, self.system.this())

    def boots(self) -> tuple[Ended, ...]:
        """The boots that are remembered, the present one last."""
        return tuple(known(Ended, one) for one in self.state.boots)

    def newest(self) -> datetime:
        """The newest moment that the gate has signed."""
        said = self.state.newest_issued_at
        return moment(said) if said else datetime.fromtimestamp(0, UTC)

    def save(self) -> None:
        """Durable when it returns."""
        self.folder.save(self.state)

    def begin(self, this: Boot) -> None:
        """A new boot is written down, with how the one before it ended, as far as that can be known this early."""
        state, mark = self.state, self._mark()
        if not state.boots or state.boots[-1]["boot_id"] != this.boot_id:
            at = wire(self.clock() - timedelta(seconds=this.uptime_s))
            known = self.boots() or ((Ended(state.boot_id),) if state.boot_id not in ("", this.boot_id) else ())
            found = boots.begun(known, this.boot_id, at, bool(mark) and mark == state.boot_id)
            if state.boot_id != this.boot_id:
                state.previous_boot_id, state.boot_id = state.boot_id, this.boot_id
                state.at_boot = {source: one.release for source, one in state.installed.items()}
            self._remember(found)
        if mark:  # of the boot before, or it was the agent alone that stopped
            self.folder.unmark_down()

    def settle(self, this: Boot) -> None:
        """Once in a boot the system's logs are asked how those before it ended; a crash's text may have come late."""
        if self.state.settled_boot == this.boot_id:
            return
        self.state.settled_boot = this.boot_id
        self._remember(boots.merged(self.boots(), self.system.ended(self.boots())))
        before = self.boots()[-2:-1]
        if before and before[0].ended == "clean" and before[0].boot_id != self.state.said_down:
            self._event("ended_clean", clean(before[0].boot_id))
            self.save()

    def said_down(self, this: Boot) -> None:
        """The gate has heard that this boot ends as planned: that need not be said again in the next."""
        self.state.said_down = this.boot_id
        self.save()

    def _mark(self) -> str:
        """The mark of a planned stop as this process found it: one that is written while it runs is for the next."""
        found, self._looked = "" if self._looked else self.folder.marked_down(), True
        return found

    def _remember(self, found: tuple[Ended, ...]) -> None:
        """The boots, with the crashes that left a text since; each crash is said once."""
        state = self.state
        told = {one.boot_id for one in self.boots() if one.cause == Cause.CRASH}
        left = {one.key: one for one in self._panics()}
        strange: list[str] = []
        for one in left.values():
            if one.key not in state.panics:
                after = boots.crashed(found, one)
                found, strange = after or found, strange if after else [*strange, one.text]
        gone = [key for key in state.panics if key not in left]
        state.boots, state.panics = boots.plain(found), [*gone[-PANICS:], *left]
        for crash in found:
            if crash.cause == Cause.CRASH and crash.boot_id not in told:
                self.happened("crashed", crash.detail or crash.boot_id)
        for text in strange if len(found) > 1 else ():
            self.happened("crash_found", f"of a boot that is not known here: {text}")
        self.save()

    def _panics(self) -> tuple[Left, ...]:
        try:
            return self._left.ask(self.system.panics, PANICS_S) or ()
        except OSError as problem:
            log.error("what panics left cannot be read: %s", problem)
            return ()

    def report(self, claim: ClaimInHand, step: str, probes: Answers, release: str) -> None:
        """Queues a report; durable with the next ``save``."""
        this, now = self.boot(), self.clock()
        told = list(boots.since(self.boots(), claim.tried[0] if claim.tried else claim.boot_id))
        said = [
            {"name": clean(name, SHORT) or "-", "ok": ok, "detail": clean(detail)}
            for name, ok, detail in sorted(probes, key=lambda one: one[1])[:PROBES_SAID]
        ]
        self.state.reports.append(
            {
                "claim": claim.claim,
                "step": step,
                "boot_id": clean(this.boot_id, SHORT),
                "prev_boot_id": clean(self.state.previous_boot_id, SHORT) or None,
                "booted_at": wire(now - timedelta(seconds=this.uptime_s)),
                "uptime_s": round(this.awake_s, 1),
                "release": clean(f"sha256:{release}", SHORT) if release else "-",
                "probes": said,
                "boots": [_said(one) for one in told if one.started_at and one.boot_id][-BOOTS_SAID:],
                "observed_at": wire(now),
                "kept_at": now.isoformat() if now >= self.newest() - BEHIND else "",
            }
        )
        log.info("%s %s: %s", claim.source, claim.version, step)

    def prune(self, server_time: datetime) -> None:
        """Drops reports that nobody has taken for ``KEEP``, by the gate's clock."""
        reports = self.state.reports
        for one in reports:
            at = moment(one["kept_at"]) if one.get("kept_at") else None
            if at is None or at > server_time:
                one["kept_at"] = server_time.isoformat()
        kept = [one for one in reports if server_time - moment(one["kept_at"]) <= KEEP]
        if len(kept) < len(reports):
            self.happened("reports_dropped", f"{len(reports) - len(kept)} reports were older than {KEEP.days} days")
            self.state.reports = kept

    def facts(self, more: Mapping[str, str]) -> dict[str, str]:
        """What this machine says about itself: its settings', and ``more``."""
        found = {clean(name, SHORT): clean(text, SHORT) for name, text in {**self.settings.facts, **more}.items()}
        return {name: text for name, text in list(found.items())[:FACTS_SAID] if name}

    def happened(self, kind: str, detail: str) -> None:
        """An event for the next check-in."""
        self._event(kind, clean(detail))
        self.say(detail)

    def _event(self, kind: str, detail: str) -> None:
        events = self.state.events
        said = [(one["kind"], one["detail"]) for one in (events if kind in OVER_AND_OVER else events[-1:])]
        if (kind, detail) not in said:
            events.append({"kind": kind, "at": wire(self.clock()), "detail": detail})

    def not_used(self, claim: ClaimInHand, because: str) -> None:
        """A claim that was not begun is let go; its slot is free once the gate has heard this."""
        self.state.claim = None
        self.happened(NOT_USED, f"{claim.claim} {claim.source}: {because}")
        self.say(f"{claim.source}: {because}")
        self.save()

    def let_go(self) -> bool:
        """A claim was let go of which the gate has not heard yet."""
        return any(one["kind"] == NOT_USED for one in self.state.events)

    def say(self, sentence: str) -> None:
        """The last sentence about why nothing happens."""
        sentence = clean(sentence)
        if sentence != self.state.said:
            self.state.said = sentence
            log.info("%s", sentence)
            self.save()


def _said(one: Ended) -> dict[str, Any]:
    return {"boot_id": clean(one.boot_id, SHORT), "started_at": one.started_at, "ended": one.ended}
