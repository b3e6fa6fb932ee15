# ruff: noqa: F401, F811  (fixtures of another file)
"""Site, machine, import, calendar, system: what each says, and that it is what the store and the policy say."""

from __future__ import annotations

import html
import io
import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo

import pytest
from flask import Flask

from gate.adapters import policy_edit
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.backup import newest
from gate.cli.fleet import read_sites
from gate.core.boots import Boot
from gate.core.model import ClaimState, Site, SiteTime, TimeKind
from gate.flows import agenda
from gate.web import lists
from tests.real_gate import PlayedMachine, RealGate
from tests.web.test_pages import OURS, Person, anna, app, filled, person

ZONE = ZoneInfo("Europe/Berlin")
GOOD = "id,name,land,hours,always_on,labels\n" + "".join(
    f"s{number:02},Apotheke {number},NW,Mo-Fr 08:00-18:{number:02},,pilot\n" for number in range(50)
)


def upload(who: Person, text: str | bytes) -> Any:
    raw = text if isinstance(text, bytes) else text.encode()
    form = {"csrf": who.csrf, "file": (io.BytesIO(raw), "sites.csv")}
    return who.client.post("/sites/import", data=form, headers=OURS, content_type="multipart/form-data")


def shown(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)))


def test_fifty_sites_come_from_a_file(sqlite_gate: RealGate, anna: Person) -> None:
    assert upload(anna, "\ufeff" + GOOD).status_code == 303
    with sqlite_gate.opened.store.read() as tx:
        found = tx.sites(after="s0", limit=100)
        events = tx.events(subject="sites")
    assert [one.id for one in found if re.match(r"s\d\d", one.id)] == [f"s{number:02}" for number in range(50)]
    added = {"count": 50, "changes": 50, "sites": [f"s{number:02}" for number in range(50)]}
    assert (events[0].kind, events[0].actor, events[0].detail) == ("sites_imported", "anna", added)


WRONG = [
    ("a site twice", GOOD + "s01,again,NW,,,\n", 52, "site s01 is there twice"),
    ("hours", GOOD + "x,X,NW,whenever,,\n", 52, "column"),
    ("a Land", GOOD + "x,X,XX,,,\n", 52, "no Land 'XX'"),
    ("an id", GOOD + "../x,X,NW,,,\n", 52, "'../x' is not a-z"),
    ("a field too many", GOOD + "x,X,NW,,,,more\n", 52, "7 values in a row of 6 columns"),
    ("a name of a novel", GOOD + f"x,{'X' * 201},NW,,,\n", 52, "name is longer than 200 characters"),
    ("labels of a novel", GOOD + f"x,X,NW,,,{'x ' * 300}\n", 52, "labels is longer than 500 characters"),
    ("neither yes nor no", GOOD + "x,X,NW,,perhaps,\n", 52, "always_on 'perhaps' is not yes or no"),
    ("semicolons", GOOD.replace(",", ";"), 1, "unknown column id;name;land"),
    ("a column twice", GOOD.replace("id,name", "id,id", 1), 1, "the column id is there twice"),
    ("no id", GOOD.replace("id,name", "name", 1), 1, "the column id is missing"),
    ("a quoted line break before it", GOOD + 'y,"a\nb",NW,,,\n', 53, "control characters"),
]


@pytest.mark.parametrize(("what", "text", "row", "said"), WRONG, ids=[one[0] for one in WRONG])
def test_a_problem_is_told_by_its_row_and_nothing_is_imported(
    sqlite_gate: RealGate,
    anna: Person,
    what: str,
    text: str,
    row: int,
    said: str,
) -> None:
    answer = upload(anna, text)
    assert answer.status_code == 400
    assert f'class="number">{row}</th>' in answer.text
    assert said in html.unescape(answer.text)
    with sqlite_gate.opened.store.read() as tx:
        assert [one.id for one in tx.sites(limit=100)] == ["nord", "sued"]
    assert any(f"f:{row}: " in line and said in line for line in read_sites(text.encode(), "NW", "f")[1]), (
        "as the command"
    )


