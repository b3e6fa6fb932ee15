"""Any stored decision is judged again; one that was changed afterwards is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from sqlalchemy import create_engine, text

from gate.adapters.policy_git import GitPolicies
from gate.adapters.shelf import FileShelf
from gate.bootstrap import Wishes, init, open_gate
from gate.flows import retention
from gate.sim.run import Simulation
from tests import long_run
from tests.cli.test_commands import gate

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gate after two days of three releases each; what was over early stands on its shelf."""
    folder = tmp_path_factory.mktemp("lived") / "gate"
    now = datetime(2026, 3, 1, tzinfo=UTC)
    settings = init(folder, Wishes("f", "", "", "anna", "NW"), now).settings
    policies = GitPolicies(folder / "data" / "policy.git")
    commit = policies.write(long_run.POLICY, policies.head(), "anna", "for long", now)
    opened = open_gate(settings)
    sim = Simulation(long_run.plan(sites=3, days=2, releases_a_day=3), opened.store, opened.gate, commit)
    sim.run()
    assert retention.shelve_some(opened.store, FileShelf(opened.settings.shelf), DAY, sim.now)
    opened.close()
    return settings


@pytest.fixture
def mine(lived: Path, tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    shutil.copytree(lived.parent, tmp_path / "gate")
    return tmp_path / "gate" / lived.name


def change(settings: Path, sql: str, **values: Any) -> None:
    engine = create_engine(f"sqlite:///{settings.parent / 'data' / 'gate.db'}")
    with engine.begin() as connection:
        assert connection.execute(text(sql), values).rowcount == 1
    engine.dispose()


def stored(settings: Path, where: str = "verdict = 'OPEN'") -> dict[str, Any]:
    engine = create_engine(f"sqlite:///{settings.parent / 'data' / 'gate.db'}")
    with engine.begin() as connection:
        row = connection.execute(text(f"SELECT * FROM decisions WHERE {where} ORDER BY id DESC")).mappings().first()
    engine.dispose()
    assert row is not None
    return dict(row)


def test_every_decision_of_a_day_is_the_same_also_from_the_shelf(lived: Path) -> None:
    with_shelf = gate("replay", "--all", "-o", "json", settings=lived)
    assert with_shelf.exit_code == 0, with_shelf.output
    answer = json.loads(with_shelf.stdout)
    assert answer["same"] == answer["decisions"] > 30
    shelf = FileShelf(lived.parent / "data" / "shelf")
    numbers = {json.loads(line)["id"] for line in shelf.lines("decisions")}
    assert numbers
    assert stored(lived)["id"] not in numbers
    for number in (min(numbers), stored(lived)["id"]):
        said = gate("replay", str(number), settings=lived)
        assert (said.exit_code, "same: " in said.stdout) == (0, True), said.output
    assert "decisions judged again, all as they are stored" in gate("replay", "--all", settings=lived).stdout
    row = stored(lived)
    read: dict[str, Callable[[str], Any]] = {"json": json.loads, "yaml": YAML(typ="safe", pure=True).load}
    for form, load in read.items():
        one = load(gate("replay", str(row["id"]), "-o", form, settings=lived).stdout)
        assert (one["decision"], one["same"], one["stored"]) == (row["id"], True, one["again"])
    ladder = gate("replay", "--rollout", row["rollout"], "-o", "json", settings=lived)
    assert {one["rollout"] for one in json.loads(ladder.stdout)} == {row["rollout"]}


@pytest.mark.parametrize(
    ("column", "old", "new", "word"),
    [
        ("verdict", "OPEN", "HOLD", "the verdict differs"),
        ("makes", "till", "toll", "the makes differ"),
        ("reasons", "[]", '[{"code":"x"}]', "the reasons differ"),
        ("ring", "all", "pilot", "the ring differs"),
        ("at", None, 0, "the moment differs"),
        ("facts", '"at_least":3', '"at_least":0', "rings[0].gate.at_least was 0 in its facts, and is 3"),
        ("facts", '"confidence":0.95', '"confidence":0.5', "defaults.confidence was 0.5"),
        ("facts", '"false_halt":0.01', '"false_halt":0.1', "defaults.false_halt was 0.1 in its facts, and is 0.01"),
        ("facts", '"max_lead":1', '"max_lead":9', "defaults.max_lead_rings was 9 in its facts, and is 1"),
        ("facts", '"people_decide":""', '"people_decide":"x"', "rings[1].decides was x in its facts, and is gate"),
        ("facts", '"floor":0', '"floor":9', "rings[1].floor was"),
        ("facts", '"people_needed":0', '"people_needed":1', "rings[1].needs.people was 1"),
        ("facts", '"verified":true', '"verified":false', "the verdict differs"),
        ("facts", '"ring":"all"', '"ring":"gone"', "a rule that policy"),
        ("facts", '"now":', '"never":', "its facts cannot be judged"),
        ("policy_version", None, "0" * 40, "cannot be read"),
    ],
)
def test_a_decision_that_was_changed_is_found(mine: Path, column: str, old: str | None, new: Any, word: str) -> None:
    row = stored(mine, "verdict = 'OPEN' AND ring = 'all' AND reasons = '[]'")
    value = row[column]
    after = new if old is None else value.replace(old, new)
    assert after != value
    change(mine, f"UPDATE decisions SET {column} = :after WHERE id = :id", after=after, id=row["id"])
    said = gate("replay", str(row["id"]), settings=mine)
    assert said.exit_code == 1
    assert "NOT THE SAME" in said.stdout
    assert word in said.stdout
    every = gate("replay", "--all", "-o", "json", settings=mine)
    assert every.exit_code == 1
    assert [one["decision"] for one in json.loads(every.stdout)["different"]] == [row["id"]]
    assert "NOT WELL: 1 not as they are stored" in gate("replay", "--all", settings=mine).stdout


def test_a_decision_whose_rollout_is_gone_is_not_called_the_same(mine: Path) -> None:
    row = stored(mine)
    change(mine, "UPDATE decisions SET rollout = 'r-gone' WHERE id = :id", id=row["id"])
    said = gate("replay", str(row["id"]), settings=mine)
    assert said.exit_code == 1
    assert "r-gone is not to be found" in said.stdout


def test_what_is_not_there_and_what_is_asked_wrongly_is_said(lived: Path) -> None:
    assert gate("replay", "999999", settings=lived).exit_code == 2
    assert gate("replay", "--rollout", "nothing", settings=lived).exit_code == 2
    for words in ((), ("1", "--all"), ("--all", "--rollout", "x")):
        assert gate("replay", *words, settings=lived).exit_code == 2
