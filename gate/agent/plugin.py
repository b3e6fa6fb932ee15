"""A source's plugin on this machine; whatever it raises is an answer, not a crash."""

from __future__ import annotations

from gate import hookspecs
from gate.agent.deadline import Deadline
from gate.agent.errors import Misuse
from gate.hookspecs import Placed, Placing, Probed, ProbeResult, Target

PROBE_S = 60.0


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
        self._deadline = Deadline()

    def install(self, placing: Placing) -> Placed:
        """Puts a release in place; an exception is a failed installation."""
        try:
            placed = hookspecs.call(self._hooks, "gate_agent_install", Placed, target=self._target, placing=placing)
        except Exception as problem:  # noqa: BLE001  (the plugin's edge: whatever it raises is its answer)
            return Placed(False, "", _said(problem))
        assert isinstance(placed, Placed)
        return placed

    def rollback(self, release: str, good: str) -> Placed:
        """Goes back; an exception is a failed rollback."""
        try:
            placed = hookspecs.call(
                self._hooks, "gate_agent_rollback", Placed, target=self._target, release=release, good=good
            )
        except Exception as problem:  # noqa: BLE001  (as above)
            return Placed(False, release, _said(problem))
        assert isinstance(placed, Placed)
        return placed

    def probe(self) -> Probed:
        """What is in place and whether it works; an exception, or no answer in time, is a bad probe."""
        found = self._deadline.ask(self._probe, PROBE_S)
        return found or Probed("", (ProbeResult("probe", False, f"no answer within {PROBE_S:g} s"),))

    def _probe(self) -> Probed:
        try:
            probed = hookspecs.call(self._hooks, "gate_agent_probe", Probed, target=self._target)
        except Exception as problem:  # noqa: BLE001  (as above)
            return Probed("", (ProbeResult("probe", False, _said(problem)),))
        assert isinstance(probed, Probed)
        return probed


def _said(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"[:500]
