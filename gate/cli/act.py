"""``gate status``, ``why``, ``rollout show``, ``halt``, ``resume``, ``recall`` and the like: see and act.

They work on the database, also when the web process is dead; the shell's login name stands in the audit log.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from gate.cli.common import (
    at_option,
    because_option,
    emit,
    gate_of,
    language_option,
    machine_named,
    me,
    output_option,
    rollout_named,
    say_agreed,
    settings_option,
    show,
)
from gate.core.errors import NotFound
from gate.core.model import RingState, Rollout, RolloutState, Stratum
from gate.flows import expedite as fast_lane
from gate.flows import past, people, protection, recalls, sentences
from gate.flows import shadow as shadows
from gate.flows import why as reasons
from gate.ports import Gate, Tx

PAGE = 5000
RINGS = "rings (healthy of machines)"


@click.command()
@at_option
@settings_option
@output_option
def status(at: datetime | None, settings: Path, output: str) -> None:
    """Rollouts, newest first, with their rings; then how old each ring's content is against the newest release."""
    if at is not None:
        with gate_of(settings) as opened, opened.store.read() as tx:
            then = past.rollouts(tx, opened.gate, at)
        say_then(then, output)
        return
    with gate_of(settings) as opened, opened.store.read() as tx:
        rows = _rows(tx, tx.rollouts(limit=20))
        ages = _ages(tx, opened.gate)
    show(rows, ("rollout", "source", "version", "state", RINGS, "because"), output)
    if output == "table" and ages:
        click.echo()
        show(ages, ("source", "ring", "it has", "newest", "behind", "behind since"), output)


def _ages(tx: Tx, gate: Gate) -> list[dict[str, str]]:
    """How old each ring's content is against the newest release of its source."""
    active = tx.active_policy()
    policy = gate.policy(active.commit) if active else None
    rings = [ring.name for ring in policy.rings] if policy else []
    found = [one for rule in policy.sources for one in protection.ages(tx, rule.name, rings)] if policy else []
    return [
        {
            "source": one.source,
            "ring": one.ring,
            "it has": one.version or "nothing yet",
            "newest": one.newest,
            "behind": str(one.behind),
            "behind since": f"{one.since:%Y-%m-%d %H:%M} UTC" if one.since else "-",
        }
        for one in found
    ]


@click.command()
@click.option("--source", default="", help="Only of this source.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([one.value for one in RolloutState]),
    help="Only in this state.",
)
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 10_000), help="At most so many.")
@at_option
@settings_option
@output_option
def rollouts(
    source: str, states: tuple[str, ...], limit: int, at: datetime | None, settings: Path, output: str
) -> None:
    """Rollouts, newest first, with their rings."""
    if at is not None:
        with gate_of(settings) as opened, opened.store.read() as tx:
            then = past.rollouts(tx, opened.gate, at, limit=limit, source=source)
        say_then([one for one in then if not states or one.state in states], output)
        return
    with gate_of(settings) as opened, opened.store.read() as tx:
        rows = _rows(tx, tx.rollouts([RolloutState(one) for one in states], source, limit))
    show(rows, ("rollout", "source", "version", "state", RINGS, "because"), output)


def _rows(tx: Tx, found: Sequence[Rollout]) -> list[dict[str, str]]:
    rows = []
    for rollout in found:
        release = tx.release(rollout.release)
        strata = tx.strata(rollout.id)
        ladder = [_rung(ring, [one for one in strata if one.ring == ring.ring]) for ring in tx.rings(rollout.id)]
        rows.append(
            {
                "rollout": rollout.id,
                "source": rollout.source,
                "version": release.version if release else "",
                "state": rollout.state.value,
                RINGS: ", ".join(ladder),
                "because": rollout.halted_because,
            }
        )
    return rows


