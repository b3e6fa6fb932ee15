"""The page of the documents: the tables, the charts, the command, the machine, and what is not promised."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.evidence import svg
from tests.evidence.cells import FOURTH_SHARE, FRONT, FRONT_SHARE, TABLE, TENTH_SHARE, Tally
from tests.evidence.fleet import MACHINES, Ladder
from tests.evidence.svg import Bar, Point

REFERENCE = {  # exposed (bricked) of the two procedures that ours joins, and of a timer that ignores silence
    "1": ("1,156 (12)", "3,700 (37)", "111,110 (1,111)"),
    "5": ("139 (7)", "249 (13)", "111,110 (5,555)"),
    "50": ("25", "24", "111,110"),
    "100": ("25", "24", "111,110"),
    "five": ("26 (3)", "24 (3)", "111,110 (5,555)"),
    "two": ("26 (3)", "24 (3)", "111,110 (2,222)"),
    "half": ("213 (4)", "199 (5)", "111,110 (2,777)"),
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """The ring that is given out at 200 machines a minute, with and without a cap of 50."""

    exposed: float
    exposed_capped: float
    minutes: float
    minutes_capped: float

    def outside(self) -> list[str]:
        """What left its range."""
        longer = self.minutes_capped / self.minutes - 1
        found = []
        if self.exposed_capped > 50:
            found.append(f"in flight: {self.exposed_capped:.0f} exposed with the cap, at most 50")
        if self.exposed < 3_000:
            found.append(f"in flight: {self.exposed:.0f} exposed without a cap, at least 3,000")
        if longer > 0.20:
            found.append(f"in flight: {longer:.0%} longer, at most 20 %")
        return found


def write(folder: Path, tallies: dict[str, Tally], delivery: Delivery, releases: int, took_s: float) -> None:
    """``docs/evidence.md`` and its charts."""
    folder.mkdir(exist_ok=True)
    (folder / "evidence-front.svg").write_text(_front(tallies), encoding="utf-8")
    (folder / "evidence-exposed.svg").write_text(_exposed(tallies), encoding="utf-8")
    (folder / "evidence-headlines.svg").write_text(_headlines(tallies, delivery), encoding="utf-8")
    (folder / "evidence.md").write_text(text(tallies, delivery, releases, took_s), encoding="utf-8")


def _front(tallies: dict[str, Tally]) -> str:
    points = [
        Point(
            f"{make} / {fleet}",
            tallies[f"front-{make}-good"].mean("nights"),
            tallies[f"front-{make}-bad"].mean("exposed"),
            True,
        )
        for make, fleet in FRONT
    ]
    points += [Point("ladder alone", 5.75, 1156, False), Point("budget alone", 8.5, 3700, False)]
    return svg.plane(
        "What waiting buys: at_risk a make / the fleet",
        (
            "nights until a healthy release is everywhere",
            "machines exposed to content that bricks 1 %; shaded: the corner that is asked for",
        ),
        points,
        (7, 1500),
        ((4, 12), (0, 4000)),
    )


def _exposed(tallies: dict[str, Tally]) -> str:
    rows = [
        Bar(f"bricks {cell.title}", tallies[name].mean("exposed"), True)
        for name, cell in TABLE.items()
        if name != "healthy"
    ]
    rows.append(Bar("any of these, by a timer", MACHINES, False))
    return svg.bars("Machines that got the bad release", f"of {MACHINES:,}, mean, logarithmic", rows)


def _headlines(tallies: dict[str, Tally], delivery: Delivery) -> str:
    five = tallies["five"].mean("bricked")
    return svg.bars(
        "Machines lost, by what is left out",
        "machines, mean, logarithmic",
        [
            Bar("bricks all: gate", tallies["100"].mean("bricked"), True),
            Bar("bricks all: silence ignored", tallies["silence"].mean("bricked"), False),
            Bar("bricks a 5 % make: gate", five, True),
            Bar("bricks a 5 % make: random canaries", tallies["random"].mean("bricked"), False),
            Bar("bricks a 5 % make: canaries of one make", tallies["one-make"].mean("bricked"), False),
            Bar("crash on apply: cap of 50", delivery.exposed_capped, True),
            Bar("crash on apply: no cap", delivery.exposed, False),
        ],
    )


def text(tallies: dict[str, Tally], delivery: Delivery, releases: int, took_s: float) -> str:
    """The page as Markdown."""
    return "\n".join(
        [
            _top(tallies, releases, took_s),
            _table(tallies),
            _ends(tallies),
            _four(tallies, delivery),
            _front_table(tallies),
            _limits(tallies),
        ]
    )


def _top(tallies: dict[str, Tally], releases: int, took_s: float) -> str:
    ladder = Ladder()
    rings = ", ".join(f"{ring:,}" for ring in ladder.rings[1:])
    make, fleet = (
        ", ".join(f"{share * 100:g}%" for share in shares if share)
        for shares in (ladder.rule_out_make, ladder.rule_out_fleet)
    )
    spent = sum(tally.processor_s for tally in tallies.values())
    fourth, tenth, front = (round(releases * share) for share in (FOURTH_SHARE, TENTH_SHARE, FRONT_SHARE))
    return f"""# The evidence

