"""Which boot this is and how long it has lasted. Paths are settings, so that a reboot can be simulated.

- ``uptime_s`` counts from the boot; ``awake_s`` leaves out standby and hibernation, in which nothing is proven.
- Neither follows the wall clock: whatever NTP does to that, a boot has lasted as long as it has.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gate.agent.errors import Misuse

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
UPTIME = Path("/proc/uptime")


@dataclass(frozen=True, slots=True)
class Boot:
    """Seconds since this boot, with and without the time in which the machine slept."""

    boot_id: str
    uptime_s: float
    awake_s: float


def awake_s() -> float:
    """Seconds since the boot without sleep. Windows' monotonic clock goes on in standby: another is asked there."""
    if sys.platform == "win32":
        import ctypes

        ticks = ctypes.c_ulonglong()  # of 100 ns
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
        return ticks.value / 1e7
    return time.monotonic()


def read(
    boot_id: Path = BOOT_ID, uptime: Path = UPTIME, awake: Callable[[], float] | None = None, named: str = ""
) -> Boot:
    """This boot; ``awake`` counts its seconds without sleep (None: it never slept), ``named``: its id, where the system
    has no file for it.

    Raises:
        Misuse: this machine does not say which boot it is.
    """
    try:
        which = named or boot_id.read_text().strip()
        lasted = float(uptime.read_text().split()[0]) if uptime.exists() else time.monotonic()
    except (OSError, ValueError, IndexError) as problem:
        raise Misuse(f"cannot read which boot this is: {problem}") from problem
    if not 1 <= len(which) <= 128:
        raise Misuse(f"{boot_id} holds no boot id")
    return Boot(which, lasted, min(lasted, awake()) if awake else lasted)
