"""Night duty from an iCalendar file (RFC 5545): single events with a beginning and an end; nothing is guessed.

- A time is UTC (``...Z``), local to its ``TZID``, or floating: then local to the given zone. An event of whole days is
  a duty from that day's change of duty (09:00) to the same hour after its last day.
- Recurring events, times that no clock shows, ends before beginnings and unknown zones are problems, each with its
  line; with one problem nothing is imported. ``STATUS:CANCELLED`` is no duty; what else an event says is not read.
- The site of an event is its ``LOCATION``, where the caller names none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

MOST = 8 * 1024 * 1024
LONGEST = timedelta(days=8)
CHANGE = time(9)
NAME = re.compile(
    r"(?P<name>[A-Za-z0-9-]+)(?P<params>(?:;[A-Za-z0-9-]+=(?:\"[^\"]*\"|[^\";:,]*))*):(?P<value>.*)\Z", re.S
)
PARAM = re.compile(r";([A-Za-z0-9-]+)=(?:\"([^\"]*)\"|([^\";:,]*))")
REPEATS = ("RRULE", "RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID", "DURATION")
ONCE = ("DTSTART", "DTEND", "LOCATION", "STATUS")
ESCAPED = re.compile(r"\\([\\;,nN])")


@dataclass(frozen=True, slots=True)
class Duty:
    """One duty as a file has it; ``line`` is where its event begins."""

    line: int
    start_at: datetime
    end_at: datetime
    where: str


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    name: str
    params: dict[str, str]
    value: str


@dataclass(slots=True)
class _Event:
    number: int
    lines: dict[str, _Line] = field(default_factory=dict)


def read_duty(raw: bytes, zone: str, file: str, change: time = CHANGE) -> tuple[list[Duty], list[str]]:
    """The duties of a file in order of their beginning, and what is wrong with it, as ``file:line: problem``."""
    if len(raw) > MOST:
        return [], [f"{file}: a calendar has at most {MOST} bytes"]
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        return [], [f"{file}: not UTF-8: {problem.reason} at byte {problem.start}"]
    problems: list[tuple[int, str]] = []
    found = []
    for event in _events(text, problems):
        if "STATUS" in event.lines and event.lines["STATUS"].value.strip().upper() == "CANCELLED":
            continue
        duty = _duty(event, ZoneInfo(zone), change, problems)
        if duty is not None:
            found.append(duty)
    if not found and not problems:
        problems.append((1, "there is no event in it"))
    return sorted(found, key=lambda one: one.start_at), [f"{file}:{line}: {said}" for line, said in sorted(problems)]


def _events(text: str, problems: list[tuple[int, str]]) -> Iterator[_Event]:
    """Each VEVENT; blocks inside it and beside it (zones, alarms) are passed over."""
    within: list[str] = []
    event: _Event | None = None
    number = 1
    for number, line in _unfolded(text):
        match = NAME.match(line)
        if match is None:
            problems.append((number, f"not a line of a calendar: {line[:40]!r}"))
            continue
        name, value = match["name"].upper(), match["value"]
        if name == "BEGIN":
            within.append(value.strip().upper())
            if within == ["VCALENDAR", "VEVENT"]:
                event = _Event(number)
            elif len(within) == 1 and within != ["VCALENDAR"]:
                problems.append((number, "a calendar begins with BEGIN:VCALENDAR"))
        elif name == "END":
            if not within or within.pop() != value.strip().upper():
                problems.append((number, f"END:{value.strip()[:40]} ends nothing that began"))
                return
            if event is not None and within == ["VCALENDAR"]:
                yield event
                event = None
        elif not within:
            problems.append((number, "a calendar begins with BEGIN:VCALENDAR"))
            return
        elif event is not None and within == ["VCALENDAR", "VEVENT"]:
            params = {key.upper(): quoted or plain for key, quoted, plain in PARAM.findall(match["params"])}
            _keep(event, _Line(number, name, params, value), problems)
    if within:
        problems.append((number, f"{within[-1]} is never ended"))


def _unfolded(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that continue them, numbered by where they begin."""
    held: tuple[int, str] | None = None
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if line[:1] in (" ", "\t") and held is not None:
            held = held[0], held[1] + line[1:]
            continue
        if held is not None and held[1]:
            yield held
        held = number, line
    if held is not None and held[1]:
        yield held


