"""Long lists: machines, sites, rollouts. Filter, order and page stand in the address; a person keeps filters by name.

- A page is read in one transaction and never counts. The same list as CSV is streamed, a thousand rows a transaction,
  so it holds nothing open and is not of one moment.
- A cell of a CSV that a spreadsheet would take for a formula begins with an apostrophe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from flask import Response, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from gate.core import lists
from gate.core.bypass import Standing
from gate.core.errors import Conflict, Malformed, NotFound
from gate.core.lists import MachineList, RolloutList, SiteList
from gate.core.model import ClaimState, Machine, Rollout, RolloutState, Site
from gate.flows import site_import
from gate.ports import Tx
from gate.web import morning, rollout_lines

PAGE = 50
EXPORTED = 1000
MOST_KEPT = 50
MOST_UPLOADED = 8 * 1024 * 1024
MOST_TROUBLES = 200
LONGEST = 200
UNSAID = ("after", "look")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
CLAIM_WORDS = (*lists.GROUPS, *(state.value for state in ClaimState))


@dataclass(frozen=True, slots=True)
class Kind:
    """One list: what may be asked, in which orders, and how it is written down."""

    asked: type[Any]
    sorts: Sequence[str]
    columns: Sequence[str]
    page: Callable[[Tx, Any, int], Sequence[Any]]
    cells: Callable[[Tx, Sequence[Any]], Iterator[Sequence[str]]]
    key: Callable[[Tx, Any, str], str]


def machines() -> str:
    """Machines, a page at a time."""
    kind = KINDS["machines"]
    asked = _asked(kind)
    with g.parts.store.read() as tx:
        found, more = _page(tx, kind, asked)
        choices = {"rings": rollout_lines.ring_names(), "roles": _roles(), "claims": CLAIM_WORDS}
        choices |= {"mornings": lists.MORNING, "standings": [one.value for one in Standing]}
        return _rendered(tx, "machines", kind, asked, more, machines=found, **choices)


def sites() -> str:
    """Sites, a page at a time."""
    kind = KINDS["sites"]
    asked = _asked(kind)
    with g.parts.store.read() as tx:
        found, more = _page(tx, kind, asked)
        words = tx.last_words([one.id for one in found])
        choices = {"rings": rollout_lines.ring_names(), "roles": _roles()}
        return _rendered(tx, "sites", kind, asked, more, sites=found, words=words, **choices)


def rollouts() -> str:
    """Rollouts, a page at a time."""
    kind = KINDS["rollouts"]
    asked = _asked(kind)
    with g.parts.store.read() as tx:
        found, more = _page(tx, kind, asked)
        lines = rollout_lines.lines_of(tx, found)
        choices = {"states": [one.value for one in RolloutState], "sources": rollout_lines.sources_of("")}
        return _rendered(tx, "rollouts", kind, asked, more, lines=lines, **choices)


def as_csv(kind: str) -> Response:
    """A list with its filter and order, whole, as CSV."""
    if kind not in KINDS:
        raise NotFound("there is no such page")
    asked = replace(_asked(KINDS[kind]), after=None)
    answer = Response(_streamed(g.parts.store.read, KINDS[kind], asked), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{kind}.csv"'
    return answer


def import_sites() -> str | WerkzeugResponse | tuple[str, int]:
    """Sites from a CSV file: all of them or none."""
    if request.method == "GET":
        return render_template("import.html", troubles=(), columns=site_import.COLUMNS)
    file = request.files.get("file")
    if file is None or not file.filename:
        raise Malformed("bad_field", "choose a file")
    checks = site_import.Checks(g.parts.check_hours, g.parts.check_land, g.parts.land)
    found, troubles = site_import.read(file.stream.read(MOST_UPLOADED + 1), checks)
    if not troubles and not found:
        troubles = [site_import.Trouble(0, "there is no site in it")]
    if troubles:
        return _not_imported(troubles)
    policy = g.parts.policy()
    with g.parts.store.write() as tx:
        troubles = site_import.into_first(tx, policy, found)
        if not troubles:
            site_import.take(tx, policy, found, _me(), g.now)
    if troubles:
        return _not_imported(troubles)
    return redirect(url_for("sites", sort="site"), 303)


def _not_imported(troubles: Sequence[site_import.Trouble]) -> tuple[str, int]:
    shown = troubles[:MOST_TROUBLES]
    page = render_template("import.html", troubles=shown, more=len(troubles), columns=site_import.COLUMNS)
    return page, 400


def keep_filter() -> WerkzeugResponse:
    """Keeps what a list is asked now, under a name of this person."""
    page, name = _page_of_form()
    asked = _address(KINDS[page].asked, request.form)
    with g.parts.store.write() as tx:
        kept = tx.saved_filters(_me(), page)
        if name not in kept and len(kept) >= MOST_KEPT:
            raise Conflict("too_many", f"a person keeps at most {MOST_KEPT} filters of a list")
        tx.save_filter(_me(), page, name, asked, g.now)
    address: dict[str, Any] = {**asked}
    return redirect(url_for(page, **address), 303)


def drop_filter() -> WerkzeugResponse:
    """Forgets a kept filter."""
    page, name = _page_of_form()
    with g.parts.store.write() as tx:
        tx.drop_filter(_me(), page, name)
    return redirect(url_for(page), 303)


def _page_of_form() -> tuple[str, str]:
    page, name = request.form.get("page", ""), request.form.get("name", "").strip()
    if page not in KINDS:
        raise Malformed("bad_field", "there is no such list")
    if not name or len(name) > 60 or any(ord(char) < 32 for char in name):
        raise Malformed("bad_field", "a filter has a name of at most 60 characters")
    return page, name


def _me() -> str:
    assert g.visitor is not None, "an act needs a visitor"
    return str(g.visitor.user.id)


def _asked(kind: Kind) -> Any:
    """What the address asks."""
    asked = _address(kind.asked, request.args)
    sort = asked.get("sort", kind.sorts[0])
    sort = sort if sort in kind.sorts else kind.sorts[0]
    after = lists.after_of(request.args.get("after", "")[:LONGEST], sort)
    values: dict[str, Any] = {**asked, "sort": sort, "after": after}
    if "dark" in values:
        values["dark"] = True
    if "morning" in values:
        values["look"] = morning.look()
    return kind.asked(**values)


def _address(asked: type[Any], given: Any) -> dict[str, str]:
    """The words of an address that say something; what is no word of this list is left out."""
    names = [one.name for one in fields(asked) if one.name not in UNSAID]
    return {name: value for name in names if (value := given.get(name, "").strip()[:LONGEST])}


def _said(asked: Any) -> dict[str, str]:
    """The address of what is asked, without the page."""
    values = {one.name: getattr(asked, one.name) for one in fields(asked) if one.name not in UNSAID}
    return {name: "1" if value is True else value for name, value in values.items() if value}


def _page(tx: Tx, kind: Kind, asked: Any) -> tuple[Sequence[Any], str]:
    """One page, and the word of the address for the next one."""
    found = kind.page(tx, asked, PAGE + 1)
    return found[:PAGE], kind.key(tx, found[PAGE - 1], asked.sort) if len(found) > PAGE else ""


def _rendered(tx: Tx, page: str, kind: Kind, asked: Any, more: str, **shown: Any) -> str:
    kept = tx.saved_filters(_me(), page) if g.parts.guest is None else {}
    words = {"asked": _said(asked), "sorts": kind.sorts, "kept": kept, "page": page}
    return render_template(f"{page}.html", **words, following=more, later=asked.after is not None, now=g.now, **shown)


def _roles() -> list[str]:
    policy = g.parts.policy()
    picked = {role for ring in policy.rings for role in ring.pick.get("role", ())} if policy else set()
    return sorted(picked)


def _streamed(read: Callable[[], Any], kind: Kind, asked: Any) -> Iterator[str]:
    yield _line(kind.columns)
    while True:
        with read() as tx:
            found = kind.page(tx, asked, EXPORTED)
            text = "".join(_line(row) for row in kind.cells(tx, found))
            if found:
                asked = replace(asked, after=lists.after_of(kind.key(tx, found[-1], asked.sort), asked.sort))
        yield text
        if len(found) < EXPORTED:
            return


def _line(cells: Sequence[str]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([f"'{one}" if one.startswith(FORMULA) else one for one in cells])
    return out.getvalue()


def _moment(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at else ""


def _machine_cells(tx: Tx, found: Sequence[Machine]) -> Iterator[Sequence[str]]:
    for one in found:
        seen = _moment(one.last_seen_at)
        yield one.id, one.name, one.site, one.status.value, one.role, one.ring, one.make, " ".join(one.labels), seen


def _site_cells(tx: Tx, found: Sequence[Site]) -> Iterator[Sequence[str]]:
    words = tx.last_words([one.id for one in found])
    for one in found:
        count, seen = words.get(one.id, (0, None))
        on = "yes" if one.always_on else ""
        yield one.id, one.name, one.land, one.hours, on, " ".join(sorted(one.labels)), str(count), _moment(seen)


def _rollout_cells(tx: Tx, found: Sequence[Rollout]) -> Iterator[Sequence[str]]:
    versions = tx.versions([one.release for one in found])
    for one in found:
        times = _moment(one.started_at), _moment(one.done_at), one.halted_because
        yield one.id, one.source, versions.get(one.release, ""), one.state.value, *times


def _machine_key(_: Tx, one: Machine, sort: str) -> str:
    if sort in lists.LAST_SEEN:
        return lists.key(lists.micros(one.last_seen_at), one.id)
    return lists.key(one.site if sort == "site" else one.name, one.id)


def _site_key(tx: Tx, one: Site, sort: str) -> str:
    if sort in lists.LAST_SEEN:
        return lists.key(lists.micros(tx.last_words([one.id]).get(one.id, (0, None))[1]), one.id)
    return lists.key(one.name if sort == "name" else one.id, one.id)


def _rollout_key(tx: Tx, one: Rollout, _: str) -> str:
    return lists.key(one.source, str(tx.rollout_numbers([one.id])[one.id]))


KINDS = {
    "machines": Kind(
        MachineList,
        lists.MACHINE_SORTS,
        ("id", "name", "site", "status", "role", "ring", "make", "labels", "last_seen"),
        lambda tx, asked, limit: tx.list_machines(asked, limit),
        _machine_cells,
        _machine_key,
    ),
    "sites": Kind(
        SiteList,
        lists.SITE_SORTS,
        ("id", "name", "land", "hours", "always_on", "labels", "machines", "last_seen"),
        lambda tx, asked, limit: tx.list_sites(asked, limit),
        _site_cells,
        _site_key,
    ),
    "rollouts": Kind(
        RolloutList,
        lists.ROLLOUT_SORTS,
        ("id", "source", "version", "state", "started", "done", "halted_because"),
        lambda tx, asked, limit: tx.list_rollouts(asked, limit),
        _rollout_cells,
        _rollout_key,
    ),
}
VIEWS = (
    ("/rollouts", rollouts, "view", ["GET"]),
    ("/machines", machines, "view", ["GET"]),
    ("/sites", sites, "view", ["GET"]),
    ("/export/<kind>.csv", as_csv, "view", ["GET"]),
    ("/sites/import", import_sites, "sites", ["GET", "POST"]),
    ("/filters", keep_filter, "view", ["POST"]),
    ("/filters/drop", drop_filter, "view", ["POST"]),
)
