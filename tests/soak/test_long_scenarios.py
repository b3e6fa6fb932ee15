"""The given scenarios of many days, from the file beside the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.bootstrap import read_scenario, seed_policy
from gate.sim import run
from tests.conftest import missing
from tests.flows.test_scenarios import LONG, SHARED, lived

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("name", sorted(LONG))
def test_the_given_long_scenarios_are_met(name: str, tmp_path: Path) -> None:
    if not SHARED.is_dir():
        missing("no shared scenarios beside the repository")
    plan = read_scenario(SHARED / name)
    assert run.unmet(plan, lived(plan, seed_policy(), tmp_path)) == []
