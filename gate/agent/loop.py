"""One round of the agent, and the loop around it.

- A round: notice the boot, finish what a crash interrupted, refresh, check in, tell what has happened since, and only
  then ask for something new. Each part may fail without the others.
- The step stands on disk before the act: ``installing`` before the plugin is called, ``rolling_back`` before it goes
  back. After a crash the plugin is asked what is in place; nothing is installed twice.
- Nothing starts after the lease; the rule is asked again with fresh metadata immediately before applying.
- What a machine's own software takes from the mirror is only looked at, and said with each check-in (``watched``).
- A bad probe is reported, then the release before is put back, and the bad one is never taken again.
"""

from __future__ import annotations

import logging
import shlex
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from gate.agent import boot, calls, install, watched
from gate.agent.accept import Bundle, No, Seen, Yes, accept
from gate.agent.boot import Boot
from gate.agent.calls import CheckInAnswer, WritePlane
from gate.agent.errors import AgentError, Misuse, Refused, Unreachable, Untrusted
from gate.agent.http import Http
from gate.agent.metadata import Manifest, ReadPlane, View, moment
from gate.agent.settings import AgentSettings
from gate.agent.state import ClaimInHand, Installed, State, StateFolder
from gate.hookspecs import Placing

log = logging.getLogger("gate.agent")
Clock = Callable[[], datetime]
UNREACHABLE_S = 30.0
EVENTS_A_CALL = 32


