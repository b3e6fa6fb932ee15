"""A scenario: a fleet, its releases and their faults, and what is expected. Strict: unknown keys are errors.

- Every draw is a stable hash of the seed, the machine and the purpose: the same file gives the same day.
- Times are aware; durations are texts such as ``3m``, ``2h``, ``14d``; shares ``0.5%``.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from gate.core.errors import Malformed
from gate.core.model import Site, SiteTime, TimeKind

MOST = 200_000
MOST_MAKES = 10_000
MORNING, DUTY_LASTS = 9, timedelta(hours=15)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
EDGE = re.compile(r"(\d+[smhd])\s+(before|after)\s+(opening|closing)\Z")
EXPECTED = "exposed bricked healthy silent opened sites_without_till halted halted_by done held alarms alarmed_at asked"
EFFECTS = ("brick", "crash_loop", "slow", "unhealthy", "relapse")


@dataclass(frozen=True, slots=True)
class OnTime:
    """An edge of a machine's day: seconds relative to its site's opening or closing."""

    offset: timedelta
    anchor: str


@dataclass(frozen=True, slots=True)
class Row:
    """Machines of one role at every site."""

    role: str
    count: int
    on: OnTime
    off: OnTime


@dataclass(frozen=True, slots=True)
class Fault:
    """Which machines a release harms, when and how."""

    where: Mapping[str, tuple[str, ...]]
    on: str
    rate: float
    effect: str
    delay: timedelta
    after: timedelta = timedelta(hours=1)  # a relapse, or each crash of a loop: so long after it was healthy, or up


@dataclass(frozen=True, slots=True)
class SimRelease:
    """A release of a scenario. ``fates``: what it does to each machine (no entry: nothing), instead of ``fault``.

    ``living``: machines that are known to have lived when it came. ``signed``: (when, who, which ring)."""

    at: datetime
    source: str
    version: str
    boot_critical: bool
    fault: Fault | None = None
    fates: Mapping[str, Fault] | None = None
    living: frozenset[str] = frozenset()
    signed: tuple[tuple[datetime, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SimMachine:
    """One simulated machine: what it is, and when it is on."""

    id: str
    site: Site
    role: str
    facts: Mapping[str, str]
    row: Row | None  # None: always on
    labels: frozenset[str] = frozenset()  # its own, beside those of its site


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole scenario."""

    name: str
    seed: int
    start: datetime
    run: timedelta
    machines: tuple[SimMachine, ...]
    sites: tuple[Site, ...]
    silent: float
    delay: timedelta
    releases: tuple[SimRelease, ...]
    events: tuple[Mapping[str, Any], ...]
    drop_rings: tuple[str, ...]
    check_ins: bool = False
    expect: Mapping[str, Any] = field(default_factory=dict)


