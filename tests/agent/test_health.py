"""One pure function turns raw facts into boot-health: a table of its limits, and what holds for all facts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.agent.health import Probe, Raw, Word, judge

NEW, OLD = "a" * 64, "b" * 64
GOOD = Raw(
    wanted=NEW,
    in_place=NEW,
    needs_boot=True,
    booted_since=True,
    in_place_at_boot=NEW,
    awake_s=900,
    stay_up_s=900,
    tries=2,
    probes=(Probe("files", True),),
    system="running",
)
CASES: list[tuple[dict[str, Any], Word, str]] = [
    ({}, Word.GOOD, ""),
    ({"crashes": ("Kernel panic",)}, Word.BAD, "crashed"),
    ({"lost_boots": 1}, Word.GOOD, ""),
    ({"lost_boots": 2}, Word.BAD, "lost_boots"),
    ({"in_place": OLD}, Word.BAD, "another_release"),
    ({"in_place": ""}, Word.BAD, "another_release"),
    ({"in_place_at_boot": OLD}, Word.BAD, "another_at_boot"),
    ({"in_place_at_boot": ""}, Word.BAD, "another_at_boot"),
    ({"in_place_at_boot": None}, Word.UNKNOWN, "not_known_at_boot"),
    ({"in_place_at_boot": OLD, "needs_boot": False}, Word.GOOD, ""),
    ({"booted_since": False}, Word.UNKNOWN, "no_boot"),
    ({"booted_since": False, "needs_boot": False}, Word.GOOD, ""),
    ({"fast_start": True}, Word.UNKNOWN, "fast_start"),
    ({"fast_start": True, "needs_boot": False}, Word.GOOD, ""),
    ({"safe_mode": True}, Word.UNKNOWN, "safe_mode"),
    ({"awake_s": 899.9}, Word.UNKNOWN, "stay_up"),
    ({"awake_s": 900.0}, Word.GOOD, ""),
    ({"awake_s": 900.1}, Word.GOOD, ""),
    ({"awake_s": None}, Word.UNKNOWN, "stay_up"),
    ({"awake_s": None, "stay_up_s": 0}, Word.UNKNOWN, "stay_up"),
    ({"system": "starting"}, Word.UNKNOWN, "starting"),
    ({"system": "stopping"}, Word.UNKNOWN, "starting"),
    ({"system": "maintenance"}, Word.BAD, "maintenance"),
    ({"system": "degraded"}, Word.GOOD, ""),
    ({"system": ""}, Word.GOOD, ""),
    ({"probes": (Probe("till", False, "no answer within 5 s"),)}, Word.BAD, "probe"),
    ({"probes": (Probe("till", None),)}, Word.UNKNOWN, "probe_silent"),
    ({"probes": (Probe("till", None), Probe("ti", False))}, Word.BAD, "probe"),
    ({"safe_mode": True, "crashes": ("bugcheck 0x50",)}, Word.BAD, "crashed"),
]


@pytest.mark.parametrize(("change", "word", "code"), CASES, ids=[str(case[0]) for case in CASES])
def test_each_fact_alone(change: dict[str, Any], word: Word, code: str) -> None:
    found = judge(replace(GOOD, **change))
    assert (found.word, [reason.code for reason in found.reasons][:1]) == (word, [code] if code else [])


PROBES = st.tuples() | st.tuples(st.builds(Probe, st.just("p"), st.sampled_from((True, False, None))))
RAWS = st.builds(
    Raw,
    wanted=st.just(NEW),
    in_place=st.sampled_from((NEW, OLD, "")),
    needs_boot=st.booleans(),
    booted_since=st.booleans(),
    in_place_at_boot=st.sampled_from((NEW, OLD, "", None)),
    awake_s=st.none() | st.floats(0, 2000),
    stay_up_s=st.integers(0, 2000),
    tries=st.integers(1, 4),
    probes=PROBES,
    crashes=st.sampled_from(((), ("panic",))),
    lost_boots=st.integers(0, 5),
    system=st.sampled_from(("", "running", "degraded", "starting", "maintenance")),
    fast_start=st.booleans(),
    safe_mode=st.booleans(),
)
RANK = list(Word)


@given(RAWS)
def test_only_good_has_no_reason_and_every_reason_is_of_the_word(raw: Raw) -> None:
    found = judge(raw)
    assert (found.word is Word.GOOD) == (not found.reasons)
    assert all(reason.word is found.word and reason.code and reason.detail for reason in found.reasons)


@given(RAWS)
def test_good_is_never_said_without_what_a_boot_test_is(raw: Raw) -> None:
    if judge(raw).word is Word.GOOD:
        assert raw.in_place == raw.wanted
        assert raw.awake_s is not None and raw.awake_s >= raw.stay_up_s
        assert not raw.crashes and all(one.ok is True for one in raw.probes) and not raw.safe_mode
        if raw.needs_boot:
            assert raw.booted_since and not raw.fast_start and raw.in_place_at_boot == raw.wanted


WORSE: list[dict[str, Any]] = [
    {"crashes": ("panic",)},
    {"in_place": OLD},
    {"awake_s": None},
    {"probes": (Probe("p", False),)},
    {"safe_mode": True},
    {"system": "maintenance"},
    {"lost_boots": 9},
    {"fast_start": True},
    {"booted_since": False, "needs_boot": True},
]


@given(RAWS, st.sampled_from(WORSE))
def test_a_worse_fact_never_makes_it_better(raw: Raw, worse: dict[str, Any]) -> None:
    before, after = judge(raw).word, judge(replace(raw, **worse)).word
    if not (raw.probes and "probes" in worse) and not (before is Word.BAD and "booted_since" in worse):
        assert RANK.index(after) <= RANK.index(before)
