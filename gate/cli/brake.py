"""``gate brake on | off``, and ``gate completion``. The brake needs the database alone: the web process may be dead."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import get_completion_class

from gate.cli.common import because_option, gate_of, me, settings_option
from gate.core.model import RolloutState
from gate.flows import people


@click.group()
def brake() -> None:
    """The brake: on, off. It works on the database, also when the web process is dead."""


@brake.command("on")
@because_option
@settings_option
def brake_on(because: str, settings: Path) -> None:
    """Halt everything that moves, at once."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        halted = people.halt_all(tx, me(), because, opened.clock.now())
    for one in halted:
        click.echo(f"{one.id} is halted")
    click.echo(f"the brake is on: {len(halted)} halted; two people resume each" if halted else "nothing moves")


@brake.command("off")
@settings_option
def brake_off(settings: Path) -> None:
    """Say what is halted and how each goes on: nothing is lifted at once, two different people resume each rollout."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        halted = tx.rollouts(states=(RolloutState.HALTED,), limit=1000)
    if not halted:
        click.echo("nothing is halted")
        return
    click.echo("The brake is not lifted in one go: two different people resume each rollout, each with a reason.")
    for one in halted:
        click.echo(
            f"  gate resume {one.id} --because ...   # {one.source}; halted by {one.halted_by}: {one.halted_because}"
        )
    raise SystemExit(4)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """What SHELL must read for the tab key to work: eval "$(gate completion bash)"."""
    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    click.echo(found(context.find_root().command, {}, "gate", "_GATE_COMPLETE").source())
