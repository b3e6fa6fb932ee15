"""What a look at the remote of the policy repository came to: an event when it changes, a mark when it is good."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from gate.core.errors import OperatorError
from gate.ports import Store, Tx

SUBJECT = "policy:remote"
MARK = "policy-remote"
PARTED = "both sides have commits of their own; merge ours into theirs and push, until then ours stays"
TROUBLES = ("policy_remote_failed", "policy_remote_parted")


def look(store: Store, fetch: Callable[[], str], now: datetime) -> None:
    """Fetches; says what is new about it."""
    try:
        outcome = fetch()
    except OperatorError as problem:
        _say(store, "policy_remote_failed", problem.detail[:500], now)
        return
    if outcome == "parted":
        _say(store, "policy_remote_parted", PARTED, now)
        return
    with store.write() as tx:
        tx.set_mark(MARK, now)
        if outcome == "taken" or trouble(tx):
            tx.append("policy_fetched", "gate", SUBJECT, now)


def trouble(tx: Tx) -> str:
    """What is wrong with the remote, as one sentence; empty: nothing, or there is none."""
    last = next(iter(tx.events(subject=SUBJECT, limit=1)), None)
    return str(last.detail.get("detail", "")) if last is not None and last.kind in TROUBLES else ""


def _say(store: Store, kind: str, detail: str, now: datetime) -> None:
    with store.write() as tx:
        if trouble(tx) != detail:
            tx.append(kind, "gate", SUBJECT, now, {"detail": detail})
