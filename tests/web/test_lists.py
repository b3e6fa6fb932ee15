# ruff: noqa: F401, F811  (fixtures of another file)
"""Long lists: filters, orders, pages by key, kept filters, CSV; everything stands in the address."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from gate.adapters.store.sql import SqlStore
from gate.adapters.store.tx_machines import NOT_ACTIVE, PLACES
from gate.core import lists
from gate.core.lists import MachineList, SiteList
from gate.core.model import ClaimState, Machine, MachineStatus, Site
from gate.core.mornings import SiteDay
from gate.ports import Observation
from tests.adapters.test_store import LIMITS, claim_for, fleet, to
from tests.real_gate import RealGate
from tests.web.test_pages import HOSTILE, Person, app, person

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
NAMES = ("zeta", "Alpha", "alpha", "beta", "beta", "~x", "50%_off", "ärzte")


def add(tx: object, number: int, name: str, site: str, role: str = "till", ring: str = "all") -> None:
    one = Machine(f"m{number:02}", site, MachineStatus.PENDING, name, {"role": role}, public_key=f"{number}")
    tx.add_machine(one, f"{number}")  # type: ignore[attr-defined]
    active = Machine(one.id, site, MachineStatus.ACTIVE, name, {"role": role}, make=f"role={role}", ring=ring)
    assert tx.accept_machine(active, NOW)  # type: ignore[attr-defined]
    if number % 3:
        tx.seen(one.id, NOW - timedelta(minutes=number % 4))  # type: ignore[attr-defined]


@pytest.fixture
def filled(store: SqlStore) -> SqlStore:
    with store.write() as tx:
        for site in ("ost", "west", "nord"):
            tx.save_site(Site(site, f"Apotheke {site}", "NW" if site != "ost" else "BY"))
        for number, name in enumerate(NAMES):
            role = ("till", "server")[number % 2]
            add(tx, number, name, ("ost", "west")[number % 2], role, ("all", "rest")[number > 3])
    return store


def pages(store: SqlStore, asked: MachineList, size: int) -> Iterator[list[str]]:
    """Page after page, as a person goes on."""
    while True:
        with store.read() as tx:
            found = tx.list_machines(asked, size)
        if not found:
            return
        yield [one.id for one in found]
        last = found[-1]
        by = {"name": last.name, "site": last.site, "last_seen": lists.micros(last.last_seen_at)}
        word = lists.key(by[asked.sort.lstrip("-")], last.id)
        asked = replace(asked, after=lists.after_of(word, asked.sort))


@pytest.mark.parametrize("sort", lists.MACHINE_SORTS)
@pytest.mark.parametrize("size", [1, 3, 100])
def test_every_machine_is_on_exactly_one_page_in_every_order(filled: SqlStore, sort: str, size: int) -> None:
    found = [one for page in pages(filled, MachineList(sort=sort), size) for one in page]
    assert sorted(found) == [f"m{number:02}" for number in range(len(NAMES))]
    with filled.read() as tx:
        assert found == [one.id for one in tx.list_machines(MachineList(sort=sort), 100)]
        seen = [one.last_seen_at for one in tx.list_machines(MachineList(sort="last_seen"), 100)]
    assert seen[:3] == [None] * 3, "who was never heard of is longest not heard of"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (MachineList(site="ost"), {0, 2, 4, 6}),
        (MachineList(ring="rest"), {4, 5, 6, 7}),
        (MachineList(role="server", ring="all"), {1, 3}),
        (MachineList(make="role=till", site="west"), set()),
        (MachineList(status="pending"), set()),
        (MachineList(text="al"), {1, 2}),
        (MachineList(text="AL"), {1, 2}),
        (MachineList(text="m0"), set(range(8))),
        (MachineList(text="wes"), {1, 3, 5, 7}),
        (MachineList(text="50%_"), {6}),
        (MachineList(text="%"), set()),
        (MachineList(text="_"), set()),
        (MachineList(claim="no such state"), set(range(8))),
        (MachineList(dark=True), set()),
        (MachineList(rollout="none"), set()),
    ],
)
def test_a_filter_finds_what_it_says(filled: SqlStore, asked: MachineList, found: set[int]) -> None:
    with filled.read() as tx:
        assert {one.id for one in tx.list_machines(asked, 100)} == {f"m{number:02}" for number in found}


def test_machines_are_found_by_the_state_of_their_claim_and_sites_by_darkness(store: SqlStore) -> None:
    with store.write() as tx:
        rollout = fleet(tx, sites=4)
        for number, state in enumerate((None, ClaimState.HEALTHY, ClaimState.FAILED)):
            claim = claim_for(rollout, f"s{number}-0", f"c{number}")
            assert tx.grant(claim, LIMITS) is None
            if state is not None:
                assert tx.move(claim, to(claim, state))
        dark = tx.claim("c0")
        assert dark is not None
        assert tx.move(dark, replace(dark, dark_at=NOW, version=dark.version + 1))
    for claim, machine in (("in_flight", 0), ("granted", 0), ("healthy", 1), ("failure", 2), ("failed", 2)):
        for of in ("", rollout.id):
            with store.read() as tx:
                found = [one.id for one in tx.list_machines(MachineList(claim=claim, rollout=of), 100)]
            assert found == [f"s{machine}-0"], (claim, of)
    with store.read() as tx:
        assert [one.id for one in tx.list_machines(MachineList(rollout=rollout.id), 9)] == ["s0-0", "s1-0", "s2-0"]
        assert {one.site for one in tx.list_machines(MachineList(dark=True), 100)} == {"s0"}
        assert [one.id for one in tx.list_sites(SiteList(dark=True), 100)] == ["s0"]


def test_machines_are_found_by_this_morning_as_it_is_counted_and_by_what_they_run(store: SqlStore) -> None:
    at = NOW - timedelta(minutes=90)
    day, minute = "2026-03-02", 8 * 60 + 30
    early, long_ago = at - timedelta(hours=8), at - timedelta(days=20)
    comes = (
        ("here", "ost", "till", at - timedelta(minutes=9)),
        ("missing", "ost", "server", early),
        ("late", "west", "till", early),
        ("no-role", "ost", "workstation", early),
        ("not-yet", "sued", "till", early),
        ("gone", "ost", "till", long_ago),
        ("never", "ost", "till", None),
    )
    with store.write() as tx:
        for site, boots, opens in (("ost", -30, 15), ("west", -30, 16), ("sued", 1, 90)):
            tx.save_site(Site(site, site, "NW"))
            begins = at + timedelta(minutes=boots)
            tx.save_days([SiteDay(site, day, begins, at + timedelta(minutes=opens), at + timedelta(days=1))])
        for name, site, role, seen in comes:
            one = Machine(name, site, MachineStatus.PENDING, name, {"role": role}, public_key=name)
            tx.add_machine(one, name)
            assert tx.accept_machine(replace(one, status=MachineStatus.ACTIVE), at)
            if seen is not None:
                tx.seen(name, seen)
        for name, standing in (("here", "bypassed"), ("late", "granted")):
            assert tx.save_observation(Observation("src", name, "", "1", standing, at, ""), None)
    look = lists.Look(day, minute, at, at + timedelta(minutes=15))

    def named(asked: MachineList) -> list[str]:
        with store.read() as tx:
            return [one.id for one in tx.list_machines(asked, 100)]

    for word, found in (
        ("expected", ["here", "late", "missing"]),
        ("here", ["here"]),
        ("late", ["late"]),
        ("missing", ["missing"]),
    ):
        assert named(MachineList(morning=word, look=look)) == found
        assert named(MachineList(morning=word, look=look, sort="-last_seen")) == sorted(
            found, key=lambda one: (one == "here", one), reverse=True
        )
        assert named(MachineList(morning=word)) == [], "nobody has looked yet"
    assert len(named(MachineList(morning="sideways", look=look))) == len(comes)
    with store.read() as tx:
        parties = tx.parties(day, minute, at)
    assert (sum(one.expected for one in parties), sum(one.seen for one in parties)) == (3, 1), "as it is counted"
    assert named(MachineList(standing="bypassed")) == ["here"]
    assert named(MachineList(standing="granted", morning="late", look=look)) == ["late"]


def test_sites_are_found_by_land_beginning_and_their_machines(filled: SqlStore) -> None:
    for asked, found in (
        (SiteList(sort="site"), ["nord", "ost", "west"]),
        (SiteList(sort="last_seen"), ["nord", "west", "ost"]),
        (SiteList(sort="-last_seen"), ["ost", "west", "nord"]),
        (SiteList(land="BY"), ["ost"]),
        (SiteList(text="apotheke w"), ["west"]),
        (SiteList(text="no"), ["nord"]),
        (SiteList(role="server"), ["west"]),
        (SiteList(ring="rest", role="till"), ["ost"]),
    ):
        with filled.read() as tx:
            assert [one.id for one in tx.list_sites(asked, 100)] == found, asked


def test_a_word_that_no_page_made_begins_at_the_first_page() -> None:
    for sort, word in (("name", ""), ("name", "x"), ("last_seen", "x~m"), ("last_seen", "9" * 30 + "~m")):
        assert lists.after_of(word, sort) is None
    assert lists.after_of(lists.key("a~b", "m1"), "name") == ("a~b", "m1")
    assert lists.after_of(lists.key(12, "m1"), "-last_seen") == (12, "m1")


@pytest.fixture
def many(sqlite_gate: RealGate, app: Flask) -> Person:
    with sqlite_gate.opened.store.write() as tx:
        for number in range(120):
            add(tx, 100 + number, f"till {number:03}", "nord")
    return person(app, "rita")


def test_the_next_page_keeps_filter_and_order_in_its_address(many: Person) -> None:
    seen, page = 0, many.client.get("/machines?text=till&sort=-name&role=till&bogus=1").text
    names: list[str] = []
    while True:
        names += re.findall(r'<th scope="row"><a [^>]+>(till \d+)', page)
        found = re.search(r'rel="next" href="([^"]+)"', page)
        if found is None:
            break
        address = html.unescape(found[1])
        assert "sort=-name" in address
        assert "role=till" in address
        assert "bogus" not in address
        seen, page = seen + 1, many.client.get(address).text
    assert seen == 2
    assert names == sorted(names, reverse=True)
    assert len(set(names)) == 120
    assert '<option value="-name" selected>' in page, "the form shows what is asked"


def test_an_export_is_the_whole_list_with_its_filter_and_is_no_formula(sqlite_gate: RealGate, many: Person) -> None:
    with sqlite_gate.opened.store.write() as tx:
        tx.save_site(Site("evil", "=cmd|' /C calc'!A0", "NW"))
        tx.save_site(Site("comma", f'a,"b"\n{HOSTILE}', "NW"))
    answer = many.client.get("/export/machines.csv?text=till&sort=name&after=till 050~m")
    assert answer.mimetype == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="machines.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["name"] for row in rows] == [f"till {number:03}" for number in range(120)]
    assert {row["site"] for row in rows} == {"nord"}
    sites = {row["id"]: row["name"] for row in csv.DictReader(io.StringIO(many.client.get("/export/sites.csv").text))}
    assert sites["evil"] == "'=cmd|' /C calc'!A0"
    assert sites["comma"] == f'a,"b"\n{HOSTILE}'
    assert many.client.get("/export/rollouts.csv").text.startswith("id,source,version,state")
    assert many.client.get("/export/users.csv").status_code == 404


def test_an_export_of_more_rows_than_one_transaction_reads_has_each_row_once(
    sqlite_gate: RealGate, many: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gate.web import listed as views

    monkeypatch.setattr(views, "EXPORTED", 7)
    for sort in lists.MACHINE_SORTS:
        rows = list(csv.DictReader(io.StringIO(many.client.get(f"/export/machines.csv?sort={sort}").text)))
        assert len({row["id"] for row in rows}) == len(rows) == 120
    for sort in lists.SITE_SORTS:
        assert many.client.get(f"/export/sites.csv?sort={sort}").text.count("\n") == 3


def test_a_filter_is_kept_by_name_for_one_person_alone(sqlite_gate: RealGate, app: Flask, many: Person) -> None:
    kept = many.post("/filters", page="machines", name="dark <tills>", role="till", dark="1", csrf_="x")
    assert (kept.status_code, kept.headers["Location"]) == (303, "/machines?role=till&dark=1")
    page = many.client.get("/machines").text
    assert '<a href="/machines?dark=1&amp;role=till">dark &lt;tills&gt;</a>' in page
    assert "dark &lt;tills&gt;" not in person(app, "tom").client.get("/machines").text
    assert "dark &lt;tills&gt;" not in many.client.get("/sites").text
    for wrong in (
        {"page": "users", "name": "x"},
        {"page": "machines", "name": ""},
        {"page": "sites", "name": "x" * 61},
    ):
        assert many.post("/filters", **wrong).status_code == 400
    for number in range(49):
        assert many.post("/filters", page="machines", name=f"n{number}").status_code == 303
    assert many.post("/filters", page="machines", name="one too many").status_code == 409
    assert many.post("/filters", page="machines", name="n1", role="server").status_code == 303, "the same name again"
    assert many.post("/filters/drop", page="machines", name="dark <tills>").status_code == 303
    assert "dark &lt;tills&gt;" not in many.client.get("/machines").text


def test_a_list_says_how_old_it_is(many: Person) -> None:
    for path in ("/machines", "/sites", "/rollouts"):
        assert re.search(r'As of <time datetime="[^"]+">\d\d \w{3} \d{4}', many.client.get(path + "?lang=en").text)


def test_the_machines_of_every_ring_are_counted_by_make_without_those_that_are_not_active(filled: SqlStore) -> None:
    with filled.write() as tx:
        assert tx.revoke_machine("m00", NOW)
        assert tx.revoke_machine("m07", NOW)
        pending = Machine("new", "ost", MachineStatus.PENDING, "new", {"role": "till"}, public_key="new")
        tx.add_machine(pending, "new")
        lost = Machine("lost", "ost", MachineStatus.PENDING, "lost", {"role": "till"}, public_key="lost")
        tx.add_machine(lost, "lost")
        assert tx.accept_machine(replace(lost, status=MachineStatus.ACTIVE, make="role=till"), NOW)
    with filled.read() as tx:
        found = tx.fleet_makes()
        assert found == {ring: tx.ring_makes(ring) for ring in ("all", "rest", "")}
    assert found["all"] == {"role=till": 1, "role=server": 2}
    assert found[""] == {"role=till": 1}


def test_counting_the_fleet_by_ring_and_make_reads_an_index_and_no_machine(tmp_path: object) -> None:
    """At 120,000 machines a page of the rings took 250 ms for it."""
    store = SqlStore(f"sqlite:///{tmp_path}/gate.db")
    store.upgrade()
    with store.connection() as connection:
        for wanted, index in ((PLACES, "COVERING INDEX machines_place"), (NOT_ACTIVE, "INDEX machines_status")):
            asked = str(wanted.compile(connection, compile_kwargs={"literal_binds": True}))
            said = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {asked}")))
            assert index in said
            assert "TEMP B-TREE" not in said
    store.close()
