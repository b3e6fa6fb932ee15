"""Reading one value of a policy: each reader gives the value or says what it wanted instead.

- A ``Node`` is what an adapter parsed: a scalar's text, a list, or a map, each with line and column (1-based).
- Readers never stop at the first problem; a ``Reader`` collects all of them and the line of every key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, TypeVar

from gate.core.errors import Malformed
from gate.core.model import SLUG
from gate.core.times import Anchor, Edge, OpenDuration

T = TypeVar("T")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a map and where the key stands."""

    key: str
    line: int
    column: int
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A parsed YAML node. Exactly one of ``text``, ``items`` and ``entries`` is not None."""

    line: int
    column: int
    text: str | None = None
    items: tuple[Node, ...] | None = None
    entries: tuple[Entry, ...] | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong, where, and perhaps what was meant."""

    file: str
    line: int
    column: int
    message: str
    suggestion: str = ""
    path: str = ""  # the place in the policy, where there is one

    def __str__(self) -> str:
        """``file:line:column: message (did you mean ...?)``."""
        hint = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{self.file}:{self.line}:{self.column}: {self.message}{hint}"


ENDS = re.compile("[\x85\u2028\u2029]")


def unseen_ends(text: str, file: str = "policy.yaml") -> list[Problem]:
    """What ends a line for YAML and not for an editor, git or whoever signs: a rule could stand behind it that all of
    them show as the end of a comment. No new text may have it; what rules already goes on."""
    found = []
    for one in ENDS.finditer(text):
        line, column = text.count("\n", 0, one.start()) + 1, one.start() - text.rfind("\n", 0, one.start())
        found.append(Problem(file, line, column, f"U+{ord(one[0]):04X} ends a line that nobody sees end"))
    return found[:20]


class PolicyProblems(Malformed):
    """A policy that does not parse, with all of its problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("bad_policy", "; ".join(str(problem) for problem in problems[:20]))
        self.problems = problems


class Wanted(Exception):
    """Internal to reading: the value is not of the wanted form."""


Convert = Callable[["Reader", Node, str], Any]


@dataclass(slots=True)
class Reader:
    """Collects problems and the line of every key."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def problem(self, node: Node | Entry, message: str, suggestion: str = "", path: str = "") -> None:
        """Notes one problem; ``path``: the place that it is about."""
        self.problems.append(Problem(self.file, node.line, node.column, message, suggestion, path))

    def map(self, node: Node, path: str, fields: Mapping[str, Convert], needed: tuple[str, ...] = ()) -> dict[str, Any]:
        """The known keys of a map, converted; unknown and missing keys are problems."""
        if node.entries is None:
            self.problem(node, f"{path or 'the policy'} must be a map of keys", path=path)
            return {}
        found: dict[str, Any] = {}
        for entry in node.entries:
            where = f"{path}.{entry.key}" if path else entry.key
            self.lines[where] = entry.line
            convert = fields.get(entry.key)
            if convert is None:
                near = difflib.get_close_matches(entry.key, fields, 1)
                self.problem(entry, f"unknown key {entry.key!r}", near[0] if near else "", where)
                continue
            found_value = self.value(entry.node, where, convert)
            if found_value is not None:
                found[entry.key] = found_value
        for key in needed:
            if key not in {entry.key for entry in node.entries}:
                self.problem(node, f"{path or 'the policy'} needs {key!r}", path=f"{path}.{key}" if path else key)
        return found

    def value(self, node: Node, path: str, convert: Convert) -> Any:
        """One converted value, None (and a problem) where it is not of the wanted form."""
        try:
            return convert(self, node, path)
        except Wanted as wanted:
            shown = f"{node.text!r} is not" if node.text is not None else "this is not"
            self.problem(node, f"{path}: {shown} {wanted}", path=path)
            return None

    def all_of(self, node: Node, path: str, convert: Convert) -> list[Any]:
        """Every item of a list, converted."""
        if node.items is None:
            self.problem(node, f"{path} must be a list", path=path)
            return []
        found = []
        for index, item in enumerate(node.items):
            self.lines[f"{path}[{index}]"] = item.line
            value = self.value(item, f"{path}[{index}]", convert)
            if value is not None:
                found.append(value)
        return found


def scalar(node: Node, wanted: str) -> str:
    """The text of a scalar."""
    if node.text is None:
        raise Wanted(wanted)
    return node.text.strip()


def text(reader: Reader, node: Node, path: str) -> str:
    """Any text of at most 500 characters."""
    found = scalar(node, "a text")
    if len(found) > 500 or any(ord(char) < 32 for char in found):
        raise Wanted("a text of one line and at most 500 characters")
    return found


def slug(reader: Reader, node: Node, path: str) -> str:
    """A name for addresses: ``[a-z0-9][a-z0-9-]{0,40}``, not ``blobs``."""
    found = scalar(node, "a name")
    if not SLUG.match(found) or found == "blobs":
        raise Wanted("a name of a-z, 0-9 and - with at most 41 characters")
    return found


