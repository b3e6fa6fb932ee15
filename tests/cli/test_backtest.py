"""Scenarios under two policies, side by side."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.adapters.policy_git import GitPolicies
from gate.bootstrap import Wishes, init, open_gate, scenario_of, seed_policy
from gate.flows import edits
from gate.sim.recorded import ASSUMED
from gate.sim.run import Simulation
from tests.cli.test_commands import gate
from tests.flows.test_recorded import KILLS, LOOSER, POLICY
from tests.flows.test_scenarios import FOLDER
from tests.real_gate import agreed

pytestmark = pytest.mark.slow

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


def test_a_healthy_day_has_its_hours_and_says_that_it_is_a_scenario_only(loose: Path) -> None:
    day = str(FOLDER / "five-sites.yaml")
    said = gate(
        "policy", "backtest", str(OLD), "--against", str(OLD), "--scenario", day, settings=loose.parent / "none.toml"
    )
    assert said.exit_code == 0, said.output
    assert "scenarios only" in said.stdout
    assert "3.0" in said.stdout
    assert re.search(r" 3\.0 +0 *$", said.stdout, re.MULTILINE), "hours, and no false halt"


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The settings of a gate that has lived through a bad day."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    settings = init(tmp_path_factory.mktemp("lived") / "gate", Wishes("f", "", "", "anna", "NW"), now).settings
    policies = GitPolicies(settings.parent / "data" / "policy.git")
    commit = policies.write(POLICY, policies.head(), "anna", "for the bad day", now)
    opened = open_gate(settings)
    with opened.store.write() as tx:
        edits.activate_head(tx, opened.gate, "anna", now)
    agreed(opened, now)
    Simulation(scenario_of(KILLS, "lived"), opened.store, opened.gate, commit).run()
    opened.close()
    return settings


def test_recorded_days_are_replayed_under_both_policies_beside_what_happened(lived: Path, tmp_path: Path) -> None:
    file = tmp_path / "looser.yaml"
    file.write_text(LOOSER, encoding="utf-8")
    day = "--recorded", "--since", "2026-03-02", "--until", "2026-03-02"
    said = gate("policy", "backtest", str(file), *day, "-o", "json", settings=lived)
    assert said.exit_code == 1, said.output
    answer = json.loads(said.stdout)
    assert answer["worse"]
    assert [one["policy"] for one in answer["runs"]] == [str(file), "active", "as recorded"]
    assert [one["exposed"] for one in answer["runs"]] == [9, 3, 3]
    (release,) = answer["recorded_days"]
    assert (release["version"], release["harmful"], release["known"], release["drawn"], release["from_all"]) == (
        "1", True, 3, 57, 30,
    )  # fmt: skip
    assert answer["runs"][0]["scenario"] == "2026-03-02 to 2026-03-02"
    table = gate("policy", "backtest", "active", *day, settings=lived)
    assert table.exit_code == 0, table.output
    assert "known for 3 machines, drawn from their make for 57, from all makes for 30, and for 0" in table.stdout
    for sentence in ASSUMED:
        assert sentence in table.stdout


def test_days_on_which_nothing_began_and_dates_without_recorded_are_refused(lived: Path) -> None:
    nothing = gate("policy", "backtest", "active", "--recorded", "--until", "2026-02-02", settings=lived)
    assert nothing.exit_code == 2
    assert "no release began from 2026-01-19 to 2026-02-02" in nothing.output
    assert gate("policy", "backtest", "active", "--since", "2026-03-02", settings=lived).exit_code == 2


def test_a_policy_with_a_mistake_or_an_unknown_scenario_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(seed_policy().replace("at_least: 3", "at_last: 3"), encoding="utf-8")
    said = gate("policy", "backtest", str(broken), settings=tmp_path / "none.toml")
    assert said.exit_code == 1
    assert "did you mean 'at_least'?" in said.output
    unknown = gate("policy", "backtest", str(OLD), "--scenario", "no-such-day", settings=tmp_path / "none.toml")
    assert unknown.exit_code == 2
