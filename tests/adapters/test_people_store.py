"""People in the store, on both databases: confirmations, tokens, identities, and which index a search walks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from gate.adapters.store.sql import SqlStore
from gate.ports import AccessToken, Proposal, User, WebSession
from tests.conftest import NOW

HOUR = timedelta(hours=1)


@pytest.fixture
def people(store: SqlStore) -> SqlStore:
    with store.write() as tx:
        for login in ("anna", "berta"):
            tx.save_user(User(login, login, "admin", "", False, NOW))
    return store


def test_a_confirmation_belongs_to_one_session(people: SqlStore) -> None:
    with people.write() as tx:
        for name in ("one", "two"):
            tx.add_web_session(WebSession(name, "anna", NOW, NOW))
        tx.step_up("one", NOW + HOUR)
    with people.read() as tx:
        assert tx.web_session("one") == WebSession("one", "anna", NOW, NOW + HOUR, NOW + HOUR)
        assert tx.web_session("two") == WebSession("two", "anna", NOW, NOW)


def test_a_token_is_found_by_its_hash_used_and_revoked_once(people: SqlStore) -> None:
    token = AccessToken("t-1", "a" * 64, "anna", "read", NOW, "shell:root", NOW + HOUR)
    with people.write() as tx:
        tx.add_token(token)
        tx.add_token(replace(token, id="t-2", sha256="b" * 64, created_at=NOW + HOUR))
    with people.write() as tx:
        tx.use_token("t-1", NOW + HOUR)
        assert tx.revoke_token("t-1", NOW + 2 * HOUR)
        assert not tx.revoke_token("t-1", NOW + 3 * HOUR)
        assert not tx.revoke_token("none", NOW)
    with people.read() as tx:
        assert tx.token("a" * 64) == replace(token, used_at=NOW + HOUR, revoked_at=NOW + 2 * HOUR)
        assert tx.token("c" * 64) is None
        assert [one.id for one in tx.tokens()] == ["t-2", "t-1"]


def test_a_hash_is_one_tokens(people: SqlStore) -> None:
    token = AccessToken("t-1", "a" * 64, "anna", "read", NOW, "shell:root", NOW + HOUR)
    with people.write() as tx:
        tx.add_token(token)
    with pytest.raises(IntegrityError), people.write() as tx:
        tx.add_token(replace(token, id="t-2"))


def test_an_identity_is_issuer_and_subject_and_one_persons(people: SqlStore) -> None:
    with people.write() as tx:
        tx.add_identity("https://a", "7", "anna", NOW)
        tx.add_identity("https://b", "7", "berta", NOW)
    with pytest.raises(IntegrityError), people.write() as tx:
        tx.add_identity("https://a", "7", "berta", NOW)
    with people.read() as tx:
        assert tx.identity("https://a", "7") == "anna"
        assert tx.identity("https://b", "7") == "berta"
        assert tx.identity("https://a", "8") is None
        assert tx.identities("anna") == [("https://a", "7")]


def test_a_search_walks_the_index_with_the_fewest_entries(people: SqlStore) -> None:
    with people.write() as tx:
        for number in range(30):
            tx.append("report_step", f"machine:{number}", f"r{number % 3}", NOW)
    with people.read() as tx:
        assert tx._rarest({"kind": "report_step", "subject": "r1"}) == "subject"
        assert tx._rarest({"subject": "r1", "actor": "machine:4"}) == "actor"
        assert tx._rarest({"subject": "r1", "kind": "nothing"}) == "kind"
    with people.connection() as connection:
        if connection.dialect.name != "sqlite":
            return
        asked = "SELECT * FROM events WHERE subject = 'x' AND (kind || '') = 'y' ORDER BY \"index\" DESC LIMIT 51"
        said = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {asked}")))
        assert "USING INDEX events_subject" in said


def test_an_open_proposal_that_has_expired_is_listed_no_more_and_is_closed_once(people: SqlStore) -> None:
    with people.write() as tx:
        for name, state, hours in (("old", "open", 1), ("new", "open", 2), ("done", "enacted", 1)):
            ends = NOW + hours * HOUR
            tx.add_proposal(Proposal(name, "waive", "r-1", "why", "anna", NOW, ends, "a" * 64, state))
    with people.write() as tx:
        for subject in ("", "r-1"):
            listed = [len(tx.proposals("open", subject, NOW + hours * HOUR)) for hours in (0, 1, 2)]
            assert listed == [2, 1, 0]
        assert (tx.drop_expired(NOW + HOUR), tx.drop_expired(NOW + HOUR)) == (1, 0)
        assert {state: [one.id for one in tx.proposals(state)] for state in ("open", "expired", "enacted")} == {
            "open": ["new"],
            "expired": ["old"],
            "enacted": ["done"],
        }
