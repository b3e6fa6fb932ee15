"""The store keeps what it is given, on both databases; claims move every counter that they touch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from gate.adapters.store import tx_machines
from gate.adapters.store.sql import SqlStore, SqlTx, alembic_config
from gate.adapters.store.tx_claims import ClaimsTx
from gate.adapters.store.writer import GroupCommit
from gate.core import merkle
from gate.core.claims import FAILURE, HOLDS_SLOT
from gate.core.counters import counts
from gate.core.errors import Conflict, Overtaken, Unavailable
from gate.core.evalues import Span
from gate.core.model import (
    FLEET,
    Artifact,
    Attribution,
    Budget,
    Claim,
    ClaimState,
    Machine,
    MachineStatus,
    Release,
    RingState,
    Rollout,
    RolloutState,
    Site,
    Stratum,
    Trust,
)
from gate.ports import ActivePolicy, Bad, EnrolCode, GrantLimits, Tx
from tests.conftest import NOW, migrated
from tests.flows.small_fleet import joins

MINUTE = timedelta(minutes=1)
LIMITS = GrantLimits(per_site=1, one_of_make=False, sole=False, sole_after=0, heard_since=NOW)
NUMBERS = count(1)


def fleet(tx: Tx, sites: int = 3, tills: int = 2, *, cap: int = 0, budget: int = 99, fleet_budget: int = 99) -> Rollout:
    """Sites with tills, one opened ring ``all``, one make ``till``, one running rollout."""
    for number in range(sites):
        site = Site(f"s{number}", f"Site {number}")
        tx.save_site(site)
        for till in range(tills):
            key = f"{number:032x}{till:032x}"
            machine = Machine(
                f"{site.id}-{till}", site.id, MachineStatus.PENDING, "Till", {"role": "till"}, public_key=key
            )
            tx.add_machine(machine, key)
            assert tx.accept_machine(replace(machine, ring="all", make="till"), NOW)
    own = next(NUMBERS)
    content = (Artifact("a", 1, "0" * 64),)
    release = Release(f"sha256:{own:064x}", "src", str(own), "content", False, own, content, Trust.VENDOR_SIGNED, NOW)
    assert tx.add_release(release, b"{}")
    rollout = Rollout(f"r{own}", release.id, "src", RolloutState.RUNNING, 0, "salt", "v1", 1, NOW)
    ring = RingState(rollout.id, "all", 0, None, 0, cap, 0)
    makes = (("till", budget), (FLEET, fleet_budget))
    budgets = [Budget(rollout.id, make, 0, limit, 0, 0, False) for make, limit in makes]
    tx.add_rollout(rollout, [ring], budgets)
    stratum = Stratum(rollout.id, "all", "till", True, sites * tills, sites * tills, 1.0, sites * tills, sites)
    tx.open_ring(replace(ring, opened_at=NOW, members=sites * tills), [stratum], first_batch=1)
    return rollout


def claim_for(rollout: Rollout, machine: str, name: str = "") -> Claim:
    """A claim as the flow would ask for it."""
    return Claim(
        id=name or f"c{next(NUMBERS)}",
        rollout=rollout.id,
        release=rollout.release,
        source=rollout.source,
        machine=machine,
        site=machine.split("-")[0],
        role="till",
        ring="all",
        make="till",
        state=ClaimState.GRANTED,
        granted_at=NOW,
        lease_until=NOW + 30 * MINUTE,
        deadline_at=NOW + 120 * MINUTE,
        boot_id="b0",
        evidence="boot",
        boots=1,
        stay_up=15 * MINUTE,
        reboot="natural",
        tries=2,
        cohort=True,
    )


def to(claim: Claim, state: ClaimState, **change: object) -> Claim:
    """The claim after a step."""
    return replace(claim, state=state, version=claim.version + 1, **change)  # type: ignore[arg-type]


WEEK = timedelta(days=7)


@pytest.mark.parametrize(
    ("heard", "sole", "granted"),
    [
        (["now", "now"], False, True),
        (["now", "now", "now"], False, True),
        (["a week"], False, True),
        (["longer"], True, True),  # only this one works: as where there never was another
        (["longer", "longer"], True, True),
        (["longer", "now"], False, True),
        (["busy"], False, False),  # the other one is in flight
        (["longer", "busy"], False, False),
        (["longer and busy"], True, False),  # what a release has broken stays one of the site's
        (["longer", "now", "busy"], False, True),
        (["never, accepted now"], False, True),
    ],
    ids=str,
)
def test_a_machine_that_was_not_heard_of_for_a_week_is_no_working_one(
    store: SqlStore, heard: list[str], sole: bool, granted: bool
) -> None:
    now = NOW + 2 * WEEK
    with store.write() as tx:
        rollout = fleet(tx, sites=1, tills=1 + len(heard))
        tx.save_site(Site("s0", "Site 0"))
        wide = replace(LIMITS, per_site=9, heard_since=now - WEEK)
        for number, word in enumerate(heard, 1):
            name = f"s0-{number}"
            if "busy" in word:
                tx.seen(name, now)
                tx.seen("s0-0", now)
                for other in range(1, len(heard) + 1):
                    tx.seen(f"s0-{other}", now)
                assert tx.grant(claim_for(rollout, name), wide) is None
        tx.seen("s0-0", now)
        for number, word in enumerate(heard, 1):
            late = timedelta(microseconds=1)
            at = {"a week": now - WEEK, "longer": now - WEEK - late, "longer and busy": now - WEEK - late}
            if word != "never, accepted now":
                tx.seen(f"s0-{number}", at.get(word, now))
    with store.write() as tx:
        machine = tx.machine("s0-0")
        assert machine is not None
        since = NOW if heard == ["never, accepted now"] else now - WEEK
        assert tx.is_sole(machine, since) is sole
        plural = {name: more for name, _, _, _, more in tx.members(since)}
        assert plural["s0-0"] is not sole
        kind = tx.grant(claim_for(rollout, "s0-0"), replace(wide, heard_since=since))
        assert kind == (None if granted else "last_of_role")


def test_a_database_from_before_is_counted_when_it_is_upgraded(store: SqlStore) -> None:
    F, H, R = ClaimState.FAILED, ClaimState.HEALTHY, ClaimState.RELAPSED
    with store.write() as tx:
        rollout = fleet(tx, sites=5)
        for number, (state, well) in enumerate([(H, 2), (F, 0), (F, 1), (R, 2), (F, 1)]):
            claim = replace(claim_for(rollout, f"s{number}-0", f"c{number}"), boots=2)
            assert tx.grant(claim, LIMITS) is None
            assert tx.move(claim, replace(claim, state=state, boots_healthy=well, version=2))
        assert tx.explain("c4")
    with store.read() as tx:
        before = tx.trials(rollout.id).boots, sorted(tx.budgets(rollout.id), key=lambda one: one.make)
    assert before[0] == {1: Span(5, 1), 2: Span(3, 2), **{number: Span(0, 0) for number in (3, 4, 5)}}
    assert [(one.tried, one.tried_failed) for one in before[1]] == [(8, 3), (8, 3)]
    with store.connection() as connection:
        command.downgrade(alembic_config(connection), "0002")
        connection.commit()
    store.upgrade()
    with store.read() as tx:
        assert (tx.trials(rollout.id).boots, sorted(tx.budgets(rollout.id), key=lambda one: one.make)) == before
        found = tx.rollout(rollout.id)
    assert found is not None
    assert found.background == 0.0075


def test_what_had_crashed_before_that_was_kept_has_crashed_when_it_resolved(store: SqlStore) -> None:
    F, B, U, R = ClaimState.FAILED, ClaimState.ROLLED_BACK, ClaimState.UNHEALTHY, ClaimState.RELAPSED
    with store.write() as tx:
        rollout = fleet(tx, sites=4)
        for number, state in enumerate([F, B, U, R]):
            claim = claim_for(rollout, f"s{number}-0", f"c{number}")
            assert tx.grant(claim, LIMITS) is None
            assert tx.move(claim, to(claim, state, resolved_at=NOW))
    with store.connection() as connection:
        command.downgrade(alembic_config(connection), "0018")
        connection.commit()
    store.upgrade()
    with store.read() as tx:
        found = {claim.state: claim.crashed_at for claim in tx.claims(rollout.id)}
    assert found == {F: NOW, B: NOW, U: None, R: None}


def test_what_people_had_explained_before_there_were_attributions_is_found_again(store: SqlStore) -> None:
    """By the events of before: each with its own claim, in their order; what names no claim that is left, is not."""
    with store.write() as tx:
        rollout, other = fleet(tx), fleet(tx, sites=0)
        for number in range(2):
            claim = claim_for(rollout, f"s{number}-0", f"c{number}")
            assert tx.grant(claim, LIMITS) is None
            assert tx.move(claim, to(claim, ClaimState.FAILED))
        for by, about, claim_id, because in (
            ("anna", rollout.id, "c1", "coffee in the till"),
            ("bert", rollout.id, "c0", "another program's update"),
            ("bert", rollout.id, "gone", "a claim that is on the shelf"),
            ("bert", other.id, "c0", "a claim of another rollout"),
        ):
            tx.append("failure_explained", by, about, NOW, {"claim": claim_id, "state": "failed"}, because)
        tx.append("ring_opened", "gate", rollout.id, NOW, {"claim": "c0"})
    with store.connection() as connection:
        command.downgrade(alembic_config(connection), "0007")
        connection.commit()
    store.upgrade()
    with store.read() as tx:
        found = tx.attributions(rollout.id)
        assert tx.attributions(other.id) == []
    shared = Attribution(rollout.id, "explained", "", "", "Till", "", "all", "till", "failed", "", "", NOW)
    assert found == [
        replace(shared, claim="c1", machine="s1-0", site="s1", by="anna", because="coffee in the till"),
        replace(shared, claim="c0", machine="s0-0", site="s0", by="bert", because="another program's update"),
    ]


def test_the_migrations_make_exactly_the_tables(store: SqlStore) -> None:
    with store.connection() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
        command.downgrade(alembic_config(connection), "base")
        command.upgrade(alembic_config(connection), "head")
        connection.commit()


def test_what_is_rolled_back_leaves_nothing(store: SqlStore) -> None:
    with pytest.raises(Conflict), store.write() as tx:
        fleet(tx)
        raise Conflict("stale", "no")
    with store.read() as tx:
        assert tx.sites() == []
        assert tx.rollouts() == []


@pytest.mark.parametrize(
    ("limits", "sites", "already", "asks", "kind"),
    [
        ({"cap": 2}, 3, ["s0-0"], "s1-0", None),
        ({"cap": 2}, 3, ["s0-0", "s1-0"], "s2-0", "cap_reached"),
        ({"budget": 2}, 3, ["s0-0"], "s1-0", None),
        ({"budget": 2}, 3, ["s0-0", "s1-0"], "s2-0", "budget_reached"),
        ({"fleet_budget": 2}, 3, ["s0-0", "s1-0"], "s2-0", "budget_reached"),
        ({}, 3, ["s0-0"], "s0-1", "site_limit"),
    ],
)
def test_a_grant_stops_at_each_limit_and_not_before(
    store: SqlStore, limits: dict[str, int], sites: int, already: list[str], asks: str, kind: str | None
) -> None:
    with store.write() as tx:
        rollout = fleet(tx, sites, **limits)
        for machine in already:
            assert tx.grant(claim_for(rollout, machine), LIMITS) is None
        assert tx.grant(claim_for(rollout, asks), LIMITS) == kind
        flying = len(already) + (kind is None)
        assert tx.rings(rollout.id)[0].in_flight == flying
        assert {budget.in_flight for budget in tx.budgets(rollout.id)} == {flying}


@pytest.fixture(autouse=True)
def asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each grant of this file the store is asked what it would refuse: the same."""
    grant = ClaimsTx.grant

    def both(tx: ClaimsTx, claim: Claim, limits: GrantLimits) -> str | None:
        said, got = tx.would_refuse(claim, limits), grant(tx, claim, limits)
        assert said == got
        return got

    monkeypatch.setattr(ClaimsTx, "grant", both)


