"""One changed value is one changed line: edits by the places of nodes, on random policies with comments."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.adapters.policy_edit import edited, moved_item, with_item, without_item
from gate.adapters.policy_yaml import PolicyProblems, load
from gate.core.errors import Malformed
from gate.core.policy_values import Node

SEED = Path("policies/policy.yaml").read_text()
WORDS = st.text("abcxyz0189 %:#'\"-,{}[]äß!?&*|>@`\\", min_size=1, max_size=12)
KEYS = st.sampled_from(["why", "gate", "pick", "soak", "name", "while-open", "floor", "at_most"])
VALUES: st.SearchStrategy[Any] = st.recursive(
    WORDS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=8,
)
MAPS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=5)


def said(text: str) -> Any:
    node = load(text, "policy.yaml")
    assert isinstance(node, Node), node

    def gist(one: Node) -> Any:
        if one.entries is not None:
            return {entry.key: gist(entry.node) for entry in one.entries}
        return one.text if one.items is None else [gist(item) for item in one.items]

    return gist(node)


@st.composite
def written(draw: st.DrawFn, value: Any, indent: int = 0) -> str:
    """The value as YAML in a random hand: block or flow, quotes, comments, blank lines. Ends with a line's end."""
    pad = " " * indent
    comment = draw(st.sampled_from(["", "", "", "  # a note: {not} a value"]))
    if isinstance(value, str) or not value or draw(st.integers(0, 3)) == 0:
        return f" {flow(draw, value)}{comment}\n"
    lines = [f"{comment}\n"]
    for key in value if isinstance(value, dict) else range(len(value)):
        if draw(st.integers(0, 4)) == 0:
            lines.append(draw(st.sampled_from(["\n", f"{pad}# over the next one\n", f"{pad}# one\n{pad}# two\n"])))
        head = f"{pad}{key}:" if isinstance(value, dict) else f"{pad}-"
        lines.append(head + draw(written(value[key], indent + draw(st.sampled_from([2, 2, 4])))))
    return "".join(lines)


def flow(draw: st.DrawFn, value: Any) -> str:
    if isinstance(value, str):
        plain = value.isalnum() and value.isascii()
        style = draw(st.sampled_from(["plain", "double", "single"]))
        if style == "plain" and plain:
            return value
        return "'" + value.replace("'", "''") + "'" if style == "single" else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "[" + draw(st.sampled_from([", ", ","])).join(flow(draw, one) for one in value) + "]"
    return "{" + ", ".join(f"{key}: {flow(draw, one)}" for key, one in value.items()) + "}"


def places(value: Any, path: str = "") -> list[str]:
    """Every path in it."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, one in value.items():
            found += places(one, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            found += places(one, f"{path}[{index}]")
    return found


def at(value: Any, path: str) -> Any:
    for step in path.replace("[", ".[").strip(".").split("."):
        value = value[int(step[1:-1])] if step.startswith("[") else value[step]
    return value


def outside(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines that differ: those that went, those that came."""
    came = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    return [one[2:] for one in came if one[0] == "-"], [one[2:] for one in came if one[0] == "+"]


@settings(max_examples=100, deadline=None)
@given(st.data(), MAPS)
def test_a_value_that_is_set_changes_its_own_lines_and_reads_as_it_was_given(data: st.DataObject, value: Any) -> None:
    text = "# the whole\n" + data.draw(written(value)).lstrip()
    if said_or_none(text) != value:
        return
    path = data.draw(st.sampled_from(places(value)))
    new = data.draw(VALUES)
    try:
        after = edited(text, [(path, new)])
    except Malformed:
        return
    expected = json.loads(json.dumps(value))
    holder, _, _ = path.rpartition("[") if path.endswith("]") else path.rpartition(".")
    target = at(expected, holder) if holder else expected
    target[int(path[path.rindex("[") + 1 : -1]) if path.endswith("]") else path.rpartition(".")[2]] = new
    assert said(after) == expected
    if isinstance(at(value, path), str):
        went, came = outside(text, after)
        assert len(went) <= 1
        assert len(came) <= 1
        if went:
            assert note(went[0]) == note(came[0]), "the comment behind it stays"


def said_or_none(text: str) -> Any:
    node = load(text, "policy.yaml")
    return said(text) if isinstance(node, Node) else None


