"""A store in memory, plain to read: every condition is an ``if``. A stateful test holds it to the real one."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from gate.core import habits
from gate.core.boots import Boot
from gate.core.calendar import Interval
from gate.core.claims import BROKEN, FAILURE, HOLDS_SLOT, LEFT_BEHIND
from gate.core.counters import Counts, boots_change, counts, last_tried
from gate.core.errors import Overtaken
from gate.core.evalues import BOOTS, Span
from gate.core.habits import Habit
from gate.core.model import (
    DONE,
    FLEET,
    Action,
    Attribution,
    Budget,
    Claim,
    ClaimState,
    Hold,
    Machine,
    MachineStatus,
    Release,
    RingState,
    Rollout,
    RolloutState,
    Site,
    SiteTime,
    Stratum,
)
from gate.core.mornings import Morning, Party, Point, SiteDay
from gate.core.spans import EVERY_BOOT, Place, SpanRow, Sum, change, hour_of
from gate.ports import (
    ActivePolicy,
    Bad,
    Controls,
    Event,
    GrantLimits,
    Grounds,
    Joining,
    MirrorToken,
    Pointer,
    Proposal,
    Quiet,
    Said,
    Session,
    Sight,
    Standing,
    StoredDecision,
    Trials,
)

NEVER = datetime(1970, 1, 1, tzinfo=UTC)
EVIDENCE = ("exposed", "healthy", "failed", "silent", "recovered", "crashed", "late_failed")


@dataclass
class Everything:
    """All facts."""

    sites: dict[str, Site] = field(default_factory=dict)
    site_flight: dict[str, int] = field(default_factory=dict)
    roles: dict[tuple[str, str], list[int]] = field(default_factory=dict)  # total, busy, broken
    machines: dict[str, Machine] = field(default_factory=dict)
    in_hand: dict[str, str] = field(default_factory=dict)
    releases: dict[str, Release] = field(default_factory=dict)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    rings: dict[tuple[str, str], RingState] = field(default_factory=dict)
    strata: dict[tuple[str, str, str], Stratum] = field(default_factory=dict)
    budgets: dict[tuple[str, str], Budget] = field(default_factory=dict)
    boots: dict[tuple[str, int], Span] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    spans: dict[tuple[str, datetime, str, int], SpanRow] = field(default_factory=dict)
    sums: dict[tuple[str, str, int], Sum] = field(default_factory=dict)
    sights: dict[str, Sight] = field(default_factory=dict)
    explained: set[str] = field(default_factory=set)
    turns: dict[str, datetime] = field(default_factory=dict)
    attributions: list[Attribution] = field(default_factory=list)
    decisions: list[StoredDecision] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    policy: ActivePolicy | None = None
    policy_texts: dict[str, str] = field(default_factory=dict)
    fleet_version: int = 0
    gaps: dict[datetime, datetime] = field(default_factory=dict)
    boot_times: dict[str, dict[int, int]] = field(default_factory=dict)
    boots_told: dict[str, list[Boot]] = field(default_factory=dict)
    days: dict[str, SiteDay] = field(default_factory=dict)
    mornings: dict[str, Morning] = field(default_factory=dict)
    points: dict[tuple[str, datetime], Point] = field(default_factory=dict)
    tokens: dict[str, MirrorToken] = field(default_factory=dict)
    pointers: dict[tuple[str, str], Pointer] = field(default_factory=dict)
    proposals: dict[str, Proposal] = field(default_factory=dict)


class FakeTx:
    """One transaction on everything."""

    def __init__(self, all_of_it: Everything) -> None:
        self.a = all_of_it

    # sites and machines

    def site(self, site_id: str) -> Site | None:
        return self.a.sites.get(site_id)

    def save_site(self, site: Site) -> None:
        old = self.a.sites.get(site.id, site)
        if old.hours != site.hours:
            mine = [one for one in self.a.machines.values() if one.site == site.id]
            self.a.machines |= {one.id: replace(one, habit="") for one in mine}
        self.a.sites[site.id] = replace(site, times=old.times)
        self.a.site_flight.setdefault(site.id, 0)
        self._plan_again(site.id)

    def _plan_again(self, site_id: str) -> None:
        self.a.days[site_id] = replace(self.a.days.get(site_id, SiteDay(site_id, "", None, None, NEVER)), until=NEVER)

    def save_times(self, site_id: str, times: Sequence[SiteTime], before: Sequence[SiteTime]) -> bool:
        site = self.a.sites[site_id]
        if site.times != tuple(before):
            return False
        self.a.sites[site_id] = replace(site, times=tuple(times))
        self._plan_again(site_id)
        return True

    def last_word(self, site_id: str) -> tuple[int, datetime | None]:
        active = [one for one in self.a.machines.values() if one.site == site_id and one.status is MachineStatus.ACTIVE]
        heard = [one.last_seen_at for one in active if one.last_seen_at is not None]
        return len(heard), max(heard, default=None)

    def add_gap(self, start: datetime, end: datetime) -> None:
        self.a.gaps[start] = end

    def gaps(self, since: datetime) -> list[Interval]:
        return [Interval(start, end) for start, end in sorted(self.a.gaps.items()) if end > since]

    def count_boot(self, make: str, step: int) -> None:
        self.a.boot_times.setdefault(make, {}).setdefault(step, 0)
        self.a.boot_times[make][step] += 1

    def boot_times(self, make: str) -> dict[int, int]:
        return dict(self.a.boot_times.get(make, {}))

    def boots_of(self, machine_id: str) -> list[Boot]:
        return list(self.a.boots_told.get(machine_id, []))

    def save_boots(self, machine_id: str, after: Sequence[Boot], before: Sequence[Boot]) -> bool:
        if self.boots_of(machine_id) != list(before):
            return False
        self.a.boots_told[machine_id] = list(after)
        return True

    def memberships(self, rows: Iterable[tuple[str, str, str]]) -> None:
        for name, ring, make in rows:
            self.a.machines[name] = replace(self.a.machines[name], ring=ring, make=make)

    def move_members(self, rows: Sequence[tuple[str, str, str]], fleet_version: int) -> None:
        if self.a.fleet_version != fleet_version:
            raise Overtaken
        self.memberships(rows)
        self.a.fleet_version += 1

    def fleet(self) -> Iterable[tuple[Machine, frozenset[str]]]:
        for name in sorted(self.a.machines):
            machine = self.a.machines[name]
            site = self.a.sites.get(machine.site)
            yield machine, site.labels if site else frozenset()

    def sites_to_plan(self, now: datetime, limit: int) -> list[Site]:
        due = sorted((one.until, one.site) for one in self.a.days.values() if one.until <= now)
        return [self.a.sites[site] for _, site in due][:limit]

    def save_days(self, days: Sequence[SiteDay]) -> None:
        self.a.days |= {one.site: one for one in days}

    def morning_span(self, day: str) -> tuple[datetime, datetime] | None:
        of_day = [one for one in self.a.days.values() if one.day == day]
        boots, opens = (
            [one.boots_at for one in of_day if one.boots_at],
            [one.opens_at for one in of_day if one.opens_at],
        )
        return (min(boots), max(opens)) if boots else None

    def parties(self, day: str, minute: int, now: datetime, rings: tuple[str, ...] = ()) -> list[Party]:
        group = habits.group_of(date.fromisoformat(day))
        found: dict[tuple[datetime, datetime], list[tuple[Machine, bool]]] = {}
        for machine in self.a.machines.values():
            plan = self.a.days[machine.site]
            own = habits.up_from(habits.read(machine.habit))[group]
            heard = machine.last_seen_at is not None and machine.last_seen_at >= now - timedelta(days=14)
            counts = heard and (machine.role in ("till", "server") or own is not None)
            counts = counts and (not rings or machine.ring in rings)
            if machine.status is MachineStatus.ACTIVE and counts and plan.day == day:
                assert plan.boots_at is not None
                assert plan.opens_at is not None
                up = plan.boots_at <= now if own is None else own <= minute
                found.setdefault((plan.opens_at, plan.boots_at), []).append((machine, up))
        parties = [self._party(boots, opens, mine) for (opens, boots), mine in sorted(found.items())]
        return [replace(one, rings=rings) for one in parties]

    def _party(self, boots: datetime, opens: datetime, both: list[tuple[Machine, bool]]) -> Party:
        mine, up = [one for one, _ in both], [one for one, is_up in both if is_up]
        seen = [one for one in up if one.last_seen_at is not None and one.last_seen_at >= boots]
        missing = {one.site for one in up if one not in seen}
        heard = max(one.last_seen_at for one in mine if one.last_seen_at is not None)
        return Party(boots, opens, len(mine), len(up), len(seen), len({one.site for one in mine}), len(missing), heard)

    def morning(self) -> Morning | None:
        return self.a.mornings[max(self.a.mornings)] if self.a.mornings else None

    def mornings(self, before: str, limit: int) -> list[Morning]:
        return [self.a.mornings[day] for day in sorted(self.a.mornings, reverse=True) if day < before][:limit]

    def save_morning(self, morning: Morning) -> None:
        self.a.mornings[morning.day] = morning

    def add_point(self, day: str, point: Point) -> None:
        self.a.points[day, point.at] = point

    def points(self, day: str) -> list[Point]:
        return [point for (of, _), point in sorted(self.a.points.items()) if of == day]

    def machine(self, machine_id: str) -> Machine | None:
        return self.a.machines.get(machine_id)

    def add_machine(self, machine: Machine, keyid: str) -> None:
        self.a.machines[machine.id] = machine

    def accept_machine(self, machine: Machine, at: datetime) -> bool:
        if self.a.machines[machine.id].status is not MachineStatus.PENDING:
            return False
        self.a.machines[machine.id] = replace(machine, accepted_at=at)
        self.a.roles.setdefault((machine.site, machine.role), [0, 0, 0])[0] += 1
        self.a.fleet_version += 1
        return True

    def members(self, heard_since: datetime) -> Iterable[tuple[str, str, str, str, bool]]:
        for machine in self.a.machines.values():
            if machine.status is MachineStatus.ACTIVE and machine.ring:
                plural = _heard_at(machine) >= heard_since and not self.is_sole(machine, heard_since)
                yield machine.id, machine.ring, machine.make, machine.site, plural

    def ring_makes(self, ring: str) -> dict[str, int]:
        active = (one for one in self.a.machines.values() if one.status is MachineStatus.ACTIVE)
        return dict(Counter(one.make for one in active if one.ring == ring))

    def fleet_version(self) -> int:
        return self.a.fleet_version

    def is_sole(self, machine: Machine, heard_since: datetime) -> bool:
        return all(_heard_at(one) < heard_since for one in self._peers(machine))

    def _peers(self, machine: Machine) -> list[Machine]:
        place = machine.site, machine.role, MachineStatus.ACTIVE
        return [
            one
            for one in self.a.machines.values()
            if (one.site, one.role, one.status) == place and one.id != machine.id
        ]

    def machine_by_key(self, keyid: str) -> Machine | None:
        """Here a machine's key id is its own id."""
        found = self.a.machines.get(keyid)
        return None if found is None or found.status is MachineStatus.REVOKED else found

    def session(self, machine_id: str) -> Session | None:
        return None

    def seen(self, machine_id: str, at: datetime, *, down: bool = False) -> None:
        machine = self.a.machines[machine_id]
        self.a.machines[machine_id] = replace(machine, last_seen_at=at, down_at=at if down else None)

    def learn(self, machine_id: str, habit: Habit) -> None:
        self.a.machines[machine_id] = replace(self.a.machines[machine_id], habit=str(habit))

    # releases and rollouts

    def add_release(self, release: Release, manifest: bytes) -> bool:
        if self.release_by_version(release.source, release.version) is not None:
            return False
        self.a.releases[release.id] = release
        return True

    def release(self, release_id: str) -> Release | None:
        return self.a.releases.get(release_id)

    def release_by_version(self, source: str, version: str) -> Release | None:
        found = (one for one in self.a.releases.values() if (one.source, one.version) == (source, version))
        return next(found, None)

    def releases_by_version(self, source: str, versions: Sequence[str]) -> dict[str, Release]:
        found = {version: self.release_by_version(source, version) for version in versions}
        return {version: release for version, release in found.items() if release is not None}

    def next_counter(self, source: str) -> int:
        return max((one.counter for one in self.a.releases.values() if one.source == source), default=0) + 1

    def add_rollout(self, rollout: Rollout, rings: Sequence[RingState], budgets: Sequence[Budget]) -> None:
        self.a.rollouts[rollout.id] = rollout
        self._add_places(rings, budgets)
        for number in range(1, BOOTS + 1):
            self.a.boots[rollout.id, number] = Span(0, 0)

    def begin_rollout(self, rollout: Rollout, rings: Sequence[RingState], budgets: Sequence[Budget]) -> bool:
        if not self.save_rollout(rollout):
            return False
        for rows in (self.a.strata, self.a.rings, self.a.budgets):
            for key in [key for key in rows if key[0] == rollout.id]:
                del rows[key]  # type: ignore[attr-defined]
        self._add_places(rings, budgets)
        return True

    def _add_places(self, rings: Sequence[RingState], budgets: Sequence[Budget]) -> None:
        for ring in rings:
            self.a.rings[ring.rollout, ring.ring] = ring
        for budget in budgets:
            self.a.budgets[budget.rollout, budget.make] = budget

    def rollout(self, rollout_id: str) -> Rollout | None:
        return self.a.rollouts.get(rollout_id)

    def rollouts(
        self, states: Sequence[RolloutState] = (), source: str = "", limit: int = 200, *, opened: bool = False
    ) -> list[Rollout]:
        found = [one for one in reversed(list(self.a.rollouts.values())) if not states or one.state in states]
        return [one for one in found if source in ("", one.source) and (one.reached >= 0 or not opened)][:limit]

    def exposed(self) -> list[tuple[Rollout, datetime | None]]:
        found = []
        for one in self.a.rollouts.values():
            mine = [claim for claim in self.a.claims.values() if claim.rollout == one.id]
            last = max((claim.resolved_at for claim in mine if claim.resolved_at is not None), default=None)
            flying = any(claim.state in HOLDS_SLOT for claim in mine)
            shown = flying or self.a.budgets[one.id, FLEET].failed > 0
            judged = one.state is RolloutState.DONE or (one.state is RolloutState.SUPERSEDED and shown)
            if judged and (flying or last is not None):
                found.append((one, None if flying else last))
        return found

    def rollout_of(self, release_id: str) -> Rollout | None:
        return next((one for one in self.rollouts() if one.release == release_id), None)

    def save_rollout(self, rollout: Rollout) -> bool:
        if self.a.rollouts[rollout.id].version != rollout.version - 1:
            return False
        self.a.rollouts[rollout.id] = rollout
        return True

    def rings(self, rollout_id: str) -> list[RingState]:
        found = [ring for ring in self.a.rings.values() if ring.rollout == rollout_id]
        return sorted(found, key=lambda ring: ring.position)

    def strata(self, rollout_id: str) -> list[Stratum]:
        found = [stratum for stratum in self.a.strata.values() if stratum.rollout == rollout_id]
        return sorted(found, key=lambda stratum: (stratum.ring, stratum.make))

    def standing(self, rollout_id: str, ring: str, make: str) -> Standing:
        return Standing(
            self.a.rings.get((rollout_id, ring)),
            self.a.strata.get((rollout_id, ring, make)),
            self.a.budgets.get((rollout_id, make)),
            self.a.budgets.get((rollout_id, FLEET)),
        )

    def budgets(self, rollout_id: str) -> list[Budget]:
        return [budget for budget in self.a.budgets.values() if budget.rollout == rollout_id]

    def in_flight_before(self, rollout_id: str) -> dict[str, int]:
        found: Counter[str] = Counter()
        mine = self.a.rollouts[rollout_id]
        for one in self.a.budgets.values():
            other = self.a.rollouts[one.rollout]
            before = other.source == mine.source and other.id != mine.id and other.state in LEFT_BEHIND
            if before and one.in_flight:
                found[one.make] += one.in_flight
        return dict(found)

    def open_ring(self, ring: RingState, strata: Sequence[Stratum], *, first_batch: int) -> None:
        old = self.a.rings[ring.rollout, ring.ring]
        self.a.rings[ring.rollout, ring.ring] = replace(
            old, opened_at=ring.opened_at, members=ring.members, cap=ring.cap
        )
        for stratum in strata:
            key = (stratum.rollout, stratum.ring, stratum.make)
            budget = Budget(stratum.rollout, stratum.make, 0, first_batch, 0, 0, False)
            self.a.budgets.setdefault((stratum.rollout, stratum.make), budget)
            if key not in self.a.strata:
                self.a.strata[key] = stratum
            elif stratum.open:
                self.a.strata[key] = replace(self.a.strata[key], open=True, opened_at=stratum.opened_at)

    def save_strata_times(self, strata: Sequence[Stratum]) -> None:
        for one in strata:
            key = (one.rollout, one.ring, one.make)
            self.a.strata[key] = replace(self.a.strata[key], met_at=one.met_at, soak_until=one.soak_until)

    def set_limits(self, budgets: Sequence[Budget]) -> None:
        for new in budgets:
            old = self.a.budgets[new.rollout, new.make]
            counted = (old.in_flight, old.healthy, old.failed, old.tried, old.tried_failed)
            assert counted == (new.in_flight, new.healthy, new.failed, new.tried, new.tried_failed)
            self.a.budgets[new.rollout, new.make] = new

    def past_trials(self, limit: int) -> Span:
        tried = failed = 0
        well = [
            one
            for one in self.rollouts((RolloutState.DONE, RolloutState.SUPERSEDED, RolloutState.RETIRED))
            if one.halted_at is None
        ]
        for one in well[:limit]:
            fleet = self.a.budgets[one.id, FLEET]
            explained = sum(stratum.explained for stratum in self.strata(one.id))
            tried, failed = tried + fleet.tried + explained, failed + fleet.tried_failed + explained
        return Span(tried, failed)

    def grounds(self, rollout_id: str, now: datetime) -> Grounds:
        release = self.release(self.a.rollouts[rollout_id].release)
        assert release is not None
        said = {one.ring: Said(one.verdict, one.makes, one.reasons) for one in self._decided(rollout_id)}
        return Grounds(
            release,
            self.rings(rollout_id),
            self.strata(rollout_id),
            {one.make: one for one in self.budgets(rollout_id)},
            self.sight(rollout_id),
            self.morning(),
            said,
            self._approved_by(rollout_id),
            self._overdue(rollout_id, now),
        )

    def _overdue(self, rollout_id: str, now: datetime) -> dict[tuple[str, str], int]:
        found: Counter[tuple[str, str]] = Counter()
        for one in self.a.claims.values():
            late = one.state is ClaimState.GRANTED and one.lease_until <= now and one.action == Action.INSTALL
            if one.rollout == rollout_id and late and one.cohort:
                found[one.ring, one.make] += 1
        return dict(found)

    def _decided(self, rollout_id: str) -> list[StoredDecision]:
        rings = {*(ring.ring for ring in self.rings(rollout_id)), DONE}
        return [one for one in self.a.decisions if one.rollout == rollout_id and one.ring in rings]

    def trials(self, rollout_id: str) -> Trials:
        return Trials(
            self.spans(rollout_id),
            {(make, boot): one for (rollout, make, boot), one in self.a.sums.items() if rollout == rollout_id},
            {number: span for (rollout, number), span in self.a.boots.items() if rollout == rollout_id},
        )

    def healthy_sites(
        self, rollout_id: str, rings: Sequence[str], makes: Mapping[str, int]
    ) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {make: {} for make in makes}
        for claim in sorted(self.a.claims.values(), key=lambda one: (str(one.resolved_at), one.site)):
            mine = (claim.rollout, claim.state) == (rollout_id, ClaimState.HEALTHY) and claim.ring in rings
            sites = found.get(claim.make, {})
            room = claim.site in sites or len(sites) < makes.get(claim.make, 0)
            if mine and claim.cohort and room:
                sites[claim.site] = sites.get(claim.site, 0) + 1
        return found

    def sites_of(self, ids: Sequence[str]) -> dict[str, Site]:
        return {name: self.a.sites[name] for name in ids if name in self.a.sites}

    def _approved_by(self, rollout_id: str) -> dict[str, tuple[str, ...]]:
        found: dict[str, set[str]] = {}
        for ring in self.rings(rollout_id):
            for one in self.a.events:
                if one.subject == f"{rollout_id}/{ring.ring}" and one.kind == "ring_approved":
                    found.setdefault(ring.ring, set()).add(one.actor)
                if one.subject == f"{rollout_id}/{ring.ring}" and one.kind == "approval_void":
                    found.pop(ring.ring, None)
        return {ring: tuple(sorted(people)) for ring, people in found.items()}

    def opened_in(self, rollouts: Sequence[str]) -> Mapping[str, frozenset[str]]:
        stopped = {
            budget.make for one in rollouts for budget in self.budgets(one) if budget.stopped or budget.extend_to
        }
        found: dict[str, frozenset[str]] = {}
        for row in (row for one in rollouts for row in self.strata(one)):
            if row.open and row.make not in stopped:
                found[row.ring] = found.get(row.ring, frozenset()) | {row.make}
        return found

    # claims

    def claim(self, claim_id: str) -> Claim | None:
        return self.a.claims.get(claim_id)

    def claim_of(self, machine_id: str, rollout_id: str) -> Claim | None:
        found = [c for c in self.a.claims.values() if (c.machine, c.rollout) == (machine_id, rollout_id)]
        return max(found, key=lambda claim: claim.granted_at, default=None)

    def claim_in_hand(self, machine_id: str, claim_id: str) -> Claim | None:
        return self.claim(claim_id)

    def live_claim(self, machine_id: str) -> Claim | None:
        return self.a.claims.get(self.a.in_hand.get(machine_id, ""))

    def claims(self, rollout_id: str, *, states: Sequence[ClaimState] = (), limit: int = 500) -> list[Claim]:
        found = [c for c in self.a.claims.values() if c.rollout == rollout_id and (not states or c.state in states)]
        return sorted(found, key=lambda claim: claim.granted_at, reverse=True)[:limit]

    def failures(
        self, rollout_id: str, limit: int, after: tuple[Claim, bool] | None = None
    ) -> list[tuple[Claim, bool]]:
        def key(one: tuple[Claim, bool]) -> tuple[bool, float, str]:
            return one[1], -one[0].granted_at.timestamp(), one[0].id

        mine = self.claims(rollout_id, states=tuple(FAILURE), limit=10**6)
        found = [(claim, claim.id in self.a.explained) for claim in mine if claim.action == Action.INSTALL]
        return sorted((one for one in found if after is None or key(one) > key(after)), key=key)[:limit]

    def grant(self, claim: Claim, limits: GrantLimits) -> str | None:
        refused = self.would_refuse(claim, limits)
        if refused is None:
            self.a.in_hand[claim.machine] = claim.id
            self.a.claims[claim.id] = claim
            self._count(claim, counts(claim))
        return refused

    def would_refuse(self, claim: Claim, limits: GrantLimits) -> str | None:
        rollout = self.a.rollouts[claim.rollout]
        if rollout.state not in (RolloutState.RUNNING, RolloutState.DONE):
            word = {RolloutState.HALTED: "halted", RolloutState.HELD: "held", RolloutState.QUEUED: "held"}
            return word.get(rollout.state, "superseded")
        ring = self.a.rings[claim.rollout, claim.ring]
        if ring.opened_at is None:
            return "ring_not_open"
        if ring.cap and ring.in_flight >= ring.cap:
            return "cap_reached"
        stratum = self.a.strata.get((claim.rollout, claim.ring, claim.make))
        if stratum is None or not stratum.open:
            return "make_unproven"
        for make in (claim.make, FLEET):
            budget = self.a.budgets.get((claim.rollout, make))
            if budget is None:
                return "make_unproven"
            if budget.stopped:
                return "unexplained_failure"
            if budget.in_flight >= budget.limit:
                return "budget_reached"
            if limits.sole and make != FLEET and budget.healthy < limits.sole_after:
                return "last_of_role"
        total, busy, broken = self.a.roles[claim.site, claim.role]
        allowed = limits.per_site or max((total - broken) // 2, 1)
        if self.a.site_flight[claim.site] >= allowed:
            return "site_limit"
        if limits.one_of_make and any(
            other.site == claim.site and other.state in HOLDS_SLOT
            for other in self.a.claims.values()
            if (other.rollout, other.make) == (claim.rollout, claim.make)
        ):
            return "site_limit"
        machine = self.a.machines[claim.machine]
        theirs = [one for one in self.a.claims.values() if one.state in HOLDS_SLOT or one.state in BROKEN]
        taken = {one.machine for one in theirs if not one.recovered}
        unheard = [one for one in self._peers(machine) if _heard_at(one) < limits.heard_since]
        working = total - sum(one.id not in taken for one in unheard)
        if not ((working <= 1 and busy == 0) or busy < working - 1):
            return "last_of_role"
        if claim.machine in self.a.in_hand or machine.status is not MachineStatus.ACTIVE:
            return "other_in_flight"
        return None

    def move(self, before: Claim, after: Claim) -> bool:
        if self.a.claims[before.id].version != before.version:
            return False
        self.a.claims[before.id] = after
        self._count(after, counts(after).minus(counts(before)))
        for number, (tried, bad) in boots_change(before, after).items():
            self._try(after.rollout, number, tried, bad)
        self._span(after, change(before, after))
        lost = after.state is ClaimState.SILENT and not after.recovered
        if after.state not in HOLDS_SLOT and not lost and self.a.in_hand.get(after.machine) == after.id:
            del self.a.in_hand[after.machine]
        return True

    def _try(self, rollout: str, number: int, tried: int, failed: int) -> None:
        old = self.a.boots[rollout, number]
        self.a.boots[rollout, number] = Span(old.exposed + tried, old.failed + failed)

    def _span(self, claim: Claim, moved: Mapping[int, tuple[int, int]]) -> None:
        if claim.tried_at is None:
            return
        hour = hour_of(claim.tried_at)
        for boot, (tried, bad) in moved.items():
            key = (claim.rollout, hour, claim.make, boot)
            old = self.a.spans.get(key, SpanRow(claim.make, boot, hour))
            self.a.spans[key] = replace(old, exposed=old.exposed + tried, failed=old.failed + bad)

    def _count(self, claim: Claim, change: Counts) -> None:
        ring = self.a.rings[claim.rollout, claim.ring]
        self.a.rings[claim.rollout, claim.ring] = replace(ring, in_flight=ring.in_flight + change.flight)
        key = (claim.rollout, claim.ring, claim.make)
        stratum = self.a.strata[key]
        moved = {name: getattr(stratum, name) + getattr(change, name) for name in EVIDENCE}
        self.a.strata[key] = replace(stratum, **moved)
        for make in (claim.make, FLEET):
            old = self.a.budgets[claim.rollout, make]
            self.a.budgets[claim.rollout, make] = replace(
                old,
                in_flight=old.in_flight + change.flight,
                healthy=old.healthy + change.healthy,
                failed=old.failed + change.bad,
                tried=old.tried + change.tried,
                tried_failed=old.tried_failed + change.bad,
            )
        self.a.site_flight[claim.site] += change.busy
        role = self.a.roles[claim.site, claim.role]
        role[1] += change.busy
        role[2] += change.broken

    def sites_hit(self, rollout_id: str, rings: Sequence[str]) -> tuple[int, int]:
        kept = (ClaimState.GRANTED, ClaimState.EXPIRED, ClaimState.GONE)
        mine = [c for c in self.a.claims.values() if c.rollout == rollout_id and c.action != Action.RECALL]
        failed = {c.site for c in mine if c.ring in rings and c.state in FAILURE and c.id not in self.a.explained}
        return len(failed), min(len({c.site for c in mine if c.state not in kept}), 2)

    def due_claims(self, now: datetime, limit: int = 500) -> list[Claim]:
        due = [c for c in self.a.claims.values() if c.state in HOLDS_SLOT and c.deadline_at <= now]
        return sorted(due, key=lambda claim: claim.deadline_at)[:limit]

    def count_watched(self, rollout_id: str) -> int:
        return sum(one.rollout == rollout_id and one.watch_at is not None for one in self.a.claims.values())

    def lost_at_site(self, rollout_id: str, site: str, since: datetime) -> bool:
        return any(
            (one.rollout, one.site, one.recovered) == (rollout_id, site, False)
            and one.state in (ClaimState.SILENT, ClaimState.RELAPSED)
            and one.resolved_at is not None
            and one.resolved_at > since
            for one in self.a.claims.values()
        )

    def count_bad(self, rollout_id: str, wanted: Sequence[Bad]) -> list[int]:
        return [
            sum(
                claim.rollout == rollout_id
                and claim.ring in one.rings
                and claim.state in one.kinds
                and (at := claim.crashed_at if one.crashed else claim.resolved_at) is not None
                and at >= one.since
                and claim.id not in self.a.explained
                for claim in self.a.claims.values()
            )
            for one in wanted
        ]

    def quiet_since(
        self, rollout_id: str, rings: Sequence[str], seen_before: datetime, limit: int, after: Quiet | None = None
    ) -> list[Quiet]:
        def quiet(claim: Claim) -> bool:
            seen = self.a.machines[claim.machine].last_seen_at
            return claim.granted_at <= seen_before and (seen is None or seen <= seen_before)

        flying = [c for c in self.a.claims.values() if c.rollout == rollout_id and c.state in HOLDS_SLOT]
        found = [claim for claim in flying if claim.ring in rings and quiet(claim)]
        place = lambda one: (self.a.machines[one.machine].last_seen_at or NEVER, one.id)  # noqa: E731
        found = sorted(found, key=place)
        found = [one for one in found if after is None or place(one) > place(after.claim)][:limit]
        return [
            Quiet(claim, self.a.machines[claim.machine], self.a.sites.get(claim.site), self.last_word(claim.site))
            for claim in found
        ]

    def claims_of(self, machine_id: str, rollout_id: str) -> list[Claim]:
        found = [c for c in self.a.claims.values() if (c.machine, c.rollout) == (machine_id, rollout_id)]
        return sorted(found, key=lambda claim: claim.granted_at, reverse=True)

    def rollouts_of(self, machine_id: str) -> list[Rollout]:
        mine = {c.rollout for c in self.a.claims.values() if c.machine == machine_id}
        return [one for one in reversed(list(self.a.rollouts.values())) if one.id in mine]

    def watched_of(self, machine_id: str, now: datetime) -> list[Claim]:
        mine = [c for c in self.a.claims.values() if (c.machine, c.state) == (machine_id, ClaimState.HEALTHY)]
        watched = [c for c in mine if c.watch_until is not None and c.watch_until > now]
        return sorted(watched, key=lambda claim: claim.id)

    def relapsed_of(self, machine_id: str, now: datetime) -> list[Claim]:
        mine = [c for c in self.a.claims.values() if (c.machine, c.state) == (machine_id, ClaimState.RELAPSED)]
        late = [c for c in mine if c.crashed_at is None and c.watch_until is not None and c.watch_until > now]
        return sorted(late, key=lambda claim: claim.id)

    def revoke_machine(self, machine_id: str, at: datetime) -> bool:
        machine = self.a.machines[machine_id]
        if machine.status is MachineStatus.REVOKED:
            return False
        self.a.machines[machine_id] = replace(machine, status=MachineStatus.REVOKED)
        if machine.status is MachineStatus.ACTIVE:
            self.a.roles[machine.site, machine.role][0] -= 1
            self.a.fleet_version += 1
        return True

    # tokens of stock clients

    def add_mirror_token(self, token: MirrorToken, pointer: Pointer) -> None:
        self.a.tokens[token.id] = token
        self.a.pointers.setdefault((token.source, token.holder), pointer)

    def mirror_tokens(self, source: str = "", holder: str = "") -> list[MirrorToken]:
        newest = sorted(self.a.tokens.values(), key=lambda one: (-one.created_at.timestamp(), one.id))
        return [one for one in newest if (source or one.source, holder or one.holder) == (one.source, one.holder)]

    def revoke_mirror_token(self, token_id: str, at: datetime) -> bool:
        token = self.a.tokens.get(token_id)
        if token is None or token.revoked_at is not None:
            return False
        self.a.tokens[token_id] = replace(token, revoked_at=at)
        if all(one.revoked_at is not None for one in self.mirror_tokens(token.source, token.holder)):
            self.a.pointers.pop((token.source, token.holder), None)
        return True

    def pointers(self, source: str = "") -> list[Pointer]:
        found = sorted(self.a.pointers.values(), key=lambda one: (one.source, one.holder))
        return [one for one in found if source in ("", one.source)]

    def machines(
        self, *, after: str = "", limit: int = 100, site: str = "", ring: str = "", make: str = "", status: str = ""
    ) -> list[Machine]:
        wanted = {"site": site, "ring": ring, "make": make, "status": status}
        found = [one for one in self.a.machines.values() if one.id > after]
        found = [one for one in found if all(getattr(one, name) == said for name, said in wanted.items() if said)]
        return sorted(found, key=lambda one: one.id)[:limit]

    def leave(self, before: Claim, after: Claim) -> bool:
        if not self.move(before, after):
            return False
        if before.id in self.a.explained:
            self.a.explained.remove(before.id)
            self._excuse(before, -1)
        return True

    def leave_ring(
        self, rollout_id: str, ring: str, make: str, *, share: bool, site: bool, plural: bool = False
    ) -> bool:
        old = self.a.strata.get((rollout_id, ring, make))
        if old is None or old.members == 0:
            return False
        self.a.strata[rollout_id, ring, make] = replace(
            old,
            members=old.members - 1,
            share_members=max(old.share_members - share, 0),
            sites=max(old.sites - site, 0),
            plural=max(old.plural - plural, 0),
        )
        whole = self.a.rings[rollout_id, ring]
        self.a.rings[rollout_id, ring] = replace(whole, members=max(whole.members - 1, 0))
        return True

    def user(self, user_id: str) -> None:
        """Nobody here has an account: a word is whose name it carries."""

    def proposals(self, state: str = "open", subject: str = "", now: datetime | None = None) -> list[Proposal]:
        found = [one for one in self.a.proposals.values() if one.state == state and subject in ("", one.subject)]
        found = [one for one in found if now is None or one.expires_at > now]
        return sorted(found, key=lambda one: one.proposed_at, reverse=True)

    def add_proposal(self, proposal: Proposal) -> None:
        self.a.proposals[proposal.id] = proposal

    def sign_proposal(self, proposal_id: str, user: str, sha256: str, now: datetime) -> bool:
        one = self.a.proposals[proposal_id]
        if (one.state, one.sha256) != ("open", sha256) or one.expires_at <= now or user in one.signatures:
            return False
        self.a.proposals[proposal_id] = replace(one, signatures=(*one.signatures, user))
        return True

    def enact_proposal(self, proposal_id: str, now: datetime) -> bool:
        one = self.a.proposals[proposal_id]
        if one.state != "open" or one.expires_at <= now:
            return False
        self.a.proposals[proposal_id] = replace(one, state="enacted")
        return True

    def void_waivers(self, rollout_id: str) -> list[str]:
        shut = {key[1] for key, one in self.a.strata.items() if key[0] == rollout_id and not one.open}
        mine = [one for one in self.rings(rollout_id) if one.opened_at is None or one.ring in shut]
        found = [one for one in mine if one.waived_at is not None]
        self.a.rings |= {(rollout_id, one.ring): replace(one, waived_at=None) for one in found}
        return [one.ring for one in found]

    def add_make(self, rollout_id: str, ring: str, make: str, *, first_batch: int, opened: bool) -> None:
        key = (rollout_id, ring, make)
        self.a.strata.setdefault(key, Stratum(rollout_id, ring, make, opened, 0, 0, 1.0, 0, 0))
        budget = Budget(rollout_id, make, 0, first_batch, 0, 0, False)
        self.a.budgets.setdefault((rollout_id, make), budget)

    def join_ring(self, joining: Joining, *, first_batch: int, opened: bool) -> None:
        key = joining.rollout, joining.ring, joining.make
        old = self.a.strata.get(key, Stratum(*key, opened, 0, 0, 1.0, 0, 0))
        self.a.strata[key] = replace(
            old,
            members=old.members + 1,
            share_members=old.share_members + joining.share,
            sites=old.sites + joining.site,
            plural=old.plural + joining.plural,
        )
        if (joining.rollout, joining.make) not in self.a.budgets:
            fresh = Budget(joining.rollout, joining.make, 0, first_batch, 0, 0, False)
            self.a.budgets[joining.rollout, joining.make] = fresh
        whole = self.a.rings[joining.rollout, joining.ring]
        self.a.rings[joining.rollout, joining.ring] = replace(whole, members=whole.members + 1)

    def take_turn(self, name: str, now: datetime, every: timedelta) -> bool:
        last = self.a.turns.get(name)
        if last is not None and abs(now - last) < every:
            return False
        self.a.turns[name] = now
        return True

    def attribute(self, said: Attribution) -> None:
        self.a.attributions.append(said)

    def attributions(self, rollout_id: str) -> list[Attribution]:
        return [one for one in self.a.attributions if one.rollout == rollout_id]

    def explain(self, claim_id: str) -> bool:
        claim = self.a.claims.get(claim_id)
        if claim is None or not counts(claim).bad or claim_id in self.a.explained:
            return False
        self.a.explained.add(claim_id)
        self._excuse(claim, 1)
        return True

    def _excuse(self, claim: Claim, more: int) -> None:
        key = (claim.rollout, claim.ring, claim.make)
        self.a.strata[key] = replace(self.a.strata[key], explained=self.a.strata[key].explained + more)
        for make in (claim.make, FLEET):
            old = self.a.budgets[claim.rollout, make]
            self.a.budgets[claim.rollout, make] = replace(
                old, failed=old.failed - more, tried=old.tried - more, tried_failed=old.tried_failed - more
            )
        away = {EVERY_BOOT: (-more, -more)}
        if last_tried(claim) <= BOOTS:
            self._try(claim.rollout, last_tried(claim), -more, -more)
            away[last_tried(claim)] = (-more, -more)
        self._span(claim, away)

    def holds(self, now: datetime) -> list[Hold]:
        return []

    # machines that a rollout is compared with

    def controls(self, rollout_id: str, since: datetime, step: timedelta) -> list[Controls]:
        kept = (ClaimState.GRANTED, ClaimState.EXPIRED)
        exposed = {c.site for c in self.a.claims.values() if c.rollout == rollout_id and c.state not in kept}
        found: Counter[Controls] = Counter()
        for one in self.a.machines.values():
            joined = one.accepted_at is not None and one.accepted_at <= since
            free = one.status is MachineStatus.ACTIVE and one.site not in exposed and one.id not in self.a.in_hand
            if not joined or not free or one.last_seen_at is None:
                continue
            site, ago = self.a.sites[one.site], one.last_seen_at - since
            heard = None if ago < timedelta() else since + ago // step * step
            kind = site.hours, site.land, site.always_on, site.times
            found[Controls(*kind, one.make, heard, one.down_at is not None, 0)] += 1
        return [replace(one, machines=count) for one, count in found.items()]

    def spans(self, rollout_id: str) -> list[SpanRow]:
        mine = [(key, row) for key, row in self.a.spans.items() if key[0] == rollout_id]
        stale = {
            key[:3]
            for key, row in mine
            if row.closed and (row.folded_exposed, row.folded_failed) != (row.exposed, row.failed)
        }
        return [row for key, row in mine if not row.closed or key[:3] in stale]

    def look_due(self, rollout_id: str, before: datetime) -> bool:
        return any(
            row.boot == EVERY_BOOT
            and row.failed > row.failed_then
            and (row.looked_at is None or row.looked_at <= before)
            for key, row in self.a.spans.items()
            if key[0] == rollout_id and not row.closed
        )

    def looked(self, rollout_id: str, row: SpanRow) -> None:
        key = (rollout_id, row.hour, row.make, row.boot)
        self.a.spans[key] = replace(
            self.a.spans[key],
            controls=row.controls,
            controls_failed=row.controls_failed,
            looked_at=row.looked_at,
            failed_then=row.failed_then,
        )

    def fold(self, rollout_id: str, rows: Sequence[SpanRow], more: Mapping[Place, Sum]) -> None:
        for row in rows:
            key = (rollout_id, row.hour, row.make, row.boot)
            folded = replace(self.a.spans[key], closed=True, folded_exposed=row.exposed, folded_failed=row.failed)
            self.a.spans[key] = folded
        for (make, boot), one in more.items():
            place = (rollout_id, make, boot)
            self.a.sums[place] = self.a.sums.get(place, Sum()).plus(one)

    def drop_span(self, rollout_id: str, hour: datetime, make: str) -> None:
        for key in [key for key in self.a.spans if key[:3] == (rollout_id, hour, make)]:
            del self.a.spans[key]

    def sight(self, rollout_id: str) -> Sight:
        return replace(self.a.sights.get(rollout_id, Sight()), gap_end_at=max(self.a.gaps.values(), default=None))

    def save_sight(self, rollout_id: str, sight: Sight) -> None:
        self.a.sights[rollout_id] = replace(sight, gap_end_at=None)

    # decisions, events, policy

    def add_decision(self, decision: StoredDecision) -> int:
        self.a.decisions.append(replace(decision, id=len(self.a.decisions) + 1))
        return len(self.a.decisions)

    def last_decision(self, rollout_id: str, ring: str) -> StoredDecision | None:
        found = [one for one in self.a.decisions if (one.rollout, one.ring) == (rollout_id, ring)]
        return found[-1] if found else None

    def append(
        self,
        kind: str,
        actor: str,
        subject: str,
        at: datetime,
        detail: Mapping[str, Any] | None = None,
        because: str = "",
        policy_version: str = "",
    ) -> None:
        index = len(self.a.events)
        self.a.events.append(Event(index, at, kind, actor, subject, dict(detail or {}), because, policy_version))

    def afterwards(self, key: Hashable, touches: str, act: Callable[[], None]) -> None:
        act()

    def events(self, *, subject: str = "", before: int | None = None, limit: int = 100) -> list[Event]:
        found = reversed(self.a.events)
        return [one for one in found if subject in ("", one.subject) and (before is None or one.index < before)][:limit]

    def active_policy(self) -> ActivePolicy | None:
        return self.a.policy

    def activate_policy(self, row: ActivePolicy, before: str) -> bool:
        if (self.a.policy.commit if self.a.policy else "") != before:
            return False
        self.a.policy = row
        return True

    def keep_policy_text(self, commit: str, text: str) -> None:
        self.a.policy_texts.setdefault(commit, text)

    def policy_text(self, commit: str) -> str | None:
        return self.a.policy_texts.get(commit)

    def frozen_policies(self) -> list[str]:
        return sorted({one.policy_version for one in self.a.rollouts.values()})


def _heard_at(machine: Machine) -> datetime:
    return machine.last_seen_at or machine.accepted_at or NEVER


class FakeStore:
    """Transactions that are rolled back by any exception."""

    def __init__(self) -> None:
        self.everything = Everything()

    @contextmanager
    def write(self) -> Iterator[FakeTx]:
        before = copy.deepcopy(self.everything)
        try:
            yield FakeTx(self.everything)
        except BaseException:
            self.everything = before
            raise

    @contextmanager
    def read(self) -> Iterator[FakeTx]:
        yield FakeTx(copy.deepcopy(self.everything))
