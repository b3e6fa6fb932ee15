"""The agent's own releases: who counts the starts of one that is on trial, and who goes back.

- They come from a source like any other's content (``itself`` in the settings), through rings, under a claim.
- ``/usr/bin/gate-agent`` is replaced by none of them. It runs the code in place; while that is on trial, the code
  before it. So ``gate-agent early`` counts boots, and goes back, by code that was healthy.
- Who has put another release of itself in place ends. Started again, it is the code before still, and nurses the new
  one, its child: each start stands on disk before it, and is taken back only where the child was asked to stop.
- After ``tries`` starts that ended by themselves, or wrote nothing down within ``SILENT_S``, the release before is put
  back, the new one is quarantined, and the report says what it said last.
- Only the new one itself proves that it is good, as all content is proven: ``stay_up``, probes; and by an answer of the
  gate's, since nobody could take back one that talks to no gate. Then both end, and what is in place is started. A
  start that had no answer within ``HEARD_S`` has failed.
- What the new one wrote into the state must be readable by the one before: fields are added, none gets another meaning.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from gate.agent.diary import Boots, Clock, Diary
from gate.agent.errors import Misuse
from gate.agent.hands import Hands
from gate.agent.plugin import Plugin
from gate.agent.settings import AgentSettings
from gate.agent.state import ClaimInHand, State, StateFolder

TICK_S = 1.0
AGAIN_S = 10.0
STOP_S = 35.0
SILENT_S = 3600.0
"""A first round may hold an installation that is gone on with, and an artifact."""

HEARD_S = 4 * 3600.0
"""Longer than a line is down as a rule; going back for nothing is the cheaper mistake."""


def on_trial(state: State, source: str) -> ClaimInHand | None:
    """The claim under which a release of the agent itself is to be proven."""
    claim = state.claim
    return claim if claim is not None and claim.source == source and claim.step in ("installed", "booted") else None


class Nurse:
    """Starts the release on trial with ``words``, and watches it."""

    def __init__(
        self,
        folder: StateFolder,
        settings: AgentSettings,
        clock: Clock,
        system: Boots,
        words: Sequence[str],
        again_s: float = AGAIN_S,
        silent_s: float = SILENT_S,
        heard_s: float = HEARD_S,
    ) -> None:
        self._folder, self._settings, self._clock, self._system = folder, settings, clock, system
        self._words, self._again_s, self._silent_s, self._heard_s = words, again_s, silent_s, heard_s

    def run(self, stop: threading.Event) -> None:
        """Until nothing is on trial any more, or ``stop``.

        Raises:
            AgentError, OSError: nothing is half done.
        """
        said = ""
        while not stop.is_set() and self._counted(said):
            said = self._watched(stop)
            if stop.is_set():
                self._taken_back()
            elif self._still():
                stop.wait(self._again_s)

    def _counted(self, said: str) -> bool:
        """Writes down that it is started once more; False: nothing is on trial, or enough starts have failed."""
        with self._locked():
            diary = Diary(self._folder, self._settings, self._clock, self._system)
            this, source, held = diary.boot(), self._settings.itself, diary.state.claim
            if held is None or held.source != source:  # it is proven; what it has taken since is none of ours
                return False
            hands = Hands(diary, {source: Plugin(self._settings.plugins[source], self._settings.targets[source])})
            diary.begin(this)
            hands.count(this)
            hands.resume(this)
            claim = on_trial(diary.state, source)
            if claim is None:
                return False
            if claim.starts < claim.tries:
                claim.starts += 1
                diary.save()
                return True
            hands.back.begin(claim, f"{claim.starts} starts of the agent did not last: {said or 'it ended'}")
            diary.save()
            hands.back.roll_back(claim, this)
            return False

    def _taken_back(self) -> None:
        with self._locked():
            state = self._folder.state()
            claim = on_trial(state, self._settings.itself)
            if claim is not None and claim.starts:
                claim.starts -= 1
                self._folder.save(state)

    def _watched(self, stop: threading.Event) -> str:
        """One start, to its end; what it said last."""
        child = subprocess.Popen(list(self._words), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert child.stderr is not None
        last = _Last(child.stderr)
        written, start = self._written(), time.monotonic()
        began = written
        while child.poll() is None and not stop.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(TICK_S)
            lasted = time.monotonic() - start
            mute = written == began and lasted > self._silent_s
            if mute or (lasted > self._heard_s and not self._heard()):
                child.kill()
                child.wait()
                return (
                    f"it wrote nothing down within {self._silent_s:g} s"
                    if mute
                    else f"the gate did not answer it within {self._heard_s:g} s"
                )
            if written != self._written():
                written = self._written()
                if not self._still():
                    break
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.terminate()
            child.wait(STOP_S)
        child.kill()
        return last.line or f"exit {child.wait()}"

    def _written(self) -> int:
        with contextlib.suppress(OSError):
            return (self._folder.path / "state.json").stat().st_mtime_ns
        return 0

    def _heard(self) -> bool:
        """The gate has answered it, as far as that can be read."""
        try:
            claim = on_trial(self._folder.state(), self._settings.itself)
        except Misuse:
            return True
        return claim is None or claim.heard

    def _still(self) -> bool:
        """It is on trial still, as far as that can be read."""
        try:
            return on_trial(self._folder.state(), self._settings.itself) is not None
        except Misuse:
            return True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.lock()
        try:
            yield
        finally:
            self._folder.unlock()


class _Last:
    """Passes on what a child says, and keeps its last line."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._line = pipe, ""
        self._thread = threading.Thread(target=self._pass, daemon=True)
        self._thread.start()

    @property
    def line(self) -> str:
        """Once the child has ended."""
        self._thread.join(TICK_S)
        return self._line

    def _pass(self) -> None:
        with self._pipe:
            for raw in self._pipe:
                text = raw.decode(errors="replace")
                sys.stderr.write(text)
                self._line = text.strip() or self._line
