"""The pages: who may see and do what, forms that are ours alone, hostile texts, no session that outlives its end."""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from gate.adapters.passwords import hash_password
from gate.bootstrap import Opened, pages
from gate.core.model import RolloutState, Site, SiteTime, TimeKind
from gate.core.recovery import key_of
from gate.flows import holds, people, site_changes
from gate.web import kept
from gate.web.app import VIEWS
from gate.web.texts import GERMAN
from tests.conftest import REPOSITORY
from tests.real_gate import PlayedMachine, RealGate

PASSWORD = "correct horse battery staple"
HASH = hash_password(PASSWORD)
OURS = {"Sec-Fetch-Site": "same-origin"}
PEOPLE = {"rita": "reader", "tom": "technician", "ada": "approver", "anna": "admin", "berta": "admin"}


class Person:
    """Somebody at a browser."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.csrf = ""

    def log_in(self, login: str, password: str = PASSWORD) -> int:
        answer = self.client.post("/login", data={"login": login, "password": password}, headers=OURS)
        page = self.client.get("/")
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', page.text)
        self.csrf = found[1] if found else ""
        return answer.status_code

    def post(self, path: str, **form: str) -> Any:
        return self.client.post(path, data={"csrf": self.csrf, **form}, headers=OURS)


def app_of(gate: RealGate) -> Flask:
    """The pages of a gate with a person of each role, who have chosen a password."""
    now = gate.clock.now()
    with gate.opened.store.write() as tx:
        for login, role in PEOPLE.items():
            if tx.user(login) is None:
                people.add_user(tx, login, login, role, f"link-{login}", "test", now)
            else:
                people.new_link(tx, login, f"link-{login}", "test", now)
            people.choose_password(tx, f"link-{login}", PASSWORD, lambda _: HASH, now)
    app = pages(gate.opened)
    assert isinstance(app, Flask)
    return app


@pytest.fixture
def app(sqlite_gate: RealGate) -> Flask:
    return app_of(sqlite_gate)


@pytest.fixture
def anna(app: Flask) -> Iterator[Person]:
    person = Person(app.test_client())
    assert person.log_in("anna") == 303
    yield person


def person(app: Flask, login: str) -> Person:
    found = Person(app.test_client())
    assert found.log_in(login) == 303
    return found


def filled(gate: RealGate) -> tuple[str, str]:
    """A rollout and a machine to look at."""
    machine = PlayedMachine(gate)
    machine.enrol()
    gate.accept(machine.machine, "till", "first")
    gate.bring("1")
    with gate.opened.store.read() as tx:
        return tx.rollouts()[0].id, machine.machine


def address(rule: str, rollout: str, machine: str) -> str:
    known = {
        "rollout_id": rollout,
        "machine_id": machine,
        "site_id": "nord",
        "secret": "x",
        "proposal_id": "p-none",
        "name": "shop-content",
    }
    known |= {"test_id": "b-none", "commit": "head", "index": "0", "kind": "sites", "key": key_of("role=till")}
    return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: known[found[1]], rule)


def test_every_route_for_every_role_and_none(sqlite_gate: RealGate, app: Flask) -> None:
    rollout, machine = filled(sqlite_gate)
    rules = {str(rule): rule for rule in app.url_map.iter_rules() if rule.endpoint != "static"}
    stated = {(view.__name__, need) for _, view, need, _ in VIEWS}
    assert {rule.endpoint for rule in app.url_map.iter_rules()} - {"static"} == {name for name, _ in stated}
    needs = dict(stated)
    order = ("reader", "technician", "approver", "admin")
    browsers = {login: person(app, login) for login in PEOPLE}
    for rule in app.url_map.iter_rules():
        if rule.endpoint in ("static", "log_out"):
            continue
        path, need = address(str(rule), rollout, machine), needs[rule.endpoint]
        for method in rule.methods & {"GET", "POST"}:
            nobody = app.test_client().open(path, method=method, headers=OURS)
            if rule.endpoint in kept.VIEWS and method == "POST":
                assert (nobody.status_code, "what you have sent is kept" in nobody.text) == (401, True), path
            elif need == "public":
                assert nobody.status_code not in (401, 403, 500), path
            else:
                assert nobody.status_code == 302, (path, nobody.status_code)
                assert nobody.headers["Location"].startswith("/login")
            if need != "public":
                for login, role in PEOPLE.items():
                    answer = browsers[login].client.open(
                        path, method=method, data={"csrf": browsers[login].csrf}, headers=OURS
                    )
                    allowed = order.index(role) >= order.index(people.NEEDS[need])
                    assert (answer.status_code == 403) != allowed, (path, method, role, answer.status_code)
                    assert answer.status_code < 500
    assert len(rules) > 15


def test_a_route_that_states_no_need_is_for_nobody(app: Flask, anna: Person) -> None:
    app.extensions["gate.needs"].pop("overview")
    assert anna.client.get("/").status_code == 401


def test_every_unsafe_route_refuses_a_form_that_is_not_ours(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    rollout, machine = filled(sqlite_gate)
    other = person(app, "berta")
    for rule in app.url_map.iter_rules():
        if "POST" not in rule.methods or rule.endpoint in ("log_in", "link"):
            continue
        path = address(str(rule), rollout, machine)
        for form, headers in (
            ({}, OURS),
            ({"csrf": "0" * 64}, OURS),
            ({"csrf": other.csrf}, OURS),
            ({"csrf": anna.csrf}, {"Sec-Fetch-Site": "cross-site"}),
            ({"csrf": anna.csrf}, {"Sec-Fetch-Site": "same-site"}),
            ({"csrf": anna.csrf}, {"Origin": "https://evil.example"}),
        ):
            assert anna.client.post(path, data=form, headers=headers).status_code == 400, path
        text = anna.client.post(path, data='{"csrf": "' + anna.csrf + '"}', content_type="text/plain", headers=OURS)
        assert text.status_code == 400


def test_a_log_in_from_elsewhere_is_refused(app: Flask) -> None:
    form = {"login": "anna", "password": PASSWORD}
    for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert app.test_client().post("/login", data=form, headers=headers).status_code == 400


def test_the_cookie_is_strict_and_the_store_has_only_its_hash(sqlite_gate: RealGate, app: Flask) -> None:
    answer = app.test_client().post("/login", data={"login": "anna", "password": PASSWORD}, headers=OURS)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    token = cookie.partition("=")[2].partition(";")[0]
    database = b"".join(path.read_bytes() for path in (sqlite_gate.folder / "gate" / "data").glob("gate.db*"))
    assert token.encode() not in database
    assert PASSWORD.encode() not in database


def test_with_https_the_cookie_has_the_host_prefix_and_is_secure(sqlite_gate: RealGate, app: Flask) -> None:
    from dataclasses import replace

    from gate.web.app import create_app

    secure = create_app(replace(app.extensions["gate"], public_url="https://gate.example"))
    answer = secure.test_client().post("/login", data={"login": "anna", "password": PASSWORD}, headers=OURS)
    assert answer.headers["Set-Cookie"].startswith("__Host-gate=")
    assert "Secure" in answer.headers["Set-Cookie"]
    assert "max-age=31536000" in answer.headers["Strict-Transport-Security"]


def test_a_wrong_password_an_unknown_name_and_a_disabled_person_get_one_answer(
    sqlite_gate: RealGate, app: Flask
) -> None:
    with sqlite_gate.opened.store.write() as tx:
        people.disable_user(tx, "tom", "test", sqlite_gate.clock.now())
    answers = set()
    for login, password in (("anna", "wrong password!"), ("nobody", PASSWORD), ("tom", PASSWORD)):
        answer = app.test_client().post("/login", data={"login": login, "password": password}, headers=OURS)
        answers.add((answer.status_code, answer.text))
    assert len(answers) == 1
    assert next(iter(answers))[0] == 401


def test_too_many_tries_are_slowed_down_also_for_the_right_password(app: Flask) -> None:
    for _ in range(12):
        app.test_client().post("/login", data={"login": "anna", "password": "wrong password"}, headers=OURS)
    answer = app.test_client().post("/login", data={"login": "anna", "password": PASSWORD}, headers=OURS)
    assert answer.status_code == 429


SESSION_ENDS = [
    ("after 15 idle minutes", timedelta(minutes=15, seconds=1), "", 302),
    ("not before", timedelta(minutes=14, seconds=30), "", 200),
    ("at log out", timedelta(), "logout", 302),
    ("when the person is disabled", timedelta(), "disable", 302),
    ("when the password is changed", timedelta(), "password", 302),
]


@pytest.mark.parametrize(("what", "wait", "act", "status"), SESSION_ENDS, ids=[row[0] for row in SESSION_ENDS])
def test_a_session_ends(
    sqlite_gate: RealGate, app: Flask, anna: Person, what: str, wait: timedelta, act: str, status: int
) -> None:
    cookie = anna.client.get_cookie("gate")
    assert cookie is not None
    now = sqlite_gate.clock.now()
    if act == "logout":
        anna.post("/logout")
    with sqlite_gate.opened.store.write() as tx:
        if act == "disable":
            people.disable_user(tx, "anna", "test", now)
        if act == "password":
            people.new_link(tx, "anna", "again", "test", now)
            people.choose_password(tx, "again", PASSWORD, lambda _: HASH, now)
    sqlite_gate.clock.ahead += wait
    stolen = app.test_client()
    stolen.set_cookie("gate", cookie.value)
    assert stolen.get("/").status_code == status


def test_a_session_ends_after_eight_hours_also_when_it_is_used(sqlite_gate: RealGate, anna: Person) -> None:
    for _ in range(8 * 6):
        sqlite_gate.clock.forward(minutes=9, seconds=59)
        assert anna.client.get("/").status_code == 200
    sqlite_gate.clock.forward(minutes=2)
    assert anna.client.get("/").status_code == 302


def test_a_one_time_link_is_used_once_and_looking_does_not_use_it(sqlite_gate: RealGate, app: Flask) -> None:
    with sqlite_gate.opened.store.write() as tx:
        people.add_user(tx, "new", "New", "reader", "secret-link", "test", sqlite_gate.clock.now())
    browser = app.test_client()
    for _ in range(3):
        looked = browser.get("/link/secret-link?lang=en")
        assert looked.status_code == 200
        assert "You log in as <strong>new</strong>." in looked.text
    good = {"password": PASSWORD, "again": PASSWORD}
    assert browser.post("/link/secret-link", data=good | {"again": "other"}, headers=OURS).status_code == 400
    assert (
        browser.post("/link/secret-link", data={"password": "short", "again": "short"}, headers=OURS).status_code == 400
    )
    assert browser.post("/link/secret-link", data=good, headers=OURS).status_code == 303
    assert browser.post("/link/secret-link", data=good, headers=OURS).status_code == 410
    assert person(app, "new")
    for over in ("/link/secret-link", "/link/never-made"):
        said = browser.get(over)
        assert said.status_code == 410
        assert "This link is used, has expired, or was never made." in said.text
        assert 'type="password"' not in said.text
    with sqlite_gate.opened.store.write() as tx:
        people.new_link(tx, "new", "old-link", "test", sqlite_gate.clock.now())
    sqlite_gate.clock.forward(hours=24, seconds=1)
    assert browser.get("/link/old-link").status_code == 410


@pytest.mark.parametrize(
    "wish", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/ok\r\nX: y"]
)
def test_a_wish_for_another_host_is_not_followed(app: Flask, wish: str) -> None:
    form = {"login": "anna", "password": PASSWORD, "wish": wish}
    assert app.test_client().post("/login", data=form, headers=OURS).headers["Location"] == "/"


def test_every_page_is_hardened(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    rollout, machine = filled(sqlite_gate)
    for rule, _, _, methods in VIEWS:
        skipped = (
            "/healthz",
            "/readyz",
            "/metrics",
            "/live",
            "/live/stream",
            *(f"/oidc/{one}" for one in ("login", "back", "confirm")),
        )
        if methods != ["GET"] or "proposal" in rule or "backtests" in rule or rule in skipped or rule.endswith(".csv"):
            continue
        answer = anna.client.get(address(rule, rollout, machine) + "?machine=" + machine)
        assert answer.status_code == 200, rule
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<script(?! src=)|\son\w+=|style=|javascript:", answer.text), rule
        assert 'href="/brake"' in answer.text or answer.is_json, "the brake is on every page"


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def test_hostile_texts_are_escaped_everywhere(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    machine = PlayedMachine(sqlite_gate)
    machine.enrol(facts={"hostname": HOSTILE, "role": "till", "os": HOSTILE})
    with sqlite_gate.opened.store.write() as tx:
        tx.save_site(Site("nord", HOSTILE, "NW", "", True, frozenset({HOSTILE})))
    assert HOSTILE not in anna.client.get("/machines").text
    sqlite_gate.accept(machine.machine, "till", "first")
    sqlite_gate.bring("1")
    with sqlite_gate.opened.store.read() as tx:
        rollout = tx.rollouts()[0]
    machine.seq = 0
    machine.checkin(events=[{"kind": HOSTILE[:100], "at": "2026-03-02T09:00:00Z", "detail": HOSTILE}])
    anna.post("/halt", rollout=rollout.id, because=HOSTILE)
    for path in ("/", "/machines", f"/machines/{machine.machine}", "/sites", "/sites/nord", "/audit", "/rollouts",
                 f"/rollouts/{rollout.id}", f"/why?machine={machine.machine}"):  # fmt: skip
        page = anna.client.get(path)
        assert page.status_code == 200, path
        assert "<script>alert" not in page.text, path
        assert "<img" not in page.text, path
    assert "&lt;script&gt;" in anna.client.get("/audit").text


def test_one_person_halts_and_two_resume(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)

    def state() -> RolloutState:
        with sqlite_gate.opened.store.read() as tx:
            found = tx.rollout(rollout)
        assert found is not None
        return found.state

    assert anna.post("/halt", rollout=rollout, because="").status_code == 400, "a halt has a reason"
    assert anna.post("/halt", rollout="all", because="it smells").status_code == 303
    assert state() is RolloutState.HALTED
    assert anna.post(f"/rollouts/{rollout}/resume", because="better now").status_code == 303
    again = anna.post(f"/rollouts/{rollout}/resume", because="really")
    assert again.status_code == 409
    assert "another person must agree" in again.text
    assert state() is RolloutState.HALTED
    berta = person(app, "berta")
    assert "another person must agree" in berta.client.get("/").text
    assert berta.post(f"/rollouts/{rollout}/resume", because="agreed").status_code == 303
    assert state() is RolloutState.RUNNING


def test_a_brake_that_finds_nothing_moving_says_so_and_is_an_event(sqlite_gate: RealGate, app: Flask) -> None:
    tom = person(app, "tom")
    answer = tom.post("/halt?lang=en", rollout="all", because="it smells")
    assert answer.status_code == 200
    assert "Nothing was moving, so nothing is halted." in answer.text
    with sqlite_gate.opened.store.read() as tx:
        [event] = [one for one in tx.events(limit=50) if one.kind == "brake_pulled"]
    assert (event.actor, event.because) == ("tom", "it smells")
    filled(sqlite_gate)
    assert tom.post("/halt", rollout="all", because="it smells").status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        assert [one.kind for one in tx.events(limit=50)].count("brake_pulled") == 1


def test_the_brake_offers_to_halt_what_is_done(sqlite_gate: RealGate, app: Flask) -> None:
    rollout, _ = filled(sqlite_gate)
    with sqlite_gate.opened.store.write() as tx:
        found = tx.rollout(rollout)
        assert found is not None
        assert tx.save_rollout(replace(found, state=RolloutState.DONE, version=found.version + 1))
    assert f'<option value="{rollout}"' in person(app, "tom").client.get("/brake").text


def test_a_new_halt_voids_the_proposal_to_resume(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    berta, ada = person(app, "berta"), person(app, "ada")
    anna.post("/halt", rollout=rollout, because="one")
    anna.post(f"/rollouts/{rollout}/resume", because="better")
    berta.post(f"/rollouts/{rollout}/resume", because="agreed")
    anna.post("/halt", rollout=rollout, because="two")
    ada.post(f"/rollouts/{rollout}/resume", because="better")
    with sqlite_gate.opened.store.read() as tx:
        found = tx.rollout(rollout)
    assert found is not None
    assert found.state is RolloutState.HALTED


def test_into_the_first_rings_a_machine_comes_by_two_peoples_word(
    sqlite_gate: RealGate, app: Flask, anna: Person
) -> None:
    machine = PlayedMachine(sqlite_gate)
    machine.enrol()
    path = f"/machines/{machine.machine}/accept"
    form = {"site": "nord", "role": "till", "labels": "first"}
    assert anna.post(path, **form).status_code == 303
    assert anna.post(path, **form).status_code == 409
    berta = person(app, "berta")
    assert berta.post(path, **form | {"labels": "first other"}).status_code == 303, "another wish is another proposal"
    with sqlite_gate.opened.store.read() as tx:
        found = tx.machine(machine.machine)
        assert found is not None
        assert found.status.value == "pending"
    assert berta.post(path, **form).status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        found = tx.machine(machine.machine)
        assert found is not None
        assert (found.status.value, found.ring) == ("active", "first")


def test_a_site_is_added_with_its_hours_checked(sqlite_gate: RealGate, anna: Person) -> None:
    good = {"id": "west", "name": "Apotheke West", "land": "by", "hours": "Mo-Fr 08:00-18:00"}
    assert anna.post("/sites", **good).status_code == 303
    for wrong in ({"id": "../x"}, {"hours": "Mo-Fr 25:00-26:00 nonsense"}, {"land": "XX"}, {"id": ""}):
        assert anna.post("/sites", **{**good, **wrong}).status_code == 400, wrong
    with sqlite_gate.opened.store.read() as tx:
        site = tx.site("west")
    assert site is not None
    assert site.land == "BY"


def test_an_enrolment_code_is_shown_once_and_works(sqlite_gate: RealGate, anna: Person) -> None:
    answer = anna.post("/sites/nord/code", uses="1")
    found = re.search(r"gate-agent enrol http\S+ ([0-9a-f]{32}\.[0-9a-f]{64})", answer.text)
    assert found, answer.text
    assert PlayedMachine(sqlite_gate).enrol(code=found[1])[0] == 202
    assert found[1].partition(".")[0] not in anna.client.get("/audit").text


def test_a_broken_policy_head_is_a_banner_and_the_old_one_stays(sqlite_gate: RealGate, anna: Person) -> None:
    policies = sqlite_gate.opened.policies
    head = policies.head()
    policies.write("version: 1\nfleeet: x\n", head, "mallory", "oops", sqlite_gate.clock.now())
    sqlite_gate.worker.tick()
    page = anna.client.get("/").text
    assert "unknown key" in page
    with sqlite_gate.opened.store.read() as tx:
        active = tx.active_policy()
    assert active is not None
    assert active.commit == head


def test_pages_are_german_and_english(anna: Person) -> None:
    german = anna.client.get("/?lang=de")
    assert 'lang="de"' in german.text
    assert "Was auf Sie wartet" in german.text
    assert "What waits for you" in anna.client.get("/?lang=en").text
    assert 'lang="en"' in anna.client.get("/").text, "the choice is kept"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("%d.%m.%Y %H:%M", "25 Oct 2026 02:10 CEST"),
        ("%H:%M:%S", "02:10:00 CEST"),
        ("%d.%m.%Y", "25 Oct 2026"),
        ("%d.%m.%Y %H:%M %Z", "25 Oct 2026 02:10 CEST"),
    ],
)
def test_a_page_names_the_clock_on_the_night_of_a_clock_change(app: Flask, form: str, said: str) -> None:
    at = datetime(2026, 10, 25, 0, 10, tzinfo=UTC)
    with app.app_context():
        g.language, g.parts = "en", SimpleNamespace(policy=lambda: None)
        assert app.jinja_env.filters["local"](at, form) == said
        assert "CE" not in app.jinja_env.filters["local"](at + timedelta(days=2), form.removesuffix(" %Z"))


def test_the_other_language_is_a_link_to_the_same_page_with_all_that_was_asked(anna: Person) -> None:
    page = anna.client.get("/machines?site=nord&lang=en&label=a%26b&label=%22c&after=").text
    found = re.search(r'<a href="([^"]+)" lang="de"', page)
    assert found is not None
    assert html.unescape(found[1]) == "?site=nord&label=a%26b&label=%22c&after=&lang=de"
    assert 'href="?lang=de"' in anna.client.get("/").text


def test_page_and_why_say_the_same_sentences_in_the_visitors_language(sqlite_gate: RealGate, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    other = PlayedMachine(sqlite_gate, "other")
    other.enrol()
    sqlite_gate.accept(other.machine, "till")
    for language, said in (
        ("en", "Ring rest: needs 1 more till healthy: 0 of 1 so far."),
        ("de", "Ring rest: noch nötig: 1 Kasse, gesund (bisher 0 von 1)."),
    ):
        page = html.unescape(anna.client.get(f"/rollouts/{rollout}?lang={language}").text)
        why = html.unescape(anna.client.get(f"/why?machine={other.machine}&lang={language}").text)
        assert said in page
        assert said in why
    assert "If ring rest opened now, at most 1 till could be lost." in html.unescape(
        anna.client.get(f"/rollouts/{rollout}?lang=en").text
    )
    with sqlite_gate.opened.store.read() as tx:
        before = tx.strata(rollout)
    anna.client.get(f"/rollouts/{rollout}")
    with sqlite_gate.opened.store.read() as tx:
        assert tx.strata(rollout) == before, "looking stores nothing"


def test_numbers_of_a_stored_decision_say_of_when_they_are_and_the_rollouts_page_says_those_of_now(
    sqlite_gate: RealGate, anna: Person
) -> None:
    rollout, _ = filled(sqlite_gate)
    other = PlayedMachine(sqlite_gate, "other")
    other.enrol()
    sqlite_gate.accept(other.machine, "till")
    sqlite_gate.worker.tick()
    with sqlite_gate.opened.store.write() as tx:
        last = tx.last_decision(rollout, "rest")
        assert last is not None
        (reason,) = last.reasons
        old = {**reason, "numbers": {"more": 7, "wanted": 9, "healthy": 2}}
        tx.add_decision(replace(last, at=datetime(2026, 3, 2, 9, 5, tzinfo=UTC), reasons=[old]))
    for language, said, stale in (
        ("en", "needs 7 more tills healthy: 2 of 9 so far", "As of 02 Mar 10:05"),
        ("de", "noch nötig: 7 Kassen, gesund (bisher 2 von 9)", "Stand 02.03. 10:05"),
    ):
        for path in ("/", "/rollouts"):
            page = html.unescape(anna.client.get(f"{path}?lang={language}").text)
            assert f'<p class="stands">{said} <span class="age">{stale}</span></p>' in page, path
    page = html.unescape(anna.client.get(f"/rollouts/{rollout}?lang=en").text)
    assert '<p class="stands">Why it stands: needs 1 more till healthy: 0 of 1 so far</p>' in page
    assert "7 more tills" not in page.partition("<h2")[2].partition("Decisions")[0]
    for path in (f"/machines/{other.machine}", "/sites/nord"):
        page = anna.client.get(f"{path}?lang=en").text
        assert "Their numbers are those of that time" in page.partition("7 more tills")[2], path
    with sqlite_gate.opened.store.write() as tx:
        tx.add_decision(replace(last, reasons=[{**reason, "code": "ring_before", "make": "", "numbers": {}}]))
    page = html.unescape(anna.client.get("/?lang=en").text)
    assert '<p class="stands">the ring before has not opened yet</p>' in page, "it holds as long as it stands"


def test_a_decommissioned_machine_stays_on_the_rollouts_page_with_who_and_why(
    sqlite_gate: RealGate, anna: Person
) -> None:
    rollout, machine = filled(sqlite_gate)
    assert anna.post(f"/machines/{machine}/decommission", because="").status_code == 400, "it takes a reason"
    assert anna.post(f"/machines/{machine}/decommission", because="sold to a museum").status_code == 303
    page = anna.client.get(f"/rollouts/{rollout}?lang=de").text
    row = page[page.index('id="attributions"') :]
    for said in ("played", "ausgemustert", "anna", "sold to a museum"):
        assert said in row[: row.index("</table>")]
    assert "revoked" in anna.client.get(f"/machines/{machine}").text


def test_pages_say_duty_closing_days_darkness_holds_gaps_and_the_background(
    sqlite_gate: RealGate, anna: Person
) -> None:
    rollout, machine = filled(sqlite_gate)
    second = PlayedMachine(sqlite_gate, "second")
    second.enrol()
    sqlite_gate.accept(second.machine, "till")
    now, hour = sqlite_gate.clock.now(), timedelta(hours=1)
    closed = SiteTime(now + 30 * hour, now + 54 * hour, TimeKind.CLOSED, "stocktaking", "ada")
    with sqlite_gate.opened.store.write() as tx:
        site = tx.site("nord")
        assert site is not None
        assert tx.save_times("nord", [SiteTime(now - hour, now + hour, TimeKind.DUTY), closed], site.times)
        holds.place(tx, sqlite_gate.opened.gate, "role=till", "", "k.lehmann", now + hour, "it trips", "anna", now)
        tx.add_gap(now - 2 * hour, now - hour)
    assert "no machine is heard since" not in anna.client.get("/sites/nord?lang=en").text
    for one in (machine, second.machine):
        with sqlite_gate.opened.store.write() as tx:
            tx.seen(one, now - timedelta(minutes=10))
    page = anna.client.get("/sites/nord?lang=en").text
    for said in ("night duty", "stocktaking", "ada", "k.lehmann", "it trips", "no machine is heard since"):
        assert said in page, said
    overview = anna.client.get("/?lang=de").text
    for said in ("k.lehmann", "role=till", "Wann gate selbst nicht zuhörte"):
        assert said in overview, said
    assert "0,75 %, angenommen, bis 200 Starts bekannt sind" in anna.client.get(f"/rollouts/{rollout}").text
    sqlite_gate.clock.forward(minutes=61)
    anna.log_in("anna")
    assert "k.lehmann" not in anna.client.get("/?lang=en").text, "its end has come"


def test_every_word_of_the_pages_has_its_german() -> None:
    wanted: set[str] = set()
    for template in (REPOSITORY / "gate" / "web" / "templates").glob("*.html"):
        text = template.read_text(encoding="utf-8")
        wanted |= set(re.findall(r"""\bt\(["']([^"']+(?:'[a-z][^"']*)?)["']\)""", text))
        for columns in re.findall(r"table\(t\([^)]*\), \(([^)]*)\)\)", text):
            wanted |= {word.lstrip("#") for word in re.findall(r'"([^"]+)"', columns)}
    sentences = set(re.findall(r'sentence = "([^"]+)"', (REPOSITORY / "gate" / "web" / "overview.py").read_text()))
    assert len(sentences) > 5
    wanted |= sentences
    missing = {word for word in wanted if word not in GERMAN}
    assert len(wanted) > 80
    assert not missing


def test_errors_are_pages_with_a_sentence(app: Flask, anna: Person, sqlite_gate: RealGate) -> None:
    assert anna.client.get("/nothing").status_code == 404
    assert "Page not found" in anna.client.get("/nothing", headers={"Accept-Language": "en"}).text
    missing = anna.client.get("/rollouts/r-none")
    assert (missing.status_code, "there is no rollout r-none" in missing.text) == (404, True)
    assert anna.client.post("/", headers=OURS, data={"csrf": anna.csrf}).status_code == 405
    assert app.test_client().get("/healthz").text == "ok\n"
    ready = app.test_client().get("/readyz")
    assert (ready.status_code, "BAD  worker: no worker has ever ticked" in ready.text) == (503, True)
    sqlite_gate.worker.tick()
    assert app.test_client().get("/readyz").text.endswith("ready\n")
    for page in (anna.client.get("/nothing"), missing):
        assert "Traceback" not in page.text


def test_lists_are_paged_by_key(sqlite_gate: RealGate, anna: Person) -> None:
    with sqlite_gate.opened.store.write() as tx:
        for number in range(120):
            tx.save_site(Site(f"a-{number:03}", f"Apotheke {number}", "NW"))
    page, seen = anna.client.get("/sites").text, 0
    while found := re.search(r'rel="next" href="([^"]+)"', page):
        seen += 1
        page = anna.client.get(found[1].replace("&amp;", "&")).text
    assert seen == 2
    assert len(page) < 150_000


def test_a_rollout_leads_to_the_hold_of_its_source(sqlite_gate: RealGate, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    where = "/holds?source=shop-content#hold"
    assert f'href="{where}"' in anna.client.get(f"/rollouts/{rollout}").text
    assert "<option selected>shop-content</option>" in anna.client.get(where.partition("#")[0]).text


def test_without_a_fast_lane_in_the_policy_its_page_offers_none(sqlite_gate: RealGate, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    assert "Fast lane" not in anna.client.get(f"/rollouts/{rollout}").text
    assert anna.post(f"/rollouts/{rollout}/expedite", because="hurry").status_code == 409


def test_as_many_people_as_the_policy_says_open_the_fast_lane(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    policies = sqlite_gate.opened.policies
    text = policies.read(policies.head())
    sqlite_gate.policy_says(text + "expedite: {people: 3, may_skip: [soak], expires: 2h}\n")
    rollout, _ = filled(sqlite_gate)
    page = f"/rollouts/{rollout}"
    shown = anna.client.get(page).text
    assert "A fast lane needs 3 people; it may skip the soak and holds for 2 hours." in shown
    assert anna.post(f"{page}/expedite", because="").status_code == 400
    assert anna.post(f"{page}/expedite", because="a hole in use").status_code == 303
    shown = anna.client.get(page).text
    assert "a hole in use" in shown
    assert "People who must still agree within 24 hours: 2." in shown
    assert "Agree to the fast lane" not in shown
    assert anna.post(f"{page}/expedite", because="again").status_code == 409
    assert "a fast lane waits for another person" in anna.client.get("/").text
    berta = person(app, "berta")
    assert "Der Überholspur zustimmen" in berta.client.get(f"{page}?lang=de").text
    assert berta.post(f"{page}/expedite", because="agreed").status_code == 303
    assert person(app, "ada").post(f"{page}/expedite", because="agreed").status_code == 303
    shown = anna.client.get(f"{page}?lang=en").text
    assert "the fast lane skips soak" in shown
    assert "Agree to the fast lane" not in shown
    assert "a fast lane waits for another person" not in anna.client.get("/").text


def test_two_people_open_a_ring_before_enough_has_been_shown(sqlite_gate: RealGate, app: Flask, anna: Person) -> None:
    another = PlayedMachine(sqlite_gate, "another")
    another.enrol()
    sqlite_gate.accept(another.machine, "till")
    rollout, _ = filled(sqlite_gate)
    with sqlite_gate.opened.store.read() as tx:
        found = tx.rollout(rollout)
        assert found is not None
        ring = next(row.ring for row in tx.rings(rollout) if row.position == found.reached + 1)
    assert "Propose to set its gate aside" in anna.client.get(f"/rollouts/{rollout}").text
    assert anna.post(f"/rollouts/{rollout}/waive", ring=ring, because="").status_code == 400
    assert anna.post(f"/rollouts/{rollout}/waive", ring=ring, because="a hole in use").status_code == 303
    assert anna.post(f"/rollouts/{rollout}/waive", ring=ring, because="now").status_code == 409
    berta = person(app, "berta")
    assert "Agree to set its gate aside" in berta.client.get(f"/rollouts/{rollout}").text
    assert berta.post(f"/rollouts/{rollout}/waive", ring=ring, because="agreed").status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        assert next(row.waived_at for row in tx.rings(rollout) if row.ring == ring) is not None
    sqlite_gate.pass_minutes(1)
    with sqlite_gate.opened.store.read() as tx:
        assert next(row.opened_at for row in tx.rings(rollout) if row.ring == ring) is not None
    compared = anna.client.get("/shadow?lang=de").text
    assert "Menschen früher" in compared
    assert "1 Ring: Menschen öffneten, bevor gate es getan hätte, und es läuft noch." in compared


GONE = "repository cannot be read"


def restarted(gate: RealGate) -> tuple[Opened, Flask]:
    """The pages of a new process."""
    again = Opened(gate.opened.settings, gate.clock)
    app = pages(again)
    assert isinstance(app, Flask)
    return again, app


@pytest.mark.slow
def test_a_gate_that_starts_with_the_repository_gone_shows_every_page_and_halts(sqlite_gate: RealGate) -> None:
    rollout, machine = filled(sqlite_gate)
    sqlite_gate.worker.tick()
    first = app_of(sqlite_gate)
    policies = sqlite_gate.opened.policies
    head, text = policies.head(), policies.read(policies.head())
    looser = text.replace("first_batch: 3", "first_batch: 4")
    sent = person(first, "anna").post("/policy/save", base=head, text=looser, because="more")
    proposal = sent.headers["Location"].rsplit("/", 1)[1]
    shutil.rmtree(sqlite_gate.opened.settings.policy)
    again, app = restarted(sqlite_gate)
    again.worker().tick()
    anna, tom = person(app, "anna"), person(app, "tom")
    for rule in app.url_map.iter_rules():
        if "GET" not in rule.methods or rule.endpoint in ("static", "log_in", "link", "readyz", "system"):
            continue
        path = (
            address(str(rule), rollout, machine)
            .replace("p-none", proposal)
            .replace("versions/head", f"versions/{head}")
        )
        page = anna.client.get(path)
        assert page.status_code < 400 or page.status_code == 404, (path, page.status_code)
        assert str(sqlite_gate.folder) not in page.text, "no place on this server"
        if page.mimetype == "text/html" and page.status_code == 200 and "<nav" in page.text:
            assert GONE in page.text, path
    for path in ("/policy", f"/policy?version={head}", f"/policy/versions/{head}"):
        assert "first_batch: 3" in anna.client.get(path).text, path
    assert "git clone --bare" in anna.client.get("/policy?tab=edit").text
    assert head[:12] in anna.client.get("/policy?tab=history").text
    form = anna.client.get("/rings/edit?item=rings[0]").text
    assert ("git clone --bare" in form, 'name="why"' in form) == (True, True)
    for door in ("preview", "save"):
        lost = anna.post(f"/policy/{door}", base=head, text=looser, because="more")
        assert (lost.status_code, "first_batch: 4" in lost.text) == (503, True), door
    answer = tom.post("/halt", rollout=rollout, because="the shop stands still")
    assert answer.status_code == 303
    assert tom.client.get(answer.headers["Location"]).status_code == 200
    with again.store.read() as tx:
        found = tx.rollout(rollout)
    assert found is not None
    assert (found.state, found.halted_by) == (RolloutState.HALTED, "tom")
    assert anna.post(f"/policy/proposals/{proposal}/withdraw", because="later").status_code == 303
    again.close()


def test_without_repository_and_kept_text_the_brake_works_and_nothing_is_placed(sqlite_gate: RealGate) -> None:
    """Both are lost: a database of an older release that was never started with its repository."""
    rollout, _ = filled(sqlite_gate)
    app_of(sqlite_gate)
    shutil.rmtree(sqlite_gate.opened.settings.policy)
    with sqlite_gate.opened.store.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM policy_texts")
    again, app = restarted(sqlite_gate)
    tom, anna = person(app, "tom"), person(app, "anna")
    for path in ("/", "/brake", f"/brake?rollout={rollout}", "/machines", "/rollouts"):
        page = tom.client.get(path)
        assert (page.status_code, "The policy cannot be read" in page.text) == (200, True), path
    assert tom.post("/halt", rollout=rollout, because="the shop stands still").status_code == 303
    refused = anna.client.get(f"/rollouts/{rollout}")
    assert (refused.status_code, "git clone --bare" in refused.text) == (503, True)
    with again.store.read() as tx:
        site = tx.site("nord")
    assert site is not None
    refused = anna.post("/sites", id="nord", name="Nord", labels="first", stands_on=site_changes.mark(site))
    assert "policy cannot be read now" in refused.text
    again.close()


TURNED = "Apotheke \u202eevil\u2066 \x9b31m"


def test_what_turns_the_direction_of_text_is_shown_as_such_on_every_page(sqlite_gate: RealGate, app: Flask) -> None:
    rollout, machine = filled(sqlite_gate)
    with sqlite_gate.opened.store.write() as tx:
        tx.save_site(Site("nord", TURNED, "NW", "Mo-Su 00:00-24:00", True, frozenset({"\u202elabel"})))
        people.halt(tx, rollout, "anna", "stop \u202ethe shop\u2067", sqlite_gate.clock.now())
    anna = person(app, "anna")
    for rule in app.url_map.iter_rules():
        if "GET" not in rule.methods or rule.endpoint in ("static", "export_csv"):
            continue
        page = anna.client.get(address(str(rule), rollout, machine))
        if page.mimetype == "text/html":
            assert not re.search("[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page.text), rule
    assert "Apotheke \ufffdevil\ufffd \ufffd31m" in anna.client.get("/sites/nord").text


def test_a_reason_with_control_characters_is_refused_and_stands_in_one_line_of_the_commit(
    sqlite_gate: RealGate, anna: Person
) -> None:
    policies = sqlite_gate.opened.policies
    text = policies.read(policies.head()).replace("first_batch: 3", "first_batch: 2")
    form = {"base": policies.head(), "text": text}
    page = anna.post("/policy/save", **form, because="bell \x07")
    assert page.status_code == 400
    assert "a reason has no control characters" in page.text
    assert anna.post("/policy/save", **form, because="smaller\r\n\r\nSigned-off-by: berta").status_code == 303
    assert policies.history()[0].message == "smaller Signed-off-by: berta"


def test_a_policy_with_such_characters_comes_back_from_a_form_as_it_is(sqlite_gate: RealGate, anna: Person) -> None:
    policies = sqlite_gate.opened.policies
    text = policies.read(policies.head()).replace("first_batch: 3", "first_batch: 2 # \u202eturned")
    page = anna.post("/policy/preview", base=policies.head(), text=text)
    assert "first_batch: 2 # \u202eturned" in page.text, "what is sent on is the very text"
    assert "first_batch: 2 # \ufffdturned" in page.text, "what is shown is not turned"
