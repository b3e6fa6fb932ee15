"""What this gate does, counted for Prometheus, exact with several processes.

- Each process writes its own files below one folder; ``render`` adds them up. The folder is named in the environment
  before this module is imported: ``prepare`` does that.
- Files of processes that have ended go on counting until no process of this folder lives; then they are cleared.
- Labels are closed sets: paths of the API, statuses, kinds of errors, names of sources. No machine, no person.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gate.core.errors import OperatorError

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
ROOM = 1 << 19


def prepare(folder: Path) -> None:
    """Names the folder to this process and its children, and clears it where nobody counts there any more."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = list(folder.glob("*.db"))
    pids = {found[1] for file in files if (found := re.search(r"_(\d+)\.db$", file.name))}
    if not any(Path(f"/proc/{pid}").exists() for pid in pids):
        for file in files:
            file.unlink(missing_ok=True)
    os.environ[FOLDER] = str(folder)


class Metrics:
    """The counters of this process."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        if FOLDER in os.environ:
            _reserve(Path(os.environ[FOLDER]))
        none = CollectorRegistry()  # what is shown is gathered from the files of all processes
        seconds = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
        self._calls = Counter("gate_calls", "Calls of the write plane", ["path", "status", "kind"], registry=none)
        self._call_seconds = Histogram(
            "gate_call_seconds", "How long a call took", ["path"], buckets=seconds, registry=none
        )
        self._work = Counter("gate_work", "Pieces of the worker's work", ["work", "outcome"], registry=none)
        self._work_seconds = Histogram(
            "gate_work_seconds", "How long a piece of work took", ["work"], buckets=seconds, registry=none
        )

    def call(self, path: str, status: int, kind: str, seconds: float) -> None:
        """A call was answered; ``kind`` is the problem's, empty where there was none."""
        self._calls.labels(path, str(status), kind).inc()
        self._call_seconds.labels(path).observe(seconds)

    def work(self, work: str, outcome: str, seconds: float) -> None:
        """The worker did, or failed at, a piece of work."""
        self._work.labels(work, outcome).inc()
        self._work_seconds.labels(work).observe(seconds)


def _reserve(folder: Path) -> None:
    """This process's files, with their room: they are mapped into memory, and a process that writes where a full disk
    has no room for it is ended by the kernel.

    Raises:
        OperatorError: there is no room now.
    """
    for kind in ("counter", "histogram"):
        try:
            with (folder / f"{kind}_{os.getpid()}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, ROOM)
        except OSError as problem:
            raise OperatorError("disk_full", f"no room in {folder}: {problem.strerror}") from problem


def render(figures: Mapping[str, float]) -> bytes:
    """Everything that all processes have counted, and ``figures`` as gauges, in the text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import GaugeMetricFamily, Metric
    from prometheus_client.multiprocess import MultiProcessCollector

    class Counted:
        """What all processes have counted; a file that its process has only just made, or died over, holds nothing."""

        def collect(self) -> Iterator[Metric]:
            """Every counter and histogram."""
            files = [str(file) for file in Path(os.environ[FOLDER]).glob("*.db") if file.stat().st_size]
            yield from MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]

    class Figures:
        """What is so now."""

        def collect(self) -> Iterator[GaugeMetricFamily]:
            """One gauge each."""
            for name, value in figures.items():
                yield GaugeMetricFamily(f"gate_{name}", name.replace("_", " "), value=value)

    counted, now = CollectorRegistry(), CollectorRegistry()
    counted.register(Counted())
    now.register(Figures())
    return generate_latest(counted) + generate_latest(now)
