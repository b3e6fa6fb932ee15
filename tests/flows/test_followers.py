"""Who is first, and who follows: both databases.

Who is outside a ring's share follows with the last ring whose pick it meets, and counts there; the first batch of a
make is drawn by hash.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.adapters.store.tx_machines import MACHINES
from gate.core import admission, makes
from gate.core.model import Claim, Rollout, RolloutState, Site, Step
from gate.core.verdict import Offer, Refusal
from gate.flows import advance, claims, decommission, explain, intake, when
from gate.ports import ActivePolicy
from tests.flows.small_fleet import appears, joins, says, takes
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: one, plugin: directory, evidence: alive}
rings:
  - {name: some, why: w, pick: {role: [till]}, at_most: {share: 25%}, gate: {soak: 1m, at_least: 1}}
  - {name: rest, why: w, pick: {role: [till, workstation]}, at_most: {per_site: 4}, gate: {soak: 1m, at_least: 1}}
  - {name: servers, why: w, pick: {role: [server]}, needs: {people: 1}, gate: {soak: 1m, at_least: 1}}
defaults: {stay_up: 1m}
"""
NOW = at("2026-11-23 09:00")
TILLS = [f"till-{number}" for number in range(8)]


class Shops:
    """Eight tills at eight sites, a server and a workstation; ``some`` has taken its share of two and is passed."""

    def __init__(self, store: SqlStore, policy: str = POLICY) -> None:
        self.store, self.gate, self.now = store, gate_for(policy), NOW
        with store.write() as tx:
            tx.activate_policy(ActivePolicy("v", NOW, "test"), "")
            for number, name in enumerate(TILLS):
                tx.save_site(Site(f"s{number}", "S", "NW", "Mo-Sa 08:00-18:00"))
                joins(tx, name, f"s{number}", "some", NOW)
            joins(tx, "server", "s0", "servers", NOW, role="server")
            joins(tx, "office", "s1", "rest", NOW, role="workstation")
            for name in (*TILLS, "server", "office"):
                tx.seen(name, NOW)
            self.rollout = appears(tx, self.gate, NOW, critical=False)
        self.advance()

    def advance(self, minutes: int = 0) -> None:
        self.now += timedelta(minutes=minutes)
        with self.store.write() as tx:
            advance.advance_rollout(tx, self.gate, self.rollout, self.now)

    def found(self, tx: SqlTx) -> Rollout:
        found = tx.rollout(self.rollout)
        assert found is not None
        return found

    def drawn(self) -> list[str]:
        with self.store.read() as tx:
            salt = self.found(tx).salt
        return sorted(TILLS, key=lambda name: makes.rank(salt, name))[:2]

    def asks(self, name: str) -> Claim | Refusal:
        with self.store.write() as tx:
            machine = tx.machine(name)
            assert machine is not None
            answer = claims.claim(tx, self.gate, machine, "one", self.found(tx).release, "b0", self.now)
            return answer if isinstance(answer, Refusal) else answer[0]

    def takes(self, name: str) -> None:
        with self.store.write() as tx:
            says(tx, self.gate, takes(tx, self.gate, self.rollout, name, self.now), Step.HEALTHY, "b0", self.now)

    def first_ring(self) -> None:
        for name in self.drawn():
            self.takes(name)
        self.advance()
        self.advance(minutes=2)


@pytest.fixture
def shops(store: SqlStore) -> Shops:
    return Shops(store)


def test_who_is_outside_the_share_follows_with_the_last_ring_that_picks_it_and_not_with_the_last_of_all(
    shops: Shops,
) -> None:
    outside = [name for name in TILLS if name not in shops.drawn()]
    refused = shops.asks(outside[0])
    assert isinstance(refused, Refusal)
    assert (refused.kind, refused.rule) == ("outside_share", "rings[0].at_most.share")
    assert refused.detail == "outside its ring's share; it follows with ring rest"
    shops.first_ring()
    with shops.store.read() as tx:
        opened = [one.opened_at is not None for one in tx.rings(shops.rollout)]
        members = {
            (one.ring, one.make): (one.members, one.share_members, one.sites) for one in tx.strata(shops.rollout)
        }
    assert opened == [True, True, False]
    assert members == {
        ("some", "role=till"): (8, 2, 2),
        ("rest", "role=till"): (6, 6, 6),
        ("rest", "role=workstation"): (1, 1, 1),
    }
    claim = shops.asks(outside[0])
    assert isinstance(claim, Claim)
    assert (claim.ring, claim.cohort) == ("rest", True)
    for name in outside[1:]:
        shops.takes(name)
    with shops.store.read() as tx:
        exposed = Counter({one.ring: one.healthy for one in tx.strata(shops.rollout) if one.make == "role=till"})
        assert shops.found(tx).state is RolloutState.RUNNING
    assert exposed == {"some": 2, "rest": 5}


