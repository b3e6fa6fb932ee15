"""What Windows knows of its boots, out of what ``wevtutil qe System /f:xml`` and ``reg query`` print.

Provider *and* event id are matched together; an id alone says nothing. Row by row:

| provider | id | what it says |
|---|---|---|
| Microsoft-Windows-Kernel-Boot | 20 | ``LastShutdownGood``, ``LastBootGood``: how the boot before ended |
| Microsoft-Windows-Kernel-Power | 41 | it stopped unasked. ``BugcheckCode`` (decimal) other than 0: a crash; 0 and ``PowerButtonTimestamp``: somebody held the button; all 0: a loss of power |
| Microsoft-Windows-Kernel-Boot | 27 | ``BootType`` other than 0: fast start-up (1) or hibernation (2), no boot |
| Microsoft-Windows-Kernel-General | 12, 13 | start (``BootMode`` other than 0: Safe Mode), stop |
| EventLog | 6008 | the stop before was not expected |
| User32 | 1074 | somebody or something asked for it: planned |

The log is in the order of its records, not of its clock: the record of a stop is written as the next boot begins, and
the marks of EventLog may stand some records ahead of the start that they belong to.

**This has not run on Windows.** It was written against two recorded logs and the vendor's documentation.
"""  # noqa: E501  (a table)

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gate.agent import commands
from gate.agent.boots import DETAIL, Cause, Ended, Left, Running
from gate.agent.times import moment, wire

