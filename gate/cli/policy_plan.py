"""``gate policy plan``: when each ring could open at the earliest, and what could be lost before anybody knows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from gate.bootstrap import example_fleet, planning_gate
from gate.cli.common import emit, gate_of, language_option, output_option, settings_option
from gate.cli.policy import policy as policy
from gate.cli.policy import read_policy
from gate.core import boot_times
from gate.core.errors import NotFound
from gate.core.model import Machine, Site
from gate.core.policy import Policy
from gate.core.times import OpenDuration
from gate.flows.intake import background_now
from gate.flows.plan import Plan, plan
from gate.flows.plan_words import lines, slowest

Fleet = tuple[list[Machine], dict[str, Site], dict[str, OpenDuration], float | None]
EXAMPLE = Path("july-19")


@policy.command("plan")
@click.argument("name", metavar="[FILE|COMMIT]", default="active")
@click.option("--days", type=click.IntRange(1, 60), default=14, show_default=True, help="How far to look.")
@click.option("--from", "start", help="When the release appears: a local date or time; now, if not given.")
@click.option(
    "--fleet", type=click.Path(path_type=Path), help="A scenario's fleet; else the gate's own, or an example."
)
@click.option("--source", "wanted", help="Only this source.")
@click.option("--worst", is_flag=True, help="Also the slowest of the next seven days to appear on.")
@language_option
@output_option
@settings_option
def plan_policy(
    name: str,
    days: int,
    start: str | None,
    fleet: Path | None,
    wanted: str | None,
    worst: bool,
    language: str,
    output: str,
    settings: Path,
) -> None:
    """When could each ring open at the earliest, and how many machines could have a bad release before silence counts?

    Planned as if every machine were healthy and people approved at once, and as if nobody rebooted by hand.
    Exit code 1 when a release does not reach its last ring within the days.
    """
    ruling = read_policy(name, settings)
    at = _moment(start, ruling)
    machines, sites, learned, share = _fleet(fleet, settings, ruling)
    gate = planning_gate(ruling)
    sources = [source for source in ruling.sources if wanted in (None, source.name)]
    if not sources:
        raise NotFound(f"the policy has no source {wanted}" if wanted else "the policy has no source")
    rows, late = [], False
    for source in sources:
        found = plan(gate, ruling, source, machines, sites, at, days, learned, share)
        slow = None
        if worst:
            begins = [_same_clock(at, ruling, later) for later in range(1, 7)]
            slow = slowest(
                [found, *(plan(gate, ruling, source, machines, sites, one, days, learned, share) for one in begins)]
            )
        late = late or found.rings[-1].opened_at is None
        if output == "table":
            for line in lines(found, slow, ruling, days, language):
                click.echo(line)
        rows.append(_row(found, slow, ruling))
    if output != "table":
        emit(rows, output)
    if late:
        raise SystemExit(1)


def _moment(said: str | None, ruling: Policy) -> datetime:
    if said is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise click.BadParameter(
            "a date or a time such as 2026-07-20 or 2026-07-20T09:00", param_hint="--from"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=ruling.zone)).astimezone(UTC)


def _same_clock(at: datetime, ruling: Policy, later: int) -> datetime:
    return (at.astimezone(ruling.zone) + timedelta(days=later)).astimezone(UTC)


def _fleet(file: Path | None, settings: Path, ruling: Policy) -> Fleet:
    """The scenario's machines and sites; else the gate's active ones with the deadlines that their makes have shown,
    and the background; else the example's, and it says so."""
    if file is None and settings.is_file():
        with gate_of(settings) as opened, opened.store.read() as tx:
            machines, sites = list(_pages(tx.machines, status="active")), {one.id: one for one in _pages(tx.sites)}
            share = background_now(tx, ruling)
            shown = {make: boot_times.learned(tx.boot_times(make)) for make in {one.make for one in machines}}
        if machines:
            return machines, sites, {make: limit for make, limit in shown.items() if limit is not None}, share
    if file is None:
        click.echo("no gate with machines here: planned for an example of 40 pharmacies (see --fleet)", err=True)
    return *example_fleet(file or EXAMPLE), {}, None


def _pages(read: Any, **only: str) -> Iterator[Any]:
    after = ""
    while page := read(after=after, limit=1000, **only):
        yield from page
        after = page[-1].id


def _row(found: Plan, slow: Plan | None, ruling: Policy) -> dict[str, Any]:
    def local(at: datetime | None) -> str | None:
        return at.astimezone(ruling.zone).isoformat() if at else None

    rings = [
        {
            "ring": ring.ring,
            "members": ring.members,
            "opens_at": local(ring.opened_at),
            "open_for_all_at": local(ring.all_open_at),
            "first_at": local(ring.first_at),
            "silence_counts_at": local(ring.silent_at),
            "at_risk": ring.at_risk,
            "held": [{"code": h.code, "rule": h.rule, "freeze": h.freeze, "until": local(h.until)} for h in ring.held],
        }
        for ring in found.rings
    ]
    row: dict[str, Any] = {
        "source": found.source,
        "appears_at": local(found.at),
        "done_at": local(found.done_at),
        "rings": rings,
    }
    if slow is not None:
        row["slowest"] = {"appears_at": local(slow.at), "last_ring_opens_at": local(slow.rings[-1].opened_at)}
    return row
