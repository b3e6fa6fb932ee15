"""Bytes that nobody vouches for: they open rings where two people have signed that their source brings such, only."""

from __future__ import annotations

import pytest

from gate.core.model import Artifact, Trust
from gate.flows import intake
from tests.real_gate import PlayedMachine, RealGate

SOURCE = "shop-content"


@pytest.mark.parametrize(("trust", "rings"), [("", []), ("digest_pinned", []), ("unverified", ["first"])])
def test_a_release_of_unknown_origin_opens_a_ring_only_where_the_policy_takes_such(
    real_gate: RealGate, trust: str, rings: list[str]
) -> None:
    gate = real_gate
    machine = PlayedMachine(gate)
    machine.enrol()
    gate.accept(machine.machine, "till", "first")
    before = gate.opened.policies.read(gate.opened.policies.head())
    line = next(line for line in before.splitlines() if SOURCE in line and "plugin" in line)
    if trust:
        gate.policy_says(before.replace(line, line.replace("plugin:", f"trust: {trust}, plugin:")))
    with gate.opened.store.write() as tx:
        active = tx.active_policy()
        assert active is not None
        rollout = intake.candidate_seen(
            tx, gate.opened.gate, source=SOURCE, version="1", kind="content", boot_critical=False,
            artifacts=(Artifact("a.bin", 1, "0" * 64),), trust=Trust.UNVERIFIED, now=gate.clock.now(),
            policy_version=active.commit,
        )  # fmt: skip
    assert rollout is not None
    gate.clock.forward(minutes=1)
    gate.worker.tick()
    with gate.opened.store.read() as tx:
        assert [one.ring for one in tx.rings(rollout.id) if one.opened_at is not None] == rings
