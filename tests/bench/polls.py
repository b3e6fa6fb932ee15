"""``python -m tests.bench.polls STATE ROUNDS``: an agent's rounds in a process that holds nothing else."""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path

from gate.agent.loop import Agent
from gate.agent.settings import load
from gate.agent.state import StateFolder

WARM = 100


def polls(state: Path, rounds: int) -> dict[str, float]:
    """Kilobytes after the first ``WARM`` rounds and after all; CPU seconds of all, from those after the first."""
    one = Agent(StateFolder(state), load(state / "agent.toml"))
    for _ in range(WARM):
        one.once()
    warm, began = resident_kb(), spent()
    for _ in range(rounds - WARM):
        one.once()
    return {"warm_kb": warm, "after_kb": resident_kb(), "cpu_s": (spent() - began) * rounds / (rounds - WARM)}


def resident_kb() -> float:
    """Of this process, now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1000


def spent() -> float:
    """CPU seconds of this process, with children that have ended."""
    used = [resource.getrusage(one) for one in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    print(json.dumps(polls(Path(sys.argv[1]), int(sys.argv[2]))))
