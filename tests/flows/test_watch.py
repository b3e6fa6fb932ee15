"""What was healthy is watched: who is missing at a later boot has relapsed, and that counts everywhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gate.adapters.policy_yaml import parse_text
from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core.model import Action, Artifact, ClaimState, Rollout, RolloutState, Site, Step, Trust
from gate.core.mornings import Morning, Party
from gate.flows import advance, approvals, claims, intake, people, recalls, sweep
from gate.ports import ActivePolicy, Gate
from tests import long_run
from tests.flows.small_fleet import appears, joins, says, takes
from tests.flows.test_site_times import at
from tests.flows.test_stateful import gate_for

pytestmark = pytest.mark.slow

BRAKE = "brakes:\n  - {if: relapsed >= 2, then: halt, why: late failures are failures}\n"
OPENING = long_run.START + timedelta(days=1, hours=2)  # the next day, eight o'clock


@pytest.fixture
def done(store: SqlStore) -> Gate:
    """A release that every machine of six sites took on the first day."""
    plan = long_run.plan(sites=6, days=1, releases_a_day=1)
    sim, gate = long_run.simulation(store, plan, long_run.POLICY + BRAKE)
    sim.start()
    sim.advance_to(plan.start + timedelta(hours=12))
    with store.read() as tx:
        assert tx.rollouts()[0].state is RolloutState.DONE
    return gate


def seen(tx: SqlTx, at: datetime, but: frozenset[str] = frozenset()) -> None:
    """Every machine is heard of, but for these."""
    for machine in tx.machines(limit=1000):
        if machine.id not in but:
            tx.seen(machine.id, at)


def relapsed(tx: SqlTx) -> set[str]:
    return {claim.machine for claim in tx.claims(tx.rollouts()[0].id, states=(ClaimState.RELAPSED,))}


@pytest.mark.parametrize(
    ("minutes", "count"),
    [(119, 0), (120, 0), (121, 2), (180, 2)],
    ids=["before", "at two hours", "stay up too", "after"],
)
def test_a_machine_that_does_not_come_back_the_next_day_has_relapsed(
    store: SqlStore, done: Gate, minutes: int, count: int
) -> None:
    with store.write() as tx:
        claims = tx.claims(tx.rollouts()[0].id)
        gone = frozenset(sorted(claim.machine for claim in claims)[:2])
        seen(tx, OPENING + timedelta(minutes=30), but=gone)
        healthy = sum(one.healthy for one in tx.strata(claims[0].rollout))
        sweep.look_after(tx, done, OPENING + timedelta(minutes=minutes))
        assert len(relapsed(tx)) == count
        assert relapsed(tx) <= gone
        assert sum(one.healthy for one in tx.strata(claims[0].rollout)) == healthy - count
        assert sum(one.failed for one in tx.strata(claims[0].rollout)) == count
        halted = advance.watch_rollout(tx, done, claims[0].rollout, OPENING + timedelta(minutes=minutes))
        assert (halted is not None and halted.state is RolloutState.HALTED) == (count >= 2)
        kinds = [event.kind for event in tx.events(subject=claims[0].rollout)]
        assert kinds.count("claim_relapsed") == count


def test_one_that_comes_back_is_recovered_gives_its_slot_back_and_stays_a_failure(store: SqlStore, done: Gate) -> None:
    at = OPENING + timedelta(hours=3)
    with store.write() as tx:
        [rollout] = tx.rollouts()
        late = min(claim.machine for claim in tx.claims(rollout.id))
        seen(tx, OPENING, but=frozenset({late}))
        assert sweep.look_after(tx, done, at) == 1
        tx.seen(late, at + timedelta(minutes=1))
        assert sweep.look_after(tx, done, at + timedelta(minutes=11)) == 0
        claim = tx.claim_of(late, rollout.id)
        assert claim is not None
        assert (claim.state, claim.recovered, claim.watch_at) == (ClaimState.RELAPSED, True, None)
        assert advance.watch_rollout(tx, done, rollout.id, at) is None, "one is below the brake"


@pytest.mark.parametrize(("hours", "sites"), [(3, 0), (4, 1), (5, 1)])
def test_a_site_of_which_nobody_is_heard_is_dark_first_and_then_counts_once(
    store: SqlStore, done: Gate, hours: int, sites: int
) -> None:
    with store.write() as tx:
        dark = tx.sites()[0].id
        seen(tx, OPENING, but=frozenset(one.id for one in tx.machines(site=dark, limit=100)))
        for minutes in range(130, hours * 60 + 1, 5):
            sweep.look_after(tx, done, OPENING + timedelta(minutes=minutes))
        assert len(relapsed(tx)) == sites


def test_the_watch_ends_after_seven_days(store: SqlStore, done: Gate) -> None:
    with store.write() as tx:
        for day in range(8):
            seen(tx, OPENING + timedelta(days=day, minutes=5))
            assert sweep.look_after(tx, done, OPENING + timedelta(days=day, hours=3)) == 0
        assert tx.watched(OPENING + timedelta(days=30)) == []
        assert sweep.look_after(tx, done, OPENING + timedelta(days=20)) == 0


def test_a_site_that_stays_dark_for_days_counts_once_until_it_is_heard_again(store: SqlStore, done: Gate) -> None:
    with store.write() as tx:
        dark = tx.sites()[0].id
        gone = frozenset(one.id for one in tx.machines(site=dark, limit=100))
        for day in range(3):
            at = OPENING + timedelta(days=day)
            seen(tx, at, but=gone)
            for minutes in range(130, 600, 10):
                sweep.look_after(tx, done, at + timedelta(minutes=minutes))
            assert len(relapsed(tx)) == 1, f"day {day}"
        first = relapsed(tx)
        back = OPENING + timedelta(days=3)
        seen(tx, back, but=gone - first)
        sweep.look_after(tx, done, back + timedelta(minutes=121))
        assert relapsed(tx) == gone, "it is heard again: who is still missing counts for himself"


def test_machines_of_a_dark_site_have_a_whole_deadline_once_it_is_heard_again(store: SqlStore, done: Gate) -> None:
    with store.write() as tx:
        site = tx.sites()[0].id
        mine = sorted(one.id for one in tx.machines(site=site, limit=100))
        seen(tx, OPENING, but=frozenset(mine))
        for minutes in range(130, 231, 10):
            sweep.look_after(tx, done, OPENING + timedelta(minutes=minutes))
        tx.seen(mine[0], OPENING + timedelta(minutes=235))  # five minutes before its grace is over
        for minutes in range(240, 361, 10):
            assert sweep.look_after(tx, done, OPENING + timedelta(minutes=minutes)) == 0, minutes
        for minutes in range(361, 400, 10):
            sweep.look_after(tx, done, OPENING + timedelta(minutes=minutes))
        assert relapsed(tx) == set(mine[1:])


SHORT = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {{by: [role]}}
sources:
  - {{name: one, plugin: directory}}
rings:
  - {{name: all, why: w, pick: {{role: [till]}}, at_most: {{per_site: 4}}, gate: {{soak: 30m, at_least: 3}}}}
defaults: {{stay_up: 1m, deadline: {deadline}, reboot: after install}}
"""


