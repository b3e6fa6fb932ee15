"""How a long list works: what its address asks, a page by key, and the same whole as CSV.

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

from flask import Response, g, request

from gate.core import lists
from gate.ports import Tx
from gate.web import filters, morning

PAGE = 50
EXPORTED = 1000
FORMULA = ("=", "+", "-", "@", "\t", "\r")
Page = tuple[Sequence[Any], str]  # rows, and the word for the next page; empty: there is none


@dataclass(frozen=True, slots=True)
class Here:
    """What a list knows beside a transaction, also while it flows out after its request."""

    parts: Any
    now: datetime


@dataclass(frozen=True, slots=True)
class Kind:
    """One list: its table in ``filters``, what may be asked, in which orders, and how it is written down."""

    name: str
    asked: type[Any]
    sorts: Sequence[str]
    columns: Sequence[str]
    page: Callable[[Tx, Any, int, Here], Page]
    cells: Callable[[Tx, Sequence[Any], Here], Iterator[Sequence[str]]]
    begin: Callable[[str, str], Any] = lists.after_of  # the word of an address and the order -> what to begin after
    size: int = PAGE


def by_key(found: Callable[[Tx, Any, int], Sequence[Any]], key: Callable[[Tx, Any, str], str]) -> Any:
    """The pages of a list whose rows follow a sort key."""

    def page(tx: Tx, asked: Any, limit: int, _: Here) -> Page:
        rows = found(tx, asked, limit + 1)
        return rows[:limit], key(tx, rows[limit - 1], asked.sort) if len(rows) > limit else ""

    return page


def asked_of(kind: Kind) -> Any:
    """What the address asks."""
    values: dict[str, Any] = {**filters.TABLES[kind.name].said(request.args)}
    sort = values.get("sort", "")
    if kind.sorts:
        values["sort"] = sort = sort if sort in kind.sorts else kind.sorts[0]
    values["after"] = kind.begin(request.args.get("after", "")[: filters.LONGEST], sort)
    if "dark" in values:
        values["dark"] = True
    if "morning" in values:
        values["look"] = morning.look()
    return kind.asked(**values)


def page_of(tx: Tx, kind: Kind, asked: Any) -> tuple[Sequence[Any], dict[str, Any]]:
    """One page, and what its template needs beside the rows."""
    found, following = kind.page(tx, asked, kind.size, Here(g.parts, g.now))
    shown = filters.shown(tx, kind.name, _said(asked), following, later=asked.after is not None)
    return found, shown | {"sorts": kind.sorts}


def _said(asked: Any) -> dict[str, str]:
    """The address of what is asked, without the page."""
    values = {one.name: getattr(asked, one.name) for one in fields(asked) if one.name not in filters.UNSAID}
    return {name: "1" if value is True else value for name, value in values.items() if value}


def as_csv(kind: Kind) -> Response:
    """A list with its filter and order, whole."""
    asked = replace(asked_of(kind), after=None)
    lines = _streamed(kind, asked, Here(g.parts, g.now))
    begun = next(lines) + next(lines)  # what cannot be asked is said before anything is sent
    answer = Response(_after(begun, lines), mimetype="text/csv")
    answer.headers["Content-Disposition"] = f'attachment; filename="{kind.name}.csv"'
    return answer


def _after(begun: str, lines: Iterator[str]) -> Iterator[str]:
    yield begun
    yield from lines


def _streamed(kind: Kind, asked: Any, here: Here) -> Iterator[str]:
    yield line(kind.columns)
    following = "-"
    while following:
        with here.parts.store.read() as tx:
            found, following = kind.page(tx, asked, EXPORTED, here)
            text = "".join(line(row) for row in kind.cells(tx, found, here))
        yield text
        if following:
            asked = replace(asked, after=kind.begin(following, getattr(asked, "sort", "")))


def line(cells: Sequence[str]) -> str:
    """A line of a CSV."""
    out = io.StringIO()
    csv.writer(out).writerow([f"'{one}" if one.startswith(FORMULA) else one for one in cells])
    return out.getvalue()


def moment(at: datetime | None) -> str:
    """A time as a cell."""
    return at.isoformat(timespec="seconds") if at else ""
