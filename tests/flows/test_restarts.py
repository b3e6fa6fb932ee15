"""A crash, or a second boot that nobody asked for, in the watch is a failure, as silence is: both databases."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from pathlib import Path

import pytest

from gate.adapters.store.sql import SqlStore
from gate.core.errors import Overtaken
from gate.core.model import Claim, ClaimState, RolloutState, Site, Step
from gate.flows import advance, gathering, machines, people, restarts, sweep
from tests.flows.small_fleet import appears
from tests.flows.test_silence import POLICY, Shop
from tests.flows.test_site_times import at

BRAKE = "  - {if: relapsed >= 2, then: halt, why: late failures are failures}\n"
WORD = tuple[str, str, tuple[str, ...]]
HEALTHY, RELAPSED = ClaimState.HEALTHY, ClaimState.RELAPSED


CRASHES = "  - {if: crashed >= 2, within: 30m, then: halt, why: two crashes are no accident}\n"
MISSED = "missed"  # its morning, or the deadline of what it has in hand


def healthy(store: SqlStore, *names: str, brake: str = BRAKE) -> Shop:
    """A shop of which these machines have the release and are healthy since Monday, nine o'clock; their boot is b1."""
    shop = Shop(store, POLICY.replace("defaults: {", "defaults: {supersede: restart, ") + brake)
    for claim in shop.installed(*names):
        with shop.write() as tx:
            shop.report(tx, claim, Step.BOOTED, "b1")
            shop.report(tx, claim, Step.HEALTHY, "b1")
        checks_in(shop, claim.machine, ("b1", "2026-11-23 09:00", ()))
    return shop


def checks_in(shop: Shop, name: str, word: WORD, has: str | None = None) -> Claim:
    """The claim after a check-in: boot, clock, the kinds of its events."""
    boot, clock, kinds = word
    shop.at(clock)
    with shop.write() as tx:
        machine, session, rollout = tx.machine(name), tx.session(name), tx.rollout(shop.rollout)
        assert machine is not None
        assert rollout is not None
        events = tuple(machines.Said(kind, "", "") for kind in kinds)
        installed = {"one": rollout.release if has is None else has}
        said = machines.CheckIn(boot, timedelta(minutes=2), installed, events=events)
        call = machines.Call(machine, f"checkin:{clock}", session.seq + 1 if session else 1, session)
        machines.checkin(tx, shop.gate, machine, said, lambda one: (one.ring, one.make), shop.now)
        machines.answer_call(tx, call, machines.Answer(200, "{}"), shop.now, challenge="c", said=said)
    return shop.claim(name)


def test_one_crash_in_the_watch_is_a_failure_that_counts_for_the_brakes(store: SqlStore) -> None:
    shop = healthy(store, "a0", "b0")
    crashed = checks_in(shop, "a0", ("b2", "2026-11-23 11:00", ("crashed",)))
    assert (crashed.state, crashed.recovered) == (RELAPSED, False)
    with store.read() as tx:
        [make] = [one for one in tx.strata(shop.rollout) if one.ring == "all"]
        assert (make.healthy, make.failed) == (1, 1)
        assert [(one.healthy, one.failed) for one in tx.budgets(shop.rollout)] == [(1, 1), (1, 1)]
        [event] = [one for one in tx.events(subject=shop.rollout) if one.kind == "claim_relapsed"]
        assert (event.actor, event.detail["detail"]) == ("machine:a0", restarts.CRASH)
    with store.write() as tx:
        advance.advance_rollout(tx, shop.gate, shop.rollout, shop.now)
    assert state(shop) is RolloutState.RUNNING
    checks_in(shop, "b0", ("b2", "2026-11-23 11:05", ("crashed",)))
    with store.write() as tx:
        advance.advance_rollout(tx, shop.gate, shop.rollout, shop.now)
    assert state(shop) is RolloutState.HALTED


