"""``gate user``: people, at the server's own shell, where one person is enough."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from gate.cli.common import because_option, gate_of, me, output_option, settings_option, show
from gate.flows import identities, people, user_changes
from gate.flows.agreement import reason_given


@click.group()
def user() -> None:
    """People: add, link, role, identity, disable, list."""


@user.command("add")
@click.argument("login")
@click.option("--name", default="")
@click.option("--role", type=click.Choice(people.ROLES), default="reader", show_default=True)
@settings_option
def user_add(login: str, name: str, role: str, settings: Path) -> None:
    """A new person; prints the one-time link with which they choose a password."""
    link = secrets.token_urlsafe(32)
    with gate_of(settings) as opened:
        with opened.store.write() as tx:
            people.add_user(tx, login, name, role, link, me(), opened.clock.now())
        click.echo(f"{opened.address}/link/{link}")


@user.command("link")
@click.argument("login")
@settings_option
def user_link(login: str, settings: Path) -> None:
    """A new one-time link for LOGIN."""
    link = secrets.token_urlsafe(32)
    with gate_of(settings) as opened:
        with opened.store.write() as tx:
            people.new_link(tx, login, link, me(), opened.clock.now())
        click.echo(f"{opened.address}/link/{link}")


@user.command("disable")
@click.argument("login")
@settings_option
def user_disable(login: str, settings: Path) -> None:
    """LOGIN may not log in any more; open sessions end."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        people.disable_user(tx, login, me(), opened.clock.now())
    click.echo("disabled")


@user.command("role")
@click.argument("login")
@click.argument("role", type=click.Choice(people.ROLES))
@because_option
@settings_option
def user_role(login: str, role: str, because: str, settings: Path) -> None:
    """LOGIN has ROLE from now on; open sessions end."""
    reason_given(because)
    with gate_of(settings) as opened, opened.store.write() as tx:
        user_changes.change_role(tx, login, role, me(), because, opened.clock.now())
    click.echo(f"{login} is {role}")


@user.command("identity")
@click.argument("login")
@click.argument("issuer")
@click.argument("subject")
@settings_option
def user_identity(login: str, issuer: str, subject: str, settings: Path) -> None:
    """SUBJECT of the login provider ISSUER is LOGIN from now on.

    An account of this server's shell is linked with the issuer shell: gate user identity anna shell anna. Until then it
    counts as nobody where two people are asked for.
    """
    with gate_of(settings) as opened, opened.store.write() as tx:
        identities.link(tx, login, issuer, subject, me(), opened.clock.now())
    click.echo("linked")


@user.command("list")
@settings_option
@output_option
def user_list(settings: Path, output: str) -> None:
    """Everybody who may log in."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = tx.users()
    rows = [{"login": u.id, "name": u.name, "role": u.role, "disabled": u.disabled} for u in found]
    show(rows, ("login", "name", "role", "disabled"), output)