@pytest.mark.parametrize(
    ("deadline", "saturday", "decided"),
    [
        ("2h open", "09:00-13:00", "2026-11-28 11:01"),
        ("4h open", "09:00-13:00", "2026-11-28 13:01"),
        ("2h open", "09:00-11:00", "2026-11-28 11:01"),
        ("3h open", "09:00-11:00", "2026-11-30 09:01"),
        ("9h open", "09:00-13:00", "2026-11-30 13:01"),
    ],
    ids=["inside the day", "the whole day", "a short day", "longer than the day", "much longer"],
)
@pytest.mark.parametrize("comes", [False, True])
def test_an_opening_day_is_decided_also_where_its_deadline_ends_after_closing(
    store: SqlStore, deadline: str, saturday: str, decided: str, *, comes: bool
) -> None:
    gate, friday = gate_for(SHORT.format(deadline=deadline)), at("2026-11-27 09:00")
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", friday, "test"), "")
        tx.save_site(Site("a", "A", "NW", f"Mo-Fr 08:00-18:00; Sa {saturday}"))
        for name in ("till", "other"):
            joins(tx, name, "a", "all", friday)
            tx.seen(name, friday)
        rollout = appears(tx, gate, friday)
        advance.advance_rollout(tx, gate, rollout, friday)
        says(tx, gate, takes(tx, gate, rollout, "till", friday), Step.HEALTHY, "b1", friday)
        tx.seen("other", at("2026-11-28 09:05"))
        last, minute = at(decided), timedelta(minutes=1)
        sweep.look_after(tx, gate, last - minute)
        assert relapsed(tx) == set(), "before its deadline"
        if comes:
            tx.seen("till", last - minute)
        tx.seen("other", last - minute)
        sweep.look_after(tx, gate, last)
        assert relapsed(tx) == (set() if comes else {"till"})
        claim = tx.claim_of("till", rollout)
        assert claim is not None
        assert claim.days == 1


