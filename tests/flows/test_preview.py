"""The preview of an edit: who moves, what loses its canaries, whose tills end in one ring, which verdicts change."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.adapters.policy_yaml import parse_text
from gate.bootstrap import example_fleet, seed_policy
from gate.core import makes
from gate.core.errors import Conflict, Overtaken
from gate.core.model import Machine, MachineStatus
from gate.core.policy import Policy
from gate.core.verdict import Verdict
from gate.flows import edits, placing, plan
from gate.flows.placing import Places, place_all, placed, refuse_one_ring
from gate.flows.preview import PAGE, Preview, preview
from gate.ports import ActivePolicy, Proposal, Tx
from tests.flows.test_policy_edits import saved
from tests.flows.test_statements import counted
from tests.real_gate import RealGate

TEXT = """\
version: 1
fleet: test-fleet
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: shop-content, plugin: directory, evidence: alive}
rings:
  - name: lab
    why: w
    pick: {label: lab}
    gate: {soak: 1h, at_least: 1}
  - name: pilots
    why: w
    pick: {label: pilot}
    gate: {soak: 1h, at_least: 1}
  - name: front
    why: w
    pick: {role: till, label: front}
    gate: {soak: 1h, at_least: 1}
  - name: rest
    why: w
    pick: {role: [till, workstation, server]}
    gate: {soak: 1h, at_least: 1}
defaults: {stay_up: 1m, checkin: 1m, lease: 5m, deadline: 10m}
"""


def joins(gate: RealGate, name: str, site: str, role: str, *labels: str) -> None:
    with gate.opened.store.write() as tx:
        one = Machine(name, site, MachineStatus.PENDING, f"pc {name}", {"role": role}, public_key=name)
        tx.add_machine(one, name)
        policy = parse_text(TEXT)
        active = replace(one, status=MachineStatus.ACTIVE, labels=frozenset(labels))
        ring, make = placed(policy, active, tx.site(site))
        assert tx.accept_machine(replace(active, ring=ring, make=make), gate.clock.now())


@pytest.fixture
def fleet(real_gate: RealGate) -> RealGate:
    """A bench, a pilot and two pharmacies: nord has a till in front and one in rest, sued both in rest."""
    real_gate.policy_says(TEXT)
    for name, site, role, label in (
        ("l1", "nord", "workstation", "lab"),
        ("n1", "nord", "till", "front"),
        ("n2", "nord", "till", "x"),
        ("s1", "sued", "till", "x"),
        ("s2", "sued", "till", "x"),
        ("s3", "sued", "server", "pilot"),
        ("s4", "sued", "server", "x"),
    ):
        joins(real_gate, name, site, role, label)
    return real_gate


def seen(gate: RealGate, change: tuple[str, str]) -> Preview:
    assert change[0] in TEXT
    with gate.opened.store.read() as tx:
        new = parse_text(TEXT.replace(*change, 1))
        return preview(tx, gate.opened.gate, parse_text(TEXT), new, gate.clock.now())


STRICTER = ("gate: {soak: 1h, at_least: 1}", "gate: {soak: 2h, at_least: 1}")
ALL_FRONT = ("pick: {role: till, label: front}", "pick: {role: till}")
NO_PILOT = ("pick: {label: pilot}", "pick: {label: nobody}")


def test_who_moves_is_counted_and_named_as_the_policy_would_place_them(fleet: RealGate) -> None:
    found = seen(fleet, NO_PILOT)
    [move] = found.moves
    assert (move.old, move.new, move.count, [one.id for one in move.first]) == ("pilots", "rest", 1, ["s3"])
    assert (dict(move.sites), dict(move.roles), dict(move.makes)) == ({"sued": 1}, {"server": 1}, {"role=server": 1})
    assert found.members == (("lab", 1, 1), ("pilots", 1, 0), ("front", 1, 1), ("rest", 4, 5))
    assert (found.machines, found.moved) == (7, 1)


def test_the_preview_says_what_then_happens(fleet: RealGate) -> None:
    change = ("pick: {label: lab}", "pick: {role: server}")
    found = seen(fleet, change)
    with fleet.opened.store.write() as tx:
        place_all(tx, parse_text(TEXT.replace(*change)))
        counts = {ring: sum(tx.ring_makes(ring).values()) for ring, *_ in found.members}
    assert counts == {ring: after for ring, _, after in found.members}


def test_who_moves_anyway_with_the_next_policy_is_shown_with_it(fleet: RealGate) -> None:
    """A machine's own words may place it anew; it stands where it stood until a policy becomes active."""
    with fleet.opened.store.write() as tx:
        for name in ("s1", "n1"):
            assert tx.save_facts(tx.machine(name), {"role": "workstation"}, "role=workstation")  # type: ignore[arg-type]
    change = ("soak: 1h", "soak: 2h")
    found = seen(fleet, change)
    assert [(move.old, move.new, [one.id for one in move.first]) for move in found.moves] == [("front", "rest", ["n1"])]
    with fleet.opened.store.write() as tx:
        place_all(tx, parse_text(TEXT.replace(*change, 1)))
        counts = {ring: sum(tx.ring_makes(ring).values()) for ring, *_ in found.members}
    assert counts == {ring: after for ring, _, after in found.members}


