"""What could slip by: dead while applying, dead after the end, new releases of a source, new makes, spent rings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore
from gate.core import makes
from gate.core.errors import Conflict
from gate.core.model import Claim, ClaimState, Machine, MachineStatus, Rollout, RolloutState, Site, Step
from gate.core.verdict import Decision, Refusal, Verdict
from gate.flows import advance, claims, intake, machines, people, recalls, sweep, why
from gate.flows.machines import CheckIn
from gate.ports import ActivePolicy
from tests.flows.small_fleet import appears, joins, says, takes
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

pytestmark = pytest.mark.slow

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
HEAD = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role, os_build]}
sources:
  - {name: one, plugin: directory}
"""
RINGS = """\
rings:
  - {name: lab, why: w, pick: {role: till}, at_most: {per_site: 2}, gate: {soak: 1h, at_least: 3}}
  - {name: rest, why: w, pick: {role: server}, gate: {soak: 1h open, at_least: 3}}
at_risk: {per_make: 10, fleet: 20}
first_batch: 3
"""
DEFAULTS = "defaults: {stay_up: 1m, deadline: 2h open, reboot: after install}\n"
Fleet = Mapping[str, Sequence[tuple[str, str, str]]]  # site -> (name, ring, role)


class Shop:
    """A small fleet on a real store, and one release of it."""

    def __init__(self, store: SqlStore, policy: str, sites: Fleet) -> None:
        self.store, self.gate, self.now = store, gate_for(HEAD + policy), at("2026-11-23 09:00")
        self.gate.texts.commit = "v"  # type: ignore[attr-defined]
        with store.write() as tx:
            tx.activate_policy(ActivePolicy("v", self.now, "test"), "")
            for site, mine in sites.items():
                tx.save_site(Site(site, site, "NW", "Mo-Su 08:00-18:00"))
                for name, ring, role in mine:
                    joins(tx, name, site, ring, self.now, role)
                    tx.seen(name, self.now)
        self.rollout = self.arrives("1")

    def arrives(self, version: str) -> str:
        with self.store.write() as tx:
            self.rollout = appears(tx, self.gate, self.now, version=version)
            advance.advance_rollout(tx, self.gate, self.rollout, self.now)
        return self.rollout

    def asks(self, name: str) -> Claim | Refusal:
        with self.store.write() as tx:
            rollout, machine = tx.rollout(self.rollout), tx.machine(name)
            assert rollout is not None
            assert machine is not None
            found = claims.claim(tx, self.gate, machine, "one", rollout.release, "b0", self.now)
        return found if isinstance(found, Refusal) else found[0]

    def why(self, name: str) -> str:
        with self.store.read() as tx:
            return why.why(tx, self.gate, name, "one", self.now).kind

    def takes(self, name: str) -> Claim:
        with self.store.write() as tx:
            return takes(tx, self.gate, self.rollout, name, self.now)

    def says(self, claim: Claim, step: Step, boot: str = "b1") -> None:
        with self.store.write() as tx:
            found = tx.claim(claim.id)
            assert found is not None
            says(tx, self.gate, found, step, boot, self.now)
            tx.seen(claim.machine, self.now)

    def heard(self, names: Sequence[str]) -> None:
        with self.store.write() as tx:
            for name in names:
                tx.seen(name, self.now)

    def ticks(self, **later: float) -> list[Decision]:
        self.now += timedelta(**later)
        with self.store.write() as tx:
            sweep.sweep(tx, self.gate, self.now)
            sweep.look_after(tx, self.gate, self.now)
            advance.watch_rollout(tx, self.gate, self.rollout, self.now)
            return advance.advance_rollout(tx, self.gate, self.rollout, self.now)

    def state(self) -> Rollout:
        with self.store.read() as tx:
            found = tx.rollout(self.rollout)
        assert found is not None
        return found


def tills(count: int, servers: int = 0) -> dict[str, list[tuple[str, str, str]]]:
    found = {f"s{n}": [(f"t{n}", "lab", "till")] for n in range(count)}
    for n in range(servers):
        found[f"s{n}"].append((f"q{n}", "rest", "server"))
    return found


