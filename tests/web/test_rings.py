"""Rings and edits through the forms: one changed value is one changed line, previewed, signed, never lost."""

from __future__ import annotations

import difflib
import html
import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from gate.adapters import policy_edit
from gate.adapters.policy_yaml import parse_text
from gate.bootstrap import seed_policy
from gate.core.model import Site
from gate.flows import edits, holds, identities
from gate.web import ring_fields
from tests.flows.test_preview import ALL_FRONT, TEXT, joins
from tests.real_gate import RealGate
from tests.web.test_pages import Person, app_of, person

BLOCK = """\
# by hand
version: 1
fleet: test-fleet
timezone: Europe/Berlin
makes:
  by: [role]
sources:
- name: shop-content
  plugin: directory   # a drop folder

rings:
# the bench
- name: "bench"
  why: 'ours'
  pick:
    label:
    - bench
    role: till   # tills only
  windows: always
  at_most:
    per_site: 1   # one
  gate:
    soak: 1h open
    at_least: 1
    rule_out: 30%

  floor: 1h
- {name: rest, pick: {role: [till, server]}, gate: {at_least: 2}}   # flow
brakes:
- if: failed >= 2
  within: 10m
  in: bench
  then: halt
"""
POLICIES = {"seed": seed_policy(), "walk": seed_policy("walk.yaml"), "block": BLOCK}
VALUES = {
    "name": "renamed",
    "why": "another reason: better",
    "pick": "role=till, role=kiosk",
    "windows": "always, spare",
    "at_most.per_site": "2",
    "at_most.share": "3%",
    "at_most.cap": "7",
    "gate.soak": "9h open",
    "gate.at_least": "4",
    "gate.sites": "2",
    "gate.rule_out.make": "9%",
    "gate.rule_out.fleet": "8%",
    "gate.boots": "3",
    "floor": "13h",
    "needs.people": "2",
    "decides": "people",
    "evidence": "boot",
    "reboot": "natural",
    "stay_up": "16m",
    "tries": "3",
    "deadline": "3h open",
    "lease": "31m",
    "checkin": "6m",
    "site_dark_grace": "5h open",
    "on_halt": "recall",
    "probes": "dns",
}


def shown(page: Any) -> str:
    """The text that the page would send on."""
    found = re.search(r'<input type="hidden" name="text" value="([^"]*)">', page.text)
    assert found, page.text[:3000]
    return html.unescape(found[1])


def form(browser: Person, at: str) -> dict[str, str]:
    """The fields of a form as a browser would send them."""
    page = browser.client.get("/rings/edit", query_string={"item": at})
    assert page.status_code == 200, page.text
    return fields(page.text)


def fields(page: str) -> dict[str, str]:
    body = re.search(r'<form method="post" action="/rings/edit" class="edit-form".*?</form>', page, re.DOTALL)
    assert body
    said = {}
    for tag in re.findall(r"<input [^>]*>", body[0]):
        name, value = re.search(r' name="([^"]+)"', tag), re.search(r' value="([^"]*)"', tag)
        assert name
        said[name[1]] = html.unescape(value[1]) if value else ""
    for name, inside in re.findall(r'<select [^>]*?name="([^"]+)".*?>(.*?)</select>', body[0], re.DOTALL):
        chosen = re.search(r"<option(?: value=\"([^\"]*)\")? selected>([^<]*)", inside)
        said[name] = (chosen[1] if chosen[1] is not None else chosen[2]) if chosen else ""
    return said


def changed(before: str, after: str) -> tuple[list[str], list[str]]:
    found = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]
    return [one[1:] for one in found if one[0] == "-"], [one[1:] for one in found if one[0] == "+"]


def head(gate: RealGate) -> str:
    return gate.opened.policies.read(gate.opened.policies.head())


@pytest.fixture
def app(sqlite_gate: RealGate) -> Flask:
    """Nord has a till in front and one in the rest, as in the preview's tests."""
    sqlite_gate.policy_says(TEXT)
    for name, site, role, label in (
        ("l1", "nord", "workstation", "lab"),
        ("n1", "nord", "till", "front"),
        ("n2", "nord", "till", "x"),
        ("s1", "sued", "server", "pilot"),
    ):
        joins(sqlite_gate, name, site, role, label)
    return app_of(sqlite_gate)


