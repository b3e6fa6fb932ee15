"""Scenarios under two policies, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.bootstrap import seed_policy
from tests.cli.test_commands import gate
from tests.flows.test_scenarios import FOLDER

OLD = FOLDER / "policy.yaml"


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """A first batch of nine, where three are usual."""
    file = tmp_path / "loose.yaml"
    text = OLD.read_text(encoding="utf-8")
    assert "first_batch: 3" in text
    file.write_text(text.replace("first_batch: 3", "first_batch: 9"), encoding="utf-8")
    return file


def run(*words: str, folder: Path) -> tuple[int, dict[str, object]]:
    said = gate("policy", "backtest", *words, "-o", "json", settings=folder / "none.toml")
    return said.exit_code, json.loads(said.stdout)


def test_a_looser_policy_is_worse_on_a_bad_day_and_a_tighter_one_is_not(loose: Path) -> None:
    day = str(FOLDER / "one-till.yaml")
    code, answer = run(str(loose), "--against", str(OLD), "--scenario", day, folder=loose.parent)
    this, other = answer["runs"]  # type: ignore[misc]
    assert (code, answer["worse"]) == (1, True)
    assert this["bricked"] > other["bricked"] == 3  # type: ignore[index]
    assert this["sites_without_a_till"] > other["sites_without_a_till"] == 3  # type: ignore[index]
    assert this["hours_to_full"] is None  # type: ignore[index]
    code, answer = run(str(OLD), "--against", str(loose), "--scenario", day, folder=loose.parent)
    assert (code, answer["worse"]) == (0, False)


def test_a_healthy_day_has_its_hours_and_says_that_no_day_is_recorded(loose: Path) -> None:
    day = str(FOLDER / "five-sites.yaml")
    said = gate(
        "policy", "backtest", str(OLD), "--against", str(OLD), "--scenario", day, settings=loose.parent / "none.toml"
    )
    assert said.exit_code == 0, said.output
    assert "days of this installation are not recorded yet" in said.stdout
    assert "3.0" in said.stdout
    assert "no" in said.stdout


def test_a_policy_with_a_mistake_or_an_unknown_scenario_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(seed_policy().replace("at_least: 3", "at_last: 3"), encoding="utf-8")
    said = gate("policy", "backtest", str(broken), settings=tmp_path / "none.toml")
    assert said.exit_code == 1
    assert "did you mean 'at_least'?" in said.output
    unknown = gate("policy", "backtest", str(OLD), "--scenario", "no-such-day", settings=tmp_path / "none.toml")
    assert unknown.exit_code == 4
