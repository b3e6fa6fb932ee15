"""Agents as they are shipped, behind a line with every fault in turn: no crash, no growth, nothing wrong installed.

Each fault once in ``make soak``, an hour of them in ``make month`` (``GATE_BAD_LINE_S``: seconds at least).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from gate.core.model import RolloutState
from tests.bad_line import MODES, BadLine
from tests.certificates import certificate
from tests.load import RealAgents, Served, await_answer, drop_release, free_port, prepare
from tests.process_tree import own_mb

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("GATE_BAD_LINE_S", "0"))
FAULTS = MODES[1:]
AGENTS, MODE_S, MOST_S = 2, 3.0, 60.0
POLICY = """version: 1
fleet: soak
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: shop, plugin: directory, kind: content, boot_critical: false, lever: held, evidence: alive}
rings:
  - name: all
    why: two machines
    pick: {role: till}
    windows: [always]
    gate: {soak: 1s, at_least: 1}
first_batch: 3
defaults: {stay_up: 0s, checkin: 2s, lease: 2m, deadline: 30m, background_cap: 100%}
"""


def test_agents_outlive_every_fault_of_their_line_and_install_what_was_approved_once(tmp_path: Path) -> None:
    port = free_port()
    opened = prepare(tmp_path, "", [], port, POLICY)
    right, trusted = certificate(tmp_path / "right", "localhost")
    line = BadLine(port, right, certificate(tmp_path / "wrong", "localhost")[0])
    served = Served(tmp_path / "gate" / "gate.toml", tmp_path)
    await_answer(port)
    agents = RealAgents(
        tmp_path, opened, port, AGENTS, url=f"https://localhost:{line.port}", more=("--ca", str(trusted))
    )
    known, releases, turn, warm = {""}, 0, 0, {}
    began = time.monotonic()
    try:
        for number in range(AGENTS):
            agents.start(number)
        pids = [agents.processes[number].pid for number in range(AGENTS)]
        while time.monotonic() - began < SECONDS or turn < 2 * len(FAULTS):
            drop_release(tmp_path, releases)
            known.add(f"release {releases}")
            releases += 1
            line.mode = FAULTS[turn // 2 % len(FAULTS)] if turn % 2 else "well"
            turn, met, until = turn + 1, line.met[line.mode], time.monotonic() + MOST_S
            least = time.monotonic() + MODE_S
            while time.monotonic() < least or line.met[line.mode] == met:  # who is refused asks again after 30 s
                assert time.monotonic() < until, (line.mode, agents.said()[-4000:])
                assert {agents.content(number) for number in range(AGENTS)} <= known
                time.sleep(0.2)
            assert all(agents.processes[number].poll() is None for number in range(AGENTS)), agents.said()
            warm = warm or {pid: (own_mb(pid), files(pid)) for pid in pids if turn > 2}
        line.mode = "well"
        last = f"release {releases - 1}"
        while any(agents.content(number) != last for number in range(AGENTS)):
            assert time.monotonic() - began < SECONDS + 180, agents.said()[-6000:]
            time.sleep(0.2)
        grown = [(own_mb(pid) - warm[pid][0], files(pid) - warm[pid][1]) for pid in pids]
    finally:
        agents.end()
        served.end()
        line.end()
    said = agents.said()
    assert "Traceback" not in said
    assert "Traceback" not in served.logs()
    assert all(line.met[mode] for mode in MODES), line.met
    assert line.fooled == 0, "nobody talks over a wrong certificate"
    assert all(megabytes < 8 and open_files < 16 for megabytes, open_files in grown), grown
    with opened.store.read() as tx:
        rollouts = tx.rollouts(limit=2000)
        claims = [claim for one in rollouts for claim in tx.claims(one.id)]
        events = [event for one in rollouts for event in tx.events(subject=one.id, limit=2000)]
    assert all(one.state is not RolloutState.HALTED for one in rollouts), "no fault of a line is a failure of a release"
    told = [event for event in events if event.kind == "report_step"]  # said again: report_kept
    installed = Counter(event.detail["claim"] for event in told if event.detail["step"] == "installed")
    assert installed
    assert set(installed.values()) == {1}
    healthy = Counter((one.machine, one.release) for one in claims if one.state.value == "healthy")
    assert set(healthy.values()) == {1}, "nothing is installed twice"
    print(f"{releases} releases in {SECONDS:.0f} s; grown (MB, files) {grown}; {dict(line.met)}")
    opened.close()


def files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
