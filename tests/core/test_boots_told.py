"""The last boots of a machine as its reports tell them: merged, bounded, and with what each began with."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gate.core.boots import KEPT, Boot, told, unasked
from gate.core.model import Action, Claim, ClaimState, Step

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
AT = "2026-03-02T06:00:00+00:00"
OLD, NEW = "sha256:old", "sha256:new"


def claim() -> Claim:
    """Of release NEW, granted in boot b0."""
    return Claim(
        id="c", rollout="r", release=NEW, source="shop", machine="m", site="s", role="till", ring="all", make="till",
        state=ClaimState.GRANTED, granted_at=NOW, lease_until=NOW, deadline_at=NOW, boot_id="b0", evidence="boot",
        boots=1, stay_up=timedelta(minutes=15), reboot="natural", tries=2, cohort=True,
    )  # fmt: skip


def boots(**ended: str) -> list[Boot]:
    return [Boot(name, AT, how) for name, how in ended.items()]


def shown(found: list[Boot]) -> list[tuple[str, str, str | None]]:
    return [(one.boot_id, one.ended, one.releases.get("shop")) for one in found]


@pytest.mark.parametrize(
    ("step", "boot_id", "release", "said", "expected"),
    [
        # put in place in b0: what that boot began with is not known
        (Step.INSTALLED, "b0", NEW, boots(b0="unknown"), [("b0", "unknown", "")]),
        (Step.BOOTED, "b1", NEW, boots(b1="unknown"), [("b1", "unknown", NEW)]),
        (Step.HEALTHY, "b1", NEW, boots(b0="clean", b1="unknown"), [("b0", "clean", None), ("b1", "unknown", NEW)]),
        (Step.UNHEALTHY, "b1", NEW, boots(b1="unknown"), [("b1", "unknown", NEW)]),
        # two tries died, and the agent's early unit went back before b3 had begun
        (
            Step.ROLLED_BACK, "b3", OLD, boots(b1="unclean", b2="unclean", b3="unknown"),
            [("b1", "unclean", NEW), ("b2", "unclean", NEW), ("b3", "unknown", OLD)],
        ),
        # the running agent went back: what b1 began with is said by its own report, not by this one
        (Step.ROLLED_BACK, "b1", OLD, boots(b1="unknown"), [("b1", "unknown", None)]),
        (Step.FAILED, "b0", OLD, boots(b0="unknown"), [("b0", "unknown", None)]),
        # `alive`: it was never booted with it
        (Step.HEALTHY, "b0", NEW, boots(b0="unknown"), [("b0", "unknown", None)]),
    ],
)  # fmt: skip
def test_what_a_boot_began_with_is_what_its_report_shows(
    step: Step, boot_id: str, release: str, said: list[Boot], expected: list[tuple[str, str, str | None]]
) -> None:
    assert shown(told([], claim(), step, boot_id, release, said)) == expected


def test_a_recall_says_nothing_of_what_a_boot_began_with() -> None:
    back = replace(claim(), action=Action.RECALL.value)
    found = told([], back, Step.ROLLED_BACK, "b5", OLD, boots(b4="clean", b5="unknown"))
    assert shown(found) == [("b4", "clean", None), ("b5", "unknown", None)]


def test_an_end_becomes_known_and_never_unknown_again_and_the_first_word_of_a_release_stays() -> None:
    known = told([], claim(), Step.BOOTED, "b1", NEW, boots(b1="unknown"))
    known = told(known, claim(), Step.ROLLED_BACK, "b2", OLD, boots(b1="unclean", b2="unknown"))
    assert shown(known) == [("b1", "unclean", NEW), ("b2", "unknown", OLD)]
    again = told(known, claim(), Step.HEALTHY, "b2", NEW, boots(b1="unknown", b2="unknown"))
    assert again == known
    assert shown(told(known, claim(), Step.FAILED, "b2", OLD, boots(b1="clean")))[0][1] == "clean", "the log is surer"


def test_two_sources_are_told_of_one_boot() -> None:
    known = told([], claim(), Step.BOOTED, "b1", NEW, boots(b1="unknown"))
    known = told(known, replace(claim(), source="other"), Step.BOOTED, "b1", OLD, boots(b1="unknown"))
    assert known[0].releases == {"shop": NEW, "other": OLD}


def test_a_boot_that_nobody_told_before_stands_where_it_was() -> None:
    known = boots(b1="clean", b3="unknown")
    found = told(known, claim(), Step.HEALTHY, "b3", NEW, boots(b1="clean", b2="unclean", b3="unknown"))
    assert [one.boot_id for one in found] == ["b1", "b2", "b3"]
    late = told(found, claim(), Step.HEALTHY, "b1", NEW, boots(b1="unknown"))
    assert [one.boot_id for one in late] == ["b1", "b2", "b3"], "a report that comes late moves nothing"


def test_only_the_last_are_kept() -> None:
    many = [Boot(f"b{number}", AT) for number in range(KEPT + 3)]
    found = told(many[:KEPT], claim(), Step.HEALTHY, f"b{KEPT + 2}", NEW, many[KEPT:])
    assert [one.boot_id for one in found] == [f"b{number}" for number in range(3, KEPT + 3)]


def test_a_boot_that_nobody_asked_for_is_noted_once_and_keeps_what_was_told_of_it() -> None:
    known = boots(b1="clean", b2="unknown")
    found = unasked(unasked(known, Boot("b2", ""), ["one"]), Boot("b2", ""), ["one", "two"])
    assert [(one.boot_id, one.started_at, one.against) for one in found] == [("b1", AT, ()), ("b2", AT, ("one", "two"))]
    after = told(found, claim(), Step.HEALTHY, "b2", NEW, boots(b2="unclean"))
    assert (after[-1].ended, after[-1].against) == ("unclean", ("one", "two"))
    many = [Boot(f"b{number}", AT) for number in range(KEPT)]
    kept = [one.boot_id for one in unasked(many, Boot("new", AT), ["one"])]
    assert kept == [*(one.boot_id for one in many[1:]), "new"]