@pytest.mark.parametrize(("later", "opens"), [(timedelta(minutes=29), True), (timedelta(minutes=30), False)])
def test_a_machine_that_is_not_heard_of_when_its_lease_is_over_counts_as_failed_for_opening(
    store: SqlStore, later: timedelta, opens: bool
) -> None:
    ruled = RINGS.replace("soak: 1h, at_least: 3}", "soak: 10m, at_least: 3, rule_out: {fleet: 30%}}")
    shop = Shop(store, ruled + DEFAULTS, tills(20, 20))
    for n in range(10):
        shop.says(shop.takes(f"t{n}"), Step.HEALTHY)
    shop.ticks()
    for n in range(10, 15):
        assert isinstance(shop.asks(f"t{n}"), Claim)
    shop.now += later
    decision = shop.ticks()[0]
    assert (decision.verdict is Verdict.OPEN) == opens
    assert opens or [one.code for one in decision.reasons if not one.make] == ["rule_out"]


def test_a_machine_that_was_silent_before_it_installed_may_take_the_next_release_once_it_is_heard(
    store: SqlStore,
) -> None:
    """Without the release in its check-in it never started, or went back: its slot is free, its silence stays."""
    shop = Shop(
        store,
        RINGS + DEFAULTS.replace("{", "{supersede: restart, "),
        {"s0": [(name, "lab", "till") for name in ("t0", "u0", "v0")]},
    )
    claim = shop.asks("t0")
    assert isinstance(claim, Claim)
    shop.ticks(hours=9)
    with store.read() as tx:
        assert [one.state for one in tx.claims(shop.rollout)] == [ClaimState.SILENT]
    shop.arrives("2")
    assert isinstance(refusal := shop.asks("t0"), Refusal)
    assert refusal.kind == "other_in_flight"
    with store.write() as tx:
        machine = tx.machine("t0")
        assert machine is not None
        machines.checkin(tx, shop.gate, machine, CheckIn("b1", HOUR), lambda one: (one.ring, one.make), shop.now)
        silent = tx.claim(claim.id)
    assert silent is not None
    assert (silent.state, silent.recovered) == (ClaimState.SILENT, True)
    assert isinstance(shop.asks("t0"), Claim)


def test_a_machine_that_lost_its_claim_may_take_the_next_release_when_the_lease_has_ended(store: SqlStore) -> None:
    """Its answer never came, and it was started anew: it knows of no claim, and is told until when it has one."""
    shop = Shop(
        store,
        RINGS + DEFAULTS.replace("{", "{supersede: restart, lease: 2m, "),
        {"s0": [(name, "lab", "till") for name in ("t0", "u0", "v0")]},
    )
    claim = shop.asks("t0")
    assert isinstance(claim, Claim)
    shop.arrives("2")
    assert isinstance(refusal := shop.asks("t0"), Refusal)
    assert (refusal.kind, refusal.retry_after_s, refusal.earliest_at) == ("other_in_flight", 121, claim.lease_until)
    shop.now = claim.lease_until + timedelta(seconds=1)
    with store.write() as tx:
        machine = tx.machine("t0")
        assert machine is not None
        machines.checkin(tx, shop.gate, machine, CheckIn("b1", HOUR), lambda one: (one.ring, one.make), shop.now)
    assert isinstance(shop.asks("t0"), Claim)


def test_a_silent_machine_that_says_it_went_back_works_again_and_its_silence_stays(store: SqlStore) -> None:
    shop = Shop(
        store,
        RINGS + DEFAULTS.replace("{", "{supersede: restart, "),
        {"s0": [(name, "lab", "till") for name in ("t0", "u0", "v0")]},
    )
    claim = shop.takes("t0")
    shop.says(claim, Step.INSTALLED)
    shop.ticks(hours=9)
    shop.arrives("2")
    assert isinstance(refusal := shop.asks("t0"), Refusal)
    assert refusal.kind == "other_in_flight"
    shop.says(claim, Step.ROLLED_BACK)
    with store.read() as tx:
        silent = tx.claim(claim.id)
    assert silent is not None
    assert (silent.state, silent.recovered) == (ClaimState.SILENT, True)
    assert isinstance(shop.asks("t0"), Claim)


def done(shop: Shop, count: int) -> None:
    for kind in "tq":
        for n in range(count):
            shop.says(shop.takes(f"{kind}{n}"), Step.HEALTHY)
        shop.ticks()
        shop.ticks(hours=2)
        shop.heard([f"{kind}{n}" for n in range(count)])
    shop.ticks()
    assert shop.state().state is RolloutState.DONE


