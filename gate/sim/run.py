"""A fleet in virtual time that drives the real flows, store and core; no rule of the gate is written here again.

- One event heap; the worker's tick runs between events, once a virtual minute while a machine that has
  something in hand is on, else every five.
- Machines ask only what the read plane offers them, and come again when a refusal says so.
- The simulation keeps its own record of who was exposed and who died, and checks the promises on it.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from gate.core import makes
from gate.core.model import (
    Action,
    Artifact,
    Claim,
    ClaimState,
    Machine,
    MachineStatus,
    Rollout,
    RolloutState,
    Step,
    Trust,
)
from gate.core.policy import Policy
from gate.core.verdict import Refusal
from gate.flows import advance, approvals, claims, expedite, intake, mornings, recalls, restarts, rounds, sweep
from gate.flows.machines import CheckIn
from gate.ports import ActivePolicy, Asked, Gate, Store, Tx
from gate.sim.fleet import World
from gate.sim.idle import CheckIns, OpenTx
from gate.sim.results import Record, of_release
from gate.sim.scenario import Fault, Scenario, SimMachine, SimRelease, draw

MINUTE = timedelta(minutes=1)
CHECKIN = timedelta(minutes=5)
BACK = timedelta(minutes=3)
"""A crash takes so long."""
EVERY = 100_000  # mornings that were silent
WATCH_EVERY = timedelta(minutes=10)
"""Of what is over; the worker judges it at each tick."""
GIVE_UP = frozenset({"already_installed", "superseded", "unknown_release", "no_approval"})


@dataclass(slots=True)
class Body:
    """What is true of one simulated machine."""

    machine: SimMachine
    make: str
    ring: str
    dead: bool = False
    boots: int = 0
    claim: Claim | None = None
    seen_at: datetime | None = None
    said_at: datetime | None = None  # a machine's reports leave in order: each has a higher seq
    asking: str = ""  # the release that it has an ask scheduled for
    boots_under: int = 0
    had: set[str] = field(default_factory=set)


def prepare(scenario: Scenario, policy: Policy) -> Policy:
    """The policy as the scenario wants it: dropped rings leave the brakes' ``in`` too."""
    gone = set(scenario.drop_rings)
    rings = tuple(ring for ring in policy.rings if ring.name not in gone)
    brakes = tuple(
        replace(brake, rings=tuple(name for name in brake.rings if name not in gone)) for brake in policy.brakes
    )
    return replace(policy, rings=rings, brakes=brakes)


