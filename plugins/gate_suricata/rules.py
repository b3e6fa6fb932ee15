"""Suricata's rules, read as the engine reads them as far as that goes without an engine.

- A rule is one line: ``action protocol source port direction destination port (option; option:value; ...)``; a line
  that ends with a backslash goes on with the next. ``#`` before it: it is off, and counts for nothing.
- An option ends at the first semicolon without a backslash before it, inside quotes too.
- ``sid`` is there once, a number of 32 bits; ``rev`` and ``gid`` at most once. Two rules of one gid and sid: refused.
- ``msg`` is in quotes; ``content`` too, with escapes for ``" ; : \\`` only, and whole pairs of hex between bars.
- Names of protocols and of options are held to their form only: they grow with the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

ACTIONS = frozenset({"alert", "config", "drop", "pass", "reject", "rejectsrc", "rejectdst", "rejectboth"})
PROTOCOL = re.compile(r"[a-z0-9][a-z0-9._:-]{0,40}\Z", re.ASCII)
DIRECTIONS = frozenset({"->", "<>"})
PLACE = re.compile(r"[\w$!\[\],.:/ -]+\Z", re.ASCII)
TOKEN = re.compile(r"!?\[|\]|[^\s\[\]]+|\s+")
OPTION = re.compile(r"((?:[^;\\]|\\.)*);", re.DOTALL)
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}\Z", re.ASCII)
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"\Z')
CONTENT = re.compile(r'!?\s*"(?:[^"\\|;]|\\[":;\\]|\|\s*(?:[0-9A-Fa-f]{2}\s*)+\|)+"\Z')
NUMBER = re.compile(r"[0-9]{1,10}\Z", re.ASCII)
LONGEST = 64 * 1024
KEPT = 20


class BadRule(Exception):
    """A rule that does not parse, with the reason."""


@dataclass(slots=True)
class Rules:
    """What a set holds: (gid, sid) -> rev of the rules that are on, and what is wrong, the first ``KEPT`` in words."""

    revs: dict[tuple[int, int], int] = field(default_factory=dict)
    wrong: list[tuple[str, str]] = field(default_factory=list)
    wrong_all: int = 0

    def add(self, name: str, raw: bytes) -> None:
        """Reads one file."""
        for number, line in _lines(raw):
            try:
                gid, sid, rev = read(line.decode("utf-8"))
                if (gid, sid) in self.revs:
                    raise BadRule(f"sid {sid} is there twice")
                self.revs[gid, sid] = rev
            except (BadRule, UnicodeDecodeError) as problem:
                said = "it is not UTF-8" if isinstance(problem, UnicodeDecodeError) else str(problem)
                self.wrong_all += 1
                if len(self.wrong) < KEPT:
                    code = "duplicate_sid" if said.endswith("twice") and said.startswith("sid ") else "syntax"
                    self.wrong.append((code, f"{name[-100:]} line {number}: {said}"))


def read(line: str) -> tuple[int, int, int]:
    """gid, sid and rev of a rule.

    Raises:
        BadRule: it does not parse.
    """
    if len(line) > LONGEST:
        raise BadRule("it is too long")
    header, opened, rest = line.partition("(")
    if not opened or not rest.endswith(")"):
        raise BadRule("its options are not in round brackets")
    _header(header.strip())
    return _options(rest[:-1].strip())


def _lines(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of each rule that is on; a comment takes its continuation with it."""
    held, began = b"", 0
    for number, line in enumerate(raw.split(b"\n"), 1):
        began = began if held else number
        text = line.rstrip()
        if text.endswith(b"\\"):
            held += text[:-1] + b" "
            continue
        whole, held = (held + text).strip(), b""
        if whole and not whole.startswith(b"#"):
            yield began, whole
    if held.strip() and not held.lstrip().startswith(b"#"):
        yield began, held.strip() + b"\\"


def _header(header: str) -> None:
    fields = _fields(header)
    if len(fields) != 7:
        raise BadRule(f"its header has {len(fields)} parts and not 7")
    action, protocol, *ends = fields
    if action not in ACTIONS:
        raise BadRule(f"{action[:40]!r} is not an action")
    if not PROTOCOL.match(protocol):
        raise BadRule(f"{protocol[:40]!r} is not a protocol")
    if ends[2] not in DIRECTIONS:
        raise BadRule(f"{ends[2][:40]!r} is not a direction")
    for place in (ends[0], ends[1], ends[3], ends[4]):
        if not PLACE.match(place) or "[]" in place.replace(" ", ""):
            raise BadRule(f"{place[:40]!r} is not an address or a port")


def _fields(header: str) -> list[str]:
    """Split at blanks that stand outside of square brackets."""
    fields, depth = [""], 0
    for match in TOKEN.finditer(header):
        part = match[0]
        if part.endswith("["):
            depth += 1
        elif part == "]":
            depth -= 1
        if depth < 0:
            break
        if part.isspace() and not depth:
            fields.append("")
        else:
            fields[-1] += part
    if depth:
        raise BadRule("its square brackets do not match")
    return fields


def _options(text: str) -> tuple[int, int, int]:
    numbers: dict[str, int] = {}
    end = 0
    for match in OPTION.finditer(text):
        if match.start() != end:
            break
        end = match.end()
        name, colon, value = (part.strip() for part in match[1].partition(":"))
        if not NAME.match(name):
            raise BadRule(f"{name[:40]!r} is not an option")
        if name in ("gid", "sid", "rev"):
            if name in numbers or not NUMBER.match(value) or not (name == "sid") <= int(value) < 2**32:
                raise BadRule(f"{name} {value[:40]!r} is not one number")
            numbers[name] = int(value)
        elif colon and not value:
            raise BadRule(f"{name} has no value")
        elif name == "msg" and not QUOTED.match(value):
            raise BadRule("msg is not in quotes, or has one inside that is not escaped")
        elif name in ("content", "uricontent") and not CONTENT.match(value):
            raise BadRule(f"content {value[:40]!r} has wrong quotes, escapes or hex")
    if text[end:].strip():
        raise BadRule(f"{text[end:].strip()[:40]!r} does not end with a semicolon")
    if "sid" not in numbers:
        raise BadRule("it has no sid")
    return numbers.get("gid", 1), numbers["sid"], numbers.get("rev", 0)