@pytest.fixture
def anna(app: Flask) -> Person:
    return person(app, "anna")


def edited(browser: Person, at: str, **change: str) -> Any:
    return browser.post("/rings/edit", **{**form(browser, at), **change})


def saved(browser: Person, page: Any, because: str = "after the trial", base: str = "") -> Any:
    found = re.search(r'name="base" value="([0-9a-f]{40})"', page.text)
    assert found
    text = shown(page).replace("\n", "\r\n")  # as browsers send it
    return browser.post("/policy/save", base=base or found[1], text=text, because=because, back="/rings")


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
def test_one_changed_value_is_one_changed_line_for_every_field_of_every_ring(policy: str, tmp_path: Path) -> None:
    gate = RealGate(tmp_path, "")
    text = POLICIES[policy].replace("windows:\n  always:        {}\n", "windows:\n  always:        {}\n  spare: {}\n")
    gate.opened.policies.write(text, gate.opened.policies.head(), "anna", "x", gate.clock.now())
    anna, said = person(app_of(gate), "anna"), policy_edit.said(text)
    seen = set()
    for index, ring in enumerate(said["rings"]):
        for field in ring_fields.fields_of("rings"):
            value = VALUES[field.name]
            if field.name == "windows" and policy != "seed":
                value = "always"
            if ring_fields.shown(field, ring) == value:
                continue
            sent = {**form(anna, f"rings[{index}]"), field.name: value}
            answer = anna.post("/rings/edit", **sent)
            assert answer.status_code == 200, (index, field.name, answer.text)
            gone, come = changed(text, shown(answer))
            brakes = sum(ring["name"] in str(one.get("in")) for one in said.get("brakes", ()))
            most = 1 + (brakes if field.name == "name" else 0)
            if field.name == "pick" and isinstance(ring["pick"], dict) and policy == "block" and index == 0:
                most = 3  # a list of several lines, and a key that is not wanted any more
            assert len(gone) <= most, (index, field.name, gone, come)
            assert len(come) <= most, (index, field.name, gone, come)
            assert ring_fields.shown(field, policy_edit.said(shown(answer))["rings"][index]) == value
            seen.add(field.name)
    gate.close()
    assert seen == set(VALUES) - ({"windows"} if policy == "walk" else set())


def test_every_field_of_a_ring_has_its_value_above() -> None:
    assert set(VALUES) == {one.name for one in ring_fields.fields_of("rings")}


@pytest.mark.parametrize("policy", POLICIES)
def test_what_is_sent_back_as_it_was_shown_is_no_change(policy: str) -> None:
    for index, ring in enumerate(policy_edit.said(POLICIES[policy])["rings"]):
        sent = {one.name: ring_fields.shown(one, ring) for one in ring_fields.fields_of("rings")}
        assert ring_fields.changes("rings", f"rings[{index}]", ring, sent) == ([], {})


ODD = """\
rings:
  - name: lab
    why: >
      a folded text
      over two lines
    pick: {site: lab}
  - name: "two"
    why: 'it''s   so:  wide'
    pick: {"role": [till, "a  b"], label: "x=y"}
    gate: {soak:   4h  open, at_least:  3, rule_out: 5%}
  - name: three
    why: "a\\tb  c"
    pick: {site: [MANY]}
""".replace("MANY", ", ".join(f"apotheke-am-markt-{number}" for number in range(400)))


def test_what_a_form_sends_as_browsers_do_changes_no_value_of_odd_forms() -> None:
    for index, ring in enumerate(policy_edit.said(ODD)["rings"]):
        shown = {one.name: ring_fields.shown(one, ring) for one in ring_fields.fields_of("rings")}
        sent = {name: " ".join(value.split()) for name, value in shown.items()}
        assert ring_fields.changes("rings", f"rings[{index}]", ring, sent) == ([], {}), ring["name"]


SITES = """\
rings:
  - name: lab
    pick:
      site:
        - lab-a # Berlin
        - lab-b # Bonn
        - "lab-c" # under repair until May
"""


