"""Failures in the real flows: the background, extensions, halts by statistics, a make that lags behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gate.adapters.policy_yaml import parse_text
from gate.bootstrap import OneText
from gate.core import background, exposure, makes
from gate.core.evalues import LEAST_BACKGROUND
from gate.core.model import (
    FLEET,
    Budget,
    Claim,
    RingState,
    Rollout,
    RolloutState,
    Site,
    Step,
    Stratum,
)
from gate.core.opening import judge
from gate.core.verdict import Refusal
from gate.flows import advance, claims, facts_json, gathering, people, replay
from gate.flows.why import why
from gate.ports import ActivePolicy, StoredDecision
from tests.core.test_opening import GOOD, TILL
from tests.fake_store import FakeStore
from tests.flows.small_fleet import appears, joins, says
from tests.flows.test_stateful import gate_for

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory, evidence: alive}]
rings:
  - {name: first, why: w, pick: {label: first}, gate: {soak: 1m, at_least: 1, sites: 1}}
  - {name: rest, why: w, pick: {role: [till, server]}, gate: {soak: 1m, at_least: 1, sites: 1}}
first_batch: 3
defaults: {stay_up: 1m, lease: 5m, deadline: 20m, background: 0.75%, max_lead_rings: 1}
"""


class World:
    """Forty sites with a till each and one to spare, the first twenty in the first ring; one rollout."""

    def __init__(self, text: str = POLICY) -> None:
        self.store, self.gate, self.now = FakeStore(), gate_for(text), NOW
        self.version = OneText(text).commit
        with self.store.write() as tx:
            tx.activate_policy(ActivePolicy(self.version, NOW, "test"), "")
            for number in range(40):
                site = f"s{number:02}"
                tx.save_site(Site(site, site, "NW", "", True))
                for name in (f"{site}-a", f"{site}-b"):
                    ring = "first" if number < 20 else "rest"
                    joins(tx, name, site, ring, NOW - timedelta(days=1), labels={"first"} if number < 20 else ())
        self.rollout = self.appears("1")
        ranks = {f"s{n:02}": makes.rank(self.state.salt, f"s{n:02}-a") for n in range(20)}
        self.drawn = sorted(ranks, key=lambda site: ranks[site])  # who may be first comes first

    def appears(self, version: str) -> str:
        with self.store.write() as tx:
            made = appears(tx, self.gate, self.now, version, self.version, critical=False)
        self.tick()
        return made

    def tick(self) -> None:
        with self.store.write() as tx:
            for one in tx.rollouts(states=(RolloutState.RUNNING,)):
                advance.advance_rollout(tx, self.gate, one.id, self.now)

    def asks(self, name: str) -> Claim | Refusal:
        self.now += timedelta(seconds=1)
        with self.store.write() as tx:
            found = tx.rollout(self.rollout)
            site, _, till = name.partition("-")
            name = f"{self.drawn[int(site[1:])]}-{till}" if int(site[1:]) < 20 else name
            answer = claims.claim(tx, self.gate, tx.machine(name), "one", found.release, "b0", self.now)
        return answer if isinstance(answer, Refusal) else answer[0]

    def ends(self, claim: Claim, step: Step) -> None:
        with self.store.write() as tx:
            for one in (Step.INSTALLED, step):
                says(tx, self.gate, claim, one, "b1", self.now)

    def takes(self, number: int, step: Step = Step.HEALTHY) -> Claim:
        claim = self.asks(f"s{number:02}-a")
        assert isinstance(claim, Claim), claim
        self.ends(claim, step)
        return claim

    def resumed(self) -> None:
        """As by two people's word."""
        with self.store.write() as tx:
            assert tx.save_rollout(replace(self.state, state=RolloutState.RUNNING, version=self.state.version + 1))
        self.tick()

    @property
    def budget(self) -> Budget:
        with self.store.read() as tx:
            return next(one for one in tx.budgets(self.rollout) if one.make == "role=till")

    @property
    def state(self) -> Rollout:
        with self.store.read() as tx:
            found = tx.rollout(self.rollout)
        assert found is not None
        return found


@pytest.mark.parametrize(
    ("tried", "failed", "expected"),
    [(0, 0, background.UNTIL_KNOWN), (199, 9, background.UNTIL_KNOWN), (200, 1, 0.005), (200, 0, LEAST_BACKGROUND),
     (1000, 30, 0.03), (1000, 31, 0.03), (1000, 29, 0.029)],
)  # fmt: skip
def test_the_background_is_measured_from_200_boots_on_and_capped(tried: int, failed: int, expected: float) -> None:
    assert background.of(parse_text(POLICY.replace("0.75%", "measured")), tried, failed) == expected
    assert background.of(parse_text(POLICY), tried, failed) == 0.0075


