"""Rows of several tables in one statement: one round trip, and all of them of the same moment.

Each part gives its columns to the slots of a UNION ALL; a slot is of one type, and where a part has no column for it,
it is empty. So a row is as wide as the widest part, not as all of them together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    Integer,
    Select,
    String,
    cast,
    literal_column,
    null,
    select,
    union_all,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import AutoString

from gate.adapters.store.prepared import Prepared
from gate.adapters.store.tables import Moment

Rowset = dict[str, list[dict[str, Any]]]


class United:
    """``parts``: name -> what is selected of it. ``touches`` as of ``Prepared``."""

    def __init__(self, touches: Iterable[str], **parts: Select[Any]) -> None:
        self._names = tuple(parts)
        kinds: list[TypeEngine[Any]] = []
        self._places: list[list[tuple[str, str]]] = []
        selected = []
        for statement in parts.values():
            columns = list(statement.selected_columns)
            places = _placed([_kind(column.type) for column in columns], kinds)
            self._places.append(
                [(str(column.key), f"slot_{place}") for column, place in zip(columns, places, strict=True)]
            )
            selected.append((statement, dict(zip(places, columns, strict=True))))
        united = []
        for number, (statement, by_place) in enumerate(selected):
            slots = (
                (by_place[place] if place in by_place else cast(null(), kind)).label(f"slot_{place}")
                for place, kind in enumerate(kinds)
            )
            part = literal_column(str(number), Integer).label("part")
            united.append(statement.with_only_columns(part, *slots, maintain_column_froms=True))
        together = union_all(*united).subquery("united")
        self.statement = Prepared(select(*together.c), touches)

    def split(self, rows: Iterable[Mapping[str, Any]]) -> Rowset:
        """The rows of each part."""
        found: Rowset = {name: [] for name in self._names}
        lists = tuple(found.values())
        for row in rows:
            part = row["part"]
            lists[part].append({name: row[slot] for name, slot in self._places[part]})
        return found


def _kind(given: TypeEngine[Any]) -> TypeEngine[Any]:
    if isinstance(given, AutoString):
        return String()
    for kind in (Moment, Boolean, Float, String):
        if isinstance(given, kind):
            return kind()
    assert isinstance(given, Integer), given
    return BigInteger()


def _placed(wanted: list[TypeEngine[Any]], kinds: list[TypeEngine[Any]]) -> list[int]:
    """The slot of each column: the first free one of its type, a new one where there is none."""
    used: Counter[type] = Counter()
    places = []
    for kind in wanted:
        same = [place for place, one in enumerate(kinds) if type(one) is type(kind)]
        if used[type(kind)] == len(same):
            kinds.append(kind)
            same.append(len(kinds) - 1)
        places.append(same[used[type(kind)]])
        used[type(kind)] += 1
    return places