@pytest.mark.parametrize(
    ("sites", "gone", "come"),
    [
        ("lab-a lab-b lab-c lab-d", [], ["        - lab-d"]),
        ("lab-b", ["        - lab-a # Berlin", '        - "lab-c" # under repair until May'], []),
    ],
)
def test_a_pick_of_several_lines_changes_by_a_line_a_site(sites: str, gone: list[str], come: list[str]) -> None:
    [ring] = policy_edit.said(SITES)["rings"]
    sent = {one.name: ring_fields.shown(one, ring) for one in ring_fields.fields_of("rings")}
    sent["pick"] = ", ".join(f"site={one}" for one in sites.split())
    found, problems = ring_fields.changes("rings", "rings[0]", ring, sent)
    assert problems == {}
    assert changed(SITES, policy_edit.edited(SITES, found)) == (gone, come)


def test_a_long_pick_is_not_cut_by_an_edit_of_another_field(sqlite_gate: RealGate) -> None:
    sites = ", ".join(f"apotheke-am-markt-{number}" for number in range(100))
    text = seed_policy("walk.yaml").replace("pick: {label: first}", f"pick: {{site: [{sites}]}}")
    policies = sqlite_gate.opened.policies
    policies.write(text, policies.head(), "anna", "x", sqlite_gate.clock.now())
    page = edited(person(app_of(sqlite_gate), "anna"), "rings[0]", why="another reason")
    assert page.status_code == 200
    gone, come = changed(text, shown(page))
    assert ([one.strip() for one in gone], [one.strip() for one in come]) == (
        ["why: one machine tries it before the other"],
        ["why: another reason"],
    )


def test_a_single_word_stays_one_and_a_list_stays_a_list() -> None:
    for before, after in (("always", "day"), (["always"], ["day"])):
        said = {"windows": "day"}
        assert ring_fields.changes("rings", "rings[0]", {"windows": before}, said) == (
            [("rings[0].windows", after)],
            {},
        )


def test_a_form_that_changes_nothing_changes_nothing(anna: Person, sqlite_gate: RealGate) -> None:
    for at in ("rings[0]", "rings[3]", "sources[0]", "defaults", "limits"):
        page = edited(anna, at)
        assert "Nothing is changed." in page.text, at
        assert 'action="/policy/save"' not in page.text


BAD = {
    "name": "Front Till",
    "windows": "never",
    "at_most.per_site": "some",
    "at_most.share": "2",
    "gate.soak": "soon",
    "gate.at_least": "0",
    "gate.rule_out.make": "x",
    "gate.boots": "many",
    "floor": "-1h",
    "needs.people": "me",
    "stay_up": "?",
    "deadline": "later",
}


def test_every_problem_stands_at_its_field_at_once(anna: Person) -> None:
    page = edited(anna, "rings[2]", **BAD, pick="tills")
    assert page.status_code == 400
    assert "p-pick" in page.text, "what is no pick is said before the text is written"
    page = edited(anna, "rings[2]", **BAD)
    assert page.status_code == 400
    for name, value in BAD.items():
        if name == "windows":
            continue  # names are looked up only in a policy that reads
        field = re.search(rf'<input id="f-{re.escape(name)}"[^>]*>', page.text)
        assert field, name
        assert 'aria-invalid="true"' in field[0]
        assert f'aria-describedby="p-{name} k-{name}"' in field[0]
        assert f'<span class="problem" id="p-{name}">' in page.text
        assert f'href="#f-{name}"' in page.text, "the summary leads to it"
        assert f'value="{value}"' in field[0], "what was typed is kept"
    page = edited(anna, "rings[2]", windows="never")
    assert "there is no window" in page.text
    assert 'id="p-windows"' in page.text


def test_problems_are_said_in_german(anna: Person) -> None:
    anna.client.get("/?lang=de")
    page = edited(anna, "rings[2]", **{"gate.soak": "soon", "name": "X", "at_most.share": "2"}).text
    for said in ("ist keine Dauer wie 4h open, 1d open oder 1h", "ist kein Anteil wie 2%", "ist kein Name aus a-z"):
        assert said in page, said
    assert "is not" not in re.sub(r"<[^>]+>", " ", page)
    page = edited(anna, "windows.new", new_name="", **{"from": "opening", "to": "closing"})
    assert page.status_code == 400, "a window has a name"
    assert "ist kein Name aus a-z" in page.text


