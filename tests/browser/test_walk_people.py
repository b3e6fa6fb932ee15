"""A walk of two people: one pulls the brake on a phone, another resumes after confirming, and the audit is verified."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from gate.adapters.passwords import hash_password
from gate.bootstrap import pages
from gate.core import merkle
from gate.core.model import RolloutState
from gate.flows import people
from tests.browser.pictures import kept
from tests.browser.serving import serving
from tests.browser.test_browser import DESK, PASSWORD, PHONE, opened
from tests.real_gate import PlayedMachine, RealGate

pytestmark = pytest.mark.browser


@pytest.fixture
def walked(tmp_path: Path) -> Iterator[tuple[str, RealGate]]:
    """A gate with a rollout that runs, anna, and berta, whose confirmations a test can let grow old."""
    gate = RealGate(tmp_path, "")
    machine = PlayedMachine(gate)
    machine.enrol()
    gate.accept(machine.machine, "till", "first")
    gate.bring("1")
    hashed = hash_password(PASSWORD)
    with gate.opened.store.write() as tx:
        people.add_user(tx, "berta", "Berta", "admin", "link-berta", "test", gate.clock.now())
        people.new_link(tx, "anna", "link-anna", "test", gate.clock.now())
        for login in ("anna", "berta"):
            people.choose_password(tx, f"link-{login}", PASSWORD, lambda _: hashed, gate.clock.now())
    app = pages(gate.opened)
    assert isinstance(app, Flask)
    with serving(app) as address:
        yield address, gate
    gate.close()


def logged_in(browser: Browser, address: str, login: str, **more: object) -> Page:
    page = opened(browser, **more).new_page()
    page.goto(address + "/login")
    page.get_by_label("Login").fill(login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("link", name="Brake")).to_be_visible()
    return page


def clean(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{page.url} is {wide} px too wide"


def test_the_brake_from_the_phone_a_second_person_with_confirmation_and_the_audit_of_it(
    browser: Browser, walked: tuple[str, RealGate]
) -> None:
    address, gate = walked
    phone = logged_in(browser, address, "anna", viewport=PHONE, java_script_enabled=True)
    phone.get_by_role("link", name="Brake").click()
    phone.get_by_label("Reason").fill("three tills of one street are dark")
    phone.get_by_role("button", name="Pull the brake").click()
    expect(phone.get_by_role("heading", level=1)).to_have_text("Something is halted.")
    kept(phone, "brake", "pulled")
    with gate.opened.store.read() as tx:
        [rollout] = tx.rollouts()
    assert rollout.state is RolloutState.HALTED
    phone.goto(f"{address}/rollouts/{rollout.id}")
    form = phone.locator(f"form[action='/rollouts/{rollout.id}/resume']")
    form.locator("input[name=because]").fill("it was their router")
    form.get_by_role("button").click()
    phone.wait_for_url(f"**/rollouts/{rollout.id}")

    desk = logged_in(browser, address, "berta", viewport=DESK)
    gate.clock.forward(minutes=10, seconds=1)
    desk.goto(f"{address}/rollouts/{rollout.id}")
    form = desk.locator(f"form[action='/rollouts/{rollout.id}/resume']")
    form.locator("input[name=because]").fill('agreed: the "router" <it> was')
    form.get_by_role("button").click()
    expect(desk.get_by_role("heading", level=1)).to_have_text("Confirm that it is you")
    clean(desk)
    desk.get_by_label("Password").fill(PASSWORD)
    desk.get_by_role("button", name="Confirm and go on").click()
    desk.wait_for_url(f"**/rollouts/{rollout.id}")
    with gate.opened.store.read() as tx:
        [rollout] = tx.rollouts()
    assert rollout.state is RolloutState.RUNNING

    desk.get_by_role("link", name="Audit").click()
    expect(desk.get_by_role("heading", level=1)).to_have_text("Audit")
    clean(desk)
    desk.locator("select[name=kind]").select_option("rollout_resumed")
    desk.get_by_role("button", name="Show").click()
    assert "kind=rollout_resumed" in desk.url
    row = desk.locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("berta")
    expect(row).to_contain_text('agreed: the "router" <it> was')
    kept(desk, "audit", "of-the-brake")
    root = desk.locator("code.long").inner_text()
    with desk.expect_response(re.compile("/audit/[0-9]+/proof")) as answered:
        row.get_by_role("link", name=re.compile("Proof")).click()
    proof = json.loads(answered.value.text())
    assert proof["root"] == root
    leaf = merkle.leaf_hash(proof["leaf"].encode())
    path = [bytes.fromhex(one) for one in proof["proof"]]
    assert merkle.includes(proof["index"], proof["size"], leaf, path, bytes.fromhex(root))
    entry = json.loads(proof["leaf"])
    assert (entry["kind"], entry["actor"], entry["subject"]) == ("rollout_resumed", "berta", rollout.id)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
def test_the_brake_is_pulled_from_the_phone_and_read_in_the_audit(
    browser: Browser, walked: tuple[str, RealGate], script: bool
) -> None:
    address, gate = walked
    phone = logged_in(browser, address, "anna", viewport=PHONE, java_script_enabled=script)
    phone.goto(f"{address}/?lang=de")
    phone.get_by_role("link", name="Bremse").click()
    phone.get_by_label("Grund").fill("drei Kassen einer Straße sind dunkel")
    phone.get_by_role("button", name="Bremse ziehen").click()
    expect(phone.get_by_role("heading", level=1)).to_have_text("Etwas ist angehalten.")
    with gate.opened.store.read() as tx:
        assert [one.state for one in tx.rollouts()] == [RolloutState.HALTED]
    phone.get_by_role("link", name="Protokoll").click()
    row = phone.locator("tbody tr", has_text="der Rollout wurde angehalten")
    expect(row).to_contain_text("drei Kassen einer Straße sind dunkel")
    expect(row).to_contain_text("anna")
    kept(phone, "brake", "audit-script" if script else "audit-no-script")


@pytest.mark.parametrize("size", ["phone", "desk"])
def test_axe_finds_nothing_on_the_pages_about_people(browser: Browser, walked: tuple[str, RealGate], size: str) -> None:
    address, _ = walked
    viewport, locale = (PHONE, "de-DE") if size == "phone" else (DESK, "en-GB")
    page = logged_in(browser, address, "anna", viewport=viewport)
    page.goto(f"{address}/people?lang={locale[:2]}")
    act = page.locator("form:has(input[value=add])")
    act.locator("input[name=login]").fill("nora")
    act.locator("input[name=because]").fill("she starts in May")
    act.get_by_role("button").click()
    for path in ("/people", "/people/roles", "/audit?actor=anna"):
        page.goto(address + path)
        clean(page)
