"""One child process for one back-test: limits of memory, processor time and files, a clock, and an end for certain.

It reads texts and, for recorded days, the database; it writes into a folder of its own, which is gone afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gate.core.backtests import DIED
from gate.core.errors import OperatorError

START = "import json, sys; sys.path[:0] = json.loads(sys.argv.pop(1)); from gate.cli.backtest_child import main; main()"
"""It finds the code that this process found, and nothing by its environment or its directory."""
MOST_SAID = 4 * 1024**2
LISTEN_S = 2.0


@dataclass(frozen=True, slots=True)
class BacktestLimits:
    """Of one back-test. Bytes and seconds; a file is no longer than ``file``."""

    wall_s: float = 3600.0
    memory: int = 2 * 1024**3
    file: int = 2 * 1024**3


class BacktestProcess:
    """Runs back-tests, each in a process of its own."""

    def __init__(
        self, scenarios: tuple[str, ...], database: str = "", shelf: Path = Path(), limits: BacktestLimits | None = None
    ) -> None:
        self.scenarios = scenarios
        self._database, self._shelf = database, shelf
        self._limits = limits or BacktestLimits()

    def run(
        self, texts: Mapping[str, str], what: str, now: datetime, told: Callable[[float], bool]
    ) -> Mapping[str, Any] | None:
        """What came of it; None where ``told`` (the share done, every two seconds at the latest) has said no.

        Raises:
            OperatorError: it died, took too long, or cannot be done; the sentence is for people.
        """
        until, share = time.monotonic() + self._limits.wall_s, 0.0
        asked = {"texts": dict(texts), "what": what, "now": now.isoformat(), "limits": self._numbers()}
        asked |= {"database": self._database, "shelf": str(self._shelf)}
        with _child(asked) as lines:
            for answer in lines:
                if "found" in answer:
                    found: Mapping[str, Any] = answer["found"]
                    return found
                if "problem" in answer:
                    raise OperatorError("backtest_failed", str(answer["problem"]))
                share = answer.get("done", share)
                if time.monotonic() > until:
                    break
                if not told(share):
                    return None
        if time.monotonic() > until:  # or the system has ended it for that
            limit = f"{self._limits.wall_s / 60:g}"
            raise OperatorError("backtest_failed", f"the back-test took longer than {limit} minutes")
        raise OperatorError("backtest_failed", DIED)

    def _numbers(self) -> dict[str, int]:
        limits = self._limits
        return {
            "RLIMIT_AS": limits.memory,
            "RLIMIT_CPU": max(int(limits.wall_s), 1),
            "RLIMIT_FSIZE": limits.file,
            "RLIMIT_CORE": 0,
        }


@contextmanager
def _child(asked: Mapping[str, Any]) -> Iterator[Iterator[dict[str, Any]]]:
    """The answers of a process that is gone afterwards, with its folder."""
    with tempfile.TemporaryDirectory(prefix="gate-backtest-", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", START, json.dumps([path for path in sys.path if os.path.isabs(path)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(folder),
            cwd=folder,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                process.stdin.flush()
            yield _answers(process.stdout.fileno())
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()


def _environment(folder: str) -> dict[str, str]:
    """What libpq finds its files and passwords by, and nothing else of ours."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("PG") or name == "HOME"}
    return {**kept, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TMPDIR": folder}


def _answers(file: int) -> Iterator[dict[str, Any]]:
    """Each line as it comes, and an empty answer where none comes for a while; ends where the process does."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(file, selectors.EVENT_READ)
        while len(rest) <= MOST_SAID:
            if not selector.select(LISTEN_S):
                yield {}
                continue
            part = os.read(file, 1 << 16)
            if not part:
                return
            *whole, rest = (rest + part).split(b"\n")
            for line in whole:
                yield json.loads(line)
