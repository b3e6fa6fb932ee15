"""What the agent writes down, and where it looks: its state, its clock, its boots. No network.

- What is said to the gate is kept until the gate has taken it: reports in their order, events beside them.
- A report is dropped only after ``KEEP`` by the gate's own clock. One that was written under a clock that cannot be
  right (behind a timestamp that was signed before) counts from the day on which it is first sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from gate.agent import boot, boots
from gate.agent.accept import BEHIND
from gate.agent.boot import Boot
from gate.agent.boots import Cause, Ended, Running
from gate.agent.settings import AgentSettings
from gate.agent.state import ClaimInHand, State, StateFolder
from gate.agent.times import moment, wire

log = logging.getLogger("gate.agent")
Clock = Callable[[], datetime]
Answers = Sequence[tuple[str, bool, str]]
KEEP = timedelta(days=30)
BOOTS_SAID = 16
PENDING = ("installing", "installed", "booted")


class Boots(Protocol):
    """What this machine's system knows of its boots."""

    def ended(self, settled: Collection[str]) -> tuple[Ended, ...]: ...
    def panics(self) -> dict[str, str]: ...
    def running(self) -> Running: ...
    def boot_count(self) -> int | None: ...


class Diary:
    """One machine's state, and what is said of it."""

    def __init__(self, folder: StateFolder, settings: AgentSettings, clock: Clock, system: Boots) -> None:
        self.folder, self.settings, self.clock, self.system = folder, settings, clock, system
        self.state: State = folder.state()

    def boot(self) -> Boot:
        """This boot.

        Raises:
            Misuse: this machine does not say which.
        """
        return boot.read(self.settings.boot_id_path, self.settings.uptime_path, self.settings.awake)

    def boots(self) -> tuple[Ended, ...]:
        """The boots that are remembered, the present one last."""
        return tuple(Ended(**one) for one in self.state.boots)

    def newest(self) -> datetime:
        """The newest moment that the gate has signed."""
        said = self.state.newest_issued_at
        return moment(said) if said else datetime.fromtimestamp(0, UTC)

    def save(self) -> None:
        """Durable when it returns."""
        self.folder.save(self.state)

    def begin(self, this: Boot) -> None:
        """A new boot is written down, with how the one before it ended, as far as that can be known this early."""
        state = self.state
        if state.boots and state.boots[-1]["boot_id"] == this.boot_id:
            if state.down:  # it was the agent alone that stopped
                state.down = ""
                self.save()
            return
        texts = self.system.panics()
        panic = next((text for name, text in texts.items() if name not in state.panics), "")
        well = bool(state.down) and state.down == (state.boot_id or None)
        at = wire(self.clock() - timedelta(seconds=this.uptime_s))
        known = self.boots() or ((Ended(state.boot_id),) if state.boot_id not in ("", this.boot_id) else ())
        found = boots.begun(known, this.boot_id, at, well, panic)
        state.boots, state.panics, state.down = boots.plain(found), list(texts), ""
        if state.boot_id != this.boot_id:
            state.previous_boot_id, state.boot_id = state.boot_id, this.boot_id
            state.at_boot = {source: one.release for source, one in state.installed.items()}
        if panic and len(found) > 1:
            self.happened("crashed", panic)
        self.save()

    def settle(self, this: Boot) -> None:
        """Once in a boot the system's log is asked how those before it ended."""
        state = self.state
        if state.settled_boot == this.boot_id:
            return
        known = self.boots()
        settled = {one.boot_id for one in known if one.ended != "unknown"}
        found = boots.merged(known, self.system.ended(settled))
        told = {one.boot_id for one in known if one.cause == Cause.CRASH}
        for one in found:
            if one.cause == Cause.CRASH and one.boot_id not in told:
                self.happened("crashed", one.detail or one.boot_id)
        state.boots, state.settled_boot = boots.plain(found), this.boot_id
        self.save()

    def report(self, claim: ClaimInHand, step: str, probes: Answers, release: str) -> None:
        """Queues a report; durable with the next ``save``."""
        this, now = self.boot(), self.clock()
        told = list(boots.since(self.boots(), claim.tried[0] if claim.tried else claim.boot_id))
        self.state.reports.append(
            {
                "claim": claim.claim,
                "step": step,
                "boot_id": this.boot_id,
                "prev_boot_id": self.state.previous_boot_id or None,
                "booted_at": wire(now - timedelta(seconds=this.uptime_s)),
                "uptime_s": round(this.awake_s, 1),
                "release": f"sha256:{release}" if release else "-",
                "probes": [{"name": name[:128], "ok": ok, "detail": detail[:500]} for name, ok, detail in probes],
                "boots": [_said(one) for one in told if one.started_at][-BOOTS_SAID:],
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

    def happened(self, kind: str, detail: str) -> None:
        """An event for the next check-in."""
        events = self.state.events
        if not events or (events[-1]["kind"], events[-1]["detail"]) != (kind, detail[:500]):
            events.append({"kind": kind, "at": wire(self.clock()), "detail": detail[:500]})
        self.say(detail)

    def say(self, sentence: str) -> None:
        """The last sentence about why nothing happens."""
        if sentence != self.state.said:
            self.state.said = sentence
            log.info("%s", sentence)
            self.save()


def _said(one: Ended) -> dict[str, Any]:
    return {"boot_id": one.boot_id, "started_at": one.started_at, "ended": one.ended}
