"""A source may say much more than its rollouts can take: one runs, the newest waits, and the old approvals stand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gate.adapters.store.sql import SqlStore
from gate.core.model import Artifact, Rollout, RolloutState, Trust
from gate.flows import approvals, intake
from gate.ports import Gate
from gate.sim.run import Simulation
from tests import long_run

MANY = 60
"""More than any list of newest rollouts is long."""


def seen(sim: Simulation, store: SqlStore, gate: Gate, version: str) -> None:
    """One more candidate of the source."""
    with store.write() as tx:
        intake.candidate_seen(
            tx,
            gate,
            source="shop",
            version=version,
            kind="content",
            boot_critical=False,
            artifacts=(Artifact("content.bin", 1, version.rjust(64, "0")),),
            trust=Trust.VENDOR_SIGNED,
            now=sim.now,
            policy_version=sim.policy_version,
        )


def test_one_release_of_a_source_runs_however_many_wait_and_are_superseded(store: SqlStore) -> None:
    plan = long_run.plan(sites=6, days=1, releases_a_day=1)
    sim, gate = long_run.simulation(store, plan)
    sim.start()
    sim.advance_to(plan.start + timedelta(hours=8))
    with store.read() as tx:
        [done] = tx.rollouts()
        assert done.state is RolloutState.DONE
        before = approvals.wanted(tx, ["shop"])
    for number in range(MANY):
        seen(sim, store, gate, f"9{number}")
    with store.read() as tx:
        running = tx.rollouts(states=(RolloutState.RUNNING,))
        waiting = tx.rollouts(states=(RolloutState.QUEUED,))
        after = approvals.wanted(tx, ["shop"])
    assert [version(store, one) for one in running] == ["90"], "the first came first and is not through"
    assert [version(store, one) for one in waiting] == [f"9{MANY - 1}"], "of those that wait, the newest"
    assert after == before, "until the next opens a ring, the approvals say what they said"
    with store.write() as tx:
        halted = tx.rollouts(states=(RolloutState.RUNNING,))[0]
        assert intake.promote_queued(tx, gate, "shop", sim.now) is None, "one is running"
        assert tx.save_rollout(replace(halted, state=RolloutState.HALTED, version=halted.version + 1))
        promoted = intake.promote_queued(tx, gate, "shop", sim.now)
    assert promoted is not None
    assert promoted.id == waiting[0].id


def version(store: SqlStore, rollout: Rollout) -> str:
    """Of its release."""
    with store.read() as tx:
        found = tx.release(rollout.release)
    assert found is not None
    return found.version
