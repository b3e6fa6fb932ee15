"""A site is changed in the pages: nothing is blanked or undone that was not meant; first rings take two people."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace

from flask import Flask

from gate.core.model import Site
from gate.flows import people
from tests.real_gate import PlayedMachine, RealGate
from tests.web import test_pages
from tests.web.test_pages import OURS, Person, person

app, anna = test_pages.app, test_pages.anna


def till(gate: RealGate) -> str:
    played = PlayedMachine(gate)
    played.enrol()
    gate.accept(played.machine, "till")
    return played.machine


def ring(gate: RealGate, machine: str) -> str:
    with gate.opened.store.read() as tx:
        found = tx.machine(machine)
        assert found is not None
        return found.ring


def shown(who: Person, site: str = "nord") -> dict[str, str]:
    """The form of a site's page, as it is filled; what is not ticked is not sent."""
    return filled_in(who.client.get(f"/sites/{site}?lang=en").text)


def filled_in(page: str) -> dict[str, str]:
    [form] = [one for one in re.findall(r"<form.*?</form>", page, re.DOTALL) if "Change this site" in one]
    found = {}
    for tag in re.findall(r"<input[^>]*>", form):
        given = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if given.get("type") != "checkbox" or "checked" in tag:
            found[given["name"]] = html.unescape(given.get("value", "on"))
    return found


def known(gate: RealGate, site: str = "nord") -> Site:
    with gate.opened.store.read() as tx:
        found = tx.site(site)
        assert found is not None
        return found


def west(gate: RealGate) -> Site:
    made = Site("west", 'West "& <Ost>', "BY", "Mo-Fr 08:00-18:00", always_on=True, labels=frozenset({"a", "b"}))
    with gate.opened.store.write() as tx:
        tx.save_site(made)
    return made


def test_a_form_for_a_new_site_blanks_nothing_of_one_that_is_there(sqlite_gate: RealGate, anna: Person) -> None:
    made = west(sqlite_gate)
    answer = anna.post("/sites?lang=en", id="west", name="New")
    assert answer.status_code == 409
    assert known(sqlite_gate, "west") == made
    assert "there is a site of this id already; nothing was changed." in answer.text
    assert "<dd>New</dd>" in answer.text, "what was sent is shown"
    assert anna.post("/sites", **filled_in(answer.text) | {"name": "New"}).status_code == 303
    assert known(sqlite_gate, "west") == replace(made, name="New")
    with sqlite_gate.opened.store.read() as tx:
        assert [one.kind for one in tx.events(subject="west")] == ["site_changed"]


def test_the_form_on_a_sites_page_has_its_values_and_what_is_emptied_is_meant(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    made = west(sqlite_gate)
    form = shown(anna, "west")
    assert (form["name"], form["labels"], form["always_on"]) == (made.name, "a b", "on")
    del form["always_on"]
    assert anna.post("/sites", **form | {"hours": "", "labels": "a"}).status_code == 303
    assert known(sqlite_gate, "west") == replace(made, hours="", always_on=False, labels=frozenset({"a"}))
    assert "Change this site" not in person(app, "rita").client.get("/sites/west?lang=en").text


def test_a_site_whose_hours_never_close_is_always_on(sqlite_gate: RealGate, anna: Person) -> None:
    for hours, always_on in (("24/7", True), ("Mo-Fr 00:00-24:00", False)):
        assert anna.post("/sites", id="neu", hours=hours, **stands(anna, "neu")).status_code == 303
        assert known(sqlite_gate, "neu").always_on is always_on


def stands(who: Person, site: str) -> dict[str, str]:
    """On which site a form stands, once there is one."""
    page = who.client.get(f"/sites/{site}?lang=en")
    return {"stands_on": filled_in(page.text)["stands_on"]} if page.status_code == 200 else {}


def test_a_form_that_was_shown_before_somebody_elses_change_undoes_nothing(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    west(sqlite_gate)
    berta = person(app, "berta")
    mine, theirs = shown(anna, "west"), shown(berta, "west")
    assert anna.post("/sites", **mine | {"hours": "Mo-Fr 09:00-17:00"}).status_code == 303
    answer = berta.post("/sites?lang=en", **theirs | {"name": "Theirs"})
    assert answer.status_code == 409
    assert "somebody has changed this site since it was shown" in answer.text
    assert (known(sqlite_gate, "west").hours, filled_in(answer.text)["hours"]) == (("Mo-Fr 09:00-17:00",) * 2)


def test_one_admin_proposes_and_another_agrees_on_the_sites_page(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    machine = till(sqlite_gate)
    form = {"id": "nord", "name": "Apotheke nord", "land": "NW", "hours": "Mo-Fr 08:00-18:00", "labels": "first"}
    form["stands_on"] = shown(anna)["stands_on"]
    answer = anna.post("/sites", **form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sites/nord#proposed")
    mine = anna.client.get("/sites/nord").text
    assert "It brings machines into the first rings." in mine
    assert "<button>Agree</button>" not in mine
    assert ring(sqlite_gate, machine) == "rest"
    assert anna.post("/sites", **form).status_code == 409
    berta = person(app, "berta")
    assert "<button>Agree</button>" in berta.client.get("/sites/nord").text
    assert "erste Ringe" not in berta.client.get("/sites/nord?lang=de").text
    assert berta.post("/sites", **form).status_code == 303
    assert ring(sqlite_gate, machine) == "first"
    assert "It brings machines into the first rings." not in anna.client.get("/sites/nord?lang=en").text


def test_a_file_of_sites_cannot_do_it_alone(sqlite_gate: RealGate, anna: Person) -> None:
    machine = till(sqlite_gate)
    file = (io.BytesIO(b"id,name,labels\nneu,Neu,first\nnord,Nord,first\n"), "sites.csv")
    answer = anna.client.post("/sites/import", data={"csrf": anna.csrf, "file": file}, headers=OURS)
    assert answer.status_code == 400
    assert "site nord: its labels would bring machines into the first rings" in answer.text
    with sqlite_gate.opened.store.read() as tx:
        assert tx.site("neu") is None, "all of it or nothing"
    assert ring(sqlite_gate, machine) == "rest"


def test_what_waits_for_a_second_person_stands_on_the_overview(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    till(sqlite_gate)
    pending = PlayedMachine(sqlite_gate, "another")
    pending.enrol()
    anna.post("/sites", **shown(anna) | {"labels": "first"})
    anna.post(f"/machines/{pending.machine}/accept", role="till", site="sued", labels="first")
    anna.post("/people", act="role", login="tom", role="approver", because="he knows it")
    page = person(app, "berta").client.get("/").text
    for where, sentence in (
        ("/sites/nord#proposed", "a change of this site waits for another person"),
        (f"/machines/{pending.machine}#proposed", "a machine waits for another person"),
        ("/people", "a change of this person waits for another person"),
    ):
        assert f'<a href="{where}">' in page, where
        assert sentence in page
    anna.post("/sites", **shown(anna) | {"hours": "Mo-Fr 09:00-17:00"})
    assert "/sites/nord#proposed" not in person(app, "berta").client.get("/").text, "void: the site is another by now"
    with sqlite_gate.opened.store.write() as tx:
        people.disable_user(tx, "anna", "berta", sqlite_gate.clock.now())
    page = person(app, "berta").client.get("/").text
    assert "a change of this site waits" not in page, "nobody agrees with whom was shut out"
