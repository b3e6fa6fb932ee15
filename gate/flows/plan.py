"""When could a release reach each ring at the earliest, and how many machines could be lost before anybody knows?

- The best course: every machine asks as soon as it may, is healthy as soon as it can be, and people approve at once.
  So a real fleet is later. Only a machine that somebody reboots by hand may be earlier: with ``reboot: natural`` the
  plan waits for its next opening.
- What decides is what decides in earnest: ``opening.judge`` on facts, the exposure budget, the calendar's windows,
  freezes and soaks. Only the counting of claims, which the store does by conditional statements, is done here.
- Exposure until detection is the worst of one ring: its machines are all bad, all earlier ones were healthy.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gate.core import background, calendar, evidence, makes, opening
from gate.core.admission import EARLY_RINGS
from gate.core.claims import WORKING
from gate.core.facts import Facts, GateRule, Shown
from gate.core.model import DONE, FLEET, Budget, Machine, Release, Site, Trust
from gate.core.policy import Policy, RingSettings, SourceRule
from gate.core.times import OpenDuration
from gate.core.verdict import Decision, Verdict
from gate.flows import when
from gate.flows.claims import renewed
from gate.flows.placing import Places
from gate.ports import Gate

SALT = "plan"


@dataclass(frozen=True, slots=True)
class Begun:
    """What a running rollout has shown, where the plan is of the rings that are left; all by make.

    ``rings``: how many are open before them; ``healthy``: the site of each healthy machine; ``available``, ``sites``:
    what the open rings have; the fast lane skips ``skips`` until ``skips_until``."""

    rings: int = 0
    healthy: Mapping[str, Sequence[Site]] = field(default_factory=dict)
    available: Mapping[str, int] = field(default_factory=dict)
    sites: Mapping[str, int] = field(default_factory=dict)
    skips: frozenset[str] = frozenset()
    skips_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """What a ring waited for, under which rule, and until when; ``None``: to the end of the plan."""

    code: str
    rule: str
    until: datetime | None
    freeze: str = ""


@dataclass(frozen=True, slots=True)
class RingPlan:
    """One ring. ``at_risk``: machines that could have a bad release before its first silence counts, ``silent_at``."""

    ring: str
    members: int
    opened_at: datetime | None
    all_open_at: datetime | None
    first_at: datetime | None
    silent_at: datetime | None
    at_risk: int
    held: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The best course of one release."""

    source: str
    at: datetime
    rings: tuple[RingPlan, ...]
    done_at: datetime | None


@dataclass(slots=True)
class _Machine:
    """One machine that its ring's share takes, or that follows with a later one."""

    id: str
    site: Site
    role: str
    ring: int
    make: str
    sole: bool
    later: int  # the last ring whose pick it meets
    healthy_at: datetime | None = None


@dataclass(slots=True)
class _Ring:
    """How far one ring has come; the last is the rollout's end and has no machines of its own."""

    name: str
    settings: RingSettings | None
    makes: dict[str, list[_Machine]]
    plural: Counter[str]
    open: dict[str, datetime] = field(default_factory=dict)
    met: dict[str, datetime] = field(default_factory=dict)  # make -> end of its soak
    first_at: datetime | None = None
    silent_at: datetime | None = None
    held: dict[str, Held] = field(default_factory=dict)


def plan(
    gate: Gate,
    policy: Policy,
    source: SourceRule,
    machines: Sequence[Machine],
    sites: Mapping[str, Site],
    at: datetime,
    days: int,
    learned: Mapping[str, OpenDuration] | None = None,
    share: float | None = None,
    begun: Begun | None = None,
) -> Plan:
    """The best course of a release of ``source`` that appears at ``at``, over ``days`` days; ``learned``: deadlines;
    ``share``: the background, None where no fleet is known that it was measured on; ``begun``: of a rollout that runs,
    whose first rings are not among those of ``policy``."""
    until = at + timedelta(days=days)
    return _Course(gate, policy, source, machines, sites, at, until, learned or {}, share, begun or Begun()).run()


def exposure(
    gate: Gate,
    policy: Policy,
    source: SourceRule,
    machines: Sequence[Machine],
    sites: Mapping[str, Site],
    at: datetime,
    share: float | None = None,
) -> list[int]:
    """``at_risk`` of each ring, without the course."""
    course = _Course(gate, policy, source, machines, sites, at, at, {}, share, Begun())
    return [course.at_risk(index) for index in range(len(policy.rings))]


