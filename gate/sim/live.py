"""A simulation that runs beside the pages: virtual time follows the clock on the wall, some times faster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gate.sim.results import without_gate
from gate.sim.run import Simulation

STEP_S = 0.25


class LiveSimulation:
    """Runs a simulation in a thread; is a ``Clock`` for the pages, and has their story."""

    def __init__(self, simulation: Simulation, speed: float, say: Callable[[str], None]) -> None:
        self._simulation = simulation
        self._speed = speed
        self._say = say
        self._zone = ZoneInfo(simulation.policy.timezone)
        self._without = without_gate(simulation.scenario, simulation.world)
        self._shown: Mapping[str, Any] = {}
        self._now = simulation.scenario.start
        self._halted = False

    def start(self) -> None:
        """Begins."""
        self._simulation.start()
        self._look()
        threading.Thread(target=self._run, name="simulation", daemon=True).start()

    def now(self) -> datetime:
        """Virtual time."""
        return self._now

    def story(self) -> Mapping[str, Any]:
        """What the overview says above everything else."""
        return self._shown

    def _run(self) -> None:
        began = time.monotonic()
        scenario = self._simulation.scenario
        end = scenario.start + scenario.run
        while self._now < end:
            wished = scenario.start + timedelta(seconds=(time.monotonic() - began) * self._speed)
            self._simulation.advance_to(min(wished, end))  # up to the last tick before it
            self._look()
            time.sleep(STEP_S)
        self._say("the day is over; the pages stay until you stop the demo")

    def _look(self) -> None:
        result = self._simulation.result()
        self._now = self._simulation.now
        exposed = sum(release["exposed"] for release in result["releases"])
        bricked = sum(release["bricked"] for release in result["releases"])
        halted = [release for release in result["releases"] if release["halted_at"]]
        clock = f"{self._now.astimezone(self._zone):%d.%m.%Y %H:%M}"
        if halted and not self._halted:
            self._halted = True
            self._say(f"{clock}: halted by {halted[0]['halted_by']}; {bricked} machines are dead, {exposed} had it")
        waits = "the bad release is not out yet"
        if result["releases"]:
            waits = "halted" if halted else "the bad release is in the first ring"
        fleet = result["fleet"]
        self._shown = {
            "name": self._simulation.scenario.name,
            "sites": fleet["sites"],
            "machines": fleet["machines"],
            "time": clock,
            "now": waits,
            "rows": (
                ("machines with the bad release", exposed, self._without["exposed"]),
                ("machines dead", bricked, self._without["bricked"]),
                ("pharmacies without a till", result["sites_without_till"], self._without["sites_without_till"]),
            ),
        }
