"""What a form answers is a page too: each is asked for in a browser, on a phone and on a desk, and axe looks on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from flask import render_template
from playwright.sync_api import Browser, Page, expect

from tests.browser.serving import serving
from tests.browser.test_browser import DESK, PASSWORD, PHONE
from tests.browser.test_walk_people import clean, logged_in
from tests.real_gate import RealGate
from tests.web.test_pages import app_of

pytestmark = pytest.mark.browser
SEND = """([path, fields]) => {
  const form = document.createElement('form');
  form.method = 'post';
  form.action = path;
  const token = document.querySelector('input[name=csrf]');
  for (const [name, value] of Object.entries({...fields, csrf: token ? token.value : ''})) {
    const field = document.createElement('textarea');
    field.name = name;
    field.value = value;
    form.append(field);
  }
  document.body.append(form);
  form.submit();
}"""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, RealGate]]:
    """A gate and its address; one page more is what a login provider's tab ends with."""
    gate = RealGate(tmp_path, "")
    app = app_of(gate)
    app.add_url_rule("/confirmed", "confirmed", lambda: render_template("confirmed.html"))
    app.extensions["gate.needs"]["confirmed"] = "view"
    with serving(app) as address:
        yield address, gate
    gate.close()


def sent(page: Page, path: str, fields: Mapping[str, str], heading: str) -> None:
    """The answer of a form is the page that it is meant to be, and axe finds nothing on it."""
    with page.expect_navigation():
        page.evaluate(SEND, [path, dict(fields)])
    expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
    clean(page)


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESK, "light")], ids=["phone", "desk"])
def test_axe_finds_nothing_on_what_forms_answer(
    browser: Browser, served: tuple[str, RealGate], tmp_path: Path, size: dict[str, int], scheme: str
) -> None:
    address, gate = served
    page = logged_in(browser, address, "anna", viewport=size, color_scheme=scheme)
    bad = tmp_path / "bad.csv"
    bad.write_text("id,name,land,hours,always_on,labels\nnord,Nord,NW,whenever,,\nSued!,S,XX,,,\n")
    for place in ("/sites/import", "/sites/import-keys"):
        page.goto(address + place)
        page.locator("input[type=file]").set_input_files(bad)
        page.locator("main form button").click()
        expect(page.locator("main .problem, main [role=alert]").first).to_be_visible()
        clean(page)
    freeze = {"name": "christmas", "from": "2030-12-23", "to": "2030-12-27", "owner": "anna", "why": "nobody is there"}
    page.goto(f"{address}/calendar")
    sent(page, "/calendar/freeze", freeze, "Add a freeze: christmas")
    page.goto(f"{address}/sites/nord")
    site = {"id": "nord", "name": "Nord", "land": "NW", "hours": "Mo-Fr 08:00-18:30", "stands_on": "0" * 64}
    sent(page, "/sites", site, "Apotheke nord")
    page.goto(f"{address}/sites/nord")
    sent(page, "/sites/nord/code", {"uses": "2"}, "Apotheke nord")
    page.goto(f"{address}/sources")
    gate.drop("1")
    sent(page, "/sources/shop-content/try", {}, "Sources")
    head = gate.opened.policies.head()
    text = gate.opened.policies.read(head)
    edit = {"base": head, "back": "/rings", "because": "fewer at first"}
    changed = edit | {"text": text.replace("first_batch: 3", "first_batch: 2")}
    sent(page, "/policy/preview", edit | {"text": text.replace("first_batch:", "first_bach:")}, "not a valid policy")
    sent(page, "/policy/preview", changed, "Look before it is saved")
    page.goto(f"{address}/rings")
    sent(page, "/rings/edit", {"item": "rings[0]", "base": head, "name": "Our Shop"}, "Ring: Our Shop")
    now = gate.clock.now()
    gate.opened.policies.write(text.replace("first_batch: 3", "first_batch: 1"), head, "berta", "one by one", now)
    page.goto(f"{address}/rings")
    sent(page, "/policy/preview", changed, "Somebody else was faster")
    page.goto(f"{address}/confirmed")
    clean(page)
    page.route("**/live**", lambda route: route.abort())  # it would leave the page once it hears of the session's end
    page.goto(f"{address}/rings")
    page.context.clear_cookies()
    sent(page, "/policy/preview", changed, "Log in")
    page.get_by_label("Login").fill("anna")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Go on with what you sent")
    clean(page)
    page.goto(f"{address}/rings")
    shutil.move(gate.folder / "gate" / "data" / "policy.git", gate.folder / "gone")
    sent(page, "/policy/preview", changed, "Not saved")
