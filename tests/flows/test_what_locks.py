"""What must not stop a rollout for ever, nor let it past what is still to be shown: small worlds on both databases."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta

import pytest

from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core import makes
from gate.core.model import Claim, Machine, RolloutState, Site, Step, Stratum
from gate.core.verdict import Decision, Refusal, Verdict
from gate.flows import advance, claims, decommission, machines, placing
from gate.ports import ActivePolicy
from tests.flows.small_fleet import appears, joins, says
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

NOW = at("2026-11-23 09:00")
HEAD = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role, os_build]}
sources:
  - {name: one, plugin: directory, evidence: alive}
defaults: {stay_up: 1m#more#}
rings:
"""
SOME = """\
  - {name: some, why: w, pick: {role: [till]}, at_most: {share: 25%, per_site: 4}, gate: {soak: 1m, at_least: 3}}
"""
PILOTS = "  - {name: some, why: w, pick: {label: pilot}, #share#gate: {soak: 1m, at_least: #least#}}\n"
REST = """\
  - name: rest
    why: w
    pick: {role: [till, workstation]}
    at_most: {per_site: 4}
    gate: {soak: 1m, at_least: 3}
"""
SERVERS = "  - {name: servers, why: w, pick: {role: [server]}, gate: {soak: 1m, at_least: 1}}\n"


class World:
    """Machines under a policy, and one release of theirs."""

    def __init__(self, store: SqlStore, rings: str, more: str = "") -> None:
        self.store, self.now = store, NOW
        self.gate = gate_for(HEAD.replace("#more#", more) + rings)
        self.policy = self.gate.policy("v")
        self.rollout = ""
        with store.write() as tx:
            tx.activate_policy(ActivePolicy("v", NOW, "test"), "")

    def joins(self, name: str, site: str, ring: str, role: str = "till", labels: Collection[str] = ()) -> str:
        with self.store.write() as tx:
            if tx.site(site) is None:
                tx.save_site(Site(site, site, "NW", "Mo-Sa 08:00-18:00"))
            joins(tx, name, site, ring, self.now, role=role, labels=labels)
            tx.memberships([(name, ring, makes.make_of({"role": role}, self.policy.makes))])
            tx.seen(name, self.now)
        return name

    def begins(self, version: str = "1") -> None:
        with self.store.write() as tx:
            self.rollout = appears(tx, self.gate, self.now, version, critical=False)
        self.passes(0)

    def passes(self, minutes: int) -> list[Decision]:
        self.now += timedelta(minutes=minutes)
        with self.store.write() as tx:
            return advance.advance_rollout(tx, self.gate, self.rollout, self.now)

    def settles(self) -> list[Decision]:
        """What is decided once soaks are over."""
        self.passes(0)
        self.passes(2)
        return self.passes(2)

    def asks(self, name: str) -> Claim | Refusal:
        with self.store.write() as tx:
            machine, rollout = tx.machine(name), tx.rollout(self.rollout)
            assert machine is not None
            assert rollout is not None
            answer = claims.claim(tx, self.gate, machine, "one", rollout.release, "b0", self.now)
            return answer if isinstance(answer, Refusal) else answer[0]

    def ends(self, name: str, step: Step = Step.HEALTHY) -> None:
        """It takes the release, and this becomes of it."""
        claim = self.asks(name)
        assert isinstance(claim, Claim), claim
        with self.store.write() as tx:
            says(tx, self.gate, claim, Step.INSTALLED, "b0", self.now)
            says(tx, self.gate, claim, step, "b0", self.now)

    def rank(self, name: str) -> float:
        with self.store.read() as tx:
            rollout = tx.rollout(self.rollout)
            assert rollout is not None
            return makes.rank(rollout.salt, name)

    def strata(self) -> dict[tuple[str, str], Stratum]:
        with self.store.read() as tx:
            return {
                (one.ring, one.make.removeprefix("role=").removesuffix("|os_build=-")): one
                for one in tx.strata(self.rollout)
            }

    def machine(self, tx: SqlTx, name: str) -> Machine:
        found = tx.machine(name)
        assert found is not None
        return found

    def opened(self) -> set[str]:
        return {ring for ring, _ in self.strata()}


@pytest.mark.parametrize("share", [True, False])
def test_a_chain_of_two_sites_comes_to_its_servers(store: SqlStore, *, share: bool) -> None:
    world = World(store, (SOME if share else SOME.replace("share: 25%, ", "")) + REST + SERVERS)
    tills = [world.joins(f"till-{n}", f"s{n % 2}", "some" if share or n < 4 else "rest") for n in range(8)]
    for n in range(2):
        world.joins(f"server-{n}", f"s{n}", "servers", role="server")
    world.begins()
    for name in sorted(tills, key=world.rank):
        if not isinstance(world.asks(name), Refusal):
            world.ends(name)
        world.settles()
    for name in tills:
        if isinstance(world.asks(name), Claim):
            world.ends(name)
    world.settles()
    assert "servers" in world.opened(), "its two sites were counted once a ring, and four are not to be had"


