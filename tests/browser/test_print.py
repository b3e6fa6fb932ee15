"""What is printed fits one sheet: black on white, no menu, no form, and the main words are there."""

from __future__ import annotations

import re
import zlib

import pytest
from playwright.sync_api import Browser

from tests.browser.test_browser import PHONE
from tests.web.busy import Busy

pytestmark = pytest.mark.browser


def streams(pdf: bytes) -> list[bytes]:
    """The streams of a PDF, unpacked."""
    found = []
    for packed in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found.append(zlib.decompressobj().decompress(packed))  # its last byte may look like the line's end
        except zlib.error:
            found.append(packed)
    return found


def words(pdf: bytes) -> str:
    """All that is written in a PDF of Chromium's, by the maps from glyphs to letters; fonts share no glyph twice here,
    so each font's text is read by every map, and what was meant is among what is found."""
    unpacked = streams(pdf)
    maps = [dict(_letters(one)) for one in unpacked if b"beginbfchar" in one or b"beginbfrange" in one]
    shown = []
    for one in unpacked:
        if b" Tf" in one and b"BT" in one:
            glyphs = re.findall(rb"<([0-9A-Fa-f]+)>", one)
            for letters in maps:
                shown.append(
                    "".join(letters.get(int(g[i : i + 4], 16), "") for g in glyphs for i in range(0, len(g), 4))
                )
    return re.sub(r"\s+", "", " ".join(shown))


def _letters(text: bytes) -> list[tuple[int, str]]:
    found = []
    for block in re.findall(rb"beginbfchar(.*?)endbfchar", text, re.DOTALL):
        for glyph, letter in re.findall(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>", block):
            found.append((int(glyph, 16), bytes.fromhex(letter.decode()).decode("utf-16-be", "replace")))
    for block in re.findall(rb"beginbfrange(.*?)endbfrange", text, re.DOTALL):
        for first, last, letter in re.findall(rb"<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>\s*<([0-9A-Fa-f]+)>", block):
            start = int(letter, 16)
            found += [
                (glyph, chr(start + glyph - int(first, 16))) for glyph in range(int(first, 16), int(last, 16) + 1)
            ]
    return found


@pytest.mark.parametrize("what", ["rollout", "why", "site"])
def test_a_page_prints_on_one_sheet_black_on_white(browser: Browser, stateful: tuple[str, Busy], what: str) -> None:
    address, found = stateful
    place = {
        "rollout": f"/rollouts/{found.rollout}",
        "why": f"/why?machine={found.machines[-1]}",
        "site": f"/sites/{found.sites[1]}",
    }[what]
    context = browser.new_context(viewport=PHONE, color_scheme="dark", locale="en-GB")
    page = context.new_page()
    page.goto(address + place)
    title = page.locator("h1").inner_text()
    pdf = page.pdf(prefer_css_page_size=True, tagged=False)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    said = words(pdf)
    for word in (title, {"rollout": "Ladder of rings", "why": found.machines[-1], "site": "Opening hours"}[what]):
        assert re.sub(r"\s+", "", word) in said, word
    for gone in ("Overview", "Simulation", "Skip to content"):
        assert re.sub(r"\s+", "", gone) not in said
    page.emulate_media(media="print", color_scheme="dark")
    colours = page.evaluate(
        """[...document.querySelectorAll('body, main *')].filter(one => one.checkVisibility()).flatMap(
        one => [getComputedStyle(one).color, one === document.body ? getComputedStyle(one).backgroundColor : ''])"""
    )
    assert set(colours) <= {"rgb(0, 0, 0)", "rgb(255, 255, 255)", ""}
    context.close()


@pytest.mark.parametrize("stateful", [("july-19", 12)], indirect=True, ids=["july-19"])
def test_a_recovery_sheet_prints_on_one_sheet_and_a_bundle_on_one_for_each_make(
    browser: Browser, stateful: tuple[str, Busy]
) -> None:
    address, found = stateful
    assert found.sheets, "somebody is out of reach"
    context = browser.new_context(viewport=PHONE, color_scheme="dark", locale="de-DE", java_script_enabled=False)
    page = context.new_page()
    for place in found.sheets:
        page.goto(address + place)
        pdf = page.pdf(prefer_css_page_size=True, tagged=False)
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1, place
        said = words(pdf)
        for word in (
            "Wiederherstellungsblatt",
            "Dateien, die weg müssen",
            "Wann aufhören",
            page.locator("h1").inner_text(),
        ):
            assert re.sub(r"\s+", "", word) in said, word
    page.goto(f"{address}/rollouts/{found.rollout}/recovery")
    count = page.locator("article.recovery").count()
    pdf = page.pdf(prefer_css_page_size=True, tagged=False)
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == count > 1
    context.close()
