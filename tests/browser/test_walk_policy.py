"""A person changes the policy as text: a mistake is shown at its line while it is typed, mended, previewed, saved; a
freeze over Christmas is written by hand; the history knows it, and back is a new proposal. axe looks on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from gate.bootstrap import pages
from gate.flows import people
from tests.browser.pictures import kept
from tests.browser.serving import serving
from tests.browser.test_browser import DESK, PHONE, opened
from tests.real_gate import RealGate
from tests.web.test_pages import HASH, PASSWORD

pytestmark = pytest.mark.browser
CHRISTMAS = "freeze:\n  - {name: christmas, from: 2030-12-23, to: 2030-12-27, why: nobody is there, owner: anna}\n"


@pytest.fixture
def served(sqlite_gate: RealGate) -> Iterator[str]:
    with sqlite_gate.opened.store.write() as tx:
        people.new_link(tx, "anna", "link", "test", sqlite_gate.clock.now())
        people.add_user(tx, "berta", "Berta", "admin", "link-berta", "test", sqlite_gate.clock.now())
        for link in ("link", "link-berta"):
            people.choose_password(tx, link, PASSWORD, lambda _: HASH, sqlite_gate.clock.now())
    app = pages(sqlite_gate.opened)
    assert isinstance(app, Flask)
    with serving(app) as address:
        yield address


def log_in(page: Page, address: str, login: str = "anna") -> None:
    page.goto(f"{address}/login")
    page.get_by_label("Login").fill(login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def well_made(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def test_a_mistake_is_shown_at_its_line_and_a_freeze_over_christmas_is_written_by_hand(
    browser: Browser, served: str
) -> None:
    context = opened(browser)
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda problem: errors.append(str(problem)))
    log_in(page, served)
    page.goto(f"{served}/policy?tab=edit")
    area = page.get_by_label("The whole text")
    text = area.input_value()
    area.fill(text.replace("first_batch:", "first_bach:"))
    number = text[: text.index("first_batch:")].count("\n") + 1
    expect(page.get_by_role("button", name=f"Line {number}")).to_be_visible()
    expect(page.get_by_text("did you mean 'first_batch'")).to_be_visible()
    expect(page.locator(".gutter .wrong")).to_have_text(f"{number}\n")
    box = page.locator(".gutter").bounding_box()
    assert box is not None
    assert box["height"] > 300, "the numbers stand beside the whole text"
    area.fill(text + CHRISTMAS)
    expect(page.get_by_text("No problem.")).to_be_visible()
    area.press("Control+End")
    area.press_sequentially("unre")
    page.get_by_role("button", name="unreachable:").click()
    expect(area).to_have_value(text + CHRISTMAS + "unreachable: ")
    area.fill(text + CHRISTMAS)
    page.get_by_role("button", name="Preview").click()
    page.get_by_label("Reason").fill("nobody is there over Christmas")
    page.get_by_role("button", name="Save").click()
    page.goto(f"{served}/policy?tab=history")
    expect(page.get_by_role("row").nth(1)).to_contain_text("nobody is there over Christmas")
    assert errors == []
    context.close()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_going_back_is_a_proposal_that_another_person_signs_and_the_text_is_as_it_was(
    browser: Browser, served: str, sqlite_gate: RealGate, script: bool
) -> None:
    policies = sqlite_gate.opened.policies
    before = policies.read(policies.head())
    how = "script" if script else "no-script"
    anna = opened(browser, viewport=DESK, java_script_enabled=script).new_page()
    log_in(anna, served)
    anna.goto(f"{served}/policy?tab=edit")
    anna.get_by_label("The whole text").fill(before + CHRISTMAS)
    anna.get_by_role("button", name="Preview").click()
    anna.get_by_label("Reason").fill("nobody is there over Christmas")
    anna.get_by_role("button", name="Save").click()
    expect(anna.get_by_role("heading", level=1)).not_to_have_text("Look before it is saved")
    assert policies.read(policies.head()) == before + CHRISTMAS
    anna.goto(f"{served}/policy?tab=history")
    kept(anna, "revert", f"history-{how}")
    anna.get_by_role("row").nth(2).get_by_role("link").first.click()
    anna.get_by_role("button", name="Preview going back").click()
    expect(anna.locator(".diff .removed")).to_have_count(2)
    anna.get_by_label("Reason").fill("it was better")
    anna.get_by_role("button", name="Propose").click()
    expect(anna.get_by_role("heading", level=1)).to_contain_text("waits for another person")
    expect(anna.get_by_role("button", name="Sign")).to_have_count(0)
    kept(anna, "revert", f"proposed-{how}")
    assert policies.read(policies.head()) == before + CHRISTMAS, "one person alone does not loosen"

    berta = opened(browser, viewport=PHONE, java_script_enabled=script).new_page()
    log_in(berta, served, "berta")
    berta.get_by_role("link", name="look and sign").click()
    if script:  # axe would wait for ever where the page may run no script
        well_made(berta)
    berta.get_by_role("button", name="Sign").click()
    expect(berta.get_by_text("enacted")).to_be_visible()
    kept(berta, "revert", f"signed-{how}")
    assert policies.read(policies.head()) == before
    berta.goto(f"{served}/policy?tab=history")
    newest = berta.get_by_role("row").nth(1)
    for said in ("it was better", "anna", "berta"):
        expect(newest).to_contain_text(said)
    with sqlite_gate.opened.store.read() as tx:
        active = tx.active_policy()
    assert active is not None
    assert active.commit == policies.head()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_its_pages_fit_and_axe_finds_nothing(
    browser: Browser, served: str, scheme: str, size: dict[str, int], tmp_path: Path
) -> None:
    context = opened(browser, viewport=size, color_scheme=scheme)
    page = context.new_page()
    log_in(page, served)
    places = [f"/policy?tab={one}" for one in ("text", "edit", "words", "plan", "backtest", "history")]
    for index, place in enumerate([*places, "/policy/versions/head"]):
        page.goto(served + place)
        well_made(page)
        assert not wide(page), place
        page.screenshot(path=str(tmp_path / f"{size['width']}-{scheme}-{index}.png"))
    context.close()
