"""Probes that the policy names: each kind good and bad, each with its own deadline, none that can hang the agent."""

from __future__ import annotations

import hashlib
import http.server
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.agent.commands import run
from gate.agent.deadline import Deadline
from gate.agent.errors import Misuse
from gate.agent.health import Probe
from gate.agent.probes import Probes, ProbeSetting
from gate.agent.settings import load


def asked(kind: str, limit_s: float = 5.0, **options: str) -> Probe:
    return Probes({"p": ProbeSetting(kind, options, limit_s)}).ask(["p"])[0]


class Shop(http.server.BaseHTTPRequestHandler):
    """Till software's page."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()
        self.wfile.write(b'{"till": "ready"}')

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def shop() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def deaf() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_tcp_and_http_answer_or_are_bad(shop: str) -> None:
    assert asked("tcp", address=shop).ok
    assert asked("tcp", address="127.0.0.1:1").ok is False
    assert asked("tcp", address="nonsense").ok is False
    assert asked("http", url=f"http://{shop}/health").ok
    assert asked("http", url=f"http://{shop}/health", says="ready").ok
    assert asked("http", url=f"http://{shop}/health", says="closed") == Probe("p", False, "does not say 'closed'")
    assert asked("http", url=f"http://{shop}/else") == Probe("p", False, "answered 503")
    assert asked("http", url="file:///etc/passwd").ok is False


def test_a_server_that_never_answers_is_bad_at_its_deadline(deaf: str) -> None:
    assert asked("http", 0.2, url=f"http://{deaf}/").ok is False


def test_a_file_is_what_its_digest_says(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    good = hashlib.sha256(b"x").hexdigest()
    assert asked("file", path=str(tmp_path / "f"), sha256=good.upper()).ok
    assert asked("file", path=str(tmp_path / "f"), sha256="0" * 64).detail == f"has sha256 {good}"
    assert asked("file", path=str(tmp_path / "none"), sha256=good).ok is False


def test_free_disk_is_measured(tmp_path: Path) -> None:
    assert asked("disk", path=str(tmp_path), free_mb="0").ok
    assert asked("disk", path=str(tmp_path), free_mb="999999999").ok is False
    assert asked("disk", path=str(tmp_path / "none"), free_mb="0").ok is False
    assert asked("disk", path=str(tmp_path), free_mb="much").ok is False


def test_a_process_runs_or_not() -> None:
    assert asked("process", name=Path(sys.argv[0] if sys.platform == "win32" else sys.executable).name).ok
    assert asked("process", name="no-such-till").detail == "no process no-such-till"


def test_clamd_says_its_version(tmp_path: Path) -> None:
    path = tmp_path / "clamd.ctl"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            for _ in range(3):
                line, _address = server.accept()
                with line:
                    assert line.recv(100) == b"zVERSION\0"
                    line.sendall(b"ClamAV 1.4.6/27800/Mon Mar  2 08:00:00 2026\0")

        thread = threading.Thread(target=answer)
        thread.start()
        assert asked("clamd", socket=str(path)).ok
        assert asked("clamd", socket=str(path), least="27800").ok
        assert asked("clamd", socket=str(path), least="27801").ok is False
        thread.join()
    assert asked("clamd", socket=str(tmp_path / "none")).ok is False


def test_a_command_is_good_by_its_exit_code_and_bad_with_its_last_line() -> None:
    assert asked("command", command="true").ok
    assert asked("command", command="sh -c 'echo one; echo two; exit 3'") == Probe("p", False, "two")
    assert asked("command", command="/no/such/command").ok is False
    assert asked("command", command="sh -c 'unbalanced").ok is False


def test_a_service_that_is_not_there_is_bad() -> None:
    assert asked("service", unit="no-such-unit.service").ok is False


def test_a_command_that_hangs_is_bad_at_its_deadline_and_all_of_it_is_killed(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    began = time.monotonic()
    done = run(("sh", "-c", f"sleep 600 & echo $! > {mark}; wait"), 0.5)
    assert (done.code, done.said) == (None, "no answer within 0.5 s")
    assert time.monotonic() - began < 30
    state = Path(f"/proc/{mark.read_text().strip()}/stat")
    assert not state.exists() or ") Z " in state.read_text() or not _alive(state)


def _alive(state: Path) -> bool:
    for _ in range(200):
        if not state.exists() or ") Z " in state.read_text():
            return False
        threading.Event().wait(0.01)
    return True


def test_a_child_that_outlives_its_command_does_not_hold_us() -> None:
    began = time.monotonic()
    assert run(("sh", "-c", "sleep 60 & echo out"), 30).said == "out\n"
    assert time.monotonic() - began < 25


def test_a_command_that_says_too_much_is_ended_before_it_fills_the_disk() -> None:
    began = time.monotonic()
    done = run(("yes",), 60)
    assert (done.code, done.said) == (None, "it says too much")
    assert time.monotonic() - began < 30


def test_where_there_is_no_room_for_what_a_command_says_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    done = run(("true",), 5)
    assert done.code is None
    assert "No such file" in done.said


def test_what_hangs_is_bad_keeps_one_thread_and_is_not_asked_again_while_it_hangs() -> None:
    free, asked_times, deadline = threading.Event(), [], Deadline()

    def hang() -> bool:
        asked_times.append(1)
        free.wait(30)
        return True

    assert deadline.ask(hang, 0.05) is None
    assert deadline.ask(hang, 0.05) is None
    assert len(asked_times) == 1
    free.set()
    assert deadline._thread is not None
    deadline._thread.join(30)
    assert deadline.ask(lambda: True, 30) is True


def test_probes_run_beside_each_other_and_one_that_is_not_set_up_has_no_answer() -> None:
    probes = Probes({"one": ProbeSetting("command", {"command": "true"})})
    assert probes.ask(["one", "two"]) == (Probe("one", True, ""), Probe("two", None, "not set up on this machine"))
    assert probes.ask([]) == ()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("kind = 'telepathy'", "kind is one of"),
        ("kind = 'tcp'", "needs address"),
        ("kind = 'tcp'\naddress = 'x:1'\ncolour = 'red'", "knows no colour"),
        ("kind = 'command'\ncommand = 'true'\nlimit_s = 'soon'", "no number of seconds"),
        ("kind = 'command'\ncommand = 'true'\nlimit_s = '0'", "limit_s is between"),
        ("kind = 'command'\ncommand = 'true'\nlimit_s = '301'", "limit_s is between"),
        ("kind = 'command'\ncommand = 'true'\nlimit_s = 'nan'", "limit_s is between"),
    ],
)
def test_a_probe_that_is_set_up_wrong_is_refused_with_a_sentence(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "agent.toml").write_text(f"[probes.till]\n{text}\n")
    with pytest.raises(Misuse, match=word):
        load(tmp_path / "agent.toml")


def test_probes_are_read_from_the_settings(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text("[probes.till]\nkind = 'tcp'\naddress = '127.0.0.1:1'\nlimit_s = '2.5'\n")
    assert load(tmp_path / "agent.toml").probes == {"till": ProbeSetting("tcp", {"address": "127.0.0.1:1"}, 2.5)}
