"""What a machine has of a source: what its agent says, or, where that says nothing, what was observed of it."""

from __future__ import annotations

from gate.ports import Session, Tx


def of(tx: Tx, session: Session | None, machine: str, source: str) -> str:
    """The release's id; empty: nothing is known."""
    said = session.installed.get(source, "") if session else ""
    if said:
        return said
    seen = tx.observation(source, machine)
    return seen.release if seen else ""
