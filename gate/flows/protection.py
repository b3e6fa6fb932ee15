"""How old the protection of each ring is, beside the risk that a ring takes; and the alarm when a release is late.

- A ring has the newest release that has opened it for all of its makes and was not halted or recalled. It is behind
  since the gate has first seen a newer one.
- ``must_be_everywhere_by`` alarms twice a release, and opens nothing: once when even the best course does not reach the
  last ring in time, once when the time has passed and the last ring is not open for all of its makes.
- The best course: the soak that runs (or the shortest that could), then the plan of the rings that are still shut,
  without their floors, and the last ring's floor. So it never says *too late* where it is not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gate.core import boot_times
from gate.core.model import Machine, Release, RingState, Rollout, RolloutState, Site
from gate.core.policy import Policy
from gate.core.times import OpenDuration
from gate.flows.expedite import skips
from gate.flows.plan import Begun, plan
from gate.ports import Gate, Store, Tx

HAVE = (RolloutState.RUNNING, RolloutState.HELD, RolloutState.DONE, RolloutState.SUPERSEDED)
ON_THE_WAY = (RolloutState.QUEUED, RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED)
LOOK_BACK = 200
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FORESEE_EVERY = timedelta(hours=1)
WILL_BE_LATE, IS_LATE = "rollout_will_be_late", "rollout_is_late"
ALARMS = (WILL_BE_LATE, IS_LATE)


@dataclass(frozen=True, slots=True)
class Protection:
    """What one ring has of one source. ``version`` empty: nothing yet. ``behind``: newer releases; ``since``: when the
    gate has first seen the oldest of them, None where it has the newest."""

    source: str
    ring: str
    version: str
    newest: str
    behind: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Late:
    """A rollout that has a time to arrive by; ``next_at``: its next ring cannot open earlier."""

    rollout: Rollout
    release: Release
    due_at: datetime
    next_at: datetime


def ages(tx: Tx, source: str, rings: Sequence[str]) -> list[Protection]:
    """Each ring's protection, in order; empty while the source has brought nothing."""
    releases = tx.releases(source, LOOK_BACK)
    if not releases:
        return []
    has: dict[str, str] = {}
    for rollout in tx.rollouts(states=HAVE, source=source, limit=LOOK_BACK, opened=True):
        for ring in _whole(tx, rollout):
            has.setdefault(ring, rollout.release)
        if all(ring in has for ring in rings):
            break
    return [_age(source, ring, has.get(ring), releases) for ring in rings]


def _whole(tx: Tx, rollout: Rollout) -> list[str]:
    """The rings that are open for all of their makes, in order."""
    shut = {one.ring for one in tx.strata(rollout.id) if not one.open}
    return [one.ring for one in tx.rings(rollout.id) if one.opened_at is not None and one.ring not in shut]


def _everywhere(tx: Tx, rollout: Rollout, rings: Sequence[RingState]) -> bool:
    return rings[-1].opened_at is not None and rings[-1].ring in _whole(tx, rollout)


def _age(source: str, ring: str, has: str | None, releases: Sequence[Release]) -> Protection:
    """``releases``: newest first."""
    newer = list[Release]()
    for release in releases:
        if release.id == has:
            since = newer[-1].first_seen_at if newer else None
            return Protection(source, ring, release.version, releases[0].version, len(newer), since)
        newer.append(release)
    return Protection(source, ring, "", releases[0].version, len(newer), newer[-1].first_seen_at)


def due(tx: Tx, gate: Gate, policy: Policy, now: datetime) -> Iterator[Late]:
    """The rollouts that must be everywhere by some time and are not."""
    for rule in policy.sources:
        if rule.must_be_everywhere_by is None:
            continue
        for rollout in tx.rollouts(states=ON_THE_WAY, source=rule.name):
            release, rings = tx.release(rollout.release), tx.rings(rollout.id)
            if release is not None and rings and not _everywhere(tx, rollout, rings):
                due_at, own = release.first_seen_at + rule.must_be_everywhere_by, gate.policy(rollout.policy_version)
                yield Late(rollout, release, due_at, next_at(tx, own, rollout, release, now))


def next_at(tx: Tx, policy: Policy, rollout: Rollout, release: Release, now: datetime) -> datetime:
    """When the next ring can open at the earliest: its floor, and the first soak of a make that is over by then. Where
    the last one is open for some makes: the others may follow at once."""
    if rollout.reached + 1 >= len(policy.rings):
        return now
    following = policy.settings_for(policy.rings[rollout.reached + 1].name, rollout.source)
    at = max(now, release.first_seen_at + following.floor)
    if rollout.reached < 0 or "soak" in skips(policy, rollout, now):
        return at
    ring = policy.rings[rollout.reached].name
    soak = policy.settings_for(ring, rollout.source).soak
    least = now + soak.amount + max(soak.days * DAY - HOUR, timedelta())  # an opening day may have 23 hours
    ends = [one.soak_until or least for one in tx.strata(rollout.id) if one.ring == ring and one.share_members]
    return max(at, min(ends, default=at))