def budget(healthy: int, failed: int, *, flight: int = 0, extended: int = 0, extend_to: int = 0) -> Budget:
    return Budget("r", "till", flight, 9, healthy, failed, False, extended=extended, extend_to=extend_to)


@pytest.mark.parametrize(
    ("before", "limit", "stopped", "extended", "extend_to"),
    [
        (budget(6, 1), 20, False, 0, 0),  # 1 of 7 at 0.75 % is chance: it grows
        (budget(5, 1), 3, False, 1, 9),  # 1 of 6 is not: a batch more
        (budget(5, 1, flight=1), 0, False, 0, 0),  # not before all that is in flight has resolved
        (budget(6, 2, flight=2, extended=1, extend_to=10), 2, False, 1, 10),  # the batch runs
        (budget(7, 2, flight=1, extended=1, extend_to=10), 1, False, 1, 10),
        (budget(8, 2, flight=1, extended=1, extend_to=10), 0, False, 1, 10),
        (budget(8, 2, extended=1, extend_to=10), 3, False, 2, 13),  # a second one
        (budget(11, 2, extended=2, extend_to=13), 0, True, 2, 13),  # then a person
        (budget(13, 1, extended=2, extend_to=13), 0, False, 2, 0),  # explained, or chance after all
        (budget(58, 4), 6, False, 1, 68),  # a tenth of what has resolved
    ],
)  # fmt: skip
def test_an_unexplained_failure_extends_twice_before_a_person_is_asked(
    before: Budget, limit: int, stopped: bool, extended: int, extend_to: int
) -> None:
    after = exposure.renewed(before, 10, 3, 0.0075, 0.95)
    if extend_to or stopped or before.in_flight:
        assert after.limit == limit
    else:
        assert after.limit > 3
    assert (after.stopped, after.extended, after.extend_to) == (stopped, extended, extend_to)


def test_a_chance_failure_costs_a_batch_and_then_it_goes_on() -> None:
    world = World()
    for number in range(3):
        world.takes(number)
    world.takes(3, Step.FAILED)
    assert (world.budget.extended, world.budget.limit, world.budget.extend_to) == (1, 3, 7)
    flying = [world.asks(f"s{number:02}-a") for number in range(4, 7)]
    refused = world.asks("s07-a")
    assert isinstance(refused, Refusal) and refused.kind == "budget_reached"
    for claim in flying:
        assert isinstance(claim, Claim)
        world.ends(claim, Step.HEALTHY)
    assert (world.budget.stopped, world.budget.extend_to) == (False, 0)
    assert world.budget.limit > 3
    world.now += timedelta(hours=1)
    world.tick()
    world.now += timedelta(hours=1)
    world.tick()
    assert world.state.reached == 1
    assert world.budget.extended == 0, "counted anew in the next ring"


def test_a_batch_that_never_started_makes_room_again() -> None:
    world = World()
    first = world.asks("s00-a")
    second = world.asks("s01-a")
    assert isinstance(first, Claim) and isinstance(second, Claim)
    world.ends(first, Step.FAILED)
    assert world.budget.limit == 0
    with world.store.write() as tx:
        assert claims.lapse(tx, world.gate, second, second.lease_until + timedelta(seconds=1)) is not None
    assert (world.budget.extended, world.budget.limit) == (1, 3)


def failing(world: World, first: str, second: str) -> list[Claim]:
    made = []
    for name in (first, second):
        claim = world.asks(name)
        assert isinstance(claim, Claim), claim
        made.append(claim)
    for claim in made:
        world.ends(claim, Step.FAILED)
    world.tick()
    return made


