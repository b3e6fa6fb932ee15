"""A fleet that gets many releases for many days, in virtual time, on the real flows and a real store."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from gate.adapters.calendar import OpeningCalendar
from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import OneText
from gate.ports import Gate
from gate.sim import scenario
from gate.sim.run import Simulation

POLICY = """version: 1
fleet: long
timezone: Europe/Berlin
makes: {by: [role, platform]}
sources:
  - {name: shop, plugin: directory, kind: content, boot_critical: false, lever: held, evidence: alive, keep: 5}
rings:
  - {name: pilot, why: a few first, pick: {label: pilot}, windows: [always], at_most: {per_site: 1},
     gate: {soak: 10m, at_least: 3}}
  - {name: all, why: everybody, pick: {role: [server, till, workstation]}, windows: [always],
     at_most: {per_site: half}, gate: {soak: 10m, at_least: 10}}
at_risk: {per_make: 40, fleet: 80}
first_batch: 10
defaults: {stay_up: 1m, checkin: 5m, lease: 30m, deadline: 2h open}
"""
START = datetime.fromisoformat("2026-03-02T06:00:00+01:00")


def plan(sites: int, days: int, releases_a_day: int) -> scenario.Scenario:
    """Machines that are off at night; releases from eight o'clock on, in equal steps over nine hours."""
    step = timedelta(hours=9) / releases_a_day
    releases = [
        {
            "at": (START + timedelta(days=day, hours=2) + number * step).isoformat(),
            "source": "shop",
            "version": f"{day}.{number}",
        }
        for day in range(days)
        for number in range(releases_a_day)
    ]
    rows = [("server", 1, 90, 30), ("till", 3, 90, 10), ("workstation", 1, 10, 10)]
    return scenario.parse(
        {
            "scenario": 1,
            "name": "long-run",
            "seed": 5,
            "start": START.isoformat(),
            "run": f"{days}d",
            "fleet": {
                "sites": sites,
                "land": ["NW"],
                "hours": "Mo-Su 08:00-18:30",
                "machines": [
                    {"role": role, "count": count, "on": {"from": f"{a}m before opening", "to": f"{b}m after closing"}}
                    for role, count, a, b in rows
                ],
                "facts": [{"fact": "platform", "values": {"metal": "60%", "vm": "40%"}}],
                "labels": {"pilot": {"share": "20%"}},
            },
            "releases": releases,
        }
    )


def simulation(store: SqlStore, wanted: scenario.Scenario, policy_text: str = POLICY) -> tuple[Simulation, Gate]:
    """The run on this store, and its gate."""
    text = OneText(policy_text)
    policy = parse_text(policy_text)
    gate = Gate(policy=lambda _: policy, texts=text, hours=OpeningCalendar("Europe/Berlin"))
    return Simulation(wanted, store, gate, text.commit), gate


def figures(result: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on what has left the database: without the story of each rollout, which is told from it."""
    told = ("held", "full_at")
    releases = [{key: value for key, value in one.items() if key not in told} for one in result["releases"]]
    return {**result, "releases": releases}
