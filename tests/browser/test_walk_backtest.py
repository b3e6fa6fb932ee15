"""A person back-tests a version on its page, with the real child process: how far it is comes by itself, or by a link
where there is no JavaScript; the figures are a table and a picture, for a phone and for paper too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.test_browser import DESK, PHONE, opened
from tests.browser.test_print import words
from tests.browser.test_walk_policy import log_in, served, well_made, wide
from tests.flows.test_policy_edits import TIGHTER, said, saved
from tests.real_gate import RealGate

__all__ = ["served"]
pytestmark = pytest.mark.browser
PATIENCE_MS = 180_000


@pytest.mark.slow
@pytest.mark.parametrize("scripts", [True, False], ids=["live", "without-javascript"])
def test_a_version_is_tested_against_the_active_one(
    browser: Browser, sqlite_gate: RealGate, served: str, scripts: bool, tmp_path: Path
) -> None:
    first = sqlite_gate.opened.policies.head()
    saved(sqlite_gate, said(sqlite_gate, TIGHTER))
    size = DESK if scripts else PHONE
    context = opened(browser, viewport=size, java_script_enabled=scripts)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    log_in(page, served)
    page.goto(f"{served}/policy/versions/{first}")
    page.get_by_role("link", name="Back-test").click()
    page.get_by_label("What is lived through").select_option("july-19")
    page.get_by_role("button", name="Run the back-test").click()
    where = page.url
    expect(page.get_by_role("progressbar", name="The share of it that is done")).to_be_visible()
    if scripts:
        well_made(page)
        assert not wide(page)
    table = page.get_by_role("region", name="What it came to")
    if scripts:
        expect(table).to_be_visible(timeout=PATIENCE_MS)
        assert page.url == where
    else:
        while not table.is_visible():
            page.get_by_role("link", name="Load again").click()
    expect(table.get_by_role("row")).to_have_count(3)
    expect(page.get_by_role("img", name=re.compile("Back-test"))).to_be_visible()
    page.screenshot(path=str(tmp_path / "result.png"), full_page=True)
    assert not wide(page)
    if not scripts:
        printed = words(page.pdf(format="A4"))
        for one in ("Whatitcameto", "july-19", "Machinesexposed", "Hourstofullprotection"):
            assert one in printed
        assert "Runtheback-test" not in printed
    context.close()
    for size, scheme in ((PHONE, "dark"), (DESK, "light")):
        again = opened(browser, viewport=size, color_scheme=scheme, locale="de-DE")
        page = again.new_page()
        page.goto(f"{served}/login?lang=en")
        log_in(page, served)
        page.goto(f"{where}?lang=de")
        expect(page.get_by_role("heading", name="Rückprobe")).to_be_visible()
        well_made(page)
        assert not wide(page)
        page.screenshot(path=str(tmp_path / f"{scheme}.png"), full_page=True)
        again.close()
