"""A machine is gone by a person's word: it leaves n and k, its slots are free, and all of it stays to be seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.adapters.store.tx_machines import ROLES
from gate.bootstrap import OneText
from gate.core.counters import counts
from gate.core.errors import Conflict, Malformed
from gate.core.model import FLEET, Budget, Claim, ClaimState, Rollout, Site, Stratum
from gate.flows import advance, claims, machines, people, sweep
from gate.flows.decommission import decommission
from gate.ports import Gate, Tx
from gate.sim.run import Simulation
from tests import long_run
from tests.flows.small_fleet import appears, joins, takes

MORNING = long_run.START + timedelta(hours=2, minutes=12)
EARLY = MORNING - timedelta(minutes=8)
Ready = tuple[Simulation, Gate]


@pytest.fixture
def ready(store: SqlStore) -> Ready:
    """A release that is on its way: some of its pilots have it in hand."""
    sim, gate = long_run.simulation(store, long_run.plan(sites=30, days=1, releases_a_day=1))
    sim.start()
    sim.advance_to(MORNING)
    return sim, gate


def now_failed(tx: Tx, gate: Gate, count: int) -> list[Claim]:
    """Those whose deadline we let pass at once."""
    rollout = tx.rollouts()[0]
    found = [one for one in tx.claims(rollout.id) if one.state is ClaimState.HEALTHY]
    assert len(found) >= count
    for one in found[:count]:
        assert tx.move(one, replace(one, state=ClaimState.RELAPSED, resolved_at=MORNING, version=one.version + 1))
    return [claim for one in found[:count] if (claim := tx.claim(one.id)) is not None]


def seen(tx: Tx, claim: Claim) -> tuple[Rollout, Stratum, dict[str, Budget], int]:
    rollout = tx.rollout(claim.rollout)
    assert rollout is not None
    stratum = next(one for one in tx.strata(rollout.id) if (one.ring, one.make) == (claim.ring, claim.make))
    members = next(one.members for one in tx.rings(rollout.id) if one.ring == claim.ring)
    return rollout, stratum, {one.make: one for one in tx.budgets(rollout.id)}, members


def gone(tx: Tx, gate: Gate, claim: Claim, because: str = "in the cellar") -> None:
    machine = tx.machine(claim.machine)
    assert machine is not None
    decommission(tx, gate, machine, "anna", because, MORNING)


def test_what_it_showed_leaves_n_and_k_and_it_is_no_member_any_more(store: SqlStore, ready: Ready) -> None:
    _, gate = ready
    with store.write() as tx:
        failed, well = now_failed(tx, gate, 2)[0], next(
            one for one in tx.claims(tx.rollouts()[0].id) if one.state is ClaimState.HEALTHY
        )  # fmt: skip
        for claim, healthy, bad in ((failed, 0, 1), (well, 1, 0)):
            _, before, budgets, members = seen(tx, claim)
            gone(tx, gate, claim)
            _, after, later, members_later = seen(tx, claim)
            assert (before.healthy - after.healthy, before.bad - after.bad) == (healthy, bad)
            assert (before.exposed - after.exposed, before.members - after.members) == (1, 1)
            assert before.share_members - after.share_members == 1
            assert members - members_later == 1
            for make in (claim.make, FLEET):
                assert budgets[make].healthy - later[make].healthy == healthy
                assert budgets[make].failed - later[make].failed == bad
                assert budgets[make].tried - later[make].tried == counts(claim).tried


def test_a_failure_that_was_explained_leaves_once_only(store: SqlStore, ready: Ready) -> None:
    _, gate = ready
    with store.write() as tx:
        claim = now_failed(tx, gate, 1)[0]
        _, first, _, _ = seen(tx, claim)
        people.explain_failure(tx, gate, claim.id, "bert", "a cable", MORNING)
        _, explained, budgets, _ = seen(tx, claim)
        gone(tx, gate, claim)
        _, after, later, _ = seen(tx, claim)
        assert (first.bad, first.explained) == (1, 0)
        assert (explained.bad, explained.explained) == (1, 1)
        assert (after.bad, after.explained) == (0, 0)
        assert [budgets[make].failed for make in (claim.make, FLEET)] == [later[m].failed for m in (claim.make, FLEET)]
        said = [(one.kind, one.by, one.because, one.was) for one in tx.attributions(claim.rollout)]
    assert said == [
        ("explained", "bert", "a cable", "relapsed"),
        ("decommissioned", "anna", "in the cellar", "relapsed"),
    ]


def test_its_slots_are_free_and_it_never_becomes_silent(store: SqlStore) -> None:
    sim, gate = long_run.simulation(store, long_run.plan(sites=30, days=1, releases_a_day=1))
    sim.start()
    flying: list[Claim] = []
    for seconds in range(0, 900, 15):
        sim.advance_to(EARLY + timedelta(seconds=seconds))
        with store.read() as tx:
            flying = [one for rollout in tx.rollouts() for one in tx.claims(rollout.id) if counts(one).flight]
        if flying:
            break
    with store.write() as tx:
        claim = flying[0]
        _, _, budgets, _ = seen(tx, claim)
        gone(tx, gate, claim)
        _, _, later, _ = seen(tx, claim)
        assert budgets[FLEET].in_flight - later[FLEET].in_flight == 1
        assert tx.live_claim(claim.machine) is None
        sweep.sweep(tx, gate, MORNING + timedelta(days=30))
        found = tx.claim(claim.id)
    assert found is not None
    assert found.state is ClaimState.GONE


def test_the_last_machine_of_a_make_that_is_gone_is_waited_for_no_longer(store: SqlStore, ready: Ready) -> None:
    _, gate = ready
    with store.write() as tx:
        rollout = tx.rollouts()[0]
        pilot = tx.machines(limit=1000, ring="pilot", status="active")
        make = min((one.make for one in pilot), key=lambda make: sum(one.make == make for one in pilot))
        for machine in pilot:
            if machine.make == make:
                decommission(tx, gate, machine, "anna", "sold", MORNING)
        stratum = next(one for one in tx.strata(rollout.id) if (one.ring, one.make) == ("pilot", make))
    assert (stratum.members, stratum.share_members, stratum.sites) == (0, 0, 0)
    assert stratum.healthy == stratum.exposed == 0


def test_it_takes_a_reason_and_happens_once_and_is_in_the_audit_log(store: SqlStore, ready: Ready) -> None:
    _, gate = ready
    with store.write() as tx:
        claim = tx.claims(tx.rollouts()[0].id)[0]
        with pytest.raises(Malformed):
            gone(tx, gate, claim, " ")
        gone(tx, gate, claim)
        with pytest.raises(Conflict, match="decommissioned already"):
            gone(tx, gate, claim)
        kinds = [event.kind for event in tx.events(subject=claim.machine)]
        assert kinds[:2] == ["machine_decommissioned", "machine_revoked"]
        left = next(event for event in tx.events(subject=claim.rollout) if event.kind == "machine_left")
    assert (left.actor, left.because) == ("anna", "in the cellar")


def test_one_that_was_revoked_before_leaves_as_well_and_the_other_till_of_its_site_goes_on(
    store: SqlStore, ready: Ready
) -> None:
    _, gate = ready

    def busy(tx: SqlTx, claim: Claim) -> tuple[int, int]:
        where = ROLES.c.site == claim.site, ROLES.c.role == claim.role
        total, taken = tx.connection.execute(select(ROLES.c.total, ROLES.c.busy).where(*where)).one()
        return total, taken

    with store.write() as tx:
        claim = now_failed(tx, gate, 1)[0]
        _, before, _, members = seen(tx, claim)
        total, taken = busy(tx, claim)
        machine = tx.machine(claim.machine)
        assert machine is not None
        machines.revoke(tx, machine, "anna", "stolen", MORNING)
        assert busy(tx, claim) == (total - 1, taken), "what is broken holds its slot"
        gone(tx, gate, claim)
        assert busy(tx, claim) == (total - 1, taken - 1)
        _, after, _, members_later = seen(tx, claim)
        assert (before.bad - after.bad, members - members_later) == (1, 1)
        kinds = [event.kind for event in tx.events(subject=claim.machine)]
        assert kinds.count("machine_revoked") == 1
        with pytest.raises(Conflict, match="decommissioned already"):
            gone(tx, gate, claim)


RESTART = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory, evidence: alive}]
rings:
  - {name: a, why: w, pick: {role: till}, gate: {at_least: 1, soak: 1m}, windows: [always]}
defaults: {stay_up: 1m, deadline: 10m, supersede: restart}
"""


