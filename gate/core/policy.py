"""The policy: parsed nodes -> ``Policy``, or all of its problems at once.

- One table of readers a section; an unknown key is a problem with a suggestion.
- Each value keeps the line of its key, so that a refusal can name the rule that made it.
- A ring's settings come from the ring, else its source, else ``defaults``, else the language's own default.
- ``not_enforced`` lists what this version reads and checks but does not act on yet; nothing is silently ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from gate.core import policy_values as read
from gate.core.policy_values import Node, Problem, Reader, Wanted
from gate.core.times import Anchor, Edge, Freeze, OpenDuration, Window

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
TRUSTS = ("unverified", "digest_pinned", "vendor_signed")  # from the least to the most
KINDS = ("content", "sensor", "os", "rules", "binary", "engine", "price", "any")
EVENTS = ("crashed", "failed", "silent", "relapsed", "missing")


@dataclass(frozen=True, slots=True)
class SourceRule:
    """A source that the policy lets in; ``options`` are its plugin's own keys."""

    name: str
    plugin: str
    kind: str = "content"
    boot_critical: bool = False
    lever: str = "held"
    options: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)
    keep: int = 5
    must_be_everywhere_by: timedelta | None = None  # after the gate has first seen a release
    hosts: tuple[str, ...] = ()  # that its plugin may reach; none: no network
    trust: str = "digest_pinned"  # the least that its bytes must show


@dataclass(frozen=True, slots=True)
class RingRule:
    """One ring as written."""

    name: str
    pick: Mapping[str, tuple[str, ...]]
    why: str = ""
    windows: tuple[str, ...] = ()
    at_most: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    floor: timedelta | None = None
    people: int = 0
    own: Mapping[str, Any] = field(default_factory=dict)
    probes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Brake:
    """``if: crashed >= 2, within: 30m``. ``share``: the number is a share of the expected."""

    text: str
    what: str
    number: float
    share: bool
    within: timedelta | None
    after_install: bool
    at: Edge | None
    rings: tuple[str, ...]
    and_: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class AtRisk:
    """Machines that may be lost at worst."""

    per_make: int = 10
    fleet: int = 20


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for the whole fleet where no ring or source says otherwise."""

    own: Mapping[str, Any] = field(default_factory=dict)
    confidence: float = 0.95
    false_halt: float = 0.01
    background: float | str = "measured"
    watch: timedelta = timedelta(days=7)
    supersede: str = "queue"
    probes: tuple[str, ...] = ()
    later: Mapping[str, Any] = field(default_factory=dict)
    """Keys that are read and checked, and not acted on yet."""


@dataclass(frozen=True, slots=True)
class RingSettings:
    """What rules in one ring for one source, after all defaults."""

    evidence: str
    reboot: str
    boots: int
    stay_up: timedelta
    tries: int
    deadline: OpenDuration  # what rules until one is learned, where it is ``learned``
    lease: timedelta
    checkin: timedelta
    soak: OpenDuration
    at_least: int
    sites: int | None
    rule_out_make: float | None
    rule_out_fleet: float | None
    per_site: int | str
    share: float | None
    cap: int | None
    floor: timedelta
    windows: tuple[str, ...]
    needs_people: int
    site_dark_grace: OpenDuration
    learned: bool = False
    decides: str = "gate"  # who opens the ring: gate, or people while the gate only says what it would do
    probes: tuple[str, ...] = ()  # by name, each for every make or, `if fact=value`, for some

    @property
    def wants_people(self) -> bool:
        """Does it wait for somebody's word before it opens?"""
        return self.needs_people > 0 or self.decides == "people"


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole, valid policy."""

    fleet: str
    timezone: str
    makes: tuple[str, ...]
    sources: tuple[SourceRule, ...]
    rings: tuple[RingRule, ...]
    at_risk: AtRisk
    first_batch: int
    common_floor: timedelta
    defaults: Defaults
    windows: Mapping[str, Window]
    default_windows: Mapping[str, tuple[str, ...]]
    freezes: tuple[Freeze, ...]
    brakes: tuple[Brake, ...]
    lines: Mapping[str, int]
    stated: frozenset[str]
    warnings: tuple[Problem, ...] = ()
    expedite: Mapping[str, Any] = field(default_factory=dict)
    unreachable: Mapping[str, Any] = field(default_factory=dict)
    _settings: dict[tuple[str, str], RingSettings] = field(init=False, default_factory=dict, compare=False, repr=False)
    """What ``settings_for`` has worked out; a policy never changes."""

    @property
    def zone(self) -> ZoneInfo:
        """The zone of every clock time in the policy."""
        return ZoneInfo(self.timezone)

    @property
    def checkin(self) -> timedelta:
        """How often a machine should be heard from."""
        found = self.defaults.own.get("checkin", DEFAULT["checkin"])
        assert isinstance(found, timedelta)
        return found

    @property
    def max_lead(self) -> int:
        """By how many rings others may be ahead of a make with unexplained failures."""
        return int(self.defaults.later.get("max_lead_rings", 1))

    def index(self, ring: str) -> int:
        """The place of a ring in rollout order."""
        return next(i for i, rule in enumerate(self.rings) if rule.name == ring)

    def source(self, name: str) -> SourceRule | None:
        """The rule of a source."""
        return next((source for source in self.sources if source.name == name), None)

    def on_halt(self, source: str) -> str:
        """What machines do that have a halted release of this source: stay or recall."""
        origin = self.source(source)
        own = origin.own if origin else {}
        return str(own.get("on_halt") or self.defaults.own.get("on_halt", "stay"))

    def line_of(self, path: str) -> int:
        """The line of a rule, or of the nearest rule around it; 0 where the policy does not say it."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), 0)]
        return 0

    def ruled(self, rule: str) -> dict[str, Any]:
        """What a refusal by this rule carries of it: its path, and the line where it stands."""
        return {"rule": rule, "line": self.line_of(rule)}

    def stated_at(self, key: str, ring: str, source: str) -> str:
        """The path of the word that rules in this ring for this source; empty where the policy does not say it."""
        places = [f"rings[{self.index(ring)}]", "defaults"]
        names = [one.name for one in self.sources]
        if source in names:
            places.insert(1, f"sources[{names.index(source)}]")
        return next((path for path in (f"{place}.{key}" for place in places) if path in self.stated), "")

    def settings_for(self, ring: str, source: str) -> RingSettings:
        """What rules in this ring for this source."""
        known = self._settings.get((ring, source))
        if known is not None:
            return known
        rule = self.rings[self.index(ring)]
        origin = self.source(source)
        layers = (rule.own, origin.own if origin else {}, self.defaults.own)
        kind = origin.kind if origin else "content"
        found = self._settings[ring, source] = _settings(self, rule, layers, kind)
        return found


