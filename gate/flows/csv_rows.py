"""Rows of a CSV file that somebody sends: every problem with its row, so that all of them are mended at once.

- The first line names the columns. Rows are counted as an editor does: the first line is 1, a row is told by the line
  on which it ends.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

MOST = 64 * 1024 * 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a row; row 0: with the file."""

    row: int
    said: str


def read(
    raw: bytes,
    too_long: str,
    head: Callable[[Sequence[str]], Iterable[str]],
    row_of: Callable[[Sequence[str], Sequence[str]], T],
) -> tuple[list[tuple[int, T]], list[Trouble]]:
    """Each row with its line, and what is wrong with the file. ``head`` says what is wrong with the columns; ``row_of``
    makes a row of columns and values, and raises ValueError where it cannot."""
    if len(raw) > MOST:
        return [], [Trouble(0, too_long)]
    found: list[tuple[int, T]] = []
    troubles: list[Trouble] = []
    try:
        rows = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""), strict=True)
        columns = next(rows, [])
        wrong = [Trouble(1, said) for said in head(columns)]
        if wrong:
            return [], wrong
        for row in rows:
            if not row:
                continue
            try:
                found.append((rows.line_num, row_of(columns, row)))
            except ValueError as problem:
                troubles.append(Trouble(rows.line_num, str(problem)))
    except UnicodeDecodeError as problem:
        troubles.append(Trouble(0, f"not UTF-8: byte {problem.start}"))
    except csv.Error:
        troubles.append(Trouble(0, f"not CSV: line {rows.line_num}"))
    return found, troubles