def test_the_last_working_machine_of_a_role_is_never_taken(store: SqlStore) -> None:
    two = replace(LIMITS, per_site=5)
    with store.write() as tx:
        rollout = fleet(tx, 1, 3)
        assert tx.grant(claim_for(rollout, "s0-0"), two) is None
        dead = claim_for(rollout, "s0-1")
        assert tx.grant(dead, two) is None
        assert tx.move(dead, to(dead, ClaimState.SILENT, resolved_at=NOW))
        assert tx.grant(claim_for(rollout, "s0-2"), two) == "last_of_role"


def test_half_of_a_site_counts_its_working_machines(store: SqlStore) -> None:
    half = replace(LIMITS, per_site=0)
    with store.write() as tx:
        rollout = fleet(tx, 1, 5)
        assert [tx.grant(claim_for(rollout, f"s0-{n}"), half) for n in range(3)] == [None, None, "site_limit"]


def test_the_only_one_of_its_role_waits_until_its_make_is_proven(store: SqlStore) -> None:
    sole = replace(LIMITS, sole=True, sole_after=1)
    with store.write() as tx:
        rollout = fleet(tx, 2, 1)
        assert tx.grant(claim_for(rollout, "s0-0"), sole) == "last_of_role"
        proof = claim_for(rollout, "s1-0")
        assert tx.grant(proof, LIMITS) is None
        assert tx.move(proof, to(proof, ClaimState.HEALTHY, resolved_at=NOW))
        assert tx.grant(claim_for(rollout, "s0-0"), sole) is None


