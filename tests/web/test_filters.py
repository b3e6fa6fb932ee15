# ruff: noqa: F401, F811  (fixtures of another file)
"""What can be asked of the log, of people, of holds and of the policy's history; kept by name, paged by key, as CSV."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask

from gate.adapters.store.sql import SqlStore
from gate.core import lists
from gate.core.lists import HoldList, PersonList, VersionList
from gate.core.model import Hold, Machine, MachineStatus, Site
from gate.flows import holds, policy_versions
from gate.ports import Tx, User
from tests.conftest import NOW
from tests.flows.test_policy_edits import said, saved
from tests.real_gate import RealGate
from tests.web.test_pages import Person, anna, app, person

HOUR = timedelta(hours=1)
PEOPLE = (
    ("anna", "Zeta", "admin", False),
    ("berta", "anna's deputy", "reader", False),
    ("carl", "", "reader", True),
    ("50%_off", "Ärztin", "technician", True),
)


def people_in(store: SqlStore) -> None:
    with store.write() as tx:
        for login, name, role, disabled in PEOPLE:
            tx.save_user(User(login, name, role, "", disabled, NOW))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (PersonList(), ["50%_off", "anna", "berta", "carl"]),
        (PersonList(role="reader"), ["berta", "carl"]),
        (PersonList(state="active"), ["anna", "berta"]),
        (PersonList(state="disabled", sort="role"), ["carl", "50%_off"]),
        (PersonList(state="sideways"), ["50%_off", "anna", "berta", "carl"]),
        (PersonList(text="ANNA"), ["anna", "berta"]),
        (PersonList(text="50%_"), ["50%_off"]),
        (PersonList(text="%"), []),
    ],
)
def test_people_are_found_by_role_state_and_beginning(store: SqlStore, asked: PersonList, found: list[str]) -> None:
    people_in(store)
    with store.read() as tx:
        assert [one.id for one in tx.list_people(asked, 100)] == found


@pytest.mark.parametrize("sort", lists.PERSON_SORTS)
@pytest.mark.parametrize("size", [1, 3])
def test_every_person_is_on_exactly_one_page_in_every_order(store: SqlStore, sort: str, size: int) -> None:
    people_in(store)
    asked, read = PersonList(sort=sort), list[str]()
    with store.read() as tx:
        while page := tx.list_people(asked, size):
            read += [one.id for one in page]
            by = {"name": page[-1].name, "role": page[-1].role, "login": page[-1].id}
            asked = replace(asked, after=lists.after_of(lists.key(by[sort], page[-1].id), sort))
        assert read == [one.id for one in tx.list_people(PersonList(sort=sort), 100)]
    assert sorted(read) == sorted(login for login, *_ in PEOPLE)


def held(tx: Tx) -> None:
    """Four that hold, in turn of two sources and of all; one that is lifted, one whose end has come."""
    with_site = {"site": ("nord",)}
    for number, (source, pick) in enumerate(
        (("a", {"role": ("till",)}), ("b", {"label": ("pilot",)}), ("", with_site), ("a", {"os": ("w10", "w11")}))
    ):
        until, made = NOW + (4 - number) * HOUR, NOW - (number + 10) * HOUR
        tx.add_hold(Hold(f"h{number}", source, pick, f"Owner-{number}", until, "because", "berta", made))
    tx.add_hold(Hold("lifted", "a", with_site, "anna", NOW + HOUR, "because", "anna", NOW - HOUR, NOW))
    tx.add_hold(Hold("over", "b", with_site, "anna", NOW, "because", "anna", NOW - 2 * HOUR))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (HoldList(), ["h3", "h2", "h1", "h0"]),
        (HoldList(sort="-until"), ["h0", "h1", "h2", "h3"]),
        (HoldList(sort="-made"), ["h0", "h1", "h2", "h3"]),
        (HoldList(state="lifted"), ["lifted"]),
        (HoldList(state="over"), ["over"]),
        (HoldList(state="ever"), ["over", "h3", "lifted", "h2", "h1", "h0"]),
        (HoldList(state="sideways"), ["h3", "h2", "h1", "h0"]),
        (HoldList(source="a"), ["h3", "h2", "h0"]),
        (HoldList(text="owner-1"), ["h1"]),
        (HoldList(text="BERTA"), ["h3", "h2", "h1", "h0"]),
        (HoldList(place="m-till"), ["h2", "h0"]),
        (HoldList(place="m-server"), ["h3", "h1"]),
        (HoldList(place="nord"), ["h2", "h0"]),
        (HoldList(place="west", source="b"), ["h1"]),
        (HoldList(place="nowhere"), []),
    ],
)
def test_holds_are_found_by_state_source_people_and_whom_they_keep_out(
    store: SqlStore, asked: HoldList, found: list[str]
) -> None:
    with store.write() as tx:
        for site, role, os in (("nord", "till", "w7"), ("west", "server", "w11")):
            labels = frozenset({"pilot"}) if site == "west" else frozenset()
            tx.save_site(Site(site, site, "NW", labels=labels))
            one = Machine(f"m-{role}", site, MachineStatus.PENDING, role, {"role": role, "os": os}, public_key=role)
            tx.add_machine(one, role)
            assert tx.accept_machine(replace(one, status=MachineStatus.ACTIVE), NOW)
        held(tx)
    with store.read() as tx:
        for size in (1, 2, 100):
            read, now = list[str](), replace(asked)
            while True:
                page, last = holds.listed(tx, now, size, NOW)
                read += [one.id for one in page]
                if last is None:
                    break
                at = last.made_at if asked.sort == "-made" else last.until
                now = replace(now, after=lists.after_of(lists.key(lists.micros(at), last.id), asked.sort))
            assert read == found


def test_a_page_of_the_holds_of_a_place_looks_at_so_many_and_goes_on_behind_them(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "LOOKED_AT", 3)
    with store.write() as tx:
        held(tx)
    with store.read() as tx:
        found, last = holds.listed(tx, HoldList(place="nowhere"), 50, NOW)
    assert found == []
    assert last is not None
    assert last.id == "h1", "the third"


# the policy's history


def past(gate: RealGate, asked: VersionList, limit: int = 25) -> tuple[list[str], str]:
    with gate.opened.store.read() as tx:
        found, following = policy_versions.listed(tx, gate.opened.gate, asked, gate.opened.rules.policy().zone, limit)
    return [one.version.subject for one in found], following


@pytest.fixture
def changed(sqlite_gate: RealGate) -> RealGate:
    """Eight changes, two people in turn, a day each."""
    for number in range(8):
        by = ("anna", "berta")[number % 2]
        saved(sqlite_gate, said(sqlite_gate, ("timezone: ", "timezone:  ")), by, f"Go {number}")
        sqlite_gate.clock.forward(hours=24)
    return sqlite_gate


def test_versions_are_found_by_author_message_and_day(changed: RealGate) -> None:
    assert past(changed, VersionList(author="BERT"))[0] == ["Go 7", "Go 5", "Go 3", "Go 1"]
    assert past(changed, VersionList(text="go 5"))[0] == ["Go 5"]
    assert past(changed, VersionList(author="anna", text="go 5"))[0] == []
    with changed.opened.store.read() as tx:
        (one,) = policy_versions.listed(tx, changed.opened.gate, VersionList(text="go 4"), NOW.tzinfo, 2)[0]  # type: ignore[arg-type]
    day = one.version.at.astimezone(changed.opened.rules.policy().zone).date().isoformat()
    assert past(changed, VersionList(since=day, until=day))[0] == ["Go 4"]
    assert past(changed, VersionList(text=one.version.commit[:12]))[0] == ["Go 4"]


def test_the_versions_of_a_filter_are_paged_by_the_last_that_was_looked_at(
    changed: RealGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for most in (2, 3, 300):
        monkeypatch.setattr(policy_versions, "LOOKED_AT", most)
        for limit in (1, 2, 25):
            read, after = list[str](), None
            while True:
                page, following = past(changed, VersionList(author="berta", after=after), limit)
                read += page
                if not following:
                    break
                after = following
            assert read == ["Go 7", "Go 5", "Go 3", "Go 1"], (most, limit)


# all four on their pages


ASKED = (
    ("audit", "/audit", {"kind": "site_added", "sort": "oldest"}),
    ("people", "/people", {"role": "reader", "sort": "role", "state": "active"}),
    ("holds", "/holds", {"place": "nord", "sort": "-made", "state": "ever"}),
    ("history", "/policy", {"author": "anna", "since": "2020-01-01", "tab": "history"}),
)


@pytest.mark.parametrize(("name", "path", "asked"), ASKED, ids=[one[0] for one in ASKED])
def test_what_is_asked_of_a_table_is_kept_by_name_and_stands_in_its_form(
    app: Flask, anna: Person, name: str, path: str, asked: dict[str, str]
) -> None:
    kept = anna.post("/filters", page=name, name="mine <1>", bogus="1", **asked)
    assert kept.status_code == 303
    page = anna.client.get(kept.headers["Location"]).text
    assert "bogus" not in kept.headers["Location"]
    links = re.findall(r'<a href="([^"]+)">mine &lt;1&gt;</a>', page)
    assert len(links) == 1
    place, _, words = html.unescape(links[0]).partition("?")
    assert place == path
    assert dict(one.split("=") for one in words.split("&")) == asked
    form = page.partition('<form method="get"')[2].partition("</form>")[0]
    for word, value in asked.items():
        shown = rf'name="{word}"[^>]* value="{value}"|value="{value}" selected'
        assert re.search(shown, form), (word, value)
    assert "mine &lt;1&gt;" not in person(app, "rita").client.get(path).text
    assert anna.post("/filters/drop", page=name, name="mine <1>").status_code == 303
    assert "mine &lt;1&gt;" not in anna.client.get(kept.headers["Location"]).text


def test_people_holds_and_versions_go_out_as_csv_with_their_filter(
    sqlite_gate: RealGate, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gate.web import listed

    monkeypatch.setattr(listed, "EXPORTED", 2)
    now = sqlite_gate.clock.now()
    with sqlite_gate.opened.store.write() as tx:
        tx.save_user(User("evil", "=cmd|' /C calc'!A0", "reader", "", True, NOW))
        for number in range(5):
            pick = f"site=s{number}"
            holds.place(tx, sqlite_gate.opened.gate, pick, "", "anna", now + HOUR, "we wait", "anna", now)

    def rows(address: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(anna.client.get(address).text)))

    [evil] = rows("/export/people.csv?state=disabled")
    assert (evil["login"], evil["name"], evil["state"]) == ("evil", "'=cmd|' /C calc'!A0", "disabled")
    assert "password" not in "".join(evil)
    found = rows("/export/holds.csv?sort=-made")
    assert {one["pick"] for one in found} == {f"site=s{number}" for number in range(5)}
    assert len(found) == 5
    assert {one["state"] for one in found} == {"held"}
    for number in range(4):
        saved(sqlite_gate, said(sqlite_gate, ("timezone: ", "timezone:  ")), because=f"Go {number}")
    assert [one["subject"] for one in rows("/export/history.csv?text=go")] == ["Go 3", "Go 2", "Go 1", "Go 0"]


@pytest.mark.parametrize("path", ["/export/history.csv?since=x", "/policy?tab=history&until=x", "/audit.csv?since=x"])
def test_a_day_that_cannot_be_read_is_said_before_anything_is_sent(anna: Person, path: str) -> None:
    assert anna.client.get(path).status_code == 400


def test_a_hold_that_is_over_is_shown_and_cannot_be_lifted(sqlite_gate: RealGate, anna: Person) -> None:
    with sqlite_gate.opened.store.write() as tx:
        held(tx)
    page = anna.client.get("/holds?state=over&lang=en").text
    assert re.search(r"<td[^>]*>over</td>", page)
    assert 'action="/holds/lift"' not in page
    assert "Nobody is held." in anna.client.get("/holds?lang=en").text, "none holds at the clock's time"
    assert "Nothing to show." in anna.client.get("/holds?place=nord&lang=en").text
