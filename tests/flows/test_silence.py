"""Silence counts only while somebody listened, the site was not dark and the machine was to be on: both databases."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from gate.adapters.store.sql import SqlStore, SqlTx
from gate.core.model import Claim, Site, Step
from gate.flows import advance, listening, machines, silence, site_times, sweep
from gate.ports import ActivePolicy
from tests.flows.small_fleet import appears, joins, says, takes
from tests.flows.test_site_times import BERLIN, at
from tests.flows.test_stateful import gate_for

pytestmark = pytest.mark.slow

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
MONDAY = at("2026-11-23 09:00")
POLICY = """\
version: 1
fleet: f
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: one, plugin: directory}
rings:
  - {name: all, why: w, pick: {role: [till]}, at_most: {per_site: half}, gate: {soak: 4h open, at_least: 2}}
  - {name: rest, why: w, pick: {role: [server]}, gate: {soak: 1h open, at_least: 1}}
at_risk: {per_make: 30, fleet: 30}
first_batch: 20
defaults: {stay_up: 1m, deadline: learned, reboot: after install, site_dark_grace: 4h open}
brakes:
  - {if: silent >= 2, within: 20m after install, then: halt, why: enough}
"""


class Shop:
    """A running rollout; site ``a`` has four tills, site ``b`` two; of two at ``c`` one was never heard."""

    def __init__(self, store: SqlStore, policy: str = POLICY) -> None:
        self.store, self.gate, self.now = store, gate_for(policy), MONDAY
        with self.write() as tx:
            tx.activate_policy(ActivePolicy("v", self.now, "test"), "")
            for site, tills in (("a", 4), ("b", 2), ("c", 2)):
                tx.save_site(Site(site, site, "NW", "Mo-Fr 08:00-18:00"))
                for number in range(tills):
                    name = f"{site}{number}"
                    joins(tx, name, site, "all", self.now)
                    if name != "c1":
                        tx.seen(name, self.now)
            self.rollout = appears(tx, self.gate, self.now)
            advance.advance_rollout(tx, self.gate, self.rollout, self.now)

    def write(self) -> Any:
        return self.store.write()

    def installed(self, *names: str) -> list[Claim]:
        """Each takes the release and says that it is installed."""
        found = []
        for name in names:
            with self.write() as tx:
                found.append(takes(tx, self.gate, self.rollout, name, self.now, "boot-0"))
                tx.seen(name, self.now)
        return found

    def report(self, tx: SqlTx, claim: Claim, step: Step, boot: str) -> Claim:
        after = says(tx, self.gate, claim, step, boot, self.now)
        tx.seen(claim.machine, self.now)
        return after

    def hear(self, *names: str) -> None:
        with self.write() as tx:
            for name in names:
                tx.seen(name, self.now)

    def sweep(self, now: str) -> int:
        """How many claims this moment makes silent; a worker that was at work all the time."""
        self.now = at(now)
        with self.write() as tx:
            return sweep.sweep(tx, self.gate, self.now)

    def claim(self, name: str) -> Claim:
        with self.store.read() as tx:
            found = tx.claim_of(name, self.rollout)
            assert found is not None
            return found

    def at(self, now: str) -> None:
        self.now = at(now)


@pytest.fixture
def shop(store: SqlStore) -> Shop:
    return Shop(store)


def test_a_machine_that_is_not_heard_while_its_site_is_open_is_silent_at_its_deadline(shop: Shop) -> None:
    shop.installed("a0")
    shop.at("2026-11-23 10:59")
    shop.hear("a1")
    assert shop.sweep("2026-11-23 11:00") == 0  # installed at 9:00, 2 h open, and a minute to stay up
    assert shop.sweep("2026-11-23 11:01") == 1


# our own gaps


def listened(shop: Shop, *times: str) -> list[bool]:
    """The worker's ticks; whether each found that nobody had listened."""
    found = []
    for now in times:
        with shop.write() as tx:
            found.append(listening.note_gap(tx, shop.gate, at(now)))
            tx.set_mark(listening.MARK, at(now))
    return found