BOOT = "Microsoft-Windows-Kernel-Boot"
POWER = "Microsoft-Windows-Kernel-Power"
GENERAL = "Microsoft-Windows-Kernel-General"
DEFENDER = "Microsoft-Windows-Windows Defender"
LIMIT_S = 20.0
NEAR = 16
"""Records between a start and the marks of EventLog that belong to it."""
MOST = 2000
WANTED = {(BOOT, 20), (BOOT, 27), (POWER, 41), (GENERAL, 12), (GENERAL, 13)}
WANTED |= {("EventLog", 6008), ("User32", 1074), (DEFENDER, 2000), (DEFENDER, 5000), (DEFENDER, 5001)}
SYSTEM = sorted(one for one in WANTED if one[0] != DEFENDER)
QUERY = (
    "*[System[Provider["
    + " or ".join(f"@Name='{name}'" for name in sorted({provider for provider, _ in SYSTEM}))
    + "] and ("
    + " or ".join(f"EventID={number}" for number in sorted({number for _, number in SYSTEM}))
    + ")]]"
)
"""A network card that says its 27 over and over must not take the place of what is asked for."""
PREFETCH = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters"
EVENT = re.compile(r"(?=<Event[ >])")
DWORD = re.compile(r"^\s*BootId\s+REG_DWORD\s+0x([0-9a-fA-F]{1,8})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Event:
    """One record of the log, of those in ``WANTED``."""

    record: int
    provider: str
    id: int
    at: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Start:
    """One start of the machine, and how what went before it ended. ``boot_type``: 0 a boot, 1 fast, 2 hibernation."""

    record: int
    at: str
    boot_type: int = 0
    safe_mode: bool = False


@dataclass(frozen=True, slots=True)
class WindowsBoots:
    """This machine's own words about its boots."""

    run: commands.Run = commands.run

    def this(self) -> str:
        """The newest start that was a boot: who is woken by fast start-up has not booted. Empty: the log has none."""
        return next((one.at for one in reversed(starts_of(events_of(self._log()))) if one.boot_type == 0), "")

    def ended(self, known: Sequence[Ended]) -> tuple[Ended, ...]:
        """The boots before this one as the log has them, oldest first."""
        del known  # one reading has them all
        return tuple(boots_of(events_of(self._log()))[:-1])

    def panics(self) -> tuple[Left, ...]:
        """Crashes stand in the log itself."""
        return ()

    def running(self) -> Running:
        """What the newest start was."""
        starts = starts_of(events_of(self._log()))
        if not starts:
            return Running()
        return Running(safe_mode=starts[-1].safe_mode, fast_start=starts[-1].boot_type != 0)

    def boot_count(self) -> int | None:
        """The registry's counter of boots."""
        done = self.run(("reg", "query", PREFETCH, "/v", "BootId"), LIMIT_S)
        return boot_count(done.said) if done.code == 0 else None

    def _log(self) -> str:
        done = self.run(("wevtutil", "qe", "System", "/f:xml", f"/q:{QUERY}", "/rd:true", f"/c:{MOST}"), LIMIT_S)
        return done.said if done.code == 0 else ""


def events_of(text: str) -> list[Event]:
    """The events that matter, in the order of their records; what cannot be read is left out."""
    found = {}
    for part in EVENT.split(text):  # what was cut off takes no other with it
        whole, end, _ = part.partition("</Event>")
        event = _event(whole + end) if end else None
        if event is not None and (event.provider, event.id) in WANTED:
            found[event.record] = event
    return [found[record] for record in sorted(found)]


def starts_of(events: Sequence[Event]) -> list[Start]:
    """Each start: a kernel that began, or one that was woken by fast start-up."""
    starts: list[Start] = []
    for event in events:
        if (event.provider, event.id) == (GENERAL, 12):
            starts.append(Start(event.record, event.at, 0, event.values.get("BootMode", "0") not in ("0", "")))
        elif (event.provider, event.id) == (BOOT, 27):
            boot_type = _number(event.values.get("BootType"))
            if starts and event.record - starts[-1].record <= NEAR:
                starts[-1] = replace(starts[-1], boot_type=boot_type)
            elif boot_type:
                starts.append(Start(event.record, event.at, boot_type))
    return starts


def boots_of(events: Sequence[Event]) -> list[Ended]:
    """Each start with how it ended; of the newest that is not known."""
    starts = starts_of(events)
    found = [Ended(start.at, _moment(start.at)) for start in starts]
    for index in range(len(found) - 1):
        own = [event for event in events if _start_of(starts, event) == index]
        after = [event for event in events if _start_of(starts, event) == index + 1]
        found[index] = _end(found[index], own, after)
    return found


def boot_count(text: str) -> int | None:
    """What ``reg query ... /v BootId`` printed."""
    match = DWORD.search(text)
    return int(match[1], 16) if match else None


def defender(text: str) -> dict[str, str]:
    """Defender's state out of its own log (``wevtutil qe "Microsoft-Windows-Windows Defender/Operational" /f:xml``)."""
    found: dict[str, str] = {}
    for event in events_of(text):
        if event.provider != DEFENDER:
            continue
        if event.id == 2000:
            named = {key.lower(): value for key, value in event.values.items()}
            found["definitions"] = named.get("current signature version", "")
            found["engine"] = named.get("current engine version", "")
        else:
            found["real_time"] = "on" if event.id == 5000 else "off"
    return found


def _end(boot: Ended, own: Iterable[Event], after: Iterable[Event]) -> Ended:
    """The surest word about an end: a crash, the button, a loss of power, not expected, planned, stopped."""
    next_ones = {(event.provider, event.id): event.values for event in after}
    last_ones = {(event.provider, event.id): event.values for event in own}
    stopped = next_ones.get((POWER, 41))
    if stopped is not None:
        code = _number(stopped.get("BugcheckCode"))
        if code:
            return replace(boot, ended="unclean", cause=Cause.CRASH, detail=f"bugcheck 0x{code:X}")
        held = _number(stopped.get("PowerButtonTimestamp")) or stopped.get("LongPowerButtonPressDetected") == "true"
        return replace(boot, ended="unclean", cause=Cause.POWER_BUTTON if held else Cause.POWER_LOSS)
    said = next_ones.get((BOOT, 20), {})
    if ("EventLog", 6008) in next_ones or "false" in (said.get("LastShutdownGood"), said.get("LastBootGood")):
        return replace(boot, ended="unclean", cause=Cause.UNKNOWN)
    planned = last_ones.get(("User32", 1074))
    if planned is not None:
        detail = ", ".join(filter(None, (planned.get("param5"), planned.get("param3"), planned.get("param7"))))
        return replace(boot, ended="clean", cause=Cause.PLANNED, detail=detail[:DETAIL])
    if (GENERAL, 13) in last_ones or said.get("LastShutdownGood") == "true":
        return replace(boot, ended="clean", cause=Cause.UNKNOWN)
    return boot


def _start_of(starts: Sequence[Start], event: Event) -> int:
    """The index of the start that an event belongs to; EventLog's 6008 goes with the nearest."""
    if (event.provider, event.id) == ("EventLog", 6008):
        return min(range(len(starts)), key=lambda index: abs(starts[index].record - event.record), default=-1)
    return sum(start.record <= event.record for start in starts) - 1


def _event(text: str) -> Event | None:
    try:
        root = ET.fromstring(text)  # noqa: S314  (one event without a head: there is no place for entities)
    except (ET.ParseError, ValueError):
        return None
    values, number, record, provider, at = {}, -1, -1, "", ""
    for node in root.iter():
        name, said = node.tag.rpartition("}")[2], (node.text or "").strip()
        match name:
            case "Provider":
                provider = node.get("Name", "")
            case "EventID":
                number = _number(said)
            case "EventRecordID":
                record = _number(said)
            case "TimeCreated":
                at = node.get("SystemTime", "")
            case "Data":
                values[node.get("Name", "")] = said
    return Event(record, provider, number, at, values)


def _moment(text: str) -> str:
    """As the wire has it; empty where it is none."""
    try:
        return wire(moment(text)) if text else ""
    except (ValueError, OverflowError):
        return ""


def _number(text: str | None) -> int:
    """A decimal number, as this log writes them; 0 where there is none."""
    return int(text) if text and re.fullmatch(r"[0-9]{1,20}", text) else 0
