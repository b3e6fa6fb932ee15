"""The fields of the policy's forms: what stands at each place of the text, and what a sent form changes of it.

- A field's name is its place below the item: ``gate.soak`` of ``rings[2]``. An empty field is a key that is not there.
- Only what differs from what was shown becomes a change, so that one changed value is one changed line.
- A pick is shown as a hold's is: ``role=till, label=pilot``; a key that is there twice means any of its values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate.core.policy import KINDS
from gate.flows.holds import PAIR

Changes = list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Field:
    """One value of the policy. ``row`` names its words; ``kind``: text, list, pick or a choice of ``choices``."""

    name: str
    row: str
    help: str = ""
    kind: str = "text"
    choices: tuple[str, ...] = ()
    needed: bool = False


def _choice(name: str, row: str, *choices: str, help: str = "") -> Field:
    return Field(name, row, help, "choice", choices)


NUMBER, SPAN, OPEN = "a whole number", "such as 15m, 2h or 7d", "such as 4h open, 1d open or 90m"
SHARE, EDGE, NAMES = "such as 2%", "such as 30m after opening", "names, with commas between them"
NAME = "a-z, 0-9 and -"
HEALTH = (
    _choice("evidence", "evidence", "boot", "alive"),
    _choice("reboot", "reboot", "natural", "after install"),
    Field("stay_up", "stay_up", SPAN),
    Field("tries", "tries", NUMBER),
    Field("deadline", "deadline", "learned, or such as 2h open"),
    Field("lease", "lease", SPAN),
    Field("checkin", "checkin", SPAN),
    Field("site_dark_grace", "site_dark_grace", OPEN),
    _choice("on_halt", "on_halt", "stay", "recall"),
)
DECIDES = _choice("decides", "decides", "gate", "people")
RING = {
    "Ring": (
        Field("name", "rings[].name", NAME, needed=True),
        Field("why", "rings[].why", "one sentence that people read in Why?"),
        Field(
            "pick",
            "rings[].pick",
            "such as role=till, label=pilot; keys are site, label or a fact",
            "pick",
            needed=True,
        ),
        Field("windows", "rings[].windows", NAMES, "list"),
    ),
    "Limits inside it": (
        Field("at_most.per_site", "rings[].at_most.per_site", "a whole number, or half"),
        Field("at_most.share", "rings[].at_most.share", SHARE),
        Field("at_most.cap", "rings[].at_most.cap", NUMBER),
    ),
    "What it must show before the next one opens": (
        Field("gate.soak", "rings[].gate.soak", OPEN),
        Field("gate.at_least", "rings[].gate.at_least", NUMBER),
        Field("gate.sites", "rings[].gate.sites", NUMBER),
        Field("gate.rule_out.make", "rings[].gate.rule_out.make", SHARE),
        Field("gate.rule_out.fleet", "rings[].gate.rule_out.fleet", SHARE),
        Field("gate.boots", "rings[].gate.boots", NUMBER),
    ),
    "What it waits for before it opens": (
        Field("floor", "rings[].floor", SPAN),
        Field("needs.people", "rings[].needs.people", NUMBER),
        DECIDES,
    ),
    "Where it differs from the rest of the fleet": (*HEALTH, Field("probes", "rings[].probes", NAMES, "list")),
}
SOURCE = {
    "Source": (
        Field("name", "sources[].name", NAME, needed=True),
        Field("plugin", "sources[].plugin", "the plugin's name", needed=True),
        _choice("kind", "sources[].kind", *KINDS),
        _choice("boot_critical", "sources[].boot_critical", "true", "false"),
        _choice("lever", "sources[].lever", "held", "advised", "no lever"),
        Field("keep", "sources[].keep", NUMBER),
        Field("must_be_everywhere_by", "sources[].must_be_everywhere_by", SPAN),
        Field("hosts", "sources[].hosts", "hosts such as database.example, with commas between them", "list"),
        _choice("trust", "sources[].trust", "unverified", "digest_pinned", "vendor_signed"),
        Field("mirror", "sources[].mirror", "an address"),
        Field("order", "sources[].order"),
    ),
    "Where it differs from the rest of the fleet": (*HEALTH, Field("boots", "boots", NUMBER), DECIDES),
}
FREEZE = {
    "Freeze": (
        Field("name", "freeze[].name", NAME, needed=True),
        Field("why", "freeze[].why", "one sentence that people read in Why?"),
        Field("owner", "freeze[].owner", "who looks after it"),
        Field("from", "freeze[].from", "a day such as 2026-12-23, or such as 30m after opening"),
        Field("to", "freeze[].to", "a day, a clock time such as 12:00, or such as 30m after opening"),
        Field("days", "freeze[].days", "days of the month, with commas between them", "list"),
        _choice("during", "freeze[].during", "duty"),
    ),
}
BRAKE = {
    "Brake": (
        Field("if", "brakes[].if", "such as crashed >= 2, or missing >= 5%", needed=True),
        Field("within", "brakes[].within", "such as 30m, or 20m after install"),
        Field("at", "brakes[].at", EDGE),
        Field("in", "brakes[].in", NAMES, "list"),
        _choice("then", "brakes[].then", "halt"),
        Field("and", "brakes[].and", "page, morning_notice", "list"),
        Field("why", "brakes[].why", "one sentence that people read in Why?"),
    ),
}
WINDOW = {"Window": (Field("from", "windows[].from", EDGE), Field("to", "windows[].to", EDGE))}
DEFAULTS = {
    "Defaults": (*HEALTH[:2], Field("boots", "boots", NUMBER), *HEALTH[2:], DECIDES),
    "Statistics and watching": (
        Field("confidence", "defaults.confidence", SHARE),
        Field("false_halt", "defaults.false_halt", SHARE),
        Field("background", "defaults.background", "measured, or such as 0.75%"),
        Field("background_cap", "defaults.background_cap", SHARE),
        Field("inconclusive_after", "defaults.inconclusive_after", OPEN),
        Field("max_lead_rings", "defaults.max_lead_rings", NUMBER),
        Field("watch", "defaults.watch", SPAN),
        _choice("supersede", "defaults.supersede", "queue", "restart", "inherit"),
        Field("probes", "defaults.probes", NAMES, "list"),
    ),
}
LIMITS = {
    "Limits of the whole fleet": (
        Field("at_risk.per_make", "at_risk.per_make", NUMBER),
        Field("at_risk.fleet", "at_risk.fleet", NUMBER),
        Field("first_batch", "first_batch", NUMBER),
        Field("common_floor", "common_floor", SPAN),
        Field("makes.by", "makes.by", NAMES, "list"),
    ),
    "Windows of each kind of release": tuple(
        Field(f"default_windows.{kind}", "default_windows.<kind>", NAMES, "list") for kind in KINDS
    ),
}
Groups = Mapping[str, Sequence[Field]]
SECTIONS: Mapping[str, Groups] = {
    "rings": RING,
    "sources": SOURCE,
    "freeze": FREEZE,
    "brakes": BRAKE,
    "windows": WINDOW,
    "defaults": DEFAULTS,
    "limits": LIMITS,
}
TOP = "limits"  # its fields stand at the top of the policy
NEW = "new"
LABELS: Mapping[str, str] = {
    "owner": "owner",
    "from": "from",
    "to": "to",
    "days": "on days of the month",
    "during": "only during",
    "if": "if",
    "within": "within",
    "at": "looked at",
    "in": "in rings",
    "then": "then",
    "and": "and",
}
"""What a field is called whose row has no words of its own."""
PLACE = re.compile(
    r"(rings|sources|freeze|brakes)\[(\d{1,4}|new)\]\Z|(windows)\.([a-z0-9-]{1,41})\Z|(defaults|limits)\Z"
)


def fields_of(section: str) -> list[Field]:
    """All of a section, in order."""
    return [one for group in SECTIONS[section].values() for one in group]


def shown(field: Field, item: Any) -> str:
    """What a form shows of a place; empty where the policy says nothing there."""
    found = _at(item, field.name)
    if field.name.startswith("gate.rule_out."):
        whole = _at(item, "gate.rule_out")
        found = whole if isinstance(whole, str) and field.name.endswith(".make") else found
    if field.kind == "pick":
        pairs = found.items() if isinstance(found, dict) else ()
        return ", ".join(f"{key}={one}" for key, values in pairs for one in _listed(values))
    return ", ".join(_listed(found)) if field.kind == "list" else found if isinstance(found, str) else ""


def one_line(text: str) -> str:
    """As a field has it: blanks, tabs and ends of lines are one blank."""
    return " ".join(text.split())


def changes(section: str, place: str, item: Any, sent: Mapping[str, str]) -> tuple[Changes, dict[str, str]]:
    """(what changes of the text, field -> what cannot be read of it)."""
    found: Changes = []
    problems: dict[str, str] = {}
    below = "" if section == TOP else f"{place}."
    for field in fields_of(section):
        value = sent.get(field.name, "")
        if value == one_line(shown(field, item)):
            continue
        if field.kind == "pick":
            picked = pairs(value)
            if picked is None:
                problems[field.name] = "a pick is role=till,os_build=19045: keys are site, label or a fact"
            else:
                found += [(f"{below}{name}", new) for name, new in _repicked(_at(item, field.name), picked)]
        elif field.name.startswith("gate.rule_out.") and isinstance(_at(item, "gate.rule_out"), str):
            whole = {key: sent.get(f"gate.rule_out.{key}", "") for key in ("make", "fleet")}
            said = {key: one for key, one in whole.items() if one}
            change = (f"{below}gate.rule_out", (said if "fleet" in said else said.get("make")) or None)
            found += [change] if change not in found else []
        else:
            found.append((f"{below}{field.name}", _value(field, value, _at(item, field.name))))
    return found, problems


def new_item(section: str, sent: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """A new item of a section as a form says it."""
    item: dict[str, Any] = {}
    found, problems = changes(section, section, {}, sent)
    for path, value in found:
        *above, last = path.removeprefix(f"{section}.").split(".")
        here = item
        for step in above:
            here = here.setdefault(step, {})
        here[last] = value
    return item, problems


def pairs(text: str) -> dict[str, list[str]] | None:
    """``role=till, role=server`` by key; None where it cannot be read."""
    found: dict[str, list[str]] = {}
    for pair in text.split(","):
        match = PAIR.match(pair.strip())
        if match is None:
            return None
        found.setdefault(match[1], []).append(match[2].strip())
    return found


def _repicked(before: Any, picked: Mapping[str, list[str]]) -> Changes:
    old = before if isinstance(before, dict) else {}
    found: Changes = [
        (f"pick.{key}", values[0] if len(values) == 1 and not isinstance(old.get(key), list) else values)
        for key, values in picked.items()
        if _listed(old.get(key)) != values
    ]
    return found + [(f"pick.{key}", None) for key in old if key not in picked]


def _value(field: Field, value: str, before: Any) -> Any:
    if not value:
        return None
    if field.kind != "list":
        return value
    listed = [one.strip() for one in value.split(",") if one.strip()]
    return listed[0] if isinstance(before, str) and len(listed) == 1 else listed


def _at(item: Any, name: str) -> Any:
    for step in name.split("."):
        item = item.get(step) if isinstance(item, dict) else None
    return item


def _listed(value: Any) -> list[str]:
    return (
        [str(one) for one in value] if isinstance(value, list) else [value] if isinstance(value, str) and value else []
    )
