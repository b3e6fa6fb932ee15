"""YARA and Sigma rules are tried by their own tools: the real ``yarac``, stand-ins which answer as those do."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType

import pytest

from gate.hookspecs import Candidate, Fetched, Source
from gate_github_releases import rules, source
from gate_http_feed import source as http_feed
from tests.conftest import missing

SIGMA = "title: x\ndetection:\n  selection:\n    EventID: 1\n"
NO_TOOLS = {"yara_not_checked", "sigma_not_checked"}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    (folder / "a.yar").write_text("rule a { condition: true }")
    (folder / "b.yml").write_text(SIGMA)
    (folder / "c.yml").write_text("- just: a list of something\n")
    (folder / "d.zip").write_bytes(b"PK")
    return folder


def lint(into: Path, source: ModuleType = source) -> list[tuple[str, str, str]]:
    fetched = [Fetched(path.name, path.stat().st_size, "0" * 64) for path in sorted(into.iterdir())]
    found = source.gate_lint(Source("s", {}), Candidate("1", (), ""), fetched, into, None)
    return [(one.weight, one.code, one.detail) for one in found]


def tool(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    return folder


def test_without_the_tools_a_note_says_that_nobody_looked(
    into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert {(weight, code) for weight, code, _ in lint(into)} == {("note", code) for code in NO_TOOLS}
    (into / "a.yar").unlink()
    (into / "b.yml").unlink()
    assert lint(into) == []


def test_what_a_tool_rejects_is_refused_with_its_words(into: Path, tools: Path) -> None:
    tool(
        tools,
        "yarac",
        'test "$2" = /dev/null && grep -q condition "$1" || { echo "$1(1): error: syntax" >&2; exit 1; }',
    )
    tool(tools, "sigma", 'test "$1" = check && grep -q selection "$2" || { echo "1 errors"; exit 1; }')
    assert lint(into) == []
    (into / "a.yar").write_text("rule a {")
    (into / "b.yml").write_text("detection: {}\n")
    ((weight, code, detail), second) = lint(into)
    assert (weight, code) == ("refuse", "yara")
    assert "error: syntax" in detail
    assert second == ("refuse", "sigma", "b.yml: 1 errors")


def test_rules_of_a_feed_are_tried_by_the_same_tools(into: Path, tools: Path) -> None:
    tool(tools, "yarac", 'echo "error: syntax" >&2; exit 1')
    tool(tools, "sigma", "exit 0")
    assert lint(into, http_feed) == [("refuse", "yara", "a.yar: error: syntax")]


def test_a_tool_that_does_not_answer_refuses(into: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "TOOL_S", 0.2)
    tool(tools, "yarac", "exec sleep 30")
    tool(tools, "sigma", "exit 0")
    ((weight, _, detail),) = lint(into)
    assert weight == "refuse"
    assert "no answer" in detail


# the real yarac

RULES = [
    ("good", 'import "pe" rule a { strings: $a = "MZ" condition: $a at 0 and pe.is_pe }', ""),
    ("slow and good", 'rule a { strings: $a = "x" condition: $a }', ""),
    ("half", "rule a {", "syntax error"),
    ("no such string", "rule a { condition: $b }", 'undefined string "$b"'),
    ("no such module", 'import "nosuch" rule a { condition: true }', 'unknown module "nosuch"'),
    ("twice", "rule a { condition: true } rule a { condition: true }", 'duplicated identifier "a"'),
    (
        "wrong after a warning",
        'rule a { strings: $a = "x" condition: $a } rule b { condition: $c }',
        "undefined string",
    ),
    ("takes in another file", 'include "/etc/hostname"', "error"),
    ("not text", "\0\1\2", "error"),
]


@pytest.mark.parametrize(("what", "text", "why"), RULES, ids=[row[0] for row in RULES])
def test_the_real_yarac_takes_good_rules_and_its_words_refuse_the_others(
    tmp_path: Path, what: str, text: str, why: str
) -> None:
    if shutil.which("yarac") is None:
        missing("yara is not installed")
    (tmp_path / "rules.yar").write_text(text)
    found = lint(tmp_path)
    if not why:
        assert found == []
        return
    ((weight, code, detail),) = found
    assert (weight, code) == ("refuse", "yara")
    assert detail.startswith("rules.yar: error: ")
    assert why in detail
    assert [path.name for path in tmp_path.iterdir()] == ["rules.yar"]
