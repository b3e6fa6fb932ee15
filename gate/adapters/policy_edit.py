"""Edits of a policy's text by the places of its nodes: one changed value is one changed line.

- A path is what the policy calls a place: ``rings[2].gate.soak``, ``freeze[0]``, ``windows.while-open.from``.
- Comments, order, quotes and blank lines stay; only what is edited is written anew: of a list the items that differ.
- Each edit is read back: where the text would not say exactly what was wanted, nothing is changed and that is said.
- The text itself is judged elsewhere: an edit may well make a policy that is not valid.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from gate.adapters.policy_said import Said, Value, find, gist, path_of, plain, steps_of, wanted
from gate.adapters.policy_said import said as said
from gate.adapters.policy_yaml import PolicyProblems, load
from gate.core.errors import Malformed

STEP = 2
YamlNode = Any
"""A node of ruamel's, which has no types of its own."""


def edited(text: str, changes: Sequence[tuple[str, Value | None]]) -> str:
    """The text with each place set to its value; None removes the key, and a map that has no other with it.

    Raises:
        PolicyProblems: the text is not YAML. Malformed: no such place, or it cannot be written by itself.
    """
    for path, value in changes:
        expected = wanted(said(text), steps_of(path), value)
        by_items = _items_set(text, steps_of(path), value)
        text = by_items if by_items and _says(by_items, expected) else _checked(_set(text, path, value), expected)
    return text


def with_item(text: str, path: str, item: Mapping[str, Value], at: int | None = None) -> str:
    """The text with one item more in the list at ``path``, before item ``at`` or at its end.

    Raises:
        PolicyProblems, Malformed: as ``edited``.
    """
    expected = said(text)
    listed = find(expected, steps_of(path))
    if listed is None:
        return edited(text, [(path, [item])])
    if not isinstance(listed, list):
        raise Malformed("bad_field", f"{path} is not a list")
    place = len(listed) if at is None else at
    listed.insert(place, plain(item))
    return _checked(_insert(text, steps_of(path), [item], place), expected)


def without_item(text: str, path: str) -> str:
    """The text without the list item at ``path``, which is ``list[index]``.

    Raises:
        PolicyProblems, Malformed: as ``edited``.
    """
    *above, last = steps_of(path)
    expected = said(text)
    listed = find(expected, above)
    if not isinstance(listed, list) or not isinstance(last, int) or last >= len(listed):
        raise Malformed("bad_field", f"the policy has no place {path}")
    del listed[last]
    return _checked(_cut(text, above, last)[0], expected)


def moved_item(text: str, path: str, to: int) -> str:
    """The text with the list item at ``path`` at place ``to``; the comment lines right above it go with it.

    Raises:
        PolicyProblems, Malformed: as ``edited``.
    """
    *above, last = steps_of(path)
    expected = said(text)
    listed = find(expected, above)
    if not isinstance(listed, list) or not isinstance(last, int) or not max(last, to) < len(listed):
        raise Malformed("bad_field", f"the policy has no place {path}")
    if to == last:
        return text
    listed.insert(to, listed.pop(last))
    rest, piece = _cut(text, above, last, comments=True)
    return _checked(_paste(rest, above, piece, to), expected)


@dataclass(frozen=True, slots=True)
class _Place:
    """A node, the key or dash before it, and where what it says ends."""

    node: YamlNode
    start: int  # of the key or of the item's own words
    end: int


def _root(text: str) -> YamlNode:
    problems = load(text, "policy.yaml")
    if isinstance(problems, list):
        raise PolicyProblems(problems)
    root: YamlNode = YAML(typ="rt", pure=True).compose(text)
    return root


def _end(text: str, node: YamlNode) -> int:
    """Where what a node says ends: before comments and blanks that follow it."""
    if isinstance(node, ScalarNode):
        block = node.style in ("|", ">")
        words = text[node.start_mark.index : node.end_mark.index]
        return int(node.start_mark.index) + len(words.rstrip() if block else words)
    if node.flow_style:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(text, last[1] if isinstance(node, MappingNode) else last)


