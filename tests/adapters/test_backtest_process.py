"""The child process of a back-test: it answers as the command line does, and has an end whatever happens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.adapters.backtest_process import START, BacktestLimits, BacktestProcess
from gate.adapters.policy_git import GitPolicies
from gate.adapters.store.sql import SqlStore
from gate.bootstrap import Wishes, init, open_gate, scenario_of, seed_policy
from gate.core.backtests import RECORDED
from gate.core.errors import OperatorError
from gate.flows import edits
from gate.sim.recorded import ASSUMED
from gate.sim.run import Simulation
from tests.flows.test_recorded import KILLS, LOOSER, POLICY
from tests.flows.test_scenarios import FOLDER
from tests.real_gate import agreed

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 3, 9, tzinfo=UTC)
OLD = (FOLDER / "policy.yaml").read_text(encoding="utf-8")
LOOSE = OLD.replace("first_batch: 3", "first_batch: 9")
BAD_DAY = str(FOLDER / "one-till.yaml")


def children() -> set[str]:
    """The processes that this one has begun and that are not gone."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split())


def test_a_scenario_has_the_figures_that_the_command_line_prints_and_tells_how_far_it_is() -> None:
    shares: list[float] = []
    found = BacktestProcess(()).run({"this": LOOSE, "other": OLD}, BAD_DAY, NOW, lambda done: not shares.append(done))
    assert found is not None
    this, other = found["rows"]
    assert (this["policy"], other["policy"], other["bricked"]) == ("this", "other", 3)
    assert this["bricked"] > other["bricked"]
    assert this["hours_to_full"] is None
    assert found["worse"] == ["one-till"]
    assert shares == sorted(shares)
    assert {0.25, 0.5, 0.75} <= {round(one, 2) for one in shares}


def test_recorded_days_are_read_from_the_database(tmp_path: Path) -> None:
    began = datetime(2026, 3, 1, tzinfo=UTC)
    settings = init(tmp_path / "gate", Wishes("f", "", "", "anna", "NW"), began).settings
    policies = GitPolicies(settings.parent / "data" / "policy.git")
    commit = policies.write(POLICY, policies.head(), "anna", "for the bad day", began)
    opened = open_gate(settings)
    with opened.store.write() as tx:
        edits.activate_head(tx, opened.gate, "anna", began)
    agreed(opened, began)
    opened.close()
    quick = SqlStore(opened.settings.database, durable=False)
    Simulation(scenario_of(KILLS, "lived"), quick, opened.gate, commit).run()
    quick.close()
    found = opened.backtester.run({"this": LOOSER}, RECORDED, NOW, lambda _: True)
    assert found is not None
    assert [(one["policy"], one["exposed"]) for one in found["rows"]] == [("this", 9), ("as recorded", 3)]
    assert [one["harmful"] for one in found["days"]] == [True]
    assert found["notes"] == list(ASSUMED)


def test_days_on_which_nothing_began_are_said(tmp_path: Path) -> None:
    settings = init(tmp_path / "gate", Wishes("f", "", "", "anna", "NW"), NOW).settings
    tester = open_gate(settings).backtester
    with pytest.raises(OperatorError, match="no release began from 2026-02-17 to 2026-03-03"):
        tester.run({"this": seed_policy()}, RECORDED, NOW, lambda _: True)


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        (BacktestLimits(wall_s=0.0), "longer than 0 minutes"),
        (BacktestLimits(memory=64 * 1024**2), "needs more memory|without an answer"),
        (BacktestLimits(file=4096), "disk I/O error"),
    ],
)
def test_what_goes_past_a_limit_ends_with_a_sentence_and_leaves_nothing(
    limits: BacktestLimits, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    before = children()
    with pytest.raises(OperatorError, match=sentence):
        BacktestProcess((), limits=limits).run({"this": OLD}, BAD_DAY, NOW, lambda _: True)
    assert list(tmp_path.iterdir()) == []
    assert children() <= before


def test_one_that_is_not_wanted_any_more_is_ended() -> None:
    before = children()
    assert BacktestProcess(()).run({"this": OLD}, BAD_DAY, NOW, lambda done: done < 0.1) is None
    assert children() <= before


def test_it_ends_when_whoever_asked_is_gone() -> None:
    """Its input ends with them."""
    limits = {"RLIMIT_CPU": 60}
    asked = {"texts": {"this": OLD}, "what": BAD_DAY, "now": NOW.isoformat(), "limits": limits}
    paths = json.dumps([path for path in sys.path if os.path.isabs(path)])
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", START, paths],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asked).encode() + b"\n")
    process.stdin.flush()
    assert b"done" in process.stdout.readline(), "it is at work"
    process.stdin.close()
    assert process.wait(20) == 1
    process.stdout.close()
