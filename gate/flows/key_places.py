"""Where recovery keys are kept: for a machine, or for all of a site; said by people, one by one or as a CSV file.

- The key itself is never kept: a text that could be one is refused, and no text of a place goes into the audit log.
- A file has the columns site, machine, place, key_id; the first line names them. ``machine`` is an id, or a name that
  only one machine of the site has; empty: all of the site. All of it is taken or nothing; what is known is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from gate.core.errors import Malformed, NotFound
from gate.core.model import Machine
from gate.core.recovery import KeyPlace, problem_of
from gate.flows import csv_rows
from gate.flows.csv_rows import MOST, Trouble
from gate.ports import Tx

COLUMNS = ("site", "machine", "place", "key_id")
PAGE = 1000


def keep(tx: Tx, site: str, machine: str, place: str, key_id: str, by: str, now: datetime) -> KeyPlace:
    """Says where a key is kept.

    Raises:
        NotFound: no such site or machine there. Malformed: no place, or a text that looks like a key.
    """
    problem = problem_of(place, key_id)
    if problem:
        raise Malformed("bad_field", problem)
    kept = KeyPlace(site, _machine(tx, site, machine), place, key_id.upper(), by, now)
    tx.save_key_place(kept)
    tx.append("key_place_changed", by, site, now, {"machine": kept.machine, "key_id": kept.key_id})
    return kept


def drop(tx: Tx, site: str, machine: str, by: str, now: datetime) -> None:
    """Forgets where a key is kept; by the machine's id also where it stands at another site by now.

    Raises:
        NotFound: nothing is known of it.
    """
    found = machine
    if not tx.drop_key_place(site, found):
        found = _machine(tx, site, machine)
        if not tx.drop_key_place(site, found):
            raise NotFound("no place is known for this key")
    tx.append("key_place_dropped", by, site, now, {"machine": found})


def read(raw: bytes) -> tuple[list[tuple[int, Sequence[str]]], list[Trouble]]:
    """The rows of a file, each with its line, and what is wrong with it."""
    return csv_rows.read(raw, f"a list of key places has at most {MOST} bytes", _head, _row)


def _head(columns: Sequence[str]) -> Iterator[str]:
    if sorted(columns) != sorted(COLUMNS):
        yield f"the columns are {', '.join(COLUMNS)}"


def _row(columns: Sequence[str], row: Sequence[str]) -> Sequence[str]:
    if len(row) != len(columns):
        raise ValueError("a row has as many values as columns")
    said = dict(zip(columns, row, strict=True))
    site, machine, place, key_id = (said[name].strip() for name in COLUMNS)
    problem = problem_of(place, key_id)
    if problem:
        raise ValueError(problem)
    return site, machine, place, key_id.upper()


def take(tx: Tx, rows: Sequence[tuple[int, Sequence[str]]], by: str, now: datetime) -> list[Trouble]:
    """Keeps all of them as one act, or none; what is wrong with them."""
    found: dict[tuple[str, str], KeyPlace] = {}
    troubles = []
    for line, (site, machine, place, key_id) in rows:
        try:
            known = _machine(tx, site, machine)
        except NotFound as problem:
            troubles.append(Trouble(line, problem.detail))
            continue
        if (site, known) in found:
            troubles.append(Trouble(line, "this key is there twice"))
        found[site, known] = KeyPlace(site, known, place, key_id, by, now)
    if not troubles:
        for one in found.values():
            tx.save_key_place(one)
        tx.append("key_places_imported", by, "sites", now, {"count": len(found)})
    return troubles


def _machine(tx: Tx, site: str, wanted: str) -> str:
    """The id of a machine at a site; empty where none is asked for."""
    if tx.site(site) is None:
        raise NotFound(f"there is no site {site[:60]}")
    if not wanted:
        return ""
    one = tx.machine(wanted)
    if one is not None and one.site == site:
        return one.id
    named = [found.id for found in _of_site(tx, site) if found.name == wanted]
    if len(named) != 1:
        raise NotFound(f"{len(named)} machines of site {site[:60]} are called {wanted[:60]}")
    return named[0]


def _of_site(tx: Tx, site: str) -> list[Machine]:
    found: list[Machine] = []
    while page := tx.machines(site=site, after=found[-1].id if found else "", limit=PAGE):
        found += page
    return found
