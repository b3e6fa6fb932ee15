"""Two changes of one text, brought together line by line.

- What only one side has changed is taken from it. Where both have changed the same lines, or lines that touch, nothing
  is guessed: there is no merged text. Two changes that are the same are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import pairwise

Hunk = tuple[int, int, tuple[str, ...]]
"""Lines [start, end) of the base, and what stands there instead."""


def merged(base: str, mine: str, theirs: str) -> str | None:
    """``theirs`` with what ``mine`` has changed of ``base``; None where that is not possible line by line."""
    lines = base.splitlines(keepends=True)
    ours, others = (list(_hunks(lines, one.splitlines(keepends=True))) for one in (mine, theirs))
    hunks = sorted({*ours, *others})
    for before, after in pairwise(hunks):
        if after[0] <= before[1]:
            return None
    found, at = [], 0
    for start, end, instead in hunks:
        found += [*lines[at:start], *instead]
        at = end
    return "".join([*found, *lines[at:]])


def _hunks(base: Sequence[str], other: Sequence[str]) -> Iterator[Hunk]:
    for tag, start, end, first, last in SequenceMatcher(None, base, other, autojunk=False).get_opcodes():
        if tag != "equal":
            yield start, end, tuple(other[first:last])
