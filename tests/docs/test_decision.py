"""The figures in docs/decision.md are what the rules compute."""

from __future__ import annotations

import math
import re

from gate.core import stats
from gate.core.evalues import FLEET_WEIGHT, Running, Span, halts
from tests.conftest import REPOSITORY

TEXT = (REPOSITORY / "docs" / "decision.md").read_text(encoding="utf-8")
BACKGROUND = 0.0075


def rows(mark: str) -> list[list[float]]:
    table = TEXT.partition(f"<!-- {mark} -->")[2].partition("<!-- end -->")[0]
    found = [re.findall(r"[\d.,]+", line) for line in table.strip().splitlines()[2:]]
    return [[float(cell.replace(",", "")) for cell in row] for row in found]


def test_the_bounds_are_what_is_computed() -> None:
    found = rows("bound")
    assert len(found) == 6
    for healthy, percent in found:
        assert f"{100 * stats.upper_bound(int(healthy), 0, 0, 0.95):.1f}" == f"{percent:.1f}"
    assert f"{stats.upper_bound(2, 0, 0, 0.95):.0%}" == "78%" and "rules out 78 %" in TEXT


def test_the_budgets_are_what_is_computed() -> None:
    found = rows("budget")
    assert len(found) == 5
    for healthy, ten, twenty in found:
        limits = [stats.in_flight_limit(int(healthy), 0, risk, 0.0, 0.95, 3) for risk in (10, 20)]
        assert limits == [ten, twenty]


def test_the_limits_are_what_is_computed() -> None:
    found = rows("limits")
    assert len(found) == 4
    for exposed, percent, opens, halt in found:
        n = int(exposed)

        def stops(failed: int, n: int = n) -> bool:
            running = Running().against_background(Span(n, failed), BACKGROUND)
            return halts(math.log(FLEET_WEIGHT) + running.log_e, 0.01, failed, failed, n)

        def passes(failed: int, n: int = n, rule_out: float = percent / 100) -> bool:
            return stats.rules_out(rule_out, n - failed, failed, 0, BACKGROUND, 0.95)

        assert (passes(int(opens)), passes(int(opens) + 1)) == (True, False)
        assert (stops(int(halt) - 1), stops(int(halt))) == (False, True)
