"""Windows' System log, as ``wevtutil`` prints it: two real logs, and each row of the table by a recorded edge case.

Nothing here has run on Windows: the real logs are read by ``evtx``, the edge cases are written by hand after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from gate.agent import windows
from gate.agent.boots import Cause
from gate.agent.commands import Done
from gate.agent.windows import BOOT, DEFENDER, GENERAL, POWER, WindowsBoots, boots_of, events_of, starts_of
from tests.conftest import missing

EVENT = (
    "<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'><System><Provider Name='{provider}'/>"
    "<EventID Qualifiers='0'>{id}</EventID><TimeCreated SystemTime='2024-07-19T0{record}:00:00.0000000Z'/>"
    "<EventRecordID>{record}</EventRecordID></System><EventData>{data}</EventData></Event>"
)


def event(record: int, provider: str, number: int, **data: str) -> str:
    said = "".join(f"<Data Name='{name}'>{text}</Data>" for name, text in data.items())
    return EVENT.format(provider=provider, id=number, record=record, data=said)


def start(record: int, mode: str = "0") -> str:
    return event(record, GENERAL, 12, BootMode=mode)


def real(shared_data: Path, name: str) -> str:
    try:
        from evtx import PyEvtxParser
    except ImportError:
        missing("the package evtx is not installed")
    return "".join(record["data"] for record in PyEvtxParser(str(shared_data / "windows" / name)).records())


@pytest.mark.parametrize("name", ["system.evtx", "system-2.evtx"])
def test_the_real_logs_have_three_starts_and_two_planned_restarts(shared_data: Path, name: str) -> None:
    found = boots_of(events_of(real(shared_data, name)))
    assert [(one.ended, one.cause) for one in found] == [
        ("clean", Cause.PLANNED),
        ("clean", Cause.PLANNED),
        ("unknown", Cause.UNKNOWN),
    ]
    assert all("restart" in one.detail for one in found[:2])
    assert [one.boot_type for one in starts_of(events_of(real(shared_data, name)))] == [0, 0, 0]


def test_an_id_of_another_provider_says_nothing(shared_data: Path) -> None:
    assert "e1iexpress" in real(shared_data, "system.evtx"), "the real log has a network card's 27 over and over"
    pretends = [event(2, "e1iexpress", 27, BootType="1"), event(3, "Other", 41, BugcheckCode="80"), start(1), start(4)]
    found = events_of("".join(pretends))
    assert [one.id for one in found] == [12, 12]
    [first, _] = boots_of(found)
    assert (first.ended, first.cause) == ("unknown", Cause.UNKNOWN)
    assert [one.boot_type for one in starts_of(found)] == [0, 0]


ENDS: list[tuple[str, list[str], str, Cause]] = [
    ("a crash", [event(3, POWER, 41, BugcheckCode="80", PowerButtonTimestamp="0")], "unclean", Cause.CRASH),
    (
        "the button, held",
        [event(3, POWER, 41, BugcheckCode="0", PowerButtonTimestamp="133657920000000000")],
        "unclean",
        Cause.POWER_BUTTON,
    ),
    (
        "a crash, and then the button",
        [event(3, POWER, 41, BugcheckCode="239", PowerButtonTimestamp="133657920000000000")],
        "unclean",
        Cause.CRASH,
    ),
    ("a loss of power", [event(3, POWER, 41, BugcheckCode="0", PowerButtonTimestamp="0")], "unclean", Cause.POWER_LOSS),
    ("41 that says nothing", [event(3, POWER, 41)], "unclean", Cause.POWER_LOSS),
    ("not expected", [event(3, "EventLog", 6008)], "unclean", Cause.UNKNOWN),
    ("the shutdown was not good", [event(3, BOOT, 20, LastShutdownGood="false")], "unclean", Cause.UNKNOWN),
    (
        "the boot was not good",
        [event(3, BOOT, 20, LastShutdownGood="true", LastBootGood="false")],
        "unclean",
        Cause.UNKNOWN,
    ),
    (
        "the shutdown was good",
        [event(3, BOOT, 20, LastShutdownGood="true", LastBootGood="true")],
        "clean",
        Cause.UNKNOWN,
    ),
    ("nothing is said", [], "unknown", Cause.UNKNOWN),
]


@pytest.mark.parametrize(("_", "after", "ended", "cause"), ENDS, ids=[case[0] for case in ENDS])
def test_the_next_start_says_how_the_one_before_ended(_: str, after: list[str], ended: str, cause: Cause) -> None:
    [first, last] = boots_of(events_of("".join([start(1), start(2), *after])))
    assert (first.ended, first.cause, last.ended) == (ended, cause, "unknown")


def test_a_bugcheck_is_decimal_in_the_log_and_named_in_hex() -> None:
    crash = event(3, POWER, 41, BugcheckCode="80")
    assert boots_of(events_of(start(1) + start(2) + crash))[0].detail == "bugcheck 0x50"


def test_a_planned_restart_that_then_crashed_is_a_crash() -> None:
    text = start(1) + event(2, "User32", 1074, param5="restart") + start(3) + event(4, POWER, 41, BugcheckCode="80")
    assert boots_of(events_of(text))[0].cause == Cause.CRASH


def test_a_stop_without_anybodys_wish_is_clean_and_with_one_it_is_planned() -> None:
    stop = event(3, GENERAL, 13, StopTime="x")
    asked = event(2, "User32", 1074, param3="Other (Planned)", param5="restart", param7="ann")
    [first, _] = boots_of(events_of(start(1) + stop + start(4)))
    assert (first.ended, first.cause) == ("clean", Cause.UNKNOWN)
    [first, _] = boots_of(events_of(start(1) + asked + stop + start(4)))
    assert (first.cause, first.detail) == (Cause.PLANNED, "restart, Other (Planned), ann")


def test_marks_of_the_event_log_that_stand_before_their_start_belong_to_it() -> None:
    text = "".join([start(1), event(500, "EventLog", 6008), start(504), event(900, "EventLog", 6008), start(904)])
    assert [one.ended for one in boots_of(events_of(text))] == ["unclean", "unclean", "unknown"]


@pytest.mark.parametrize("boot_type", ["1", "2"])
def test_fast_start_up_and_hibernation_are_starts_and_no_boots(boot_type: str) -> None:
    woken = start(1) + event(100, BOOT, 27, BootType=boot_type)
    assert [one.boot_type for one in starts_of(events_of(woken))] == [0, int(boot_type)]
    real_boot = start(1) + start(100) + event(102, BOOT, 27, BootType="0")
    assert [one.boot_type for one in starts_of(events_of(real_boot))] == [0, 0]


@pytest.mark.parametrize(("mode", "safe"), [("0", False), ("1", True), ("2", True), ("", False)])
def test_safe_mode_is_told_apart(mode: str, safe: bool) -> None:
    assert starts_of(events_of(start(1, mode)))[0].safe_mode is safe


class Windows:
    """What the commands print; the newest event first, as ``/rd:true`` brings them."""

    def __init__(self, log: str, registry: Done) -> None:
        self.log, self.registry = log, registry

    def __call__(self, argv: Sequence[str], limit_s: float) -> Done:
        return self.registry if argv[0] == "reg" else Done(0, self.log)


def test_what_the_commands_print_becomes_boots_a_counter_and_the_present_start() -> None:
    log = event(3, POWER, 41, BugcheckCode="80") + event(4, BOOT, 27, BootType="0") + start(2, "1") + start(1)
    registry = Done(0, "\r\nHKEY_LOCAL_MACHINE\\SYSTEM\r\n    BootId    REG_DWORD    0x1a\r\n\r\n")
    found = WindowsBoots(Windows(log, registry))
    assert [one.cause for one in found.ended(())] == [Cause.CRASH]
    assert (found.running().safe_mode, found.running().fast_start) == (True, False)
    assert (found.boot_count(), found.panics()) == (26, ())


def test_the_log_is_asked_for_these_providers_alone() -> None:
    for provider, number in {one for one in windows.WANTED if one[0] != DEFENDER}:
        assert f"@Name='{provider}'" in windows.QUERY
        assert f"EventID={number}" in windows.QUERY


def test_this_boot_is_the_last_start_that_was_one() -> None:
    registry = Done(0, "")
    booted = start(1) + start(100) + event(101, BOOT, 27, BootType="0")
    assert WindowsBoots(Windows(booted, registry)).this() == events_of(booted)[1].at
    woken = booted + event(300, BOOT, 27, BootType="1")
    assert WindowsBoots(Windows(woken, registry)).this() == events_of(booted)[1].at
    assert WindowsBoots(Windows("", registry)).this() == ""


def test_commands_that_fail_and_texts_that_are_none_are_not_known() -> None:
    gone = WindowsBoots(lambda argv, limit_s: Done(None, "no such command"))
    assert (gone.ended(()), gone.boot_count(), gone.running().safe_mode) == ((), None, False)
    assert windows.boot_count("ERROR: The system was unable to find the key") is None
    for broken in ("", "<Event>", "<Event ><System></Event>", "<Event ></Event>", "x" * 1000):
        assert events_of(broken) == []
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><Event ><System><EventID>&a;</EventID></System></Event>'
    assert events_of(bomb) == [], "entities are not known inside an event"


def test_an_event_that_was_cut_off_takes_no_other_with_it() -> None:
    cut = event(2, POWER, 41, BugcheckCode="80")[:200]
    assert [one.record for one in events_of(start(1) + cut + start(3) + cut)] == [1, 3]


def test_a_time_that_is_none_is_not_said_to_the_gate() -> None:
    text = start(1) + start(2).replace("2024-07-19T02:00:00.0000000Z", "yesterday") + start(3)
    assert [(one.boot_id, one.started_at) for one in boots_of(events_of(text))] == [
        ("2024-07-19T01:00:00.0000000Z", "2024-07-19T01:00:00Z"),
        ("yesterday", ""),
        ("2024-07-19T03:00:00.0000000Z", "2024-07-19T03:00:00Z"),
    ]


def test_defender_says_its_definitions_and_whether_it_watches() -> None:
    text = event(1, DEFENDER, 2000, **{"Current Signature Version": "1.415.1.0", "Current Engine Version": "1.1.2"})
    assert windows.defender(text) == {"definitions": "1.415.1.0", "engine": "1.1.2"}
    assert windows.defender(text + event(2, DEFENDER, 5001))["real_time"] == "off"
    assert windows.defender(text + event(2, DEFENDER, 5001) + event(3, DEFENDER, 5000))["real_time"] == "on"
    assert windows.defender(event(1, "Other", 2000)) == {}
