"""The shipped scenarios of many days, at their full size."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.bootstrap import read_scenario, seed_policy
from gate.sim import results
from tests.flows.test_scenarios import LONG, SHIPPED, lived

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("name", sorted(LONG))
def test_the_shipped_long_scenarios_are_met(name: str, tmp_path: Path) -> None:
    plan = read_scenario(SHIPPED / name)
    assert results.unmet(plan, lived(plan, seed_policy(), tmp_path)) == []
