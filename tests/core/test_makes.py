"""Machine -> make -> ring -> share: canonical text, first match, stable draw."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import makes

BY = ("role", "platform", "os_build")
PICKS = [
    ("lab", {"site": ("lab",)}),
    ("pilots", {"label": ("pilot",), "role": ("till", "workstation")}),
    ("rest", {"role": ("till", "workstation")}),
    ("unknown", {"role": ("-",)}),
]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"role": "till", "platform": "metal", "os_build": "19045"}, "role=till|platform=metal|os_build=19045"),
        (
            {"os_build": "19045", "platform": "metal", "role": "till", "pos": "x"},
            "role=till|platform=metal|os_build=19045",
        ),
        ({"role": "till", "platform": ""}, "role=till|platform=-|os_build=-"),
        ({}, "role=-|platform=-|os_build=-"),
        ({"role": "till|platform=metal"}, "role=till%7Cplatform=metal|platform=-|os_build=-"),
    ],
)
def test_a_make_is_the_named_facts_in_the_policys_order(facts: dict[str, str], text: str) -> None:
    assert makes.make_of(facts, BY) == text


@pytest.mark.parametrize(
    ("site", "labels", "facts", "ring"),
    [
        ("lab", {"pilot"}, {"role": "till"}, "lab"),
        ("nord", {"pilot", "south"}, {"role": "till"}, "pilots"),
        ("nord", {"pilot"}, {"role": "server"}, None),
        ("nord", set(), {"role": "workstation"}, "rest"),
        ("nord", set(), {}, "unknown"),
    ],
)
def test_a_machine_belongs_to_the_first_ring_whose_pick_it_meets(
    site: str, labels: set[str], facts: dict[str, str], ring: str | None
) -> None:
    assert makes.ring_of(PICKS, site, labels, facts) == ring


def test_the_draw_is_the_same_in_every_release_of_the_gate() -> None:
    assert makes.rank("salt", "m-1") == int("05edce36dc73", 16) / 2**48  # printf salt/m-1 | sha256sum
    assert makes.rank("other", "m-1") != makes.rank("salt", "m-1")


@pytest.mark.parametrize(
    ("count", "share", "at_least", "taking"),
    [
        (100, 0.25, 3, 25),
        (101, 0.25, 3, 26),
        (100, 0.07, 3, 7),  # 0.07 * 100 is 7.000000000000001
        (100, 0.02, 3, 3),
        (2, 0.02, 3, 2),
        (0, 0.25, 3, 0),
        (7, 1.0, 3, 7),
        (7, None, 3, 7),
    ],
)
def test_a_share_is_rounded_up_and_at_least_what_the_ring_must_show(
    count: int, share: float | None, at_least: int, taking: int
) -> None:
    names = [f"m-{i}" for i in range(count)]
    drawn, cut = makes.drawn([makes.rank("salt", name) for name in names], share, at_least)
    assert drawn == taking == sum(makes.in_share("salt", name, cut) for name in names)


fact = st.text(st.sampled_from("ab|=%-"), min_size=1, max_size=6)


@given(st.tuples(fact, fact), st.tuples(fact, fact))
def test_different_facts_are_different_makes(one: tuple[str, str], other: tuple[str, str]) -> None:
    same = makes.make_of(dict(zip("xy", one, strict=True)), "xy") == makes.make_of(
        dict(zip("xy", other, strict=True)), "xy"
    )
    assert same == (one == other)


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_rank_is_in_zero_to_one(salt: str, machine: str) -> None:
    assert 0 <= makes.rank(salt, machine) < 1


def test_a_make_is_asked_the_probes_of_every_make_and_those_of_its_own_facts() -> None:
    probes = ("disk", "till-software if role=till", "ti if role=till", "base if role=server", "disk")
    assert makes.asked_of(probes, "role=till|os_build=19045") == ["disk", "till-software", "ti"]
    assert makes.asked_of(probes, "role=server|os_build=-") == ["disk", "base"]
    assert makes.asked_of(probes, "role=till-old") == ["disk"], "a fact is whole"
    assert makes.asked_of((), "role=till") == []


CUTS = [
    # (rank, site, has a peer), first batch, the cut, why
    ([(0.1, "a", True), (0.2, "b", True), (0.3, "c", True)], 1, 1.0, "as many sites as are drawn"),
    ([(0.1, "a", True), (0.2, "b", True), (0.3, "c", True), (0.4, "d", True)], 1, 0.3, "one more"),
    ([(0.1, "a", True), (0.2, "a", True), (0.3, "c", True), (0.4, "d", True), (0.5, "e", True)], 1, 0.4, "one a site"),
    (
        [(0.1, "a", False), (0.2, "b", True), (0.3, "c", True), (0.4, "d", True), (0.5, "e", True)],
        1,
        0.4,
        "no sole one",
    ),
    ([(0.1, "a", False), (0.2, "b", False), (0.3, "c", False), (0.4, "d", False)], 1, 0.3, "all are sole"),
    ([(n / 10, f"s{n}", True) for n in range(8)], 2, 0.5, "twice the batch"),
    ([], 3, 1.0, "nobody"),
]


@pytest.mark.parametrize(("drawable", "first_batch", "cut", "why"), CUTS, ids=[row[3] for row in CUTS])
def test_the_first_of_a_make_are_drawn_at_different_sites(
    drawable: list[tuple[float, str, bool]], first_batch: int, cut: float, why: str
) -> None:
    assert makes.first_cut(drawable, first_batch) == cut
    assert makes.first_cut(list(reversed(drawable)), first_batch) == cut, "whatever their order"


@pytest.mark.parametrize("count", [30, 500])
def test_another_release_draws_others(count: int) -> None:
    def first(salt: str) -> set[int]:
        rows = [(makes.rank(salt, f"m{n}"), f"s{n}", True) for n in range(count)]
        return {n for n, (rank, *_) in enumerate(rows) if rank <= makes.first_cut(rows, 3)}

    found = [first(f"release {n}") for n in range(40)]
    assert {len(one) for one in found} == {9}
    assert len(set().union(*found)) > 0.5 * min(count, 360), "over many releases, everybody has its turn"
