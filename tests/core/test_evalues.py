"""What halts by statistics: the decision's table of limits, exact expectations, 50-digit arithmetic, properties."""

from __future__ import annotations

import json
import math
from decimal import Decimal, localcontext
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import stats
from gate.core.evalues import (
    FLEET_WEIGHT,
    RATIOS,
    Running,
    Span,
    enough_controls,
    guessed_rates,
    halts,
    merged,
)

B0 = 0.0075
START = Running()


def fixed(exposed: int, failed: int, background: float = B0) -> Running:
    return START.against_background(Span(exposed, failed), background)


# The decision's table: exposed so far, the fleet's rule_out at that ring, most failures to open, fewest to halt.
TABLE = [(25, 0.30, 3, 4), (117, 0.05, 2, 7), (1127, 0.01, 12, 23), (11127, 0.003, 98, 159)]


@pytest.mark.parametrize(("exposed", "rule_out", "opens", "halt"), TABLE)
def test_the_limits_of_the_decision_hold_one_below_and_one_above(
    exposed: int, rule_out: float, opens: int, halt: int
) -> None:
    def stops(failed: int) -> bool:
        return halts(math.log(FLEET_WEIGHT) + fixed(exposed, failed).log_e, 0.01, failed, failed, exposed)

    def passes(failed: int) -> bool:
        return stats.rules_out(rule_out, exposed - failed, failed, 0, B0, 0.95)

    assert (stops(halt - 1), stops(halt)) == (False, True)
    assert (passes(opens), passes(opens + 1)) == (True, False)


@pytest.mark.parametrize(
    ("failed", "alarm", "halt"), [(0, False, False), (1, True, False), (2, True, False), (3, True, True)]
)
def test_of_the_first_three_of_one_make_in_eight_none_silent_opens_one_or_two_hold_and_three_halt(
    failed: int, alarm: bool, halt: bool
) -> None:
    fleet = fixed(24, failed)
    log_e = merged(fleet, [fixed(3, failed), *[fixed(3, 0)] * 7], {1: fleet})
    assert stats.unexplained(failed, 3, B0) is alarm
    assert halts(log_e, 0.01, failed, failed, 24) is halt


@pytest.mark.parametrize(
    ("controls", "controls_failed", "halt"),
    [(2200, 11, True), (2200, 23, True), (2200, 66, False), (200, 1, True), (200, 60, False)],
)
def test_three_of_three_halt_unless_the_controls_fall_silent_as_well(
    controls: int, controls_failed: int, halt: bool
) -> None:
    def of(exposed: int, failed: int, times: int = 1) -> Running:
        return START.against_controls(Span(exposed, failed, times * controls, times * controls_failed))

    log_e = merged(of(24, 3, 8), [of(3, 3), *[of(3, 0)] * 7], {1: of(24, 3, 8)})
    assert halts(log_e, 0.01, 3, 3, 24) is halt


@pytest.mark.parametrize(
    ("log_e", "machines", "sites", "sites_exposed", "halt"),
    [
        (math.log(100) - 1e-9, 9, 9, 9, False),
        (-math.log(0.01), 2, 2, 9, True),
        (-math.log(0.01), 1, 1, 9, False),  # one machine, be it ever so sure
        (1e6, 9, 1, 9, False),  # one site dark
        (-math.log(0.01), 2, 1, 1, True),  # a lab is one site
        (-math.log(0.01), 1, 1, 1, False),
    ],
)
def test_it_halts_at_a_hundred_to_one_and_with_two_machines_at_two_sites(
    log_e: float, machines: int, sites: int, sites_exposed: int, halt: bool
) -> None:
    assert halts(log_e, 0.01, machines, sites, sites_exposed) is halt


@pytest.mark.parametrize(
    ("canaries", "controls", "enough"),
    [(3, 199, False), (3, 200, True), (10, 200, True), (11, 219, False), (11, 220, True)],
)
def test_controls_count_from_200_a_make_and_20_a_canary(canaries: int, controls: int, enough: bool) -> None:
    assert enough_controls(canaries, controls) is enough


def test_the_guesses_are_those_of_the_decision_and_never_a_certainty() -> None:
    assert RATIOS == (3, 10, 30, 100)
    assert guessed_rates(B0) == pytest.approx([0.0225, 0.075, 0.3, 0.9])
    assert guessed_rates(0.2) == pytest.approx([0.6, 0.99, 0.3, 0.9])
    assert guessed_rates(0.5) == pytest.approx([0.99, 0.99, 0.5, 0.9])


