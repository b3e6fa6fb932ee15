"""Nothing acknowledged is lost (P9): killed at every single write, then started again as usual, and compared.

What is killed: an intake, a publication, a policy's activation, a shared commit of several machines' calls.

The n-th run begins from the same prepared gate and is killed at its n-th write, until one survives.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest

from gate.bootstrap import Opened, open_gate
from gate.core import merkle
from gate.core.model import Site
from gate.flows import placing
from tests import die_at
from tests.conftest import REPOSITORY
from tests.load import recount
from tests.read_plane import updater
from tests.real_gate import PlayedMachine, RealGate

pytestmark = pytest.mark.soak

MOST = 400
APPROVAL = "rings/first/shop-content/current"


@pytest.fixture(scope="module")
def launcher() -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "tests.die_at"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as started:
        yield started
        assert started.stdin is not None
        started.stdin.close()
        assert started.wait(30) == 0


class Prepared:
    """A gate that is copied for each run, its database with it."""

    def __init__(self, folder: Path, url: str, launcher: subprocess.Popen[str]) -> None:
        self.folder, self.url, self.launcher = folder, url, launcher
        self.gate = RealGate(folder / "prepared", url)
        self.made = folder / "prepared" / "gate"

    def done(self) -> None:
        """It is as it should be before each run."""
        updater(self.made / "data", self.made / "cache").refresh()
        self.gate.close()

    def run(self, act: str) -> Iterator[tuple[str, Opened]]:
        """After each kill: where it was, and the gate opened again; at last the one that survived, with no place."""
        for n in range(1, MOST):
            settings, name = self._copy(n)
            assert self.launcher.stdin is not None
            assert self.launcher.stdout is not None
            self.launcher.stdin.write(json.dumps({"n": n, "act": act, "settings": str(settings)}) + "\n")
            self.launcher.stdin.flush()
            ended = json.loads(self.launcher.stdout.readline())
            assert ended["code"] in (0, -9), f"run {n} failed by itself"
            opened = open_gate(settings)
            try:
                yield (f"{n}: {ended['at']}" if ended["code"] else "", opened)
            finally:
                opened.commit.close()
                opened.close()
                self._drop(n, name)
            if ended["code"] == 0:
                return
        raise AssertionError(f"no run survived {MOST} writes")

    def _copy(self, n: int) -> tuple[Path, str]:
        home = self.folder / str(n)
        shutil.copytree(self.made, home, symlinks=True)
        name = ""
        if self.url:
            base, _, query = self.url.partition("?")
            address, _, template = base.rpartition("/")
            name = f"{template}_{n}"
            self._admin(f"CREATE DATABASE {name} TEMPLATE {template}")
            text = (home / "gate.toml").read_text()
            own = f"{address}/{name}" + (f"?{query}" if query else "")
            assert self.url in text
            (home / "gate.toml").write_text(text.replace(self.url, own))
        return home / "gate.toml", name

    def _drop(self, n: int, name: str) -> None:
        shutil.rmtree(self.folder / str(n))
        if name:
            self._admin(f"DROP DATABASE {name} WITH (FORCE)")

    def _admin(self, statement: str) -> None:
        base, _, query = self.url.replace("+psycopg", "").partition("?")
        address = base.rpartition("/")[0] + "/postgres" + (f"?{query}" if query else "")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)


@pytest.fixture
def prepared(store_url: str, launcher: subprocess.Popen[str]) -> Iterator[Prepared]:
    """In memory where there is such a folder: a kill loses nothing that the kernel has, and syncing costs minutes."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(prefix="gate-", dir=memory if memory.is_dir() else None) as folder:
        yield Prepared(Path(folder), "" if store_url.startswith("sqlite") else store_url, launcher)


def machine(gate: RealGate, name: str, *labels: str) -> PlayedMachine:
    """An active machine at a site of its own that has checked in."""
    with gate.opened.store.write() as tx:
        tx.save_site(Site(f"site-{name}", name, "NW", "Mo-Su 00:00-24:00", True))
    made = PlayedMachine(gate, name)
    assert made.enrol(code=gate.code(f"site-{name}"))[0] == 202
    gate.accept(made.machine, "till", *labels)
    assert made.checkin()[0] == 200
    return made


def published(opened: Opened) -> str:
    """The release that a stock client, which knows the state before, finds approved for the first ring; empty: none.

    Whatever it finds, it can have: the manifest, and the bytes of each artifact that the manifest names."""
    data = opened.settings.data
    client = updater(data, data.parent / "cache")
    client.refresh()
    target = client.get_targetinfo(APPROVAL)
    if target is None:
        return ""
    release = str(target.custom["release"])
    entry = client.get_targetinfo(f"content/shop-content/{release.removeprefix('sha256:')}.json")
    assert entry is not None, "an approval names a release of the catalogue"
    manifest = json.loads(Path(client.download_target(entry)).read_bytes())
    for artifact in manifest["artifacts"]:
        raw = (data / "public" / "content" / "blobs" / artifact["sha256"]).read_bytes()
        assert hashlib.sha256(raw).hexdigest() == artifact["sha256"]
    return release


