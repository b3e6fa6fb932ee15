"""What has been over for long leaves the database for the shelf, a batch at a time.

- Claims and decisions leave with a rollout that was superseded, never with one that may still be judged or still speaks
  for a ring; a claim whose machine is not known to work stays until it is, and so does one that a machine has in hand.
- A rollout itself, with its rings, strata and budgets, leaves when nothing of it is left. Its release stays: the same
  version with other bytes is refused for ever.
- Events leave in their order, but for the approvals of rings that may still open: they are shelved and stay as well.
- A decision leaves with its facts: it can be replayed from its line as it could from its row.
- The line is on the shelf, durably, before the row goes. What only had a time to live simply goes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from gate.core.model import Claim, ClaimState, Rollout, RolloutState
from gate.ports import Event, Shelf, Store, StoredDecision, Tx

BATCH = 2000
STAYS = ("ring_approved", "approval_void")
EVENTS = "events"


def shelve_some(store: Store, shelf: Shelf, keep: timedelta, now: datetime) -> int:
    """One batch of each kind; returns how many rows have left, 0 when nothing is old enough."""
    before = now - keep
    return (
        _claims(store, shelf, before, now)
        + _decisions(store, shelf, before, now)
        + _rollouts(store, shelf, before, now)
        + _events(store, shelf, before, now)
    )


def _claims(store: Store, shelf: Shelf, before: datetime, now: datetime) -> int:
    with store.read() as tx:
        claims = tx.old_claims(before, BATCH)
    if not claims:
        return 0
    shelf.put("claims", [line_of(claim) for claim in claims], now)
    with store.write() as tx:
        return tx.drop_claims([claim.id for claim in claims])


def _decisions(store: Store, shelf: Shelf, before: datetime, now: datetime) -> int:
    with store.read() as tx:
        decisions = tx.old_decisions(before, BATCH // 10)
    if not decisions:
        return 0
    shelf.put("decisions", [line_of(decision) for decision in decisions], now)
    with store.write() as tx:
        return tx.drop_decisions([decision.id for decision in decisions])


def _rollouts(store: Store, shelf: Shelf, before: datetime, now: datetime) -> int:
    with store.read() as tx:
        rollouts = tx.old_rollouts(before, BATCH // 10)
        lines = [_line(_whole(tx, rollout)) for rollout in rollouts]
    if not rollouts:
        return 0
    shelf.put("rollouts", lines, now)
    with store.write() as tx:
        return tx.drop_rollouts([rollout.id for rollout in rollouts])


def _whole(tx: Tx, rollout: Rollout) -> Mapping[str, Any]:
    return {
        **asdict(rollout),
        "rings": [asdict(one) for one in tx.rings(rollout.id)],
        "strata": [asdict(one) for one in tx.strata(rollout.id)],
        "budgets": [asdict(one) for one in tx.budgets(rollout.id)],
        "attributions": [asdict(one) for one in tx.attributions(rollout.id)],
    }


def _events(store: Store, shelf: Shelf, before: datetime, now: datetime) -> int:
    with store.read() as tx:
        start = tx.mark(EVENTS).number
        leaves = tx.old_events(start, before, BATCH)
    if not leaves:
        return 0
    shelf.put(EVENTS, [leaf.text for leaf in leaves], now)
    with store.write() as tx:
        tx.set_mark(EVENTS, now, leaves[-1].index + 1)
        return tx.drop_events(leaves[0].index, leaves[-1].index, STAYS)


def line_of(row: Claim | StoredDecision | Rollout) -> bytes:
    """A row as its line."""
    return _line(asdict(row))


def claim_of(line: bytes) -> Claim:
    """A claim from its line."""
    values = _read(Claim, line)
    return Claim(**{**values, "state": ClaimState(values["state"]), "stay_up": timedelta(seconds=values["stay_up"])})


def rollout_of(line: bytes) -> Rollout:
    """A rollout from its line, without its parts."""
    values = _read(Rollout, line)
    return Rollout(**{**values, "state": RolloutState(values["state"])})


def events_of(lines: Iterable[bytes], kinds: Collection[str]) -> Iterator[Event]:
    """The events of these kinds from their lines, the others unread: there is one for each report of a machine."""
    marks = [f'"kind":"{kind}"'.encode() for kind in kinds]
    for line in lines:
        if any(mark in line for mark in marks):
            event = Event(**_read(Event, line))
            if event.kind in kinds:
                yield event


def _read(kind: type[Any], line: bytes) -> dict[str, Any]:
    """The fields that are of this kind; what ends in ``_at`` or is a time is one again."""
    values = json.loads(line)
    times = {one.name for one in fields(kind) if "datetime" in str(one.type)}
    return {
        one.name: datetime.fromisoformat(values[one.name])
        if one.name in times and values[one.name]
        else values[one.name]
        for one in fields(kind)
        if one.name in values
    }


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_text).encode("utf-8", "surrogatepass")


def _text(value: Any) -> Any:
    match value:
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
    raise TypeError(f"{type(value)} has no place on the shelf")
