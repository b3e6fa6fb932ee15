"""``python -m tests.evidence [releases] [folder]``: simulates, writes the page, fails outside the ranges.

Without arguments 20,000 releases a row and ``docs/``; a smaller run writes to a temporary folder unless one is named.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.evidence import others, page
from tests.evidence.cells import CELLS, Tally, chunks, run_chunk
from tests.evidence.page import Delivery

RELEASES = 20_000
PROCESSES = 2
DOCS = Path(__file__).resolve().parents[2] / "docs"


def simulate(releases: int, console: Console) -> dict[str, Tally]:
    """Every cell; two processes, seeds by chunk, so that the figures do not depend on who ran what."""
    tallies: dict[str, dict[int, Tally]] = {name: {} for name in CELLS}
    work = chunks(releases)
    columns = (
        TextColumn("{task.description:32}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} releases"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES) as pool, Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=sum(size for _, _, size in work))
        for (name, number, size), (_, tally) in zip(work, pool.imap(run_chunk, work), strict=True):
            tallies[name][number] = tally
            progress.update(task, advance=size, description=CELLS[name].title[:32])
    return {name: _joined(parts) for name, parts in tallies.items()}


def _joined(parts: dict[int, Tally]) -> Tally:
    whole = Tally()
    for number in sorted(parts):
        whole.join(parts[number])
    return whole


def deliver(releases: int) -> Delivery:
    """The comparison in flight."""
    rng = np.random.default_rng(20_240_719)
    return Delivery(
        exposed=float(others.crash_on_apply(releases, None, rng).mean()),
        exposed_capped=float(others.crash_on_apply(releases, 50, rng).mean()),
        minutes=float(others.minutes_to_deliver(releases, None, rng).mean()),
        minutes_capped=float(others.minutes_to_deliver(releases, 50, rng).mean()),
    )


def main() -> int:
    """The number of figures outside their ranges decides the exit."""
    releases = int(sys.argv[1]) if len(sys.argv) > 1 else RELEASES
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else DOCS
    if len(sys.argv) == 2 and releases < RELEASES:
        folder = Path(tempfile.mkdtemp())
    console = Console()
    began = time.monotonic()
    tallies = simulate(releases, console)
    delivery = deliver(min(releases, 5_000))
    page.write(folder, tallies, delivery, releases, time.monotonic() - began)
    wrong = [line for name, cell in CELLS.items() for line in cell.outside(tallies[name])] + delivery.outside()
    for line in wrong:
        console.print(f"outside its range: {line}", style="bold red")
    console.print(f"{folder / 'evidence.md'}: {'every figure is within its range' if not wrong else 'see above'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
