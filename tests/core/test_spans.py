"""Spans against controls: nothing twice, nothing lost, and the order of reports does not matter."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import evalues, spans
from gate.core.evalues import Running, Span
from gate.core.model import FLEET
from gate.core.spans import EVERY_BOOT, SpanRow, Sum
from tests.conftest import NOW

HOUR = timedelta(hours=1)
B0 = 0.0075
MAKES = ("server", "till")


def both(hour: int, exposed: int, failed: int, controls: int, silent: int, make: str = "till") -> list[SpanRow]:
    """A make's span with its controls, and that of its first boot."""
    own = SpanRow(make, EVERY_BOOT, NOW + hour * HOUR, exposed, failed, controls, silent, NOW)
    return [own, SpanRow(make, 1, own.hour, exposed, failed)]


def log_e(rows: list[SpanRow], sums: dict[spans.Place, Sum], tried: int, failed: int, boots: int = 1) -> float:
    compared = dict(sums)
    for place, more in spans.unfolded(rows, 3).items():
        compared[place] = compared.get(place, Sum()).plus(more)
    return spans.log_e(B0, {"till": Span(tried, failed)}, {boots: Span(tried, failed)}, compared)


@pytest.mark.parametrize(("controls", "compared"), [(0, False), (199, False), (200, True), (5000, True)])
def test_a_span_is_compared_from_200_controls_on_and_left_to_the_background_below(
    controls: int, compared: bool
) -> None:
    found = spans.unfolded(both(0, 10, 3, controls, 0), 3)
    assert bool(found) is compared
    own = (
        Running().against_controls(Span(10, 3, controls, 0))
        if compared
        else evalues.against_background(Span(10, 3), B0)
    )
    assert log_e(both(0, 10, 3, controls, 0), {}, 10, 3) == pytest.approx(
        evalues.merged(own, [own], {1: own}), abs=1e-12
    )


def test_what_controls_speak_for_is_not_judged_by_the_background_as_well() -> None:
    compared = Running().against_controls(Span(10, 3, 300, 90))
    rest = evalues.against_background(Span(20, 1), B0)
    expected = evalues.merged(compared.plus(rest), [compared.plus(rest)], {1: compared.plus(rest)})
    assert log_e(both(0, 10, 3, 300, 90), {}, 30, 4) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("silent", "halts"), [(0, True), (9, True), (60, False), (90, False)])
def test_nine_of_thirty_silent_are_not_chance_unless_the_controls_are_silent_too(silent: int, halts: bool) -> None:
    assert (log_e(both(0, 30, 9, 300, silent), {}, 30, 9) >= math.log(100)) is halts


def test_one_set_of_controls_counts_once_for_all_boots_of_a_make_and_once_for_each_boot() -> None:
    own = SpanRow("till", EVERY_BOOT, NOW, 10, 3, 300, 1, NOW)
    rows = [own, SpanRow("till", 1, NOW, 6, 1), SpanRow("till", 2, NOW, 4, 2)]
    found = spans.unfolded(rows, 3)
    assert found["till", EVERY_BOOT].running == Running().against_controls(Span(10, 3, 300, 1))
    assert found[FLEET, 1].running == Running().against_controls(Span(6, 1, 300, 1))
    assert found[FLEET, 2].running == Running().against_controls(Span(4, 2, 300, 1))


steps = st.lists(
    st.tuples(
        st.sampled_from(MAKES),
        st.integers(1, 5),
        st.integers(0, 3),
        st.sampled_from([(1, 0), (1, 1), (0, 1), (-1, -1)]),
    ),
    min_size=1,
    max_size=40,
)


@given(steps, st.randoms(use_true_random=False), st.sets(st.integers(0, 40)), st.integers(200, 900), st.integers(0, 90))
def test_when_a_span_is_folded_and_in_which_order_reports_come_does_not_matter(
    moved: list[tuple[str, int, int, tuple[int, int]]], order: object, folds: set[int], controls: int, silent: int
) -> None:
    """Reports in one order, folded now and then, against another order, folded once at the end."""
    possible = [one for one in moved if one[3][0] > 0]
    later = [one for one in moved if one[3][0] <= 0 and any(one[:3] == well[:3] for well in possible)]
    if len(later) > len(possible):
        return
    shuffled = list(possible)
    order.shuffle(shuffled)  # type: ignore[attr-defined]

    def lived(steps: list[tuple[str, int, int, tuple[int, int]]], folded_at: set[int]) -> dict[spans.Place, Sum]:
        rows: dict[tuple[str, int, int], SpanRow] = {}
        sums: dict[spans.Place, Sum] = {}

        def fold() -> None:
            for place, more in spans.unfolded(rows.values(), 3).items():
                sums[place] = sums.get(place, Sum()).plus(more)
            for key, row in rows.items():
                rows[key] = replace(row, closed=True, folded_exposed=row.exposed, folded_failed=row.failed)

        for number, (make, boot, hour, (tried, failed)) in enumerate(steps):
            for own in (EVERY_BOOT, boot):
                old = rows.get((make, own, hour)) or SpanRow(make, own, NOW + hour * HOUR)
                if own == EVERY_BOOT:
                    old = replace(old, controls=controls, controls_failed=silent)
                rows[make, own, hour] = replace(old, exposed=old.exposed + tried, failed=old.failed + failed)
            if number in folded_at:
                fold()
        fold()
        return sums

    one, other = lived([*possible, *later], folds), lived([*shuffled, *later], set())
    assert one.keys() == other.keys()
    for place, total in one.items():
        assert (total.exposed, total.failed) == (other[place].exposed, other[place].failed)
        assert total.running.logs == pytest.approx(other[place].running.logs, abs=1e-9)


def test_a_failure_that_left_does_not_make_a_span_negative() -> None:
    rows = [replace(row, exposed=-1, failed=-1) for row in both(0, 0, 0, 300, 0)]
    assert spans.unfolded(rows, 3)["till", EVERY_BOOT] == Sum()
