"""``gate policy backtest``: what each scenario would have cost under a policy, beside another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TaskID

from gate.adapters.shelf import FileShelf
from gate.bootstrap import seed_policy, shipped_scenarios
from gate.cli.backtests import Plan, compared, day, recorded, shipped
from gate.cli.common import emit, gate_of, output_option, settings_option, show
from gate.cli.policy import parsed, read_policy, read_text
from gate.cli.policy_plan import policy as policy
from gate.core.errors import NotFound
from gate.sim.recorded import ASSUMED

SCENARIOS_ONLY = "scenarios only; --recorded replays days of this installation"
DATE = click.DateTime(["%Y-%m-%d"])
COLUMNS = ("scenario", "policy", "exposed", "bricked", "sites without a till", "hours to full", "falsely halted")


@policy.command()
@click.argument("name", metavar="FILE|COMMIT")
@click.option("--against", default="", help="Compare with this one; else the active, else the seed.")
@click.option(
    "--scenario", "wanted", multiple=True, metavar="NAME|FILE", help="May be given again; else the shipped ones."
)
@click.option(
    "--recorded", "replay", is_flag=True, help="Replay days of this installation; scenarios only where they are named."
)
@click.option("--since", type=DATE, help="First recorded day.  [default: 14 days before the last]")
@click.option("--until", type=DATE, help="Last recorded day.  [default: today]")
@output_option
@settings_option
def backtest(
    name: str,
    against: str,
    wanted: Sequence[str],
    replay: bool,
    since: datetime | None,
    until: datetime | None,
    output: str,
    settings: Path,
) -> None:
    """Run scenarios or recorded days under a policy and under the active one, through the real flows; exit code 1 when
    it is worse.

    Worse: more machines exposed or bricked, more sites without a till, more healthy releases halted. Slower is not.
    """
    if not replay and (since or until):
        raise click.UsageError("--since and --until are of --recorded")
    plans = [shipped(one) for one in wanted or ([] if replay else shipped_scenarios())]
    texts = {"this": _text(name, settings), "other": _other(against, settings)}
    names = {"this": name, "other": against or ("active" if settings.is_file() else "seed")}
    if replay:
        plans.append(_recorded(settings, since, until, list(texts.values())))
    rows, worse = _both(plans, texts, names)
    days = [day(one) for plan in plans if plan.was is not None for one in plan.was.days]
    notes = list(ASSUMED) if replay else [SCENARIOS_ONLY]
    if output == "table":
        show([{key.replace("_", " "): _cell(value) for key, value in row.items()} for row in rows], COLUMNS, output)
        for line in [*map(_sentence, days), *notes]:
            click.echo(line)
    else:
        emit({"worse": worse, "recorded_days": days, "notes": notes, "runs": rows}, output)
    if worse:
        raise SystemExit(1)


def _both(
    plans: Sequence[Plan], texts: Mapping[str, str], names: Mapping[str, str]
) -> tuple[list[dict[str, Any]], bool]:
    """A row for each plan and side, and whether this side is worse anywhere."""
    tasks: dict[tuple[str, str], TaskID] = {}
    with Progress(console=Console(stderr=True), transient=True) as progress:

        def told(plan: Plan, side: str, done: float) -> None:
            key = plan.scenario.name, side
            if key not in tasks:
                tasks[key] = progress.add_task(f"{plan.scenario.name}, {names[side]}", total=1.0)
            progress.update(tasks[key], completed=done)

        rows, worse = compared(plans, texts, names, told)
    return rows, bool(worse)


def _recorded(settings: Path, since: datetime | None, until: datetime | None, texts: Sequence[str]) -> Plan:
    with gate_of(settings) as opened:
        policy = opened.rules.policy()
        if policy is None:
            raise NotFound("no policy is active")
        last = until.date() if until else opened.clock.now().astimezone(policy.zone).date()
        first = since.date() if since else None
        return recorded(opened.store, FileShelf(opened.settings.shelf).lines, policy.zone, last, first, texts)


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


def _sentence(day: Mapping[str, Any]) -> str:
    harm = "harmful" if day["harmful"] else "not harmful"
    return (
        f"{day['source']} {day['version']} ({day['began_at'][:16]} UTC, {harm}): what it does is known for"
        f" {day['known']} machines, drawn from their make for {day['drawn']}, from all makes for {day['from_all']},"
        f" and for {day['unknown']} it is taken to do nothing"
    )


def _cell(value: Any) -> Any:
    return "not within the run" if value is None else value
