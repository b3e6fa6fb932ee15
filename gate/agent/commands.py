"""Commands with an end: whatever a command does, its caller goes on in time.

- No shell, no input, a process group of its own: at its deadline all of it is killed, children included.
- What it prints goes to a file, not a pipe: a child that outlives it and holds the pipe open cannot hold us. Who prints
  without an end is ended before the disk is full.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MOST = 4 * 1024 * 1024
TOO_MUCH = 16 * MOST
LOOK_S = 0.05


@dataclass(frozen=True, slots=True)
class Done:
    """``code`` is None where it did not end in time or could not be started; ``said`` is its output, or why."""

    code: int | None
    said: str


Run = Callable[[Sequence[str], float], Done]


def run(argv: Sequence[str], limit_s: float) -> Done:
    """Runs a command; never longer than ``limit_s`` seconds, never more than ``MOST`` bytes of what it says."""
    try:
        into = tempfile.TemporaryFile()  # noqa: SIM115  (closed below: only its making may fail here)
    except OSError as problem:
        return Done(None, str(problem))
    with into as out:
        try:
            child = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        except (OSError, ValueError) as problem:
            return Done(None, str(problem))
        code: int | None = None
        until = time.monotonic() + limit_s
        while code is None and time.monotonic() < until and os.fstat(out.fileno()).st_size <= TOO_MUCH:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(LOOK_S)
        if code is None:
            much = os.fstat(out.fileno()).st_size > TOO_MUCH
            _end(child)
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(1)
            return Done(None, "it says too much" if much else f"no answer within {limit_s:g} s")
        out.seek(0)
        return Done(code, out.read(MOST).decode(errors="replace"))


def _end(child: subprocess.Popen[bytes]) -> None:
    """It and its children."""
    if sys.platform == "win32":
        with contextlib.suppress(OSError):
            subprocess.run(("taskkill", "/T", "/F", "/PID", str(child.pid)), capture_output=True, check=False)
        child.kill()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
