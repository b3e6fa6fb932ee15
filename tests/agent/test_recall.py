"""A recall with real agents: they go back to the release before, fetch it, or remove what was the first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import requests

from gate.core.errors import Conflict
from gate.core.model import ClaimState, Rollout, RolloutState
from gate.flows import orders, people, recalls, sentences
from gate.flows.why import why
from gate.hookvalues import RecallPlan
from gate.ports import Proposal
from tests.agent.test_agent import PROBE, boot_policy, joined, until_done
from tests.real_gate import RealAgent, RealGate

OLD, NEW = '{"aspirin": 499}', '{"aspirin": 599}'


def recalled(gate: RealGate, *, reason: str = "wrong prices") -> Rollout:
    """The newest rollout is halted by one and recalled by two people."""
    with gate.opened.store.write() as tx:
        rollout = tx.rollouts(limit=1)[0]
        if rollout.state is not RolloutState.HALTED:
            people.halt(tx, rollout.id, "anna", reason, gate.clock.now())
        assert isinstance(recalls.recall(tx, rollout.id, "anna", reason, gate.clock.now()), Proposal)
        found = recalls.recall(tx, rollout.id, "bert", reason, gate.clock.now())
    assert isinstance(found, Rollout)
    gate.worker.tick()
    return found


def rounds(gate: RealGate, agent: RealAgent, number: int = 3) -> None:
    for _ in range(number):
        agent.once()
        gate.clock.forward(seconds=6)
        gate.worker.tick()


def newest_claims(gate: RealGate, machine: str) -> list[tuple[str, ClaimState]]:
    with gate.opened.store.read() as tx:
        return [(one.action, one.state) for one in tx.claims_of(machine, tx.rollouts(limit=1)[0].id)]


@pytest.mark.slow
def test_a_recalled_release_gives_way_to_the_one_before_and_it_is_said_who_still_has_it(
    real_gate: RealGate, tmp_path: Path
) -> None:
    agent, other = joined(real_gate, tmp_path), joined(real_gate, tmp_path, "two", "none")
    real_gate.bring("1", OLD)
    until_done(real_gate, agent, other)
    real_gate.bring("2", NEW)
    until_done(real_gate, agent, other)
    assert agent.content() == other.content() == NEW
    rounds(real_gate, agent)  # its check-in says what it has
    rollout = recalled(real_gate)
    real_gate.clock.forward(hours=1)
    real_gate.worker.tick()
    rounds(real_gate, agent)
    assert (agent.content(), other.content()) == (OLD, NEW)
    assert newest_claims(real_gate, agent.identity.machine)[0] == ("recall", ClaimState.ROLLED_BACK)
    with real_gate.opened.store.write() as tx:
        for ring in ("first", "rest"):
            orders.plan(tx, rollout, ring, RecallPlan("agent_purge", ("a link",), True), real_gate.clock.now())
        first, rest = recalls.ways_back(tx, real_gate.opened.gate, rollout, real_gate.clock.now())
        assert (first.plan.ring, first.alone, first.by_agent, first.by_hand) == ("first", 0, 0, 0)
        assert (rest.plan.ring, rest.alone, rest.by_agent, rest.by_hand) == ("rest", 0, 0, 1)
    with real_gate.opened.store.read() as tx:
        [holder] = recalls.holders(tx, real_gate.opened.gate, rollout, real_gate.clock.now())
        assert (holder.site, holder.machines, holder.unheard) == ("nord", 1, 1)
        said = sentences.of_rollout(tx, real_gate.opened.gate, rollout, real_gate.clock.now())
        assert said[1].startswith("1 machine at 1 site still has it or may have it")
        assert "1 is not heard of: Apotheke nord (1)" in said[1]
        reason = why(tx, real_gate.opened.gate, other.identity.machine, "shop-content", real_gate.clock.now())
        assert reason.kind == "recalled"
        assert "two is asked to go back from shop-content 2 to 1" in reason.sentence
        gone = why(tx, real_gate.opened.gate, agent.identity.machine, "shop-content", real_gate.clock.now())
        assert gone.kind == "went_back"
    rounds(real_gate, other)
    assert other.content() == OLD
    with real_gate.opened.store.read() as tx:
        assert recalls.holders(tx, real_gate.opened.gate, rollout, real_gate.clock.now()) == []
        assert "no machine has it any more" in sentences.of_rollout(
            tx, real_gate.opened.gate, rollout, real_gate.clock.now()
        )
    real_gate.bring("3", '{"aspirin": 399}')
    rounds(real_gate, agent)
    assert agent.content() == '{"aspirin": 399}', "the next release goes through the rings as ever"


def test_the_first_release_is_removed_by_its_recall(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path, probe="true")
    sqlite_gate.bring("1", OLD)
    agent.once()
    sqlite_gate.clock.forward(seconds=4)
    agent.once()
    rounds(sqlite_gate, agent, 1)
    recalled(sqlite_gate)
    rounds(sqlite_gate, agent)
    assert agent.content() is None
    assert newest_claims(sqlite_gate, agent.identity.machine)[0] == ("recall", ClaimState.ROLLED_BACK)
    before = len(newest_claims(sqlite_gate, agent.identity.machine))
    rounds(sqlite_gate, agent, 2)
    assert len(newest_claims(sqlite_gate, agent.identity.machine)) == before, "once"


def test_a_first_release_that_is_recalled_while_it_downloads_is_not_put_in_place(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent = joined(sqlite_gate, tmp_path, probe="true")
    sqlite_gate.bring("1", OLD)

    def recalled_meanwhile(request: requests.PreparedRequest, _: requests.Response) -> None:
        if "/content/blobs/" in str(request.url):
            sqlite_gate.line.after = lambda *_: None
            recalled(sqlite_gate)

    sqlite_gate.line.after = recalled_meanwhile
    last = agent.once()
    assert agent.content() is None
    assert last.state.claim is None
    assert last.state.said == "shop-content: recalled"


def test_what_waits_for_its_boot_goes_back_under_the_claim_in_hand(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1", OLD)
    other = joined(sqlite_gate, tmp_path, "two", "none")
    until_done(sqlite_gate, agent, other)
    boot_policy(sqlite_gate)
    sqlite_gate.bring("2", NEW)
    agent.once()
    assert agent.content() == NEW
    assert newest_claims(sqlite_gate, agent.identity.machine) == [("install", ClaimState.INSTALLED)]
    recalled(sqlite_gate)
    rounds(sqlite_gate, agent, 2)
    assert agent.content() == OLD
    assert newest_claims(sqlite_gate, agent.identity.machine) == [("install", ClaimState.ROLLED_BACK)]


def test_a_release_before_that_is_not_on_the_machine_any_more_is_fetched(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent, other = joined(sqlite_gate, tmp_path), joined(sqlite_gate, tmp_path, "two", "none")
    sqlite_gate.bring("1", OLD)
    until_done(sqlite_gate, agent, other)
    sqlite_gate.bring("2", NEW)
    until_done(sqlite_gate, agent, other)
    rounds(sqlite_gate, agent, 1)
    now = (agent.target / "current").resolve().name
    for folder in (agent.target / "releases").iterdir():
        if folder.name != now:
            shutil.rmtree(folder)
    recalled(sqlite_gate)
    rounds(sqlite_gate, agent, 4)
    assert agent.content() == OLD


def test_one_person_proposes_a_recall_and_only_another_enacts_it(sqlite_gate: RealGate, tmp_path: Path) -> None:
    joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1", OLD)
    now = sqlite_gate.clock.now()
    with sqlite_gate.opened.store.write() as tx:
        rollout = tx.rollouts(limit=1)[0]
        with pytest.raises(Conflict, match="halt it first"):
            recalls.recall(tx, rollout.id, "anna", "wrong", now)
        people.halt(tx, rollout.id, "anna", "wrong", now)
        assert isinstance(recalls.recall(tx, rollout.id, "anna", "wrong", now), Proposal)
        with pytest.raises(Conflict, match="another person"):
            recalls.recall(tx, rollout.id, "anna", "wrong", now)
        assert isinstance(people.resume(tx, rollout.id, "bert", "no, it is fine", now), Proposal), "another matter"
        found = recalls.recall(tx, rollout.id, "bert", "wrong", now)
        assert isinstance(found, Rollout)
        assert found.state is RolloutState.RECALLED
        with pytest.raises(Conflict):
            people.resume(tx, rollout.id, "carl", "back again", now)


def test_a_vendor_that_withdraws_a_release_halts_it_once(sqlite_gate: RealGate, tmp_path: Path) -> None:
    joined(sqlite_gate, tmp_path)
    sqlite_gate.bring("1", OLD)
    sqlite_gate.worker.look()
    with sqlite_gate.opened.store.read() as tx:
        assert tx.rollouts(limit=1)[0].state is RolloutState.RUNNING
    (sqlite_gate.drop_folder / "1" / "WITHDRAWN").touch()
    sqlite_gate.worker.look()
    sqlite_gate.worker.look()
    with sqlite_gate.opened.store.read() as tx:
        [rollout] = tx.rollouts()
        assert rollout.state is RolloutState.HALTED
        assert (rollout.halted_by, rollout.halted_because) == ("source:shop-content", "the vendor has withdrawn 1")
        assert [one.kind for one in tx.events(subject=rollout.release)] == ["release_withdrawn", "release_seen"]


def test_on_halt_recall_asks_them_back_without_a_second_word(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path, probe=PROBE)
    policy_says(sqlite_gate, "defaults:\n", "defaults:\n  on_halt: recall\n")
    sqlite_gate.bring("1", OLD)
    agent.once()
    sqlite_gate.clock.forward(seconds=4)
    rounds(sqlite_gate, agent, 2)
    with sqlite_gate.opened.store.write() as tx:
        people.halt(tx, tx.rollouts(limit=1)[0].id, "anna", "wrong", sqlite_gate.clock.now())
    sqlite_gate.worker.tick()
    with sqlite_gate.opened.store.read() as tx:
        assert tx.rollouts(limit=1)[0].state is RolloutState.RECALLED
    rounds(sqlite_gate, agent)
    assert agent.content() is None


def policy_says(gate: RealGate, old: str, new: str) -> None:
    """The policy changed, and active."""
    policies = gate.opened.policies
    before = policies.read(policies.head())
    assert old in before
    gate.policy_says(before.replace(old, new, 1), "a trial")


@pytest.mark.parametrize(
    ("how", "needs_agent", "counts"),
    [
        ("serve_old", False, (4, 0, 3)),
        ("republish", False, (4, 0, 3)),
        ("vendor_pin", False, (4, 0, 3)),
        ("agent_purge", True, (0, 4, 3)),
        ("none", False, (0, 0, 7)),
    ],
)
def test_a_way_back_says_how_many_go_by_themselves_by_the_agent_and_by_hand(
    how: str, needs_agent: bool, counts: tuple[int, int, int]
) -> None:
    found = recalls.way_back(orders.Planned("first", how, (), needs_agent), 7, 3)
    assert (found.alone, found.by_agent, found.by_hand) == counts