def test_what_breaks_after_the_end_halts_by_statistics_and_the_decision_can_be_replayed(store: SqlStore) -> None:
    roomy = RINGS.replace("{per_make: 10, fleet: 20}\nfirst_batch: 3", "{per_make: 99, fleet: 99}\nfirst_batch: 30")
    shop = Shop(store, roomy + DEFAULTS, tills(12, 12))
    done(shop, 12)
    shop.now = at("2026-11-24 08:10")
    for _ in range(0, 9 * 60, 30):
        shop.now += 30 * MINUTE
        shop.heard([f"q{n}" for n in range(12)])  # the servers are there; no till comes back
        shop.ticks()
    halted = shop.state()
    assert (halted.state, halted.halted_by) == (RolloutState.HALTED, "defaults.false_halt")
    with store.read() as tx:
        decision = tx.last_decision(shop.rollout, "done")
    assert decision is not None
    assert decision.verdict == "HALT"
    assert isinstance(shop.asks("t0"), Refusal)


def first(shop: Shop, names: Collection[str]) -> str:
    """Who is drawn first, of these."""
    with shop.store.read() as tx:
        rollout = tx.rollout(shop.rollout)
        assert rollout is not None
        return min(names, key=lambda name: makes.rank(rollout.salt, name))


@pytest.mark.parametrize("mode", ["restart", "inherit"])
def test_releases_of_one_source_share_the_first_batch_of_a_make_that_nobody_has_survived(
    store: SqlStore, mode: str
) -> None:
    text = RINGS + DEFAULTS.replace("{", f"{{supersede: {mode}, ").replace("after install", "natural")
    shop = Shop(store, text, tills(40))
    given, left = [], {f"t{n}" for n in range(40)}
    for version in range(2, 8):
        count = 0
        while isinstance(claim := shop.asks(first(shop, left)), Claim):
            shop.says(claim, Step.INSTALLED, "b0")
            left.discard(claim.machine)
            count += 1
        given.append(count)
        shop.now += HOUR
        shop.arrives(str(version))
    assert given == [3, 0, 0, 0, 0, 0]
    with store.write() as tx:  # one of the first three has answered: a place is free again
        one = next(c for rollout in tx.rollouts() for c in tx.claims(rollout.id))
    shop.says(one, Step.FAILED)
    assert isinstance(shop.asks(first(shop, left)), Claim)


def test_an_extension_that_no_machine_is_left_for_asks_a_person(store: SqlStore) -> None:
    others = {f"r{n}": [(f"r{n}", "rest", "till")] for n in range(3)}
    shop = Shop(store, RINGS + DEFAULTS, {**tills(3), **others})
    first, second, third = (shop.takes(f"t{n}") for n in range(3))
    shop.says(first, Step.HEALTHY)
    shop.says(second, Step.HEALTHY)
    shop.says(third, Step.FAILED)
    with store.read() as tx:
        assert [one.stopped for one in tx.budgets(shop.rollout) if one.make == "role=till"] == [True]
    [reason] = [one for one in shop.ticks(hours=1)[-1].reasons if one.code == "unexplained_failure"]
    assert not reason.numbers["extending"]


def test_an_extension_goes_on_while_the_ring_has_machines_left(store: SqlStore) -> None:
    shop = Shop(store, RINGS + DEFAULTS, tills(4, 3))
    first, second, third = (shop.takes(f"t{n}") for n in range(3))
    shop.says(first, Step.HEALTHY)
    shop.says(second, Step.HEALTHY)
    shop.says(third, Step.FAILED)
    assert isinstance(shop.asks("t3"), Claim)


def test_a_recalled_release_is_not_handed_out_again_while_the_lease_runs(store: SqlStore) -> None:
    roomy = RINGS.replace("{per_make: 10, fleet: 20}\nfirst_batch: 3", "{per_make: 99, fleet: 99}\nfirst_batch: 12")
    shop = Shop(store, roomy + DEFAULTS, tills(6, 6))
    done(shop, 6)
    second = shop.arrives("2")
    assert isinstance(shop.asks("t0"), Claim)
    with store.write() as tx:
        people.halt(tx, second, "anna", "bad", shop.now)
    for who in ("anna", "bert"):
        with store.write() as tx:
            recalls.recall(tx, second, who, "bad", shop.now)
    assert shop.state().state is RolloutState.RECALLED
    found = shop.asks("t0")
    assert isinstance(found, Refusal)
    assert found.kind == "halted"


