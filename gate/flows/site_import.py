"""Sites from a CSV file: all of them or none, every problem with its row; one set of rules for page and command line.

- Columns: id, name, land, hours, always_on, labels; the first line names them, and ``id`` must be there.
- A row says a whole site: what it leaves out is empty, but for the Land, which is then the installation's own.
- A site whose hours are ``24/7`` is always on, whatever the row says of that.
- Duty and closing days of a known site stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from gate.core import calendar
from gate.core.model import SLUG, Site
from gate.core.policy import Policy
from gate.flows import csv_rows, site_changes
from gate.flows.csv_rows import MOST, Trouble
from gate.ports import Tx

COLUMNS = ("id", "name", "land", "hours", "always_on", "labels")
LONGEST = {"id": 60, "name": 200, "land": 60, "hours": 1000, "always_on": 60, "labels": 500}
MOST_NAMED = 200
YES, NO = ("1", "yes", "true", "ja"), ("", "0", "no", "false", "nein")
Check = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Checks:
    """What is wrong with opening hours and with a Land; ``land``: of a site that names none."""

    hours: Check
    land_known: Check
    land: str = ""


def read(raw: bytes, checks: Checks) -> tuple[list[Site], list[Trouble]]:
    """The sites of a file, and what is wrong with it."""
    too_long = f"a list of sites has at most {MOST} bytes"
    found, troubles = csv_rows.read(raw, too_long, _head, lambda columns, row: _site(columns, row, checks))
    troubles += _twice(found)
    return [site for _, site in found], troubles


def _twice(found: Sequence[tuple[int, Site]]) -> list[Trouble]:
    first: dict[str, int] = {}
    troubles = []
    for row, site in found:
        if site.id in first:
            troubles.append(Trouble(row, f"site {site.id} is there twice"))
        first.setdefault(site.id, row)
    return troubles


def into_first(tx: Tx, policy: Policy | None, sites: Sequence[Site]) -> list[Trouble]:
    """The sites whose labels would bring machines into the first rings: for each of these it takes two people."""
    found = [(site, len(site_changes.into_first(tx, policy, site))) for site in sites] if policy else []
    said = "site {}: its labels would bring machines into the first rings; change it by itself, two people must agree"
    return [Trouble(0, said.format(site.id)) for site, count in found if count]


def take(tx: Tx, policy: Policy | None, sites: Sequence[Site], by: str, now: datetime) -> None:
    """Adds or changes them, as one act; its event names those that are new or other than before."""
    changed = []
    for site in sites:
        before = tx.site(site.id)
        if before is None or replace(before, times=site.times) != site:
            changed.append(site.id)
        site_changes.save(tx, policy, site)
    detail = {"count": len(sites), "changes": len(changed), "sites": changed[:MOST_NAMED]}
    tx.append("sites_imported", by, "sites", now, detail)


def _head(columns: Sequence[str]) -> Iterator[str]:
    """What is wrong with the line that names the columns."""
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        shown = ", ".join(one[:60] for one in unknown)
        yield f"unknown column {shown}; known: {', '.join(COLUMNS)}"
    twice = sorted({one for one in columns if columns.count(one) > 1})
    if twice:
        yield f"the column {twice[0][:60]} is there twice"
    if columns and not unknown and "id" not in columns:
        yield "the column id is missing"


def _site(columns: Sequence[str], row: Sequence[str], checks: Checks) -> Site:
    if len(row) > len(columns):
        raise ValueError(f"{len(row)} values in a row of {len(columns)} columns")
    said = dict(zip(columns, row, strict=False))
    text = {key: said.get(key, "").strip() for key in COLUMNS}
    if any(ord(char) < 32 or ord(char) == 127 for one in text.values() for char in one):
        raise ValueError("a text has control characters")
    for key, most in LONGEST.items():
        if len(text[key]) > most:
            raise ValueError(f"{key} is longer than {most} characters")
    if not SLUG.match(text["id"]):
        raise ValueError(f"id {text['id']!r} is not a-z, 0-9 and -")
    if text["always_on"].lower() not in (*YES, *NO):
        raise ValueError(f"always_on {text['always_on']!r} is not yes or no")
    chosen = text["land"] or checks.land
    problem = (text["hours"] and checks.hours(text["hours"])) or (chosen and checks.land_known(chosen))
    if problem:
        raise ValueError(problem)
    return Site(
        id=text["id"],
        name=text["name"] or text["id"],
        land=chosen,
        hours=text["hours"],
        always_on=text["always_on"].lower() in YES or text["hours"] == calendar.NEVER_CLOSED,
        labels=frozenset(text["labels"].split()),
    )
