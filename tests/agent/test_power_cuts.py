"""A power cut at each step of install, early, going back and reporting: the old or the new, never half, never twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agent.played import SOURCE, Machine, cut
from tests.power import WORLDS

pytestmark = pytest.mark.slow

MOST_STEPS = 400


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("first", [False, True], ids=["second release", "first release"])
def test_bad_content_goes_back_after_two_panics_whatever_the_power_does(
    tmp_path: Path, world: str, first: bool
) -> None:
    for step in range(1, MOST_STEPS):
        machine, was_cut = cut(lambda home: Machine(home, bad=True, first=first), tmp_path / str(step), step, world)
        state = machine.folder.state()
        assert machine.in_place() == machine.old, step
        assert machine.panics <= 2, (step, machine.panics)
        assert machine.gate.steps in (["installed", "rolled_back"], ["rolled_back"]), (step, machine.gate.steps)
        assert (state.claim, state.reports) == (None, []), step
        assert machine.new in state.quarantined, step
        have = state.installed.get(SOURCE)
        assert (have.release if have else "") == machine.old, step
        if not was_cut:
            break
    assert 20 < step < MOST_STEPS - 1


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("alive", [False, True], ids=["boot", "alive"])
@pytest.mark.parametrize("first", [False, True], ids=["second release", "first release"])
def test_good_content_is_installed_once_and_healthy_whatever_the_power_does(
    tmp_path: Path, world: str, alive: bool, first: bool
) -> None:
    for step in range(1, MOST_STEPS):
        machine, was_cut = cut(lambda home: Machine(home, first=first, alive=alive), tmp_path / str(step), step, world)
        state = machine.folder.state()
        steps = ["installed", "healthy"] if alive else ["installed", "booted", "healthy"]
        assert machine.gate.steps == steps, (step, machine.gate.steps)
        assert sum(one["step"] == "healthy" for one in machine.gate.said) <= 2
        assert machine.in_place() == machine.new, step
        assert (state.claim, state.reports, state.quarantined) == (None, [], {}), step
        assert state.installed[SOURCE].release == machine.new, step
        assert len(list((machine.target / "releases").iterdir())) <= 2, step
        if not was_cut:
            break
    assert 10 < step < MOST_STEPS - 1