OWN = {
    "evidence": read.one_of("boot", "alive"),
    "reboot": read.one_of("natural", "after install"),
    "boots": read.whole(1, 20),
    "stay_up": read.span,
    "tries": read.whole(1, 10),
    "deadline": read.either("learned", read.open_span),
    "lease": read.span,
    "checkin": read.span,
    "site_dark_grace": read.open_span,
    "on_halt": read.one_of("stay", "recall"),
    "decides": read.one_of("gate", "people"),
}
DEFAULT: Mapping[str, Any] = {
    "evidence": "boot",
    "reboot": "natural",
    "boots": 1,
    "stay_up": 15 * MINUTE,
    "tries": 2,
    "deadline": "learned",
    "lease": 30 * MINUTE,
    "checkin": 5 * MINUTE,
    "site_dark_grace": OpenDuration(4 * HOUR, 0, True),
    "decides": "gate",
}
LANE: Mapping[str, Any] = {"people": 2, "expires": 24 * HOUR}
"""What a fast lane has that does not say it."""
UNTIL_LEARNED = OpenDuration(2 * HOUR, 0, True)


def _settings(policy: Policy, rule: RingRule, layers: Sequence[Mapping[str, Any]], kind: str) -> RingSettings:
    def own(name: str) -> Any:
        return next((layer[name] for layer in layers if name in layer), DEFAULT[name])

    deadline = own("deadline")
    rule_out = rule.gate.get("rule_out", {})
    windows = rule.windows or policy.default_windows.get(kind, ())
    floors = [other.floor for other in policy.rings[: policy.index(rule.name)] if other.floor is not None]
    return RingSettings(
        evidence=own("evidence"),
        reboot=own("reboot"),
        boots=rule.gate.get("boots", own("boots")),
        stay_up=own("stay_up"),
        tries=own("tries"),
        deadline=UNTIL_LEARNED if deadline == "learned" else deadline,
        lease=own("lease"),
        checkin=own("checkin"),
        soak=rule.gate.get("soak", OpenDuration(timedelta())),
        at_least=rule.gate.get("at_least", 3),
        sites=rule.gate.get("sites"),
        rule_out_make=rule_out.get("make"),
        rule_out_fleet=rule_out.get("fleet"),
        per_site=rule.at_most.get("per_site", 1),
        share=rule.at_most.get("share"),
        cap=rule.at_most.get("cap"),
        floor=rule.floor if rule.floor is not None else max(floors, default=timedelta()),
        windows=windows,
        needs_people=rule.people,
        site_dark_grace=own("site_dark_grace"),
        learned=deadline == "learned",
        decides=own("decides"),
        probes=rule.probes or policy.defaults.probes,
    )


