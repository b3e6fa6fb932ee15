"""A site's labels in the pages: into the first rings by two people, with the form or with a file."""

from __future__ import annotations

import io

from flask import Flask

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


def test_one_admin_proposes_and_another_agrees_on_the_sites_page(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    machine = till(sqlite_gate)
    form = {"id": "nord", "name": "Apotheke nord", "land": "NW", "hours": "Mo-Fr 08:00-18:00", "labels": "first"}
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
    anna.post("/sites", id="nord", name="Nord", labels="first")
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
    with sqlite_gate.opened.store.write() as tx:
        people.disable_user(tx, "anna", "berta", sqlite_gate.clock.now())
    page = person(app, "berta").client.get("/").text
    assert "a change of this site waits" not in page, "nobody agrees with whom was shut out"
