# ruff: noqa: F401, F811  (fixtures of another file)
"""Every screen as a picture, made anew: into ``build/screens``, or for the documents with ``make screens``.

The documents have what the README shows for a desk and a phone, in light and dark, and all else as on a desk by day.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_walk_rings import Place, because, form, looked, person, place
from tests.web.busy import Busy

FOLDER = Path(os.environ.get("GATE_SCREENS", "build/screens"))
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
FOR_DOCUMENTS = "GATE_SCREENS" in os.environ
SHOWN = ("overview", "rollout", "why", "rings")
"""What the README shows."""


def screens(pages: Busy) -> dict[str, str]:
    """Name of a screen -> its address."""
    return {
        "overview": "/",
        "rollout": f"/rollouts/{pages.rollout}",
        "why": f"/why?machine={pages.machines[0]}",
        "rings": "/rings",
        "policy": "/policy",
        "calendar": "/calendar",
        "morning": "/morning",
        "sites": "/sites",
        "site": f"/sites/{pages.sites[0]}",
        "machines": "/machines",
        "machine": f"/machines/{pages.machines[0]}",
        "shadow": "/shadow",
        "audit": "/audit",
        "system": "/system",
        "people": "/people",
        "roles": "/people/roles",
        "rollouts": "/rollouts",
        "holds": "/holds",
        "sources": "/sources",
        "ring-form": "/rings/edit?item=rings[1]",
        "import": "/sites/import",
        **{f"policy-{tab}": f"/policy?tab={tab}" for tab in ("edit", "words", "plan", "backtest", "history")},
        "version": f"/policy/versions/{pages.policy}",
        "backtest": f"/policy/backtests/{pages.backtest}",
        "brake": "/brake",
        **({"recovery": pages.sheets[0]} if pages.sheets else {}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_every_screen_is_drawn(browser: Browser, stateful: tuple[str, Busy], size: str, scheme: str) -> None:
    address, pages = stateful
    FOLDER.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(viewport=SIZES[size], color_scheme=scheme, locale="en-GB", reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    for name, path in screens(pages).items():
        answer = page.goto(f"{address}{path}")
        assert answer is not None
        assert answer.status == 200, path
        drawn(page, name, size, scheme)
    context.close()


def drawn(page: Page, name: str, size: str = "desk", scheme: str = "light") -> None:
    """The page as it stands there."""
    if FOR_DOCUMENTS and name not in SHOWN and (size, scheme) != ("desk", "light"):
        return
    picture = FOLDER / f"{name}-{size}-{scheme}.png"
    page.screenshot(path=picture)
    assert picture.stat().st_size > 5_000, name


def test_an_edit_is_drawn_from_its_preview_to_its_proposal_and_its_conflict(browser: Browser, place: Place) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    place.machines()
    anna, berta = person(browser, place, "anna"), person(browser, place, "berta")
    form(anna, "pilots")
    anna.get_by_label("most claims in flight in the ring").fill("80")
    looked(anna)
    drawn(anna, "preview")
    because(anna, "we have more pilots now", "Propose")
    expect(anna.get_by_text("waits for another person", exact=True)).to_be_visible()
    drawn(anna, "proposal")
    form(anna, "pilots")
    anna.get_by_label("soak", exact=True).fill("8h open")
    looked(anna)
    form(berta, "pilots")
    berta.get_by_label("soak", exact=True).fill("9h open")
    looked(berta)
    because(berta, "longer after the trial", "Save")
    expect(berta.get_by_role("heading", level=1)).to_have_text("Rings")
    because(anna, "one hour more", "Save")
    expect(anna.get_by_role("heading", level=1)).to_have_text("Somebody else was faster")
    drawn(anna, "conflict")


def test_the_readme_shows_what_is_drawn() -> None:
    said = Path("README.md").read_text()
    for name in SHOWN:
        picture = Path(f"docs/screens/{name}-desk-light.png")
        assert str(picture) in said
        assert picture.is_file()
