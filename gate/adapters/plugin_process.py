"""One child process for one plugin call: limits, a clock, and an end for whatever it has started."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.core.errors import SourceError

ANSWER = 8 * 1024 * 1024
START = (
    "import json, sys; sys.path[:0] = json.loads(sys.argv.pop(1)); from gate.adapters.plugin_child import main; main()"
)
"""The child finds the code that this process found, and nothing by its environment or its directory."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one call. Bytes and seconds."""

    wall_s: float = 60.0
    memory: int = 1024**3
    open_files: int = 128
    answer: int = ANSWER


def run(call: Mapping[str, Any], folder: Path, limits: Limits, most_written: int) -> bytes:
    """What the child answered to ``call``; ``folder`` is its directory, no file of it is longer than ``most_written``.

    Raises:
        SourceError: it died, hung, or answered too much.
    """
    what = f"{call['plugin']}.{call['hook']}"
    with tempfile.TemporaryFile() as question:
        question.write(json.dumps(call).encode())
        question.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", START, json.dumps(_paths()), json.dumps(_numbers(limits, most_written))],
            stdin=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)},
            start_new_session=True,
            close_fds=True,
        )
    try:
        raw = _talk(child, limits)
    finally:
        _end(child)
    if raw is None:
        raise SourceError("source_failed", f"{what} did not answer within {limits.wall_s:g} s")
    if child.returncode != 0 or len(raw) > limits.answer:
        raise SourceError("source_failed", f"{what} died or answered too much ({child.returncode})")
    return raw


def _paths() -> list[str]:
    return [path for path in sys.path if os.path.isabs(path)]


def _numbers(limits: Limits, most_written: int) -> dict[str, int]:
    return {
        "RLIMIT_AS": limits.memory,
        "RLIMIT_CPU": max(int(limits.wall_s), 1),
        "RLIMIT_FSIZE": most_written,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
    }


def _talk(child: subprocess.Popen[bytes], limits: Limits) -> bytes | None:
    """The answer, at most one byte more than allowed; None after the time is up."""
    assert child.stdout is not None
    until = time.monotonic() + limits.wall_s
    parts, length = [], 0
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while length <= limits.answer:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            part = os.read(child.stdout.fileno(), 1 << 16)
            if not part:
                break
            parts.append(part)
            length += len(part)
    try:
        child.wait(max(until - time.monotonic(), 0.01) if length <= limits.answer else 0.01)
    except subprocess.TimeoutExpired:
        return None if length <= limits.answer else b"".join(parts)
    return b"".join(parts)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends the child and whatever it started, by its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdout is not None:
        child.stdout.close()
    child.wait()


def apply_limits(numbers: Mapping[str, int]) -> None:
    """In the child: the limits that the parent wants."""
    for name, most in numbers.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (wanted, wanted))
