"""The events of one rollout, told again from the beginning: what they come to must be what is stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gate.core.claims import may_step, next_state
from gate.core.model import Action, ClaimState, RolloutState, Step
from gate.ports import Event

STATES = {f"rollout_{one.value}": one for one in RolloutState} | {"rollout_resumed": RolloutState.RUNNING}
MOVES = {
    "claim_silent": ClaimState.SILENT,
    "claim_expired": ClaimState.EXPIRED,
    "claim_relapsed": ClaimState.RELAPSED,
}


@dataclass(slots=True)
class Told:
    """What the events have come to so far; a claim of which nothing is told is granted."""

    claims: dict[str, ClaimState]
    rollout: RolloutState | None = None
    opened: dict[str, datetime] = field(default_factory=dict)
    explained: set[str] = field(default_factory=set)


def of(events: Sequence[Event], claims: Iterable[str]) -> Told:
    """The states after these events, the oldest first; each step is a legal one."""
    told = Told(dict.fromkeys(claims, ClaimState.GRANTED))
    for event in events:
        detail = event.detail
        if event.kind == "rollout_started":
            told.rollout = RolloutState(detail["state"])
        elif event.kind in STATES:
            after = STATES[event.kind]
            assert told.rollout is not None
            assert may_step(told.rollout, after), (told.rollout, event.kind)
            told.rollout = after
        elif event.kind == "ring_opened":
            told.opened.setdefault(str(detail["ring"]), event.at)
        elif event.kind == "failure_explained":
            told.explained.add(str(detail["claim"]))
        elif event.kind == "report_step":
            claim, state = str(detail["claim"]), ClaimState(detail["state"])
            ways = {next_state(told.claims[claim], step, action)[0] for step in Step for action in Action}
            assert state in ways, (told.claims[claim], state)
            told.claims[claim] = state
        elif event.kind in MOVES:
            told.claims[str(detail["claim"])] = MOVES[event.kind]
        elif event.kind == "machine_left":
            told.claims |= dict.fromkeys(map(str, detail["claims"]), ClaimState.GONE)
    return told