def _keep(event: _Event, line: _Line, problems: list[tuple[int, str]]) -> None:
    if line.name in REPEATS:
        problems.append((line.number, f"{line.name} is not read: write each duty as an event with DTSTART and DTEND"))
    elif line.name in ONCE and line.name in event.lines:
        problems.append((line.number, f"{line.name} is there twice"))
    event.lines[line.name] = line


def _duty(event: _Event, zone: ZoneInfo, change: time, problems: list[tuple[int, str]]) -> Duty | None:
    first, last = event.lines.get("DTSTART"), event.lines.get("DTEND")
    if first is None:
        problems.append((event.number, "the event has no DTSTART"))
        return None
    begin = _moment(first, zone, problems)
    end = _moment(last, zone, problems) if last is not None else None
    if begin is None or (last is not None and end is None):
        return None
    if not isinstance(begin, datetime):
        day_after = begin + timedelta(days=1) if end is None else end
        if isinstance(day_after, datetime):
            problems.append((event.number, "DTSTART is a day and DTEND a time"))
            return None
        begin, end = (datetime.combine(day, change, zone).astimezone(UTC) for day in (begin, day_after))
    elif end is None:
        problems.append((event.number, "the event has no DTEND"))
        return None
    elif not isinstance(end, datetime):
        problems.append((event.number, "DTSTART is a time and DTEND a day"))
        return None
    if end <= begin:
        problems.append((event.number, "the event ends before it begins"))
        return None
    if end - begin > LONGEST:
        problems.append((event.number, f"a duty of more than {LONGEST.days} days"))
        return None
    place = event.lines.get("LOCATION")
    where = ESCAPED.sub(lambda one: "\n" if one[1] in "nN" else one[1], place.value).strip() if place else ""
    return Duty(event.number, begin, end, where)


def _moment(line: _Line, zone: ZoneInfo, problems: list[tuple[int, str]]) -> datetime | date | None:
    """A day, or an instant in UTC."""
    value, kind = line.value.strip(), line.params.get("VALUE", "DATE-TIME").upper()
    named = line.params.get("TZID", "")
    match = re.fullmatch(r"(\d{8})(?:T(\d{6})(Z?))?", value, re.ASCII)
    if match is None or (match[2] is None) != (kind == "DATE") or kind not in ("DATE", "DATE-TIME"):
        problems.append((line.number, f"{line.name}: {value[:40]!r} is not a {kind[:20].lower()}"))
        return None
    try:
        day = datetime.strptime(match[1], "%Y%m%d").date()  # noqa: DTZ007
        if not 2000 <= day.year < 2200:
            raise ValueError
        if match[2] is None:
            return day
        clock = datetime.strptime(match[2], "%H%M%S").time()  # noqa: DTZ007
    except ValueError:
        problems.append((line.number, f"{line.name}: there is no {value!r}"))
        return None
    try:
        local = ZoneInfo(named.removeprefix("/")) if named else zone
    except (KeyError, ValueError, OSError):  # not there, no name at all, a folder of zones
        problems.append((line.number, f"{line.name}: no time zone {named[:40]!r} is known"))
        return None
    if match[3] and named:
        problems.append((line.number, f"{line.name}: a time in UTC has no TZID"))
        return None
    if match[3]:
        return datetime.combine(day, clock, UTC)
    at = datetime.combine(day, clock, local).astimezone(UTC)
    if at.astimezone(local).replace(tzinfo=None) != datetime.combine(day, clock):
        problems.append((line.number, f"{line.name}: no clock shows {value} on that day"))
        return None
    return at
