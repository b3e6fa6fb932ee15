"""``gate policy backtest``: what each scenario would have cost under a policy, beside another one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from gate.adapters.policy_yaml import parse_text
from gate.adapters.shelf import FileShelf
from gate.bootstrap import read_scenario, seed_policy, shipped_scenarios, simulation
from gate.cli.common import emit, gate_of, output_option, settings_option, show
from gate.cli.policy import parsed, read_policy, read_text
from gate.cli.policy_plan import policy as policy
from gate.core.errors import NotFound
from gate.sim import recorded as recorded_days
from gate.sim.recorded import ASSUMED, Day, Recorded
from gate.sim.scenario import Scenario

SCENARIOS_ONLY = "scenarios only; --recorded replays days of this installation"
DAYS = timedelta(days=14)  # without --since
DATE = click.DateTime(["%Y-%m-%d"])
COLUMNS = ("scenario", "policy", "exposed", "bricked", "sites without a till", "hours to full", "falsely halted")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scenario came to. ``hours``: until the last release had passed every ring, None where one has not."""

    exposed: int
    bricked: int
    sites_without_till: int
    hours: float | None
    falsely_halted: bool


@policy.command()
@click.argument("name", metavar="FILE|COMMIT")
@click.option("--against", default="", help="Compare with this one; else the active, else the seed.")
@click.option(
    "--scenario", "wanted", multiple=True, metavar="NAME|FILE", help="May be given again; else the shipped ones."
)
@click.option("--recorded", is_flag=True, help="Replay days of this installation; scenarios only where they are named.")
@click.option("--since", type=DATE, help="First recorded day.  [default: 14 days before the last]")
@click.option("--until", type=DATE, help="Last recorded day.  [default: today]")
@output_option
@settings_option
def backtest(
    name: str,
    against: str,
    wanted: Sequence[str],
    recorded: bool,
    since: datetime | None,
    until: datetime | None,
    output: str,
    settings: Path,
) -> None:
    """Run scenarios or recorded days under a policy and under the active one, through the real flows; exit code 1 when
    it is worse.

    Worse: more machines exposed or bricked, more sites without a till, a healthy release halted. Slower is not worse.
    """
    if not recorded and (since or until):
        raise click.UsageError("--since and --until are of --recorded")
    plans = [_Plan(read_scenario(Path(one))) for one in wanted or ([] if recorded else shipped_scenarios())]
    texts = {"this": _text(name, settings), "other": _other(against, settings)}
    names = {"this": name, "other": against or ("active" if settings.is_file() else "seed")}
    if recorded:
        plans.append(_recorded(settings, since, until, list(texts.values())))
    rows, worse = _both(plans, texts, names)
    days = [_day(day) for plan in plans if plan.was is not None for day in plan.was.days]
    notes = list(ASSUMED) if recorded else [SCENARIOS_ONLY]
    if output == "table":
        show([{key.replace("_", " "): _cell(value) for key, value in row.items()} for row in rows], COLUMNS, output)
        for line in [*map(_sentence, days), *notes]:
            click.echo(line)
    else:
        emit({"worse": worse, "recorded_days": days, "notes": notes, "runs": rows}, output)
    if worse:
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class _Plan:
    scenario: Scenario
    was: Recorded | None = None


def _both(
    plans: Sequence[_Plan], texts: Mapping[str, str], names: Mapping[str, str]
) -> tuple[list[dict[str, Any]], bool]:
    """A row for each plan and side, and whether this side is worse anywhere."""
    rows, worse = [], False
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for plan in plans:
            found = {}
            for side in texts:
                task = progress.add_task(f"{plan.scenario.name}, {names[side]}", total=1.0)
                found[side] = _lived(plan, texts[side], partial(_shown, progress, task))
            worse = worse or _worse(found["this"], found["other"])
            rows += [_row(plan.scenario, names[side], found[side]) for side in texts]
            if plan.was is not None:
                rows.append(_row(plan.scenario, "as recorded", as_recorded(plan.was)))
    return rows, worse


def _recorded(settings: Path, since: datetime | None, until: datetime | None, texts: Sequence[str]) -> _Plan:
    """The recorded days; only what every one of these policies has a source for."""
    with gate_of(settings) as opened:
        policy = opened.rules.policy()
        if policy is None:
            raise NotFound("no policy is active")
        zone = policy.zone
        last = until.date() if until else opened.clock.now().astimezone(zone).date()
        first = since.date() if since else last - DAYS
        start, end = (datetime.combine(day, time(), zone) for day in (first, last + timedelta(days=1)))
        shelf = FileShelf(opened.settings.shelf)
        sources = [{one.name for one in parse_text(text).sources} for text in texts]
        was = recorded_days.read(
            opened.store, shelf.lines, start, end, frozenset.intersection(*map(frozenset, sources))
        )
    return _Plan(was.scenario, was)


def _shown(progress: Progress, task: Any, done: float) -> None:
    progress.update(task, completed=done)


def _text(name: str, settings: Path) -> str:
    """The text of a policy that parses; all of its problems and exit code 1 where it does not."""
    if Path(name).is_file():
        text = read_text(Path(name))
        parsed(text, name)
        return text
    read_policy(name, settings)
    with gate_of(settings) as opened:
        if name != "active":
            return opened.policies.read(opened.policies.resolve(name))
        with opened.store.read() as tx:
            active = tx.active_policy()
        if active is None:
            raise NotFound("no policy is active")
        return opened.policies.read(active.commit)


def _other(against: str, settings: Path) -> str:
    if against:
        return _text(against, settings)
    return _text("active", settings) if settings.is_file() else seed_policy()


def _lived(plan: _Plan, text: str, progress: Any) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="gate-backtest-") as folder:
        result = simulation(plan.scenario, text, Path(folder)).run(progress)
    return outcome(plan.scenario, result) if plan.was is None else replayed(plan.was, result)


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


def _worse(this: Outcome, other: Outcome) -> bool:
    """Exposure of a healthy release is no harm; where nothing died on either side, it is not compared."""
    died = this.bricked or other.bricked
    return (
        (bool(died) and this.exposed > other.exposed)
        or this.bricked > other.bricked
        or this.sites_without_till > other.sites_without_till
        or this.falsely_halted > other.falsely_halted
    )


def _day(day: Day) -> dict[str, Any]:
    """A recorded release, as data."""
    found: dict[str, Any] = {name: getattr(day, name) for name in Day.__slots__ if name != "dead"}
    return {**found, "began_at": day.began_at.isoformat(), "dead": len(day.dead)}


def _sentence(day: Mapping[str, Any]) -> str:
    harm = "harmful" if day["harmful"] else "not harmful"
    return (
        f"{day['source']} {day['version']} ({day['began_at'][:16]} UTC, {harm}): what it does is known for"
        f" {day['known']} machines, drawn from their make for {day['drawn']}, from all makes for {day['from_all']},"
        f" and for {day['unknown']} it is taken to do nothing"
    )


def _row(plan: Scenario, name: str, found: Outcome) -> dict[str, Any]:
    return {
        "scenario": plan.name,
        "policy": name,
        "exposed": found.exposed,
        "bricked": found.bricked,
        "sites_without_a_till": found.sites_without_till,
        "hours_to_full": found.hours,
        "falsely_halted": found.falsely_halted,
    }


def _cell(value: Any) -> Any:
    match value:
        case None:
            return "not within the run"
        case bool():
            return "yes" if value else "no"
    return value
