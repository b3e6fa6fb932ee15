"""``gate hold``: keep machines out that meet a pick, list the holds, lift one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from gate.cli.common import because_option, gate_of, me, output_option, say_agreed, settings_option, show
from gate.flows import holds


@click.group("hold", invoke_without_command=True)
@click.option("--pick", default="", help="role=till,os_build=19045; keys are site, label or a fact.")
@click.option("--source", default="", help="Of this source only; else of all.")
@click.option("--owner", default="", help="Who looks after it.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"]), help="Its end, in UTC.")
@click.option("--because", default="", help="The reason, for ever in the audit log.")
@settings_option
@click.pass_context
def hold(
    context: click.Context, pick: str, source: str, owner: str, until: datetime | None, because: str, settings: Path
) -> None:
    """Hold machines that meet --pick; one person is enough, and it needs an owner, an end and a reason."""
    if context.invoked_subcommand is not None:
        return
    if not (pick and owner and until and because):
        raise click.UsageError("a hold needs --pick, --owner, --until and --because; or: hold list, hold lift")
    with gate_of(settings) as opened, opened.store.write() as tx:
        end = until.replace(tzinfo=UTC)
        made = holds.place(tx, opened.gate, pick, source, owner, end, because, me(), opened.clock.now())
    click.echo(f"{made.id} holds {holds.words(made)} until {made.until:%Y-%m-%d %H:%M} UTC")


@hold.command("list")
@settings_option
@output_option
def hold_list(settings: Path, output: str) -> None:
    """What holds now."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = tx.holds(opened.clock.now())
    rows = [
        {
            "hold": one.id,
            "pick": holds.words(one),
            "source": one.source or "all",
            "owner": one.owner,
            "until": f"{one.until:%Y-%m-%d %H:%M} UTC",
            "because": one.because,
        }
        for one in found
    ]
    show(rows, ("hold", "pick", "source", "owner", "until", "because"), output)


@hold.command("lift")
@click.argument("hold_id", metavar="HOLD")
@because_option
@settings_option
def hold_lift(hold_id: str, because: str, settings: Path) -> None:
    """Lift HOLD before its end: propose it, or agree to what another person has proposed."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        found = holds.lift(tx, hold_id, me(), because, opened.clock.now())
    say_agreed(found, f"{hold_id} holds nobody any more")