def test_it_leaves_however_many_releases_came_since(store: SqlStore) -> None:
    """It left the newest 200 rollouts alone: its site took nothing any more, and nobody could say it again."""
    policy, now = parse_text(RESTART), MORNING
    gate = Gate(policy=lambda _: policy, texts=OneText(RESTART), hours=OpeningCalendar("Europe/Berlin"))
    with store.write() as tx:
        tx.save_site(Site("s", "s", "NW", "", True))
        for name in ("dead", "other", "third"):
            joins(tx, name, "s", "a", now)
        first = appears(tx, gate, now, "0", critical=False)
        advance.advance_rollout(tx, gate, first, now)
        claim = takes(tx, gate, first, "dead", now)
        people.halt(tx, first, "anna", "it is dead", now)
        for number in range(1, 212):
            now += timedelta(minutes=1)
            newest = appears(tx, gate, now, str(number), critical=False)
        advance.advance_rollout(tx, gate, newest, now)
        dead, other, rollout = tx.machine("dead"), tx.machine("other"), tx.rollout(newest)
        assert dead is not None
        assert other is not None
        assert rollout is not None
        said = decommission(tx, gate, dead, "anna", "in the cellar", now)
        assert first in [one.rollout for one in said if one.was == "installed"]
        left = tx.claim(claim.id)
        assert left is not None
        assert left.state is ClaimState.GONE
        assert isinstance(claims.claim(tx, gate, other, "one", rollout.release, "b0", now), tuple)
