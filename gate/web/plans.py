"""Plans that are made beside the request: one at a time, in a thread, kept for an hour.

- A page never waits: it shows the plan, or since when it is being made, or why it could not be.
- The same version is not planned twice at once. What is older than ``FRESH`` is made anew, the old one shown till then.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gate.core.errors import GateError
from gate.core.policy import Policy
from gate.flows.fleet_plan import FleetPlan, fleet_plan
from gate.ports import Gate, Store

FRESH = timedelta(hours=1)
KEPT = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """``since``: it is being made; ``plan``: the last one; ``problem``: why there is none."""

    since: datetime | None = None
    plan: FleetPlan | None = None
    problem: str = ""


class Plans:
    """The plans of one process."""

    def __init__(self, store: Store, gate: Gate) -> None:
        self._store = store
        self._gate = gate
        self._lock = threading.Lock()
        self._busy = threading.Lock()
        self._made: dict[str, Made] = {}

    def plan(self, commit: str, policy: Policy, now: datetime) -> Made:
        """What there is of a version's plan; begins it where there is none, or an old one."""
        with self._lock:
            made = self._made.get(commit, Made())
            old = made.plan is None or now - made.plan.at >= FRESH
            if made.since is None and old:
                made = replace(made, since=now, problem="")
                if len(self._made) >= KEPT:
                    for one in [one for one, other in self._made.items() if other.since is None]:
                        del self._made[one]
                self._made[commit] = made
                threading.Thread(target=self._make, args=(commit, policy, now), daemon=True).start()
            return made

    def wait(self) -> None:
        """Until what has begun is made."""
        while any(made.since is not None for made in list(self._made.values())):
            with self._busy:
                pass

    def _make(self, commit: str, policy: Policy, now: datetime) -> None:
        with self._busy:
            try:
                gate = Gate(policy=lambda _: policy, texts=self._gate.texts, hours=self._gate.hours)
                with self._store.read() as tx:
                    made = Made(plan=fleet_plan(tx, gate, policy, now))
            except GateError as problem:
                made = Made(problem=problem.detail)
            except Exception:  # a thread's edge: whoever looks must not wait for ever
                log.exception("a plan failed")
                made = Made(problem="it failed; the log says why")
            with self._lock:
                self._made[commit] = made
