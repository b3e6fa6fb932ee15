"""What vendors are told: a hold first and at once, claims by the ordinary admission, again after every failure."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from gate.core.errors import Overtaken, Unavailable
from gate.core.model import ClaimState, RolloutState
from gate.flows import orders, people, recalls
from gate.flows.lever_rounds import Hands, HoldRounds
from gate.hookspecs import Held, Published
from gate.ports import Sources, VendorHold
from gate.worker import Transactions
from tests.conftest import NOW
from tests.real_gate import PlayedMachine, RealGate
from tests.vendor_plugin import Vendor, install

pytestmark = pytest.mark.slow


class Host(PlayedMachine):
    """A machine whose content its vendor brings; our agent says nothing of it."""

    def __init__(self, gate: RealGate, name: str, site: str, *labels: str) -> None:
        super().__init__(gate, name)
        self.enrol(code=gate.code(site), facts={"role": "till", "hostname": name})
        gate.accept(self.machine, "till", *labels)
        self.says()

    def says(self, **more: Any) -> None:
        status, _ = self.checkin(facts={"role": "till", "hostname": "x", **more.pop("facts", {})}, **more)
        assert status == 200


@pytest.fixture
def vendor(real_gate: RealGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    monkeypatch.syspath_prepend(install(tmp_path))  # type: ignore[no-untyped-call]
    yield Vendor(real_gate, tmp_path)


@pytest.fixture
def two(vendor: Vendor) -> tuple[Vendor, Host, Host]:
    """A machine in each of two rings; the vendor has offered 1."""
    first, rest = Host(vendor.gate, "first", "nord", "first"), Host(vendor.gate, "rest", "sued")
    brings(vendor, "1")
    return vendor, first, rest


def brings(vendor: Vendor, version: str) -> None:
    vendor.says(offers=[version])
    vendor.gate.worker.look()
    vendor.rounds(2)


def runs(vendor: Vendor, *hosts: Host, **more: str) -> None:
    """The vendor says what each host runs now, and each of them checks in."""
    vendor.says(runs={one.machine: more["version"] for one in hosts} | dict(vendor.now.get("runs_more", {})))
    vendor.gate.clock.forward(minutes=6)
    vendor.gate.worker.tick()
    vendor.gate.worker.observe()
    for one in hosts:
        one.says()


def rollout(vendor: Vendor, version: str) -> Any:
    with vendor.gate.opened.store.read() as tx:
        release = tx.release_by_version("vendor", version)
        assert release is not None
        return tx.rollout_of(release.id)


def halted(vendor: Vendor, version: str = "1") -> str:
    with vendor.gate.opened.store.write() as tx:
        found = rollout(vendor, version)
        people.halt(tx, found.id, "anna", "tills freeze", vendor.gate.clock.now())
    return str(found.id)


def stuck(vendor: Vendor) -> threading.Thread:
    """A call about the first ring's machine that hangs at the vendor."""
    Host(vendor.gate, "first", "nord", "first")
    vendor.says(offers=["1"], stuck=True)
    vendor.gate.worker.look()
    vendor.gate.worker.tell()
    for _ in range(2):
        vendor.gate.clock.forward(seconds=6)
        vendor.gate.worker.tick()
    telling = threading.Thread(target=vendor.gate.worker.tell)
    telling.start()
    while not vendor.asked("publish"):
        telling.join(0.05)
        assert telling.is_alive()
    return telling


def kinds(vendor: Vendor, subject: str) -> list[str]:
    with vendor.gate.opened.store.read() as tx:
        return [
            one.kind for one in reversed(tx.events(subject=subject)) if one.kind.startswith(("vendor", "recall_pl"))
        ]


def test_the_vendor_is_told_of_exactly_the_machines_that_have_a_claim(two: tuple[Vendor, Host, Host]) -> None:
    vendor, first, rest = two
    told = {"hook": "publish", "ring": "first", "version": "1", "machines": [first.machine]}
    assert vendor.asked() == [told]
    vendor.rounds(3)
    assert vendor.asked() == [told]  # done is done: not told again
    assert vendor.gate.opened.mirror.stands("vendor", first.machine) == ""  # the vendor delivers, not the mirror
    assert kinds(vendor, rollout(vendor, "1").id) == ["vendor_moved"]
    runs(vendor, first, version="1")
    vendor.gate.clock.forward(seconds=6)
    runs(vendor, first, version="1")
    vendor.rounds(3)
    assert vendor.asked()[1:] == [{"hook": "publish", "ring": "rest", "version": "1", "machines": [rest.machine]}]
    with vendor.gate.opened.store.read() as tx:
        own = tx.claim_of(first.machine, rollout(vendor, "1").id)
    assert own is not None
    assert own.state is ClaimState.HEALTHY  # what the vendor says it runs, and that it stays up, is the evidence


