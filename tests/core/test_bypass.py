"""May a machine run what it runs? Each limit once: at it, and just beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gate.core.bypass import Runs, Standing, judge
from gate.core.model import RolloutState

PAST = Runs("2", 2, RolloutState.RUNNING, claimed=False, opened=False, ring="rest", lever="held")
"""Somebody went past the gate: release 2 is known, runs in earlier rings, and is not this machine's."""


@pytest.mark.parametrize(
    ("what", "change", "wanted"),
    [
        ("never granted, its ring is shut", {}, Standing.BYPASSED),
        ("a claim, in hand or over", {"claimed": True}, Standing.GRANTED),
        ("its ring has opened", {"opened": True}, Standing.GRANTED),
        ("superseded before its ring opened", {"state": RolloutState.SUPERSEDED}, Standing.BYPASSED),
        ("an older one, once open", {"state": RolloutState.SUPERSEDED, "opened": True}, Standing.GRANTED),
        ("done", {"state": RolloutState.DONE, "opened": True}, Standing.GRANTED),
        ("retired, once open", {"state": RolloutState.RETIRED, "opened": True}, Standing.GRANTED),
        ("queued", {"state": RolloutState.QUEUED}, Standing.BYPASSED),
        ("halted, open, without a claim", {"state": RolloutState.HALTED, "opened": True}, Standing.BYPASSED),
        ("halted, with a claim", {"state": RolloutState.HALTED, "opened": True, "claimed": True}, Standing.GRANTED),
        (
            "halted after the machine had it",
            {"state": RolloutState.HALTED, "opened": True, "before": Standing.GRANTED},
            Standing.GRANTED,
        ),
        ("recalled, open, without a claim", {"state": RolloutState.RECALLED, "opened": True}, Standing.BYPASSED),
        ("recalled, granted before", {"state": RolloutState.RECALLED, "claimed": True}, Standing.GRANTED),
        ("a bypass that was judged so before", {"before": Standing.BYPASSED}, Standing.BYPASSED),
        ("a bypass whose ring has opened since", {"before": Standing.BYPASSED, "opened": True}, Standing.GRANTED),
        ("the first release of its source", {"counter": 1}, Standing.FIRST),
        ("the first one, once its ring is open", {"counter": 1, "opened": True}, Standing.GRANTED),
        ("a version that the gate has never taken", {"counter": None, "state": None}, Standing.UNKNOWN),
        ("known, and its rollout has left the database", {"state": None}, Standing.UNKNOWN),
        ("the same, granted before", {"state": None, "before": Standing.GRANTED}, Standing.GRANTED),
        ("nothing is said", {"version": "", "counter": None, "state": None}, Standing.SILENT),
        ("a machine of no ring", {"ring": ""}, Standing.UNHELD),
        ("a source without a lever", {"lever": "no lever"}, Standing.UNHELD),
        ("an advised lever is asked all the same", {"lever": "advised"}, Standing.BYPASSED),
    ],
)
def test_the_limits_of_a_bypass(what: str, change: dict[str, Any], wanted: Standing) -> None:
    assert judge(replace(PAST, **change)) is wanted, what