def _rule_out(reader: Reader, node: Node, path: str) -> dict[str, float]:
    if node.entries is None:
        return {"make": read.percent(reader, node, path)}
    return reader.map(node, path, {"make": read.percent, "fleet": read.percent})


def _pick(reader: Reader, node: Node, path: str) -> dict[str, tuple[str, ...]]:
    if node.entries is None:
        raise Wanted("a map such as {role: till}")
    any_of = read.many(read.text)
    return {e.key: any_of(reader, e.node, f"{path}.{e.key}") for e in node.entries}


AT_MOST = {"per_site": read.either("half", read.whole(1, 1000)), "share": read.percent, "cap": read.whole(1)}
GATE = {
    "soak": read.open_span,
    "at_least": read.whole(1, 100000),
    "sites": read.whole(1, 100000),
    "rule_out": _rule_out,
    "boots": read.whole(1, 20),
}


PROBE = re.compile(r"[a-z0-9][a-z0-9-]{0,40}( if [\w-]+=[^|]+)?", re.ASCII)


def _probe(reader: Reader, node: Node, path: str) -> str:
    found = read.text(reader, node, path)
    if not PROBE.fullmatch(found):
        raise Wanted("a probe's name, such as till-software, or `till-software if role=till`")
    return found


def _probes(reader: Reader, node: Node, path: str) -> tuple[str, ...]:
    return tuple(read.many(_probe)(reader, node, path))


def _ring(reader: Reader, node: Node, path: str) -> RingRule | None:
    fields: dict[str, Any] = {
        "name": read.slug,
        "why": read.text,
        "pick": _pick,
        "windows": read.many(read.text),
        "at_most": lambda r, n, p: r.map(n, p, AT_MOST),
        "gate": lambda r, n, p: r.map(n, p, GATE),
        "floor": read.span,
        "needs": lambda r, n, p: r.map(n, p, {"people": read.whole(1, 10)}),
        "probes": _probes,
        **OWN,
    }
    found = reader.map(node, path, fields, ("name", "pick"))
    if "name" not in found or "pick" not in found:
        return None
    return RingRule(
        name=found["name"],
        pick=found["pick"],
        why=found.get("why", ""),
        windows=found.get("windows", ()),
        at_most=found.get("at_most", {}),
        gate=found.get("gate", {}),
        floor=found.get("floor"),
        people=found.get("needs", {}).get("people", 0),
        own={key: found[key] for key in OWN if key in found},
        probes=found.get("probes", ()),
    )


def _source(reader: Reader, node: Node, path: str) -> SourceRule | None:
    known = {
        "name": read.slug,
        "plugin": read.slug,
        "kind": read.one_of(*KINDS),
        "boot_critical": read.flag,
        "lever": read.one_of("held", "advised", "no lever"),
        "keep": read.whole(1, 1000),
        "must_be_everywhere_by": read.span,
        "hosts": read.many(read.host),
        "trust": read.one_of(*TRUSTS),
        "mirror": read.text,
        "order": read.text,
        **OWN,
    }
    found = reader.map(node, path, known, ("name", "plugin"))
    if "name" not in found or "plugin" not in found:
        return None
    critical = found.get("boot_critical", False)
    if critical and found.get("evidence") == "alive":
        said = f"{path}: evidence 'alive' is refused for a source that is boot_critical"
        reader.problem(node, said, path=f"{path}.evidence")
    return SourceRule(
        name=found["name"],
        plugin=found["plugin"],
        kind=found.get("kind", "content"),
        boot_critical=critical,
        lever=found.get("lever", "held"),
        options={key: found[key] for key in ("mirror", "order") if key in found},
        own={key: found[key] for key in OWN if key in found},
        keep=found.get("keep", 5),
        must_be_everywhere_by=found.get("must_be_everywhere_by"),
        hosts=found.get("hosts", ()),
        trust=found.get("trust", "digest_pinned"),
    )