def now_utc() -> datetime:
    """The machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Round:
    """What a round found out."""

    boot: Boot
    view: View | None
    answer: CheckInAnswer | None


class Agent:
    """One machine's agent; its folder must be locked."""

    def __init__(
        self,
        folder: StateFolder,
        settings: AgentSettings,
        *,
        clock: Clock = now_utc,
        session: requests.Session | None = None,
    ) -> None:
        identity, key = folder.identity(), folder.key()
        if identity is None or key is None:
            raise Misuse(f"{folder.path} is not enrolled: gate-agent enrol")
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._identity = identity
        self._http = Http(identity.url, session)
        root = calls.pinned_root(folder.path / "root.json", identity)
        self._read = ReadPlane(self._http, folder.path / "tuf", root)
        self._write = WritePlane(self._http, key, identity, folder)
        self._state = folder.state()
        self._plugins = {
            name: install.Plugin(plugin, settings.targets[name]) for name, plugin in settings.plugins.items()
        }
        self._not_before: dict[str, tuple[datetime, int]] = {}
        self._rebooting = False
        self._spool = folder.path / "spool"

    @property
    def state(self) -> State:
        """What is on disk."""
        return self._state

    def once(self) -> float:
        """One round; returns the seconds until the next should come."""
        this = boot.read(self._settings.boot_id_path, self._settings.uptime_path)
        self._notice(this)
        self._resume()
        found = Round(this, *self._poll(this))
        self._progress(this)
        self._send()
        if found.view is not None and found.answer is not None:
            for source in self._plugins:
                if source in self._settings.watched:
                    self._go_back_by_mirror(source, found.view)
                else:
                    self._guarded(source, found)
            self._progress(this)
            self._send()
        return self._next(found)

    def run(self, stop: threading.Event) -> None:
        """Rounds until ``stop``; an error of one round is logged and the next comes."""
        while not stop.is_set():
            try:
                wait = self.once()
            except AgentError as problem:
                log.warning("%s", problem)
                wait = UNREACHABLE_S
            except OSError as problem:
                log.error("the machine refuses: %s", problem)
                wait = UNREACHABLE_S
            stop.wait(wait)
        self.leave()

    def leave(self) -> None:
        """Says that it goes down as planned; tried once, and never kept for later. Not before a boot of our own."""
        if self._rebooting or not self._state.response_key:
            return
        this = boot.read(self._settings.boot_id_path, self._settings.uptime_path)
        try:
            self._check_in(this, None, {"kind": "going_down", "at": _wire(self._clock()), "detail": ""})
        except (AgentError, OSError) as problem:
            log.info("nobody heard that this machine goes down: %s", problem)

    # what happened before this round

    def _notice(self, this: Boot) -> None:
        state = self._state
        if state.boot_id != this.boot_id:
            state.previous_boot_id, state.boot_id = state.boot_id, this.boot_id
            self._folder.save(state)

    def _resume(self) -> None:
        claim = self._state.claim
        if claim is None or claim.source not in self._plugins:
            return
        if claim.step == "installing":
            placed = self._plugins[claim.source].probe().release
            if placed == _hex(claim.release):
                self._installed(claim)
            else:
                claim.step = "granted"
                self._folder.save(self._state)
        elif claim.step == "rolling_back":
            self._roll_back(claim)
        elif claim.step == "recalling":
            self._go_back(claim, None)

    # talking

    def _poll(self, this: Boot) -> tuple[View | None, CheckInAnswer | None]:
        view = answer = None
        try:
            view = self._refresh()
            bundle, response_key = view.bundle()
            self._bundle: Bundle = bundle
            self._state.response_key = response_key
        except (Unreachable, Untrusted) as problem:
            self._happened("metadata", str(problem))
            view = None
        if not self._state.response_key:
            return None, None
        try:
            answer = self._check_in(this, view)
        except Refused as problem:
            self._say(str(problem))
            self._state.status = problem.kind if problem.kind == "pending" else self._state.status
        except (Unreachable, Untrusted) as problem:
            self._say(str(problem))
        if answer is not None and view is not None and answer.timestamp_version > view.timestamp_version:
            view = self._look_again(answer)
        return view, answer

    def _refresh(self) -> View:
        etag, self._state.etag = self._state.etag, ""
        view, self._state.etag = self._read.refresh(etag, self._clock())
        newest = self._newest()
        if view.issued_at > newest:
            self._state.newest_issued_at = view.issued_at.isoformat()
        self._folder.save(self._state)
        return view

    def _look_again(self, answer: CheckInAnswer) -> View | None:
        """The gate knows a newer timestamp than the file server showed."""
        try:
            view = self._refresh()
        except (Unreachable, Untrusted) as problem:
            self._happened("metadata", str(problem))
            return None
        if view.timestamp_version >= answer.timestamp_version:
            return view
        self._happened(
            "freeze", f"timestamp {view.timestamp_version} is served, the gate has {answer.timestamp_version}"
        )
        return None

    def _check_in(self, this: Boot, view: View | None, last: Mapping[str, str] | None = None) -> CheckInAnswer:
        state = self._state
        sent = state.events[: EVENTS_A_CALL - 1]
        answer = self._write.check_in(
            state,
            state.response_key,
            {
                "boot_id": this.boot_id,
                "uptime_s": round(this.uptime_s, 1),
                "installed": {source: f"sha256:{one.release}" for source, one in state.installed.items()},
                "facts": {**self._settings.facts, **self._observed(view)},
                "timestamp_version": view.timestamp_version if view else 0,
                "events": [*sent, last] if last else sent,
            },
        )
        del state.events[: len(sent)]
        state.ring, state.make, state.status = answer.ring, answer.make, answer.status
        self._folder.save(state)
        return answer

    def _observed(self, view: View | None) -> dict[str, str]:
        """What the software of this machine runs that takes its content by itself, as facts."""
        facts: dict[str, str] = {}
        for source in sorted(self._settings.watched):
            probed = self._plugins[source].probe()
            facts |= watched.facts(source, probed)
            if view is None:
                continue
            try:
                found = watched.installed(view, self._state.ring, source, probed.version, self._state.installed)
            except (Unreachable, Untrusted) as problem:
                self._say(f"{source}: {problem}")
                continue
            if found is None and self._state.installed.pop(source, None) is not None:
                self._happened("not_released", f"{source}: {probed.version or 'nothing'} runs, which no ring names")
            elif found is not None:
                self._state.installed[source] = found
        return facts

    def _go_back_by_mirror(self, source: str, view: View) -> None:
        """A recalled release that still runs: its software is made to fetch anew, where it would not by itself."""
        try:
            recall = watched.recall(view, self._state.ring, source, self._state.installed)
        except (Unreachable, Untrusted) as problem:
            self._say(f"{source}: {problem}")
            return
        if recall is not None:
            placed = self._plugins[source].rollback(*recall)
            self._happened(
                "went_back" if placed.ok else "not_gone_back", f"{source}: {placed.detail or recall[1][:12]}"
            )

    def _send(self) -> None:
        """Reports in order; one that the gate refuses for good is dropped with an event."""
        state = self._state
        while state.reports and state.challenge:
            try:
                self._write.report(state, state.reports[0])
            except Refused as problem:
                if problem.kind not in ("illegal_step", "unknown_claim", "bad_field"):
                    self._say(str(problem))
                    return
                self._happened("report_refused", str(problem))
            except (Unreachable, Untrusted) as problem:
                self._say(str(problem))
                return
            del state.reports[0]
            self._folder.save(state)

    # asking for something new

    def _guarded(self, source: str, found: Round) -> None:
        try:
            self._consider(source, found)
        except Refused as problem:
            wait = timedelta(seconds=problem.retry_after_s)
            assert found.view is not None
            self._not_before[source] = (self._clock() + wait, found.view.timestamp_version)
            self._say(f"{source}: {problem}")
        except (Unreachable, Untrusted) as problem:
            self._say(f"{source}: {problem}")

    def _consider(self, source: str, found: Round) -> None:
        assert found.view is not None
        assert found.answer is not None
        claim = self._state.claim
        if source not in found.answer.sources or (
            claim is not None and (claim.source != source or claim.step not in ("granted", "installed", "booted"))
        ):
            return
        verdict, manifest = self._ask(source, found.view)
        if isinstance(verdict, Yes) and verdict.action == "recall":
            self._recall(source, verdict, manifest, found)
            return
        if claim is not None and claim.step != "granted":
            return
        if isinstance(verdict, No):
            self._give_up(claim, verdict.detail)
            self._say(f"{source}: {verdict.detail}")
            return
        have = self._state.installed.get(source)
        if have is not None and f"sha256:{have.release}" == verdict.release:
            self._say(f"{source}: up to date")
            return
        if _hex(verdict.release) in self._state.quarantined:
            self._say(f"{source}: this release was bad on this machine")
            return
        if claim is None or claim.release != verdict.release:
            until, version = self._not_before.get(source, (self._clock(), -1))
            if self._clock() < until and version == found.view.timestamp_version:
                return
            claim = self._claim(source, verdict, manifest, found.boot)
        self._apply(claim, manifest)

    def _recall(self, source: str, verdict: Yes, manifest: Manifest, found: Round) -> None:
        """Goes back under a claim of its own, or under the one in hand where it is of the recalled release."""
        bad, claim = _hex(verdict.recalls), self._state.claim
        back_to = "" if verdict.recalls == verdict.release else _hex(verdict.release)
        have = self._state.installed.get(source)
        if have is None or have.release != bad:
            self._give_up(claim, "recalled")
            self._say(f"{source}: a recalled release is not in place here")
            return
        if back_to in self._state.quarantined:
            self._say(f"{source}: the release to go back to was bad on this machine")
            return
        if claim is not None and claim.step == "granted" and claim.recalls != bad:
            self._give_up(claim, "recalled")
            claim = None
        if claim is None:
            until, version = self._not_before.get(source, (self._clock(), -1))
            assert found.view is not None
            if self._clock() < until and version == found.view.timestamp_version:
                return
            claim = self._claim(source, verdict, manifest, found.boot)
        claim.recalls, claim.back_to, claim.counter = bad, back_to, manifest.counter
        placing = None
        if back_to and have.previous != back_to:
            placing = install.fetch(self._http, manifest, back_to, self._spool)
            again, _ = self._ask(source, self._refresh())
            if isinstance(again, No) or again != verdict:
                self._give_up(claim, "no recall any more")
                return
        if claim.step == "granted" and self._clock() >= moment(claim.lease_until):
            self._give_up(claim, "the lease has ended")
            return
        claim.step = "recalling"
        self._folder.save(self._state)
        self._go_back(claim, placing)

    def _go_back(self, claim: ClaimInHand, placing: Placing | None) -> None:
        """Puts the release before in place, or none; what was begun before a crash is done again."""
        plugin = self._plugins[claim.source]
        if plugin.probe().release != claim.back_to:
            placed = plugin.install(placing) if placing else plugin.rollback(claim.recalls, claim.back_to)
            if (
                not placed.ok and placing is None and claim.back_to
            ):  # not here any more: it is fetched in the next round
                claim.step = "granted"
                self._state.installed[claim.source].previous = ""
                self._folder.save(self._state)
                return
        probed = plugin.probe()
        probes = tuple((one.name, one.ok, one.detail) for one in probed.probes)
        if probed.release == claim.back_to:
            self._state.installed.pop(claim.source, None)
            if claim.back_to:
                self._state.installed[claim.source] = Installed(claim.back_to, claim.counter)
        good = probed.release == claim.back_to and all(ok for _, ok, _ in probes)
        self._report(claim, "rolled_back" if good else "failed", probes, probed.release)
        self._happened("went_back" if good else "not_gone_back", f"{claim.source}: recalled {claim.recalls[:12]}")
        self._state.claim = None
        self._folder.save(self._state)
        install.forget(self._spool)

    def _ask(self, source: str, view: View) -> tuple[Yes | No, Manifest]:
        state = self._state
        approved = view.approved(state.ring, source)
        listed = view.catalogued(source, approved.release) if approved else None
        have = state.installed.get(source)
        verdict = accept(
            Seen(
                now=self._clock(),
                refreshed_at=view.refreshed_at,
                issued_at=view.issued_at,
                newest_issued_at=self._newest(),
                source=source,
                ring=state.ring,
                make=state.make,
                machine=self._identity.machine,
                approved=approved,
                catalogued=listed[0] if listed else None,
                bundle=self._bundle,
                override=view.override(state.ring, source) if approved else None,
                installed_counter=have.counter if have else 0,
            )
        )
        return verdict, listed[1] if listed else Manifest(source, "", 0, ())

    def _claim(self, source: str, verdict: Yes, manifest: Manifest, this: Boot) -> ClaimInHand:
        found = self._write.claim(self._state, source, verdict.release, this.boot_id)
        have = self._state.installed.get(source)
        try:
            claim = ClaimInHand(
                claim=str(found["claim"]),
                source=source,
                release=verdict.release,
                counter=manifest.counter,
                version=manifest.version,
                lease_until=moment(found["lease_until"]).isoformat(),
                granted_at=moment(found["granted_at"]).isoformat(),
                evidence=str(found["evidence"]),
                reboot=str(found["reboot"]),
                stay_up_s=int(found["stay_up_s"]),
                boots=int(found["boots"]),
                boot_id=this.boot_id,
                previous=have.release if have else "",
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise Untrusted("a claim cannot be read") from problem
        self._state.claim = claim
        self._folder.save(self._state)
        return claim

    def _apply(self, claim: ClaimInHand, manifest: Manifest) -> None:
        digest = _hex(claim.release)
        placing = install.fetch(self._http, manifest, digest, self._spool)
        again, _ = self._ask(claim.source, self._refresh())
        if isinstance(again, No) or again.release != claim.release:
            self._give_up(claim, again.detail if isinstance(again, No) else "another release is approved now")
            return
        if self._clock() >= moment(claim.lease_until):
            self._give_up(claim, "the lease has ended")
            return
        claim.step = "installing"
        self._folder.save(self._state)
        placed = self._plugins[claim.source].install(placing)
        if placed.ok and placed.release == digest:
            self._installed(claim)
        else:
            self._report(claim, "failed", (("install", False, placed.detail),), placed.release)
            self._quarantine(claim, placed.detail or "not put in place")
            self._state.claim = None
            self._folder.save(self._state)
        install.forget(self._spool)

    def _give_up(self, claim: ClaimInHand | None, because: str) -> None:
        """A claim that was not started is let go; the gate learns it from the next check-in."""
        if claim is not None and claim.step == "granted":
            self._happened("claim_not_used", f"{claim.source}: {because}")
            self._state.claim = None
            self._folder.save(self._state)

    # the life of a claim

    def _installed(self, claim: ClaimInHand) -> None:
        before = self._state.installed.get(claim.source)
        digest = _hex(claim.release)
        if before is None or before.release != digest:
            known = (before.release, before.counter) if before else ("", 0)
            self._state.installed[claim.source] = Installed(digest, claim.counter, *known)
        claim.step = "installed"
        claim.installed_at = self._clock().isoformat()
        self._report(claim, "installed", (), digest)
        self._folder.save(self._state)

    def _progress(self, this: Boot) -> None:
        claim = self._state.claim
        if claim is None or claim.step not in ("installed", "booted") or claim.source not in self._plugins:
            return
        if claim.evidence == "boot" and claim.step == "installed":
            if this.boot_id == claim.boot_id:
                self._reboot(claim)
                return
            claim.step = "booted"
            self._report(claim, "booted", (), self._plugins[claim.source].probe().release)
            self._folder.save(self._state)
        if self._waits_s(claim, this) > 0:
            return
        probed = self._plugins[claim.source].probe()
        probes = tuple((one.name, one.ok, one.detail) for one in probed.probes)
        good = probed.release == _hex(claim.release) and all(ok for _, ok, _ in probes)
        self._report(claim, "healthy" if good else "unhealthy", probes, probed.release)
        if not good:
            claim.step = "rolling_back"
            bad = next((f"{name}: {detail}" for name, ok, detail in probes if not ok), "another release is in place")
            self._quarantine(claim, bad)
            self._folder.save(self._state)
            self._roll_back(claim)
            return
        claim.boots_good += 1
        if claim.evidence == "boot" and claim.boots_good < claim.boots:
            claim.step, claim.boot_id = "installed", this.boot_id
        else:
            self._state.claim = None
        self._folder.save(self._state)

    def _waits_s(self, claim: ClaimInHand, this: Boot) -> float:
        """Seconds until it has stayed up long enough, since the boot or the installation."""
        since = this.uptime_s
        if claim.evidence != "boot":
            since = min(since, (self._clock() - moment(claim.installed_at)).total_seconds())
        return claim.stay_up_s - since

    def _roll_back(self, claim: ClaimInHand) -> None:
        placed = self._plugins[claim.source].rollback(_hex(claim.release), claim.previous)
        if placed.ok:
            have = self._state.installed.pop(claim.source, None)
            if claim.previous and have is not None:
                self._state.installed[claim.source] = Installed(claim.previous, have.previous_counter)
        self._report(claim, "rolled_back" if placed.ok else "failed", (), placed.release)
        self._state.claim = None
        self._folder.save(self._state)

    def _reboot(self, claim: ClaimInHand) -> None:
        """``reboot: after install``, once the gate knows that it is installed."""
        if claim.reboot != "after install" or not self._settings.reboot or self._state.reports:
            return
        self._rebooting = True
        subprocess.run(shlex.split(self._settings.reboot), check=False, timeout=60)  # the person's own command

    def _quarantine(self, claim: ClaimInHand, because: str) -> None:
        self._state.quarantined[_hex(claim.release)] = because[:300]

    def _report(self, claim: ClaimInHand, step: str, probes: tuple[tuple[str, bool, str], ...], release: str) -> None:
        this = boot.read(self._settings.boot_id_path, self._settings.uptime_path)
        now = self._clock()
        report: Mapping[str, Any] = {
            "claim": claim.claim,
            "step": step,
            "boot_id": this.boot_id,
            "prev_boot_id": self._state.previous_boot_id or None,
            "booted_at": _wire(now - timedelta(seconds=this.uptime_s)),
            "uptime_s": round(this.uptime_s, 1),
            "release": f"sha256:{release}" if release else "-",
            "probes": [{"name": name, "ok": ok, "detail": detail[:500]} for name, ok, detail in probes],
            "boots": [],
            "observed_at": _wire(now),
        }
        self._state.reports.append(dict(report))
        log.info("%s %s: %s", claim.source, claim.version, step)

    # small words

    def _next(self, found: Round) -> float:
        wait = float(found.answer.poll_after_s) if found.answer else UNREACHABLE_S
        claim = self._state.claim
        if claim is not None and claim.step in ("installed", "booted"):
            left = self._waits_s(claim, found.boot)
            if left > 0 and (claim.evidence != "boot" or claim.step == "booted"):
                wait = min(wait, left + 0.1)
        return max(wait, 0.1)

    def _newest(self) -> datetime:
        return moment(self._state.newest_issued_at) if self._state.newest_issued_at else datetime.fromtimestamp(0, UTC)

    def _happened(self, kind: str, detail: str) -> None:
        events = self._state.events
        if not events or (events[-1]["kind"], events[-1]["detail"]) != (kind, detail[:500]):
            events.append({"kind": kind, "at": _wire(self._clock()), "detail": detail[:500]})
        self._say(detail)

    def _say(self, sentence: str) -> None:
        if sentence != self._state.said:
            self._state.said = sentence
            log.info("%s", sentence)
            self._folder.save(self._state)


def _hex(release: str) -> str:
    return release.removeprefix("sha256:")


def _wire(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
