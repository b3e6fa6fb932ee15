"""What the agent says of software that takes its content from the mirror, and how it makes that go back."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.agent import settings, watched
from gate.agent.errors import Misuse
from gate.hookspecs import Probed, ProbeResult, Target
from gate_clamav import agent
from tests.cvds import signer

OURS = signer()


class Clamd(socketserver.ThreadingUnixStreamServer):
    """Answers as clamd does."""

    daemon_threads = True

    def __init__(self, path: Path, answers: dict[bytes, bytes]) -> None:
        self.answers, self.asked = answers, list[bytes]()
        super().__init__(str(path), Talk)


class Talk(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Clamd)
        asked = self.request.recv(100)
        self.server.asked.append(asked)
        self.request.sendall(self.server.answers.get(asked, b"UNKNOWN COMMAND\0"))


@contextlib.contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def home() -> Iterator[Path]:
    """Short: a socket's path is at most 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="av-"))
    yield made
    shutil.rmtree(made)


class Machine:
    """Databases, a mirror that serves a version, and a command that fetches as freshclam would."""

    def __init__(self, home: Path, served: int, exit_code: int = 0) -> None:
        self.home, self.databases = home, home / "db"
        self.databases.mkdir()
        (home / "served").mkdir()
        (home / "served" / "daily.cvd").write_bytes(OURS.cvd(served))
        command = f"{sys.executable} -c 'import shutil,sys; "
        command += f'shutil.copy("{home}/served/daily.cvd", "{self.databases}/daily.cvd") if {exit_code} == 0 else 0; '
        command += f"sys.exit({exit_code})'"
        self.options = {"socket": str(home / "s"), "freshclam": command}

    def target(self, port: int) -> Target:
        return Target("av", self.databases, {**self.options, "mirror": f"http://127.0.0.1:{port}"})

    def goes_back(self, good: str = "2" * 64) -> tuple[bool, str]:
        served = str(self.home / "served")

        class Quiet(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=served)  # type: ignore[arg-type]

            def log_message(self, *_: object) -> None:
                return

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
        with running(server):
            placed = agent.gate_agent_rollback(self.target(server.server_address[1]), "3" * 64, good)
        return placed.ok, placed.detail

    def has(self, name: str = "daily.cvd") -> bytes:
        path = self.databases / name
        return path.read_bytes() if path.exists() else b""


def test_clamd_says_what_it_has_loaded(home: Path) -> None:
    answers = {b"zPING\0": b"PONG\0", b"zVERSION\0": b"ClamAV 1.4.6/27800/Mon Mar  2 09:00:00 2026\0"}
    server = Clamd(home / "s", answers)
    with running(server):
        probed = agent.gate_agent_probe(Target("av", home, {"socket": str(home / "s")}))
    assert (probed.version, probed.release) == ("27800", "")
    assert [(one.name, one.ok) for one in probed.probes] == [("clamd", True)]


@pytest.mark.parametrize("answer", [b"", b"PONGPONG\0", b"\xff\0"])
def test_a_clamd_that_answers_otherwise_is_bad(home: Path, answer: bytes) -> None:
    with running(Clamd(home / "s", {b"zPING\0": answer})):
        probed = agent.gate_agent_probe(Target("av", home, {"socket": str(home / "s")}))
    assert not probed.probes[0].ok
    assert probed.version == ""


def test_no_clamd_is_a_bad_probe(home: Path) -> None:
    probed = agent.gate_agent_probe(Target("av", home, {"socket": str(home / "none")}))
    assert "clamd does not answer" in probed.probes[0].detail


def test_a_recalled_database_is_set_aside_and_fetched_anew(home: Path) -> None:
    machine = Machine(home, served=2)
    (machine.databases / "daily.cld").write_bytes(OURS.cvd(3))
    server = Clamd(home / "s", {})
    with running(server):
        assert machine.goes_back() == (True, "")
    assert server.asked == [b"zRELOAD\0"]
    assert sorted(path.name for path in machine.databases.iterdir()) == ["daily.cvd"]
    assert machine.has() == (home / "served" / "daily.cvd").read_bytes()


def test_while_the_mirror_serves_the_recalled_one_nothing_is_touched(home: Path) -> None:
    machine = Machine(home, served=3)
    (machine.databases / "daily.cvd").write_bytes(OURS.cvd(3, content=b"mine"))
    before = machine.has()
    assert machine.goes_back() == (False, "the mirror still serves 3")
    assert machine.has() == before


def test_where_freshclam_fails_the_old_database_is_put_back(home: Path) -> None:
    machine = Machine(home, served=2, exit_code=7)
    (machine.databases / "daily.cvd").write_bytes(OURS.cvd(3))
    before = machine.has()
    done, said = machine.goes_back()
    assert (done, "ended with 7" in said) == (False, True)
    assert machine.has() == before
    assert [path.name for path in machine.databases.iterdir()] == ["daily.cvd"]


def test_without_a_release_before_nothing_is_taken_away(home: Path) -> None:
    machine = Machine(home, served=2)
    (machine.databases / "daily.cvd").write_bytes(OURS.cvd(3))
    assert not machine.goes_back(good="")[0]
    assert machine.has()


def test_a_check_in_says_good_or_what_is_wrong_in_short() -> None:
    good = Probed("", (ProbeResult("clamd", True, "ClamAV 1.4.6/3/x"),), "3")
    bad = Probed("", (ProbeResult("clamd", False, "no\nanswer" + "!" * 300),))
    assert watched.facts("av", good) == {"probe.av": "good", "runs.av": "ClamAV 1.4.6/3/x"}
    assert watched.facts("av", bad)["probe.av"] == ("clamd: no answer" + "!" * 300)[:128]
    assert "runs.av" not in watched.facts("av", bad)


@pytest.mark.parametrize(("by", "watched_ones"), [("mirror", {"av"}), ("agent", set())])
def test_the_agents_settings_say_who_fetches(tmp_path: Path, by: str, watched_ones: set[str]) -> None:
    path = tmp_path / "agent.toml"
    path.write_text(settings.render({}, {"av": {"plugin": "clamav", "folder": "/db", "by": by}}, {}))
    found = settings.load(path)
    assert (found.watched, found.targets["av"].options) == (watched_ones, {})
    path.write_text(path.read_text().replace(f'by = "{by}"', 'by = "mail"'))
    with pytest.raises(Misuse, match="agent or mirror"):
        settings.load(path)
