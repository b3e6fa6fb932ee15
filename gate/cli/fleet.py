"""``gate sites``, ``machines``, ``enrol-code``: who is in the fleet."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path

import click

from gate.adapters.calendar import check_hours, check_land
from gate.cli.common import (
    because_option,
    gate_of,
    machine_named,
    me,
    now_option,
    output_option,
    settings_option,
    show,
)
from gate.cli.site_times import closed
from gate.core.errors import NotFound
from gate.core.model import Site
from gate.flows import csv_rows, machine_import, site_import
from gate.flows import machines as flow
from gate.flows.decommission import decommission
from gate.ports import Proposal


@click.group()
def sites() -> None:
    """Sites: import, list, closing days."""


@sites.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@settings_option
def sites_import(file: Path, settings: Path) -> None:
    """Import FILE, a CSV with the columns id, name, land, hours, always_on, labels; all of it or nothing."""
    with gate_of(settings) as opened:
        with file.open("rb") as source:
            found, problems = read_sites(source.read(csv_rows.MOST + 1), opened.settings.land, str(file))
        if problems:
            for line in problems:
                click.echo(line, err=True)
            raise SystemExit(1)
        with opened.store.write() as tx:
            site_import.take(tx, opened.rules.policy(), found, me(), opened.clock.now())
    click.echo(f"{len(found)} sites")


def read_sites(raw: bytes, land: str, file: str) -> tuple[list[Site], list[str]]:
    """The sites of a CSV file, and what is wrong with it, as ``file:line: problem``."""
    found, troubles = site_import.read(raw, site_import.Checks(check_hours, check_land, land))
    return found, [f"{file}:{one.row}: {one.said}" if one.row else f"{file}: {one.said}" for one in troubles]


@sites.command("list")
@now_option
@settings_option
@output_option
@click.option("--after", default="", help="Id after which the page begins.")
def sites_list(settings: Path, output: str, after: str) -> None:
    """A page of sites, by id."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = tx.sites(after=after, limit=1000)
    rows = [{"id": s.id, "name": s.name, "land": s.land, "hours": s.hours, "labels": " ".join(s.labels)} for s in found]
    show(rows, ("id", "name", "land", "hours", "labels"), output)


sites.add_command(closed)


@click.command("enrol-code")
@click.argument("site")
@click.option("--uses", default=1, show_default=True, type=click.IntRange(1, 1000))
@click.option("--hours", default=24, show_default=True, type=click.IntRange(1, 72))
@settings_option
def enrol_code(site: str, uses: int, hours: int, settings: Path) -> None:
    """A code that lets machines of SITE ask to join; shown once."""
    with gate_of(settings) as opened:
        root = opened.publisher.root_sha256
        with opened.store.write() as tx:
            code = flow.create_code(
                tx, secrets.token_hex(16), root, site, uses, timedelta(hours=hours), me(), opened.clock.now()
            )
    click.echo(code)


@click.group()
def machines() -> None:
    """Machines: list, import, accept, revoke, decommission."""


@machines.command("list")
@now_option
@settings_option
@output_option
@click.option("--site", default="")
@click.option("--ring", default="")
@click.option("--status", default="", help="pending, active or revoked.")
@click.option("--after", default="", help="Id after which the page begins.")
def machines_list(settings: Path, output: str, site: str, ring: str, status: str, after: str) -> None:
    """A page of machines, by id."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = tx.machines(after=after, limit=1000, site=site, ring=ring, status=status)
    rows = [
        {
            "id": m.id,
            "name": m.name,
            "site": m.site,
            "status": m.status.value,
            "ring": m.ring or "-",
            "make": m.make,
            "last seen": f"{m.last_seen_at:%Y-%m-%d %H:%M:%S}" if m.last_seen_at else "never",
        }
        for m in found
    ]
    show(rows, ("id", "name", "site", "status", "ring", "make", "last seen"), output)


@machines.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@settings_option
def machines_import(file: Path, settings: Path) -> None:
    """Let the pending machines of FILE in, a CSV with the columns machine (id or name), role, site, labels; all of them
    or none. On the server's own shell one person is enough, for every ring."""
    with file.open("rb") as source:
        found, troubles = machine_import.read(source.read(csv_rows.MOST + 1))
    with gate_of(settings) as opened, opened.store.write() as tx:
        active = tx.active_policy()
        if active is None:
            raise NotFound("no policy is active")
        troubles += machine_import.problems(tx, found)
        if not troubles:
            machine_import.take(tx, opened.gate, opened.gate.policy(active.commit), found, me(), opened.clock.now())
    if troubles:
        for one in sorted(troubles, key=lambda one: one.row):
            click.echo(f"{file}:{one.row}: {one.said}" if one.row else f"{file}: {one.said}", err=True)
        raise SystemExit(1)
    click.echo(f"{len(found)} machines")


@machines.command("accept")
@click.argument("machine")
@click.option("--role", required=True, help="Its role, such as till, workstation or server; fixed from now on.")
@click.option("--label", "labels", multiple=True, help="A label; repeatable.")
@click.option("--site", default="", help="Another site than the code's.")
@settings_option
def machines_accept(machine: str, role: str, labels: tuple[str, ...], site: str, settings: Path) -> None:
    """Let the pending MACHINE (id or name) in; on the server's own shell one person is enough, for every ring."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        found = machine_named(tx, machine)
        active = tx.active_policy()
        if active is None:
            raise NotFound("no policy is active")
        policy = opened.gate.policy(active.commit)
        now = opened.clock.now()
        to = site or found.site
        accepted = flow.accept(tx, opened.gate, found, to, role, labels, me(), now, policy, people=1)
        assert not isinstance(accepted, Proposal)
    click.echo(f"{accepted.name} is active: ring {accepted.ring or '-'}, make {accepted.make}")


@machines.command("revoke")
@click.argument("machine")
@because_option
@settings_option
def machines_revoke(machine: str, because: str, settings: Path) -> None:
    """Refuse MACHINE's key from now on."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        flow.revoke(tx, machine_named(tx, machine), me(), because, opened.clock.now())
    click.echo("revoked")


@machines.command("decommission")
@click.argument("machine")
@because_option
@settings_option
def machines_decommission(machine: str, because: str, settings: Path) -> None:
    """MACHINE is gone: revoke it, free its slots, and take it out of what running rollouts count, visibly for ever."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        now = opened.clock.now()
        found = decommission(tx, opened.gate, machine_named(tx, machine), me(), because, now)
    click.echo("decommissioned")
    for one in found:
        click.echo(f"it has left {one.rollout}, ring {one.ring}" + (f"; it was {one.was}" if one.was else ""))
