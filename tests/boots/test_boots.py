"""The proof on machines that really boot: one gate, six guests of two makes at four sites, in real time.

The tests share the guests and stand in their order: each begins with every guest on, and leaves it so.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gate.adapters.passwords import hash_password
from gate.bootstrap import pages
from gate.core.model import ClaimState, RolloutState
from gate.flows import people
from tests.boots import cuts, image
from tests.boots.fleet import GOOD, PATIENCE, Fleet
from tests.boots.pictures import drawn
from tests.conftest import missing
from tests.web.test_pages import PASSWORD, Person

pytestmark = pytest.mark.boots
FIRST = ("till-a1", "till-b1")
REST = ("till-a2", "till-b2", "till-a3", "till-b3")
FROM_START_S = 420.0  # until six guests have come up under emulation on two cores and have enrolled
PANIC = "Kernel panic - not syncing: sysrq triggered crash"
DIED = f"] {PANIC}"  # on the console; the line that ends it names it once more
RESTARTS = "reboot: Restarting system"  # the kernel's own word for it
BOOT = re.compile(r"the agent starts in boot ([0-9a-f-]{36})")  # as the kernel's file has it, not as the agent says it
BEFORE_USER_SPACE = "boot-start driver: this content is bad for make a"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if image.lacking():
        missing(image.lacking())
    fleet = Fleet(tmp_path_factory.mktemp("boots"), image.made())
    try:
        for guest in fleet.guests.values():
            guest.prepare(fleet.port, fleet.code(guest.site))
            held = cuts.MOMENTS.get(guest.name)
            guest.switch_on(f"{cuts.VERSION}:{held[0]}" if held else "")
            time.sleep(1)  # on two cores they come up sooner one after the other
        took = fleet.until(fleet.accept_who_asks, FROM_START_S, "every guest has enrolled")
        print(f"six guests are up and enrolled after {took:.0f} s")
        with_password(fleet)
        yield fleet
    finally:
        fleet.end()


def reports_of(fleet: Fleet, release: str, name: str) -> list[dict[str, object]]:
    """What the gate has taken of a guest's reports, oldest first; what it had already is left out."""
    taken, who = ("report_step", "report_recovered"), f"machine:{fleet.machines[name]}"
    events = fleet.events(fleet.rollout(release).id)
    return [dict(one.detail) for one in events if one.kind in taken and one.actor == who]


def steps_of(fleet: Fleet, release: str, name: str) -> list[str]:
    return [str(one["step"]) for one in reports_of(fleet, release, name)]


def healthy(fleet: Fleet, release: str) -> set[str]:
    return {name for name, claim in fleet.claims(release).items() if claim.state is ClaimState.HEALTHY}


def test_a_good_release_boots_every_guest_and_ring_1_waits_for_the_reports_of_ring_0(fleet: Fleet) -> None:
    before = {name: guest.heard().count(RESTARTS) for name, guest in fleet.guests.items()}
    release = fleet.release("1.0", GOOD)
    took = fleet.until(lambda: healthy(fleet, release) == set(fleet.guests), 600, "every guest has 1.0")
    print(f"1.0 went through both rings in {took:.0f} s")
    claims = fleet.claims(release)
    fleet.until(lambda: fleet.rollout(release).state is RolloutState.DONE, 60, "1.0 has gone through")
    proven = {fleet.guests[name].make: claims[name].resolved_at for name in FIRST}
    for name in REST:
        assert claims[name].granted_at > proven[fleet.guests[name].make], "ring 1 opens for a make after its reports"
    for name, claim in claims.items():
        assert steps_of(fleet, release, name) == ["installed", "booted", "healthy"]
        heard, booted = fleet.guests[name].heard(), reports_of(fleet, release, name)[1]["boot_id"]
        assert heard.count(RESTARTS) == before[name] + 1, "its kernel restarted once"
        had = list(dict.fromkeys(BOOT.findall(heard)))
        assert had == [claim.boot_id, booted], "the boots that its kernel had are those that it told"
    page = seen_by_a_person(fleet, f"/rollouts/{fleet.rollout(release).id}")
    assert str(reports_of(fleet, release, "till-a1")[2]["boot_id"]) in page, (
        "the page shows the boot id that the kernel gave"
    )


