"""The order in which reports arrive does not change what is counted, nor the final verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.adapters.store.sql import SqlStore
from gate.core.counters import counts
from gate.core.model import FLEET, Claim, ClaimState, RolloutState, Site, Step
from gate.flows import advance
from gate.ports import ActivePolicy
from tests.fake_store import FakeStore
from tests.flows import replayed
from tests.flows.small_fleet import appears, joins, says, takes
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

NOW = at("2026-11-23 09:00")
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: one, plugin: directory}
rings:
  - {name: all, why: w, pick: {role: [till]}, at_most: {per_site: 1}, gate: {soak: 4h open, at_least: 3}}
at_risk: {per_make: 1000, fleet: 1000}
first_batch: 100
defaults: {stay_up: 1m, deadline: 2h open, reboot: after install, background: 2%}
brakes:
  - {if: crashed >= 2, within: 30m, in: [all], then: halt, why: two blue screens}
  - {if: failed >= 3, within: 30m, in: [all], then: halt, why: enough}
  - {if: relapsed >= 2, in: [all], then: halt, why: late}
"""
WELL = 30
COUNTED = ("exposed", "healthy", "failed", "silent", "recovered", "crashed", "late_failed")
BAD = (Step.FAILED, Step.UNHEALTHY, Step.ROLLED_BACK)
Said = tuple[str, Step]


def told(store: Any, late: Sequence[bool], order: Sequence[Said]) -> dict[str, Any]:
    """What is counted and decided where ``order`` is the order of the failures' reports, a look after each.
    ``late``: for each of the machines that fail whether it was healthy before."""
    gate = gate_for(POLICY)
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", NOW, "test"), "")
        names = [f"m{number}" for number in range(WELL + len(late))]
        for name in names:
            tx.save_site(Site(name, name, "NW", "", True))
            joins(tx, name, name, "all", NOW)
            tx.seen(name, NOW)
        rollout = appears(tx, gate, NOW)
        advance.advance_rollout(tx, gate, rollout, NOW)
        mine = {name: takes(tx, gate, rollout, name, NOW) for name in names}
        healthy = [name for number, name in enumerate(names) if number >= len(late) or late[number]]
        for name in names:
            says(tx, gate, mine[name], Step.BOOTED, "b1", NOW)
        for name in healthy:
            says(tx, gate, mine[name], Step.HEALTHY, "b1", NOW)
        now = NOW
        for name, step in order:
            now += timedelta(seconds=1)
            says(tx, gate, mine[name], step, "b1", now)
            advance.advance_rollout(tx, gate, rollout, now)
        return _found(tx, rollout)


def _found(tx: Any, rollout_id: str) -> dict[str, Any]:
    rollout = tx.rollout(rollout_id)
    assert rollout is not None
    claims = tx.claims(rollout_id)
    recounted(tx, rollout_id, claims)
    return {
        "verdict": rollout.state,
        "reason": rollout.halted_by,
        "claims": sorted((one.machine, one.state, one.recovered) for one in claims),
        "makes": [[getattr(one, name) for name in COUNTED] for one in tx.strata(rollout_id)],
        "budgets": [
            (o.make, o.in_flight, o.healthy, o.failed, o.tried, o.tried_failed) for o in tx.budgets(rollout_id)
        ],
        "boots": tx.trials(rollout_id).boots,
    }


def recounted(tx: Any, rollout_id: str, claims: Sequence[Claim]) -> None:
    """The events, told again from the beginning, come to the states of the claims; those come to every counter."""
    events = tx.events(subject=rollout_id, limit=10_000)[::-1]
    assert replayed.of(events, [one.id for one in claims]).claims == {one.id: one.state for one in claims}
    sums = Counter({name: sum(getattr(counts(one), name) for one in claims) for name in (*COUNTED, "bad", "tried")})
    [make] = tx.strata(rollout_id)
    assert {name: getattr(make, name) for name in COUNTED} == {name: sums[name] for name in COUNTED}
    for budget in tx.budgets(rollout_id):
        assert (budget.failed, budget.tried) == (sums["bad"], sums["tried"]), budget.make == FLEET


@st.composite
def failures(draw: st.DrawFn) -> tuple[list[bool], list[Said], list[Said]]:
    late = draw(st.lists(st.booleans(), min_size=1, max_size=4))
    wanted = st.lists(st.sampled_from(BAD), min_size=1, max_size=3, unique=True)
    reports = [(f"m{number}", step) for number in range(len(late)) for step in draw(wanted)]
    return late, draw(st.permutations(reports)), draw(st.permutations(reports))


@settings(max_examples=60, deadline=None)
@given(failures())
def test_the_order_in_which_reports_arrive_does_not_change_the_final_verdict(
    drawn: tuple[list[bool], list[Said], list[Said]],
) -> None:
    late, one, other = drawn
    first, second = told(FakeStore(), late, one), told(FakeStore(), late, other)
    reasons = {first.pop("reason"), second.pop("reason")}  # the brake that was reached first: where two are, either
    assert first == second
    assert reasons <= (reached(first["claims"], first["makes"]) or {""})


def reached(claims: list[tuple[str, ClaimState, bool]], makes: list[list[int]]) -> set[str]:
    """The brakes of ``POLICY`` that what is counted at the end reaches."""
    [counted] = (dict(zip(COUNTED, make, strict=True)) for make in makes)
    states = Counter(state for _, state, _ in claims)
    failed = states[ClaimState.FAILED] + states[ClaimState.UNHEALTHY] + states[ClaimState.ROLLED_BACK]
    limits = [counted["crashed"] >= 2, failed >= 3, states[ClaimState.RELAPSED] >= 2]
    return {f"brakes[{number}]" for number, over in enumerate(limits) if over}


