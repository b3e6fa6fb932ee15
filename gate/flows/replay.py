"""A stored decision is judged again: same facts, same policy version, same verdict, years later.

- The facts are those that were stored with it; nothing is read from the counters of today.
- What the facts say of the policy (numbers, soak, floor, people, the ring's place, the dated freeze of that moment)
  must be what its stored version says, with a count for each of its brakes; a brake's share is held against the
  machines that its limit was made of.
- A decision whose facts, policy or rollout cannot be read is not the same: the answer says what is missing.
- It proves that the verdict follows from the facts. That the facts were true stands in the claims and in the audit log.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gate.core import background, mornings, opening
from gate.core.errors import GateError
from gate.core.facts import Facts
from gate.core.model import DONE
from gate.core.policy import Policy
from gate.core.verdict import Verdict
from gate.flows import facts_json, gathering
from gate.ports import Gate, Store, StoredDecision

PAGE = 500
NONE = "none"
SINCE_THE_CAP = frozenset({"background_cap", "morning", "lever_broken", "waived"})
"""Facts that are kept since the cap is looked at, or later: where one of them is, the cap is too."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A decision, and what judging it again gave; ``differences`` are sentences, none when it is the same."""

    stored: StoredDecision
    verdict: str  # empty where the facts cannot be judged
    makes: tuple[str, ...]
    reasons: tuple[Mapping[str, Any], ...]
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Did judging again give what is stored, from what the policy says?"""
        return not self.differences


def replay(gate: Gate, stored: StoredDecision, source: str | None) -> Replayed:
    """Judges again; ``source`` is that of the decision's rollout, None where the rollout is not to be found."""
    try:
        facts = facts_json.load(stored.facts)
        again = opening.judge(facts)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError, OverflowError) as problem:
        said = f"its facts cannot be judged: {type(problem).__name__}: {problem}"
        return Replayed(stored, "", (), (), (said,))
    reasons = tuple(facts_json.reason(one) for one in again.reasons)
    pairs = (
        ("verdict", stored.verdict, again.verdict.name),
        ("makes", list(stored.makes), list(again.makes)),
        ("reasons", [*map(_rounded, stored.reasons)], [_rounded(_as_stored(one, stored.reasons)) for one in reasons]),
        ("ring", stored.ring, facts.ring),
        ("moment", stored.at, facts.now),
    )
    found = [
        f"the {name} differ{'s' if name in ('verdict', 'ring', 'moment') else ''}" for name, a, b in pairs if a != b
    ]
    found += _of_policy(gate, stored, facts, source)
    return Replayed(stored, again.verdict.name, again.makes, reasons, tuple(found))