class _Course:
    """One run in virtual time: machines in flight, and the moments at which something may change."""

    def __init__(
        self,
        gate: Gate,
        policy: Policy,
        source: SourceRule,
        machines: Sequence[Machine],
        sites: Mapping[str, Site],
        at: datetime,
        until: datetime,
        learned: Mapping[str, OpenDuration],
        share: float | None,
        begun: Begun,
    ) -> None:
        self.gate, self.policy, self.source, self.begun = gate, policy, source, begun
        self.at, self.now, self.until, self.learned = at, at, until, learned
        self.background = background.of(policy, 0, 0) if share is None else share
        self.release = Release("", source.name, "", source.kind, source.boot_critical, 0, (), Trust.VENDOR_SIGNED, at)
        self.per_role = Counter((one.site, one.role) for one in machines)
        working = [one for one in machines if (one.last_seen_at or one.accepted_at or at) >= at - WORKING]
        self.working = Counter((one.site, one.role) for one in working)
        self.rings = self._rings(machines, sites)
        self.waiting: list[_Machine] = []
        self.flying: set[str] = set()
        self.landing: list[tuple[datetime, str, _Machine]] = []
        self.aloft: Counter[tuple[str, ...]] = Counter()  # machines in flight by make, site, ring
        self.waits: dict[tuple[object, ...], datetime | None] = {}
        self.healthy: Counter[str] = Counter({make: len(found) for make, found in begun.healthy.items()})
        self.times: list[datetime] = [at]
        self.done_at: datetime | None = None

    def run(self) -> Plan:
        """Until it is done, nothing is left to happen, or the time is over."""
        while self.times and self.done_at is None:
            self.now = heapq.heappop(self.times)
            if self.now > self.until:
                break
            while self.times and self.times[0] == self.now:
                heapq.heappop(self.times)
            self._land()
            while self._judge_all():
                pass
            self._claim()
        rings = tuple(self._told(index) for index in range(len(self.policy.rings)))
        return Plan(self.source.name, self.at, rings, self.done_at)

    def _rings(self, machines: Sequence[Machine], sites: Mapping[str, Site]) -> list[_Ring]:
        found: dict[str, dict[str, list[_Machine]]] = defaultdict(lambda: defaultdict(list))
        places, order = Places(self.policy), {rule.name: index for index, rule in enumerate(self.policy.rings)}
        for machine in machines:
            site = sites.get(machine.site) or Site(machine.site, machine.site)
            ring, make = places.of(machine, site.labels)
            if ring:
                sole, later = self.working[machine.site, machine.role] <= 1, order[places.last_of(machine, site.labels)]
                found[ring][make].append(_Machine(machine.id, site, machine.role, order[ring], make, sole, later))
        rings, following = list[_Ring](), defaultdict[int, list[_Machine]](list)
        for index, rule in enumerate(self.policy.rings):
            settings = self.policy.settings_for(rule.name, self.source.name)
            taken, plural = defaultdict[str, list[_Machine]](list), Counter[str]()
            for make, members in sorted(found[rule.name].items()):
                taken[make] = _sharing(members, settings)
                plural[make] = sum(not one.sole for one in members)
                mine = {one.id for one in taken[make]}
                for one in (one for one in members if one.id not in mine and one.later > index):
                    following[one.later].append(one)
            for one in following[index]:
                taken[one.make].append(replace(one, ring=index))
                plural[one.make] += not one.sole
            rings.append(_Ring(rule.name, settings, dict(sorted(taken.items())), plural))
        return [*rings, _Ring(DONE, None, {make: [] for make in rings[-1].makes}, Counter())]

    def _land(self) -> None:
        while self.landing and self.landing[0][0] <= self.now:
            one = heapq.heappop(self.landing)[2]
            self.flying.remove(one.id)
            self.aloft.subtract(_counters(one))
            self.healthy[one.make] += 1

    def _judge_all(self) -> bool:
        """Judges each ring in turn; says whether one has opened for a make."""
        for index, ring in enumerate(self.rings):
            before = self.rings[index - 1] if index else None
            if before is not None and not before.open:
                break
            if ring.makes and len(ring.open) == len(ring.makes):
                continue
            decision = opening.judge(self._facts(index))
            self._note(ring, decision)
            if decision.verdict is Verdict.OPEN:
                self._open(ring, decision)
                return True
        return False

    def _open(self, ring: _Ring, decision: Decision) -> None:
        if ring.name == DONE:
            self.done_at = self.now
        for make in decision.makes:
            ring.open[make] = self.now
            self.waiting += sorted(ring.makes[make], key=lambda one: (one.sole, makes.rank(SALT, one.id)))

    def _note(self, ring: _Ring, decision: Decision) -> None:
        """What holds the ring now, and what held it until now."""
        codes = {reason.code for reason in decision.reasons}
        for code, held in ring.held.items():
            if held.until is None and code not in codes:
                ring.held[code] = replace(held, until=self.now)
        for reason in decision.reasons:
            freeze = reason.detail.removeprefix("freeze ").partition(":")[0] if reason.code == "frozen" else ""
            ring.held[reason.code] = Held(reason.code, reason.rule, None, freeze)
            if reason.earliest_at is not None and reason.earliest_at > self.now:
                heapq.heappush(self.times, reason.earliest_at)

    def _facts(self, index: int) -> Facts:
        ring, settings, last = self.rings[index], self.rings[index].settings, index == len(self.policy.rings)
        freeze = None if last else when.dated_freeze(self.policy, self.now)
        people = settings.needs_people if settings else 0
        return Facts(
            now=self.now,
            ring=ring.name,
            path=f"rings[{min(index, len(self.policy.rings) - 1)}]",
            position=index,
            members=sum(map(len, self.rings[index - last].makes.values())),
            verified=True,
            first_seen_at=self.at,
            floor=settings.floor if settings else timedelta(),
            freeze=freeze.name if freeze else "",
            freeze_why="",
            freeze_path=freeze.path if freeze else "",
            freeze_until=freeze.until if freeze else None,
            people_needed=people,
            people=tuple(str(number) for number in range(people)),
            previous_open=True,
            previous_empty=False,
            gate=self._rule(index),
            confidence=self.policy.defaults.confidence,
            background=self.background,
            brakes=(),
            makes=tuple(self._shown(index)),
            whole=last,
        )

    def _rule(self, index: int) -> GateRule | None:
        settings = self.rings[index - 1].settings if index else None
        if settings is None:
            return None
        shares = settings.rule_out_make, settings.rule_out_fleet
        return GateRule(f"rings[{index - 1}]", settings.at_least, settings.sites, *shares, str(settings.soak))

    def _shown(self, index: int) -> list[Shown]:
        ring, rule = self.rings[index], self._rule(index)
        if rule is None:
            return [
                Shown(make, True, make in ring.open, 0, 0, 0, 0, 0, 0, 0, False, None, False) for make in ring.makes
            ]
        last = ring.name == DONE
        earlier = self.rings[index - 1 : index] if last else self.rings[:index]
        begun = Begun() if last else self.begun
        shown = []
        for make in sorted({*ring.makes, *(make for one in earlier for make in one.makes), *begun.healthy}):
            members = [one for other in earlier for one in other.makes.get(make, ())]
            sites = [one.site for one in members if one.healthy_at is not None and one.healthy_at <= self.now]
            sites += begun.healthy.get(make, ())
            pending = sum(one.id in self.flying for one in members)
            one = Shown(
                make=make,
                wanted=make in ring.makes,
                opened=make in ring.open,
                available=len(members) + begun.available.get(make, 0),
                sites=len({member.site.id for member in members}) + begun.sites.get(make, 0),
                healthy=len(sites),
                healthy_sites=len({site.id for site in sites}),
                bad=0,
                pending=pending,
                explained=0,
                stopped=False,
                soak_until=None,
                in_previous=make in earlier[-1].makes,
            )
            shown.append(replace(one, soak_until=self._soak(index, rule, one, sites)))
        return shown

    def _soak(self, index: int, rule: GateRule, shown: Shown, sites: list[Site]) -> datetime | None:
        """The end of the soak, which begins when the numbers are first met."""
        ring, settings = self.rings[index], self.rings[index - 1].settings
        needed = evidence.required(rule.at_least, shown)
        if settings is None or needed == 0 or len(sites) < needed:
            return None
        if shown.make not in ring.met:
            ends = sorted(when.soak_end(self.gate, site, settings.soak, self.now, self.policy) for site in sites)
            ring.met[shown.make] = ends[needed - 1]
        return min(ring.met[shown.make], self.now) if self._skips("soak") else ring.met[shown.make]

    def _skips(self, what: str) -> bool:
        until = self.begun.skips_until
        return until is not None and self.now < until and what in self.begun.skips

    def _claim(self) -> None:
        """Every machine that waits asks once; what is in the way says when to ask again."""
        left = []
        self.waits.clear()
        for one in self.waiting:
            wait = self._wait(one)
            if wait is not None:
                heapq.heappush(self.times, wait)
                left.append(one)
            elif self._room(one):
                self._grant(one)
            else:
                left.append(one)
        self.waiting = left

    def _wait(self, one: _Machine) -> datetime | None:
        key = (one.ring, one.site.hours, one.site.land, one.site.always_on, one.site.times)
        if key not in self.waits:
            self.waits[key] = self._wait_of(one)
        return self.waits[key]

    def _wait_of(self, one: _Machine) -> datetime | None:
        """When freeze and window let this site ask again; None: now."""
        settings = self.rings[one.ring].settings
        assert settings is not None
        freeze = when.freeze_wait(self.gate, self.policy, one.site, self.now)
        window = None
        if not self._skips("windows"):
            window = when.window_wait(self.gate, self.policy, settings, self.release, one.site, self.now)
        ends = [wait.until or self.until for wait in (freeze, window) if wait is not None]
        return max(max(ends), self.now + timedelta(minutes=1)) if ends else None

    def _room(self, one: _Machine) -> bool:
        ring = self.rings[one.ring]
        assert ring.settings is not None
        in_ring, at_site = self.aloft["ring", str(one.ring)], self.aloft["site", one.site.id]
        alone = not self.healthy[one.make] or one.ring + self.begun.rings < EARLY_RINGS
        if alone and self.aloft["both", one.make, one.site.id]:
            return False
        if at_site >= self._per_site(ring.settings, one):
            return False
        if ring.settings.cap is not None and in_ring >= ring.settings.cap:
            return False
        if one.sole and self._healthy_in(ring, one.make) < min(ring.settings.at_least, ring.plural[one.make]):
            return False
        limits = self._limit(one.make, self.healthy[one.make]), self._limit(FLEET, self.healthy.total())
        return self.aloft["make", one.make] < limits[0] and len(self.flying) < limits[1]

    def _healthy_in(self, ring: _Ring, make: str) -> int:
        return sum(one.healthy_at is not None and one.healthy_at <= self.now for one in ring.makes[make])

    def _limit(self, make: str, healthy: int) -> int:
        return renewed(self.policy, Budget("", make, 0, 0, healthy, 0, False), self.background).limit

    def _per_site(self, settings: RingSettings, one: _Machine) -> int:
        if settings.per_site == "half":
            return max(self.per_role[one.site.id, one.role] // 2, 1)
        return int(settings.per_site)

    def _grant(self, one: _Machine) -> None:
        ring = self.rings[one.ring]
        settings = ring.settings
        assert settings is not None
        natural = settings.evidence == "boot" and settings.reboot == "natural" and not one.site.always_on
        at = self.now
        for _ in range(settings.boots if settings.evidence == "boot" else 1):
            at = (self._next_boot(one.site, at) if natural else at) + settings.stay_up
        one.healthy_at = at
        self.flying.add(one.id)
        self.aloft.update(_counters(one))
        heapq.heappush(self.landing, (at, one.id, one))
        heapq.heappush(self.times, at)
        limit = self.learned.get(one.make, settings.deadline) if settings.learned else settings.deadline
        silent = when.silent_at(self.gate, self.policy, limit, one.site, self.now, settings.stay_up, natural=natural)
        ring.first_at = ring.first_at or self.now
        ring.silent_at = min(ring.silent_at or silent, silent)

    def _next_boot(self, site: Site, at: datetime) -> datetime:
        """The first expected-on minute of the next opening day."""
        intervals = when.around(self.gate, site, at, at + when.HORIZON)
        starts = (day.start_at - when.BOOT_LEAD for day in calendar.opening_days(intervals))
        return next((start for start in starts if start > at), at + when.HORIZON)

    def _told(self, index: int) -> RingPlan:
        ring = self.rings[index]
        opened = sorted(ring.open.values())
        return RingPlan(
            ring=ring.name,
            members=sum(map(len, ring.makes.values())),
            opened_at=opened[0] if opened else None,
            all_open_at=opened[-1] if opened and len(opened) == len(ring.makes) else None,
            first_at=ring.first_at,
            silent_at=ring.silent_at,
            at_risk=self.at_risk(index),
            held=tuple(ring.held.values()),
        )

    def at_risk(self, index: int) -> int:
        """The most that may be in flight in this ring while nothing of it has resolved."""
        ring, settings = self.rings[index], self.rings[index].settings
        assert settings is not None
        proven = Counter(one.make for other in self.rings[:index] for rows in other.makes.values() for one in rows)
        total = 0
        for make, members in ring.makes.items():
            alone = not proven[make] or index < EARLY_RINGS
            apart = len({one.site.id for one in members}) if alone else len(members)
            total += min(len(members), apart, self._limit(make, proven[make]))
        at_sites: dict[str, list[_Machine]] = defaultdict(list)
        for members in ring.makes.values():
            for one in members:
                at_sites[one.site.id].append(one)
        sites = sum(min(len(found), max(self._per_site(settings, one) for one in found)) for found in at_sites.values())
        return min(total, sites, self._limit(FLEET, proven.total()), settings.cap or total)


def _sharing(members: list[_Machine], settings: RingSettings) -> list[_Machine]:
    """Those of a make that the ring's share takes."""
    if settings.share is None:
        return members
    ranks = [makes.rank(SALT, one.id) for one in members]
    _, cut = makes.drawn(ranks, settings.share, settings.at_least)
    return [one for one, rank in zip(members, ranks, strict=True) if rank <= cut]


def _counters(one: _Machine) -> tuple[tuple[str, ...], ...]:
    return ("make", one.make), ("site", one.site.id), ("ring", str(one.ring)), ("both", one.make, one.site.id)
