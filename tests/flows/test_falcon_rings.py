"""Falcon through a whole gate: promoted ring by ring, held, recalled; only the vendor's cloud is played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.flows import people, recalls
from tests.falcon_mock import Falcon, falcon, falcon_source
from tests.flows.test_orders import Host
from tests.real_gate import RealGate

CATEGORY = "rapid_response_al_bl_listing"
UPDATED = "2027-01-01T00:00:00Z"


class Edr:
    """A gate with the source ``edr``, and a host in each of two rings."""

    def __init__(self, folder: Path, vendor: Falcon) -> None:
        self.vendor, self.gate = vendor, RealGate(folder / "gate", "")
        source = falcon_source(vendor, folder)
        self.gate.worker._looking.options["edr"] = dict(source.options)  # type: ignore[index]
        policies = self.gate.opened.policies
        line = f"  - {{name: edr, plugin: falcon, kind: content, evidence: alive, hosts: ['{vendor.server.host}']}}\n"
        text = policies.read(policies.head())
        self.gate.policy_says(text.replace("sources:\n", "sources:\n" + line), "one more")
        self.first = Host(self.gate, "first", "nord", "first")
        self.rest = Host(self.gate, "rest", "sued")
        self.ids = {self.first.machine: f"{0xA1:032x}", self.rest.machine: f"{0xA2:032x}"}
        self.say()

    def say(self) -> None:
        for one in (self.first, self.rest):
            one.says(facts={"falcon_aid": self.ids[one.machine]})

    def offers(self, *versions: str) -> None:
        self.vendor.versions[CATEGORY] = list(versions)
        self.gate.worker.look()
        self.rounds(2)

    def rounds(self, count: int) -> None:
        for _ in range(count):
            self.gate.clock.forward(seconds=6)
            self.gate.worker.tick()
            self.gate.worker.held()
            self.gate.worker.tell()

    def lives(self, times: int = 1) -> None:
        """Hosts take what their policy is pinned to; the vendor is asked, machines check in."""
        for _ in range(times):
            self.vendor.updated = dict.fromkeys(self.ids.values(), UPDATED)
            for file in self.gate.opened.plugins._kept("edr", "state").glob("states.json"):
                file.unlink()  # the vendor's last answer is old
            self.gate.clock.forward(minutes=6)
            self.gate.worker.tick()
            self.gate.worker.observe()
            self.say()
            self.rounds(1)

    def pinned(self, host: Host) -> str:
        """The version that governs a host at the vendor; empty: none of ours."""
        aid = self.ids[host.machine]
        found = [one for one in self.vendor.policies.values() if any(aid in self.vendor.groups[g] for g in one.groups)]
        assert len(found) <= 1
        return found[0].pinned[CATEGORY] if found else ""

    def both(self) -> tuple[str, str]:
        return self.pinned(self.first), self.pinned(self.rest)


@pytest.fixture
def edr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edr]:
    monkeypatch.setenv("GATE_LOOPBACK_SOURCES", "true")
    with falcon({CATEGORY: ["1"]}) as vendor:
        found = Edr(tmp_path, vendor)
        yield found
        found.gate.close()


def test_a_version_goes_ring_by_ring_is_held_and_taken_back(edr: Edr) -> None:
    edr.offers("1")
    assert edr.both() == ("1", "")
    edr.lives(4)
    assert edr.both() == ("1", "1")
    edr.lives(4)
    edr.offers("1", "2")
    assert edr.both() == ("2", "1")
    edr.lives(2)
    with edr.gate.opened.store.read() as tx:
        rollout = tx.rollouts(source="edr", limit=1)[0]
    with edr.gate.opened.store.write() as tx:
        people.halt(tx, rollout.id, "anna", "tills freeze", edr.gate.clock.now())
    edr.rounds(2)
    reached = rollout.reached + 1
    paused = [edr.vendor.policies[f"{n:032x}"].override for n in ((1, 2), (1, 2, 3, 4, 5))[reached - 1]]
    assert set(paused) == {"pause"}
    assert edr.pinned(edr.first) == "2"  # a hold takes nothing back
    for who in ("anna", "berta"):
        with edr.gate.opened.store.write() as tx:
            recalls.recall(tx, rollout.id, who, "tills freeze", edr.gate.clock.now())
    edr.lives(4)
    assert edr.both() == ("1", "1")


def test_somebody_who_pins_another_version_in_the_console_is_found(edr: Edr) -> None:
    edr.offers("1")
    edr.lives(6)
    assert edr.both() == ("1", "1")
    edr.offers("1", "2")
    policy = next(
        one for one in edr.vendor.policies.values() if edr.ids[edr.rest.machine] in edr.vendor.groups[one.groups[0]]
    )
    policy.pinned[CATEGORY] = "2"
    edr.lives()
    with edr.gate.opened.store.read() as tx:
        (found,) = tx.observations("bypassed")
    assert (found.machine, found.version) == (edr.rest.machine, "2")
