"""Linux's own words about its boots, recorded by hand: journal, wtmp, systemd."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.agent.boots import Cause, Ended, merged
from gate.agent.commands import Done
from gate.agent.linux import LinuxBoots, journal_end, listed_boots
from gate.agent.pstore import Pstore
from gate.agent.times import wire
from gate.agent.wtmp import RECORD, ends

ONE, TWO, NOW = "1" * 32, "2" * 32, "3" * 32
DASHED = "11111111-1111-1111-1111-111111111111"
LIST = json.dumps(
    [
        {"index": 0, "boot_id": NOW, "first_entry": 1772431200000000, "last_entry": 1772434800000000},
        {"index": -2, "boot_id": ONE, "first_entry": 1772258400000000, "last_entry": 1772262000000000},
        {"index": -1, "boot_id": TWO, "first_entry": 1772344800000000, "last_entry": 1772348400000000},
    ]
)
TABLE = f" -1 {ONE} Sat 2026-02-28 06:00:00 UTC—Sat 2026-02-28 07:00:00 UTC\n  0 {NOW} Mon 2026-03-02 06:00:00 UTC—…\n"
AFTER = "2026-03-03T06:00:00Z"
NO_PSTORE = Pstore(Path("/none"), Path("/none"))
INIT = {"_PID": "1", "_TRANSPORT": "journal"}
KERNEL = {"_TRANSPORT": "kernel", "SYSLOG_FACILITY": "0"}
JOURNALD = {"_TRANSPORT": "driver", "_PID": "311"}
LOGIND = {"_SYSTEMD_UNIT": "systemd-logind.service", "_PID": "500", "_TRANSPORT": "syslog"}
SHUTDOWN = {"_TRANSPORT": "kernel", "SYSLOG_IDENTIFIER": "systemd-shutdown", "SYSLOG_PID": "1", "SYSLOG_FACILITY": "3"}
PROGRAM = {"_TRANSPORT": "syslog", "_PID": "4711", "SYSLOG_IDENTIFIER": "systemd", "_SYSTEMD_UNIT": "till.service"}
BY_DEV_KMSG = {"_TRANSPORT": "kernel", "SYSLOG_FACILITY": "1", "SYSLOG_IDENTIFIER": "kernel"}
LAST = (PROGRAM, "x")


def journal(*rows: tuple[dict[str, str], object] | tuple[dict[str, str], object, str]) -> str:
    said = [{**row[0], "MESSAGE": row[1], "MESSAGE_ID": row[2] if len(row) > 2 else ""} for row in rows]
    return "\n".join(json.dumps(one) for one in said)


@pytest.mark.parametrize(
    ("text", "ended", "cause"),
    [
        (journal(LAST, (JOURNALD, "Journal stopped", "d93fb3c9c24d451a97cea615ce59c00b")), "clean", Cause.PLANNED),
        (journal((LOGIND, "anything", "98268866d1d54a499c4e98921d93bc40"), LAST), "clean", Cause.PLANNED),
        (journal((INIT, "Reached target poweroff.target - System Power Off.")), "clean", Cause.PLANNED),
        (journal((INIT, "Reached target Shutdown."), LAST), "clean", Cause.PLANNED),
        (journal((LOGIND, "The system will reboot now!")), "clean", Cause.PLANNED),
        (journal((LOGIND, "System is rebooting.")), "clean", Cause.PLANNED),
        (journal((LOGIND, "Power key pressed short."), LAST), "unclean", Cause.POWER_BUTTON),
        (journal((LOGIND, "Power key pressed short."), (INIT, "Reached target Shutdown.")), "clean", Cause.PLANNED),
        (journal((SHUTDOWN, "Sending SIGTERM to remaining processes...")), "clean", Cause.PLANNED),
        (
            journal((KERNEL, "Kernel panic - not syncing: Fatal"), (INIT, "Reached target Shutdown.")),
            "unclean",
            Cause.CRASH,
        ),
        (journal((KERNEL, [75, *b"ernel panic - \xff"])), "unclean", Cause.CRASH),
        (journal((PROGRAM, "Started session"), (PROGRAM, "CRON")), "unclean", Cause.POWER_LOSS),
        (journal((INIT, "a user asked: is Reached target Shutdown. a thing?")), "unclean", Cause.POWER_LOSS),
        (journal((PROGRAM, "Kernel panic - not syncing: a test of our alarm")), "unclean", Cause.POWER_LOSS),
        (journal((BY_DEV_KMSG, "Kernel panic - not syncing")), "unclean", Cause.POWER_LOSS),
        (journal((BY_DEV_KMSG, "Shutting down.")), "unclean", Cause.POWER_LOSS),
        (journal((PROGRAM, "Kernel panic"), (INIT, "Reached target Shutdown.")), "clean", Cause.PLANNED),
        (journal((PROGRAM, "Shutting down.")), "unclean", Cause.POWER_LOSS),
        (journal((PROGRAM, "Power key pressed")), "unclean", Cause.POWER_LOSS),
        (journal((PROGRAM, "x", "98268866d1d54a499c4e98921d93bc40")), "unclean", Cause.POWER_LOSS),
        ("", "unknown", Cause.UNKNOWN),
        ("no json\n[]\n", "unknown", Cause.UNKNOWN),
    ],
)
def test_the_last_lines_of_a_journal_say_how_a_boot_ended(text: str, ended: str, cause: Cause) -> None:
    found = journal_end(Ended("b"), text)
    assert (found.ended, found.cause) == (ended, cause)


def test_boots_are_listed_oldest_first_and_named_as_proc_names_them() -> None:
    found = listed_boots(LIST)
    assert [one.boot_id[:4] for one in found] == ["1111", "2222", "3333"]
    assert found[0].boot_id == DASHED
    assert found[0].started_at == "2026-02-28T06:00:00Z"
    assert [one.boot_id[:4] for one in listed_boots(TABLE)] == ["1111", "3333"], "an older systemd prints a table"
    for broken in ("", "null", "[1]", '[{"index": 1}]', "[" * 100000):
        assert listed_boots(broken) == []


def entry(kind: int, user: str, at: int = 0) -> bytes:
    return RECORD.pack(kind, 0, b"~", b"~~", user.encode(), b"6.1", 0, 0, 0, at, 0, b"")


START = 1772258400  # 2026-02-28T06:00:00Z, a Saturday


def day(number: int, shift_s: int = 0) -> int:
    return START + number * 86400 + shift_s


def remembered(*ended: str) -> tuple[Ended, ...]:
    """A boot a day, the present one last."""
    return tuple(Ended(f"b{n}", wire(datetime.fromtimestamp(day(n), UTC)), how) for n, how in enumerate(ended))


def test_wtmp_says_which_boots_were_shut_down() -> None:
    boot, down, level = entry(2, "reboot", 5), entry(1, "shutdown"), entry(1, "runlevel")
    assert RECORD.size == 384
    assert [clean for _, clean in ends(boot + level + down + boot + level + boot)] == [True, False, False]
    assert [at.timestamp() for at, _ in ends(boot)] == [5.0]
    assert ends(b"") == ends(boot[:100]) == ends(down) == []


@pytest.mark.parametrize(
    ("records", "ended"),
    [
        (entry(2, "reboot", day(0, 3)) + entry(1, "shutdown") + entry(2, "reboot", day(1, 3)), ["clean", "unknown"]),
        (entry(2, "reboot", day(0, 3)) + entry(2, "reboot", day(1)) + entry(1, "shutdown"), ["unknown", "clean"]),
        (entry(2, "reboot", day(0, -59)) + entry(1, "shutdown"), ["clean", "unknown"]),
        (entry(2, "reboot", day(0, -61)) + entry(1, "shutdown"), ["unknown", "unknown"]),
        (
            entry(2, "reboot", day(0, 3)) + entry(2, "reboot", day(0, 900)) + entry(1, "shutdown"),
            ["unknown", "unknown"],
        ),
        (entry(2, "reboot", day(900)) + entry(1, "shutdown"), ["unknown", "unknown"]),
        (b"", ["unknown", "unknown"]),
    ],
    ids=["first", "second", "a minute early", "too early", "a boot that nobody knows", "another clock", "none"],
)
def test_where_the_journal_has_this_boot_only_wtmp_says_how_those_before_ended(
    tmp_path: Path, records: bytes, ended: list[str]
) -> None:
    (tmp_path / "wtmp").write_bytes(records)
    only = json.dumps([{"index": 0, "boot_id": NOW, "first_entry": day(2) * 10**6, "last_entry": 0}])
    system = LinuxBoots(Played(boots=Done(0, only)), NO_PSTORE, tmp_path / "wtmp")
    found = system.ended(remembered("unknown", "unknown", "unknown"))
    assert [(one.boot_id, one.ended) for one in found] == [("b0", ended[0]), ("b1", ended[1])]


def test_wtmp_changes_nothing_that_is_settled_and_adds_to_what_the_journal_has_kept(tmp_path: Path) -> None:
    (tmp_path / "wtmp").write_bytes(
        b"".join(entry(2, "reboot", day(n)) + entry(1, "shutdown") for n in range(3)) + entry(2, "reboot", day(3))
    )
    known = (*remembered("unclean", "unknown"), Ended(DASHED, "2026-03-02T06:00:00Z"), Ended("now", AFTER))
    kept = json.dumps(
        [
            {"index": -1, "boot_id": ONE, "first_entry": day(2) * 10**6, "last_entry": 0},
            {"index": 0, "boot_id": NOW, "first_entry": day(3) * 10**6, "last_entry": 0},
        ]
    )
    found = LinuxBoots(Played(boots=Done(0, kept), lines=Done(1, "")), NO_PSTORE, tmp_path / "wtmp").ended(known)
    assert [(one.boot_id[:2], one.ended) for one in found] == [("b0", "unclean"), ("b1", "clean"), ("11", "clean")]
    assert [one.ended for one in merged(known, found)] == ["unclean", "clean", "clean", "unknown"]


class Played:
    """A machine's commands, by their first words."""

    def __init__(self, **said: Done) -> None:
        self.said, self.asked = said, list[Sequence[str]]()

    def __call__(self, argv: Sequence[str], limit_s: float) -> Done:
        self.asked.append(argv)
        key = {"--list-boots": "boots", "-b": "lines", "is-system-running": "system", "show": "ready"}[argv[1]]
        return self.said.get(key, Done(None, "no such command"))


