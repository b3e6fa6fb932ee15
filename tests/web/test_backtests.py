"""Back-tests on the policy's page: begun by a form, one at a time, shown as they go, kept under an address."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask

from gate.adapters.store.sql import SqlStore
from gate.core.backtests import BacktestState
from gate.core.errors import OperatorError
from gate.flows import backtests
from gate.ports import ActivePolicy
from tests.conftest import NOW
from tests.flows.test_policy_edits import TIGHTER, proposed, said, saved
from tests.flows.test_policy_versions import active
from tests.real_gate import RealGate
from tests.web import test_pages
from tests.web.test_pages import Person, person
from tests.web.test_policy_pages import text_of

PEOPLE = test_pages.PEOPLE
WAIT_S = 20.0
THIS: dict[str, Any] = {
    "scenario": "july-19", "policy": "this", "exposed": 9, "bricked": 9, "sites_without_a_till": 5,
    "hours_to_full": None, "falsely_halted": 0,
}  # fmt: skip
OTHER = {**THIS, "policy": "other", "exposed": 3, "bricked": 3, "sites_without_a_till": 2, "hours_to_full": 12.5,
         "falsely_halted": 2}  # fmt: skip


class Played:
    """Runs nothing: it says what a test has it say, and ends when the test lets it."""

    scenarios = ("healthy-week", "july-19")

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = [THIS, OTHER]
        self.worse: list[str] = ["july-19"]
        self.problem = ""
        self.texts: list[Mapping[str, str]] = []
        self.go, self.begun, self.over = threading.Event(), threading.Event(), threading.Event()

    def run(
        self, texts: Mapping[str, str], what: str, now: datetime, told: Callable[[float], bool]
    ) -> Mapping[str, Any] | None:
        self.texts.append(texts)
        told(0.25)
        self.begun.set()
        assert self.go.wait(WAIT_S)
        if self.problem:
            raise OperatorError("backtest_failed", self.problem)
        if self.over.is_set():
            return None
        return {"rows": self.rows, "worse": self.worse, "days": [], "notes": []}


@pytest.fixture
def played(sqlite_gate: RealGate) -> Played:
    found = Played()
    sqlite_gate.opened.backtester = found
    return found


@pytest.fixture
def app(sqlite_gate: RealGate, played: Played) -> Iterator[Flask]:
    yield test_pages.app_of(sqlite_gate)
    played.go.set()
    settled()


def settled() -> None:
    """Whatever was begun beside the requests is over."""
    for one in threading.enumerate():
        if one.name.startswith("backtest-"):
            one.join(WAIT_S)
            assert not one.is_alive()


def begun(person_: Person, played: Played, version: str = "head", what: str = "july-19") -> str:
    answer = person_.post("/policy/backtests", version=version, what=what)
    assert answer.status_code == 303, answer.text
    assert played.begun.wait(WAIT_S)
    return str(answer.headers["Location"])


def test_a_version_is_tested_against_the_active_one_and_its_figures_stand_under_an_address(
    sqlite_gate: RealGate, app: Flask, played: Played
) -> None:
    anna = person(app, "anna")
    first = active(sqlite_gate).commit
    head = sqlite_gate.opened.policies
    page = anna.client.get(f"/policy?tab=backtest&version={first}").text
    assert '<option value="july-19" selected>' in page
    saved(sqlite_gate, said(sqlite_gate, TIGHTER))
    second = active(sqlite_gate).commit
    where = begun(anna, played, first)
    running = anna.client.get(where)
    assert 'value="25"' in running.text
    assert "data-making" in running.text
    assert f'<a href="{where}">Load again</a>' in running.text
    assert played.texts == [{"this": head.read(first), "other": head.read(second)}]
    played.go.set()
    settled()
    for login in ("rita", "anna"):
        page = person(app, login).client.get(where).text
        words = text_of(page)
        assert "Worse than the active version in: july-19." in words
        assert "july-19 worse this version 9 9 5 not within the run 0" in words
        assert "july-19 the version that was active 3 3 2 12.5 2" in words
        assert page.count('<rect class="this') == page.count('<rect class="other') == 5, "four figures and the key"
        assert "data-making" not in page
        kept = person(app, login).client.get(f"/policy?tab=backtest&version={first}").text
        assert f'<a href="{where}">' in kept


def test_a_proposal_leads_to_a_back_test_of_what_it_proposes(sqlite_gate: RealGate, app: Flask, played: Played) -> None:
    anna, proposal = person(app, "anna"), proposed(sqlite_gate)
    link = f"/policy?tab=backtest&amp;version={proposal.subject}"
    assert f'href="{link}"' in anna.client.get(f"/policy/proposals/{proposal.id}").text
    assert f'value="{proposal.subject}"' in anna.client.get(link.replace("&amp;", "&")).text
    begun(anna, played, proposal.subject)
    policies = sqlite_gate.opened.policies
    assert played.texts == [{"this": policies.read(proposal.subject), "other": policies.read(policies.head())}]


def test_the_active_version_is_tested_alone(sqlite_gate: RealGate, app: Flask, played: Played) -> None:
    played.rows, played.worse = [THIS], []
    played.go.set()
    where = begun(person(app, "anna"), played, active(sqlite_gate).commit)
    settled()
    assert [list(one) for one in played.texts] == [["this"]]
    page = text_of(person(app, "rita").client.get(where).text)
    assert "worse" not in page
    assert "Against nothing else" in page


def test_who_comes_second_is_led_to_the_one_that_runs(app: Flask, played: Played) -> None:
    anna, berta = person(app, "anna"), person(app, "berta")
    where = begun(anna, played)
    answer = berta.post("/policy/backtests", version="head", what="all")
    assert answer.headers["Location"] == where
    tab = berta.client.get("/policy?tab=backtest").text
    assert "one runs at a time" in tab
    assert f'<a href="{where}">Look at it</a>' in tab
    assert 'action="/policy/backtests"' not in tab
    assert len(played.texts) == 1
    played.go.set()
    settled()
    assert begun(berta, played, what="all") != where


def test_a_person_stops_it_and_no_result_comes_of_it(sqlite_gate: RealGate, app: Flask, played: Played) -> None:
    anna = person(app, "anna")
    where = begun(anna, played)
    assert f'action="{where}/stop"' not in person(app, "ada").client.get(where).text
    assert anna.post(f"{where}/stop").status_code == 303
    assert "It has no result: stopped by anna" in text_of(anna.client.get(where).text)
    version = active(sqlite_gate).commit
    with sqlite_gate.opened.store.read() as tx:
        told = [(one.kind, one.actor, one.detail) for one in tx.events(subject=where.rpartition("/")[2])]
    detail = {"tested": "july-19", "version": version, "against": version}
    assert told == [("backtest_stopped", "anna", detail), ("backtest_begun", "anna", detail)]
    assert anna.post(f"{where}/stop").status_code == 303, "it has ended, and nothing is told again"
    with sqlite_gate.opened.store.read() as tx:
        assert len(tx.events(subject=where.rpartition("/")[2])) == 2
    with sqlite_gate.opened.store.write() as tx:
        assert not backtests.beat(tx, where.rpartition("/")[2], 0.5, sqlite_gate.clock.now())
    played.go.set()
    settled()
    assert "It has no result: stopped by anna" in text_of(anna.client.get(where).text)


def test_one_that_fails_says_why_in_both_languages(app: Flask, played: Played) -> None:
    played.problem = "the back-test took longer than 60 minutes"
    played.go.set()
    anna = person(app, "anna")
    where = begun(anna, played)
    settled()
    assert "It has no result: the back-test took longer than 60 minutes" in text_of(anna.client.get(where).text)
    german = text_of(anna.client.get(where, headers={"Accept-Language": "de"}).text)
    assert "Sie hat kein Ergebnis: die Rückprobe dauerte länger als 60 Minuten" in german


def test_one_whose_process_is_gone_is_said_to_be_and_the_next_begins(
    sqlite_gate: RealGate, app: Flask, played: Played
) -> None:
    where = begun(person(app, "anna"), played)
    sqlite_gate.clock.forward(minutes=3)
    anna = person(app, "anna")
    assert "the process that ran it is gone" in anna.client.get(where).text
    assert 'action="/policy/backtests"' in anna.client.get("/policy?tab=backtest").text
    played.begun.clear()
    assert begun(anna, played) != where
    assert "ended without an answer" in anna.client.get(where).text


def test_only_what_the_form_offers_is_tested(app: Flask, played: Played) -> None:
    anna = person(app, "anna")
    for what in ("", "/etc/passwd", "../july-19", "one-make"):
        assert anna.post("/policy/backtests", version="head", what=what).status_code == 400
    assert anna.post("/policy/backtests", version="0" * 40, what="july-19").status_code == 404
    assert person(app, "ada").post("/policy/backtests", version="head", what="july-19").status_code == 403
    assert played.texts == []


def test_a_scenario_by_a_hostile_name_is_text(app: Flask, played: Played) -> None:
    played.rows, played.worse = [{**THIS, "scenario": "<script>x"}, {**OTHER, "scenario": "<script>x"}], []
    played.go.set()
    where = begun(person(app, "anna"), played)
    settled()
    page = person(app, "rita").client.get(where).text
    assert "<script>x" not in page
    assert page.count("&lt;script&gt;x") >= 6


def test_one_begins_where_many_ask_at_once(store: SqlStore) -> None:
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("a" * 40, NOW, "test"), "")

    def ask(number: int) -> tuple[str, bool]:
        with store.write() as tx:
            one, ours = backtests.begin(tx, "a" * 40, "all", f"p{number}", NOW)
        return one.id, ours

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))
    assert sum(ours for _, ours in found) == 1
    assert len({one for one, _ in found}) == 1


def test_what_died_is_ended_by_whoever_asks_next_and_says_nothing_any_more(store: SqlStore) -> None:
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("a" * 40, NOW, "test"), "")
        first, _ = backtests.begin(tx, "a" * 40, "all", "anna", NOW)
        assert backtests.beat(tx, first.id, 0.5, NOW + timedelta(minutes=1))
        at_limit, over = NOW + timedelta(minutes=3), NOW + timedelta(minutes=3, seconds=1)
        assert backtests.begin(tx, "a" * 40, "all", "berta", at_limit) == (tx.backtest(first.id), False)
        second, ours = backtests.begin(tx, "a" * 40, "all", "berta", over)
        assert ours
        assert not backtests.beat(tx, first.id, 0.9, over)
        assert not backtests.end(tx, first, {"rows": []}, "", over)
        assert backtests.end(tx, second, {"rows": []}, "", over)
        states = {one.id: (one.state, one.done) for one in tx.backtests()}
    assert states == {first.id: (BacktestState.FAILED, 0.5), second.id: (BacktestState.DONE, 1.0)}


def test_only_the_newest_are_kept(store: SqlStore) -> None:
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("a" * 40, NOW, "test"), "")
        for number in range(backtests.KEPT + 3):
            one, _ = backtests.begin(tx, "a" * 40, "all", "anna", NOW + timedelta(seconds=number))
            backtests.end(tx, one, {"rows": []}, "", NOW + timedelta(seconds=number))
        kept = tx.backtests(limit=1000)
    assert len(kept) == backtests.KEPT
    assert kept[-1].asked_at == NOW + timedelta(seconds=3)


def test_a_test_that_was_kept_before_false_halts_were_counted_is_shown_as_it_was(app: Flask, played: Played) -> None:
    played.rows = [{**THIS, "falsely_halted": True}, {**OTHER, "falsely_halted": False}]
    played.go.set()
    where = begun(person(app, "anna"), played)
    settled()
    page = text_of(person(app, "rita").client.get(where).text)
    assert "9 9 5 not within the run yes" in page
    assert "3 3 2 12.5 0" in page