A, B = "m0", "m1"
CRASH, BACK, BAD_PROBE = Step.FAILED, Step.ROLLED_BACK, Step.UNHEALTHY


@pytest.mark.parametrize(
    ("late", "order", "halted"),
    [
        (False, [(A, CRASH), (A, BACK)], False),
        (False, [(A, CRASH), (A, BACK), (B, CRASH), (B, BACK)], True),
        (False, [(A, CRASH), (B, CRASH), (A, BACK), (B, BACK)], True),
        (False, [(A, BACK), (B, BACK)], True),
        (False, [(A, BAD_PROBE), (B, BAD_PROBE)], False),
        (True, [(A, BAD_PROBE), (A, BACK)], False),
        (True, [(A, BAD_PROBE), (A, BACK), (B, BAD_PROBE), (B, BACK)], True),
        (True, [(A, BACK), (B, BACK)], True),
    ],
)
def test_going_back_takes_no_failure_out_of_a_brakes_count(
    store: SqlStore, late: bool, order: list[Said], halted: bool
) -> None:
    found = told(store, [late, late], order)
    assert (found["verdict"] == "halted") is halted


@pytest.mark.parametrize(
    ("crashes", "verdict", "reason"),
    [(1, RolloutState.RUNNING, ""), (2, RolloutState.HALTED, "brakes[0]"), (3, RolloutState.HALTED, "brakes[0]")],
    ids=["inside", "at", "outside"],
)
def test_limits_of_a_brake_in_every_order(crashes: int, verdict: RolloutState, reason: str) -> None:
    names = [f"m{number}" for number in range(crashes)]
    reports = [(name, step) for name in names for step in (CRASH, BACK)]
    orders = list(permutations(reports)) if crashes < 3 else [reports, reports[::-1], reports[::2] + reports[1::2]]
    found = [told(FakeStore(), [False] * crashes, order) for order in orders]
    assert all(one == found[0] for one in found)
    assert (found[0]["verdict"], found[0]["reason"]) == (verdict, reason)


@pytest.mark.parametrize(
    ("late", "order", "budget", "make"),
    [
        ([], [], (0, 30, 0, 30, 0), (30, 30, 0, 0, 0, 0, 0)),
        ([True], [(A, BAD_PROBE)], (0, 30, 1, 31, 1), (31, 30, 1, 0, 0, 0, 0)),
        ([True], [(A, BAD_PROBE), (A, BACK)], (0, 30, 1, 31, 1), (31, 30, 1, 0, 1, 1, 0)),
        ([False], [(A, CRASH)], (0, 30, 1, 31, 1), (31, 30, 1, 0, 0, 1, 0)),
        ([False], [(A, CRASH), (A, CRASH), (A, BAD_PROBE)], (0, 30, 1, 31, 1), (31, 30, 1, 0, 0, 1, 0)),
        ([False, False], [], (2, 30, 0, 30, 0), (32, 30, 0, 0, 0, 0, 0)),
    ],
    ids=["none", "a relapse", "it went back", "a crash", "said three times", "two that say nothing"],
)
def test_limits_of_a_recount(
    store: SqlStore, late: list[bool], order: list[Said], budget: tuple[int, ...], make: tuple[int, ...]
) -> None:
    found = told(store, late, order)  # which recounts
    assert {tuple(one[1:]) for one in found["budgets"]} == {budget}
    assert found["makes"] == [list(make)]


@pytest.mark.parametrize(
    ("said", "state", "kind"),
    [
        ([], ClaimState.BOOTED, "report_step"),
        ([CRASH], ClaimState.FAILED, "report_step"),
        ([CRASH, BACK], ClaimState.ROLLED_BACK, "report_step"),
        ([CRASH, BACK, BACK], ClaimState.ROLLED_BACK, "report_kept"),
        ([BACK, CRASH], ClaimState.ROLLED_BACK, "report_kept"),
        ([CRASH, Step.HEALTHY], ClaimState.FAILED, "report_kept"),
    ],
    ids=["at the beginning", "inside", "at the end", "twice", "too late", "taken back"],
)
def test_limits_of_the_log_told_again(store: SqlStore, said: list[Step], state: ClaimState, kind: str) -> None:
    told(store, [False], [(A, step) for step in said])
    with store.read() as tx:
        [rollout] = tx.rollouts()
        claim, events = tx.claim_of(A, rollout.id), tx.events(subject=rollout.id, limit=1000)
        assert claim is not None
        mine = [one for one in events if one.detail.get("claim") == claim.id]
        again = replayed.of(events[::-1], [one.id for one in tx.claims(rollout.id)])
    assert (claim.state, mine[0].kind) == (state, kind)
    assert (again.claims[claim.id], again.rollout) == (state, rollout.state)


def test_a_machine_that_went_back_after_it_had_relapsed_gives_its_slot_back_once(store: SqlStore) -> None:
    found = told(store, [True], [(A, BAD_PROBE), (A, BACK), (A, BACK), (A, CRASH)])
    assert (A, ClaimState.RELAPSED, True) in found["claims"]
    with store.read() as tx:
        assert tx.live_claim(A) is None
        [rollout] = tx.rollouts()
        kinds = Counter(event.kind for event in tx.events(subject=rollout.id, limit=1000))
        assert kinds["report_kept"] == 2
