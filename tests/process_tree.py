"""A process and all below it, as the kernel tells it. Any of them may end while they are read: it is left out."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def children(pid: int) -> list[int]:
    """What the process has started and what has not ended."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}").glob("task/*/children"):
            found += [int(one) for one in task.read_text().split()]
    return found


def family(pid: int) -> list[int]:
    """The process, and all below it."""
    found = [pid]
    for one in found:
        found += children(one)
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of those that are there."""
    return sum(sum(ticks[:2]) for ticks in _ticks(pid)) / TICKS


def spent_s(pid: int) -> float:
    """CPU seconds, with those of children that have ended."""
    return sum(sum(ticks) for ticks in _ticks(pid)) / TICKS


def memory_mb(pid: int) -> float:
    """Resident memory, in MB."""
    return sum(int(said.split()[1]) for one in family(pid) if (said := _said(one, "statm"))) * PAGE / 1e6


def own_mb(pid: int) -> float:
    """What of that is its own, in MB: for what grows. Pages of files are taken and come back as the system likes."""
    lines = [line for one in family(pid) for line in _said(one, "status").splitlines() if line.startswith("RssAnon:")]
    return sum(int(line.split()[1]) for line in lines) * 1024 / 1e6


def _ticks(pid: int) -> list[list[int]]:
    told = [_said(one, "stat").rpartition(")")[2].split() for one in family(pid)]
    return [[int(field) for field in fields[11:15]] for fields in told]


def _said(pid: int, name: str) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""
