"""``gate shadow``: what the gate would have done beside what people did, and what has been learned meanwhile."""

from __future__ import annotations

from pathlib import Path

import click

from gate.cli.common import emit, gate_of, language_option, output_option, settings_option, show
from gate.flows import shadow as shadows
from gate.flows.shadow_words import halt_sentence, learned_sentences, summary


@click.command()
@language_option
@settings_option
@output_option
def shadow(language: str, settings: Path, output: str) -> None:
    """Where people open the rings (`decides: people`): the gate's word beside theirs, how it ended, what is learned."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        found = shadows.look(tx, opened.gate)
    lines = [*summary(found, language), *learned_sentences(found.learned, language)]
    lines += [halt_sentence(one, language) for one in found.halts]
    rows = [
        {
            "rollout": one.rollout,
            "source": one.source,
            "version": one.version,
            "ring": one.ring,
            "gate": f"{one.ready_at:%Y-%m-%d %H:%M} UTC" if one.ready_at else "not by then",
            "people": f"{one.opened_at:%Y-%m-%d %H:%M} UTC" if one.opened_at else "-",
            "match": one.match.value,
            "outcome": one.outcome.value,
            "exposed": one.exposed,
            "bad": one.bad,
        }
        for one in found.rows
    ]
    if output != "table":
        emit({"on": found.on, "sentences": lines, "rings": rows}, output)
        return
    for line in lines:
        click.echo(line)
    if rows:
        click.echo()
        show(rows, tuple(rows[0]), output)
