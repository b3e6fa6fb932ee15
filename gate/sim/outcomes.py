"""What a run under a policy came to, in the figures that two policies are held against each other by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from gate.sim.recorded import Recorded
from gate.sim.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to. ``hours``: until the last release had passed every ring, None where one has not."""

    exposed: int
    bricked: int
    sites_without_till: int
    hours: float | None
    falsely_halted: bool


def replayed(was: Recorded, result: dict[str, Any]) -> Outcome:
    """The figures of recorded days under another policy. A halt is false where the record found nothing harmful."""
    both = zip(was.days, result["releases"], strict=True)
    false = any(one["halted_at"] and not day.harmful for day, one in both)
    return replace(outcome(was.scenario, result), falsely_halted=false)


def as_recorded(was: Recorded) -> Outcome:
    """What really happened."""
    hours = [day.hours for day in was.days if day.hours is not None]
    return Outcome(
        exposed=sum(day.exposed for day in was.days),
        bricked=sum(len(day.dead) for day in was.days),
        sites_without_till=was.sites_without_till,
        hours=max(hours) if len(hours) == len(was.days) else None,
        falsely_halted=any(day.halted and not day.harmful for day in was.days),
    )


def outcome(plan: Scenario, result: dict[str, Any]) -> Outcome:
    """The figures of a run. A halt is false where no release had a fault and no person or vendor halted."""
    releases = result["releases"]
    ends = [one["full_at"] and datetime.fromisoformat(one["full_at"]) for one in releases]
    spans = [end - release.at for end, release in zip(ends, plan.releases, strict=False) if end]
    full = len(spans) == len(plan.releases) and bool(spans)
    harmed = any(release.fault for release in plan.releases)
    meant = any("act" in event or "vendor_reverts" in event for event in plan.events)
    halted = any(one["halted_at"] for one in releases)
    return Outcome(
        exposed=sum(one["exposed"] for one in releases),
        bricked=sum(one["bricked"] for one in releases),
        sites_without_till=result["sites_without_till"],
        hours=round(max(spans) / timedelta(hours=1), 1) if full else None,
        falsely_halted=halted and not harmed and not meant,
    )


def worse(this: Outcome, other: Outcome) -> bool:
    """Exposure of a healthy release is no harm; where nothing died on either side, it is not compared."""
    died = this.bricked or other.bricked
    return (
        (bool(died) and this.exposed > other.exposed)
        or this.bricked > other.bricked
        or this.sites_without_till > other.sites_without_till
        or this.falsely_halted > other.falsely_halted
    )