def test_a_longer_soak_is_one_line_by_the_person_with_the_reason_and_acts(anna: Person, sqlite_gate: RealGate) -> None:
    before = head(sqlite_gate)
    page = edited(anna, "rings[1]", **{"gate.soak": "4h open"})
    assert page.status_code == 200
    assert "tightens" in page.text
    assert "It acts at once." in page.text
    assert "What it would do to this fleet" in page.text
    assert saved(anna, page, "").status_code == 400, "a reason is needed"
    answer = saved(anna, page)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/rings")
    assert changed(before, head(sqlite_gate)) == (
        ["    gate: {soak: 1h, at_least: 1}"],
        ["    gate: {soak: 4h open, at_least: 1}"],
    )
    assert "\r" not in head(sqlite_gate), "a browser's ends of lines are not the policy's"
    newest = sqlite_gate.opened.policies.history()[0]
    assert (newest.author, newest.message) == ("anna", "after the trial")
    with sqlite_gate.opened.store.read() as tx:
        active = tx.active_policy()
    assert active is not None
    assert active.commit == newest.commit
    assert "anna" in anna.client.get("/rings").text


def test_a_loosening_waits_for_an_approver_who_sees_what_it_would_do(
    app: Flask, anna: Person, sqlite_gate: RealGate
) -> None:
    base = sqlite_gate.opened.policies.head()
    answer = saved(anna, edited(anna, "rings[1]", **{"gate.soak": "10m"}))
    place = answer.headers["Location"]
    assert place.startswith("/policy/proposals/p-")
    assert sqlite_gate.opened.policies.head() == base
    ada, rita, tom = (person(app, one) for one in ("ada", "rita", "tom"))
    for one in (ada, rita):
        page = one.client.get("/?lang=en").text
        assert "A change of the policy waits for another person:" in page
        assert f'href="{place}"' in page
        assert "after the trial" in page
    page = ada.client.get(place).text
    assert "loosens" in page
    assert "What it would do to this fleet" in page
    assert f'action="{place}/sign"' in page
    assert f'action="{place}/sign"' not in anna.client.get(place).text, "who proposes does not sign"
    assert anna.post(f"{place}/sign").status_code == 409
    assert (tom.post(f"{place}/sign").status_code, rita.post(f"{place}/sign").status_code) == (403, 403)
    assert ada.post(f"{place}/sign").status_code == 303
    assert "soak: 10m" in head(sqlite_gate)
    with sqlite_gate.opened.store.read() as tx:
        assert [one for one in tx.proposals("open") if one.kind == edits.KIND] == []
    assert "waits for another person" not in ada.client.get("/?lang=en").text
    assert "in Kraft" in ada.client.get(place + "?lang=de").text


def test_who_proposes_the_same_twice_has_one_proposal(anna: Person, sqlite_gate: RealGate) -> None:
    page = edited(anna, "rings[1]", **{"gate.soak": "10m"})
    places = [saved(anna, page, because).headers["Location"] for because in ("a", "a", "another reason")]
    assert places[0] == places[1] != places[2]
    with sqlite_gate.opened.store.write() as tx:
        assert len([one for one in tx.proposals("open") if one.kind == edits.KIND]) == 2
        edits.withdraw(tx, places[0].rpartition("/")[2], "anna", "not yet", sqlite_gate.clock.now())
    sqlite_gate.clock.forward(seconds=1)
    assert saved(anna, page, "a").headers["Location"] not in places, "what was taken back is proposed anew"


def test_a_person_is_not_asked_to_sign_what_their_shell_has_proposed(
    app: Flask, anna: Person, sqlite_gate: RealGate
) -> None:
    opened = sqlite_gate.opened
    with opened.store.write() as tx:
        identities.link(tx, "anna", "shell", "anna", "test", sqlite_gate.clock.now())
        text = head(sqlite_gate).replace("soak: 1h", "soak: 10m")
        made = edits.save(
            tx, opened.gate, text, opened.policies.head(), "shell:anna", "by hand", sqlite_gate.clock.now()
        )
    place = f"/policy/proposals/{made.id}"
    assert f'action="{place}/sign"' not in anna.client.get(place).text
    assert f'action="{place}/sign"' in person(app, "ada").client.get(place).text


