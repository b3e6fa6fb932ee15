"""Recorded days: what this installation's releases did, as a scenario for another policy.

- The facts are the claims, rollouts, halts, recalls and signatures of the database and of the shelf, the fleet and its
  sites as they are now, and the gate's own gaps. A release comes when it came; its vendor takes it back when it did.
- A machine that took a release does under every policy what it did then: it stayed healthy, failed, relapsed, or was
  silent (dead, until a later release is known to have found it alive).
- A machine that did not take it is given what a machine of its make did that took it, drawn by hash; so a make keeps
  its recorded rate. Where none of its make took it, one of any make; where nobody did, it stays healthy.
- What nobody wrote down is assumed, and ``ASSUMED`` says it.
- Harmful is a release that its vendor withdrew, that people recalled, or that failed in some make beyond chance (its
  background explains it in less than one case of twenty). A halt of any other is false.
- A failure that a person has explained says nothing of the release: no other machine is given it, and it is no harm.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from gate.core import stats
from gate.core.claims import FAILURE
from gate.core.errors import NotFound
from gate.core.model import Action, Claim, ClaimState, Machine, MachineStatus, Rollout, Site
from gate.flows import retention
from gate.flows.when import BOOT_LEAD
from gate.ports import Asked, Event, Store, Tx
from gate.sim.scenario import Fault, OnTime, Row, Scenario, SimMachine, SimRelease, draw

SEED = 1
PAGE = 1000
EVERY = 10_000_000  # claims of a rollout, events of a kind
APPROVED, HALTED, RECALLED, EXPLAINED = "ring_approved", "rollout_halted", "rollout_recalled", "failure_explained"
AFTER = timedelta(days=7)  # a release is followed no longer than that
BEFORE = timedelta(hours=12)  # machines check in so long before the first release
ON = OnTime(-BOOT_LEAD, "opening"), OnTime(timedelta(minutes=10), "closing")
LEAST_LATE = timedelta(hours=1)
NOT_TAKEN = frozenset({ClaimState.GRANTED, ClaimState.EXPIRED})
RESOLVED = FAILURE | {ClaimState.HEALTHY}
ASSUMED = (
    "the fleet, its rings' picks and its sites' hours are those of today; machines that joined later are left out",
    "machines are on from 90 minutes before opening to 10 minutes after closing, and heard of but for gate's own gaps",
    "a machine that was silent and never reported is taken for dead until a later release found it alive",
    "people sign a ring when they signed it then, and halt nothing; a measured background is that of a new fleet",
)


@dataclass(frozen=True, slots=True)
class Day:
    """One recorded release: what it did then. ``halted``: ever, also where people let it go on.

    For how many machines that is known, drawn from their make, drawn from all makes, or not known of anybody."""

    rollout: str
    source: str
    version: str
    began_at: datetime
    exposed: int
    failed: int
    dead: frozenset[str]
    halted: bool
    harmful: bool
    hours: float | None
    known: int
    drawn: int
    from_all: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recorded days as a scenario, and what they were."""

    scenario: Scenario
    days: tuple[Day, ...]

    @property
    def sites_without_till(self) -> int:
        """Sites of which all tills were silent then."""
        dead = {name for day in self.days for name in day.dead}
        tills = defaultdict(list)
        for one in self.scenario.machines:
            if one.role == "till" and not one.site.always_on:
                tills[one.site.id].append(one.id in dead)
        return sum(all(states) for states in tills.values())


def read(
    store: Store,
    shelf: Callable[[str], Iterable[bytes]],
    since: datetime,
    until: datetime,
    sources: frozenset[str],
) -> Recorded:
    """The releases of these sources that began in [since, until), which name them in their own zone.

    ``shelf``: the lines of a kind that have left the database.

    Raises:
        NotFound: none did.
    """
    with store.read() as tx:
        every = _rollouts(tx, shelf("rollouts"), since, until)
        rollouts = [one for one in every if one.source in sources]
        if not rollouts:
            raise NotFound(f"no release began from {_days(since, until)}")
        claims = _claims(tx, shelf("claims"), rollouts)
        fleet = _fleet(tx, {one.machine for found in claims.values() for one in found}, until)
        start = rollouts[0].started_at - BEFORE
        said = _said(tx, shelf(retention.EVENTS))
        made = [_release(tx, rollout, claims[rollout.id], said[rollout.id], fleet) for rollout in rollouts]
        events = _events(tx, rollouts, start, until)
    scenario = Scenario(
        name=_days(since, until),
        seed=SEED,
        start=start,
        run=min(until, rollouts[-1].started_at + AFTER) - start,
        machines=tuple(fleet.machines.values()),
        sites=tuple(fleet.sites.values()),
        silent=0.0,
        delay=timedelta(),
        releases=tuple(release for release, _ in made),
        events=events,
        drop_rings=(),
        check_ins=True,
    )
    return Recorded(scenario, tuple(day for _, day in made))


