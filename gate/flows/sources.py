"""What the gate knows of each source: how it is held, how the last look went, what it brought, what it takes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gate.core.model import Release
from gate.core.policy import Policy, SourceRule
from gate.ports import Tx

STATES = {"source_failed": "failed", "candidate_refused": "refused"}


@dataclass(frozen=True, slots=True)
class SourceState:
    """``state``: ok, refused (its newest candidate), failed, or new (nobody has looked yet). ``looked_at``: the last
    look that went well, to the minute. ``stored``: bytes of the releases that the catalogue lists, each file once."""

    rule: SourceRule
    state: str
    detail: str
    looked_at: datetime | None
    next_at: datetime | None
    newest: Release | None
    findings: Sequence[Mapping[str, Any]]
    stored: int


def states(tx: Tx, policy: Policy, every: timedelta) -> list[SourceState]:
    """Every source of the policy, in its order; ``every`` is the time between two looks."""
    return [_state(tx, rule, every) for rule in policy.sources]


def _state(tx: Tx, rule: SourceRule, every: timedelta) -> SourceState:
    trouble = next(iter(tx.events(subject=f"source:{rule.name}", limit=1)), None)
    looked = tx.mark(f"look:{rule.name}").at
    kept = tx.releases(rule.name, rule.keep)
    state = STATES.get(trouble.kind, "") if trouble else ""
    files = {one.sha256: one.length for release in kept for one in release.artifacts}
    return SourceState(
        rule,
        state or ("ok" if looked else "new"),
        str(trouble.detail.get("detail", "")) if trouble and state else "",
        looked,
        looked + every if looked else None,
        kept[0] if kept else None,
        _findings(tx, kept[0]) if kept else (),
        sum(files.values()),
    )


def _findings(tx: Tx, release: Release) -> Sequence[Mapping[str, Any]]:
    for event in tx.events(subject=release.id):
        if event.kind == "content_findings":
            found = event.detail.get("findings", ())
            return list(found)
    return ()