def _at(text: str, root: YamlNode, steps: Sequence[str | int]) -> _Place | None:
    place = _Place(root, root.start_mark.index, _end(text, root))
    for step in steps:
        node = place.node
        if isinstance(step, int):
            if not isinstance(node, SequenceNode) or step >= len(node.value):
                return None
            child = node.value[step]
            place = _Place(child, child.start_mark.index, _end(text, child))
            continue
        pair = next((one for one in node.value if one[0].value == step), None) if _is_map(node) else None
        if pair is None:
            return None
        place = _Place(pair[1], pair[0].start_mark.index, _end(text, pair[1]))
    return place


def _is_map(node: YamlNode) -> bool:
    return isinstance(node, MappingNode)


def _set(text: str, path: str, value: Value | None) -> str:
    steps = steps_of(path)
    root = _root(text)
    place = _at(text, root, steps)
    if value is None:
        return text if place is None else _removed(text, root, steps, place)
    if place is None:
        return _added(text, root, steps, value)
    start = place.node.start_mark.index
    before = "" if text[:start].endswith((" ", "\n", "[", "{", ",")) else " "
    if isinstance(place.node, ScalarNode) and not place.node.style and place.node.value == "" and start == place.end:
        colon = text.index(":", place.start) + 1  # a key that says nothing yet
        return text[:colon] + " " + _flow(value) + text[colon:]
    if not isinstance(place.node, ScalarNode) and not place.node.flow_style:
        return _block_replaced(text, place, value)
    return text[:start] + before + _flow(value) + text[place.end :]


def _items_set(text: str, steps: Sequence[str | int], value: Value | None) -> str:
    """A list with the items that differ cut and inserted, from its end on; empty where it is not one list for another,
    or cannot be edited so."""
    old, new = find(said(text), steps), None if value is None else plain(value)
    if not (isinstance(old, list) and isinstance(new, list) and old and new):
        return ""
    before, after = ([json.dumps(one) for one in items] for items in (old, new))
    runs = SequenceMatcher(a=before, b=after, autojunk=False)
    try:
        for kind, first, end, new_first, new_end in reversed(runs.get_opcodes()):
            if kind in ("insert", "replace"):
                text = _insert(text, steps, new[new_first:new_end], end)
            if kind in ("delete", "replace"):
                text = _cut(text, steps, first, end)[0]
    except PolicyProblems:
        return ""
    return text


def _block_replaced(text: str, place: _Place, value: Value) -> str:
    """A map or list of several lines gives way to one line behind its key, where there is a key."""
    colon = text.rfind(":", place.start, place.node.start_mark.index)
    if colon < 0:
        return text[: place.node.start_mark.index] + _flow(value) + text[place.end :]
    note = text[colon + 1 : text.index("\n", colon)]
    return text[: colon + 1] + " " + _flow(value) + note + text[place.end :]


def _added(text: str, root: YamlNode, steps: Sequence[str | int], value: Value) -> str:
    *above, last = steps
    if isinstance(last, int):
        raise Malformed("bad_field", f"the policy has no item {last} here")
    parent = _at(text, root, above)
    empty = parent is not None and isinstance(parent.node, ScalarNode) and parent.node.value == ""
    if parent is None or empty:
        if not above:
            raise Malformed("bad_field", "the policy is not a map")
        if empty:
            return _set(text, path_of(above), {last: value})
        return _added(text, root, above, {last: value})
    node = parent.node
    if not isinstance(node, MappingNode):
        raise Malformed("bad_field", f"{path_of(above)} is not a map")
    if node.flow_style:
        entry = f"{_key(last)}: {_flow(value)}"
        if not node.value:
            inside = node.start_mark.index + 1
            return text[:inside] + entry + text[inside:]
        end = _end(text, node.value[-1][1])
        return text[:end] + f", {entry}" + text[end:]
    column = node.value[0][0].start_mark.column
    line = f"{' ' * column}{_key(last)}: {_flow(value)}"
    return _after_line(text, _end(text, node), line)


