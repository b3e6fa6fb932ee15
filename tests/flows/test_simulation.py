"""The shipped scenarios run through the real flows and meet what they expect."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from gate.bootstrap import read_scenario, scenario_of, seed_policy, simulation
from gate.cli.main import main
from gate.core.errors import Malformed
from gate.sim import results, scenario
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


def test_the_19th_of_july_ends_in_the_lab(tmp_path: Path) -> None:
    plan = read_scenario(Path("july-19"))
    sim = simulation(plan, seed_policy(), tmp_path)
    result = sim.run()
    assert results.unmet(plan, result) == []
    assert result["promises_broken"] == []
    release = result["releases"][0]
    assert release["halted_by"] == "brakes[1]"
    assert [ring["exposed"] > 0 for ring in release["rings"]] == [True, False, False, False, False]
    without = results.without_gate(plan, sim.world)
    assert without["bricked"] > 100
    assert without["sites_without_till"] > 20


def test_the_same_file_at_ten_stops_among_the_pilots(tmp_path: Path) -> None:
    plan = read_scenario(Path("july-19-at-ten"))
    result = simulation(plan, seed_policy(), tmp_path).run()
    assert results.unmet(plan, result) == []
    assert result["promises_broken"] == []
    assert [ring["exposed"] > 0 for ring in result["releases"][0]["rings"]] == [True, False, False, False]


def test_a_ring_without_machines_opens_nothing_and_says_so(tmp_path: Path) -> None:
    plan = read_scenario(Path("july-19-at-ten"))
    plan = scenario.Scenario(**{name: getattr(plan, name) for name in plan.__slots__} | {"drop_rings": ()})
    sim = simulation(plan, seed_policy(), tmp_path)
    sim.start()
    sim.advance_to(plan.start + timedelta(hours=5))
    release = sim.result()["releases"][0]
    assert release["exposed"] == 0
    assert "lab has no machine" in release["held"][0]["reason"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"colour": 1}, "colour"),
        ({"scenario": 2}, "version 1"),
        ({"run": "long"}, "duration"),
        ({"start": "2024-07-19T05:50:00"}, "UTC offset"),
        ({"releases": [{"at": "2024-07-19T06:09:00+02:00", "source": "x"}]}, "version"),
        ({"events": [{"at": "2024-07-19T06:09:00+02:00"}]}, "exactly one"),
    ],
)
def test_a_scenario_with_a_mistake_is_refused_with_its_place(change: dict[str, object], word: str) -> None:
    good = {
        "scenario": 1,
        "name": "x",
        "start": "2024-07-19T05:50:00+02:00",
        "run": "1h",
        "fleet": {"sites": 1, "hours": "24/7", "machines": []},
        "releases": [],
    }
    assert scenario.parse(good).name == "x"
    with pytest.raises(Malformed, match=word):
        scenario.parse(good | change)


def test_simulate_and_lint_speak_and_exit_as_they_should(tmp_path: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(main, ["simulate", "july-19", "--without-gate", "-o", "json"])
    assert done.exit_code == 0
    assert '"bricked"' in done.output
    assert runner.invoke(main, ["simulate", "nothing-like-this"]).exit_code == 2
    broken = tmp_path / "policy.yaml"
    broken.write_text(seed_policy().replace("at_least: 3", "at_last: 3").replace("timezone:", "timezon:"))
    refused = runner.invoke(main, ["policy", "lint", str(broken)])
    assert refused.exit_code == 1
    assert "did you mean 'at_least'?" in refused.output
    assert "did you mean 'timezone'?" in refused.output
    assert "^" in refused.output
    good = tmp_path / "good.yaml"
    good.write_text(seed_policy())
    accepted = runner.invoke(main, ["policy", "lint", str(good)])
    assert accepted.exit_code == 0
    assert "not yet enforced: line" in accepted.output


def test_two_weeks_of_healthy_releases_are_never_halted(tmp_path: Path) -> None:
    text = (REPOSITORY / "gate" / "sim" / "scenarios" / "healthy-week.yaml").read_text(encoding="utf-8")
    plan = scenario_of(text.replace("sites: 400", "sites: 60"), "healthy-week")  # at its full size: tests/soak
    assert len(plan.sites) == 61
    result = simulation(plan, seed_policy(), tmp_path).run()
    assert results.unmet(plan, result) == []
    assert result["promises_broken"] == []


@pytest.mark.parametrize("seconds", [7, 1000, 4000])
def test_a_scenario_ends_the_same_way_however_it_is_watched(tmp_path: Path, seconds: int) -> None:
    plan = read_scenario(Path("july-19"))
    sim = simulation(plan, seed_policy(), tmp_path)
    sim.start()
    now = plan.start
    while now < plan.start + timedelta(hours=2):
        now += timedelta(seconds=seconds)
        sim.advance_to(now)
    release = sim.result()["releases"][0]
    assert (release["halted_by"], release["halted_at"]) == ("brakes[1]", "2024-07-19T04:50:00+00:00")