def draw(seed: int | str, *names: object) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    text = "/".join(str(name) for name in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56


def duration(text: object) -> timedelta:
    """``3m``, ``90m``, ``12h``, ``14d``."""
    match = re.fullmatch(r"(\d+)\s*([smhd])", str(text).strip())
    if not match:
        raise Malformed("bad_field", f"{text!r} is not a duration such as 3m or 12h")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


def share(text: object) -> float:
    """``5%`` -> 0.05."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)%", str(text).strip())
    if not match:
        raise Malformed("bad_field", f"{text!r} is not a share such as 5%")
    return float(match[1]) / 100


def moment(text: object) -> datetime:
    """An aware instant."""
    value = text if isinstance(text, datetime) else None
    if value is None:
        try:
            value = datetime.fromisoformat(str(text))
        except ValueError as problem:
            raise Malformed("bad_field", f"{text!r} is not a time") from problem
    if value.tzinfo is None:
        raise Malformed("bad_field", f"{text!r} needs a UTC offset")
    return value


def keys(node: Any, where: str, needed: str, optional: str = "") -> Mapping[str, Any]:
    """The mapping, once it has every needed key and no unknown one."""
    if not isinstance(node, Mapping):
        raise Malformed("bad_field", f"{where} must be a mapping")
    known = {*needed.split(), *optional.split()}
    unknown, missing = sorted(map(str, set(node) - known)), sorted(set(needed.split()) - set(node))
    if unknown or missing:
        said = [*(f"unknown key {key!r}" for key in unknown), *(f"missing key {key!r}" for key in missing)]
        raise Malformed("bad_field", f"{where}: {', '.join(said)}")
    return node


def parse(node: Any) -> Scenario:
    """A scenario from parsed YAML.

    Raises:
        Malformed: the first problem, with where it stands.
    """
    try:
        return _parsed(node)
    except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as problem:
        raise Malformed("bad_field", f"a value of the wrong form: {problem}") from problem


def _parsed(node: Any) -> Scenario:
    top = keys(node, "scenario", "scenario name start run fleet releases", "seed events policy expect")
    if top["scenario"] != 1:
        raise Malformed("bad_field", "scenario: only version 1 is known")
    seed = int(top.get("seed", 1))
    fleet = keys(
        top["fleet"],
        "fleet",
        "sites hours machines",
        "land duty facts labels extra_sites background report_delay check_ins",
    )
    sites, machines = _fleet(fleet, seed)
    policy = keys(top.get("policy") or {}, "policy", "", "drop_rings")
    background = keys(fleet.get("background") or {}, "background", "", "silent")
    delay = keys(fleet.get("report_delay") or {}, "report_delay", "", "median")
    if fleet.get("duty"):
        part, night = share(keys(fleet["duty"], "duty", "share")["share"]), _night(moment(top["start"]))
        sites, machines = _on_duty(sites, machines, night, part, seed)
    return Scenario(
        name=str(top["name"]),
        seed=seed,
        start=moment(top["start"]),
        run=duration(top["run"]),
        machines=tuple(machines),
        sites=tuple(sites),
        silent=share(background.get("silent", "0%")),
        delay=duration(delay.get("median", "0s")),
        releases=tuple(_release(entry, i) for i, entry in enumerate(top["releases"])),
        events=tuple(_event(entry, i) for i, entry in enumerate(top.get("events") or ())),
        drop_rings=tuple(str(name) for name in policy.get("drop_rings", ())),
        check_ins=_flag(fleet.get("check_ins", False), "fleet.check_ins"),
        expect=keys(top.get("expect") or {}, "expect", "", EXPECTED),
    )


def _night(start: datetime) -> SiteTime:
    """The night duty in or before which a scenario begins: six in the evening to nine, by the clock of its start."""
    first = start if start.hour < MORNING else start + timedelta(days=1)
    ends = first.replace(hour=MORNING, minute=0, second=0, microsecond=0)
    return SiteTime((ends - DUTY_LASTS).astimezone(UTC), ends.astimezone(UTC), TimeKind.DUTY)


def _on_duty(
    sites: Sequence[Site], machines: Sequence[SimMachine], night: SiteTime, part: float, seed: int
) -> tuple[list[Site], list[SimMachine]]:
    """Sites and machines, once ``part`` of the sites have this night duty."""
    times = {site.id: (night,) if not site.always_on and draw(seed, "duty", site.id) < part else () for site in sites}
    told = {site.id: replace(site, times=times[site.id]) for site in sites}
    return list(told.values()), [replace(one, site=told[one.site.id]) for one in machines]


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise Malformed("bad_field", f"{where} is true or false")
    return value


def _event(entry: Any, index: int) -> Mapping[str, Any]:
    event = keys(entry, f"events[{index}]", "at", "vendor_reverts outage gate_down act hours")
    if len(event) != 2:
        raise Malformed("bad_field", f"events[{index}] needs exactly one thing that happens")
    if "outage" in event:
        keys(event["outage"], f"events[{index}].outage", "for", "land site share")
    if "gate_down" in event:
        keys(event["gate_down"], f"events[{index}].gate_down", "for")
    if "hours" in event:
        keys(event["hours"], f"events[{index}].hours", "to", "site")
    if "act" in event:
        act = keys(event["act"], f"events[{index}].act", "by do because")
        if act["do"] not in ("halt", "expedite"):
            raise Malformed("bad_field", f"events[{index}].act.do: halt and expedite are known")
    return {**event, "at": moment(event["at"])}


def _release(entry: Any, index: int) -> SimRelease:
    where = f"releases[{index}]"
    found = keys(entry, where, "at source version", "boot_critical fault")
    fault = None
    if found.get("fault"):
        raw = keys(found["fault"], f"{where}.fault", "on effect", "where rate delay after")
        if raw["effect"] not in EFFECTS:
            raise Malformed("bad_field", f"{where}.fault.effect must be one of {', '.join(EFFECTS)}")
        if not re.fullmatch(r"apply|boot(:\d+)?", str(raw["on"])):
            raise Malformed("bad_field", f"{where}.fault.on must be apply, boot or boot:N")
        fault = Fault(
            where={key: tuple(str(item) for item in _many(value)) for key, value in (raw.get("where") or {}).items()},
            on=str(raw["on"]),
            rate=share(raw.get("rate", "100%")),
            effect=str(raw["effect"]),
            delay=duration(raw.get("delay", "10m")),
            after=duration(raw.get("after", "1h")),
        )
    critical = bool(found.get("boot_critical", False))
    return SimRelease(moment(found["at"]), str(found["source"]), str(found["version"]), critical, fault)


def _many(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _edge(text: object, where: str) -> OnTime:
    match = EDGE.fullmatch(str(text).strip())
    if not match:
        raise Malformed("bad_field", f"{where}: {text!r} is not like '90m before opening'")
    offset = duration(match[1])
    return OnTime(-offset if match[2] == "before" else offset, match[3])


def _fleet(fleet: Mapping[str, Any], seed: int) -> tuple[list[Site], list[SimMachine]]:
    lands = [str(land) for land in _many(fleet.get("land") or ["NW"])]
    rows = []
    for index, entry in enumerate(fleet["machines"]):
        said = keys(entry, f"fleet.machines[{index}]", "role count on")
        on = keys(said["on"], f"fleet.machines[{index}].on", "from to")
        rows.append(Row(str(said["role"]), int(said["count"]), _edge(on["from"], "on.from"), _edge(on["to"], "on.to")))
    facts = [
        keys(entry, f"fleet.facts[{i}]", "fact values", "role") for i, entry in enumerate(fleet.get("facts") or ())
    ]
    labels = {str(name): share(rule["share"]) for name, rule in (fleet.get("labels") or {}).items()}
    count = int(fleet["sites"])
    if not 0 <= count * sum(max(row.count, 0) for row in rows) <= MOST or count > MOST:
        raise Malformed("bad_field", f"fleet: at most {MOST} machines")
    sites, machines = [], []
    for number in range(count):
        name = f"s{number + 1:05d}"
        own = frozenset(label for label, part in labels.items() if draw(seed, "label", label, name) < part)
        site = Site(name, f"Apotheke {number + 1}", lands[number % len(lands)], str(fleet["hours"]), False, own)
        sites.append(site)
        for row in rows:
            for count in range(row.count):
                machine = f"{name}-{row.role}-{count + 1}"
                machines.append(SimMachine(machine, site, row.role, _facts(facts, row.role, seed, machine), row))
    for entry in fleet.get("extra_sites") or ():
        extra = keys(entry, "fleet.extra_sites", "name machines", "always_on land hours")
        site = Site(
            str(extra["name"]),
            str(extra["name"]),
            str(extra.get("land", lands[0])),
            str(extra.get("hours", "24/7")),
            True,
        )
        sites.append(site)
        if extra["machines"] != "every_make":
            raise Malformed("bad_field", "fleet.extra_sites.machines: only every_make is known")
        machines.extend(_every_make(site, rows, facts))
    return sites, machines


def _facts(rules: Sequence[Mapping[str, Any]], role: str, seed: int, machine: str) -> dict[str, str]:
    drawn = {"role": role}
    for rule in rules:
        if rule.get("role") not in (None, role):
            continue
        rest = draw(seed, "fact", rule["fact"], machine)
        chosen = ""
        for value, part in rule["values"].items():
            rest -= share(part)
            chosen = str(value)
            if rest < 0:
                break
        drawn[str(rule["fact"])] = chosen
    return drawn


def _every_make(site: Site, rows: Sequence[Row], rules: Sequence[Mapping[str, Any]]) -> list[SimMachine]:
    found: list[SimMachine] = []
    for row in rows:
        own = [rule for rule in rules if rule.get("role") in (None, row.role)]
        if math.prod(len(rule["values"]) for rule in own) > MOST_MAKES:
            raise Malformed("bad_field", f"fleet.facts: more than {MOST_MAKES} makes of {row.role}")
        for values in itertools.product(*([str(value) for value in rule["values"]] for rule in own)):
            facts = {"role": row.role, **{str(rule["fact"]): value for rule, value in zip(own, values, strict=True)}}
            found.append(SimMachine(f"{site.id}-{len(found) + 1:03d}", site, row.role, facts, None))
    return found