def _removed(text: str, root: YamlNode, steps: Sequence[str | int], place: _Place) -> str:
    *above, last = steps
    parent = _at(text, root, above)
    assert parent is not None
    if isinstance(last, int):
        return _cut(text, above, last)[0]
    node = parent.node
    pairs = node.value
    if len(pairs) == 1 and above and not isinstance(above[-1], int):
        return _removed(text, root, above, parent)
    index = next(number for number, one in enumerate(pairs) if one[0].value == last)
    if node.flow_style:
        return _out_of_flow(text, [(one[0].start_mark.index, _end(text, one[1])) for one in pairs], index, index + 1)
    if index == 0 and above and isinstance(above[-1], int) and not text[: place.start].rpartition("\n")[2].isspace():
        following = pairs[1][0].start_mark.index  # the first key stands behind the dash: the next one moves there
        return text[: place.start] + text[following:]
    return _without_lines(text, place.start, place.end)


def _out_of_flow(text: str, spans: Sequence[tuple[int, int]], first: int, end: int) -> str:
    """Without the spans from ``first`` to before ``end``; notes about the others stay, and what ends their lines."""
    start, stop = spans[first][0], spans[end - 1][1]
    alone = not text[_line_start(text, start) : start].strip()  # nothing before it on its line
    if end < len(spans):
        own, _, notes = text[stop : spans[end][0]].partition("\n")
        if "#" not in own + notes:
            return text[:start] + text[spans[end][0] :]
        above = text[: _line_start(text, start)] if alone else text[:start].rstrip(" ") + "\n"
        return above + notes + text[spans[end][0] :]
    before = spans[first - 1][1] if first else start
    if "#" not in text[before:start]:
        return text[:before] + text[stop:]
    behind = re.compile(r"[ \t]*(,[ \t]*)?").match(text, stop)  # the comma before it stays
    assert behind is not None
    if alone and text[behind.end() : behind.end() + 1] in ("#", "\n", "\r"):
        return _without_lines(text, start, stop)
    return text[:start] + text[behind.end() :]


def _cut(text: str, above: Sequence[str | int], first: int, end: int = 0, *, comments: bool = False) -> tuple[str, str]:
    """(text without the items from ``first`` to before ``end``, or without that one; their own lines or words)."""
    root = _root(text)
    parent = _at(text, root, above)
    assert parent is not None
    items, end = parent.node.value, end or first + 1
    spans = [(one.start_mark.index, _end(text, one)) for one in items]
    if parent.node.flow_style:
        return _out_of_flow(text, spans, first, end), text[spans[first][0] : spans[end - 1][1]]
    if len(items) == end - first:
        colon = text.rfind(":", 0, parent.node.start_mark.index)
        stop = _line_end(text, parent.end)
        return text[: colon + 1] + " []\n" + text[stop:], text[_line_start(text, spans[0][0]) : stop]
    start, stop = _line_start(text, text.rfind("-", 0, spans[first][0])), _line_end(text, spans[end - 1][1])
    while comments and start and text[_line_start(text, start - 1) : start].lstrip().startswith("#"):
        start = _line_start(text, start - 1)
    return text[:start] + text[stop:], text[start:stop]


def _paste(text: str, above: Sequence[str | int], piece: str, to: int) -> str:
    parent = _at(text, _root(text), above)
    assert parent is not None
    items = parent.node.value
    if parent.node.flow_style:
        return _into_flow(text, parent, piece, to)
    if to >= len(items):
        end = _line_end(text, parent.end)
        return text[:end] + ("" if text[:end].endswith("\n") else "\n") + piece + text[end:]
    start = _line_start(text, text.rfind("-", 0, items[to].start_mark.index))
    while start and text[_line_start(text, start - 1) : start].lstrip().startswith("#"):
        start = _line_start(text, start - 1)
    return text[:start] + piece + text[start:]