def test_the_next_step_counts_those_that_follow(shops: Shops) -> None:
    for name in shops.drawn():
        shops.takes(name)
    with shops.store.read() as tx:
        walked = intake._cohort(tx, shops.gate.policy("v"), shops.found(tx), "rest", NOW)
        counted = intake.counted(tx, shops.gate.policy("v"), shops.found(tx), "rest")
        [waits] = [one for one in explain.waiting(tx, shops.gate, shops.found(tx), shops.now) if one.ring == "rest"]
    assert [(one.make, one.members, one.share_members) for one in walked[1]] == [
        ("role=till", 6, 6),
        ("role=workstation", 1, 1),
    ]
    assert [(one.make, one.members) for one in counted[1]] == [("role=till", 6), ("role=workstation", 1)]
    assert walked[0] == counted[0] == 7
    assert waits.lost is not None
    assert waits.lost > 1, "what stands outside the share is not counted"


def test_one_that_no_ring_of_the_rollouts_policy_picks_any_more_follows_nowhere(shops: Shops) -> None:
    gone = next(name for name in TILLS if name not in shops.drawn())
    with shops.store.write() as tx:  # it says another role, and a newer policy has left it in its ring
        tx._update(MACHINES, [MACHINES.c.id == gone], facts='{"role": "kiosk"}')
    with shops.store.read() as tx:
        _, strata = intake._cohort(tx, shops.gate.policy("v"), shops.found(tx), "rest", NOW)
    assert {one.make: one.members for one in strata} == {"role=till": 5, "role=workstation": 1}


def test_where_no_later_ring_picks_it_it_follows_once_its_own_has_passed(store: SqlStore) -> None:
    shops = Shops(store, POLICY.replace("pick: {role: [till, workstation]}", "pick: {role: [workstation]}"))
    outside = [name for name in TILLS if name not in shops.drawn()]
    refused = shops.asks(outside[0])
    assert isinstance(refused, Refusal)
    assert refused.detail == "outside its ring's share; it follows once ring some has passed its gate"
    shops.first_ring()
    claim = shops.asks(outside[0])
    assert isinstance(claim, Claim)
    assert claim.ring == "some"
    with store.read() as tx:
        assert {one.make for one in tx.strata(shops.rollout) if one.ring == "rest"} == {"role=workstation"}


def test_one_that_is_decommissioned_leaves_the_ring_that_it_would_have_followed_with(shops: Shops) -> None:
    shops.first_ring()
    gone = next(name for name in TILLS if name not in shops.drawn())
    with shops.store.write() as tx:
        machine = tx.machine(gone)
        assert machine is not None
        decommission.decommission(tx, shops.gate, machine, "anna", "it is scrap", shops.now)
        left = {
            one.ring: (one.members, one.share_members) for one in tx.strata(shops.rollout) if one.make == "role=till"
        }
    assert left == {"some": (7, 2), "rest": (5, 5)}


def test_a_later_ring_that_is_picked_by_a_label_of_the_machine(store: SqlStore) -> None:
    policy = POLICY.replace("pick: {role: [till, workstation]}", "pick: {label: late}")
    shops = Shops.__new__(Shops)
    shops.store, shops.gate, shops.now = store, gate_for(policy), NOW
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", NOW, "test"), "")
        for number, name in enumerate(TILLS):
            tx.save_site(Site(f"s{number}", "S", "NW", "Mo-Sa 08:00-18:00"))
            joins(tx, name, f"s{number}", "some", NOW, labels=["late"] if number % 2 else [])
            tx.seen(name, NOW)
        shops.rollout = appears(tx, shops.gate, NOW, critical=False)
    shops.advance()
    outside = {name for name in TILLS if name not in shops.drawn()}
    late = {name for name in outside if int(name[-1]) % 2}
    said = {name: shops.asks(name) for name in sorted(outside)}
    assert {name for name, one in said.items() if isinstance(one, Refusal) and one.numbers["ring"] == "rest"} == late
    with store.read() as tx:
        _, strata = intake._cohort(tx, shops.gate.policy("v"), shops.found(tx), "rest", NOW)
    assert [one.members for one in strata] == [len(late)]


