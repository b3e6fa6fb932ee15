"""A gate that serves, and machines with stock ClamAV on them: freshclam, clamd, clamscan, and an agent of ours."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from gate.agent import calls, settings
from gate.agent.http import Http
from gate.agent.loop import Agent
from gate.agent.state import StateFolder
from gate.bootstrap import SystemClock, Wishes, init, open_gate
from gate.core.model import ClaimState, Machine, Rollout, Site
from gate.flows import machines, mirror, people, recalls
from tests.conftest import missing
from tests.load import Served, await_answer, free_port
from tests.real_gate import agreed

SOURCE = "clamav-daily"
FOUND = Path("/usr/share/clamav-testfiles/clam.exe")
ROLE = "web,worker"
POLICY = """
version: 1
fleet: clients
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: clamav-daily, plugin: clamav, evidence: alive}
rings:
  - name: first
    why: it tries it
    pick: {label: first}
    windows: [always]
    gate: {soak: 1s, at_least: 1}
  - name: rest
    why: everybody else
    pick: {role: [till, workstation, server]}
    windows: [always]
    gate: {soak: 1s, at_least: 1}
first_batch: 3
defaults: {stay_up: 1s, checkin: 1s, lease: 5m, deadline: 10m}
"""


def needed() -> None:
    """Skips, or fails, where a stock client is missing."""
    for program in ("freshclam", "clamscan", "clamd"):
        if where(program) is None:
            missing(f"{program} is not installed")
    if not FOUND.exists():
        missing("clamav-testfiles is not installed")


def where(program: str) -> str | None:
    return shutil.which(program) or shutil.which(program, path="/usr/sbin")


def until(true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, what
        time.sleep(0.05)


class ServedGate:
    """``gate serve`` whose source is a folder that the test fills."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.upstream = folder / "upstream"
        self.upstream.mkdir()
        sources = {SOURCE: {"folder": str(self.upstream)}}
        address = f"http://127.0.0.1:{self.port}"
        wishes = Wishes("clients", address, "", "anna", "NW", "walk", port=self.port, source_s=0.2, sources=sources)
        self.made = init(folder / "gate", wishes, datetime.now(UTC))
        self.opened = open_gate(self.made.settings, SystemClock())
        policies = self.opened.policies
        policies.write(POLICY, policies.head(), "anna", "stock clients", self.now)
        agreed(self.opened, self.now)
        with self.opened.store.write() as tx:
            for site in ("nord", "sued"):
                tx.save_site(Site(site, site, "NW", "Mo-Su 00:00-24:00", True))
        self.served = Served(self.made.settings, folder, (ROLE,), {ROLE: self.port})
        await_answer(self.port)

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def brings(self, content: bytes) -> None:
        """The vendor has a new daily."""
        new = self.upstream / ".new"
        new.write_bytes(content)
        new.rename(self.upstream / "daily.cvd")

    def rollout(self, version: str) -> Rollout | None:
        with self.opened.store.read() as tx:
            release = tx.release_by_version(SOURCE, version)
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
            done = machines.accept(tx, found, found.site, "till", labels, "anna", self.now, policy, people=1)
        assert isinstance(done, Machine)
        return done

    def end(self) -> None:
        self.served.end()
        self.opened.commit.close()
        self.opened.close()


