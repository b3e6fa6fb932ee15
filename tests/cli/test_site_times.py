"""``gate duty`` and ``gate sites closed`` on a whole gate."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.adapters.test_duty_ics import calendar
from tests.cli.test_commands import gate, made

__all__ = ["made"]

DAY = datetime.now(UTC).date() + timedelta(days=30)
AFTER = DAY + timedelta(days=1)


@pytest.fixture
def shop(made: Path, tmp_path: Path) -> Path:
    file = tmp_path / "sites.csv"
    file.write_text("id,name,land,hours\nsonne,Sonne,NW,Mo-Fr 08:00-18:00\nmond,Mond,NW,Mo-Fr 08:00-18:00\n")
    assert gate("sites", "import", str(file), settings=made).exit_code == 0
    return made


def ics(folder: Path, *locations: str) -> str:
    file = folder / "duty.ics"
    day = f"DTSTART;VALUE=DATE:{DAY:%Y%m%d}"
    file.write_bytes(calendar(*(f"{day}\r\nLOCATION:{one}" if one else day for one in locations)))
    return str(file)


def test_duty_is_imported_by_place_and_listed(shop: Path, tmp_path: Path) -> None:
    done = gate("duty", "import", ics(tmp_path, "Sonne", "mond"), settings=shop)
    assert (done.exit_code, done.output) == (0, "2 duties of 2 sites, 2 of them new\n")
    said = json.loads(gate("duty", "list", "-o", "json", settings=shop).output)
    assert [(one["site"], one["from"], one["to"]) for one in said] == [
        (site, f"{DAY} 09:00", f"{AFTER} 09:00") for site in ("mond", "sonne")
    ]
    one = json.loads(gate("duty", "list", "--site", "mond", "-o", "json", settings=shop).output)
    assert [row["site"] for row in one] == ["mond"]


@pytest.mark.parametrize(
    ("places", "words"), [(("Sonne", "Stern"), "duty.ics:7: no sites are called 'Stern'"), (("",), "no LOCATION")]
)
def test_a_duty_of_no_known_site_imports_nothing(
    shop: Path, tmp_path: Path, places: tuple[str, ...], words: str
) -> None:
    done = gate("duty", "import", ics(tmp_path, *places), settings=shop)
    assert done.exit_code == 1
    assert words in done.output
    assert json.loads(gate("duty", "list", "-o", "json", settings=shop).output) == []


def test_one_site_may_be_named_for_all_events(shop: Path, tmp_path: Path) -> None:
    assert gate("duty", "import", ics(tmp_path, ""), "--site", "mond", settings=shop).exit_code == 0
    refused = gate("duty", "import", ics(tmp_path, ""), "--site", "stern", settings=shop)
    assert (refused.exit_code, "there is no site stern" in refused.output) == (2, True)
    assert gate("duty", "import", ics(tmp_path, ""), "--change", "25:00", settings=shop).exit_code == 2


def test_closing_days_are_declared_listed_and_taken_back(shop: Path) -> None:
    words = ("sites", "closed", "sonne", str(DAY))
    assert gate(*words, settings=shop).exit_code == 2, "a reason is needed"
    assert gate(*words, str(AFTER), "--because", "holiday", settings=shop).exit_code == 0
    said = json.loads(gate("sites", "closed", "--list", "-o", "json", settings=shop).output)
    assert [(one["site"], one["from"], one["because"]) for one in said] == [("sonne", f"{DAY} 00:00", "holiday")]
    assert gate(*words, "--because", "again", settings=shop).exit_code == 4
    assert gate(*words, "--undo", "--because", "no holiday", settings=shop).exit_code == 0
    assert json.loads(gate("sites", "closed", "--list", "-o", "json", settings=shop).output) == []
