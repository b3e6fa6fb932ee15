"""``gate policy plan``: when each ring could open at the earliest, and what could be lost before anybody knows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from gate.bootstrap import example_fleet, planning_gate
from gate.cli.common import emit, gate_of, language_option, output_option, settings_option
from gate.cli.policy import policy as policy
from gate.cli.policy import read_policy
from gate.core import boot_times
from gate.core.errors import NotFound
from gate.core.model import Machine, Site
from gate.core.policy import Policy
from gate.core.policy_texts import LANGUAGES, text
from gate.core.policy_words import counted, joined
from gate.core.times import OpenDuration
from gate.flows.plan import Held, Plan, RingPlan, plan

Fleet = tuple[list[Machine], dict[str, Site], dict[str, OpenDuration]]
EXAMPLE = Path("july-19")


@policy.command("plan")
@click.argument("name", metavar="[FILE|COMMIT]", default="active")
@click.option("--days", type=click.IntRange(1, 60), default=14, show_default=True, help="How far to look.")
@click.option("--from", "start", help="When the release appears: a local date or time; now, if not given.")
@click.option(
    "--fleet", type=click.Path(path_type=Path), help="A scenario's fleet; else the gate's own, or an example."
)
@click.option("--source", "wanted", help="Only this source.")
@click.option("--worst", is_flag=True, help="Also the slowest of the next seven days to appear on.")
@language_option
@output_option
@settings_option
def plan_policy(
    name: str,
    days: int,
    start: str | None,
    fleet: Path | None,
    wanted: str | None,
    worst: bool,
    language: str,
    output: str,
    settings: Path,
) -> None:
    """When could each ring open at the earliest, and how many machines could have a bad release before silence counts?

    Exit code 1 when a release does not reach its last ring within the days.
    """
    ruling = read_policy(name, settings)
    at = _moment(start, ruling)
    machines, sites, learned = _fleet(fleet, settings)
    gate = planning_gate(ruling)
    sources = [source for source in ruling.sources if wanted in (None, source.name)]
    if not sources:
        raise NotFound(f"the policy has no source {wanted}" if wanted else "the policy has no source")
    rows, late = [], False
    for source in sources:
        found = plan(gate, ruling, source, machines, sites, at, days, learned)
        slow = None
        if worst:
            begins = [_same_clock(at, ruling, later) for later in range(1, 7)]
            slow = _slowest(
                [found, *(plan(gate, ruling, source, machines, sites, one, days, learned) for one in begins)]
            )
        late = late or found.rings[-1].opened_at is None
        if output == "table":
            for line in _lines(found, slow, ruling, days, language):
                click.echo(line)
        rows.append(_row(found, slow, ruling))
    if output != "table":
        emit(rows, output)
    if late:
        raise SystemExit(1)


def _moment(said: str | None, ruling: Policy) -> datetime:
    if said is None:
        return datetime.now(UTC)
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        raise click.BadParameter(
            "a date or a time such as 2026-07-20 or 2026-07-20T09:00", param_hint="--from"
        ) from None
    return (found if found.tzinfo else found.replace(tzinfo=ruling.zone)).astimezone(UTC)


def _same_clock(at: datetime, ruling: Policy, later: int) -> datetime:
    return (at.astimezone(ruling.zone) + timedelta(days=later)).astimezone(UTC)


def _fleet(file: Path | None, settings: Path) -> Fleet:
    """The scenario's machines and sites; else the gate's active ones with the deadlines that their makes have shown;
    else the example's, and it says so."""
    if file is None and settings.is_file():
        with gate_of(settings) as opened, opened.store.read() as tx:
            machines, sites = list(_pages(tx.machines, status="active")), {one.id: one for one in _pages(tx.sites)}
            shown = {make: boot_times.learned(tx.boot_times(make)) for make in {one.make for one in machines}}
        if machines:
            return machines, sites, {make: limit for make, limit in shown.items() if limit is not None}
    if file is None:
        click.echo("no gate with machines here: planned for an example of 40 pharmacies (see --fleet)", err=True)
    return *example_fleet(file or EXAMPLE), {}


