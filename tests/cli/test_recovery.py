"""``gate recovery`` and ``gate site key``: a sheet to print, as data too, and where a key is kept."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from gate.cli.main import main
from gate.config import load
from gate.core.errors import OperatorError
from gate.core.recovery import Given, key_of
from tests.real_gate import PlayedMachine, RealGate

KEY = "-".join(["123456"] * 8)


@pytest.fixture
def shop(sqlite_gate: RealGate) -> RealGate:
    """A till of the first ring has taken release 1 and is not heard of any more; a person has halted it."""
    machine = PlayedMachine(sqlite_gate)
    machine.enrol(facts={"role": "till", "hostname": "kasse", "platform": "metal", "os": "linux"})
    sqlite_gate.accept(machine.machine, "till", "first")
    sqlite_gate.bring("1")
    with sqlite_gate.opened.store.read() as tx:
        [rollout] = tx.rollouts()
    machine.checkin()
    assert machine.claim(rollout.release)[0] == 201
    ran(sqlite_gate, "halt", rollout.id, "--because", "tills die")
    with sqlite_gate.opened.store.write() as tx:
        tx.seen(machine.machine, sqlite_gate.clock.now() - timedelta(hours=2))
    return sqlite_gate


def ran(shop: RealGate, *words: str, code: int = 0) -> Result:
    found = CliRunner().invoke(main, [*words, "--settings", str(shop.made.settings)])
    assert found.exit_code == code, found.output
    return found


def test_the_sheet_is_german_first_and_the_same_as_data(shop: RealGate) -> None:
    assert ran(shop, "site", "key", "keep", "nord", "Umschlag 3", "--key-id", "1a2b3c4d").output == "kept\n"
    said = ran(shop, "recovery").output
    assert said.startswith("Wiederherstellungsblatt: ")
    for word in (
        "tills die",
        "kasse",
        "Umschlag 3 (id 1A2B3C4D)",
        "gate-agent recover --root /mnt --source shop-content",
    ):
        assert word in said
    assert "Windows" not in said
    assert ran(shop, "recovery", "--language", "en").output.startswith("Recovery sheet: ")
    [one] = json.loads(ran(shop, "recovery", "-o", "json").output)
    assert YAML(typ="safe", pure=True).load(ran(shop, "recovery", "-o", "yaml").output) == [one]
    assert (one["version"], one["good"]) == ("1", None)
    assert [(each["name"], each["key_place"]) for each in one["out_of_reach"]] == [("kasse", "Umschlag 3")]
    make = one["make"]
    for words in ((make,), (key_of(make), "--release", "1"), (make, "--source", "shop-content", "--release", "1")):
        assert json.loads(ran(shop, "recovery", *words, "-o", "json").output) == [one]


def test_what_cannot_be_said_is_refused(shop: RealGate) -> None:
    assert "has no make" in ran(shop, "recovery", "role=scale", code=2).output
    assert "no rollout" in ran(shop, "recovery", "--release", "none", code=2).output
    assert "no rollout is halted" in ran(shop, "recovery", "--source", "other", code=2).output
    refused = ran(shop, "site", "key", "keep", "nord", KEY, code=2)
    assert "never the key" in refused.output
    assert KEY not in refused.output


def test_key_places_are_listed_forgotten_and_imported(shop: RealGate, tmp_path: Path) -> None:
    ran(shop, "site", "key", "keep", "nord", "safe", "--machine", "kasse")
    [row] = json.loads(ran(shop, "site", "key", "list", "nord", "-o", "json").output)
    assert row["place"] == "safe"
    assert ran(shop, "site", "key", "drop", "nord", "--machine", "kasse").output == "forgotten\n"
    ran(shop, "site", "key", "drop", "nord", code=2)
    file = tmp_path / "keys.csv"
    file.write_text(f"site,machine,place,key_id\nnord,,AD,\nnord,kasse,{KEY},\n")
    assert f"{file}:3: this looks like a recovery key" in ran(shop, "site", "key", "import", str(file), code=1).output
    assert json.loads(ran(shop, "site", "key", "list", "nord", "-o", "json").output) == []
    file.write_text("site,machine,place,key_id\nnord,,AD,\n")
    assert ran(shop, "site", "key", "import", str(file)).output == "1 places\n"


BARE = "fleet = 'x'\ndata = 'd'\ndatabase = 'sqlite:///x'\n"


def test_the_settings_say_where_a_sources_files_lie(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(BARE + "[recovery.shop]\nwindows = 'C:\\x'\nfiles = ['C-00000291*.sys']\ncall = '0211 1'\n")
    assert load(file, {}).recovery == {"shop": Given(windows="C:\\x", files=("C-00000291*.sys",), call="0211 1")}


@pytest.mark.parametrize("text", ["[recovery.shop]\nmac = 'x'", "[recovery.shop]\nfiles = 'x'", "recovery = 3",
                                  "[recovery]\nshop = 'x'", "[recovery.shop]\nlinux = 3"])  # fmt: skip
def test_a_mistake_in_them_stops_the_start(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(BARE + text)
    with pytest.raises(OperatorError, match="recovery"):
        load(file, {})
