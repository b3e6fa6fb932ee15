"""``gate policy``: what a policy says, what a change of it loosens, before anybody commits it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from gate.adapters.policy_format import formatted
from gate.adapters.policy_yaml import PolicyProblems, parse_new, parse_text, render
from gate.cli.common import emit, gate_of, language_option, output_option, settings_option
from gate.core.errors import NotFound
from gate.core.policy import Policy, not_enforced
from gate.core.policy_diff import Direction, diff, people_needed
from gate.core.policy_explain import explain
from gate.core.policy_schema import schema
from gate.core.policy_words import sentence, verdict

file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def policy() -> None:
    """Policy: lint, fmt, explain, diff, plan, backtest, schema; history, blame, propose, proposals, sign, withdraw."""


def read_policy(name: str, settings: Path) -> Policy:
    """The policy of a file; else of ``active``, ``head`` or a commit in the gate's own repository.

    Raises:
        NotFound: neither. SystemExit (1): it does not parse; its problems have been printed.
    """
    if Path(name).is_file():
        return parsed(read_text(Path(name)), name)
    if not settings.is_file():
        raise NotFound(f"there is no file {name}, and no gate ({settings}) that could know it as a commit")
    with gate_of(settings) as opened:
        if name == "active":
            with opened.store.read() as tx:
                active = tx.active_policy()
            if active is None:
                raise NotFound("no policy is active")
            return parsed(opened.policies.read(active.commit), active.commit[:12])
        commit = opened.policies.resolve(name)
        return parsed(opened.policies.read(commit), commit[:12])


def read_text(file: Path) -> str:
    """A file's text."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as garbled:
        raise click.ClickException(f"{file} is not UTF-8 text") from garbled


def parsed(text: str, name: str) -> Policy:
    """The policy of a text; all of its problems and exit code 1 where it does not parse."""
    try:
        return parse_text(text, name)
    except PolicyProblems as found:
        for problem in found.problems:
            click.echo(render(problem, text), err=True)
        raise SystemExit(1) from found


@policy.command()
@file_argument
@output_option
def lint(file: Path, output: str) -> None:
    """Every problem of FILE with file:line:column and a caret; exit code 1 when there is one."""
    text = read_text(file)
    try:
        found = parse_new(text, str(file))
    except PolicyProblems as bad:
        if output != "table":
            rows = [{"line": p.line, "column": p.column, "message": p.message} for p in bad.problems]
            emit({"ok": False, "problems": rows}, output)
        else:
            for problem in bad.problems:
                click.echo(render(problem, text))
            click.echo("1 problem" if len(bad.problems) == 1 else f"{len(bad.problems)} problems")
        raise SystemExit(1) from bad
    later = not_enforced(found)
    if output != "table":
        warnings = [str(warning) for warning in found.warnings]
        emit({"ok": True, "warnings": warnings, "not_yet_enforced": later}, output)
        return
    for warning in found.warnings:
        click.echo(f"warning: {warning}")
    for said in later:
        click.echo(f"not yet enforced: {said}")
    click.echo(f"{file}: a valid policy with {len(found.rings)} rings")


@policy.command()
@file_argument
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 when it is not laid out so.")
def fmt(file: Path, check: bool) -> None:
    """Lay FILE out: indentation, blanks at the end of lines, the final newline. Comments and order stay."""
    text = read_text(file)
    try:
        after = formatted(text, str(file))
    except PolicyProblems as found:
        for problem in found.problems:
            click.echo(render(problem, text), err=True)
        raise SystemExit(1) from found
    if after == text:
        return
    if check:
        click.echo(f"{file}: gate policy fmt would change it")
        raise SystemExit(1)
    file.write_text(after, encoding="utf-8", newline="")
    click.echo(f"{file}: laid out")


@policy.command("explain")
@click.argument("name", metavar="[FILE|COMMIT]", default="active")
@language_option
@output_option
@settings_option
def explain_policy(name: str, language: str, output: str, settings: Path) -> None:
    """A policy in sentences, each with its line: the active one, or FILE, or COMMIT."""
    found = explain(read_policy(name, settings), language)
    if output != "table":
        emit([{"path": one.path, "line": one.line, "ring": one.ring, "text": one.text} for one in found], output)
        return
    for one in found:
        begins = not one.ring or one.path.endswith(".name")
        click.echo(f"{'' if begins else '  '}{one.text}" + (f"  [{one.line}]" if one.line else ""))


@policy.command("diff")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@language_option
@output_option
@settings_option
def diff_policies(old: str, new: str, language: str, output: str, settings: Path) -> None:
    """What NEW loosens or tightens of OLD, and how many people it needs; exit code 1 when it loosens.

    OLD and NEW are files, or `active`, `head` or commits of the gate's own repository.
    """
    before, after = read_policy(old, settings), read_policy(new, settings)
    changes = diff(before, after, datetime.now(UTC).astimezone(before.zone).date())
    if output != "table":
        rows = [
            {
                "path": one.path,
                "line": one.line,
                "old_line": one.old_line,
                "before": one.before,
                "after": one.after,
                "direction": one.direction.name.lower(),
                "text": sentence(one, language),
            }
            for one in changes
        ]
        emit({"people": people_needed(changes), "changes": rows}, output)
    else:
        for one in changes:
            sign = {Direction.LOOSENS: "!", Direction.TIGHTENS: "+", Direction.NEUTRAL: " "}[one.direction]
            click.echo(f"{sign} {sentence(one, language)}  [{one.line or one.old_line}]")
        click.echo(verdict(changes, language))
    if people_needed(changes) > 1:
        raise SystemExit(1)


@policy.command("schema")
def policy_schema() -> None:
    """The policy language as a JSON Schema, for editors."""
    click.echo(json.dumps(schema(), indent=1))
