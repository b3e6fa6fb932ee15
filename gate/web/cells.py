"""Tables on a phone: each row is a card there, and each of its cells says the name of its column.

The name stands in the cell (``data-label``) and is shown by the style sheet on narrow screens only. The cell that heads
its row is the card's title and needs none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from markupsafe import Markup, escape

ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
CELL = re.compile(r"<(td|th)\b([^>]*)>")


def labelled(rows: str, columns: Sequence[str]) -> Markup:
    """The rows of a table, which are markup already, with the name of its column in each cell."""
    return Markup(ROW.sub(lambda row: _row(row[0], columns), rows))  # noqa: S704  (rows are escaped, names here)


def _row(row: str, columns: Sequence[str]) -> str:
    names = iter(columns)

    def cell(found: re.Match[str]) -> str:
        name = next(names, "")
        return found[0] if found[1] == "th" or not name else f'<td{found[2]} data-label="{escape(name)}">'

    return CELL.sub(cell, row)