def test_a_gap_is_longer_than_two_minutes_and_recorded_once(shop: Shop) -> None:
    assert listened(shop, "2026-11-23 09:00", "2026-11-23 09:02", "2026-11-23 09:04:01") == [False, False, True]
    with shop.write() as tx:
        assert not listening.note_gap(tx, shop.gate, at("2026-11-23 09:04:02")), "another worker has recorded it"
        [gap] = tx.gaps(MONDAY)
        assert (gap.start_at, gap.end_at) == (at("2026-11-23 09:02"), at("2026-11-23 09:04:01"))
        assert tx.gaps(gap.end_at) == []
        assert [one.kind for one in tx.events(subject="gate")] == ["nobody_listened"]


def test_two_workers_that_wake_together_record_one_gap(shop: Shop) -> None:
    listened(shop, "2026-11-23 09:00")
    with shop.write() as tx:
        assert tx.move_mark(listening.MARK, at("2026-11-23 09:00"), at("2026-11-23 10:00"))
        assert not tx.move_mark(listening.MARK, at("2026-11-23 09:00"), at("2026-11-23 10:00"))


def test_a_gate_that_was_down_over_opening_time_calls_nobody_silent(shop: Shop) -> None:
    shop.installed("a0", "b0", "c0")
    listened(shop, "2026-11-23 09:30", "2026-11-23 15:30")
    assert shop.sweep("2026-11-23 15:30") == 0
    # half an hour of the two was before the gap; five minutes to come again, then the rest
    assert shop.claim("a0").deadline_at == at("2026-11-23 17:06")
    shop.at("2026-11-23 17:05")
    shop.hear("a1", "b1")
    assert shop.sweep("2026-11-23 17:05") == 0
    assert shop.sweep("2026-11-23 17:06") == 3


@pytest.mark.parametrize(
    ("gap", "began"),
    [
        (("06:00", "07:54"), "08:00"),  # and five minutes to come again: before it opens
        (("06:00", "07:56"), "08:01"),
        (("07:30", "09:00"), "09:05"),
        (("08:01", "09:00"), "08:00"),  # it was on before the gap
    ],
)
def test_a_trial_does_not_begin_while_nobody_listened(shop: Shop, gap: tuple[str, str], began: str) -> None:
    shop.gate = gate_for(POLICY.replace("reboot: after install", "reboot: natural"))
    shop.installed("a0")
    assert shop.claim("a0").trial_at == at("2026-11-24 08:00")
    listened(shop, *(f"2026-11-24 {clock}" for clock in gap))
    shop.sweep("2026-11-24 10:01")
    assert shop.claim("a0").trial_at == at(f"2026-11-24 {began}")


def test_the_silence_brake_does_not_act_on_a_gap_of_our_own(shop: Shop) -> None:
    shop.installed("a0", "b0")
    listened(shop, "2026-11-23 09:10", "2026-11-23 15:30")
    policy = shop.gate.policy("v")

    def silent(now: str) -> int:
        with shop.store.read() as tx:
            found = silence.count_silent(
                shop.gate, tx, policy, "one", shop.rollout, [(["all"], 20 * MINUTE, 99)], at(now)
            )
            return int(found[0])

    assert silent("2026-11-23 15:44") == 0  # ten minutes before the gap, nine since five minutes after it
    shop.at("2026-11-23 15:44")
    shop.hear("a1", "b1")
    assert silent("2026-11-23 15:45") == 2


def test_a_soak_does_not_end_in_a_gap(shop: Shop) -> None:
    first, second = shop.installed("a0", "b0")
    with shop.write() as tx:
        for claim in (first, second):
            shop.report(tx, claim, Step.BOOTED, "boot-1")
            shop.report(tx, claim, Step.HEALTHY, "boot-1")
        advance.advance_rollout(tx, shop.gate, shop.rollout, shop.now)
        assert tx.strata(shop.rollout)[0].soak_until == at("2026-11-23 13:00")  # 4 h open
    listened(shop, "2026-11-23 09:00", "2026-11-23 10:00")
    with shop.store.read() as tx:
        assert tx.strata(shop.rollout)[0].soak_until == at("2026-11-23 14:05")
    listened(shop, "2026-11-23 14:00", "2026-11-23 20:00")  # the site has closed meanwhile
    with shop.store.read() as tx:
        assert tx.strata(shop.rollout)[0].soak_until > at("2026-11-24 08:00")


