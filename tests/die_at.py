"""A real gate in a process of its own that ends itself with SIGKILL at its n-th write.

- What is counted, all of it in the outside world: a file made, the middle and the end of each write to it, ``fsync``,
  rename, link, unlink, ``mkdir``; each SQL statement that is no plain SELECT; before and after the COMMIT of what was
  written; a child that is started; an answer that is handed out. A kill between two of these is a kill at the next.
- ``python -m tests.die_at`` reads one JSON line a run, ``{"n": 3, "act": "intake", "settings": ".../gate.toml"}``, and
  answers with one: ``{"code": -9, "at": "rename timestamp.json"}``.
- Each run is a fork of the process that has everything imported, so that a hundred of them take seconds.
"""

from __future__ import annotations

import base64
import builtins
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event
from sqlalchemy.pool import Pool

from gate.bootstrap import Opened, open_gate
from gate.flows import edits

ANSWERS = "answers.jsonl"
CALLS = "calls.json"
POLICY = "policy.new"


class Steps:
    """Counts; ends this process at the n-th."""

    def __init__(self, n: int, tell: int) -> None:
        self.n, self.tell, self.count = n, tell, 0
        self._lock = threading.Lock()

    def __call__(self, what: str) -> None:
        with self._lock:
            self.count += 1
            if self.count == self.n:
                os.write(self.tell, what.encode())
                os.kill(os.getpid(), signal.SIGKILL)


class HalfWritten:
    """A file that is open for writing; what is written is first there by half."""

    def __init__(self, file: Any, step: Steps, name: str) -> None:
        self._file, self._step, self._name = file, step, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> HalfWritten:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def write(self, content: Any) -> int:
        half = len(content) // 2
        self._file.write(content[:half])
        self._file.flush()
        self._step(f"half of {self._name}")
        self._file.write(content[half:])
        self._file.flush()
        self._step(f"all of {self._name}")
        return len(content)


def watch(step: Steps) -> None:
    """Counts the writes of this process from now on."""
    _watch_files(step)
    _watch_database(step)


