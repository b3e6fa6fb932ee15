"""Whatever a panic, a probe or a person writes: what is said to the gate is what a gate can read, and no larger."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gate.agent.boots import Cause, Ended
from gate.agent.state import Installed
from gate.agent.talk import FINAL
from gate.agent.texts import LONG, clean
from gate.core.model import ClaimState
from gate.web.wire import MAX_BODY
from tests.agent.played import SOURCE, Machine
from tests.agent.test_agent import joined, states
from tests.agent.test_planned import said_kinds
from tests.real_gate import RealGate

NASTY = "a\0b\ud800c\x1b[31m\nd\u202e\x7fe"


@pytest.mark.parametrize(
    ("text", "most", "said"),
    [
        (NASTY, 500, "a b c [31m d  e"),
        ("Prüfung ✓ 🙂", 500, "Prüfung ✓ 🙂"),
        ("x" * 501, 500, "x" * 500),
        ("ü" * 100, 60, "ü" * 10),
        ("🙂" * 100, 60, "🙂" * 5),
        ('"' * 100, 60, '"' * 30),
        ("ab", 1, "a"),
        ("", 10, ""),
    ],
)
def test_a_text_is_printable_and_cut_as_json_writes_it(text: str, most: int, said: str) -> None:
    assert clean(text, most) == said
    assert len(json.dumps(clean(text, most))) <= most + 2


def test_no_probe_no_panic_and_no_release_keeps_a_report_from_the_gate(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    agent.once()
    diary = agent.agent()._diary
    claim = diary.state.claim
    assert claim is not None
    crash = Ended(NASTY, "2026-03-02T06:00:00Z", "unclean", Cause.CRASH, NASTY)
    diary.state.boots = [{**diary.state.boots[-1], "boot_id": "", "started_at": ""}, *diary.state.boots]
    diary.state.boots.insert(1, {**diary.state.boots[-1], "boot_id": crash.boot_id, "detail": crash.detail})
    claim.tried = []
    probes = [(NASTY, True, NASTY), ("", False, "🙂" * 5000), *[(f"p{n}" * 90, True, "é" * 900) for n in range(200)]]
    diary.report(claim, "unhealthy", probes, "r\udcff" * 90)
    diary.happened("crashed", NASTY * 200)
    diary.save()
    after = agent.once().state
    assert (after.reports, after.events) == ([], [])
    assert states(sqlite_gate) == [ClaimState.UNHEALTHY]
    kinds = said_kinds(sqlite_gate, agent)
    assert "crashed" in kinds
    assert not {"report_refused", "check_in_refused"} & set(kinds)


def test_the_largest_report_and_check_in_are_smaller_than_a_gate_takes(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    diary = machine.diary()
    assert diary.state.claim is not None
    wide = "🙂" * 2000
    diary.report(diary.state.claim, "failed", [(wide, False, wide)] * 200, wide)
    for number in range(40):
        diary.happened(f"kind{number}", f"{number}{wide}")
    assert len(json.dumps(diary.state.reports[-1])) * 4 / 3 < MAX_BODY - 4096
    diary.state.installed = {f"{SOURCE}-{number}": Installed("a" * 64, 1) for number in range(64)}
    installed = {name: f"sha256:{one.release}" for name, one in diary.state.installed.items()}
    said = {"events": diary.state.events[:32], "facts": diary.facts({f"{n}{wide}": wide for n in range(99)})}
    assert len(json.dumps({**said, "installed": installed})) * 4 / 3 < MAX_BODY - 4096
    assert len(said["facts"]) == 32


def test_facts_of_the_settings_are_made_fit_too(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    running = agent.agent()
    facts = dict(agent.settings.facts) | {"pos": NASTY, "pos_version": "x" * 999}
    running._diary.settings = agent.settings.__class__(
        **{name: getattr(agent.settings, name) for name in agent.settings.__slots__} | {"facts": facts}
    )
    running.once()
    with sqlite_gate.opened.store.read() as tx:
        machine = tx.machine(agent.identity.machine)
    assert machine is not None
    assert (machine.facts["pos"], machine.facts["pos_version"]) == (clean(NASTY), "x" * 128)
    assert "check_in_refused" not in said_kinds(sqlite_gate, agent)


@pytest.mark.parametrize("bad", ["events", "facts"])
def test_a_sign_of_life_is_given_without_what_the_gate_cannot_read(
    sqlite_gate: RealGate, tmp_path: Path, bad: str
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    running = agent.agent()
    state = running.state
    if bad == "events":
        state.events = [{"kind": "old", "at": "2026-03-02T06:00:00Z", "detail": "a\0"}]
    else:
        state.events = [{"kind": "new", "at": "2026-03-02T06:00:00Z", "detail": "a"}]
        running._diary.facts = lambda _: {"os": "a\0"}  # type: ignore[method-assign]
    seen = _seen(sqlite_gate, agent.identity.machine)
    sqlite_gate.clock.forward(seconds=5)
    running.once()
    assert _seen(sqlite_gate, agent.identity.machine) > seen
    assert ("new" in said_kinds(sqlite_gate, agent)) is (bad == "facts"), "what can be read is said"
    agent.once()
    assert "check_in_refused" in said_kinds(sqlite_gate, agent), "and that is said too"
    assert agent.state_folder.state().events == []


def test_a_report_that_no_gate_can_read_is_dropped_and_the_next_goes_on(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    agent.once()
    state = agent.state_folder.state()
    assert state.claim is not None
    good = {"claim": state.claim.claim, "step": "failed", "boot_id": "b", "uptime_s": 1, "release": "-", "kept_at": ""}
    large = {**good, "probes": [{"name": "p", "ok": False, "detail": "x" * 2000} for _ in range(60)]}
    state.reports = [{**good, "release": "a\0"}, {**good, "boot_id": ""}, large, good]
    agent.state_folder.save(state)
    assert agent.once().state.reports == []
    assert states(sqlite_gate) == [ClaimState.FAILED]
    agent.once()
    assert said_kinds(sqlite_gate, agent).count("report_refused") == 3
    assert {"bad_json", "bad_envelope", "bad_field", "too_large"} <= set(FINAL)
    assert not {"unauthenticated", "pending", "slow_down", "unavailable", "stale_seq", "stale_challenge"} & set(FINAL)


def _seen(gate: RealGate, name: str) -> object:
    with gate.opened.store.read() as tx:
        machine = tx.machine(name)
    assert machine is not None and machine.last_seen_at is not None
    return machine.last_seen_at


def test_what_a_person_reads_is_made_fit_too(tmp_path: Path) -> None:
    diary = Machine(tmp_path).diary()
    diary.say(NASTY * 100)
    assert diary.state.said == clean(NASTY * 100) and len(diary.state.said) <= LONG