HOST = re.compile(r"(?=[^:]{1,253}(:|\Z))[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*(:\d{1,5})?\Z")


def host(reader: Reader, node: Node, path: str) -> str:
    """One host, exactly: a name, with a port where it is not 443. No wildcards."""
    found = scalar(node, "a host")
    if not HOST.match(found):
        raise Wanted("a host such as database.example or database.example:8443, in lower case")
    return found


def whole(low: int, high: int = 10**9) -> Convert:
    """A whole number within limits."""

    def convert(reader: Reader, node: Node, path: str) -> int:
        found = scalar(node, "a whole number")
        if not re.fullmatch(r"\d{1,10}", found) or not low <= int(found) <= high:
            raise Wanted(f"a whole number from {low} to {high}")
        return int(found)

    return convert


def percent(reader: Reader, node: Node, path: str) -> float:
    """``2%`` -> 0.02."""
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s?%", scalar(node, "a share such as 2%"))
    if not match or float(match[1]) > 100:
        raise Wanted("a share such as 2%")
    return float(match[1]) / 100


def odds(reader: Reader, node: Node, path: str) -> float:
    """A share that is neither nothing nor all: nobody is ever wholly sure."""
    found = percent(reader, node, path)
    if not 0 < found < 1:
        raise Wanted("more than 0% and less than 100%")
    return found


def span(reader: Reader, node: Node, path: str) -> timedelta:
    """``15m``, ``2h``, ``7d``."""
    match = re.fullmatch(r"(\d{1,6})\s?([smhd])", scalar(node, "a duration such as 15m"))
    if not match:
        raise Wanted("a duration such as 15m, 2h or 7d")
    return timedelta(seconds=int(match[1]) * SECONDS[match[2]])


def open_span(reader: Reader, node: Node, path: str) -> OpenDuration:
    """``4h open``, ``1d open`` or a plain duration."""
    match = re.fullmatch(r"(\d{1,6})\s?([smhd])(\s+open)?", scalar(node, "a duration such as 4h open"))
    if not match:
        raise Wanted("a duration such as 4h open, 1d open or 1h")
    if match[3] and match[2] == "d":
        return OpenDuration(timedelta(), int(match[1]), True)
    return OpenDuration(timedelta(seconds=int(match[1]) * SECONDS[match[2]]), 0, bool(match[3]))


def one_of(*choices: str) -> Convert:
    """One of these words."""

    def convert(reader: Reader, node: Node, path: str) -> str:
        found = scalar(node, f"one of {', '.join(choices)}")
        if found not in choices:
            near = difflib.get_close_matches(found, choices, 1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise Wanted(f"one of {', '.join(choices)}{hint}")
        return found

    return convert


def either(word: str, convert: Convert) -> Convert:
    """A fixed word, or what ``convert`` reads."""

    def chosen(reader: Reader, node: Node, path: str) -> Any:
        return word if node.text is not None and node.text.strip() == word else convert(reader, node, path)

    return chosen


def many(convert: Convert) -> Convert:
    """A list of values; one value alone is a list of one."""

    def converted(reader: Reader, node: Node, path: str) -> tuple[Any, ...]:
        if node.items is None:
            return (convert(reader, node, path),)
        return tuple(reader.all_of(node, path, convert))

    return converted


def flag(reader: Reader, node: Node, path: str) -> bool:
    """true or false."""
    return bool(one_of("true", "false")(reader, node, path) == "true")


def day(reader: Reader, node: Node, path: str) -> date:
    """``2026-12-23``."""
    try:
        return date.fromisoformat(scalar(node, "a date"))
    except ValueError:
        raise Wanted("a date such as 2026-12-23") from None


def clock(reader: Reader, node: Node, path: str) -> int:
    """``12:00`` -> minutes after midnight."""
    match = re.fullmatch(r"([01]?\d|2[0-4]):([0-5]\d)", scalar(node, "a clock time"))
    if not match or int(match[1]) * 60 + int(match[2]) > 1440:
        raise Wanted("a clock time such as 12:00")
    return int(match[1]) * 60 + int(match[2])


def edge(reader: Reader, node: Node, path: str) -> Edge:
    """``30m after opening``, ``opening``, ``boot``."""
    found = scalar(node, "an edge such as 30m after opening")
    if found in tuple(Anchor):
        return Edge(timedelta(), Anchor(found))
    match = re.fullmatch(r"(\d{1,5})\s?([smhd])\s+(before|after)\s+(opening|closing|boot)", found)
    if not match:
        raise Wanted("an edge such as 30m after opening")
    offset = timedelta(seconds=int(match[1]) * SECONDS[match[2]])
    return Edge(-offset if match[3] == "before" else offset, Anchor(match[4]))
