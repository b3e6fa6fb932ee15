"""This morning on the pages: the curve with its table, what waits, and a person's word that ends the alarm."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gate.core.model import Machine, MachineStatus, Site
from gate.core.mornings import Alarm, Morning, Party, Point, SiteDay
from gate.web.morning import draw, thinned
from tests.flows.test_site_times import BERLIN
from tests.real_gate import RealGate
from tests.web.test_pages import Person, anna, app, person  # noqa: F401  (fixtures)

START = datetime(2026, 3, 2, 5, 30, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def told(text: str) -> str:
    return text


def test_the_curve_says_its_numbers_to_who_cannot_see_it() -> None:
    points = [Point(START + number * MINUTE, 300, 3 * number) for number in range(91)]
    picture = draw(points, BERLIN, told)
    assert '<title id="t-curve">This morning: Heard of: 270, Should be up: 300, 08:00</title>' in picture
    assert re.findall(r">(\d\d:\d\d)<", picture) == ["07:00", "08:00"]
    assert "style=" not in picture
    assert draw(points[:1], BERLIN, told) == ""


@pytest.mark.parametrize(("minutes", "rows"), [(0, [0]), (9, [0, 9]), (10, [0, 10]), (25, [0, 10, 20, 25])])
def test_the_table_has_a_row_for_each_ten_minutes_and_the_last(minutes: int, rows: list[int]) -> None:
    points = [Point(START + number * MINUTE, 1, 1) for number in range(minutes + 1)]
    assert [(one.at - START) // MINUTE for one in thinned(points)] == rows


def a_morning(gate: RealGate, *, missing: int) -> None:
    now = gate.clock.now()
    day = now.astimezone(BERLIN).date().isoformat()
    party = Party(now - 90 * MINUTE, now, 40, 40, 40 - missing, 9, 9, now)
    alarm = Alarm(now, 40, missing, 4) if missing else None
    with gate.opened.store.write() as tx:
        tx.save_morning(Morning(day, now, now, 0.01, 40, missing, (party,), alarm))
        for number in range(30):
            tx.add_point(day, Point(now - (30 - number) * MINUTE, 40, 40 - missing))


def test_a_good_morning_is_shown_and_nothing_waits(sqlite_gate: RealGate, anna: Person) -> None:  # noqa: F811
    assert "This morning" not in anna.client.get("/?lang=en").text
    a_morning(sqlite_gate, missing=0)
    page = anna.client.get("/").text
    assert "40 of 40 machines that should be up have been heard of" in re.sub("<[^>]+>", "", page)
    assert '<svg class="curve"' in page
    assert "no ring opens" not in page
    assert "End this alarm" not in anna.client.get("/morning").text


def test_a_silent_morning_waits_for_a_person_who_ends_it_with_a_reason(
    sqlite_gate: RealGate,
    app: object,  # noqa: F811
    anna: Person,  # noqa: F811
) -> None:
    a_morning(sqlite_gate, missing=17)
    assert '<a href="/morning">17 / 40</a> machines are missing this morning' in anna.client.get("/?lang=en").text
    assert "Rechner fehlen heute Morgen: kein Ring öffnet" in anna.client.get("/?lang=de").text
    rita = person(app, "rita")  # type: ignore[arg-type]
    assert "/morning/end" not in rita.client.get("/morning").text
    assert rita.post("/morning/end", because="I may not").status_code == 403
    page = anna.client.get("/morning?lang=en").text
    assert "17 of 40 machines were missing, 4 are far above the usual 1.0%" in page
    assert '<th scope="row"><time' in page
    assert anna.post("/morning/end").status_code == 400
    assert anna.post("/morning/end", because="their line is down").status_code == 303
    assert "no ring opens" not in anna.client.get("/").text
    with sqlite_gate.opened.store.read() as tx:
        event = tx.events(subject="fleet")[0]
    assert (event.kind, event.actor, event.because) == ("silent_morning_over", "anna", "their line is down")


def test_the_mornings_numbers_lead_to_their_machines_and_who_is_late_stands_apart(
    sqlite_gate: RealGate,
    anna: Person,  # noqa: F811
) -> None:
    now = sqlite_gate.clock.now()
    day = now.astimezone(BERLIN).date().isoformat()
    with sqlite_gate.opened.store.write() as tx:
        for site, opens, boots, heard in (("due", 10, 80, 5), ("due", 10, 80, 95), ("later", 60, 30, 95)):
            if tx.site(site) is None:
                tx.save_site(Site(site, site, "NW"))
            name = f"{site}-{heard}"
            one = Machine(name, site, MachineStatus.PENDING, name, {"role": "till"}, public_key=f"{name:>064}")
            tx.add_machine(one, name)
            assert tx.accept_machine(replace(one, status=MachineStatus.ACTIVE), now)
            tx.seen(name, now - heard * MINUTE)
            at = now - boots * MINUTE
            tx.save_days([SiteDay(site, day, at, now + opens * MINUTE, now + 999 * MINUTE)])
        local = now.astimezone(BERLIN)
        parties = tuple(tx.parties(day, local.hour * 60 + local.minute, now))
        tx.save_morning(Morning(day, now, now, 0.01, 2, 1, parties))
        for number in range(2):
            tx.add_point(day, Point(now - (1 - number) * MINUTE, 3, 1))
    for path in ("/", "/morning"):
        page = anna.client.get(f"{path}?lang=en").text
        said = re.sub("<[^>]+>", "", page)
        assert (
            "1 of 3 machines that should be up have been heard of; 1 are late where it opens later; 1 of 2 are" in said
        )
    found = {}
    for word in ("expected", "here", "late", "missing"):
        assert f'href="/machines?morning={word}"' in page
        listed = anna.client.get(f"/machines?morning={word}&lang=en").text
        found[word] = sorted(set(re.findall(r'href="/machines/([^"]+)"', listed)))
        assert f'<option value="{word}" selected>' in listed
        csv = anna.client.get(f"/export/machines.csv?morning={word}").text
        assert len(csv.splitlines()) == 1 + len(found[word])
    late, here, missing = ["later-95"], ["due-5"], ["due-95"]
    assert found == {"expected": sorted(late + here + missing), "here": here, "late": late, "missing": missing}