def test_two_of_two_at_two_sites_are_not_chance_and_the_decision_can_be_replayed() -> None:
    world = World()
    made = failing(world, "s00-a", "s01-a")
    assert (world.state.state, world.state.halted_by) == (RolloutState.HALTED, "defaults.false_halt")
    stored = next(one for one in world.store.everything.decisions if one.verdict == "HALT")
    facts = facts_json.load(stored.facts)
    assert judge(facts).reasons[0].code == "not_chance"
    assert (facts.failed_machines, facts.failed_sites, facts.exposed_sites) == (2, 2, 2)
    assert (facts.background, facts.false_halt) == (0.0075, 0.01)
    refused = world.asks("s02-a")
    assert isinstance(refused, Refusal) and refused.kind == "halted"
    with world.store.read() as tx:
        said = why(tx, world.gate, "s02-a", "one", world.now)
    assert "2 machines at 2 sites have failed" in said.sentence
    assert (said.rule, said.line) == ("defaults.false_halt", parse_text(POLICY).line_of("defaults"))
    with world.store.write() as tx:
        for claim in made:
            people.explain_failure(tx, world.gate, claim.id, "anna", "a power cut", world.now)
    world.resumed()
    assert world.state.state is RolloutState.RUNNING, "what has been explained does not halt it again"


def test_resumed_without_an_explanation_it_halts_again() -> None:
    world = World()
    failing(world, "s00-a", "s01-a")
    world.resumed()
    assert world.state.state is RolloutState.HALTED


@pytest.mark.parametrize(("share", "halted"), [("1%", True), ("0.001%", False)])
def test_false_halt_of_the_policy_rules(share: str, halted: bool) -> None:
    world = World(POLICY.replace("max_lead_rings: 1", f"false_halt: {share}"))
    failing(world, "s00-a", "s01-a")
    assert (world.state.state is RolloutState.HALTED) is halted


def test_a_background_is_fixed_when_the_rollout_begins() -> None:
    world = World(POLICY.replace("0.75%", "measured"))
    assert world.state.background == background.UNTIL_KNOWN
    with world.store.write() as tx:
        fleet = tx.a.budgets[world.rollout, FLEET]
        tx.a.budgets[world.rollout, FLEET] = replace(fleet, tried=400, tried_failed=4)
        tx.a.rollouts[world.rollout] = replace(world.state, state=RolloutState.DONE)
    assert world.state.background == background.UNTIL_KNOWN
    world.rollout = world.appears("2")
    assert world.state.background == 0.01


@pytest.mark.parametrize(("closed_in", "reached"), [(None, None), (0, -1), (1, 0), (2, 1)])
def test_a_make_has_reached_the_ring_before_the_first_that_opened_without_it(
    closed_in: int | None, reached: int | None
) -> None:
    rings = [RingState("r", f"ring{n}", n, NOW, 0, 0, 9) for n in range(3)]
    rows = [Stratum("r", f"ring{n}", "till", n != closed_in, 9, 9, 1.0, 9) for n in range(3)]
    assert gathering._reached(rings, rows).get("till") == reached


@pytest.mark.parametrize(("part", "same"), [(1e-15, True), (1e-9, False)])
def test_a_bound_that_was_computed_in_another_way_is_the_same_to_twelve_digits(part: float, same: bool) -> None:
    facts = replace(GOOD, gate=replace(GOOD.gate, rule_out_make=0.5), makes=(replace(TILL, bad=1),))
    decision = judge(facts)
    reasons = [facts_json.reason(reason) for reason in decision.reasons]
    [numbers] = [one["numbers"] for one in reasons if one["code"] == "rule_out"]
    numbers["bound"] *= 1 + part
    stored = StoredDecision(1, "r", facts.ring, facts.now, "HOLD", (), reasons, facts_json.dump(facts), "v")
    found = replay.replay(gate_for(POLICY), stored, None).differences
    assert ("the reasons differ" not in found) is same


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("background", 0.0075, ""),
        ("background", 0.2, "defaults.background was 0.2 in its facts, and is 0.0075"),
        ("people_decide", "", "rings[1].decides was gate in its facts, and is rings[1].decides"),
    ],
)
def test_facts_that_say_otherwise_than_the_policy_are_found(name: str, value: object, said: str) -> None:
    decided = POLICY.replace("label: first}, gate", "label: first}, decides: gate, gate")
    decided = decided.replace("[till, server]}, gate", "[till, server]}, decides: people, gate")
    decided_on = {"people_decide": "rings[1].decides", "background": 0.0075, "background_cap": 0.03}
    facts = replace(GOOD, brakes=(), **decided_on)
    stored = StoredDecision(1, "r", "rest", NOW, "HOLD", (), (), facts_json.dump(replace(facts, **{name: value})), "v")
    found = replay.replay(gate_for(decided), stored, "one").differences
    rules = ("defaults.background", "rings[1].decides")
    assert [one for one in found if one.startswith(rules)] == ([f"{said} in policy v"] if said else [])
