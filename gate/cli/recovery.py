"""``gate recovery``: a sheet for whoever goes to a dead machine; ``gate site key``: where its recovery key is kept."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from gate.bootstrap import Opened
from gate.cli.common import emit, gate_of, me, rollout_named, settings_option, show
from gate.core import words
from gate.core.errors import NotFound
from gate.core.model import Rollout
from gate.flows import csv_rows, key_places
from gate.flows import recovery as flow
from gate.flows.recovery import NOTHING, Sheet
from gate.ports import Tx


@click.command()
@click.argument("make", default="")
@click.option("--source", default="", help="The source; else that of the newest rollout that is halted or recalled.")
@click.option("--release", default="", help="The version that went wrong; else that of the newest such rollout.")
@click.option("--language", type=click.Choice(["de", "en"]), default="de", show_default=True)
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", help="table: to print.")
@settings_option
def recovery(make: str, source: str, release: str, language: str, output: str, settings: Path) -> None:
    """The recovery sheet of MAKE (its text, or the short name on its sheet); without one those of all that failed."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        rollout, now = _rollout(tx, source, release), opened.clock.now()
        sheets = [_sheet(opened, tx, rollout, one, now) for one in _makes(opened, tx, rollout, make, now)]
        zone = opened.gate.policy(rollout.policy_version).zone
    if output != "table":
        emit([_plain(one) for one in sheets], output)
        return

    def moment(at: datetime | None) -> str:
        if at is None:
            return "-"
        form = "%d.%m.%Y %H:%M" if language == "de" else "%d %b %Y %H:%M"
        return f"{at.astimezone(zone):{form}}{words.clock(at, zone)}"

    click.echo("\n\f\n".join("\n".join(flow.lines(one, language, moment)) for one in sheets))


def _rollout(tx: Tx, source: str, release: str) -> Rollout:
    if release:
        return rollout_named(tx, source or release, release if source else "")
    found = tx.rollouts(states=flow.STOPPED, source=source, limit=1)
    if not found:
        raise NotFound("no rollout is halted or recalled; name one with --release")
    return found[0]


def _makes(opened: Opened, tx: Tx, rollout: Rollout, make: str, now: datetime) -> list[str]:
    if not make:
        found = list(flow.makes_of(tx, opened.gate, rollout, now))
        if not found:
            raise NotFound("no make of this rollout has failed; name one")
        return found
    known = flow.named(tx, opened.gate, rollout, make, now)
    if known is None:
        raise NotFound(f"this rollout has no make {make[:200]}")
    return [known]


def _sheet(opened: Opened, tx: Tx, rollout: Rollout, make: str, now: datetime) -> Sheet:
    return flow.sheet(tx, opened.gate, rollout, make, opened.settings.recovery.get(rollout.source, NOTHING), now)


def _plain(one: Sheet) -> dict[str, Any]:
    """A sheet as data: what it says, in no language."""
    lost = []
    for each in one.lost:
        key = one.key_of(each)
        lost.append(
            {
                "site": each.site,
                "machine": each.machine,
                "name": each.name,
                "state": each.state.value,
                "last_seen_at": each.last_seen_at,
                "key_place": key.place if key else "",
                "key_id": key.key_id if key else "",
            }
        )
    return {
        "rollout": one.rollout.id,
        "source": one.rollout.source,
        "release": one.release.id,
        "version": one.release.version,
        "make": one.make,
        "key": one.key,
        "out_of_reach": lost,
        "more": one.more,
        "remove": list(one.remove),
        "good": one.good and {"version": one.good.version, "release": one.good.id, "files": _files(one)},
        "paths": list(one.paths),
        "unsure": one.unsure,
    }


def _files(one: Sheet) -> list[dict[str, str]]:
    return [{"name": each.name, "sha256": each.sha256} for each in one.good.artifacts] if one.good else []


@click.group("key")
def site_key() -> None:
    """Where recovery keys are kept, never the keys: keep, drop, list, import."""


@site_key.command("keep")
@click.argument("site")
@click.argument("place")
@click.option("--machine", default="", help="Its id or name; else all machines of SITE.")
@click.option("--key-id", default="", help="The first eight digits of the key's id.")
@settings_option
def key_keep(site: str, place: str, machine: str, key_id: str, settings: Path) -> None:
    """The recovery key of SITE is at PLACE, such as 'envelope 3 in the office safe'."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        key_places.keep(tx, site, machine, place.strip(), key_id.strip(), me(), opened.clock.now())
    click.echo("kept")


@site_key.command("drop")
@click.argument("site")
@click.option("--machine", default="", help="Its id or name; else what holds for all machines of SITE.")
@settings_option
def key_drop(site: str, machine: str, settings: Path) -> None:
    """Forget where a recovery key of SITE is kept."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        key_places.drop(tx, site, machine, me(), opened.clock.now())
    click.echo("forgotten")


@site_key.command("list")
@click.argument("site")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@settings_option
def key_list(site: str, output: str, settings: Path) -> None:
    """Where the recovery keys of SITE are kept."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = tx.key_places([site])
    rows = [
        {"machine": one.machine or "(all)", "place": one.place, "key id": one.key_id, "by": one.by, "at": one.at}
        for one in found
    ]
    show(rows, ("machine", "place", "key id", "by"), output)


@site_key.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@settings_option
def key_import(file: Path, settings: Path) -> None:
    """Import FILE, a CSV with the columns site, machine, place, key_id; all of it or nothing."""
    with gate_of(settings) as opened:
        with file.open("rb") as raw:
            rows, troubles = key_places.read(raw.read(csv_rows.MOST + 1))
        if not troubles:
            with opened.store.write() as tx:
                troubles = key_places.take(tx, rows, me(), opened.clock.now())
    for one in troubles:
        click.echo(f"{file}:{one.row}: {one.said}" if one.row else f"{file}: {one.said}", err=True)
    if troubles:
        raise SystemExit(1)
    click.echo(f"{len(rows)} places")
