"""``gate replay``: any stored decision, judged again from its facts and its policy version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from gate.adapters.shelf import FileShelf
from gate.bootstrap import Opened
from gate.cli.common import emit, gate_of, output_option, settings_option, show
from gate.core.errors import NotFound
from gate.flows.replay import Replayed, Sources, stored_decisions
from gate.flows.replay import replay as judge_again
from gate.ports import StoredDecision


@click.command()
@click.argument("decision", required=False, type=click.IntRange(1))
@click.option("--all", "everything", is_flag=True, help="Every stored decision, on the shelf too; shows what differs.")
@click.option("--rollout", help="Every decision of this rollout, with its number.")
@output_option
@settings_option
def replay(decision: int | None, everything: bool, rollout: str | None, output: str, settings: Path) -> None:
    """Judge DECISION again, from the facts and policy version stored with it; exit code 1 when it is not the same."""
    if sum((decision is not None, everything, rollout is not None)) != 1:
        raise click.UsageError("one of DECISION, --rollout and --all")
    with gate_of(settings) as opened:
        if everything:
            good = _all(opened, output)
        elif rollout is not None:
            good = _rollout(opened, rollout, output)
        else:
            assert decision is not None
            good = _one(opened, decision, output)
    if not good:
        raise SystemExit(1)


def _again(opened: Opened, wanted: Iterable[StoredDecision]) -> Iterator[Replayed]:
    sources = Sources(opened.store, FileShelf(opened.settings.shelf).lines("rollouts"))
    return (judge_again(opened.gate, one, sources.of(one.rollout)) for one in wanted)


def _stored(opened: Opened) -> Iterator[StoredDecision]:
    return stored_decisions(opened.store, FileShelf(opened.settings.shelf).lines("decisions"))


def _one(opened: Opened, number: int, output: str) -> bool:
    with opened.store.read() as tx:
        here = [one for one in tx.decisions_after(number - 1, 1) if one.id == number]
    found = list(_again(opened, here or (one for one in _stored(opened) if one.id == number)))
    if not found:
        raise NotFound(f"there is no decision {number}, neither in the database nor on the shelf")
    if output != "table":
        emit([_row(one) for one in found] if len(found) > 1 else _row(found[0]), output)
    else:
        for one in found:
            _say(one)
    return all(one.same for one in found)


def _rollout(opened: Opened, rollout: str, output: str) -> bool:
    found = list(_again(opened, (one for one in _stored(opened) if one.rollout == rollout)))
    if not found:
        raise NotFound(f"there is no decision about a rollout {rollout}")
    _show(found, output)
    return all(one.same for one in found)


def _all(opened: Opened, output: str) -> bool:
    count, different = 0, []
    columns = (TextColumn("{task.completed:,} decisions judged again, {task.fields[bad]} differ"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("replay", total=None, bad=0)
        for one in _again(opened, _stored(opened)):
            count += 1
            if not one.same:
                different.append(one)
            progress.update(task, completed=count, bad=len(different))
    if output != "table":
        emit({"decisions": count, "same": count - len(different), "different": list(map(_row, different))}, output)
    else:
        if different:
            _show(different, output)
        said = "all as they are stored" if not different else f"NOT WELL: {len(different)} not as they are stored"
        click.echo(f"{count} decisions judged again, {said}")
    return not different


def _show(found: list[Replayed], output: str) -> None:
    if output != "table":
        emit([_row(one) for one in found], output)
        return
    rows = [
        {
            "decision": one.stored.id,
            "at": f"{one.stored.at:%Y-%m-%d %H:%M:%S}",
            "ring": one.stored.ring,
            "verdict": one.stored.verdict,
            "again": one.verdict or "-",
            "": "same" if one.same else "; ".join(one.differences),
        }
        for one in found
    ]
    show(rows, ("decision", "at", "ring", "verdict", "again", ""), output)


def _say(one: Replayed) -> None:
    stored = one.stored
    click.echo(f"decision {stored.id}, {stored.at:%Y-%m-%d %H:%M:%S} UTC, rollout {stored.rollout}, ring {stored.ring}")
    click.echo(f"policy {stored.policy_version}")
    if one.same:
        click.echo(f"same: {_verdict(stored.verdict, stored.makes)}")
        for reason in stored.reasons:
            click.echo(f"  {reason['code']}: {reason['detail']}")
        return
    click.echo("NOT THE SAME")
    for sentence in one.differences:
        click.echo(f"  {sentence}")
    click.echo(f"stored: {_verdict(stored.verdict, stored.makes)}")
    for reason in stored.reasons:
        click.echo(f"  {reason.get('code')}: {reason.get('detail')}")
    click.echo(f"again:  {_verdict(one.verdict, one.makes) if one.verdict else 'cannot be judged'}")
    for reason in one.reasons:
        click.echo(f"  {reason['code']}: {reason['detail']}")


def _verdict(verdict: str, makes: tuple[str, ...]) -> str:
    return f"{verdict} for {', '.join(makes)}" if makes else verdict


def _row(one: Replayed) -> dict[str, Any]:
    stored = one.stored
    return {
        "decision": stored.id,
        "rollout": stored.rollout,
        "ring": stored.ring,
        "at": stored.at.isoformat(),
        "policy_version": stored.policy_version,
        "same": one.same,
        "differences": list(one.differences),
        "stored": {"verdict": stored.verdict, "makes": list(stored.makes), "reasons": list(stored.reasons)},
        "again": {"verdict": one.verdict, "makes": list(one.makes), "reasons": list(one.reasons)},
    }
