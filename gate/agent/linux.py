"""What Linux knows of its boots: the journal, wtmp, the text that a panic left, systemd.

- ``journalctl --list-boots -o json`` lists the boots; the last lines of one say how it ended: journald's own *stopped*,
  systemd's shutdown target and logind's word are a clean end; a kernel's panic is a crash; nothing of it is unclean.
- Only who can know is believed, by the fields that journald itself writes: the kernel of a panic; PID 1, journald and
  logind of a stop. Any program may write the same words.
- ``/var/log/wtmp`` says of the boots that the journal has not kept whether they were shut down (``wtmp``).
- Each command has an end, each path and the runner are arguments. What cannot be read is not known, and never good.

Sources: systemd's journal message ids (sd-messages.h), systemd.journal-fields(7).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gate.agent import commands
from gate.agent.boots import DETAIL, Cause, Ended, Left, Running
from gate.agent.pstore import Pstore
from gate.agent.times import wire
from gate.agent.wtmp import RECORD, with_wtmp

WTMP = Path("/var/log/wtmp")
LIMIT_S = 10.0
LAST_LINES = 40
LOOKED_AT = 8
JOURNAL_STOPPED = "d93fb3c9c24d451a97cea615ce59c00b"
SHUTDOWN = "98268866d1d54a499c4e98921d93bc40"
STOPS_BY_UNIT = ("systemd-journald.service", "systemd-logind.service")
STOPPING = re.compile(
    r"^Journal stopped|^Reached target .*(?:[Pp]ower.?[Oo]ff|[Rr]eboot|[Hh]alt|Shut ?down)"
    r"|^(?:The )?[Ss]ystem (?:is|will) (?:going down|power|reboot|halt)"
    r"|^Shutting down\.|^Sending SIGTERM to remaining processes"
)
TABLE_ROW = re.compile(r"^\s*-?\d+\s+([0-9a-f]{32})\s", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LinuxBoots:
    """This machine's own words about its boots."""

    run: commands.Run = commands.run
    pstore: Pstore = field(default_factory=Pstore)
    wtmp: Path = WTMP

    def this(self) -> str:
        """The kernel has a file for it."""
        return ""

    def ended(self, known: Sequence[Ended]) -> tuple[Ended, ...]:
        """The boots before this one as the logs have them, oldest first; what is settled is not looked into.

        ``known``: the boots that are remembered, the present one last."""
        text = self._said("journalctl", "--list-boots", "-o", "json", "--no-pager")
        listed = before(listed_boots(text), known[-1].boot_id if known else "")[-LOOKED_AT:]
        settled = {one.boot_id for one in known if one.ended != "unknown"}
        found = [one if one.boot_id in settled else self._looked_into(one) for one in listed]
        return with_wtmp((*not_kept(known, found), *found), known[-1:], self._wtmp())

    def panics(self) -> tuple[Left, ...]:
        """What panics left."""
        return self.pstore.left()

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
            return self.wtmp.read_bytes()[-RECORD.size * 400 :]
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


def before(listed: list[Ended], present: str) -> list[Ended]:
    """All but the present boot, wherever a clock that was years off has put it; the last where it is not named."""
    others = [one for one in listed if one.boot_id != present]
    return others if len(others) < len(listed) else listed[:-1]


def not_kept(known: Sequence[Ended], listed: Sequence[Ended]) -> Sequence[Ended]:
    """The boots that are remembered, and older than all that the journal has kept of them."""
    ids = {one.boot_id for one in listed}
    kept = [index for index, one in enumerate(known) if one.boot_id in ids]
    return known[: kept[0] if kept else -1]


def journal_end(boot: Ended, text: str) -> Ended:
    """How a boot ended, by the last lines of its journal (one JSON object a line)."""
    lines = list(_lines(text))
    if not lines:
        return boot
    panics = [_message(line) for line in lines if _of_kernel(line) and "Kernel panic" in _message(line)]
    if panics:
        return replace(boot, ended="unclean", cause=Cause.CRASH, detail=panics[-1][:DETAIL])
    stops = [line for line in lines if _of_init(line)]
    key = any("Power key pressed" in _message(line) for line in stops)
    asked = any(str(line.get("MESSAGE_ID", "")) in (JOURNAL_STOPPED, SHUTDOWN) for line in stops)
    if asked or any(STOPPING.search(_message(line)) for line in stops):
        return replace(boot, ended="clean", cause=Cause.PLANNED, detail="power key" if key else "")
    if key:  # and no stop after it: it was held, or the power went; a till may ignore its key
        return replace(boot, ended="unclean", cause=Cause.POWER_BUTTON)
    return replace(boot, ended="unclean", cause=Cause.POWER_LOSS, detail=_message(lines[-1])[:DETAIL])


def _of_kernel(line: Mapping[str, Any]) -> bool:
    """The kernel's own word: what a program writes into its log has another facility."""
    return line.get("_TRANSPORT") == "kernel" and line.get("SYSLOG_FACILITY", "0") == "0"


def _of_init(line: Mapping[str, Any]) -> bool:
    """PID 1 (systemd, and in the end systemd-shutdown by the kernel's log), journald or logind."""
    if line.get("_TRANSPORT") == "kernel":
        return (line.get("SYSLOG_IDENTIFIER"), line.get("SYSLOG_PID")) == ("systemd-shutdown", "1")
    return line.get("_PID") == "1" or line.get("_SYSTEMD_UNIT") in STOPS_BY_UNIT or line.get("_TRANSPORT") == "driver"


def _message(line: Mapping[str, Any]) -> str:
    """Its text; what is no UTF-8 comes as a list of bytes."""
    said = line.get("MESSAGE", "")
    if isinstance(said, list) and all(isinstance(one, int) and 0 <= one < 256 for one in said):
        return bytes(said).decode(errors="replace")
    return str(said)


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
