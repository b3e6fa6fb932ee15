"""Runs of scenarios or recorded days under policies, for the command line and for the page's child process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from gate.adapters.policy_yaml import parse_text
from gate.bootstrap import read_scenario, simulation
from gate.ports import Store
from gate.sim import recorded as recorded_days
from gate.sim.outcomes import Outcome, as_recorded, outcome, replayed, worse
from gate.sim.recorded import Day, Recorded
from gate.sim.scenario import Scenario

DAYS = timedelta(days=14)  # without a first day
AS_RECORDED = "as recorded"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is lived through; ``was``: what really happened, where days were recorded."""

    scenario: Scenario
    was: Recorded | None = None


def shipped(name: str) -> Plan:
    """A scenario from a file, or a shipped one by its name."""
    return Plan(read_scenario(Path(name)))


def recorded(
    store: Store,
    lines: Callable[[str], Iterable[bytes]],
    zone: ZoneInfo,
    last: date,
    first: date | None,
    texts: Iterable[str],
) -> Plan:
    """The recorded days; only what every one of these policies has a source for. ``lines``: of a kind on the shelf.

    Raises:
        NotFound: no release began on them.
    """
    start, end = (datetime.combine(day, time(), zone) for day in (first or last - DAYS, last + timedelta(days=1)))
    sources = [frozenset(one.name for one in parse_text(text).sources) for text in texts]
    was = recorded_days.read(store, lines, start, end, frozenset.intersection(*sources))
    return Plan(was.scenario, was)


def lived(plan: Plan, text: str, progress: Callable[[float], None]) -> Outcome:
    """The figures of a plan under a policy; ``progress`` is told the share done."""
    with tempfile.TemporaryDirectory(prefix="gate-backtest-") as folder:
        result = simulation(plan.scenario, text, Path(folder)).run(progress)
    return outcome(plan.scenario, result) if plan.was is None else replayed(plan.was, result)


def compared(
    plans: Sequence[Plan],
    texts: Mapping[str, str],
    names: Mapping[str, str],
    progress: Callable[[Plan, str, float], None],
) -> tuple[list[dict[str, Any]], list[str]]:
    """A row for each plan and side, and the plans in which ``this`` side is worse than the ``other``, where there is
    one."""
    rows, bad = [], []
    for plan in plans:
        found = {side: lived(plan, text, _of(progress, plan, side)) for side, text in texts.items()}
        if "other" in found and worse(found["this"], found["other"]):
            bad.append(plan.scenario.name)
        rows += [row(plan.scenario, names[side], one) for side, one in found.items()]
        if plan.was is not None:
            rows.append(row(plan.scenario, AS_RECORDED, as_recorded(plan.was)))
    return rows, bad


def _of(progress: Callable[[Plan, str, float], None], plan: Plan, side: str) -> Callable[[float], None]:
    return lambda done: progress(plan, side, done)


def row(plan: Scenario, name: str, found: Outcome) -> dict[str, Any]:
    """The figures of one run, as data."""
    return {
        "scenario": plan.name,
        "policy": name,
        "exposed": found.exposed,
        "bricked": found.bricked,
        "sites_without_a_till": found.sites_without_till,
        "hours_to_full": found.hours,
        "falsely_halted": found.falsely_halted,
    }


def day(one: Day) -> dict[str, Any]:
    """A recorded release, as data."""
    found: dict[str, Any] = {name: getattr(one, name) for name in Day.__slots__ if name != "dead"}
    return {**found, "began_at": one.began_at.isoformat(), "dead": len(one.dead)}