# a whole site


def test_a_site_that_is_dark_is_pending_within_its_grace_and_counts_once_after_it(store: SqlStore) -> None:
    shop = Shop(
        store,
        POLICY.replace("per_site: half", "per_site: 2")
        .replace("[till]", "[till, desk]")
        .replace("defaults: {", "defaults: {supersede: restart, "),
    )
    with shop.write() as tx:
        for name in ("d0", "d1"):
            joins(tx, name, "a", "all", shop.now, "desk")
            tx.seen(name, shop.now)
    with shop.write() as tx:  # desks are another make: one of them may be in flight beside a till
        shop.rollout = appears(tx, shop.gate, shop.now, version="2")
        advance.advance_rollout(tx, shop.gate, shop.rollout, shop.now)
    [first] = shop.installed("b0")
    with shop.write() as tx:
        shop.report(tx, first, Step.BOOTED, "boot-1")
        shop.report(tx, first, Step.HEALTHY, "boot-1")
    shop.installed("a0", "d0")
    assert shop.sweep("2026-11-23 11:01") == 0, "nobody of the site has been heard since 9:00"
    assert shop.claim("a0").dark_at == MONDAY
    assert shop.sweep("2026-11-23 12:59") == 0
    assert shop.sweep("2026-11-23 13:06") == 1, "four hours open; one of two"
    assert sorted(shop.claim(one).state.value for one in ("a0", "d0")) == ["installed", "silent"]
    for now in ("2026-11-23 13:20", "2026-11-24 12:00"):
        assert shop.sweep(now) == 0


def test_a_site_is_named_as_dark_while_its_claims_stand(shop: Shop) -> None:
    shop.installed("a0", "b0", "c0")

    def dark(rollout: str = "") -> list[str]:
        with shop.store.read() as tx:
            return tx.dark_sites(rollout)

    assert dark() == []
    shop.sweep("2026-11-23 11:01")
    assert (dark(), dark(shop.rollout), dark("another")) == (["a", "b"], ["a", "b"], []), "one till alone is no site"
    shop.at("2026-11-23 12:30")
    shop.hear("a3")
    shop.sweep("2026-11-23 12:31")
    assert dark() == ["b"]
    assert shop.sweep("2026-11-23 13:06") == 1
    assert dark() == [], "what is silent stands no more"


def test_a_site_that_comes_back_gives_its_machines_their_time_anew(shop: Shop) -> None:
    shop.installed("a0")
    assert shop.sweep("2026-11-23 11:01") == 0
    shop.at("2026-11-23 12:30")
    shop.hear("a3")
    assert shop.sweep("2026-11-23 12:31") == 0
    claim = shop.claim("a0")
    assert (claim.dark_at, claim.deadline_at) == (None, at("2026-11-23 14:32"))
    shop.at("2026-11-23 14:31")
    shop.hear("a3")
    assert shop.sweep("2026-11-23 14:32") == 1


@pytest.mark.parametrize(("last", "silent"), [("2026-11-23 10:46", 0), ("2026-11-23 10:47", 1)])
def test_a_site_is_dark_after_three_missed_check_ins(shop: Shop, last: str, silent: int) -> None:
    shop.installed("a0")
    shop.at(last)
    shop.hear("a3")
    assert shop.sweep("2026-11-23 11:01") == silent


def test_one_machine_alone_says_nothing_about_its_site(shop: Shop) -> None:
    shop.installed("c0")
    assert shop.sweep("2026-11-23 11:01") == 1


def test_the_silence_brake_passes_over_dark_sites(shop: Shop) -> None:
    shop.installed("a0", "b0")
    policy = shop.gate.policy("v")
    with shop.store.read() as tx:
        [count] = silence.count_silent(
            shop.gate, tx, policy, "one", shop.rollout, [(["all"], 20 * MINUTE, 99)], at("2026-11-23 09:30")
        )
        [later] = silence.count_silent(
            shop.gate, tx, policy, "one", shop.rollout, [(["all"], 20 * MINUTE, 99)], at("2026-11-23 13:00")
        )
    assert (count, later) == (0, 2)


