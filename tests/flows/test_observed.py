# ruff: noqa: F401, F811  (fixtures of another file)
"""What machines really run: kept as it changes, alarmed where somebody went past the gate, said where nobody knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.bootstrap import _figures
from gate.core.bypass import Standing
from gate.core.errors import Overtaken
from gate.core.model import RolloutState
from gate.core.policy import SourceRule
from gate.flows import observed
from gate.flows.observed import Heard
from gate.hookspecs import Observed
from gate.ports import Observation
from tests.flows.test_orders import Host, brings, vendor
from tests.real_gate import RealGate
from tests.vendor_plugin import Vendor

OURS = "shop-content"


def standing(gate: RealGate, machine: str, source: str = OURS) -> tuple[str, str]:
    with gate.opened.store.read() as tx:
        seen = tx.observation(source, machine)
    return (seen.version, seen.standing) if seen else ("", "")


def events(gate: RealGate, machine: str) -> list[tuple[str, Any]]:
    with gate.opened.store.read() as tx:
        found = reversed(tx.events(subject=machine))
        return [(one.kind, one.detail) for one in found if one.kind.startswith("bypass")]


def release(gate: RealGate, version: str) -> str:
    with gate.opened.store.read() as tx:
        found = tx.release_by_version(OURS, version)
    assert found is not None
    return found.id


def has(gate: RealGate, host: Host, version: str) -> None:
    """Its agent says that it has this; the worker looks."""
    host.says(installed={OURS: release(gate, version)} if version else {})
    gate.worker.observe()


@pytest.fixture
def shop(real_gate: RealGate) -> tuple[RealGate, Host]:
    """A machine of the last ring; release 2 stands in the first, 1 was everywhere."""
    Host(real_gate, "first", "nord", "first")
    host = Host(real_gate, "rest", "sued")
    real_gate.bring("1", "{}")
    with real_gate.opened.store.write() as tx:
        (found,) = tx.rollouts(source=OURS)
        for ring in tx.rings(found.id):
            tx.open_ring(replace(ring, opened_at=real_gate.clock.now()), [], first_batch=1)
        assert tx.save_rollout(replace(found, state=RolloutState.DONE, reached=1, version=found.version + 1))
    real_gate.bring("2", "[]")
    return real_gate, host


def test_a_machine_that_runs_what_was_never_granted_to_it_is_an_event_once_and_over_when_it_goes_back(
    shop: tuple[RealGate, Host],
) -> None:
    gate, host = shop
    has(gate, host, "1")
    assert standing(gate, host.machine) == ("1", "granted")
    for _ in range(3):
        has(gate, host, "2")
        gate.clock.forward(seconds=10)
    assert standing(gate, host.machine) == ("2", "bypassed")
    told = {"source": OURS, "version": "2", "ring": "rest", "detail": "", "should": "1"}
    assert events(gate, host.machine) == [("bypassed", told)]
    assert _figures(gate.opened)["machines_bypassed"] == 1
    has(gate, host, "1")
    assert events(gate, host.machine)[1:] == [("bypass_over", {"source": OURS, "before": "2", "version": "1"})]
    assert _figures(gate.opened)["machines_bypassed"] == 0


def test_a_bypass_is_over_when_its_ring_opens(shop: tuple[RealGate, Host]) -> None:
    gate, host = shop
    has(gate, host, "2")
    with gate.opened.store.write() as tx:
        found = tx.rollout_of(release(gate, "2"))
        assert found is not None
        ring = next(one for one in tx.rings(found.id) if one.ring == "rest")
        tx.open_ring(replace(ring, opened_at=gate.clock.now()), [], first_batch=1)
    gate.clock.forward(seconds=10)
    has(gate, host, "2")
    assert standing(gate, host.machine) == ("2", "granted")
    assert [kind for kind, _ in events(gate, host.machine)] == ["bypassed", "bypass_over"]


def test_what_the_gate_never_took_is_listed_and_no_alarm(shop: tuple[RealGate, Host]) -> None:
    gate, host = shop
    host.says(installed={OURS: "sha256:" + "7" * 64})
    gate.worker.observe()
    assert standing(gate, host.machine)[1] == "unknown"
    assert events(gate, host.machine) == []
    with gate.opened.store.read() as tx:
        assert [one.machine for one in observed.unknown(tx, OURS)] == [host.machine]
    has(gate, host, "")
    assert standing(gate, host.machine) == ("", "silent")


def test_what_nobody_knew_is_judged_again_once_the_gate_has_taken_it(
    shop: tuple[RealGate, Host], tmp_path: Path
) -> None:
    """The machine goes on saying the same."""
    gate, host = shop
    another = RealGate(tmp_path / "another", "")
    for number in "123":
        another.bring(number, f"[{number}]")
    third = release(another, "3")
    another.close()
    host.says(installed={OURS: third})
    gate.worker.observe()
    assert standing(gate, host.machine)[1] == "unknown"
    gate.bring("3", "[3]")
    assert release(gate, "3") == third
    host.says(installed={OURS: third})
    gate.worker.observe()
    assert standing(gate, host.machine) == ("3", "bypassed")
    assert [kind for kind, _ in events(gate, host.machine)] == ["bypassed"]


def test_a_restarted_worker_finds_the_same_and_writes_nothing(shop: tuple[RealGate, Host]) -> None:
    gate, host = shop
    has(gate, host, "2")
    with gate.opened.store.read() as tx:
        before = tx.audit_size(), tx.observation(OURS, host.machine)
    again = gate.opened.worker()
    again.observe()
    with gate.opened.store.read() as tx:
        assert (tx.audit_size(), tx.observation(OURS, host.machine)) == before


def test_a_judgement_that_another_worker_has_overtaken_is_not_kept(shop: tuple[RealGate, Host]) -> None:
    gate, host = shop
    now = gate.clock.now()
    before = Observation(OURS, host.machine, "", "7", Standing.UNKNOWN.value, now)
    with gate.opened.store.write() as tx:
        assert tx.save_observation(before, None)
        assert not tx.save_observation(before, None)
        assert tx.save_observation(Observation(OURS, host.machine, "", "8", "unknown", now), before)
        assert not tx.save_observation(Observation(OURS, host.machine, "", "9", "unknown", now), before)


# what software and vendors say


def test_the_vendors_own_word_is_taken_for_every_machine_and_each_few_minutes(vendor: Vendor) -> None:
    gate, host = vendor.gate, Host(vendor.gate, "rest", "sued")
    brings(vendor, "1")
    brings(vendor, "2")
    vendor.says(runs={host.machine: "2"})
    gate.worker.observe()
    assert standing(gate, host.machine, "vendor") == ("2", "bypassed")
    vendor.says(runs={host.machine: "0.9"})
    gate.worker.observe()
    assert standing(gate, host.machine, "vendor") == ("2", "bypassed")  # not asked again so soon
    gate.clock.forward(minutes=6)
    gate.worker.observe()
    assert standing(gate, host.machine, "vendor") == ("0.9", "unknown")


@pytest.mark.parametrize(
    ("seen", "report", "wanted"),
    [(Observed("2"), "x", "2"), (Observed(""), "x", "1"), (None, "", "1")],
)
def test_the_softwares_own_word_counts_before_the_agents(
    shop: tuple[RealGate, Host], seen: Observed | None, report: str, wanted: str
) -> None:
    gate, host = shop
    with gate.opened.store.write() as tx:
        machine = tx.machine(host.machine)
        assert machine is not None
        kept = observed.keep(
            tx, SourceRule(OURS, "directory"), Heard(machine, release(gate, "1"), report), seen, gate.clock.now()
        )
    assert kept is not None
    assert kept.version == wanted
