"""Facts from which something was taken away that the policy and the moment fix are not the same any more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import OneText
from gate.core.model import Site
from gate.flows import advance
from gate.flows.replay import replay
from gate.ports import Gate, StoredDecision
from tests.flows.small_fleet import appears, joins

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources: [{name: one, plugin: directory, evidence: alive}]
rings:
  - {name: a, why: w, pick: {label: pilot}, gate: {at_least: 1, soak: 1m}, windows: [always]}
  - {name: b, why: w, pick: {role: till}, gate: {at_least: 3, soak: 1m}}
defaults: {stay_up: 1m, deadline: 2h, background: 0.75%, background_cap: 3%}
freeze: [{name: x, from: 2026-03-02, to: 2026-03-09, why: no, owner: k}]
brakes:
  - {if: failed >= 2, within: 30m, then: halt, why: enough}
  - {if: missing >= 40%, at: 30m after opening, then: halt, why: a morning}
"""
GONE: dict[str, Any] = {"freeze": "", "freeze_why": "", "freeze_path": "", "freeze_until": None}
NOT_SAID = object()


@pytest.fixture
def gate() -> Gate:
    policy = parse_text(POLICY)
    return Gate(policy=lambda _: policy, texts=OneText(POLICY), hours=OpeningCalendar("Europe/Berlin"))


@pytest.fixture
def stored(store: SqlStore, gate: Gate) -> StoredDecision:
    """A HOLD of the first ring, for a freeze."""
    with store.write() as tx:
        for number in range(5):
            tx.save_site(Site(f"s{number}", f"s{number}", "NW", "Mo-Su 00:00-24:00", always_on=True))
            joins(tx, f"s{number}", f"s{number}", "b" if number else "a", NOW, labels=() if number else ("pilot",))
        rollout = appears(tx, gate, NOW, policy=OneText(POLICY).commit, critical=False)
    with store.write() as tx:
        advance.advance_rollout(tx, gate, rollout, NOW)
        return tx.decisions(rollout)[0]


def changed(one: StoredDecision, verdict: str, **facts: Any) -> StoredDecision:
    """As it would be stored with other facts."""
    kept = {name: value for name, value in {**one.facts, **facts}.items() if value is not NOT_SAID}
    if verdict == one.verdict:
        return replace(one, facts=kept)
    return replace(one, verdict=verdict, makes=("role=till",), reasons=(), facts=kept)


def test_as_it_was_stored_it_is_the_same(gate: Gate, stored: StoredDecision) -> None:
    assert [one["code"] for one in stored.reasons] == ["frozen"]
    assert replay(gate, stored, "one").same


@pytest.mark.parametrize(
    ("verdict", "facts", "word"),
    [
        ("OPEN", GONE, "freeze was none in its facts, and is x"),
        ("HOLD", {"freeze_until": "2026-03-03T00:00:00+01:00"}, "freeze_until was"),
        ("HOLD", {"brakes": []}, "brakes was [] in its facts, and is ['brakes[0]', 'brakes[1]']"),
        ("HOLD", {"background_cap": None}, "defaults.background_cap was None in its facts, and is 0.03"),
        ("HOLD", {"background_cap": NOT_SAID}, "defaults.background_cap was None in its facts, and is 0.03"),
        ("HOLD", {"position": 1}, "the place of ring a was 1 in its facts, and is 0"),
        ("HOLD", {"ring": "b"}, "the place of ring b was 0 in its facts, and is 1"),
        ("HOLD", {"path": "rings[1]"}, "the rule of ring a was rings[1] in its facts, and is rings[0]"),
        ("HOLD", {"whole": True}, "that ring a opens as a whole was True in its facts, and is False"),
    ],
)
def test_what_policy_and_moment_fix_is_not_taken_from_the_facts(
    gate: Gate, stored: StoredDecision, verdict: str, facts: dict[str, Any], word: str
) -> None:
    found = replay(gate, changed(stored, verdict, **facts), "one")
    assert not found.same
    assert word in " | ".join(found.differences)


@pytest.mark.parametrize("left", [0, 1])
def test_one_brake_that_was_left_out_is_missed(gate: Gate, stored: StoredDecision, left: int) -> None:
    fewer = [one for index, one in enumerate(stored.facts["brakes"]) if index != left]
    assert "brakes was" in " ".join(replay(gate, changed(stored, "HOLD", brakes=fewer), "one").differences)


def test_facts_from_before_the_cap_was_looked_at_have_none(gate: Gate, stored: StoredDecision) -> None:
    later = "background_cap", "morning", "lever_broken", "waived"
    assert replay(gate, changed(stored, "HOLD", **dict.fromkeys(later, NOT_SAID)), "one").same


def test_a_halt_of_what_is_over_counts_no_morning(gate: Gate, stored: StoredDecision) -> None:
    counted = {**stored.facts["brakes"][0], "count": 2}
    halted = replace(stored, verdict="HALT", facts={**stored.facts, "brakes": [counted]})
    assert "brakes was" not in " ".join(replay(gate, halted, "one").differences)
    assert "brakes was" in " ".join(replay(gate, replace(halted, verdict="HOLD"), "one").differences)
