# ruff: noqa: F401, F811  (fixtures of another file)
"""A walk through the fleet: fifty sites come in, till 3 of one of them says why it waits, Christmas is frozen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from gate.adapters.policy_yaml import parse_text
from gate.core.model import Site
from tests.browser.pictures import kept
from tests.browser.serving import serving
from tests.browser.test_browser import DESK, PHONE
from tests.real_gate import PlayedMachine, RealGate
from tests.web.test_pages import PASSWORD, app

pytestmark = pytest.mark.browser
SITES = "id,name,land,hours,always_on\n" + "".join(f"s{n:02},Apotheke {n},NW,,ja\n" for n in range(50))


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture(params=["with JavaScript", "without"])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    scripts = request.param != "without"
    context = browser.new_context(viewport=DESK if scripts else PHONE, locale="en-GB", java_script_enabled=scripts)
    page = context.new_page()
    page.goto(address)
    page.get_by_label("Login").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    yield page
    context.close()


def tills(gate: RealGate, site: str) -> None:
    """Three tills; the first is in the first ring, and a release is in it."""
    for number in (1, 2, 3):
        till = PlayedMachine(gate, f"till-{number}")
        facts = {"role": "till", "hostname": f"till-{number}"}
        assert till.enrol(code=gate.code(site), facts=facts)[0] == 202
        gate.accept(till.machine, "till", *(["first"] if number == 1 else []))
        gate.clock.forward(seconds=1)
    gate.bring("7")


@pytest.mark.slow
def test_fifty_sites_come_in_till_3_says_why_and_christmas_is_frozen(
    sqlite_gate: RealGate, address: str, page: Page, tmp_path: Path
) -> None:
    file = tmp_path / "sites.csv"
    file.write_text(SITES + "s07,again,NW,whenever,\n", encoding="utf-8")
    page.get_by_role("link", name="Sites", exact=True).click()
    page.get_by_role("link", name="Import sites").click()
    page.get_by_label("A CSV file").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was imported.")
    expect(page.get_by_role("rowheader", name="52")).to_be_visible()
    kept(page, "import", "problems")
    file.write_text(SITES, encoding="utf-8")
    page.get_by_label("A CSV file").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("link", name="s07", exact=True)).to_be_visible()
    page.get_by_role("link", name="Next page").click()
    expect(page.get_by_role("link", name="s49", exact=True)).to_be_visible()

    kept(page, "import", "done")
    tills(sqlite_gate, "s07")
    page.goto(address + "/machines")
    page.get_by_label("Begins with").fill("till-3")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile(r"text=till-3"))
    page.get_by_role("link", name="s07", exact=True).click()
    page.get_by_role("link", name="Why? till-3").click()
    expect(page.locator(".sentence")).to_contain_text("Ring rest: needs 1 more till healthy: 0 of 1 so far.")
    kept(page, "why", "till-3")

    page.get_by_role("link", name="Calendar").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Calendar")
    kept(page, "christmas", "calendar")
    christmas = date(sqlite_gate.clock.now().year + 1, 12, 23)
    head, policies = sqlite_gate.opened.policies.head(), sqlite_gate.opened.policies
    page.get_by_label("Name").fill("christmas")
    page.get_by_label("From").fill(christmas.isoformat())
    page.get_by_label("To", exact=True).fill((christmas + timedelta(days=4)).isoformat())
    page.get_by_label("Reason").fill("nobody is there")
    page.get_by_role("button", name="Go on").click()
    page.get_by_role("button", name="See what it does").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Look before it is saved")
    expect(page.locator(".diff .removed")).to_have_count(0)
    expect(page.get_by_text("It acts at once.", exact=True)).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_value("nobody is there")
    assert policies.head() == head, "nothing is changed yet"
    kept(page, "christmas", "preview")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Calendar")
    first = page.locator("tr", has=page.locator(f"time[datetime='{christmas}']"))
    expect(first).to_contain_text("christmas")
    page.goto(f"{address}/calendar?span=month&day={christmas}")
    for day, frozen in ((-1, False), (0, True), (4, True), (5, False)):
        row = page.locator("tr", has=page.locator(f"time[datetime='{christmas + timedelta(days=day)}']"))
        expect(row.get_by_text("christmas")).to_have_count(int(frozen))
    kept(page, "christmas", "frozen")
    assert policies.head() != head
    [freeze] = parse_text(policies.read(policies.head())).freezes
    assert (freeze.name, freeze.owner, freeze.why) == ("christmas", "anna", "nobody is there")
    assert policies.history()[0].author == "anna"
    page.get_by_role("link", name="Change christmas").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("christmas")


@pytest.mark.slow
def test_an_open_page_changes_by_itself_and_keeps_focus_and_what_is_open(
    sqlite_gate: RealGate, address: str, browser: Browser
) -> None:
    context = browser.new_context(viewport=DESK, locale="en-GB")
    page, problems = context.new_page(), []
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    page.goto(address)
    page.get_by_label("Login").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.goto(address + "/sites")
    page.evaluate("window.stayed = true")
    page.locator("details.kept summary").click()
    page.get_by_role("link", name="nord", exact=True).focus()
    with sqlite_gate.opened.store.write() as tx:
        tx.save_site(Site("neu", "Apotheke Neu", "NW"))
        tx.append("site_added", "berta", "neu", sqlite_gate.clock.now(), {"name": "Apotheke Neu"})
    expect(page.get_by_role("link", name="neu", exact=True)).to_be_visible(timeout=15_000)
    assert page.evaluate("window.stayed") is True
    expect(page.get_by_role("link", name="nord", exact=True)).to_be_focused()
    assert page.locator("details.kept").evaluate("one => one.open") is True
    page.goto(address + "/")
    page.evaluate("window.stayed = true")
    sqlite_gate.bring("9")
    expect(page.get_by_role("status")).to_have_text(
        re.compile("Releases are on their way|All releases"), timeout=15_000
    )
    page.get_by_role("link", name="Sites", exact=True).click()
    page.get_by_label("Begins with").fill("half a wo")
    news = page.expect_request(lambda asked: asked.url.endswith("/live/stream"))  # the next: the word was in the last
    with news, sqlite_gate.opened.store.write() as tx:
        tx.append("logged_in", "x", "x", sqlite_gate.clock.now())
    expect(page.get_by_label("Begins with")).to_have_value("half a wo")
    sqlite_gate.clock.forward(minutes=16)
    page.get_by_label("Begins with").fill("")
    expect(page.get_by_text("Your session has ended.")).to_be_visible(timeout=15_000)  # not under who is at a form
    page.get_by_label("Begins with").blur()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible(timeout=15_000)
    assert problems == []
    context.close()
