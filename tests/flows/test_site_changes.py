"""A site's labels count for its machines: into the first rings they take two people, elsewhere they act at once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core.errors import Conflict
from gate.core.model import Site, SiteTime, TimeKind
from gate.flows import site_changes, site_import
from gate.ports import Proposal
from tests.conftest import NOW
from tests.real_gate import PlayedMachine, RealGate


@pytest.fixture
def machine(real_gate: RealGate) -> str:
    """A till of nord, in the last ring."""
    played = PlayedMachine(real_gate)
    played.enrol()
    real_gate.accept(played.machine, "till")
    assert ring(real_gate, played.machine) == "rest"
    return played.machine


def ring(gate: RealGate, machine: str) -> str:
    with gate.opened.store.read() as tx:
        found = tx.machine(machine)
        assert found is not None
        return found.ring


def nord(gate: RealGate) -> Site:
    with gate.opened.store.read() as tx:
        found = tx.site("nord")
        assert found is not None
        return found


def changed(gate: RealGate, by: str, *labels: str, people: int = 2, **other: str) -> Proposal | None:
    made = replace(nord(gate), labels=frozenset(labels), **other)
    with gate.opened.store.write() as tx:
        return site_changes.change(tx, gate.opened.rules.policy(), made, by, gate.clock.now(), people=people)


def test_labels_that_bring_machines_into_a_first_ring_take_two_people(real_gate: RealGate, machine: str) -> None:
    proposal = changed(real_gate, "anna", "first")
    assert proposal is not None
    assert (nord(real_gate).labels, ring(real_gate, machine)) == (frozenset(), "rest")
    with pytest.raises(Conflict, match="another person"):
        changed(real_gate, "anna", "first")
    with real_gate.opened.store.read() as tx:
        [(waits, wanted)] = site_changes.waiting(tx, "nord", real_gate.clock.now())
    assert (waits.id, wanted.labels) == (proposal.id, {"first"})
    assert changed(real_gate, "berta", "first") is None
    assert (nord(real_gate).labels, ring(real_gate, machine)) == ({"first"}, "first")


def test_the_second_person_agrees_to_this_very_change(real_gate: RealGate, machine: str) -> None:
    assert changed(real_gate, "anna", "first") is not None
    assert changed(real_gate, "berta", "first", "night") is not None, "another change is a proposal of its own"
    assert ring(real_gate, machine) == "rest"


def test_a_change_in_between_voids_what_waits_and_is_not_undone(real_gate: RealGate, machine: str) -> None:
    assert changed(real_gate, "anna", "first", hours="Mo-Fr 08:00-18:00") is not None
    assert changed(real_gate, "carl", hours="Mo-Fr 09:00-17:00") is None
    with real_gate.opened.store.read() as tx:
        assert site_changes.waiting(tx, "nord", real_gate.clock.now()) == []
    assert changed(real_gate, "berta", "first", hours="Mo-Fr 08:00-18:00") is not None, "a proposal of its own"
    assert (nord(real_gate).hours, ring(real_gate, machine)) == ("Mo-Fr 09:00-17:00", "rest")


def test_what_leads_into_no_first_ring_acts_at_once_and_machines_stand_where_it_says(
    real_gate: RealGate, machine: str
) -> None:
    assert changed(real_gate, "anna", "east", name="Apotheke am Markt") is None
    assert nord(real_gate).name == "Apotheke am Markt"
    assert changed(real_gate, "root", "first", people=1) is None
    assert ring(real_gate, machine) == "first"
    assert changed(real_gate, "anna") is None, "out of the first ring again: one person"
    assert ring(real_gate, machine) == "rest"


def test_an_import_does_not_do_it_either(real_gate: RealGate, machine: str) -> None:
    checks = site_import.Checks(lambda _: None, lambda _: None)
    found, troubles = site_import.read(b"id,name,labels\nnord,Nord,first\nwest,West,first\n", checks)
    assert troubles == []
    with real_gate.opened.store.read() as tx:
        [trouble] = site_import.into_first(tx, real_gate.opened.rules.policy(), found)
    assert "site nord" in trouble.said


def test_an_imported_site_whose_hours_never_close_is_always_on() -> None:
    checks = site_import.Checks(lambda _: None, lambda _: None)
    found, _ = site_import.read(b"id,hours,always_on\na, 24/7 ,no\nb,Mo-Su 00:00-24:00,no\n", checks)
    assert [one.always_on for one in found] == [True, False]


def test_an_import_names_the_sites_that_are_new_or_other_than_before_and_not_all_of_many(store: SqlStore) -> None:
    night = SiteTime(NOW, NOW + timedelta(hours=8), TimeKind.DUTY)
    same, other = Site("same", "Same", "NW"), Site("other", "Other", "NW")
    many = [Site(f"s{number:03}", "S") for number in range(site_import.MOST_NAMED)]
    with store.write() as tx:
        for one in (same, other):
            tx.save_site(one)
        assert tx.save_times("same", [night], [])
        site_import.take(tx, None, [same, replace(other, hours="Mo-Fr 08:00-18:00")], "anna", NOW)
        site_import.take(tx, None, [same, *many, other], "anna", NOW)
        [later, first] = [one.detail for one in tx.events(subject="sites")]
    assert first == {"count": 2, "changes": 1, "sites": ["other"]}
    assert (later["count"], later["changes"]) == (len(many) + 2, len(many) + 1)
    assert later["sites"] == [one.id for one in many]