def test_a_make_whose_last_canary_leaves_is_named(fleet: RealGate) -> None:
    assert seen(fleet, NO_PILOT).uncovered == ("role=server",)
    assert seen(fleet, ("soak: 1h", "soak: 2h")).uncovered == ()
    assert seen(fleet, ("name: pilots", "name: trial")).uncovered == (), "another name is no other ring"


def test_all_tills_of_a_site_in_one_ring_counts_only_where_it_is_new(fleet: RealGate) -> None:
    found = seen(fleet, ALL_FRONT)
    assert [(one.site, one.name, one.ring, one.tills) for one in found.one_ring] == [
        ("nord", "Apotheke nord", "front", 2)
    ]
    assert [(move.old, move.new, move.count) for move in found.moves] == [("rest", "front", 3)], "sued moves, unharmed"
    assert seen(fleet, NO_PILOT).one_ring == ()


def test_an_edit_that_puts_all_tills_into_one_ring_is_not_committed(fleet: RealGate) -> None:
    head = fleet.opened.policies.head()
    with pytest.raises(Conflict, match="one ring") as refused:
        saved(fleet, fleet.opened.policies.read(head).replace(*ALL_FRONT))
    assert refused.value.kind == "one_ring"
    assert fleet.opened.policies.head() == head
    with fleet.opened.store.read() as tx:
        assert [one for one in tx.proposals("open") if one.kind == edits.KIND] == []


def test_what_was_proposed_before_a_till_came_is_not_signed_after_it(fleet: RealGate) -> None:
    head = fleet.opened.policies.head()
    with fleet.opened.store.write() as tx:
        tx.revoke_machine("n2", fleet.clock.now())
    proposal = saved(fleet, fleet.opened.policies.read(head).replace(*ALL_FRONT))
    joins(fleet, "n3", "nord", "till")
    with fleet.opened.store.write() as tx, pytest.raises(Conflict, match="one ring"):
        edits.sign(tx, fleet.opened.gate, proposal.id, "berta", fleet.clock.now())  # type: ignore[union-attr]


def edited(gate: RealGate, change: tuple[str, str]) -> tuple[str, str, placing.Walked]:
    """(text, head, the fleet as it was walked for it)."""
    head = gate.opened.policies.head()
    text = gate.opened.policies.read(head).replace(*change)
    walked = placing.walked(gate.opened.store, lambda: parse_text(text))
    assert walked is not None
    return text, head, walked


def saves(gate: RealGate, text: str, head: str, walked: placing.Walked) -> None:
    with gate.opened.store.write() as tx:
        made = edits.save(tx, gate.opened.gate, text, head, "anna", "a test", gate.clock.now(), walked)
    assert isinstance(made, Proposal)
    assert edits.sign_and_finish(gate.opened.store, gate.opened.gate, made.id, "berta", gate.clock.now())


def test_what_a_saved_edit_writes_does_not_grow_with_the_fleet(fleet: RealGate) -> None:
    """The fleet is walked before, in a transaction that reads; what writes then holds the store for what moves only."""

    def written(change: tuple[str, str]) -> list[str]:
        text, head, walked = edited(fleet, change)
        with counted(fleet.opened.store) as statements:
            saves(fleet, text, head, walked)
        return [one for one in statements if "machines" in one and "INSERT" not in one]

    few = written(("pick: {label: pilot}", "pick: {label: nobody}"))
    for number in range(20):
        joins(fleet, f"w{number}", "sued", "workstation")
    many = written(("pick: {label: nobody}", "pick: {label: pilot}"))
    assert len(few) == len(many)
    assert sum("FROM machines" in one for one in many) == 1, "the walk before the signature, which only reads"
    with fleet.opened.store.read() as tx:
        assert tx.ring_makes("pilots") == {"role=server": 1}


