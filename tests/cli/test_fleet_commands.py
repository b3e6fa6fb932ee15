"""``machines import``, ``hours check``, and what the lists of the fleet refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gate.cli.main import main
from gate.core.model import Site
from tests.real_gate import PlayedMachine, RealGate


def gate(shop: RealGate, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--settings", str(shop.made.settings)])


@pytest.fixture
def shop(real_gate: RealGate) -> RealGate:
    """Two sites; three machines ask to join, two of them with one name."""
    with real_gate.opened.store.write() as tx:
        for site in ("nord", "west"):
            tx.save_site(Site(site, site, "NW", "Mo-Fr 08:00-18:30"))
    for seed, name, site in (("a", "one", "nord"), ("b", "two", "nord"), ("c", "two", "west")):
        facts = {"role": "till", "hostname": name}
        assert PlayedMachine(real_gate, seed).enrol(code=real_gate.code(site), facts=facts)[0] == 202
    return real_gate


def active(shop: RealGate) -> set[tuple[str, str, str, str, frozenset[str]]]:
    with shop.opened.store.read() as tx:
        found = tx.machines(status="active")
    return {(one.name, one.site, one.role, one.ring, one.labels) for one in found}


def test_machines_are_let_in_by_a_file_all_of_them_or_none(shop: RealGate, tmp_path: Path) -> None:
    file = tmp_path / "machines.csv"
    with shop.opened.store.read() as tx:
        [other] = [one.id for one in tx.machines() if one.name == "one"]

    def taken(text: str) -> Result:
        file.write_text(text)
        return gate(shop, "machines", "import", str(file))

    wrong = taken(
        f"machine,role,site,labels\none,till,,first\nnobody,till,,\ntwo,till,,\none,till,ost,\n{other},till,,\none,,,\n"
    )
    assert wrong.exit_code == 1
    for said in (
        ":3: no pending machines are called nobody", ":4: 2 pending machines are called two",
        ":5: machine one is there twice", f":6: machine {other} is there twice", ":7: role must be there",
    ):  # fmt: skip
        assert f"{file}{said}\n" in wrong.output
    assert active(shop) == set(), "nothing is half imported"
    assert ":2: there is no site ost\n" in taken("machine,role,site\none,till,ost\n").output
    assert ":1: the columns are machine, role, site, labels" in taken("machine,site\none,nord\n").output
    assert "not UTF-8" not in taken("machine,role\n").output
    assert active(shop) == set()
    done = taken("machine,role,site,labels\none,till,west,first pilot\ntwo,till,west,\n")
    assert (done.exit_code, done.output) == (0, "2 machines\n")
    assert active(shop) == {
        ("one", "west", "till", "first", frozenset({"first", "pilot"})),
        ("two", "west", "till", "rest", frozenset()),
    }
    assert f":2: machine {other} is active\n" in taken(f"machine,role\n{other},till\n").output
    last = taken("role,machine\nserver,two\n")
    assert (last.exit_code, last.output) == (0, "1 machines\n"), "one pending machine of this name is left"


def test_hours_are_told_day_by_day_as_the_gate_reads_them() -> None:
    week = ["hours", "check", "Mo-Fr 08:00-18:30; Sa 20:00-06:00", "--days", "7", "-o", "json"]
    said = CliRunner().invoke(main, week)
    assert said.exit_code == 0
    opened = {row["day"][:3]: row["open"] for row in json.loads(said.output)}
    assert opened["Tue"] == "08:00-18:30"
    assert opened["Sat"] == "20:00-24:00"
    assert opened["Sun"] in ("00:00-06:00", "closed"), "closed where the week begins on that day"
    always = CliRunner().invoke(main, ["hours", "check", "24/7", "--days", "3", "-o", "json"])
    assert {row["open"] for row in json.loads(always.output)} == {"00:00-24:00"}
    year = ["hours", "check", "Mo-Su 08:00-12:00; PH off", "--land", "BY", "--days", "366", "-o", "json"]
    days = json.loads(CliRunner().invoke(main, year).output)
    assert {one["open"] for one in days if one["day"].endswith("-01-06")} == {"closed"}, "Epiphany, in Bavaria"


@pytest.mark.parametrize(
    "words", [("Mo-Fr 8-",), ("Mo-Fr 08:00-18:00; SH off",), ("Mo-Fr 08:00-18:00", "--land", "XX")]
)
def test_hours_that_cannot_be_read_are_a_finding(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, ["hours", "check", *words]).exit_code == 1


def test_the_hours_of_every_site_are_checked(shop: RealGate) -> None:
    assert gate(shop, "hours", "check").exit_code == 0
    with shop.opened.store.write() as tx:
        tx.save_site(Site("bad", "bad", "NW", "whenever"))
        tx.save_site(Site("far", "far", "Mars"))
    found = gate(shop, "hours", "check", "-o", "json")
    assert found.exit_code == 1
    assert [row["site"] for row in json.loads(found.output)] == ["bad", "far"]


@pytest.mark.parametrize(
    "words", [("sites", "list"), ("machines", "list"), ("site", "show", "nord"), ("machine", "show", "one")]
)
def test_what_is_not_stored_as_it_was_is_refused_for_another_time(shop: RealGate, words: tuple[str, ...]) -> None:
    refused = gate(shop, *words, "--at", "2026-03-02T05:15")
    assert refused.exit_code == 2
    assert "gate audit list --subject ID --at TIME" in refused.output
    assert gate(shop, *words).exit_code == 0
