"""Rings: their order, who is in them now, what they cover and must show, when they last did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import nlargest, nsmallest

from flask import g, render_template

from gate.core.errors import GateError, NotFound
from gate.core.makes import taking
from gate.core.model import RingState, Rollout, RolloutState
from gate.core.policy import Policy, RingRule
from gate.core.policy_explain import Said, explain
from gate.core.policy_words import label, said
from gate.ports import Tx
from gate.web import forms, ring_forms

MAKES = 30  # shown of a ring
LOOKED_AT = 30  # newest rollouts in which a proof is looked for


@dataclass(frozen=True, slots=True)
class Proof:
    """When a ring's gate was last passed, and by what."""

    rollout: Rollout
    version: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """One ring as the page has it."""

    rule: RingRule
    index: int
    makes: Mapping[str, int]  # make -> machines
    most: Sequence[tuple[str, int]]  # those of them that have the most machines, with how many
    missing: Sequence[str]  # makes of later rings that neither this ring nor an earlier one has; the first of them
    lacks: int  # how many those are
    sharing: int  # machines that its share takes first
    windows: Sequence[str]
    words: Sequence[Said]
    gate: Sequence[tuple[str, str]]  # what it must show, each with its name
    proof: Proof | None
    changed: tuple[str, datetime, str] | None

    @property
    def members(self) -> int:
        """Machines in it now."""
        return sum(self.makes.values())


def rings() -> str:
    """The rings in rollout order, with everything that can be edited about them."""
    with g.parts.store.read() as tx:
        active = tx.active_policy()
        if active is None:
            raise NotFound("no policy is active")
        policy = g.parts.gate.policy(active.commit)
        fleet = tx.fleet_makes()
        proofs = _proofs(tx, policy)
        holding = tx.holds(g.now)
    authors, head = _authors(active.commit), forms.branch_head()
    counts = [fleet.get(ring.name, {}) for ring in policy.rings]
    nowhere = sum(fleet.get("", {}).values())
    missing = _missing(counts)
    words = explain(policy, g.language)
    rows = [
        Row(
            rule=rule,
            index=index,
            makes=counts[index],
            most=nlargest(MAKES, counts[index].items(), key=lambda one: one[1]),
            missing=nsmallest(MAKES, missing[index]),
            lacks=len(missing[index]),
            sharing=_sharing(rule, counts[index]),
            windows=rule.windows or _usual(policy),
            gate=_gate(rule),
            words=[one for one in words if one.ring == rule.name],
            proof=proofs.get(rule.name),
            changed=_changed(policy, f"rings[{index}]", authors),
        )
        for index, rule in enumerate(policy.rings)
    ]
    return render_template(
        "rings.html",
        rows=rows,
        policy=policy,
        nowhere=nowhere,
        commit=active.commit,
        holding=len(holding),
        ahead=head not in ("", active.commit),
        gone=not head,
        words_of=lambda value: said(value, g.language),
    )


def _gate(rule: RingRule) -> list[tuple[str, str]]:
    """What the gate states, in words."""
    cells = {f"rings[].gate.{key}": value for key, value in rule.gate.items() if key != "rule_out"}
    cells |= {f"rings[].gate.rule_out.{key}": value for key, value in rule.gate.get("rule_out", {}).items()}
    return [(label(row, g.language), said(value, g.language)) for row, value in cells.items()]


def _usual(policy: Policy) -> Sequence[str]:
    """The windows of releases of any kind that a source brings."""
    kinds = dict.fromkeys(source.kind for source in policy.sources)
    return tuple(dict.fromkeys(name for kind in kinds for name in policy.default_windows.get(kind, ())))


def _missing(counts: Sequence[Mapping[str, int]]) -> list[set[str]]:
    """For each ring the makes of later ones that neither it nor an earlier one has."""
    first: dict[str, int] = {}
    for index, makes in enumerate(counts):
        for make in makes:
            first.setdefault(make, index)
    return [{make for make, at in first.items() if at > index} for index in range(len(counts))]


def _sharing(rule: RingRule, makes: Mapping[str, int]) -> int:
    share, least = rule.at_most.get("share"), rule.gate.get("at_least", 3)
    return sum(taking(count, share, least) for count in makes.values())


def _authors(commit: str) -> Sequence[tuple[str, datetime, str]]:
    """Who wrote each line; nobody where the repository does not answer: the page does not rest on it."""
    try:
        return list(g.parts.gate.texts.authors(commit))
    except GateError:
        return []


def _changed(
    policy: Policy, path: str, authors: Sequence[tuple[str, datetime, str]]
) -> tuple[str, datetime, str] | None:
    """Who changed one of its lines last."""
    lines = {line for one, line in policy.lines.items() if one == path or one.startswith((f"{path}.", f"{path}["))}
    found = [authors[line - 1] for line in lines if 0 < line <= len(authors)]
    return max(found, key=lambda one: one[1], default=None)


def _proofs(tx: Tx, policy: Policy) -> dict[str, Proof]:
    """ring -> the newest rollout in which its gate was passed: the next ring opened, or it was done."""
    found: dict[str, Proof] = {}
    rollouts = tx.rollouts(limit=LOOKED_AT)
    versions = tx.versions([one.release for one in rollouts])
    for rollout in rollouts:
        for ring, at in _passed(rollout, tx.rings(rollout.id)):
            if ring not in found or found[ring].at < at:
                found[ring] = Proof(rollout, versions.get(rollout.release, ""), at)
    return {ring.name: found[ring.name] for ring in policy.rings if ring.name in found}


def _passed(rollout: Rollout, rings: Sequence[RingState]) -> list[tuple[str, datetime]]:
    following = [one.opened_at for one in rings[1:]] + [rollout.done_at if rollout.state is RolloutState.DONE else None]
    pairs = zip(rings, following, strict=True)
    return [(ring.ring, at) for ring, at in pairs if ring.opened_at is not None and at is not None]


VIEWS = (
    ("/rings", rings, "view", ["GET"]),
    *ring_forms.VIEWS,
)
