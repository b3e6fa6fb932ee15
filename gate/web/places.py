"""One site, one machine: what stands there, what it has, why it does not have what it does not have, what happened.

- The strip chart shows what the store keeps: steps of claims, the newest word, opening hours; the same marks stand
  below as a table. On a machine's own page it shows its last boots too, those that its reports told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import g, render_template
from markupsafe import Markup, escape

from gate.core import calendar
from gate.core.boots import Boot
from gate.core.calendar import Interval
from gate.core.claims import FAILURE
from gate.core.errors import NotFound
from gate.core.model import ClaimState, Machine, MachineStatus, Rollout, Site
from gate.core.policy import Policy
from gate.flows import holds, observed, recovery, silence, site_changes, when
from gate.flows import why as reasons
from gate.flows.decommission import is_gone
from gate.ports import OutOfReach, Tx
from gate.web import rollout_lines

SPAN = timedelta(days=14)
MARKS = 400
LANES = 40
WIDTH, LEFT, RIGHT, TOP, LANE, FOOT = 720, 130, 12, 8, 22, 22
GOOD = "healthy"


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that the store knows of one machine at one moment; ``kind`` is its class in the chart."""

    at: datetime
    machine: str
    name: str
    kind: str
    what: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Openness:
    """Is it open, and until or from when; ``hours`` is what of the chart's span it was open."""

    now: bool
    until: datetime | None
    hours: Sequence[Interval]


@dataclass(frozen=True, slots=True)
class Picked:
    """A ring and the rule that picks machines into it."""

    ring: str
    pick: str
    why: str
    line: int


def site(site_id: str) -> str:
    """One pharmacy with its machines."""
    with g.parts.store.read() as tx:
        found = tx.site(site_id)
        if found is None:
            raise NotFound(f"there is no site {site_id}")
        return render_template("site.html", code="", address="", **of_site(tx, found))


def of_site(tx: Tx, found: Site) -> dict[str, Any]:
    """All that a site's page shows."""
    mine = tx.machines(site=found.id, limit=200)
    active = [one for one in mine if one.status is MachineStatus.ACTIVE]
    policy = g.parts.policy()
    openness = openness_of(found)
    marks = marks_of(tx, active)
    rings = list(dict.fromkeys(one.ring for one in active if one.ring))
    return {
        "site": found,
        "machines": mine,
        "openness": openness,
        "word": tx.last_words([found.id]).get(found.id, (0, None))[1],
        "picked": {ring: picked for ring in rings if (picked := picked_by(policy, ring))},
        "content": content(tx, active),
        "sources": rollout_lines.sources_of(""),
        "marks": marks,
        "strip": draw(active[:LANES], marks, openness.hours),
        "decisions": _decisions(tx, rings),
        "times": [one for one in found.times if one.end_at > g.now],
        "dark": _dark(tx, found),
        "holding": holds.at_site(tx, found, active, g.now),
        "proposed": site_changes.waiting(tx, found.id, g.now),
        "mark": site_changes.mark,
        "keys": tx.key_places([found.id]),
        "names": {one.id: one.name for one in mine},
    }


def machine(machine_id: str) -> str:
    """One machine: who it is, why it does not have what it does not have, what happened."""
    with g.parts.store.read() as tx:
        found = tx.machine(machine_id)
        if found is None:
            raise NotFound(f"there is no machine {machine_id}")
        answers = []
        if found.status is MachineStatus.ACTIVE:
            answers = [
                reasons.why(tx, g.parts.gate, found.id, name, g.now, g.language)
                for name in rollout_lines.sources_of("")
            ]
        where = tx.site(found.site)
        openness = openness_of(where)
        boots = _boots(tx, found)
        marks = sorted([*marks_of(tx, [found]), *_boot_marks(found, boots)], key=lambda one: one.at, reverse=True)
        return render_template(
            "machine.html",
            machine=found,
            site=where,
            openness=openness,
            picked=picked_by(g.parts.policy(), found.ring),
            content=content(tx, [found]).get(found.id, {}),
            bypasses=observed.bypasses(tx, machine=found.id),
            runs=tx.observations(machine=found.id),
            answers=answers,
            marks=marks,
            strip=draw([found], marks, openness.hours),
            decisions=_decisions(tx, [found.ring] if found.ring else []),
            events=tx.events(subject=machine_id, limit=40),
            fingerprint=hashlib.sha256(bytes.fromhex(found.public_key or "")).hexdigest(),
            proposals=tx.proposals("open", machine_id, g.now),
            decommissioned=is_gone(tx, machine_id),
            out_of_reach=_out_of_reach(tx, found),
            boots=boots,
        )