class Simulation:
    """One run. ``store`` must be empty; ``gate.policy`` must know ``policy_version``."""

    def __init__(self, scenario: Scenario, store: Store, gate: Gate, policy_version: str) -> None:
        self.scenario = scenario
        self.policy = gate.policy(policy_version)
        self.policy_version = policy_version
        self.world = World(scenario, gate.hours, self.policy.timezone)
        self.now = scenario.start
        self.end_at = scenario.start + scenario.run
        self.records: list[Record] = []
        self.refusals: Counter[str] = Counter()
        self.broken_promises: list[str] = []
        self.dark_sites: set[str] = set()
        self._store, self._gate = store, gate
        self._heap: list[tuple[datetime, int, Callable[[Tx], None]]] = []
        self._count = itertools.count()
        self._bodies = {m.id: self._body(m) for m in scenario.machines}
        self._by_place: dict[tuple[str, str], list[Body]] = defaultdict(list)
        self._by_site: dict[str, list[Body]] = defaultdict(list)
        for body in self._bodies.values():
            self._by_place[body.ring, body.make].append(body)
            self._by_site[body.machine.site.id].append(body)
        self._watch_at = self.now
        self._offered: dict[tuple[str, str, str], str] = {}
        self._at_site: Counter[str] = Counter()
        self._tills: Counter[str] = Counter(m.site.id for m in scenario.machines if m.role == "till")
        self._in_hand: dict[str, Body] = {}
        everybody = list(self._bodies.values())
        self._heard = CheckIns(self.world, everybody, self.policy.checkin) if scenario.check_ins else None

    def start(self) -> None:
        """Enters the fleet into the store and schedules what the scenario says."""
        with self._store.write() as tx:
            tx.activate_policy(ActivePolicy(self.policy_version, self.now, "simulation"), "")
            for site in self.scenario.sites:
                tx.save_site(site)
                if site.times:
                    tx.save_times(site.id, site.times, ())
            for body in self._bodies.values():
                self._enter(tx, body)
        for release in self.scenario.releases:
            self._at(release.at, partial(self._arrive, release))
        for event in self.scenario.events:
            self._at(event["at"], partial(self._happen, event))

    def advance_to(self, until: datetime) -> None:
        """Runs virtual time up to ``until``; the worker ticks once a minute while a machine with a claim is on.

        The moments of the ticks do not depend on how often this is called: the same scenario ends the same way."""
        while self.now < until:
            busy = any(self.world.next_on(body.machine, self.now) == self.now for body in self._in_hand.values())
            upcoming = min(self.now + (MINUTE if busy else self._pause()), self.scenario.start + self.scenario.run)
            if upcoming > until:
                return
            self.now = upcoming
            with self._store.write() as tx:
                while self._heap and self._heap[0][0] <= self.now:
                    at, _, act = heapq.heappop(self._heap)
                    clock, self.now = self.now, max(at, self.scenario.start)
                    act(tx)
                    self.now = clock
                self._tick(tx)

    def _pause(self) -> timedelta:
        """Until the next tick while nobody is busy; to full five minutes where edges of the day are looked at."""
        if self._heard is None:
            return CHECKIN
        return CHECKIN - (self.now - self.scenario.start) % CHECKIN

    def run(self, progress: Callable[[float], None] = lambda _: None) -> dict[str, Any]:
        """The whole scenario; ``progress`` is told the share done. Returns the result as JSON values."""
        self.start()
        parts = 200
        for part in range(1, parts + 1):
            self.advance_to(self.scenario.start + self.scenario.run * part / parts)
            progress(part / parts)
        return self.result()

    # the fleet

    def _body(self, machine: SimMachine) -> Body:
        make = makes.make_of(machine.facts, self.policy.makes)
        picks = [(ring.name, ring.pick) for ring in self.policy.rings]
        labels = machine.site.labels | machine.labels
        ring = makes.ring_of(picks, machine.site.id, labels, machine.facts) or ""
        return Body(machine, make, ring)

    def _enter(self, tx: Tx, body: Body) -> None:
        one = body.machine
        key = hashlib.sha256(one.id.encode()).hexdigest()
        labels = one.site.labels | one.labels
        stored = Machine(one.id, one.site.id, MachineStatus.PENDING, one.id, one.facts, labels, public_key=key)
        tx.add_machine(stored, key)
        before, last = self.now - timedelta(days=30), self.now - timedelta(hours=12)
        active = replace(
            stored, status=MachineStatus.ACTIVE, make=body.make, ring=body.ring, accepted_at=before, last_seen_at=last
        )
        assert tx.accept_machine(active, before)

    # the world

    def _at(self, when: datetime, act: Callable[[Tx], None]) -> None:
        if when <= self.end_at:
            heapq.heappush(self._heap, (when, next(self._count), act))

    def _arrive(self, release: SimRelease, tx: Tx) -> None:
        record = Record(release)
        self.records.append(record)
        digest = hashlib.sha256(f"{release.source}/{release.version}".encode()).hexdigest()
        rollout = intake.candidate_seen(
            tx,
            self._gate,
            source=release.source,
            version=release.version,
            kind="content",
            boot_critical=release.boot_critical,
            artifacts=(Artifact("content.bin", 4096, digest),),
            trust=Trust.VENDOR_SIGNED,
            now=self.now,
            policy_version=self.policy_version,
        )
        assert rollout is not None
        record.rollout, record.release_id = rollout.id, rollout.release
        for body in (self._bodies[name] for name in release.living):
            if body.dead:
                self._revive(tx, body)
        for at, by, ring in release.signed:
            self._at(at, lambda tx, by=by, ring=ring: self._sign(tx, rollout.id, by, ring))  # type: ignore[misc]

    def _revive(self, tx: Tx, body: Body) -> None:
        """It is known to have lived by now: somebody has repaired it, and it says so, once its silence has counted."""
        claim = tx.claim(body.claim.id) if body.claim is not None else None
        if claim is None or claim.state is not ClaimState.SILENT:
            return
        body.dead = False
        body.boots += 1
        self._say(body, Step.BOOTED, self.now)
        self._say(body, Step.HEALTHY, self.now)
        self._put_down(body)

    def _sign(self, tx: Tx, rollout: str, by: str, ring: str) -> None:
        tx.append(
            "ring_approved", by, f"{rollout}/{ring}", self.now, {"ring": ring}, "as recorded", self.policy_version
        )

    def _happen(self, event: Mapping[str, Any], tx: Tx) -> None:
        if "vendor_reverts" in event:
            self._halt(tx, event["vendor_reverts"], f"vendor:{event['vendor_reverts']}", "the vendor has withdrawn it")
        elif "hours" in event:
            for site in self.scenario.sites:
                if not site.always_on and event["hours"].get("site") in (None, site.id):
                    tx.save_site(replace(site, hours=str(event["hours"]["to"])))
        elif event.get("act", {}).get("do") == "expedite":
            for rollout in tx.rollouts(states=(RolloutState.RUNNING,)):
                expedite.expedite(tx, self._gate, rollout.id, event["act"]["by"], event["act"]["because"], self.now)
        elif "act" in event:
            self._halt(tx, "", event["act"]["by"], event["act"]["because"])

    def _halt(self, tx: Tx, source: str, by: str, because: str) -> None:
        for rollout in tx.rollouts(states=(RolloutState.RUNNING,), source=source):
            after = replace(
                rollout,
                state=RolloutState.HALTED,
                halted_by=by,
                halted_because=because,
                halted_at=self.now,
                version=rollout.version + 1,
            )
            assert tx.save_rollout(after)
            tx.append("rollout_halted", by, rollout.id, self.now, {"because": because}, because)

    # the worker

    def _neighbour_speaks(self, tx: Tx, dead: Body) -> None:
        """A site of which one machine is dead is not dark: another one checks in as ever."""
        for body in self._by_site[dead.machine.site.id]:
            if body.seen_at is not None and self.now - body.seen_at < CHECKIN:
                return
            if not body.dead and self.world.reaches_gate(body.machine, self.now):
                tx.seen(body.machine.id, self.now)
                body.seen_at = self.now
                return

    def _tick(self, tx: Tx) -> None:
        for body in list(self._in_hand.values()):
            fresh = body.seen_at is not None and self.now - body.seen_at < CHECKIN
            if body.dead:
                self._neighbour_speaks(tx, body)
            elif not fresh and self.world.reaches_gate(body.machine, self.now):
                tx.seen(body.machine.id, self.now)
                body.seen_at = self.now
        if self._heard is not None and not self._heard.listen(tx, self.now):
            return
        within = OpenTx(tx)
        rounds.sweep(within, self._gate, self.now)
        if self._heard is not None:
            rounds.morning(within, self._gate, self.now)
            sweep.look_after(tx, self._gate, self.now)
        recalls.by_policy(tx, self._gate, self.now)
        for source in intake.may_begin(tx):
            intake.promote_queued(tx, self._gate, source, self.now)
        for rollout in tx.rollouts(states=(RolloutState.RUNNING,)):
            if self._heard is not None:
                self.compare(within, rollout.id)
            advance.advance_rollout(tx, self._gate, rollout.id, self.now)
        for rollout, last in self._over(tx):
            if advance.watched(self._gate, rollout, last, self.now):
                if self._heard is not None:
                    self.compare(within, rollout.id)
                advance.watch_rollout(tx, self._gate, rollout.id, self.now)
        sources = sorted({record.release.source for record in self.records})
        offered = {
            (approval.ring, make, approval.source): approval.release
            for approval in approvals.wanted(tx, sources)
            if approval.action is Action.INSTALL
            for make in approval.makes
        }
        for place, release in offered.items():
            if self._offered.get(place) != release:
                self._wake(place, release)
        self._offered = offered

    def _over(self, tx: Tx) -> list[tuple[Rollout, datetime | None]]:
        """What is over and may still be watched, when it is time for that."""
        if self.now < self._watch_at:
            return []
        self._watch_at = self.now + WATCH_EVERY
        return tx.exposed()

    def compare(self, within: OpenTx, rollout: str) -> None:
        """Looks at the machines that were not updated."""
        rounds.compare(within, self._gate, rollout, self.now)

    def _wake(self, place: tuple[str, str, str], release: str) -> None:
        ring, make, source = place
        for body in self._by_place[ring, make]:
            if release not in body.had and body.asking != release and not body.dead:
                body.asking = release
                start = self.world.next_on(body.machine, self.now)
                if start is not None:
                    jitter = CHECKIN * draw(self.scenario.seed, "poll", body.machine.id, release)
                    self._ask_at(start + jitter, body, source, release)

    # one machine

    def _ask_at(self, when: datetime, body: Body, source: str, release: str) -> None:
        self._at(when, lambda tx: self._ask(tx, body, source, release))

    def _ask(self, tx: Tx, body: Body, source: str, release: str) -> None:
        if body.dead or release in body.had or self._offered.get((body.ring, body.make, source)) != release:
            body.asking = "" if body.asking == release else body.asking
            return
        start = self.world.next_on(body.machine, self.now)
        if start is None:
            return
        if start > self.now or not self.world.reaches_gate(body.machine, self.now):
            self._ask_at(max(start, self.now + 3 * CHECKIN), body, source, release)
            return
        machine = tx.machine(body.machine.id)
        assert machine is not None
        boot_id = f"{body.machine.id}-{body.boots}"
        answer = claims.claim(tx, self._gate, machine, source, release, boot_id, self.now)
        if isinstance(answer, Refusal):
            self.refusals[answer.kind] += 1
            if answer.kind not in GIVE_UP:
                spread = 1 + 0.2 * draw(self.scenario.seed, "retry", body.machine.id, self.now)
                wait = timedelta(seconds=max(answer.retry_after_s, 60) * spread)
                self._ask_at(self.now + wait, body, source, release)
            return
        self._granted(body, answer[0])

    def _granted(self, body: Body, claim: Claim) -> None:
        body.claim, body.had, body.boots_under = claim, {*body.had, claim.release}, 0
        body.seen_at = self.now
        self._in_hand[body.machine.id] = body
        self._at_site[claim.site] += 1
        settings = self.policy.settings_for(claim.ring, claim.source)
        if settings.per_site != "half" and self._at_site[claim.site] > int(settings.per_site):
            self.broken_promises.append(f"P3: {claim.site} has {self._at_site[claim.site]} in flight at {self.now}")
        self._at(self.now + MINUTE, lambda tx: self._apply(tx, body))

    def _apply(self, tx: Tx, body: Body) -> None:
        claim = body.claim
        assert claim is not None
        start = self.world.next_on(body.machine, self.now)
        if start is None:
            return
        if start > self.now:
            self._at(start, lambda tx: self._apply(tx, body))
            return
        if self.now > claim.lease_until:
            if claims.lapse(tx, self._gate, claim, self.now) is not None:
                self._put_down(body)
                body.had = body.had - {claim.release}
                self._ask_at(self.now + CHECKIN, body, claim.source, claim.release)
            return
        record = self._record(claim.release)
        record.exposed[body.machine.id] = self.now
        if self._strikes(record, body, "apply"):
            self._die(record, body)
            return
        self._say(body, Step.INSTALLED, self.now + self.world.delay(body.machine, "installed"))
        self._plan_boot(body, claim)

    def _plan_boot(self, body: Body, claim: Claim) -> None:
        if claim.evidence == "alive":
            self._at(self.now + claim.stay_up, lambda tx: self._stayed_up(tx, body))
            self._at_next_boot(body, lambda tx: self._boot_unasked(body, claim, 1))
            return
        soon = claim.reboot == "after install" or body.machine.row is None
        if soon:
            self._at(self.now + 2 * MINUTE, lambda tx: self._boot(tx, body))
        else:
            self._at_next_boot(body, lambda tx: self._boot(tx, body))

    def _at_next_boot(self, body: Body, act: Callable[[Tx], None]) -> None:
        boot_at = self.world.next_boot(body.machine, self.now)
        if boot_at is not None:
            self._at(boot_at, act)

    def _boot_unasked(self, body: Body, claim: Claim, number: int) -> None:
        """A boot that nobody asked for as evidence kills all the same."""
        record = self._record(claim.release)
        if body.dead or body.claim is None or body.claim.id != claim.id:
            return
        if self._strikes(record, body, f"boot:{number}"):
            self._die(record, body)
        elif self._fault(record, body) is not None:
            self._at_next_boot(body, lambda tx: self._boot_unasked(body, claim, number + 1))

    def _boot(self, tx: Tx, body: Body) -> None:
        claim = body.claim
        if claim is None or body.dead:
            return
        body.boots += 1
        body.boots_under += 1
        record = self._record(claim.release)
        if self._strikes(record, body, f"boot:{body.boots_under}"):
            self._die(record, body)
            return
        self._say(body, Step.BOOTED, self.now + self.world.delay(body.machine, f"booted{body.boots}"))
        self._at(self.now + claim.stay_up + MINUTE, lambda tx: self._stayed_up(tx, body))

    def _stayed_up(self, tx: Tx, body: Body) -> None:
        claim = body.claim
        if claim is None or body.dead:
            return
        fault = self._fault(self._record(claim.release), body)
        late = self.world.delay(body.machine, f"healthy{body.boots}")
        step = Step.HEALTHY
        if fault is not None and fault.effect == "slow":
            late += fault.delay
        if fault is not None and fault.effect == "unhealthy":
            step = Step.UNHEALTHY
        self._say(body, step, self.now + late)
        if fault is not None and fault.effect == "relapse":
            self._say(body, Step.UNHEALTHY, self.now + late + fault.after)
        if fault is not None and fault.effect == "crash_loop":
            self._at(self.now + late + fault.after, lambda tx: self._crash(tx, body, claim, fault))
        if step is Step.HEALTHY and claim.evidence == "boot":
            if body.boots_under < claim.boots:
                self._plan_boot(body, claim)
            else:
                self._at_next_boot(body, lambda tx: self._boot_unasked(body, claim, body.boots_under + 1))

    def _crash(self, tx: Tx, body: Body, claim: Claim, fault: Fault) -> None:
        """It stops without a word, comes back by itself, and cannot tell why."""
        if body.dead or body.claim is None or body.claim.id != claim.id:
            return
        start = self.world.next_on(body.machine, self.now)
        if start is not None and start > self.now:
            self._at(start + fault.after, lambda tx: self._crash(tx, body, claim, fault))
        elif start is not None:
            if self.world.reaches_gate(body.machine, self.now):
                tx.seen(body.machine.id, self.now)  # a moment before
            self._at(self.now + BACK, lambda tx: self._come_back(tx, body, claim, fault))

    def _come_back(self, tx: Tx, body: Body, claim: Claim, fault: Fault) -> None:
        body.boots += 1
        if self.world.reaches_gate(body.machine, self.now):
            name = body.machine.id
            machine = tx.machine(name)
            assert machine is not None
            said = CheckIn(f"{name}-{body.boots}", MINUTE, {claim.source: claim.release})
            restarts.heard(tx, self._gate, machine, f"{name}-{body.boots - 1}", said, self.now)
            tx.seen(name, self.now)
            body.seen_at = self.now
        self._at(self.now + fault.after, lambda tx: self._crash(tx, body, claim, fault))

    def _say(self, body: Body, step: Step, when: datetime) -> None:
        claim = body.claim
        assert claim is not None
        boot_id = f"{body.machine.id}-{body.boots}"
        said = claims.Report(claim.id, step, boot_id, claim.stay_up + MINUTE, claim.release)
        when = body.said_at = max(when, body.said_at or when)
        self._at(when, lambda tx: self._report(tx, body, said))

    def _report(self, tx: Tx, body: Body, said: claims.Report) -> None:
        if body.dead:
            return
        start = self.world.next_on(body.machine, self.now)
        if start is None:
            return
        if not self.world.reaches_gate(body.machine, self.now):
            self._at(max(start, self.now + 3 * CHECKIN), lambda tx: self._report(tx, body, said))
            return
        machine = tx.machine(body.machine.id)
        assert machine is not None
        tx.seen(machine.id, self.now)
        body.seen_at = self.now
        claim, state = claims.report(tx, self._gate, machine, said, self.now)
        if body.claim is not None and body.claim.id == claim.id:
            body.claim = claim
            if state not in (ClaimState.GRANTED, ClaimState.INSTALLED, ClaimState.BOOTED):
                self._put_down(body)

    def _put_down(self, body: Body) -> None:
        if self._in_hand.pop(body.machine.id, None) is not None:
            assert body.claim is not None
            self._at_site[body.claim.site] -= 1

    # faults

    def _record(self, release: str) -> Record:
        return next(record for record in self.records if record.release_id == release)

    def _fault(self, record: Record, body: Body) -> Fault | None:
        if record.release.fates is not None:
            return record.release.fates.get(body.machine.id)
        fault = record.release.fault
        if fault is None:
            return None
        facts = body.machine.facts
        meets = all(facts.get(name, "-") in values for name, values in fault.where.items())
        drawn = draw(self.scenario.seed, "fault", record.release.version, body.machine.id)
        return fault if meets and drawn < fault.rate else None

    def _strikes(self, record: Record, body: Body, moment: str) -> bool:
        fault = self._fault(record, body)
        if fault is None or fault.effect != "brick":
            return False
        return moment == ("boot:1" if fault.on == "boot" else fault.on)

    def _die(self, record: Record, body: Body) -> None:
        body.dead = True
        record.bricked[body.machine.id] = self.now
        if body.machine.role == "till":
            site = body.machine.site.id
            dead = sum(
                1
                for other in self._bodies.values()
                if other.dead and other.machine.role == "till" and other.machine.site.id == site
            )
            if dead == self._tills[site] and not body.machine.site.always_on:
                self.dark_sites.add(site)

    # what came out

    def result(self) -> dict[str, Any]:
        """The answer of the scenario format, from the simulation's own record and the store's history."""
        with self._store.read() as tx:
            places = {name: (body.ring, body.make) for name, body in self._bodies.items()}
            found = [of_release(tx, record, places) for record in self.records]
            risen = [e.at for e in tx.asked_events(Asked(subject=mornings.SUBJECT, kind="silent_morning"), None, EVERY)]
        releases = [one for one in found if one is not None]
        alarms = [r["halted_at"] for r in releases if r["halted_at"]]
        bricked = {machine for record in self.records for machine in record.bricked}
        affected = {self._bodies[machine].machine.site.id for machine in bricked}
        return {
            "scenario": self.scenario.name,
            "policy_version": self.policy_version,
            "seed": self.scenario.seed,
            "fleet": {"sites": len(self.scenario.sites), "machines": len(self.scenario.machines)},
            "releases": releases,
            "sites_without_till": len(self.dark_sites),
            "sites_affected": len(affected),
            "first_alarm_at": min(alarms) if alarms else None,
            "silent_mornings": [at.isoformat() for at in sorted(risen)],
            "refusals": dict(sorted(self.refusals.items())),
            "promises_broken": self.broken_promises,
        }
