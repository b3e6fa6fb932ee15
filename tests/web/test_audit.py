"""The audit log on a page: filters in the address, pages by key, export, and the proof of an entry."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from gate.adapters.store.sql import SqlStore
from gate.bootstrap import pages
from gate.core import merkle
from gate.ports import Asked
from tests.conftest import NOW
from tests.real_gate import RealGate
from tests.web.test_pages import HASH, PASSWORD, Person
from tests.web.test_pages import app as app_on

app = app_on
assert PASSWORD
assert HASH
DAY = timedelta(days=1)


def fill(store: SqlStore, count: int = 12) -> None:
    """A day an entry; two people in turn, three kinds in turn, two subjects in turn."""
    with store.write() as tx:
        for number in range(count):
            who, kind = ("anna", "berta")[number % 2], ("ring_approved", "site_added", "logged_in")[number % 3]
            tx.append(kind, who, f"s{number // 2 % 2}", NOW + number * DAY, {"number": number}, f"because {number}")


FOUND = [
    (Asked(), list(range(11, -1, -1))),
    (Asked(actor="anna"), [10, 8, 6, 4, 2, 0]),
    (Asked(kind="site_added"), [10, 7, 4, 1]),
    (Asked(subject="s1"), [11, 10, 7, 6, 3, 2]),
    (Asked(actor="berta", kind="site_added"), [7, 1]),
    (Asked(since=NOW + 9 * DAY), [11, 10, 9]),
    (Asked(until=NOW + 2 * DAY), [1, 0]),
    (Asked(actor="anna", since=NOW + 3 * DAY, until=NOW + 8 * DAY), [6, 4]),
    (Asked(since=NOW + 100 * DAY), []),
    (Asked(until=NOW - DAY), []),
    (Asked(actor="nobody"), []),
    (Asked(oldest=True), list(range(12))),
    (Asked(actor="anna", oldest=True), [0, 2, 4, 6, 8, 10]),
    (Asked(kind="site_added", since=NOW + 3 * DAY, until=NOW + 8 * DAY, oldest=True), [4, 7]),
    (Asked(since=NOW + 9 * DAY, oldest=True), [9, 10, 11]),
    (Asked(until=NOW + 2 * DAY, oldest=True), [0, 1]),
]


@pytest.mark.parametrize(("asked", "found"), FOUND, ids=[str(number) for number in range(len(FOUND))])
def test_what_was_asked_for_is_found_from_the_end_that_was_asked_for_and_page_by_page(
    store: SqlStore, asked: Asked, found: list[int]
) -> None:
    fill(store)
    with store.read() as tx:
        assert [one.detail["number"] for one in tx.asked_events(asked)] == found
        read: list[int] = []
        last = None
        while page := tx.asked_events(asked, last, 2):
            read += [one.detail["number"] for one in page]
            last = page[-1].index
    assert read == found


def test_times_are_found_where_old_entries_have_left_the_database(store: SqlStore) -> None:
    fill(store)
    with store.write() as tx:
        tx.drop_events(0, 5, ())
    with store.read() as tx:
        assert [one.index for one in tx.asked_events(Asked(since=NOW + 3 * DAY, until=NOW + 8 * DAY))] == [7, 6]
        assert tx.event(7) is not None
        assert tx.event(3) is None


def test_every_filter_goes_by_an_index(tmp_path: object) -> None:
    """A million entries are not walked: SQLite says how it would search."""
    store = SqlStore(f"sqlite:///{tmp_path}/gate.db")
    store.upgrade()
    fill(store)
    with store.connection() as connection:
        for column in ("actor", "kind", "subject"):
            for behind, order in (("<", "DESC"), (">=", "ASC")):
                where = f"{column} = 'x' AND \"index\" {behind} 9"
                asked = f'SELECT * FROM events WHERE {where} ORDER BY "index" {order} LIMIT 51'
                said = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {asked}")))
                assert f"USING INDEX events_{column}" in said
                assert "TEMP B-TREE" not in said
    store.close()


@pytest.fixture
def anna(sqlite_gate: RealGate, app: Flask) -> Person:
    fill(sqlite_gate.opened.store)
    found = Person(app.test_client())
    assert found.log_in("anna") == 303
    return found


def test_the_address_keeps_the_filter_and_so_do_pages_and_exports(sqlite_gate: RealGate, anna: Person) -> None:
    with sqlite_gate.opened.store.write() as tx:
        for number in range(60):
            tx.append("site_added", "anna", "nord", NOW, {"number": number})
    page = anna.client.get("/audit?actor=anna&kind=site_added").text
    assert 'value="anna"' in page
    assert '<option value="site_added" selected>' in page
    following = re.search(r'rel="next" href="([^"]+)"', page)
    assert following
    where = following[1].replace("&amp;", "&")
    assert "actor=anna" in where
    assert "kind=site_added" in where
    more = anna.client.get(where).text
    assert 0 < more.count("/proof") < 51
    assert "/audit.csv?actor=anna&amp;kind=site_added" in page


def test_exports_are_all_of_it_and_a_spreadsheet_runs_none_of_it(sqlite_gate: RealGate, anna: Person) -> None:
    with sqlite_gate.opened.store.write() as tx:
        for number in range(1001):
            tx.append("site_added", "=cmd|' /C calc'!A0", "nord", NOW, {"number": number}, '+1; "quoted",\nnew line')
    rows = list(csv.DictReader(io.StringIO(anna.client.get("/audit.csv?subject=nord").text)))
    assert len(rows) == 1001
    assert rows[0]["actor"].startswith("'=cmd")
    assert rows[0]["because"] == '\'+1; "quoted",\nnew line'
    assert [json.loads(one["detail"])["number"] for one in rows] == list(range(1000, -1, -1))
    found = json.loads(anna.client.get("/audit.json?subject=nord").text)
    assert [one["detail"]["number"] for one in found] == list(range(1000, -1, -1))
    assert json.loads(anna.client.get("/audit.json?actor=nobody").text) == []


def test_a_day_is_the_policys_day(sqlite_gate: RealGate, anna: Person) -> None:
    with sqlite_gate.opened.store.write() as tx:
        tx.append("site_added", "anna", "late", NOW.replace(year=2031, hour=22, minute=59), {})
        tx.append("site_added", "anna", "later", NOW.replace(year=2031, hour=23, minute=1), {})
    day = NOW.replace(year=2031).date().isoformat()
    found = json.loads(anna.client.get(f"/audit.json?since={day}&until={day}").text)
    assert [one["subject"] for one in found] == ["late"], "winter: Berlin is an hour ahead"


@pytest.mark.parametrize("query", ["since=yesterday", "until=0001-01-01", "actor=%00", "kind=" + "x" * 201])
def test_what_cannot_be_asked_is_said(anna: Person, query: str) -> None:
    assert anna.client.get(f"/audit?{query}").status_code == 400


def test_the_proof_of_an_entry_verifies_and_names_its_leaf(real_gate: RealGate) -> None:
    fill(real_gate.opened.store)
    with real_gate.opened.store.read() as tx:
        size, root = tx.audit_head()
    application = pages(real_gate.opened)
    assert isinstance(application, Flask)
    parts = application.extensions["gate"]
    from gate.flows import audit as log

    for index in (0, 5, size - 1):
        found = log.proof(index, size, root, parts.leaves(size))
        leaf = merkle.leaf_hash(found["leaf"].encode("utf-8", "surrogatepass"))
        assert json.loads(found["leaf"])["index"] == index
        assert merkle.includes(index, size, leaf, [bytes.fromhex(one) for one in found["proof"]], root)


def test_an_entry_that_was_changed_is_not_proven(sqlite_gate: RealGate, anna: Person) -> None:
    assert anna.client.get("/audit/3/proof").json["index"] == 3
    with sqlite_gate.opened.store.connection() as connection:
        connection.execute(text("UPDATE events SET leaf = X'7b7d' WHERE \"index\" = 4"))
        connection.commit()
    answer = anna.client.get("/audit/3/proof")
    assert answer.status_code == 409
    assert "gate audit verify" in answer.text
    assert anna.client.get("/audit/99999/proof").status_code == 404
