"""One round of the agent, and the loop around it.

- A round: notice the boot and how the one before ended, finish what a crash interrupted, refresh, check in, tell what
  has happened since, and only then ask for something new. Each part may fail without the others.
- The step stands on disk before the act (``hands``); nothing is installed twice.
- Where it has put another release of itself in place, or has gone back to one, it ends after that round (``itself``).
- A stop of the machine is written down at once, beside whatever a round does, and said after it; a stop of the agent
  alone, or one of which nobody knows, is neither. Nothing new is begun once it is to stop.
"""

from __future__ import annotations

import logging
import threading

import requests

from gate.agent import calls
from gate.agent.asking import Asking
from gate.agent.boot import Boot
from gate.agent.calls import CheckInAnswer, WritePlane
from gate.agent.diary import Boots, Clock, Diary
from gate.agent.errors import AgentError, Misuse
from gate.agent.hands import Hands
from gate.agent.http import Http
from gate.agent.metadata import ReadPlane
from gate.agent.plugin import Plugin
from gate.agent.probes import Probes
from gate.agent.settings import AgentSettings
from gate.agent.state import ClaimInHand, State, StateFolder
from gate.agent.system import this_system
from gate.agent.talk import Talk
from gate.agent.times import now_utc, wire

log = logging.getLogger("gate.agent")
UNREACHABLE_S = 30.0
MOST_LATER_S = 3600.0
GOING_DOWN = "stopping"  # as `systemctl is-system-running` says it


class Agent:
    """One machine's agent; its folder must be locked. ``on_trial``: it is the release of itself that is on trial."""

    def __init__(
        self,
        folder: StateFolder,
        settings: AgentSettings,
        *,
        clock: Clock = now_utc,
        session: requests.Session | None = None,
        system: Boots | None = None,
        on_trial: bool = False,
    ) -> None:
        identity, key = folder.identity(), folder.key()
        if identity is None or key is None:
            raise Misuse(f"{folder.path} is not enrolled: gate-agent enrol")
        http = Http(identity.url, session, settings.proxy, settings.ca)
        root = calls.pinned_root(folder.path / "root.json", identity)
        write = WritePlane(http, key, identity, folder)
        self._plugins = {name: Plugin(plugin, settings.targets[name]) for name, plugin in settings.plugins.items()}
        self._diary = Diary(folder, settings, clock, system or this_system())
        unproven = "" if on_trial else settings.itself
        self._hands = Hands(self._diary, self._plugins, Probes(settings.probes).ask, unproven)
        self._itself = self._own()
        self._talk = Talk(self._diary, ReadPlane(http, folder.path / "tuf", root), write, self._plugins)
        spool = folder.path / "spool"
        self._asking = Asking(self._diary, self._talk, self._hands, write, http, identity.machine, spool)
        self._stop = threading.Event()

    @property
    def state(self) -> State:
        """What is on disk."""
        return self._diary.state

    def once(self) -> float:
        """One round; returns the seconds until the next should come."""
        this, diary = self._diary.boot(), self._diary
        diary.folder.reserve()
        diary.begin(this)
        diary.settle(this)
        self._hands.count(this)
        self._hands.resume(this)
        view, answer = self._talk.poll(this)
        if view is not None and answer is not None:
            self._hands.heard()
        self._hands.progress(this)
        self._talk.send()
        if view is not None and answer is not None:
            for source in self._plugins:
                if self._stop.is_set():
                    break
                if source in diary.settings.watched:
                    self._talk.go_back_by_mirror(source, view)
                else:
                    self._asking.about(source, this, view, answer)
            self._hands.progress(this)
            self._talk.send()
        return self._next(this, answer)

    def run(self, stop: threading.Event) -> None:
        """Rounds until ``stop``; an error of one round is logged and the next comes."""
        self._stop = stop
        marking = threading.Thread(target=self._mark_in_time, daemon=True)
        marking.start()
        while not stop.is_set():
            try:
                wait = self.once()
            except AgentError as problem:
                log.warning("%s", problem)
                wait = UNREACHABLE_S
            except OSError as problem:
                log.error("the machine refuses: %s", problem)
                wait = UNREACHABLE_S
            if self._own() != self._itself:
                log.info("another release of the agent is in place: it is started anew")
                stop.set()
            stop.wait(wait)
        marking.join()
        self.leave()

    def leave(self) -> None:
        """Writes down that the machine goes down as planned, and says so once; saying it is never kept for later.

        Where the system does not say that it goes down, it is the agent alone that stops. A boot of our own is not
        said: it comes back at once."""
        if not self._mark() or self._hands.rebooting or not self._diary.state.response_key:
            return
        try:
            last = {"kind": "going_down", "at": wire(self._diary.clock()), "detail": ""}
            this = self._diary.boot()
            self._talk.check_in(this, None, last)
            self._diary.said_down(this)
        except (AgentError, OSError) as problem:
            log.info("nobody heard that this machine goes down: %s", problem)

    def _own(self) -> str:
        """The release of itself that is in place; empty: what it came with."""
        have = self._diary.state.installed.get(self._diary.settings.itself)
        return have.release if have else ""

    def _mark_in_time(self) -> None:
        """A round may take longer than a machine waits for the agent."""
        self._stop.wait()
        try:
            self._mark()
        except (AgentError, OSError) as problem:
            log.error("not written down that this machine goes down: %s", problem)

    def _mark(self) -> bool:
        if self._diary.system.running().system != GOING_DOWN:
            return False
        self._diary.folder.mark_down(self._diary.boot().boot_id)
        return True

    def _next(self, this: Boot, answer: CheckInAnswer | None) -> float:
        later = max(UNREACHABLE_S, min(self._talk.later_s, MOST_LATER_S))
        wait = float(answer.poll_after_s) if answer else later
        claim: ClaimInHand | None = self._diary.state.claim
        if claim is not None and claim.step in ("installed", "booted"):
            left = self._hands.waits_s(claim, this)
            if left > 0 and (claim.evidence != "boot" or claim.step == "booted"):
                wait = min(wait, left + 0.1)
        return max(wait, 0.1)
