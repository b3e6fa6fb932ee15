"""The policy's tools at the command line: what they print, and their exit codes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from gate.adapters.policy_git import GitPolicies
from gate.cli.common import gate_of
from gate.core.model import Machine, MachineStatus, Site
from tests.cli.test_commands import gate, made  # noqa: F401  (a fixture)
from tests.core.test_policy import SEED

NOW = datetime(2026, 7, 20, 9, tzinfo=UTC)


@pytest.fixture
def seed(tmp_path: Path) -> Path:
    file = tmp_path / "old.yaml"
    file.write_text(SEED)
    return file


def written(folder: Path, old: str, new: str) -> Path:
    assert old in SEED
    file = folder / "new.yaml"
    file.write_text(SEED.replace(old, new))
    return file


@pytest.mark.parametrize(
    ("old", "new", "code", "people", "word"),
    [
        ("soak: 4h open", "soak: 2h open", 1, 2, "lockert"),
        ("soak: 4h open", "soak: 5h open", 0, 1, "verschärft"),
        ("why: no server, no pharmacy", "why: no server", 0, 1, "entscheidet nichts"),
        ("version: 1", "version: 1  ", 0, 1, "niemand muss zustimmen"),
    ],
)
def test_diff_says_what_loosens_and_how_many_people_it_needs(
    seed: Path, old: str, new: str, code: int, people: int, word: str
) -> None:
    after = written(seed.parent, old, new)
    said = gate("policy", "diff", str(seed), str(after), "--language", "de")
    assert said.exit_code == code, said.output
    assert word in said.output
    for form, read in (("json", json.loads), ("yaml", YAML(typ="safe", pure=True).load)):
        answer = gate("policy", "diff", str(seed), str(after), "-o", form)
        assert answer.exit_code == code
        assert read(answer.stdout)["people"] == people


def test_diff_knows_the_commits_of_the_gates_own_repository(made: Path, tmp_path: Path) -> None:  # noqa: F811
    policies = GitPolicies(made.parent / "data" / "policy.git")
    first = policies.head()
    second = policies.write(policies.read(first).replace("soak: 5s", "soak: 9s"), first, "anna", "longer", NOW)
    assert gate("policy", "diff", first, second, settings=made).exit_code == 0
    back = gate("policy", "diff", "head", first[:10], settings=made)
    assert (back.exit_code, "soak: 5 seconds instead of 9 seconds (loosens)" in back.output) == (1, True)
    assert gate("policy", "diff", "active", "abcdef0123", settings=made).exit_code == 2
    assert gate("policy", "diff", "active", "--upload-pack=x", settings=made).exit_code == 2
    assert gate("policy", "diff", "active", "../x", settings=made).exit_code == 2
    assert gate("policy", "diff", "only-one", settings=made).exit_code == 2


def test_diff_of_a_policy_that_does_not_parse_is_a_finding_with_its_place(seed: Path) -> None:
    after = written(seed.parent, "version: 1", "version: 3")
    said = gate("policy", "diff", str(seed), str(after))
    assert said.exit_code == 1
    assert "new.yaml:2:10" in said.output


def test_explain_says_a_policy_in_both_languages_and_the_active_one_by_itself(made: Path, seed: Path) -> None:  # noqa: F811
    assert "Ring 1 of 5, lab." in gate("policy", "explain", str(seed)).output
    assert "Ring 1 von 5, lab." in gate("policy", "explain", str(seed), "--language", "de").output
    rows = json.loads(gate("policy", "explain", str(seed), "-o", "json").output)
    assert {"path", "line", "ring", "text"} == set(rows[0])
    assert gate("policy", "explain", settings=made.parent / "none.toml").exit_code == 2


def test_fmt_lays_out_in_place_and_check_only_looks(seed: Path) -> None:
    wild = SEED.replace("\n", "   \n")
    seed.write_text(wild)
    looked = gate("policy", "fmt", "--check", str(seed))
    assert (looked.exit_code, seed.read_text()) == (1, wild)
    assert gate("policy", "fmt", str(seed)).exit_code == 0
    assert seed.read_text() == SEED
    assert gate("policy", "fmt", "--check", str(seed)).exit_code == 0
    seed.write_text("a: [")
    assert (gate("policy", "fmt", str(seed)).exit_code, seed.read_text()) == (1, "a: [")
    assert gate("policy", "fmt", "no-such-file").exit_code == 2


def test_plan_says_when_each_ring_could_open_and_what_could_be_lost(seed: Path) -> None:
    words = ("policy", "plan", str(seed), "--from", "2026-07-20T09:00", "--source", "falcon-content")
    said = gate(*words, "--language", "de")
    assert said.exit_code == 0, said.output
    assert "Ring pilots kann frühestens Mo 20.07. 11:15 öffnen." in said.stdout
    assert "Bis Mo 20.07. 11:00: der Inhalt ist zu jung (rings[1].floor)." in said.stdout
    assert "for an example of 40 pharmacies" in said.stderr
    (row,) = json.loads(gate(*words, "-o", "json").stdout)
    assert [ring["ring"] for ring in row["rings"]] == ["lab", "pilots", "first-till", "rest", "servers"]
    assert row["rings"][1]["opens_at"] == "2026-07-20T11:15:00+02:00"
    short = gate(*words, "--days", "2")
    assert (short.exit_code, "Ring servers does not open within 2 days." in short.output) == (1, True)
    assert gate(*words[:3], "--source", "nobody").exit_code == 2
    assert gate(*words[:3], "--from", "monday").exit_code == 2
    assert gate(*words[:3], "--days", "0").exit_code == 2


def test_plan_uses_the_machines_of_the_gate_where_it_has_some(made: Path, seed: Path) -> None:  # noqa: F811
    said = gate("policy", "plan", str(seed), "--source", "falcon-content", settings=made)
    assert "for an example of 40 pharmacies" in said.stderr, "a gate without machines"
    with gate_of(made) as opened, opened.store.write() as tx:
        tx.save_site(Site("lab", "lab", "NW", "24/7", True))
        one = Machine("m", "lab", MachineStatus.PENDING, "m", {"role": "till"}, public_key="0" * 64)
        tx.add_machine(one, "0" * 64)
        assert tx.accept_machine(replace(one, status=MachineStatus.ACTIVE), NOW)
    row = json.loads(gate("policy", "plan", str(seed), "-o", "json", settings=made).stdout)[0]
    assert [ring["members"] for ring in row["rings"]] == [1, 0, 0, 0, 0]