# what changes on the way


def test_a_site_that_changes_its_hours_in_mid_rollout_is_judged_by_the_new_ones(shop: Shop) -> None:
    shop.installed("c0")
    with shop.write() as tx:
        tx.save_site(Site("c", "c", "NW", "Tu-Fr 12:00-18:00"))
    assert shop.sweep("2026-11-23 11:01") == 0
    assert shop.claim("c0").deadline_at == at("2026-11-24 14:01")
    assert shop.sweep("2026-11-24 14:01") == 1


def test_closing_days_declared_in_mid_rollout_stop_the_clock_for_as_long_as_they_are(shop: Shop) -> None:
    shop.installed("c0")
    with shop.write() as tx:
        last = date(2026, 12, 31)
        site_times.close(tx, "c", date(2026, 11, 23), last, BERLIN, "rebuilding", "anna", shop.now)
    for now in ("2026-11-23 11:01", "2026-12-14 12:00", "2027-01-01 12:00", "2027-01-04 10:00"):
        assert shop.sweep(now) == 0, now
    assert shop.sweep("2027-01-04 10:01") == 1


def test_a_site_without_any_hours_is_silent_after_sixty_days(shop: Shop) -> None:
    shop.installed("c0")
    with shop.write() as tx:
        tx.save_site(Site("c", "c", "NW", ""))
    assert shop.sweep("2027-01-22 08:59") == 0
    assert shop.sweep("2027-01-22 09:02") == 1


# going down as planned


def test_a_machine_that_went_down_as_planned_is_dark_until_its_next_opening_day(shop: Shop) -> None:
    [claim] = shop.installed("c0")
    shop.at("2026-11-23 10:00")
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        tx.seen("c0", shop.now, down=True)
    assert shop.sweep("2026-11-23 11:01") == 0
    assert shop.claim("c0").deadline_at == at("2026-11-24 09:01")
    assert shop.sweep("2026-11-24 09:01") == 1


def test_a_machine_that_was_to_boot_at_once_is_not_dark_whatever_it_says(shop: Shop) -> None:
    shop.installed("c0")
    with shop.write() as tx:
        tx.seen("c0", shop.now, down=True)
    assert shop.sweep("2026-11-23 11:01") == 1


def test_the_word_holds_until_the_next_one(shop: Shop) -> None:
    with shop.write() as tx:
        machine = tx.machine("c0")
        assert machine is not None
        for seq, (kinds, down) in enumerate(
            [((), None), (("metadata", "going_down"), MONDAY), (("going_down", "metadata"), None)], start=1
        ):
            call = machines.take_call(tx, machine, "checkin", f"{seq:064x}", seq, None, MONDAY)
            assert isinstance(call, machines.Call)
            said = machines.CheckIn("b", HOUR, events=tuple(machines.Said(kind, "", "") for kind in kinds))
            machines.answer_call(tx, call, machines.Answer(200, "{}"), MONDAY, challenge="c", said=said)
            found = tx.machine("c0")
            assert found is not None
            assert found.down_at == down


# boots before opening


TWO_BOOTS = POLICY.replace("reboot: after install", "reboot: natural, boots: 2")


def test_a_machine_that_boots_before_opening_has_until_the_next_day_for_its_second_boot(store: SqlStore) -> None:
    shop = Shop(store, TWO_BOOTS)
    [claim] = shop.installed("c0")
    assert shop.claim("c0").deadline_at == at("2026-11-24 10:01"), "the first boot is tomorrow's"
    for day, state in (("24", "booted"), ("25", "healthy")):
        shop.at(f"2026-11-{day} 06:45")
        with shop.write() as tx:
            shop.report(tx, claim, Step.BOOTED, f"boot-{day}")
            shop.report(tx, claim, Step.HEALTHY, f"boot-{day}")
        assert shop.sweep(f"2026-11-{day} 18:00") == 0
        assert shop.claim("c0").state.value == state


