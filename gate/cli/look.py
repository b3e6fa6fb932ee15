"""``gate rings``, ``gate site show``, ``gate machine show``: what the gate knows of one thing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gate.cli.common import at_option, emit, gate_of, machine_named, now_option, output_option, settings_option, show
from gate.core.errors import NotFound
from gate.core.model import Machine
from gate.ports import Asked, Tx

NOT_STORED = "Cannot be known: which machines were in each ring then; that is not stored."


@click.command()
@at_option
@settings_option
@output_option
def rings(at: datetime | None, settings: Path, output: str) -> None:
    """The rings of the active policy in their order, with who is in them now and why each is there; or those of the
    policy that ruled at a time."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        commit = _ruling(tx, at)
        if not commit:
            raise NotFound("no policy is active" if at is None else "no policy was active then, as far as the log goes")
        policy = opened.gate.policy(commit)
        rows = []
        for position, ring in enumerate(policy.rings):
            makes = tx.ring_makes(ring.name) if at is None else None
            rows.append(
                {
                    "ring": ring.name,
                    "order": position,
                    "machines": None if makes is None else sum(makes.values()),
                    "makes": None if makes is None else len(makes),
                    "why": ring.why,
                    "line": policy.line_of(f"rings[{position}]"),
                }
            )
    counted = ("machines", "makes") if at is None else ()
    show(rows, ("order", "ring", *counted, "why", "line"), output)
    if at is not None and output == "table":
        click.echo(f"policy {commit[:12]}\n{NOT_STORED}")


def _ruling(tx: Tx, at: datetime | None) -> str:
    """The commit that rules now, or ruled then; empty where none did, or its entry has left the log."""
    if at is None:
        active = tx.active_policy()
        return active.commit if active else ""
    found = tx.asked_events(Asked(kind="policy_activated", until=at), None, 1)
    return found[0].subject if found else ""


@click.group("site")
def site_group() -> None:
    """One site: show, where its recovery keys are kept."""


@site_group.command("show")
@click.argument("site")
@now_option
@settings_option
@output_option
def site_show(site: str, settings: Path, output: str) -> None:
    """SITE: its hours and labels, its machines, and its times of duty and closing that are not over."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found, now = tx.site(site), opened.clock.now()
        if found is None:
            raise NotFound(f"there is no site {site}")
        machines: list[Machine] = []
        while page := tx.machines(site=site, after=machines[-1].id if machines else "", limit=1000):
            machines += page
    facts: dict[str, Any] = {
        "site": found.id,
        "name": found.name,
        "land": found.land,
        "hours": found.hours,
        "always_on": found.always_on,
        "labels": sorted(found.labels),
        "times": [
            {
                "kind": one.kind.value,
                "from": f"{one.start_at:%Y-%m-%d %H:%M} UTC",
                "to": f"{one.end_at:%Y-%m-%d %H:%M} UTC",
            }
            for one in found.times
            if one.end_at > now
        ],
    }
    rows = [_line(one) for one in machines]
    if output != "table":
        emit(facts | {"machines": rows}, output)
        return
    _facts(facts)
    show(rows, ("id", "name", "status", "ring", "make", "last seen"), output)


@click.group("machine")
def machine_group() -> None:
    """One machine: show."""


@machine_group.command("show")
@click.argument("machine")
@now_option
@settings_option
@output_option
def machine_show(machine: str, settings: Path, output: str) -> None:
    """MACHINE (its id or its name): who it is, what it has, what happened to it last."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = machine_named(tx, machine)
        session = tx.session(found.id)
        events = tx.events(subject=found.id, limit=10)
        boots = tx.boots_of(found.id)[::-1]
    facts: dict[str, Any] = _line(found) | {
        "site": found.site,
        "role": found.role,
        "labels": sorted(found.labels),
        "facts": dict(found.facts),
        "installed": dict(session.installed) if session else {},
        "boot_id": session.boot_id if session else "",
        "boots": [f"{one.boot_id} {one.started_at} {one.ended}" for one in boots],
    }
    happened = [
        {"at": f"{one.at:%Y-%m-%d %H:%M:%S} UTC", "what": one.kind, "who": one.actor, "because": one.because}
        for one in events
    ]
    if output != "table":
        emit(facts | {"events": happened}, output)
        return
    _facts(facts)
    show(happened, ("at", "what", "who", "because"), output)


def _line(machine: Machine) -> dict[str, Any]:
    return {
        "id": machine.id,
        "name": machine.name,
        "status": machine.status.value,
        "ring": machine.ring or "-",
        "make": machine.make,
        "last seen": f"{machine.last_seen_at:%Y-%m-%d %H:%M:%S}" if machine.last_seen_at else "never",
    }


def _facts(found: dict[str, Any]) -> None:
    for name, value in found.items():
        said = value
        if isinstance(value, dict):
            said = ", ".join(f"{key}={one}" for key, one in value.items())
        elif isinstance(value, list):
            said = ", ".join(" ".join(map(str, one.values())) if isinstance(one, dict) else str(one) for one in value)
        click.echo(f"{name}: {said if said not in ('', None) else '-'}")
