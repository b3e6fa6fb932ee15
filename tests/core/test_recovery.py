"""Which steps fit a machine, what must go, and that no recovery key is ever taken for the place where it lies."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gate.core import recovery_texts
from gate.core.recovery import (
    LONGEST_PLACE,
    METAL,
    SETUPS,
    VIRTUAL,
    Given,
    SetUp,
    looks_like_a_key,
    paths,
    problem_of,
    setup_of,
    to_remove,
)

KEY = "123456-234567-345678-456789-567890-678901-789012-890123"


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"platform": "metal", "os": "windows"}, SetUp("metal", "windows")),
        ({"platform": "Hyper-V", "os": "Windows Server 2022"}, SetUp("hyperv", "windows")),
        ({"platform": "esxi", "os": "linux"}, SetUp("vmware", "linux")),
        ({"platform": "proxmox", "os_build": "17763"}, SetUp("proxmox", "windows")),
        ({"platform": "kvm", "os_build": "10.0.19045.4651"}, SetUp("kvm", "windows")),
        ({"platform": "kvm", "os": "debian", "os_build": "19045"}, SetUp("kvm", "linux")),
        ({"platform": "xen", "os_build": "6.1.0-17"}, SetUp(VIRTUAL, "")),
        ({"platform": "-", "os": "-"}, SetUp("", "")),
        ({}, SetUp("", "")),
    ],
)
def test_what_a_machine_stands_on_is_read_from_its_facts(facts: dict[str, str], expected: SetUp) -> None:
    assert setup_of(facts) == expected


@pytest.mark.parametrize(
    ("setups", "settings", "expected"),
    [
        ([SetUp("metal", "linux")], Given(), ["metal-linux"]),
        ([SetUp("metal", "windows")], Given(), ["bitlocker", "metal-windows"]),
        ([SetUp("hyperv", "windows")], Given(), ["bitlocker", "hyperv-windows"]),
        ([SetUp("hyperv", "linux")], Given(windows="C:\\x"), ["hyperv-linux"]),
        ([SetUp("vmware", "")], Given(linux="/srv"), ["vmware-linux"]),
        ([SetUp("vmware", "")], Given(), ["bitlocker", "vmware-windows", "vmware-linux"]),
        ([SetUp("", "linux")], Given(), ["metal-linux", "virtual-linux"]),
        (
            [SetUp("metal", "linux"), SetUp("kvm", "linux"), SetUp("metal", "linux")],
            Given(),
            ["kvm-linux", "metal-linux"],
        ),
    ],
)
def test_a_sheet_has_the_steps_that_fit_and_no_others(
    setups: list[SetUp], settings: Given, expected: list[str]
) -> None:
    assert paths(setups, settings) == expected


def test_every_set_up_has_its_steps_in_both_languages_and_the_commands_are_the_same() -> None:
    for platform in {METAL, VIRTUAL, *SETUPS.values()}:
        for system in ("windows", "linux"):
            assert f"{platform}-{system}" in recovery_texts.PATHS
    assert {name for steps in recovery_texts.PATHS.values() for name in steps} == set(recovery_texts.STEPS)
    assert set(recovery_texts.TITLES) == set(recovery_texts.PATHS)
    for english, german in (
        *recovery_texts.STEPS.values(),
        *recovery_texts.TITLES.values(),
        *recovery_texts.WORDS.values(),
    ):
        assert english != german
        assert sorted(re.findall("`[^`]*`|{[a-z_]*}", english)) == sorted(re.findall("`[^`]*`|{[a-z_]*}", german))
        assert english.count("`") % 2 == 0


def test_a_linux_sheet_never_speaks_of_windows_and_a_virtual_machine_is_never_told_of_a_power_button() -> None:
    for path in recovery_texts.PATHS:
        said = " ".join(recovery_texts.steps(path, "en", "shop-content", "sha256:ab"))
        assert ("win.stop" in recovery_texts.PATHS[path]) == ("power button" in said) == (path == "metal-windows")
        if path.endswith("-linux"):
            assert "gate-agent recover --root /mnt" in said
            assert "{" not in said
            assert not {"Windows", "BitLocker", "del", "C:"} & set(re.findall(r"[\w:]+", said))


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.replace("-", " "),
        KEY.replace("-", ""),
        KEY.replace("-", " - "),
        f"the key is {KEY}, in the safe",
        KEY[: 6 * 4 + 3],  # half of it
        KEY[: 6 * 4 + 3].replace("-", " - "),
        KEY.translate({ord("0") + n: 0x0660 + n for n in range(10)}),  # other scripts' digits
        KEY.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
        "1234 5678 9012 3456 7890 1234 5678 9012",
    ],
)
def test_a_text_that_looks_like_a_key_is_refused(text: str) -> None:
    assert looks_like_a_key(text)
    assert "never the key" in problem_of(text, "")


@pytest.mark.parametrize(
    "text",
    [
        "Umschlag 3 im Bürotresor, Schlüssel bei Frau Kern (0211 123456-78)",
        "AD of the chain: ad.example, OU Apotheken, computer object",
        "123456-234567-345678",
        "https://vault.example/items/7f3c",
    ],
)
def test_a_place_is_taken(text: str) -> None:
    assert problem_of(text, "") == ""


@given(st.lists(st.integers(0, 999_999), min_size=8, max_size=8), st.sampled_from(["-", " ", "", " - ", "/"]))
def test_every_key_looks_like_one(groups: list[int], between: str) -> None:
    assert looks_like_a_key(between.join(f"{group:06}" for group in groups))


@pytest.mark.parametrize(
    ("place", "key_id", "good"),
    [
        ("safe", "1A2B3C4D", True),
        ("safe", "1a2b3c4d-0011-2233-4455-66778899aabb", True),
        ("safe", "{1A2B3C4D-0011-2233-4455-66778899AABB}", True),
        ("safe", "", True),
        ("", "1A2B3C4D", False),
        ("safe", "1A2B3C4", False),
        ("safe", KEY, False),
        ("safe\nand more", "", False),
        ("x" * LONGEST_PLACE, "", True),
        ("x" * (LONGEST_PLACE + 1), "", False),
    ],
)
def test_a_place_has_its_limits(place: str, key_id: str, good: bool) -> None:
    assert (problem_of(place, key_id) == "") is good


@pytest.mark.parametrize(
    ("settings", "systems", "expected"),
    [
        (Given(), ["windows"], ["a.sys", "b.sys"]),
        (Given(windows="C:\\drivers\\"), ["windows"], ["C:\\drivers\\a.sys", "C:\\drivers\\b.sys"]),
        (Given(linux="/srv/{release}"), ["linux"], ["/srv/ff/a.sys", "/srv/ff/b.sys"]),
        (Given(windows="C:\\d", files=("C-00000291*.sys",)), ["windows"], ["C:\\d\\C-00000291*.sys"]),
        (Given(linux="/srv"), ["windows", "linux"], ["a.sys", "b.sys", "/srv/a.sys", "/srv/b.sys"]),
    ],
)
def test_the_files_that_must_go_are_named_with_their_folder(
    settings: Given, systems: list[str], expected: list[str]
) -> None:
    assert to_remove(settings, systems, ["a.sys", "b.sys"], "ff") == expected