def test_what_has_shown_nothing_counts_as_one() -> None:
    assert merged(START, [], {}) == pytest.approx(0, abs=1e-15)
    assert merged(START, [START] * 200, {1: START}) == pytest.approx(0, abs=1e-15)
    loud = fixed(3, 3)
    alone = math.exp(merged(START, [loud, START], {}))
    assert alone == pytest.approx(0.2 + 0.4 * (math.exp(loud.log_e) + 1) / 2 + 0.4, rel=1e-12)
    boot = math.exp(merged(START, [], {4: loud}))
    assert boot == pytest.approx(0.2 + 0.4 + 0.4 * (math.exp(loud.log_e) + 4) / 5, rel=1e-12)
    assert merged(START, [], {6: loud}) == pytest.approx(0, abs=1e-15)


def test_a_span_without_controls_or_without_failures_among_any_says_nothing_against_controls() -> None:
    assert START.against_controls(Span(0, 0, 0, 0)) == START
    assert START.against_controls(Span(0, 0, 500, 7)) == START
    assert START.against_controls(Span(500, 0, 500, 0)) == START
    assert START.against_controls(Span(500, 7)).log_e == pytest.approx(0, abs=1e-12)


def binomial(k: int, n: int, rate: float) -> float:
    return math.comb(n, k) * rate**k * (1 - rate) ** (n - k)


@pytest.mark.parametrize("background", [0.002, B0, 0.03, 0.3, 0.95])
@pytest.mark.parametrize("exposed", [1, 3, 25])
def test_a_harmless_release_wins_nothing_on_average_against_the_background(background: float, exposed: int) -> None:
    values = [math.exp(fixed(exposed, k, background).log_e) for k in range(exposed + 1)]
    expected = math.fsum(binomial(k, exposed, background) * value for k, value in enumerate(values))
    assert expected == pytest.approx(1, rel=1e-12)
    lower = math.fsum(binomial(k, exposed, background / 2) * value for k, value in enumerate(values))
    assert lower <= 1


@pytest.mark.parametrize(("exposed", "controls"), [(1, 1), (3, 20), (12, 5), (24, 480)])
@pytest.mark.parametrize("failed", [1, 2, 6])
def test_a_harmless_release_wins_nothing_on_average_against_controls(exposed: int, controls: int, failed: int) -> None:
    every = exposed + controls
    if failed > every:
        return
    hit = range(max(0, failed - controls), min(failed, exposed) + 1)
    values = {k: math.exp(START.against_controls(Span(exposed, k, controls, failed - k)).log_e) for k in hit}
    drawn = math.fsum(
        math.comb(exposed, k) * math.comb(controls, failed - k) / math.comb(every, failed) * values[k] for k in hit
    )
    assert drawn <= 1 + 1e-12
    if failed <= min(exposed, controls):  # each failure hits the exposed by their share, as the decision writes it
        expected = math.fsum(binomial(k, failed, exposed / every) * values[k] for k in hit)
        assert expected == pytest.approx(1, rel=1e-12)


def test_a_harmless_release_wins_nothing_on_average_over_two_spans_and_all_parts_together() -> None:
    sizes, rate = (3, 4), 0.0075
    total = 0.0
    for one, two, later in product(range(4), range(5), range(3)):
        chance = binomial(one, 3, rate) * binomial(two, 4, rate) * binomial(later, 2, rate)
        makes = [fixed(3, one).against_background(Span(2, later), B0), fixed(4, two), START]
        fleet = fixed(sum(sizes), one + two).against_background(Span(2, later), B0)
        boots = {1: fixed(sum(sizes), one + two), 2: fixed(2, later)}
        total += chance * math.exp(merged(fleet, makes, boots))
    assert total == pytest.approx(1, rel=1e-12)


def exact(pairs: list[tuple[Span, float | None]]) -> float:
    """The logarithm by 50 digits, each span as the decision's text has it."""
    with localcontext() as context:
        context.prec = 50
        total = Decimal(0)
        for index in range(4):
            product_ = Decimal(1)
            for span, background in pairs:
                if background is None:
                    n_c, n_0, r = Decimal(span.exposed), Decimal(span.controls), Decimal(RATIOS[index])
                    before, after = n_c / (n_c + n_0), r * n_c / (r * n_c + n_0)
                    product_ *= (after / before) ** span.failed
                    product_ *= ((1 - after) / (1 - before)) ** span.controls_failed
                else:
                    b, p = Decimal(background), Decimal(guessed_rates(background)[index])
                    product_ *= (p / b) ** span.failed * ((1 - p) / (1 - b)) ** (span.exposed - span.failed)
            total += product_
        return float((total / 4).ln())


