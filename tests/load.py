"""What loads a gate that runs in processes of its own, and what is compared afterwards.

- Each machine keeps its own record of what it was told and repeats a call, byte for byte, until it is answered.
- A stock TUF client reads the published directory without a pause and must never see a broken state.
- Real agents run beside the played machines; they may be killed like everything else.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nacl.signing import SigningKey

from gate.adapters.envelopes import seal
from gate.bootstrap import Opened, Wishes, init, open_gate
from gate.core.claims import BROKEN, FAILURE, HOLDS_SLOT
from gate.core.counters import counts
from gate.core.errors import Conflict
from gate.core.model import FLEET, Machine, MachineStatus, RolloutState, Site
from gate.flows import machines, people
from tests.read_plane import updater
from tests.real_gate import agreed
from tests.real_gate import opened as payload_of

MACHINES = 50
POLICY = """version: 1
fleet: soak
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: shop, plugin: directory, kind: content, boot_critical: false, lever: held, evidence: alive}
rings:
  - name: first
    why: a few go first
    pick: {label: first}
    windows: [always]
    gate: {soak: 1s, at_least: 3}
    at_most: {per_site: 1, cap: 4}
  - name: rest
    why: everybody else
    pick: {role: [till]}
    windows: [always]
    gate: {soak: 1s, at_least: 3}
    at_most: {per_site: 1, cap: 9}
first_batch: 3
defaults: {stay_up: 0s, checkin: 2s, lease: 2m, deadline: 2m, background_cap: 10%}
"""


def free_port() -> int:
    """Below those that the kernel gives to whoever calls: a server that was killed must find its own again."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def await_answer(port: int, path: str = "/healthz", seconds: float = 60) -> None:
    """Until somebody answers there with 200."""
    until = time.monotonic() + seconds
    while True:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            line.request("GET", path)
            answer = line.getresponse()
            if answer.status == 200:
                return
            said = f"{answer.status} {answer.read(200)!r}"
        except (OSError, http.client.HTTPException) as problem:
            said = repr(problem)
        finally:
            line.close()
        assert time.monotonic() < until, f"port {port} did not answer {path} with 200 in {seconds} s: {said}"
        time.sleep(0.05)


@dataclass
class Told:
    """One answer that a machine got."""

    kind: str
    seq: int
    status: int
    body: dict[str, Any]


