"""A policy as cells: every value that rules, what it is compared under, and the path that says it.

- A ring's cells are its settings after ring, source and defaults; ``settings_for`` is the function that decides.
- Whatever field a policy gets later becomes a cell by itself, and one without a row loosens by any change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gate.core import policy_order as order
from gate.core.policy import DEFAULT, LANE, OWN, Defaults, Policy, RingRule, RingSettings, SourceRule


@dataclass(frozen=True, slots=True)
class Cell:
    """One value that rules, and the path that says it."""

    row: str
    path: str
    value: Any
    subject: str = ""  # the ring's or the source's name
    own_path: str = ""  # where it would stand in the ring that it rules, if another one says it
    own_subject: str = ""


Cells = Mapping[tuple[str, ...], Cell]


TOP_APART = ("makes", "sources", "rings", "at_risk", "defaults", "windows", "default_windows", "freezes", "brakes")
NO_RULES = ("lines", "stated", "warnings", "_settings")  # about the text, not about what it rules
MAPS = ("expedite", "unreachable")


def top_cells(policy: Policy) -> Cells:
    """Everything outside rings, sources, windows, freezes and brakes."""
    cells: dict[str, Any] = {"makes.by": policy.makes}
    cells |= {f"at_risk.{one.name}": getattr(policy.at_risk, one.name) for one in fields(policy.at_risk)}
    for one in fields(Policy):
        if one.name in MAPS:
            mapping = getattr(policy, one.name)
            cells |= {one.name: bool(mapping)} if one.name == "expedite" else {}
            said = {**LANE, **mapping} if one.name == "expedite" and mapping else mapping
            cells |= {f"{one.name}.{key}": value for key, value in said.items()}
        elif one.name not in (*TOP_APART, *NO_RULES):
            cells[one.name] = getattr(policy, one.name)
    for one in fields(Defaults):
        if one.name not in ("own", "later"):
            cells[f"defaults.{one.name}"] = getattr(policy.defaults, one.name)
    for name in {*DEFAULT_LATER, *policy.defaults.later}:
        cells[f"defaults.{name}"] = policy.defaults.later.get(name, DEFAULT_LATER.get(name))
    for name in {*OWN, *policy.defaults.own}:
        cells[f"defaults.{name}"] = policy.defaults.own.get(name, LANGUAGE.get(name))
    return {(path,): Cell(_shared(path), path, value) for path, value in cells.items()}


LANGUAGE: Mapping[str, Any] = {**DEFAULT, "on_halt": "stay"}
DEFAULT_LATER: Mapping[str, Any] = {
    "background_cap": 0.03,
    "inconclusive_after": order.OPEN_DAY,
    "max_lead_rings": 1,
    "probes": (),
}
APART = ("name", "own", "options", "gate", "at_most", "windows", "floor", "people")


def _shared(path: str) -> str:
    """The row of a key that defaults, sources and rings share is its bare name."""
    last = path.rpartition(".")[2]
    return last if last in OWN and path.count(".") == 1 else path


def _own(policy: Policy, name: str, layers: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[str, Any]:
    """(path, value) of the nearest layer that says it."""
    for path, layer in layers:
        if name in layer:
            return f"{path}.{name}", layer[name]
    return f"defaults.{name}", policy.defaults.own.get(name, LANGUAGE.get(name))


def source_cells(policy: Policy, name: str) -> Cells:
    """One source's own words."""
    index = next(i for i, source in enumerate(policy.sources) if source.name == name)
    rule, path = policy.sources[index], f"sources[{index}]"
    cells: dict[tuple[str, ...], Cell] = {
        ("source", name, one.name): Cell(f"sources[].{one.name}", f"{path}.{one.name}", getattr(rule, one.name), name)
        for one in fields(SourceRule)
        if one.name not in APART
    }
    for key, value in rule.options.items():
        cells["source", name, key] = Cell(f"sources[].{key}", f"{path}.{key}", value, name)
    for key in {*OWN, *rule.own}:
        where, value = _own(policy, key, [(path, rule.own)])
        cells["source", name, key] = Cell(key, where, value, name)
    return cells


