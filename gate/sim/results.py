"""What a simulated day came to: the answer of the scenario format, the same day without a gate, what was expected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from gate.flows import unclear
from gate.ports import Asked, Tx
from gate.sim.fleet import World
from gate.sim.scenario import Scenario, SimRelease, draw

SAID = frozenset({"held", "halted_by", "alarmed_at"})  # an expectation that is part of a text


@dataclass(slots=True)
class Record:
    """What one release did."""

    release: SimRelease
    rollout: str = ""
    release_id: str = ""
    exposed: dict[str, datetime] = field(default_factory=dict)
    bricked: dict[str, datetime] = field(default_factory=dict)


def of_release(tx: Tx, record: Record, places: Mapping[str, tuple[str, str]]) -> dict[str, Any] | None:
    """What one release did; ``places``: machine -> ring and make."""
    rollout = tx.rollout(record.rollout)
    if rollout is None:  # it has left the store for the shelf
        return None
    strata = tx.strata(rollout.id)
    rings = []
    for ring in tx.rings(rollout.id):
        inside = {m for m in record.exposed if places[m][0] == ring.ring}
        rings.append(
            {
                "name": ring.ring,
                "opened_at": ring.opened_at.isoformat() if ring.opened_at else None,
                "exposed": len(inside),
                "bricked": len(inside & set(record.bricked)),
            }
        )
    by_make: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for machine in record.exposed:
        by_make[places[machine][1]][0] += 1
        by_make[places[machine][1]][1] += machine in record.bricked
    asked = tx.asked_events(Asked(subject=rollout.id, kind=unclear.ASKED, oldest=True), None, 1)
    return {
        "version": record.release.version,
        "state": rollout.state.value,
        "exposed": len(record.exposed),
        "bricked": len(record.bricked),
        "healthy": sum(s.healthy for s in strata),
        "silent": sum(s.silent for s in strata),
        "dark": 0,
        "halted_at": rollout.halted_at.isoformat() if rollout.halted_at else None,
        "halted_by": rollout.halted_by or None,
        "held": _held(tx, rollout.id),
        "rings": rings,
        "makes": [{"make": m, "exposed": e, "bricked": b} for m, (e, b) in sorted(by_make.items())],
        "asked_at": asked[0].at.isoformat() if asked else None,
        "full_at": rollout.done_at.isoformat() if rollout.done_at else None,
    }


def _held(tx: Tx, rollout: str) -> list[dict[str, Any]]:
    held: list[dict[str, Any]] = []
    for decision in sorted(tx.decisions(rollout, 500), key=lambda d: d.at):
        if held and held[-1]["to"] is None:
            held[-1]["to"] = decision.at.isoformat()
        if decision.verdict == "HOLD" and decision.reasons:
            reason = f"{decision.ring}: {decision.reasons[0]['detail']}"
            held.append({"from": decision.at.isoformat(), "to": None, "reason": reason})
    return held


def without_gate(scenario: Scenario, world: World) -> dict[str, Any]:
    """The same day when every machine takes each release as soon as it is on and the vendor has not reverted it."""
    exposed, bricked = set(), set()
    for release in scenario.releases:
        ends = [e["at"] for e in scenario.events if e.get("vendor_reverts") == release.source]
        end = min([*ends, scenario.start + scenario.run])
        for machine in scenario.machines:
            on = world.next_on(machine, release.at)
            if on is None or on >= end:
                continue
            exposed.add(machine.id)
            fault = release.fault
            if fault is None or fault.effect != "brick":
                continue
            meets = all(machine.facts.get(name, "-") in values for name, values in fault.where.items())
            if meets and draw(scenario.seed, "fault", release.version, machine.id) < fault.rate:
                bricked.add(machine.id)
    tills: dict[str, list[bool]] = defaultdict(list)
    for machine in scenario.machines:
        if machine.role == "till" and not machine.site.always_on:
            tills[machine.site.id].append(machine.id in bricked)
    return {
        "exposed": len(exposed),
        "bricked": len(bricked),
        "sites_without_till": sum(1 for states in tills.values() if all(states)),
        "sites_affected": len({machine.site.id for machine in scenario.machines if machine.id in bricked}),
    }


def unmet(scenario: Scenario, result: Mapping[str, Any]) -> list[str]:
    """The expectations that the result does not meet, each as a sentence. Counts are of all releases together."""
    releases = result["releases"]
    found = {name: sum(one[name] for one in releases) for name in ("exposed", "bricked", "healthy", "silent")} | {
        "opened": sum(ring["opened_at"] is not None for one in releases for ring in one["rings"]),
        "sites_without_till": result["sites_without_till"],
        "alarms": len(result["silent_mornings"]),
        "alarmed_at": " | ".join(result["silent_mornings"]),
        "asked": sum(one["asked_at"] is not None for one in releases),
        "halted_by": " | ".join(one["halted_by"] for one in releases if one["halted_by"]),
        "halted": any(release["halted_at"] for release in releases),
        "done": bool(releases) and all(one["full_at"] is not None for one in releases),
        "held": " | ".join(dict.fromkeys(hold["reason"] for one in releases for hold in one["held"])),
    }
    return [
        f"{name} is {found[name]}, expected {wish}"
        for name, wish in scenario.expect.items()
        if not (str(wish) in str(found[name]) if name in SAID else _meets(found[name], wish))
    ]


def _meets(value: Any, wish: Any) -> bool:
    if isinstance(wish, bool):
        return bool(value) == wish
    operator, _, number = str(wish).partition(" ")
    limit = int(number)
    return bool({"<=": value <= limit, "==": value == limit, ">=": value >= limit, "<": value < limit}[operator])
