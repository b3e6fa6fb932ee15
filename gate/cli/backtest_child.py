"""The child process of a back-test that a page has begun: one question in, lines of progress and one answer out.

- The question is a line of JSON: ``texts`` (``this``, and ``other`` where there is one), ``what`` (a shipped scenario,
  or one of ``ALL`` and ``RECORDED``), ``limits``, ``now``; for recorded days ``database`` and ``shelf`` too.
- Each answer is a line of JSON: ``done`` (the share), and at last ``found`` or ``problem``.
- The limits hold before anything is run, and the process ends when whoever asked is gone: its input has an end then.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from gate.adapters.plugin_process import apply_limits
from gate.adapters.policy_yaml import parse_text
from gate.adapters.shelf import FileShelf
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import shipped_scenarios
from gate.cli.backtests import Plan, compared, day, recorded, shipped
from gate.core.backtests import ALL, RECORDED, TOO_MUCH
from gate.core.errors import GateError
from gate.sim.recorded import ASSUMED

NAMES = {"this": "this", "other": "other"}
NO_MEMORY = json.dumps({"problem": TOO_MUCH}).encode() + b"\n"


def main() -> None:
    """Reads the question, answers it, and is gone: nothing waits for what a run may have left."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever is printed on the way is no answer
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    apply_limits(asked["limits"])
    os.nice(10)

    def say(**answer: Any) -> None:
        os.write(answers, json.dumps(answer).encode() + b"\n")

    try:
        say(found=_found(asked, lambda done: say(done=done)))
    except GateError as problem:
        say(problem=problem.detail)
    except MemoryError:
        os.write(answers, NO_MEMORY)
    finally:
        os._exit(0)


def _end_with(asker: IO[str]) -> None:
    asker.read()
    os._exit(1)


def _found(asked: Mapping[str, Any], told: Callable[[float], None]) -> dict[str, Any]:
    plans, texts = _plans(asked), asked["texts"]
    order = [(id(plan), side) for plan in plans for side in texts]

    def of_all(plan: Plan, side: str, done: float) -> None:
        told((order.index((id(plan), side)) + done) / len(order))

    rows, worse = compared(plans, texts, NAMES, of_all)
    days = [day(one) for plan in plans if plan.was is not None for one in plan.was.days]
    return {"rows": rows, "worse": worse, "days": days, "notes": list(ASSUMED) if days else []}


def _plans(asked: Mapping[str, Any]) -> list[Plan]:
    if asked["what"] != RECORDED:
        return [shipped(one) for one in (shipped_scenarios() if asked["what"] == ALL else [asked["what"]])]
    store = SqlStore(asked["database"])
    texts = asked["texts"]
    zone = parse_text(texts.get("other", texts["this"])).zone
    last = datetime.fromisoformat(asked["now"]).astimezone(zone).date()
    try:
        return [recorded(store, FileShelf(Path(asked["shelf"])).lines, zone, last, None, texts.values())]
    finally:
        store.close()
