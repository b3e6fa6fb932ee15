"""The proof on machines that really boot: one gate, six guests of two makes at four sites, in real time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

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
    page = seen_by_a_person(fleet, f"/rollouts/{fleet.rollout(release).id}")
    assert boots_of(fleet, release, "till-a1", "healthy")[0] in page, "the page shows the boot id that the kernel gave"


def seen_by_a_person(fleet: Fleet, path: str) -> str:
    now = datetime.now(UTC)
    with fleet.opened.store.write() as tx:
        people.new_link(tx, "anna", "link-anna", "test", now)
        people.choose_password(tx, "link-anna", PASSWORD, lambda _: hash_password(PASSWORD), now)
    person = Person(pages(fleet.opened).test_client())
    assert person.log_in("anna") == 303
    return person.client.get(path).text
