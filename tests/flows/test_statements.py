"""A decision takes a few statements, however many rings, makes, brakes and failures there are; on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from gate.adapters.store import prepared
from gate.adapters.store.sql import SqlStore
from gate.adapters.store.tx_rollouts import BUDGETS, STRATA
from gate.core.model import Claim, Site, Step
from gate.core.mornings import Alarm, Morning
from gate.core.verdict import Decision, Verdict
from gate.flows import advance
from gate.ports import ActivePolicy
from tests.flows.small_fleet import appears, joins, says, takes
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

MOST = 10
NINE = at("2026-11-23 09:00")  # a Monday
MINUTE = timedelta(minutes=1)
ROLES = ("till", "server", "label", "scale")
RINGS = ("r0", "r1", "r2", "r3")
SITES = 6
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory}]
rings:
RINGS
  - {name: rest, why: w, pick: {role: [till]}, gate: {soak: 1h open, at_least: 1}}
at_risk: {per_make: 300, fleet: 300}
first_batch: 9
defaults: {stay_up: 1m, deadline: 2h open, background: 0.75%, max_lead_rings: 9}
"""
RING = "  - {name: NAME, why: w, pick: {label: NAME}, at_most: {per_site: 9}, gate: {soak: 1h open, at_least: 2}ASKS}"
BRAKES = """\
brakes:
  - {if: crashed >= 50, within: 30m, in: [r0, r1], then: halt, why: w}
  - {if: failed >= 60, within: 2h, then: halt, why: w}
  - {if: relapsed >= 70, within: 2h, then: halt, why: w}
  - {if: silent >= 80, within: 20m after install, then: halt, why: w}
  - {if: silent >= 90, within: 30m after install, in: [r0, r1], then: halt, why: w}
  - {if: missing >= 50%, at: 15m before opening, then: halt, why: w}
"""


def policy(brakes: str = "", asks: str = "") -> str:
    rings = [RING.replace("NAME", name).replace("ASKS", asks if name != "r0" else "") for name in RINGS]
    return POLICY.replace("RINGS", "\n".join(rings)) + brakes


@dataclass
class Counted:
    """Statements of one decision, and what was decided."""

    statements: list[str]
    decisions: list[Decision]


class Ladder:
    """Four makes at six sites in each of four rings; a rollout that has come to the second ring."""

    def __init__(self, store: SqlStore, text: str) -> None:
        self.store, self.gate, self.now = store, gate_for(text), NINE
        with store.write() as tx:
            tx.activate_policy(ActivePolicy("v", NINE, "test"), "")
            for ring in RINGS:
                for number in range(SITES):
                    site = f"{ring}-{number}"
                    tx.save_site(Site(site, site, "NW", "Mo-Fr 08:00-18:00"))
                    for role in ROLES:
                        for till in "ab":
                            name = f"{site}-{role}-{till}"
                            joins(tx, name, site, ring, NINE - timedelta(days=9), role, {ring})
                            tx.seen(name, NINE)
            self.rollout = appears(tx, self.gate, NINE)
        self.decide()
        self.ends("r0", range(3), Step.HEALTHY)
        self.decide()
        with store.connection() as connection, connection.begin():
            connection.execute(update(STRATA).values(soak_until=NINE - MINUTE))
        if "people" in text:
            with store.write() as tx:
                for ring in ("r1", "r2"):
                    tx.append("ring_approved", "anna", f"{self.rollout}/{ring}", NINE)
        self.decide()

    def decide(self) -> Counted:
        self.now += MINUTE
        with counted(self.store) as statements, self.store.write() as tx:
            decisions = advance.advance_rollout(tx, self.gate, self.rollout, self.now)
        return Counted(statements, decisions)

    def ends(self, ring: str, sites: range, step: Step, till: str = "a") -> None:
        for number in sites:
            for role in ROLES:
                claim = self.takes(f"{ring}-{number}-{role}-{till}")
                with self.store.write() as tx:
                    says(tx, self.gate, claim, Step.BOOTED, "b1", self.now)
                    says(tx, self.gate, claim, step, "b1", self.now)

    def takes(self, name: str) -> Claim:
        with self.store.write() as tx:
            return takes(tx, self.gate, self.rollout, name, self.now)

    def morning(self) -> None:
        with self.store.write() as tx:
            alarm = Alarm(NINE, 100, 50, 10, None, "")
            tx.save_morning(Morning("2026-11-23", NINE, NINE, 0.01, 100, 50, (), alarm))

    def lost(self) -> None:
        """Three machines of each ring so far take it and are not heard again."""
        for ring in ("r0", "r1"):
            for number in range(3, SITES):
                self.takes(f"{ring}-{number}-till-b")
        self.now += timedelta(hours=1)


