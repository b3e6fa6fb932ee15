# ruff: noqa: F401, F811  (fixtures of another file)
"""Who went past the gate, and what vendors have not done, on the pages that people look at."""

from __future__ import annotations

import html
import json
import re

import pytest
from click.testing import CliRunner

from gate.cli.main import main
from tests.flows.test_observed import has, release, shop, standing
from tests.flows.test_orders import Host, brings, halted, vendor
from tests.real_gate import RealGate
from tests.vendor_plugin import Vendor
from tests.web.test_pages import Person, anna, app, person


@pytest.fixture
def real_gate(sqlite_gate: RealGate) -> RealGate:
    """Pages do not ask which database there is."""
    return sqlite_gate


def shown(anna: Person, place: str, language: str = "en") -> str:
    page = anna.client.get(place, headers={"Accept-Language": language})
    assert page.status_code == 200
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text)))


def test_every_page_that_people_look_at_says_who_went_past_the_gate(shop: tuple[RealGate, Host], anna: Person) -> None:
    gate, host = shop
    with gate.opened.store.read() as tx:
        found = tx.rollout_of(release(gate, "2"))
    assert found is not None
    pages = ("/", "/sources", f"/rollouts/{found.id}", f"/machines/{host.machine}")
    for place in pages:
        assert "past the gate" not in shown(anna, place)
    has(gate, host, "2")
    for place in pages:
        assert re.search(r"Somebody went past the gate .* rest sued rest shop-content 2 1 ", shown(anna, place)), place
        assert "Jemand ist am Tor vorbeigegangen" in shown(anna, place, "de")
    assert re.search(r"machines run what was never granted to them 1 ", shown(anna, "/system"))


def test_what_a_vendor_has_not_done_stands_on_overview_sources_and_system(vendor: Vendor, anna: Person) -> None:
    Host(vendor.gate, "first", "nord", "first")
    vendor.says(down=True)
    brings(vendor, "1")
    for place in ("/", "/sources", "/system"):
        assert "What vendors have not done" in shown(anna, place)
        assert "1 machines wait for it not now" in shown(anna, place)
    vendor.says(down=False)
    vendor.rounds(2, seconds=60)
    for place in ("/", "/sources", "/system"):
        assert "What vendors have not done" not in shown(anna, place)


def beside(page: str) -> str:
    """The row of the vendor's source."""
    found = re.search(r"vendor vendor, content .*", page)
    assert found
    return found[0]


def test_what_a_vendor_or_its_plugin_does_not_do_stands_beside_its_source_in_both_languages_and_on_the_command_line(
    vendor: Vendor, anna: Person
) -> None:
    host = Host(vendor.gate, "first", "nord", "first")
    vendor.says(down=True, blind=True)
    brings(vendor, "1")
    vendor.gate.worker.observe()
    page = beside(shown(anna, "/sources"))
    assert "Ring first: 1 machines wait for it: not now" in page
    assert re.search(r"What machines run cannot be read: .*the vendor does not answer", page)
    german = beside(shown(anna, "/sources", "de"))
    assert "Ring first: 1 Rechner warten darauf: not now" in german
    assert "Was Rechner haben, ist nicht lesbar:" in german
    command = ["sources", "-o", "json", "--settings", str(vendor.gate.made.settings)]
    (row,) = [one for one in json.loads(CliRunner().invoke(main, command).stdout) if one["source"] == "vendor"]
    assert "ring first: 1 machines wait for it: not now; what machines run cannot be read: " in row["troubles"]
    vendor.says(down=False, blind=False, hold_down=True, runs={host.machine: "1"})
    vendor.gate.clock.forward(minutes=6)
    vendor.gate.worker.observe()
    vendor.gate.worker.tell()
    halted(vendor)
    vendor.gate.worker.held()
    page = beside(shown(anna, "/sources"))
    assert re.search(r"Ring first: the spread is not stopped: .*the vendor does not answer", page)
    assert "machines wait for it" not in page
    assert "cannot be read" not in page


def test_a_vendor_that_cannot_say_leaves_what_is_known_and_shows(vendor: Vendor, anna: Person) -> None:
    gate, host = vendor.gate, Host(vendor.gate, "rest", "sued")
    brings(vendor, "1")
    vendor.says(runs={host.machine: "1"})
    gate.worker.observe()
    before = standing(gate, host.machine, "vendor")
    vendor.says(blind=True)
    for _ in range(2):
        gate.clock.forward(minutes=6)
        gate.worker.observe()
    assert standing(gate, host.machine, "vendor") == before == ("1", "first")
    assert "What machines run cannot be read:" in shown(anna, "/sources")
    vendor.says(blind=False)
    gate.clock.forward(minutes=6)
    gate.worker.observe()
    assert "What machines run cannot be read:" not in shown(anna, "/sources")
    with gate.opened.store.read() as tx:
        kinds = [one.kind for one in tx.events(subject="source:vendor/observed")]
    assert kinds == ["observe_recovered", "observe_failed"]
