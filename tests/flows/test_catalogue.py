"""The catalogue keeps what machines may still have to go back to, however few releases the policy keeps."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from gate.adapters.store.sql import SqlTx
from gate.core.model import RolloutState
from gate.flows import publication
from gate.ports import Pointer, Tx
from gate.worker import KEPT_EVERY
from tests.real_gate import RealGate

pytestmark = pytest.mark.slow

SOURCE = "shop-content"


@pytest.fixture
def one_kept(real_gate: RealGate) -> RealGate:
    """The policy keeps one release; 1, 2 and 3 have gone through every ring."""
    policies = real_gate.opened.policies
    text = policies.read(policies.head())
    assert "evidence: alive}" in text
    real_gate.policy_says(text.replace("evidence: alive}", "evidence: alive, keep: 1}"))
    for version in "123":
        real_gate.bring(version, version)
        stands(real_gate, RolloutState.DONE)
    return real_gate


def stands(gate: RealGate, state: RolloutState) -> None:
    with gate.opened.store.write() as tx:
        newest = tx.rollouts(limit=1)[0]
        done = newest.done_at or gate.clock.now()
        assert tx.save_rollout(replace(newest, state=state, done_at=done, version=newest.version + 1))


def catalogued(gate: RealGate, tx: Tx) -> set[str]:
    wanted = publication.wanted(tx, gate.opened.gate, "", "", publication.kept(tx, gate.opened.gate))
    assert wanted is not None
    found = {"sha256:" + one.hex for one in wanted.catalog[SOURCE]}
    return {one.version for one in tx.releases(SOURCE, 100) if one.id in found}


@pytest.mark.parametrize(
    "state",
    [RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED, RolloutState.DONE, RolloutState.RECALLED],
    ids=lambda state: state.value,
)
def test_what_a_recall_would_go_back_to_is_kept(one_kept: RealGate, state: RolloutState) -> None:
    stands(one_kept, state)
    with one_kept.opened.store.read() as tx:
        assert catalogued(one_kept, tx) == {"2", "3"}


def dropped(gate: RealGate, version: str) -> None:
    """A release is taken in, and nothing is decided yet."""
    gate.drop(version, version)
    gate.worker.look()


@pytest.mark.parametrize(
    "state", [RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED], ids=lambda state: state.value
)
def test_what_has_opened_no_ring_and_still_may_is_kept_however_many_come_after_it(
    one_kept: RealGate, state: RolloutState
) -> None:
    dropped(one_kept, "4")
    stands(one_kept, state)
    for version in "5678":
        dropped(one_kept, version)
    with one_kept.opened.store.read() as tx:
        assert {"4", "8"} <= catalogued(one_kept, tx)


def test_what_runs_and_has_opened_no_ring_yet_keeps_its_bytes_after_a_day(one_kept: RealGate) -> None:
    gate, publisher = one_kept, one_kept.opened.publisher
    for version in "4567":
        dropped(gate, version)
    gate.worker.publish(gate.clock.now())
    for path in (gate.opened.settings.public / "content").glob("*/*"):
        os.utime(path, (0, 0))
    publisher.tidy(gate.clock.now())
    with gate.opened.store.read() as tx:
        release = tx.release_by_version(SOURCE, "4")
    assert release is not None
    (content,) = release.artifacts
    assert publisher.blob(content.sha256).read_text() == "4"


def test_what_a_pointer_of_the_mirror_leads_to_or_led_to_before_is_kept(one_kept: RealGate) -> None:
    now = one_kept.clock.now()
    with one_kept.opened.store.write() as tx:
        first = tx.release_by_version(SOURCE, "1")
        assert first is not None
        tx.add_pointer(Pointer(SOURCE, "m", "m", "", first.id, "", now, now))
        pointer = tx.pointer(SOURCE, "m")
        assert pointer is not None
        assert catalogued(one_kept, tx) == {"1", "2", "3"}
        assert tx.move_pointer(pointer, "", now)
        assert catalogued(one_kept, tx) == {"1", "2", "3"}
        tx.add_pointer(Pointer("a source that is gone", "m", "m", "", first.id, "", now, now))
        assert catalogued(one_kept, tx) == {"1", "2", "3"}


def test_pointers_are_walked_every_five_minutes_and_not_with_each_publication(one_kept: RealGate) -> None:
    walked = []
    pointed = SqlTx.pointed

    def counting(tx: SqlTx) -> dict[str, set[str]]:
        walked.append(tx)
        return pointed(tx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SqlTx, "pointed", counting)
        worker = one_kept.opened.worker()
        for _ in range(3):
            worker.publish(one_kept.clock.now())
        assert len(walked) == 1
        worker.publish(one_kept.clock.now() + KEPT_EVERY)
        assert len(walked) == 2