class ClamMachine:
    """A machine with stock ClamAV; ``address``: where its client finds the gate, perhaps through nginx."""

    def __init__(
        self, gate: ServedGate, name: str, site: str, labels: Sequence[str] = (), port: int = 0, client: str = "mirror"
    ) -> None:
        self.gate = gate
        self.home = Path(tempfile.mkdtemp(prefix=f"av-{name}-"))  # a socket's path must be short
        self.databases = self.home / "db"
        self.databases.mkdir()
        self.clamd: subprocess.Popen[bytes] | None = None
        state = StateFolder(self.home / "state")
        state.prepare()
        self.state = state
        identity, _ = calls.enrol(Http(f"http://127.0.0.1:{gate.port}"), state, gate.code(site), {"role": "till"})
        self.machine = gate.accept(identity.machine, labels)
        self.secret = secret = secrets.token_urlsafe(24)
        with gate.opened.store.write() as tx:
            made = mirror.admit(tx, gate.opened.gate, SOURCE, secret, "anna", gate.now, machine=self.machine.id)
        gate.opened.mirror.admit(SOURCE, secret, made.holder)
        self.address = f"http://127.0.0.1:{port or gate.port}/mirror/{SOURCE}/{secret}"
        self._configure(client)
        source = {
            "plugin": "clamav",
            "by": "mirror",
            "folder": str(self.databases),
            "mirror": self.address,
            "socket": str(self.home / "clamd.sock"),
            "freshclam": f"freshclam --config-file={self.home}/freshclam.conf",
        }
        (state.path / "agent.toml").write_text(settings.render({"role": "till"}, {SOURCE: source}, {}))
        self.agent = Agent(state, settings.load(state.path / "agent.toml"))
        self.agent.once()

    def _configure(self, client: str) -> None:
        common = f"DatabaseDirectory {self.databases}\nDatabaseOwner root\nMaxAttempts 1\n"
        common += f"NotifyClamd {self.home}/clamd.conf\n"
        common += "ScriptedUpdates no\nExcludeDatabase main\nExcludeDatabase bytecode\nConnectTimeout 5\n"
        if client == "mirror":
            common += f"PrivateMirror {self.address}\n"
        else:
            common += "DatabaseMirror http://127.0.0.1:9\nExcludeDatabase daily\n"
            common += f"DatabaseCustomURL {self.address}/daily.cvd\n"
        (self.home / "freshclam.conf").write_text(common)
        (self.home / "clamd.conf").write_text(
            f"DatabaseDirectory {self.databases}\nLocalSocket {self.home}/clamd.sock\nForeground yes\n"
            f"ConcurrentDatabaseReload no\nLogFile {self.home}/clamd.log\n"
        )

    def freshclam(self) -> tuple[int, str]:
        """One run; its exit code and what it said."""
        words = ["freshclam", f"--config-file={self.home}/freshclam.conf", "--stdout"]
        utc = {**os.environ, "TZ": "UTC"}
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, env=utc)
        return done.returncode, done.stdout + done.stderr

    def version(self) -> str:
        """Of the database on its disk."""
        path = self.databases / "daily.cvd"
        return path.read_bytes()[:200].decode("ascii", "replace").split(":")[2] if path.exists() else ""

    def updates(self) -> str:
        """freshclam runs, and must be content; the version afterwards."""
        code, said = self.freshclam()
        assert code == 0, said
        return self.version()

    def detects(self) -> bool:
        """Whether clamscan finds the harmless test file by what freshclam has brought."""
        words = ["clamscan", "--no-summary", f"--database={self.databases}", str(FOUND)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 1

    def starts(self) -> None:
        """clamd, once there is a database."""
        program = where("clamd")
        assert program is not None
        words = [program, f"--config-file={self.home}/clamd.conf"]
        self.clamd = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: (self.home / "clamd.sock").exists(), "clamd has not started")

    def says(self) -> None:
        """A round of its agent."""
        self.agent.once()

    def claim(self, version: str) -> ClaimState | None:
        rollout = self.gate.rollout(version)
        assert rollout is not None
        with self.gate.opened.store.read() as tx:
            own = tx.claim_of(self.machine.id, rollout.id)
        return own.state if own else None

    def serves(self) -> str:
        """The version that the mirror has for this machine; empty: none."""
        link = self.gate.opened.settings.mirror / "to" / SOURCE / self.machine.id / "daily.cvd"
        return link.read_bytes()[:200].decode("ascii", "replace").split(":")[2] if link.exists() else ""

    def end(self) -> None:
        if self.clamd is not None:
            self.clamd.terminate()
            self.clamd.wait(30)
        shutil.rmtree(self.home, ignore_errors=True)
