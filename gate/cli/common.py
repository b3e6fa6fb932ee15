"""What the commands share: the settings option, who acts, and how a table or JSON is printed."""

from __future__ import annotations

import io
import json
import os
import pwd
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML

from gate.adapters.policy_git import harmless
from gate.bootstrap import Opened, open_gate
from gate.core.errors import Malformed, NotFound
from gate.core.model import Machine, MachineStatus, Rollout
from gate.flows.audit import moment
from gate.ports import Proposal, Tx

LOOKED_AT = 1000
REVOKED = MachineStatus.REVOKED

F = TypeVar("F", bound=Callable[..., Any])

settings_option = click.option(
    "--settings",
    "settings",
    type=click.Path(dir_okay=False, path_type=Path),
    default=lambda: Path(os.environ.get("GATE_SETTINGS", "gate.toml")),
    show_default="gate.toml, or GATE_SETTINGS",
    help="The settings file.",
)
output_option = click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
language_option = click.option("--language", type=click.Choice(["de", "en"]), default="en", show_default=True)
because_option = click.option("--because", required=True, help="The reason, for the audit log.")


@contextmanager
def gate_of(settings: Path) -> Iterator[Opened]:
    """The gate of a settings file, closed afterwards."""
    opened = open_gate(settings)
    try:
        yield opened
    finally:
        opened.close()


def me() -> str:
    """Who acts: the operator's own shell, by the account that runs it; the environment can say any name."""
    uid = os.geteuid()
    try:
        return f"shell:{pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"shell:uid-{uid}"


def _moment(_: click.Context, option: click.Parameter, text: str) -> datetime | None:
    try:
        return moment(text)
    except Malformed as problem:
        raise click.BadParameter(problem.detail, param=option) from problem


at_option = click.option(
    "--at",
    default="",
    metavar="TIME",
    callback=_moment,
    help="What the gate knew and decided then: 2026-03-02T09:00, UTC where it says no other.",
)


NOT_THEN = (
    "where a machine stood at another time, and what a site said then, is not stored; what was done to it until then"
    " stands in the log: gate audit list --subject ID --at TIME"
)


def _only_now(_: click.Context, __: click.Parameter, text: str) -> None:
    if text:
        raise click.UsageError(NOT_THEN)


now_option = click.option(
    "--at",
    default="",
    metavar="TIME",
    expose_value=False,
    callback=_only_now,
    help="Refused: only what is so now is stored. What was done until then: gate audit list --subject ID --at TIME.",
)


def emit(value: Any, output: str) -> None:
    """One value as JSON or YAML."""
    plain = json.loads(json.dumps(value, default=str))
    if output == "json":
        click.echo(json.dumps(plain, indent=1, ensure_ascii=False))
        return
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(plain, text)
    click.echo(text.getvalue(), nl=False)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], output: str) -> None:
    """Rows as a table, or as JSON or YAML with every field."""
    if output != "table":
        emit([dict(row) for row in rows], output)
        return
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_cell(row.get(column, "")) for column in columns))
    Console(width=None if os.isatty(1) else 200).print(table)


def _cell(value: Any) -> Text:
    """The words as they are: nothing in them is a style, and nothing steers the terminal."""
    return Text(harmless(str(value), len(str(value))))


def say_agreed(found: object, done: str) -> None:
    """After an act of two people: ``done`` where this was the second, else until when another must agree."""
    if isinstance(found, Proposal):
        done = f"proposed; another person must agree before {found.expires_at:%Y-%m-%d %H:%M} UTC"
    click.echo(done)


def rollout_named(tx: Tx, wanted: str, version: str = "") -> Rollout:
    """A rollout by its id, by the version of its release, or by its source and that; of several the newest.

    Raises:
        NotFound: none. Malformed: several sources have this version.
    """
    found = tx.rollout(wanted)
    if found is not None and not version:
        return found
    asked = tx.rollouts(source=wanted if version else "", limit=LOOKED_AT)
    releases = tx.versions([one.release for one in asked])
    named = [one for one in asked if releases.get(one.release) == (version or wanted)]
    if not named:
        raise NotFound(f"there is no rollout {wanted} {version}".rstrip())
    sources = sorted({one.source for one in named})
    if len(sources) > 1:
        raise Malformed("ambiguous", f"several sources have {wanted}: {', '.join(sources)}; say SOURCE VERSION")
    return named[0]


def machine_named(tx: Tx, wanted: str) -> Machine:
    """A machine by its id or its name.

    Raises:
        NotFound: none. Malformed: several have this name.
    """
    found = tx.machine(wanted)
    if found is not None:
        return found
    named, after = [], ""
    while page := tx.machines(after=after, limit=1000):
        named += [machine for machine in page if machine.name == wanted and machine.status is not REVOKED]
        after = page[-1].id
    if not named:
        raise NotFound(f"there is no machine {wanted}")
    if len(named) > 1:
        raise Malformed("ambiguous", f"several machines are called {wanted}: {', '.join(one.id for one in named)}")
    return named[0]