def test_a_release_that_panics_one_make_is_rolled_back_by_its_agent_and_halts_before_ring_1(
    fleet: Fleet, tmp_path: Path
) -> None:
    fleet.rules("ring 1 waits for what ring 0 becomes", soak=f"{10 * PATIENCE}m")
    guest = fleet.guests["till-a1"]
    before = guest.said(10**6).count(DIED)
    release = fleet.release("2.0", f"{GOOD}panics a driver\n")
    took = fleet.until(lambda: fleet.rollout(release).state is RolloutState.HALTED, 400, "2.0 is halted")
    fleet.until(lambda: fleet.claims(release)["till-b1"].state is ClaimState.HEALTHY, 200, "till-b1 is healthy")
    claim, panics = fleet.claims(release)["till-a1"], guest.said(10**6).count(DIED) - before
    (report,) = [one for one in reports_of(fleet, release, "till-a1") if one["step"] == "rolled_back"]
    print(f"2.0 was halted after {took:.0f} s and {panics} panics of till-a1, which said: {report['bad_probes']}")
    assert panics == 2, "tries: 2"
    assert claim.state is ClaimState.ROLLED_BACK
    assert f"'panic': '{PANIC}" in str(report["bad_probes"]), "the text that ramoops kept over the reset"
    assert "crashed >= 1" in fleet.rollout(release).halted_because
    assert fleet.claims(release).keys() == set(FIRST), "nobody of ring 1 was let in"
    fleet.until(lambda: fleet.runs("till-a1") == "1.0", 60, "till-a1 says that it has 1.0")
    assert {name: fleet.runs(name) for name in REST} == dict.fromkeys(REST, "1.0")
    assert [name for name in fleet.guests if "2.0: installed" in fleet.guests[name].heard()] == list(FIRST)
    page = drawn_for_a_person(fleet, f"/rollouts/{fleet.rollout(release).id}", "boots-panics", tmp_path)
    assert "crashed >= 1" in page


@pytest.fixture(scope="module")
def in_the_night(fleet: Fleet) -> str:
    """A release that kills make A before there is any user space; till-b1 is switched off in the middle of its install,
    as its site closes. Its id."""
    fleet.rules("silence is soon a failure", soak=f"{10 * PATIENCE}m", deadline=f"{60 * PATIENCE}s open")
    release = fleet.release("3.0", f"{GOOD}panics a start\n")

    def installed() -> bool:
        claim = fleet.claims(release).get("till-b1")
        return claim is not None and claim.state is not ClaimState.GRANTED

    fleet.until(installed, 120, "till-b1 has installed 3.0")
    fleet.close_site("sued")
    guest = fleet.guests["till-b1"]
    guest.press_power()
    took = fleet.until(lambda: not guest.on, 60, "till-b1 is off")
    print(f"till-b1 went down within {took:.0f} s; the gate had it as {fleet.claims(release)['till-b1'].state.value}")
    return release


def test_a_release_that_kills_before_user_space_is_silence_and_the_sheet_brings_the_machine_back(
    fleet: Fleet, in_the_night: str, tmp_path: Path
) -> None:
    release, guest = in_the_night, fleet.guests["till-a1"]
    took = fleet.until(lambda: fleet.rollout(release).state is RolloutState.HALTED, 300, "3.0 is halted")
    claim = fleet.claims(release)["till-a1"]
    _, *deaths = guest.heard().split(BEFORE_USER_SPACE)
    print(f"3.0 was halted {took:.0f} s later; till-a1 died {len(deaths)} times and is {claim.state.value}")
    assert deaths, "it is dead, and not just slow"
    assert all(PANIC in death for death in deaths[:-1])
    assert "gate-agent" not in "".join(deaths), "it never came as far as the early unit again"
    assert claim.state is ClaimState.SILENT
    assert steps_of(fleet, release, "till-a1") == ["installed"], "a dead machine reports nothing"
    assert "silent >= 1" in fleet.rollout(release).halted_because
    assert fleet.claims(release).keys() == set(FIRST), "nobody of ring 1 was let in"
    where = f"/rollouts/{fleet.rollout(release).id}"
    fleet.until(lambda: "till-a1" in seen_by_a_person(fleet, f"{where}/recovery"), 60, "till-a1 is on a sheet")
    sheet = seen_by_a_person(fleet, f"{where}/recovery")
    assert image.RECOVERS in sheet, "what the rescue system does is what the sheet says"
    assert "silent >= 1" in drawn_for_a_person(fleet, where, "boots-silent", tmp_path)
    guest.cut_power()
    said = guest.rescue()
    print("\n".join(line for line in said.splitlines() if "gate-agent[" in line))
    assert "is gone and will not be taken again" in said
    must = re.findall(r"In place now: sha256:[0-9a-f]{64}", sheet)
    assert must and must[0] in said, "it says what the sheet says that it must"
    guest.switch_on()
    took = fleet.until(lambda: fleet.claims(release)["till-a1"].recovered, 200, "till-a1 is back")
    print(f"till-a1 came back {took:.0f} s after the sheet's steps, with {fleet.runs('till-a1')}")
    assert steps_of(fleet, release, "till-a1") == ["installed", "rolled_back"]
    fleet.until(lambda: fleet.runs("till-a1") == "1.0", 60, "till-a1 says that it has 1.0")
    assert "till-a1" not in seen_by_a_person(fleet, f"{where}/recovery")


