"""Recovery sheets: what a person needs who goes to a machine that a release has stopped, one for each make.

- Out of reach is who has, or may have, the release of a rollout and has not been heard of for several check-ins.
- The good release is the one that the newest of these machines' rings had before; where there was none, it is without.
- A sheet is data; ``lines`` says it in a language, and a page draws the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gate.core import recovery, recovery_texts, said_texts, words
from gate.core.claims import BROKEN
from gate.core.makes import facts_of
from gate.core.model import FLEET, Artifact, Release, Rollout, RolloutState
from gate.core.recovery import Given, KeyPlace, SetUp
from gate.flows.approvals import former
from gate.flows.orders import planned
from gate.flows.recalls import UNHEARD_CHECKINS
from gate.ports import Gate, OutOfReach, Tx

STOPPED = (RolloutState.HALTED, RolloutState.RECALLED)
MOST = 200
"""Machines of one sheet; more of them are counted."""
NOTHING = Given()


@dataclass(frozen=True, slots=True)
class Sheet:
    """One make of one rollout. ``paths``: names of ``recovery_texts.PATHS``; ``unsure``: what its machines stand on, or
    run, is not known; ``keys``: by site and machine."""

    rollout: Rollout
    release: Release
    make: str
    lost: Sequence[OutOfReach]
    more: bool
    keys: Mapping[tuple[str, str], KeyPlace]
    remove: Sequence[str]
    placed: bool
    good: Release | None
    paths: Sequence[str]
    unsure: bool
    vendor: Sequence[str]
    call: str

    @property
    def key(self) -> str:
        """The make's name in an address."""
        return recovery.key_of(self.make)

    def steps(self, path: str, language: str) -> list[str]:
        """The steps of one of its set-ups."""
        return recovery_texts.steps(path, language, self.rollout.source, self.good.id if self.good else "")

    def key_of(self, one: OutOfReach) -> KeyPlace | None:
        """Where its recovery key is kept: its own, else that of its site."""
        return self.keys.get((one.site, one.machine)) or self.keys.get((one.site, ""))


