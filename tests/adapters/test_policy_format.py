"""The layout of a policy: only blanks change; what it says, its comments and its order never."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.adapters.policy_format import formatted
from gate.adapters.policy_yaml import PolicyProblems, parse_text
from gate.core.policy_diff import diff
from tests.core.test_policy import LEAST, SEED, WALK


def marks(text: str) -> str:
    """All that is not a blank."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("text", [SEED, WALK, LEAST])
def test_the_shipped_policies_are_laid_out(text: str) -> None:
    assert formatted(text) == text


WILD = [
    (SEED.replace("\n", "  \n"), SEED),
    (SEED.replace("\n", "\r\n"), SEED),
    ("\n\n" + SEED + "\n\n", SEED),
    (SEED.rstrip("\n"), SEED),
    (SEED.replace("\n    ", "\n        ").replace("\n  - name", "\n   -    name"), SEED),
    (SEED.replace("\n  - ", "\n- ").replace("\n    ", "\n  "), SEED),
    (SEED.replace("\n  - {", "\n       - {"), SEED),
    ("a:\n     # one\n     b: {c: 1,\n  d: 2}\n", "a:\n  # one\n  b: {c: 1,\n    d: 2}\n"),
    ("a: >-\n    one # no comment\n    two: {\nb: '#'  \n", "a: >-\n    one # no comment\n    two: {\nb: '#'\n"),
    ("a:\n    -   - 1\n        - '# {'\n    - 2\n", "a:\n  - - 1\n    - '# {'\n  - 2\n"),
]  # fmt: skip


@pytest.mark.parametrize(("wild", "tidy"), WILD)
def test_a_wild_layout_becomes_the_one_layout(wild: str, tidy: str) -> None:
    assert formatted(wild) == tidy


def test_what_is_not_yaml_is_refused_and_never_touched() -> None:
    with pytest.raises(PolicyProblems):
        formatted("a: [\n")


@st.composite
def shaken(draw: st.DrawFn) -> str:
    """A shipped policy with other indentation, blank lines, comments and blanks at the end of lines."""
    lines = []
    width = draw(st.integers(1, 4))
    for line in draw(st.sampled_from([SEED, WALK, LEAST])).splitlines():
        bare = line.lstrip(" ")
        depth = len(line) - len(bare)
        if draw(st.integers(0, 5)) == 0:
            lines.append(draw(st.sampled_from(["", "   ", "# a note", " " * depth + "#  another: [note"])))
        lines.append(" " * (depth * width) + bare + " " * draw(st.integers(0, 2)))
        if bare.startswith("- name") and width > 1:
            lines[-1] = lines[-1].replace("- name", "-" + " " * (2 * width - 1) + "name")
    return "\n".join(lines) + "\n" * draw(st.integers(0, 3))


@settings(max_examples=40, deadline=None)
@given(shaken())
def test_a_shaken_policy_says_the_same_keeps_its_comments_and_is_laid_out_once(text: str) -> None:
    after = formatted(text)
    assert marks(after) == marks(text)
    assert formatted(after) == after
    assert diff(parse_text(text), parse_text(after)) == ()
    assert after.endswith("\n") and not any(line != line.rstrip() for line in after.splitlines())


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab:-# \n'\"{}[]|>,", max_size=40))
def test_any_text_is_refused_or_keeps_all_but_its_blanks(text: str) -> None:
    try:
        after = formatted(text)
    except PolicyProblems:
        return
    assert marks(after) == marks(text)
    assert formatted(after) == after
