"""What one claim adds to every counter: the difference of two states is what a step moves.

- A machine that is in flight, or broken and not heard of as well, takes its site's slot and its role's.
- A claim to go back takes slots like any other and says nothing about the release.
- A machine that joined after its ring had started counts for halting only.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.core.claims import BROKEN, FAILURE, HOLDS_SLOT
from gate.core.model import Action, Claim, ClaimState


@dataclass(frozen=True, slots=True)
class Counts:
    """Zero or one of each, for one claim; or the difference of two."""

    flight: int = 0
    busy: int = 0
    broken: int = 0
    exposed: int = 0
    healthy: int = 0
    failed: int = 0
    silent: int = 0
    recovered: int = 0
    crashed: int = 0
    late_failed: int = 0
    bad: int = 0

    def minus(self, other: Counts) -> Counts:
        """The difference, counter by counter."""
        return Counts(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))


def counts(claim: Claim) -> Counts:
    """What this claim adds, as it stands."""
    state = claim.state
    flight = state in HOLDS_SLOT
    broken = state in BROKEN and not claim.recovered
    shows = claim.action != Action.RECALL
    bad = shows and state in FAILURE
    silent = state is ClaimState.SILENT
    heard = shows and claim.cohort
    return Counts(
        flight=int(flight),
        busy=int(flight or broken),
        broken=int(broken),
        exposed=int(heard and state not in (ClaimState.GRANTED, ClaimState.EXPIRED)),
        healthy=int(heard and state is ClaimState.HEALTHY),
        failed=int(heard and bad and not silent),
        silent=int(heard and silent),
        recovered=int(heard and claim.recovered),
        crashed=int(heard and state is ClaimState.FAILED),
        late_failed=int(bad and not heard),
        bad=int(bad),
    )
