"""The way back for one make by hand: which steps fit its set-up, and where a recovery key is kept. Pure.

- A sheet shows the steps of its own set-up only: metal, or the hypervisor that the make's ``platform`` names, on the
  system that it runs. What is not known of it is shown as both, and the sheet says so.
- Of a recovery key only the *place* and the key's *id* are kept. A text that could be the key itself is refused.
- What a source puts in place on a machine stands in the machine's own settings; where a person must look for it stands
  in this server's (``Given``).
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from gate.core.model import ABSENT

WINDOWS, LINUX = "windows", "linux"
METAL, VIRTUAL = "metal", "virtual"
SETUPS: Mapping[str, str] = {
    "metal": METAL,
    "physical": METAL,
    "hyperv": "hyperv",
    "hyper-v": "hyperv",
    "vmware": "vmware",
    "esxi": "vmware",
    "kvm": "kvm",
    "qemu": "kvm",
    "libvirt": "kvm",
    "proxmox": "proxmox",
}
"""The fact ``platform`` -> its steps; any other word is some hypervisor's: ``virtual``."""
BUILD = re.compile(r"(10\.0\.)?\d{5}(\.\d+)?", re.ASCII)
"""Windows' own way to name its build, such as 19045."""

LONGEST_PLACE = 200
GROUPS = re.compile(r"(?<!\d)\d{6}(?:\D{0,3}\d{6}){3,}(?!\d)")
MOST_DIGITS = 30
KEY_ID = re.compile(r"\{?[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}?|[0-9A-F]{8}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the recovery key of a machine is kept, or of all machines of a site (``machine`` empty), never the key."""

    site: str
    machine: str
    place: str
    key_id: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Given:
    """What a server's settings say of a source for a person who stands at a machine.

    ``linux``, ``windows``: the folder in which its files lie there, ``{release}`` is the digest of the release that
    must go. ``files``: their names or patterns; none: the artifacts of the release. ``call``: whom to call.
    """

    linux: str = ""
    windows: str = ""
    files: tuple[str, ...] = ()
    call: str = ""


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a machine stands on: a name of ``SETUPS`` (empty: not known), and its system (empty: not known)."""

    platform: str
    system: str


def problem_of(place: str, key_id: str) -> str:
    """What is wrong with a place and a key's id; empty: nothing."""
    if not place:
        return "where is the key kept? a place is needed"
    if len(place) > LONGEST_PLACE or any(ord(char) < 32 or ord(char) == 127 for char in place):
        return f"a place has at most {LONGEST_PLACE} characters, in one line"
    if looks_like_a_key(place):
        return "this looks like a recovery key: name the place where it is kept, never the key"
    if key_id and not KEY_ID.fullmatch(key_id):
        return "a key's id is its first eight digits, or all of it, such as 1A2B3C4D"
    return ""


def looks_like_a_key(text: str) -> bool:
    """Four groups of six digits in a row, half of a BitLocker recovery key, or more digits in all than a place has."""
    plain = unicodedata.normalize("NFKC", text)
    return bool(GROUPS.search(plain)) or sum(char.isdecimal() for char in plain) > MOST_DIGITS


def key_of(make: str) -> str:
    """A short name of a make, for an address."""
    return hashlib.sha256(make.encode()).hexdigest()[:12]


def setup_of(facts: Mapping[str, str]) -> SetUp:
    """What these facts say that a machine stands on."""
    platform, system = facts.get("platform", ABSENT).strip().casefold(), facts.get("os", ABSENT).strip().casefold()
    if system.startswith("win") or (system in ("", ABSENT) and BUILD.fullmatch(facts.get("os_build", ABSENT))):
        system = WINDOWS
    elif system in ("", ABSENT):
        system = ""
    else:
        system = LINUX
    return SetUp("" if platform in ("", ABSENT) else SETUPS.get(platform, VIRTUAL), system)


def paths(setups: Iterable[SetUp], given: Given) -> list[str]:
    """The names of the steps that fit (``recovery_texts.PATHS``), each once: the key first, where a disk may be locked.

    A system that nobody has said is the one for which the settings name a folder, else it may be either."""
    found: dict[str, None] = {}
    for one in sorted(set(setups), key=lambda each: (each.platform, each.system)):
        systems = [one.system] if one.system else systems_of(given)
        for platform in [one.platform] if one.platform else [METAL, VIRTUAL]:
            found |= dict.fromkeys(f"{platform}-{system}" for system in systems)
    locked = any(name.endswith(WINDOWS) for name in found)
    return [*(["bitlocker"] if locked else []), *found]


def systems_of(given: Given) -> list[str]:
    """The systems for which the settings name a folder; both where they name none."""
    said = [name for name in (WINDOWS, LINUX) if getattr(given, name)]
    return said or [WINDOWS, LINUX]


def to_remove(given: Given, systems: Iterable[str], artifacts: Sequence[str], release: str) -> list[str]:
    """The files that must go, with the folder where the settings name it; ``release``: hex digits of the bad one."""
    names, found = given.files or tuple(artifacts), []
    for system in dict.fromkeys(systems):
        folder = getattr(given, system).replace("{release}", release)
        between = "\\" if system == WINDOWS else "/"
        found += [f"{folder.rstrip(between)}{between}{name}" if folder else name for name in names]
    return list(dict.fromkeys(found))
