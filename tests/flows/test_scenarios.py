"""Each special case of the decision as a scenario that expects something; a wrong gate fails one of them.

The files stand in ``tests/scenarios``; each names the rule whose removal it catches, and what was seen without it.
After each run the counters are recounted, and every decision is judged again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import OneText, read_scenario, seed_policy, simulation
from gate.core.claims import HOLDS_SLOT
from gate.core.counters import counts
from gate.core.model import FLEET
from gate.flows import replay
from gate.ports import Gate
from gate.sim import results, run
from gate.sim.idle import OpenTx
from gate.sim.run import CHECKIN
from gate.sim.scenario import Scenario
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow

FOLDER = REPOSITORY / "tests" / "scenarios"
OWN = sorted(file for file in FOLDER.glob("*.yaml") if not file.name.endswith("policy.yaml"))
SHIPPED = REPOSITORY / "gate" / "sim" / "scenarios"
LONG = {"healthy-week.yaml", "one-make.yaml"}
COUNTED = ("exposed", "healthy", "failed", "silent", "recovered", "crashed", "late_failed")


def policy_of(file: Path) -> str:
    own = file.with_name(f"{file.stem}.policy.yaml")
    return (own if own.is_file() else FOLDER / "policy.yaml").read_text(encoding="utf-8")


def lived(plan: Scenario, policy: str, folder: Path) -> dict[str, Any]:
    """The result of a scenario, once counters and decisions of its store have been looked at."""
    result = simulation(plan, policy, folder).run()
    store = SqlStore(f"sqlite:///{folder / 'simulation.db'}", durable=False)
    recount(store)
    prepared = run.prepare(plan, parse_text(policy))
    gate = Gate(policy=lambda _: prepared, texts=OneText(policy), hours=OpeningCalendar(prepared.timezone))
    sources = replay.Sources(store, ())
    found = [replay.replay(gate, one, sources.of(one.rollout)) for one in replay.stored_decisions(store, ())]
    store.close()
    assert found
    assert [one.differences for one in found if not one.same] == []
    assert result["promises_broken"] == []
    return result


def recount(store: SqlStore) -> None:
    """Every counter of rings, makes and budgets equals what the claims say."""
    with store.read() as tx:
        for rollout in tx.rollouts(limit=1000):
            claims = tx.claims(rollout.id, limit=100_000)
            told: Counter[tuple[str, str, str]] = Counter()
            flying: Counter[str] = Counter()
            for one in claims:
                for name in COUNTED:
                    told[one.ring, one.make, name] += getattr(counts(one), name)
                flying[one.ring] += one.state in HOLDS_SLOT
            for row in tx.strata(rollout.id):
                for name in COUNTED:
                    assert getattr(row, name) == told[row.ring, row.make, name], (row.ring, row.make, name)
            for ring in tx.rings(rollout.id):
                assert ring.in_flight == flying[ring.ring]
            for budget in tx.budgets(rollout.id):
                mine = [one for one in claims if budget.make in (one.make, FLEET)]
                assert budget.healthy == sum(counts(one).healthy for one in mine)
                assert budget.failed == sum(counts(one).bad for one in mine)
                assert budget.in_flight == sum(one.state in HOLDS_SLOT for one in mine)


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_each_special_case_goes_as_its_file_expects(file: Path, tmp_path: Path) -> None:
    plan = read_scenario(file)
    assert plan.expect
    assert results.unmet(plan, lived(plan, policy_of(file), tmp_path)) == []


@pytest.mark.parametrize("boot", [3, 5])
def test_who_dies_at_a_later_boot_is_found_where_the_bench_asks_for_as_many(boot: int, tmp_path: Path) -> None:
    file = FOLDER / "second-boot.yaml"
    plan, policy = read_scenario(file), policy_of(file)
    (release,) = plan.releases
    assert release.fault is not None
    late = replace(plan, releases=(replace(release, fault=replace(release.fault, on=f"boot:{boot}")),))
    asked, one_fewer = (policy.replace("boots: 2", f"boots: {number}") for number in (boot, boot - 1))
    assert results.unmet(plan, lived(late, asked, tmp_path)) == []
    assert [one for one in ended(late, one_fewer, tmp_path / "fewer")["rings"][1:] if one["opened_at"]]


def ended(plan: Scenario, policy: str, folder: Path, *, compares: bool = True) -> dict[str, Any]:
    """The result of a scenario's only release, with or without a look at the machines that were not updated."""
    folder.mkdir()
    sim = simulation(plan, policy, folder, run.Simulation if compares else Uncompared)
    released: dict[str, Any] = sim.run()["releases"][0]
    return released


class Uncompared(run.Simulation):
    """Failures are held against the background alone."""

    def compare(self, within: OpenTx, rollout: str) -> None:
        """Nobody looks at the others."""


def test_an_outage_halts_a_healthy_release_where_nothing_is_compared(tmp_path: Path) -> None:
    file = FOLDER / "outage-in-a-healthy-release.yaml"
    plan, policy = read_scenario(file), policy_of(file)
    alone = ended(plan, policy, tmp_path / "alone", compares=False)
    assert alone["halted_by"] == "defaults.false_halt"
    assert ended(replace(plan, events=()), policy, tmp_path / "quiet", compares=False)["halted_by"] is None


def test_a_bad_release_ends_in_an_outage_as_it_ends_without(tmp_path: Path) -> None:
    file = FOLDER / "outage-in-a-bad-release.yaml"
    plan, policy = read_scenario(file), policy_of(file)
    dark = ended(plan, policy, tmp_path / "dark")
    quiet = ended(replace(plan, events=()), policy, tmp_path / "quiet")
    assert dark["halted_by"] == quiet["halted_by"] == "defaults.false_halt"
    assert [ring["opened_at"] for ring in dark["rings"]] == [ring["opened_at"] for ring in quiet["rings"]]
    assert dark["bricked"] <= quiet["bricked"] + 3


def test_a_gate_that_is_down_is_one_gap_from_its_last_tick_to_its_next(tmp_path: Path) -> None:
    file = FOLDER / "collector-down-over-opening.yaml"
    plan = read_scenario(file)
    simulation(plan, policy_of(file), tmp_path).run()
    store = SqlStore(f"sqlite:///{tmp_path / 'simulation.db'}", durable=False)
    with store.read() as tx:
        (gap,) = tx.gaps(plan.start)
    store.close()
    down_at, up_at = plan.events[0]["at"], plan.events[0]["at"] + timedelta(minutes=630)
    assert down_at - CHECKIN <= gap.start_at <= down_at
    assert up_at <= gap.end_at <= up_at + CHECKIN


def test_each_file_says_what_it_catches() -> None:
    assert len(OWN) >= 12
    for file in OWN:
        first, second, third, *_ = file.read_text(encoding="utf-8").splitlines()
        assert first.startswith("# ")
        assert second.startswith("# Catches: "), file.name
        assert third.startswith("# Seen: "), file.name
        assert file.stem == read_scenario(file).name


@pytest.mark.parametrize("name", ["july-19.yaml", "july-19-at-ten.yaml"])
def test_the_shipped_scenarios_are_met(name: str, tmp_path: Path) -> None:
    plan = read_scenario(SHIPPED / name)
    assert results.unmet(plan, lived(plan, seed_policy(), tmp_path)) == []


def test_every_shipped_scenario_is_run() -> None:
    assert {file.name for file in SHIPPED.glob("*.yaml")} == {"july-19.yaml", "july-19-at-ten.yaml"} | LONG
