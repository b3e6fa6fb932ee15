"""A small run of the evidence: wide margins, all of it by the functions that decide."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.evidence import others, page
from tests.evidence.cells import (
    BESIDE,
    CELLS,
    FOURTH_SHARE,
    FRONT_SHARE,
    HEADLINES,
    TABLE,
    TENTH_SHARE,
    Cell,
    Tally,
    ours,
    run_chunk,
)
from tests.evidence.fleet import MACHINES, SHARES, SIZES, Content, Ladder, Outcome, every_make
from tests.evidence.page import Delivery
from tests.evidence.release import Release

SEED = (19, 7, 2024)
ERRORS = 4.0  # standard errors: wrong once in 30,000 runs, and the seed is fixed
RELEASES = {"1": 120, "5": 200, "half": 200, "healthy": 80}


@pytest.mark.parametrize("name", TABLE)
def test_each_row_of_the_decisions_table_holds(name: str) -> None:
    tally = TABLE[name].run(RELEASES.get(name, 200), SEED)
    assert TABLE[name].outside(tally, ERRORS) == []
    assert tally.ends.get("stuck", 0) == 0
    if name != "healthy":
        assert tally.ends.get("out", 0) == 0


@pytest.mark.parametrize("name", HEADLINES)
def test_each_headline_holds(name: str) -> None:
    tally = HEADLINES[name].run(40 if name.startswith("outage") else 1_000, SEED)
    assert HEADLINES[name].outside(tally, ERRORS) == []


def test_a_fourth_boot_brick_stops_short_of_the_fleet_only_with_the_part_by_boot_number() -> None:
    with_part, without = (BESIDE[name].run(12, SEED) for name in ("fourth", "fourth-plain"))
    assert BESIDE["fourth"].outside(with_part, ERRORS) == []
    assert without.mean("exposed") > 2 * with_part.mean("exposed")


def test_a_careless_policy_is_found_outside_the_ranges() -> None:
    careless = Ladder(rule_out_make=(None,) * 4, rule_out_fleet=(None,) * 4, at_risk_make=10**6, at_risk_fleet=10**6)
    cell = replace(TABLE["1"], simulate=ours(every_make(0.01), careless))
    assert cell.outside(cell.run(60, SEED), ERRORS) != []


@pytest.mark.parametrize(("most", "least", "found"), [(2, 2, 0), (1.99, 2, 1), (2, 2.01, 1), (1.9, 2.1, 2)])
def test_a_figure_outside_its_range_is_named(most: float, least: float, found: int) -> None:
    cell, tally = Cell("x", lambda rng: Outcome(), {"exposed": most}, {"exposed": least}), Tally()
    for exposed in (1, 3):
        tally.add(Outcome("out", exposed))
    assert len(cell.outside(tally)) == found
    assert cell.outside(tally, errors=3) == []


def test_the_same_chunk_gives_the_same_figures() -> None:
    once, again = run_chunk(("half", 3, 20)), run_chunk(("half", 3, 20))
    assert (once[0], once[1].sums, once[1].ends) == (again[0], again[1].sums, again[1].ends)
    assert once[1].sums != run_chunk(("half", 4, 20))[1].sums


def test_the_rings_hold_every_machine_once_and_a_first_batch_of_every_make() -> None:
    quotas = Ladder().quotas()
    assert sum(SHARES) == pytest.approx(1)
    assert sum(SIZES) == sum(map(sum, quotas)) == MACHINES
    assert quotas[0] == [3] * 8


def test_nothing_is_exposed_beyond_what_its_make_has_and_the_first_night_is_the_first_batch() -> None:
    release = Release(Ladder(), every_make(0.02), np.random.default_rng(SEED))
    assert release.evening() == [3] * 8
    release = Release(Ladder(), Content(), np.random.default_rng(SEED))
    out = release.run()
    assert release.exposed == list(SIZES) and out.exposed == MACHINES and out.bricked == 0


def test_the_cap_costs_a_healthy_ring_little_and_saves_thousands() -> None:
    rng = np.random.default_rng(SEED)
    found = Delivery(
        others.crash_on_apply(100, None, rng).mean(),
        others.crash_on_apply(100, 50, rng).mean(),
        others.minutes_to_deliver(20, None, rng).mean(),
        others.minutes_to_deliver(20, 50, rng).mean(),
    )
    assert found.outside() == []
    assert len(replace(found, exposed=100, exposed_capped=60, minutes_capped=100).outside()) == 3


def test_the_page_has_its_tables_its_command_and_charts_that_are_well_formed(tmp_path: Path) -> None:
    tally = Tally()
    tally.add(Outcome("halted", 24, 3, 1))
    page.write(tmp_path, dict.fromkeys(CELLS, tally), Delivery(3600, 50, 51, 59), 1, 60.0)
    text = (tmp_path / "evidence.md").read_text(encoding="utf-8")
    assert "make evidence" in text and "0.1 % brick under a 0.5 % background is not caught in time" in text
    for cell in TABLE.values():
        assert f"| {cell.title} | " in text or cell.title == "healthy"
    charts = sorted(tmp_path.glob("*.svg"))
    assert [chart.name for chart in charts if f"({chart.name})" in text] == [chart.name for chart in charts]
    assert len(charts) == 3
    for chart in charts:
        ElementTree.fromstring(chart.read_text(encoding="utf-8"))


def test_the_headlines_of_the_page_in_the_documents_are_close_to_their_ranges() -> None:
    text = (REPOSITORY / "docs/evidence.md").read_text(encoding="utf-8")
    found = re.search(r"(\d+) with random canaries and a 5 % threshold, (\d+) with canaries of one make", text)
    outage = re.search(r"\| ([\d.]+)% falsely halted \|", text)
    assert found
    assert outage
    for name, figure in (("random", float(found[1])), ("one-make", float(found[2]))):
        cell = HEADLINES[name]
        assert 0.8 * figure < cell.least["bricked"] < figure < cell.most["bricked"] < 1.2 * figure, name
    assert float(outage[1]) / 100 <= HEADLINES["outage"].most["halted"] <= 0.0012


def test_the_page_in_the_documents_is_of_twenty_thousand_releases() -> None:
    text = (REPOSITORY / "docs/evidence.md").read_text(encoding="utf-8")
    assert "20,000 releases a row" in text
    for share in (FOURTH_SHARE, TENTH_SHARE, FRONT_SHARE):
        assert f"{round(20_000 * share):,} " in text
    for cell in TABLE.values():
        assert f"| {cell.title}" in text