def test_a_proposal_is_refused_with_a_reason_and_is_gone(app: Flask, anna: Person, sqlite_gate: RealGate) -> None:
    place = saved(anna, edited(anna, "rings[1]", **{"gate.soak": "10m"})).headers["Location"]
    ada = person(app, "ada")
    assert ada.post(f"{place}/withdraw", because="").status_code == 400
    assert ada.post(f"{place}/withdraw", because="not now").status_code == 303
    assert ada.post(f"{place}/sign").status_code == 409
    assert anna.client.get("/policy/proposals/p-none").status_code == 404


def test_of_two_admins_the_slower_loses_nothing_and_carries_it_onto_the_new_head(
    app: Flask, anna: Person, sqlite_gate: RealGate
) -> None:
    berta = person(app, "berta")
    mine, theirs = edited(anna, "rings[1]", **{"gate.soak": "5h"}), edited(berta, "rings[3]", **{"gate.soak": "6h"})
    assert saved(berta, theirs, "berta's reason").status_code == 303
    page = saved(anna, mine)
    assert page.status_code == 409
    for said in ("soak: 5h", "soak: 6h", "berta", "berta&#39;s reason", "Carry mine onto theirs", "after the trial"):
        assert said in page.text, said
    assert "soak: 5h" not in head(sqlite_gate)
    again = anna.post(
        "/policy/preview", base=sqlite_gate.opened.policies.head(), text=shown(page), because="after the trial"
    )
    assert again.status_code == 200
    assert 'value="after the trial"' in again.text, "the reason is kept"
    assert changed(head(sqlite_gate), shown(again))[1] == ["    gate: {soak: 5h, at_least: 1}"]
    assert saved(anna, again).status_code == 303
    assert "soak: 5h" in head(sqlite_gate)
    assert "soak: 6h" in head(sqlite_gate)


@pytest.mark.parametrize("path", ["/policy/preview", "/policy/save"])
def test_a_reason_is_kept_while_the_text_is_put_right(anna: Person, sqlite_gate: RealGate, path: str) -> None:
    base, text = sqlite_gate.opened.policies.head(), head(sqlite_gate)
    page = anna.post(path, base=base, text=text.replace("soak: 1h", "soak: x", 1), because="after the trial")
    assert page.status_code == 400
    assert '<input type="hidden" name="because" value="after the trial">' in page.text


def test_two_changes_of_one_line_are_both_shown_and_none_is_guessed(
    app: Flask, anna: Person, sqlite_gate: RealGate
) -> None:
    berta = person(app, "berta")
    sent = form(anna, "rings[1]")
    assert saved(berta, edited(berta, "rings[1]", **{"gate.soak": "6h"})).status_code == 303
    page = anna.post("/rings/edit", **{**sent, "gate.soak": "5h"})
    assert page.status_code == 409
    assert "Both changes touch the same lines" in page.text
    assert "<textarea" in page.text
    assert 'name="text" value=' not in page.text
    assert "+ " + "    gate: {soak: 5h, at_least: 1}" in html.unescape(page.text)
    assert "+ " + "    gate: {soak: 6h, at_least: 1}" in html.unescape(page.text)


def test_what_puts_all_tills_into_one_ring_has_no_save_button_and_no_way_round(
    anna: Person, sqlite_gate: RealGate
) -> None:
    page = edited(anna, "rings[2]", pick="role=till")
    assert "would have all tills in one ring" in page.text
    assert "Apotheke nord" in page.text
    assert 'action="/policy/save"' not in page.text
    base, before = sqlite_gate.opened.policies.head(), head(sqlite_gate)
    answer = anna.post("/policy/save", base=base, text=before.replace(*ALL_FRONT), because="anyway")
    assert answer.status_code == 409
    assert head(sqlite_gate) == before


def test_rings_are_added_moved_and_removed(anna: Person, sqlite_gate: RealGate) -> None:
    before = head(sqlite_gate)
    new = {"name": "early", "why": "they like it", "pick": "label=early, role=till", "gate.at_least": "2", "place": "1"}
    added = shown(edited(anna, "rings[new]", **new))
    gone, come = changed(before, added)
    assert (gone, [one["name"] for one in policy_edit.said(added)["rings"]]) == (
        [],
        ["lab", "early", "pilots", "front", "rest"],
    )
    assert len(come) == 1
    base = sqlite_gate.opened.policies.head()
    up = anna.post("/rings/edit", item="rings[2]", base=base, act="up")
    assert [one["name"] for one in policy_edit.said(shown(up))["rings"]] == ["lab", "front", "pilots", "rest"]
    down = anna.post("/rings/edit", item="rings[0]", base=base, act="down")
    assert [one["name"] for one in policy_edit.said(shown(down))["rings"]] == ["pilots", "lab", "front", "rest"]
    removed = anna.post("/rings/edit", item="rings[1]", base=base, act="remove")
    assert [one["name"] for one in policy_edit.said(shown(removed))["rings"]] == ["lab", "front", "rest"]
    assert changed(before, shown(removed))[1] == []
    taken = edited(anna, "rings[new]", **{**new, "name": "lab"})
    assert (taken.status_code, 'id="p-name"' in taken.text) == (400, True)