def test_a_server_that_nobody_has_revoked_keeps_no_other_server_waiting(store: SqlStore) -> None:
    world = World(store, SERVERS)
    servers = [world.joins(f"server-{n}", f"s{n}", "servers", role="server") for n in range(6)]
    world.joins("scrap", "s0", "servers", role="server")
    world.now += timedelta(days=20)
    with store.write() as tx:
        for name in servers:
            tx.seen(name, world.now)
    world.begins()
    assert world.strata()["servers", "server"].plural == 0, "it was heard of last twenty days ago"
    assert isinstance(world.asks(servers[1]), Claim)


def test_servers_that_have_a_peer_and_are_gone_or_have_failed_keep_no_other_waiting(store: SqlStore) -> None:
    world = World(store, SERVERS.replace("at_least: 1", "at_least: 2"))
    alone = [world.joins(f"server-{n}", f"s{n}", "servers", role="server") for n in range(4)]
    pair = [world.joins(f"pair-{n}", "p", "servers", role="server") for n in range(2)]
    world.begins()
    refused = world.asks(alone[0])
    assert isinstance(refused, Refusal)
    assert refused.kind == "last_of_role"
    with store.write() as tx:
        for name in pair:
            machine = world.machine(tx, name)
            decommission.decommission(tx, world.gate, machine, "anna", "it is scrap", world.now)
    assert world.strata()["servers", "server"].plural in (0, 1)
    world.now += timedelta(days=1)
    with store.write() as tx:
        for name in alone:
            tx.seen(name, world.now)
    assert isinstance(world.asks(alone[0]), Claim) == (world.strata()["servers", "server"].plural == 0)


def test_only_servers_that_take_part_are_waited_for(store: SqlStore) -> None:
    world = World(store, SERVERS.replace("gate:", "at_most: {share: 50%}, gate:"))
    for n in range(12):
        world.joins(f"server-{n}", f"s{n}", "servers", role="server")
    for n in range(2):
        world.joins(f"pair-{n}", "p", "servers", role="server")
    world.begins()
    row = world.strata()["servers", "server"]
    inside = [name for name in ("pair-0", "pair-1") if world.rank(name) <= row.share_cut]
    assert row.plural == len(inside)


@pytest.mark.parametrize("supersede", ["inherit", "restart"])
@pytest.mark.parametrize("failed", [1, 3])
def test_what_has_failed_under_the_new_release_is_not_taken_over(store: SqlStore, supersede: str, failed: int) -> None:
    pilots = PILOTS.replace("#share#", "").replace("#least#", "3")
    floor = REST.replace("    gate:", "    floor: 2h\n    gate:")
    world = World(store, pilots + floor + SERVERS, f", supersede: {supersede}, false_halt: 0.0001%")
    few = [world.joins(f"pilot-{n}", f"a{n}", "some", labels=["pilot"]) for n in range(6)]
    for n in range(20):
        world.joins(f"till-{n}", f"b{n}", "rest")
    world.joins("server", "b0", "servers", role="server")
    world.begins()
    for name in few[:3]:
        world.ends(name)
    world.settles()
    world.passes(121)
    assert "rest" in world.opened()
    world.begins("2")
    for name in few[:failed]:
        world.ends(name, Step.FAILED)
    decided = world.passes(121)
    assert "rest" not in world.opened()
    assert {reason.code for one in decided if one.ring == "rest" for reason in one.reasons} >= {"unexplained_failure"}


def test_a_rate_is_not_ruled_out_by_those_that_followed_in_another_ring(store: SqlStore) -> None:
    shops = "  - {name: rest, why: w, pick: {label: shop}, gate: {soak: 1m, at_least: 1, rule_out: {fleet: 5%}}}\n"
    pilots = PILOTS.replace("#share#", "at_most: {share: 25%}, ").replace("#least#", "1")
    world = World(store, pilots + shops + SERVERS)
    few = [world.joins(f"pilot-{n}", f"a{n}", "some", labels=["pilot"]) for n in range(20)]
    many = [world.joins(f"till-{n}", f"b{n}", "rest", labels=["shop"]) for n in range(16)]
    world.joins("server", "c", "servers", role="server")
    world.begins()
    few.sort(key=world.rank)
    for name in few[:5]:
        world.ends(name)
    world.settles()
    world.ends(many[0])
    for name in few[5:]:
        world.ends(name)
    last = world.settles()[-1]
    assert (last.ring, last.verdict) == ("servers", Verdict.HOLD)
    assert "rule_out" in {reason.code for reason in last.reasons}, "15 of 16 of that ring have shown nothing"


