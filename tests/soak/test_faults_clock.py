"""The clock jumps an hour forward and back: nothing is granted twice, and a client never sees time go back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.core.model import ClaimState
from gate.flows import people
from tests.read_plane import updater
from tests.real_gate import PlayedMachine, RealGate

pytestmark = pytest.mark.soak


def published(gate: RealGate, cache: Path) -> tuple[int, str]:
    """(version, issued_at) of the timestamp, after a stock client has taken it."""
    updater(gate.opened.settings.data, cache).refresh()
    signed = json.loads((gate.opened.settings.public / "metadata" / "timestamp.json").read_text())["signed"]
    return int(signed["version"]), str(signed["issued_at"])


def test_a_clock_that_jumps_an_hour_forward_and_back_loses_and_repeats_nothing(
    real_gate: RealGate, tmp_path: Path
) -> None:
    gate, cache = real_gate, tmp_path / "cache"
    early, late = PlayedMachine(gate, "early"), PlayedMachine(gate, "late")
    for machine in (early, late):
        assert machine.enrol()[0] == 202
        gate.accept(machine.machine, "till", "first")
    gate.bring("1.0")
    seen = [published(gate, cache)]
    with gate.opened.store.read() as tx:
        release = tx.rollouts(limit=1)[0].release
    assert early.checkin()[0] == 200
    status, told = early.claim(release)
    assert status == 201
    assert early.report(told["claim"], "installed", release)[0] == 202

    gate.clock.forward(hours=1)
    gate.worker.tick()
    seen.append(published(gate, cache))
    assert early.checkin()[0] == 200
    status, again = early.claim(release)
    assert (status, again.get("claim", told["claim"])) in {(200, told["claim"]), (409, told["claim"])}
    assert late.checkin()[0] == 200

    gate.clock.forward(hours=-1)
    gate.worker.tick()
    seen.append(published(gate, cache))
    assert early.checkin()[0] == 200
    status, body = early.report(told["claim"], "healthy", release)
    assert status == 202, body
    assert "worker: ticked" in [f"{what}: {text}"[:14] for what, _, text in ready(gate)]
    with gate.opened.store.read() as tx:
        claims = [claim for one in tx.rollouts(limit=10) for claim in tx.claims(one.id)]
    mine = [claim for claim in claims if claim.machine == early.machine]
    assert [claim.id for claim in mine] == [told["claim"]], "nothing was granted twice"
    assert mine[0].state is ClaimState.HEALTHY or mine[0].recovered, "a claim does not stay lapsed for ever"
    with gate.opened.store.write() as tx:
        assert people.halt_all(tx, "anna", "a test", gate.clock.now())
    gate.worker.tick()
    seen.append(published(gate, cache))
    assert seen[0][0] < seen[1][0] < seen[3][0], "published after each jump"
    versions, times = zip(*seen, strict=True)
    assert list(versions) == sorted(versions)
    assert list(times) == sorted(times), "the time of what is published does not go back"


def ready(gate: RealGate) -> list[tuple[str, bool, str]]:
    from gate.bootstrap import ready as asked

    found = asked(gate.opened)
    assert all(good for _, good, _ in found), found
    return found
