"""An open page is told of what happens, or asks where the server has no room; it ends with its session."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from gate.core.model import Site
from tests.browser.test_browser import opened, watched
from tests.browser.test_walk_policy import log_in, served
from tests.real_gate import RealGate

__all__ = ["served"]
pytestmark = pytest.mark.browser


@pytest.fixture
def asked() -> list[str]:
    return []


def sites(browser: Browser, served: str, asked: list[str], errors: list[str]) -> Page:
    page = watched(opened(browser), errors)
    page.on("request", lambda one: asked.append(one.url.removeprefix(served)))
    log_in(page, served)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto(f"{served}/sites")
    page.evaluate("window.stayed = true")
    return page


def added(gate: RealGate, name: str) -> None:
    with gate.opened.store.write() as tx:
        tx.save_site(Site(name, f"Apotheke {name}", "NW"))
        tx.append("site_added", "berta", name, gate.clock.now(), {"name": name})


def comes(gate: RealGate, page: Page, name: str) -> None:
    """A new site stands on the open page by itself."""
    added(gate, name)
    expect(page.get_by_role("link", name=name, exact=True)).to_be_visible(timeout=20_000)
    assert page.evaluate("window.stayed") is True


@pytest.mark.slow
def test_a_page_is_told_and_asks_nothing_meanwhile(
    browser: Browser, sqlite_gate: RealGate, served: str, asked: list[str]
) -> None:
    errors: list[str] = []
    page = sites(browser, served, asked, errors)
    comes(sqlite_gate, page, "neu")
    with page.expect_request(lambda one: one.url.endswith("/live/stream")):
        pass  # it goes on after the first stream has ended
    comes(sqlite_gate, page, "alt")
    assert "/live" not in asked
    with sqlite_gate.opened.store.write() as tx:
        tx.drop_web_sessions(user="anna")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible(timeout=20_000)
    assert errors == []
    page.context.close()


def test_what_happens_between_a_page_and_its_stream_is_told(
    browser: Browser, sqlite_gate: RealGate, served: str, asked: list[str]
) -> None:
    page = sites(browser, served, asked, [])

    def late(route: Route) -> None:
        added(sqlite_gate, "spaet")
        route.continue_()

    page.goto("about:blank")
    page.route("**/live/stream", late, times=1)
    page.goto(f"{served}/sites")
    expect(page.get_by_role("link", name="spaet", exact=True)).to_be_visible(timeout=20_000)
    page.context.close()


def test_a_session_that_ends_takes_nothing_from_whoever_is_typing(
    browser: Browser, sqlite_gate: RealGate, served: str, asked: list[str]
) -> None:
    page = sites(browser, served, asked, [])
    field = page.locator("main input:not([type=hidden]):not([type=checkbox]):visible").first
    field.fill("typed")
    with sqlite_gate.opened.store.write() as tx:
        tx.drop_web_sessions(user="anna")
    expect(page.locator("#said")).to_contain_text("Your session has ended", timeout=20_000)
    expect(field).to_have_value("typed")
    assert page.evaluate("window.stayed") is True
    page.context.close()


def test_a_page_that_finds_no_room_asks(browser: Browser, sqlite_gate: RealGate, served: str, asked: list[str]) -> None:
    page = watched(opened(browser), [])
    page.route("**/live/stream", lambda one: one.fulfill(status=204))
    log_in(page, served)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.goto("about:blank")
    page.on("request", lambda one: asked.append(one.url.removeprefix(served)))
    page.goto(f"{served}/sites")
    page.evaluate("window.stayed = true")
    comes(sqlite_gate, page, "neu")
    assert "/live" in asked
    assert asked.count("/live/stream") == 1, "it does not ask for room again and again"
    page.context.close()
