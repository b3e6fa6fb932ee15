"""The JSON shapes of the API for people; see ``wire`` for the rules of what is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec

from gate.web.wire import Shape, Word

Because = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class Reasoned(Shape):
    """An act with its reason."""

    because: Because


class OfRing(Shape):
    """An act on a ring of a rollout, with its reason."""

    ring: Word
    because: Because


class Acceptance(Shape):
    """Letting a pending machine in."""

    role: Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,39}$")]
    labels: Annotated[list[Word], msgspec.Meta(max_length=32)] = msgspec.field(default_factory=list)


class Said(msgspec.Struct):
    """An answer."""


class RingSaid(Said):
    """A ring of a rollout."""

    ring: str
    open: bool
    members: int
    healthy: int
    bad: int


class RolloutSaid(Said):
    """A rollout with its rings."""

    rollout: str
    source: str
    release: str
    version: str
    state: str
    started_at: datetime
    halted_by: str
    halted_because: str
    rings: Sequence[RingSaid]


class AgeSaid(Said):
    """How old a ring's content is."""

    source: str
    ring: str
    version: str
    newest: str
    behind: int
    since: datetime | None


class StatusSaid(Said):
    """What moves, what is halted, how old the rings' content is."""

    machines_active: int
    machines_pending: int
    sites: int
    rollouts: Sequence[RolloutSaid]
    ages: Sequence[AgeSaid]


class RolloutsSaid(Said):
    """Newest first."""

    rollouts: Sequence[RolloutSaid]


class ReasonSaid(Said):
    """Why a ring is not open; ``line`` is that of the rule in policy.yaml, 0 where there is no rule."""

    code: str
    verdict: str
    make: str
    sentence: str
    rule: str
    line: int
    earliest_at: datetime | None
    numbers: Mapping[str, float | str]


class NeedsSaid(Said):
    """What a make has shown before a ring and what it lacks: machines, sites, rates from 0 to 1.

    ``bound``: the rate that is not excluded; ``limit``: what it must come to, and ``more_for_limit`` the fewest further
    healthy machines that bring it there (null: none do), both only where the gate asks; ``lost``: if it opened now.
    """

    make: str
    passed: bool
    healthy: int
    wanted: int
    bad: int
    explained: int
    pending: int
    more_healthy: int
    more_sites: int
    bound: float
    limit: float | None
    more_for_limit: int | None
    soak_until: datetime | None
    lost: int | None


class WaitingSaid(Said):
    """A ring that has makes to open, or ``done``: what holds it, when it can open, what that would put at risk."""

    ring: str
    verdict: str
    earliest_at: datetime | None
    sentences: Sequence[str]
    risk: str
    lost: int | None
    reasons: Sequence[ReasonSaid]
    makes: Sequence[NeedsSaid]


class OneRollout(Said):
    """A rollout, where it stands and why, in sentences; the same ring by ring with its numbers."""

    rollout: RolloutSaid
    sentences: Sequence[str]
    waiting: Sequence[WaitingSaid]


class WhySaid(Said):
    """Why a machine does not have what a source brought last."""

    machine: str
    source: str
    kind: str
    sentence: str
    rule: str
    line: int
    rule_text: str
    changed_by: str
    earliest_at: datetime | None
    release: str
    version: str


class Answers(Said):
    """One for each source."""

    answers: Sequence[WhySaid]


class SiteSaid(Said):
    """A pharmacy."""

    site: str
    name: str
    land: str
    hours: str
    labels: Sequence[str]


class Sites(Said):
    """By id; ``next`` is the id to go on after, empty at the end."""

    sites: Sequence[SiteSaid]
    next: str


class MachineSaid(Said):
    """A machine."""

    machine: str
    name: str
    site: str
    status: str
    role: str
    ring: str
    make: str
    last_seen_at: datetime | None


class Machines(Said):
    """By id; ``next`` is the id to go on after, empty at the end."""

    machines: Sequence[MachineSaid]
    next: str


class EventSaid(Said):
    """A stored fact."""

    index: int
    at: datetime
    kind: str
    actor: str
    subject: str
    because: str
    policy_version: str
    detail: Mapping[str, Any]


class Audit(Said):
    """Newest first, with the head of the tree; ``next`` is what to ask ``before``, null at the end."""

    size: int
    root: str
    events: Sequence[EventSaid]
    next: int | None


class Halted(Said):
    """What the brake has halted."""

    halted: Sequence[str]


class Done(Said):
    """``done``: it acts. Else another person must do the same until then."""

    done: bool
    waits_until: datetime | None = None
