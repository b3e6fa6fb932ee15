"""``gate audit``: what was done, the log verified from its first leaf on, and the proof of one entry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

import click

from gate.cli.common import at_option, emit, gate_of, output_option, settings_option, show
from gate.core import merkle
from gate.flows import audit as log
from gate.ports import Asked


@click.group()
def audit() -> None:
    """The audit log: list, verify, prove."""


@audit.command("list")
@click.option("--actor", default="", help="Only of this person, or of the gate itself.")
@click.option("--kind", default="", help="Only of this kind, such as rollout_halted.")
@click.option("--subject", default="", help="Only about this: a rollout, a machine, a login ...")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="At most so many.")
@at_option
@settings_option
@output_option
def audit_list(
    actor: str, kind: str, subject: str, limit: int, at: datetime | None, settings: Path, output: str
) -> None:
    """Everything that was done, newest first; with --at as the log stood then."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = tx.asked_events(Asked(actor, kind, subject, until=at), None, limit)
    show([log.plain(one) for one in found], ("index", "at", "kind", "actor", "subject", "because"), output)


@audit.command("verify")
@settings_option
@click.option("--size", type=click.IntRange(0), help="Size of a tree that you noted earlier.")
@click.option("--root", help="Its root hash (64 hex digits).")
@output_option
def audit_verify(settings: Path, size: int | None, root: str | None, output: str) -> None:
    """Compute the tree anew from every leaf; with --size and --root also against what you noted (a timestamp's)."""
    if (size is None) != (root is None):
        raise click.UsageError("--size and --root belong together")
    if root is not None and not re.fullmatch("[0-9a-f]{64}", root.lower()):
        raise click.UsageError("--root takes 64 hex digits, as a timestamp or an earlier verify printed them")
    with gate_of(settings) as opened:
        with opened.store.read() as tx:
            stored_size, stored_root = tx.audit_head()
        count, found, noted = _computed(opened.audit_leaves(stored_size), size)
    wrong = ""
    if (count, found) != (stored_size, stored_root):
        wrong = f"{count} leaves give {found.hex()}, stored are {stored_size} with {stored_root.hex()}"
    elif root is not None and noted != root.lower():
        wrong = f"the first {size} leaves give {noted or 'nothing: there are fewer'}, you noted {root}"
    if output != "table":
        emit({"good": not wrong, "problem": wrong, "size": count, "root": found.hex()}, output)
    else:
        click.echo(f"NOT WELL: {wrong}" if wrong else f"good: {count} leaves, root {found.hex()}")
    if wrong:
        raise SystemExit(1)


def _computed(leaves: Iterable[bytes], size: int | None) -> tuple[int, bytes, str]:
    """How many leaves, their root, and the root of the first ``size``."""
    peaks: merkle.Peaks = ()
    noted = merkle.root(()).hex() if size == 0 else ""
    count = 0
    for leaf in leaves:
        peaks = merkle.append(count, peaks, leaf)
        count += 1
        if count == size:
            noted = merkle.root(peaks).hex()
    return count, merkle.root(peaks), noted


@audit.command("prove")
@click.argument("index", type=click.IntRange(0))
@settings_option
@output_option
def audit_prove(index: int, settings: Path, output: str) -> None:
    """That entry INDEX stands in the tree: its leaf and the hashes beside its path, against size and root."""
    with gate_of(settings) as opened:
        with opened.store.read() as tx:
            size, root = log.prove(tx, index)
        found = log.proof(index, size, root, opened.audit_leaves(size))
    if output != "table":
        emit(found, output)
        return
    click.echo(f"good: entry {index} stands in the tree of {size} with root {found['root']}")
    click.echo(found["leaf"])
    for one in found["proof"]:
        click.echo(f"  {one}")