def says(shop: Shop, name: str, said: str, minute: int) -> None:
    """A step of a report, an event of a check-in, or nothing at all, while others of its site are heard."""
    clock = f"2026-11-24 11:{minute:02}"
    if said == MISSED:
        shop.at(clock)
        shop.hear("a1", "b1")
        shop.sweep(clock)
        with shop.write() as tx:
            sweep.look_after(tx, shop.gate, shop.now)
        return
    if said == restarts.CRASHED:
        checks_in(shop, name, (f"b{minute}", clock, (said,)))
        return
    shop.at(clock)
    with shop.write() as tx:
        shop.report(tx, shop.claim(name), Step(said), f"b{minute}")


@pytest.mark.parametrize(
    ("first", "second", "crashes"),
    [
        (("crashed",), ("crashed",), 2),
        ((Step.FAILED,), (Step.ROLLED_BACK,), 2),
        ((Step.UNHEALTHY, Step.FAILED), (Step.FAILED, Step.UNHEALTHY), 2),
        ((Step.ROLLED_BACK, Step.FAILED), (Step.UNHEALTHY, Step.ROLLED_BACK), 2),
        ((Step.UNHEALTHY,), ("crashed",), 1),
        ((Step.UNHEALTHY,), (Step.UNHEALTHY,), 0),
        ((MISSED, "crashed"), ("crashed",), 2),
        ((MISSED, Step.FAILED), (Step.ROLLED_BACK,), 2),
        ((MISSED, "crashed"), (Step.UNHEALTHY,), 1),
        ((MISSED,), (Step.UNHEALTHY,), 0),
    ],
)
@pytest.mark.parametrize("explained", [False, True])
def test_the_brake_on_crashes_counts_one_that_crashes_after_it_was_healthy(
    store: SqlStore, first: tuple[str, ...], second: tuple[str, ...], crashes: int, *, explained: bool
) -> None:
    shop = healthy(store, "a0", "b0", brake=CRASHES)
    for minute, (name, said) in enumerate([*(("a0", one) for one in first), *(("b0", one) for one in second)]):
        says(shop, name, said, minute)
    with store.write() as tx:
        assert [shop.claim(name).state for name in ("a0", "b0")] == [RELAPSED, RELAPSED]
        assert sum(one.crashed for one in tx.strata(shop.rollout)) == crashes
        if explained:
            people.explain_failure(tx, shop.gate, shop.claim("a0").id, "anna", "its disk was dead", shop.now)
        decided = advance.advance_rollout(tx, shop.gate, shop.rollout, shop.now)
    codes = {reason.code for one in decided for reason in one.reasons}
    assert ("brake" in codes) == (crashes == 2 and not explained)


Words = tuple[str, ...]
Found = tuple[int, int, set[tuple[ClaimState, bool]]]


@pytest.fixture
def found_in(template_file: Path, tmp_path: Path) -> Callable[..., dict[Words, Found]]:
    """What these words come to, by their order."""

    def found(words: Words, *, was_healthy: bool) -> dict[Words, Found]:
        made = {}
        for number, order in enumerate(permutations(words)):
            file = shutil.copyfile(template_file, tmp_path / f"{number}.db")
            store = SqlStore(f"sqlite:///{file}", durable=False)
            made[order] = found_after(store, order, was_healthy=was_healthy)
            store.close()
        return made

    return found


def found_after(store: SqlStore, words: Words, *, was_healthy: bool) -> Found:
    """Two machines say these, fifteen minutes apart, and are heard again: what the brake has come to, how many count as
    crashed, the states of their claims and whether they are recovered."""
    names, most = ("a0", "b0"), 0
    shop = healthy(store, *(names if was_healthy else ()), brake=CRASHES)
    shop.installed(*(() if was_healthy else names))
    for number, said in enumerate(words):
        for name in names:
            says(shop, name, said, 15 * number)
        most = max(most, braked(shop))
    for day in (25, 26):
        shop.at(f"2026-11-{day} 09:30")
        shop.hear("a0", "b0", "a1", "b1")
        with store.write() as tx:
            sweep.look_after(tx, shop.gate, shop.now)
    with store.read() as tx:
        crashed = sum(one.crashed for one in tx.strata(shop.rollout))
    claims = [shop.claim(name) for name in names]
    return most, crashed, {(one.state, one.recovered) for one in claims}


