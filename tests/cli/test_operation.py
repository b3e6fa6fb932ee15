"""A gate that runs: what it counts is exact, what it logs has no secret, and it ends after what it has begun."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from gate.adapters.passwords import hash_password
from gate.flows import people
from tests.load import Client, Served, await_answer, free_port, prepare
from tests.real_gate import ADDRESS, PlayedMachine, RealGate

TOKEN = "metrics-token-of-this-test"
PASSWORD = "a password that stands in no log"
BOTH = "web,worker"


class ToPort(HTTPAdapter):
    """Sends what is meant for the gate in this process to one that listens."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def send(self, request: requests.PreparedRequest, **more: Any) -> requests.Response:  # type: ignore[override]
        assert request.url is not None
        request.url = request.url.replace(ADDRESS, f"http://127.0.0.1:{self.port}")
        request.headers["Connection"] = "close"  # a line that was idle for ten seconds is closed, perhaps just now
        return super().send(request, **more)


class Serving:
    """`gate serve` on the gate that a test has made."""

    def __init__(self, settings: Path, folder: Path, *words: str, **environment: str) -> None:
        self.port = free_port()
        self.words = words
        self.served = Served(settings, folder, (BOTH,), {BOTH: self.port}, environment, words)
        await_answer(self.port)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.served.processes[BOTH]

    def call(self, method: str, path: str, **headers: str) -> tuple[int, str]:
        """One call on a connection of its own."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request(method, path, b"{}" if method == "POST" else None, headers)
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        finally:
            line.close()

    def counted(self) -> Counter[tuple[str, str, str]]:
        """(path, status, kind) -> calls, as Prometheus reads them."""
        status, text = self.call("GET", "/metrics", Authorization=f"Bearer {TOKEN}")
        assert status == 200
        found: Counter[tuple[str, str, str]] = Counter()
        for line in text.splitlines():
            if (said := re.match(r"gate_calls_total\{(.*)\} (\S+)", line)) is not None:
                labels = dict(re.findall(r'(\w+)="([^"]*)"', said[1]))
                found[labels["path"], labels["status"], labels["kind"]] += int(float(said[2]))
        return found

    def children(self) -> list[int]:
        """The server's own processes."""
        said = subprocess.run(["ps", "-s", str(self.process.pid), "-o", "pid=,ppid="], capture_output=True, text=True)
        rows = [line.split() for line in said.stdout.splitlines()]
        return [int(pid) for pid, parent in rows if int(parent) == self.process.pid]


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def start(settings: Path, *words: str, **environment: str) -> Serving:
        started.append(Serving(settings, tmp_path, *words, **environment))
        return started[-1]

    yield start
    for one in started:
        one.served.end()


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it did not come"
        time.sleep(0.05)


@pytest.mark.slow
def test_what_is_counted_is_exact_with_several_processes_and_after_one_was_killed(
    sqlite_gate: RealGate, serving: Callable[..., Serving]
) -> None:
    gate = serving(sqlite_gate.made.settings, "--workers", "2", GATE_METRICS_TOKEN=TOKEN)
    done: Counter[tuple[str, str, str]] = Counter()

    def some() -> None:
        for method, path, status, said in (
            ("GET", "/v1/openapi.json", 200, ("/v1/openapi.json", "200", "")),
            ("GET", "/v1/nothing", 404, ("other", "404", "not_found")),
            ("POST", "/v1/claims", 415, ("/v1/claims", "415", "unsupported_media_type")),
            ("GET", "/v1/reports", 405, ("/v1/reports", "405", "method_not_allowed")),
        ):
            assert gate.call(method, path)[0] == status
            done[said] += 1

    def writers() -> set[str]:
        return {path.name for path in sqlite_gate.opened.settings.metrics.glob("counter_*.db")}

    while sum(done.values()) < 40 or len(writers()) < 2:
        some()
    assert gate.counted() == done
    assert gate.call("GET", "/metrics", Authorization="Bearer x")[0] == 404
    victim = next(pid for pid in gate.children() if f"counter_{pid}.db" in writers())
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in gate.children() and len(gate.children()) >= 2)
    until(lambda: gate.call("GET", "/healthz")[0] == 200)
    before = writers()
    while sum(done.values()) < 200:
        some()
    assert gate.counted() == done, "what a killed process has counted stays counted"
    assert f"counter_{victim}.db" in before
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(60) == 0
    again = serving(sqlite_gate.made.settings, GATE_METRICS_TOKEN=TOKEN)
    assert again.counted() == {}, "a new start counts anew, as Prometheus expects it"


