"""Machines that wait for nothing check in as well, and the collector hears them: what controls and mornings rest on.

- A scenario asks for it (``fleet: check_ins: true``); else idle machines never check in, and nobody looks for them.
- A machine that is on and reaches the gate is heard of once a check-in; each begins its day, and comes back once the
  gate was down, at a moment of its own within the first.
- Between two ticks the collector listened all the time, but where the gate was down: then nothing ticks, and the
  first tick afterwards notes the gap, as the worker does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from gate.flows import listening
from gate.ports import Tx
from gate.sim.fleet import World
from gate.sim.scenario import SimMachine, draw

T = TypeVar("T")
LOOK_AGAIN = timedelta(hours=1)  # hours may have changed meanwhile


@dataclass(frozen=True, slots=True)
class OpenTx:
    """The transaction that is open, for a look that would take one to read and one to write."""

    tx: Tx

    def read(self, act: Callable[[Tx], T]) -> T:
        """What ``act`` finds."""
        return act(self.tx)

    def write(self, act: Callable[[Tx], T]) -> T:
        """What ``act`` answers."""
        return act(self.tx)


class Idle(Protocol):
    """What a simulated machine needs, to check in."""

    machine: SimMachine
    dead: bool
    seen_at: datetime | None


class CheckIns:
    """The check-ins of all machines. ``every``: as the policy says."""

    def __init__(self, world: World, bodies: Sequence[Idle], every: timedelta) -> None:
        self._world, self._bodies, self._every = world, bodies, every
        self._until: dict[str, datetime] = {}

    def listen(self, tx: Tx, now: datetime) -> bool:
        """Marks that somebody listens and takes the check-ins that are due; False while the gate is down."""
        if self._world.gate_is_down(now):
            return False
        if self._world.gate_came_back(tx.mark(listening.MARK).at, now):
            self._until |= {body.machine.id: now + self._own(body) for body in self._bodies}
        else:
            tx.set_mark(listening.MARK, now)
        for body in self._bodies:
            if self._is_due(body, now):
                tx.seen(body.machine.id, now)
                body.seen_at = now
        return True

    def _is_due(self, body: Idle, now: datetime) -> bool:
        name = body.machine.id
        if body.dead or (body.seen_at is not None and now - body.seen_at < self._every):
            return False
        if name in self._until and now < self._until[name]:
            return False
        start = self._world.next_on(body.machine, now)
        if start != now:
            self._until[name] = now + LOOK_AGAIN if start is None else min(start + self._own(body), now + LOOK_AGAIN)
            return False
        if not self._world.reaches_gate(body.machine, now):
            self._until[name] = now + self._every
            return False
        return True

    def _own(self, body: Idle) -> timedelta:
        """How far into a check-in's time this machine's own moment is."""
        return self._every * draw(self._world.scenario.seed, "check-in", body.machine.id)