def _window(name: str, reader: Reader, node: Node, path: str) -> Window | None:
    found = reader.map(node, path, {"from": read.edge, "to": read.edge})
    if len(found) == 1:
        reader.problem(node, f"{path} needs both 'from' and 'to', or neither", path=path)
    return Window(name, found.get("from"), found.get("to"))


def _windows(reader: Reader, node: Node, path: str) -> dict[str, Window]:
    if node.entries is None:
        raise Wanted("a map of windows")
    found = {}
    for entry in node.entries:
        reader.lines[f"{path}.{entry.key}"] = entry.line
        window = _window(entry.key, reader, entry.node, f"{path}.{entry.key}")
        if window is not None:
            found[entry.key] = window
    return found


DAY_LIKE = re.compile(r"\d{4}-|\d+([./-])\d+\1")
"""What is meant as a day, also where it is written as no day of a policy is."""


def _freeze(reader: Reader, node: Node, path: str) -> Freeze | None:
    dated = {entry.key: entry.node for entry in node.entries or ()}
    start = dated.get("from")
    is_date = start is not None and start.text is not None and DAY_LIKE.match(start.text)
    by_days = "days" in dated
    fields: dict[str, Any] = {
        "name": read.slug,
        "why": read.text,
        "owner": read.text,
        "from": read.day if is_date else read.edge,
        "to": read.clock if by_days else read.day if is_date else read.edge,
        "during": read.one_of("duty"),
        "days": read.many(read.whole(1, 31)),
    }
    found = reader.map(node, path, fields, ("name",))
    if "name" not in found:
        return None
    if len({"from", "days", "during"} & set(found)) != 1:
        more = ", one of them" if len(found) > 2 else ""
        reader.problem(node, f"{path} needs 'from', 'days' or 'during'{more}", path=f"{path}.from")
    if "from" in found and not is_date and "to" not in found:
        reader.problem(node, f"{path} needs 'to'", path=f"{path}.to")
    if is_date and "from" in found and "to" in found and found["to"] < found["from"]:
        reader.problem(dated["to"], f"{path}.to: {found['to']} is before {found['from']}", path=f"{path}.to")
    if by_days and not found.get("days"):
        reader.problem(dated["days"], f"{path}.days names no day", path=f"{path}.days")
    return Freeze(
        name=found["name"],
        why=found.get("why", ""),
        owner=found.get("owner", ""),
        start=None if is_date else found.get("from"),
        end=None if is_date or by_days else found.get("to"),
        first=found.get("from") if is_date else None,
        last=found.get("to") if is_date else None,
        days=tuple(found.get("days", ())),
        until_minute=found.get("to", 1440) if by_days else 1440,
        duty=found.get("during") == "duty",
    )


def _condition(reader: Reader, node: Node, path: str) -> tuple[str, float, bool]:
    said = read.scalar(node, "a condition")
    match = re.fullmatch(rf"({'|'.join(EVENTS)})\s*>=\s*(\d{{1,6}}(?:\.\d+)?)(\s?%)?", said)
    if not match or (not match[3] and "." in match[2]) or float(match[2]) <= 0:
        raise Wanted(f"a condition such as 'crashed >= 2' with one of {', '.join(EVENTS)}")
    return match[1], float(match[2]) / (100 if match[3] else 1), bool(match[3])


def _within(reader: Reader, node: Node, path: str) -> tuple[timedelta, bool]:
    match = re.fullmatch(r"(.*?)(\s+after install)?", read.scalar(node, "a duration"))
    assert match is not None
    amount = read.span(reader, Node(node.line, node.column, match[1]), path)
    return amount, bool(match[2])