def test_a_vendor_that_is_down_is_told_again_later_each_time_and_shows_until_it_answers(vendor: Vendor) -> None:
    first = Host(vendor.gate, "first", "nord", "first")
    vendor.says(down=True)
    brings(vendor, "1")
    vendor.rounds(20, seconds=1)
    tries = len(vendor.asked("publish"))
    assert 3 <= tries <= 7
    with vendor.gate.opened.store.read() as tx:
        (trouble,) = orders.troubles(tx)
    assert (trouble.source, trouble.ring, trouble.detail, trouble.machines) == ("vendor", "first", "not now", 1)
    assert kinds(vendor, rollout(vendor, "1").id) == ["vendor_failed"]  # once, however often it is tried
    vendor.says(down=False)
    vendor.rounds(2, seconds=40)
    assert vendor.asked()[-1]["machines"] == [first.machine]
    with vendor.gate.opened.store.read() as tx:
        assert orders.troubles(tx) == []
    assert kinds(vendor, rollout(vendor, "1").id) == ["vendor_failed", "vendor_moved"]


def test_a_release_that_has_stopped_is_told_to_nobody_any_more(vendor: Vendor) -> None:
    """The vendor was down when machines were granted it; then somebody halted, and the hold is in place."""
    Host(vendor.gate, "first", "nord", "first")
    vendor.says(down=True)
    brings(vendor, "1")
    vendor.rounds(3, seconds=1)
    before = len(vendor.asked("publish"))
    assert before
    vendor.says(down=False)
    halted(vendor)
    vendor.gate.worker.held()
    assert [one["hook"] for one in vendor.asked("hold")] == ["hold"]
    vendor.gate.clock.forward(seconds=60)
    vendor.gate.worker.tell()
    assert vendor.asked("publish")[before:] == []


def test_a_call_that_dies_after_the_vendor_has_heard_it_is_made_again(vendor: Vendor) -> None:
    Host(vendor.gate, "first", "nord", "first")
    vendor.says(dies=True)
    brings(vendor, "1")
    vendor.says(dies=False)
    vendor.rounds(3, seconds=20)
    calls = vendor.asked("publish")
    assert len(calls) >= 2
    assert all(one == calls[0] for one in calls)
    assert kinds(vendor, rollout(vendor, "1").id) == ["vendor_failed", "vendor_moved"]


