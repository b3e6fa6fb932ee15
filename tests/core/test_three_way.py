"""Two changes of one text: both are kept, or nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core.three_way import merged

BASE = "a\nb\nc\nd\ne\n"
LINES = st.lists(st.sampled_from("abc"), max_size=7).map(lambda found: "".join(f"{one}\n" for one in found))


@pytest.mark.parametrize(
    ("mine", "theirs", "both"),
    [
        ("A\nb\nc\nd\ne\n", "a\nb\nc\nd\nE\n", "A\nb\nc\nd\nE\n"),
        ("a\nb\nc\nd\n", "x\na\nb\nc\nd\ne\n", "x\na\nb\nc\nd\n"),
        ("a\nB\nc\nd\ne\n", "a\nB\nc\nd\ne\n", "a\nB\nc\nd\ne\n"),
        ("a\nB\nc\nd\ne\n", "a\nX\nc\nd\ne\n", None),
        ("a\nB\nc\nd\ne\n", "a\nb\nX\nd\ne\n", None),
        ("a\nb\nc\nd\ne\nf\n", "a\nb\nc\nd\ne\ng\n", None),
        (BASE, "x\n", "x\n"),
        ("x\n", BASE, "x\n"),
    ],
)
def test_changes_of_other_lines_are_both_kept_and_those_that_touch_are_not_guessed(
    mine: str, theirs: str, both: str | None
) -> None:
    assert merged(BASE, mine, theirs) == both


@given(LINES, LINES)
def test_a_change_beside_none_is_that_change(base: str, mine: str) -> None:
    assert merged(base, mine, base) == merged(base, base, mine) == merged(base, mine, mine) == mine


@given(LINES, LINES, LINES)
def test_it_does_not_matter_whose_change_is_whose(base: str, mine: str, theirs: str) -> None:
    assert merged(base, mine, theirs) == merged(base, theirs, mine)
