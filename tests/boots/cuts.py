"""The moments of an install at which a guest's power is cut, and what its console says about them (``guest/hold``)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.boots.guests import Guest

MOMENTS = {
    "till-a2": (
        "run.granted.written.1",
        "run.granted.write.2",
        "run.installing.written.1",
        "run.installing.named.1",
        "run.installed.spool.1",
    ),
    "till-b2": (
        "run.granted.write.1",
        "run.granted.written.2",
        "run.installing.staged.1",
        "run.placed.named.1",
        "run.installed.written.1",
    ),
    "till-a3": (
        "run.installing.named.1",
        "run.placed.write.1",
        "run.installed.write.1",
        "early.installed.write.1",
        "run.booted.written.1",
    ),
    "till-b3": (
        "run.installing.moved.1",
        "run.installed.written.1",
        "run.installed.write.1",
        "run.booted.written.1",
        "run.booted.write.1",
    ),
}
"""In each guest one after another, each in a boot of its own. What follows ``moved`` comes whether or not the link has
lasted."""
VERSION = "4.0"
NEVER = "run.never.moved.1"
"""Nothing is held, all is said."""
OPENED = {
    "write": "the next state is about to be written",
    "written": "the state has been renamed and its folder is not durable yet",
    "staged": "the files lie beside what is in place and their folder is not durable yet",
    "named": "the staged folder has its name, which is not durable yet",
    "moved": "the link leads to the new release, which is not durable yet",
    "spool": "what was downloaded is about to be thrown away",
}
HELD = re.compile(r"hold: held at (\S+)")
PASSED = re.compile(r"hold: (?:past|held at) (\w+)\.(\w+)\.(\w+)\.\d+")
EARLY = re.compile(
    r"gate-agent(?:-early)?\[\d+\]: (nothing is on trial|shop \S+: try .*|shop .* goes: .*|nothing done.*)"
)


def in_words(moment: str) -> str:
    """``run.installing.moved.1`` as a sentence."""
    command, step, place, number = moment.split(".")
    who = "the agent" if command == "run" else "the early unit"
    last = "the link is durable, installed is not written" if step == "placed" else f"last step written is {step}"
    said = "the release before the last is about to go" if (step, place) == ("placed", "named") else OPENED[place]
    return f"{who}; {last}; {said} (number {number} of this boot)"


@dataclass
class Trial:
    """One guest that takes a release, and whose power is cut at each of its moments."""

    guest: Guest
    left: list[str]
    cuts: list[str] = field(default_factory=list)
    boots: list[str] = field(default_factory=list)  # what the console said, boot by boot

    def reached(self) -> bool:
        """Does it stand still at its next moment? Then its power is gone, and it is on again."""
        held = HELD.search(self.guest.heard())
        if held is None:
            return False
        assert held[1] == self.left[0]
        self.guest.cut_power()
        self.boots.append(self.guest.heard())
        self.cuts.append(self.left.pop(0))
        self.guest.switch_on(f"{VERSION}:{self.left[0] if self.left else NEVER}")
        return True

    def end(self) -> None:
        self.boots.append(self.guest.heard())

    def early_said(self) -> list[str]:
        """The early unit's sentence of each boot."""
        return [(EARLY.findall(boot) or ["-"])[-1] for boot in self.boots]

    def staged_after_it_was_durable(self) -> list[str]:
        """Boots in which it was staged although the link had been made durable before: installed twice."""
        durable, twice = False, []
        for number, boot in enumerate(self.boots):
            moved = False
            for command, step, place in PASSED.findall(boot):
                if place == "staged" and durable:
                    twice.append(f"boot {number}: {command}.{step}.{place}")
                durable, moved = durable or moved, place == "moved"
        return twice
