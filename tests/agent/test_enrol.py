"""Joining, joining again and joining elsewhere: what works is not given up before something else does."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import requests

from gate.agent import calls
from gate.agent.calls import enrol
from gate.agent.cli import main
from gate.agent.errors import Refused, Untrusted
from gate.agent.http import Http
from gate.core.model import MachineStatus
from gate.flows import machines
from tests.agent.test_agent import joined
from tests.real_gate import ADDRESS, RealAgent, RealGate


def again(gate: RealGate, agent: RealAgent, code: str) -> str:
    found, status = enrol(Http(ADDRESS, gate.session()), agent.state_folder, code, agent.settings.facts)
    agent.identity = found
    return status


def test_a_code_that_is_refused_leaves_the_enrolment_that_is_there(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    folder = agent.state_folder
    other = RealGate(tmp_path / "other", "", "policy")
    try:
        wrong = f"{'0' * 32}.{other.opened.publisher.root_sha256}"
        before = {
            name: (folder.path / name).read_bytes() for name in ("root.json", "key", "identity.json", "state.json")
        }
        with pytest.raises(Refused):
            enrol(Http(ADDRESS, other.session()), folder, wrong, {})
    finally:
        other.close()
    assert before == {name: (folder.path / name).read_bytes() for name in before}
    assert (folder.path / "tuf" / "timestamp.json").exists()
    assert agent.once().state.status == "active"


def test_at_another_gate_nothing_of_the_first_is_said_or_believed(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1")
    agent.once()
    state = agent.state_folder.state()
    assert state.claim is not None
    state.events = [{"kind": "crashed", "at": "2026-03-02T06:00:00Z", "detail": "there"}]
    state.newest_issued_at, state.claim.step = "2099-01-01T00:00:00+00:00", "granted"
    state.reports = [{"claim": state.claim.claim, "step": "installed", "kept_at": ""}]
    agent.state_folder.save(state)
    other = RealGate(tmp_path / "other", "", "policy")
    try:
        agent.gate = other
        assert again(other, agent, other.code()) == "pending"
        now = agent.state_folder.state()
        assert (now.claim, now.events, now.reports, now.challenge, now.response_key) == (None, [], [], None, "")
        assert now.installed == state.installed, "what is on the machine is there still"
        assert now.newest_issued_at == "", "another gate's clock is another"
        last = agent.once().state
        assert (last.status, last.claim) == ("pending", None)
    finally:
        other.close()


def test_a_machine_that_was_revoked_joins_again_with_a_new_key(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    before, key = agent.identity, agent.state_folder.key()
    with sqlite_gate.opened.store.write() as tx:
        machine = tx.machine(before.machine)
        assert machine is not None
        machines.revoke(tx, machine, "anna", "sold", sqlite_gate.clock.now())
    with pytest.raises(Refused):
        again(sqlite_gate, agent, f"{'0' * 32}.{before.root_sha256}")
    assert agent.state_folder.key() == key, "for a code that is none no key is given up"
    assert again(sqlite_gate, agent, sqlite_gate.code()) == "pending"
    assert agent.identity.machine != before.machine
    assert agent.state_folder.key() != key
    sqlite_gate.accept(agent.identity.machine, "till", "first")
    assert agent.once().state.status == MachineStatus.ACTIVE.value


def test_a_page_that_is_json_is_no_gate_to_join(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)

    def page(request: requests.PreparedRequest, answer: requests.Response) -> None:
        if "challenge" in str(request.url):
            answer.status_code, answer.raw = 200, io.BytesIO(b"{}")

    sqlite_gate.line.after = page
    with pytest.raises(Untrusted):
        again(sqlite_gate, agent, sqlite_gate.code())


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_code_is_read_from_a_file_of_whatever_editor(tmp_path: Path, encoding: str) -> None:
    text = f"\r\n {'a' * 32}.{'b' * 64} \r\nsecond line\r\n"
    raw = (b"\xff\xfe" if encoding == "utf-16-le" else b"") + text.encode(encoding)
    assert calls.code_in(raw) == f"{'a' * 32}.{'b' * 64}"
    assert calls.code_in(b"\xff\x00\x80") == "\ufffd\x00\ufffd"
    assert calls.code_in(b"") == ""


def test_settings_that_are_written_anew_are_kept_beside(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "agent.toml").write_text("[probes.till]\nkind = 'process'\nname = 'till'\n")
    with pytest.raises(SystemExit):
        main(["--state", str(state), "enrol", "https://127.0.0.1:1", "no code", "--fact", "role=till"])
    assert "role" in (state / "agent.toml").read_text()
    assert "probes.till" in (state / "agent.toml.before").read_text()
    assert "agent.toml.before" in capsys.readouterr().err
