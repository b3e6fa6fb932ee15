"""One child process for one plugin call: limits, a clock, and an end for whatever it has started."""

from __future__ import annotations

import json
import os
import resource
import selectors
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.adapters.plugin_nursery import Nursery
from gate.core.errors import SourceError

ANSWER = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one call. Bytes and seconds."""

    wall_s: float = 60.0
    memory: int = 1024**3
    open_files: int = 128
    answer: int = ANSWER


def run(nursery: Nursery, call: Mapping[str, Any], folder: Path, limits: Limits, most_written: int) -> bytes:
    """What a child answered to ``call``; ``folder`` is its directory, no file of it is longer than ``most_written``.

    Raises:
        SourceError: it died, hung, or answered too much.
    """
    what = f"{call['plugin']}.{call['hook']}"
    ours, theirs = os.pipe()
    with tempfile.TemporaryFile() as question, os.fdopen(ours, "rb", buffering=0) as answer:
        try:
            question.write(json.dumps(call).encode())
            question.seek(0)
            pid = nursery.begin(question.fileno(), theirs, folder, _numbers(limits, most_written))
        finally:
            os.close(theirs)
        try:
            raw = _heard(answer.fileno(), limits)
        finally:
            nursery.end(pid)
    if raw is None:
        raise SourceError("source_failed", f"{what} did not answer within {limits.wall_s:g} s")
    if not raw or len(raw) > limits.answer:
        raise SourceError("source_failed", f"{what} died or answered too much")
    return raw


def _numbers(limits: Limits, most_written: int) -> dict[str, int]:
    return {
        "RLIMIT_AS": limits.memory,
        "RLIMIT_CPU": max(int(limits.wall_s), 1),
        "RLIMIT_FSIZE": most_written,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
    }


def _heard(answer: int, limits: Limits) -> bytes | None:
    """The answer, at most one byte more than allowed; None after the time is up."""
    until = time.monotonic() + limits.wall_s
    parts, length = [], 0
    with selectors.DefaultSelector() as selector:
        selector.register(answer, selectors.EVENT_READ)
        while length <= limits.answer:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            part = os.read(answer, 1 << 16)
            if not part:
                break
            parts.append(part)
            length += len(part)
    return b"".join(parts)


def apply_limits(numbers: Mapping[str, int]) -> None:
    """In the child: the limits that the parent wants."""
    for name, most in numbers.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (wanted, wanted))
