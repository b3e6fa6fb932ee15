"""The same random steps on the fake store and on both real ones: same answers, same facts, and the promises hold."""

from __future__ import annotations

import itertools
import shutil
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.bootstrap import OneText
from gate.core.claims import BROKEN, FAILURE, HOLDS_SLOT, WORKING
from gate.core.counters import boots_tried, counts
from gate.core.errors import GateError
from gate.core.evalues import Span
from gate.core.model import (
    FLEET,
    Artifact,
    Claim,
    ClaimState,
    Machine,
    MachineStatus,
    Rollout,
    RolloutState,
    Site,
    Step,
    Trust,
)
from gate.core.spans import by_hour, unfolded
from gate.core.verdict import Refusal
from gate.flows import advance, claims, controls, intake, machines, mirror, people, restarts, sweep
from gate.flows.decommission import decommission
from gate.ports import ActivePolicy, Bad, Gate, GrantLimits
from tests.conftest import named
from tests.fake_store import FakeStore
from tests.flows import replayed

pytestmark = pytest.mark.slow

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role, platform]}
sources:
  - {name: one, plugin: directory, evidence: alive}
  - {name: two, plugin: directory, evidence: alive}
rings:
  - {name: first, why: w, pick: {label: first}, at_most: {per_site: 1, cap: 3}, gate: {soak: 1m, at_least: 1}}
  - {name: rest, why: w, pick: {role: [till, server]}, at_most: {per_site: half}, gate: {soak: 1m, at_least: 2}}
at_risk: {per_make: 3, fleet: 5}
first_batch: 2
defaults: {stay_up: 1m, lease: 5m, deadline: 20m}
brakes:
  - {if: failed >= 3, within: 30m, then: halt, why: enough}
