# ruff: noqa: F401, F811  (fixtures of another file)
"""Sources: what is broken first, levers with their reason, and what a source would bring."""

from __future__ import annotations

import html
import re

from tests.real_gate import RealGate
from tests.web.test_pages import OURS, Person, anna, app, person


def shown(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def test_each_source_says_how_it_is_held_how_its_look_went_and_what_it_brought(
    sqlite_gate: RealGate, anna: Person
) -> None:
    page = shown(anna.client.get("/sources").text)
    assert "not looked at yet" in page
    sqlite_gate.drop("1", "x" * 2048)
    sqlite_gate.worker.look()
    page = shown(anna.client.get("/sources").text)
    assert "Nothing reaches a machine before its ring opens." in page
    assert "digest pinned" in page
    assert "2.0 KiB" in page
    assert " well " in page


def test_a_source_that_fails_stands_there_with_its_sentence(sqlite_gate: RealGate, anna: Person) -> None:
    folder = sqlite_gate.drop_folder
    folder.rename(folder.with_name("gone"))
    sqlite_gate.worker.look()
    page = anna.client.get("/sources").text
    assert "failed:" in page
    assert 'class="problem"' in page


def test_trying_a_source_tells_what_it_would_bring_and_stores_nothing(sqlite_gate: RealGate, anna: Person) -> None:
    sqlite_gate.drop("1", "x" * 2048)
    answer = anna.client.post("/sources/shop-content/try", data={"csrf": anna.csrf}, headers=OURS)
    assert answer.status_code == 200
    assert "What it would bring now: shop-content" in shown(answer.text)
    assert re.search(r"1 1 2.0 KiB no", shown(answer.text))
    with sqlite_gate.opened.store.read() as tx:
        assert tx.releases("shop-content", 5) == []
    sqlite_gate.worker.look()
    answer = anna.client.post("/sources/shop-content/try", data={"csrf": anna.csrf}, headers=OURS)
    assert re.search(r"1 1 2.0 KiB yes", shown(answer.text))
    assert list(sqlite_gate.opened.settings.spool.glob("try-*")) == []


def test_a_try_that_fails_says_why_and_an_unknown_source_is_none(sqlite_gate: RealGate, anna: Person) -> None:
    folder = sqlite_gate.drop_folder
    folder.rename(folder.with_name("gone"))
    answer = anna.client.post("/sources/shop-content/try", data={"csrf": anna.csrf}, headers=OURS)
    assert answer.status_code == 200
    assert 'class="problem"' in answer.text
    assert anna.client.post("/sources/none/try", data={"csrf": anna.csrf}, headers=OURS).status_code == 404
