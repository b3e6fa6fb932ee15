"""The looks that time makes due, as the worker takes them and the simulation too.

- A look counts in a transaction that only reads and keeps what it found in another: nobody waits to write meanwhile.
- Who calls brings the transactions: the worker its store, where it tries again; a simulation the one that is open.
- Our own gap comes before the sweep: silence that nobody could hear is none.
- One worker at a time looks at the morning, once a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol, TypeVar

from gate.core.mornings import LOOK_EVERY
from gate.flows import controls, listening, mornings
from gate.flows import sweep as silent_claims
from gate.ports import Gate, Tx

T = TypeVar("T")


class Transactions(Protocol):
    """Where a look reads and writes."""

    def read(self, act: Callable[[Tx], T]) -> T: ...
    def write(self, act: Callable[[Tx], T]) -> T: ...


def sweep(within: Transactions, gate: Gate, now: datetime) -> None:
    """What of ours was a gap, then which claims have become silent."""

    def act(tx: Tx) -> None:
        listening.note_gap(tx, gate, now)
        silent_claims.sweep(tx, gate, now)

    within.write(act)


def morning(within: Transactions, gate: Gate, now: datetime, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Who is missing before opening. ``goes_on``: asked before each batch of sites that is planned."""
    last = within.read(lambda tx: tx.mark(mornings.MARK).at)
    if last is not None and abs(now - last) < LOOK_EVERY:
        return
    if not within.write(lambda tx: tx.take_turn(mornings.MARK, now, LOOK_EVERY)):
        return
    while goes_on() and within.write(lambda tx: mornings.plan(tx, gate, now)):
        pass
    parties = within.read(lambda tx: mornings.count(tx, gate, now))
    if parties is not None:
        within.write(lambda tx: mornings.look(tx, gate, parties, now))


def compare(
    within: Transactions, gate: Gate, rollout_id: str, now: datetime, may: Callable[[], bool] = lambda: True
) -> bool:
    """The machines that were not updated, beside those of a rollout, where a look at them is due; False where one is
    due and ``may`` says that there is no time for it: what is known of this rollout is not enough to decide then."""

    def count(tx: Tx) -> controls.Tally | bool | None:
        if not controls.due(tx, rollout_id, now):
            return True
        return controls.count(tx, gate, rollout_id, now) if may() else False

    counted = within.read(count)
    if isinstance(counted, controls.Tally):
        within.write(lambda tx: controls.look(tx, gate, rollout_id, counted, now))
    return counted is not False
