"""A gate that serves, and machines whose stock client takes content below their own address on its mirror."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gate.agent import calls, settings
from gate.agent.http import Http
from gate.agent.loop import Agent
from gate.agent.state import StateFolder
from gate.bootstrap import SystemClock, Wishes, init, open_gate
from gate.core.model import ClaimState, Machine, Rollout, Site
from gate.flows import machines, mirror, people, recalls
from tests.load import Served, await_answer, free_port, whereabouts
from tests.real_gate import agreed

ROLE = "web,worker"
POLICY = """
version: 1
fleet: clients
timezone: Europe/Berlin
makes: {{by: [role]}}
sources:
  - {{name: {source}, plugin: {plugin}, kind: {kind}, evidence: alive}}
rings:
  - name: first
    why: it tries it
    pick: {{label: first}}
    windows: [always]
    gate: {{soak: 1s, at_least: 1}}
  - name: rest
    why: everybody else
    pick: {{role: [till, workstation, server]}}
    windows: [always]
    gate: {{soak: 1s, at_least: 1}}
first_batch: 3
defaults: {{stay_up: 1s, checkin: 1s, lease: 5m, deadline: 10m}}
"""


def until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


class ServedGate:
    """``gate serve`` with one source, whose folder the test fills; two rings: machines with label first, the rest."""

    def __init__(self, folder: Path, source: str, plugin: str, kind: str, **options: str) -> None:
        self.folder, self.port, self.source, self.plugin = folder, free_port(), source, plugin
        self.upstream = folder / "upstream"
        self.upstream.mkdir()
        sources = {source: {"folder": str(self.upstream), **options}}
        address = f"http://127.0.0.1:{self.port}"
        wishes = Wishes("clients", address, "", "anna", "NW", "walk", port=self.port, source_s=0.2, sources=sources)
        self.made = init(folder / "gate", wishes, datetime.now(UTC))
        self.opened = open_gate(self.made.settings, SystemClock())
        policies = self.opened.policies
        text = POLICY.format(source=source, plugin=plugin, kind=kind)
        policies.write(text, policies.head(), "anna", "stock clients", self.now)
        agreed(self.opened, self.now)
        with self.opened.store.write() as tx:
            for site in ("nord", "sued"):
                tx.save_site(Site(site, site, "NW", "Mo-Su 00:00-24:00", True))
        self.served = Served(self.made.settings, folder, (ROLE,), {ROLE: self.port})
        await_answer(self.port)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def rollout(self, version: str) -> Rollout | None:
        with self.opened.store.read() as tx:
            release = tx.release_by_version(self.source, version)
            return tx.rollout_of(release.id) if release else None

    def halts(self) -> str:
        with self.opened.store.write() as tx:
            rollout = tx.rollouts(limit=1)[0]
            people.halt(tx, rollout.id, "anna", "false alarms", self.now)
        return rollout.id

    def recalls(self) -> None:
        rollout = self.halts()
        for who in ("anna", "berta"):
            with self.opened.store.write() as tx:
                recalls.recall(tx, rollout, who, "false alarms", self.now)

    def code(self, site: str) -> str:
        with self.opened.store.write() as tx:
            root = self.opened.publisher.root_sha256
            return machines.create_code(tx, secrets.token_hex(16), root, site, 5, timedelta(hours=1), "anna", self.now)

    def accept(self, machine: str, labels: Sequence[str]) -> Machine:
        with self.opened.store.write() as tx:
            found, active = tx.machine(machine), tx.active_policy()
            assert found is not None
            assert active is not None
            policy = self.opened.gate.policy(active.commit)
            gate, site = self.opened.gate, found.site
            done = machines.accept(tx, gate, found, site, "till", labels, "anna", self.now, policy, people=1)
        assert isinstance(done, Machine)
        return done

    def end(self) -> None:
        self.served.end()
        self.opened.commit.close()
        self.opened.close()


class StockMachine:
    """A machine with an agent of ours that only looks; ``port``: where its client finds the gate, perhaps nginx."""

    def __init__(self, gate: ServedGate, name: str, site: str, labels: Sequence[str] = (), port: int = 0) -> None:
        self.gate = gate
        self.home = Path(tempfile.mkdtemp(prefix=f"m-{name}-"))  # a socket's path must be short
        state = StateFolder(self.home / "state")
        state.prepare()
        self.state = state
        identity, _ = calls.enrol(Http(f"http://127.0.0.1:{gate.port}"), state, gate.code(site), {"role": "till"})
        self.machine = gate.accept(identity.machine, labels)
        self.secret = secret = secrets.token_urlsafe(24)
        with gate.opened.store.write() as tx:
            made = mirror.admit(tx, gate.opened.gate, gate.source, secret, "anna", gate.now, machine=self.machine.id)
        gate.opened.mirror.admit(gate.source, secret, made.holder)
        self.address = f"http://127.0.0.1:{port or gate.port}/mirror/{gate.source}/{secret}"

    def begins(self, options: Mapping[str, str]) -> None:
        """Its agent, with what the plugin's part asks for."""
        source = {"plugin": self.gate.plugin, "by": "mirror", "mirror": self.address, **options}
        (self.state.path / "agent.toml").write_text(settings.render({"role": "till"}, {self.gate.source: source}, {}))
        self.agent = Agent(self.state, settings.load(self.state.path / "agent.toml"))
        self.agent.once()

    def updates(self) -> str:
        """Its stock client runs, and must be content; the version afterwards."""
        raise NotImplementedError

    def loads(self) -> None:
        """What its software does once the client has brought something."""

    def says(self) -> None:
        """A round of its agent."""
        self.agent.once()

    def claim(self, version: str) -> ClaimState | None:
        rollout = self.gate.rollout(version)
        assert rollout is not None
        with self.gate.opened.store.read() as tx:
            own = tx.claim_of(self.machine.id, rollout.id)
        return own.state if own else None

    def stands(self) -> str:
        """The version that the mirror has for this machine; empty: none."""
        release = self.gate.opened.mirror.stands(self.gate.source, self.machine.id)
        with self.gate.opened.store.read() as tx:
            found = tx.release(f"sha256:{release}") if release else None
        return found.version if found else ""

    def end(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)


def promoted(machine: StockMachine, version: str) -> None:
    """The mirror offers a version, the stock client takes it, and the agent says so until it is healthy."""
    gate = machine.gate
    try:
        until(lambda: machine.stands() == version, f"{version} is not served")
    except AssertionError as problem:
        raise AssertionError(f"{whereabouts(gate.opened)}\n{gate.served.logs()[-2000:]}") from problem
    assert machine.updates() == version
    machine.loads()

    def healthy() -> bool:
        machine.says()
        return machine.claim(version) is ClaimState.HEALTHY

    until(healthy, f"{version} is not healthy: {machine.claim(version)}, {machine.agent.state.said}")