@dataclass
class Client:
    """A machine that goes on until it is told to stop, and then ends what it has begun."""

    number: int
    port: int
    stop: threading.Event
    told: list[Told] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lost: int = 0
    seq: int = 0
    challenge: str | None = None
    installed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.key = SigningKey(hashlib.sha256(f"soak-{self.number}".encode()).digest())
        self.keyid = hashlib.sha256(bytes(self.key.verify_key)).hexdigest()
        self.machine = f"m-{self.keyid[:32]}"
        self.line: http.client.HTTPConnection | None = None
        self.random = random.Random(self.number)

    def row(self) -> Machine:
        labels = frozenset({"first"}) if self.number < 6 else frozenset()
        facts = {"role": "till", "hostname": f"pc-{self.number}"}
        public = bytes(self.key.verify_key).hex()
        return Machine(self.machine, f"s{self.number // 2}", MachineStatus.ACTIVE, f"pc-{self.number}", facts, labels,
                       public_key=public)  # fmt: skip

    def call(self, path: str, kind: str, **said: Any) -> Told:
        """One call, repeated with the same bytes until it is answered with something that is not `unavailable`."""
        body = self.sealed(kind, **said)
        while True:
            try:
                if self.line is None:
                    self.line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                self.line.request("POST", path, body, {"Content-Type": "application/json"})
                answer = self.line.getresponse()
                found = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError):
                self.hang_up()
                self.lost += 1
                time.sleep(0.05)
                continue
            if answer.status == 503:
                self.lost += 1
                time.sleep(0.05)
                continue
            told = Told(kind, self.seq, answer.status, payload_of(found) if "payload" in found else found)
            self.told.append(told)
            return told

    def sealed(self, kind: str, **said: Any) -> bytes:
        """The bytes of the next call."""
        self.seq += 1
        head = {"aud": "soak", "machine": self.machine, "seq": self.seq, "challenge": self.challenge}
        return seal(self.key, f"application/vnd.gate.{kind}+json", json.dumps(head | said).encode())

    def sealed_checkin(self) -> bytes:
        """The bytes of a check-in."""
        return self.sealed("checkin", client_nonce=f"n{self.seq + 1}", boot_id="b1", uptime_s=100, timestamp_version=1,
                           installed=self.installed, facts={}, events=[])  # fmt: skip

    def hang_up(self) -> None:
        if self.line is not None:
            self.line.close()
        self.line = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.once()
        except Exception as problem:
            self.faults.append(repr(problem))
        finally:
            self.hang_up()

    def once(self) -> None:
        told = self.call("/v1/checkin", "checkin", client_nonce=f"n{self.seq}", boot_id="b1", uptime_s=100,
                         timestamp_version=1, installed=self.installed, facts={}, events=[])  # fmt: skip
        if told.status != 200:
            raise AssertionError(f"a check-in was answered {told.status} {told.body}")
        self.challenge = told.body["challenge"]
        release = WANTED.get("release", "")
        if not release or self.installed.get("shop") == release:
            time.sleep(0.02)
            return
        told = self.call("/v1/claims", "claim", source="shop", release=release, boot_id="b1")
        if told.status == 409:
            time.sleep(0.05)
            return
        if told.status not in (200, 201):
            raise AssertionError(f"a claim was answered {told.status} {told.body}")
        claim = told.body["claim"]
        self.report(claim, "installed", release)
        self.installed["shop"] = release
        if self.random.random() < 0.01 and not WANTED.get("calm"):
            self.report(claim, "rolled_back", release)
            self.installed.pop("shop")
        else:
            self.report(claim, "healthy", release)

    def report(self, claim: str, step: str, release: str) -> None:
        told = self.call("/v1/reports", "report", claim=claim, step=step, boot_id="b1", uptime_s=900, release=release,
                         probes=[])  # fmt: skip
        if told.status != 202:
            raise AssertionError(f"a report was answered {told.status} {told.body}")


WANTED: dict[str, str] = {}
"""``release``: what machines ask for; ``calm``: none fails any more, so that the last release can reach everybody."""


def program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


class Served:
    """Processes of one gate; each may be killed at any moment and is started again. ``web-2`` is of the role ``web``;
    ``ports`` are those of the web processes that do not listen where the settings say."""

    def __init__(
        self,
        settings: Path,
        folder: Path,
        names: Sequence[str] = ("web", "worker"),
        ports: Mapping[str, int] | None = None,
        environment: Mapping[str, str] | None = None,
        more: Sequence[str] = (),
    ) -> None:
        self.settings, self.folder, self.names, self.ports = settings, folder, names, dict(ports or {})
        self.more = more
        self.environment = dict(environment or {})
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        role = name.partition("-")[0]
        words = [program("gate"), "serve", "--settings", str(self.settings), "--role", role, *self.more]
        environment = {**os.environ, **self.environment}
        if name in self.ports:
            environment["GATE_PORT"] = str(self.ports[name])
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                words, stdout=log, stderr=log, start_new_session=True, env=environment
            )

    def kill(self, name: str) -> None:
        """SIGKILL for all of it at once, as a power cut would."""
        os.killpg(self.processes[name].pid, signal.SIGKILL)
        self.processes[name].wait()

    def logs(self) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text() for name in self.names)

    def end(self) -> None:
        for name in list(self.processes):
            if self.processes[name].poll() is None:
                self.kill(name)


