"""What Linux knows of its boots: the journal, wtmp, the text that a panic left, systemd.

- ``journalctl --list-boots -o json`` lists the boots; the last lines of one say how it ended: journald's own *stopped*,
  systemd's shutdown target and logind's word are a clean end; a kernel's panic is a crash; nothing of it is unclean.
- ``/var/log/wtmp`` says it too, where the journal is not kept: records of ``reboot`` with or without a ``shutdown``.
- The text of a panic lies in ``/sys/fs/pstore`` until systemd-pstore moves it to ``/var/lib/systemd/pstore``.
- Each command has an end, each path and the runner are arguments. What cannot be read is not known, and never good.

Sources: systemd's journal message ids (sd-messages.h), utmp(5), the kernel's pstore (admin-guide/ramoops).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gate.agent import commands
from gate.agent.boots import DETAIL, Cause, Ended, Running
from gate.agent.times import wire

PSTORE = (Path("/sys/fs/pstore"), Path("/var/lib/systemd/pstore"))
WTMP = Path("/var/log/wtmp")
LIMIT_S = 10.0
LAST_LINES = 40
LOOKED_AT = 8
MOST_TEXT = 256 * 1024
JOURNAL_STOPPED = "d93fb3c9c24d451a97cea615ce59c00b"
SHUTDOWN = "98268866d1d54a499c4e98921d93bc40"
PANIC = re.compile(r"Kernel panic|BUG: |Oops[: ]|general protection fault|Internal error", re.IGNORECASE)
STOPPING = re.compile(
    r"^Journal stopped|^Reached target .*(?:[Pp]ower.?[Oo]ff|[Rr]eboot|[Hh]alt|Shut ?down)"
    r"|^(?:The )?[Ss]ystem (?:is|will) (?:going down|power|reboot|halt)"
    r"|^Shutting down\.|^Sending SIGTERM to remaining processes"
)
TABLE_ROW = re.compile(r"^\s*-?\d+\s+([0-9a-f]{32})\s", re.MULTILINE)
STAMP = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[[^\]]*\])?\s*")
UTMP = struct.Struct("<hxxi32s4s32s256shhiii16s20x")
RUN_LEVEL, BOOT_TIME = 1, 2


@dataclass(frozen=True, slots=True)
class LinuxBoots:
    """This machine's own words about its boots."""

    run: commands.Run = commands.run
    pstore: Sequence[Path] = PSTORE
    wtmp: Path = WTMP

    def ended(self, settled: Collection[str]) -> tuple[Ended, ...]:
        """The boots before this one as the log has them, oldest first; those that are settled are not looked into."""
        listed = listed_boots(self._said("journalctl", "--list-boots", "-o", "json", "--no-pager"))
        before = listed[:-1][-LOOKED_AT:]
        found = [one if one.boot_id in settled else self._looked_into(one) for one in before]
        return with_wtmp(found, self._wtmp())

    def panics(self) -> dict[str, str]:
        """What panics left: file -> the lines that matter."""
        found = {}
        for folder in self.pstore:
            for path in sorted(folder.glob("**/dmesg*")) if folder.is_dir() else ():
                try:
                    raw = path.read_bytes()[:MOST_TEXT]
                    name = f"{path.relative_to(folder)} {int(path.stat().st_mtime)}"
                except OSError:
                    continue
                found[name] = panic_text(raw.decode(errors="replace"))
        return found

    def running(self) -> Running:
        """How far the present boot has come."""
        done = self.run(("systemctl", "is-system-running"), LIMIT_S)
        system = done.said.strip() if done.code is not None else ""
        took = self._said("systemctl", "show", "-p", "FinishTimestampMonotonic", "--value").strip()
        ready_s = int(took) / 1e6 if took.isascii() and took.isdigit() and int(took) else None
        return Running(system if re.fullmatch(r"[a-z]{1,20}", system) else "", ready_s)

    def boot_count(self) -> int | None:
        """Linux counts no boots."""
        return None

    def _looked_into(self, one: Ended) -> Ended:
        asked = ("journalctl", "-b", one.boot_id.replace("-", ""), "-n", str(LAST_LINES), "-o", "json", "--no-pager")
        return journal_end(one, self._said(*asked))

    def _said(self, *argv: str) -> str:
        done = self.run(argv, LIMIT_S)
        return done.said if done.code == 0 else ""

    def _wtmp(self) -> bytes:
        try:
            return self.wtmp.read_bytes()[-UTMP.size * 400 :]
        except OSError:
            return b""


