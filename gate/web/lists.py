"""Long lists: machines, sites, rollouts; and every list as CSV, the import of sites."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flask import Response, g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as WerkzeugResponse

from gate.core import lists
from gate.core.bypass import Standing
from gate.core.errors import Malformed, NotFound
from gate.core.lists import MachineList, RolloutList, SiteList
from gate.core.model import ClaimState, Machine, Rollout, RolloutState, Site
from gate.flows import site_import
from gate.flows.csv_rows import Trouble
from gate.ports import Tx
from gate.web import filters, hold_pages, policy_pages, roles, rollout_lines
from gate.web.forms import me
from gate.web.listed import Here, Kind, asked_of, by_key, moment, page_of
from gate.web.listed import as_csv as csv_of

MOST_UPLOADED = 8 * 1024 * 1024
MOST_TROUBLES = 200
CLAIM_WORDS = (*lists.GROUPS, *(state.value for state in ClaimState))


def machines() -> str:
    """Machines, a page at a time."""
    choices = {"rings": rollout_lines.ring_names(), "roles": _roles(), "claims": CLAIM_WORDS}
    choices |= {"mornings": lists.MORNING, "standings": [one.value for one in Standing]}
    with g.parts.store.read() as tx:
        found, shown = page_of(tx, MACHINES, asked_of(MACHINES))
        return render_template("machines.html", machines=found, **shown, **choices)


def sites() -> str:
    """Sites, a page at a time."""
    with g.parts.store.read() as tx:
        found, shown = page_of(tx, SITES, asked_of(SITES))
        words = tx.last_words([one.id for one in found])
        choices = {"rings": rollout_lines.ring_names(), "roles": _roles()}
        return render_template("sites.html", sites=found, words=words, **shown, **choices)


def rollouts() -> str:
    """Rollouts, a page at a time."""
    with g.parts.store.read() as tx:
        found, shown = page_of(tx, ROLLOUTS, asked_of(ROLLOUTS))
        lines = rollout_lines.lines_of(tx, found)
        choices = {"states": [one.value for one in RolloutState], "sources": rollout_lines.sources_of("")}
        return render_template("rollouts.html", lines=lines, **shown, **choices)


def as_csv(kind: str) -> Response:
    """A list with its filter and order, whole, as CSV."""
    if kind not in KINDS:
        raise NotFound("there is no such page")
    return csv_of(KINDS[kind])


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
        troubles = [Trouble(0, "there is no site in it")]
    if troubles:
        return _not_imported(troubles)
    policy = g.parts.policy()
    with g.parts.store.write() as tx:
        troubles = site_import.into_first(tx, policy, found)
        if not troubles:
            site_import.take(tx, policy, found, me(), g.now)
    if troubles:
        return _not_imported(troubles)
    return redirect(url_for("sites", sort="site"), 303)


def _not_imported(troubles: Sequence[Trouble]) -> tuple[str, int]:
    shown = troubles[:MOST_TROUBLES]
    page = render_template("import.html", troubles=shown, more=len(troubles), columns=site_import.COLUMNS)
    return page, 400


def _roles() -> list[str]:
    policy = g.parts.policy()
    picked = {role for ring in policy.rings for role in ring.pick.get("role", ())} if policy else set()
    return sorted(picked)


def _machine_cells(_: Tx, found: Sequence[Machine], __: Here) -> Iterator[Sequence[str]]:
    for one in found:
        seen = moment(one.last_seen_at)
        yield one.id, one.name, one.site, one.status.value, one.role, one.ring, one.make, " ".join(one.labels), seen


def _site_cells(tx: Tx, found: Sequence[Site], _: Here) -> Iterator[Sequence[str]]:
    words = tx.last_words([one.id for one in found])
    for one in found:
        count, seen = words.get(one.id, (0, None))
        on = "yes" if one.always_on else ""
        yield one.id, one.name, one.land, one.hours, on, " ".join(sorted(one.labels)), str(count), moment(seen)


def _rollout_cells(tx: Tx, found: Sequence[Rollout], _: Here) -> Iterator[Sequence[str]]:
    versions = tx.versions([one.release for one in found])
    for one in found:
        times = moment(one.started_at), moment(one.done_at), one.halted_because
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


MACHINES = Kind(
    "machines",
    MachineList,
    lists.MACHINE_SORTS,
    ("id", "name", "site", "status", "role", "ring", "make", "labels", "last_seen"),
    by_key(lambda tx, asked, limit: tx.list_machines(asked, limit), _machine_key),
    _machine_cells,
)
SITES = Kind(
    "sites",
    SiteList,
    lists.SITE_SORTS,
    ("id", "name", "land", "hours", "always_on", "labels", "machines", "last_seen"),
    by_key(lambda tx, asked, limit: tx.list_sites(asked, limit), _site_key),
    _site_cells,
)
ROLLOUTS = Kind(
    "rollouts",
    RolloutList,
    lists.ROLLOUT_SORTS,
    ("id", "source", "version", "state", "started", "done", "halted_because"),
    by_key(lambda tx, asked, limit: tx.list_rollouts(asked, limit), _rollout_key),
    _rollout_cells,
)
KINDS: Mapping[str, Kind] = {
    one.name: one for one in (MACHINES, SITES, ROLLOUTS, roles.PEOPLE, hold_pages.HOLDS, policy_pages.HISTORY)
}
VIEWS = (
    ("/rollouts", rollouts, "view", ["GET"]),
    ("/machines", machines, "view", ["GET"]),
    ("/sites", sites, "view", ["GET"]),
    ("/export/<kind>.csv", as_csv, "view", ["GET"]),
    ("/sites/import", import_sites, "sites", ["GET", "POST"]),
    *filters.VIEWS,
)
