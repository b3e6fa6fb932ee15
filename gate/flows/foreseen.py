"""What becomes of a commit that somebody has just pushed: what the worker will say of it at its next tick."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gate.core.errors import GateError
from gate.flows import edits
from gate.ports import Gate, Tx


@dataclass(frozen=True, slots=True)
class Foreseen:
    """``verdict``: rules, acts, waits or refused; with a sentence for whoever pushed it."""

    verdict: str
    sentence: str


def foreseen(tx: Tx, gate: Gate, head: str, now: datetime) -> Foreseen:
    """By the very function that takes a head up; nothing is written."""
    active = tx.active_policy()
    if active is not None and active.commit == head:
        return Foreseen("rules", "it rules already")
    try:
        found = edits.pushed(tx, gate, head, active, now)
    except GateError as problem:
        return Foreseen("refused", f"it will be refused, and what rules goes on: {problem.detail}")
    if found.people < edits.PEOPLE:
        return Foreseen("acts", "it loosens nothing and will rule")
    return Foreseen("waits", f"it loosens: it will rule once {found.people} people have agreed")