def alarmed(tx: Tx, rollout: Rollout) -> str:
    """The gravest alarm that was raised about this rollout; empty: none, or it is everywhere since."""
    rings = tx.rings(rollout.id)
    if rings and _everywhere(tx, rollout, rings):
        return ""
    kinds = {event.kind for event in tx.events(subject=late_subject(rollout), limit=10)}
    return IS_LATE if IS_LATE in kinds else WILL_BE_LATE if WILL_BE_LATE in kinds else ""


def late_subject(rollout: Rollout) -> str:
    """Where the alarms of a rollout stand, so that they are found however much else happens to it."""
    return f"{rollout.id}/everywhere"


def foresee(store: Store, gate: Gate, now: datetime) -> list[str]:
    """Raises what alarms are due, each once; returns their kinds. Plans are made outside any transaction."""
    with store.read() as tx:
        active = tx.active_policy()
        policy = gate.policy(active.commit) if active else None
        found = [(late, alarmed(tx, late.rollout)) for late in due(tx, gate, policy, now)] if policy else []
        asked = any(raised != IS_LATE and (now > late.due_at or not raised) for late, raised in found)
        fleet = _fleet(tx) if asked else None
        shown = {late.rollout.id: begun(tx, gate, late.rollout, now) for late, raised in found if asked and not raised}
    raised = []
    for late, before in found:
        if before == IS_LATE or fleet is None:
            continue
        kind = IS_LATE if now > late.due_at else ""
        if not kind and not before and not _reaches(gate, late, fleet, shown[late.rollout.id]):
            kind = WILL_BE_LATE
        if kind:
            with store.write() as tx:
                if alarmed(tx, late.rollout) not in (kind, IS_LATE):
                    detail = {"version": late.release.version, "due_at": late.due_at.isoformat()}
                    tx.append(kind, "gate", late_subject(late.rollout), now, detail)
                    raised.append(kind)
    return raised


Fleet = tuple[list[Machine], dict[str, Site], Mapping[str, OpenDuration]]


def _fleet(tx: Tx) -> Fleet:
    machines, sites, after = list[Machine](), dict[str, Site](), ""
    while page := tx.machines(after=after, limit=1000, status="active"):
        machines += page
        after = page[-1].id
    after = ""
    while found := tx.sites(after=after, limit=1000):
        sites |= {one.id: one for one in found}
        after = found[-1].id
    shown = {make: boot_times.learned(tx.boot_times(make)) for make in {one.make for one in machines}}
    return machines, sites, {make: limit for make, limit in shown.items() if limit is not None}


def begun(tx: Tx, gate: Gate, rollout: Rollout, now: datetime) -> Begun:
    """What the rings that are open have shown."""
    policy, position = gate.policy(rollout.policy_version), {one.ring: one.position for one in tx.rings(rollout.id)}
    opened = sorted(ring for ring, at in position.items() if at <= rollout.reached)
    strata = [one for one in tx.strata(rollout.id) if one.ring in opened]
    most = max(sum(one.healthy for one in strata), 1)
    found = tx.healthy_sites(rollout.id, opened, dict.fromkeys(sorted({one.make for one in strata}), most))
    sites = tx.sites_of(sorted({site for of_make in found.values() for site in of_make}))
    healthy = {
        make: [sites[site] for site, machines in of_make.items() if site in sites for _ in range(machines)]
        for make, of_make in found.items()
    }
    available, at_sites = Counter[str](), Counter[str]()
    for one in strata:
        available[one.make] += one.share_members
        at_sites[one.make] += one.sites
    lane = skips(policy, rollout, now)
    return Begun(rollout.reached + 1, healthy, available, at_sites, lane, rollout.expedited_until)


def _reaches(gate: Gate, late: Late, fleet: Fleet, shown: Begun) -> bool:
    """Could the last ring still be open in time, from where the rollout is now?"""
    policy = gate.policy(late.rollout.policy_version)
    source, left = policy.source(late.rollout.source), policy.rings[late.rollout.reached + 1 :]
    if source is None or not left:
        return True
    floor = late.release.first_seen_at + policy.settings_for(left[-1].name, source.name).floor
    if max(floor, late.next_at) > late.due_at:
        return False
    names = {rule.name for rule in left}
    machines = [one for one in fleet[0] if one.ring in names]
    days = max((late.due_at - late.next_at).days + 1, 1)
    shut = replace(policy, rings=tuple(replace(rule, floor=timedelta()) for rule in left))
    share = late.rollout.background
    course = plan(gate, shut, source, machines, fleet[1], late.next_at, days, fleet[2], share, shown)
    opened = course.rings[-1].opened_at
    return opened is not None and opened <= late.due_at
