"""Long tables of a page that is about one thing: the first rows of each, the others a page of the same address further.

The word of the address is the name of the last row that was shown, as in ``lists``; what no row is called begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from flask import request

T = TypeVar("T")


def cut(table: str, found: Sequence[T], name: Callable[[T], str], most: int) -> tuple[Sequence[T], str]:
    """A page of a table, and the word for the next one; empty: there is none."""
    asked = request.args.get(table, "")
    start = next((number for number, one in enumerate(found, 1) if name(one) == asked), 0) if asked else 0
    page = found[start : start + most]
    return page, name(page[-1]) if len(found) > start + most else ""