def _pages(read: Any, **only: str) -> Iterator[Any]:
    after = ""
    while page := read(after=after, limit=1000, **only):
        yield from page
        after = page[-1].id


def _slowest(plans: list[Plan]) -> Plan:
    """The plan whose last ring opens latest after its release; one that never does is the slowest."""
    return max(plans, key=lambda one: _span(one) or timedelta.max)


def _span(found: Plan) -> timedelta | None:
    opened = found.rings[-1].opened_at
    return None if opened is None else opened - found.at


def _lines(found: Plan, slow: Plan | None, ruling: Policy, days: int, language: str) -> Iterator[str]:
    def local(at: datetime) -> str:
        here = at.astimezone(ruling.zone)
        day = LANGUAGES[language][f"day.{here.weekday()}"]
        return f"{day} {here:%d.%m. %H:%M}" if language == "de" else f"{day} {here:%d %b %H:%M}"

    def said(key: str, **arguments: Any) -> str:
        return text(f"plan.{key}", language, **arguments)

    span = counted(days, "unit.d", language)
    yield said("release", source=found.source, at=local(found.at))
    for ring in found.rings:
        yield from _ring_lines(ring, local, said, span, language)
    yield said("done", at=local(found.done_at)) if found.done_at else said("not_done", days=span)
    if slow is not None:
        taken = _span(slow)
        if taken is None:
            yield said("worst_never", at=local(slow.at), days=span)
        else:
            yield said("worst", at=local(slow.at), span=_roughly(taken, language))
    yield said("people")


def _ring_lines(ring: RingPlan, local: Any, said: Any, days: str, language: str) -> Iterator[str]:
    if ring.opened_at is None:
        yield said("never", ring=ring.ring, days=days)
    else:
        line = said("opens", ring=ring.ring, at=local(ring.opened_at))
        if ring.all_open_at is not None and ring.all_open_at != ring.opened_at:
            line += " " + said("all", at=local(ring.all_open_at))
        yield line
    for held in sorted(
        ring.held, key=lambda one: (one.until is None, one.until or ring.opened_at or datetime.max.replace(tzinfo=UTC))
    ):
        why = _why(held, language)
        rule = held.rule or "rings"
        yield "  " + (
            said("waits", at=local(held.until), why=why, rule=rule)
            if held.until
            else said("stands", why=why, rule=rule)
        )
    if ring.first_at is not None:
        yield "  " + said("first", at=local(ring.first_at))
    members = counted(ring.members, "unit.machine", language)
    if ring.silent_at is not None:
        yield "  " + said("risk", count=ring.at_risk, members=members, at=local(ring.silent_at))
    elif ring.members:
        yield "  " + said("risk_open", count=ring.at_risk, members=members)


def _why(held: Held, language: str) -> str:
    known = f"why.{held.code}"
    return text(known, language, freeze=held.freeze) if known in LANGUAGES[language] else held.code


def _roughly(taken: timedelta, language: str) -> str:
    """Days and hours."""
    hours = round(taken.total_seconds() / 3600)
    parts = [(hours // 24, "unit.d"), (hours % 24, "unit.h")]
    return joined([counted(number, unit, language) for number, unit in parts if number], "and", language) or "0 h"


def _row(found: Plan, slow: Plan | None, ruling: Policy) -> dict[str, Any]:
    def local(at: datetime | None) -> str | None:
        return at.astimezone(ruling.zone).isoformat() if at else None

    rings = [
        {
            "ring": ring.ring,
            "members": ring.members,
            "opens_at": local(ring.opened_at),
            "open_for_all_at": local(ring.all_open_at),
            "first_at": local(ring.first_at),
            "silence_counts_at": local(ring.silent_at),
            "at_risk": ring.at_risk,
            "held": [{"code": h.code, "rule": h.rule, "freeze": h.freeze, "until": local(h.until)} for h in ring.held],
        }
        for ring in found.rings
    ]
    row: dict[str, Any] = {
        "source": found.source,
        "appears_at": local(found.at),
        "done_at": local(found.done_at),
        "rings": rings,
    }
    if slow is not None:
        row["slowest"] = {"appears_at": local(slow.at), "last_ring_opens_at": local(slow.rings[-1].opened_at)}
    return row
