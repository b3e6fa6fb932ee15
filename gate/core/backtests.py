"""A back-test as it is kept: who asked for what, how far it is, what came of it.

- ``what`` is the name of a shipped scenario, ``ALL`` of them, or ``RECORDED``: the days of this installation.
- It is RUNNING until it is DONE, FAILED or STOPPED; there is no way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

ALL, RECORDED = "all", "recorded"
TOO_MUCH = "the back-test needs more memory than it may have"
DIED = "the back-test's process ended without an answer"


class BacktestState(StrEnum):
    """How a back-test stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Backtest:
    """One back-test of a policy version, against the version that was active when it began.

    ``against`` is the same commit where the active version itself was tested. ``done``: the share of the runs that is
    lived, 0 to 1. ``found``: ``rows`` (the runs), ``worse`` (where), ``days`` and ``notes``, as
    the command line's JSON has them; a row's ``policy`` is ``this``, ``other`` or ``as recorded``.
    """

    id: str
    commit: str
    against: str
    what: str
    asked_by: str
    asked_at: datetime
    beat_at: datetime
    state: BacktestState = BacktestState.RUNNING
    done: float = 0.0
    ended_at: datetime | None = None
    problem: str = ""
    found: Mapping[str, Any] | None = None