@pytest.mark.parametrize(
    ("healthy", "looked_at"),
    [("07:59", False), ("08:00", False), ("08:01", True), ("10:02", True), ("17:00", True)],
    ids=["before opening", "at opening", "a minute of it", "after its deadline", "in the evening"],
)
def test_the_last_day_of_a_watch_is_one_that_begins_within_it(
    store: SqlStore, healthy: str, *, looked_at: bool
) -> None:
    gate, first = gate_for(SHORT.format(deadline="2h open")), at(f"2026-11-27 {healthy}")
    with store.write() as tx:
        tx.activate_policy(ActivePolicy("v", first, "test"), "")
        tx.save_site(Site("a", "A", "NW", "Mo-Fr 08:00-18:00"))
        for name in ("till", "other"):
            joins(tx, name, "a", "all", first)
        rollout = appears(tx, gate, first)
        advance.advance_rollout(tx, gate, rollout, first)
        says(tx, gate, takes(tx, gate, rollout, "till", first), Step.HEALTHY, "b1", first)
        for day in (27, 30, 31, 32, 33):  # of November
            for name in ("till", "other"):
                tx.seen(name, at("2026-11-01 17:00") + timedelta(days=day - 1))
            sweep.look_after(tx, gate, at("2026-11-01 17:30") + timedelta(days=day - 1))
        last, minute = at("2026-12-04 10:01"), timedelta(minutes=1)  # of the day on which the seven days are over
        tx.seen("other", last - minute)
        sweep.look_after(tx, gate, last - minute)
        assert relapsed(tx) == set(), "before its deadline"
        sweep.look_after(tx, gate, last)
        assert relapsed(tx) == ({"till"} if looked_at else set())
        assert tx.watched(last + timedelta(minutes=30)) == ([tx.claim_of("till", rollout)] if looked_at else [])


def test_a_day_that_is_declared_closed_is_no_day_of_the_watch(store: SqlStore, done: Gate) -> None:
    with store.write() as tx:
        for site in tx.sites():
            tx.save_site(replace(site, hours="We-Fr 08:00-18:00"))  # OPENING is a Tuesday
        assert sweep.look_after(tx, done, OPENING + timedelta(hours=6)) == 0
        seen(tx, OPENING + timedelta(days=1, minutes=5))
        assert sweep.look_after(tx, done, OPENING + timedelta(days=1, hours=6)) == 0
        days = {claim.days for claim in tx.claims(tx.rollouts()[0].id)}
        assert days == {1}


def test_the_clock_of_a_watched_machine_stands_while_nobody_listened(store: SqlStore, done: Gate) -> None:
    with store.write() as tx:
        gone = frozenset({min(claim.machine for claim in tx.claims(tx.rollouts()[0].id))})
        seen(tx, OPENING, but=gone)
        tx.add_gap(OPENING, OPENING + timedelta(hours=2))
        assert sweep.look_after(tx, done, OPENING + timedelta(hours=3)) == 0
        seen(tx, OPENING + timedelta(hours=3), but=gone)
        assert sweep.look_after(tx, done, OPENING + timedelta(hours=5)) == 1


def newer(store: SqlStore, gate: Gate, now: datetime) -> tuple[Rollout, Rollout]:
    """A newer release takes over from the one that is done: the older and the newer rollout."""
    with store.write() as tx:
        intake.candidate_seen(
            tx, gate, source="shop", version="newer", kind="content", boot_critical=False,
            artifacts=(Artifact("content.bin", 1, "0" * 64),), trust=Trust.VENDOR_SIGNED, now=now,
            policy_version=tx.rollouts()[0].policy_version,
        )  # fmt: skip
        two, one = tx.rollouts()
        assert (one.state, two.state) == (RolloutState.SUPERSEDED, RolloutState.RUNNING)
    return one, two


