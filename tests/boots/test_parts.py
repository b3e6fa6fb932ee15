"""What a guest is made of, as far as it can be held without starting one."""

from __future__ import annotations

import re

from tests.boots import fleet, image
from tests.conftest import REPOSITORY


def test_every_file_of_a_guest_has_its_place_and_every_unit_that_is_switched_on_is_one_of_them() -> None:
    elsewhere = {"init", "console.conf"}
    assert {path.name for path in image.GUEST.iterdir()} == set(image.PLACES) | elsewhere
    ours = {unit for unit in image.ENABLED if not unit.startswith("systemd-")}
    assert ours <= set(image.PLACES)


def test_make_boots_installs_what_a_guest_needs() -> None:
    script = (REPOSITORY / "scripts" / "system-packages").read_text(encoding="utf-8")
    of_boots = script.partition("boots ]; then")[2].partition("else")[0]
    named = dict(re.findall(r"([\w-]+):([\w-]+)", of_boots))
    assert {**image.NEEDED, "busybox": "busybox-static"}.items() <= named.items()


def test_the_two_makes_stand_in_both_rings_and_at_four_sites() -> None:
    makes = {make for _, make, _, _ in fleet.GUESTS}
    assert len(fleet.GUESTS) >= 6
    assert {make for _, make, _, labels in fleet.GUESTS if "first" in labels} == makes
    assert {make for _, make, _, labels in fleet.GUESTS if "first" not in labels} == makes
    assert len({site for _, _, site, _ in fleet.GUESTS}) == 4
