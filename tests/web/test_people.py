"""People: who may do what is what the code says; changes take two people; approvers and admins confirm themselves."""

from __future__ import annotations

import ast
import html
import io
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from gate.core.model import RolloutState
from gate.flows import people
from gate.flows.agreement import TWO_PEOPLE
from gate.web import people_api, roles, step_up
from tests.conftest import REPOSITORY
from tests.real_gate import RealGate
from tests.web.test_pages import HASH, OURS, PASSWORD, Person, address, filled, person
from tests.web.test_pages import app as app_on

app = app_on


@pytest.fixture
def anna(app: Flask) -> Iterator[Person]:
    yield person(app, "anna")


def late(gate: RealGate) -> None:
    """Ten minutes and a second after the last confirmation."""
    gate.clock.forward(minutes=10, seconds=1)


# who may do what


def test_the_document_about_people_is_what_the_code_says(app: Flask) -> None:
    assert (REPOSITORY / "docs" / "people.md").read_text(encoding="utf-8") == roles.document(app)


def test_every_kind_of_proposal_in_the_flows_belongs_to_an_act_that_takes_two_people() -> None:
    kinds: set[str] = set()
    for path in (REPOSITORY / "gate" / "flows").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            named = ast.unparse(call.func)
            given = call.args[1:2] if named in ("agreed", "second", "people.second", "Proposal") else []
            if named == "Proposal":
                given += [one.value for one in call.keywords if one.arg == "kind"]
            for one in given:
                kinds.add(str(one.value) if isinstance(one, ast.Constant) else constants.get(ast.unparse(one), ""))
    kinds.discard("")
    assert kinds == {kind for found in TWO_PEOPLE.values() for kind in found}


def test_the_page_shows_every_act_and_every_route(app: Flask, anna: Person) -> None:
    page = html.unescape(anna.client.get("/people/roles").text)
    rules = {f"{method} {rule}" for rule in app.url_map.iter_rules() for method in (rule.methods or set())}
    rules |= {f"{route.method} /api/v1{route.path}" for route in people_api.ROUTES} | {"GET /api/v1/openapi.json"}
    shown = re.findall("<code>((?:GET|POST) [^ ]+)</code>", page)
    assert set(shown) == {one for one in rules if one.startswith(("GET", "POST"))}
    assert len(shown) == len(set(shown))
    assert "GET /healthz" in shown
    for one in roles.rows(app):
        assert one.meaning in page
        assert (one.people == 2) == (one.act in TWO_PEOPLE)


# step-up

BELOW = {"view", "halt", "hold", "keys", "public", "try"}


def test_every_unsafe_route_of_approvers_and_admins_asks_and_no_other_does(sqlite_gate: RealGate, app: Flask) -> None:
    rollout, machine = filled(sqlite_gate)
    berta = person(app, "berta")
    needs = app.extensions["gate.needs"]
    late(sqlite_gate)
    asked = 0
    for rule in app.url_map.iter_rules():
        if "POST" not in rule.methods or rule.endpoint in ("log_in", "log_out", "link"):
            continue
        path = address(str(rule), rollout, machine)
        answer = berta.post(path)
        asks = answer.status_code == 401 and "Confirm that it is you" in answer.text
        assert asks == (needs[rule.endpoint] not in BELOW and rule.endpoint not in step_up.NOT_ASKED), path
        asked += asks
    assert asked > 9


def test_a_new_unsafe_route_of_an_admin_asks_by_itself() -> None:
    assert step_up.asks("something_new", "sites", "POST")
    assert step_up.asks("something_new", "sites", "DELETE")
    assert not step_up.asks("something_new", "sites", "GET")
    assert not step_up.asks("something_new", "halt", "POST")


EDGES = [(timedelta(minutes=9, seconds=58), 303), (timedelta(minutes=10, seconds=1), 401)]


