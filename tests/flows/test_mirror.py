"""The vendor mirror as a flow: the worker claims for machines, pointers move by that, evidence comes by check-in."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from gate.core.errors import Malformed, NotFound, Overtaken
from gate.core.model import ClaimState
from gate.flows import mirror, people, recalls
from gate.ports import MirrorToken, Pointer
from gate.web.mirror_plane import MirrorPlane
from tests.real_gate import PlayedMachine, RealGate, WsgiAdapter

SOURCE = "shop-content"
OLD, NEW = '{"aspirin": 499}', '{"aspirin": 599}'


class Client(PlayedMachine):
    """A machine whose stock client reads the mirror; its agent only says what is in place."""

    def __init__(self, gate: RealGate, name: str, site: str, *labels: str) -> None:
        super().__init__(gate, name)
        self.enrol(code=gate.code(site), facts={"role": "till", "hostname": name})
        gate.accept(self.machine, "till", *labels)
        self.secret = secrets.token_urlsafe(24)
        self.token = admitted(gate, self.secret, machine=self.machine)
        self.copy, self.boot, self.probe = "", "b0", mirror.GOOD
        self.says()

    @property
    def served(self) -> str:
        return content(self.gate, self.secret)

    def fetches(self) -> None:
        """What the stock client does."""
        self.copy = self.served

    def boots(self) -> None:
        self.boot = f"b{int(self.boot[1:]) + 1}"

    def says(self, **more: Any) -> None:
        """A check-in with what is in place."""
        with self.gate.opened.store.read() as tx:
            found = {text: tx.release_by_version(SOURCE, number) for number, text in (("1", OLD), ("2", NEW))}
        release = found.get(self.copy)
        installed = {SOURCE: release.id} if release else {}
        facts = {"role": "till", "hostname": "x", f"probe.{SOURCE}": self.probe}
        status, _ = self.checkin(installed=installed, boot_id=self.boot, facts=facts, **more)
        assert status == 200

    def state(self, version: str = "2") -> ClaimState | None:
        with self.gate.opened.store.read() as tx:
            release = tx.release_by_version(SOURCE, version)
            assert release is not None
            rollout = tx.rollout_of(release.id)
            assert rollout is not None
            own = tx.claim_of(self.machine, rollout.id)
        return own.state if own else None


def admitted(gate: RealGate, secret: str, **whom: str) -> MirrorToken:
    with gate.opened.store.write() as tx:
        made = mirror.admit(tx, gate.opened.gate, SOURCE, secret, "anna", gate.clock.now(), **whom)
    gate.opened.mirror.admit(SOURCE, secret, made.holder)
    return made


def content(gate: RealGate, secret: str) -> str:
    """What is served below this token; empty: 429. By a mirror that remembers nothing of a moment ago."""
    session = requests.Session()
    session.mount("http://", WsgiAdapter(MirrorPlane(gate.opened.settings.mirror, gate.app)))
    answer = session.get(f"http://127.0.0.1:8400/mirror/{SOURCE}/{secret}/prices.json")
    assert answer.status_code in (200, 429)
    return answer.text if answer.status_code == 200 else ""


def passes(gate: RealGate, *clients: Client, seconds: float = 6) -> None:
    gate.clock.forward(seconds=seconds)
    for one in clients:
        one.says()
    gate.worker.tick()


def settled(gate: RealGate, *clients: Client) -> None:
    """Everybody fetches and says so, until every ring has it."""
    for _ in range(6):
        for one in clients:
            one.fetches()
        passes(gate, *clients)


def spoilt(gate: RealGate) -> Path:
    """A second release is taken in, and its bytes, which lie here, are not what they were."""
    gate.drop("2", NEW)
    gate.worker.look()
    with gate.opened.store.read() as tx:
        release = tx.release_by_version(SOURCE, "2")
    assert release is not None
    blob = gate.opened.settings.public / "content" / "blobs" / release.artifacts[0].sha256
    blob.write_text(NEW.replace("5", "6", 1))
    return blob


def both(gate: RealGate) -> tuple[RealGate, Client, Client]:
    """A machine in each of two rings, at two sites, both with the first release."""
    first, rest = Client(gate, "first", "nord", "first"), Client(gate, "rest", "sued")
    gate.bring("1", OLD)
    settled(gate, first, rest)
    assert (first.copy, rest.copy) == (OLD, OLD)
    return gate, first, rest


@pytest.fixture
def two(sqlite_gate: RealGate) -> tuple[RealGate, Client, Client]:
    return both(sqlite_gate)


def halted(gate: RealGate) -> str:
    with gate.opened.store.write() as tx:
        rollout = tx.rollouts(limit=1)[0]
        people.halt(tx, rollout.id, "anna", "wrong prices", gate.clock.now())
    return rollout.id


def recalled(gate: RealGate) -> None:
    rollout = halted(gate)
    for who in ("anna", "berta"):
        with gate.opened.store.write() as tx:
            recalls.recall(tx, rollout, who, "wrong prices", gate.clock.now())


def test_a_ring_is_served_a_release_only_after_the_ring_before_was_healthy_with_it(real_gate: RealGate) -> None:
    first, rest = Client(real_gate, "first", "nord", "first"), Client(real_gate, "rest", "sued")
    assert (first.served, rest.served) == ("", "")  # nothing is released yet: 429
    real_gate.bring("1", OLD)
    assert (first.served, rest.served) == (OLD, "")
    passes(real_gate, first, rest)
    assert first.state("1") is ClaimState.GRANTED  # granted and served is not installed
    first.fetches()
    passes(real_gate, first, rest, seconds=1)
    assert first.state("1") is ClaimState.INSTALLED
    assert rest.served == ""
    passes(real_gate, first, rest)
    assert first.state("1") is ClaimState.HEALTHY
    settled(real_gate, first, rest)
    assert (rest.copy, rest.state("1")) == (OLD, ClaimState.HEALTHY)
    real_gate.bring("2", NEW)
    assert (first.served, rest.served) == (NEW, OLD)


def test_a_bad_probe_halts_and_the_ring_after_goes_on_being_served_what_it_had(
    two: tuple[RealGate, Client, Client],
) -> None:
    gate, first, rest = two
    gate.bring("2", NEW)
    first.fetches()
    first.probe = "clamd does not answer"
    passes(gate, first, rest, seconds=1)
    for _ in range(4):
        passes(gate, first, rest)
    assert first.state() is ClaimState.UNHEALTHY
    assert (first.served, rest.served) == (NEW, OLD)


def test_where_the_policy_asks_for_a_boot_only_a_check_in_after_one_counts(
    two: tuple[RealGate, Client, Client],
) -> None:
    gate, first, rest = two
    policies = gate.opened.policies
    gate.policy_says(policies.read(policies.head()).replace("evidence: alive", "evidence: boot"))
    gate.bring("2", NEW)
    first.fetches()
    for _ in range(3):
        passes(gate, first, rest)
    assert first.state() is ClaimState.INSTALLED
    first.boots()
    gate.clock.forward(seconds=6)
    first.says(uptime_s=1)
    assert first.state() is ClaimState.BOOTED  # not up for long enough yet
    first.says(uptime_s=10)
    assert first.state() is ClaimState.HEALTHY


def test_a_halt_before_the_fetch_takes_the_offer_back_and_one_after_it_serves_on(
    two: tuple[RealGate, Client, Client],
) -> None:
    gate, first, rest = two
    gate.bring("2", NEW)
    assert first.served == NEW
    halted(gate)
    gate.worker.tick()
    assert (first.served, rest.served) == (OLD, OLD)
    assert first.copy == OLD


def test_a_recall_serves_the_release_before_under_a_claim_to_go_back(two: tuple[RealGate, Client, Client]) -> None:
    gate, first, rest = two
    gate.bring("2", NEW)
    settled(gate, first, rest)
    assert (first.copy, rest.copy) == (NEW, NEW)
    recalled(gate)
    gate.worker.tick()
    assert (first.served, rest.served) == (OLD, OLD)
    assert first.state() is ClaimState.GRANTED  # to go back
    passes(gate, first, rest)
    assert first.state() is ClaimState.GRANTED  # it has not said that it did
    settled(gate, first, rest)
    assert (first.copy, first.state(), rest.state()) == (OLD, ClaimState.ROLLED_BACK, ClaimState.ROLLED_BACK)


def test_a_machine_that_never_took_a_recalled_release_goes_back_without_a_claim(
    two: tuple[RealGate, Client, Client],
) -> None:
    gate, first, _ = two
    gate.bring("2", NEW)
    assert first.served == NEW
    recalled(gate)
    gate.worker.tick()
    assert (first.served, first.state()) == (OLD, ClaimState.GRANTED)
    with gate.opened.store.read() as tx:
        assert [one.action for one in tx.claims_of(first.machine, tx.rollouts(limit=1)[0].id)] == ["install"]


def test_at_most_per_site_machines_of_a_site_are_served_at_once(sqlite_gate: RealGate) -> None:
    clients = [Client(sqlite_gate, f"c{number}", "nord", "first") for number in range(3)]
    sqlite_gate.bring("1", OLD)
    for one in clients:
        one.says()
    for _ in range(3):
        passes(sqlite_gate, *clients, seconds=60)
    assert sorted(one.served for one in clients) == ["", "", OLD]


def test_a_lease_that_is_over_takes_the_offer_back_before_the_slot_is_free(
    two: tuple[RealGate, Client, Client],
) -> None:
    gate, first, _ = two
    gate.bring("2", NEW)
    gate.clock.forward(minutes=5, seconds=1)
    first.says()  # without it
    assert first.state() is ClaimState.GRANTED
    gate.pass_minutes(1)
    assert first.served == OLD
    first.says()
    assert first.state() is ClaimState.GRANTED  # a client may be in the middle of it
    gate.pass_minutes(4)
    first.says()
    assert first.state() is ClaimState.EXPIRED
    gate.pass_minutes(12)
    assert (first.served, first.state()) == (NEW, ClaimState.GRANTED)  # it is asked for again


def test_a_machine_that_was_never_heard_of_is_not_claimed_for(sqlite_gate: RealGate) -> None:
    played = PlayedMachine(sqlite_gate, "dumb")
    played.enrol()
    sqlite_gate.accept(played.machine, "till", "first")
    admitted(sqlite_gate, "s" * 32, machine=played.machine)
    sqlite_gate.bring("1", OLD)
    sqlite_gate.pass_minutes(12)
    assert content(sqlite_gate, "s" * 32) == ""
    played.checkin(facts={"role": "till"})
    sqlite_gate.pass_minutes(12)
    assert content(sqlite_gate, "s" * 32) == OLD


def test_a_rings_token_moves_with_its_ring_and_without_claims(two: tuple[RealGate, Client, Client]) -> None:
    gate, first, rest = two
    made = admitted(gate, "r" * 32, ring="rest")
    assert made.holder == "ring-rest"
    gate.worker.tick()
    assert content(gate, "r" * 32) == OLD
    gate.bring("2", NEW)
    assert content(gate, "r" * 32) == OLD
    settled(gate, first, rest)
    assert content(gate, "r" * 32) == NEW
    halted(gate)
    gate.worker.tick()
    assert content(gate, "r" * 32) == NEW  # halted: the last released one
    with gate.opened.store.write() as tx:
        recalls.recall(tx, tx.rollouts(limit=1)[0].id, "anna", "bad", gate.clock.now())
        recalls.recall(tx, tx.rollouts(limit=1)[0].id, "berta", "bad", gate.clock.now())
    gate.worker.tick()
    assert content(gate, "r" * 32) == OLD


def test_a_token_is_stored_hashed_noted_when_used_and_worth_nothing_once_revoked(
    two: tuple[RealGate, Client, Client],
) -> None:
    gate, first, _ = two
    with gate.opened.store.read() as tx:
        (token,) = [one for one in tx.mirror_tokens() if one.holder == first.machine]
        kinds = [one.kind for one in tx.events(subject=first.machine)]
    assert first.secret not in repr(token)
    assert kinds.count("mirror_token_used") <= 1
    gate.pass_minutes(2)
    with gate.opened.store.write() as tx:
        (token,) = [one for one in tx.mirror_tokens() if one.holder == first.machine]
        assert token.used_at is not None
        assert [one.kind for one in tx.events(subject=first.machine)].count("mirror_token_used") == 1
        gone = mirror.revoke(tx, token.id, "anna", gate.clock.now())
        with pytest.raises(NotFound):
            mirror.revoke(tx, token.id, "anna", gate.clock.now())
        assert tx.pointer(SOURCE, first.machine) is None
    gate.opened.mirror.shut_out(gone.source, gone.sha256)
    assert first.served == ""


@pytest.mark.parametrize(
    ("source", "whom", "problem"),
    [
        ("other", {"ring": "rest"}, NotFound),
        (SOURCE, {"ring": "none"}, NotFound),
        (SOURCE, {"machine": "m-none"}, NotFound),
        (SOURCE, {}, Malformed),
        (SOURCE, {"machine": "m-none", "ring": "rest"}, Malformed),
    ],
)
def test_a_token_is_for_one_that_exists(
    sqlite_gate: RealGate, source: str, whom: Mapping[str, str], problem: type[Exception]
) -> None:
    with sqlite_gate.opened.store.write() as tx, pytest.raises(problem):
        mirror.admit(tx, sqlite_gate.opened.gate, source, "x" * 32, "anna", sqlite_gate.clock.now(), **whom)


def test_a_pointer_that_another_has_moved_is_not_moved_again_and_takes_no_claim(real_gate: RealGate) -> None:
    first = Client(real_gate, "first", "nord", "first")
    real_gate.drop("1", OLD)
    real_gate.worker.look()
    real_gate.worker.tick()
    now, gate = real_gate.clock.now(), real_gate.opened.gate
    with real_gate.opened.store.read() as tx:
        pointer = tx.pointer(SOURCE, first.machine)
        rollout = tx.rollouts(limit=1)[0]
    assert pointer is not None
    stale = Pointer(SOURCE, first.machine, first.machine, "", "", "", now - timedelta(days=1), now)
    assert pointer.release == rollout.release
    with pytest.raises(Overtaken), real_gate.opened.store.write() as tx:
        mirror.ask(tx, gate, stale, now)
    with real_gate.opened.store.read() as tx:
        assert tx.pointer(SOURCE, first.machine) == pointer
        assert len(tx.claims(rollout.id)) == 1


def test_what_was_committed_before_a_crash_is_served_by_the_next_worker(
    two: tuple[RealGate, Client, Client], tmp_path: Path
) -> None:
    gate, first, _ = two
    gate.bring("2", NEW)
    assert first.served == NEW
    link = gate.opened.settings.mirror / "to" / SOURCE / first.machine
    link.unlink()
    assert first.served == ""
    gate.opened.worker().tick()
    assert first.served == NEW


def test_a_spoilt_blob_reaches_no_client_and_people_are_told(two: tuple[RealGate, Client, Client]) -> None:
    gate, first, _ = two
    spoilt(gate)
    gate.worker.tick()
    assert first.served == OLD
    with gate.opened.store.read() as tx:
        assert [one for one in tx.events(subject=f"source:{SOURCE}") if one.kind == "mirror_failed"]