def listed_boots(text: str) -> list[Ended]:
    """``journalctl --list-boots -o json``, or the table that an older systemd prints all the same; oldest first."""
    try:
        found = json.loads(text)
        rows = sorted(found, key=lambda row: int(row["index"]))
        return [Ended(_dashed(str(row["boot_id"])), _at(int(row["first_entry"]) / 1e6)) for row in rows]
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError):
        return [Ended(_dashed(row[1])) for row in TABLE_ROW.finditer(text)]


def journal_end(boot: Ended, text: str) -> Ended:
    """How a boot ended, by the last lines of its journal (one JSON object a line)."""
    lines = list(_lines(text))
    if not lines:
        return boot
    said = [str(line.get("MESSAGE", "")) for line in lines]
    panics = [one for one in said if PANIC.search(one)]
    if any("Kernel panic" in one for one in panics):
        return replace(boot, ended="unclean", cause=Cause.CRASH, detail=panics[-1][:DETAIL])
    if any("Power key pressed" in one for one in said):
        return replace(boot, ended="clean", cause=Cause.PLANNED, detail="power key")
    asked = any(str(line.get("MESSAGE_ID", "")) in (JOURNAL_STOPPED, SHUTDOWN) for line in lines)
    if asked or any(STOPPING.search(one) for one in said):
        return replace(boot, ended="clean", cause=Cause.PLANNED)
    return replace(boot, ended="unclean", cause=Cause.POWER_LOSS, detail=said[-1][:DETAIL])


def with_wtmp(boots: Sequence[Ended], raw: bytes) -> tuple[Ended, ...]:
    """What wtmp says of the boots whose end is not known: a ``shutdown`` before the next ``reboot`` is a clean end.

    Boots are told apart by their order from the end: both lists end with the one before the present.
    """
    ends = wtmp_ends(raw)
    found = list(boots)
    for back in range(1, min(len(ends), len(found)) + 1):
        if found[-back].ended == "unknown" and ends[-back]:
            found[-back] = replace(found[-back], ended="clean", cause=Cause.PLANNED)
    return tuple(found)


def wtmp_ends(raw: bytes) -> list[bool]:
    """Of each boot before the present one, oldest first: did it say ``shutdown``?"""
    ends: list[bool] = []
    shutdown, started = False, False
    for start in range(0, len(raw) - UTMP.size + 1, UTMP.size):
        kind, _, _, _, user, *_ = UTMP.unpack_from(raw, start)
        who = user.rstrip(b"\0")
        if kind == BOOT_TIME:
            if started:
                ends.append(shutdown)
            shutdown, started = False, True
        elif kind == RUN_LEVEL and who == b"shutdown":
            shutdown = True
    return ends


def panic_text(text: str) -> str:
    """The lines of a kernel's last words that say what it was, in order; the last line where none does."""
    lines = [STAMP.sub("", line).strip() for line in text.splitlines()]
    told = [line for line in lines if PANIC.search(line)]
    told += [line for line in lines if line.startswith(("RIP:", "pc :", "Comm:"))][:1]
    last = next((line for line in reversed(lines) if line), "")
    return "; ".join(dict.fromkeys(told or [last]))[:DETAIL]


def _lines(text: str) -> Iterable[Mapping[str, Any]]:
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            yield found


def _dashed(boot_id: str) -> str:
    """As ``/proc/sys/kernel/random/boot_id`` writes it."""
    if not re.fullmatch(r"[0-9a-f]{32}", boot_id):
        return boot_id
    return "-".join((boot_id[:8], boot_id[8:12], boot_id[12:16], boot_id[16:20], boot_id[20:]))


def _at(seconds: float) -> str:
    return wire(datetime.fromtimestamp(seconds, UTC))
