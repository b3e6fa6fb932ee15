"""Rollouts as lists and the overview show them: a line with its ladder, why it stands, and when that can change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import g
from markupsafe import Markup

from gate.core import explained, said_texts
from gate.core.errors import OperatorError
from gate.core.model import RingState, Rollout, RolloutState
from gate.flows import facts_json, people, protection
from gate.ports import Proposal, StoredDecision, Tx
from gate.web.ladder import Rung, draw, rungs
from gate.web.texts import translate

MOVING = (RolloutState.HALTED, RolloutState.RECALLED, RolloutState.RUNNING, RolloutState.HELD, RolloutState.QUEUED)


@dataclass(frozen=True, slots=True)
class Line:
    """A rollout as the overview shows it."""

    rollout: Rollout
    version: str
    steps: Sequence[Rung]
    picture: Markup
    stands: str
    next_at: datetime | None = None
    """When the last of what holds it can change; None: not known."""
    said_at: datetime | None = None
    """Of when its numbers are: a decision is stored anew when its reasons change, not with each number. None: it has
    none."""


def lines_of(tx: Tx, rollouts: Sequence[Rollout]) -> list[Line]:
    """A line each, read together; only what moves is asked why it stands."""
    ladders, found = tx.ladders(rollouts), []
    for rollout in rollouts:
        ladder = ladders[rollout.id]
        steps = rungs(rollout, ladder.rings, ladder.strata)
        picture = draw(steps, f"{rollout.source} {ladder.version}", rollout.id, translated)
        found.append(Line(rollout, ladder.version, steps, picture, *_stands(tx, rollout, ladder.rings)))
    return found


def reasons_of(decision: StoredDecision) -> str:
    """Its first three reasons in the visitor's language."""
    return "; ".join(said_of(reason, decision.policy_version) for reason in decision.reasons[:3])


def said_of(stored: Mapping[str, Any], policy_version: str) -> str:
    """A stored reason in the visitor's language."""
    try:
        zone = g.parts.gate.policy(policy_version).zone
    except OperatorError:  # the repository is gone: the brake's page is shown all the same
        zone = ZoneInfo("Europe/Berlin")
    return explained.sentence(facts_json.reason_of(stored), g.language, zone)


def version_of(tx: Tx, rollout: Rollout) -> str:
    """The version of a rollout's release; empty where it is gone."""
    release = tx.release(rollout.release)
    return release.version if release else ""


def ages(tx: Tx, source: str = "") -> list[protection.Protection]:
    """How old each ring's content is against the newest release; without the sources that have brought nothing."""
    rings = ring_names()
    return [one for name in sources_of(source) for one in protection.ages(tx, name, rings)]


def open_proposal(tx: Tx, rollout: Rollout, kind: str = "resume") -> Proposal | None:
    """What waits for another person's word about this rollout as it stands."""
    found = [one for one in tx.proposals("open", rollout.id, g.now) if one.kind == kind]
    bound = people.bound(kind, rollout)
    return next((one for one in found if one.sha256 == bound), None)


def _stands(tx: Tx, rollout: Rollout, rings: Sequence[RingState]) -> tuple[str, datetime | None, datetime | None]:
    """One sentence: the newest reasons that hold it; when all of them can have changed, where each says so; and of when
    their numbers are."""
    if rollout.state in (RolloutState.HALTED, RolloutState.RECALLED):
        return said_texts.halted(rollout.halted_because, rollout.halted_by, g.language), None, None
    if rollout.state is not RolloutState.RUNNING:
        return "", None, None
    following = rings[rollout.reached + 1].ring if rollout.reached + 1 < len(rings) else "done"
    decision = tx.last_decision(rollout.id, following)
    if decision is None or decision.verdict == "OPEN":
        return "", None, None
    reasons = [facts_json.reason_of(one) for one in decision.reasons]
    known = [one.earliest_at for one in reasons if one.earliest_at is not None]
    next_at = max(known) if known and len(known) == len(reasons) else None
    return reasons_of(decision), next_at, decision.at if any(map(explained.counts, reasons[:3])) else None


def translated(text: str) -> str:
    """In the visitor's language."""
    return translate(text, g.language)


def ring_names() -> list[str]:
    """Of the active policy, in order."""
    policy = g.parts.policy()
    return [ring.name for ring in policy.rings] if policy else []


def sources_of(only: str) -> list[str]:
    """The policy's sources, or only that one."""
    policy = g.parts.policy()
    names = [rule.name for rule in policy.sources] if policy else []
    return [only] if only in names else names