def remade(shop: Shop, name: str) -> None:
    with shop.store.write() as tx:
        machine = tx.machine(name)
        assert machine is not None
        place = lambda one: (machine.ring, f"role={one.role}|os_build={one.facts.get('os_build', '-')}")  # noqa: E731
        said = CheckIn("b0", HOUR, facts={**machine.facts, "os_build": "26100"})
        machines.checkin(tx, shop.gate, machine, said, place, shop.now)


def test_a_machine_of_another_make_since_its_ring_opened_is_not_waited_for_and_starts_at_a_first_batch(
    store: SqlStore,
) -> None:
    shop = Shop(store, RINGS.replace("at_least: 3}", "at_least: 1}") + DEFAULTS, tills(2, 1))
    for name in ("t0", "t1"):
        remade(shop, name)
    with store.read() as tx:
        rows = {one.make: one for one in tx.strata(shop.rollout) if one.ring == "lab"}
        assert sum(one.share_members for one in rows.values()) == 2
        assert rows["role=till"].share_members == 0
        assert tx.rings(shop.rollout)[0].members == 2
    shop.ticks()
    shop.says(shop.takes("t0"), Step.HEALTHY)
    shop.ticks()
    shop.ticks(hours=1)
    with store.read() as tx:
        assert tx.rings(shop.rollout)[1].opened_at is not None, "the next ring waits for nobody who is gone"


def test_a_new_make_in_a_rollout_that_is_done_starts_at_its_first_batch(store: SqlStore) -> None:
    roomy = RINGS.replace("{per_make: 10, fleet: 20}\nfirst_batch: 3", "{per_make: 99, fleet: 99}\nfirst_batch: 12")
    shop = Shop(store, roomy + DEFAULTS, {**tills(12, 12), "new": [("late", "lab", "till")]})
    for kind in "tq":
        for n in range(12):
            shop.says(shop.takes(f"{kind}{n}"), Step.HEALTHY)
        shop.ticks()
        shop.ticks(hours=2)
    shop.ticks()
    assert shop.state().state is RolloutState.DONE
    remade(shop, "late")
    assert isinstance(shop.asks("late"), Claim)


@pytest.mark.parametrize(("rings_before", "kind"), [(0, "site_limit"), (2, "site_limit"), (3, None)])
def test_rings_0_to_2_have_one_machine_of_a_make_and_site_in_flight(
    store: SqlStore, rings_before: int, kind: str | None
) -> None:
    """Whatever ``per_site`` says: two machines of one site in flight are one witness. Another make may be beside it."""
    before = "".join(
        f"  - {{name: r{n}, why: w, pick: {{role: r{n}}}, gate: {{soak: 1m, at_least: 1}}}}\n"
        for n in range(rings_before)
    )
    text = RINGS.replace("rings:\n", f"rings:\n{before}").replace("role: till", "role: [till, desk]")
    fleet = {
        f"s{n}": [
            (f"a{n}", "lab", "till"),
            (f"b{n}", "lab", "till"),
            (f"c{n}", "lab", "till"),
            (f"d{n}", "lab", "desk"),
            (f"e{n}", "lab", "desk"),
        ]
        for n in range(5)
    }
    fleet |= {f"x{n}": [(f"x{n}", f"r{n}", f"r{n}")] for n in range(rings_before)}
    shop = Shop(store, text.replace("per_site: 2", "per_site: 3") + DEFAULTS.replace("natural", "boot"), fleet)
    for n in range(rings_before):
        shop.says(shop.takes(f"x{n}"), Step.HEALTHY)
        shop.ticks()
        shop.ticks(minutes=5)
    for n in range(3):  # the make is known: nothing hangs on its first batch
        shop.says(shop.takes(f"a{n}"), Step.HEALTHY)
    assert shop.why("a4") == "offer"
    assert isinstance(shop.asks("a4"), Claim)
    assert shop.why("b4") == (kind or "offer"), "the page says what the claim would be told"
    found = shop.asks("b4")
    assert (found.kind if isinstance(found, Refusal) else None) == kind
    assert isinstance(shop.asks("d4"), Claim)