def note(line: str) -> bool:
    return line.endswith("# a note: {not} a value")


@settings(max_examples=100, deadline=None)
@given(st.data(), MAPS)
def test_what_is_removed_takes_nothing_else_along(data: st.DataObject, value: Any) -> None:
    text = data.draw(written(value)).lstrip()
    if said_or_none(text) != value:
        return
    path = data.draw(st.sampled_from(places(value)))
    try:
        after = edited(text, [(path, None)])
    except (Malformed, PolicyProblems):
        return
    left = [one for one in text.splitlines() if one.lstrip().startswith("#")]
    kept = [one for one in after.splitlines() if one.lstrip().startswith("#")]
    above = path.rpartition(".")[0]
    alone = bool(above) and len(at(value, above)) == 1  # then the map that held it goes too
    assert alone or isinstance(at(value, path), dict | list) or left == kept, "no comment of another goes"


@settings(max_examples=60, deadline=None)
@given(st.data(), st.lists(MAPS, min_size=1, max_size=4), MAPS)
def test_items_come_go_and_move_and_the_others_stay_as_they_are(data: st.DataObject, items: Any, more: Any) -> None:
    text = "rings:" + data.draw(written(items)) + "after: x  # the end\n"
    if said_or_none(text) != {"rings": items, "after": "x"}:
        return
    place = data.draw(st.integers(0, len(items)))
    index, to = (data.draw(st.integers(0, len(items) - 1)) for _ in range(2))
    try:
        longer = with_item(text, "rings", more, place)
        assert said(longer)["rings"] == [*items[:place], more, *items[place:]]
        assert not outside(text, longer)[0] or "[" in text.splitlines()[0]
        shorter = without_item(text, f"rings[{index}]")
        assert said(shorter)["rings"] == [*items[:index], *items[index + 1 :]]
        turned = moved_item(text, f"rings[{index}]", to)
        assert sorted(turned.splitlines()) == sorted(text.splitlines()) or "[" in text.splitlines()[0]
    except Malformed:
        return


@st.composite
def by_hand(draw: st.DrawFn, words: list[str]) -> str:
    """A list of words as people write one: down the page, on one line, or broken over several, with notes."""
    quote = st.sampled_from(["", '"', "'"])
    said_ = [f"{mark}{one}{mark}" for one, mark in ((one, draw(quote)) for one in words)]
    shape = draw(st.sampled_from(["block", "one line", "lines"]))
    if shape == "one line":
        return f"pick:\n  site: [{draw(st.sampled_from([', ', ','])).join(said_)}]  # the end\n"
    lines = []
    for number, (word, text) in enumerate(zip(words, said_, strict=True), 1):
        over = f"    # over {word}\n" if draw(st.booleans()) else ""
        about = f"  # about {word}" if draw(st.booleans()) else ""
        comma = "," if shape == "lines" and number < len(words) else ""
        lines.append(f"{over}    {'- ' if shape == 'block' else ''}{text}{comma}{about}\n")
    opened, closed = ("\n", "") if shape == "block" else (" [\n", "  ]\n")
    return f"pick:\n  site:{opened}{''.join(lines)}{closed}  role: till\nafter: x  # the end\n"


SITES = st.lists(st.sampled_from([f"lab{number}" for number in range(8)]), min_size=1, max_size=5, unique=True)


@settings(max_examples=300, deadline=None)
@given(st.data(), SITES)
def test_a_list_that_is_edited_keeps_the_lines_of_what_stays_in_it(data: st.DataObject, old: list[str]) -> None:
    text = data.draw(by_hand(old))
    kept = [one for one in old if data.draw(st.booleans())]
    new = list(kept)
    for word in data.draw(st.lists(st.sampled_from(["new1", "new2", "new 3", "4: x"]), max_size=3, unique=True)):
        new.insert(data.draw(st.integers(0, len(new))), word)
    if not new:
        return
    after = edited(text, [("pick.site", new)])
    expected = said(text)
    expected["pick"]["site"] = new
    assert said(after) == expected
    for word in kept:
        assert re.findall(rf"""['"]?\b{word}\b['"]?(?=[,\]\s])""", text) == re.findall(
            rf"""['"]?\b{word}\b['"]?(?=[,\]\s])""", after
        ), "its quotes and the notes about it stay"
    if kept == old and "- " in text:
        assert not outside(text, after)[0], "what comes in takes no line away"


