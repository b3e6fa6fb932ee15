"""Nothing acknowledged is lost (P9): fifty machines under load while web and worker are killed with -9 again and again.

- Each machine keeps its own record of what it was told and repeats a call, byte for byte, until it is answered.
- Releases are dropped and policies committed all the while, so that kills hit intakes, publications and activations.
- A stock TUF client reads the published directory without a pause and must never see a broken state.
- At the end the database is compared with the records, its counters with a recount, the read plane with the decisions.
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
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from gate.adapters.envelopes import seal
from gate.bootstrap import Opened, Wishes, init, open_gate
from gate.core.claims import HOLDS_SLOT
from gate.core.counters import counts
from gate.core.model import FLEET, Machine, MachineStatus, RolloutState, Site
from gate.flows import edits
from tests.read_plane import updater
from tests.real_gate import opened as payload_of

pytestmark = pytest.mark.soak

MACHINES, KILLS = 50, int(os.environ.get("GATE_SOAK_KILLS", "50"))
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
defaults: {stay_up: 0s, checkin: 2s, lease: 2m, deadline: 2m}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
        self.seq += 1
        head = {"aud": "soak", "machine": self.machine, "seq": self.seq, "challenge": self.challenge}
        body = seal(self.key, f"application/vnd.gate.{kind}+json", json.dumps(head | said).encode())
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
        if self.random.random() < 0.01:
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


class Served:
    """The two processes; either may be killed at any moment and is started again."""

    def __init__(self, settings: Path, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for role in ("web", "worker"):
            self.start(role)

    def start(self, role: str) -> None:
        words = [str(Path(sys.executable).with_name("gate")), "serve", "--settings", str(self.settings), "--role", role]
        with (self.folder / f"{role}.log").open("ab") as log:
            self.processes[role] = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

    def kill(self, role: str) -> None:
        """SIGKILL for all of it at once, as a power cut would."""
        os.killpg(self.processes[role].pid, signal.SIGKILL)
        self.processes[role].wait()

    def end(self) -> None:
        for role in list(self.processes):
            if self.processes[role].poll() is None:
                self.kill(role)


class Reader(threading.Thread):
    """A stock TUF client that refreshes without a pause."""

    def __init__(self, public: Path, cache: Path) -> None:
        super().__init__(daemon=True)
        self.public, self.cache = public, cache
        self.stop = threading.Event()
        self.refreshed = 0
        self.faults: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                updater(self.public, self.cache).refresh()
                self.refreshed += 1
            except Exception as problem:
                self.faults.append(repr(problem))
            time.sleep(0.01)


def prepare(folder: Path, url: str, clients: list[Client], port: int) -> Opened:
    drop = folder / "drop"
    drop.mkdir()
    wishes = Wishes(
        "soak", "", url, "anna", "NW", "walk", port=port, source_s=0.5, sources={"shop": {"folder": str(drop)}}
    )
    now = datetime.now(UTC)
    opened = open_gate(init(folder / "gate", wishes, now).settings)
    opened.policies.commit(POLICY, opened.policies.head(), "anna", "two rings", now)
    with opened.store.write() as tx:
        for site in range(MACHINES // 2):
            tx.save_site(Site(f"s{site}", f"Site {site}", "NW", "Mo-Su 00:00-24:00", True))
        for client in clients:
            row = client.row()
            tx.add_machine(Machine(row.id, row.site, MachineStatus.PENDING, row.name, row.facts,
                                   public_key=row.public_key), client.keyid)  # fmt: skip
            assert tx.accept_machine(row, now)
        edits.activate_head(tx, opened.gate, "test", now)
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


def test_what_was_acknowledged_is_there_once_after_every_kill(store_url: str, tmp_path: Path) -> None:
    port, stop, dice = free_port(), threading.Event(), random.Random(19)
    clients = [Client(number, port, stop) for number in range(MACHINES)]
    url = "" if store_url.startswith("sqlite") else store_url
    opened = prepare(tmp_path, url, clients, port)
    reader = Reader(opened.settings.data, tmp_path / "cache")
    served = Served(tmp_path / "gate" / "gate.toml", tmp_path)
    threads = [threading.Thread(target=client.run, daemon=True) for client in clients]
    releases = kills = 0
    try:
        reader.start()
        for thread in threads:
            thread.start()
        drop_release(tmp_path, 0)
        while not any(told.kind == "report" for client in clients for told in client.told):
            WANTED["release"] = newest(opened)
            time.sleep(0.1)
        while kills < KILLS:
            if kills % 4 == 0:
                releases += 1
                drop_release(tmp_path, releases)
            if kills % 5 == 0:
                head = opened.policies.head()
                text = opened.policies.read(head)
                opened.policies.commit(f"{text}# {kills}\n", head, "anna", "a comment", datetime.now(UTC))
            WANTED["release"] = newest(opened)
            time.sleep(dice.uniform(0.3, 4.0))
            WANTED["release"] = newest(opened)
            for role in ("web", "worker") if kills % 7 == 0 else (dice.choice(("web", "worker")),):
                served.kill(role)
                served.start(role)
                kills += 1
        stop.set()
        for thread in threads:
            thread.join(90)
        assert not any(thread.is_alive() for thread in threads), "every call is answered in the end"
    finally:
        stop.set()
        reader.stop.set()
        reader.join(30)
        served.end()
    logs = "\n".join((tmp_path / f"{role}.log").read_text() for role in ("web", "worker"))
    assert [fault for client in clients for fault in client.faults] == [], logs[-4000:]
    assert reader.faults == []
    assert reader.refreshed > 50
    assert "Traceback" not in logs, logs[-6000:]
    compare(opened, clients)
    print(f"{kills} kills, {releases} releases, {sum(len(c.told) for c in clients)} answers,"
          f" {sum(c.lost for c in clients)} calls repeated, {reader.refreshed} refreshes")  # fmt: skip
    opened.close()


def compare(opened: Opened, clients: list[Client]) -> None:
    """The database against what the machines were told, and against itself."""
    with opened.store.read() as tx:
        rollouts = tx.rollouts(limit=1000)
        claims = {claim.id: claim for one in rollouts for claim in tx.claims(one.id, limit=100_000)}
        events, before = [], None
        while page := tx.events(before=before, limit=1000):
            events += page
            before = page[-1].index
        sessions = {client.machine: tx.session(client.machine) for client in clients}
        rings = {one.id: tx.rings(one.id) for one in rollouts}
        budgets = {one.id: tx.budgets(one.id) for one in rollouts}
        strata = {one.id: tx.strata(one.id) for one in rollouts}
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
    assert set(told) == set(claims), "every grant was told, and every grant that was told is there"
    assert set(told.values()) <= {1}, "no claim was granted twice"
    reports = Counter(
        (event.detail["claim"], event.detail["step"]) for event in events if re.match("report_", event.kind)
    )
    acknowledged = Counter(
        (one.body["claim"], step_of(client, one)) for client in clients for one in client.told if one.kind == "report"
    )
    assert reports == acknowledged, "every acknowledged report is there exactly once"
    for rollout in rollouts:
        mine = [claim for claim in claims.values() if claim.rollout == rollout.id]
        assert len({claim.machine for claim in mine if claim.state in HOLDS_SLOT}) == sum(
            claim.state in HOLDS_SLOT for claim in mine
        )
        for ring in rings[rollout.id]:
            assert ring.in_flight == sum(c.state in HOLDS_SLOT for c in mine if c.ring == ring.ring)
        for budget in budgets[rollout.id]:
            his = [claim for claim in mine if budget.make in (claim.make, FLEET)]
            assert budget.in_flight == sum(claim.state in HOLDS_SLOT for claim in his)
            assert budget.healthy == sum(counts(claim).healthy for claim in his)
            assert budget.failed == sum(counts(claim).bad for claim in his)
        for stratum in strata[rollout.id]:
            his = [claim for claim in mine if (claim.ring, claim.make) == (stratum.ring, stratum.make)]
            assert stratum.exposed == sum(counts(claim).exposed for claim in his)
            assert stratum.healthy == sum(counts(claim).healthy for claim in his)
    assert len(claims) >= min(MACHINES, 4 * KILLS), "there was work to lose"
    worker = opened.worker()
    worker.publish(datetime.now(UTC))
    version = opened.publisher.timestamp_version()
    worker.publish(datetime.now(UTC) + timedelta(seconds=2))
    assert opened.publisher.timestamp_version() == version, "what is published is what was decided"


def step_of(client: Client, told: Told) -> str:
    """Which step this report carried: the first report of a claim is `installed`."""
    earlier = [one for one in client.told if one.kind == "report" and one.body["claim"] == told.body["claim"]]
    if earlier[0] is told:
        return "installed"
    return "rolled_back" if told.body["state"] in ("rolled_back", "recovered") else "healthy"