class RealAgents:
    """Agents as they are shipped, in processes of their own."""

    def __init__(
        self, folder: Path, opened: Opened, port: int, count: int, url: str = "", more: Sequence[str] = ()
    ) -> None:
        self.folder, self.opened, self.url, self.more = folder, opened, url or f"http://127.0.0.1:{port}", more
        self.machines: dict[int, str] = {}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(count):
            self._enrol(number)

    def _words(self, number: int) -> list[str]:
        return [program("gate-agent"), "--state", str(self.folder / f"agent-{number}")]

    def _enrol(self, number: int) -> None:
        now, site = datetime.now(UTC), f"agent-site-{number}"
        with self.opened.store.write() as tx:
            tx.save_site(Site(site, site, "NW", "Mo-Su 00:00-24:00", True))
            secret = hashlib.sha256(site.encode()).hexdigest()[:32]
            root = self.opened.publisher.root_sha256
            code = machines.create_code(tx, secret, root, site, 1, timedelta(hours=1), "anna", now)
        source = f"shop=directory:{self.folder / f'content-{number}'}"
        words = [*self._words(number), "enrol", self.url, code, "--fact", "role=till", "--source", source, *self.more]
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
        machine = said.split()[2].rstrip(":")
        self.machines[number] = machine
        with self.opened.store.write() as tx:
            found, active = tx.machine(machine), tx.active_policy()
            assert found is not None
            assert active is not None
            policy = self.opened.gate.policy(active.commit)
            machines.accept(tx, self.opened.gate, found, site, "till", (), "anna", now, policy, people=1)

    def start(self, number: int) -> None:
        with (self.folder / f"agent-{number}.log").open("ab") as log:
            words = [*self._words(number), "run"]
            self.processes[number] = subprocess.Popen(
                words, stdout=log, stderr=log, start_new_session=True, env={**os.environ, "PYTHONFAULTHANDLER": "1"}
            )

    def abort(self, number: int) -> None:
        """Ends it with a trace of where it is in its log."""
        process = self.processes.pop(number)
        with (self.folder / f"agent-{number}.log").open("a") as log:
            log.write(f"aborted at {datetime.now(UTC):%H:%M:%S}, exit code before that: {process.poll()}\n")
        if process.poll() is None:
            process.send_signal(signal.SIGABRT)
            process.wait()

    def kill(self, number: int) -> None:
        process = self.processes.pop(number, None)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def end(self) -> None:
        for number in self.machines:
            self.kill(number)

    def said(self) -> str:
        """The end of each agent's log and its status."""
        texts = []
        for number in self.machines:
            status = subprocess.run([*self._words(number), "status"], capture_output=True, text=True, timeout=60)
            texts += [status.stdout, (self.folder / f"agent-{number}.log").read_text()[-4000:]]
        return "\n".join(texts)

    def content(self, number: int) -> str:
        file = self.folder / f"content-{number}" / "current" / "prices.json"
        return file.read_text() if file.exists() else ""


class Reader(threading.Thread):
    """A stock TUF client that refreshes without a pause; it notes when it first saw the approvals of each decision."""

    def __init__(self, public: Path, cache: Path, rings: Sequence[str] = ()) -> None:
        super().__init__(daemon=True)
        self.public, self.cache, self.rings = public, cache, rings
        self.stop = threading.Event()
        self.refreshed = 0
        self.faults: list[str] = []
        self.seen: dict[str, datetime] = {}

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                client = updater(self.public, self.cache)
                client.refresh()
                self.refreshed += 1
                for ring in self.rings:
                    target = client.get_targetinfo(f"rings/{ring}/shop/current")
                    if target is not None:
                        self.seen.setdefault(target.custom["decision"], datetime.now(UTC))
            except Exception as problem:
                self.faults.append(repr(problem))
            time.sleep(0.01)


