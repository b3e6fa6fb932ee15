"""Levers are shown by a simulated stock client: what is withheld stays so, or the source is braked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.adapters.stock_line import StockLine
from gate.adapters.store.sql import SqlStore
from gate.core.errors import Conflict, Malformed, NotFound
from gate.core.model import ClaimState, Rollout
from gate.flows import levers, mirror
from gate.flows import sources as known
from gate.flows.levers import Probe, Shown
from gate.hookspecs import SourceInfo, Stream
from gate.ports import BRAKED, Laid, Mark, Tx
from gate.worker import Transactions
from tests.conftest import NOW, migrated
from tests.flows.test_mirror import NEW, OLD, SOURCE, Client, admitted, passes, settled
from tests.real_gate import ADDRESS, PlayedMachine, RealGate


@pytest.fixture
def held(real_gate: RealGate) -> tuple[RealGate, Client, Client]:
    """Version 2 is on its first ring, and withheld from the other."""
    gate = real_gate
    first, rest = Client(gate, "first", "nord", "first"), Client(gate, "rest", "sued")
    gate.bring("1", OLD)
    passes(gate, first, rest, seconds=60)
    settled(gate, first, rest)
    gate.bring("2", NEW)
    return gate, first, rest


def probe(gate: RealGate, source: str = SOURCE) -> Probe:
    policy = gate.opened.rules.policy()
    rule = policy.source(source) if policy else None
    assert rule is not None
    line = StockLine(ADDRESS, gate.session())
    return levers.prove(Transactions(gate.opened.store), gate.opened.mirror, line, rule, "anna", gate.clock.now())


def release(gate: RealGate, version: str) -> tuple[str, list[Laid]]:
    with gate.opened.store.read() as tx:
        found = tx.release_by_version(SOURCE, version)
    assert found is not None
    return found.hex, [Laid(one.name, one.sha256) for one in found.artifacts]


def begun(gate: RealGate) -> None:
    """The first ring, of one machine, may have the first release."""
    machine = PlayedMachine(gate)
    machine.enrol()
    gate.accept(machine.machine, "till", "first")
    gate.bring("1", OLD)


def leak(gate: RealGate, client: Client) -> None:
    """Somebody points a machine's link at what is withheld, behind the gate's back."""
    gate.opened.mirror.point(SOURCE, client.machine, *release(gate, "2"), gate.clock.now())


def state(gate: RealGate) -> known.SourceState:
    policy = gate.opened.rules.policy()
    assert policy is not None
    with gate.opened.store.read() as tx:
        return known.states(tx, policy, timedelta(minutes=1))[0]


def rollout(gate: RealGate) -> Rollout:
    with gate.opened.store.read() as tx:
        return tx.rollouts(limit=1)[0]


def test_a_lever_that_holds_is_shown_and_leaves_no_token_behind(held: tuple[RealGate, Client, Client]) -> None:
    gate, first, rest = held
    assert (first.served, rest.served) == (NEW, OLD)
    found = probe(gate)
    assert found.shown is Shown.HELD, found
    assert "2 addresses" in found.detail
    assert "2 rings" in found.detail
    assert "nothing was withheld" not in found.detail
    lever = state(gate).lever
    assert (lever.shown, lever.detail, lever.broken) == (Shown.HELD, found.detail, False)
    assert len(list((gate.opened.settings.mirror / "at" / SOURCE).iterdir())) == 2
    asked = [path for _, path in gate.line.asked if path.startswith("/mirror/")]
    assert {path.split("/")[3][:6] for path in asked if "/probe-" in path} == {"probe-"}


def test_what_is_withheld_and_got_turns_the_source_red_and_opens_no_ring_until_a_person_clears_it(
    held: tuple[RealGate, Client, Client],
) -> None:
    gate, first, rest = held
    leak(gate, rest)
    found = probe(gate)
    assert found.shown is Shown.BROKEN
    assert "got prices.json of 2, which is withheld" in found.detail
    assert state(gate).state == "broken"
    gate.opened.mirror.point(SOURCE, rest.machine, *release(gate, "1"), gate.clock.now())
    reached = rollout(gate).reached
    first.fetches()
    passes(gate, first)
    passes(gate, first)
    assert first.state() is ClaimState.HEALTHY
    assert rollout(gate).reached == reached
    with gate.opened.store.read() as tx:
        decision = tx.last_decision(rollout(gate).id, "rest")
        assert decision is not None
        assert "lever_broken" in {reason["code"] for reason in decision.reasons}
        kinds = [one.kind for one in tx.events(subject=f"lever:{SOURCE}")]
    assert "lever_broken" in kinds
    with gate.opened.store.write() as tx, pytest.raises(Conflict, match="no probe"):
        levers.clear(tx, SOURCE, "anna", "looked at it", gate.clock.now())
    assert probe(gate).shown is Shown.HELD
    passes(gate, first, seconds=10)
    assert rollout(gate).reached == reached  # a probe that holds lifts nothing
    with gate.opened.store.write() as tx, pytest.raises(Malformed):
        levers.clear(tx, SOURCE, "anna", "", gate.clock.now())
    with gate.opened.store.write() as tx:
        levers.clear(tx, SOURCE, "anna", "the link was moved by hand", gate.clock.now())
    with gate.opened.store.write() as tx, pytest.raises(NotFound):
        levers.clear(tx, SOURCE, "anna", "again", gate.clock.now())
    passes(gate, first, rest, seconds=60)
    assert rollout(gate).reached == reached + 1


class Meanwhile:
    """A transaction beside which, before it writes, another one ends."""

    def __init__(self, tx: Tx, act: Callable[[], None]) -> None:
        self._tx, self._act = tx, act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def number_mark(self, name: str, before: Mark, number: int, at: datetime) -> bool:
        self._act()
        return self._tx.number_mark(name, before, number, at)


def keeps(tx: Tx, shown: Shown, at: datetime) -> None:
    levers._keep(tx, SOURCE, Probe(shown, "a test"), "worker", at)


def test_what_a_probe_finds_broken_while_a_person_clears_it_stays_broken(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    for url in migrated(request, "postgres", tmp_path):
        store = SqlStore(url)
        store.upgrade()

        def probed(store: SqlStore = store) -> None:
            with store.write() as other:
                keeps(other, Shown.BROKEN, NOW + timedelta(minutes=9))

        with store.write() as tx:
            keeps(tx, Shown.BROKEN, NOW)
            keeps(tx, Shown.HELD, NOW + timedelta(minutes=1))
        with store.write() as tx, pytest.raises(Conflict, match="broken again"):
            levers.clear(Meanwhile(tx, probed), SOURCE, "anna", "looked at it", NOW + timedelta(minutes=9))  # type: ignore[arg-type]
        with store.read() as tx:
            assert tx.mark(BRAKED + SOURCE) == Mark(NOW + timedelta(minutes=9), 1)
            assert "lever_cleared" not in [one.kind for one in tx.events()]
        store.close()


def test_a_probe_that_began_before_it_was_found_broken_clears_nothing(store: SqlStore) -> None:
    """Its answer came in later, over the one that was broken."""
    with store.write() as tx:
        keeps(tx, Shown.BROKEN, NOW)
        keeps(tx, Shown.HELD, NOW - timedelta(seconds=1))
    with store.write() as tx, pytest.raises(Conflict, match="no probe"):
        levers.clear(tx, SOURCE, "anna", "looked at it", NOW)


def test_bytes_that_nobody_has_released_are_a_broken_lever_too(held: tuple[RealGate, Client, Client]) -> None:
    gate, _, rest = held
    view = gate.opened.settings.mirror / "to" / SOURCE / rest.machine
    (view / "prices.json").write_text('{"aspirin": 999}')
    found = probe(gate)
    assert found.shown is Shown.BROKEN
    assert "nobody has released" in found.detail


def test_a_rings_own_address_is_asked_too(held: tuple[RealGate, Client, Client]) -> None:
    gate, _, _ = held
    admitted(gate, secrets.token_urlsafe(24), ring="rest")
    gate.worker.tick()
    assert "2 addresses" in probe(gate).detail, "the ring's own has nothing yet"
    gate.opened.mirror.point(SOURCE, mirror.RING + "rest", *release(gate, "2"), gate.clock.now())
    assert probe(gate).shown is Shown.BROKEN


def test_a_machine_that_had_its_claim_in_another_ring_is_no_leak(held: tuple[RealGate, Client, Client]) -> None:
    gate, first, _ = held
    with gate.opened.store.write() as tx:
        machine = tx.machine(first.machine)
        assert machine is not None
        tx.memberships([(machine.id, "rest", machine.make)])
    assert probe(gate).shown is Shown.HELD


def test_where_nobody_answers_or_nothing_is_released_it_is_not_shown(sqlite_gate: RealGate) -> None:
    gate = sqlite_gate
    assert probe(gate).shown is Shown.NOT_SHOWN
    begun(gate)
    assert probe(gate).shown is Shown.HELD
    policy = gate.opened.rules.policy()
    assert policy is not None
    dead = StockLine("http://127.0.0.1:9")
    within = Transactions(gate.opened.store)
    found = levers.prove(within, gate.opened.mirror, dead, policy.sources[0], "anna", gate.clock.now())
    assert found.shown is Shown.NOT_SHOWN
    assert "does not answer" in found.detail
    assert state(gate).lever.broken is False


class Ill(StockLine):
    """Whatever the mirror is asked, it answers with a page of its own."""

    def fetch(self, path: str, most: int) -> tuple[int, str]:
        return 503, "0" * 64


def test_an_error_page_is_no_lever_that_holds_and_clears_none(held: tuple[RealGate, Client, Client]) -> None:
    gate, *_ = held
    policy = gate.opened.rules.policy()
    assert policy is not None
    ill, within = Ill(ADDRESS, gate.session()), Transactions(gate.opened.store)
    found = levers.prove(within, gate.opened.mirror, ill, policy.sources[0], "anna", gate.clock.now())
    assert found.shown is Shown.NOT_SHOWN
    assert "503" in found.detail


class Shut(StockLine):
    """A mirror that has nothing for anybody."""

    def fetch(self, path: str, most: int) -> tuple[int, str]:
        return 429, "0" * 64


def test_a_mirror_that_serves_nobody_anything_shows_nothing(held: tuple[RealGate, Client, Client]) -> None:
    gate, *_ = held
    policy = gate.opened.rules.policy()
    assert policy is not None
    shut, within = Shut(ADDRESS, gate.session()), Transactions(gate.opened.store)
    found = levers.prove(within, gate.opened.mirror, shut, policy.sources[0], "anna", gate.clock.now())
    assert (found.shown, found.detail) == (Shown.NOT_SHOWN, levers.NOTHING)


class Unsigned(StockLine):
    """A read plane whose approvals name nothing."""

    def read(self, path: str) -> bytes:
        said = json.loads(super().read(path))
        if "targets" in said["signed"]:
            said["signed"]["targets"] = {}
        return json.dumps(said).encode()


def test_without_a_mirror_an_approval_must_name_what_a_ring_may_have(sqlite_gate: RealGate) -> None:
    gate = sqlite_gate
    begun(gate)
    policy = gate.opened.rules.policy()
    assert policy is not None
    within = Transactions(gate.opened.store)
    for line, shown in ((StockLine, Shown.HELD), (Unsigned, Shown.NOT_SHOWN)):
        asked = line(ADDRESS, gate.session())
        found = levers.prove(within, gate.opened.mirror, asked, policy.sources[0], "anna", gate.clock.now())
        assert found.shown is shown, found


def test_the_worker_probes_once_a_month_and_again_a_day_later_where_nothing_was_shown(sqlite_gate: RealGate) -> None:
    gate = sqlite_gate
    gate.opened.__dict__["line"] = StockLine(ADDRESS, gate.session())
    worker = gate.opened.worker()

    def probed() -> int:
        worker.prove()
        with gate.opened.store.read() as tx:
            return len(tx.events(subject=f"lever:{SOURCE}"))

    assert (probed(), probed()) == (1, 1)
    begun(gate)
    gate.clock.forward(days=1)
    assert (probed(), probed()) == (2, 2)
    gate.clock.forward(days=29)
    assert probed() == 2
    gate.clock.forward(days=1)
    assert probed() == 3


def test_a_policy_claims_no_more_than_the_plugin_can(sqlite_gate: RealGate) -> None:
    gate = sqlite_gate
    gate.worker.look()
    assert state(gate).lever.lever == "held"
    policy = gate.opened.rules.policy()
    assert policy is not None
    weak = SourceInfo("directory", "advised", ("content",), why="its clients need not wait")
    for _ in range(2):
        with gate.opened.store.write() as tx:
            levers.note_claim(tx, policy.sources[0], weak, gate.clock.now())
    lever = state(gate).lever
    assert lever.lever == "advised"
    assert "the policy says held" in lever.why
    with gate.opened.store.read() as tx:
        kinds = [one.kind for one in tx.events(subject=f"lever:{SOURCE}")]
    assert kinds == ["lever_overclaimed"]


def test_a_source_with_addresses_for_whole_rings_is_no_more_than_advised(real_gate: RealGate) -> None:
    gate = real_gate
    client = Client(gate, "first", "nord", "first")
    gate.worker.look()
    assert (state(gate).lever.lever, client.token.holder) == ("held", client.machine)
    made = [admitted(gate, letter * 32, ring="rest") for letter in "rs"]
    assert state(gate).lever.lever == "advised"
    assert state(gate).lever.why == "addresses of the mirror that move a whole ring at once, without claims: 2"
    for token in made:
        with gate.opened.store.write() as tx:
            mirror.revoke(tx, token.id, "anna", gate.clock.now())
    assert state(gate).lever.lever == "held"


def test_addresses_for_whole_rings_that_nobody_has_counted_are_counted_by_the_worker(real_gate: RealGate) -> None:
    gate = real_gate
    admitted(gate, "r" * 32, ring="rest")
    with gate.opened.store.write() as tx:
        tx.set_mark(mirror.RINGS + SOURCE, gate.clock.now(), 0)
    assert state(gate).lever.lever == "held"
    gate.worker.mirror()
    assert state(gate).lever.lever == "advised"


def test_what_a_plugin_says_of_its_lever_is_kept_while_it_is_the_lever_that_is_shown(real_gate: RealGate) -> None:
    gate = real_gate
    gate.worker.look()
    assert state(gate).lever.own == "an agent of ours installs"
    policy = gate.opened.rules.policy()
    assert policy is not None
    for lever, why, own in (("held", "by mirror", "by mirror"), ("advised", "it may", "it may"), ("held", "y", "y")):
        found = SourceInfo("directory", lever, ("content",), why=why)
        with gate.opened.store.write() as tx:
            levers.note_claim(tx, policy.sources[0], found, gate.clock.now())
        assert (state(gate).lever.lever, state(gate).lever.own) == (lever, own)
    with gate.opened.store.read() as tx:
        weaker = levers.levers(tx, (replace(policy.sources[0], lever="advised"),))[SOURCE]
    assert (weaker.lever, weaker.own) == ("advised", "")


STREAMS = (
    Stream("rapid", "content", "held", "pinned"),
    Stream("slow", "content", "advised", "late"),
    Stream("critical", "content", "no lever", "cannot be paused"),
)


@pytest.mark.parametrize(
    ("options", "lever", "why"),
    [
        ({}, "held", "by its policies"),
        ({"category": "rapid"}, "held", "by its policies"),
        ({"category": "slow"}, "advised", "late"),
        ({"categories": "rapid slow"}, "advised", "late"),
        ({"categories": "critical slow rapid"}, "no lever", "cannot be paused"),
        ({"folder": "/srv/critical"}, "held", "by its policies"),
    ],
)
def test_a_source_can_no_more_than_the_weakest_stream_that_it_names(
    options: dict[str, str], lever: str, why: str
) -> None:
    info = SourceInfo("vendor", "held", ("content",), {}, STREAMS, "by its policies")
    found = levers.of_streams(info, options)
    assert (found.lever, found.why) == (lever, why)


def test_a_source_of_a_stream_without_a_lever_shows_none_whatever_the_policy_says(real_gate: RealGate) -> None:
    options = {"category": "system_critical", "credentials": "/nowhere", "rings": "first=p:g,p:h"}
    real_gate.worker._looking.options["falcon"] = options  # type: ignore[index]
    policies = real_gate.opened.policies
    text = policies.read(policies.head())
    extra = "  - {name: falcon, plugin: falcon, kind: content, evidence: alive}\n"
    real_gate.policy_says(text.replace("sources:\n", "sources:\n" + extra), "one more")
    real_gate.worker.look()
    with real_gate.opened.store.read() as tx:
        rules = real_gate.opened.rules.policy()
        assert rules is not None
        lever = levers.levers(tx, rules.sources)["falcon"]
        (event,) = tx.events(subject="lever:falcon")
    assert lever.lever == "no lever"
    assert event.kind == "lever_overclaimed"
    assert event.detail["lever"] == "no lever"
