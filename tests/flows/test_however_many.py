"""What concerns every rollout leaves none out, however many came since."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import OneText
from gate.core.model import RolloutState, Site
from gate.flows import advance, orders, recalls, remade
from gate.flows.retire import retire
from gate.ports import Gate
from tests.flows.small_fleet import appears, joins

NINE = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
MANY = 205
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory, evidence: alive}]
rings:
  - {name: a, why: w, pick: {role: [till, server]}, windows: [always]}
defaults: {on_halt: recall, supersede: restart}
"""
Old = tuple[SqlStore, Gate, str]


@pytest.fixture
def old(store: SqlStore) -> Old:
    """A rollout that has opened its ring, and many later ones that have opened none; all are superseded."""
    policy = parse_text(POLICY)
    gate = Gate(policy=lambda _: policy, texts=OneText(POLICY), hours=OpeningCalendar("Europe/Berlin"))
    with store.write() as tx:
        tx.save_site(Site("s", "s", "NW", "", True))
        joins(tx, "t", "s", "a", NINE)
        first = appears(tx, gate, NINE, "0", critical=False)
        advance.advance_rollout(tx, gate, first, NINE)
        for number in range(1, MANY):
            appears(tx, gate, NINE, str(number), critical=False)
    return store, gate, first


def all_are(old: Old, state: RolloutState) -> None:
    with old[0].write() as tx:
        for one in tx.rollouts(limit=1000):
            assert tx.save_rollout(replace(one, state=state, halted_at=NINE, version=one.version + 1))


def test_what_halts_is_recalled_by_the_policy(old: Old) -> None:
    store, gate, first = old
    all_are(old, RolloutState.HALTED)
    with store.write() as tx:
        assert [one.id for one in recalls.by_policy(tx, gate, NINE)] == [first]


def test_a_new_make_is_met_where_its_ring_is_open(old: Old) -> None:
    store, gate, first = old
    all_are(old, RolloutState.HALTED)
    with store.write() as tx:
        remade.came(tx, gate, joins(tx, "s", "s", "a", NINE, role="server"))
        assert "role=server" in {one.make for one in tx.strata(first)}


def test_the_vendor_of_what_was_stopped_is_told(old: Old) -> None:
    store, _, first = old
    all_are(old, RolloutState.HALTED)
    with store.write() as tx:
        for one in tx.rollouts(limit=1000):
            if one.id != first:  # of another source, that halts as often as it brings something
                assert tx.save_rollout(replace(one, source="two", reached=0, version=one.version + 1))
        assert orders.sources_stopped(tx, ["one", "two", "three"]) == {"one", "two"}


def test_all_that_nobody_has_any_more_are_retired(old: Old) -> None:
    store, _, first = old
    all_are(old, RolloutState.SUPERSEDED)
    with store.write() as tx:
        found = [one.id for one in retire(tx, NINE)]
    assert len(found) == MANY - 1
    assert first not in found, "it speaks for its ring"