def sound(opened: Opened) -> None:
    """Counters equal a recount, the audit tree is what its leaves give, and what is published is what was decided."""
    recount(opened)
    with opened.store.read() as tx:
        size, root = tx.audit_head()
    peaks: merkle.Peaks = ()
    for count, leaf in enumerate(opened.audit_leaves(size)):
        peaks = merkle.append(count, peaks, leaf)
    assert merkle.root(peaks) == root
    worker = opened.worker()
    worker.publish(datetime.now(UTC))
    version = opened.publisher.timestamp_version()
    worker.publish(datetime.now(UTC) + timedelta(seconds=2))
    assert opened.publisher.timestamp_version() == version


def events(opened: Opened, kind: str) -> list[Any]:
    with opened.store.read() as tx:
        return [event for event in tx.events(limit=1000) if event.kind == kind]


def went(places: list[str], *wanted: str) -> None:
    """The kills were where they are wanted; the last run survived."""
    assert places[-1] == ""
    for place in wanted:
        assert any(place in one for one in places), f"no kill at {place!r}: {places}"
    print(f"{len(places) - 1} kills")


def test_a_release_is_taken_in_once_wherever_its_intake_is_killed(prepared: Prepared) -> None:
    machine(prepared.gate, "one", "first")
    prepared.gate.drop("1")
    prepared.done()
    places = []
    for place, opened in prepared.run("intake"):
        places.append(place)
        assert published(opened) == "", place
        opened.worker().look()
        with opened.store.read() as tx:
            releases, rollouts = tx.releases("shop-content", 10), tx.rollouts()
        assert [one.version for one in releases] == ["1"], place
        assert [one.release for one in rollouts] == [releases[0].id], place
        assert len(events(opened, "release_seen")) == len(events(opened, "rollout_started")) == 1, place
        assert events(opened, "candidate_refused") == [], place
        opened.worker().tick()
        assert published(opened) == releases[0].id, place
        sound(opened)
    went(places, "a child is started", "half of", "rename", "fsync", "INSERT INTO releases", "COMMIT", "after a tr")


def test_a_client_sees_the_old_or_the_new_state_wherever_a_publication_is_killed(prepared: Prepared) -> None:
    machine(prepared.gate, "one", "first")
    prepared.gate.drop("1")
    prepared.gate.worker.look()
    with prepared.gate.opened.store.read() as tx:
        release = tx.rollouts()[0].release
    prepared.done()
    places, seen = [], []
    for place, opened in prepared.run("publication"):
        places.append(place)
        seen.append(published(opened))
        with opened.store.read() as tx:
            decided = [one for one in tx.decisions(tx.rollouts()[0].id, 100) if one.verdict == "OPEN"]
        assert len(decided) <= 1, place
        assert not (seen[-1] and not decided), "nothing is published that was not decided"
        opened.worker().tick()
        assert published(opened) == release, place
        assert len(events(opened, "ring_opened")) == 1, place
        sound(opened)
    assert seen == sorted(seen), "once the new state has been seen, it stands"
    assert set(seen) == {"", release}
    went(places, "half of .N.ring-first.json.new", "rename N.snapshot.json", "half of .timestamp", "rename timestamp",
         "INSERT INTO decisions", "COMMIT")  # fmt: skip


def test_the_old_or_the_new_policy_rules_wherever_its_activation_is_killed(prepared: Prepared) -> None:
    for name in ("one", "two"):
        machine(prepared.gate, name, "first")
    policies = prepared.gate.opened.policies
    before = policies.head()
    text = policies.read(before).replace("makes: {by: [role]}", "makes: {by: [role, hostname]}")
    assert text != policies.read(before)
    (prepared.made / die_at.POLICY).write_text(text)
    prepared.done()
    places, ruled = [], []
    for place, opened in prepared.run("activation"):
        places.append(place)
        published(opened)
        head = opened.policies.head()
        assert head == before or opened.policies.read(head) == text, place
        with opened.store.read() as tx:
            active = tx.active_policy()
        assert active is not None
        assert active.commit in (before, head), place
        assert active.problem in ("", f"commit {head[:12]} loosens: two people must agree"), place
        ruled.append(active.commit != before)
        made_of(opened)
        die_at.commit_policy(opened)
        die_at.people_agree(opened)
        head = opened.policies.head()
        assert [one.commit for one in opened.policies.history()] == [head, before], place
        opened.worker().tick()
        with opened.store.read() as tx:
            active = tx.active_policy()
        assert active is not None
        assert (active.commit, active.problem) == (head, ""), place
        made_of(opened)
        assert len([one for one in events(opened, "policy_activated") if one.subject == head]) == 1, place
        published(opened)
        sound(opened)
    assert ruled == sorted(ruled)
    assert set(ruled) == {False, True}
    went(places, "main", "half of", "fsync", "UPDATE machines SET", "COMMIT", "after a tr")


