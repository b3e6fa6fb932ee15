"""The fleet, the ladder and the content that a simulated release meets.

- 111,110 machines of eight makes; 0.5 % of the scheduled boots of healthy machines are silent.
- Rings take the first batch of each make, 100, 1,000, 10,000 machines and the rest, each make by its share.
- A site has about three machines; controls stand on sites without an exposed machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SHARES = (0.40, 0.20, 0.13, 0.10, 0.07, 0.05, 0.03, 0.02)
MAKES = tuple(f"make-{share:.0%}".replace("%", "") for share in SHARES)
FIVE, TWO = 5, 7  # the makes of 5 % and of 2 %
MACHINES = 111_110
SIZES = tuple(round(MACHINES * share) for share in SHARES[1:])
SIZES = (MACHINES - sum(SIZES), *SIZES)
SILENT = 0.005
PER_SITE = 3
BOOTS = 5  # each machine is watched for so many boots, one a night


@dataclass(frozen=True, slots=True)
class Ladder:
    """A policy: the rings, what each must rule out, the budget, the background that is allowed for."""

    rings: tuple[int, ...] = (0, 100, 1_000, 10_000)
    rule_out_make: tuple[float | None, ...] = (0.65, 0.35, 0.20, 0.03)
    rule_out_fleet: tuple[float | None, ...] = (0.30, 0.035, 0.0075, 0.003)
    at_risk_make: int = 30
    at_risk_fleet: int = 60
    first_batch: int = 3
    at_least: int = 3
    background: float = 0.0075
    confidence: float = 0.95
    false_halt: float = 0.01
    controls: bool = True  # e-values against controls where there are enough; else the fixed background alone
    per_boot: bool = True  # e-values by boot number

    def quotas(self) -> list[list[int]]:
        """Members of each ring by make; a make that is used up has none left for the last."""
        left = list(SIZES)
        quotas = []
        for ring in self.rings:
            taken = [
                min(max(round(ring * share), self.first_batch), rest) for share, rest in zip(SHARES, left, strict=True)
            ]
            left = [rest - n for rest, n in zip(left, taken, strict=True)]
            quotas.append(taken)
        return [*quotas, left]


@dataclass(frozen=True, slots=True)
class Content:
    """What is wrong with the release: the share of each make that it bricks, and at which boot."""

    bricks: tuple[float, ...] = (0.0,) * len(SHARES)
    at_boot: int = 1
    outage_nights: tuple[int, ...] = ()  # nights on which a provider is down, for everybody
    outage_silent: float = 0.30

    @property
    def harmless(self) -> bool:
        """Does it brick nothing?"""
        return not any(self.bricks)


def every_make(rate: float, at_boot: int = 1) -> Content:
    """Bricks a share of all machines."""
    return Content((rate,) * len(SHARES), at_boot)


def one_make(make: int, rate: float) -> Content:
    """Bricks a share of one make."""
    return Content(tuple(rate if index == make else 0.0 for index in range(len(SHARES))))


@dataclass(slots=True)
class Outcome:
    """How one release ended."""

    end: str = ""  # out | halted | stopped by a person | stuck
    exposed: int = 0
    bricked: int = 0
    nights: int = 0  # until its last claim
    asked: int = 0
    because: list[str] = field(default_factory=list)
