"""A login at a real OIDC provider: who it is, what is refused, and how it confirms a person anew."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient

from gate.bootstrap import pages
from gate.config import OidcSettings
from gate.flows import identities, people
from tests.real_gate import RealGate
from tests.web.provider import CLIENT, SECRET, Provider, running
from tests.web.test_pages import OURS

ROLES = {"gate-admins": "admin", "gate-readers": "reader"}
BACK = "http://localhost/oidc/back"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with running(BACK) as found:
        yield found


def app_of(gate: RealGate, provider: Provider, role_claim: str = "") -> Flask:
    roles = ROLES if role_claim else {}
    wanted = OidcSettings(provider.issuer, CLIENT, SECRET, "the chain's login", role_claim, roles)
    gate.opened.settings = replace(gate.opened.settings, oidc=wanted)
    app = pages(gate.opened)
    assert isinstance(app, Flask)
    return app


@pytest.fixture
def app(sqlite_gate: RealGate, provider: Provider) -> Flask:
    """A gate where subject 4711 is anna, linked by an admin."""
    app = app_of(sqlite_gate, provider)
    with sqlite_gate.opened.store.write() as tx:
        identities.link(tx, "anna", provider.issuer, "4711", "test", sqlite_gate.clock.now())
    return app


def there(client: FlaskClient, path: str = "/oidc/login") -> str:
    """To the provider and back to the address that it sends the browser to."""
    answer = client.get(path)
    assert answer.status_code == 303, answer.text
    said = requests.get(answer.headers["Location"], allow_redirects=False, timeout=10)
    assert said.status_code == 302, said.text
    place = said.headers["Location"]
    assert place.startswith(BACK)
    return place.removeprefix("http://localhost")


def status(client: FlaskClient, path: str = "/oidc/login") -> int:
    answer = client.get(there(client, path))
    assert (client.get("/").status_code == 200) == (answer.status_code == 303)
    return answer.status_code


def who(gate: RealGate, login: str) -> people.User | None:
    with gate.opened.store.read() as tx:
        return tx.user(login)


def test_an_identity_that_an_admin_has_linked_logs_in(app: Flask) -> None:
    client = app.test_client()
    assert "the chain&#39;s login" in client.get("/login").text
    assert status(client) == 303
    assert ">anna<" in client.get("/").text


def test_the_request_has_pkce_a_nonce_and_a_state_that_are_new_each_time(app: Flask, provider: Provider) -> None:
    asked = []
    for _ in range(2):
        place = app.test_client().get("/oidc/login").headers["Location"]
        assert place.startswith(f"{provider.issuer}/authorize?")
        asked.append({name: one[0] for name, one in parse_qs(urlsplit(place).query).items()})
    for one in asked:
        assert (one["response_type"], one["code_challenge_method"], one["redirect_uri"]) == ("code", "S256", BACK)
    for name in ("state", "nonce", "code_challenge"):
        assert asked[0][name] != asked[1][name]
        assert len(asked[0][name]) >= 43


def test_an_e_mail_address_and_a_name_are_nobody(sqlite_gate: RealGate, app: Flask, provider: Provider) -> None:
    provider.person = {"sub": "other", "email": "anna", "name": "anna", "preferred_username": "anna"}
    client = app.test_client()
    answer = client.get(there(client))
    assert answer.status_code == 401
    assert "nobody here is other" in answer.text
    with sqlite_gate.opened.store.read() as tx:
        assert tx.identity(provider.issuer, "other") is None


def test_the_same_subject_of_another_issuer_is_somebody_else(sqlite_gate: RealGate, app: Flask) -> None:
    with running(BACK) as other:
        assert status(app_of(sqlite_gate, other).test_client()) == 401


def hour(provider: Provider, **change: int) -> None:
    import time

    provider.changed(**{name: int(time.time()) + seconds for name, seconds in change.items()})


FORGED: list[tuple[str, Callable[[Provider], None]]] = [
    ("alg none", lambda one: setattr(one, "forge", one.unsigned)),
    ("signed by the shared secret", lambda one: setattr(one, "forge", one.by_secret)),
    ("signed by another key", lambda one: setattr(one, "forge", one.by_another)),
    ("for another client", lambda one: one.changed(aud=["another"])),
    ("for two, and no azp", lambda one: one.changed(aud=[CLIENT, "another"])),
    ("for two, azp another", lambda one: one.changed(aud=[CLIENT, "another"], azp="another")),
    ("no aud", lambda one: one.changed(aud=None)),
    ("no nonce", lambda one: one.changed(nonce=None)),
    ("no nonce, and it says that it has none", lambda one: one.changed(nonce=None, nonce_supported=False)),
    ("another nonce", lambda one: one.changed(nonce="0" * 64)),
    ("another issuer", lambda one: one.changed(iss="https://evil.example")),
    ("no issuer", lambda one: one.changed(iss=None)),
    ("expired", lambda one: hour(one, exp=-61)),
    ("no exp", lambda one: one.changed(exp=None)),
    ("issued in the future", lambda one: hour(one, iat=3600)),
    ("no subject", lambda one: one.changed(sub=None)),
    ("a subject that is a number", lambda one: one.changed(sub=4711)),
    ("no token", lambda one: setattr(one, "forge", lambda _: "")),
    ("the answer names another issuer", lambda one: one.answered.update(iss="https://evil.example")),
    ("the answer names no issuer though it should", lambda one: one.answered.update(iss="")),
]


@pytest.mark.parametrize(("what", "forge"), FORGED, ids=[row[0] for row in FORGED])
def test_what_is_not_good_is_refused(
    app: Flask, provider: Provider, what: str, forge: Callable[[Provider], None]
) -> None:
    forge(provider)
    assert status(app.test_client()) == 401


GOOD: list[tuple[str, Callable[[Provider], None]]] = [
    ("expired within the leeway", lambda one: hour(one, exp=-30)),
    ("for two, azp ours", lambda one: one.changed(aud=[CLIENT, "another"], azp=CLIENT)),
]


@pytest.mark.parametrize(("what", "forge"), GOOD, ids=[row[0] for row in GOOD])
def test_what_is_just_good_is_taken(
    app: Flask, provider: Provider, what: str, forge: Callable[[Provider], None]
) -> None:
    forge(provider)
    assert status(app.test_client()) == 303


def test_a_discovery_document_of_another_issuer_is_refused(app: Flask, provider: Provider) -> None:
    provider.said_issuer = "https://evil.example"
    assert app.test_client().get("/oidc/login").status_code == 503


def test_keys_that_were_changed_are_fetched_anew(app: Flask, provider: Provider) -> None:
    assert status(app.test_client()) == 303
    provider.key = type(provider.key).generate_key("P-256", parameters={"kid": "one", "alg": "ES256"})
    assert status(app.test_client()) == 303


def test_an_answer_is_nobodys_but_the_browsers_that_began(sqlite_gate: RealGate, app: Flask) -> None:
    mine, other = app.test_client(), app.test_client()
    place = there(mine)
    assert other.get(place).status_code == 401, "no cookie"
    other.get("/oidc/login")
    assert other.get(place).status_code == 401, "the state of another"
    assert mine.get(re.sub("state=[^&]+", "state=x", place)).status_code == 401
    assert mine.get(re.sub("state=[^&]+&?", "", place)).status_code == 401
    assert mine.get(place).status_code == 303
    assert mine.get(place).status_code == 401, "once"


def test_a_code_is_worth_nothing_without_the_verifier_of_this_login(app: Flask, provider: Provider) -> None:
    one, two = app.test_client(), app.test_client()
    stolen = parse_qs(urlsplit(there(one)).query)["code"][0]
    asked = parse_qs(urlsplit(two.get("/oidc/login").headers["Location"]).query)
    provider.changed(nonce=asked["nonce"][0])  # so that the verifier alone stands in the way
    back = {"code": stolen, "state": asked["state"][0], "iss": provider.issuer}
    assert two.get("/oidc/back", query_string=back).status_code == 401


def test_a_login_that_was_begun_too_long_ago_ends(sqlite_gate: RealGate, app: Flask) -> None:
    client = app.test_client()
    place = there(client)
    sqlite_gate.clock.forward(minutes=10, seconds=1)
    assert client.get(place).status_code == 401


@pytest.mark.parametrize("wish", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
def test_a_wish_for_another_host_is_not_followed(app: Flask, wish: str) -> None:
    client = app.test_client()
    answer = client.get(there(client, "/oidc/login?wish=" + requests.utils.quote(wish, safe="")))
    assert answer.headers["Location"] == "/"


def test_a_wish_for_a_page_of_ours_is_followed(app: Flask) -> None:
    client = app.test_client()
    assert client.get(there(client, "/oidc/login?wish=%2Faudit")).headers["Location"] == "/audit"


def test_a_disabled_person_stays_out(sqlite_gate: RealGate, app: Flask) -> None:
    with sqlite_gate.opened.store.write() as tx:
        people.disable_user(tx, "anna", "test", sqlite_gate.clock.now())
    assert status(app.test_client()) == 401


def test_where_a_claim_is_mapped_the_provider_rules_the_roles(sqlite_gate: RealGate, provider: Provider) -> None:
    app = app_of(sqlite_gate, provider, "groups")
    provider.person = {"sub": "77", "name": "Nora", "groups": ["x", "gate-readers", "gate-admins"]}
    assert status(app.test_client()) == 303
    with sqlite_gate.opened.store.read() as tx:
        login = tx.identity(provider.issuer, "77")
    assert login is not None
    nora = who(sqlite_gate, login)
    assert nora is not None
    assert (nora.name, nora.role, nora.password_hash) == ("Nora", "admin", "")
    provider.person["groups"] = "gate-readers"
    assert status(app.test_client()) == 303
    nora = who(sqlite_gate, login)
    assert nora is not None
    assert nora.role == "reader"
    for groups in ([], ["x"], None, [["gate-admins"]], {"gate-admins": 1}):
        provider.person["groups"] = groups
        assert app.test_client().get(there(client := app.test_client())).status_code == 401
        assert client.get(there(client)).status_code == 403, groups


def test_who_logs_in_there_confirms_there(sqlite_gate: RealGate, app: Flask, provider: Provider) -> None:
    with sqlite_gate.opened.store.write() as tx:
        user = tx.user("anna")
        assert user is not None
        tx.save_user(replace(user, password_hash=""))
    provider.auth_time = lambda: int((sqlite_gate.clock.now() - timedelta(minutes=11)).timestamp())
    client = app.test_client()
    assert status(client) == 303
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', client.get("/").text)
    assert found
    form = {"csrf": found[1], "id": "west", "name": "West"}
    asked = client.post("/sites", data=form, headers=OURS)
    assert asked.status_code == 401, "the provider has asked eleven minutes ago"
    assert "/oidc/confirm" in asked.text
    place = client.get("/oidc/confirm").headers["Location"]
    assert {"prompt=login", "max_age=0"} <= set(urlsplit(place).query.split("&"))
    assert client.get(there(client, "/oidc/confirm")).status_code == 401, "it has not asked anew"
    assert client.post("/sites", data=form, headers=OURS).status_code == 401
    provider.auth_time = lambda: int(sqlite_gate.clock.now().timestamp())
    good, provider.person = provider.person, {"sub": "other"}
    assert client.get(there(client, "/oidc/confirm")).status_code == 401, "somebody else"
    provider.person = good
    assert client.get(there(client, "/oidc/confirm")).status_code == 200
    assert client.post("/sites", data=form, headers=OURS).status_code == 303


def test_where_no_provider_is_set_there_is_no_such_page(sqlite_gate: RealGate) -> None:
    app = pages(sqlite_gate.opened)
    assert isinstance(app, Flask)
    assert app.test_client().get("/oidc/login").status_code == 404
    assert "/oidc/login" not in app.test_client().get("/login").text