@contextmanager
def counted(store: SqlStore) -> Iterator[list[str]]:
    """The statements that are run meanwhile, but for the transaction's own."""
    found: list[str] = []
    plain, engine = prepared._cursor, store._engine

    def counting(connection: Any, text: str) -> Any:
        found.append(text)
        return plain(connection, text)

    def built(*call: Any) -> None:
        if not call[2].startswith("BEGIN"):
            found.append(call[2])

    prepared._cursor = counting
    event.listen(engine, "before_cursor_execute", built)
    try:
        yield found
    finally:
        prepared._cursor = plain
        event.remove(engine, "before_cursor_execute", built)


def within(found: Counted) -> bool:
    assert len(found.statements) <= MOST, "\n\n".join(found.statements)
    return True


def test_a_decision_without_failures_takes_three_statements(store: SqlStore) -> None:
    ladder = Ladder(store, policy())
    ladder.ends("r1", range(1), Step.HEALTHY)
    first, again = ladder.decide(), ladder.decide()
    assert within(first)
    assert len(again.statements) == 3, "the rollout, its grounds, the version of the fleet"
    assert {one.verdict for one in again.decisions} == {Verdict.HOLD}


@pytest.mark.parametrize("brakes", ["", BRAKES])
@pytest.mark.parametrize("morning", [False, True])
def test_a_decision_with_failures_that_do_not_halt_stays_within_ten(
    store: SqlStore, brakes: str, morning: bool
) -> None:
    ladder = Ladder(store, policy(brakes, ", needs: {people: 1}"))
    ladder.ends("r1", range(3), Step.HEALTHY)
    ladder.ends("r1", range(3, 4), Step.UNHEALTHY)
    if morning:
        ladder.morning()
    for _ in range(3):
        found = ladder.decide()
        assert within(found)
        assert Verdict.HALT not in {one.verdict for one in found.decisions}
        assert ("silent_morning" in {r.code for one in found.decisions for r in one.reasons}) is morning


def test_a_decision_whose_failures_would_halt_looks_their_sites_up_in_one_statement(store: SqlStore) -> None:
    ladder = Ladder(store, policy(BRAKES))
    ladder.ends("r1", range(1), Step.UNHEALTHY)
    ladder.morning()
    with store.connection() as connection, connection.begin():
        many = update(BUDGETS).where(BUDGETS.c.make.in_(["*", "role=till"]))
        connection.execute(many.values(tried_failed=BUDGETS.c.tried))
    found = ladder.decide()
    assert within(found)
    assert sum("count(DISTINCT" in one or "count(distinct" in one for one in found.statements) == 1
    assert Verdict.HALT not in {one.verdict for one in found.decisions}, "all at one site"


def test_machines_that_are_not_heard_take_the_same_statements_however_many_they_are(store: SqlStore) -> None:
    ladder = Ladder(store, policy(BRAKES))
    ladder.ends("r1", range(1), Step.UNHEALTHY)
    ladder.takes("r1-1-till-a")
    ladder.now += timedelta(hours=1)
    few = ladder.decide()
    ladder.lost()
    many = ladder.decide()
    again = ladder.decide()
    assert within(few)
    assert within(again)
    assert len(again.statements) <= len(few.statements)
    assert within(many)


def test_what_opens_a_ring_takes_more_only_by_what_it_writes(store: SqlStore) -> None:
    ladder = Ladder(store, policy())
    ladder.ends("r1", range(3), Step.HEALTHY)
    ladder.decide()
    with store.connection() as connection, connection.begin():
        connection.execute(update(STRATA).values(soak_until=NINE))
    found = ladder.decide()
    assert Verdict.OPEN in {one.verdict for one in found.decisions}
    reads = [one for one in found.statements if one.lstrip().startswith(("SELECT", "WITH"))]
    assert len(found.statements) > MOST >= len(reads) - 4 * len(ROLES)
