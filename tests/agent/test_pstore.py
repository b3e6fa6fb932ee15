"""What a panic left: known by what it says, blamed on the boot in whose time it was, and on no other."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gate.agent.boots import Cause, Left
from gate.agent.pstore import Pstore, panic_text
from tests.agent.played import NOW, PANIC, Machine

DMESG = """Panic#1 Part1
<6>[   12.000000] systemd[1]: Started shop-loader.service.
<4>[   12.345678] Call Trace:
<0>[   12.345679] Kernel panic - not syncing: sysrq triggered crash
<4>[   12.345680] RIP: 0010:sysrq_handle_crash+0x16/0x20
<6>[   12.345681] Rebooting in 1 seconds..
"""
AT = 1772431200


def put(path: Path, text: str, at: float = AT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))


def pstore(tmp_path: Path) -> Pstore:
    return Pstore(tmp_path / "kernel", tmp_path / "moved")


def test_what_a_panic_left_is_told_by_the_lines_that_matter() -> None:
    said = panic_text(DMESG)
    assert said.startswith("Kernel panic - not syncing: sysrq triggered crash; RIP: 0010:sysrq_handle_crash")
    assert panic_text("one\n\nlast words\n\n") == "last words"
    assert panic_text("") == ""
    assert len(panic_text("Oops: " + "x" * 10000)) == 500


def test_that_ramoops_is_there_is_no_part_of_what_a_panic_said() -> None:
    registered = "<6>[    1.2] pstore: Registered ramoops as persistent store backend"
    lines = (
        registered,
        "<6>[    1.3] ramoops: using 0x80000@0x8000000, ecc: 0",
        "<0>[   14.5] Kernel panic - not syncing: x",
    )
    assert panic_text("\n".join(lines)) == "Kernel panic - not syncing: x"


@pytest.mark.parametrize(
    ("text", "crash"),
    [
        (DMESG, True),
        ("Panic#2 Part3\n<6>[  1.0] usb", True),
        ("[ 1.0] Kernel panic - not syncing", True),
        ("Oops#1 Part1\n<1>[  1.0] BUG: unable to handle page fault", False),
        ("[ 1.0] Oops: 0000 [#1]", False),
        ("[ 1.0] general protection fault", False),
        ("Restart#1 Part1\n[ 1.0] reboot: Restarting system", False),
        ("[ 1.0] a driver named Panic#1", False),
        ("", False),
    ],
)
def test_only_a_panic_is_a_crash(tmp_path: Path, text: str, crash: bool) -> None:
    put(tmp_path / "kernel" / "dmesg-ramoops-0", text)
    assert bool(pstore(tmp_path).left()) is crash


def test_a_text_that_was_moved_is_the_same_text(tmp_path: Path) -> None:
    put(tmp_path / "kernel" / "dmesg-ramoops-0", DMESG)
    put(tmp_path / "kernel" / "console-ramoops-0", DMESG)
    [before] = pstore(tmp_path).left()
    put(tmp_path / "moved" / "dmesg-ramoops-0", DMESG, AT + 999)
    put(tmp_path / "moved" / "174" / "dmesg.txt", "<5>[    0.0] Linux\n" + DMESG, AT + 999)
    assert pstore(tmp_path).left() == (before,), "once, with the kernel's own time"
    (tmp_path / "kernel" / "dmesg-ramoops-0").unlink()
    assert [one.key for one in pstore(tmp_path).left()] == [before.key]


def test_another_panic_of_the_same_cause_is_another_text(tmp_path: Path) -> None:
    put(tmp_path / "kernel" / "dmesg-ramoops-0", DMESG)
    put(tmp_path / "kernel" / "dmesg-ramoops-1", DMESG.replace("12.345679", "12.345999"))
    assert len({one.key for one in pstore(tmp_path).left()}) == 2


def test_its_moment_is_the_kernels_own_and_never_that_of_a_copy(tmp_path: Path) -> None:
    def moment_of(path: str, at: float = AT) -> float | None:
        put(tmp_path / path, DMESG, at)
        [found] = pstore(tmp_path).left()
        (tmp_path / path).unlink()
        return found.at.timestamp() if found.at else None

    assert moment_of("kernel/dmesg-ramoops-0") == AT
    assert moment_of("kernel/dmesg-ramoops-0", 0) is None
    assert moment_of(f"kernel/dmesg-efi-{AT + 7}01001", AT) == AT + 7
    assert moment_of(f"moved/{AT + 7}/dmesg.txt", AT + 999) == AT + 7
    assert moment_of(f"moved/{AT + 7}01001/dmesg-efi", AT + 999) == AT + 7
    assert moment_of("moved/dmesg-ramoops-0", AT + 999) is None
    assert moment_of("moved/6830254421234567892/dmesg-erst", AT + 999) is None, "no seconds"


def test_who_names_the_panic_is_told_last_and_so_stays(tmp_path: Path) -> None:
    put(tmp_path / "kernel" / "dmesg-efi-177243120001001", DMESG)
    put(tmp_path / "kernel" / "dmesg-efi-177243120002001", "Panic#1 Part2\n<6>[  1.0] usb")
    assert [one.text.startswith("Kernel panic") for one in pstore(tmp_path).left()] == [False, True]


# blame


def in_boot_2(home: Path) -> Machine:
    """A good release waits for its proof in boot 2."""
    machine = Machine(home)
    machine.round()
    machine.up(2, 5)
    machine.early()
    return machine


def left(at: datetime | None, key: str = "k") -> Left:
    return Left(key, PANIC, at)


def causes(machine: Machine) -> list[str]:
    return [one.cause for one in machine.diary().boots()]


@pytest.mark.parametrize(
    "at", [None, NOW - timedelta(days=400), NOW - timedelta(hours=1), NOW + timedelta(days=400)],
    ids=["not known", "a year ago", "before our first boot", "years ahead"],
)  # fmt: skip
@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
def test_a_text_of_another_time_takes_no_good_release_back(tmp_path: Path, at: datetime | None, late: bool) -> None:
    machine = in_boot_2(tmp_path)
    machine.folder.mark_down("b2")
    machine.up(3, 5)
    if not late:
        machine.system.left.append(left(at))
    machine.early()
    if late:
        machine.system.left.append(left(at))
    for uptime_s in (20, 1000):
        machine.up(3, uptime_s)
        machine.round()
    assert machine.gate.steps == ["installed", "booted", "healthy"]
    assert "crash_found" in [one["kind"] for one in machine.folder.state().events], "it is said all the same"


def test_a_text_that_shows_up_late_is_of_the_boot_in_whose_time_it_was(tmp_path: Path) -> None:
    machine = in_boot_2(tmp_path)
    died = machine.clock()
    machine.up(3, 5)
    machine.early()
    assert Cause.CRASH not in causes(machine)
    machine.system.left.append(left(died))
    machine.up(3, 20)
    machine.round()
    machine.up(3, 1000)
    machine.round()
    assert machine.gate.steps[-1] == "rolled_back"
    assert [one["detail"] for one in machine.folder.state().events if one["kind"] == "crashed"] == [PANIC]


def test_a_text_that_was_seen_is_nobodys_a_second_time(tmp_path: Path) -> None:
    machine = in_boot_2(tmp_path)
    machine.system.left.append(left(None))
    machine.folder.mark_down("b2")
    machine.up(3, 5)
    machine.early()
    machine.system.left.clear()  # on its way
    machine.folder.mark_down("b3")
    machine.up(4, 5)
    machine.early()
    machine.system.left.append(left(machine.clock() - timedelta(seconds=30)))
    machine.up(5, 5)
    machine.early()
    assert Cause.CRASH not in causes(machine)


def test_the_first_look_says_nothing_of_what_lay_there_before_us(tmp_path: Path) -> None:
    fresh = Machine(tmp_path)
    state = fresh.folder.state()
    state.boots, state.panics, state.boot_id = [], [], ""
    fresh.folder.save(state)
    fresh.system.left.append(left(None))
    fresh.early()
    after = fresh.folder.state()
    assert (after.panics, after.events) == (["k"], [])
