"""What tests of faults share: one call without a repeat, what a supervisor asks, waiting, memory, a crowd at work."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import Any

from gate.bootstrap import Opened
from tests.load import WANTED, Client, Reader, Served, await_answer, compare, free_port, newest, prepare

Answered = tuple[int, dict[str, Any], Message]


def post(port: int, path: str, body: bytes, timeout: float = 40) -> Answered:
    """(status, JSON, headers) of one call; nothing is repeated."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        line.request("POST", path, body, {"Content-Type": "application/json"})
        answer = line.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        line.close()


def get(port: int, path: str, timeout: float = 20) -> tuple[int, str]:
    """(status, text)."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        line.request("GET", path)
        answer = line.getresponse()
        return answer.status, answer.read().decode()
    finally:
        line.close()


def until(true: Callable[[], Any], why: str, seconds: float = 60) -> Any:
    """The first true answer."""
    end = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        assert time.monotonic() < end, why
        time.sleep(0.1)


class Crowd:
    """Machines at work on a served gate, and a stock TUF client that reads all the while."""

    def __init__(self, folder: Path, url: str, count: int, environment: Mapping[str, str] | None = None) -> None:
        self.folder, self.port, self.stop = folder, free_port(), threading.Event()
        self.clients = [Client(number, self.port, self.stop) for number in range(count)]
        self.probe = Client(49, self.port, self.stop)
        self.opened: Opened = prepare(folder, url, [*self.clients, self.probe], self.port)
        self.reader = Reader(self.opened.settings.data, folder / "cache")
        self.served = Served(folder / "gate" / "gate.toml", folder, environment=environment)
        self.threads = [threading.Thread(target=client.run, daemon=True) for client in self.clients]

    def start(self) -> None:
        await_answer(self.port)
        until(lambda: get(self.port, "/readyz")[0] == 200, "never ready")
        self.reader.start()
        for thread in self.threads:
            thread.start()

    def ask_for_newest(self) -> str:
        WANTED["release"] = newest(self.opened)
        return WANTED["release"]

    def done(self, release: str) -> int:
        """How many machines have it."""
        return sum(client.installed.get("shop") == release for client in self.clients)

    def reports(self) -> int:
        return sum(told.kind == "report" for client in self.clients for told in client.told)

    def all_have_newest(self, before: str = "") -> bool:
        release = self.ask_for_newest()
        return release not in ("", before) and self.done(release) > len(self.clients) - 2

    def checkin(self) -> Answered:
        """One check-in of a machine that does nothing else."""
        return post(self.port, "/v1/checkin", self.probe.sealed_checkin())

    def end(self) -> None:
        """Every call is answered, then nobody calls."""
        self.stop.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "every call is answered in the end"
        self.reader.stop.set()
        self.reader.join(30)


@contextmanager
def crowd(folder: Path, least: int, url: str = "", environment: Mapping[str, str] | None = None) -> Iterator[Crowd]:
    """A crowd at work; afterwards everything that must hold after any fault has been looked at. ``least``: claims."""
    WANTED.clear()
    made = Crowd(folder, url, 12, environment)
    try:
        made.start()
        yield made
        made.end()
    finally:
        made.stop.set()
        made.reader.stop.set()
        made.served.end()
    logs = made.served.logs()
    assert [fault for client in made.clients for fault in client.faults] == [], logs[-4000:]
    assert made.reader.faults == []
    assert made.reader.refreshed > 10
    assert "Traceback" not in logs, logs[logs.find("Traceback") - 500 :][:6000]
    compare(made.opened, made.clients, least)
    made.opened.close()