def test_freezes_brakes_windows_sources_defaults_and_limits_have_forms(anna: Person, sqlite_gate: RealGate) -> None:
    steps = [
        ("freeze[new]", {"name": "new-year", "from": "2026-12-23", "to": "2027-01-04", "why": "away", "owner": "k"}),
        ("freeze[0]", {"to": "2027-01-05"}),
        ("brakes[new]", {"if": "failed >= 2", "within": "30m", "in": "lab, pilots", "then": "halt"}),
        ("brakes[0]", {"within": "40m"}),
        ("windows.new", {"new_name": "day", "from": "30m after opening", "to": "60m before closing"}),
        ("windows.day", {"to": "90m before closing"}),
        ("defaults", {"confidence": "99%", "stay_up": "2m"}),
        ("limits", {"at_risk.per_make": "9", "default_windows.content": "day"}),
        ("sources[0]", {"boot_critical": "true", "evidence": "boot"}),
        ("rings[0]", {"windows": "day"}),
    ]
    for at, change in steps:
        page = edited(anna, at, **change)
        assert page.status_code == 200, (at, page.text)
        answer = saved(anna, page)
        assert answer.status_code == 303, (at, answer.text)
        if "proposals" in answer.headers["Location"]:
            proposal = answer.headers["Location"].rpartition("/")[2]
            with sqlite_gate.opened.store.write() as tx:
                edits.sign(tx, sqlite_gate.opened.gate, proposal, "ada", sqlite_gate.clock.now())
            with sqlite_gate.opened.store.write() as tx:
                edits.finish(tx, sqlite_gate.opened.gate, proposal, sqlite_gate.clock.now())
    said = policy_edit.said(head(sqlite_gate))
    assert said["freeze"][0]["to"] == "2027-01-05"
    assert said["brakes"] == [{"if": "failed >= 2", "within": "40m", "in": ["lab", "pilots"], "then": "halt"}]
    assert said["windows"]["day"]["to"] == "90m before closing"
    assert (said["defaults"]["confidence"], said["at_risk"]) == ("99%", {"per_make": "9"})
    page = edited(anna, "freeze[0]", **{"from": ""})
    assert (page.status_code, 'id="p-from"' in page.text) == (400, True)
    page = edited(anna, "brakes[0]", **{"if": "sad >= 2"})
    assert (page.status_code, 'id="p-if"' in page.text) == (400, True)
    page = edited(anna, "windows.day", to="")
    assert page.status_code == 400
    page = edited(anna, "windows.new", new_name="day", **{"from": "opening", "to": "closing"})
    assert (page.status_code, 'id="p-new_name"' in page.text) == (400, True)
    page = anna.post("/rings/edit", item="windows.day", base=sqlite_gate.opened.policies.head(), act="remove")
    assert page.status_code == 400, "it is named elsewhere"
    assert "there is no window" in page.text


def test_a_ring_with_another_name_has_it_in_the_brakes_that_name_it(tmp_path: Path) -> None:
    gate = RealGate(tmp_path, "")
    anna = person(app_of(gate), "anna")
    text = shown(edited(anna, "rings[0]", name="bench"))
    said = policy_edit.said(text)
    assert (said["rings"][0]["name"], said["brakes"][0]["in"]) == ("bench", ["bench"])
    gate.close()


