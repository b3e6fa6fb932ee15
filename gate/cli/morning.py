"""``gate morning``: who is missing this morning; a person ends an alarm."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli.common import because_option, gate_of, me, output_option, settings_option, show
from gate.flows import mornings


@click.group("morning", invoke_without_command=True)
@settings_option
@output_option
@click.pass_context
def morning(context: click.Context, settings: Path, output: str) -> None:
    """Machines that should be up and those heard of, by opening; exit code 1 while an alarm stands."""
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


@morning.command("end")
@because_option
@settings_option
def morning_end(because: str, settings: Path) -> None:
    """End the alarm that stands: openings go on, and it does not rise again today."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        mornings.end(tx, me(), because, opened.clock.now())
    click.echo("ended; openings go on")