def test_a_halt_holds_before_anything_else_is_told_and_once(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    found = halted(vendor)
    vendor.gate.clock.forward(seconds=6)
    vendor.gate.worker.tick()  # the grant that was not used goes back
    vendor.gate.worker.tell()
    assert vendor.asked("hold") == []
    assert len(vendor.asked("publish")) == 1  # and the vendor hears of nothing before the hold
    vendor.rounds(3)
    assert vendor.asked("hold") == [{"hook": "hold", "ring": "first", "reason": "tills freeze"}]
    log = [one["hook"] for one in vendor.asked()]
    assert log.index("hold") == 1
    assert kinds(vendor, found) == ["vendor_moved", "vendor_held", "vendor_moved"]
    assert vendor.asked()[-1]["version"] is None  # the grant was not used: it is let go again


def test_a_hold_that_fails_is_tried_until_it_is_ok_and_shows(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    vendor.says(hold_down=True)
    found = halted(vendor)
    vendor.rounds(10, seconds=10)
    tries = len(vendor.asked("hold"))
    assert 2 <= tries <= 9
    with vendor.gate.opened.store.read() as tx:
        trouble = next(one for one in orders.troubles(tx) if one.machines == 0)
    assert "the vendor does not answer" in trouble.detail
    assert kinds(vendor, found).count("vendor_failed") == 1
    vendor.says(hold_down=False)
    vendor.rounds(1, seconds=61)
    assert kinds(vendor, found)[-1] == "vendor_held"
    with vendor.gate.opened.store.read() as tx:
        assert orders.troubles(tx) == []


def test_a_hold_waits_for_no_other_call(vendor: Vendor) -> None:
    telling = stuck(vendor)
    halted(vendor)
    vendor.gate.worker.held()
    assert vendor.asked()[-1]["hook"] == "hold"
    assert telling.is_alive()
    vendor.says(stuck=False)
    telling.join()


def test_a_hold_that_a_call_from_before_may_have_undone_is_pulled_again_once_that_has_ended(vendor: Vendor) -> None:
    telling = stuck(vendor)
    found = halted(vendor)
    vendor.gate.worker.held()
    with vendor.gate.opened.store.read() as tx:
        (trouble,) = orders.troubles(tx)
    assert trouble.detail == orders.AGAIN
    assert kinds(vendor, found) == []
    vendor.gate.clock.forward(seconds=60)
    vendor.gate.worker.held()
    assert kinds(vendor, found) == [], "it still runs"
    vendor.says(stuck=False)
    telling.join()
    vendor.gate.clock.forward(seconds=60)
    vendor.gate.worker.held()
    assert len(vendor.asked("hold")) == 3
    assert [one["hook"] for one in vendor.asked()][-1] == "hold"
    assert kinds(vendor, found) == ["vendor_moved", "vendor_held"]
    vendor.gate.clock.forward(seconds=60)
    vendor.gate.worker.held()
    assert len(vendor.asked("hold")) == 3, "it has stopped for good"


def test_a_call_of_a_worker_that_died_keeps_a_hold_open_no_longer_than_a_call_can_last(
    two: tuple[Vendor, Host, Host],
) -> None:
    vendor, *_ = two
    with vendor.gate.opened.store.write() as tx:
        orders.begun(tx, "vendor", "first", vendor.gate.clock.now())
    found = halted(vendor)
    for _ in range(2):
        vendor.gate.worker.held()
        vendor.gate.clock.forward(seconds=60)
    assert "vendor_held" not in kinds(vendor, found)
    vendor.gate.clock.forward(seconds=1)
    vendor.gate.worker.held()
    assert kinds(vendor, found)[-1] == "vendor_held"
    assert kinds(vendor, found).count("vendor_failed") == 0


def test_calls_are_counted_on_both_sides_and_forgotten_after_their_time(vendor: Vendor) -> None:
    with vendor.gate.opened.store.write() as tx:
        for at in (NOW, NOW + timedelta(seconds=9)):
            orders.begun(tx, "vendor", "first", at)
        orders.ended(tx, "vendor", "first", NOW + timedelta(seconds=10))
        assert not orders.quiet(tx, "vendor", "first", NOW + timedelta(seconds=10))
        assert orders.quiet(tx, "vendor", "rest", NOW + timedelta(seconds=10))
        late = NOW + orders.CALL + timedelta(seconds=10)
        assert orders.quiet(tx, "vendor", "first", late)
        orders.begun(tx, "vendor", "first", late)
        orders.ended(tx, "vendor", "first", late)
        assert orders.quiet(tx, "vendor", "first", late)
        orders.ended(tx, "vendor", "first", late)
        orders.begun(tx, "vendor", "first", late)
        assert not orders.quiet(tx, "vendor", "first", late), "never below nothing"


class Silent:
    """Plugins of which one does not say what it is until it may."""

    def __init__(self, plugins: Sources, plugin: str) -> None:
        self._plugins, self._plugin = plugins, plugin
        self.may = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plugins, name)

    def hooks(self, plugin: str) -> tuple[str, ...]:
        if plugin == self._plugin:
            assert self.may.wait(20), "somebody waits for it"
        return self._plugins.hooks(plugin)


def test_a_hold_waits_for_no_other_plugin_to_say_what_it_is(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    gate = vendor.gate
    gate.bring("1")
    halted(vendor)
    with gate.opened.store.write() as tx:
        (own,) = tx.rollouts(source="shop-content")
        people.halt(tx, own.id, "anna", "tills freeze", gate.clock.now())
    slow = Silent(gate.opened.plugins, "directory")
    within = Transactions(gate.opened.store)
    options, blobs = gate.worker._looking.options, gate.opened.settings.public
    hands = Hands(within, gate.opened.gate, gate.clock, slow, options, blobs)  # type: ignore[arg-type]
    begun = HoldRounds(hands).once()
    while not vendor.asked("hold"):
        assert not slow.may.is_set()
    slow.may.set()
    for one in begun:
        one.join()
    with gate.opened.store.read() as tx:
        assert tx.vendor_hold("vendor", "first") is not None
        assert tx.vendor_hold("shop-content", "first") is None, "it has no such hook"


def test_a_hold_that_failed_is_no_trouble_any_more_once_its_halt_has_ended(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    vendor.says(hold_down=True)
    found = halted(vendor)
    vendor.gate.worker.held()
    store = vendor.gate.opened.store
    with store.read() as tx:
        assert [(one.ring, one.machines) for one in orders.troubles(tx)] == [("first", 0)]
    for who in ("anna", "berta"):
        with store.write() as tx:
            people.resume(tx, found, who, "it was the printer", vendor.gate.clock.now())
    with store.read() as tx:
        assert orders.troubles(tx) == []


def test_a_recall_plan_that_could_not_be_kept_is_asked_for_again(
    two: tuple[Vendor, Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor, *_ = two
    found = halted(vendor)
    vendor.gate.worker.held()
    ill = [Unavailable("the disk is full")]
    plan = orders.plan

    def kept(*said: Any) -> None:
        if ill:
            raise ill.pop()
        plan(*said)

    monkeypatch.setattr(orders, "plan", kept)
    vendor.gate.worker.tell()
    vendor.gate.worker.tell()
    assert kinds(vendor, f"{found}/recall") == ["recall_planned"]
    vendor.gate.worker.tell()
    assert kinds(vendor, f"{found}/recall") == ["recall_planned"]


def test_a_recall_plan_that_a_plugin_could_not_say_is_asked_for_some_times(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    found = halted(vendor)
    vendor.gate.worker.held()
    vendor.says(planless=True)
    for _ in range(3):
        vendor.gate.worker.tell()
    assert kinds(vendor, f"{found}/recall") == []
    vendor.says(planless=False)
    vendor.gate.clock.forward(minutes=2)
    vendor.gate.worker.tell()
    with vendor.gate.opened.store.read() as tx:
        assert [one.how for one in orders.planned(tx, found)] == ["vendor_pin"]


def test_a_plugin_that_never_says_how_to_go_back_leaves_it_to_hands(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    found = halted(vendor)
    vendor.gate.worker.held()
    vendor.says(planless=True)
    for _ in range(5):
        vendor.gate.worker.tell()
        vendor.gate.clock.forward(minutes=20)
    with vendor.gate.opened.store.read() as tx:
        assert [one.how for one in orders.planned(tx, found)] == ["none"]


def test_what_is_held_twice_is_asked_for_twice(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    store, now = vendor.gate.opened.store, vendor.gate.clock.now()

    def turns(state: RolloutState) -> None:
        with store.write() as tx:
            one = tx.rollout(rollout(vendor, "1").id)
            assert one is not None
            assert tx.save_rollout(replace(one, state=state, version=one.version + 1))

    for _ in range(2):
        turns(RolloutState.HELD)
        with store.read() as tx:
            (due,) = orders.holds_due(tx, "vendor", now)
        with store.write() as tx:
            orders.held(tx, due, Held(True), now)
        with store.read() as tx:
            assert orders.holds_due(tx, "vendor", now) == []
        turns(RolloutState.RUNNING)


def test_an_answer_about_machines_that_were_not_asked_about_is_none(vendor: Vendor) -> None:
    host = Host(vendor.gate, "first", "nord", "first")
    vendor.says(names=[host.machine, "m-other"])
    brings(vendor, "1")
    with vendor.gate.opened.store.read() as tx:
        (trouble,) = orders.troubles(tx)
    assert "names machines that it was not asked about" in trouble.detail


def test_a_second_halt_holds_again(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    found = halted(vendor)
    vendor.rounds(2)
    for who in ("anna", "berta"):
        with vendor.gate.opened.store.write() as tx:
            people.resume(tx, found, who, "it was the printer", vendor.gate.clock.now())
    vendor.rounds(2)
    assert vendor.asked()[-1]["version"] == "1"  # resumed: the vendor is told of it again
    halted(vendor)
    vendor.rounds(2)
    assert len(vendor.asked("hold")) == 2


def test_a_recall_tells_the_vendor_the_release_before_and_people_see_how_it_would_go(
    two: tuple[Vendor, Host, Host],
) -> None:
    vendor, first, rest = two
    for hosts in ([first], [first], [first, rest], [first, rest]):
        runs(vendor, *hosts, version="1")
        vendor.rounds(3)
    assert rollout(vendor, "1").state.value == "done"
    brings(vendor, "2")
    assert vendor.asked()[-1]["version"] == "2"
    vendor.says(runs_more={first.machine: "2"})
    runs(vendor, first, rest, version="1")
    found = halted(vendor, "2")
    vendor.rounds(2)
    with vendor.gate.opened.store.read() as tx:
        (plan,) = orders.planned(tx, found)
    assert (plan.ring, plan.how, list(plan.steps)) == ("first", "vendor_pin", ["pin 1 instead of 2"])
    for who in ("anna", "berta"):
        with vendor.gate.opened.store.write() as tx:
            recalls.recall(tx, found, who, "tills freeze", vendor.gate.clock.now())
    runs(vendor, first, rest, version="1")  # its claim in hand is decided first
    vendor.rounds(2, seconds=130)
    told = vendor.asked()[-1]
    assert (told["ring"], told["version"], told["machines"]) == ("first", "1", [first.machine])
    assert kinds(vendor, f"{found}/recall") == ["recall_planned"]


def test_a_machine_that_is_revoked_is_let_go(two: tuple[Vendor, Host, Host]) -> None:
    vendor, first, _ = two
    with vendor.gate.opened.store.write() as tx:
        assert tx.revoke_machine(first.machine, vendor.gate.clock.now())
    vendor.rounds(3)
    assert vendor.asked()[-1] == {"hook": "publish", "ring": "first", "version": None, "machines": [first.machine]}
    assert len(vendor.asked()) == 2


# what is kept, and how it is tried again


def test_what_two_workers_keep_is_kept_once(two: tuple[Vendor, Host, Host]) -> None:
    vendor, *_ = two
    halted(vendor)
    store, now = vendor.gate.opened.store, vendor.gate.clock.now()
    with store.read() as tx:
        (due,) = orders.holds_due(tx, "vendor", now)
        (moving,) = [*orders.moves(tx, "vendor", now), None][:1]
    assert moving is None  # nothing is told before the hold was tried
    with store.write() as tx:
        orders.held(tx, due, Held(True), now)
    with pytest.raises(Overtaken), store.write() as tx:
        orders.held(tx, due, Held(False), now)
    vendor.gate.worker.tick()
    with store.read() as tx:
        (dues,) = orders.moves(tx, "vendor", now + timedelta(minutes=1))
    with store.write() as tx:
        orders.moved(tx, "vendor", dues, Published((dues[0].machine.id,)), now)
    with pytest.raises(Overtaken), store.write() as tx:
        orders.moved(tx, "vendor", dues, Published(()), now)


@pytest.mark.parametrize(("tries", "least", "most"), [(0, 1, 2), (1, 2, 4), (3, 8, 16), (5, 30, 60), (50, 30, 60)])
def test_each_try_is_later_than_the_one_before_within_a_minute_and_not_in_step(
    tries: int, least: float, most: float
) -> None:
    drawn = {orders.later(f"s/{ring}", tries, orders.LATEST_HOLD).total_seconds() for ring in range(40)}
    assert min(drawn) >= least
    assert max(drawn) <= most
    assert len(drawn) > 30


def test_a_row_is_saved_only_where_it_is_what_was_read(vendor: Vendor) -> None:
    before = VendorHold("vendor", "first", "h1", False, 1, NOW, NOW, "down")
    with vendor.gate.opened.store.write() as tx:
        assert tx.save_vendor_hold(before, None)
        assert not tx.save_vendor_hold(before, None)
        after = replace(before, ok=True, tries=2)
        assert tx.save_vendor_hold(after, before)
        assert not tx.save_vendor_hold(replace(after, tries=3), before)
        assert tx.vendor_hold("vendor", "first") == after