def test_a_file_that_is_no_list_of_sites_is_refused(anna: Person, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    for raw in (b"", b"\xff\xfe", b"id\n", b"name\nx\n", b'id,name\nx,"cut off here'):
        assert upload(anna, raw).status_code == 400, raw
    assert anna.post("/sites/import").status_code == 400
    monkeypatch.setattr(lists, "MOST_UPLOADED", 1000)
    assert upload(anna, GOOD).status_code == 413
    assert upload(person(app, "ada"), "id\nx\n").status_code == 403, "only admins import"


def test_a_site_says_what_it_has_and_why_till_3_waits_is_one_click_away(
    sqlite_gate: RealGate,
    anna: Person,
) -> None:
    rollout, machine = filled(sqlite_gate)
    third = PlayedMachine(sqlite_gate, "till-3")
    third.enrol(facts={"role": "till", "hostname": "till-3"})
    sqlite_gate.accept(third.machine, "till")
    page = anna.client.get("/sites/nord?lang=en").text
    [link] = re.findall(r'<a href="(/why\?machine=[^"]+)" aria-label="Why\? till-3"', page)
    why = shown(anna.client.get(link).text)
    assert "till-3" in why
    assert "Ring rest: needs 1 more till healthy: 0 of 1 so far." in why
    text = shown(page)
    for said in ("open now", "first : the first ring whose pick it meets", "nothing said", "The newest decisions",
                 "Contacts of a site are not kept here", "waits"):  # fmt: skip
        assert said in text, said
    assert f'href="/rollouts/{rollout}"' in page
    with sqlite_gate.opened.store.read() as tx:
        release = tx.rollouts()[0].release
    assert PlayedMachine(sqlite_gate).checkin(installed={"shop-content": release})[0] == 200
    assert "shop-content: 1" in shown(anna.client.get("/sites/nord?lang=en").text)
    assert "shop-content: 1" in shown(anna.client.get(f"/machines/{machine}?lang=en").text)


def test_a_strip_chart_and_its_table_show_the_steps_that_are_kept(sqlite_gate: RealGate, anna: Person) -> None:
    _, machine = filled(sqlite_gate)
    played = PlayedMachine(sqlite_gate)
    with sqlite_gate.opened.store.read() as tx:
        release = tx.rollouts()[0].release
    played.checkin()
    status, answer = played.claim(release)
    assert status == 201, answer
    for place in ("/sites/nord", f"/machines/{machine}"):
        page = anna.client.get(f"{place}?lang=en").text
        assert '<circle class="step"' in page
        assert '<circle class="word"' in page
        for said in ("granted", "last word", "Only steps of claims and the newest word are drawn"):
            assert said in shown(page), said
    with sqlite_gate.opened.store.write() as tx:
        claim = tx.claims(tx.rollouts()[0].id)[0]
        silent = replace(claim, state=ClaimState.SILENT, resolved_at=sqlite_gate.clock.now(), version=claim.version + 1)
        assert tx.move(claim, silent)
    assert '<path class="bad"' in anna.client.get("/sites/nord").text
    sqlite_gate.clock.forward(days=15)
    anna.log_in("anna")
    assert "<circle" not in anna.client.get("/sites/nord").text, "older than fourteen days"


def test_a_machines_own_strip_chart_has_a_mark_for_each_boot_and_its_table_says_how_it_ended(
    sqlite_gate: RealGate, anna: Person
) -> None:
    _, machine = filled(sqlite_gate)
    now = sqlite_gate.clock.now()
    boots = [
        Boot("b-old", (now - timedelta(days=15)).isoformat(), "clean"),
        Boot("b-1", (now - timedelta(days=3)).isoformat(), "clean"),
        Boot("b-2", (now - timedelta(days=2)).isoformat(), "unclean"),
        Boot("b-3", (now - timedelta(hours=2)).isoformat()),
        Boot("b-4", "soon"),
        Boot("b-5", (now + timedelta(days=2)).isoformat(), "unclean"),
    ]
    with sqlite_gate.opened.store.write() as tx:
        assert tx.save_boots(machine, boots, [])
    page = anna.client.get(f"/machines/{machine}?lang=en").text
    assert (page.count('<path class="boot"'), page.count('<path class="crash"')) == (2, 1), "those of its fourteen days"
    table = shown(page).partition("The same as a table")[2]
    for said in (
        "a boot; it ended as planned",
        "a boot; it did not end as planned",
        "a boot; how it ended is not known",
    ):
        assert table.count(said) == 1, said
    assert "points down where it did not end as planned" in shown(page)
    assert "ein Start; er endete nicht wie vorgesehen" in anna.client.get(f"/machines/{machine}?lang=de").text


def test_a_verdict_and_how_far_a_release_is_trusted_are_words_and_no_codes(sqlite_gate: RealGate, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    third = PlayedMachine(sqlite_gate, "till-3")
    third.enrol(facts={"role": "till", "hostname": "till-3"})
    sqlite_gate.accept(third.machine, "till")
    for language, waits, pinned in (("en", "waits", "digest pinned"), ("de", "wartet", "Prüfsumme festgehalten")):
        for path in (f"/rollouts/{rollout}", "/sites/nord"):
            page = anna.client.get(f"{path}?lang={language}").text
            assert f'<span class="verdict HOLD" title="HOLD">{waits}</span>' in page
        assert f" · {pinned}</p>" in anna.client.get(f"/rollouts/{rollout}?lang={language}").text


def days_of(page: str) -> dict[str, str]:
    """ISO day -> what its row says."""
    rows = re.findall(r'<tr(?: class="today")?><th scope="row"><time datetime="([^"]+)">(.*?)</tr>', page, re.DOTALL)
    return {day: shown(row) for day, row in rows}


@pytest.fixture
def closing(sqlite_gate: RealGate) -> RealGate:
    """A site with hours, night duty over both clock changes, and a closing day; a policy with freezes."""
    with sqlite_gate.opened.store.write() as tx:
        tx.save_site(Site("west", "Apotheke West", "NW", "Mo-Sa 08:00-18:30"))
        site = tx.site("west")
        assert site is not None
        times = [
            SiteTime(datetime(2026, month, day, 18, tzinfo=ZONE), datetime(2026, month, day + 1, 9, tzinfo=ZONE), kind)
            for month, day, kind in ((3, 28, TimeKind.DUTY), (10, 24, TimeKind.DUTY))
        ]
        times.append(
            SiteTime(
                datetime(2026, 4, 2, tzinfo=ZONE), datetime(2026, 4, 3, tzinfo=ZONE), TimeKind.CLOSED, "stocktaking"
            )
        )
        assert tx.save_times("west", sorted(times), site.times)
    text = sqlite_gate.opened.policies.read(sqlite_gate.opened.policies.head())
    item = {"name": "easter", "from": "2026-04-03", "to": "2026-04-06", "owner": "k.lehmann", "why": "nobody is there"}
    sqlite_gate.policy_says(policy_edit.with_item(text, "freeze", item))
    return sqlite_gate


@pytest.mark.parametrize(
    ("day", "hours", "said"),
    [
        ("2026-03-29", "8", ("23 h", "00:00 CET–09:00 CEST", "night duty")),
        ("2026-10-25", "10", ("25 h", "00:00 CEST–09:00 CET", "night duty")),
        ("2026-03-28", "16", ("08:00–24:00", "night duty")),
        ("2026-04-02", "0", ("closed", "stocktaking")),
        ("2026-04-03", "0", ("Karfreitag", "easter", "00:00–24:00")),
        ("2026-03-31", "10.5", ("08:00–18:30",)),
    ],
)
def test_a_day_of_the_calendar_is_right_also_in_both_nights_of_the_clock_change(
    closing: RealGate,
    anna: Person,
    day: str,
    hours: str,
    said: tuple[str, ...],
) -> None:
    for span in ("week", "month"):
        page = anna.client.get(f"/calendar?site=west&day={day}&span={span}&lang=en").text
        found = days_of(page)
        assert len(found) == (7 if span == "week" else 30 if day[5:7] == "04" else 31)
        for one in said:
            assert one in found[day], (span, found[day])
        assert re.search(rf'datetime="{day}".*?<td class="number"[^>]*>([^<]+)<', page, re.DOTALL)[1] == hours  # type: ignore[index]


def test_without_a_site_the_calendar_says_what_holds_for_everybody(closing: RealGate, anna: Person) -> None:
    page = anna.client.get("/calendar?day=2026-06-01&span=month&lang=en").text
    assert "Fronleichnam (BW, BY, HE, NW, RP, SL)" in days_of(page)["2026-06-04"]
    page = anna.client.get("/calendar?day=2026-04-04&lang=en").text
    assert "easter" in days_of(page)["2026-04-04"]
    assert re.search(
        r'<a href="/rings/edit\?item=freeze%5B\d+%5D&amp;of=[0-9a-f]{40}" aria-label="Change easter">', page
    )
    assert "k.lehmann" in page
    assert "There is no such site." in anna.client.get("/calendar?site=none&lang=en").text
    for wrong in ("day=x", "day=0001-01-01", "day=9999-12-31&span=month", "span=year&source=none"):
        assert anna.client.get("/calendar?" + wrong).status_code == 200, wrong


def test_before_today_and_after_keep_what_was_asked(closing: RealGate, anna: Person) -> None:
    page = anna.client.get("/calendar?site=west&source=shop-content&span=month&day=2026-06-01&lang=en").text
    found = re.findall(r'<a href="(/calendar[^"]+)">(Before|Today|After)</a>', page)
    assert [name for _, name in found] == ["Before", "Today", "After"]
    for link, _ in found:
        asked = dict(parse_qsl(urlsplit(html.unescape(link)).query))
        assert {**asked, "day": ""} == {"site": "west", "source": "shop-content", "span": "month", "day": ""}


def test_when_a_release_could_reach_a_site_is_the_plans_answer_and_never_before_its_slot(
    sqlite_gate: RealGate,
    anna: Person,
) -> None:
    filled(sqlite_gate)
    other = PlayedMachine(sqlite_gate, "other")
    other.enrol()
    sqlite_gate.accept(other.machine, "till")
    page = shown(anna.client.get("/calendar?site=nord&source=shop-content&lang=en").text)
    assert "shop-content 1, Ring first: its ring is open; the next slot begins" in page
    assert re.search(r"Ring rest: its ring (opens at the earliest \d\d \w{3}|does not open within seven days)", page)
    assert "A real fleet is later, if nobody reboots by hand." in page
    assert "Choose a site" in anna.client.get("/calendar?site=sued&source=shop-content&lang=en").text


def test_a_large_fleet_is_planned_beside_the_calendar_which_has_the_answer_at_the_next_look(
    sqlite_gate: RealGate, app: Flask, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(sqlite_gate)
    other = PlayedMachine(sqlite_gate, "other")
    other.enrol()
    sqlite_gate.accept(other.machine, "till")

    def answers() -> list[str]:
        page = anna.client.get("/calendar?site=nord&source=shop-content&lang=en").text
        return [shown(one) for one in re.findall(r'<p class="sentence">(.*?)</p>', page, re.DOTALL)]

    at_once = answers()
    monkeypatch.setattr(agenda, "MOST", 1)
    with app.extensions["gate"].courses._busy:  # it takes long
        first, last = answers()
        assert first == at_once[0], "what is open is known"
        assert "its ring is shut, and when it opens is not worked out yet" in last
        page = anna.client.get("/calendar?site=nord&source=shop-content&lang=en").text
        assert "The plan is being made, beside this page" in page
    app.extensions["gate"].courses.wait()
    assert answers() == at_once


def test_a_freeze_from_the_calendar_is_an_edit_that_is_previewed(
    sqlite_gate: RealGate,
    app: Flask,
    anna: Person,
) -> None:
    form = {
        "name": "inventory",
        "from": "2026-12-23",
        "to": "2027-01-04",
        "owner": "anna",
        "why": "half the team is away",
    }
    page = anna.post("/calendar/freeze", **form).text
    head = sqlite_gate.opened.policies.head()
    assert 'action="/policy/preview"' in page
    assert f'name="base" value="{head}"' in page
    text = html.unescape(re.search(r'name="text" value="([^"]*)"', page)[1])  # type: ignore[index]
    [freeze] = [one for one in parse_text(text).freezes if one.name == "inventory"]
    assert (freeze.first, freeze.last, freeze.owner) == (date(2026, 12, 23), date(2027, 1, 4), "anna")
    assert sqlite_gate.opened.policies.head() == head, "nothing is changed yet"
    for wrong in ({"name": "Bad Name"}, {"from": "soon"}, {"from": "2027-02-01"}, {"why": ""}, {"owner": "a\nb"}):
        assert anna.post("/calendar/freeze", **{**form, **wrong}).status_code == 400, wrong
    assert person(app, "ada").post("/calendar/freeze", **form).status_code == 403


def test_a_freeze_is_added_also_while_the_branchs_head_is_no_policy_and_takes_its_slip_away(
    sqlite_gate: RealGate, anna: Person
) -> None:
    policies, now = sqlite_gate.opened.policies, sqlite_gate.clock.now()
    good = policies.read(policies.head())
    for broken in (good.replace("rings:", "rinsg:", 1), "version: [1\n"):
        head = policies.write(broken, policies.head(), "mallory", "a slip", now)
        form = {"name": "inventory", "from": "2026-12-23", "to": "2027-01-04", "owner": "anna", "why": "half the team"}
        page = anna.post("/calendar/freeze", **form)
        assert page.status_code == 200
        assert f'name="base" value="{head}"' in page.text
        text = html.unescape(re.search(r'name="text" value="([^"]*)"', page.text)[1])  # type: ignore[index]
        assert [one.name for one in parse_text(text).freezes if one.owner == "anna"] == ["inventory"]
        shown_edit = anna.post("/policy/preview", base=head, text=text, because="half the team", back="/calendar")
        assert shown_edit.status_code == 200
        assert "inventory" in shown_edit.text


def test_the_system_page_says_what_readiness_says_and_what_is_not_known(
    sqlite_gate: RealGate, anna: Person, app: Flask
) -> None:
    before = shown(anna.client.get("/system?lang=en").text)
    assert "gate is not well: worker" in before
    assert "no worker has ever ticked" in before
    assert "a backup was made not known" in before
    filled(sqlite_gate)
    sqlite_gate.worker.tick()
    page = shown(anna.client.get("/system?lang=en").text)
    assert "gate is well" in page
    for what, _, _ in app.extensions["gate"].ready():
        assert f"{what} good" in page
    head = sqlite_gate.opened.policies.head()
    for said in ("the branch's head is active", head[:12], "SQLite", newest(), "timestamp", "the newest decision",
                 "claims in flight 0"):  # fmt: skip
        assert said in page, said
    assert not re.search(r"the newest (decision|publication) not known", page)
    assert not re.search(r"snapshot \d+ .{60,90} (soon|over)", page)
    sqlite_gate.clock.forward(days=400)
    anna.log_in("anna")
    assert re.search(r"timestamp \d+ .{10,90}over", shown(anna.client.get("/system?lang=en").text))
    sqlite_gate.opened.policies.write("version: 1\nfleet: ???\n", head, "m", "oops", sqlite_gate.clock.now())
    assert "the branch's head is another:" in shown(anna.client.get("/system?lang=en").text)


def test_an_open_page_is_told_of_each_event_decision_and_minute_and_of_nothing_else(
    sqlite_gate: RealGate, anna: Person
) -> None:
    def mark(known: str = "") -> tuple[int, str]:
        answer = anna.client.get("/live", headers={"If-None-Match": known, "X-Live": "1"})
        assert answer.data == b""
        return answer.status_code, answer.headers["ETag"]

    sqlite_gate.clock.forward(seconds=61 - sqlite_gate.clock.now().second)  # early in a minute
    status, first = mark()
    assert status == 204
    assert mark(first) == (304, first)
    with sqlite_gate.opened.store.write() as tx:
        tx.append("logged_in", "x", "x", sqlite_gate.clock.now())
    status, second = mark(first)
    assert (status, second != first) == (204, True)
    sqlite_gate.clock.forward(minutes=1)
    assert mark(second)[0] == 204, "ages are of this minute"


def test_a_page_that_is_only_open_does_not_keep_a_session_alive(sqlite_gate: RealGate, anna: Person) -> None:
    for _ in range(8):
        sqlite_gate.clock.forward(minutes=2)
        anna.client.get("/live", headers={"X-Live": "1"})
        status = anna.client.get("/", headers={"X-Live": "1"}).status_code
    assert status == 302
    assert anna.client.get("/live", headers={"X-Live": "1"}).status_code == 302


@pytest.mark.parametrize("ahead", [0, 1])
def test_the_overview_says_what_is_frozen_how_sources_are_held_and_how_old_that_is(
    sqlite_gate: RealGate, app: Flask, ahead: int
) -> None:
    policies = sqlite_gate.opened.policies
    date_of = sqlite_gate.clock.now().astimezone(ZONE).date() + timedelta(days=ahead)
    day, shown_day = str(date_of), f"{date_of:%d %b %Y}"
    item = {"name": "closed", "from": day, "to": day, "owner": "k.lehmann", "why": "inventory"}
    filled(sqlite_gate)
    sqlite_gate.policy_says(policy_edit.with_item(policies.read(policies.head()), "freeze", item))
    page = shown(person(app, "anna").client.get("/?lang=en").text)
    said = f"Active freezes Name To Who looks after it Reason closed {shown_day} k.lehmann inventory"
    assert (said in page, "Active freezes" in page) == (not ahead, not ahead)
    assert re.search(r"newest decision: \d\d \w{3} ", page)
    assert re.search(r"shop-content held 1 \d\d \w{3} .{5,20} the source answers", page)


def test_a_page_after_a_save_shows_what_was_saved(sqlite_gate: RealGate, anna: Person) -> None:
    policies, day = sqlite_gate.opened.policies, f"{sqlite_gate.clock.now().year + 1}-12-24"
    item = {"name": "christmas", "from": day, "to": day, "owner": "anna", "why": "nobody is there"}
    text = policy_edit.with_item(policies.read(policies.head()), "freeze", item)
    assert "christmas" not in anna.client.get(f"/calendar?day={day}").text
    done = anna.post("/policy/save", text=text, base=policies.head(), because="so it is", back=f"/calendar?day={day}")
    assert done.headers["Location"] == f"/calendar?day={day}"
    assert "christmas" in days_of(anna.client.get(f"/calendar?day={day}&lang=en").text)[day]
