"""Every screen as a picture, made anew: into ``build/screens``, or for the documents with ``make screens``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.web.busy import Busy

FOLDER = Path(os.environ.get("GATE_SCREENS", "build/screens"))
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}
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
        "brake": "/brake",
        **({"recovery": pages.sheets[0]} if pages.sheets else {}),
    }


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
        picture = FOLDER / f"{name}-{size}-{scheme}.png"
        page.screenshot(path=picture)
        assert picture.stat().st_size > 5_000, name
    context.close()


def test_the_readme_shows_what_is_drawn() -> None:
    said = Path("README.md").read_text()
    for name in SHOWN:
        picture = Path(f"docs/screens/{name}-desk-light.png")
        assert str(picture) in said
        assert picture.is_file()
