"""Which policy rules: the head when it parses and descends; never a rewound branch, never a broken text."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from gate.bootstrap import policy_reader
from gate.core.errors import Malformed, OperatorError
from gate.core.model import RolloutState
from gate.flows import people, policy_versions
from gate.ports import ActivePolicy, Tx
from tests.real_gate import PlayedMachine, RealGate

WHEN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def active(gate: RealGate) -> ActivePolicy:
    with gate.opened.store.read() as tx:
        found = tx.active_policy()
    assert found is not None
    return found


def push(gate: RealGate, before: str, after: str) -> str:
    policies = gate.opened.policies
    head = policies.head()
    text = policies.read(head)
    assert before in text
    return policies.write(text.replace(before, after, 1), head, "Anna", "A change", gate.clock.now())


def rewind(gate: RealGate, commit: str) -> None:
    repository = gate.opened.settings.policy
    subprocess.run(["git", "-C", str(repository), "update-ref", "refs/heads/main", commit], check=True)


def test_a_commit_that_parses_rules_from_the_next_tick(real_gate: RealGate) -> None:
    before = active(real_gate)
    commit = push(real_gate, "timezone: Europe/Berlin", "timezone: Europe/Berlin   # as ever")
    real_gate.worker.tick()
    after = active(real_gate)
    assert (after.commit, after.problem) == (commit, "")
    with real_gate.opened.store.read() as tx:
        event = next(one for one in tx.events(subject=commit, limit=5))
    assert event.kind == "policy_activated"
    assert event.detail["before"] == before.commit


def test_a_rewound_branch_never_rules(real_gate: RealGate) -> None:
    first = active(real_gate).commit
    second = push(real_gate, "timezone: Europe/Berlin", "timezone: Europe/Berlin  # x")
    real_gate.worker.tick()
    rewind(real_gate, first)
    real_gate.worker.tick()
    real_gate.worker.tick()
    assert active(real_gate).commit == second
    assert "does not descend" in active(real_gate).problem
    with real_gate.opened.store.read() as tx:
        refused = [one for one in tx.events(subject=first, limit=20) if one.kind == "policy_refused"]
    assert len(refused) == 1, "said once, not at every tick"
    rewind(real_gate, second)
    real_gate.worker.tick()
    assert active(real_gate).problem == ""


def test_with_the_repository_gone_the_brake_works_and_nothing_else_moves(real_gate: RealGate) -> None:
    machine = PlayedMachine(real_gate)
    machine.enrol()
    real_gate.accept(machine.machine)
    real_gate.bring("1.0")
    with real_gate.opened.store.read() as tx:
        rollout = tx.rollouts()[0]
    assert rollout.state is RolloutState.RUNNING
    shutil.rmtree(real_gate.opened.settings.policy)
    real_gate.worker.tick()
    with real_gate.opened.store.write() as tx:
        people.halt(tx, rollout.id, "anna", "the shop stands still", real_gate.clock.now())
    machine.checkin()
    status, refused = machine.claim(rollout.release)
    assert (status, refused["kind"]) == (409, "halted")


def test_a_worker_whose_work_fails_goes_on_with_the_rest(real_gate: RealGate) -> None:
    real_gate.bring("1.0")
    version = real_gate.opened.publisher.timestamp_version()
    advanced: list[str] = []

    def poisoned(rollout_id: str, _now: datetime) -> None:
        advanced.append(rollout_id)
        raise RuntimeError("a rollout that nobody can judge")

    real_gate.worker._advance = poisoned  # type: ignore[method-assign]
    real_gate.clock.forward(hours=20)
    real_gate.worker.tick()
    assert advanced
    assert real_gate.opened.publisher.timestamp_version() > version, "the timestamp is signed anew all the same"


def test_a_refused_head_is_one_line_of_the_log(real_gate: RealGate, caplog: pytest.LogCaptureFixture) -> None:
    push(real_gate, "rings:", "rinsg:")
    for _ in range(3):
        real_gate.worker.tick()
    said = [one.getMessage() for one in caplog.records if one.levelname == "WARNING" and "policy:" in one.getMessage()]
    assert len(said) == 1
    assert "rinsg" in said[0]


def test_a_refused_commit_is_parsed_once_and_what_could_not_be_read_is_read_again() -> None:
    asked: list[str] = []

    def read(commit: str) -> str:
        asked.append(commit)
        if commit == "gone" and len(asked) == 1:
            raise OperatorError("policy_repository", "it is gone")
        return "version: 2\n"

    policy = policy_reader(read)
    with pytest.raises(OperatorError):
        policy("gone")
    said = set()
    for _ in range(3):
        with pytest.raises(Malformed) as refused:
            policy("gone")
        said.add(refused.value.detail)
    assert (asked, len(said)) == (["gone", "gone"], 1)


class Counted:
    """A transaction, and how often it was asked."""

    def __init__(self, tx: Tx) -> None:
        self._tx, self.asked = tx, 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        return getattr(self._tx, name)


def test_a_version_that_never_ruled_costs_no_walk_through_those_that_have(real_gate: RealGate) -> None:
    first, gate, now = active(real_gate).commit, real_gate.opened.gate, real_gate.clock.now()
    broken = push(real_gate, "first_batch:", "first_bach:")
    chain = [first, *(f"{number:040x}" for number in range(1, 200))]
    with real_gate.opened.store.write() as tx:
        for before, commit in itertools.pairwise(chain):
            assert tx.activate_policy(ActivePolicy(commit, now, "anna"), before)
            tx.append("policy_activated", "anna", commit, now, {"before": before}, "", commit)
        counted = Counted(tx)
        [never, ruled] = policy_versions.past(cast(Tx, counted), gate, 2)
    assert (never.version.commit, never.active_from, never.active_to) == (broken, None, None)
    assert (ruled.version.commit, ruled.active_to) == (first, now)
    assert counted.asked < 10