@click.command()
@click.option("--release", default="", help="Only this version.")
@click.option("--until", type=click.Choice(["done", "halted"]), help="End when it is that far.")
@click.option("--seconds", default=0.0, help="End after so many seconds with exit code 1; 0: never.")
@settings_option
def watch(release: str, until: str | None, seconds: float, settings: Path) -> None:
    """A line whenever a rollout moves."""
    began = time.monotonic()
    known: dict[str, dict[str, str]] = {}
    with gate_of(settings) as opened:
        while True:
            with opened.store.read() as tx:
                rows = [row for row in _rows(tx, tx.rollouts(limit=20)) if release in ("", row["version"])]
            for row in reversed(rows):
                if known.get(row["rollout"]) != row:
                    known[row["rollout"]] = row
                    line = f"{row['source']} {row['version']} {row['state']}: {row[RINGS]}"
                    click.echo(f"{line}; {row['because']}" if row["because"] else line)
            if until and any(row["state"] == until for row in rows):
                return
            if seconds and time.monotonic() - began > seconds:
                raise SystemExit(1)
            time.sleep(0.5)


def say_then(found: Sequence[past.Then], output: str) -> None:
    """What was known then; what cannot be known is said once, at the end."""
    if output != "table":
        emit([asdict(one) for one in found], output)
        return
    for one in found:
        click.echo(f"{one.rollout}:" if one.rollout else f"{one.source}:")
        for line in one.sentences:
            click.echo(f"  {line}")
    for line in dict.fromkeys(line for one in found for line in one.unknown):
        click.echo(line)
    if not found:
        click.echo("nothing had begun then")


def _rung(ring: RingState, strata: list[Stratum]) -> str:
    if ring.opened_at is None:
        return f"{ring.ring} -"
    bad = sum(one.unexplained for one in strata)
    return f"{ring.ring} {sum(one.healthy for one in strata)}/{ring.members}" + (f" bad {bad}" if bad else "")


@click.command()
@click.argument("machine")
@click.argument("source", required=False)
@language_option
@at_option
@settings_option
@output_option
def why(machine: str, source: str | None, language: str, at: datetime | None, settings: Path, output: str) -> None:
    """Why does MACHINE (its id or its name) not have what SOURCE brought last?"""
    with gate_of(settings) as opened, opened.store.read() as tx:
        active = tx.active_policy()
        rules = opened.gate.policy(active.commit).sources if active is not None else ()
        if source and source not in {rule.name for rule in rules} and tx.rollouts(source=source, limit=1) == []:
            raise NotFound(f"there is no source {source}; there are {', '.join(rule.name for rule in rules)}")
        names = [source] if source else [rule.name for rule in rules]
        known, now = machine_named(tx, machine), opened.clock.now()
        then = [past.why(tx, opened.gate, known, name, at, language) for name in names] if at else []
        found = [reasons.why(tx, opened.gate, known.id, name, now, language) for name in names] if not at else []
    if at is not None:
        say_then(then, output)
        return
    if output != "table":
        emit([asdict(one) for one in found], output)
        return
    for one in found:
        click.echo(one.sentence)
        if one.rule_text:
            click.echo(f"  policy.yaml:{one.line}: {one.rule_text}")


@click.command()
@click.argument("rollout")
@because_option
@settings_option
def halt(rollout: str, because: str, settings: Path) -> None:
    """Offer ROLLOUT to nobody any more; `all` halts everything that moves."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        now = opened.clock.now()
        halted = (
            people.halt_all(tx, me(), because, now)
            if rollout == "all"
            else [people.halt(tx, rollout, me(), because, now)]
        )
    for one in halted:
        click.echo(f"{one.id} is halted")
    if not halted:
        click.echo("nothing moves")


@click.command()
@click.argument("rollout")
@because_option
@settings_option
def resume(rollout: str, because: str, settings: Path) -> None:
    """Lift a halt: propose it, or agree to what another person has proposed."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        found = people.resume(tx, rollout, me(), because, opened.clock.now())
    say_agreed(found, f"{rollout} goes on")


