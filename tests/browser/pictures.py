"""Pictures of the walks, for whoever looks at what CI has walked: in ``build/walks``, named by walk, step and width."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page

FOLDER = Path(os.environ.get("GATE_WALKS", "build/walks"))


def kept(page: Page, walk: str, step: str) -> None:
    """The whole page as it is now."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    width = (page.viewport_size or {"width": 0})["width"]
    page.screenshot(path=FOLDER / f"{walk}-{step}-{width}.png", full_page=True)