def _events(tx: Tx, rollouts: Sequence[Rollout], start: datetime, until: datetime) -> tuple[Mapping[str, Any], ...]:
    """The gate's own gaps, and what vendors have taken back."""
    gaps = [(one.start_at, round((one.end_at - one.start_at).total_seconds())) for one in tx.gaps(start)]
    events: list[Mapping[str, Any]] = [
        {"at": at, "gate_down": {"for": f"{max(seconds, 1)}s"}} for at, seconds in gaps if at < until
    ]
    events += [
        {"at": one.halted_at, "vendor_reverts": one.source}
        for one in rollouts
        if one.halted_at is not None and one.halted_by == f"source:{one.source}"
    ]
    return tuple(sorted(events, key=lambda event: event["at"]))


def _days(since: datetime, until: datetime) -> str:
    """By the zone that they are in."""
    return f"{since:%Y-%m-%d} to {until - timedelta(seconds=1):%Y-%m-%d}"


@dataclass(frozen=True, slots=True)
class _Fleet:
    machines: Mapping[str, SimMachine]
    sites: Mapping[str, Site]
    makes: Mapping[str, str]


def _rollouts(tx: Tx, shelved: Iterable[bytes], since: datetime, until: datetime) -> list[Rollout]:
    found = {one.id: one for one in map(retention.rollout_of, shelved)}
    found |= {one.id: one for one in tx.rollouts(limit=EVERY)}
    return sorted((one for one in found.values() if since <= one.started_at < until), key=lambda one: one.started_at)


def _claims(tx: Tx, shelved: Iterable[bytes], rollouts: Sequence[Rollout]) -> dict[str, list[Claim]]:
    """rollout -> the newest claim of each machine that took it or could have."""
    newest: dict[str, dict[str, Claim]] = {one.id: {} for one in rollouts}
    stored = (claim for one in rollouts for claim in tx.claims(one.id, limit=EVERY))
    for group in (map(retention.claim_of, shelved), stored):
        for claim in group:
            of = newest.get(claim.rollout)
            if of is None or claim.action == Action.RECALL:
                continue
            if claim.machine not in of or of[claim.machine].granted_at <= claim.granted_at:
                of[claim.machine] = claim
    return {name: list(of.values()) for name, of in newest.items()}


def _said(tx: Tx, shelved: Iterable[bytes]) -> Mapping[str, list[Event]]:
    """rollout -> its halts, its recall, its rings' signatures and its explained failures, in the order of the log,
    wherever they are by now."""
    kinds = APPROVED, HALTED, RECALLED, EXPLAINED
    found = {one.index: one for one in retention.events_of(shelved, kinds)}
    found |= {one.index: one for kind in kinds for one in tx.asked_events(Asked(kind=kind), None, EVERY)}
    said: dict[str, list[Event]] = defaultdict(list)
    for _, event in sorted(found.items()):
        said[event.subject.partition("/")[0]].append(event)
    return said


def _fleet(tx: Tx, claimed: set[str], until: datetime) -> _Fleet:
    """Machines that are active and had joined, and those gone since that had a claim."""
    machines: list[Machine] = []
    after = ""
    while page := tx.machines(after=after, limit=PAGE):
        machines += [one for one in page if _was_there(one, until) or one.id in claimed]
        after = page[-1].id
    sites: dict[str, Site] = {}
    after = ""
    while found := tx.sites(after=after, limit=PAGE):
        sites |= {one.id: one for one in found}
        after = found[-1].id
    simulated = {one.id: _machine(one, sites[one.site]) for one in machines if one.site in sites}
    return _Fleet(simulated, sites, {one.id: one.make for one in machines})


def _machine(one: Machine, site: Site) -> SimMachine:
    row = None if site.always_on else Row(one.role, 1, *ON)
    return SimMachine(one.id, site, one.role, one.facts, row, one.labels)


def _was_there(one: Machine, until: datetime) -> bool:
    return one.status is MachineStatus.ACTIVE and one.accepted_at is not None and one.accepted_at < until