What the gate's rules do, simulated: {releases:,} releases a row, each going night by night through {MACHINES:,}
machines of eight makes (40 % to 2 % of the fleet), driven by the functions of `gate/core`: `opening.judge`, `stats`,
`exposure`, `evalues`. 0.5 % of the scheduled boots are silent for reasons of their own. Fewer releases are behind three
figures: {fourth:,} where content bricks at the fourth boot, {tenth:,} for the 0.1 % brick, {front:,} in a row of the front.

```
make evidence
```

writes this page and its charts, and fails when a figure leaves its range. Seeds are fixed: the same code gives the
same figures. A smaller run is part of `make test`. This run took {took_s / 60:.0f} minutes ({spent / 60:.0f} of
processor time in two processes) on {_machine()}.

The policy: rings of {ladder.first_batch} machines of each make, {rings} machines and the rest;
`rule_out` a make {make}, the fleet {fleet}; `at_risk` {ladder.at_risk_make} a make and {ladder.at_risk_fleet} the fleet;
`confidence` {ladder.confidence:.0%}, `background` {ladder.background:.2%}, `false_halt` {ladder.false_halt:.0%}. One step a night.

## What a release exposes

Means; bricked machines in brackets. *Ladder* and *budget* are the two procedures that the gate joins, as simulated for
the design; they are not run again.

![Machines that got the bad release](evidence-exposed.svg)
"""


def _machine() -> str:
    model = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    cores = os.cpu_count() or 1
    return f"{cores} cores ({model or platform.machine()}), Python {platform.python_version()}, NumPy {np.__version__}"


def _shown(tally: Tally) -> str:
    return f"{svg.number(round(tally.mean('exposed')))} ({tally.mean('bricked'):,.1f})"


def _table(tallies: dict[str, Tally]) -> str:
    rows = [
        "| true brick rate | gate | at most | ladder | budget | timer, silence ignored |",
        "|---|---|---|---|---|---|",
    ]
    for name, cell in TABLE.items():
        if name != "healthy":
            most = f"{cell.most['exposed']:,.0f}" + (f" ({cell.most['bricked']:.0f})" if "bricked" in cell.most else "")
            rows.append(f"| {cell.title} | {_shown(tallies[name])} | {most} | {' | '.join(REFERENCE[name])} |")
    healthy = tallies["healthy"]
    ours = f"{healthy.mean('halted'):.2%} / {healthy.mean('asked'):.2f} / {healthy.mean('nights'):.2f}"
    rows.append(
        f"| healthy: falsely halted / people asked a release / nights | {ours} | 0.10% / 0.2 / 7"
        " | 0.04% / 0.16 / 5.75 | 0.0% / 0.09 / 8.5 | 0 / 0 / 5 |"
    )
    count = healthy.ends.get("halted", 0)
    return "\n".join(rows) + (
        f"\n\n`false_halt: 1%` promises that at most 1 % of healthy releases are ever halted by statistics; measured"
        f" {count} of {healthy.releases:,}.\n"
    )


def _ends(tallies: dict[str, Tally]) -> str:
    rows = [
        "## How it ends",
        "",
        "| true brick rate | halted by e-values | stopped by a person who was asked | reached everybody | most exposed in one release |",
        "|---|---|---|---|---|",
    ]
    for name, cell in TABLE.items():
        tally = tallies[name]
        shares = [tally.ends.get(end, 0) / tally.releases for end in ("halted", "stopped by a person", "out")]
        rows.append(f"| {cell.title} | {' | '.join(f'{share:.2%}' for share in shares)} | {tally.most:,} |")
    rows += [
        "",
        "A person is asked when a make (or the fleet) still falls short after two extensions; until somebody answers, it",
        "holds. In the simulation the person looks at the failed machines and sees whether the content did it: a bad",
        "release is stopped, a healthy one goes on a night later.",
        "",
    ]
    return "\n".join(rows)


def _four(tallies: dict[str, Tally], delivery: Delivery) -> str:
    longer = delivery.minutes_capped / delivery.minutes - 1
    five, hundred = tallies["five"], tallies["100"]
    return f"""## What matters, in order of effect