def _watch_files(step: Steps) -> None:
    def counted(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def after(*args: Any, **kwargs: Any) -> Any:
            if name != "mkdir" or not os.path.exists(args[0]):
                step(f"{name} {_named(args)}")
            return act(*args, **kwargs)

        return after

    for name in ("fsync", "fdatasync", "replace", "rename", "link", "unlink", "remove", "mkdir", "symlink"):
        setattr(os, name, counted(name, getattr(os, name)))

    plain_open, open_file = os.open, io.open

    def opened(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        handle = plain_open(path, flags, *args, **kwargs)
        if flags & os.O_CREAT:
            step(f"made {_named((path,))}")
        return handle

    def opened_file(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        found = open_file(file, mode, *args, **kwargs)
        if not set(mode) & set("wax+") or str(file).startswith("/proc/"):
            return found
        if not isinstance(file, int):
            step(f"opened {_named((file,))}")
        return HalfWritten(found, step, _named((file,)))

    os.open, io.open, builtins.open = opened, opened_file, opened_file  # type: ignore[assignment]

    start = subprocess.Popen.__init__

    def started(self: Any, *args: Any, **kwargs: Any) -> None:
        step("a child is started")
        start(self, *args, **kwargs)

    subprocess.Popen.__init__ = started  # type: ignore[method-assign]


def _named(args: tuple[Any, ...]) -> str:
    """The name of the last path; keys, digests and numbers in it are all alike."""
    name = os.path.basename(os.fspath(args[-1])) if isinstance(args[-1], str | bytes | os.PathLike) else "a handle"
    return re.sub(r"[0-9a-f]{16,}|\d+", "N", name.decode() if isinstance(name, bytes) else name)


def _watch_database(step: Steps) -> None:
    of = threading.local()

    def said(statement: Any) -> None:
        text = statement if isinstance(statement, str) else str(statement)
        if text.lstrip().upper().startswith(("SELECT", "BEGIN", "PRAGMA", "--")):
            return
        if text != "COMMIT":
            of.writes = True
        elif not getattr(of, "writes", False):
            return
        step(" ".join(text.split()[:3]))

    @event.listens_for(Pool, "connect")
    def connected(connection: Any, _record: Any) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(said)

    @event.listens_for(Pool, "checkin")
    def given_back(_connection: Any, _record: Any) -> None:
        if getattr(of, "writes", False):
            step("after a transaction")
        of.writes = False

    execute, many, commit = psycopg.Cursor.execute, psycopg.Cursor.executemany, psycopg.Connection.commit

    def run(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        said(query)
        return execute(self, query, *args, **kwargs)

    def run_many(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        said(query)
        return many(self, query, *args, **kwargs)

    def end(self: Any) -> None:
        said("COMMIT")
        commit(self)

    psycopg.Cursor.execute, psycopg.Cursor.executemany = run, run_many  # type: ignore[method-assign,assignment]
    psycopg.Connection.commit = end  # type: ignore[method-assign]


def intake(opened: Opened, _step: Steps) -> None:
    """The worker looks at its sources."""
    opened.worker().look()


def publication(opened: Opened, _step: Steps) -> None:
    """A whole tick: a ring opens, and its approval is published."""
    opened.worker().tick()


def activation(opened: Opened, _step: Steps) -> None:
    """Somebody pushes a policy that loosens, two people agree to it, and the worker makes it rule."""
    commit_policy(opened)
    people_agree(opened)
    opened.worker().tick()


def commit_policy(opened: Opened) -> None:
    """The new text on the head, unless it is there already."""
    text = (opened.settings.data.parent / POLICY).read_text()
    head = opened.policies.head()
    if opened.policies.read(head) != text:
        opened.policies.write(text, head, "anna", "another policy", datetime.now(UTC))


def people_agree(opened: Opened) -> None:
    """Two people sign what waits, who has not signed it yet."""
    now = datetime.now(UTC)
    with opened.store.write() as tx:
        edits.activate_head(tx, opened.gate, "test", now)
        waiting = [one for one in tx.proposals("open") if one.kind == edits.KIND]
    for one in waiting:
        for who in {"anna", "berta"} - set(one.signatures):
            with opened.store.write() as tx:
                edits.sign(tx, opened.gate, one.id, who, now)


def batch(opened: Opened, step: Steps) -> None:
    """Calls of several machines in one shared commit; whoever gets an answer notes it before anything else."""
    folder = opened.settings.data.parent
    calls = json.loads((folder / CALLS).read_text())
    app = opened.wsgi(lambda *_: [])
    note = os.open(folder / ANSWERS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    all_wait = threading.Event()

    def speak(number: int) -> None:
        path, body = calls[number]
        os.write(note, json.dumps([number, *post(app, path, base64.b64decode(body))]).encode() + b"\n")
        step(f"answer {number}")

    def hold() -> str:
        all_wait.wait(30)
        return ""

    holder = threading.Thread(target=lambda: opened.commit.submit(lambda _: None, hold))
    holder.start()
    waiting = opened.commit._waiting
    while not waiting.empty() or opened.commit._thread is None:
        time.sleep(0.0005)
    speakers = []
    for number in range(len(calls)):
        speakers.append(threading.Thread(target=speak, args=(number,)))
        speakers[-1].start()
        while waiting.qsize() <= number:
            time.sleep(0.0005)
    all_wait.set()
    for speaker in [holder, *speakers]:
        speaker.join()


def post(app: Any, path: str, body: bytes) -> tuple[int, str]:
    """One call, without a socket: status and body."""
    said: list[str] = []
    environ = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    }
    parts = app(environ, lambda status, *_: said.append(status))
    return int(said[0].split()[0]), b"".join(parts).decode()


ACTS: dict[str, Callable[[Opened, Steps], None]] = {
    "intake": intake,
    "publication": publication,
    "activation": activation,
    "batch": batch,
}


def run(n: int, act: str, settings: Path) -> dict[str, Any]:
    """One run in a child; how it ended, where it was killed."""
    hear, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.close(hear)
            _act(n, act, settings, tell)
        os._exit(70)
    os.close(tell)
    with os.fdopen(hear, "rb") as told:
        said = told.read().decode()
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "at": said}


def _act(n: int, act: str, settings: Path, tell: int) -> None:
    try:
        step = Steps(n, tell)
        opened = open_gate(settings)
        watch(step)
        ACTS[act](opened, step)
        os.write(tell, str(step.count).encode())
    except BaseException:  # noqa: BLE001  (whatever it is, the launcher is told)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def main() -> None:
    """Answers until its input ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        found = run(asked["n"], asked["act"], Path(asked["settings"]))
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
