"""The ladder of rings as a picture: one step a ring, filled by what its machines have shown.

Drawn by the server as SVG without a script or a style of its own; the numbers stand in a table beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from gate.core.model import RingState, Rollout, RolloutState, Stratum

WIDTH, GAP, TOP, STEP, BASE = 132, 14, 30, 16, 64


@dataclass(frozen=True, slots=True)
class Rung:
    """One ring with its counts of machines."""

    ring: str
    open: bool
    members: int
    healthy: int
    bad: int
    pending: int
    in_flight: int
    state: str  # open, next, waiting, halted, done


def rungs(rollout: Rollout, rings: Sequence[RingState], strata: Sequence[Stratum]) -> list[Rung]:
    """The rings in rollout order."""
    found = []
    for ring in rings:
        mine = [one for one in strata if one.ring == ring.ring]
        opened = ring.opened_at is not None
        state = "open" if opened else "next" if ring.position == rollout.reached + 1 else "waiting"
        if rollout.state is RolloutState.HALTED:
            state = "halted" if opened else "waiting"
        elif rollout.state is RolloutState.DONE:
            state = "done"
        found.append(
            Rung(
                ring=ring.ring,
                open=opened,
                members=ring.members,
                healthy=sum(one.healthy for one in mine),
                bad=sum(one.unexplained for one in mine),
                pending=max(sum(one.pending for one in mine), ring.in_flight),
                in_flight=ring.in_flight,
                state=state,
            )
        )
    return found


def draw(steps: Sequence[Rung], title: str, identity: str, t: Callable[[str], str]) -> Markup:
    """The picture; ``identity`` makes its ids unique on the page, ``t`` says words in the visitor's language."""
    width = len(steps) * (WIDTH + GAP) + GAP
    height = TOP + BASE + STEP * max(len(steps) - 1, 0) + 26
    said = "; ".join(_said(step, t) for step in steps)
    parts = [
        f'<svg class="ladder" role="img" viewBox="0 0 {width} {height}" aria-labelledby="t-{escape(identity)}">',
        f'<title id="t-{escape(identity)}">{escape(title)}: {escape(said)}</title>',
    ]
    for index, step in enumerate(steps):
        parts.append(_rung(step, index, len(steps), height))
    parts.append("</svg>")
    return Markup("".join(parts))  # noqa: S704  (every text in it is escaped)


def _said(step: Rung, t: Callable[[str], str]) -> str:
    if not step.open:
        return f"{step.ring}: {t('not open')}"
    healthy = f"{step.healthy} {t('of')} {step.members} {t('healthy')}"
    return f"{step.ring}: {healthy}, {step.bad} {t('bad')}, {step.pending} {t('pending in it')}"


def _rung(step: Rung, index: int, count: int, height: int) -> str:
    x = GAP + index * (WIDTH + GAP)
    tall = BASE + STEP * index
    y = height - 26 - tall
    parts = [f'<g class="rung {step.state}"><rect class="box" x="{x}" y="{y}" width="{WIDTH}" height="{tall}" rx="6"/>']
    filled = float(x)
    if step.open and step.members:
        for name, number in (("healthy", step.healthy), ("bad", step.bad), ("pending", step.pending)):
            wide = WIDTH * min(number / step.members, 1.0)
            if number:
                wide = min(max(wide, 3.0), x + WIDTH - filled)
                parts.append(
                    f'<rect class="{name}" x="{filled:.1f}" y="{y}" width="{wide:.1f}" height="{tall}" rx="2"/>'
                )
                filled += wide
    parts.append(f'<text class="name" x="{x + WIDTH / 2}" y="{y - 9}" text-anchor="middle">{escape(step.ring)}</text>')
    label = f"{step.healthy}/{step.members}" if step.open else "–"
    parts.append(f'<text class="count" x="{x + WIDTH / 2}" y="{y + tall / 2 + 6}" text-anchor="middle">{label}</text>')
    foot = f"{step.bad} ✕" if step.bad else f"{step.in_flight} …" if step.in_flight else ""
    parts.append(f'<text class="foot" x="{x + WIDTH / 2}" y="{height - 8}" text-anchor="middle">{foot}</text></g>')
    return "".join(parts)