def test_what_people_approved_before_a_halt_must_be_approved_anew_after_it(store: SqlStore) -> None:
    text = RINGS.replace("at_least: 3}}\nat_risk", "at_least: 3}, needs: {people: 1}}\nat_risk")
    shop = Shop(store, text + DEFAULTS, tills(6, 6))

    def says_yes(by: str) -> None:
        with store.write() as tx:
            people.approve_ring(tx, shop.gate, shop.rollout, "rest", by, "go", shop.now)

    says_yes("anna")
    with pytest.raises(Conflict):
        says_yes("anna")
    with store.write() as tx:
        people.halt(tx, shop.rollout, "bert", "a call from a pharmacy", shop.now)
    for by in ("bert", "carla"):
        with store.write() as tx:
            people.resume(tx, shop.rollout, by, "it was the printer", shop.now)
    for n in range(4):
        shop.says(shop.takes(f"t{n}"), Step.HEALTHY)
    shop.ticks()
    assert [one.code for one in shop.ticks(hours=2)[0].reasons if not one.make] == ["needs_people"]
    with store.write() as tx:
        people.add_user(tx, "dora", "dora", "approver", "link", "test", shop.now)
    says_yes("dora")
    with store.write() as tx:
        people.disable_user(tx, "dora", "test", shop.now)
    assert shop.ticks(minutes=1)[0].verdict is Verdict.HOLD, "whoever was shut out since has no word"
    says_yes("anna")
    assert shop.ticks(minutes=1)[0].verdict is Verdict.OPEN


def test_a_policy_that_changes_in_mid_rollout_rules_the_next_release_only(store: SqlStore) -> None:
    """Tightened or loosened: a rollout goes on under the version that it began with, which its decisions name."""
    shop = Shop(store, RINGS + DEFAULTS, tills(9, 9))
    stricter = (HEAD + RINGS + DEFAULTS).replace("at_least: 3", "at_least: 7")
    policies = {"v": shop.gate.policy("v"), "w": parse_text(stricter)}
    shop.gate = replace(shop.gate, policy=policies.__getitem__)
    for n in range(4):
        shop.says(shop.takes(f"t{n}"), Step.HEALTHY)
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("w", shop.now, "test"), "v")
    shop.ticks()
    assert shop.ticks(hours=2)[0].verdict is Verdict.OPEN, "four are enough for at_least: 3"
    with store.write() as tx:
        decision = tx.last_decision(shop.rollout, "rest")
        people.halt(tx, shop.rollout, "bert", "make room", shop.now)
        later = appears(tx, shop.gate, shop.now, version="2", policy="w")
        advance.advance_rollout(tx, shop.gate, later, shop.now)
    assert decision is not None
    assert decision.policy_version == "v"
    shop.rollout = later
    for n in range(4):
        shop.says(shop.takes(f"t{n}"), Step.HEALTHY)
    shop.ticks()
    assert shop.ticks(hours=2)[0].verdict is Verdict.HOLD


def accepted(shop: Shop, name: str, site: str, build: str) -> None:
    """A till that nobody knew before, of this build."""
    with shop.store.write() as tx:
        one = Machine(name, site, MachineStatus.PENDING, name, {"os_build": build}, public_key=name)
        tx.add_machine(one, name)
        policy = shop.gate.policy("v")
        assert isinstance(
            machines.accept(tx, shop.gate, one, site, "till", (), "anna", shop.now, policy, people=1), Machine
        )
        tx.seen(name, shop.now)


def test_a_new_machine_of_a_make_that_its_open_ring_does_not_know_may_start_and_is_not_waited_for(
    store: SqlStore,
) -> None:
    shop = Shop(store, RINGS.replace("at_least: 3}", "at_least: 1}") + DEFAULTS, tills(2, 1))
    shop.ticks()
    accepted(shop, "new", "s0", "26100")
    accepted(shop, "newer", "s1", "26100")
    shop.ticks()
    assert shop.why("new") == "offer"
    shop.says(shop.takes("t0"), Step.HEALTHY)
    shop.ticks()
    shop.ticks(hours=1)
    with store.read() as tx:
        assert tx.rings(shop.rollout)[1].opened_at is not None
        assert tx.rings(shop.rollout)[0].members == 2, "its cohort is who was there when it opened"
    assert isinstance(shop.asks("new"), Claim)


def test_a_new_machine_of_a_new_make_starts_at_its_first_batch_where_the_rollout_is_done(store: SqlStore) -> None:
    shop = Shop(store, RINGS.replace("at_least: 3}", "at_least: 1}") + DEFAULTS, tills(2, 2))
    done(shop, 2)
    accepted(shop, "new", "s0", "26100")
    assert shop.why("new") == "offer"
    assert isinstance(shop.asks("new"), Claim)