"""
OTHER = (
    POLICY.replace("cap: 3", "cap: 2")
    .replace("per_make: 3, fleet: 5", "per_make: 4, fleet: 4")
    .replace("at_risk:", "  - {name: last, why: w, pick: {role: printer}}\nat_risk:")
    .replace("deadline: 20m", "deadline: 20m, background: 2%")
)
FIRST_BATCH = 2
COMES_BACK = {ClaimState.HEALTHY, ClaimState.RELAPSED, ClaimState.SILENT}
MACHINES = [
    (f"{site}-{role}{number}", site, role, "vm" if number % 2 else "metal", site in "abc")
    for site in "abcde"
    for role, count in (("till", 3), ("server", 1))
    for number in range(count)
]


def gate_for(text: str, *others: str) -> Gate:
    """``others``: known by their commits; every other commit is ``text``."""
    policy, known = parse_text(text), {OneText(one).commit: parse_text(one) for one in others}
    rules = lambda commit: known.get(commit, policy)  # noqa: E731
    return Gate(policy=rules, texts=OneText(text), hours=OpeningCalendar("Europe/Berlin"))


class Stores(RuleBasedStateMachine):
    """Every rule is done on each store; ``made`` returns the real one."""

    make_real: Callable[[], SqlStore]

    def __init__(self) -> None:
        super().__init__()
        self.real = type(self).make_real()
        self.fake = FakeStore()
        self.gates = {id(store): gate_for(POLICY, OTHER) for store in (self.real, self.fake)}
        self.version = OneText(POLICY).commit
        self.now = START
        self.halted_at: dict[str, datetime] = {}
        self.stood: dict[str, RolloutState] = {}
        self.resumed_by: defaultdict[str, set[str]] = defaultdict(set)
        self.straight = 0
        self.secrets = 0
        self.gone: Counter[tuple[str, str]] = Counter()

    def teardown(self) -> None:
        self.real.close()

    def both(self, act: Callable[[Any, Gate], Any]) -> Any:
        """Does it on both; the answers must be equal."""
        answers = []
        for store in (self.fake, self.real):
            try:
                with store.write() as tx:
                    answers.append(act(tx, self.gates[id(store)]))
            except GateError as problem:
                answers.append((problem.kind, problem.detail))
        assert answers[0] == answers[1]
        return answers[0]

    @initialize()
    def fleet(self) -> None:
        def enter(tx: Any, _: Gate) -> None:
            tx.activate_policy(ActivePolicy(self.version, self.now, "test"), "")
            for site in "abcde":
                tx.save_site(Site(site, site, "NW", "", True))
            for name, site, role, platform, first in MACHINES:
                machine = Machine(name, site, MachineStatus.PENDING, name, {"role": role, "platform": platform})
                machine = replace(machine, labels=frozenset({"first"}) if first else frozenset(), public_key=name)
                tx.add_machine(machine, name)
                ring = "first" if first and role == "till" else "rest"
                active = replace(
                    machine, status=MachineStatus.ACTIVE, ring=ring, make=f"role={role}|platform={platform}"
                )
                assert tx.accept_machine(active, self.now)

        self.both(enter)
        self.a_release_appears("one")

    @rule(source=st.sampled_from(["one", "two"]))
    def a_release_appears(self, source: str) -> None:
        with self.fake.read() as tx:
            if len(tx.rollouts(source=source)) >= 3:
                return
            version = str(len(tx.rollouts(source=source)) + 1)
        content = (Artifact("a", 1, "0" * 64),)

        def seen(tx: Any, gate: Gate) -> Any:
            return intake.candidate_seen(
                tx,
                gate,
                source=source,
                version=version,
                kind="content",
                boot_critical=False,
                artifacts=content,
                trust=Trust.DIGEST_PINNED,
                now=self.now,
                policy_version=self.version,
            )

        self.both(seen)
        self.the_worker_ticks()

    @rule()
    def another_policy_rules(self) -> None:
        """What runs goes on under its own; what waits begins under this one."""
        before, self.version = self.version, next(
            one for one in (OneText(POLICY).commit, OneText(OTHER).commit) if one != self.version
        )  # fmt: skip
        row = ActivePolicy(self.version, self.now, "anna")
        assert self.both(lambda tx, _: tx.activate_policy(row, before))

    def moving(self) -> list[Rollout]:
        with self.fake.read() as tx:
            return list(tx.rollouts())

    @precondition(lambda self: self.moving())
    @rule(machine=st.sampled_from(MACHINES), pick=st.integers(0, 10))
    def a_machine_asks(self, machine: tuple[str, ...], pick: int) -> None:
        rollouts = self.moving()
        rollout = rollouts[pick % len(rollouts)]
        self.now += timedelta(seconds=1)

        def ask(tx: Any, gate: Gate) -> Any:
            found = tx.machine(machine[0])
            return claims.claim(tx, gate, found, rollout.source, rollout.release, "boot-1", self.now)

        answer = self.both(ask)
        if not isinstance(answer, Refusal):
            granted, new = answer
            assert not (new and self.halted_at.get(granted.rollout)), "nothing is granted after a halt"
            if new:
                self.keeps_p10(granted)

    def keeps_p10(self, granted: Claim) -> None:
        """After each grant: no more in flight than the budgets allow; of a make that nobody has survived, the first
        batch, at different sites."""
        a = self.fake.everything
        budgets = [a.budgets[granted.rollout, make] for make in (granted.make, FLEET)]
        for budget in budgets:
            assert budget.in_flight <= budget.limit, "P10: never more than the exposure budget allows"
        mine = [c for c in a.claims.values() if (c.rollout, c.make) == (granted.rollout, granted.make)]
        flying = [claim for claim in mine if claim.state in HOLDS_SLOT]
        if not budgets[0].healthy:
            assert len(flying) <= FIRST_BATCH, "P10: nobody has survived it: the first batch"
        if not any(c.state in (ClaimState.HEALTHY, *FAILURE) or c.id.startswith("straight") for c in mine):
            assert len({claim.site for claim in flying}) == len(flying), "P10: at different sites"

    @precondition(lambda self: self.moving())
    @rule(pick=st.integers(0, 10), make=st.sampled_from(["role=till|platform=vm", "new"]), opened=st.booleans())
    def a_ring_meets_a_make(self, pick: int, make: str, opened: bool) -> None:
        rollouts = self.moving()
        rollout = rollouts[pick % len(rollouts)]
        self.both(lambda tx, _: tx.add_make(rollout.id, "first", make, first_batch=FIRST_BATCH, opened=opened))

    @precondition(lambda self: self.moving())
    @rule(order=st.permutations(range(len(MACHINES))), pick=st.integers(0, 10))
    def everybody_asks(self, order: list[int], pick: int) -> None:
        for number in order:
            self.a_machine_asks(MACHINES[number], pick)

    @precondition(lambda self: self.moving())
    @rule(
        order=st.permutations(range(len(MACHINES))),
        pick=st.integers(0, 10),
        per_site=st.sampled_from([0, 1, 2, 5]),
        first=st.booleans(),
        sole_after=st.sampled_from([-1, 0, 1]),
    )
    def claims_go_straight_to_the_store(
        self, order: list[int], pick: int, per_site: int, first: bool, sole_after: int
    ) -> None:
        """Past the rules that are said early: here the store's own conditions decide, and nothing else."""
        rollouts = self.moving()
        rollout = rollouts[pick % len(rollouts)]
        limits = GrantLimits(per_site, first, sole_after >= 0, max(sole_after, 0), self.now - WORKING)
        for number in order:
            self.straight += 1
            machine = self.fake.everything.machines[MACHINES[number][0]]
            claim = Claim(
                id=f"straight-{self.straight}",
                rollout=rollout.id,
                release=rollout.release,
                source=rollout.source,
                machine=machine.id,
                site=machine.site,
                role=machine.role,
                ring=machine.ring,
                make=machine.make,
                state=ClaimState.GRANTED,
                granted_at=self.now + timedelta(microseconds=self.straight),
                lease_until=self.now + timedelta(minutes=5),
                deadline_at=self.now + timedelta(minutes=20),
                boot_id="boot-0",
                evidence="alive",
                boots=1,
                stay_up=timedelta(minutes=1),
                reboot="natural",
                tries=2,
                cohort=True,
            )
            if self.both(lambda tx, _, claim=claim: tx.grant(claim, limits)) is None:  # type: ignore[misc]
                self.keeps_p10(claim)

    @precondition(lambda self: self.fake.everything.in_hand)
    @rule(good=st.integers(0, 9), most=st.integers(1, 10))
    def those_in_flight_report(self, good: int, most: int) -> None:
        known = list(self.fake.everything.claims)
        flying = [n for n, one in enumerate(self.fake.everything.claims.values()) if one.state in HOLDS_SLOT]
        for number in flying[:most]:
            assert number < len(known)
            self.a_machine_reports(number, Step.INSTALLED, True)
            self.a_machine_reports(number, Step.HEALTHY, number % 10 != good)

    @precondition(lambda self: self.fake.everything.claims)
    @rule(pick=st.integers(0, 100), step=st.sampled_from(list(Step)), good=st.booleans(), boots=st.integers(0, 2))
    def a_machine_reports(self, pick: int, step: Step, good: bool, boots: int = 1) -> None:
        known = list(self.fake.everything.claims.values())
        claim = known[pick % len(known)]
        self.now += timedelta(seconds=1)
        probes = (claims.Probe("p", good),)
        ends = ("clean", "unclean", "unknown")
        told = [(f"boot-{1 - one}", "2026-03-02T06:00:00+00:00", ends[(pick + one) % 3]) for one in range(boots)][::-1]
        more = {"boots": told}
        said = claims.Report(claim.id, step, "boot-1", timedelta(minutes=2), claim.release, probes, more=more)

        def report(tx: Any, gate: Gate) -> Any:
            tx.seen(claim.machine, self.now)
            return claims.report(tx, gate, tx.machine(claim.machine), said, self.now)

        self.both(report)

    @precondition(lambda self: self.moving())
    @rule(
        said=st.lists(st.tuples(st.sampled_from(MACHINES), st.sampled_from(list(Step))), min_size=2, max_size=40),
        pick=st.integers(0, 10),
    )
    def many_speak_in_one_commit(self, said: list[tuple[tuple[str, ...], Step]], pick: int) -> None:
        """The real store reads those who speak at once and gathers what it writes; the fake takes one by one."""
        rollouts = self.moving()
        rollout = rollouts[pick % len(rollouts)]
        self.now += timedelta(seconds=1)

        def speak(tx: Any, gate: Gate, name: str, step: Step) -> Any:
            machine = tx.machine_by_key(name)
            if machine is None:
                return None
            live = tx.live_claim(machine.id)
            tx.seen(machine.id, self.now)
            if live is None:
                return claims.claim(tx, gate, machine, rollout.source, rollout.release, "boot-1", self.now)
            word = claims.Report(live.id, step, "boot-1", timedelta(minutes=2), live.release)
            return claims.report(tx, gate, machine, word, self.now)

        def all_of_them(tx: Any, gate: Gate) -> Any:
            if isinstance(tx, SqlTx):
                tx.shared = True
                tx.expect([name for (name, *_), _ in said])
            answers = [speak(tx, gate, name, step) for (name, *_), step in said]
            if isinstance(tx, SqlTx):
                tx.settle()
            return answers, [(one.kind, one.actor, one.subject) for one in tx.events(limit=50)]

        self.both(all_of_them)

    @precondition(lambda self: self.fake.everything.in_hand)
    @rule(pick=st.integers(0, 100))
    def a_machine_checks_in_without_it(self, pick: int) -> None:
        machines = sorted(self.fake.everything.in_hand)
        machine = machines[pick % len(machines)]

        def lapse(tx: Any, gate: Gate) -> Any:
            live = tx.live_claim(machine)
            return live and claims.lapse(tx, gate, live, self.now)

        self.both(lapse)

    @rule(minutes=st.sampled_from([1, 2, 6, 25]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        self.the_worker_ticks()

    @rule(heard=st.sets(st.sampled_from([name for name, *_ in MACHINES])))
    def a_week_in_which_only_some_are_heard(self, heard: set[str]) -> None:
        """Who was not heard of is no working machine of its role."""
        self.now += timedelta(days=8)

        def hear(tx: Any, _: Gate) -> None:
            for name in sorted(heard):
                tx.seen(name, self.now)

        self.both(hear)
        self.the_worker_ticks()

    def the_worker_ticks(self) -> None:
        def tick(tx: Any, gate: Gate) -> Any:
            swept = sweep.sweep(tx, gate, self.now)
            begun = [intake.promote_queued(tx, gate, one, self.now) for one in intake.may_begin(tx)]
            due = [one.id for one in tx.rollouts() if controls.due(tx, one.id, self.now)]
            for one in due:
                counted = controls.count(tx, gate, one, self.now)
                if counted is not None:
                    controls.look(tx, gate, one, counted, self.now)
            decided = [advance.advance_rollout(tx, gate, one.id, self.now) for one in tx.rollouts()]
            watched = [(one.id, last) for one, last in tx.exposed()]
            return swept, begun, due, decided, watched

        self.both(tick)
        with self.fake.read() as tx:
            for one in tx.rollouts():
                if one.state.value == "halted":
                    self.halted_at.setdefault(one.id, self.now)

    @precondition(lambda self: self.fake.everything.spans)
    @rule(pick=st.integers(0, 10), machines=st.sampled_from([0, 199, 200, 5000]), silent=st.integers(0, 199))
    def controls_go_straight_to_the_store(self, pick: int, machines: int, silent: int) -> None:
        """This fleet has too few of them: the store is told of more, and that a span is over."""
        rollouts = sorted({key[0] for key in self.fake.everything.spans})
        wanted = rollouts[pick % len(rollouts)]

        def fold(tx: Any, _: Gate) -> Any:
            groups = by_hour(tx.spans(wanted))
            for own, rows in groups:
                seen = own
                if not own.closed:
                    seen = replace(own, controls=machines, controls_failed=min(silent, machines), looked_at=self.now)
                    tx.looked(wanted, replace(seen, failed_then=own.failed))
                if seen.controls < 200:
                    tx.drop_span(wanted, own.hour, own.make)
                else:
                    tx.fold(wanted, rows, unfolded([replace(seen), *rows[1:]], 3))
            return len(groups)

        self.both(fold)

    @precondition(lambda self: self.moving())
    @rule(pick=st.integers(0, 10))
    def a_person_halts(self, pick: int) -> None:
        rollouts = self.moving()
        wanted = rollouts[pick % len(rollouts)].id
        answer = self.both(lambda tx, _: people.halt(tx, wanted, "anna", "smells", self.now))
        if isinstance(answer, Rollout):
            self.halted_at.setdefault(wanted, self.now)

    @precondition(lambda self: self.halted_at)
    @rule(pick=st.integers(0, 10), who=st.sampled_from(["anna", "bert"]))
    def a_person_resumes(self, pick: int, who: str) -> None:
        wanted = sorted(self.halted_at)[pick % len(self.halted_at)]
        answer = self.both(lambda tx, _: people.resume(tx, wanted, who, "a cable", self.now))
        if not isinstance(answer, tuple):
            self.resumed_by[wanted].add(who)
        if isinstance(answer, Rollout):
            del self.halted_at[wanted]

    @precondition(lambda self: COMES_BACK & {one.state for one in self.fake.everything.claims.values()})
    @rule(pick=st.integers(0, 100), crashed=st.booleans())
    def a_machine_comes_back(self, pick: int, crashed: bool) -> None:
        """From a crash, or from a boot that nobody asked for."""
        known = [one for one in self.fake.everything.claims.values() if one.state in COMES_BACK]
        claim = known[pick % len(known)]
        self.straight += 1
        events = (machines.Said("crashed", "", ""),) if crashed else ()
        said = machines.CheckIn(
            f"boot-{self.straight}", timedelta(minutes=1), {claim.source: claim.release}, events=events
        )
        self.now += timedelta(seconds=1)

        def back(tx: Any, gate: Gate) -> Any:
            found = tx.machine(claim.machine)
            watched = tx.watched_of(found.id, self.now), tx.relapsed_of(found.id, self.now)
            relapsed = restarts.heard(tx, gate, found, "before", said, self.now)
            tx.seen(found.id, self.now)
            return watched, relapsed

        self.both(back)

    @precondition(lambda self: self.fake.everything.claims)
    @rule(pick=st.integers(0, 100))
    def a_person_explains(self, pick: int) -> None:
        known = list(self.fake.everything.claims)
        wanted = known[pick % len(known)]
        self.both(lambda tx, gate: people.explain_failure(tx, gate, wanted, "anna", "a cable", self.now))

    @rule(sites=st.sampled_from(["abcde", *"abcde"]), source=st.sampled_from(["one", "two"]))
    def stock_clients_are_let_in(self, sites: str, source: str) -> None:
        for machine in [machine for machine, of, *_ in MACHINES if of in sites]:
            self._let_in(source, machine)

    def _let_in(self, source: str, machine: str) -> None:
        self.secrets += 1
        secret = f"secret-{self.secrets}"
        self.both(lambda tx, gate: mirror.admit(tx, gate, source, secret, "anna", self.now, machine=machine))

    @precondition(lambda self: self.fake.everything.tokens)
    @rule(pick=st.integers(0, 100))
    def a_token_is_revoked(self, pick: int) -> None:
        known = list(self.fake.everything.tokens)
        self.both(lambda tx, _: mirror.revoke(tx, known[pick % len(known)], "anna", self.now))

    @rule(machine=st.sampled_from(MACHINES), really=st.integers(0, 3))
    def a_person_decommissions(self, machine: tuple[str, ...], really: int) -> None:
        if really:
            return

        def gone(tx: Any, gate: Gate) -> Any:
            found = tx.machine(machine[0])
            return decommission(tx, gate, found, "anna", "in the cellar", self.now)

        if self.fake.everything.machines[machine[0]].status is MachineStatus.ACTIVE:
            self.gone[machine[1], machine[2]] += 1
        self.both(gone)

    @invariant()
    def both_hold_the_same_facts(self) -> None:
        def facts(tx: Any) -> Any:
            found: dict[str, Any] = {"past": tx.past_trials(3)}
            found["told"] = {name: tx.boots_of(name) for name in sorted(self.fake.everything.machines)}
            found["let in"] = tx.mirror_tokens(), tx.pointers()
            found["had"] = {name: tx.rollouts_of(name) for name in sorted(self.fake.everything.machines)}
            since = self.now - timedelta(minutes=30)
            for one in tx.rollouts():
                budgets = {budget.make: budget for budget in tx.budgets(one.id)}
                known = {claim.id: claim for claim in tx.claims(one.id, limit=10_000)}
                sites = tx.sites_hit(one.id, ["first", "rest"])
                said = tx.attributions(one.id)
                found[one.id] = (
                    one,
                    tx.rings(one.id),
                    tx.strata(one.id),
                    budgets,
                    tx.trials(one.id).boots,
                    sites,
                    known,
                    said,
                )
                spans = sorted(tx.spans(one.id), key=lambda row: (row.hour, row.make, row.boot))
                groups = Counter(tx.controls(one.id, since, timedelta(minutes=5)))
                found[f"{one.id} compared"] = spans, tx.trials(one.id).sums, tx.sight(one.id), groups
                makes = sorted(budgets)
                bad = [Bad(["first", "rest"], kinds, since) for kinds in ([ClaimState.SILENT], list(FAILURE))]
                bad.append(Bad(["first", "rest"], list(FAILURE), since, crashed=True))
                found[f"{one.id} decided"] = (
                    tx.grounds(one.id, self.now),
                    tx.count_bad(one.id, bad),
                    [tx.healthy_sites(one.id, ["first"], dict.fromkeys(makes, most)) for most in (1, 500)],
                    tx.opened_in([two.id for two in tx.rollouts(source=one.source)]),
                    failed := tx.failures(one.id, 500),
                    tx.failures(one.id, 2, failed[0]) if failed else [],
                    tx.failures(one.id, 2, failed[-1]) if failed else [],
                    quiet := tx.quiet_since(one.id, ["first", "rest"], since, 500),
                    tx.quiet_since(one.id, ["first", "rest"], since, 2, quiet[0]) if quiet else [],
                )
                found[f"{one.id} due"] = [tx.look_due(one.id, self.now - timedelta(minutes=ago)) for ago in (0, 20)]
            return found

        with self.fake.read() as fake, self.real.read() as real:
            assert facts(fake) == facts(real)

    @invariant()
    def a_halt_is_lifted_by_two_people_only(self) -> None:
        for one in self.moving():
            before, self.stood[one.id] = self.stood.get(one.id), one.state
            if before is RolloutState.HALTED and one.state is not RolloutState.HALTED:
                if one.state is not RolloutState.SUPERSEDED:
                    assert self.resumed_by[one.id] == {"anna", "bert"}, "P5: only two people resume"
                del self.resumed_by[one.id]

    @invariant()
    def the_log_told_again_from_the_beginning_comes_to_the_same_states(self) -> None:
        with self.real.read() as tx:
            for rollout in tx.rollouts():
                found = {claim.id: claim.state for claim in tx.claims(rollout.id, limit=10_000)}
                events = tx.events(subject=rollout.id, limit=10_000)[::-1]
                told = replayed.of(events, found)
                opened = {ring.ring: ring.opened_at for ring in tx.rings(rollout.id) if ring.opened_at is not None}
                assert (told.rollout, told.opened, told.claims) == (rollout.state, opened, found)
                mine = {one.claim for one in tx.attributions(rollout.id) if one.kind == "explained"}
                assert told.explained == mine

    @invariant()
    def the_promises_hold(self) -> None:
        a = self.fake.everything
        let_in = {(one.source, one.holder) for one in a.tokens.values() if one.revoked_at is None}
        assert let_in == set(a.pointers), "who has a token is served, and nobody else"
        active = {one.id for one in a.machines.values() if one.status is MachineStatus.ACTIVE}
        assert {holder for _, holder in let_in} <= active, "a machine that is gone reads nothing"
        flying = [claim for claim in a.claims.values() if claim.state in HOLDS_SLOT]
        for ring in a.rings.values():
            here = sum((claim.rollout, claim.ring) == (ring.rollout, ring.ring) for claim in flying)
            assert here == ring.in_flight
            assert not ring.cap or here <= ring.cap, "P4: no more than the ring's cap"
        for budget in a.budgets.values():
            mine = [c for c in a.claims.values() if c.rollout == budget.rollout and budget.make in (c.make, "*")]
            assert budget.in_flight == sum(claim.state in HOLDS_SLOT for claim in mine)
            assert budget.healthy == sum(counts(claim).healthy for claim in mine)
            assert budget.failed == sum(counts(c).bad for c in mine) - sum(c.id in a.explained for c in mine)
            assert budget.tried_failed == budget.failed, "one failure a machine at most"
            assert budget.tried == sum(counts(c).tried for c in mine) - sum(c.id in a.explained for c in mine)
            assert budget.extended <= 2
        for (rollout, number), span in a.boots.items():
            tried = [boots_tried(c).get(number, (0, 0)) for c in a.claims.values() if c.rollout == rollout]
            left = [c for c in a.claims.values() if c.rollout == rollout and c.id in a.explained]
            away = sum(boots_tried(c).get(number, (0, 0))[1] for c in left)
            assert span == Span(sum(n for n, _ in tried) - away, sum(n for _, n in tried) - away)
        assert all(count == 1 for count in Counter(claim.machine for claim in flying).values())
        tills: Counter[str] = Counter()
        for claim in a.claims.values():
            if claim.role == "till" and (claim.state in HOLDS_SLOT or (claim.state in BROKEN and not claim.recovered)):
                tills[claim.site] += 1
        for site in "abcde":
            total, busy, _ = a.roles.get((site, "till"), [0, 0, 0])
            assert busy == tills[site]
            later = sum(
                c.state is ClaimState.RELAPSED and (c.site, c.role) == (site, "till") for c in a.claims.values()
            )
            gone = self.gone[site, "till"]  # a person took them; no grant did
            assert total == 0 or busy - later - gone < total, "P3: no grant takes a site's last working till"


def run(make_real: Callable[[], SqlStore], examples: int) -> None:
    class Machine(Stores):
        pass

    Machine.make_real = staticmethod(make_real)  # type: ignore[method-assign]
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_fake_and_sqlite_answer_alike_and_keep_the_promises(template_file: Path, tmp_path: Path) -> None:
    numbers = itertools.count()

    def fresh() -> SqlStore:
        file = shutil.copyfile(template_file, tmp_path / f"{next(numbers)}.db")
        return SqlStore(f"sqlite:///{file}", durable=False)

    run(fresh, 25)


@pytest.mark.postgres
def test_fake_and_postgresql_answer_alike_and_keep_the_promises(postgres: str, template: str) -> None:
    names: list[str] = []

    def fresh() -> SqlStore:
        names.append(f"stateful_{uuid.uuid4().hex[:12]}")
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {names[-1]} TEMPLATE {template}")
        return SqlStore(named(postgres, names[-1]))

    try:
        run(fresh, 8)
    finally:
        with psycopg.connect(postgres, autocommit=True) as connection:
            for name in names:
                connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
