"""A source's plugin on this machine; whatever it raises is an answer, not a crash."""

from __future__ import annotations

from gate import hookspecs
from gate.agent.deadline import Deadline
from gate.agent.errors import Misuse
from gate.hookspecs import Placed, Placing, Probed, ProbeResult, Target

PROBE_S = 60.0
ACT_S = 900.0
"""For an installation, and for going back: some fetch by themselves."""
NO_ANSWER = f"no answer within {ACT_S:g} s"


class Plugin:
    """One source's plugin on this machine.

    Raises:
        Misuse: there is no such plugin.
    """

    def __init__(self, name: str, target: Target) -> None:
        try:
            self._hooks = hookspecs.load(name, "agent")
        except LookupError as problem:
            raise Misuse(str(problem)) from problem
        self._target = target
        self._acting, self._looking = Deadline(), Deadline()

    @property
    def hangs(self) -> bool:
        """An installation, or going back, has not ended within its time, and may end yet."""
        return self._acting.hangs

    def install(self, placing: Placing) -> Placed:
        """Puts a release in place; an exception, or no answer in time, is a failed installation."""
        found = self._acting.ask(lambda: self._install(placing), ACT_S)
        return found or Placed(False, "", NO_ANSWER)

    def rollback(self, release: str, good: str) -> Placed:
        """Goes back; an exception, or no answer in time, is a failed rollback."""
        found = self._acting.ask(lambda: self._rollback(release, good), ACT_S)
        return found or Placed(False, release, NO_ANSWER)

    def look(self) -> tuple[Probed, bool]:
        """What is in place and whether it works; the bool: did it say so? No answer in time is a bad probe."""
        found = self._looking.ask(self._probe, PROBE_S)
        return found or (Probed("", (ProbeResult("probe", False, f"no answer within {PROBE_S:g} s"),)), False)

    def probe(self) -> Probed:
        """As ``look``, for whom a bad probe is enough."""
        return self.look()[0]

    def in_place(self) -> str | None:
        """The hex digits of what is in place, empty: nothing; None where the plugin does not say."""
        probed, answered = self.look()
        return probed.release if answered else None

    def _install(self, placing: Placing) -> Placed:
        try:
            placed = hookspecs.call(self._hooks, "gate_agent_install", Placed, target=self._target, placing=placing)
        except Exception as problem:  # noqa: BLE001  (the plugin's edge: whatever it raises is its answer)
            return Placed(False, "", _said(problem))
        assert isinstance(placed, Placed)
        return placed

    def _rollback(self, release: str, good: str) -> Placed:
        try:
            placed = hookspecs.call(
                self._hooks, "gate_agent_rollback", Placed, target=self._target, release=release, good=good
            )
        except Exception as problem:  # noqa: BLE001  (as above)
            return Placed(False, release, _said(problem))
        assert isinstance(placed, Placed)
        return placed

    def _probe(self) -> tuple[Probed, bool]:
        try:
            probed = hookspecs.call(self._hooks, "gate_agent_probe", Probed, target=self._target)
        except Exception as problem:  # noqa: BLE001  (as above)
            return Probed("", (ProbeResult("probe", False, _said(problem)),)), False
        assert isinstance(probed, Probed)
        return probed, True


def _said(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"[:500]