def _boots(tx: Tx, found: Machine) -> list[tuple[Boot, datetime | None, Mapping[str, str], bool]]:
    """Its last boots, the newest first: (boot, when it began by its own clock, source -> version, does it run)."""
    told = tx.boots_of(found.id)[::-1]
    versions = tx.versions(list({one for boot in told for one in boot.releases.values()}))
    session = tx.session(found.id) if told else None
    return [
        (
            boot,
            _moment(boot.started_at),
            {source: versions.get(one, one[:20]) for source, one in sorted(boot.releases.items()) if one},
            session is not None and boot.boot_id == session.boot_id,
        )
        for boot in told
    ]


def _boot_marks(found: Machine, boots: Sequence[tuple[Boot, datetime | None, Mapping[str, str], bool]]) -> list[Mark]:
    """A mark for each boot of the chart's days, at the time of the machine's own clock."""
    kinds = {"unclean": "crash"}
    return [
        Mark(at, found.id, found.name, kinds.get(boot.ended, "boot"), f"mark.{boot.ended}")
        for boot, at, _, _ in boots
        if at is not None and at.tzinfo is not None and g.now - SPAN <= at <= g.now
    ]


def _moment(said: str) -> datetime | None:
    try:
        return datetime.fromisoformat(said)
    except ValueError:
        return None


def _out_of_reach(tx: Tx, found: Machine) -> list[tuple[OutOfReach, Rollout, str]]:
    """The rollouts for which a machine is out of reach, each with its version: a sheet says how it comes back."""
    lost = recovery.of_machine(tx, g.parts.gate, found.id, g.now)
    versions = tx.versions([rollout.release for _, rollout in lost])
    return [(one, rollout, versions.get(rollout.release, "")) for one, rollout in lost]


def openness_of(found: Site | None) -> Openness:
    """Is a site open now?"""
    intervals = when.opened(g.parts.gate, found, g.now - SPAN, g.now + SPAN)
    now = calendar.is_open(intervals, g.now)
    if found is None or found.always_on:
        return Openness(True, None, intervals)
    ends = [one.end_at for one in intervals if one.start_at <= g.now < one.end_at]
    return Openness(now, ends[0] if ends else calendar.next_opening(intervals, g.now), intervals)


def picked_by(policy: Policy | None, ring: str) -> Picked | None:
    """Why a machine is in this ring: the first whose pick it meets."""
    rule = next((one for one in policy.rings if one.name == ring), None) if policy else None
    if policy is None or rule is None:
        return None
    pick = "; ".join(f"{key}: {', '.join(values)}" for key, values in rule.pick.items())
    return Picked(ring, pick, rule.why, policy.line_of(f"rings[{policy.index(ring)}].pick"))


def content(tx: Tx, machines: Sequence[Machine]) -> dict[str, Mapping[str, str]]:
    """machine -> source -> the version that it last said it has."""
    has = tx.installed([one.id for one in machines])
    versions = tx.versions(list({release for one in has.values() for release in one.values()}))
    return {name: {source: versions.get(id_, id_[:20]) for source, id_ in one.items()} for name, one in has.items()}


def marks_of(tx: Tx, machines: Sequence[Machine]) -> list[Mark]:
    """What is known of these machines in the last days, newest first."""
    since, names = g.now - SPAN, {one.id: one.name for one in machines}
    claims = tx.claims_since(list(names), since, MARKS)
    versions = tx.versions(list({one.release for one in claims}))
    found = [Mark(one.last_seen_at, one.id, one.name, "word", "last word") for one in machines if one.last_seen_at]
    found += [Mark(one.down_at, one.id, one.name, "word", "went down as planned") for one in machines if one.down_at]
    for one in claims:
        about, name = f"{one.source} {versions.get(one.release, '')}", names[one.machine]
        ended = one.state.value
        kind = "bad" if one.state in FAILURE else GOOD if one.state is ClaimState.HEALTHY else "step"
        steps = ((one.granted_at, "step", "granted"), (one.installed_at, "step", "installed"),
                 (one.resolved_at, kind, ended))  # fmt: skip
        found += [Mark(at, one.machine, name, sort, what, about) for at, sort, what in steps if at is not None]
    return sorted((one for one in found if one.at >= since), key=lambda one: one.at, reverse=True)


