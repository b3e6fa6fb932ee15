"""One table of legal steps; what it does not have changes nothing."""

from __future__ import annotations

import pytest

from gate.core.claims import HOLDS_SLOT, ROLLOUT_STEPS, STEPS, Taken, may_step, next_state
from gate.core.model import ClaimState, RolloutState, Step


@pytest.mark.parametrize("state", list(ClaimState))
@pytest.mark.parametrize("step", list(Step))
def test_a_step_that_the_table_does_not_have_keeps_the_state(state: ClaimState, step: Step) -> None:
    after, taken = next_state(state, step)
    if (state, step) in STEPS:
        assert (after, taken) == (STEPS[state, step], Taken.STEP)
    else:
        assert after is state
        assert taken in (Taken.KEPT, Taken.RECOVERED)


def test_only_a_silent_claim_can_recover_and_it_stays_a_failure() -> None:
    recovered = [
        (state, step) for state in ClaimState for step in Step if next_state(state, step)[1] is Taken.RECOVERED
    ]
    assert recovered == [(ClaimState.SILENT, step) for step in (Step.BOOTED, Step.HEALTHY, Step.ROLLED_BACK)]
    assert next_state(ClaimState.SILENT, Step.HEALTHY)[0] is ClaimState.SILENT


def test_a_granted_claim_cannot_become_healthy_without_installing() -> None:
    assert next_state(ClaimState.GRANTED, Step.HEALTHY) == (ClaimState.GRANTED, Taken.KEPT)


def test_no_report_gives_a_slot_back_to_life() -> None:
    assert all(before in HOLDS_SLOT for (before, _), after in STEPS.items() if after in HOLDS_SLOT)


def test_a_halted_rollout_runs_again_only_by_a_resume_and_a_retired_one_never() -> None:
    assert may_step(RolloutState.HALTED, RolloutState.RUNNING)
    assert not any(before is RolloutState.RETIRED for before, _ in ROLLOUT_STEPS)
    assert not may_step(RolloutState.SUPERSEDED, RolloutState.RUNNING)
