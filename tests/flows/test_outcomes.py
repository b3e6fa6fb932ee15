"""False halts are counted, each release for itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from gate.bootstrap import scenario_of
from gate.sim.outcomes import Outcome, outcome, worse
from gate.sim.scenario import Scenario
from tests.flows.test_recorded import HEALS, KILLS

FINE = Outcome(exposed=9, bricked=0, sites_without_till=0, hours=None, falsely_halted=0)


def plan_of(bad: bool, *events: Mapping[str, Any]) -> Scenario:
    """Two releases; the second is healthy."""
    first, second = (scenario_of(text, "two").releases[0] for text in (KILLS if bad else HEALS, HEALS))
    return replace(scenario_of(HEALS, "two"), releases=(first, second), events=events)


def halted(*by: str) -> dict[str, Any]:
    releases = [
        {"halted_at": "x" if who else None, "halted_by": who or None, "full_at": None, "exposed": 3, "bricked": 0}
        for who in by
    ]
    return {"releases": releases, "sites_without_till": 0}


ACT = {"act": {"by": "anna", "do": "halt", "because": "a feeling"}}
WITHDRAWN = {"vendor_reverts": "content"}


@pytest.mark.parametrize(
    ("bad", "events", "by", "false"),
    [
        (False, (), ("", ""), 0),
        (False, (), ("brakes[0]", "defaults.false_halt"), 2),
        (True, (), ("brakes[0]", ""), 0),
        (True, (), ("brakes[0]", "brakes[0]"), 1),
        (False, (ACT,), ("anna", "brakes[0]"), 1),
        (False, (WITHDRAWN,), ("brakes[0]", "vendor:content"), 1),
        (False, (), ("brakes[0]",), 1),
    ],
)
def test_a_halt_is_false_where_its_own_release_harms_nothing_and_nobody_meant_it(
    bad: bool, events: tuple[Mapping[str, Any], ...], by: tuple[str, ...], false: int
) -> None:
    assert outcome(plan_of(bad, *events), halted(*by)).falsely_halted == false


def test_five_false_halts_are_worse_than_one() -> None:
    one, five = replace(FINE, falsely_halted=1), replace(FINE, falsely_halted=5)
    assert worse(five, one)
    assert not worse(one, five)
    assert not worse(one, one)
