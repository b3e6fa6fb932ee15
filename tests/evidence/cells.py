"""The cells of the tables: what is simulated, how it is added up, and the range that each must keep."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from tests.evidence import others
from tests.evidence.fleet import FIVE, TWO, Content, Ladder, Outcome, every_make, one_make
from tests.evidence.release import Release

CHUNK = 250
SEED = 20_240_719
Simulated = Callable[[np.random.Generator], Outcome]


@dataclass(slots=True)
class Tally:
    """Sums over releases."""

    releases: int = 0
    sums: dict[str, float] = field(default_factory=Counter)
    squares: dict[str, float] = field(default_factory=Counter)
    ends: dict[str, int] = field(default_factory=Counter)
    most: int = 0
    processor_s: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """One more release."""
        self.releases += 1
        self.ends[outcome.end] += 1
        self.most = max(self.most, outcome.exposed)
        values = {name: getattr(outcome, name) for name in ("exposed", "bricked", "nights", "asked")}
        values["halted"] = float(outcome.end == "halted")
        for name, value in values.items():
            self.sums[name] += value
            self.squares[name] += value * value

    def join(self, other: Tally) -> None:
        """Another chunk of the same cell."""
        self.releases += other.releases
        self.most = max(self.most, other.most)
        self.processor_s += other.processor_s
        for mine, more in ((self.sums, other.sums), (self.squares, other.squares), (self.ends, other.ends)):
            for name, value in more.items():
                mine[name] += value

    def mean(self, name: str) -> float:
        """A release's, on average."""
        return self.sums[name] / self.releases

    def error(self, name: str) -> float:
        """The standard error of that mean."""
        spread = max(self.squares[name] / self.releases - self.mean(name) ** 2, 0.0)
        return (spread / self.releases) ** 0.5


@dataclass(frozen=True, slots=True)
class Cell:
    """``most``: what a mean may be at most; ``least``: at least. ``share``: of the releases that are asked for."""

    title: str
    simulate: Simulated
    most: dict[str, float] = field(default_factory=dict)
    least: dict[str, float] = field(default_factory=dict)
    share: float = 1.0

    def run(self, releases: int, seed: tuple[int, ...]) -> Tally:
        """So many releases from one seed."""
        rng, tally = np.random.default_rng(seed), Tally()
        for _ in range(releases):
            tally.add(self.simulate(rng))
        return tally

    def outside(self, tally: Tally, errors: float = 0.0) -> list[str]:
        """What left its range, by more than ``errors`` standard errors."""
        found = []
        for name, limit in self.most.items():
            if tally.mean(name) - errors * tally.error(name) > limit:
                found.append(f"{self.title}: {name} {tally.mean(name):.6g}, at most {limit:g}")
        for name, limit in self.least.items():
            if tally.mean(name) + errors * tally.error(name) < limit:
                found.append(f"{self.title}: {name} {tally.mean(name):.6g}, at least {limit:g}")
        return found


def _ours(ladder: Ladder, content: Content, rng: np.random.Generator) -> Outcome:
    return Release(ladder, content, rng).run()


def ours(content: Content, ladder: Ladder | None = None) -> Simulated:
    """The gate itself."""
    return partial(_ours, ladder or Ladder(), content)


HARMLESS = Content()
OUTAGE = Content(outage_nights=(3,))
ONE_FIVE, ONE_TWO, HALF_FIVE = one_make(FIVE, 1.0), one_make(TWO, 1.0), one_make(FIVE, 0.5)
FOURTH_SHARE, TENTH_SHARE, FRONT_SHARE = 0.2, 0.1, 0.05
FRONT = ((10, 20), (20, 40), (30, 60), (40, 80), (80, 160))

TABLE = {
    "1": Cell("1 %", ours(every_make(0.01)), {"exposed": 1500}),
    "5": Cell("5 %", ours(every_make(0.05)), {"exposed": 150}),
    "50": Cell("50 %", ours(every_make(0.5)), {"exposed": 25}),
    "100": Cell("100 %", ours(every_make(1.0)), {"exposed": 25}),
    "five": Cell("100 % of one 5 % make", ours(ONE_FIVE), {"exposed": 26, "bricked": 3}),
    "two": Cell("100 % of one 2 % make", ours(ONE_TWO), {"exposed": 26, "bricked": 3}),
    "half": Cell("50 % of one 5 % make", ours(HALF_FIVE), {"exposed": 215, "bricked": 5}),
    "healthy": Cell("healthy", ours(HARMLESS), {"halted": 0.001, "asked": 0.2, "nights": 7}),
}
BESIDE = {
    "tenth": Cell("0.1 %", ours(every_make(0.001)), share=TENTH_SHARE),
    "fourth": Cell("100 % at the fourth boot", ours(every_make(1.0, 4)), {"exposed": 13_000}, share=FOURTH_SHARE),
    "fourth-plain": Cell(
        "the same, without the part by boot number",
        ours(every_make(1.0, 4), Ladder(per_boot=False)),
        share=FOURTH_SHARE,
    ),
}
RANDOM, ONE_MAKE, NEAR = 66, 196, 0.15  # bricked, as measured; figures of other rules may move by so much


def _near(bricked: float) -> dict[str, dict[str, float]]:
    return {"least": {"bricked": bricked * (1 - NEAR)}, "most": {"bricked": bricked * (1 + NEAR)}}


HEADLINES = {
    "silence": Cell("silence ignored: a timer", partial(others.timer, every_make(1.0)), least={"exposed": 111_110}),
    "random": Cell("random canaries", partial(others.random_canaries, ONE_FIVE), **_near(RANDOM)),
    "one-make": Cell(
        "canaries of one make",
        partial(others.random_canaries, ONE_FIVE, one_make=True),
        **_near(ONE_MAKE),
    ),
    "outage": Cell("an outage, against controls", ours(OUTAGE), {"halted": 0.0012}),
    "outage-fixed": Cell(
        "an outage, against a fixed background", ours(OUTAGE, Ladder(controls=False)), least={"halted": 0.999}
    ),
}
SHAPES = {
    f"front-{make}-{content}": Cell(
        f"at risk {make} / {fleet}",
        ours(every_make(0.01) if content == "bad" else HARMLESS, Ladder(at_risk_make=make, at_risk_fleet=fleet)),
        share=FRONT_SHARE,
    )
    for make, fleet in FRONT
    for content in ("bad", "good")
}
CELLS = {**TABLE, **BESIDE, **HEADLINES, **SHAPES}


def chunks(releases: int) -> list[tuple[str, int, int]]:
    """(cell, number of the chunk, releases) for every cell."""
    found = []
    for name, cell in CELLS.items():
        wanted = max(round(releases * cell.share), 1)
        found += [(name, at, min(CHUNK, wanted - at * CHUNK)) for at in range(-(-wanted // CHUNK))]
    return found


def run_chunk(chunk: tuple[str, int, int]) -> tuple[str, Tally]:
    """One chunk from its own seed; the same whichever process runs it, and in any order."""
    name, number, releases = chunk
    began = time.process_time()
    tally = CELLS[name].run(releases, (SEED, list(CELLS).index(name), number))
    tally.processor_s = time.process_time() - began
    return name, tally