def test_a_machine_that_came_after_its_ring_had_opened_is_not_waited_for_when_it_becomes_another_make(
    store: SqlStore,
) -> None:
    shop = Shop(store, RINGS.replace("at_least: 3}", "at_least: 1}") + DEFAULTS, tills(2, 1))
    shop.ticks()
    shop.now += MINUTE
    accepted(shop, "new", "s0", "-")
    remade(shop, "new")
    with store.read() as tx:
        rows = {one.make: one for one in tx.strata(shop.rollout) if one.ring == "lab"}
        assert [one.share_members for one in rows.values()] == [2, 0, 0]
        assert tx.rings(shop.rollout)[0].members == 2


def test_a_make_that_came_before_a_later_ring_opened_has_a_first_batch_there(store: SqlStore) -> None:
    shop = Shop(store, RINGS.replace("at_least: 3}", "at_least: 1}") + DEFAULTS, tills(3))
    with store.write() as tx:
        for n in range(3):
            joins(tx, f"q{n}", f"s{n}", "rest", shop.now, "server")
            tx.seen(f"q{n}", shop.now)
    for n in range(3):
        shop.says(shop.takes(f"t{n}"), Step.HEALTHY)
    shop.ticks()
    shop.ticks(hours=1)
    with store.read() as tx:
        assert tx.rings(shop.rollout)[1].opened_at is not None
        assert [one.limit for one in tx.budgets(shop.rollout) if one.make == "role=server"] == [3]
    assert all(isinstance(shop.asks(f"q{n}"), Claim) for n in range(3))


def test_what_is_in_flight_under_a_halted_release_counts_against_the_next_one(store: SqlStore) -> None:
    """The next release gets no first batch of its own beside the first batch that nobody has heard of."""
    shop = Shop(store, RINGS + DEFAULTS.replace("{", "{supersede: queue, "), tills(8))
    begun = [shop.takes(f"t{n}") for n in range(3)]
    for claim in begun:
        shop.says(claim, Step.INSTALLED)
    assert isinstance(refusal := shop.asks("t3"), Refusal)
    assert refusal.kind == "budget_reached"
    old = shop.rollout
    new = shop.arrives("2")
    with store.write() as tx:
        people.halt(tx, old, "karin", "it smells", shop.now)
    with store.write() as tx:
        intake.promote_queued(tx, shop.gate, "one", shop.now)
    shop.rollout = new
    shop.ticks()
    assert shop.state().state is RolloutState.RUNNING
    with store.read() as tx:
        assert tx.in_flight_before(new)["*"] == 3
    assert isinstance(refusal := shop.asks("t3"), Refusal)
    assert refusal.kind == "budget_reached"
    for claim in begun:
        shop.says(claim, Step.ROLLED_BACK)
    assert isinstance(shop.asks("t3"), Claim), "they have landed: its first batch may start"


@pytest.mark.parametrize("rule_out", ["", ", rule_out: {fleet: 5%}", ", rule_out: {make: 30%}"])
def test_nobody_waits_for_a_machine_whose_failure_is_explained(store: SqlStore, rule_out: str) -> None:
    """It is not offered the release again; where there are no more machines than the gate asks for, the others do."""
    elsewhere = {f"x{n}": [(f"q{n}", "rest", "server")] for n in range(3)}
    shop = Shop(store, RINGS.replace("at_least: 3}", f"at_least: 3{rule_out}}}") + DEFAULTS, tills(3) | elsewhere)
    for kind in "tq":
        bad = shop.takes(f"{kind}0")
        shop.says(bad, Step.FAILED)
        for n in (1, 2):
            shop.says(shop.takes(f"{kind}{n}"), Step.HEALTHY)
        shop.heard(("t0", "t1", "t2", "q0", "q1", "q2"))
        assert all(one.verdict is Verdict.HOLD for one in shop.ticks(hours=2)), "a failure, until somebody says why"
        with store.write() as tx:
            people.explain_failure(tx, shop.gate, bad.id, "karin", "its disk was full", shop.now)
        shop.ticks()
        shop.heard(("t0", "t1", "t2", "q0", "q1", "q2"))
        shop.ticks(hours=2)
    assert shop.state().state is RolloutState.DONE