def test_machines_of_one_make_are_in_flight_on_different_sites(store: SqlStore) -> None:
    first = replace(LIMITS, per_site=5, one_of_make=True)
    with store.write() as tx:
        rollout = fleet(tx, 2, 3)
        assert tx.grant(claim_for(rollout, "s0-0"), first) is None
        assert tx.grant(claim_for(rollout, "s0-1"), first) == "site_limit"
        assert tx.grant(claim_for(rollout, "s1-0"), first) is None


def test_a_machine_has_one_claim_in_hand_over_all_sources(store: SqlStore) -> None:
    with store.write() as tx:
        one, other = fleet(tx, 1, 3), fleet(tx, 0)
        assert tx.grant(claim_for(one, "s0-0"), replace(LIMITS, per_site=5)) is None
        assert tx.grant(claim_for(other, "s0-0"), replace(LIMITS, per_site=5)) == "other_in_flight"


def test_nothing_is_granted_after_a_halt_and_an_unopened_make_is_unproven(store: SqlStore) -> None:
    with store.write() as tx:
        rollout = fleet(tx)
        assert tx.grant(replace(claim_for(rollout, "s0-0"), make="vm"), LIMITS) == "make_unproven"
        till = next(one for one in tx.budgets(rollout.id) if one.make == "till")
        tx.set_limits([replace(till, limit=9, stopped=True)])
        assert tx.grant(claim_for(rollout, "s0-0"), LIMITS) == "unexplained_failure"
        assert tx.save_rollout(replace(rollout, state=RolloutState.HALTED, version=2))
        assert tx.grant(claim_for(rollout, "s0-0"), LIMITS) == "halted"
        assert not tx.save_rollout(replace(rollout, state=RolloutState.RUNNING, version=2))


