"""Which boot this is and how long it has lasted. Paths are settings, so that a reboot can be simulated."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from gate.agent.errors import Misuse

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UPTIME = Path("/proc/uptime")


@dataclass(frozen=True, slots=True)
class Boot:
    """``uptime_s``: seconds since this boot."""

    boot_id: str
    uptime_s: float


def read(boot_id: Path = BOOT_ID, uptime: Path = UPTIME) -> Boot:
    """This boot.

    Raises:
        Misuse: this machine does not say which boot it is.
    """
    try:
        which = boot_id.read_text().strip()
        lasted = float(uptime.read_text().split()[0]) if uptime.exists() else time.monotonic()
    except (OSError, ValueError, IndexError) as problem:
        raise Misuse(f"cannot read which boot this is: {problem}") from problem
    if not 1 <= len(which) <= 128:
        raise Misuse(f"{boot_id} holds no boot id")
    return Boot(which, lasted)
