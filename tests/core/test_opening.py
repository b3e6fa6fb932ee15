"""May the next ring open? A table of limits for each check: inside, at, outside, and the reason's code."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import opening
from gate.core.facts import BrakeCount, Facts, GateRule, Shown
from gate.core.opening import judge, unclear
from gate.core.verdict import Verdict
from gate.flows import facts_json
from tests.conftest import NOW

HOUR = timedelta(hours=1)
LATER = ("gap_until", "controls", "controls_silent", "measured", "background_cap")
RULE = GateRule("rings[0]", 3, None, None, None, "4h open")
TILL = Shown("till", True, False, 10, 10, 3, 3, 0, 0, 0, False, NOW, True)
TWO_SITES = {"failed_machines": 2, "failed_sites": 2, "exposed_sites": 9}
GOOD = Facts(
    now=NOW,
    ring="rest",
    path="rings[1]",
    position=1,
    members=100,
    verified=True,
    first_seen_at=NOW - 6 * HOUR,
    floor=6 * HOUR,
    freeze="",
    freeze_why="",
    freeze_path="",
    freeze_until=None,
    people_needed=1,
    people=("a",),
    previous_open=True,
    previous_empty=False,
    gate=RULE,
    confidence=0.95,
    background=0.0,
    brakes=(BrakeCount("brakes[0]", "silent >= 3", "", 3, 2),),
    makes=(TILL,),
)


def _till(**change: object) -> dict[str, object]:
    return {"makes": (replace(TILL, **change),)}  # type: ignore[arg-type]


def test_a_ring_opens_when_everything_is_just_met() -> None:
    decision = judge(GOOD)
    assert (decision.verdict, decision.makes, decision.reasons) == (Verdict.OPEN, ("till",), ())


@pytest.mark.parametrize(
    ("change", "verdict", "code"),
    [
        ({"brakes": (BrakeCount("brakes[0]", "silent >= 3", "", 3, 3),)}, Verdict.HALT, "brake"),
        ({"log_e": -math.log(0.01), **TWO_SITES}, Verdict.HALT, "not_chance"),
        ({"log_e": 1e6, **TWO_SITES}, Verdict.HALT, "not_chance"),
        ({"verified": False}, Verdict.HOLD, "not_verified"),
        ({"lever_broken": True}, Verdict.HOLD, "lever_broken"),
        ({"previous_open": False}, Verdict.HOLD, "ring_before"),
        ({"previous_empty": True}, Verdict.HOLD, "ring_empty"),
        ({"members": 0}, Verdict.HOLD, "ring_empty"),
        ({"floor": 6 * HOUR + timedelta(microseconds=1)}, Verdict.HOLD, "floor"),
        ({"freeze": "new-year"}, Verdict.HOLD, "frozen"),
        ({"morning": "17 of 40 are missing"}, Verdict.HOLD, "silent_morning"),
        ({"people": ()}, Verdict.HOLD, "needs_people"),
        ({"people_needed": 2, "people": ("a", "a")}, Verdict.HOLD, "needs_people"),
        (_till(healthy=2), Verdict.HOLD, "at_least"),
        (_till(healthy_sites=2), Verdict.HOLD, "sites"),
        (_till(soak_until=NOW + timedelta(microseconds=1)), Verdict.HOLD, "soak"),
        (_till(soak_until=None), Verdict.HOLD, "soak"),
        (_till(stopped=True, bad=1), Verdict.HOLD, "unexplained_failure"),
        ({"gate": replace(RULE, rule_out_make=0.63)}, Verdict.HOLD, "rule_out"),
        ({"gate": replace(RULE, rule_out_fleet=0.63)}, Verdict.HOLD, "rule_out"),
    ],
)
def test_one_thing_missing_keeps_it_shut(change: dict[str, object], verdict: Verdict, code: str) -> None:
    decision = judge(replace(GOOD, **change))  # type: ignore[arg-type]
    assert decision.verdict is verdict
    assert decision.makes == ()
    assert code in {reason.code for reason in decision.reasons}


@pytest.mark.parametrize(
    "change",
    [
        _till(available=2, healthy=2, healthy_sites=2, sites=2),  # all that the earlier rings have
        _till(sites=1, healthy_sites=1),  # a lab is one site
        {"gate": replace(RULE, rule_out_make=0.64)},
        {"gate": replace(RULE, rule_out_make=0.01), **_till(available=3)},  # all have resolved without a failure
        _till(available=0, healthy=0, healthy_sites=0, sites=0, in_previous=False),  # unproven: its first batch
        {"log_e": -math.log(0.01) - 1e-9, **TWO_SITES},
        {"log_e": 1e6, **TWO_SITES, "failed_machines": 1},
        {"log_e": 1e6, **TWO_SITES, "failed_sites": 1},
        {"log_e": math.log(200), **TWO_SITES, "false_halt": 0.001},
    ],
)
def test_it_opens_at_the_edge_of_each_rule(change: dict[str, object]) -> None:
    assert judge(replace(GOOD, **change)).verdict is Verdict.OPEN  # type: ignore[arg-type]


def test_an_unproven_make_waits_until_the_ring_before_has_passed() -> None:
    new = replace(TILL, make="vm", available=0, healthy=0, in_previous=False)
    slow = replace(TILL, healthy=2)
    assert judge(replace(GOOD, makes=(slow, new))).makes == ()
    assert judge(replace(GOOD, makes=(TILL, new))).makes == ("till", "vm")
    stopped = replace(TILL, stopped=True)
    assert judge(replace(GOOD, makes=(stopped, new))).makes == ()


def test_makes_open_one_by_one_but_the_end_waits_for_all() -> None:
    slow = replace(TILL, make="vm", healthy=1)
    assert judge(replace(GOOD, makes=(TILL, slow))).makes == ("till",)
    assert judge(replace(GOOD, makes=(TILL, slow), whole=True)).verdict is Verdict.HOLD


@pytest.mark.parametrize(
    ("position", "reached", "bad", "max_lead", "held"),
    [
        (1, 0, 1, 1, False),
        (2, 0, 1, 1, True),
        (2, 1, 1, 1, False),
        (2, 0, 0, 1, False),  # slow, but nothing failed
        (2, 0, 1, 2, False),
        (3, 0, 1, 2, True),
        (3, None, 1, 1, False),  # in none of these rings
    ],
)
def test_a_make_with_failures_holds_the_others_once_they_are_more_than_one_ring_ahead(
    position: int, reached: int | None, bad: int, max_lead: int, held: bool
) -> None:
    behind = replace(TILL, make="vm", wanted=False, bad=bad, reached=reached)
    facts = replace(GOOD, position=position, max_lead=max_lead, makes=(replace(TILL, reached=position - 1), behind))
    decision = judge(facts)
    assert (decision.verdict is Verdict.HOLD) is held
    assert ("make_behind" in {reason.code for reason in decision.reasons}) is held


CAP = {"background_cap": 0.03}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"gap_until": NOW + timedelta(microseconds=1)}, "gap"),
        ({"gap_until": NOW}, None),
        ({"controls": 199, "controls_silent": 199, **CAP}, None),  # too few to say anything
        ({"controls": 200, "controls_silent": 30, **CAP}, None),
        ({"controls": 200, "controls_silent": 31, **CAP}, "controls_silent"),
        ({"controls": 200, "controls_silent": 200, **CAP}, "controls_silent"),
        ({"controls": 20_000, "controls_silent": 3000, **CAP}, None),
        ({"controls": 20_000, "controls_silent": 3001, **CAP}, "controls_silent"),
        ({"controls": 200, "controls_silent": 31, "background_cap": 0.035}, None),
        ({"measured": 0.03, **CAP}, None),
        ({"measured": 0.0301, **CAP}, "background_high"),
        ({"measured": 0.9}, None),  # facts from before it was looked at
    ],
)
def test_nothing_is_concluded_outside_of_these_limits(change: dict[str, object], code: str | None) -> None:
    decision = judge(replace(GOOD, **change))  # type: ignore[arg-type]
    assert unclear(decision) == ([] if code is None else [code])
    assert (decision.verdict, decision.makes) == ((Verdict.OPEN, ("till",)) if code is None else (Verdict.HOLD, ()))


def test_what_is_not_chance_halts_though_nothing_else_can_be_concluded() -> None:
    lost = replace(GOOD, log_e=10.0, **TWO_SITES, controls=200, controls_silent=60, **CAP)  # type: ignore[arg-type]
    assert judge(lost).verdict is Verdict.HALT


def test_a_decision_stored_before_the_statistics_is_replayed_without_them() -> None:
    stored = json.loads(json.dumps(facts_json.dump(GOOD)))
    for name in ("log_e", "false_halt", "failed_machines", "failed_sites", "exposed_sites", "max_lead", *LATER):
        del stored[name]
    del stored["makes"][0]["reached"]
    assert facts_json.load(stored) == GOOD


def test_the_decision_can_change_when_its_latest_reason_can() -> None:
    late = replace(GOOD, floor=8 * HOUR, **_till(soak_until=NOW + HOUR))  # type: ignore[arg-type]
    assert judge(late).earliest_at == NOW + 2 * HOUR
    assert judge(replace(late, people=())).earliest_at is None


shown = st.builds(
    Shown,
    make=st.sampled_from(["a", "b", "c"]),
    wanted=st.booleans(),
    opened=st.booleans(),
    available=st.integers(0, 20),
    sites=st.integers(0, 9),
    healthy=st.integers(0, 20),
    healthy_sites=st.integers(0, 9),
    bad=st.integers(0, 3),
    pending=st.integers(0, 5),
    explained=st.just(0),
    stopped=st.booleans(),
    soak_until=st.sampled_from([None, NOW - HOUR, NOW, NOW + HOUR]),
    in_previous=st.booleans(),
)


@given(st.lists(shown, max_size=4), st.booleans(), st.integers(0, 4), st.sampled_from([None, 0.3, 0.9]))
def test_a_decision_is_replayed_from_its_stored_facts(
    makes: list[Shown], verified: bool, count: int, rule_out: float | None
) -> None:
    brakes = (BrakeCount("brakes[0]", "silent >= 3", "why", 3, count),)
    rule = replace(RULE, rule_out_make=rule_out)
    facts = replace(GOOD, makes=tuple(makes), verified=verified, brakes=brakes, gate=rule)
    assert judge(facts_json.load(facts_json.dump(facts))) == judge(facts)


@given(st.lists(shown, max_size=4, unique_by=lambda one: one.make))
def test_silence_never_opens_a_make_that_could_have_been_proven(makes: list[Shown]) -> None:
    decision = judge(replace(GOOD, makes=tuple(replace(m, healthy=0, healthy_sites=0) for m in makes)))
    assert not set(decision.makes) & {m.make for m in makes if m.available}


PEOPLE = {"people_decide": "defaults.decides", "people_needed": 0, "people": ()}


@pytest.mark.parametrize(
    ("change", "verdict", "ready", "makes"),
    [
        ({}, Verdict.HOLD, ("till",), ()),
        ({"people": ("a",)}, Verdict.OPEN, (), ("till",)),
        ({"waived": True}, Verdict.OPEN, (), ("till",)),
        ({"people_decide": ""}, Verdict.OPEN, (), ("till",)),
        (_till(healthy=2), Verdict.HOLD, (), ()),  # the gate would not open it
        ({**_till(healthy=2), "people": ("a",)}, Verdict.HOLD, (), ()),
        ({"floor": 7 * HOUR}, Verdict.HOLD, (), ()),
        ({"log_e": 1e6, **TWO_SITES}, Verdict.HALT, (), ()),  # it halts all the same
    ],
)
def test_where_people_decide_it_says_what_it_would_open_and_waits(
    change: dict[str, object], verdict: Verdict, ready: tuple[str, ...], makes: tuple[str, ...]
) -> None:
    decision = judge(replace(GOOD, **{**PEOPLE, **change}))  # type: ignore[arg-type]
    assert (decision.verdict, opening.ready(decision), decision.makes) == (verdict, ready, makes)


def test_the_end_of_a_rollout_waits_for_nobody() -> None:
    assert judge(replace(GOOD, people_needed=0, people=(), whole=True)).verdict is Verdict.OPEN


@pytest.mark.parametrize(
    ("change", "opens"),
    [
        (_till(healthy=0), True),
        (_till(healthy_sites=0), True),
        (_till(soak_until=None), True),
        (_till(available=0, stopped=False), True),
        ({"gate": replace(RULE, rule_out_make=0.01)}, True),
        ({"gate": replace(RULE, rule_out_fleet=0.01)}, True),
        (_till(stopped=True, bad=1), False),
        ({"floor": 7 * HOUR}, False),
        ({"freeze": "new-year"}, False),
        ({"morning": "17 of 40 are missing"}, False),
        ({"verified": False}, False),
        ({"members": 0}, False),
        ({"previous_open": False}, False),
        ({"people": ()}, False),
        ({"gap_until": NOW + HOUR, "background_cap": 0.03}, False),
        ({"measured": 0.04, "background_cap": 0.03}, False),
        (_till(bad=1, reached=-1), False),
        ({"brakes": (BrakeCount("brakes[0]", "silent >= 3", "", 3, 3),)}, False),
        ({"log_e": 1e6, **TWO_SITES}, False),
    ],
)
def test_two_people_set_aside_what_is_still_to_be_shown_and_nothing_else(
    change: dict[str, object], opens: bool
) -> None:
    facts = replace(GOOD, **change)  # type: ignore[arg-type]
    before, after = judge(facts), judge(replace(facts, waived=True))
    assert (after.verdict is Verdict.OPEN) == opens
    assert [one.code for one in after.reasons] == [one.code for one in before.reasons], "what it was opened against"
