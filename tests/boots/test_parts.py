"""What a guest is made of, as far as it can be held without starting one."""

from __future__ import annotations

import re
from pathlib import Path

from gate.core import recovery_texts
from tests.boots import cuts, fleet, image
from tests.boots.cuts import Trial
from tests.boots.guests import Guest
from tests.conftest import REPOSITORY


def test_every_file_of_a_guest_has_its_place_and_every_unit_that_is_switched_on_is_one_of_them() -> None:
    elsewhere = {"init", "console.conf", "plain.conf"}
    assert {path.name for path in image.GUEST.iterdir()} == set(image.PLACES) | elsewhere
    ours = {unit for unit in image.ENABLED if not unit.startswith("systemd-")}
    assert ours <= set(image.PLACES)


def test_make_boots_installs_what_a_guest_needs() -> None:
    script = (REPOSITORY / "scripts" / "system-packages").read_text(encoding="utf-8")
    of_boots = script.partition("boots ]; then")[2].partition("else")[0]
    named = dict(re.findall(r"([\w-]+):([\w-]+)", of_boots))
    assert {**image.NEEDED, "busybox": "busybox-static", "chromium": "chromium"}.items() <= named.items()


def test_the_two_makes_stand_in_both_rings_and_at_four_sites() -> None:
    makes = {make for _, make, _, _ in fleet.GUESTS}
    assert len({name for name, *_ in fleet.GUESTS}) == len(fleet.GUESTS) >= 6
    assert len(makes) == 2
    assert {make for _, make, _, labels in fleet.GUESTS if "first" in labels} == makes
    assert {make for _, make, _, labels in fleet.GUESTS if "first" not in labels} == makes
    assert len({site for _, _, site, _ in fleet.GUESTS}) >= 4


def test_the_rescue_system_does_what_the_recovery_sheet_says() -> None:
    unit = (image.GUEST / "rescue.service").read_text(encoding="utf-8")
    assert f"\nExecStart=/usr/bin/{image.RECOVERS}\n" in unit
    paths = [path for path in recovery_texts.PATHS if path.endswith("-linux")]
    assert len(paths) == 6
    for path in paths:
        assert any(one.startswith(f"`{image.RECOVERS}`.") for one in recovery_texts.steps(path, "en", "shop", ""))


def test_power_is_cut_twenty_times_at_more_than_a_dozen_moments_in_guests_of_ring_1() -> None:
    moments = [moment for of_guest in cuts.MOMENTS.values() for moment in of_guest]
    assert len(moments) == 20
    assert len(set(moments)) > 12
    assert {name for name, *_, labels in fleet.GUESTS if "first" not in labels} == set(cuts.MOMENTS)
    assert {moment.split(".")[1] for moment in moments} == {"granted", "installing", "placed", "installed", "booted"}
    assert all(cuts.in_words(moment) for moment in moments)


def test_what_a_guest_staged_anew_after_its_link_was_durable_counts_as_installed_twice() -> None:
    lasted = "hold: past run.installing.staged.1\nhold: past run.installing.moved.1\nhold: held at run.placed.write.1\n"
    lost = "hold: past run.installing.staged.1\nhold: held at run.installing.moved.1\n"
    guest = Guest(image.Image(Path(), Path(), Path()), Path(), "till-a2", "a", "nord")
    once, twice = Trial(guest, [], boots=[lost, lasted]), Trial(guest, [], boots=[lasted, lost])
    assert once.staged_after_it_was_durable() == []
    assert twice.staged_after_it_was_durable() == ["boot 1: run.installing.staged"]
