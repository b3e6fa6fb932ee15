"""The proof on machines that really boot: one gate, six guests of two makes at four sites, in real time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from gate.adapters.passwords import hash_password
from gate.bootstrap import pages
from gate.core.model import ClaimState, RolloutState
from gate.flows import people
from tests.boots import image
from tests.boots.fleet import GOOD, Fleet
from tests.conftest import missing
from tests.web.test_pages import PASSWORD, Person

pytestmark = pytest.mark.boots
FIRST = ("till-a1", "till-b1")
REST = ("till-a2", "till-b2", "till-a3", "till-b3")
FROM_START_S = 420.0  # until six guests have come up under emulation on two cores and have enrolled


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if image.lacking():
        missing(image.lacking())
    fleet = Fleet(tmp_path_factory.mktemp("boots"), image.made())
    try:
        for guest in fleet.guests.values():
            guest.prepare(fleet.port, fleet.code(guest.site))
            guest.switch_on()
            time.sleep(1)  # on two cores they come up sooner one after the other
        took = fleet.until(fleet.accept_who_asks, FROM_START_S, "every guest has enrolled")
        print(f"six guests are up and enrolled after {took:.0f} s")
        yield fleet
    finally:
        fleet.end()


def boots_of(fleet: Fleet, release: str, name: str, step: str) -> list[str]:
    """The boot ids that a guest's reports of this step named, oldest first."""
    reports = [one for one in fleet.events(fleet.rollout(release).id) if one.kind.startswith("report_")]
    mine = [one.detail for one in reports if one.actor == f"machine:{fleet.machines[name]}"]
    return [str(one["boot_id"]) for one in mine if one["step"] == step]


def healthy(fleet: Fleet, release: str) -> set[str]:
    return {name for name, claim in fleet.claims(release).items() if claim.state is ClaimState.HEALTHY}


def test_a_good_release_boots_every_guest_and_ring_1_waits_for_the_reports_of_ring_0(fleet: Fleet) -> None:
    before = {name: guest.console.stat().st_size for name, guest in fleet.guests.items()}
    release = fleet.release("1.0", GOOD)
    took = fleet.until(lambda: healthy(fleet, release) == set(fleet.guests), 600, "every guest has 1.0")
    print(f"1.0 went through both rings in {took:.0f} s")
    claims = fleet.claims(release)
    fleet.until(lambda: fleet.rollout(release).state is RolloutState.DONE, 60, "1.0 has gone through")
    proven = max(claims[name].resolved_at for name in FIRST)
    assert all(claims[name].granted_at > proven for name in REST), "ring 1 was offered it after ring 0's reports"
    for name, claim in claims.items():
        (booted,) = boots_of(fleet, release, name, "booted")
        assert booted != claim.boot_id, "it booted after the installation"
        assert fleet.guests[name].console.stat().st_size > before[name]
    page = seen_by_a_person(fleet, f"/machines/{fleet.machines['till-a1']}")
    assert boots_of(fleet, release, "till-a1", "healthy")[0] in page, "the page shows the boot id that the kernel gave"


def seen_by_a_person(fleet: Fleet, path: str) -> str:
    with fleet.opened.store.write() as tx:
        people.new_link(tx, "anna", "link-anna", "test", fleet.opened.gate.clock.now())
        people.choose_password(
            tx, "link-anna", PASSWORD, lambda _: hash_password(PASSWORD), fleet.opened.gate.clock.now()
        )
    person = Person(pages(fleet.opened).test_client())
    assert person.log_in("anna") == 303
    return person.client.get(path).text


def crashes(fleet: Fleet, name: str) -> int:
    """Panics that its console has shown."""
    return fleet.guests[name].console.read_text(errors="replace").count("Kernel panic - not syncing: sysrq triggered")


def bad_probes(fleet: Fleet, release: str, name: str) -> str:
    """What its reports called bad."""
    mine = [one for one in fleet.events(fleet.rollout(release).id) if one.actor == f"machine:{fleet.machines[name]}"]
    return "\n".join(str(one.detail.get("bad_probes", "")) for one in mine)


def content(fleet: Fleet, name: str) -> str:
    """The release that a guest says is in place."""
    machine = fleet.machines[name]
    with fleet.opened.store.read() as tx:
        return tx.installed([machine])[machine].get("shop", "")


def test_two_panics_of_make_a_put_the_release_before_back_and_ring_1_never_gets_it(fleet: Fleet) -> None:
    good = content(fleet, "till-a1")
    assert good
    before = crashes(fleet, "till-a1")
    release = fleet.release("1.1", GOOD + "panics a driver\n")
    took = fleet.until(lambda: fleet.rollout(release).state is RolloutState.HALTED, 420, "1.1 is halted")
    print(f"1.1 was halted after {took:.0f} s")
    claims = fleet.claims(release)
    assert set(claims) <= set(FIRST), "ring 1 never got it"
    assert claims["till-a1"].state is ClaimState.ROLLED_BACK
    assert crashes(fleet, "till-a1") - before == 2, "two real panics, not three"
    assert "sysrq triggered crash" in bad_probes(fleet, release, "till-a1"), "the text of the panic, from pstore"
    (booted,) = boots_of(fleet, release, "till-a1", "rolled_back")
    assert booted != claims["till-a1"].boot_id
    fleet.until(lambda: content(fleet, "till-a1") == good, 60, "the release before is in place")