def _release(
    tx: Tx, rollout: Rollout, claims: Sequence[Claim], said: Sequence[Event], fleet: _Fleet
) -> tuple[SimRelease, Day]:
    release = tx.release(rollout.release)
    assert release is not None  # releases stay for ever
    known = {one.machine: one for one in claims if one.state in RESOLVED and one.machine in fleet.machines}
    explained = {str(event.detail["claim"]) for event in said if event.kind == EXPLAINED}
    drawn, from_all = _others(rollout, known, explained, fleet)
    fates = {name: fate(one) for name, one in {**known, **drawn, **from_all}.items()}
    signed = tuple((event.at, event.actor, event.subject.partition("/")[2]) for event in said if event.kind == APPROVED)
    simulated = SimRelease(
        at=rollout.started_at,
        source=rollout.source,
        version=release.version,
        boot_critical=release.boot_critical,
        fates={name: fault for name, fault in fates.items() if fault is not None},
        living=frozenset(known),
        signed=signed,
    )
    counts = _counts(known, drawn, from_all, fleet.machines)
    return simulated, _day(rollout, release.version, claims, said, explained, counts)


def _others(
    rollout: Rollout, known: Mapping[str, Claim], explained: Collection[str], fleet: _Fleet
) -> tuple[dict[str, Claim], dict[str, Claim]]:
    """Whose fate stands for that of the machines that did not take it: of their own make, or of any."""
    shown = [known[name] for name in sorted(known) if known[name].id not in explained]
    of_make: dict[str, list[Claim]] = defaultdict(list)
    for one in shown:
        of_make[one.make].append(one)
    drawn: dict[str, Claim] = {}
    from_all: dict[str, Claim] = {}
    for name in fleet.machines:
        if name in known:
            continue
        own = of_make.get(fleet.makes[name], [])
        among = own or shown
        if among:
            into = drawn if own else from_all
            into[name] = among[int(draw(SEED, "recorded", rollout.id, name) * len(among))]
    return drawn, from_all


def _counts(known: Sized, drawn: Sized, from_all: Sized, machines: Sized) -> dict[str, int]:
    found = {"known": len(known), "drawn": len(drawn), "from_all": len(from_all)}
    return {**found, "unknown": len(machines) - sum(found.values())}


def fate(claim: Claim) -> Fault | None:
    """What a release did to a machine, as a simulation does it again; None: it stayed healthy."""
    waited = claim.resolved_at - claim.granted_at if claim.resolved_at is not None else timedelta()
    late = max(waited, LEAST_LATE)
    match claim.state:
        case ClaimState.HEALTHY:
            return None
        case ClaimState.SILENT if claim.recovered:
            return Fault({}, "boot", 1.0, "slow", late)
        case ClaimState.SILENT:
            on = (
                "apply"
                if claim.installed_at is None or claim.evidence == "alive"
                else f"boot:{claim.boots_healthy + 1}"
            )
            return Fault({}, on, 1.0, "brick", timedelta())
        case ClaimState.RELAPSED:
            return Fault({}, "boot", 1.0, "relapse", timedelta(), late)
        case _:
            return Fault({}, "boot", 1.0, "unhealthy", timedelta())


def _day(
    rollout: Rollout,
    version: str,
    claims: Sequence[Claim],
    said: Sequence[Event],
    explained: Collection[str],
    counts: Mapping[str, int],
) -> Day:
    took = [one for one in claims if one.state not in NOT_TAKEN]
    span = rollout.done_at - rollout.started_at if rollout.done_at is not None else None
    return Day(
        rollout=rollout.id,
        source=rollout.source,
        version=version,
        began_at=rollout.started_at,
        exposed=len(took),
        failed=sum(one.state in FAILURE for one in took),
        dead=frozenset(one.machine for one in took if one.state is ClaimState.SILENT and not one.recovered),
        halted=rollout.halted_at is not None or any(event.kind == HALTED for event in said),
        harmful=_is_harmful(rollout, [one for one in took if one.id not in explained], said),
        hours=round(span / timedelta(hours=1), 1) if span is not None else None,
        **counts,
    )


def _is_harmful(rollout: Rollout, took: Sequence[Claim], said: Sequence[Event]) -> bool:
    by_people = any(event.kind == RECALLED and event.actor != "policy" for event in said)
    vendor = f"source:{rollout.source}"
    by_vendor = rollout.halted_by == vendor or any(event.kind == HALTED and event.actor == vendor for event in said)
    if by_people or by_vendor:
        return True
    by_make: dict[str, list[Claim]] = defaultdict(list)
    for one in took:
        if one.state in RESOLVED:
            by_make[one.make].append(one)
    return any(
        stats.unexplained(sum(one.state in FAILURE for one in found), len(found), rollout.background)
        for found in by_make.values()
    )