class Many(Shops):
    """Forty tills at forty sites under one ring without a share."""

    def __init__(self, store: SqlStore) -> None:
        text = POLICY.replace(", at_most: {share: 25%}", "")
        self.store, self.gate, self.now = store, gate_for(text), NOW
        self.names = [f"till-{number:02}" for number in range(40)]
        with store.write() as tx:
            tx.activate_policy(ActivePolicy("v", NOW, "test"), "")
            for number, name in enumerate(self.names):
                tx.save_site(Site(f"s{number}", "S", "NW", "Mo-Sa 08:00-18:00"))
                joins(tx, name, f"s{number}", "some", NOW)
                tx.seen(name, NOW)
            self.rollout = appears(tx, self.gate, NOW, critical=False)
        self.advance()

    def by_rank(self) -> list[str]:
        with self.store.read() as tx:
            salt = self.found(tx).salt
        return sorted(self.names, key=lambda name: makes.rank(salt, name))

    def may(self) -> set[str]:
        """Who would be given a claim now. Nobody takes one."""
        found = set()
        for name in self.names:
            with self.store.read() as tx:
                machine, rollout = tx.machine(name), self.found(tx)
                assert machine is not None
                own = tx.claim_of(name, rollout.id)
                ask, _ = claims.ask_of(tx, self.gate, machine, "one", rollout.release, rollout, own, self.now)
                if isinstance(admission.answer(ask), Offer):
                    found.add(name)
        return found


def test_while_nothing_of_a_make_has_resolved_only_the_drawn_may_be_first(store: SqlStore) -> None:
    many = Many(store)
    drawn = many.by_rank()[:9]  # three times a first batch
    assert many.may() == set(drawn)
    refused = many.asks(many.by_rank()[20])
    assert isinstance(refused, Refusal)
    assert (refused.kind, refused.rule, refused.retry_after_s) == ("outside_share", "first_batch", 300)
    assert refused.detail == "others of role=till are drawn to be first"
    many.takes(drawn[4])
    assert many.may() == set(many.names) - {drawn[4]}, "one of them has shown something"


@pytest.mark.parametrize(
    ("clock", "others"),
    [("2026-11-23 12:59", False), ("2026-11-23 13:00", True), ("2026-11-24 03:00", True)],
    ids=["within four open hours", "at four", "at night"],
)
def test_where_none_of_the_drawn_comes_the_others_may_after_four_open_hours(
    store: SqlStore, clock: str, *, others: bool
) -> None:
    many = Many(store)
    many.now = at(clock)
    assert (many.may() == set(many.names)) == others
    assert len(many.may()) in (9, 40)


def test_the_four_hours_are_those_of_the_site() -> None:
    opened = at("2026-11-21 17:00")  # a Saturday, an hour before closing
    shop, always = Site("a", "A", "NW", "Mo-Sa 08:00-18:00"), Site("b", "B", "NW", "24/7", always_on=True)
    never = Site("c", "C", "NW", "")
    policy = parse_text(POLICY)
    settings = policy.settings_for("some", "one")
    for clock, site, until in (
        ("2026-11-21 20:00", shop, "2026-11-23 11:00"),
        ("2026-11-23 10:59", shop, "2026-11-23 11:00"),
        ("2026-11-23 11:00", shop, None),
        ("2026-11-28 16:59", never, "2026-11-28 17:00"),
        ("2026-11-28 17:00", never, None),
        ("2026-11-21 20:59", always, "2026-11-21 21:00"),
        ("2026-11-21 21:00", always, None),
    ):
        wanted = None if until is None else at(until)
        assert when.drawn_wait(gate_for(POLICY), policy, settings, None, site, opened, at(clock)) == wanted
