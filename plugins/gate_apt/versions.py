"""Debian's order of versions (deb-version(7)), as dpkg has it: ``epoch:upstream-revision``, ``~`` before everything."""

from __future__ import annotations

import re
from itertools import zip_longest

VERSION = re.compile(r"([0-9]{1,9}:)?[0-9][A-Za-z0-9.+~:-]{0,99}\Z", re.ASCII)
PARTS = re.compile(r"([^0-9]*)([0-9]*)")


def compared(a: str, b: str) -> int:
    """-1, 0 or 1."""
    first, second = _split(a), _split(b)
    for one, other in zip(first, second, strict=True):
        if found := _part(one, other):
            return found
    return 0


def _split(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return epoch, upstream, revision


def _part(a: str, b: str) -> int:
    for (words, digits), (other_words, other_digits) in zip_longest(
        PARTS.findall(a), PARTS.findall(b), fillvalue=("", "")
    ):
        for one, other in zip_longest(words, other_words):
            if found := _sign(_weight(one), _weight(other)):
                return found
        if found := _sign(int(digits or 0), int(other_digits or 0)):
            return found
    return 0


def _weight(char: str | None) -> int:
    if char is None:
        return 0
    if char == "~":
        return -1
    return ord(char) if char.isalpha() else ord(char) + 256


def _sign(a: int, b: int) -> int:
    return int(a > b) - int(a < b)