def _brake(reader: Reader, node: Node, path: str) -> Brake | None:
    fields: dict[str, Any] = {
        "if": _condition,
        "within": _within,
        "at": read.edge,
        "in": read.many(read.slug),
        "then": read.one_of("halt"),
        "and": read.many(read.one_of("page", "morning_notice")),
        "why": read.text,
    }
    found = reader.map(node, path, fields, ("if", "then"))
    if "if" not in found:
        return None
    what, number, share = found["if"]
    if what in ("crashed", "failed", "silent") and "within" not in found:
        reader.problem(node, f"{path} needs 'within'", path=f"{path}.within")
    if what != "missing" and share:
        reader.problem(node, f"{path}: only 'missing' counts in per cent", path=f"{path}.if")
    amount, after = found.get("within", (None, False))
    said = f"{what} >= {number:.0%}" if share else f"{what} >= {number:g}"
    if amount is not None:
        said += f" within {OpenDuration(amount)}" + (" after install" if after else "")
    return Brake(
        said,
        what,
        number,
        share,
        amount,
        after,
        found.get("at"),
        tuple(found.get("in", ())),
        tuple(found.get("and", ())),
        found.get("why", ""),
    )


def _expedite(reader: Reader, node: Node, path: str) -> dict[str, Any]:
    words = read.many(read.one_of("soak", "windows", "rings", "per_site", "brakes", "floor", "at_least"))
    return reader.map(
        node, path, {"people": read.whole(2, 10), "may_skip": words, "never_skip": words, "expires": read.span}
    )


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(reader: Reader, node: Node, path: str) -> str:
    found = read.scalar(node, "a time zone")
    if found not in _zones():
        raise Wanted("a time zone such as Europe/Berlin")
    return found


DEFAULT_FIELDS = {
    **OWN,
    "confidence": read.odds,
    "false_halt": read.odds,
    "background": read.either("measured", read.percent),
    "watch": read.span,
    "supersede": read.one_of("queue", "restart", "inherit"),
    "background_cap": read.percent,
    "inconclusive_after": read.open_span,
    "max_lead_rings": read.whole(0, 100),
    "probes": _probes,
}
TOP: dict[str, Any] = {
    "version": read.one_of("1"),
    "fleet": read.slug,
    "timezone": _zone,
    "makes": lambda r, n, p: r.map(n, p, {"by": read.many(read.text)}, ("by",)),
    "sources": lambda r, n, p: r.all_of(n, p, _source),
    "rings": lambda r, n, p: r.all_of(n, p, _ring),
    "at_risk": lambda r, n, p: r.map(n, p, {"per_make": read.whole(1), "fleet": read.whole(1)}),
    "first_batch": read.whole(1, 1000),
    "common_floor": read.span,
    "defaults": lambda r, n, p: r.map(n, p, DEFAULT_FIELDS),
    "windows": _windows,
    "default_windows": lambda r, n, p: r.map(n, p, dict.fromkeys(KINDS, read.many(read.text))),
    "freeze": lambda r, n, p: r.all_of(n, p, _freeze),
    "brakes": lambda r, n, p: r.all_of(n, p, _brake),
    "expedite": _expedite,
    "unreachable": lambda r, n, p: r.map(n, p, {"agent": read.one_of("keep"), "remind_after": read.span}),
}


def parse(node: Node, file: str = "policy.yaml") -> Policy | list[Problem]:
    """A policy, or all of its problems in the order of their lines."""
    reader = Reader(file)
    found = reader.map(node, "", TOP, ("version", "fleet", "timezone", "makes", "sources", "rings"))
    policy = _assemble(reader, found) if not reader.problems else None
    if policy is not None:
        _cross_check(reader, node, policy)
    if reader.problems or policy is None:
        return sorted(reader.problems, key=lambda problem: (problem.line, problem.column))
    return policy


