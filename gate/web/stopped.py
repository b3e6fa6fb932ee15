"""How machines come back from a release: who is out of reach, by what the rings would go back, who still has it.

Each is counted over all machines that took the release. Of up to ``AT_ONCE`` that is done in the request; of more it is
worked out beside it, and the page says so until it is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask import g

from gate.core.errors import Busy
from gate.core.model import Rollout, RolloutState
from gate.flows import orders, recalls, recovery
from gate.flows.recalls import WayBack
from gate.ports import Gate, Holder, Tx
from gate.web.beside import Made

AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class Back:
    """``sheets``: make -> machines out of reach; ``holders``: sites that still have what is recalled."""

    sheets: Mapping[str, int]
    ways: Sequence[WayBack]
    holders: Sequence[Holder]


NOBODY = Back({}, (), ())


def back(tx: Tx, rollout: Rollout) -> Made[Back]:
    """What is known of it; begun where it is not, or no longer."""
    if rollout.state not in recovery.STOPPED and not orders.planned(tx, rollout.id):
        return Made(at=g.now, found=NOBODY)
    gate, now = g.parts.gate, g.now
    if sum(one.exposed + one.pending for one in tx.strata(rollout.id)) <= AT_ONCE:
        return Made(at=now, found=_counted(tx, gate, rollout, now))
    try:
        key = f"{rollout.id} {rollout.version}"
        return g.parts.back.get(key, now, lambda other: _counted(other, gate, rollout, now))  # type: ignore[no-any-return]
    except Busy as problem:  # the rest of the page is needed all the same
        return Made(problem=problem.detail)


def _counted(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> Back:
    return Back(
        recovery.makes_of(tx, gate, rollout, now) if rollout.state in recovery.STOPPED else {},
        recalls.ways_back(tx, gate, rollout, now),
        recalls.holders(tx, gate, rollout, now) if rollout.state is RolloutState.RECALLED else [],
    )
