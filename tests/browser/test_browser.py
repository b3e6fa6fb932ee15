"""What a person does in a browser: with and without JavaScript, by keyboard, on a phone, in the dark; axe looks on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.conftest import KEPT
from tests.web.busy import Busy

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PASSWORD = "correct horse battery staple"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


def opened(browser: Browser, **more: object) -> BrowserContext:
    return browser.new_context(**{"viewport": DESK, "locale": "en-GB", **more})  # type: ignore[arg-type]


@pytest.fixture
def errors() -> list[str]:
    return []


def watched(context: BrowserContext, errors: list[str]) -> Page:
    page = context.new_page()
    page.on("pageerror", lambda problem: errors.append(str(problem)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    return page


@pytest.fixture(scope="package")
def logged_in(browser: Browser, gate: tuple[str, str]) -> Iterator[BrowserContext]:
    """The first admin: the one-time link, a password, a login; all without JavaScript."""
    address, link = gate
    context = opened(browser, java_script_enabled=False)
    KEPT.append(context)
    page = context.new_page()
    page.goto(address)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.goto(link)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    page.get_by_role("button", name="Choose a password").click()
    page.get_by_label("Login").fill("admin")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Nothing moves and nothing is wrong.")
    expect(page.get_by_text("all keys are on this machine")).to_be_visible()
    yield context
    KEPT.remove(context)
    context.close()


def test_the_first_steps_lead_to_a_site_and_a_code_without_javascript(logged_in: BrowserContext) -> None:
    page = logged_in.pages[0]
    page.get_by_role("link", name="Add a site").click()
    page.get_by_label("Id").fill("nord")
    page.get_by_label("Name").fill("Apotheke Nord")
    page.locator("#s-land").fill("NW")
    page.get_by_label("Opening hours").fill("Mo-Fr 08:00-18:30; Sa 08:30-13:00")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Apotheke Nord")).to_be_visible()
    page.get_by_role("button", name="Make a code").click()
    expect(page.locator("pre")).to_have_text(
        re.compile(r"gate-agent enrol http://127\.0\.0\.1:\d+ [0-9a-f]{32}\.[0-9a-f]{64}")
    )
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_title("code_created").first).to_be_visible()


def test_opening_hours_that_cannot_be_read_are_said(logged_in: BrowserContext, gate: tuple[str, str]) -> None:
    page = logged_in.pages[0]
    page.goto(gate[0] + "/sites")
    page.get_by_label("Id").fill("west")
    page.get_by_label("Opening hours").fill("whenever we like")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="That did not work")).to_be_visible()


def test_the_demo_halts_and_shows_the_same_day_without_a_gate(browser: Browser, demo: str, errors: list[str]) -> None:
    context = opened(browser)
    page = watched(context, errors)
    page.goto(demo)
    expect(page.get_by_role("heading", level=1)).to_have_text("Something is halted.", timeout=60_000)
    rows = page.locator(".versus tbody tr")
    expect(rows.nth(1)).to_contain_text("157")
    expect(rows.nth(2).locator("td").first).to_have_text("0")
    page.get_by_role("link", name=re.compile("falcon-content 291")).first.click()
    expect(page.get_by_text("silent >= 3 within 20m after install").first).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("lab: [0-9]+ of 20 healthy"))).to_be_visible()
    assert errors == []
    context.close()


def test_the_page_follows_what_happens_without_a_reload(
    browser: Browser, logged_in: BrowserContext, gate: tuple[str, str], errors: list[str]
) -> None:
    context = opened(browser)
    context.add_cookies(logged_in.cookies())  # type: ignore[arg-type]
    page = watched(context, errors)
    page.goto(gate[0] + "/sites")
    page.evaluate("window.stayed = true")
    other = logged_in.pages[0]
    other.goto(gate[0] + "/sites")
    other.get_by_label("Id").fill("ost")
    other.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="ost", exact=True)).to_be_visible(timeout=15_000)
    assert page.evaluate("window.stayed") is True
    assert errors == []
    context.close()


TOO_WIDE = """() => {
  const root = document.documentElement, found = [];
  if (root.scrollWidth > root.clientWidth) found.push(`the page, by ${root.scrollWidth - root.clientWidth} px`);
  for (const one of document.querySelectorAll('main *')) {
    const scrolls = getComputedStyle(one).overflowX !== 'visible' && one.scrollWidth > one.clientWidth + 1;
    if (!scrolls || one.clientWidth < 2) continue;
    if (one.matches('.stacks, table')) found.push('a table: ' + one.textContent.trim().slice(0, 40));
    else if (one.tabIndex < 0) found.push('out of the keyboard: ' + one.outerHTML.slice(0, 80));
  }
  return found;
}"""
PAGES = ["/", "/rollouts", "/machines", "/sites", "/audit", "/people", "/brake"]


@pytest.mark.parametrize(("size", "scheme"), [("phone", "dark"), ("desk", "light")])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(
    browser: Browser, demo: str, scheme: str, size: str, errors: list[str], tmp_path: Path
) -> None:
    viewport = PHONE if size == "phone" else DESK
    locale = "de-DE" if size == "phone" else "en-GB"
    context = opened(browser, viewport=viewport, color_scheme=scheme, locale=locale)
    page = watched(context, errors)
    page.goto(demo)
    expect(page.locator(".rollout")).to_be_visible(timeout=60_000)
    rollout = page.locator(".rollout .title a").get_attribute("href")
    page.goto(demo + "/machines")
    machine = page.locator("tbody th a").first.get_attribute("href")
    site = page.locator("tbody td a").first.get_attribute("href")
    why = page.locator("tbody td:last-child a").first.get_attribute("href")
    for path in [*PAGES, rollout, machine, site, why]:
        assert path is not None
        page.goto(demo + path)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is {wide} px too wide"
        page.screenshot(path=str(tmp_path / f"{size}-{scheme}.png"), full_page=True)
    assert errors == []
    context.close()


def violations(page: Page, *, colours_only: bool = False) -> list[str]:
    """What axe finds, a line for each place of the page."""
    options: dict[str, object] = {"resultTypes": ["violations"]}
    if colours_only:
        options["runOnly"] = ["color-contrast"]
    found = Axe().run(page, options=options).response["violations"]
    return [f"{rule['id']}: {one['html'][:200]}" for rule in found for one in rule["nodes"]]


def test_axe_finds_nothing_on_any_page_of_a_busy_fleet(
    browser: Browser, stateful: tuple[str, Busy], request: pytest.FixtureRequest
) -> None:
    """Everything that folds is open; in the dark only colours differ. A day after its halt is looked at on a phone, in
    German; one on which rings open on a desk, in English: what can be wrong stands in the templates both share."""
    address, found = stateful
    size = "phone" if "july-19" in request.node.name else "desk"
    viewport = PHONE if size == "phone" else DESK
    context = opened(browser, viewport=viewport, color_scheme="light", locale="de-DE" if size == "phone" else "en-GB")
    page, bad = context.new_page(), []
    for place in found.places():
        page.emulate_media(color_scheme="light")
        page.goto(address + place)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        bad += [f"{place}: {one}" for one in violations(page)]
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        bad += [f"{place} is {wide} px too wide"] if wide > 0 else []
        page.emulate_media(color_scheme="dark")
        bad += [f"{place} in the dark: {one}" for one in violations(page, colours_only=True)]
    assert bad == []
    context.close()


def test_on_a_phone_no_page_and_no_table_is_wider_than_the_screen(browser: Browser, stateful: tuple[str, Busy]) -> None:
    """Text of the policy is scrolled in a region of its own, which the keyboard reaches; nothing else is."""
    address, found = stateful
    context = opened(browser, viewport=PHONE, locale="de-DE")
    page, bad = context.new_page(), []
    for place in found.places():
        page.goto(address + place)
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
        bad += [f"{place}: {one}" for one in page.evaluate(TOO_WIDE)]
    assert bad == []
    context.close()


def test_the_menu_is_one_line_on_a_desk_in_both_languages(browser: Browser, stateful: tuple[str, Busy]) -> None:
    address, _ = stateful
    for language in ("de", "en"):
        context = opened(browser)
        page = context.new_page()
        page.goto(f"{address}/?lang={language}")
        middles = page.evaluate(
            """[...document.querySelectorAll('.top > *, .top nav a')].map(
            one => { const box = one.getBoundingClientRect(); return Math.round((box.top + box.bottom) / 2) })"""
        )
        assert max(middles) - min(middles) <= 4, (language, middles)
        context.close()


def test_axe_finds_nothing_on_the_way_in(browser: Browser, gate: tuple[str, str]) -> None:
    context = opened(browser)
    page = context.new_page()
    for address in (gate[0] + "/login", gate[1], gate[0] + "/nothing"):
        page.goto(address)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{address}: {found.generate_report()}"
    context.close()


def test_the_brake_is_two_steps_by_keyboard_from_any_page(browser: Browser, demo: str) -> None:
    context = opened(browser)
    page = context.new_page()
    page.goto(demo + "/machines")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "brake":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_label("What to halt")).to_be_visible()
    page.get_by_label("Reason").press_sequentially("it smells")
    page.keyboard.press("Enter")
    halted = re.compile("Something is halted|Nothing was moving, so nothing is halted")  # the day may have been halted
    expect(page.locator("main")).to_contain_text(halted)
    context.close()


def test_a_printed_page_has_no_menu_and_no_form(browser: Browser, demo: str) -> None:
    context = opened(browser)
    page = context.new_page()
    page.goto(demo + "/sites")
    page.emulate_media(media="print")
    expect(page.locator("nav")).to_be_hidden()
    expect(page.locator("form").first).to_be_hidden()
    expect(page.locator("table")).to_be_visible()
    context.close()