def ring_cells(policy: Policy, name: str, source: str) -> Cells:
    """What rules in one ring for one source; for a source that is still to come where ``source`` is empty."""
    index = policy.index(name)
    rule, path = policy.rings[index], f"rings[{index}]"
    cells = {
        one.name: Cell(f"rings[].{one.name}", f"{path}.{one.name}", getattr(rule, one.name), name)
        for one in fields(RingRule)
        if one.name not in APART
    }
    settings = policy.settings_for(name, source)
    for one in fields(RingSettings):
        if one.name not in (*OWN, "windows", "learned"):  # learned: part of the deadline
            row = SETTINGS.get(one.name, f"rings[].{one.name}")
            cells[one.name] = Cell(row, path + row.removeprefix("rings[]"), getattr(settings, one.name), name)
    for part in ("gate", "at_most"):
        for key in getattr(rule, part).keys() - READ[part]:
            cells[f"{part}.{key}"] = Cell(
                f"rings[].{part}.{key}", f"{path}.{part}.{key}", getattr(rule, part)[key], name
            )
    cells |= _own_cells(policy, rule, path, source)
    giver = _floor_giver(policy, index)
    said = f"rings[{giver}].floor"
    cells["floor"] = Cell("rings[].floor", said, settings.floor, policy.rings[giver].name, f"{path}.floor", name)
    if settings.sites is None:  # then as many sites as machines
        cells["sites"] = Cell("rings[].gate.sites", UNSAID, settings.at_least, name)
    proves = any(other.gate.get("rule_out") for other in policy.rings[index:])
    share = settings.share if settings.share is not None else 1.0
    cells["drawn"] = Cell(DRAWN, f"{path}.at_most.share", None if settings.share is None else settings.at_least, name)
    cells["proof"] = Cell(PROOF, f"{path}.at_most.share", share if proves else None, name)
    return {("ring", name, key): cell for key, cell in cells.items()}


def _own_cells(policy: Policy, rule: RingRule, path: str, source: str) -> dict[str, Cell]:
    layers = [(path, rule.own)]
    if source:
        index = next(i for i, one in enumerate(policy.sources) if one.name == source)
        layers.append((f"sources[{index}]", policy.sources[index].own))
    cells = {}
    for key in {*OWN, *(key for _, layer in layers for key in layer)}:
        where, value = _own(policy, key, layers)
        subject = {"rings": rule.name, "sources": source}.get(where.partition("[")[0], "")
        cells[key] = Cell(key, where, value, subject)
    if "boots" in rule.gate:
        cells["boots"] = Cell("boots", f"{path}.gate.boots", rule.gate["boots"], rule.name)
    return cells


def _floor_giver(policy: Policy, index: int) -> int:
    """The ring whose floor this one has: its own, or the largest before it."""
    floors = [(ring.floor, -i) for i, ring in enumerate(policy.rings[:index]) if ring.floor is not None]
    own = policy.rings[index].floor is not None or not floors
    return index if own else -max(floors)[1]


UNSAID = "rings[]"
DRAWN, PROOF = "rings[].at_most.share (drawn)", "rings[].at_most.share (proof)"
READ = {"gate": {"soak", "at_least", "sites", "rule_out", "boots"}, "at_most": {"per_site", "share", "cap"}}
SETTINGS = {
    "soak": "rings[].gate.soak",
    "at_least": "rings[].gate.at_least",
    "sites": "rings[].gate.sites",
    "rule_out_make": "rings[].gate.rule_out.make",
    "rule_out_fleet": "rings[].gate.rule_out.fleet",
    "per_site": "rings[].at_most.per_site",
    "share": "rings[].at_most.share",
    "cap": "rings[].at_most.cap",
    "needs_people": "rings[].needs.people",
}