def test_the_table_says_members_makes_share_author_and_proof(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    joins(sqlite_gate, "w1", "nord", "workstation", "x")
    page = anna.client.get("/rings?lang=en").text
    rows = re.findall(r"<tr><td class=\"order\".*?</tr>", page, re.DOTALL)
    assert len(rows) == 4
    assert 'href="/machines?ring=front"' in rows[2]
    assert "1 not covered until here" in rows[1], "tills are in neither of the first rings"
    assert "not covered" not in rows[3]
    assert "none yet" in rows[0]
    assert "a change" in rows[0], "the subject of the commit that wrote its lines"
    reader = person(app, "rita").client.get("/rings").text
    assert "/rings/edit" not in reader
    sqlite_gate.bring("1")
    with sqlite_gate.opened.store.write() as tx:
        rollout = tx.rollouts()[0]
        for ring in tx.rings(rollout.id)[:2]:
            from dataclasses import replace

            tx.open_ring(replace(ring, opened_at=sqlite_gate.clock.now()), [], first_batch=1)
    rows = re.findall(r"<tr><td class=\"order\".*?</tr>", anna.client.get("/rings").text, re.DOTALL)
    assert f'href="/rollouts/{rollout.id}">shop-content 1</a>' in rows[0]
    assert "none yet" in rows[1]


def test_a_text_that_is_no_policy_comes_back_with_its_problems_and_itself(anna: Person, sqlite_gate: RealGate) -> None:
    base = sqlite_gate.opened.policies.head()
    broken = head(sqlite_gate).replace("fleet: ", "fleeet: ") + "# <script>alert(1)</script>\n"
    for path in ("/policy/preview", "/policy/save"):
        page = anna.post(path, base=base, text=broken, because="x", back="//evil.example")
        assert page.status_code == 400
        assert "unknown key" in page.text
        assert "fleeet" in page.text
        assert "<script>alert" not in page.text
        assert "evil.example" not in page.text
    for wrong in ({"base": "--upload-pack=x"}, {"base": ""}, {"text": ""}, {"text": "x" * 210_000}):
        assert anna.post("/policy/preview", **{"base": base, "text": broken, **wrong}).status_code == 400, wrong


def test_a_policy_with_a_carriage_return_in_its_lines_keeps_them(anna: Person, sqlite_gate: RealGate) -> None:
    policies = sqlite_gate.opened.policies
    policies.write(head(sqlite_gate).replace("\n", "\r\n"), policies.head(), "anna", "crlf", sqlite_gate.clock.now())
    sqlite_gate.worker.tick()
    page = anna.post("/policy/preview", base=policies.head(), text=head(sqlite_gate).replace("soak: 1h", "soak: 2h", 1))
    assert page.status_code == 200
    assert page.text.count('<span class="added">') == 1
    assert shown(page).count("\r\n") == shown(page).count("\n") > 20


def test_holds_are_placed_by_one_and_lifted_by_two(app: Flask, anna: Person, sqlite_gate: RealGate) -> None:
    tom, rita = person(app, "tom"), person(app, "rita")
    said = {"pick": "role=till", "owner": "k.lehmann", "until": "2099-01-01T08:00", "because": "it trips"}
    assert rita.post("/holds", **said).status_code == 403
    assert tom.post("/holds", **said).status_code == 400, "within a year"
    until = f"{sqlite_gate.clock.now().year + 1}-01-02T08:00"
    for wrong in ({"pick": "tills"}, {"owner": ""}, {"because": ""}, {"until": "soon"}, {"source": "none"}):
        assert tom.post("/holds", **{**said, "until": until, **wrong}).status_code in (400, 404), wrong
    assert tom.post("/holds", **{**said, "until": until}).status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        [hold] = tx.holds(sqlite_gate.clock.now())
    assert (holds.words(hold), hold.made_by, f"{hold.until:%H:%M}") == ("role=till", "tom", "07:00")
    assert tom.post("/holds/lift", hold=hold.id, because="x").status_code == 403
    assert anna.post("/holds/lift", hold=hold.id, because="it does not").status_code == 303
    assert anna.post("/holds/lift", hold=hold.id, because="really").status_code == 409
    page = person(app, "ada").client.get("/holds").text
    assert "it does not" in page
    assert person(app, "ada").post("/holds/lift", hold=hold.id, because="agreed").status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        assert tx.holds(sqlite_gate.clock.now()) == []


def test_hostile_words_of_a_policy_are_escaped(anna: Person, sqlite_gate: RealGate) -> None:
    hostile = '<img src=x onerror=alert(1)>"'
    with sqlite_gate.opened.store.write() as tx:
        tx.save_site(Site("nord", hostile, "NW", "", True))
    page = edited(anna, "rings[1]", why=hostile)
    assert page.status_code == 200
    assert "<img" not in page.text
    assert saved(anna, page, hostile).status_code == 303
    for path in ("/rings", "/rings/edit?item=rings[1]", "/holds"):
        assert "<img" not in anna.client.get(path).text
    assert "<img" not in edited(anna, "rings[2]", pick="role=till").text


def test_no_such_place_and_no_such_commit_are_said(anna: Person, sqlite_gate: RealGate) -> None:
    for at in ("rings[99]", "rings[-1]", "windows.none", "version", "../x", "rings[0].name"):
        assert anna.client.get("/rings/edit", query_string={"item": at}).status_code == 404, at
    assert anna.post("/rings/edit", item="rings[0]", base="x").status_code == 400


RULES = """\
freeze:
  - {name: new-year, from: 2026-12-23, to: 2027-01-04, why: away, owner: k}
brakes:
  - {if: failed >= 2, within: 30m, then: halt}
"""


def test_a_link_opens_what_was_clicked_also_where_the_branch_has_moved_on(anna: Person, sqlite_gate: RealGate) -> None:
    policies, now = sqlite_gate.opened.policies, sqlite_gate.clock.now()

    def links(path: str = "/rings") -> dict[str, str]:
        page = anna.client.get(f"{path}?lang=en").text
        found = re.findall(r'href="(/rings/edit[^"]+)"(?: aria-label="(?:Edit: |Change )?([^"]+)")?>([^<]*)<', page)
        return {html.unescape(name or text): html.unescape(at) for at, name, text in found}

    def item(link: str) -> str:
        return re.search(r'name="item" value="([^"]+)"', anna.client.get(link).text)[1]  # type: ignore[index]

    sqlite_gate.policy_says(TEXT + RULES)
    good = policies.read(policies.head())
    before = links() | links("/calendar")
    rules = parse_text(good)
    ring, freeze, brake = rules.rings[1].name, rules.freezes[0].name, rules.brakes[0].text
    assert [item(before[name]) for name in (ring, freeze, brake)] == ["rings[1]", "freeze[0]", "brakes[0]"]
    moved = policy_edit.moved_item(good, "rings[1]", 0)
    new = {"name": "fair", "from": "2027-01-01", "to": "2027-01-02", "why": "w", "owner": "anna"}
    moved = policy_edit.with_item(moved, "freeze", new, 0)
    moved = policy_edit.with_item(moved, "brakes", {"if": "failed >= 9", "within": "1h", "then": "halt", "why": "w"}, 0)
    policies.write(moved, policies.head(), "berta", "another order", now)
    after = links() | links("/calendar")
    assert after == before, "what rules is still the same"
    assert [item(after[name]) for name in (ring, freeze, brake)] == ["rings[0]", "freeze[1]", "brakes[1]"]
    assert item("/rings/edit?item=rings[new]&of=" + policies.head()) == "rings[new]"
    gone = policy_edit.without_item(moved, "brakes[1]")
    policies.write(gone, policies.head(), "berta", "without", now)
    answer = anna.client.get(after[brake] + "&lang=en")
    assert answer.status_code == 404
    assert "no longer has this item" in answer.text


def test_where_the_head_is_no_policy_a_form_begins_with_the_active_text_and_is_the_way_back(
    sqlite_gate: RealGate,
) -> None:
    policies, now = sqlite_gate.opened.policies, sqlite_gate.clock.now()
    good = policies.read(policies.head())
    broken = policies.write(good.replace("rings:", "rinsg:", 1), policies.head(), "mallory", "a slip", now)
    sqlite_gate.worker.tick()
    anna = person(app_of(sqlite_gate), "anna")
    page = edited(anna, "rings[0]", why="they are the first")
    assert saved(anna, page).status_code == 303
    sqlite_gate.worker.tick()
    with sqlite_gate.opened.store.read() as tx:
        active = tx.active_policy()
    assert active is not None
    assert policies.parents(active.commit) == [broken]
    after = policies.read(active.commit)
    assert [line for line in after.splitlines() if line not in good.splitlines()] != []
    assert len(set(after.splitlines()) - set(good.splitlines())) == 1, "the slip is gone, the edit is in"
