"""Which of two versions is newer, by the option ``order`` of a drop folder and of a feed."""

from __future__ import annotations

from types import ModuleType

import pytest

import gate_directory.source
import gate_http_feed.source
from gate.hookspecs import Source

LIMITS = [
    ("numbers", "1.9", "1.10", -1, "by number, not by letter"),
    ("numbers", "1.10", "1.10", 0, "the same again"),
    ("numbers", "2", "1.99", 1, "the first part counts most"),
    ("numbers", "1.0", "1", 0, "closing zeros say nothing"),
    ("numbers", "v2", "2", 0, "nor does a leading v"),
    ("numbers", "2026-11-02", "2026_11_1", 1, "dashes and underscores part too"),
    ("text", "2026-03-01", "2026-02-28", 1, "dates with all their digits"),
    ("text", "1.9", "1.10", 1, "by letter"),
    ("text", "a", "a", 0, "the same again"),
    ("listed", "1", "2", None, "as they come"),
    ("", "1", "2", None, "nothing said"),
]


@pytest.mark.parametrize("plugin", [gate_directory.source, gate_http_feed.source], ids=["directory", "http_feed"])
@pytest.mark.parametrize(("order", "a", "b", "answer", "why"), LIMITS)
def test_versions_are_ordered_as_the_source_says(
    plugin: ModuleType, order: str, a: str, b: str, answer: int | None, why: str
) -> None:
    source = Source("shop", {"order": order} if order else {}, 1)
    assert plugin.gate_order(source, a, b) == answer, why
    assert plugin.gate_order(source, b, a) == (None if answer is None else -answer), why
