"""``gate hours check``: what opening hours come to, and which sites have some that nobody can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from gate.adapters.calendar import OpeningCalendar, check_hours, check_land
from gate.bootstrap import SystemClock
from gate.cli.common import gate_of, output_option, settings_option, show
from gate.cli.site_times import ZONE, all_sites


@click.group()
def hours() -> None:
    """Opening hours: check."""


@hours.command()
@click.argument("text", metavar="[HOURS]", default="")
@click.option("--land", default="", help="The Land whose public holidays count, such as NW; of HOURS only.")
@click.option(
    "--days", default=14, show_default=True, type=click.IntRange(1, 366), help="How far ahead HOURS are told."
)
@settings_option
@output_option
def check(text: str, land: str, days: int, settings: Path, output: str) -> None:
    """When HOURS (such as 'Mo-Fr 08:00-18:30; PH off') are open, day by day; without them the hours of every site.
    Exit code 1: some cannot be read."""
    if not text:
        _every_site(settings, output)
        return
    problem = check_hours(text) or check_land(land)
    if problem:
        click.echo(problem, err=True)
        raise SystemExit(1)
    show(_told(text, land, days), ("day", "open"), output)


def _every_site(settings: Path, output: str) -> None:
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = all_sites(tx)
    rows = [
        {"site": one.id, "hours": one.hours, "land": one.land, "problem": problem}
        for one in found
        if (problem := (one.hours and check_hours(one.hours)) or check_land(one.land))
    ]
    show(rows, ("site", "hours", "land", "problem"), output)
    if output == "table":
        click.echo(f"{len(found)} sites, {len(rows)} with a problem")
    if rows:
        raise SystemExit(1)


def _told(text: str, land: str, days: int) -> Sequence[Mapping[str, str]]:
    """Day by day, at local time."""
    zone = ZoneInfo(ZONE)
    today = SystemClock().now().astimezone(zone).date()
    midnights = [datetime.combine(today + timedelta(days=number), time(), zone) for number in range(days + 1)]
    found = OpeningCalendar(ZONE).intervals(text, land, midnights[0], midnights[-1])
    rows = []
    for start, end in pairwise(midnights):
        spans = [(max(one.start_at, start), min(one.end_at, end)) for one in found]
        opened = [f"{_clock(begins, zone)}-{_clock(ends, zone, end)}" for begins, ends in spans if begins < ends]
        rows.append({"day": f"{start:%a %Y-%m-%d}", "open": ", ".join(opened) or "closed"})
    return rows


def _clock(at: datetime, zone: ZoneInfo, midnight: datetime | None = None) -> str:
    return "24:00" if at == midnight else f"{at.astimezone(zone):%H:%M}"