@pytest.fixture(scope="module")
def night(fleet: Fleet) -> str:
    """1.2 is bad for make A before any user space; the other guest of ring 0 is switched off at closing time, after it
    has installed. Both are away for the whole deadline."""
    fleet.close_site("sued")
    release = fleet.release("1.2", GOOD + "panics a start\n")

    def in_place(name: str) -> bool:
        claim = fleet.claims(release).get(name)
        return claim is not None and claim.state in (ClaimState.INSTALLED, ClaimState.BOOTED)

    fleet.until(lambda: in_place("till-b1"), 240, "till-b1 has installed 1.2")
    fleet.guests["till-b1"].press_power()
    fleet.until(lambda: not fleet.guests["till-b1"].on, 120, "till-b1 has gone down by itself")
    took = fleet.until(lambda: fleet.rollout(release).state is RolloutState.HALTED, 600, "1.2 is halted")
    print(f"1.2 was halted after {took:.0f} s of silence")
    return release


def test_death_before_user_space_is_silence_that_halts_and_the_recovery_sheet_brings_it_back(
    fleet: Fleet, night: str
) -> None:
    claim = fleet.claims(night)["till-a1"]
    assert claim.state is ClaimState.SILENT
    assert crashes(fleet, "till-a1") >= 4, "it goes on dying"
    assert "till-a1" in seen_by_a_person(fleet, f"/rollouts/{fleet.rollout(night).id}")
    fleet.guests["till-a1"].cut_power()
    said = fleet.guests["till-a1"].rescue()
    fleet.guests["till-a1"].switch_on()
    fleet.until(
        lambda: fleet.claims(night)["till-a1"].state is ClaimState.ROLLED_BACK, 300, f"till-a1 is back\n{said[-2000:]}"
    )


def test_a_guest_that_the_night_switches_off_is_dark_and_goes_on_when_it_is_on_again(fleet: Fleet, night: str) -> None:
    claim = fleet.claims(night)["till-b1"]
    assert claim.state in (ClaimState.INSTALLED, ClaimState.BOOTED), "off when it should be: not silent"
    assert claim.resolved_at is None
    fleet.guests["till-b1"].switch_on()
    fleet.until(lambda: "till-b1" in healthy(fleet, night), 300, "till-b1 goes on")


class Cuts:
    """Cuts the power of one guest, each time a moment after its agent has something to do; then it is on again."""

    def __init__(self, fleet: Fleet, name: str, delays: list[float]) -> None:
        self.fleet, self.name, self.delays = fleet, name, delays
        self.read = fleet.guests[name].console.stat().st_size
        self.due: float | None = None
        self.states: list[str] = []

    def go_on(self, release: str) -> None:
        """Looks once, and cuts if it is time."""
        if not self.delays:
            return
        claim = self.fleet.claims(release).get(self.name)
        if self.due is None and claim is not None and (not self.states or self._agent_has_started()):
            self.due = time.monotonic() + self.delays[0]
        if self.due is not None and time.monotonic() >= self.due:
            guest = self.fleet.guests[self.name]
            guest.cut_power()
            self.read, self.due = guest.console.stat().st_size, None
            self.states.append(claim.state.value if claim else "-")
            del self.delays[0]
            guest.switch_on()

    def _agent_has_started(self) -> bool:
        with self.fleet.guests[self.name].console.open("rb") as console:
            console.seek(self.read)
            return b"the agent starts" in console.read()


def test_twenty_power_cuts_in_the_steps_of_an_install_lose_nothing_and_install_nothing_twice(fleet: Fleet) -> None:
    release = fleet.release("1.3", GOOD + "three\n")
    step = [0.0, 1.0, 2.0, 4.0, 7.0, 11.0]
    cuts = [Cuts(fleet, name, step[: 3 if name in FIRST else 4]) for name in fleet.guests]
    cuts[-1].delays += [3.0]
    cuts[-2].delays += [5.0]
    total = sum(len(one.delays) for one in cuts)
    assert total == 24

    def through() -> bool:
        for one in cuts:
            one.go_on(release)
        return not any(one.delays for one in cuts)

    took = fleet.until(through, 900, "every cut is through")
    print(f"{total} power cuts in {took:.0f} s; what the gate knew at each: {[one.states for one in cuts]}")
    over = {ClaimState.HEALTHY, ClaimState.ROLLED_BACK}
    fleet.until(lambda: {one.state for one in fleet.claims(release).values()} <= over, 300, "every guest is through")
    events = fleet.events(fleet.rollout(release).id)
    for name in fleet.guests:
        mine = [one for one in events if one.actor == f"machine:{fleet.machines[name]}"]
        assert sum(one.kind == "claim_granted" for one in mine) <= 1, "one claim"
        steps = [one.detail["step"] for one in mine if one.kind.startswith("report_")]
        assert steps.count("installed") == 1, f"{name} has installed once: {steps}"
        assert (content(fleet, name) == release) == (fleet.claims(release)[name].state is ClaimState.HEALTHY)