def _as_stored(reason: Mapping[str, Any], stored: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Without its numbers where the decision was stored before reasons had any."""
    numbered = any("numbers" in one for one in stored)
    return reason if numbered else {key: value for key, value in reason.items() if key != "numbers"}


def _rounded(reason: Mapping[str, Any]) -> Mapping[str, Any]:
    """With its numbers to twelve digits: a bound may have been computed in another way since. One site was once written
    as ``1 sites``."""
    numbers = reason.get("numbers") or {}
    near = {name: float(f"{one:.12g}") if isinstance(one, float) else one for name, one in numbers.items()}
    if not numbers:
        return reason
    detail = reason["detail"].replace(" at 1 sites have failed", " at 1 site have failed")
    return {**reason, "detail": detail, "numbers": near}


def _of_policy(gate: Gate, stored: StoredDecision, facts: Facts, source: str | None) -> Iterator[str]:
    """Where the facts say something else than the policy version that they name."""
    if source is None:
        yield f"its rollout {stored.rollout} is not to be found, so nobody knows which rules held"
        return
    try:
        policy = gate.policy(stored.policy_version)
    except GateError as problem:
        yield f"its policy {stored.policy_version[:12]} cannot be read: {problem.detail}"
        return
    try:
        told = list(_told(policy, stored, facts, source))
    except (LookupError, ValueError) as problem:
        yield f"its facts name a rule that policy {stored.policy_version[:12]} does not have: {problem}"
        return
    for rule, said, ruled in told:
        if said != ruled:
            yield f"{rule} was {said} in its facts, and is {ruled} in policy {stored.policy_version[:12]}"


def _told(policy: Policy, stored: StoredDecision, facts: Facts, source: str) -> Iterator[tuple[str, object, object]]:
    """(rule, what the facts say, what the policy says)."""
    if not stored.facts.keys().isdisjoint(SINCE_THE_CAP):
        yield "defaults.background_cap", facts.background_cap, background.cap(policy)
    yield "defaults.confidence", facts.confidence, policy.defaults.confidence
    yield "defaults.false_halt", facts.false_halt, policy.defaults.false_halt
    yield "defaults.max_lead_rings", facts.max_lead, policy.max_lead
    if isinstance(policy.defaults.background, float):
        yield "defaults.background", facts.background, policy.defaults.background
    if facts.ring not in {DONE, *(ring.name for ring in policy.rings)}:
        raise LookupError(f"ring {facts.ring}")
    yield from _place(policy, facts)
    for name, ruled in gathering.freeze_of(policy, facts.now, last=facts.ring == DONE).items():
        yield name, getattr(facts, name) or NONE, ruled or NONE
    if facts.ring != DONE:
        own = policy.settings_for(facts.ring, source)
        yield f"{facts.path}.floor", facts.floor, own.floor
        yield f"{facts.path}.needs.people", facts.people_needed, own.needs_people
        people = policy.stated_at("decides", facts.ring, source) if own.decides == "people" else ""
        yield f"{facts.path}.decides", facts.people_decide or "gate", people or "gate"
    inherits = facts.gate is None and policy.defaults.supersede == "inherit"  # it took over what had opened before
    if (facts.gate is None) != (facts.position == 0) and not inherits:
        yield "rings", "without a ring before" if facts.gate is None else "with a ring before", "the other way round"
    if facts.gate is not None:
        before = policy.settings_for(policy.rings[facts.position - 1].name, source)
        gate = facts.gate
        yield f"{gate.path}.gate.at_least", gate.at_least, before.at_least
        yield f"{gate.path}.gate.sites", gate.sites, before.sites
        yield f"{gate.path}.gate.rule_out.make", gate.rule_out_make, before.rule_out_make
        yield f"{gate.path}.gate.rule_out.fleet", gate.rule_out_fleet, before.rule_out_fleet
        yield f"{gate.path}.gate.soak", gate.soak_text, str(before.soak)
    yield from _brakes(policy, stored, facts)


def _place(policy: Policy, facts: Facts) -> Iterator[tuple[str, object, object]]:
    """Where its ring stands: by that its facts have a gate or none."""
    names = [ring.name for ring in policy.rings]
    place = len(names) if facts.ring == DONE else names.index(facts.ring)
    yield f"the place of ring {facts.ring}", facts.position, place
    yield f"the rule of ring {facts.ring}", facts.path, f"rings[{min(place, len(names) - 1)}]"
    yield f"that ring {facts.ring} opens as a whole", facts.whole, facts.ring == DONE


def _brakes(policy: Policy, stored: StoredDecision, facts: Facts) -> Iterator[tuple[str, object, object]]:
    """Each that can be counted has its count. What is over and halts is not halted by this morning's machines."""
    counted = [f"brakes[{index}]" for index, one in enumerate(policy.brakes) if gathering.countable(one)]
    lasting = [one for one in counted if policy.brakes[_index(one)].what != "missing"]
    told = [one.path for one in facts.brakes]
    if stored.verdict != Verdict.HALT.name or told != lasting:
        yield "brakes", told, counted
    for count in facts.brakes:
        brake = policy.brakes[_index(count.path)]
        yield count.path, count.text, brake.text
        if not brake.share or count.of is not None:
            yield count.path, count.limit, mornings.brake_limit(brake.number, count.of or 0, share=brake.share)


def _index(path: str) -> int:
    return int(path.removeprefix("brakes[").removesuffix("]"))


class Sources:
    """rollout -> its source, from the database or the shelf; the shelf is read once, when it is first needed."""

    def __init__(self, store: Store, shelved: Iterable[bytes]) -> None:
        self._store, self._lines = store, shelved
        self._known: dict[str, str | None] = {}
        self._shelved: dict[str, str] | None = None

    def of(self, rollout: str) -> str | None:
        """None: nobody knows such a rollout."""
        if rollout not in self._known:
            with self._store.read() as tx:
                found = tx.rollout(rollout)
            self._known[rollout] = found.source if found else self._from_shelf(rollout)
        return self._known[rollout]

    def _from_shelf(self, rollout: str) -> str | None:
        if self._shelved is None:
            lines = (json.loads(line) for line in self._lines)
            self._shelved = {str(line["id"]): str(line["source"]) for line in lines}
        return self._shelved.get(rollout)


def stored_decisions(store: Store, shelved: Iterable[bytes]) -> Iterator[StoredDecision]:
    """Every decision, each once: those on the shelf, then those in the database, by their numbers."""
    seen: set[tuple[int, str, datetime]] = set()
    for line in shelved:
        one = from_shelf(line)
        if (one.id, one.rollout, one.at) not in seen:
            seen.add((one.id, one.rollout, one.at))
            yield one
    after = 0
    while True:
        with store.read() as tx:
            page = tx.decisions_after(after, PAGE)
        if not page:
            return
        after = page[-1].id
        yield from (one for one in page if (one.id, one.rollout, one.at) not in seen)


def from_shelf(line: bytes) -> StoredDecision:
    """A decision from its line."""
    values = json.loads(line)
    return StoredDecision(
        **{**values, "at": datetime.fromisoformat(values["at"]), "makes": tuple(values["makes"])},
    )