def recount(tx: Tx, rollout: Rollout) -> None:
    """Every counter equals what the claims themselves say."""
    claims = tx.claims(rollout.id, limit=10_000)
    stratum = tx.strata(rollout.id)[0]
    for name in ("exposed", "healthy", "failed", "silent", "recovered", "crashed", "late_failed"):
        assert getattr(stratum, name) == sum(getattr(counts(claim), name) for claim in claims), name
    flying = sum(claim.state in HOLDS_SLOT for claim in claims)
    assert tx.rings(rollout.id)[0].in_flight == flying
    for budget in tx.budgets(rollout.id):
        assert (budget.in_flight, budget.healthy, budget.failed) == (
            flying,
            sum(counts(claim).healthy for claim in claims),
            sum(counts(claim).bad for claim in claims),
        )


class Undone(Exception):
    """Takes back what a test did."""


AFTER = [state for state in ClaimState if state is not ClaimState.GRANTED]
STEPS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(AFTER), st.booleans()), max_size=25)


@given(steps=STEPS, cohort=st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counters_equal_a_recount_after_any_steps(
    store: SqlStore, steps: list[tuple[int, ClaimState, bool]], cohort: bool
) -> None:
    with store.write() as tx, suppress(Undone), tx.savepoint():
        rollout = fleet(tx, 3, 2)
        claims: dict[str, Claim] = {}
        for number, state, recovered in steps:
            machine = f"s{number // 2}-{number % 2}"
            claim = claims.get(machine)
            if claim is None or claim.state not in HOLDS_SLOT:
                new = replace(claim_for(rollout, machine), cohort=cohort)
                if tx.grant(new, LIMITS) is None:
                    claims[machine] = new
            else:
                after = to(claim, state, resolved_at=NOW, recovered=recovered and state is ClaimState.SILENT)
                assert tx.move(claim, after)
                assert not tx.move(claim, after)
                claims[machine] = after
            recount(tx, rollout)
        raise Undone


def test_due_quiet_and_bad_claims_are_found_at_their_moment(store: SqlStore) -> None:
    with store.write() as tx:
        rollout = fleet(tx)
        claim = claim_for(rollout, "s0-0")
        assert tx.grant(claim, LIMITS) is None
        assert tx.due_claims(claim.deadline_at - MINUTE) == []
        assert [due.id for due in tx.due_claims(claim.deadline_at)] == [claim.id]
        tx.seen("s0-0", NOW + MINUTE)
        assert tx.quiet_since(rollout.id, ["all"], NOW, 9) == []
        assert len(tx.quiet_since(rollout.id, ["all"], NOW + MINUTE, 9)) == 1
        assert tx.move(claim, to(claim, ClaimState.FAILED, resolved_at=NOW + MINUTE))
        assert tx.count_bad(rollout.id, [Bad(["all"], [ClaimState.FAILED], NOW + MINUTE)]) == [1]
        assert tx.count_bad(rollout.id, [Bad(["all"], [ClaimState.FAILED], NOW + 2 * MINUTE)]) == [0]
        assert tx.explain(claim.id)
        assert not tx.explain(claim.id)
        assert tx.count_bad(rollout.id, [Bad(["all"], [ClaimState.FAILED], NOW)]) == [0]
        assert {budget.failed for budget in tx.budgets(rollout.id)} == {0}


def test_every_event_is_a_leaf_of_the_tree(store: SqlStore) -> None:
    with store.write() as tx:
        for number in range(9):
            tx.append("tried", "somebody", f"x{number}", NOW, {"text": "Zeile\n\x1b[31m"})
    with store.read() as tx:
        leaves = tx.audit_leaves(0, 100)
        assert tx.audit_head() == (9, merkle.root_of([merkle.leaf_hash(leaf) for leaf in leaves]))
        assert [event.index for event in tx.events(limit=3)] == [8, 7, 6]


def test_one_row_says_which_policy_rules(store: SqlStore) -> None:
    with store.write() as tx:
        assert tx.active_policy() is None
        assert not tx.activate_policy(ActivePolicy("a" * 40, NOW, "k.lehmann"), "c" * 40)
        assert tx.activate_policy(ActivePolicy("a" * 40, NOW, "k.lehmann"), "")
        tx.policy_problem("line 3")
        assert not tx.activate_policy(ActivePolicy("b" * 40, NOW, "late"), ""), "somebody else was faster"
        assert tx.activate_policy(ActivePolicy("b" * 40, NOW, "k.lehmann"), "a" * 40)
        assert not tx.activate_policy(ActivePolicy("c" * 40, NOW, "late"), "a" * 40), "somebody else was faster"
        assert tx.active_policy() == ActivePolicy("b" * 40, NOW, "k.lehmann")


def test_the_text_of_what_rules_is_kept_once(store: SqlStore) -> None:
    with store.write() as tx:
        assert tx.policy_text("a" * 40) is None
        tx.keep_policy_text("a" * 40, "version: 1\n# ü\r\n")
        tx.keep_policy_text("a" * 40, "another")
        assert tx.policy_text("a" * 40) == "version: 1\n# ü\r\n"


def test_members_are_moved_only_where_no_membership_has_changed_since(store: SqlStore) -> None:
    with store.write() as tx:
        tx.move_members([], 0)  # in a database where nobody has ever moved
        tx.save_site(Site("s", "S", "NW", "Mo-Fr 08:00-18:00", False, frozenset({"front"})))
        joins(tx, "m", "s", "lab", NOW, "till")
        walked = tx.fleet_version()
        [(machine, labels)] = list(tx.fleet())
        assert (machine.id, machine.ring, machine.facts["role"], labels) == ("m", "lab", "till", {"front"})
        tx.move_members([("m", "rest", "role=till")], walked)
        with pytest.raises(Overtaken):
            tx.move_members([("m", "lab", "role=till")], walked)
        assert [(one.ring, one.make) for one, _ in tx.fleet()] == [("rest", "role=till")]


def test_where_everybody_stands_is_read_with_the_facts_that_are_asked_for(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken in parts of three here, so that what a part has read is forgotten too."""
    monkeypatch.setattr(tx_machines, "SAID", 3)
    with store.write() as tx:
        tx.save_site(Site("s", "S", "NW", "Mo-Fr 08:00-18:00", False, frozenset({"front"})))
        for number in range(10):
            joins(tx, f"m{number}", "s", "lab", NOW, "till" if number % 2 else "server")
        one = tx.machine("m3")
        assert one is not None
        tx.add_machine(replace(one, id="p", status=MachineStatus.PENDING, facts={"os": '"ü', "role": ""}), "p")
        names = ("role", "os", "role", "gone")
        said = {one: rest for one, *rest in tx.stands(names)}
        for machine, labels in tx.fleet():
            active = machine.status is MachineStatus.ACTIVE
            facts = tuple(map(machine.facts.get, names))
            want = [machine.site, active, machine.ring, machine.make, facts, machine.labels | labels]
            assert said.pop(machine.id) == want
        assert said == {}
        assert [facts for one, *_, facts, _ in tx.stands(names) if one == "p"] == [("", '"ü', "", None)]
        assert [facts for one, *_, facts, _ in tx.stands(()) if one == "p"] == [()]


@pytest.fixture
def moving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    """Two machines in one ring, on the database where two transactions write side by side."""
    for url in migrated(request, "postgres", tmp_path):
        made = SqlStore(url)
        made.upgrade()
        with made.write() as tx:
            tx.save_site(Site("s", "S"))
            for name in ("m1", "m2"):
                joins(tx, name, "s", "lab", NOW, "till")
        yield made
        made.close()


def waits(store: SqlStore) -> None:
    """Until one transaction waits for another's lock."""
    asked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while True:
        with store.connection() as connection:
            if connection.execute(asked).scalar_one():
                return


def test_a_machine_that_another_process_moves_meanwhile_is_not_put_back_by_its_own_words(moving: SqlStore) -> None:
    with moving.write() as tx:
        machine = tx.machine("m1")
        assert machine is not None
        with moving.write() as other:
            other.move_members([("m1", "rest", "role=till")], other.fleet_version())
        assert not tx.save_facts(machine, {"role": "till", "os": "new"}, "os=new")
    with moving.read() as tx:
        after = tx.machine("m1")
    assert after is not None
    assert (after.ring, after.make, dict(after.facts)) == ("rest", "role=till", {"role": "till"})


def test_what_was_placed_by_a_policy_that_rules_no_more_is_not_kept(moving: SqlStore) -> None:
    with moving.write() as tx:
        tx.activate_policy(ActivePolicy("a" * 40, NOW, "anna"), "")
    with pytest.raises(Overtaken), moving.write() as tx:
        machine = tx.machine("m1")
        assert machine is not None
        assert tx.active_policy() == ActivePolicy("a" * 40, NOW, "anna")
        with moving.write() as other:
            other.move_members([], other.fleet_version())
            assert other.activate_policy(ActivePolicy("b" * 40, NOW, "anna"), "a" * 40)
        assert tx.save_facts(machine, {"role": "till", "os": "new"}, "by the policy before")
    with moving.read() as tx:
        assert tx.machine("m1") == machine


def test_machines_that_say_something_new_and_a_policy_that_moves_them_wait_for_each_other_and_never_crosswise(
    moving: SqlStore,
) -> None:
    outcome: list[BaseException | None] = []

    def activates() -> None:
        try:
            with moving.write() as tx:
                tx.move_members([("m1", "rest", "role=till")], version)
            outcome.append(None)
        except Overtaken as problem:
            outcome.append(problem)

    with moving.write() as tx:
        version, machine = tx.fleet_version(), tx.machine("m2")
        assert machine is not None
        tx.seen("m1", NOW)
        thread = threading.Thread(target=activates)
        thread.start()
        waits(moving)
        assert tx.save_facts(machine, {"role": "till", "os": "new"}, "os=new")
    thread.join()
    [problem] = outcome
    assert problem is not None
    assert problem.__cause__ is None, "it was told that somebody was faster: the database had no deadlock to end"


def test_two_processes_may_bring_the_same_new_row(store: SqlStore) -> None:
    """On PostgreSQL the second waits for the first; neither fails."""
    begun, faults = threading.Barrier(4), []

    def bring(number: int) -> None:
        try:
            for name in range(20):
                begun.wait(20)
                with store.write() as tx:
                    tx.set_mark(f"m{name}", NOW, number)
        except (DBAPIError, Unavailable) as problem:
            faults.append(problem)
            begun.abort()

    threads = [threading.Thread(target=bring, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_shared_commit_keeps_the_good_and_refuses_the_bad(store: SqlStore) -> None:
    commit = GroupCommit(store)

    def bad(tx: Tx) -> None:
        tx.append("bad", "x", "x", NOW)
        raise Conflict("stale_seq", "no")

    def good(tx: Tx) -> str:
        tx.append("good", "x", "x", NOW)
        return "stored"

    answers: list[object] = []

    def ask(number: int) -> None:
        try:
            act = bad if number % 3 == 0 else good
            answers.append(commit.submit(act))
        except Conflict as problem:
            answers.append(problem.kind)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    commit.close()
    assert answers.count("stale_seq") == 10
    with store.read() as tx:
        assert {event.kind for event in tx.events()} == {"good"}
        assert answers.count("stored") == 20
        assert tx.audit_head()[0] == 20


BROKEN = text("SELECT nothing FROM nowhere")


def test_a_transaction_that_failed_is_never_taken_for_committed(store: SqlStore) -> None:
    """PostgreSQL takes its COMMIT, undoes it all, and says nothing: where somebody swallowed the error, nobody knew."""

    def write() -> None:
        with store.write() as tx:
            tx.append("stored", "x", "x", NOW)
            with suppress(DBAPIError):
                tx.connection.execute(BROKEN)

    if store.url.startswith("sqlite"):
        write()
    else:
        with pytest.raises(Unavailable):
            write()
    with store.read() as tx:
        assert len(tx.events()) == store.url.startswith("sqlite")


def test_no_act_of_a_shared_commit_is_answered_when_the_database_failed_under_another(store: SqlStore) -> None:
    def good(tx: SqlTx) -> str:
        tx.append("said", "x", "x", NOW)
        return "stored"

    def bad(tx: SqlTx) -> None:
        assert tx.events(), "what others have gathered is written before this reads"
        tx.connection.execute(BROKEN)

    told: list[str] = []

    def ask(act: Any) -> None:
        with suppress(Unavailable, DBAPIError):
            told.append(commit.submit(act))

    commit = GroupCommit(store)
    started, held = threading.Event(), threading.Event()

    def keep_busy(_: SqlTx) -> None:
        started.set()
        held.wait(10)

    first = threading.Thread(target=commit.submit, args=(keep_busy,))
    first.start()  # the writer is busy, so that both others share the next commit
    assert started.wait(10)
    both = []
    for act in (good, bad):
        both.append(threading.Thread(target=ask, args=(act,)))
        both[-1].start()
        while commit._waiting.qsize() < len(both):
            pass
    held.set()
    for thread in (first, *both):
        thread.join()
    commit.close()
    with store.read() as tx:
        assert told == ["stored" for _ in tx.events()], "who was told is there, who was not may try again"


def test_a_database_that_is_gone_is_unavailable() -> None:
    gone = SqlStore("postgresql+psycopg://nobody@127.0.0.1:1/none")
    with pytest.raises(Unavailable), gone.read():
        pass
    gone.close()


def test_codes_and_nonces_are_used_no_more_often_than_allowed(store: SqlStore) -> None:
    with store.write() as tx:
        tx.add_code(EnrolCode("h", "s0", 1, NOW + MINUTE, "admin"))
        assert tx.use_code("h", NOW + MINUTE) is None
        assert tx.use_code("h", NOW) is not None
        assert tx.use_code("h", NOW) is None
        tx.add_nonce("n", NOW + MINUTE)
        assert tx.use_nonce("n", NOW)
        assert not tx.use_nonce("n", NOW)


def test_crashes_are_counted_by_when_they_were_told_of_whenever_they_resolved_and_by_an_index(store: SqlStore) -> None:
    states = [*FAILURE, ClaimState.GONE]
    with store.write() as tx:
        rollout = fleet(tx, sites=len(states))
        for number, state in enumerate(states):
            claim = claim_for(rollout, f"s{number}-0", f"c{number}")
            assert tx.grant(claim, LIMITS) is None
            assert tx.move(claim, to(claim, state, resolved_at=NOW, crashed_at=NOW + number * MINUTE))
    engine: Any = store._engine
    asked: list[tuple[str, Any]] = []

    def noted(_connection: Any, _cursor: Any, said: str, given: Any, *_: Any) -> None:
        asked.append((said, given))

    event.listen(engine, "before_cursor_execute", noted)
    for number in range(len(FAILURE)):
        with store.read() as tx:
            bad = Bad(["all"], list(FAILURE), NOW + number * MINUTE, crashed=True)
            assert tx.count_bad(rollout.id, [bad]) == [len(FAILURE) - number]
    if engine.dialect.name == "sqlite":
        said, given = [one for one in asked if "crashed_at >=" in one[0]][-1]
        with store.connection() as connection:
            plan = " ".join(str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", given))
        assert "claims_crashed" in plan, "and not all failures of the rings"


def test_the_last_words_of_sites_are_found_by_site_and_are_those_of_active_machines(store: SqlStore) -> None:
    with store.write() as tx:
        for site in ("s1", "s2", "s3"):
            tx.save_site(Site(site, site, "NW", "", True))
        for name, site in (("a", "s1"), ("b", "s1"), ("c", "s2"), ("gone", "s1")):
            joins(tx, name, site, "all", NOW)
            tx.seen(name, NOW + timedelta(hours=name == "gone"))
        assert tx.revoke_machine("gone", NOW)
    engine: Any = store._engine
    asked: list[tuple[str, Any]] = []

    def noted(_connection: Any, _cursor: Any, said: str, given: Any, *_: Any) -> None:
        asked.append((said, given))

    event.listen(engine, "before_cursor_execute", noted)
    with store.read() as tx:
        assert tx.last_words([f"s{number}" for number in range(50)]) == {"s1": (2, NOW), "s2": (1, NOW)}
    if engine.dialect.name == "sqlite":
        [(said, given)] = [one for one in asked if "max(" in one[0]]
        with store.connection() as connection:
            plan = " ".join(str(row) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", given))
        assert "machines_site" in plan, "and not all machines that are active"
