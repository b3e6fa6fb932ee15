"""``gate mirror``: who may read the vendor mirror, and what each reader is served."""

from __future__ import annotations

import secrets
from pathlib import Path

import click

from gate.cli.common import gate_of, machine_named, me, output_option, settings_option, show
from gate.flows import mirror as flow


@click.group("mirror")
def mirror() -> None:
    """The vendor mirror: tokens for stock clients, and what they are served."""


@mirror.command("token")
@click.argument("source")
@click.argument("machine", required=False, default="")
@click.option("--ring", default="", help="One address for a whole ring instead; its lever is advised, not held.")
@settings_option
def mirror_token(source: str, machine: str, ring: str, settings: Path) -> None:
    """The address below which MACHINE's client finds SOURCE; shown once. Its id goes to standard error."""
    secret = secrets.token_urlsafe(24)
    with gate_of(settings) as opened:
        with opened.store.write() as tx:
            known = machine_named(tx, machine).id if machine else ""
            made = flow.admit(tx, opened.gate, source, secret, me(), opened.clock.now(), machine=known, ring=ring)
        opened.mirror.admit(source, secret, made.holder)
        address = opened.address
    lever = "held: one machine" if machine else f"advised: whoever knows it moves with ring {ring}, without claims"
    click.echo(f"{made.id}, {lever}", err=True)
    click.echo(f"{address}/mirror/{source}/{secret}")


@mirror.command("list")
@settings_option
@output_option
def mirror_list(settings: Path, output: str) -> None:
    """Every token with what it is served and when it was last used; never the token itself, only how it
    begins, as nginx's log says it."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        tokens = tx.mirror_tokens()
        pointers = {(one.source, one.holder): one for one in tx.pointers()}
        versions = tx.versions([one.release for one in pointers.values() if one.release])
        sources = {one.source for one in tokens}
        used = {source: opened.mirror.used(source) for source in sources}
        begins = {source: opened.mirror.begins(source) for source in sources}
    rows = []
    for one in tokens:
        pointer, at = pointers.get((one.source, one.holder)), used[one.source].get(one.sha256) or one.used_at
        rows.append(
            {
                "token": one.id,
                "begins": begins[one.source].get(one.sha256, ""),
                "source": one.source,
                "for": one.holder,
                "lever": "advised" if one.holder.startswith(flow.RING) else "held",
                "serves": versions.get(pointer.release, "nothing yet") if pointer else "nothing",
                "last used": f"{at:%Y-%m-%d %H:%M} UTC" if at else "never",
                "state": "revoked" if one.revoked_at else "valid",
                "made by": one.created_by,
            }
        )
    show(rows, ("token", "begins", "source", "for", "lever", "serves", "last used", "state", "made by"), output)


@mirror.command("revoke")
@click.argument("token_id", metavar="TOKEN")
@settings_option
def mirror_revoke(token_id: str, settings: Path) -> None:
    """TOKEN (its id) is worth nothing from now on; its client keeps what it has."""
    with gate_of(settings) as opened:
        with opened.store.write() as tx:
            gone = flow.revoke(tx, token_id, me(), opened.clock.now())
        opened.mirror.shut_out(gone.source, gone.sha256)
    click.echo("revoked")
