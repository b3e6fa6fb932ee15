"""A page of the gate as Chromium draws it, in the folder that GATE_SCREENS names, else in the test's own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.conftest import QUIET
from tests.conftest import missing
from tests.web.test_pages import PASSWORD


def drawn(port: int, login: str, path: str, name: str, folder: Path) -> str:
    """Logs in, takes the picture of a page on a desk by day, and returns what a person reads there."""
    program = shutil.which("chromium")
    if program is None:
        missing("chromium")
    folder = Path(os.environ.get("GATE_SCREENS", folder))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", reduced_motion="reduce")
        context.set_default_timeout(120_000)  # the guests have the processors
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{port}/login")
        page.get_by_label("Login").fill(login)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"http://127.0.0.1:{port}/")
        page.goto(f"http://127.0.0.1:{port}{path}")
        page.screenshot(path=folder / f"{name}-desk-light.png")
        said = page.locator("main").inner_text()
        browser.close()
    return said