def test_the_journal_is_asked_for_boots_whose_end_is_not_settled_only(tmp_path: Path) -> None:
    run = Played(boots=Done(0, LIST), lines=Done(0, journal((INIT, "Reached target Shutdown."))))
    known = (Ended(DASHED, "", "clean"), Ended("now"))
    found = LinuxBoots(run, NO_PSTORE, tmp_path / "none").ended(known)
    assert [(one.boot_id[:4], one.ended) for one in found] == [("1111", "unknown"), ("2222", "clean")]
    assert [argv[2] for argv in run.asked if argv[1] == "-b"] == [TWO]


def test_where_a_clock_was_years_ahead_the_boot_before_is_listed_last_and_looked_into_all_the_same() -> None:
    listed = json.dumps(
        [
            {"index": -1, "boot_id": NOW, "first_entry": 1772431200000000, "last_entry": 1772434800000000},
            {"index": 0, "boot_id": TWO, "first_entry": 2087877600000000, "last_entry": 2087881200000000},
        ]
    )
    run = Played(boots=Done(0, listed), lines=Done(0, journal((INIT, "Reached target Shutdown."))))
    known = (Ended("22222222-2222-2222-2222-222222222222"), Ended("33333333-3333-3333-3333-333333333333"))
    found = LinuxBoots(run, NO_PSTORE, Path("/none")).ended(known)
    assert [(one.boot_id[:4], one.ended) for one in found] == [("2222", "clean")]
    assert [(one.boot_id[:4], one.ended) for one in merged(known, found)] == [("2222", "clean"), ("3333", "unknown")]


def test_without_journal_systemd_and_pstore_nothing_is_known_and_nothing_fails(tmp_path: Path) -> None:
    found = LinuxBoots(Played(), NO_PSTORE, tmp_path / "none")
    assert (found.ended(()), found.panics(), found.running().system, found.running().ready_s) == ((), (), "", None)


@pytest.mark.parametrize(
    ("said", "system"),
    [(Done(0, "running\n"), "running"), (Done(1, "degraded\n"), "degraded"), (Done(1, "Failed to connect"), "")],
)
def test_systemd_says_how_far_the_boot_has_come(said: Done, system: str) -> None:
    found = LinuxBoots(Played(system=said, ready=Done(0, "4200000\n"))).running()
    assert (found.system, found.ready_s) == (system, 4.2)
    assert LinuxBoots(Played(ready=Done(0, "0\n"))).running().ready_s is None
