"""What one claim adds to every counter: the difference of two states is what a step moves.

- A machine that is in flight, or broken and not heard of as well, takes its site's slot and its role's.
- A claim to go back takes slots like any other and says nothing about the release.
- A machine that joined after its ring had started counts for halting only.
- A claim whose machine is gone adds nothing at all.
- A trial is one boot of the claim that has been decided, or one opening day of the watch after the last of them.
- A failure is the trial of the boot that it was waiting for, or of the day on which it did not come back. Where one
  that was healthy reports a failure itself, it is its last trial, which had looked well: never one more.
"""

from __future__ import annotations

from dataclasses import dataclass

from gate.core.claims import BROKEN, FAILURE, HOLDS_SLOT
from gate.core.evalues import BOOTS
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
    tried: int = 0

    def minus(self, other: Counts) -> Counts:
        """The difference, counter by counter."""
        return Counts(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))


def counts(claim: Claim) -> Counts:
    """What this claim adds, as it stands."""
    state = claim.state
    if state is ClaimState.GONE:
        return Counts()
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
        crashed=int(heard and bad and claim.crashed_at is not None),
        late_failed=int(bad and not heard),
        bad=int(bad),
        tried=_well(claim) + int(bad),
    )


def boots_tried(claim: Claim) -> dict[int, tuple[int, int]]:
    """Boot number, 1 to 5 -> (trials, failed ones among them)."""
    if claim.state is ClaimState.GONE:
        return {}
    well, bad = _well(claim), claim.state in FAILURE
    return {number: (1, int(number > well)) for number in range(1, min(well + bad, BOOTS) + 1)}


def boots_change(before: Claim, after: Claim) -> dict[int, tuple[int, int]]:
    """What a step moves, for the boot numbers of which it moves something."""
    old, new = boots_tried(before), boots_tried(after)
    moved = {}
    for number in sorted(old | new):
        (tried_before, failed_before), (tried, failed) = old.get(number, (0, 0)), new.get(number, (0, 0))
        moved[number] = tried - tried_before, failed - failed_before
    return {number: change for number, change in moved.items() if change != (0, 0)}


def last_tried(claim: Claim) -> int:
    """The number of the boot whose trial a failure is."""
    return _well(claim) + 1


def _well(claim: Claim) -> int:
    """Boots that went well and stayed so."""
    boots = min(claim.boots_healthy, claim.boots - 1) if claim.state in FAILURE else claim.boots_healthy
    return boots + claim.days
