"""Every line of the bench still runs, and has its place in the README. What is measured is nobody's business here."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.soak


def unsized(line: str) -> str:
    """Its name without the size of the fleet and without any other number of things."""
    return re.sub(r"\d[\d,]*", "n", line)


def test_every_line_of_the_bench_runs_and_stands_in_its_table() -> None:
    words = [sys.executable, "-m", "tests.bench", "--quick"]
    ended = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=1800)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-4000:]
    said = {unsized(line) for line in re.findall(r"(?m)^(?:met    |MISSED |       )([^/\d ].+)$", ended.stdout)}
    table = (REPOSITORY / "tests/bench/README.md").read_text(encoding="utf-8").partition("<!-- table -->")[2]
    rows = {unsized(row) for row in re.findall(r"(?m)^\| (?!what \||---)(.+?) \|", table.partition("<!-- end -->")[0])}
    assert [row for row in rows if not any(line.startswith(f"{row}: ") for line in said)] == []
    assert [line for line in said if not any(line.startswith(f"{row}: ") for row in rows)] == []