def test_its_second_boot_is_silent_when_the_next_day_does_not_bring_it(store: SqlStore) -> None:
    shop = Shop(store, TWO_BOOTS)
    [claim] = shop.installed("c0")
    shop.at("2026-11-24 06:45")
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        shop.report(tx, claim, Step.HEALTHY, "boot-1")
    assert shop.sweep("2026-11-25 10:00") == 0
    assert shop.sweep("2026-11-25 10:01") == 1


# the learned deadline


def boots(shop: Shop, step: int, count: int) -> None:
    with shop.write() as tx:
        for _ in range(count):
            tx.count_boot("role=till", step)


def test_two_hundred_healthy_boots_of_the_make_set_its_deadline(shop: Shop) -> None:
    boots(shop, 0, 199)
    assert shop.installed("a0")[0].deadline_at == at("2026-11-23 11:01"), "2h open before"
    boots(shop, 4, 1)
    shop.at("2026-11-23 09:10:01")  # read anew after ten minutes
    assert shop.installed("b0")[0].deadline_at == at("2026-11-23 10:11:01")
    with shop.store.read() as tx:
        assert tx.boot_times("role=till") == {0: 199, 4: 1}
        assert tx.boot_times("role=server") == {}


@pytest.mark.parametrize(
    ("minutes", "counted"),
    [
        (20, {0: 1}),
        (31, {0: 1}),
        (32, {1: 1}),
        (100, {7: 1}),
        (150, {10: 1}),
        (241, {12: 1}),  # twice its deadline, and a minute to stay up
        (242, {}),  # a repair
        (2000, {}),
    ],
)
def test_each_boot_counts_with_the_open_time_that_it_took_also_a_late_one_but_no_repair(
    shop: Shop, minutes: int, counted: dict[int, int]
) -> None:
    [claim] = shop.installed("c0")
    if minutes > 121:
        assert shop.sweep("2026-11-23 11:01") == 1
    shop.now = MONDAY + minutes * MINUTE
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        shop.report(tx, claim, Step.HEALTHY, "boot-1")
        assert tx.boot_times("role=till") == counted


def test_a_gap_of_our_own_makes_no_boot_longer(shop: Shop) -> None:
    [claim] = shop.installed("c0")
    listened(shop, "2026-11-23 09:10", "2026-11-23 15:00")
    shop.at("2026-11-23 15:04")
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        shop.report(tx, claim, Step.HEALTHY, "boot-1")
        assert tx.boot_times("role=till") == {0: 1}


@pytest.mark.parametrize("learned", [6, 10])
def test_the_learned_deadline_grows_step_by_step_where_the_boots_do(shop: Shop, learned: int) -> None:
    boots(shop, learned, 200)  # a deadline of 85 minutes, or of 170
    [claim] = shop.installed("c0")
    had = claim.deadline_at - MONDAY
    shop.sweep(f"2026-11-23 {'10:26' if learned == 6 else '11:51'}")
    shop.now = MONDAY + 2 * had - 3 * MINUTE
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        shop.report(tx, claim, Step.HEALTHY, "boot-1")
        assert tx.boot_times("role=till") == {learned: 200, learned + 4: 1}


@pytest.mark.parametrize(
    ("heard", "counted"),
    [("2026-11-23 12:59", {0: 1}), ("2026-11-23 16:00", {})],
    ids=["within the grace", "silent, and repaired"],
)
def test_the_time_in_which_its_site_was_dark_makes_no_boot_longer(
    shop: Shop, heard: str, counted: dict[int, int]
) -> None:
    [claim] = shop.installed("b0")
    last = at(heard)
    now = at("2026-11-23 11:01")
    while now < last:
        shop.sweep(f"{now.astimezone(BERLIN):%Y-%m-%d %H:%M}")
        now += 5 * MINUTE
    shop.now = last
    with shop.write() as tx:
        shop.report(tx, claim, Step.BOOTED, "boot-1")
        shop.report(tx, claim, Step.HEALTHY, "boot-1")
        assert tx.boot_times("role=till") == counted


def test_boots_of_many_machines_in_one_commit_are_summed(shop: Shop) -> None:
    with shop.write() as tx:
        tx.shared = True
        for step in (0, 0, 3):
            tx.count_boot("role=till", step)
        assert tx.boot_times("role=till") == {0: 2, 3: 1}
        tx.settle()