def _into_flow(text: str, parent: _Place, piece: str, to: int) -> str:
    items = parent.node.value
    if not items:
        inside = parent.node.start_mark.index + 1
        return text[:inside] + piece + text[inside:]
    if to >= len(items):
        end = _end(text, items[-1])
        return text[:end] + ", " + piece + text[end:]
    start = items[to].start_mark.index
    return text[:start] + piece + ", " + text[start:]


def _insert(text: str, above: Sequence[str | int], items: Sequence[Value], to: int) -> str:
    parent = _at(text, _root(text), above)
    assert parent is not None
    node = parent.node
    if isinstance(node, ScalarNode) or (node.flow_style and not node.value):  # nothing there yet: [] or no word
        start = _line_start(text, parent.start)
        key = text[parent.start : text.index(":", parent.start) + 1]
        rest = text[parent.end : _line_end(text, parent.end)].rstrip("\n")
        indent = parent.start - start
        piece = _lines(items, indent + STEP)
        return text[: parent.start] + key + rest + "\n" + piece + text[_line_end(text, parent.end) :]
    if node.flow_style:
        return _into_flow(text, parent, ", ".join(_flow(one) for one in items), to)
    dash = text.rfind("-", 0, node.value[0].start_mark.index)
    return _paste(text, above, _lines(items, dash - _line_start(text, dash)), to)


def _lines(items: Sequence[Value], indent: int) -> str:
    """Items of a list in block form, each on one line where it is short."""
    return "".join(_line(one, indent) for one in items)


def _line(item: Value, indent: int) -> str:
    one = f"{' ' * indent}- {_flow(item)}\n"
    if len(one) <= 100 or not isinstance(item, Mapping):
        return one
    lines = [f"{_key(key)}: {_flow(value)}" for key, value in item.items()]
    return "".join(f"{' ' * indent}{'- ' if number == 0 else '  '}{line}\n" for number, line in enumerate(lines))


def _without_lines(text: str, start: int, end: int) -> str:
    return text[: _line_start(text, start)] + text[_line_end(text, end) :]


def _after_line(text: str, end: int, line: str) -> str:
    at = _line_end(text, end)
    return text[:at] + ("" if text[:at].endswith("\n") else "\n") + line + "\n" + text[at:]


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    found = text.find("\n", at)
    return len(text) if found < 0 else found + 1


def _flow(value: Value) -> str:
    match value:
        case str():
            return _scalar(value)
        case Mapping():
            return "{" + ", ".join(f"{_key(key)}: {_flow(one)}" for key, one in value.items()) + "}"
        case _:
            return "[" + ", ".join(_flow(one) for one in value) + "]"


def _key(text: str) -> str:
    return text if re.fullmatch(r"[a-z0-9][a-z0-9_-]*", text) else json.dumps(text, ensure_ascii=False)


PLAIN = re.compile(r"[A-Za-z0-9_/+.-](?:[^#:,\[\]{}&*!|>'\"%@`\\\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff]|%(?!\w))*\Z")


def _scalar(text: str) -> str:
    """The words as they are where they read as themselves, else in double quotes."""
    plain = PLAIN.match(text) and text == text.strip() and not text.startswith(("- ", "---", "..."))
    return text if plain and text not in ("-", "?") else json.dumps(text, ensure_ascii=False)


def _checked(after: str, expected: Said) -> str:
    """``after``, if it says what was wanted."""
    if not _says(after, expected):
        raise Malformed("bad_field", "this change cannot be written here by itself; edit the text")
    return after


def _says(text: str, expected: Said) -> bool:
    node = load(text, "policy.yaml")
    return not isinstance(node, list) and gist(node) == expected
