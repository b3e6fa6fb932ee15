"""Holds by selector: who meets the pick is refused with the owner's words, until the end or until two people lift."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core.errors import Conflict, Malformed, NotFound
from gate.core.model import Hold, Machine
from gate.core.verdict import Refusal
from gate.flows import claims, holds
from gate.flows.why import why
from gate.ports import Gate, Proposal
from gate.sim.run import Simulation
from tests import long_run

MORNING = long_run.START + timedelta(hours=2, minutes=2)
END = MORNING + timedelta(hours=2)
Ready = tuple[Simulation, Gate]


@pytest.fixture
def ready(store: SqlStore) -> Ready:
    """A release that is on its way, just begun."""
    sim, gate = long_run.simulation(store, long_run.plan(sites=6, days=1, releases_a_day=1))
    sim.start()
    sim.advance_to(MORNING)
    return sim, gate


def held(tx: SqlTx, gate: Gate, pick: str, source: str = "") -> Hold:
    return holds.place(tx, gate, pick, source, "k.lehmann", END, "the till software trips over it", "anna", MORNING)


def till(tx: SqlTx) -> Machine:
    return next(one for one in tx.machines(limit=100) if one.role == "till" and one.facts["platform"] == "vm")


def refused(tx: SqlTx, gate: Gate, machine: Machine, seconds: int = 0) -> bool:
    """Is it refused because of a hold?"""
    [rollout] = tx.rollouts()
    found = claims.claim(tx, gate, machine, "shop", rollout.release, "b", END + timedelta(seconds=seconds))
    return isinstance(found, Refusal) and found.kind == "held"


@pytest.mark.parametrize(
    ("pick", "source", "seconds", "holds_it"),
    [
        ("role=till", "", -1, True),
        ("role=till", "shop", -1, True),
        ("role=till", "", 0, False),  # its end has come
        ("role=till", "", 1, False),
        ("role=till,platform=vm", "", -1, True),
        ("role= till , platform= vm ", "", -1, True),
        ("role=till,platform=metal", "", -1, False),
        ("role=server,role=till", "", -1, True),
        ("role=server", "", -1, False),
        ("label=pilot,role=server", "", -1, False),
    ],
)
def test_a_hold_keeps_out_who_meets_all_of_its_pick_until_its_end(
    store: SqlStore, ready: Ready, pick: str, source: str, seconds: int, holds_it: bool
) -> None:
    _, gate = ready
    with store.write() as tx:
        machine = till(tx)
        assert not refused(tx, gate, machine, -1)
        held(tx, gate, pick, source)
        assert refused(tx, gate, machine, seconds) is holds_it


def test_a_label_of_the_site_counts_as_its_machines_own(store: SqlStore, ready: Ready) -> None:
    _, gate = ready
    with store.write() as tx:
        machine = till(tx)
        site = tx.site(machine.site)
        assert site is not None
        assert "hub" not in site.labels | machine.labels
        made = held(tx, gate, "label=hub")
        assert not refused(tx, gate, machine, -1)
        assert holds.at_site(tx, site, [machine], MORNING) == []
        labelled = replace(site, labels=frozenset({"hub"}))
        tx.save_site(labelled)
        assert refused(tx, gate, machine, -1)
        assert holds.at_site(tx, labelled, [machine], MORNING) == [(made, 1)]


def test_why_names_the_owner_the_reason_and_the_end(store: SqlStore, ready: Ready) -> None:
    _, gate = ready
    with store.write() as tx:
        held(tx, gate, "role=till")
        waiting = next(one for one in tx.machines(limit=100) if one.role == "till" and not tx.claim_of(
            one.id, tx.rollouts()[0].id))  # fmt: skip
        said = why(tx, gate, waiting.id, "shop", MORNING)
    assert said.kind == "held"
    assert "by k.lehmann: the till software trips over it" in said.sentence
    assert said.earliest_at == END


@pytest.mark.parametrize(("seconds", "people"), [(-1, 2), (0, 1), (1, 1)])
def test_two_people_lift_a_hold_before_its_end_and_one_afterwards(
    store: SqlStore, ready: Ready, seconds: int, people: int
) -> None:
    _, gate = ready
    now = END + timedelta(seconds=seconds)
    with store.write() as tx:
        made = held(tx, gate, "role=till")
        found = holds.lift(tx, made.id, "anna", "repaired", now)
        assert isinstance(found, Proposal) == (people == 2)
        if people == 2:
            with pytest.raises(Conflict, match="another person"):
                holds.lift(tx, made.id, "anna", "repaired", now)
            assert isinstance(holds.lift(tx, made.id, "bert", "repaired", now), Hold)
        assert tx.holds(MORNING) == []
        with pytest.raises(Conflict, match="already"):
            holds.lift(tx, made.id, "carl", "repaired", now)
        kinds = [event.kind for event in tx.events(subject=made.id)]
        assert kinds[0] == "hold_lifted"
        assert kinds[-1] == "hold_placed"


@pytest.mark.parametrize(
    ("pick", "source", "owner", "hours", "problem"),
    [
        ("", "", "k", 1, Malformed),
        ("role", "", "k", 1, Malformed),
        ("role=", "", "k", 1, Malformed),
        ("role=till", "", " ", 1, Malformed),
        ("role=till", "", "k", 0, Malformed),
        ("role=till", "", "k", 24 * 367, Malformed),
        ("role=till", "nobody", "k", 1, NotFound),
    ],
)
def test_a_hold_without_pick_owner_or_end_is_refused(
    store: SqlStore, ready: Ready, pick: str, source: str, owner: str, hours: int, problem: type[Exception]
) -> None:
    _, gate = ready
    with store.write() as tx, pytest.raises(problem):
        holds.place(tx, gate, pick, source, owner, MORNING + timedelta(hours=hours), "why", "anna", MORNING)