def test_no_secret_stands_in_the_log(sqlite_gate: RealGate, serving: Callable[..., Serving], tmp_path: Path) -> None:
    gate, store = sqlite_gate, sqlite_gate.opened.store
    with gate.made.settings.open("a") as file:
        file.write('\n[sources.falcon]\nclient_secret = "s3cret-of-a-source"\n')
    with store.write() as tx:
        people.add_user(tx, "rosa", "Rosa", "admin", "link-of-rosa", "test", gate.clock.now())
        people.choose_password(tx, "link-of-rosa", PASSWORD, hash_password, gate.clock.now())
        people.add_user(tx, "otto", "Otto", "admin", "link-of-otto", "test", gate.clock.now())
    run = serving(gate.made.settings, GATE_METRICS_TOKEN=TOKEN, GATE_LOG="json", GATE_SOURCE_S="0.5")
    gate.line = ToPort(run.port)  # type: ignore[assignment]
    codes: list[str] = []
    honest = gate.code
    gate.code = lambda *said: codes.append(honest(*said)) or codes[-1]  # type: ignore[method-assign, func-returns-value]

    machine = PlayedMachine(gate)
    assert machine.enrol()[0] == 202
    gate.accept(machine.machine, "till", "first")
    assert machine.checkin()[0] == 200
    assert machine.claim("sha256:" + "0" * 64)[0] == 409
    assert machine.post("/v1/claims", machine.sealed("claim", {"code": codes[0]}))[0] == 400
    PlayedMachine(gate, "another").enrol(code="x" + codes[0][1:])

    browser = requests.Session()
    browser.headers["Connection"] = "close"
    own = {"Sec-Fetch-Site": "same-origin"}
    at = f"http://127.0.0.1:{run.port}"
    for password in (PASSWORD + "!", PASSWORD):
        answer = browser.post(
            at + "/login", {"login": "rosa", "password": password}, headers=own, allow_redirects=False
        )
    assert answer.status_code == 303
    cookie = next(one.value for one in answer.cookies)
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', browser.get(at + "/").text)
    assert csrf is not None
    assert browser.get(at + "/link/link-of-otto").status_code == 200
    assert browser.post(at + "/sites", {"csrf": csrf[1], "id": "\0"}, headers=own).status_code >= 400
    assert run.call("GET", "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200

    # and now what nobody expected, in the middle of each of them: the trace must not show what was in hand
    with store.write() as tx:
        tx.connection.exec_driver_sql("UPDATE users SET created_at = 'x'")
        tx.connection.exec_driver_sql("UPDATE machines SET facts = '{'")
    assert browser.post(at + "/login", {"login": "rosa", "password": PASSWORD}, headers=own).status_code == 500
    assert browser.get(at + "/").status_code == 500
    assert machine.checkin()[0] == 503
    shown = requests.post(at + "/link/link-of-otto", {"password": PASSWORD, "again": PASSWORD}, headers=own)
    assert shown.status_code == 500
    (gate.opened.settings.keys / "timestamp.pem").rename(tmp_path / "away.pem")
    run.call("GET", "/readyz")
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(60) == 0

    log = run.served.logs()
    lines = [json.loads(line) for line in log.splitlines() if line]
    assert sum("exception" in line for line in lines) >= 3, "the traces are there"
    assert all({"event", "level", "timestamp", "logger"} <= line.keys() for line in lines)
    pems = [(tmp_path / "away.pem").read_text(), *(one.read_text() for one in gate.opened.settings.keys.glob("*.pem"))]
    secrets = {
        "enrolment code": codes[0],
        "its secret part": codes[0].split("-")[0] if "-" in codes[0] else codes[0][:20],
        "password": PASSWORD,
        "session": cookie,
        "form token": csrf[1],
        "metrics token": TOKEN,
        "link": "link-of-otto",
        "source's secret": "s3cret-of-a-source",
        "machine's key": bytes(machine.key).hex(),
        **{f"key {number}": pem.splitlines()[1] for number, pem in enumerate(pems)},
    }
    assert [name for name, secret in secrets.items() if secret in log] == []


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stop_under_load_finishes_what_it_has_begun(
    store_url: str, tmp_path: Path, serving: Callable[..., Serving], workers: str
) -> None:
    """What was answered is stored, and what is stored was answered: no call is left in the middle."""
    stop = threading.Event()
    clients = [Client(number, 0, stop) for number in range(12)]
    opened = prepare(tmp_path, "" if store_url.startswith("sqlite") else store_url, clients, free_port())
    gate = serving(tmp_path / "gate" / "gate.toml", "--workers", workers)
    answered: Counter[str] = Counter()
    refused: list[str] = []

    def speak(client: Client) -> None:
        client.port = gate.port
        while True:
            body = client.sealed_checkin()
            line = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
            try:
                line.request("POST", "/v1/checkin", body, {"Content-Type": "application/json"})
                status = line.getresponse().status
            except OSError:
                refused.append(client.machine)
                return
            except http.client.HTTPException:
                refused.append(client.machine)
                return
            finally:
                line.close()
            assert status == 200
            answered[client.machine] = client.seq

    threads = [threading.Thread(target=speak, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    until(lambda: sum(answered.values()) > 100)
    gate.process.send_signal(signal.SIGTERM)
    assert gate.process.wait(30) == 0
    for thread in threads:
        thread.join(60)
    assert len(refused) == len(clients)
    with opened.store.read() as tx:
        stored = {client.machine: session.seq for client in clients if (session := tx.session(client.machine))}
    opened.close()
    assert stored == dict(answered)
    log = gate.served.logs()
    assert log.count("the worker has ended") == int(workers), log
    assert "Traceback" not in log