def made_of(opened: Opened) -> None:
    """Ring and make of each machine are those of the policy that rules."""
    with opened.store.read() as tx:
        active = tx.active_policy()
        assert active is not None
        policy = opened.gate.policy(active.commit)
        for one in tx.machines(limit=100):
            assert (one.ring, one.make) == placing.place(tx, policy, one)


def test_each_call_of_a_batch_is_answered_and_done_once_wherever_it_is_killed(prepared: Prepared) -> None:
    gate = prepared.gate
    said = {name: machine(gate, name, "first") for name in ("a", "b", "c", "d")} | {"late": machine(gate, "late")}
    gate.bring("1")
    with gate.opened.store.read() as tx:
        release = tx.rollouts()[0].release
    status, granted = said["c"].claim(release)
    assert status == 201
    head = {name: one.head() for name, one in said.items()}
    claim = {"source": "shop-content", "release": release, "boot_id": "b1"}
    report = {"claim": granted["claim"], "step": "installed", "boot_id": "b1", "uptime_s": 9, "release": release}
    lost = {"kind": "power_loss", "at": "2026-03-02T09:00:00Z"}
    facts = {"role": "till", "hostname": "other"}
    checkin = {"client_nonce": "n", "boot_id": "b2", "uptime_s": 9, "timestamp_version": 1, "installed": {}}
    checkin |= {"events": [lost], "facts": facts}
    nonce = gate.session().get("http://127.0.0.1:8400/v1/enrol/challenge").json()["nonce"]
    new = PlayedMachine(gate, "new")
    asked = {"aud": "test-fleet", "code": gate.code(), "nonce": nonce, "public_key": new.public_key, "facts": {}}
    wanted = [
        ("/v1/claims", said["a"].sealed("claim", head["a"] | claim), 201),
        ("/v1/claims", said["b"].sealed("claim", head["b"] | claim), 201),
        ("/v1/reports", said["c"].sealed("report", head["c"] | report), 202),
        ("/v1/checkin", said["d"].sealed("checkin", head["d"] | checkin), 200),
        ("/v1/claims", said["late"].sealed("claim", head["late"] | claim), 409),
        ("/v1/enrol", new.sealed("enrol", asked), 202),
        ("/v1/reports", said["a"].sealed("report", head["a"] | report | {"seq": 1}), 409),
    ]
    calls = [(path, base64.b64encode(body).decode()) for path, body, _ in wanted]
    (prepared.made / die_at.CALLS).write_text(json.dumps(calls))
    prepared.done()
    places, told_ever = [], 0
    for place, opened in prepared.run("batch"):
        places.append(place)
        note = opened.settings.data.parent / die_at.ANSWERS
        told = [json.loads(line) for line in note.read_text().splitlines()] if note.exists() else []
        told_ever += bool(told)
        app = opened.wsgi(lambda *_: [])
        answers = [die_at.post(app, path, body) for path, body, _ in wanted]
        assert [status for status, _ in answers] == [status for *_, status in wanted], (place, answers)
        for number, status, body in told:
            assert answers[number] == (status, body), f"{place}: the answer that was given is the one that is stored"
        assert [die_at.post(app, path, body) for path, body, _ in wanted] == answers, place
        with opened.store.read() as tx:
            claims = tx.claims(tx.rollouts()[0].id, limit=100)
            sessions = {name: tx.session(one.machine) for name, one in said.items()}
            assert len(tx.machines(status="pending", limit=10)) == 1, place
        ours = {json.loads(body)["claim"] for status, body in answers if status == 201}
        assert {one.id for one in claims} == {granted["claim"], *ours}, place
        assert len(claims) == 3, place
        assert {name: one.seq for name, one in sessions.items() if one} == {n: h["seq"] for n, h in head.items()}, place
        for kind in ("report_step", "machine_said"):
            assert len(events(opened, kind)) == 1, place
        assert [e.subject for e in events(opened, "machine_enrolled")].count(new.machine) == 1, place
        opened.worker().tick()
        published(opened)
        sound(opened)
    assert told_ever > 1, "some answers were given before the kill"
    went(places, "INSERT INTO claims", "UPDATE", "COMMIT", "after a transaction", "answer")
