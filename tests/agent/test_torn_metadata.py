"""A metadata cache that a power cut or a disk has torn: fetched anew, and nothing is trusted less for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gate.agent import calls
from gate.agent.http import Http
from gate.core.model import ClaimState
from tests.agent.test_agent import joined, states
from tests.real_gate import ADDRESS, RealGate

TORN = [b"", b'{"signed": {"_type": "tim', b"\0" * 500, b"[]", b'{"signatures": [], "signed": {"_type": "x"}}']


def said(gate: RealGate, machine: str) -> list[str]:
    with gate.opened.store.read() as tx:
        events = tx.events(subject=machine)
    return [one.detail["detail"] for one in events if one.kind == "machine_said" and one.detail["kind"] == "metadata"]


@pytest.mark.parametrize("content", TORN, ids=["empty", "half", "zeros", "a list", "no type"])
def test_whatever_is_torn_is_fetched_anew(sqlite_gate: RealGate, tmp_path: Path, content: bytes) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    cache = agent.state_folder.path / "tuf"
    files = [file for file in sorted(cache.rglob("*.json")) if not file.is_symlink() and "content" not in file.parts]
    assert {"timestamp.json", "snapshot.json", "targets.json", "gate.json", "1.root.json"} <= {
        one.name for one in files
    }
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(content)
        agent.once()
        agent.once()
        assert file.read_bytes() == whole, file.name
        assert agent.state_folder.state().etag, file.name
    for file in files:
        file.write_bytes(content)
    sqlite_gate.bring("1")
    agent.once()
    agent.once()
    assert states(sqlite_gate) == [ClaimState.INSTALLED]
    assert said(sqlite_gate, agent.identity.machine) == []


def test_without_its_cache_an_agent_takes_no_older_timestamp(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    public, kept = sqlite_gate.opened.settings.public / "metadata", tmp_path / "kept"
    shutil.copytree(public, kept)
    sqlite_gate.clock.forward(seconds=30)
    sqlite_gate.bring("1", "{}")
    agent.once()
    newest = agent.state_folder.state().newest_issued_at
    shutil.rmtree(agent.state_folder.path / "tuf")
    shutil.rmtree(public)
    shutil.copytree(kept, public)
    after = agent.once().state
    assert after.newest_issued_at == newest
    assert any("older than one that was seen before" in one["detail"] for one in after.events) or any(
        "older than one that was seen before" in one for one in said(sqlite_gate, agent.identity.machine)
    )


def test_a_root_that_was_known_once_must_be_there_again(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    roots = agent.state_folder.path / "tuf" / "root_history"
    (roots / "2.root.json").write_bytes(b"{")
    sqlite_gate.line.asked.clear()
    agent.once()
    assert ("GET", "/metadata/2.root.json") in sqlite_gate.line.asked, "no ETag spares it"
    sqlite_gate.bring("1")
    agent.once()
    assert agent.content() is None
    assert "root 2 was known once and cannot be had any more" in said(sqlite_gate, agent.identity.machine)
    (roots / "2.root.torn").unlink()
    agent.once()
    assert agent.content() is not None


def test_a_machine_that_joins_another_gate_begins_with_an_empty_cache(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    cache = agent.state_folder.path / "tuf"
    http = Http(ADDRESS, sqlite_gate.session())
    calls.enrol(http, agent.state_folder, sqlite_gate.code("sued"), {})
    assert (cache / "timestamp.json").exists(), "the same gate"
    (agent.state_folder.path / "root.json").write_bytes(b"another gate's")
    sqlite_gate.clock.forward(seconds=1)
    calls.enrol(http, agent.state_folder, sqlite_gate.code("sued"), {})
    assert not cache.exists()