def braked(shop: Shop) -> int:
    """What the brake on crashes counts now."""
    with shop.store.read() as tx:
        rollout = tx.rollout(shop.rollout)
        assert rollout is not None
        policy = shop.gate.policy(rollout.policy_version)
        return gathering.brake_counts(tx, shop.gate, policy, rollout, None, shop.now)[1].count


@pytest.mark.parametrize(
    ("words", "crashes", "recovered"),
    [
        ((MISSED,), 0, True),
        ((MISSED, "crashed"), 2, True),
        ((MISSED, Step.UNHEALTHY), 0, False),
        ((MISSED, Step.FAILED), 2, False),
        ((MISSED, Step.ROLLED_BACK), 2, True),
        ((MISSED, Step.FAILED, Step.ROLLED_BACK), 2, True),
        ((MISSED, Step.UNHEALTHY, Step.FAILED), 2, False),
        ((MISSED, Step.UNHEALTHY, "crashed"), 2, False),
        ((MISSED, "crashed", Step.ROLLED_BACK), 2, True),
    ],
)
def test_the_same_words_of_one_that_was_healthy_come_to_the_same_in_every_order(
    found_in: Callable[..., dict[Words, Found]], words: Words, crashes: int, recovered: bool
) -> None:
    found = found_in(words, was_healthy=True)
    assert found == dict.fromkeys(found, (crashes, crashes, {(RELAPSED, recovered)}))


@pytest.mark.parametrize(
    ("words", "crashes"),
    [
        ((MISSED, Step.FAILED), 2),
        ((MISSED, Step.ROLLED_BACK), 2),
        ((MISSED, Step.FAILED, Step.ROLLED_BACK), 2),
        ((MISSED, Step.UNHEALTHY), 0),
        ((Step.UNHEALTHY, Step.FAILED), 2),
        ((Step.UNHEALTHY, Step.ROLLED_BACK, Step.FAILED), 2),
    ],
)
def test_a_crash_in_the_first_boots_counts_in_every_order(
    found_in: Callable[..., dict[Words, Found]], words: Words, crashes: int
) -> None:
    found = found_in(words, was_healthy=False)
    assert {order: (one[0], one[1]) for order, one in found.items()} == dict.fromkeys(found, (crashes, crashes))


def test_a_silent_one_that_comes_back_and_tells_of_a_crash_stays_silent_and_counts_once(store: SqlStore) -> None:
    shop = healthy(store, brake=CRASHES)
    for one in shop.installed("a0", "b0"):
        checks_in(shop, one.machine, ("b1", "2026-11-23 09:00", ()))
    for name, minute in (("a0", 0), ("b0", 1), ("b0", 2)):
        says(shop, name, MISSED, minute)
        says(shop, name, "crashed", minute)
    told = shop.claim("b0")
    assert (told.state, told.recovered, told.crashed_at) == (ClaimState.SILENT, False, at("2026-11-24 11:01"))
    with store.read() as tx:
        assert sum(one.crashed for one in tx.strata(shop.rollout)) == 2
    assert braked(shop) == 2


def state(shop: Shop) -> RolloutState:
    with shop.store.read() as tx:
        rollout = tx.rollout(shop.rollout)
        assert rollout is not None
        return rollout.state


def test_one_that_is_heard_again_is_recovered_and_counts_once_however_often_it_crashes(store: SqlStore) -> None:
    shop = healthy(store, "a0")
    checks_in(shop, "a0", ("b2", "2026-11-23 11:00", ("crashed",)))
    checks_in(shop, "a0", ("b3", "2026-11-23 11:05", ("crashed",)))
    shop.at("2026-11-23 11:10")
    with store.write() as tx:
        assert sweep.look_after(tx, shop.gate, shop.now) == 0
    after = checks_in(shop, "a0", ("b4", "2026-11-23 11:15", ("crashed",)))
    assert (after.state, after.recovered, after.watch_at) == (RELAPSED, True, None)
    with store.read() as tx:
        assert [(one.failed, one.tried) for one in tx.budgets(shop.rollout)] == [(1, 1), (1, 1)]


