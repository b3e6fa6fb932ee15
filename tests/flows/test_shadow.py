"""Where people open the rings: the gate says what it would do, people decide, and the two are compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core.claims import HOLDS_SLOT
from gate.core.errors import Conflict, Malformed, NotFound
from gate.core.model import ClaimState, RolloutState
from gate.core.verdict import Verdict
from gate.flows import advance, people, shadow, shadow_words
from gate.flows.shadow import Match, Outcome
from gate.ports import Gate, Proposal, Store
from tests import long_run

pytestmark = pytest.mark.slow

HOURS = timedelta(hours=1)
SHADOWED = long_run.POLICY.replace("defaults: {", "defaults: {decides: people, ")
ONE = long_run.plan(sites=12, days=3, releases_a_day=1)


def run(store: SqlStore, policy: str, until: datetime, wanted: object = ONE) -> Gate:
    sim, gate = long_run.simulation(store, wanted, policy)  # type: ignore[arg-type]
    sim.start()
    sim.advance_to(until)
    return gate


def opened(tx: SqlTx, number: int = -1) -> dict[str, datetime | None]:
    """ring -> when it opened, of a rollout in the order of arrival."""
    return {row.ring: row.opened_at for row in tx.rings(tx.rollouts()[number].id)}


def at(hours: float) -> datetime:
    return long_run.START + hours * HOURS


def test_no_ring_opens_before_a_person_says_so_and_the_gate_says_when_it_would(store: SqlStore) -> None:
    gate = run(store, SHADOWED, at(6))
    with store.write() as tx:
        [rollout] = tx.rollouts()
        assert rollout.reached == -1
        [pilot, everybody] = tx.rings(rollout.id)
        assert pilot.ready_at == at(2)
        assert everybody.ready_at is None
        decision = tx.last_decision(rollout.id, "pilot")
        assert decision is not None
        assert {reason["code"] for reason in decision.reasons} == {"approval_wanted"}
        assert {reason["rule"] for reason in decision.reasons} == {"defaults.decides"}
        [waits] = shadow.look(tx, gate).rows
        assert (waits.ring, waits.match, waits.waited) == ("pilot", Match.WAITS, None)
        people.approve_ring(tx, gate, rollout.id, "pilot", "anna", "we look at it", at(6))
        assert next(one.verdict for one in advance.advance_rollout(tx, gate, rollout.id, at(6))) is Verdict.OPEN
        [agreed] = shadow.look(tx, gate).rows
        assert (agreed.match, agreed.outcome, agreed.waited) == (Match.AGREED, Outcome.OPEN, 4 * HOURS)


def test_a_word_given_before_the_gate_is_ready_opens_when_it_is_and_not_before(store: SqlStore) -> None:
    sim, gate = long_run.simulation(store, ONE, SHADOWED)
    sim.start()
    sim.advance_to(at(2.5))
    with store.write() as tx:
        [rollout] = tx.rollouts()
        for ring in ("pilot", "all"):
            people.approve_ring(tx, gate, rollout.id, ring, "anna", "all of it", at(2.5))
    sim.advance_to(at(12))
    with store.read() as tx:
        rings = opened(tx)
        rows = shadow.look(tx, gate).rows
        met = [one.soak_until for one in tx.strata(rollout.id) if one.ring == "pilot"]
    assert rings["pilot"] is not None
    assert rings["all"] is not None
    assert min(until for until in met if until) <= rings["all"], "not before the gate itself would have"
    assert {one.match for one in rows} == {Match.AGREED}


def test_the_policy_may_leave_one_source_or_one_ring_to_people(store: SqlStore) -> None:
    text = long_run.POLICY.replace("name: all,", "name: all, decides: people,")
    gate = run(store, text, at(12))
    with store.read() as tx:
        rings = opened(tx)
        [row] = shadow.look(tx, gate).rows
    assert rings["pilot"] is not None
    assert rings["all"] is None
    assert row.ring == "all"
    assert row.ready_at is not None


def test_two_people_open_a_ring_before_the_gate_would_and_that_is_shown_for_ever(store: SqlStore) -> None:
    gate = run(store, SHADOWED, at(2.5))
    with store.write() as tx:
        [rollout] = tx.rollouts()
        people.approve_ring(tx, gate, rollout.id, "pilot", "anna", "go", at(2.5))
        advance.advance_rollout(tx, gate, rollout.id, at(2.5))
        assert isinstance(shadow.waive(tx, gate, rollout.id, "all", "anna", "a hole in use", at(2.5)), Proposal)
        with pytest.raises(Conflict, match="another person"):
            shadow.waive(tx, gate, rollout.id, "all", "anna", "a hole in use", at(2.6))
        advance.advance_rollout(tx, gate, rollout.id, at(2.6))
        assert opened(tx)["all"] is None
        assert shadow.waive(tx, gate, rollout.id, "all", "bert", "agreed", at(2.7)) is None
        advance.advance_rollout(tx, gate, rollout.id, at(2.7))
        assert opened(tx)["all"] == at(2.7)
        decision = tx.last_decision(rollout.id, "all")
        assert decision is not None
        assert {reason["verdict"] for reason in decision.reasons} == {"OPEN"}, "it says against what it was opened"
        early = shadow.look(tx, gate).rows[-1]
        assert (early.ring, early.match) == ("all", Match.EARLIER)
        with pytest.raises(Conflict, match="set aside"):
            shadow.waive(tx, gate, rollout.id, "all", "carl", "again", at(2.8))
            shadow.waive(tx, gate, rollout.id, "all", "dora", "again", at(2.8))


def test_a_failure_between_the_two_voids_the_proposal_to_set_a_gate_aside(store: SqlStore) -> None:
    gate = run(store, long_run.POLICY, at(2.5))
    with store.write() as tx:
        [rollout] = tx.rollouts()
        assert shadow.waive(tx, gate, rollout.id, "all", "anna", "hurry", at(2.5)) is not None
        fleet = next(one for one in tx.budgets(rollout.id) if one.make == "*")
        before = shadow.bound(tx, rollout, "all")
        fails(tx, next(one for one in tx.claims(rollout.id) if one.state in HOLDS_SLOT).id)
        assert next(one for one in tx.budgets(rollout.id) if one.make == "*").failed == fleet.failed + 1
        assert shadow.bound(tx, rollout, "all") != before
        assert shadow.waive(tx, gate, rollout.id, "all", "bert", "hurry", at(2.6)) is not None, "a proposal of its own"


def fails(tx: SqlTx, claim_id: str) -> None:
    claim = tx.claim(claim_id)
    assert claim is not None
    after = replace(claim, state=ClaimState.FAILED, resolved_at=at(2.5), version=claim.version + 1)
    assert tx.move(claim, after)


@pytest.mark.parametrize(
    ("ring", "because", "problem"),
    [
        ("pilot", "hurry", Conflict),  # nothing is to be shown before the first ring
        ("none", "hurry", NotFound),
        ("all", " ", Malformed),
    ],
)
def test_only_what_the_next_ring_waits_for_is_set_aside(
    store: SqlStore, ring: str, because: str, problem: type[Exception]
) -> None:
    gate = run(store, SHADOWED, at(2.5))
    with store.write() as tx, pytest.raises(problem):
        shadow.waive(tx, gate, tx.rollouts()[0].id, ring, "anna", because, at(2.5))


def test_a_halt_acts_also_where_people_decide_and_what_they_then_do_is_shown(store: SqlStore) -> None:
    brake = "brakes:\n  - {if: failed >= 1, within: 30m, then: halt, why: one is enough}\n"
    sim, gate = long_run.simulation(store, ONE, SHADOWED + brake)
    sim.start()
    sim.advance_to(at(2.5))
    with store.write() as tx:
        [rollout] = tx.rollouts()
        people.approve_ring(tx, gate, rollout.id, "pilot", "anna", "go", at(2.5))
    sim.advance_to(at(2.7))
    with store.write() as tx:
        fails(tx, next(one for one in tx.claims(rollout.id) if one.state in HOLDS_SLOT).id)
        advance.advance_rollout(tx, gate, rollout.id, at(2.7))
        assert tx.rollouts()[0].state is RolloutState.HALTED
        [halted] = shadow.look(tx, gate).halts
        assert halted.resumed_at is None
        for name in ("anna", "bert"):
            people.resume(tx, rollout.id, name, "a loose plug", at(2.8))
        found = shadow.look(tx, gate)
        assert [one.resumed_at for one in found.halts] == [at(2.8)]
        assert "let it go on 1 times" in " ".join(shadow_words.summary(found, "en"))
        assert "loose" not in shadow_words.halt_sentence(found.halts[0], "de"), (
            "why the gate halted, not why it goes on"
        )


def test_what_is_noted_of_a_ring_is_noted_once(store: SqlStore) -> None:
    run(store, SHADOWED, at(2.5))
    with store.write() as tx:
        run_id = tx.rollouts()[0].id
        assert tx.ring_ready(run_id, "all", at(3))
        assert not tx.ring_ready(run_id, "all", at(4))
        assert tx.waive_ring(run_id, "all", at(5))
        assert not tx.waive_ring(run_id, "all", at(6))
        [row] = [one for one in tx.rings(run_id) if one.ring == "all"]
    assert (row.ready_at, row.waived_at) == (at(3), at(5))


def test_a_halt_that_stands_is_told_from_one_that_people_let_go_on(store: SqlStore) -> None:
    gate = run(store, SHADOWED, at(2.5))
    with store.write() as tx:
        [rollout] = tx.rollouts()
        for hours, kind, who in (
            (3.0, "rollout_halted", "brakes[0]"),
            (3.1, "rollout_resumed", "bert"),
            (3.2, "rollout_halted", "anna"),
            (3.3, "rollout_resumed", "bert"),
            (3.4, "rollout_halted", "gate"),
            (3.5, "rollout_halted", "defaults.false_halt"),
        ):
            tx.append(kind, who, rollout.id, at(hours), {}, "why")
        found = [(one.at, one.resumed_at) for one in shadow.look(tx, gate).halts]
    assert found == [(at(3.5), None), (at(3.4), None), (at(3.0), at(3.1))]


def test_sites_are_compared_once_when_a_release_has_ended_well(store: SqlStore) -> None:
    gate = run(store, long_run.POLICY, at(24 * 3))
    later = at(24 * 3) + timedelta(days=8)
    assert shadow.compare_sites(store, gate, later) >= 2
    assert shadow.compare_sites(store, gate, later) == 0
    with store.read() as tx:
        found = shadow.look(tx, gate)
        machines = {row.machines for row in tx.correlations(10)}
    assert machines == {60}, "twelve sites with five machines each"
    assert found.learned.pairs.pairs == 12 * 10 * len(tx_rollouts(store))
    assert found.learned.rho is None
    assert not found.on
    assert not found.rows
    assert "No ring has been compared yet." in shadow_words.summary(found, "en")


def tx_rollouts(store: Store) -> list[str]:
    with store.read() as tx:
        return [one.id for one in tx.rollouts() if one.state in (RolloutState.DONE, RolloutState.SUPERSEDED)]


def test_while_it_is_watched_a_release_is_not_compared(store: SqlStore) -> None:
    gate = run(store, long_run.POLICY, at(20))
    with store.read() as tx:
        assert tx.rollouts()[0].state is RolloutState.DONE
    assert shadow.compare_sites(store, gate, at(21)) == 0
    assert shadow.compare_sites(store, gate, at(20) + timedelta(days=7)) == 1


def test_the_words_of_both_languages_have_the_same_keys_and_places() -> None:
    english, german = shadow_words.ENGLISH, shadow_words.GERMAN
    assert english.keys() == german.keys()
    for match in Match:
        for outcome in Outcome:
            assert match is Match.WAITS or f"{match}.{outcome}" in english
