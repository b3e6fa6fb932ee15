"""The acceptance rule: for each limit inside, at and outside, and the reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.agent.accept import Approved, Bundle, InCatalogue, No, Override, Seen, Yes, accept

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SHA = "ab" * 32
S, M, H = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
APPROVED = Approved(f"sha256:{SHA}", 100, SHA, "install", ("till",))
LISTED = InCatalogue(100, SHA, NOW - 10 * H, 7, 7)
BUNDLE = Bundle({"first": 7200}, 21600, {}, {})
GOOD = Seen(NOW, NOW, NOW - M, NOW - M, "shop", "first", "till", "m-1", APPROVED, LISTED, BUNDLE)


def seen(**change: Any) -> Seen:
    return replace(GOOD, **change)


def approved(**change: Any) -> Seen:
    return seen(approved=replace(APPROVED, **change))


def listed(**change: Any) -> Seen:
    return seen(catalogued=replace(LISTED, **change))


OTHER = "cd" * 32
YOUNG = listed(first_seen_at=NOW)
EARLY = replace(BUNDLE, early={"first": ("m-1",)})
OTHER_RING = replace(BUNDLE, early={"rest": ("m-1",)})
MINIMUM = replace(BUNDLE, min_counter={"shop": 8})

TABLE = [
    ("all good", GOOD, None),
    # 1 fresh metadata, a clock that is not behind, no older timestamp
    ("never refreshed", seen(refreshed_at=None), (1, "stale")),
    ("refreshed 5 min ago", seen(refreshed_at=NOW - 5 * M), None),
    ("refreshed 5 min 1 s ago", seen(refreshed_at=NOW - 5 * M - S), (1, "stale")),
    ("refreshed in the future", seen(refreshed_at=NOW + S), (1, "stale")),
    ("clock 60 s behind", seen(issued_at=NOW + 60 * S, newest_issued_at=NOW + 60 * S), None),
    ("clock 61 s behind", seen(issued_at=NOW + 61 * S, newest_issued_at=NOW + 61 * S), (1, "clock")),
    ("clock a year behind", seen(newest_issued_at=NOW + 365 * 24 * H), (1, "clock")),
    ("the newest timestamp again", seen(issued_at=NOW - M, newest_issued_at=NOW - M), None),
    ("an older timestamp", seen(issued_at=NOW - 2 * M, newest_issued_at=NOW - M), (1, "older_timestamp")),
    # 2 an approval of my ring
    ("no approval", seen(approved=None), (2, "no_approval")),
    ("no ring", seen(ring=""), (2, "no_approval")),
    # 3 the catalogue says the same
    ("not in the catalogue", seen(catalogued=None), (3, "not_in_catalogue")),
    ("other length", approved(length=101), (3, "disagree")),
    ("other hash", approved(sha256=OTHER), (3, "disagree")),
    (
        "other hash on both",
        seen(approved=replace(APPROVED, sha256=OTHER), catalogued=replace(LISTED, sha256=OTHER)),
        (3, "disagree"),
    ),
    ("id without its prefix", approved(release=SHA), (3, "disagree")),
    # 4 the floor table
    ("no bundle", seen(bundle=None), (4, "no_floor")),
    ("ring not in the floor table", seen(bundle=replace(BUNDLE, floor_s={"rest": 0})), (4, "no_floor")),
    # 5 floors: the ring's is 2 h, the common one 6 h
    ("common floor just reached", listed(first_seen_at=NOW - 6 * H), None),
    ("one second below the common floor", listed(first_seen_at=NOW - 6 * H + S), (5, "below_floor")),
    ("early: the ring's floor just reached", replace(listed(first_seen_at=NOW - 2 * H), bundle=EARLY), None),
    ("early: a second below it", replace(listed(first_seen_at=NOW - 2 * H + S), bundle=EARLY), (5, "below_floor")),
    ("early for another ring", replace(listed(first_seen_at=NOW - 3 * H), bundle=OTHER_RING), (5, "below_floor")),
    ("from the future", listed(first_seen_at=NOW + H), (5, "below_floor")),
    ("override", replace(listed(first_seen_at=NOW), override=Override(f"sha256:{SHA}", NOW + S)), None),
    (
        "override just expired",
        replace(listed(first_seen_at=NOW), override=Override(f"sha256:{SHA}", NOW)),
        (5, "below_floor"),
    ),
    (
        "override of another release",
        replace(listed(first_seen_at=NOW), override=Override("sha256:x", NOW + H)),
        (5, "below_floor"),
    ),
    # 6 counters
    ("catalogue's counter is not the manifest's", listed(manifest_counter=8), (6, "disagree")),
    ("at the signed minimum", seen(bundle=replace(BUNDLE, min_counter={"shop": 7})), None),
    ("below the signed minimum", seen(bundle=MINIMUM), (6, "below_minimum")),
    ("minimum of another source", seen(bundle=replace(BUNDLE, min_counter={"other": 8})), None),
    ("what is installed again", seen(installed_counter=7), None),
    ("older than what is installed", seen(installed_counter=8), (6, "older")),
    ("a recall may go back", replace(approved(action="recall", recalls="sha256:bad"), installed_counter=8), None),
    ("a recall below the signed minimum", replace(approved(action="recall"), bundle=MINIMUM), (6, "below_minimum")),
    # 7 action
    ("hold", approved(action="hold"), (7, "held")),
    ("a recall of nothing", approved(action="recall"), (7, "recalls_nothing")),
    ("an action that nobody knows", approved(action="dance"), (7, "held")),
    # 8 makes
    ("all makes", approved(makes=None), None),
    ("no make", approved(makes=()), (8, "make_not_listed")),
    ("another make", approved(makes=("server",)), (8, "make_not_listed")),
]


@pytest.mark.parametrize(("what", "case", "no"), TABLE, ids=[row[0] for row in TABLE])
def test_the_first_rule_that_fails_is_the_reason(what: str, case: Seen, no: tuple[int, str] | None) -> None:
    verdict = accept(case)
    if no is None:
        assert isinstance(verdict, Yes), verdict
        assert verdict.release == f"sha256:{SHA}"
    else:
        assert isinstance(verdict, No), verdict
        assert (verdict.rule, verdict.code) == no
        assert verdict.detail


@given(
    age=st.integers(-1000, 100_000),
    floor=st.integers(0, 50_000),
    common=st.integers(0, 50_000),
    early=st.booleans(),
)
def test_nothing_younger_than_its_floor_is_accepted(age: int, floor: int, common: int, early: bool) -> None:
    bundle = Bundle({"first": floor}, common, {"first": ("m-1",)} if early else {}, {})
    verdict = accept(replace(listed(first_seen_at=NOW - age * S), bundle=bundle))
    wanted = floor if early else max(floor, common)
    assert isinstance(verdict, Yes) == (age >= wanted)