def test_where_a_machine_has_moved_after_the_walk_the_fleet_is_walked_again_before_anything_is_written(
    fleet: RealGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a walk: the transaction that writes ends, and another one, which reads, walks again."""
    gate, store, now = fleet.opened.gate, fleet.opened.store, fleet.clock.now()
    text, head, _ = edited(fleet, STRICTER)
    walks: list[int] = []

    def walked(tx: Tx, policy: Policy) -> placing.Walked:
        found = walk(tx, policy)
        walks.append(found.fleet)
        if len(walks) == 1:
            with store.write() as other:
                other.memberships([("s2", "front", "role=till")])
        return found

    walk = placing.walk
    monkeypatch.setattr(placing, "walk", walked)
    with counted(store) as statements:
        row = placing.written(
            store,
            lambda: parse_text(text),
            lambda tx, found: edits.save(tx, gate, text, head, "anna", "a test", now, found),
        )
    assert isinstance(row, ActivePolicy)
    assert len(walks) == 2
    assert walks[1] > walks[0]
    assert len(fleet.opened.policies.history(10)) == 3, "what was overtaken has left no commit"
    with store.read() as tx:
        assert tx.machine("s2").ring == "rest"  # type: ignore[union-attr]
    writes = [number for number, one in enumerate(statements) if "UPDATE active_policy" in one]
    assert min(writes) > max(number for number, one in enumerate(statements) if one.rstrip().endswith("FROM machines"))


def test_where_machines_join_all_the_time_a_save_ends_after_some_tries_and_has_written_nothing(
    fleet: RealGate,
) -> None:
    gate, store, now = fleet.opened.gate, fleet.opened.store, fleet.clock.now()
    text, head, _ = edited(fleet, STRICTER)
    tries: list[int] = []

    def joined() -> Policy:
        tries.append(1)
        return parse_text(text)

    def save(tx: Tx, found: placing.Walked | None) -> object:
        tx.revoke_machine("s1", now)
        return edits.save(tx, gate, text, head, "anna", "a test", now, found)

    with pytest.raises(Overtaken):
        placing.written(store, joined, save)
    assert len(tries) == placing.TRIES
    assert fleet.opened.policies.head() == head


def test_tills_that_moved_after_the_walk_are_looked_at_again(fleet: RealGate) -> None:
    with fleet.opened.store.write() as tx:
        tx.revoke_machine("n2", fleet.clock.now())
    text, head, walked = edited(fleet, ALL_FRONT)
    assert walked.one_ring == []
    joins(fleet, "n3", "nord", "till")
    with fleet.opened.store.write() as tx, pytest.raises(Overtaken):
        edits.save(tx, fleet.opened.gate, text, head, "anna", "a test", fleet.clock.now(), walked)
    text, head, walked = edited(fleet, ALL_FRONT)
    with fleet.opened.store.write() as tx, pytest.raises(Conflict, match="one ring"):
        edits.save(tx, fleet.opened.gate, text, head, "anna", "a test", fleet.clock.now(), walked)


def test_a_walk_for_another_text_is_not_what_is_written(fleet: RealGate) -> None:
    _, head, walked = edited(fleet, ("pick: {label: pilot}", "pick: {label: late}"))
    text = fleet.opened.policies.read(head).replace("gate: {soak: 1h, at_least: 1}", "gate: {soak: 2h, at_least: 1}")
    with fleet.opened.store.write() as tx, pytest.raises(Overtaken):
        edits.save(tx, fleet.opened.gate, text, head, "anna", "a test", fleet.clock.now(), walked)


FACTS = st.dictionaries(st.sampled_from(["role", "os_build", "platform", "site", "hostname"]), st.sampled_from(
    ["", "till", "server", "workstation", "a|b", "-"]))  # fmt: skip
LABELS = st.frozensets(st.sampled_from(["pilot", "front", "lab"]))


@settings(deadline=None)
@given(st.lists(st.tuples(FACTS, LABELS, LABELS, st.sampled_from(["lab", "nord", ""])), min_size=1, max_size=6))
def test_machines_that_are_alike_in_what_the_policy_asks_stand_where_each_would_alone(
    fleet_of: list[tuple[dict[str, str], frozenset[str], frozenset[str], str]],
) -> None:
    asks = "pick: {role: till}", "pick: {role: till, hostname: [server, till]}"  # of a fact that makes no make
    assert asks[0] in seed_policy()
    rules = parse_text(seed_policy().replace(*asks))
    picks, places = [(ring.name, ring.pick) for ring in rules.rings], Places(rules)
    known = {"role": "till", "hostname": "till"}, frozenset[str](), frozenset[str](), ""
    for facts, own, of_site, site in [*fleet_of, known]:
        machine = Machine("m", site, MachineStatus.ACTIVE, "m", facts, own)
        ring = makes.ring_of(picks, site, own | of_site, facts)
        assert places.of(machine, of_site) == (ring or "", makes.make_of(facts, rules.makes))


def test_what_moves_nobody_is_not_walked_for(fleet: RealGate) -> None:
    class NoMachines:
        def fleet_version(self) -> int:
            raise AssertionError("the fleet was walked")

    rules = parse_text(TEXT)
    refuse_one_ring(NoMachines(), rules, parse_text(TEXT.replace("soak: 1h", "soak: 2h")))  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        refuse_one_ring(NoMachines(), rules, parse_text(TEXT.replace(*NO_PILOT)))  # type: ignore[arg-type]


def test_a_running_rollout_keeps_its_policy_and_its_verdict_changes_with_its_members(fleet: RealGate) -> None:
    fleet.bring("1")
    with fleet.opened.store.read() as tx:
        [rollout] = tx.rollouts()
    stricter = seen(fleet, ("gate: {soak: 1h, at_least: 1}", "gate: {soak: 9h, at_least: 1}"))
    assert [one.id for one in stricter.keep] == [rollout.id]
    assert stricter.turns == (), "its own rules stay"
    found = seen(fleet, ("pick: {label: pilot}", "pick: {label: pilot, role: till}"))
    [turn] = found.turns
    assert (turn.rollout.id, turn.ring, turn.before.verdict) == (rollout.id, "pilots", Verdict.HOLD)
    assert {one.code for one in turn.after.reasons} - {one.code for one in turn.before.reasons} == {"ring_empty"}
    with fleet.opened.store.read() as tx:
        assert tx.rollout(rollout.id) == rollout, "looking stores nothing"


def test_earliest_times_and_the_worst_case_are_the_plans_own(fleet: RealGate) -> None:
    joins(fleet, "l2", "nord", "server", "lab")
    found = seen(fleet, ("gate: {soak: 1h, at_least: 1}", "gate: {soak: 3h, at_least: 1}"))
    [course] = [one for one in found.courses if one.ring == "pilots"]
    assert course.before is not None
    assert course.after is not None
    assert course.before.opened_at is not None
    assert course.after.opened_at is not None
    assert (course.after.opened_at - course.before.opened_at).total_seconds() == 2 * 3600
    with fleet.opened.store.read() as tx:
        machines, sites = tx.machines(), {one.id: one for one in tx.sites()}
    rules, now = parse_text(TEXT), fleet.clock.now()
    [*planned] = plan.plan(fleet.opened.gate, rules, rules.sources[0], machines, sites, now, 14).rings
    assert [one.at_risk for one in planned] == [one.before.at_risk for one in found.courses if one.before]


def test_a_ring_that_is_new_or_gone_has_one_side_only(fleet: RealGate) -> None:
    found = seen(fleet, ("  - name: front\n", "  - name: counter\n"))
    assert found.members == (("lab", 1, 1), ("pilots", 1, 1), ("counter", None, 1), ("rest", 4, 4), ("front", 1, None))
    sides = {one.ring: (one.before is not None, one.after is not None) for one in found.courses}
    assert (sides["counter"], sides["front"], sides["rest"]) == ((False, True), (True, False), (True, True))


def test_a_fleet_of_several_pages_is_walked_to_its_end_and_planned_for_in_part(
    sqlite_gate: RealGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gate.flows import preview as flow

    machines, sites = example_fleet(Path("july-19"))
    rules = parse_text(seed_policy())
    with sqlite_gate.opened.store.write() as tx:
        for site in sites.values():
            tx.save_site(site)
        for number, one in enumerate(machines):
            tx.add_machine(replace(one, status=MachineStatus.PENDING, public_key=f"k{number}"), f"k{number}")
            assert tx.accept_machine(one, sqlite_gate.clock.now())
        place_all(tx, rules)
    new = parse_text(seed_policy().replace("pick: {role: till}", "pick: {role: [till, workstation]}"))
    monkeypatch.setattr(flow, "PAGE", 50)
    monkeypatch.setattr(flow, "PLANNED", 100)
    with sqlite_gate.opened.store.read() as tx:
        found = preview(tx, sqlite_gate.opened.gate, rules, new, datetime(2026, 7, 24, 7, tzinfo=UTC))
    assert found.machines == len(machines)
    moved = [one for one in machines if placed(rules, one, sites[one.site])[0] != placed(new, one, sites[one.site])[0]]
    assert found.moved == len(moved) > PAGE / 20
    assert 100 <= found.planned < 120
    whole = plan.exposure(sqlite_gate.opened.gate, rules, rules.sources[0], machines, sites, sqlite_gate.clock.now())
    mine = [one.before.at_risk for one in found.courses if one.before and one.source == rules.sources[0].name]
    assert mine == whole
