"""``gate token``: tokens for scripts, which speak for a person on ``/api/v1``."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from gate.cli.common import gate_of, me, output_option, settings_option, show
from gate.flows import tokens


@click.group()
def token() -> None:
    """Tokens for the API for people: create, list, revoke."""


@token.command("create")
@click.argument("login")
@click.option("--scope", type=click.Choice(list(tokens.SCOPES)), required=True, help="What it may do, at most.")
@click.option("--days", type=click.IntRange(1, tokens.LONGEST_DAYS), default=90, show_default=True)
@settings_option
def token_create(login: str, scope: str, days: int, settings: Path) -> None:
    """A token for LOGIN; shown once, here and now. Its id goes to standard error, for `gate token revoke`."""
    secret = tokens.PREFIX + secrets.token_urlsafe(32)
    with gate_of(settings) as opened, opened.store.write() as tx:
        made = tokens.create(tx, login, scope, days, secret, me(), opened.clock.now())
    click.echo(f"{made.id}, until {made.expires_at:%Y-%m-%d %H:%M} UTC", err=True)
    click.echo(secret)


@token.command("list")
@settings_option
@output_option
def token_list(settings: Path, output: str) -> None:
    """Every token with its scope, its end and when it was last used; never the token itself."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found, now = tx.tokens(), opened.clock.now()
    rows = [
        {
            "token": one.id,
            "login": one.user,
            "scope": one.scope,
            "until": f"{one.expires_at:%Y-%m-%d %H:%M} UTC",
            "last used": f"{one.used_at:%Y-%m-%d %H:%M} UTC" if one.used_at else "never",
            "state": "revoked" if one.revoked_at else "expired" if one.expires_at <= now else "valid",
            "made by": one.created_by,
        }
        for one in found
    ]
    show(rows, ("token", "login", "scope", "until", "last used", "state", "made by"), output)


@token.command("revoke")
@click.argument("token_id", metavar="TOKEN")
@settings_option
def token_revoke(token_id: str, settings: Path) -> None:
    """TOKEN (its id) is worth nothing from now on."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        tokens.revoke(tx, token_id, me(), opened.clock.now())
    click.echo("revoked")
