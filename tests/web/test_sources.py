# ruff: noqa: F401, F811  (fixtures of another file)
"""Sources: what is broken first, levers with their reason, and what a source would bring."""

from __future__ import annotations

import html
import json
import re
import shutil

from flask import Flask

from gate.core import said_texts
from gate.flows import intake, levers
from gate.hookspecs import SourceInfo
from tests.flows.test_mirror import admitted
from tests.real_gate import RealGate
from tests.web.test_pages import OURS, PASSWORD, Person, anna, app, person


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


def test_downloads_on_their_way_stand_at_their_source(sqlite_gate: RealGate, anna: Person) -> None:
    parts = sqlite_gate.opened.settings.spool / "kept" / "shop-content" / "parts"
    parts.mkdir(parents=True)
    (parts / "0a").write_bytes(b"x" * 700)
    (parts / "0a.json").write_text(json.dumps({"url": "https://vendor.example/x?key=secret", "length": 1000}))
    for language, words in (("en", "700 of 1000 bytes of "), ("de", "700 von 1000 Bytes von ")):
        page = shown(anna.client.get(f"/sources?lang={language}").text)
        assert f"{words}https://vendor.example/x " in page
        assert "secret" not in page


def test_a_source_that_fails_for_long_is_looked_at_soon_and_not_in_the_past(
    sqlite_gate: RealGate, anna: Person
) -> None:
    sqlite_gate.worker.look()
    shutil.rmtree(sqlite_gate.drop_folder)
    sqlite_gate.clock.forward(minutes=5)
    sqlite_gate.worker.look()
    page = anna.client.get("/sources").text
    assert ">soon</td>" in page
    assert "each file once" in shown(page)


def test_every_kind_of_trouble_that_stands_is_on_the_page_and_on_the_overview(
    sqlite_gate: RealGate, anna: Person
) -> None:
    with sqlite_gate.opened.store.write() as tx:
        for kind, detail in (
            ("candidate_refused", "2 is bad"),
            ("mirror_failed", "x is full"),
            ("source_failed", "y is away"),
        ):
            intake.failed(tx, "shop-content", kind, detail, sqlite_gate.clock.now())
    page = shown(anna.client.get("/sources").text)
    for words in ("failed: y is away", "the mirror could not follow: x is full", "refused: 2 is bad"):
        assert words in page
    overview = shown(anna.client.get("/").text)
    for words in ("y is away", "x is full", "2 is bad"):
        assert f"shop-content : {words}" in overview


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


def probed(gate: RealGate, shown: levers.Shown) -> None:
    gate.clock.forward(seconds=1)
    with gate.opened.store.write() as tx:
        levers._keep(tx, "shop-content", levers.Probe(shown, "a test"), "worker", gate.clock.now())


def test_a_source_says_why_in_its_plugins_words_and_what_was_found_in_its_content(
    sqlite_gate: RealGate, anna: Person
) -> None:
    gate = sqlite_gate
    gate.bring("1")
    policy = gate.opened.rules.policy()
    assert policy is not None
    why = "the vendor delivers system_critical content at once: nobody can pause or pin it"
    note = "yarac is not installed here: nobody has tried 3 files"
    with gate.opened.store.write() as tx:
        found = SourceInfo("directory", "held", ("content",), why=why)
        levers.note_claim(tx, policy.sources[0], found, gate.clock.now())
        (release,) = tx.releases("shop-content", 1)
        detail = {"findings": [{"weight": "note", "code": "yara_not_checked", "detail": note}]}
        tx.append("content_findings", "source:shop-content", release.id, gate.clock.now(), detail)
    english, german = (shown(anna.client.get(f"/sources?lang={language}").text) for language in ("en", "de"))
    for said in (why, note):
        assert said in english
        assert said_texts.said(said, "de") in german
        assert said not in german