def makes_of(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> dict[str, int]:
    """make -> its machines out of reach; those that have failed otherwise come after them, with 0."""
    count = tx.count_out_of_reach(_unheard(gate, rollout, now), rollout.id)
    found = dict(sorted(count.items(), key=lambda one: (-one[1], one[0])))
    for one in sorted(tx.strata(rollout.id), key=lambda one: one.make):
        if one.bad:
            found.setdefault(one.make, 0)
    return found


def sheets(tx: Tx, gate: Gate, rollout: Rollout, given: Given, now: datetime, after: str = "") -> Iterator[Sheet]:
    """The sheets of ``makes_of`` by name, one after another, without counting all machines: for who takes some."""
    strata = tx.strata(rollout.id)
    bad = {one.make for one in strata if one.bad}
    left = {one.make for one in strata if one.late_failed or one.explained}
    flying = {one.make for one in tx.budgets(rollout.id) if one.make != FLEET and (one.in_flight or one.failed)}
    for make in sorted(one for one in bad | left | flying if one > after):
        found = sheet(tx, gate, rollout, make, given, now)
        if found.lost or make in bad:
            yield found


def of_machine(tx: Tx, gate: Gate, machine: str, now: datetime) -> list[tuple[OutOfReach, Rollout]]:
    """The rollouts for which a machine is out of reach. In flight of one that goes on, it may just be switched off."""
    active = tx.active_policy()
    if active is None:
        return []
    before = now - UNHEARD_CHECKINS * gate.policy(active.commit).checkin
    found = []
    for one in tx.out_of_reach(before, machine=machine, limit=10):
        rollout = tx.rollout(one.rollout)
        if rollout is not None and (one.state in BROKEN or rollout.state in STOPPED):
            found.append((one, rollout))
    return found


def sheet(tx: Tx, gate: Gate, rollout: Rollout, make: str, given: Given, now: datetime) -> Sheet:
    """The sheet of one make."""
    release = tx.release(rollout.release)
    assert release is not None
    found = tx.out_of_reach(_unheard(gate, rollout, now), rollout=rollout.id, make=make, limit=MOST + 1)
    shown = found[:MOST]
    setups = _setups(make, shown)
    systems = [one.system for one in setups if one.system] or recovery.systems_of(given)
    names = [one.name for one in release.artifacts]
    return Sheet(
        rollout=rollout,
        release=release,
        make=make,
        lost=shown,
        more=len(found) > MOST,
        keys={(one.site, one.machine): one for one in tx.key_places(sorted({one.site for one in shown}))},
        remove=recovery.to_remove(given, systems, names, release.hex),
        placed=all(getattr(given, system) for system in systems),
        good=_good(tx, rollout, [one.ring for one in shown]),
        paths=recovery.paths(setups, given),
        unsure=any(not one.platform or not one.system for one in setups),
        vendor=list(dict.fromkeys(step for one in planned(tx, rollout.id) for step in one.steps)),
        call=given.call,
    )


def _unheard(gate: Gate, rollout: Rollout, now: datetime) -> datetime:
    """Who was last heard of then or earlier is out of reach."""
    return now - UNHEARD_CHECKINS * gate.policy(rollout.policy_version).checkin


def named(tx: Tx, gate: Gate, rollout: Rollout, wanted: str, now: datetime) -> str | None:
    """A make of a rollout by its text or its short name."""
    strata = sorted({one.make for one in tx.strata(rollout.id)})
    return _called(strata, wanted) or _called(makes_of(tx, gate, rollout, now), wanted)


def _called(makes: Iterable[str], wanted: str) -> str | None:
    return next((one for one in makes if wanted in (one, recovery.key_of(one))), None)


def _setups(make: str, machines: Sequence[OutOfReach]) -> list[SetUp]:
    """What the make says; what it leaves open its machines say."""
    told = {name: value for name, value in facts_of(make).items() if value != "-"}
    found = {recovery.setup_of({**one.facts, **told}) for one in machines} or {recovery.setup_of(told)}
    return sorted(found, key=lambda one: (one.platform, one.system))


def _good(tx: Tx, rollout: Rollout, rings: Sequence[str]) -> Release | None:
    opened = [one.ring for one in tx.rings(rollout.id) if one.opened_at is not None]
    for ring in dict.fromkeys([*rings, *opened]):
        before = former(tx, rollout, ring)
        if before:
            return tx.release(before)
    return None


def lines(found: Sheet, language: str, moment: Callable[[datetime | None], str]) -> list[str]:
    """The sheet as plain text, to be printed or read out."""

    def say(name: str, **given: object) -> str:
        return recovery_texts.word(name, language, **given)

    return [
        f"{say('title')}: {words.make(found.make, language)}",
        f"{found.rollout.source} {found.release.version} · {found.make} · {found.key}",
        "",
        *(f"  {one}" for one in happened(found, language, moment)),
        *_machines(found, say, moment),
        *_part(say("remove"), [*(found.remove or [say("no files")]), *_where(found, say)]),
        *_part(say("good"), good(found.good) or [say("no good")]),
        *([*_part("", [say("unknown")])] if found.unsure else []),
        *(line for path in found.paths for line in _numbered(path, found, language)),
        *(_part(say("vendor"), [said_texts.said(one, language) for one in found.vendor]) if found.vendor else []),
        *_part(say("end"), ended(found, language)),
    ]


def happened(found: Sheet, language: str, moment: Callable[[datetime | None], str]) -> list[str]:
    """What came, since when, why it was halted, and how many machines are out of reach."""
    version, rollout = found.release.version, found.rollout
    said = [
        recovery_texts.word("came", language, source=rollout.source, version=version, since=moment(rollout.started_at))
    ]
    if rollout.halted_at is not None:
        because = said_texts.halted(rollout.halted_because, rollout.halted_by, language)
        said.append(recovery_texts.word("halted", language, at=moment(rollout.halted_at), because=because))
    sites = len({one.site for one in found.lost})
    name = "lost" if found.lost else "none lost"
    said.append(recovery_texts.word("more" if found.more else name, language, count=len(found.lost), sites=sites))
    return said


def good(release: Release | None) -> list[str]:
    """What must be there: the release, then each file with its hash."""
    if release is None:
        return []
    return [f"{release.source} {release.version}", release.id, *(_hash(one) for one in release.artifacts)]


def ended(found: Sheet, language: str) -> list[str]:
    """When to stop, and when it is well."""
    call = found.call or recovery_texts.word("whom", language)
    return [recovery_texts.word("stop", language, call=call), recovery_texts.word("well", language)]


def _hash(one: Artifact) -> str:
    return f"{one.name}  sha256 {one.sha256}  ({one.length} B)"


def _machines(found: Sheet, say: Callable[..., str], moment: Callable[[datetime | None], str]) -> list[str]:
    rows = []
    for one in found.lost:
        key = found.key_of(one)
        where = f"{key.place} {f'(id {key.key_id})' if key.key_id else ''}".strip() if key else say("no key")
        rows.append(f"[ ] {one.site_name or one.site}: {one.name}, {moment(one.last_seen_at)}, {where}")
    return _part(say("machines"), rows) if rows else []


def _where(found: Sheet, say: Callable[..., str]) -> list[str]:
    return [] if found.placed or not found.remove else [say("no folder", source=found.rollout.source)]


def _part(head: str, body: Sequence[str]) -> list[str]:
    return ["", *([head.upper()] if head else []), *(f"  {one}" for one in body)]


def _numbered(path: str, found: Sheet, language: str) -> list[str]:
    said = enumerate(found.steps(path, language), 1)
    return _part(recovery_texts.title(path, language), [f"{number}. {one}" for number, one in said])