def lost(store: SqlStore, gate: Gate, rollout: str, count: int) -> Rollout | None:
    """So many machines that have a release do not come back the next day; the rollout, where that halts it."""
    with store.write() as tx:
        gone = frozenset(sorted(claim.machine for claim in tx.claims(rollout))[:count])
        seen(tx, OPENING + timedelta(minutes=30), but=gone)
        at = OPENING + timedelta(hours=3)
        assert sweep.look_after(tx, gate, at) == count
        return advance.watch_rollout(tx, gate, rollout, at)


@pytest.mark.parametrize("count", [1, 2])
def test_one_that_a_newer_release_has_superseded_is_halted_by_the_same_brakes(
    store: SqlStore, done: Gate, count: int
) -> None:
    old, new = newer(store, done, OPENING - timedelta(hours=8))
    halted = lost(store, done, old.id, count)
    assert (halted is not None and halted.state is RolloutState.HALTED) == (count >= 2)
    with store.write() as tx:
        found = tx.rollout(new.id)
        assert found is not None
        assert found.state is RolloutState.RUNNING, "the newer one goes on"
        if halted is not None:
            for who in ("anna", "berta"):
                recalled = recalls.recall(tx, old.id, who, "it bricks", OPENING)
            assert isinstance(recalled, Rollout)
            assert recalled.state is RolloutState.RECALLED
            assert {one.action for one in approvals.wanted(tx, ["shop"])} == {Action.RECALL}, "none has the newer one"


def test_one_that_was_superseded_before_its_last_ring_is_watched_as_well(store: SqlStore, done: Gate) -> None:
    with store.write() as tx:
        [rollout] = tx.rollouts()
        halfway = replace(rollout, state=RolloutState.SUPERSEDED, reached=0, done_at=None, version=rollout.version + 1)
        assert tx.save_rollout(halfway)
        last = tx.rings(rollout.id)[-1]
        tx.open_ring(replace(last, opened_at=None), [], first_batch=3)
    assert lost(store, done, rollout.id, 2) is not None


@pytest.mark.parametrize("superseded", [False, True])
def test_a_silent_morning_halts_what_is_done_and_nothing_that_was_superseded(
    store: SqlStore, done: Gate, *, superseded: bool
) -> None:
    text = long_run.POLICY + "brakes:\n  - {if: missing >= 20%, then: halt, why: nobody is there}\n"
    gate = replace(done, policy=lambda _: parse_text(text))
    party = Party(OPENING - timedelta(minutes=90), OPENING, 24, 24, 4, 6, 5, OPENING)
    morning = Morning(f"{OPENING:%Y-%m-%d}", OPENING, OPENING, 0.0, 24, 20, (party,))
    with store.read() as tx:
        [rollout] = tx.rollouts()
    if superseded:
        newer(store, gate, OPENING)
    with store.write() as tx:
        tx.save_morning(morning)
        assert (advance.watch_rollout(tx, gate, rollout.id, OPENING) is None) == superseded


def test_a_person_halts_one_that_is_superseded(store: SqlStore, done: Gate) -> None:
    old, _ = newer(store, done, OPENING)
    with store.write() as tx:
        assert people.halt(tx, old.id, "anna", "it bricks", OPENING).state is RolloutState.HALTED


@pytest.mark.parametrize(("days", "watched"), [(0, True), (6, True), (14, True), (15, False)])
def test_the_watch_runs_from_the_last_machine_that_took_it(
    store: SqlStore, done: Gate, days: int, *, watched: bool
) -> None:
    later = OPENING + timedelta(days=20)
    with store.write() as tx:
        [(rollout, last)] = tx.exposed()
        assert last is not None
        assert not advance.watched(done, rollout, last, later + timedelta(days=days))
        claim = tx.claims(rollout.id)[0]
        assert tx.move(claim, replace(claim, resolved_at=later, version=claim.version + 1))
        [(_, last)] = tx.exposed()
        assert advance.watched(done, rollout, last, later + timedelta(days=days)) == watched
        assert tx.move(
            replace(claim, version=claim.version + 1),
            replace(claim, state=ClaimState.INSTALLED, version=claim.version + 2),
        )
        [(_, last)] = tx.exposed()
        assert advance.watched(done, rollout, last, later + timedelta(days=300)), "it is in flight"


