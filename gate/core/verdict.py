"""Verdicts: OPEN, HOLD or HALT, each with its reasons; the most cautious reason wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum


class Verdict(IntEnum):
    """Ordered by caution: the highest of several wins."""

    OPEN = 0
    HOLD = 1
    HALT = 2


@dataclass(frozen=True, slots=True)
class Reason:
    """One check's answer: a stable code, a sentence, the rule's path in the policy, the earliest change.

    ``detail`` is for logs and stays as it is for ever (``flows.replay`` compares it, and knows the one that was written
    otherwise once); ``numbers`` is what ``core.explained`` words for people.
    """

    verdict: Verdict
    code: str
    detail: str
    rule: str = ""
    earliest_at: datetime | None = None
    make: str = ""
    numbers: Mapping[str, float | str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer for one ring: for which makes it opens now, and every reason that spoke."""

    verdict: Verdict
    ring: str
    makes: tuple[str, ...]
    reasons: tuple[Reason, ...]

    @property
    def earliest_at(self) -> datetime | None:
        """When the answer can change by itself: the latest of the reasons' times; None when one has none."""
        waits = [reason for reason in self.reasons if reason.verdict is not Verdict.OPEN]
        times = [reason.earliest_at for reason in waits if reason.earliest_at is not None]
        return max(times) if times and len(times) == len(waits) else None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A claim's no: a kind of the protocol, a sentence, when to ask again, the rule, the earliest change."""

    kind: str
    detail: str
    retry_after_s: int = 300
    rule: str = ""
    earliest_at: datetime | None = None
    numbers: Mapping[str, float | str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """A claim's yes as far as pure rules go; the store's conditions still decide."""

    ring: str
    make: str
    per_site: int  # 0: half of the site's working machines of the role
    one_of_make: bool
    sole: bool
    cohort: bool