def _assemble(reader: Reader, found: Mapping[str, Any]) -> Policy:
    raw = found.get("defaults", {})
    plain = ("confidence", "false_halt", "background", "watch", "supersede", "probes")
    return Policy(
        fleet=found["fleet"],
        timezone=found["timezone"],
        makes=tuple(found["makes"]["by"]),
        sources=tuple(found["sources"]),
        rings=tuple(found["rings"]),
        at_risk=AtRisk(**found.get("at_risk", {})),
        first_batch=found.get("first_batch", 3),
        common_floor=found.get("common_floor", timedelta()),
        defaults=Defaults(
            own={key: raw[key] for key in OWN if key in raw},
            later={key: found for key, found in raw.items() if key not in OWN and key not in plain},
            **{key: raw[key] for key in plain if key in raw},
        ),
        windows={"always": Window("always"), **found.get("windows", {})},
        default_windows=found.get("default_windows", {}),
        freezes=tuple(found.get("freeze", ())),
        brakes=tuple(found.get("brakes", ())),
        lines=dict(reader.lines),
        stated=frozenset(reader.lines),
        warnings=tuple(_warnings(reader, found)),
        expedite=found.get("expedite", {}),
        unreachable=found.get("unreachable", {}),
    )


def _warnings(reader: Reader, found: Mapping[str, Any]) -> list[Problem]:
    said = []
    for index, ring in enumerate(found["rings"]):
        if not ring.why:
            line = reader.lines.get(f"rings[{index}]", 1)
            said.append(Problem(reader.file, line, 1, f"ring {ring.name} has no 'why'"))
    for index, freeze in enumerate(found.get("freeze", ())):
        line = reader.lines.get(f"freeze[{index}]", 1)
        if freeze.first is not None and (freeze.last is None or not freeze.owner):
            said.append(Problem(reader.file, line, 1, f"freeze {freeze.name} has no end or no owner"))
    return said


def _cross_check(reader: Reader, node: Node, policy: Policy) -> None:
    def at(path: str, message: str) -> None:
        reader.problem(Node(policy.line_of(path) or node.line, 1, ""), message, path=path)

    names = [ring.name for ring in policy.rings]
    if not names:
        at("rings", "rings: a policy needs at least one ring")
    for kind, all_names in (("rings", names), ("sources", [source.name for source in policy.sources])):
        for index, name in enumerate(all_names):
            if name in all_names[:index]:
                at(f"{kind}[{index}].name", f"{kind}[{index}]: {name!r} is there twice")
    known_windows = set(policy.windows)
    for index, ring in enumerate(policy.rings):
        for window in set(ring.windows) - known_windows:
            at(f"rings[{index}].windows", f"rings[{index}].windows: there is no window {window!r}")
    for kind, windows in policy.default_windows.items():
        for window in set(windows) - known_windows:
            at(f"default_windows.{kind}", f"default_windows.{kind}: there is no window {window!r}")
    for index, brake in enumerate(policy.brakes):
        for name in set(brake.rings) - set(names):
            at(f"brakes[{index}].in", f"brakes[{index}].in: there is no ring {name!r}")
    critical = [source.name for source in policy.sources if source.boot_critical]
    for index, ring in enumerate(policy.rings):
        if critical and ring.own.get("evidence") == "alive":
            at(f"rings[{index}].evidence", f"evidence 'alive' is refused: {', '.join(critical)} is boot_critical")
    if critical and policy.defaults.own.get("evidence") == "alive":
        at("defaults.evidence", f"evidence 'alive' is refused: {', '.join(critical)} is boot_critical")


LATER = {
    "unreachable.remind_after": "unreachable.remind_after: nobody is reminded",
    "common_floor": "common_floor: agents enforce it; the gate itself holds each ring to its own floor",
}


def not_enforced(policy: Policy) -> list[str]:
    """What this policy states and this version does not act on yet, each as a sentence with its line."""
    found = [(policy.lines[path], said) for path, said in LATER.items() if path in policy.stated]
    for index, brake in enumerate(policy.brakes):
        if brake.at is not None and brake.at.anchor is Anchor.CLOSING:
            found.append((policy.line_of(f"brakes[{index}]"), f"brake '{brake.text}' counts 15m before opening"))
        if brake.and_:
            said = f"brake '{brake.text}': {', '.join(brake.and_)} is noted as an event, and sent to nobody yet"
            found.append((policy.line_of(f"brakes[{index}]"), said))
    for path, line in policy.lines.items():
        if re.fullmatch(r"rings\[\d+\]\.on_halt", path):
            found.append((line, f"{path}: not acted on yet"))
    beyond = set(policy.expedite.get("may_skip", ())) - {"soak", "windows"}
    if beyond:
        found.append((policy.line_of("expedite.may_skip"), f"expedite: {', '.join(sorted(beyond))} is never skipped"))
    return [f"line {line}: {said}" for line, said in sorted(found)]