def test_a_machine_that_is_switched_off_in_the_night_is_dark_and_not_silent_and_goes_on_when_it_is_on(
    fleet: Fleet, in_the_night: str
) -> None:
    release, guest = in_the_night, fleet.guests["till-b1"]
    claim = fleet.claims(release)["till-b1"]
    assert claim.installed_at is not None
    due = claim.installed_at + timedelta(seconds=70 * PATIENCE)
    fleet.until(lambda: datetime.now(UTC) > due, 200, "its deadline would be over by day")
    claim = fleet.claims(release)["till-b1"]
    assert not guest.on
    assert claim.state is ClaimState.INSTALLED, "off when it is expected to be off counts as nothing"
    assert claim.deadline_at > datetime.now(UTC) + timedelta(hours=6), "its clock goes on when its site opens"
    print(f"till-b1 is {claim.state.value}; silence would count from {claim.deadline_at:%Y-%m-%d %H:%M} UTC on")
    fleet.open_site("sued")
    guest.switch_on()
    took = fleet.until(lambda: fleet.claims(release)["till-b1"].state is ClaimState.HEALTHY, 200, "till-b1 is healthy")
    print(f"till-b1 was healthy {took:.0f} s after it was switched on")
    assert steps_of(fleet, release, "till-b1") == ["installed", "booted", "healthy"]


def test_a_power_cut_at_any_step_of_an_install_costs_nothing_and_nothing_is_installed_twice(fleet: Fleet) -> None:
    fleet.rules("power cuts use up tries", deadline=f"{20 * PATIENCE}m open", tries=10)
    trials = {name: cuts.Trial(fleet.guests[name], list(moments)) for name, moments in cuts.MOMENTS.items()}
    release = fleet.release(cuts.VERSION, f"{GOOD}another\n")

    def everybody_has_it() -> bool:
        for name, trial in trials.items():
            if trial.left and trial.reached():
                known = fleet.claims(release)[name].state.value
                print(f"{name}: cut at {trial.cuts[-1]}: {cuts.in_words(trial.cuts[-1])}; the gate had it as {known}")
        return not any(trial.left for trial in trials.values()) and healthy(fleet, release) == set(fleet.guests)

    took = fleet.until(everybody_has_it, 900, "every guest has 4.0 through twenty power cuts")
    for name, trial in trials.items():
        trial.end()
        print(f"{name}: the early unit of each boot said: {' | '.join(trial.early_said())}")
    print(f"{sum(len(one.cuts) for one in trials.values())} power cuts took {took:.0f} s")
    assert {name: tuple(one.cuts) for name, one in trials.items()} == cuts.MOMENTS
    for name, trial in trials.items():
        assert steps_of(fleet, release, name) == ["installed", "booted", "healthy"], name
        assert trial.staged_after_it_was_durable() == [], name
        assert fleet.runs(name) == cuts.VERSION
    fleet.until(lambda: fleet.rollout(release).state is RolloutState.DONE, 60, "4.0 has gone through")


def with_password(fleet: Fleet) -> None:
    now = datetime.now(UTC)
    with fleet.opened.store.write() as tx:
        people.new_link(tx, "anna", "link-anna", "test", now)
        people.choose_password(tx, "link-anna", PASSWORD, lambda _: hash_password(PASSWORD), now)


def seen_by_a_person(fleet: Fleet, path: str) -> str:
    person = Person(pages(fleet.opened).test_client())
    assert person.log_in("anna") == 303
    return person.client.get(path).text


def drawn_for_a_person(fleet: Fleet, path: str, name: str, folder: Path) -> str:
    return drawn(fleet.port, "anna", path, name, folder)