def morning(day: int, boot: str) -> list[WORD]:
    return [(boot, f"2026-11-{day} 07:50", ()), (boot, f"2026-11-{day} 09:30", ())]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([("b2", "2026-11-23 10:00", ())], HEALTHY),
        ([("b2", "2026-11-23 10:00", ()), ("b3", "2026-11-23 11:00", ())], RELAPSED),
        ([("b2", "2026-11-23 10:00", ()), ("b2", "2026-11-23 11:00", ())], HEALTHY),
        (
            [("b2", "2026-11-23 10:00", ()), *morning(24, "b3"), ("b4", "2026-11-24 10:00", ())],
            RELAPSED,
        ),
        ([*morning(24, "b2"), *morning(25, "b3"), *morning(26, "b4"), ("b5", "2026-11-26 10:00", ())], HEALTHY),
        ([("b2", "2026-11-23 10:00", ("ended_clean",)), ("b3", "2026-11-23 11:00", ("ended_clean",))], HEALTHY),
        (
            [
                ("b1", "2026-11-23 09:59", ("going_down",)), ("b2", "2026-11-23 10:00", ()),
                ("b2", "2026-11-23 10:59", ("going_down",)), ("b3", "2026-11-23 11:00", ()),
            ],
            HEALTHY,
        ),
        ([("b2", "2026-11-23 10:00", ("ended_clean", "crashed"))], RELAPSED),
        ([("b2", "2026-11-30 08:59", ("crashed",))], RELAPSED),
        ([("b2", "2026-11-30 09:00", ("crashed",))], HEALTHY),
    ],
    ids=[
        "one", "two", "one, heard twice", "two on two days", "mornings", "clean", "planned", "a crash all the same",
        "in the watch", "after it",
    ],
)  # fmt: skip
def test_limits_of_boots_that_nobody_asked_for(store: SqlStore, words: list[WORD], expected: ClaimState) -> None:
    shop = healthy(store, "a0")
    for word in words:
        claim = checks_in(shop, "a0", word)
    assert claim.state is expected
    with store.read() as tx:
        why = [one.detail["detail"] for one in tx.events(subject=shop.rollout) if one.kind == "claim_relapsed"]
    crashed = "crashed" in words[-1][2]
    assert why == ([] if expected is HEALTHY else [restarts.CRASH if crashed else restarts.TWICE])


def test_a_boot_after_a_pause_or_in_a_gap_of_our_own_is_asked_for_by_nobody_who_knows(store: SqlStore) -> None:
    shop = healthy(store, "a0", "b0")
    with store.write() as tx:
        tx.save_site(Site("a", "a", "NW", "Mo-Fr 08:00-10:00,12:00-18:00"))
        tx.add_gap(at("2026-11-23 10:10"), at("2026-11-23 10:40"))
    for name in ("a0", "b0"):
        checks_in(shop, name, ("b2", "2026-11-23 09:30", ()))
        checks_in(shop, name, ("b2", "2026-11-23 09:50", ()))
        checks_in(shop, name, ("b3", "2026-11-23 12:10", ()))
        assert shop.claim(name).state is HEALTHY, "the site was closed for two hours; nobody listened for one"
        assert checks_in(shop, name, ("b4", "2026-11-23 12:30", ())).state is RELAPSED


def test_what_it_says_with_another_claim_begun_or_another_release_in_place_is_not_this_ones(store: SqlStore) -> None:
    shop = healthy(store, "a0", "b0")
    assert checks_in(shop, "b0", ("b2", "2026-11-23 10:00", ("crashed",)), has="-").state is HEALTHY
    first = shop.rollout
    with store.write() as tx:
        shop.rollout = appears(tx, shop.gate, shop.now, version="2")
        advance.advance_rollout(tx, shop.gate, shop.rollout, shop.now)
    shop.installed("a0")
    shop.rollout = first
    assert checks_in(shop, "a0", ("b2", "2026-11-23 11:00", ("crashed",))).state is HEALTHY


def test_a_claim_that_another_process_has_moved_is_not_moved_again(store: SqlStore) -> None:
    shop = healthy(store, "a0")
    old = shop.claim("a0")
    checks_in(shop, "a0", ("b2", "2026-11-23 11:00", ("crashed",)))
    with store.write() as tx, pytest.raises(Overtaken):
        restarts._relapse(tx, shop.gate, old, shop.now, crashed=True)
