"""Levers are shown, not only claimed: a probe asks, as a stock client would, for what is withheld, and must not get it.

- Asked over real HTTP, at the address that machines have: by the vendor mirror with a token that is lent for the probe,
  for up to ``PER_RING`` machines of each ring and the ring's own address; by the read plane for what each ring's
  approvals name, which is what our agents go by.
- *Withheld* is a release whose rollout has not opened the ring, and of which this machine never had a claim (it may
  have come from another ring). Bytes that only such a release has, or that nobody has
  released, under the name of a file that is served: the lever is broken.
- Broken: an event, the source is red, and none of its rings opens until a person has cleared it, which takes a probe
  that held since. What was granted goes on.
- Nobody answers, nothing is released, or a vendor delivers: not shown, and the reason why. That is no "held". Nor is a
  mirror that gives nobody anything; where none is used, some approval must name what its ring may have.
- What the policy claims is no more than what the plugin can: the weaker of the two is shown, with its reason. Nor is it
  more than *advised* while an address of the mirror is for a whole ring.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from gate.core.errors import Conflict, NotFound, SourceError
from gate.core.model import Machine, MachineStatus, Release
from gate.core.policy import SourceRule
from gate.flows.agreement import reason_given
from gate.flows.mirror import RING, RINGS
from gate.hookspecs import LEVERS, SourceInfo
from gate.ports import BRAKED, Line, Mark, Mirror, Tx

T = TypeVar("T")
PER_RING = 3
LOOK_BACK = 20
LONGEST = 400  # of what a plugin says why
EVERY, AGAIN = timedelta(days=30), timedelta(days=1)
PROBED, CAN = "lever:", "lever-can:"
"""Marks; what a plugin says why stands under the name of ``CAN`` among the sources' cursors."""
NOTHING = "cannot be probed: nobody was served what it may have"
BY_RING = "addresses of the mirror that move a whole ring at once, without claims: "
METADATA = "/metadata/{}.json"
SPARE = 1024**2  # a file that a plugin made may be longer than any artifact


class Shown(Enum):
    """What the last probe came to; the value is the number of its mark."""

    HELD = 1
    BROKEN = 2
    NOT_SHOWN = 3


KINDS = {Shown.HELD: "lever_held", Shown.BROKEN: "lever_broken", Shown.NOT_SHOWN: "lever_not_shown"}


