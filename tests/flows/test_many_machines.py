"""Many healthy machines, or many that are not heard: none of them is left out where they are counted."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

import pytest
from sqlalchemy import insert, update

from gate.adapters.store.sql import SqlStore
from gate.adapters.store.tx_claim_reads import CLAIMS
from gate.adapters.store.tx_rollouts import STRATA
from gate.core.model import Claim, ClaimState, RolloutState, Site
from gate.flows import advance, listening
from gate.ports import ActivePolicy
from tests.flows.small_fleet import appears, joins
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

NINE = at("2026-11-23 09:00")  # a Monday
MINUTE = timedelta(minutes=1)
SITES = 260
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory}]
rings:
  - {name: first, why: w, pick: {label: first}, gate: {soak: 1h open, ASKS}}
  - {name: rest, why: w, pick: {role: [till]}, gate: {soak: 1h open, at_least: 1}}
defaults: {stay_up: 1m, deadline: 2h open, background: 0.75%}
"""


@pytest.mark.parametrize("asks", ["at_least: 260", "at_least: 510, sites: 20", "at_least: 520"])
def test_two_healthy_tills_at_each_of_260_sites_are_520_machines_at_260_sites(store: SqlStore, asks: str) -> None:
    gate = gate_for(POLICY.replace("ASKS", asks))
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", NINE, "test"), "")
        for number in range(SITES):
            opens = 8 if number < SITES - 10 else 10
            tx.save_site(Site(f"s{number:03}", "", "NW", f"Mo-Fr {opens:02}:00-18:00"))
            for till in "ab":
                joins(tx, f"s{number:03}-{till}", f"s{number:03}", "first", NINE - timedelta(days=9), labels={"first"})
        joins(tx, "later", "s000", "rest", NINE - timedelta(days=9))
        rollout = appears(tx, gate, NINE)
        advance.advance_rollout(tx, gate, rollout, NINE)
    names = [f"s{number // 2:03}-{'ab'[number % 2]}" for number in range(2 * SITES)]
    claimed(store, rollout, names, ClaimState.HEALTHY)
    with store.connection() as connection, connection.begin():
        connection.execute(update(STRATA).values(exposed=2 * SITES, healthy=2 * SITES))
    with store.write() as tx:
        decided = advance.advance_rollout(tx, gate, rollout, NINE + MINUTE)[-1]
        assert [reason.code for reason in decided.reasons] == ["soak"]
        until = next(one.soak_until for one in tx.strata(rollout) if one.ring == "first")
        assert until == at("2026-11-23 10:01" if asks == "at_least: 260" else "2026-11-23 11:00")
        tx.set_mark(listening.MARK, NINE + 2 * MINUTE)
        assert listening.note_gap(tx, gate, NINE + 7 * MINUTE)
        after = next(one.soak_until for one in tx.strata(rollout) if one.ring == "first")
        assert until <= after <= until + timedelta(minutes=30)


def claimed(store: SqlStore, rollout_id: str, names: list[str], state: ClaimState) -> None:
    """Each has had it in hand since nine, and has resolved one after the other."""
    with store.read() as tx:
        rollout = tx.rollout(rollout_id)
        assert rollout is not None
    rows = []
    for number, name in enumerate(names):
        one = Claim(
            id=f"c{number:04}",
            rollout=rollout.id,
            release=rollout.release,
            source="one",
            machine=name,
            site=name.partition("-")[0],
            role="till",
            ring="first",
            make="role=till",
            state=state,
            granted_at=NINE,
            lease_until=NINE,
            deadline_at=NINE + timedelta(days=9),
            boot_id="b0",
            evidence="boot",
            boots=1,
            stay_up=MINUTE,
            reboot="natural",
            tries=2,
            cohort=True,
            resolved_at=NINE + timedelta(milliseconds=number),
        )
        values = asdict(one)
        values |= {"state": state.value, "stay_up_s": values.pop("stay_up").total_seconds()}
        rows.append(values)
    with store.connection() as connection, connection.begin():
        connection.execute(insert(CLAIMS), rows)


def test_three_silent_tills_halt_however_many_are_closed_and_have_not_been_heard_for_longer(store: SqlStore) -> None:
    brake = "brakes:\n  - {if: silent >= 3, within: 20m after install, then: halt, why: w}\n"
    gate = gate_for(POLICY.replace("ASKS", "at_least: 1") + brake)
    closed, open_ = [f"c{number:03}-a" for number in range(510)], ["o1-a", "o2-a", "o3-a"]
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", NINE, "test"), "")
        for name in (*closed, *open_):
            site = name.partition("-")[0]
            tx.save_site(Site(site, "", "NW", "Tu-Fr 08:00-18:00" if name in closed else "Mo-Fr 08:00-18:00"))
            joins(tx, name, site, "first", NINE - timedelta(days=9), labels={"first"})
            tx.seen(name, NINE if name in open_ else NINE - timedelta(days=2))
        rollout = appears(tx, gate, NINE)
        advance.advance_rollout(tx, gate, rollout, NINE)
    claimed(store, rollout, [*closed, *open_], ClaimState.INSTALLED)
    with store.write() as tx:
        advance.advance_rollout(tx, gate, rollout, NINE + timedelta(minutes=19))
        assert tx.rollouts()[0].state is RolloutState.RUNNING
        advance.advance_rollout(tx, gate, rollout, NINE + timedelta(minutes=20))
        assert tx.rollouts()[0].halted_by == "brakes[0]"
