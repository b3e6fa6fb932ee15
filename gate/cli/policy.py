"""``gate policy``: what a policy file says, before anybody commits it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gate.adapters.policy_yaml import PolicyProblems, parse_text, render
from gate.cli.common import gate_of, settings_option, show
from gate.core.policy import not_enforced
from gate.core.policy_schema import schema


@click.group()
def policy() -> None:
    """Policies: lint, schema, history."""


@policy.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def lint(file: Path, output: str) -> None:
    """Every problem of FILE with file:line:column and a caret; exit code 1 when there is one."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as garbled:
        raise click.ClickException(f"{file} is not UTF-8 text") from garbled
    try:
        parsed = parse_text(text, str(file))
    except PolicyProblems as found:
        if output == "json":
            rows = [{"line": p.line, "column": p.column, "message": p.message} for p in found.problems]
            click.echo(json.dumps({"ok": False, "problems": rows}))
        else:
            for problem in found.problems:
                click.echo(render(problem, text))
            click.echo(f"{len(found.problems)} problems")
        raise SystemExit(1) from found
    later = not_enforced(parsed)
    if output == "json":
        warnings = [str(warning) for warning in parsed.warnings]
        click.echo(json.dumps({"ok": True, "warnings": warnings, "not_yet_enforced": later}))
        return
    for warning in parsed.warnings:
        click.echo(f"warning: {warning}")
    for sentence in later:
        click.echo(f"not yet enforced: {sentence}")
    click.echo(f"{file}: a valid policy with {len(parsed.rings)} rings")


@policy.command("schema")
def policy_schema() -> None:
    """The policy language as a JSON Schema, for editors."""
    click.echo(json.dumps(schema(), indent=1))


@policy.command()
@settings_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def history(settings: Path, output: str) -> None:
    """Every version on the branch, newest first; the active one is marked."""
    with gate_of(settings) as opened:
        with opened.store.read() as tx:
            active = tx.active_policy()
        found = opened.policies.history(200)
    rows = [
        {
            "": "active" if active and one.commit == active.commit else "",
            "commit": one.commit[:12],
            "when": f"{one.at:%Y-%m-%d %H:%M}",
            "author": one.author,
            "message": one.message.partition("\n")[0],
        }
        for one in found
    ]
    show(rows, ("", "commit", "when", "author", "message"), output)
