"""Spans: what the trials that began in one hour have shown, beside machines that were not updated. Pure.

- A trial counts in the hour in which it began, also where it is decided before: who is well says so as it boots, who is
  silent is so from the opening on, and an hour with the failures alone would speak against any release. Until there are
  controls of that hour the background speaks.
- A trial is one scheduled boot of one claim, and after the last of them one opening day of the watch.
- A make's span (boot 0) holds the trials of every boot, so that its controls count once; a boot number, 1 to 5, has a
  span of its own beside it, and what is above 5 has none.
- A control is a machine of the make, at a site without a machine that has taken the release, without a claim in hand,
  whose site is open in that hour. It has failed when it was not heard from the end of the hour on (at least for three
  check-ins, where that is shorter) although its site was open meanwhile. Of several looks the worst one counts.
- With enough controls a span is judged against them: while it is open by what it shows now; once closed it is folded
  into its sum, and what changes later moves the sum by the difference, so that the order of reports does not matter.
- What no controls speak for is judged against the fixed background, all of it at once, from the counters. Nothing is in
  both: what spans with controls hold is taken out of the counters first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gate.core import evalues
from gate.core.counters import boots_change, counts
from gate.core.evalues import Running, Span
from gate.core.model import FLEET, Claim

HOUR = timedelta(hours=1)
EVERY_BOOT = 0  # the boot of a make's own span

Place = tuple[str, int]
"""Where a span is summed: (make, 0), or (``*``, boot number)."""


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One span as it is kept; ``controls`` stand in the make's own (boot 0). ``folded_*``: what its sum has of it."""

    make: str
    boot: int
    hour: datetime
    exposed: int = 0
    failed: int = 0
    controls: int = 0
    controls_failed: int = 0
    looked_at: datetime | None = None
    failed_then: int = 0  # how many had failed when its controls were looked at
    closed: bool = False
    folded_exposed: int = 0
    folded_failed: int = 0

    @property
    def place(self) -> Place:
        """Where it is summed."""
        return (self.make, EVERY_BOOT) if self.boot == EVERY_BOOT else (FLEET, self.boot)


@dataclass(frozen=True, slots=True)
class Sum:
    """All that was ever judged against controls in one place: the four logarithms, and the trials they are made of."""

    running: Running = field(default_factory=Running)
    exposed: int = 0
    failed: int = 0

    def plus(self, more: Sum) -> Sum:
        """Both together."""
        return Sum(self.running.plus(more.running), self.exposed + more.exposed, self.failed + more.failed)


def hour_of(at: datetime) -> datetime:
    """The full hour (UTC) that an instant is in."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def dated(before: Claim, after: Claim) -> Claim:
    """The claim after a step, with when the trial began that this step decides, if it does."""
    if counts(after).tried <= counts(before).tried:
        return after
    began = before.trial_at or before.clock_from or before.granted_at
    return replace(after, tried_at=began)


def change(before: Claim, after: Claim) -> dict[int, tuple[int, int]]:
    """What a step moves in the spans of the hour of ``after.tried_at``: boot -> (trials, failed ones)."""
    if after.tried_at is None:
        return {}
    more = counts(after).minus(counts(before))
    moved = {EVERY_BOOT: (more.tried, more.bad), **boots_change(before, after)}
    return {boot: both for boot, both in moved.items() if both != (0, 0)}


def folded(row: SpanRow, controls: SpanRow) -> Sum:
    """What a span shows now against the controls of its make and hour."""
    return _against(row.exposed, row.failed, controls)


def news(row: SpanRow, controls: SpanRow) -> Sum:
    """What a span shows now and its sum does not have yet."""
    now = folded(row, controls)
    if (row.folded_exposed, row.folded_failed) == (0, 0):
        return now
    had = _against(row.folded_exposed, row.folded_failed, controls)
    return now.plus(Sum(Running(tuple(-one for one in had.running.logs)), -had.exposed, -had.failed))  # type: ignore[arg-type]


def unfolded(rows: Iterable[SpanRow], canaries: int) -> dict[Place, Sum]:
    """What spans with enough controls show that no sum has; those without are left to the background."""
    found: dict[Place, Sum] = defaultdict(Sum)
    for controls, group in by_hour(rows):
        if evalues.enough_controls(canaries, controls.controls):
            for row in group:
                found[row.place] = found[row.place].plus(news(row, controls))
    return dict(found)


def by_hour(rows: Iterable[SpanRow]) -> list[tuple[SpanRow, list[SpanRow]]]:
    """Spans of the same make and hour together, each group after its own span with the controls."""
    groups: dict[tuple[datetime, str], list[SpanRow]] = defaultdict(list)
    for row in rows:
        groups[row.hour, row.make].append(row)
    ordered = [groups[key] for key in sorted(groups)]
    found = [(next((row for row in group if row.boot == EVERY_BOOT), None), group) for group in ordered]
    return [(controls, sorted(group, key=lambda row: row.boot)) for controls, group in found if controls is not None]


def log_e(
    background: float, makes: Mapping[str, Span], boots: Mapping[int, Span], with_controls: Mapping[Place, Sum]
) -> float:
    """Log of a rollout's e-value. ``makes`` and ``boots``: all that was shown; ``with_controls``: what of it is judged
    against controls. The rest is judged against the background."""
    by_make = [_shown(makes[make], with_controls.get((make, EVERY_BOOT)), background) for make in sorted(makes)]
    by_boot = {boot: _shown(span, with_controls.get((FLEET, boot)), background) for boot, span in boots.items()}
    fleet = Running()
    for one in by_make:
        fleet = fleet.plus(one)
    return evalues.merged(fleet, by_make, by_boot)


def _shown(span: Span, with_controls: Sum | None, background: float) -> Running:
    if with_controls is None:
        return evalues.against_background(span, background)
    exposed = max(span.exposed - with_controls.exposed, 0)
    rest = Span(exposed, min(max(span.failed - with_controls.failed, 0), exposed))
    return with_controls.running.plus(evalues.against_background(rest, background))


def _against(exposed: int, failed: int, controls: SpanRow) -> Sum:
    exposed = max(exposed, 0)
    failed = min(max(failed, 0), exposed)
    span = Span(exposed, failed, controls.controls, controls.controls_failed)
    return Sum(Running().against_controls(span), exposed, failed)
