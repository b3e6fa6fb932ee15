"""``gate morning``: who is missing this morning, in all or at one site; a person ends an alarm."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gate.cli.common import because_option, emit, gate_of, me, output_option, settings_option, show
from gate.core.errors import NotFound
from gate.core.model import Machine, MachineStatus
from gate.flows import mornings

COLUMNS = ("machine", "role", "ring", "last seen", "heard of")


class OrSite(click.Group):
    """What is no command here is a site."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """``gate morning nord`` is ``gate morning site nord``."""
        found = self.get_command(ctx, args[0])
        return super().resolve_command(ctx, args if found or args[0].startswith("-") else ["site", *args])


@click.group("morning", cls=OrSite, invoke_without_command=True)
@settings_option
@output_option
@click.pass_context
def morning(context: click.Context, settings: Path, output: str) -> None:
    """Machines that should be up and those heard of, by opening, or those of one SITE; exit code 1 while an alarm
    stands."""
    if context.invoked_subcommand is not None:
        return
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = tx.morning()
    rows = [
        {
            "opens": f"{one.opens_at:%Y-%m-%d %H:%M} UTC",
            "should be up": str(one.expected),
            "heard of": str(one.seen),
            "in all": str(one.machines),
        }
        for one in (found.parties if found else ())
    ]
    show(rows, ("opens", "should be up", "heard of", "in all"), output)
    if found is not None and found.stands:
        click.echo(mornings.sentence(found), err=True)
        raise SystemExit(1)


@morning.command("site")
@click.argument("site")
@settings_option
@output_option
def morning_site(site: str, settings: Path, output: str) -> None:
    """SITE's morning of today, or its next one: when it opens, and which machines were heard of since an hour and a
    half before."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found, active, now = tx.site(site), tx.active_policy(), opened.clock.now()
        if found is None:
            raise NotFound(f"there is no site {site}")
        if active is None:
            raise NotFound("no policy is active")
        day = mornings.day_of(opened.gate, opened.gate.policy(active.commit).zone, found, now)
        machines = [one for one in tx.machines(site=site, limit=1000) if one.status is MachineStatus.ACTIVE]
    rows = [_row(one, day.boots_at, now) for one in machines]
    opens = f"{day.opens_at:%Y-%m-%d %H:%M} UTC" if day.opens_at else "no morning is planned"
    if output != "table":
        emit({"site": found.id, "name": found.name, "opens": opens, "machines": rows}, output)
        return
    click.echo(f"{found.id} {found.name}, opens: {opens}")
    show(rows, COLUMNS, output)


def _row(machine: Machine, boots_at: datetime | None, now: datetime) -> dict[str, Any]:
    seen = machine.last_seen_at
    heard = "-"
    if boots_at is not None:
        heard = "not yet due" if now < boots_at else "yes" if seen is not None and seen >= boots_at else "no"
    return {
        "machine": machine.name,
        "role": machine.role,
        "ring": machine.ring or "-",
        "last seen": f"{seen:%Y-%m-%d %H:%M} UTC" if seen else "never",
        "heard of": heard,
    }


@morning.command("end")
@because_option
@settings_option
def morning_end(because: str, settings: Path) -> None:
    """End the alarm that stands: openings go on, and it does not rise again today."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        mornings.end(tx, me(), because, opened.clock.now())
    click.echo("ended; openings go on")