def test_a_lever_is_advised_on_each_page_while_an_address_moves_a_whole_ring(
    sqlite_gate: RealGate, anna: Person
) -> None:
    pages = ("/", "/sources", "/system")
    assert all("advised" not in shown(anna.client.get(path).text) for path in pages)
    admitted(sqlite_gate, "r" * 32, ring="rest")
    assert all("advised" in shown(anna.client.get(path).text) for path in pages)
    assert "einen ganzen Ring auf einmal bewegen, ohne Zusagen: 1" in shown(anna.client.get("/sources?lang=de").text)


def test_the_overview_calls_a_broken_lever_broken(sqlite_gate: RealGate, anna: Person) -> None:
    probed(sqlite_gate, levers.Shown.BROKEN)
    for language, word in (("en", "broken"), ("de", "gebrochen")):
        page = anna.client.get(f"/?lang={language}").text
        assert f'<span class="verdict HALT">{word}</span>' in page
    assert "die Quelle antwortet" not in page


def test_an_admin_clears_a_lever_on_the_page_once_a_probe_has_held_with_a_reason_that_stands_in_the_log(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    gate, path = sqlite_gate, "/sources/shop-content/clear"
    assert anna.post(path, because="looked at it", broken_at="then").status_code == 404, "it is not broken"
    probed(gate, levers.Shown.BROKEN)
    with gate.opened.store.read() as tx:
        at = str(tx.mark(levers.BRAKED + "shop-content").at).replace(" ", "T")
    assert path not in anna.client.get("/sources").text
    refused = anna.post(path, because="looked at it", broken_at=at)
    assert (refused.status_code, "no probe of shop-content has held since" in shown(refused.text)) == (409, True)
    probed(gate, levers.Shown.HELD)
    assert path in anna.client.get("/sources").text
    german = shown(anna.client.get("/sources?lang=de").text)
    assert "Freigegeben öffnen die Ringe wieder." in german
    assert "ein Admin muss ihn freigeben" in german
    ada = person(app, "ada")
    assert path not in ada.client.get("/sources").text
    assert ada.post(path, because="why not", broken_at=at).status_code == 403
    assert anna.post(path, because=" ", broken_at=at).status_code == 400
    assert anna.post(path, because="which break?").status_code == 400
    assert anna.client.post(path, data={"because": "no token", "broken_at": at}, headers=OURS).status_code == 400
    gate.clock.forward(minutes=11)
    assert anna.post(path, because="the link was moved by hand", broken_at=at).status_code == 401, "a fresh word"
    confirmed = anna.post(path, because="the link was moved by hand", broken_at=at, confirm_password=PASSWORD)
    assert (confirmed.status_code, confirmed.headers["Location"]) == (303, "/sources")
    with gate.opened.store.read() as tx:
        (event,) = [one for one in tx.events(subject="lever:shop-content") if one.kind == "lever_cleared"]
    assert (event.actor, event.because) == ("anna", "the link was moved by hand")
    assert path not in anna.client.get("/sources").text


def test_what_broke_a_lever_after_the_page_was_shown_is_not_cleared_unseen(sqlite_gate: RealGate, anna: Person) -> None:
    gate, path = sqlite_gate, "/sources/shop-content/clear"
    found = []
    for _ in range(2):
        gate.clock.forward(seconds=1)
        probed(gate, levers.Shown.BROKEN)
        probed(gate, levers.Shown.HELD)
        found += re.findall(r'name="broken_at" value="([^"]+)"', anna.client.get("/sources").text)
    [seen, newer] = found
    refused = anna.post(path, because="looked at it", broken_at=seen)
    assert (refused.status_code, "found broken again" in shown(refused.text)) == (409, True)
    assert path in anna.client.get("/sources").text
    assert anna.post(path, because="looked at it", broken_at=newer).status_code == 303


def test_a_try_that_fails_says_why_and_an_unknown_source_is_none(sqlite_gate: RealGate, anna: Person) -> None:
    folder = sqlite_gate.drop_folder
    folder.rename(folder.with_name("gone"))
    answer = anna.client.post("/sources/shop-content/try", data={"csrf": anna.csrf}, headers=OURS)
    assert answer.status_code == 200
    assert 'class="problem"' in answer.text
    assert anna.client.post("/sources/none/try", data={"csrf": anna.csrf}, headers=OURS).status_code == 404
