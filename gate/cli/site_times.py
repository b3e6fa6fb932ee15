"""``gate duty`` and ``gate sites closed``: when a site is open or closed beside its hours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from gate.adapters.duty_ics import MOST, Duty, read_duty
from gate.cli.common import gate_of, me, output_option, settings_option, show
from gate.core.model import Site, SiteTime, TimeKind
from gate.flows import site_times as flow
from gate.ports import Tx

ZONE = "Europe/Berlin"
DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def duty() -> None:
    """Night duty: import, list."""


@duty.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--site", default="", help="The site of all events; else each event's LOCATION is a site's id or name.")
@click.option("--change", default="09:00", show_default=True, help="When duty changes, for events of whole days.")
@settings_option
def duty_import(file: Path, site: str, change: str, settings: Path) -> None:
    """Import FILE, an iCalendar; all of it or nothing. For its sites it replaces the duty of the time that it spans."""
    try:
        hour = time.fromisoformat(change)
    except ValueError as problem:
        raise click.BadParameter("a time such as 09:00", param_hint="--change") from problem
    with file.open("rb") as source:
        found, problems = read_duty(source.read(MOST + 1), ZONE, str(file), hour)
    with gate_of(settings) as opened, opened.store.write() as tx:
        by_site = _by_site(found, site, all_sites(tx), str(file), problems)
        if problems:
            for line in problems:
                click.echo(line, err=True)
            raise SystemExit(1)
        new = flow.take_duty(tx, by_site, me(), opened.clock.now())
    click.echo(f"{len(found)} duties of {len(by_site)} sites, {new} of them new")


def _by_site(
    found: Sequence[Duty], site: str, sites: Sequence[Site], file: str, problems: list[str]
) -> dict[str, list[SiteTime]]:
    """The duties by site; what names none is added to the problems."""
    ids = {one.id for one in sites}
    named: Mapping[str, list[str]] = defaultdict(list)
    for one in sites:
        named[one.name].append(one.id)
    by_site: dict[str, list[SiteTime]] = defaultdict(list)
    for event in found:
        wanted = site or event.where
        known = [wanted] if wanted in ids or site else named.get(wanted, [])
        if len(known) == 1:
            by_site[known[0]].append(SiteTime(event.start_at, event.end_at, TimeKind.DUTY, by=me()))
        elif not wanted:
            problems.append(f"{file}:{event.line}: the event has no LOCATION: name a site there, or use --site")
        else:
            problems.append(f"{file}:{event.line}: {len(known) or 'no'} sites are called {wanted[:60]!r}")
    return by_site


@duty.command("list")
@click.option("--site", default="", help="Only this site.")
@click.option("--all", "over", is_flag=True, help="Also what is over.")
@settings_option
@output_option
def duty_list(site: str, over: bool, settings: Path, output: str) -> None:
    """Night duty by its beginning."""
    _show(settings, output, TimeKind.DUTY, site, over)


@click.command("closed")
@click.argument("site", default="")
@click.argument("first", metavar="FROM", default=None, required=False, type=DAY)
@click.argument("last", metavar="TO", default=None, required=False, type=DAY)
@click.option("--because", default="", help="The reason, for the audit log.")
@click.option("--undo", is_flag=True, help="Take back the closing days that begin on FROM.")
@click.option("--list", "listed", is_flag=True, help="The closing days, of SITE or of all.")
@settings_option
@output_option
def closed(
    site: str,
    first: datetime | None,
    last: datetime | None,
    because: str,
    undo: bool,
    listed: bool,
    settings: Path,
    output: str,
) -> None:
    """SITE is closed from FROM to TO (days such as 2026-12-27, both included): its machines are dark then."""
    if listed:
        _show(settings, output, TimeKind.CLOSED, site, over=False)
        return
    if not site or first is None or not because.strip():
        raise click.UsageError("name SITE, FROM and --because, or --list")
    zone = ZoneInfo(ZONE)
    with gate_of(settings) as opened, opened.store.write() as tx:
        now = opened.clock.now()
        if undo:
            flow.reopen(tx, site, first.date(), zone, because, me(), now)
        else:
            flow.close(tx, site, first.date(), (last or first).date(), zone, because, me(), now)
    click.echo(f"{site} keeps its hours again" if undo else f"{site} is closed then")


def all_sites(tx: Tx) -> list[Site]:
    """Every site."""
    found: list[Site] = []
    while page := tx.sites(after=found[-1].id if found else "", limit=1000):
        found += page
    return found


def _show(settings: Path, output: str, kind: TimeKind, site: str, over: bool) -> None:
    with gate_of(settings) as opened, opened.store.read() as tx:
        now = opened.clock.now()
        one = tx.site(site) if site else None
        sites: Iterable[Site] = all_sites(tx) if not site else [one] if one else []
        found = [(time_, owner) for owner in sites for time_ in owner.times if time_.kind is kind]
    rows = [
        {"site": owner.id, "from": _local(one.start_at), "to": _local(one.end_at), "because": one.because, "by": one.by}
        for one, owner in sorted(found, key=lambda pair: (pair[0].start_at, pair[1].id))
        if over or one.end_at > now
    ]
    show(rows, ("site", "from", "to", "because", "by"), output)


def _local(at: datetime) -> str:
    assert at.tzinfo is UTC
    return f"{at.astimezone(ZoneInfo(ZONE)):%Y-%m-%d %H:%M}"
