"""The API for people: by token alone, within scope and role; its document says what it does."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from gate.flows import people, sentences, tokens
from gate.flows.tokens import SCOPES
from gate.web import people_openapi
from gate.web.people_api import ROOT, ROUTES
from tests.real_gate import ADDRESS, PlayedMachine, RealGate
from tests.web.test_pages import PASSWORD, Person, filled
from tests.web.test_pages import app as app_on

app = app_on
PEOPLE = {"rita": "reader", "tom": "technician", "ada": "approver", "berta": "admin"}
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance)
some = settings(
    max_examples=25, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def token(gate: RealGate, login: str = "anna", scope: str = "admin", days: int = 1) -> str:
    """A token, made anew; who is not known yet is added with a role of their name."""
    now = gate.clock.now()
    secret = f"gate_{login}-{scope}-{now.timestamp()}"
    with gate.opened.store.write() as tx:
        if tx.user(login) is None:
            people.add_user(tx, login, login, PEOPLE[login], f"link-{login}", "test", now)
        tokens.create(tx, login, scope, days, secret, "test", now)
    return secret


class Script:
    """Something that asks with a token."""

    def __init__(self, gate: RealGate, secret: str) -> None:
        self.session = gate.session()
        self.session.headers["Authorization"] = f"Bearer {secret}"

    def get(self, path: str) -> requests.Response:
        return self.session.get(ADDRESS + ROOT + path)

    def post(self, path: str, body: Any = None, raw: bytes = b"", **headers: str) -> requests.Response:
        said = raw or json.dumps({"because": "a script says so"} if body is None else body).encode()
        return self.session.post(
            ADDRESS + ROOT + path, data=said, headers={"Content-Type": "application/json"} | headers
        )


def test_what_can_be_looked_at_is_json(real_gate: RealGate) -> None:
    rollout, machine = filled(real_gate)
    script = Script(real_gate, token(real_gate, scope="read"))
    status = script.get("/status").json()
    assert status["rollouts"][0]["rollout"] == rollout
    assert status["rollouts"][0]["rings"][0] == {"ring": "first", "open": True, "members": 1, "healthy": 0, "bad": 0}
    assert script.get("/rollouts").json()["rollouts"][0]["version"] == "1"
    assert script.get(f"/rollouts/{rollout}").json()["sentences"]
    assert script.get(f"/why?machine={machine}").json()["answers"][0]["source"] == "shop-content"
    assert [one["site"] for one in script.get("/sites").json()["sites"]] == ["nord", "sued"]
    assert script.get("/machines?site=nord").json()["machines"][0]["ring"] == "first"
    found = script.get("/audit?kind=ring_opened").json()
    assert {one["kind"] for one in found["events"]} == {"ring_opened"}
    assert found["size"] > found["events"][0]["index"]


def test_why_a_rollout_stands_is_said_as_the_page_and_the_commands_say_it_with_its_numbers(real_gate: RealGate) -> None:
    rollout, _ = filled(real_gate)
    other = PlayedMachine(real_gate, "other")
    other.enrol()
    real_gate.accept(other.machine, "till")
    real_gate.clock.forward(seconds=5)
    real_gate.worker.tick()
    script = Script(real_gate, token(real_gate, scope="read"))
    said = script.get(f"/rollouts/{rollout}").json()
    opened = real_gate.opened
    with opened.store.read() as tx:
        found, now = tx.rollout(rollout), real_gate.clock.now()
        assert found is not None
        state = sentences.of_rollout(tx, opened.gate, found, now)
        rings = sentences.of_rings(tx, opened.gate, found, now)
        version = opened.gate.policy(found.policy_version)
    assert said["sentences"] == [*state, *rings]
    assert "Ring rest: needs 1 more till healthy: 0 of 1 so far." in said["sentences"]
    (waits,) = said["waiting"]
    assert (waits["ring"], waits["verdict"], waits["lost"], waits["earliest_at"]) == ("rest", "HOLD", 1, None)
    assert waits["sentences"] == rings[:-1]
    assert waits["risk"] == rings[-1]
    (reason,) = waits["reasons"]
    assert (reason["code"], reason["rule"]) == ("at_least", "rings[0].gate.at_least")
    assert reason["line"] == version.line_of("rings[0].gate.at_least") > 0
    assert reason["numbers"] == {"more": 1, "wanted": 1, "healthy": 0}
    (make,) = waits["makes"]
    assert (make["healthy"], make["wanted"], make["more_healthy"], make["bad"], make["lost"]) == (0, 1, 1, 0, 1)
    assert make["bound"] == 1.0
    assert {one["make"] for one in (reason, make)} == {found_make(real_gate, rollout)}
    assert script.post(f"/rollouts/{rollout}/halt").status_code == 403
    halting = Script(real_gate, token(real_gate))
    halting.post(f"/rollouts/{rollout}/halt")
    assert script.get(f"/rollouts/{rollout}").json()["waiting"] == [], "nothing opens what is halted"


def found_make(gate: RealGate, rollout: str) -> str:
    with gate.opened.store.read() as tx:
        return tx.strata(rollout)[0].make


def test_one_token_halts_and_two_people_resume(real_gate: RealGate) -> None:
    rollout, _ = filled(real_gate)
    anna, berta = Script(real_gate, token(real_gate)), Script(real_gate, token(real_gate, "berta", "approve"))
    assert anna.post("/halt").json() == {"halted": [rollout]}
    first = anna.post(f"/rollouts/{rollout}/resume")
    assert first.status_code == 200
    assert first.json()["done"] is False
    assert first.json()["waits_until"]
    again = Script(real_gate, token(real_gate, scope="approve")).post(f"/rollouts/{rollout}/resume")
    assert again.status_code == 409, "another token of the same person is the same person"
    assert again.json()["kind"] == "needs_people"
    assert berta.post(f"/rollouts/{rollout}/resume").json() == {"done": True, "waits_until": None}
    assert anna.get(f"/rollouts/{rollout}").json()["rollout"]["state"] == "running"


def test_a_machine_is_accepted_with_scope_admin(sqlite_gate: RealGate) -> None:
    machine = PlayedMachine(sqlite_gate)
    machine.enrol()
    script, path = Script(sqlite_gate, token(sqlite_gate)), f"/machines/{machine.machine}/accept"
    assert script.post(path, {"role": "till"}).json()["done"] is False, "into the first rings it takes two"
    berta = Script(sqlite_gate, token(sqlite_gate, "berta", "admin"))
    assert berta.post(path, {"role": "till"}).json()["done"] is True
    bad = script.post(f"/machines/{machine.machine}/accept", {"role": "till", "ring": "first"})
    assert bad.status_code == 400, "nobody sets a ring"


@pytest.mark.parametrize("scope", list(SCOPES))
def test_every_route_for_every_scope(sqlite_gate: RealGate, scope: str) -> None:
    script = Script(sqlite_gate, token(sqlite_gate, scope=scope))
    order = list(SCOPES.values())
    for route in ROUTES:
        path = route.path.replace("{rollout}", "none").replace("{machine}", "none")
        answer = script.get(path) if route.method == "GET" else script.post(path, {})
        allowed = order.index(SCOPES[scope]) >= order.index(people.NEEDS[route.act])
        assert (answer.status_code == 403) != allowed, (route.path, answer.text)
        if not allowed:
            assert answer.json()["kind"] == "scope"


def test_a_role_that_is_taken_away_takes_its_tokens_with_it(sqlite_gate: RealGate) -> None:
    script = Script(sqlite_gate, token(sqlite_gate, "berta", "admin"))
    assert script.post("/halt").status_code == 200
    with sqlite_gate.opened.store.write() as tx:
        berta = tx.user("berta")
        assert berta is not None
        from dataclasses import replace

        tx.save_user(replace(berta, role="reader"))
    assert script.post("/halt").status_code == 403
    assert script.get("/status").status_code == 200
    with sqlite_gate.opened.store.write() as tx:
        people.disable_user(tx, "berta", "test", sqlite_gate.clock.now())
    assert script.get("/status").status_code == 401


def test_a_token_ends_and_can_be_revoked_and_says_when_it_was_used(real_gate: RealGate) -> None:
    first, second = token(real_gate, days=1), token(real_gate, scope="read", days=2)
    assert Script(real_gate, first).get("/status").status_code == 200
    with real_gate.opened.store.read() as tx:
        used = {one.scope: one.used_at for one in tx.tokens()}
    assert used["admin"] is not None
    assert used["read"] is None
    real_gate.clock.forward(hours=24, seconds=1)
    assert Script(real_gate, first).get("/status").status_code == 401
    assert Script(real_gate, second).get("/status").status_code == 200
    with real_gate.opened.store.write() as tx:
        [mine] = [one for one in tx.tokens() if one.scope == "read"]
        tokens.revoke(tx, mine.id, "anna", real_gate.clock.now())
    assert Script(real_gate, second).get("/status").status_code == 401


def test_a_scope_is_no_more_than_the_role(sqlite_gate: RealGate) -> None:
    with pytest.raises(Exception, match="scope approve is more than that"):
        token(sqlite_gate, "tom", "approve")


def test_the_store_has_only_the_hash_of_a_token(sqlite_gate: RealGate) -> None:
    secret = token(sqlite_gate)
    Script(sqlite_gate, secret).get("/status")
    database = b"".join(path.read_bytes() for path in (sqlite_gate.folder / "gate" / "data").glob("gate.db*"))
    assert secret.encode() not in database


BAD = ["", "Bearer", "Bearer ", "Bearer gate_nothing", "Basic YTpi", "bearer x" * 200, "Bearer gate_ä"]


@pytest.mark.parametrize("said", BAD)
def test_without_a_good_token_there_is_one_answer(sqlite_gate: RealGate, said: str) -> None:
    answer = sqlite_gate.session().get(f"{ADDRESS}{ROOT}/status", headers={"Authorization": said.encode("latin-1")})
    assert (answer.status_code, answer.json()["kind"]) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_cookie_is_nothing_to_the_api_and_a_token_is_nothing_to_the_pages(sqlite_gate: RealGate, app: Any) -> None:
    anna = Person(app.test_client())
    assert anna.log_in("anna", PASSWORD) == 303
    cookie = anna.client.get_cookie("gate")
    assert cookie is not None
    session = sqlite_gate.session()
    assert session.get(f"{ADDRESS}{ROOT}/status", headers={"Cookie": f"gate={cookie.value}"}).status_code == 401
    headers = {"Authorization": f"Bearer {token(sqlite_gate)}"}
    for rule in app.url_map.iter_rules():
        if "GET" in rule.methods and app.extensions["gate.needs"].get(rule.endpoint, "public") != "public":
            answer = app.test_client().get(
                re.sub(r"<(?:int:)\w+>", "0", re.sub(r"<\w+>", "x", str(rule))), headers=headers
            )
            where = answer.headers.get("Location", "")[:6]
            assert (answer.status_code, where) == (302, "/login") or answer.status_code == 401, rule
    with_site = headers | {"Sec-Fetch-Site": "same-origin"}
    assert (
        app.test_client().post("/halt", data={"rollout": "all", "because": "x"}, headers=with_site).status_code == 302
    )


WRONG = [
    ("GET", "/nothing", 404),
    ("DELETE", "/status", 405),
    ("POST", "/status", 405),
    ("GET", "/status?ring=first", 400),
    ("GET", "/machines?site=nord&site=sued", 400),
    ("GET", "/machines?site=%00", 400),
    ("GET", "/audit?before=x", 400),
    ("GET", "/audit?since=yesterday", 400),
    ("GET", "/rollouts/none", 404),
    ("GET", "/rollouts/%FF", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), WRONG, ids=[f"{one[0]} {one[1]}" for one in WRONG])
def test_what_is_wrong_is_said_in_the_one_shape(sqlite_gate: RealGate, method: str, path: str, status: int) -> None:
    script = Script(sqlite_gate, token(sqlite_gate))
    answer = script.session.request(method, ADDRESS + ROOT + path)
    assert answer.status_code == status
    assert set(answer.json()) == {"kind", "detail"}


def test_a_body_is_read_as_strictly_as_an_agents(sqlite_gate: RealGate) -> None:
    script = Script(sqlite_gate, token(sqlite_gate))
    for raw in (b'{"because": "a", "because": "b"}', b'{"because": "\\ud800"}', b"[]", b"{", b'{"because": ""}'):
        assert script.post("/halt", raw=raw).status_code == 400, raw
    assert script.post("/halt", raw=b" " * 70_000).status_code == 413
    assert script.post("/halt", **{"Content-Type": "text/plain"}).status_code == 415


def test_the_document_names_every_route() -> None:
    document = json.loads(people_openapi.document())
    assert len(document["paths"]) == len({one.path for one in ROUTES}) + 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_no_5xx_and_no_undocumented_status(sqlite_gate: RealGate) -> None:
    rollout, machine = filled(sqlite_gate)
    schema = schemathesis.openapi.from_dict(json.loads(people_openapi.document()))
    schema.app = sqlite_gate.app
    secret, seen = token(sqlite_gate, days=30), Counter[int]()

    def check(case: schemathesis.Case) -> None:
        for name, real in (("rollout", rollout), ("machine", machine)):
            if case.path_parameters and name in case.path_parameters and len(str(case.path_parameters[name])) % 2:
                case.path_parameters[name] = real
        answer = case.call(headers={"Authorization": f"Bearer {secret}"})
        seen[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    for found in schema.get_all_operations():
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            try:
                strategy = found.ok().as_strategy(generation_mode=mode)
                some(given(case=strategy)(check))()
            except Exception as problem:
                if "Unsatisfiable" not in type(problem).__name__:
                    raise
    assert seen[200] > 50, seen
    assert seen[400] > 10, seen
    assert seen[404] > 5, seen
