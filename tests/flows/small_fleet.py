"""What the tests of flows do with a small fleet: a machine joins, a release appears, machines take it and say so."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from gate.adapters.store.sql import SqlTx
from gate.adapters.store.tx_rollouts import STRATA
from gate.core.model import Artifact, Claim, Machine, MachineStatus, Rollout, Step, Trust
from gate.flows import claims, intake
from gate.ports import Gate
from tests.fake_store import FakeTx

MADE = {"kind": "content", "artifacts": (Artifact("a", 1, "0" * 64),), "trust": Trust.DIGEST_PINNED}


def joins(
    tx: SqlTx, name: str, site: str, ring: str, since: datetime, role: str = "till", labels: Collection[str] = ()
) -> Machine:
    """A machine of that id and name that a person has accepted."""
    one = Machine(name, site, MachineStatus.PENDING, name, {"role": role}, public_key=name)
    tx.add_machine(one, name)
    active = replace(one, status=MachineStatus.ACTIVE, ring=ring, make=f"role={role}", labels=frozenset(labels))
    assert tx.accept_machine(active, since)
    return active


def appears(tx: SqlTx, gate: Gate, now: datetime, version: str = "1", policy: str = "v", critical: bool = True) -> str:
    """A release of source ``one``; its rollout."""
    made = intake.candidate_seen(
        tx, gate, source="one", version=version, boot_critical=critical, now=now, policy_version=policy, **MADE
    )  # type: ignore[arg-type]
    assert isinstance(made, Rollout)
    return made.id


def draws_nobody(tx: SqlTx | FakeTx, rollout: str) -> None:
    """Whoever asks may be first, for what is not about the draw."""
    if isinstance(tx, SqlTx):
        tx._update(STRATA, [STRATA.c.rollout == rollout], first_cut=1.0)
    else:
        tx.a.strata |= {key: replace(one, first_cut=1.0) for key, one in tx.a.strata.items() if key[0] == rollout}


def takes(tx: SqlTx, gate: Gate, rollout_id: str, name: str, now: datetime, boot: str = "b0") -> Claim:
    """A machine takes the release and says that it is installed."""
    rollout, machine = tx.rollout(rollout_id), tx.machine(name)
    assert rollout is not None
    assert machine is not None
    answer = claims.claim(tx, gate, machine, "one", rollout.release, boot, now)
    assert isinstance(answer, tuple), answer
    return says(tx, gate, answer[0], Step.INSTALLED, boot, now)


def says(tx: SqlTx, gate: Gate, claim: Claim, step: Step, boot: str, now: datetime) -> Claim:
    """A good report, two minutes after the boot; the claim afterwards."""
    machine = tx.machine(claim.machine)
    assert machine is not None
    said = claims.Report(claim.id, step, boot, timedelta(minutes=2), claim.release)
    return claims.report(tx, gate, machine, said, now)[0]