@pytest.mark.parametrize(
    "spans",
    [
        [(Span(25, 4), B0)],
        [(Span(11_127, 159), B0)],
        [(Span(120_000, 900), B0)],
        [(Span(120_000, 120_000), B0)],
        [(Span(120_000, 0), 0.03)],
        [(Span(24, 3, 2_000, 10), None)],
        [(Span(60_000, 300, 60_000, 280), None), (Span(10_000, 90, 100_000, 480), None)],
        [(Span(1, 1, 119_999, 119_999), None)],
        [(Span(3, 1, 200, 1), None), (Span(40, 2), B0), (Span(900, 9, 9_000, 44), None)],
    ],
)
def test_the_e_value_agrees_with_fifty_digits_up_to_120_000_machines(spans: list[tuple[Span, float | None]]) -> None:
    running = START
    for span, background in spans:
        running = running.against_controls(span) if background is None else running.against_background(span, background)
    assert running.log_e == pytest.approx(exact(spans), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("background", [0.0, 0.0001, 0.001, B0, 0.03, 0.2, 0.5, 0.97, 1.0])
def test_no_background_makes_it_overflow_or_lose_its_guesses(background: float) -> None:
    for failed in (0, 1, 60_000, 120_000):
        assert math.isfinite(fixed(120_000, failed, background).log_e)
    assert all(background <= p <= 1 for p in guessed_rates(background))
    assert fixed(10, 2, 0.0) == fixed(10, 2, 0.001) != fixed(10, 2, 0.0011)


counted = st.integers(0, 3000)


@st.composite
def spans(draw: st.DrawFn) -> Span:
    exposed, controls = draw(counted), draw(counted)
    return Span(exposed, draw(st.integers(0, exposed)), controls, draw(st.integers(0, controls)))


@given(spans(), st.sampled_from([0.001, B0, 0.03, 0.3, 0.9, 1.0]))
def test_one_more_failure_never_makes_it_look_more_harmless(span: Span, background: float) -> None:
    if span.failed < span.exposed:
        worse = Span(span.exposed, span.failed + 1, span.controls, span.controls_failed)
        assert START.against_controls(worse).log_e >= START.against_controls(span).log_e - 1e-9
        assert (
            START.against_background(worse, background).log_e >= START.against_background(span, background).log_e - 1e-9
        )
    if span.controls_failed < span.controls:
        noisier = Span(span.exposed, span.failed, span.controls, span.controls_failed + 1)
        assert START.against_controls(noisier).log_e <= START.against_controls(span).log_e + 1e-9


@given(st.lists(st.tuples(spans(), st.booleans()), max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_spans_and_of_the_makes_does_not_matter(
    shown: list[tuple[Span, bool]], random: object
) -> None:
    def folded(items: list[tuple[Span, bool]]) -> Running:
        running = START
        for span, controlled in items:
            running = running.against_controls(span) if controlled else running.against_background(span, B0)
        return running

    turned = list(shown)
    random.shuffle(turned)  # type: ignore[attr-defined]
    one, other = folded(shown), folded(turned)
    assert one.logs == pytest.approx(other.logs, rel=1e-9, abs=1e-6)
    makes = [folded([item]) for item in shown]
    assert merged(one, makes, {}) == pytest.approx(merged(one, makes[::-1], {}), rel=1e-12, abs=1e-12)


@given(st.lists(spans(), max_size=5), st.integers(0, 5))
def test_a_restart_between_two_spans_changes_not_one_bit(shown: list[Span], cut: int) -> None:
    whole = part = START
    for index, span in enumerate(shown):
        whole, part = whole.against_controls(span), part.against_controls(span)
        if index == cut:
            part = Running(tuple(json.loads(json.dumps(part.logs))))
    assert part == whole


@given(st.lists(st.integers(0, 40), min_size=1, max_size=5), st.integers(0, 3))
def test_the_merge_lies_between_its_smallest_and_its_largest_part(failures: list[int], fleet: int) -> None:
    makes = [fixed(40, failed) for failed in failures]
    parts = [*(make.log_e for make in makes), fixed(40, fleet).log_e, 0.0]
    found = merged(fixed(40, fleet), makes, {1: fixed(40, fleet)})
    assert min(parts) - 1e-9 <= found <= max(parts) + 1e-9