def test_who_follows_in_its_own_ring_waits_for_its_own_make(store: SqlStore) -> None:
    first = "  - {name: some, why: w, pick: {label: pilot}, at_most: {share: 10%}, gate: {soak: 1h, at_least: 3}}\n"
    world = World(store, first + REST.replace("role: [till, workstation]", "label: shop"))
    desks = [world.joins(f"desk-{n}", f"a{n}", "some", role="workstation", labels=["pilot"]) for n in range(40)]
    tills = [world.joins(f"till-{n}", f"b{n}", "some", labels=["pilot"]) for n in range(3)]
    for n in range(3):
        world.joins(f"other-{n}", f"c{n}", "rest", labels=["shop"])
        world.joins(f"office-{n}", f"d{n}", "rest", role="workstation", labels=["shop"])
    world.begins()
    desks.sort(key=world.rank)
    for name in (*tills, *desks[:2]):
        world.ends(name)
    world.passes(0)
    world.passes(61)
    rows = world.strata()
    assert (rows["rest", "till"].open, rows["rest", "workstation"].open) == (True, False)
    said = {world.asks(name) for name in desks[4:8]}
    assert {one.kind for one in said if isinstance(one, Refusal)} == {"outside_share"}
    assert len(said) == 1


def facts(world: World, name: str, **said: str) -> None:
    """What a machine says of itself at a check-in, and the make that follows."""
    with world.store.write() as tx:
        policy = world.gate.policy("v")
        machine = world.machine(tx, name)
        machines._take_facts(tx, world.gate, machine, said, lambda one: placing.place(tx, policy, one), world.now)


def test_who_is_outside_the_share_and_becomes_another_make_is_waited_for_by_neither(store: SqlStore) -> None:
    world = World(store, SOME.replace("at_least: 3", "at_least: 1, rule_out: {fleet: 5%}") + REST)
    tills = [world.joins(f"till-{n}", f"s{n}", "some") for n in range(20)]
    world.begins()
    tills.sort(key=world.rank)
    facts(world, tills[9], role="till", os_build="11")  # outside the share of a make, the first of another
    facts(world, tills[8], role="till", os_build="12")
    facts(world, tills[7], role="till", os_build="12")  # whose one member takes part
    counted = {key[1]: (one.members, one.share_members) for key, one in world.strata().items()}
    assert counted == {"till": (17, 5), "till|os_build=11": (1, 1), "till|os_build=12": (2, 2)}
    facts(world, tills[9], role="till")  # back again: outside its share
    row = world.strata()["some", "till"]
    assert (row.members, row.share_members) == (18, 5)
    world.passes(0)
    for name in [*tills[:5], tills[8], tills[7]]:
        world.ends(name)
    world.settles()
    assert "rest" in world.opened(), "who is outside the share is waited for by nobody"
    rows = world.strata()
    assert (rows["rest", "till"].members, rows["rest", "till"].share_members) == (13, 13)
    facts(world, tills[12], role="till", os_build="13")  # follows with the ring that is open
    rows = world.strata()
    assert (rows["rest", "till"].members, rows["rest", "till"].share_members) == (12, 12)


@pytest.mark.parametrize(
    ("clock", "others"),
    [("2026-11-23 18:10", False), ("2026-11-24 18:10", False), ("2026-11-25 18:29", False), ("2026-11-25 18:30", True)],
)
def test_a_draw_counts_the_time_in_which_somebody_could_have_claimed(
    store: SqlStore, clock: str, *, others: bool
) -> None:
    windows = "windows: {after-closing: {from: 10m after closing, to: 2h after closing}}\n"
    ring = "  - {name: some, why: w, pick: {role: [till]}, windows: [after-closing], gate: {soak: 1m, at_least: 1}}\n"
    world = World(store, ring + windows)
    tills = [world.joins(f"till-{n}", f"s{n}", "some") for n in range(20)]
    world.begins()
    tills.sort(key=world.rank)
    world.now = at(clock)
    late = world.asks(tills[15])
    assert isinstance(late, Claim) == others
    with store.read() as tx:
        rollout = tx.rollout(world.rollout)
        assert rollout is not None
        assert rollout.state is RolloutState.RUNNING


@pytest.mark.parametrize("dropped", [False, True])
def test_an_empty_ring_holds_until_the_policy_drops_it(store: SqlStore, *, dropped: bool) -> None:
    pilots = PILOTS.replace("#share#", "").replace("#least#", "1")
    lab = pilots.replace("some", "lab").replace("pilot", "lab")
    world = World(store, lab + pilots + REST)
    old, new = world.policy, parse_text(HEAD.replace("#more#", "") + lab + REST)
    world.gate = replace(world.gate, policy=lambda version: new if version == "w" else old)
    world.joins("first", "a", "lab", labels=["lab"])
    world.joins("till", "b", "rest")
    world.begins()
    if dropped:
        with store.write() as tx:
            assert tx.activate_policy(ActivePolicy("w", world.now, "test"), "v")
    world.settles()
    assert "rest" not in world.opened(), "the ring before has shown nothing"
    world.ends("first")
    last = world.settles()[-1]
    codes = {reason.code for reason in last.reasons}
    assert ("rest" in world.opened(), "ring_empty" in codes) == (dropped, not dropped)