def draw(machines: Sequence[Machine], marks: Sequence[Mark], hours: Sequence[Interval]) -> Markup:
    """A lane for each machine over the last days; empty where nothing is known."""
    if not marks:
        return Markup("")
    start = g.now - SPAN
    height = TOP + LANE * len(machines) + FOOT

    def x(at: datetime) -> float:
        return float(LEFT + (WIDTH - LEFT - RIGHT) * ((min(max(at, start), g.now) - start) / SPAN))

    words = rollout_lines.translated
    title = f"{words('What the store knows of these machines, fourteen days')}: {len(marks)}"
    parts = [
        f'<svg class="strip" role="img" viewBox="0 0 {WIDTH} {height}" aria-labelledby="t-strip">',
        f'<title id="t-strip">{escape(title)}</title>',
    ]
    for one in hours:
        if one.end_at > start and one.start_at < g.now:
            wide = max(x(one.end_at) - x(one.start_at), 0.5)
            band = f'x="{x(one.start_at):.1f}" y="{TOP}" width="{wide:.1f}" height="{LANE * len(machines)}"'
            parts.append(f'<rect class="open" {band}/>')
    for number, one_machine in enumerate(machines):
        middle = TOP + LANE * number + LANE / 2
        parts.append(f'<text x="4" y="{middle + 4:.1f}">{escape(one_machine.name[:18])}</text>')
        parts.append(f'<line x1="{LEFT}" y1="{middle}" x2="{WIDTH - RIGHT}" y2="{middle}"/>')
        for mark in marks:
            if mark.machine == one_machine.id:
                parts.append(_drawn(mark, x(mark.at), middle))
    days = [start + timedelta(days=number) for number in range(2, 14, 4)]
    parts += [
        f'<text x="{x(at):.1f}" y="{height - 6}" text-anchor="middle">{at.astimezone(_zone()):%d.%m.}</text>'
        for at in days
    ]
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704  (every text in it is escaped)


def _drawn(mark: Mark, x: float, y: float) -> str:
    """Shape and colour both say what it is: a bar for good, a cross for bad, a ring for a step, a dot for a word,
    a triangle for a boot, which points up, or down where it did not end as planned."""
    if mark.kind == GOOD:
        return f'<rect class="good" x="{x - 3:.1f}" y="{y - 7:.1f}" width="6" height="14"/>'
    if mark.kind == "bad":
        left, right, top, low = x - 5, x + 5, y - 5, y + 5
        cross = f"M{left:.1f} {top:.1f}L{right:.1f} {low:.1f}M{right:.1f} {top:.1f}L{left:.1f} {low:.1f}"
        return f'<path class="bad" d="{cross}"/>'
    if mark.kind in ("boot", "crash"):
        tip = y - 9 if mark.kind == "boot" else y + 9
        return f'<path class="{mark.kind}" d="M{x - 5:.1f} {y:.1f}L{x + 5:.1f} {y:.1f}L{x:.1f} {tip:.1f}Z"/>'
    return f'<circle class="{mark.kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if mark.kind == "step" else 3}"/>'


def _zone() -> Any:
    policy = g.parts.policy()
    return policy.zone if policy else None


def _decisions(tx: Tx, rings: Sequence[str]) -> list[tuple[str, str, Any, str]]:
    """The newest decision about each of these rings, of what moves: (rollout, release, it, its reasons)."""
    found = []
    moving = tx.rollouts(states=rollout_lines.MOVING, limit=10)
    versions = tx.versions([one.release for one in moving])
    for rollout in moving:
        for ring in rings:
            decision = tx.last_decision(rollout.id, ring)
            if decision is not None:
                named = f"{rollout.source} {versions.get(rollout.release, '')}"
                found.append((rollout.id, named, decision, rollout_lines.reasons_of(decision)))
    return found


def _dark(tx: Tx, found: Site) -> silence.Dark | None:
    """Since when no machine of this site is heard though it should be, and until when that counts as nothing."""
    policy = g.parts.policy()
    if policy is None or not policy.rings or not policy.sources:
        return None
    settings = policy.settings_for(policy.rings[0].name, policy.sources[0].name)
    return silence.dark_site(tx, g.parts.gate, policy, settings, found, g.now)


VIEWS = (
    ("/machines/<machine_id>", machine, "view", ["GET"]),
    ("/sites/<site_id>", site, "view", ["GET"]),
)