@pytest.mark.parametrize(("wait", "status"), EDGES, ids=["inside", "outside"])
def test_a_confirmation_holds_ten_minutes(sqlite_gate: RealGate, anna: Person, wait: timedelta, status: int) -> None:
    sqlite_gate.clock.ahead += wait
    assert anna.post("/sites", id="west", name="West").status_code == status
    with sqlite_gate.opened.store.read() as tx:
        assert (tx.site("west") is not None) == (status == 303)


def test_after_the_password_it_goes_on_with_what_was_asked_and_every_field(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    rollout, _ = filled(sqlite_gate)
    anna.post("/halt", rollout=rollout, because="it smells")
    late(sqlite_gate)
    because = 'better <now> & "again"'
    asked = anna.post(f"/rollouts/{rollout}/resume", because=because)
    assert asked.status_code == 401
    with sqlite_gate.opened.store.read() as tx:
        assert tx.proposals("open", rollout) == []
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', asked.text.partition("<main")[2]))
    form = {name: html.unescape(value) for name, value in form.items()}
    assert form == {"csrf": anna.csrf, "because": because}
    wrong = anna.client.post(f"/rollouts/{rollout}/resume", data=form | {"confirm_password": "not it"}, headers=OURS)
    assert wrong.status_code == 401
    assert "This password is wrong." in wrong.text
    assert "not it" not in wrong.text
    good = anna.client.post(f"/rollouts/{rollout}/resume", data=form | {"confirm_password": PASSWORD}, headers=OURS)
    assert good.status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        [proposal] = tx.proposals("open", rollout)
    assert proposal.because == because
    assert anna.post("/sites", id="west", name="West").status_code == 303, "asked once in ten minutes"


def test_a_confirmation_says_that_a_file_must_be_chosen_again_and_goes_on_with_it(
    sqlite_gate: RealGate, app: Flask
) -> None:
    berta = person(app, "berta")
    late(sqlite_gate)

    def sent(**more: str) -> TestResponse:
        form = {"csrf": berta.csrf, "file": (io.BytesIO(b"id,name\nwest,West\n"), "my list.csv"), **more}
        return berta.client.post("/sites/import?lang=en", data=form, headers=OURS, content_type="multipart/form-data")

    asked = sent()
    assert asked.status_code == 401
    assert "Nothing of your form is lost" not in asked.text
    assert "Your file is not kept meanwhile: choose it again here." in asked.text
    assert re.search(r"my list\.csv</label><input id=\"again-1\" name=\"file\" type=\"file\" required>", asked.text)
    assert 'enctype="multipart/form-data"' in asked.text
    assert "my list.csv" in sent(confirm_password="not it").text
    assert sent(confirm_password=PASSWORD).status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        assert tx.site("west") is not None


def test_guessing_at_a_confirmation_is_slowed_down_also_for_the_right_password(
    sqlite_gate: RealGate, anna: Person
) -> None:
    late(sqlite_gate)
    for _ in range(12):
        anna.post("/sites", id="west", confirm_password="wrong password")
    assert anna.post("/sites", id="west", confirm_password=PASSWORD).status_code == 429


def test_the_brake_asks_for_no_confirmation(sqlite_gate: RealGate, app: Flask) -> None:
    rollout, _ = filled(sqlite_gate)
    anna = person(app, "anna")
    late(sqlite_gate)
    assert anna.post("/halt", rollout="all", because="it smells").status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        found = tx.rollout(rollout)
    assert found is not None
    assert found.state is RolloutState.HALTED


# changes of people


def change(who: Person, act: str, login: str, **more: str) -> int:
    status = who.post("/people", act=act, login=login, because="we need it", **more).status_code
    assert isinstance(status, int)
    return status


def user(gate: RealGate, login: str) -> people.User | None:
    with gate.opened.store.read() as tx:
        return tx.user(login)


def test_a_person_is_added_by_two_and_the_link_is_shown_to_the_second_once(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    berta = person(app, "berta")
    form = {"act": "add", "login": "nora", "name": "Nora", "role": "approver", "because": "she starts in May"}
    first = anna.post("/people", **form)
    assert first.status_code == 303
    assert user(sqlite_gate, "nora") is None
    assert anna.post("/people", **form).status_code == 409, "who proposed is not the second"
    assert berta.post("/people", **form | {"role": "admin"}).status_code == 303, "another role is another proposal"
    assert user(sqlite_gate, "nora") is None
    waiting = berta.client.get("/people").text
    assert "Nora" in waiting
    assert "she starts in May" in waiting
    done = berta.post("/people", **form)
    assert done.status_code == 200
    found = re.search(r"/link/([\w-]{43})", done.text)
    assert found
    assert found[1] not in berta.client.get("/people").text
    assert found[1] not in berta.client.get("/audit").text
    password = {"password": PASSWORD, "again": PASSWORD}
    assert app.test_client().post(f"/link/{found[1]}", data=password, headers=OURS).status_code == 303
    nora = user(sqlite_gate, "nora")
    assert nora is not None
    assert nora.role == "approver"


def test_a_role_changes_by_two_and_ends_the_sessions(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    berta, tom = person(app, "berta"), person(app, "tom")
    assert change(anna, "role", "tom", role="approver") == 303
    assert change(berta, "role", "tom", role="approver") == 303
    found = user(sqlite_gate, "tom")
    assert found is not None
    assert found.role == "approver"
    assert tom.client.get("/").status_code == 302


def test_who_changed_meanwhile_voids_the_proposal(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    berta = person(app, "berta")
    assert change(anna, "link", "tom") == 303
    with sqlite_gate.opened.store.write() as tx:
        people.new_link(tx, "tom", "again", "test", sqlite_gate.clock.now())
        people.choose_password(tx, "again", PASSWORD, lambda _: HASH + "x", sqlite_gate.clock.now())
    assert "make a new one-time link: tom" not in re.sub(r"\s+", " ", berta.client.get("/people").text)
    assert change(berta, "link", "tom") == 303, "this only proposes anew"


TOO_FEW = [
    ("an admin of three", ["carl"], "disable", "carl", 303),
    ("an admin of two", [], "disable", "berta", 409),
    ("an admin of two, by role", [], "role", "berta", 409),
    ("a technician", [], "disable", "tom", 303),
]


@pytest.mark.parametrize(("what", "more", "act", "login", "status"), TOO_FEW, ids=[row[0] for row in TOO_FEW])
def test_nobody_is_removed_whom_an_act_of_two_people_needs(
    sqlite_gate: RealGate, anna: Person, what: str, more: list[str], act: str, login: str, status: int
) -> None:
    with sqlite_gate.opened.store.write() as tx:
        for one in more:
            people.add_user(tx, one, one, "admin", one, "test", sqlite_gate.clock.now())
    answer = anna.post("/people", act=act, login=login, role="approver", because="she left")
    assert answer.status_code == status
    if status == 409:
        assert "needs 2 people, and 1 would be left who may" in answer.text


def test_a_ring_that_needs_three_keeps_its_three_approvers(sqlite_gate: RealGate, anna: Person) -> None:
    policies = sqlite_gate.opened.policies
    text = policies.read(policies.head())
    changed = text.replace("  - name: rest\n", "  - name: rest\n    needs: {people: 3}\n")
    assert changed != text
    sqlite_gate.policy_says(changed)
    sqlite_gate.opened.rules._read_at = -1.0
    answer = anna.post("/people", act="disable", login="ada", because="she left")
    assert answer.status_code == 409, answer.text
    assert "approve needs 3 people, and 2 would be left who may" in answer.text


def test_what_is_no_change_of_a_person_is_refused(anna: Person) -> None:
    for form, status in (
        ({"act": "promote", "login": "tom"}, 400),
        ({"act": "role", "login": "tom", "role": "king"}, 400),
        ({"act": "role", "login": "tom", "role": "technician"}, 409),
        ({"act": "add", "login": "tom", "role": "reader"}, 409),
        ({"act": "add", "login": "a b", "role": "reader"}, 400),
        ({"act": "disable", "login": "nobody"}, 404),
    ):
        assert anna.post("/people", because="why not", **form).status_code == status, form
    assert anna.post("/people", act="disable", login="tom").status_code == 400, "a change has a reason"
