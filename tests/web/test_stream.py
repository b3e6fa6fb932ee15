"""Server-sent events: what changes is told at once, to as many as there is room for, and to nobody who is gone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import BoundedSemaphore
from typing import Any

import pytest
from flask import Flask

from gate.web import auth, stream, system
from gate.web.stream import OVER, Stream
from tests.real_gate import RealGate
from tests.web import test_pages
from tests.web.test_pages import Person, person

app, anna = test_pages.app, test_pages.anna


def listening(person_: Person) -> Iterator[bytes]:
    answer = person_.client.get("/live/stream")
    assert (answer.status_code, answer.mimetype) == (200, "text/event-stream")
    assert answer.headers["Cache-Control"] == "no-store"
    return iter(answer.response)  # type: ignore[arg-type]


def token_of(app: Flask, person_: Person) -> auth.Visitor:
    cookie = person_.client.get_cookie("gate")
    assert cookie is not None
    parts: Any = app.extensions["gate"]
    found = auth.visitor(parts.store, cookie.value, parts.clock.now())
    assert found is not None
    return found


def happens(gate: RealGate) -> None:
    with gate.opened.store.write() as tx:
        tx.append("policy_fetched", "gate", "policy:remote", gate.clock.now())


def test_a_word_comes_at_once_and_another_when_something_has_happened(sqlite_gate: RealGate, anna: Person) -> None:
    said = listening(anna)
    store, now = sqlite_gate.opened.store, sqlite_gate.clock.now
    assert next(said).decode() == f"retry: 300\ndata: {system.mark(store, now())}\n\n"
    assert next(said) in (b":\n\n", f"retry: 300\ndata: {system.mark(store, now())}\n\n".encode()), "each second"
    happens(sqlite_gate)
    assert next(said).decode() == f"retry: 300\ndata: {system.mark(store, now())}\n\n"
    assert anna.client.get("/live").headers["ETag"] == f'"{system.mark(store, now())}"'


def test_it_ends_so_that_a_closed_page_and_a_stopping_server_wait_no_longer(sqlite_gate: RealGate) -> None:
    room = BoundedSemaphore(1)
    assert room.acquire(blocking=False)
    one = Stream(sqlite_gate.opened.store, sqlite_gate.clock, None, room)
    assert next(one)
    one.until = 0.0
    assert list(one) == []
    assert stream.LASTS_S < 10


@pytest.mark.parametrize("how", ["logs out", "has another role", "is disabled"])
def test_it_ends_at_once_where_the_session_is_another_one(
    sqlite_gate: RealGate, app: Flask, anna: Person, how: str
) -> None:
    said = listening(anna)
    assert next(said)
    who = token_of(app, anna)
    with sqlite_gate.opened.store.write() as tx:
        if how == "has another role":
            tx.save_user(replace(who.user, role="reader"))
        if how == "is disabled":
            tx.save_user(replace(who.user, disabled=True))
    if how == "logs out":
        assert anna.post("/logout").status_code == 303
    assert list(said) == [OVER]


def test_it_keeps_no_session_alive(sqlite_gate: RealGate, anna: Person) -> None:
    for _ in range(4):
        sqlite_gate.clock.forward(minutes=4)
        answer = anna.client.get("/live/stream")
        answer.close()
    assert answer.status_code == 302


def test_who_finds_no_room_is_told_so_and_what_is_closed_makes_room_read_or_not(app: Flask, anna: Person) -> None:
    answers = [anna.client.get("/live/stream") for _ in range(stream.MOST)]
    assert [one.status_code for one in answers] == [200] * stream.MOST
    assert person(app, "berta").client.get("/live/stream").status_code == 204
    answers[0].close()
    again = anna.client.get("/live/stream")
    assert again.status_code == 200
    for one in [again, *answers]:
        one.close()
        one.close()
    with pytest.raises(ValueError):
        app.extensions["gate"].room.release()


def test_nobody_listens_without_a_session(app: Flask) -> None:
    assert app.test_client().get("/live/stream").status_code == 302