@click.command()
@click.argument("rollout")
@because_option
@settings_option
def recall(rollout: str, because: str, settings: Path) -> None:
    """Ask the machines that have a halted ROLLOUT to go back: propose it, or agree to what another has proposed."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        found = recalls.recall(tx, rollout, me(), because, opened.clock.now())
    say_agreed(found, f"{rollout} is recalled; who still has it: gate rollout show {rollout}")


@click.command()
@click.argument("rollout")
@because_option
@settings_option
def expedite(rollout: str, because: str, settings: Path) -> None:
    """Agree to the fast lane for ROLLOUT: it skips soak and windows, as the policy's `expedite` says, and expires."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        found, needed = fast_lane.expedite(tx, opened.gate, rollout, me(), because, opened.clock.now())
    if needed:
        click.echo(f"agreed; {needed} more must agree within 24 hours")
    else:
        click.echo(f"{rollout} is expedited until {found.expedited_until:%Y-%m-%d %H:%M} UTC")


@click.group("rollout")
def rollout_group() -> None:
    """One rollout: show."""


@rollout_group.command("show")
@click.argument("rollout")
@click.argument("version", required=False, default="")
@language_option
@at_option
@settings_option
@output_option
def rollout_show(rollout: str, version: str, language: str, at: datetime | None, settings: Path, output: str) -> None:
    """Where ROLLOUT (its id, its version, or SOURCE and VERSION) stands, why its next ring is not open and what would
    open it; of a halted one how its machines go back; of a recalled one the sites that still have it, and how many
    machines are not heard of."""
    with gate_of(settings) as opened, opened.store.read() as tx:
        now = opened.clock.now()
        found = rollout_named(tx, rollout, version)
        if at is not None:
            say_then([past.rollout(tx, opened.gate, found, at, language)], output)
            return
        lines = sentences.of_rollout(tx, opened.gate, found, now, language)
        lines += sentences.of_rings(tx, opened.gate, found, now, language)
        sites = recalls.holders(tx, opened.gate, found, now) if found.state is RolloutState.RECALLED else []
        ways = recalls.ways_back(tx, opened.gate, found, now)
    rows = [{**asdict(one), "last_seen_at": str(one.last_seen_at or "never")} for one in sites]
    if output != "table":
        emit({"rollout": found.id, "sentences": lines, "ways_back": [_way(one) for one in ways], "sites": rows}, output)
        return
    for line in lines:
        click.echo(line)
    if ways:
        show([_way(one) for one in ways], ("ring", "how", "alone", "by_agent", "by_hand"), output)
    if rows:
        show(rows, ("site", "name", "machines", "unheard", "last_seen_at"), output)


def _way(one: recalls.WayBack) -> dict[str, object]:
    counts = {"alone": one.alone, "by_agent": one.by_agent, "by_hand": one.by_hand}
    return {"ring": one.plan.ring, "how": one.plan.how, "steps": " ".join(one.plan.steps), **counts}


@click.command()
@click.argument("rollout")
@click.argument("ring")
@because_option
@settings_option
def approve(rollout: str, ring: str, because: str, settings: Path) -> None:
    """Give the word that `needs: {people: n}` or `decides: people` of RING asks for."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        people.approve_ring(tx, opened.gate, rollout, ring, me(), because, opened.clock.now())
    click.echo(f"approved ring {ring}")


@click.command()
@click.argument("rollout")
@click.argument("ring")
@because_option
@settings_option
def waive(rollout: str, ring: str, because: str, settings: Path) -> None:
    """Set aside what RING still waits to be shown: propose it, or agree to what another person has proposed. Failures,
    floors, freezes and brakes hold on."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        found = shadows.waive(tx, opened.gate, rollout, ring, me(), because, opened.clock.now())
    say_agreed(found, f"the gate of ring {ring} is set aside")


@click.command()
@click.argument("claim")
@because_option
@settings_option
def explain(claim: str, because: str, settings: Path) -> None:
    """Say that the failure of CLAIM has another cause than the release; it leaves the count, for ever visible."""
    with gate_of(settings) as opened, opened.store.write() as tx:
        people.explain_failure(tx, opened.gate, claim, me(), because, opened.clock.now())
    click.echo("explained")
