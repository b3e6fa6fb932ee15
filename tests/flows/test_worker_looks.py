"""Looks at the controls of a large fleet take long: a tick takes as many as its time allows, and each comes in turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from gate.core.model import Artifact, RolloutState, Trust
from gate.flows import advance, controls, intake
from gate.ports import Gate, Tx
from tests.real_gate import RealGate

LOOKS = timedelta(minutes=1)  # so long that what the machine itself takes does not matter
SOURCES = ["a", "b", "c", "d", "e"]


class Seen:
    """Which rollouts' controls were counted and which were decided on; a count takes more than half of its time."""

    def __init__(self, gate: RealGate, monkeypatch: pytest.MonkeyPatch) -> None:
        self.gate = gate
        self.counted: list[str] = []
        self.decided: list[str] = []
        self._advance = advance.advance_rollout
        monkeypatch.setattr("gate.worker.LOOKS", LOOKS)
        monkeypatch.setattr(controls, "count", self.count)
        monkeypatch.setattr(advance, "advance_rollout", self.advance)

    def count(self, tx: Tx, gate: Gate, rollout_id: str, now: datetime) -> controls.Tally:
        self.counted.append(rollout_id)
        self.gate.clock.forward(seconds=0.6 * LOOKS.total_seconds())
        return controls.Tally(gate, gate.policy(gate_policy(tx)), (), (), now)

    def advance(self, tx: Tx, gate: Gate, rollout_id: str, now: datetime) -> list[object]:
        self.decided.append(rollout_id)
        return list(self._advance(tx, gate, rollout_id, now))


def gate_policy(tx: Tx) -> str:
    active = tx.active_policy()
    assert active is not None
    return active.commit


@pytest.fixture
def seen(real_gate: RealGate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    policies = real_gate.opened.policies
    policy = policies.read(policies.head())
    line = next(line for line in policy.splitlines() if "shop-content" in line and "plugin" in line)
    real_gate.policy_says(
        policy.replace(line, "\n".join([line, *(line.replace("shop-content", name) for name in SOURCES)]))
    )
    gate = real_gate.opened.gate
    with real_gate.opened.store.write() as tx:
        for name in SOURCES:
            content = (Artifact("a.bin", 1, "0" * 64),)
            intake.candidate_seen(
                tx, gate, source=name, version="1", kind="content", boot_critical=False, artifacts=content,
                trust=Trust.DIGEST_PINNED, now=real_gate.clock.now(), policy_version=gate_policy(tx),
            )  # fmt: skip
        assert len(tx.rollouts(states=(RolloutState.RUNNING,))) == len(SOURCES)
    yield Seen(real_gate, monkeypatch)


def test_a_tick_counts_for_its_time_and_decides_on_nothing_that_still_waits(seen: Seen) -> None:
    ticks = []
    for _ in range(3):
        before = len(seen.counted), len(seen.decided)
        seen.gate.worker.tick()
        ticks.append((set(seen.counted[before[0] :]), set(seen.decided[before[1] :])))
    assert [len(counted) for counted, _ in ticks] == [2, 2, 1], "each look once, as the time allows"
    assert len(set(seen.counted)) == len(SOURCES)
    assert ticks[0][1] == ticks[0][0], "what was not looked at is not decided on"
    assert ticks[1][1] == ticks[0][0] | ticks[1][0]
    assert len(ticks[2][1]) == len(SOURCES)


def test_however_long_a_look_takes_the_next_one_comes_with_the_next_tick(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gate.worker.LOOKS", LOOKS / 2)
    for number in range(1, len(SOURCES) + 1):
        seen.gate.worker.tick()
        assert len(set(seen.counted)) == number


def test_who_has_waited_comes_before_who_is_due_again(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "due", lambda tx, rollout_id, now: True)
    for _ in range(3):
        seen.gate.worker.tick()
    assert len(seen.counted) == 6
    assert len(set(seen.counted)) == len(SOURCES)


def over(seen: Seen, state: RolloutState) -> list[str]:
    """All rollouts are over, and a machine has each in flight."""
    with seen.gate.opened.store.write() as tx:
        for one in tx.rollouts(states=(RolloutState.RUNNING,)):
            assert tx.save_rollout(replace(one, state=state, version=one.version + 1))
        tx._connection.execute(text("UPDATE budgets SET in_flight = 1"))
        return sorted(one.id for one in tx.rollouts())


@pytest.mark.parametrize("state", [RolloutState.DONE, RolloutState.SUPERSEDED])
def test_what_is_over_and_watched_is_looked_at_and_judged_in_turn(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, state: RolloutState
) -> None:
    wanted, judged = over(seen, state), list[str]()
    monkeypatch.setattr(advance, "halting", lambda tx, gate, rollout_id, now: judged.append(rollout_id))
    ticks = []
    for _ in range(4):
        before = len(judged)
        seen.gate.worker.tick()
        ticks.append(len(judged) - before)
    assert sorted(set(judged)) == sorted(seen.counted) == wanted
    assert ticks[:3] == [2, 2, 1 + 4], "those that had to wait first, then the others as the time allows"
    assert ticks[3] == 5


def test_what_is_over_and_nobody_took_is_not_looked_at(seen: Seen) -> None:
    with seen.gate.opened.store.write() as tx:
        for one in tx.rollouts(states=(RolloutState.RUNNING,)):
            assert tx.save_rollout(replace(one, state=RolloutState.DONE, version=one.version + 1))
    seen.gate.worker.tick()
    assert seen.counted == []
