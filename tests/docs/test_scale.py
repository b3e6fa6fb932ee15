"""The arithmetic of deploy/scale.md adds up, and what it says it takes from the bench is there."""

from __future__ import annotations

import re

import pytest

from tests.conftest import REPOSITORY

SCALE = (REPOSITORY / "deploy" / "scale.md").read_text(encoding="utf-8")
INPUTS = {
    name: float(value)
    for name, value in re.findall(r"(?m)^\| `(\w+)` \| ([\d.]+) \| ", SCALE.partition("## What comes")[0])
}
OUTPUTS = re.findall(r"(?m)^\| ([^|]+) \| `([^`]+)` \| ([\d,.]+) \| ([\d,.]+) \|$", SCALE)
MACHINES = (120_000, 8_500_000)


def number(text: str) -> float:
    return float(text.replace(",", ""))


@pytest.mark.parametrize(("what", "formula", "small", "large"), OUTPUTS)
def test_every_figure_is_what_its_formula_gives(what: str, formula: str, small: str, large: str) -> None:
    assert set(re.findall(r"[a-z]\w+", formula)) <= INPUTS.keys() | {"machines"}, what
    assert re.fullmatch(r"[\w\s*/+().]+", formula)
    for machines, said in zip(MACHINES, (small, large), strict=True):
        computed = eval(formula, {"__builtins__": {}}, {**INPUTS, "machines": machines})
        assert number(said) == pytest.approx(computed, rel=0.005), f"{what}: {computed:,.4g}"


def test_every_figure_that_goes_in_is_used() -> None:
    assert len(OUTPUTS) == len(re.findall(r"(?m)^\| .* \| `", SCALE.partition("## What comes out")[2]))
    formulas = " ".join(formula for _, formula, _, _ in OUTPUTS)
    assert {name for name in INPUTS if not re.search(rf"\b{name}\b", formulas)} == set()


def test_every_line_of_the_bench_that_it_names_is_there() -> None:
    bench = (REPOSITORY / "tests" / "bench" / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r'bench, "([^"]+)"', SCALE))
    assert len(named) == 7
    for line in named:
        assert re.search(rf"(?m)^\| {re.escape(line)} \| [\d,]+/s", bench), f"the bench has no line {line}"
