"""A rollout that is over is retired when it speaks for no ring and no machine has it any more; not before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core.model import Claim, ClaimState, Rollout, RolloutState
from gate.flows import approvals, people, recalls
from gate.flows.retire import retire
from gate.ports import Proposal, Session, Tx
from gate.sim.run import Simulation
from tests import long_run

NOON = long_run.START + timedelta(hours=12)


@pytest.fixture
def day(store: SqlStore) -> Simulation:
    """Two releases on one day; both are through, the first is superseded."""
    sim, _ = long_run.simulation(store, long_run.plan(sites=6, days=1, releases_a_day=2))
    sim.start()
    sim.advance_to(NOON + timedelta(hours=4))
    return sim


def first(tx: Tx) -> Rollout:
    found = tx.rollouts()[-1]
    assert found.state in (RolloutState.SUPERSEDED, RolloutState.RETIRED)
    return found


def has(tx: Tx, claim: Claim) -> None:
    """The machine says that it still has this claim's release."""
    known = tx.session(claim.machine)
    session = known or Session(claim.machine, 0, "", None, "", 0, "", "", 0, {})
    said = replace(session, seq=session.seq + 1, installed={"shop": claim.release})
    assert tx.save_session(said, known.seq if known else -1)


def test_it_is_retired_when_nobody_has_it_and_the_event_says_what_it_was(store: SqlStore, day: Simulation) -> None:
    with store.write() as tx:
        before = approvals.wanted(tx, ["shop"])
        assert [one.id for one in retire(tx, day.now)] == [first(tx).id]
        assert first(tx).state is RolloutState.RETIRED
        assert retire(tx, day.now) == [], "once"
        event = tx.events(subject=first(tx).id, limit=1)[0]
        assert approvals.wanted(tx, ["shop"]) == before, "it spoke for nobody"
        assert [one.id for one in tx.done_before(tx.rollouts()[0].id)] == [first(tx).id], "there is still a way back"
    assert (event.kind, event.detail["was"]) == ("rollout_retired", "superseded")


def test_it_is_not_retired_while_a_machine_has_it_or_may_have_it(store: SqlStore, day: Simulation) -> None:
    with store.write() as tx:
        old, new = first(tx), tx.rollouts()[0]
        claim = tx.claims(old.id)[0]
        later = tx.claim_of(claim.machine, new.id)
        assert later is not None
        assert tx.move(later, replace(later, state=ClaimState.EXPIRED, version=later.version + 1))
        has(tx, claim)
        assert retire(tx, day.now) == []
        assert tx.move(claim, replace(claim, state=ClaimState.GONE, version=claim.version + 1))
        machine = tx.machine(claim.machine)
        assert machine is not None
        assert tx.revoke_machine(machine.id, day.now)
        assert [one.id for one in retire(tx, day.now)] == [old.id]


def test_it_is_not_retired_while_a_claim_is_in_flight(store: SqlStore, day: Simulation) -> None:
    with store.write() as tx:
        claim = tx.claims(first(tx).id)[0]
        flying = replace(claim, state=ClaimState.GRANTED, version=claim.version + 1)
        assert tx.move(claim, flying)
        assert retire(tx, day.now) == []
        assert tx.move(flying, replace(claim, version=claim.version + 2))
        assert retire(tx, day.now)


def test_it_is_not_retired_while_it_speaks_for_a_ring(store: SqlStore) -> None:
    sim, _ = long_run.simulation(store, long_run.plan(sites=20, days=1, releases_a_day=2))
    sim.start()
    sim.advance_to(long_run.START + timedelta(hours=6, minutes=34))
    with store.write() as tx:
        new, old = tx.rollouts()
        assert (old.state, new.reached) == (RolloutState.SUPERSEDED, 0)
        assert old.id in approvals.speaking(tx, "shop")
        assert retire(tx, sim.now) == []


def test_what_is_recalled_is_retired_when_the_last_machine_has_gone_back(store: SqlStore, day: Simulation) -> None:
    with store.write() as tx:
        new = tx.rollouts()[0]
        claim = tx.claims(new.id)[0]
        has(tx, claim)
        people.halt(tx, new.id, "anna", "it smells", day.now)
        assert isinstance(recalls.recall(tx, new.id, "anna", "it is bad", day.now), Proposal)
        recalls.recall(tx, new.id, "bert", "agreed", day.now)
        assert new.id not in {one.id for one in retire(tx, day.now)}
        session = tx.session(claim.machine)
        assert session is not None
        back = replace(session, seq=session.seq + 1, installed={"shop": first(tx).release})
        assert tx.save_session(back, session.seq)
        retired = retire(tx, day.now)
        assert new.id in {one.id for one in retired}
        assert new.id not in {one.id for one in tx.done_before(new.id)}
