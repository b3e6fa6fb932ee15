"""May a machine run what it really runs? Somebody who goes past the gate is found by what their machine says.

- A bypass is a release that the gate knows, held back, and has neither granted to this machine by a claim (whatever
  became of it) nor opened this machine's ring for; or one that was halted or recalled before the machine had it.
- No bypass: a claim in hand, the release before, an older one whose ring had opened, a recalled one that was granted.
- Not known is never an alarm, and never a pass: a version that the gate has never taken, one whose rollout has left the
  database, and the very first of a source, which may have been there before the gate was. Each is said and listed.
- What nobody holds cannot be bypassed: a machine that no ring picks, a source without a lever.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gate.core.model import RolloutState

TAKEN_BACK = frozenset({RolloutState.HALTED, RolloutState.RECALLED})


class Standing(StrEnum):
    """How what a machine runs stands with what it was granted."""

    GRANTED = "granted"  # it may have it
    BYPASSED = "bypassed"  # it was never granted: somebody went past the gate
    FIRST = "first"  # the first release of its source: it may be older than the gate
    UNKNOWN = "unknown"  # a version that the gate has never taken, or that it knows too little of
    UNHELD = "unheld"  # no ring picks the machine, or the source has no lever
    SILENT = "silent"  # nothing says what it runs


@dataclass(frozen=True, slots=True)
class Runs:
    """What a machine runs, and what the gate knows of it. ``counter``: which release of its source it is, from 1; None:
    the gate does not know it. ``state``: of its rollout; None: that has left the database."""

    version: str
    counter: int | None
    state: RolloutState | None
    claimed: bool  # this machine has or had a claim for it
    opened: bool  # its rollout has opened this machine's ring
    ring: str
    lever: str
    before: Standing | None = None  # of the same release on this machine, as it was judged last


def judge(runs: Runs) -> Standing:
    """One answer; the first rule that applies."""
    if not runs.version and runs.counter is None:
        return Standing.SILENT
    if not runs.ring or runs.lever == "no lever":
        return Standing.UNHELD
    if runs.counter is None:
        return Standing.UNKNOWN
    if runs.claimed or runs.before is Standing.GRANTED:
        return Standing.GRANTED
    if runs.opened and runs.state not in TAKEN_BACK:
        return Standing.GRANTED
    if runs.counter == 1:
        return Standing.FIRST
    return Standing.UNKNOWN if runs.state is None else Standing.BYPASSED