class Within(Protocol):
    """Transactions."""

    def read(self, act: Callable[[Tx], T]) -> T: ...
    def write(self, act: Callable[[Tx], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe's outcome in a sentence."""

    shown: Shown
    detail: str


@dataclass(frozen=True, slots=True)
class Lever:
    """How a source is held: what can be claimed, why it is no more, and what the last probe has shown."""

    lever: str
    why: str
    probed_at: datetime | None
    shown: Shown | None
    detail: str
    broken_at: datetime | None
    """Found broken then; no ring opens until a person has cleared it."""
    own: str = ""
    """What the plugin says why it is this lever; empty: it says another one, or was not asked yet."""

    @property
    def broken(self) -> bool:
        """Does it hold further rings?"""
        return self.broken_at is not None


@dataclass(frozen=True, slots=True)
class _Ring:
    """The releases that a ring, or a machine of it, may not get, and those that it may; by id."""

    withheld: Mapping[str, Release]
    allowed: Mapping[str, Release]

    def granted(self, claimed: Collection[str]) -> _Ring:
        """For a machine that has had a claim of these."""
        own = {one: release for one, release in self.withheld.items() if one in claimed}
        return _Ring({one: self.withheld[one] for one in self.withheld.keys() - own.keys()}, {**self.allowed, **own})


def due(mark: Mark | None, now: datetime) -> bool:
    """Is it time for a probe?"""
    if mark is None or mark.at is None:
        return True
    return abs(now - mark.at) >= (AGAIN if mark.number == Shown.NOT_SHOWN.value else EVERY)


def prove(within: Within, mirror: Mirror, line: Line, rule: SourceRule, by: str, now: datetime) -> Probe:
    """Probes one source and keeps what came of it."""
    probe = _probed(within, mirror, line, rule)
    within.write(lambda tx: _keep(tx, rule.name, probe, by, now))
    return probe


def clear(tx: Tx, source: str, by: str, because: str, now: datetime, broken_at: str = "") -> None:
    """Rings of this source open again. ``broken_at``: when it was found broken (ISO 8601), as a page has shown it to
    whoever clears it.

    Raises:
        Malformed: no reason. NotFound: its lever is not broken.
        Conflict: not_shown: no probe that began since has held. moved: a probe found it broken at this very moment, or
            since the page was shown.
    """
    reason_given(because)
    broken, probed = tx.mark(BRAKED + source), tx.mark(PROBED + source)
    if broken.number == 0 or broken.at is None:
        raise NotFound(f"the lever of {source} is not broken")
    if probed.number != Shown.HELD.value or probed.at is None or probed.at < broken.at:
        raise Conflict("not_shown", f"no probe of {source} has held since: gate lever check {source}")
    unseen = broken_at and broken_at != broken.at.isoformat()
    if unseen or not tx.number_mark(BRAKED + source, broken, 0, now):
        raise Conflict("moved", f"the lever of {source} has been cleared, or was found broken again, a moment ago")
    tx.append("lever_cleared", by, f"lever:{source}", now, {}, because)


def of_streams(found: SourceInfo, options: Mapping[str, str]) -> SourceInfo:
    """What a plugin can for a source whose options name some of its streams: no more than for the weakest of them."""
    named = {word for value in options.values() for word in value.split()}
    weaker = [one for one in found.streams if one.name in named and LEVERS.index(one.lever) > LEVERS.index(found.lever)]
    if not weaker:
        return found
    weakest = max(weaker, key=lambda one: LEVERS.index(one.lever))
    return replace(found, lever=weakest.lever, why=weakest.why or found.why)


def note_claim(tx: Tx, rule: SourceRule, found: SourceInfo, now: datetime) -> None:
    """Keeps what the plugin says that it can, where that is new; a policy that claims more is an event."""
    number = LEVERS.index(found.lever) + 1
    if tx.cursor(CAN + rule.name) != found.why[:LONGEST]:
        tx.save_cursor(CAN + rule.name, found.why[:LONGEST])
    if tx.mark(CAN + rule.name).number == number:
        return
    tx.set_mark(CAN + rule.name, now, number)
    if LEVERS.index(rule.lever) < number - 1:
        detail = {"lever": found.lever, "detail": found.why}
        tx.append("lever_overclaimed", "gate", f"lever:{rule.name}", now, detail)


def levers(tx: Tx, rules: tuple[SourceRule, ...]) -> dict[str, Lever]:
    """How each source is held."""
    names = [prefix + rule.name for rule in rules for prefix in (PROBED, CAN, BRAKED, RINGS)]
    marks = tx.marks(names)
    return {rule.name: _lever(tx, rule, marks) for rule in rules}


def _lever(tx: Tx, rule: SourceRule, marks: Mapping[str, Mark]) -> Lever:
    none = Mark(None, 0)
    probed, can, braked, rings = (marks.get(prefix + rule.name, none) for prefix in (PROBED, CAN, BRAKED, RINGS))
    lever, why = rule.lever, ""
    if can.number - 1 > LEVERS.index(rule.lever):
        lever = LEVERS[can.number - 1]
        why = f"the policy says {rule.lever}, and plugin {rule.plugin} can no more than {lever}"
    if lever == "held" and rings.number:
        lever, why = "advised", f"{BY_RING}{rings.number}"
    own = tx.cursor(CAN + rule.name) if can.number and LEVERS[can.number - 1] == lever else ""
    shown = Shown(probed.number) if probed.number else None
    detail = ""
    if shown is not None:
        events = tx.events(subject=f"lever:{rule.name}", limit=10)
        detail = next((str(one.detail.get("detail", "")) for one in events if one.kind == KINDS[shown]), "")
    return Lever(lever, why, probed.at, shown, detail, braked.at if braked.number else None, own)


def _keep(tx: Tx, source: str, probe: Probe, by: str, now: datetime) -> None:
    tx.set_mark(PROBED + source, now, probe.shown.value)
    if probe.shown is Shown.BROKEN:
        tx.set_mark(BRAKED + source, now, 1)
    tx.append(KINDS[probe.shown], by, f"lever:{source}", now, {"detail": probe.detail[:1000]})


def _probed(within: Within, mirror: Mirror, line: Line, rule: SourceRule) -> Probe:
    if rule.lever == "no lever":
        return Probe(Shown.NOT_SHOWN, "cannot be probed: there is no lever")
    rings = within.read(lambda tx: _rings(tx, rule.name))
    if not any(one.allowed or one.withheld for one in rings.values()):
        return Probe(Shown.NOT_SHOWN, "cannot be probed yet: no release has bytes here, or the vendor delivers them")
    try:
        answers = [ask(within, mirror, line, rule, rings) for ask in (_by_mirror, _by_approvals)]
    except SourceError as problem:
        return Probe(Shown.NOT_SHOWN, f"cannot be probed: {problem.detail}")
    if found := [leak for one in answers for leak in one.leaks]:
        rings = within.read(lambda tx: _rings(tx, rule.name))  # a ring may have opened meanwhile
        got = [sentence for ring, release, sentence in found if not release or release in rings[ring].withheld]
        if got:
            return Probe(Shown.BROKEN, "; ".join(got[:5]))
    if not any(one.withheld for one in rings.values()):
        return Probe(Shown.NOT_SHOWN, "cannot be probed: nothing was withheld at that moment")
    if not next((one.good for one in answers if one.good is not None), False):
        return Probe(Shown.NOT_SHOWN, NOTHING)
    return Probe(Shown.HELD, "; ".join(one.sentence for one in answers))


Leak = tuple[str, str, str]
"""Ring, the withheld release by id (empty: bytes of nobody), a sentence."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """What was asked for in one way. ``good``: somebody got what it may have; None: nobody goes by this way."""

    sentence: str
    good: bool | None
    leaks: list[Leak]


def _rings(tx: Tx, source: str) -> dict[str, _Ring]:
    withheld: dict[str, dict[str, Release]] = {}
    allowed: dict[str, dict[str, Release]] = {}
    for release in tx.releases(source, LOOK_BACK):
        rollout = tx.rollout_of(release.id)
        for ring in tx.rings(rollout.id) if rollout and release.artifacts else ():
            into = withheld if ring.opened_at is None else allowed
            into.setdefault(ring.ring, {})[release.id] = release
    return {name: _Ring(withheld.get(name, {}), allowed.get(name, {})) for name in withheld.keys() | allowed.keys()}


def _by_mirror(within: Within, mirror: Mirror, line: Line, rule: SourceRule, rings: Mapping[str, _Ring]) -> _Answers:
    goods, leaks = list[bool](), list[Leak]()
    for name, holders in within.read(lambda tx: _holders(tx, rule.name, rings)).items():
        for holder, ring in holders.items():
            good, leaked = _asked(mirror, line, rule.name, name, ring, holder)
            leaks += leaked
            if good or f"sha256:{mirror.stands(rule.name, holder)}" in ring.allowed:
                goods.append(good)
    return _Answers(f"the mirror gave {sum(goods)} addresses what they may have", any(goods) if goods else None, leaks)


def _holders(tx: Tx, source: str, rings: Mapping[str, _Ring]) -> dict[str, dict[str, _Ring]]:
    """Up to ``PER_RING`` machines of each ring, those first whose pointer moved last, and the ring's own address, each
    with what it may get."""
    found: dict[str, dict[str, _Ring]] = {}
    for pointer in sorted(tx.pointers(source), key=lambda one: one.moved_at, reverse=True):
        ring = pointer.ring or _ring_of(tx.machine(pointer.machine))
        if ring not in rings:
            continue
        own = found.setdefault(ring, {})
        if pointer.ring:
            own[pointer.holder] = rings[ring]
        elif sum(not holder.startswith(RING) for holder in own) < PER_RING:
            own[pointer.holder] = rings[ring].granted(_claimed(tx, pointer.machine, rings[ring].withheld))
    return found


def _claimed(tx: Tx, machine: str, releases: Collection[str]) -> set[str]:
    found = {one: tx.rollout_of(one) for one in releases}
    return {one for one, rollout in found.items() if rollout and tx.claim_of(machine, rollout.id) is not None}


def _ring_of(machine: Machine | None) -> str:
    return machine.ring if machine is not None and machine.status is MachineStatus.ACTIVE else ""


def _asked(mirror: Mirror, line: Line, source: str, name: str, ring: _Ring, holder: str) -> tuple[bool, list[Leak]]:
    """Whether it got bytes that it may have, and what it got beside them."""
    good, leaks = False, list[Leak]()
    stands = mirror.stands(source, holder)
    serving = ring.allowed.get(f"sha256:{stands}")
    own = {one.name for one in serving.artifacts} if serving else set()
    may = {artifact.sha256 for one in ring.allowed.values() for artifact in one.artifacts}
    withheld = {a.sha256: one for one in ring.withheld.values() for a in one.artifacts if a.sha256 not in may}
    known = [a for one in (*ring.allowed.values(), *ring.withheld.values()) for a in one.artifacts]
    paths = {one.name for one in known}
    for release in (stands, *(one.hex for one in ring.withheld.values())):
        paths |= set(mirror.paths(source, release))
    most = max((one.length for one in known), default=0) + SPARE
    token = mirror.lend(source, holder)
    try:
        for path in sorted(paths):
            status, sha256 = line.fetch(f"/mirror/{source}/{token}/{quote(path)}", most)
            if status not in (200, 404, 429):
                raise SourceError("no_answer", f"the mirror answered {status}: neither a file nor that it has none")
            if status != 200:
                continue
            if sha256 in withheld:
                got = withheld[sha256]
                said = f"ring {name} got {path} of {got.version}, which is withheld from it ({holder})"
                leaks.append((name, got.id, said))
            elif path in own and sha256 not in may:
                leaks.append((name, "", f"ring {name} got bytes of {path} that nobody has released ({holder})"))
            good = good or sha256 in may
    finally:
        mirror.shut_out(source, hashlib.sha256(token.encode()).hexdigest())
    return good, leaks


def _by_approvals(within: Within, mirror: Mirror, line: Line, rule: SourceRule, rings: Mapping[str, _Ring]) -> _Answers:
    """What our agents go by: the release that each ring's approval names."""
    snapshot = _versions(line, "timestamp")["snapshot.json"]
    roles = _versions(line, f"{snapshot}.snapshot")
    asked, leaks = 0, list[Leak]()
    for name, ring in rings.items():
        version = roles.get(f"ring-{name}.json")
        if version is None:
            continue
        said = _signed(line, f"{version}.ring-{name}")["targets"].get(f"rings/{name}/{rule.name}/current", {})
        release = str(said.get("custom", {}).get("release", ""))
        asked += release in ring.allowed
        if release in ring.withheld:
            sentence = f"ring {name} has an approval of {ring.withheld[release].version}, which is withheld from it"
            leaks.append((name, release, sentence))
    return _Answers(f"the approvals of {asked} rings name what they may have", asked > 0, leaks)


def _versions(line: Line, role: str) -> dict[str, int]:
    return {name: int(one["version"]) for name, one in _signed(line, role)["meta"].items()}


def _signed(line: Line, role: str) -> dict[str, Any]:
    """Only looked at: what is signed by whom is for those to check who go by it.

    Raises:
        SourceError
    """
    try:
        found = json.loads(line.read(METADATA.format(role)))["signed"]
    except (ValueError, KeyError, TypeError) as problem:
        raise SourceError("no_answer", f"{role}.json is no metadata") from problem
    assert isinstance(found, dict)
    return found
