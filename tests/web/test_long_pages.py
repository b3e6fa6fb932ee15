# ruff: noqa: F401, F811  (fixtures of another file)
"""Pages of a bad day: whatever there is of failures, sites and makes, a page stays short and leads to all of it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import insert, update

from gate.adapters.store.sql import SqlStore
from gate.adapters.store.tx_claim_reads import CLAIMS
from gate.adapters.store.tx_machines import MACHINES
from gate.adapters.store.tx_rollouts import BOOTS, BUDGETS, STRATA
from gate.core import words
from gate.core.model import (
    FLEET,
    Claim,
    ClaimState,
    Machine,
    MachineStatus,
    RingState,
    Rollout,
    RolloutState,
    Site,
    Stratum,
)
from gate.flows import explain, holds, people
from gate.web import stopped
from gate.web.people_doors import _rollout
from tests.adapters.test_store import claim_for
from tests.real_gate import PlayedMachine, RealGate
from tests.web.test_pages import Person, anna, app, filled

MOST = 150_000


def lose(store: SqlStore, rollout: Rollout, count: int, *, ring: str, make: str, state: ClaimState) -> list[Claim]:
    """So many machines with a claim that has ended so, granted a minute apart; the last of them is the newest."""
    claims = []
    with store.write() as tx:
        for number in range(count):
            one = f"lost-{state.value}-{number:03}"
            machine = Machine(one, "nord", MachineStatus.PENDING, one, {"role": "till"}, public_key=f"{one:>064}")
            tx.add_machine(machine, one)
            assert tx.accept_machine(replace(machine, ring=ring, make=make), rollout.started_at)
            at = rollout.started_at + timedelta(minutes=number)
            claim = replace(claim_for(rollout, one, f"c-{one}"), site="nord", ring=ring, make=make, state=state)
            claims.append(replace(claim, granted_at=at, resolved_at=at))
    rows = [{**asdict(one), "stay_up_s": int(one.stay_up.total_seconds())} for one in claims]
    with store.connection() as connection, connection.begin():
        connection.execute(insert(CLAIMS), [{name: row[name] for name in row if name in CLAIMS.c} for row in rows])
        of_ring = STRATA.c.rollout == rollout.id, STRATA.c.ring == ring, STRATA.c.make == make
        lost = STRATA.c.silent if state is ClaimState.SILENT else STRATA.c.failed
        more = {"exposed": STRATA.c.exposed + count, lost.name: lost + count}
        connection.execute(update(STRATA).where(*of_ring).values(**more))
        counted = {name: BUDGETS.c[name] + count for name in ("failed", "tried", "tried_failed")}
        of_make = BUDGETS.c.rollout == rollout.id, BUDGETS.c.make.in_((make, FLEET))
        connection.execute(update(BUDGETS).where(*of_make).values(**counted))
        tried = {name: BOOTS.c[name] + count for name in ("failed", "tried")}
        connection.execute(update(BOOTS).where(BOOTS.c.rollout == rollout.id, BOOTS.c.boot == 1).values(**tried))
    return claims


def pages_of(who: Person, path: str, table: str) -> Iterator[str]:
    """One table of a page, page after page."""
    while True:
        answer = who.client.get(path)
        assert answer.status_code == 200
        assert len(answer.data) < MOST
        part = answer.text[answer.text.index(f'id="{table}"') :]
        yield part
        following = re.search(rf'rel="next" href="(\?[^"#]*{table}=[^"#]+)#{table}"', part)
        if following is None:
            return
        path = path.partition("?")[0] + html.unescape(following[1])


def listed(who: Person, path: str) -> Iterator[str]:
    """The table of a list, page after page."""
    while True:
        answer = who.client.get(path)
        assert answer.status_code == 200
        assert len(answer.data) < MOST
        yield answer.text.partition("<table>")[2].partition("</table>")[0]
        following = re.search(r'rel="next" href="([^"]+)"', answer.text)
        if following is None:
            return
        path = html.unescape(following[1])


def explainable(part: str) -> list[str]:
    return re.findall(r'name="claim" value="([^"]+)"', part)


def test_each_of_many_failures_can_be_explained_on_the_page(sqlite_gate: RealGate, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    with sqlite_gate.opened.store.read() as tx:
        found = tx.rollout(rollout)
        ring, make = tx.rings(rollout)[0].ring, tx.strata(rollout)[0].make
    assert found is not None
    store = sqlite_gate.opened.store
    claims = [one.id for one in lose(store, found, 120, ring=ring, make=make, state=ClaimState.FAILED)]
    path = f"/rollouts/{rollout}?lang=en"
    parts = list(pages_of(anna, path, "failures"))
    assert [len(explainable(part)) for part in parts] == [50, 50, 20]
    assert [one for part in parts for one in explainable(part)] == claims[::-1], "the newest first, each once"
    for one in claims[60:]:
        assert anna.post(f"/rollouts/{rollout}/explain", claim=one, because="a flood").status_code == 303
    first = next(pages_of(anna, path, "failures"))
    assert explainable(first) == claims[59:9:-1], "what nobody has explained comes first"
    rest = [one for part in pages_of(anna, path, "failures") for one in explainable(part)]
    assert rest == claims[59::-1]


def test_a_ring_counts_failures_as_the_decision_does_late_joiners_and_without_the_explained(
    sqlite_gate: RealGate, anna: Person
) -> None:
    rollout, _ = filled(sqlite_gate)
    store = sqlite_gate.opened.store
    with store.read() as tx:
        found = tx.rollout(rollout)
        ring, make = tx.rings(rollout)[0].ring, tx.strata(rollout)[0].make
    assert found is not None
    claims = lose(store, found, 2, ring=ring, make=make, state=ClaimState.FAILED)
    with store.connection() as connection, connection.begin():
        late = update(STRATA).where(STRATA.c.ring == ring, STRATA.c.make == make)
        more = {name: STRATA.c[name] + 20 for name in ("exposed", "healthy")}
        connection.execute(late.values(late_failed=STRATA.c.late_failed + 1, **more))
    other = PlayedMachine(sqlite_gate, "other")
    other.enrol()
    sqlite_gate.accept(other.machine, "till", "rest")
    sqlite_gate.clock.forward(seconds=5)
    sqlite_gate.worker.tick()
    path = f"/rollouts/{rollout}?lang=en"

    def row() -> list[str]:
        part = next(pages_of(anna, path, "evidence")).partition("<tbody>")[2].partition("</tr>")[0]
        return [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", part)]

    def decided() -> float:
        with store.read() as tx:
            (waiting,) = explain.waiting(tx, sqlite_gate.opened.gate, found, sqlite_gate.clock.now())
        return next(one.bound for one in waiting.makes if one.make == make)

    assert (row()[4], row()[7], row()[8]) == ("3", "0", words.share(decided(), "en"))
    assert anna.post(f"/rollouts/{rollout}/explain", claim=claims[0].id, because="a cable").status_code == 303
    assert (row()[4], row()[7], row()[8]) == ("2", "1", words.share(decided(), "en"))
    assert f"{ring}: 20 of 1 healthy, 2 bad" in anna.client.get(path).text
    with store.read() as tx:
        (said,) = [one for one in _rollout(tx, found).rings if one.ring == ring]
    assert said.bad == 2


def test_what_is_explained_meanwhile_takes_no_other_failure_off_the_next_page(
    sqlite_gate: RealGate, anna: Person
) -> None:
    rollout, _ = filled(sqlite_gate)
    with sqlite_gate.opened.store.read() as tx:
        found = tx.rollout(rollout)
        ring, make = tx.rings(rollout)[0].ring, tx.strata(rollout)[0].make
    assert found is not None
    claims = [
        one.id for one in lose(sqlite_gate.opened.store, found, 60, ring=ring, make=make, state=ClaimState.SILENT)
    ]
    pages = pages_of(anna, f"/rollouts/{rollout}?lang=en", "failures")
    last = explainable(next(pages))[-1]
    assert anna.post(f"/rollouts/{rollout}/explain", claim=last, because="a flood").status_code == 303
    assert explainable(next(pages)) == claims[9::-1]
    assert anna.client.get(f"/rollouts/{rollout}?failures=0~nobody").status_code == 200


def recalled(gate: RealGate, rollout: str) -> Rollout:
    """Halted and recalled, whoever said so."""
    with gate.opened.store.write() as tx:
        found = tx.rollout(rollout)
        assert found is not None
        now, by = gate.clock.now(), {"halted_by": "anna", "halted_because": "bad"}
        found = replace(found, state=RolloutState.RECALLED, halted_at=now, version=found.version + 1, **by)
        assert tx.save_rollout(found)
    return found


def lost_everywhere(gate: RealGate, rollout: str, sites: int) -> None:
    """A site for each of many machines that have the release and are not heard of."""
    with gate.opened.store.read() as tx:
        found = tx.rollout(rollout)
        ring, make = tx.rings(rollout)[0].ring, tx.strata(rollout)[0].make
    assert found is not None
    claims = lose(gate.opened.store, found, sites, ring=ring, make=make, state=ClaimState.SILENT)
    with gate.opened.store.write() as tx:
        for number in range(sites):
            tx.save_site(Site(f"w{number:03}", f"Apotheke {number}", "NW"))
    with gate.opened.store.connection() as connection, connection.begin():
        for number, one in enumerate(claims):
            moved = {"site": f"w{number:03}"}
            connection.execute(update(MACHINES).where(MACHINES.c.id == one.machine).values(**moved))
            connection.execute(update(CLAIMS).where(CLAIMS.c.id == one.id).values(**moved))


def test_the_sites_that_still_have_what_is_recalled_are_all_on_its_pages(sqlite_gate: RealGate, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    lost_everywhere(sqlite_gate, rollout, 620)
    recalled(sqlite_gate, rollout)
    path = f"/rollouts/{rollout}?lang=en"
    assert "620 machines at 620 sites still have it or may have it" in html.unescape(anna.client.get(path).text)
    parts = list(pages_of(anna, path, "holders"))
    sites = [one for part in parts for one in re.findall(r'href="/sites/(w\d+)"', part.partition("</table>")[0])]
    assert sites == [f"w{number:03}" for number in range(620)]
    assert len(parts) == 13


def test_what_a_recall_of_many_machines_has_left_is_counted_beside_its_page(
    sqlite_gate: RealGate, app: Flask, anna: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout, _ = filled(sqlite_gate)
    lost_everywhere(sqlite_gate, rollout, 60)
    recalled(sqlite_gate, rollout)
    at_once = anna.client.get(f"/rollouts/{rollout}?lang=en").text
    monkeypatch.setattr(stopped, "AT_ONCE", 59)
    with app.extensions["gate"].back._busy:  # it takes long
        page = anna.client.get(f"/rollouts/{rollout}?lang=en")
        assert page.status_code == 200
        assert "is being counted, beside this page" in page.text
        assert 'id="holders"' not in page.text
        assert f'href="/rollouts/{rollout}/recovery"' in page.text, "the sheets can be had all the same"
        assert anna.client.get(f"/rollouts/{rollout}/recovery").status_code == 200
    app.extensions["gate"].back.wait()
    page = anna.client.get(f"/rollouts/{rollout}?lang=en")
    assert "is being counted" not in page.text
    for part in ("holders", "sheets"):
        tables = [one[one.index(f'id="{part}"') :].partition("</table>")[0] for one in (at_once, page.text)]
        assert tables[0] == tables[1]


def test_a_rollout_of_many_makes_shows_the_worst_first_and_has_all_of_them_on_its_pages(
    sqlite_gate: RealGate, anna: Person
) -> None:
    rollout, _ = filled(sqlite_gate)
    with sqlite_gate.opened.store.write() as tx:
        found, release = tx.rollout(rollout), tx.releases("shop-content", 1)[0]
        assert found is not None
        assert tx.add_release(replace(release, id="many", version="9", counter=9), b"")
        many = replace(found, id="r-many", release="many", state=RolloutState.HALTED, version=1)
        rings = [RingState("r-many", one.ring, at, None, 0, 0, 60) for at, one in enumerate(tx.rings(rollout))]
        tx.add_rollout(many, rings, ())
        for ring in rings:
            shown = [
                Stratum("r-many", ring.ring, f"role=till|pos={ring.ring}{one:02}", True, 9, 9, 1.0, 0, 0, 1 + one, 1,
                        failed=int(one > 45))
                for one in range(50)
            ]  # fmt: skip
            tx.open_ring(replace(ring, opened_at=many.started_at), shown, first_batch=1)
    parts = list(pages_of(anna, "/rollouts/r-many?lang=en", "evidence"))
    rows = [one for part in parts for one in re.findall(r'<td title="([^"]+)"', part.partition("</table>")[0])]
    assert len(rows) == len(set(rows)) == 50 * len(rings)
    assert {one[-2:] for one in rows[: 4 * len(rings)]} == {"46", "47", "48", "49"}, "what is bad is first"
    pages, sheets = [anna.client.get("/rollouts/r-many?lang=en").text, anna.client.get("/rings?lang=en").text], 0
    assert all(len(one.encode()) < MOST for one in pages)
    path = "/rollouts/r-many/recovery"
    while True:
        page = anna.client.get(path).text
        assert len(page.encode()) < MOST
        sheets += page.count('<article class="recovery"')
        following = re.search(r'rel="next" href="(\?sheets=[^"#]+)', page)
        if following is None:
            break
        path = "/rollouts/r-many/recovery" + html.unescape(following[1])
    assert sheets == 4 * len(rings)


def test_holds_and_people_are_paged_and_the_overview_shows_the_next_to_end(sqlite_gate: RealGate, anna: Person) -> None:
    now = sqlite_gate.clock.now()
    with sqlite_gate.opened.store.write() as tx:
        for number in range(120):
            until = now + timedelta(hours=1 + number)
            holds.place(tx, sqlite_gate.opened.gate, f"site=s{number}", "", f"owner-{number:03}", until, "w", "k", now)
            people.add_user(tx, f"u-{number:03}", f"u-{number:03}", "reader", f"l-{number}", "test", now)
    held = [one for part in listed(anna, "/holds") for one in re.findall(r"owner-\d+", part)]
    assert held == [f"owner-{number:03}" for number in range(120)]
    found = {
        one
        for part in listed(anna, "/people")
        for one in re.findall(r'scope="row">(u-\d+)<', part.partition("</table>")[0])
    }
    assert found == {f"u-{number:03}" for number in range(120)}
    overview = anna.client.get("/?lang=en").text
    assert set(re.findall(r"owner-\d+", overview)) == set(held[:20])
    assert "More holds: 100" in overview


def test_every_number_of_a_ladder_leads_to_its_machines(sqlite_gate: RealGate, anna: Person) -> None:
    rollout, _ = filled(sqlite_gate)
    lost_everywhere(sqlite_gate, rollout, 3)
    for path in ("/", "/rollouts", f"/rollouts/{rollout}"):
        listed = anna.client.get(path).text.partition('<ol class="ladder-listed">')[2].partition("</ol>")[0]
        for claim in ("healthy", "failure"):
            link = f'href="/machines?rollout={rollout}&amp;ring=first&amp;claim={claim}"'
            assert link in listed, (path, claim)
        assert 'href="/machines?ring=first"' in listed
    found = anna.client.get(f"/machines?rollout={rollout}&ring=first&claim=failure").text
    assert len(set(re.findall(r'href="/machines/(lost-[^"]+)"', found))) == 3
    queues = anna.client.get("/system?lang=en").text.partition("Queues")[2].partition("</table>")[0]
    assert queues.count("<a href=") == queues.count("<tr>") - 1
    assert 'href="/machines?status=active&amp;standing=bypassed"' in queues