def test_a_machine_that_installs_the_newer_one_and_does_not_come_back_is_no_failure_of_the_older(
    store: SqlStore, done: Gate
) -> None:
    old, new = newer(store, done, OPENING - timedelta(hours=8))
    with store.write() as tx:
        advance.advance_rollout(tx, done, new.id, OPENING - timedelta(hours=8))
        first = sorted(one.id for one in tx.machines(ring="pilot", limit=100))[0]
        machine = tx.machine(first)
        assert machine is not None
        answer = claims.claim(tx, done, machine, "shop", new.release, "b7", OPENING - timedelta(hours=8))
        assert isinstance(answer, tuple), answer
        said = claims.Report(answer[0].id, Step.INSTALLED, "b7", timedelta(minutes=2), new.release)
        claims.report(tx, done, machine, said, OPENING - timedelta(hours=8))
        seen(tx, OPENING + timedelta(minutes=30), but=frozenset({first}))
        assert sweep.look_after(tx, done, OPENING + timedelta(hours=3)) == 0
        claim = tx.claim_of(first, old.id)
        assert claim is not None
        assert (claim.state, claim.watch_at is None) == (ClaimState.HEALTHY, False), "it may yet go back to it"


@pytest.mark.parametrize("half", [False, True], ids=["was done", "half-way"])
def test_one_that_is_resumed_after_a_newer_one_is_done_does_not_run_again(
    store: SqlStore, done: Gate, *, half: bool
) -> None:
    old, new = newer(store, done, OPENING)
    with store.write() as tx:
        if half:
            before = tx.rollout(old.id)
            assert before is not None
            assert tx.save_rollout(replace(before, done_at=None, version=before.version + 1))
        people.halt(tx, old.id, "anna", "it bricks", OPENING)
        over = replace(new, state=RolloutState.DONE, done_at=OPENING, version=new.version + 1)
        assert tx.save_rollout(over)
        for who in ("anna", "berta"):
            people.resume(tx, old.id, who, "it was the printer", OPENING)
        found = tx.rollout(old.id)
        assert found is not None
        assert found.state is RolloutState.SUPERSEDED


@pytest.mark.parametrize("held", [True, False])
def test_a_vendor_that_withdraws_a_superseded_release_halts_it_while_a_machine_has_it(
    store: SqlStore, done: Gate, *, held: bool
) -> None:
    old, _ = newer(store, done, OPENING)
    with store.write() as tx:
        release = tx.release(old.release)
        assert release is not None
        if held:
            claim = tx.claims(old.id)[0]
            assert tx.move(claim, replace(claim, state=ClaimState.SILENT, version=claim.version + 1))
        halted = [one.id for one in recalls.withdrawn(tx, "shop", [release.version], OPENING)]
        assert halted == ([old.id] if held else [])
        assert next(one.kind for one in tx.events(subject=release.id)) == "release_withdrawn"


@pytest.mark.parametrize("on_halt", ["stay", "recall"])
def test_the_simulation_recalls_what_halts_where_the_policy_says_so(store: SqlStore, on_halt: str) -> None:
    plan = long_run.plan(sites=6, days=1, releases_a_day=1)
    text = long_run.POLICY.replace("defaults: {", f"defaults: {{on_halt: {on_halt}, ")
    sim, _ = long_run.simulation(store, plan, text)
    sim.start()
    sim.advance_to(plan.start + timedelta(hours=12))
    with store.write() as tx:
        people.halt(tx, tx.rollouts()[0].id, "anna", "it bricks", sim.now)
    sim.advance_to(sim.now + timedelta(minutes=10))
    with store.read() as tx:
        assert tx.rollouts()[0].state is (RolloutState.RECALLED if on_halt == "recall" else RolloutState.HALTED)


def test_of_what_is_superseded_only_that_is_judged_under_which_machines_are_in_flight_or_have_failed(
    store: SqlStore, done: Gate
) -> None:
    with store.read() as tx:
        assert [one.state for one, _ in tx.exposed()] == [RolloutState.DONE]
    old, _ = newer(store, done, OPENING - timedelta(hours=8))
    with store.read() as tx:
        assert tx.exposed() == []
    lost(store, done, old.id, 1)
    with store.read() as tx:
        assert [(one.id, one.state) for one, _ in tx.exposed()] == [(old.id, RolloutState.SUPERSEDED)]
