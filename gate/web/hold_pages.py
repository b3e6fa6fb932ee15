"""Holds: who is kept out, by whom, until when, and who was; a form for one more, and its lifting by two people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gate.core import lists
from gate.core.errors import Malformed
from gate.core.lists import HoldList
from gate.core.model import Hold
from gate.flows import holds as held
from gate.ports import Tx
from gate.web import forms
from gate.web.forms import POST
from gate.web.listed import Here, Kind, Page, asked_of, moment, page_of


def holds() -> str:
    """Holds, those that hold now where nothing else is asked; and a form for one more."""
    with g.parts.store.read() as tx:
        found, shown = page_of(tx, HOLDS, asked_of(HOLDS))
        waiting = [one for one in tx.proposals("open", now=g.now) if one.kind == "lift_hold"]
    proposed = {one.subject: one for one in waiting}
    policy = g.parts.policy()
    sources = [one.name for one in policy.sources] if policy else []
    return render_template(
        "holds.html",
        holding=[(one, held.words(one), proposed.get(one.id), _state(one, g.now)) for one in found],
        states=lists.HOLD_STATES,
        sources=sources,
        chosen=request.args.get("source", ""),
        **shown,
    )


def _state(hold: Hold, now: datetime) -> str:
    """Which of the states of a list it has."""
    return "lifted" if hold.lifted_at is not None else "held" if hold.until > now else "over"


def place_hold() -> Response:
    """Keeps machines out that meet a pick."""
    pick, source = forms.text("pick", 500), forms.text("source", 60, needed=False)
    owner, because = forms.text("owner", 100), forms.text("because", 1000)
    with g.parts.store.write() as tx:
        held.place(tx, g.parts.gate, pick, source, owner, _until(), because, forms.me(), g.now)
    return redirect(url_for("holds"), 303)


def _until() -> datetime:
    """A local time of the policy's zone."""
    policy = g.parts.policy()
    zone = ZoneInfo(policy.timezone) if policy else UTC
    try:
        return datetime.fromisoformat(request.form.get("until", "")).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed("bad_field", "an end is a day and a time such as 2026-12-23T18:00") from None


def lift_hold() -> Response:
    """Propose to lift a hold before its end, or agree."""
    with g.parts.store.write() as tx:
        held.lift(tx, forms.text("hold", 60), forms.me(), forms.text("because", 1000), g.now)
    return redirect(url_for("holds"), 303)


def _page(tx: Tx, asked: HoldList, limit: int, here: Here) -> Page:
    found, last = held.listed(tx, asked, limit, here.now)
    return found, _key(last, asked.sort) if last else ""


def _key(hold: Hold, sort: str) -> str:
    return lists.key(lists.micros(hold.made_at if sort == "-made" else hold.until), hold.id)


def _cells(_: Tx, found: Sequence[Hold], here: Here) -> Iterator[Sequence[str]]:
    for one in found:
        times = moment(one.until), moment(one.made_at), moment(one.lifted_at)
        yield one.id, held.words(one), one.source, _state(one, here.now), one.owner, *times, one.made_by, one.because


HOLDS = Kind(
    "holds",
    HoldList,
    lists.HOLD_SORTS,
    ("id", "pick", "source", "state", "owner", "until", "made", "lifted", "made_by", "because"),
    _page,
    _cells,
)
VIEWS = (
    ("/holds", holds, "view", ["GET"]),
    ("/holds", place_hold, "hold", POST),
    ("/holds/lift", lift_hold, "lift", POST),
)
