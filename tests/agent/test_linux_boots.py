"""Linux's own words about its boots, recorded by hand: journal, wtmp, pstore, systemd."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from gate.agent.boots import Cause, Ended
from gate.agent.commands import Done
from gate.agent.linux import UTMP, LinuxBoots, journal_end, listed_boots, panic_text, wtmp_ends

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
DMESG = """Panic#1 Part1
<6>[   12.000000] systemd[1]: Started shop-loader.service.
<4>[   12.345678] Call Trace:
<0>[   12.345679] Kernel panic - not syncing: sysrq triggered crash
<4>[   12.345680] RIP: 0010:sysrq_handle_crash+0x16/0x20
<6>[   12.345681] Rebooting in 1 seconds..
"""


def journal(*messages: str | tuple[str, str]) -> str:
    rows = [message if isinstance(message, tuple) else (message, "") for message in messages]
    return "\n".join(json.dumps({"MESSAGE": said, "MESSAGE_ID": number}) for said, number in rows)


@pytest.mark.parametrize(
    ("text", "ended", "cause"),
    [
        (journal("x", ("Journal stopped", "d93fb3c9c24d451a97cea615ce59c00b")), "clean", Cause.PLANNED),
        (journal(("anything", "98268866d1d54a499c4e98921d93bc40"), "x"), "clean", Cause.PLANNED),
        (journal("Reached target poweroff.target - System Power Off."), "clean", Cause.PLANNED),
        (journal("Reached target Shutdown.", "x"), "clean", Cause.PLANNED),
        (journal("The system will reboot now!"), "clean", Cause.PLANNED),
        (journal("System is rebooting."), "clean", Cause.PLANNED),
        (journal("Power key pressed short.", "x"), "clean", Cause.PLANNED),
        (journal("Kernel panic - not syncing: Fatal exception", "Reached target Shutdown."), "unclean", Cause.CRASH),
        (journal("Started session", "CRON"), "unclean", Cause.POWER_LOSS),
        (journal("a user asked: is Reached target Shutdown. a thing?"), "unclean", Cause.POWER_LOSS),
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


def entry(kind: int, user: str) -> bytes:
    return UTMP.pack(kind, 0, b"~", b"~~", user.encode(), b"6.1", 0, 0, 0, 0, 0, b"")


def test_wtmp_says_which_boots_were_shut_down() -> None:
    boot, down, level = entry(2, "reboot"), entry(1, "shutdown"), entry(1, "runlevel")
    assert UTMP.size == 384
    assert wtmp_ends(boot + level + down + boot + level + boot) == [True, False]
    assert wtmp_ends(b"") == wtmp_ends(boot[:100]) == wtmp_ends(boot) == []


def test_what_a_panic_left_is_told_by_the_lines_that_matter() -> None:
    said = panic_text(DMESG)
    assert said.startswith("Kernel panic - not syncing: sysrq triggered crash; RIP: 0010:sysrq_handle_crash")
    assert panic_text("one\n\nlast words\n\n") == "last words"
    assert panic_text("") == ""
    assert len(panic_text("Oops: " + "x" * 10000)) == 500


class Played:
    """A machine's commands, by their first words."""

    def __init__(self, **said: Done) -> None:
        self.said, self.asked = said, list[Sequence[str]]()

    def __call__(self, argv: Sequence[str], limit_s: float) -> Done:
        self.asked.append(argv)
        key = {"--list-boots": "boots", "-b": "lines", "is-system-running": "system", "show": "ready"}[argv[1]]
        return self.said.get(key, Done(None, "no such command"))


def test_the_journal_is_asked_for_boots_whose_end_is_not_settled_only(tmp_path: Path) -> None:
    run = Played(boots=Done(0, LIST), lines=Done(0, journal("Reached target Shutdown.")))
    found = LinuxBoots(run, (), tmp_path / "none").ended({DASHED})
    assert [(one.boot_id[:4], one.ended) for one in found] == [("1111", "unknown"), ("2222", "clean")]
    assert [argv[2] for argv in run.asked if argv[1] == "-b"] == [TWO]


def test_where_the_journal_is_not_kept_wtmp_says_it(tmp_path: Path) -> None:
    (tmp_path / "wtmp").write_bytes(entry(2, "reboot") + entry(1, "shutdown") + entry(2, "reboot") + entry(2, "reboot"))
    found = LinuxBoots(Played(boots=Done(0, LIST), lines=Done(1, "")), (), tmp_path / "wtmp").ended(())
    assert [one.ended for one in found] == ["clean", "unknown"]


def test_without_journal_systemd_and_pstore_nothing_is_known_and_nothing_fails(tmp_path: Path) -> None:
    found = LinuxBoots(Played(), (tmp_path / "none",), tmp_path / "none")
    assert (found.ended(()), found.panics(), found.running().system, found.running().ready_s) == ((), {}, "", None)


@pytest.mark.parametrize(
    ("said", "system"),
    [(Done(0, "running\n"), "running"), (Done(1, "degraded\n"), "degraded"), (Done(1, "Failed to connect"), "")],
)
def test_systemd_says_how_far_the_boot_has_come(said: Done, system: str) -> None:
    found = LinuxBoots(Played(system=said, ready=Done(0, "4200000\n"))).running()
    assert (found.system, found.ready_s) == (system, 4.2)
    assert LinuxBoots(Played(ready=Done(0, "0\n"))).running().ready_s is None


def test_panics_are_found_in_both_places(tmp_path: Path) -> None:
    kernel, moved = tmp_path / "pstore", tmp_path / "moved"
    (moved / "1772431200").mkdir(parents=True)
    kernel.mkdir()
    (kernel / "dmesg-ramoops-0").write_text(DMESG)
    (kernel / "console-ramoops-0").write_text("noise")
    (moved / "1772431200" / "dmesg.txt").write_text("Oops: 0000")
    found = LinuxBoots(Played(), (kernel, moved)).panics()
    assert len(found) == 2
    assert "Oops: 0000" in found.values()