def prepare(folder: Path, url: str, clients: list[Client], port: int, policy: str = POLICY) -> Opened:
    drop = folder / "drop"
    drop.mkdir()
    wishes = Wishes(
        "soak", "", url, "anna", "NW", "walk", port=port, source_s=0.5, sources={"shop": {"folder": str(drop)}}
    )
    now = datetime.now(UTC)
    opened = open_gate(init(folder / "gate", wishes, now).settings)
    opened.policies.write(policy, opened.policies.head(), "anna", "two rings", now)
    with opened.store.write() as tx:
        for site in range(MACHINES // 2):
            tx.save_site(Site(f"s{site}", f"Site {site}", "NW", "Mo-Su 00:00-24:00", True))
        for client in clients:
            row = client.row()
            tx.add_machine(Machine(row.id, row.site, MachineStatus.PENDING, row.name, row.facts,
                                   public_key=row.public_key), client.keyid)  # fmt: skip
            assert tx.accept_machine(row, now)
    agreed(opened, now)
    return opened


def drop_release(folder: Path, number: int) -> None:
    drop = folder / "drop" / f"1.{number}"
    drop.mkdir()
    text = f"release {number}"
    (drop / "prices.json").write_text(text)
    listed = {"name": "prices.json", "length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    (drop / "manifest.json").write_text(json.dumps({"version": f"1.{number}", "files": [listed]}))
    (drop / "READY").touch()


def newest(opened: Opened) -> str:
    """The release that machines ask for: of the newest rollout that runs."""
    with opened.store.read() as tx:
        running = tx.rollouts(states=(RolloutState.RUNNING,), source="shop", limit=1)
    return running[0].release if running else ""


def explain_failures(opened: Opened) -> None:
    """What the person on duty does about the failures that machines have at random: without a word of theirs a make
    that failed more than chance explains is stopped for good, and the next release waits behind it."""
    with opened.store.read() as tx:
        stopped = [
            one.id for one in tx.rollouts(states=(RolloutState.RUNNING,)) if any(b.stopped for b in tx.budgets(one.id))
        ]
        failed = [claim.id for one in stopped for claim in tx.claims(one, limit=1000) if claim.state in FAILURE]
    for claim in failed:
        with opened.store.write() as tx, suppress(Conflict):
            people.explain_failure(tx, opened.gate, claim, "anna", "a power cut at the site", datetime.now(UTC))


def whereabouts(opened: Opened) -> str:
    """What the gate knows of its newest rollouts, for a test that waited for one in vain."""
    with opened.store.read() as tx:
        said = []
        running = [
            one for one in tx.rollouts(states=(RolloutState.RUNNING, RolloutState.HALTED)) if one.source == "shop"
        ]
        newest = [one for one in tx.rollouts(limit=3) if one not in running]
        for one in (*running, *newest):
            said.append(f"{one.id} {one.state.value} reached {one.reached} {one.halted_because}")
            said += [f"  {budget}" for budget in tx.budgets(one.id)]
            said += [f"  {ring}" for ring in tx.rings(one.id)]
            said += [f"  {found.ring} {found.verdict} {found.reasons}" for found in tx.decisions(one.id, 4)]
            held = [claim for claim in tx.claims(one.id, limit=1000) if claim.state in HOLDS_SLOT | BROKEN]
            said += [f"  {claim}" for claim in held[:10]]
    return "\n".join(said)


def compare(opened: Opened, clients: list[Client], least: int) -> None:
    """The database against what the machines were told, and against itself; ``least``: so many claims there were."""
    with opened.store.read() as tx:
        rollouts = tx.rollouts(limit=1000)
        claims = {claim.id: claim for one in rollouts for claim in tx.claims(one.id, limit=100_000)}
        events, before = [], None
        while page := tx.events(before=before, limit=1000):
            events += page
            before = page[-1].index
        sessions = {client.machine: tx.session(client.machine) for client in clients}
        decisions = {one.id: tx.decisions(one.id, 1000) for one in rollouts}
    told: Counter[str] = Counter()
    for client in clients:
        session = sessions[client.machine]
        assert session is not None
        assert session.seq == client.seq == client.told[-1].seq, "the last call is the last that was stored"
        seqs = [one.seq for one in client.told]
        assert seqs == sorted(set(seqs)), "one answer for each call"
        for one in client.told:
            if one.kind == "claim" and one.status == 201:
                told[one.body["claim"]] += 1
                assert claims[one.body["claim"]].machine == client.machine
    ours = {client.machine for client in clients}
    mine_of_all = {claim.id for claim in claims.values() if claim.machine in ours}
    assert set(told) == mine_of_all, "every grant was told, and every grant that was told is there"
    assert set(told.values()) <= {1}, "no claim was granted twice"
    reports = Counter(
        (event.detail["claim"], event.detail["step"])
        for event in events
        if re.match("report_", event.kind) and event.detail["claim"] in mine_of_all
    )
    acknowledged = Counter(
        (one.body["claim"], step_of(client, one)) for client in clients for one in client.told if one.kind == "report"
    )
    assert reports == acknowledged, "every acknowledged report is there exactly once"
    recount(opened)
    assert len(claims) >= least, "there was work to lose"
    opened_twice = Counter(
        (one.rollout, one.ring, make)
        for rollout in rollouts
        for one in decisions[rollout.id]
        if one.verdict == "OPEN"
        for make in one.makes
    )
    assert set(opened_twice.values()) <= {1}, "no decision was taken twice"
    published = approvals_of(opened)
    opened.worker().publish(datetime.now(UTC) + timedelta(seconds=2))  # a new one may keep other old releases
    assert approvals_of(opened) == published, "what was published is what was decided"


def approvals_of(opened: Opened) -> dict[str, int]:
    """The newest published file of each ring's approvals."""
    found = dict[str, int]()
    for path in (opened.settings.public / "metadata").glob("*.ring-*.json"):
        version, _, role = path.name.partition(".")
        found[role] = max(found.get(role, 0), int(version))
    return found


def recount(opened: Opened) -> None:
    """Every counter of every rollout is what its claims come to; what a person has explained is not against it."""
    with opened.store.read() as tx:
        found = [
            (tx.claims(one.id, limit=100_000), tx.rings(one.id), tx.budgets(one.id), tx.strata(one.id),
             {said.claim for said in tx.attributions(one.id) if said.kind == "explained"})
            for one in tx.rollouts(limit=1000)
        ]  # fmt: skip
    for mine, rings, budgets, strata, explained in found:
        assert len({claim.machine for claim in mine if claim.state in HOLDS_SLOT}) == sum(
            claim.state in HOLDS_SLOT for claim in mine
        )
        for ring in rings:
            assert ring.in_flight == sum(c.state in HOLDS_SLOT for c in mine if c.ring == ring.ring)
        for budget in budgets:
            his = [claim for claim in mine if budget.make in (claim.make, FLEET)]
            assert budget.in_flight == sum(claim.state in HOLDS_SLOT for claim in his)
            assert budget.healthy == sum(counts(claim).healthy for claim in his)
            assert budget.failed == sum(counts(claim).bad for claim in his if claim.id not in explained)
        for stratum in strata:
            his = [claim for claim in mine if (claim.ring, claim.make) == (stratum.ring, stratum.make)]
            assert stratum.exposed == sum(counts(claim).exposed for claim in his)
            assert stratum.healthy == sum(counts(claim).healthy for claim in his)


def step_of(client: Client, told: Told) -> str:
    """Which step this report carried: the first report of a claim is `installed`."""
    earlier = [one for one in client.told if one.kind == "report" and one.body["claim"] == told.body["claim"]]
    if earlier[0] is told:
        return "installed"
    return "rolled_back" if told.body["state"] in ("rolled_back", "recovered") else "healthy"
