"""What the gate knows of each source: how it is held, how the last look went, what it brought, what it takes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gate.core.model import Release
from gate.core.policy import Policy, SourceRule
from gate.flows import intake, levers, observe_rounds, orders
from gate.flows.levers import Lever, Shown
from gate.hookspecs import Discovered
from gate.ports import LeverTrouble, Mark, Tx

DISK = "disk:"
"""The mark of what a source takes up: its number is in bytes."""
CLEAR = "a probe has held since; an admin must clear it, on this page or by gate lever clear"
STOOD = {"failed": "failed", "mirror": "the mirror could not follow", "refused": "refused"}
STATES = {"source_failed": "failed", "mirror_failed": "mirror", "candidate_refused": "refused"}


@dataclass(frozen=True, slots=True)
class SourceState:
    """``state``, the worst of what stands: broken (its lever), failed, mirror (its links do not follow), refused (its
    newest candidate), new (nobody has looked yet) or ok; ``beside``: other states that stand too, with their sentences.
    ``looked_at``: the last look that went well, to the minute; ``next_at`` is counted from it: past where looks fail.
    ``stored``: bytes on the disk, as a look has measured them: its releases, each file once, what the mirror lays out
    of them, and what its plugin keeps, downloads among it.
    ``undone``: what its vendor has not done; ``unread``: why nobody can read what its machines
    run, empty: it can be read."""

    rule: SourceRule
    state: str
    detail: str
    looked_at: datetime | None
    next_at: datetime | None
    newest: Release | None
    findings: Sequence[Mapping[str, Any]]
    stored: int
    lever: Lever
    undone: Sequence[LeverTrouble]
    unread: str
    beside: Sequence[tuple[str, str]] = ()

    def troubles(self) -> list[str]:
        """What its vendor or its plugin does not do now, each as a sentence."""
        found = [f"{STOOD[state]}: {detail}" for state, detail in self.beside]
        for one in self.undone:
            what = f"{one.machines} machines wait for it" if one.machines else "the spread is not stopped"
            found.append(f"ring {one.ring}: {what}: {one.detail}")
        return [*found, f"what machines run cannot be read: {self.unread}"] if self.unread else found


@dataclass(frozen=True, slots=True)
class Brings:
    """A candidate that a source has now; ``length`` is what it announces, in bytes."""

    version: str
    files: int
    length: int
    known: bool


def would_bring(tx: Tx, name: str, found: Discovered) -> list[Brings]:
    """What a look has found, and what of it is stored already."""
    return [
        Brings(
            one.version,
            len(one.artifacts),
            sum(artifact.length for artifact in one.artifacts),
            tx.release_by_version(name, one.version) is not None,
        )
        for one in found.candidates
    ]


def states(tx: Tx, policy: Policy, every: timedelta) -> list[SourceState]:
    """Every source of the policy, in its order; ``every`` is the time between two looks."""
    held, undone = levers.levers(tx, policy.sources), orders.troubles(tx)
    marks = tx.marks([f"{mark}{rule.name}" for rule in policy.sources for mark in ("look:", DISK)])
    return [
        _state(
            tx,
            rule,
            held[rule.name],
            [one for one in undone if one.source == rule.name],
            marks.get(f"look:{rule.name}"),
            marks.get(DISK + rule.name),
            every,
        )
        for rule in policy.sources
    ]


def _state(
    tx: Tx,
    rule: SourceRule,
    lever: Lever,
    undone: Sequence[LeverTrouble],
    mark: Mark | None,
    disk: Mark | None,
    every: timedelta,
) -> SourceState:
    stands = [(STATES[kind], detail) for kind, detail in intake.troubles(tx, rule.name).items()]
    looked = mark.at if mark else None
    newest = next(iter(tx.releases(rule.name, 1)), None)
    if lever.broken:
        stands.insert(0, ("broken", lever.detail if lever.shown is Shown.BROKEN else CLEAR))
    state, detail = stands[0] if stands else ("ok" if looked else "new", "")
    return SourceState(
        rule,
        state,
        detail,
        looked,
        looked + every if looked else None,
        newest,
        _findings(tx, newest) if newest else (),
        disk.number if disk else 0,
        lever,
        undone,
        observe_rounds.trouble(tx, rule.name),
        stands[1:],
    )


def _findings(tx: Tx, release: Release) -> Sequence[Mapping[str, Any]]:
    for event in tx.events(subject=release.id):
        if event.kind == "content_findings":
            found = event.detail.get("findings", ())
            return list(found)
    return ()
