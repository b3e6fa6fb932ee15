"""``gate policy`` on the gate's own repository: history, blame, and changes that one person makes or two agree to."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from gate.cli.common import because_option, emit, gate_of, me, output_option, settings_option, show
from gate.cli.policy import read_text
from gate.cli.policy_backtest import policy as policy
from gate.core.errors import NotFound
from gate.flows import edits, placing, policy_versions
from gate.flows.foreseen import foreseen
from gate.ports import Proposal

MOST = 200


@policy.command()
@settings_option
@output_option
def history(settings: Path, output: str) -> None:
    """Every version on the branch, newest first: who wrote it, who agreed, and when it ruled (UTC)."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        active = tx.active_policy()
        found = policy_versions.past(tx, opened.gate, MOST)
    rows = [
        {
            "": "active" if active and one.version.commit == active.commit else "refused" if one.refused else "",
            "commit": one.version.commit[:12],
            "when": _minute(one.version.at),
            "author": one.version.author,
            "agreed": ", ".join(one.people),
            "active from": _minute(one.active_from),
            "active to": _minute(one.active_to),
            "message": one.version.subject,
            "refused": one.refused,
        }
        for one in found
    ]
    show(rows, ("", "commit", "when", "author", "agreed", "active from", "active to", "message", "refused"), output)


@policy.command()
@click.argument("line", type=click.IntRange(min=1), required=False)
@click.option("--version", "wanted", default="active", show_default=True, help="active, head or a commit.")
@settings_option
@output_option
def blame(line: int | None, wanted: str, settings: Path, output: str) -> None:
    """Who changed LINE of the policy last, when and why; without LINE: each line."""
    with gate_of(settings) as opened:
        commit = opened.policies.resolve(wanted) if wanted != "active" else ""
        with opened.store.read() as tx:
            active = tx.active_policy()
        if not commit and active is None:
            raise NotFound("no policy is active")
        commit = commit or (active.commit if active else "")
        text = opened.policies.read(commit)
        texts, changed = text.splitlines(), policy_versions.lines(opened.gate, commit, text)
    if line is not None and line > len(texts):
        raise NotFound(f"{commit[:12]} has no line {line}")
    rows = [
        {
            "line": number,
            "text": text,
            "commit": who.commit[:12] if who else "",
            "author": who.author if who else "",
            "when": _minute(who.at if who else None),
            "because": who.subject if who else "",
        }
        for number, (text, who) in enumerate(zip(texts, changed, strict=True), 1)
        if line in (None, number)
    ]
    show(rows, ("line", "text", "author", "when", "because", "commit"), output)


@policy.command()
@click.argument("commit", default="head")
@settings_option
@output_option
def judge(commit: str, settings: Path, output: str) -> None:
    """What becomes of COMMIT at the head of the branch: the repository's hook says this to whoever pushes."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        head = opened.policies.resolve(commit)
        found = foreseen(tx, opened.gate, head, opened.clock.now())
        where, tick_s = f"{opened.address}/policy", opened.settings.tick_s
    if output != "table":
        emit({"commit": head, "verdict": found.verdict, "sentence": found.sentence}, output)
        return
    click.echo(f"{head[:12]}: {found.sentence}")
    if found.verdict != "rules":
        click.echo(f"gate takes it up within {tick_s:g} s: {where}")


@policy.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@because_option
@click.option("--base", default="head", show_default=True, help="The commit that FILE was made on.")
@settings_option
def propose(file: Path, because: str, base: str, settings: Path) -> None:
    """Make FILE the policy: at once where it loosens nothing, else as a proposal that another person signs."""
    text = read_text(file)
    with gate_of(settings) as opened:
        commit = opened.policies.resolve(base)
        by, now = me(), opened.clock.now()
        made = placing.written(
            opened.store,
            lambda: opened.policies.parse(text),
            lambda tx, fleet: edits.save(tx, opened.gate, text, commit, by, because, now, fleet),
        )
    if isinstance(made, Proposal):
        click.echo(f"proposed as {made.id}: it loosens; another person signs before {_minute(made.expires_at)} UTC")
        return
    click.echo(f"active: {made.commit[:12]}")


@policy.command()
@click.argument("proposal_id", metavar="ID")
@settings_option
def sign(proposal_id: str, settings: Path) -> None:
    """Agree to proposal ID; with enough people it becomes the active policy."""
    with gate_of(settings) as opened:
        made = edits.sign_and_finish(opened.store, opened.gate, proposal_id, me(), opened.clock.now())
    click.echo(f"active: {made.commit[:12]}" if made else "signed; one more person must agree")


@policy.command()
@click.argument("proposal_id", metavar="ID")
@because_option
@settings_option
def withdraw(proposal_id: str, because: str, settings: Path) -> None:
    """Take proposal ID back, or refuse it."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        edits.withdraw(tx, proposal_id, me(), because, opened.clock.now())
    click.echo("withdrawn")


@policy.command()
@settings_option
@output_option
def proposals(settings: Path, output: str) -> None:
    """Changes of the policy that wait for a signature."""
    with gate_of(settings) as opened:
        now = opened.clock.now()
        with opened.store.read() as tx:
            found = [one for one in tx.proposals("open", now=now) if one.kind == edits.KIND]
    rows = [
        {
            "id": one.id,
            "commit": one.subject[:12],
            "proposed by": one.proposed_by,
            "signed": ", ".join(one.signatures),
            "until": _minute(one.expires_at),
            "because": one.because,
        }
        for one in found
    ]
    show(rows, ("id", "commit", "proposed by", "signed", "until", "because"), output)


def _minute(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""