@pytest.mark.parametrize(
    ("new", "after"),
    [
        (["a", "b", "c", "d"], 'site:\n  - a # Berlin\n  - b # Bonn\n  - "c" # until May\n  - d\nrole: x\n'),
        (["a", "c"], 'site:\n  - a # Berlin\n  - "c" # until May\nrole: x\n'),
        (["z", "b", "c"], 'site:\n  - z\n  - b # Bonn\n  - "c" # until May\nrole: x\n'),
        (["z"], "site:\n  - z\nrole: x\n"),
    ],
)
def test_a_list_down_the_page_changes_by_a_line_an_item(new: list[str], after: str) -> None:
    text = 'site:\n  - a # Berlin\n  - b # Bonn\n  - "c" # until May\nrole: x\n'
    assert edited(text, [("site", new)]) == after


@pytest.mark.parametrize(
    ("new", "after"),
    [
        (["a", "b", "c"], 'site: [a, # Berlin\n  "b", c] # end\n'),
        (["a"], "site: [a, # Berlin\n  ] # end\n"),
        (["b"], 'site: [\n  "b"] # end\n'),
        (["c", "b"], 'site: [\n  c, "b"] # end\n'),
    ],
)
def test_a_list_over_two_lines_keeps_its_notes_and_quotes(new: list[str], after: str) -> None:
    assert edited('site: [a, # Berlin\n  "b"] # end\n', [("site", new)]) == after


@pytest.mark.parametrize(
    ("changes", "went", "came"),
    [
        ([("rings[1].gate.soak", "6h open")], 1, 1),
        ([("rings[1].floor", None)], 1, 0),
        ([("rings[0].floor", "1h")], 0, 1),
        ([("defaults.decides", "people")], 0, 1),
        ([("rings[1].gate.rule_out", "5%")], 1, 1),
        ([("rings[1].pick.role", ["till"])], 1, 1),
        ([("freeze[3].to", "2027-01-05")], 1, 1),
        ([("brakes[0].within", "20m")], 1, 1),
        ([("sources[0].decides", "people")], 1, 1),
        ([("unreachable", None)], 1, 0),
        ([("expedite.people", "3"), ("first_batch", "2")], 2, 2),
    ],
)
def test_the_seed_policy_changes_by_a_line_a_value(changes: Any, went: int, came: int) -> None:
    gone, new = outside(SEED, edited(SEED, changes))
    assert (len(gone), len(new)) == (went, came)


@pytest.mark.parametrize(
    ("path", "value"),
    [("rings[99].why", "x"), ("fleet.x", "y"), ("rings.x", "y"), ("rings[0][0]", "y")],
)
def test_a_place_that_is_not_there_is_refused_and_nothing_is_written(path: str, value: str) -> None:
    with pytest.raises(Malformed):
        edited(SEED, [(path, value)])


def test_a_text_that_is_not_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(PolicyProblems) as raised:
        edited("a: [1\nb: 2\n", [("a", "x")])
    assert raised.value.problems[0].line


@pytest.mark.parametrize(
    "word", ["no", "- x", "a: b", "x # y", "#x", "'", '"', "{a", "*a", "!a", "|", "ü", "50%", "~", ""]
)
def test_words_that_mean_something_to_yaml_are_quoted(word: str) -> None:
    after = edited(SEED, [("rings[0].why", word)]) if word else SEED
    assert not word or said(after)["rings"][0]["why"] == word


def test_the_first_key_of_an_item_gives_way_to_the_next() -> None:
    assert edited("a:\n  - name: x\n    why: y\n", [("a[0].name", None)]) == "a:\n  - why: y\n"


def test_the_last_item_leaves_an_empty_list_and_the_first_comes_into_one() -> None:
    empty = without_item("freeze:\n  - {name: x}\n# end\n", "freeze[0]")
    assert empty == "freeze: []\n# end\n"
    assert with_item(empty, "freeze", {"name": "y"}) == "freeze:\n  - {name: y}\n# end\n"


def test_a_section_that_was_not_there_is_made() -> None:
    assert said(with_item("a: x\n", "freeze", {"name": "y"})) == {"a": "x", "freeze": [{"name": "y"}]}
    assert edited("a: x\n", [("defaults.decides", "people")]) == "a: x\ndefaults: {decides: people}\n"