![Machines lost, by what is left out](evidence-headlines.svg)

| the rule | with it | without it |
|---|---|---|
| silence counts as failure (content that bricks everything) | {svg.number(hundred.mean("bricked"))} bricked | {svg.number(tallies["silence"].mean("bricked"))} bricked |
| each make climbs its own ladder (content that bricks one 5 % make) | {five.mean("bricked"):.1f} bricked | {tallies["random"].mean("bricked"):.0f} with random canaries and a 5 % threshold, {tallies["one-make"].mean("bricked"):.0f} with canaries of one make |
| a cap in flight (crash on apply, 200 machines a minute) | {delivery.exposed_capped:,.0f} exposed; healthy delivery takes {longer:.0%} longer | {delivery.exposed:,.0f} exposed |
| controls (a healthy release, 30 % of all machines silent on the third night) | {tallies["outage"].mean("halted"):.2%} falsely halted | {tallies["outage-fixed"].mean("halted"):.2%} against a fixed background |
| the part by boot number (bricks everything at the fourth boot) | {svg.number(tallies["fourth"].mean("exposed"))} exposed | {svg.number(tallies["fourth-plain"].mean("exposed"))} exposed |
"""


def _front_table(tallies: dict[str, Tally]) -> str:
    rows = [
        "## The front: exposure against nights",
        "",
        "![What waiting buys](evidence-front.svg)",
        "",
        "| `at_risk` a make / the fleet | exposed at 1 % | nights, healthy | people asked, healthy |",
        "|---|---|---|---|",
    ]
    for make, fleet in FRONT:
        bad, good = tallies[f"front-{make}-bad"], tallies[f"front-{make}-good"]
        rows.append(
            f"| {make} / {fleet} | {bad.mean('exposed'):,.0f} ± {bad.error('exposed'):.0f} | {good.mean('nights'):.2f}"
            f" | {good.mean('asked'):.2f} |"
        )
    ladder = Ladder()
    rows += [
        "",
        f"{ladder.at_risk_make} / {ladder.at_risk_fleet} is the smallest of these budgets that gets a healthy release to",
        "a country within a week. The policy's default stays 10 / 20: a chain of some hundred machines is through in a",
        "few nights with it, and can lose fewer.",
        "",
    ]
    return "\n".join(rows)


def _limits(tallies: dict[str, Tally]) -> str:
    tenth = tallies["tenth"]
    return f"""## What is not promised

- **A 0.1 % brick under a 0.5 % background is not caught in time.** Here it reached {tenth.mean("exposed"):,.0f} of
  {MACHINES:,} machines on average and bricked {tenth.mean("bricked"):,.0f}. No usable gate catches it.
- Means hide tails: the second table has the most that a single release exposed.
- The one machine a site of the early rings, windows, freezes, floors and soaks are not simulated: they only wait.
- The background is the same for every make, and failures are independent; an outage hits controls and exposed alike.
- One step a night: machines boot in the morning. A fleet that boots at noon as well goes faster.
- The person who is asked sees what the content did. A person who waves it through is not simulated.
"""
