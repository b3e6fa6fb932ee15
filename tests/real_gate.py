"""A real gate in this process: real keys, real policy repository, real database, real plugins; no sockets.

Agents reach it through ``requests`` as ever: a transport adapter hands their requests to the WSGI callable.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import requests
from nacl.signing import SigningKey
from requests.adapters import BaseAdapter
from sqlalchemy import create_engine, delete, insert, select
from sqlmodel import SQLModel

from gate.adapters.envelopes import seal
from gate.agent import calls, settings
from gate.agent.boots import Ended, Left, Running
from gate.agent.early import early
from gate.agent.http import Http
from gate.agent.loop import Agent
from gate.agent.state import StateFolder
from gate.bootstrap import Created, Opened, Wishes, init, pages
from gate.config import load
from gate.core.model import Machine, Site
from gate.flows import edits, machines

ADDRESS = "http://127.0.0.1:8400"
Wsgi = Callable[..., Any]


class ShiftedClock:
    """The system's clock, some time ahead: stock TUF clients ask the system themselves."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, **span: float) -> None:
        self.ahead += timedelta(**span)


class WsgiAdapter(BaseAdapter):
    """Hands requests to a WSGI callable; ``before`` may break the line."""

    def __init__(self, app: Wsgi) -> None:
        super().__init__()
        self.app = app
        self.before: Callable[[requests.PreparedRequest], None] = lambda _: None
        self.after: Callable[[requests.PreparedRequest, requests.Response], None] = lambda *_: None
        self.asked: list[tuple[str, str]] = []

    def send(self, request: requests.PreparedRequest, **_: Any) -> requests.Response:  # type: ignore[override]
        self.before(request)
        assert request.url is not None
        path, _, query = request.url.removeprefix(ADDRESS).partition("?")
        self.asked.append((str(request.method), path))
        body = request.body or b""
        assert isinstance(body, bytes)
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8400",
            "HTTP_HOST": "127.0.0.1:8400",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "CONTENT_LENGTH": str(len(body)) if request.method == "POST" else "",
        }
        for name, value in request.headers.items():
            key = name.upper().replace("-", "_")
            environ["CONTENT_TYPE" if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        said: list[Any] = []
        parts = self.app(environ, lambda status, headers, *_: said.extend([status, headers]))
        answer = requests.Response()
        answer.status_code = int(said[0].split()[0])
        answer.headers.update(dict(said[1]))
        answer.raw = io.BytesIO(b"".join(parts))
        answer.url, answer.request = request.url, request
        self.after(request, answer)
        return answer

    def close(self) -> None:
        return


@cache
def _template(example: str) -> tuple[Path, Created]:
    """A gate on SQLite that every other begins as: its making costs more than most tests."""
    folder = Path(tempfile.mkdtemp(prefix="gate-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder, _made(folder, "", example)


def _made(folder: Path, database: str, example: str) -> Created:
    sources = {"shop-content": {"folder": str(folder / "drop")}}
    wishes = Wishes("test-fleet", "", database, "anna", "NW", example, sources=sources)
    return init(folder / "gate", wishes, datetime.now(UTC))


def _copied(folder: Path, database: str, example: str) -> Created:
    template, made = _template(example)
    shutil.copytree(template / "gate", folder / "gate")
    for name in ("gate.toml", "gate.service"):
        file = folder / "gate" / name
        file.write_text(file.read_text(encoding="utf-8").replace(str(template), str(folder)), encoding="utf-8")
    if database:
        _poured(folder / "gate", database)
    return Created(folder / "gate" / "gate.toml", made.link, folder / "gate" / "gate.service")


def _poured(gate: Path, database: str) -> None:
    """The rows of a gate on SQLite go into this migrated, empty database, and its settings name that one."""
    before = load(gate / "gate.toml").database
    lite, other = create_engine(before), create_engine(database)
    with lite.connect() as source, other.begin() as target:
        for table in reversed(SQLModel.metadata.sorted_tables):
            target.execute(delete(table))
        for table in SQLModel.metadata.sorted_tables:
            if rows := [dict(row) for row in source.execute(select(table)).mappings()]:
                target.execute(insert(table), rows)
    lite.dispose()
    other.dispose()
    text = (gate / "gate.toml").read_text(encoding="utf-8")
    said = re.sub(r"(?m)^database = .*$", lambda _: f"database = {json.dumps(database)}", text)
    (gate / "gate.toml").write_text(said, encoding="utf-8")


class RealGate:
    """One gate under a folder, on a database of its own."""

    def __init__(self, folder: Path, database: str, example: str = "walk") -> None:
        self.folder = folder
        self.clock = ShiftedClock()
        self.drop_folder = folder / "drop"
        self.drop_folder.mkdir(parents=True)
        self.made = _copied(folder, database, example)
        self.opened = Opened(load(self.made.settings), self.clock)
        self.worker = self.opened.worker()
        self.app = self.opened.wsgi(pages(self.opened))
        self.line = WsgiAdapter(self.app)
        with self.opened.store.write() as tx:
            for name in ("nord", "sued"):
                tx.save_site(Site(name, f"Apotheke {name}", "NW", "Mo-Su 00:00-24:00", True))

    def close(self) -> None:
        self.opened.commit.close()
        self.opened.close()

    def pass_minutes(self, minutes: int) -> None:
        """Time passes while the worker listens: a jump would be a gap of our own, and no silence."""
        for _ in range(minutes):
            self.clock.forward(minutes=1)
            self.worker.tick()

    def policy_says(self, text: str, because: str = "a change") -> str:
        """Pushed into the branch, agreed to by two people, active; its commit."""
        policies = self.opened.policies
        commit = policies.write(text, policies.head(), "anna", because, self.clock.now())
        self.worker.tick()
        agreed(self.opened, self.clock.now())
        return commit

    def session(self) -> requests.Session:
        session = requests.Session()
        session.mount("http://", self.line)
        return session

    def code(self, site: str = "nord", uses: int = 5) -> str:
        secret = hashlib.sha256(f"{site}{self.clock.now()}".encode()).hexdigest()[:32]
        root = self.opened.publisher.root_sha256
        with self.opened.store.write() as tx:
            return machines.create_code(tx, secret, root, site, uses, timedelta(hours=1), "anna", self.clock.now())

    def accept(self, machine: str, role: str = "till", *labels: str) -> Machine:
        with self.opened.store.write() as tx:
            found, active = tx.machine(machine), tx.active_policy()
            assert found is not None
            assert active is not None
            policy = self.opened.gate.policy(active.commit)
            now = self.clock.now()
            gate, site = self.opened.gate, found.site
            accepted = machines.accept(tx, gate, found, site, role, labels, "anna", now, policy, people=1)
        assert isinstance(accepted, Machine)
        return accepted

    def drop(self, version: str, text: str = '{"aspirin": 499}') -> None:
        drop = self.drop_folder / version
        drop.mkdir()
        (drop / "prices.json").write_text(text)
        listed = {"name": "prices.json", "length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
        (drop / "manifest.json").write_text(json.dumps({"version": version, "files": [listed]}))
        (drop / "READY").touch()

    def bring(self, version: str, text: str = '{"aspirin": 499}') -> None:
        """A release: dropped, seen, its first ring opened, published."""
        self.drop(version, text)
        self.worker.look()
        self.worker.tick()


def agreed(opened: Opened, now: datetime) -> None:
    """Two people sign whatever policy waits for them."""
    with opened.store.write() as tx:
        edits.activate_head(tx, opened.gate, "test", now)
        waiting = [one for one in tx.proposals("open") if one.kind == edits.KIND]
    for one in waiting:
        for who in ("anna", "berta"):
            if who != one.proposed_by:
                with opened.store.write() as tx:
                    edits.sign(tx, opened.gate, one.id, who, now)
        with opened.store.write() as tx:
            assert edits.finish(tx, opened.gate, one.id, now) is not None
    if waiting:
        with opened.store.write() as tx:
            edits.activate_head(tx, opened.gate, "test", now)


class PlayedBoots:
    """A system that says of its boots what a test wants it to."""

    def __init__(self) -> None:
        self.log: tuple[Ended, ...] = ()
        self.left: list[Left] = []
        self.now = Running()
        self.count: int | None = None

    def this(self) -> str:
        return ""

    def ended(self, known: Sequence[Ended]) -> tuple[Ended, ...]:
        return self.log

    def panics(self) -> tuple[Left, ...]:
        return tuple(self.left)

    def running(self) -> Running:
        return self.now

    def boot_count(self) -> int | None:
        return self.count


class RealAgent:
    """An agent on a gate; ``boot_id`` and ``uptime`` are files, so that it can be booted. It stays up as the gate's
    clock goes on."""

    def __init__(self, gate: RealGate, folder: Path, name: str, site: str = "nord", probe: str = "") -> None:
        self.gate, self.home = gate, folder / name
        self.state_folder = StateFolder(self.home / "state")
        self.state_folder.prepare()
        self.target = self.home / "content"
        self.system = PlayedBoots()
        self.boot(1)
        source = {"plugin": "directory", "folder": str(self.target)} | ({"probe": probe} if probe else {})
        more = {"boot_id_path": str(self.home / "boot_id"), "uptime_path": str(self.home / "uptime")}
        text = settings.render({"hostname": name, "role": "till"}, {"shop-content": source}, more)
        (self.state_folder.path / "agent.toml").write_text(text)
        self.settings = settings.load(self.state_folder.path / "agent.toml")
        http = Http(ADDRESS, gate.session())
        self.identity, self.status = calls.enrol(http, self.state_folder, gate.code(site), self.settings.facts)

    def boot(self, number: int, uptime: float = 1000.0) -> None:
        (self.home / "boot_id").write_text(f"boot-{number}\n")
        self._booted = uptime - self.gate.clock.ahead.total_seconds()
        self.stay_up()

    def stay_up(self) -> None:
        """The uptime is as long as the gate's clock says."""
        uptime = self._booted + self.gate.clock.ahead.total_seconds()
        (self.home / "uptime").write_text(f"{uptime} 0\n")

    def early(self) -> str:
        """The unit that runs before a vendor's services."""
        self.stay_up()
        return early(self.state_folder, self.settings, self.gate.clock.now, self.system)

    def agent(self) -> Agent:
        self.stay_up()
        return Agent(
            self.state_folder,
            self.settings,
            clock=self.gate.clock.now,
            session=self.gate.session(),
            system=self.system,
        )

    def once(self) -> Agent:
        agent = self.agent()
        agent.once()
        return agent

    def content(self) -> str | None:
        file = self.target / "current" / "prices.json"
        return file.read_text() if file.exists() else None


class PlayedMachine:
    """A machine that signs what it likes, to be rude with."""

    def __init__(self, gate: RealGate, seed: str = "machine") -> None:
        self.gate = gate
        self.key = SigningKey(hashlib.sha256(seed.encode()).digest())
        self.public_key = bytes(self.key.verify_key).hex()
        self.keyid = hashlib.sha256(bytes(self.key.verify_key)).hexdigest()
        self.machine = f"m-{self.keyid[:32]}"
        self.seq = 0
        self.challenge: str | None = None
        self.http = gate.session()

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
        answer = self.http.post(ADDRESS + path, data=body, headers={"Content-Type": "application/json", **headers})
        return answer.status_code, answer.json()

    def sealed(self, kind: str, payload: Any) -> bytes:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return seal(self.key, f"application/vnd.gate.{kind}+json", raw)

    def enrol(self, **change: Any) -> tuple[int, dict[str, Any]]:
        nonce = self.http.get(ADDRESS + "/v1/enrol/challenge").json()["nonce"]
        payload = {
            "aud": "test-fleet",
            "code": self.gate.code(),
            "nonce": nonce,
            "public_key": self.public_key,
            "facts": {"role": "till", "hostname": "played"},
        }
        return self.post("/v1/enrol", self.sealed("enrol", payload | change))

    def head(self) -> dict[str, Any]:
        self.seq += 1
        return {"aud": "test-fleet", "machine": self.machine, "seq": self.seq, "challenge": self.challenge}

    def checkin_payload(self, **change: Any) -> dict[str, Any]:
        base = {"client_nonce": f"n{self.seq}", "boot_id": "b1", "uptime_s": 100, "timestamp_version": 1}
        return self.head() | base | {"installed": {}, "facts": {}, "events": []} | change

    def checkin(self, **change: Any) -> tuple[int, dict[str, Any]]:
        status, found = self.post("/v1/checkin", self.sealed("checkin", self.checkin_payload(**change)))
        if status == 200:
            found = opened(found)
            self.challenge = str(found["challenge"])
        return status, found

    def claim(self, release: str, **change: Any) -> tuple[int, dict[str, Any]]:
        payload = self.head() | {"source": "shop-content", "release": release, "boot_id": "b1"} | change
        return self.post("/v1/claims", self.sealed("claim", payload))

    def report(self, claim: str, step: str, release: str, **change: Any) -> tuple[int, dict[str, Any]]:
        now = self.gate.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        base = {"claim": claim, "step": step, "boot_id": "b1", "prev_boot_id": None, "booted_at": now}
        base |= {"uptime_s": 100, "release": release, "probes": [], "boots": [], "observed_at": now}
        return self.post("/v1/reports", self.sealed("report", self.head() | base | change))


def opened(envelope: Mapping[str, Any]) -> dict[str, Any]:
    import base64

    found = json.loads(base64.b64decode(envelope["payload"]))
    assert isinstance(found, dict)
    return found
