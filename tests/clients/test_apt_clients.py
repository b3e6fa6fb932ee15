"""Stock apt takes packages through the gate, in a root of its own: ring by ring, held, recalled, and nothing spoilt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gate.adapters.plugins import ChildPlugins
from gate.hookspecs import Released, Source
from gate_apt import openpgp
from tests.clients.laid import Mirror, behind
from tests.clients.stock import Apt
from tests.debs import deb, needed

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def key(tmp_path: Path) -> openpgp.Key:
    return openpgp.make(tmp_path / "gate.key")


@pytest.fixture
def mirror(tmp_path: Path, key: openpgp.Key) -> Iterator[Mirror]:
    needed("apt-get", "dpkg", "gpgv")
    (tmp_path / "vendor").mkdir()
    options = {"folder": str(tmp_path / "vendor"), "packages": "till", "key": str(tmp_path / "gate.key")}
    plugins = ChildPlugins(tmp_path / "spool" / "here-1")
    with behind(Mirror(tmp_path, plugins, "apt", Source("till", options))) as served:
        yield served


class Machine(Apt):
    """A machine with one repository: the ring's."""

    def __init__(self, folder: Path, mirror: Mirror, ring: str, key: openpgp.Key) -> None:
        super().__init__(folder / f"machine-{ring}", mirror.url(ring), key.public())


def brings(mirror: Mirror, tmp_path: Path, version: str) -> Released:
    deb(tmp_path / "vendor", "till", version)
    return mirror.takes()


def test_packages_go_ring_by_ring_and_stay_where_the_ring_is_not_open(
    mirror: Mirror, tmp_path: Path, key: openpgp.Key
) -> None:
    first, rest = Machine(tmp_path, mirror, "first", key), Machine(tmp_path, mirror, "rest", key)
    one = brings(mirror, tmp_path, "1.9")
    for ring in ("first", "rest"):
        mirror.serves(ring, one, AT)
    assert (first.updates(), rest.updates()) == ("1.9", "1.9")
    two = brings(mirror, tmp_path, "1.10")
    mirror.serves("first", two, AT + timedelta(hours=1))
    for _ in range(3):  # ring 1 is held: exit code 0, and what it had
        assert (first.updates(), rest.updates()) == ("1.10", "1.9")
    mirror.serves("rest", two, AT + timedelta(hours=2))
    assert rest.updates() == "1.10"


def test_a_recall_is_taken_with_a_pin_and_permission_and_not_without(
    mirror: Mirror, tmp_path: Path, key: openpgp.Key
) -> None:
    machine = Machine(tmp_path, mirror, "first", key)
    one, two = brings(mirror, tmp_path, "1"), brings(mirror, tmp_path, "2")
    mirror.serves("first", two, AT)
    assert machine.updates() == "2"
    mirror.serves("first", one, AT + timedelta(hours=1))
    assert machine.updates("--allow-downgrades") == "2"
    machine.pins()
    machine.good("update")
    code, said = machine.run("upgrade")
    assert (code, machine.has()) == (100, "2"), said
    assert "downgrade" in said
    assert machine.updates("--allow-downgrades") == "1"
    mirror.serves("first", two, AT + timedelta(hours=2))
    assert machine.updates() == "2"  # the pin may stay


def test_an_older_date_is_no_news_to_apt(mirror: Mirror, tmp_path: Path, key: openpgp.Key) -> None:
    machine = Machine(tmp_path, mirror, "first", key)
    one, two = brings(mirror, tmp_path, "1"), brings(mirror, tmp_path, "2")
    mirror.serves("first", one, AT)
    assert machine.updates() == "1"
    mirror.serves("first", two, AT - timedelta(hours=1))
    assert machine.updates() == "1"
    mirror.serves("first", two, AT + timedelta(seconds=1))
    assert machine.updates() == "2"


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("what", ["pool/till_2_all.deb", "InRelease", "by-hash"])
def test_a_flipped_byte_never_reaches_a_machine(mirror: Mirror, tmp_path: Path, key: openpgp.Key, what: str) -> None:
    machine = Machine(tmp_path, mirror, "first", key)
    mirror.serves("first", brings(mirror, tmp_path, "1"), AT)
    assert machine.updates() == "1"
    mirror.serves("first", brings(mirror, tmp_path, "2"), AT + timedelta(hours=1))
    for path in sorted((mirror.root / "first").resolve().rglob("*")):
        if path.is_file() and what in str(path):
            flip(path)
    updated = machine.run("update")
    upgraded = machine.run("upgrade")
    assert 100 in (updated[0], upgraded[0]), updated[1] + upgraded[1]
    assert machine.has() == "1"


def test_another_key_than_the_gates_is_not_trusted(mirror: Mirror, tmp_path: Path) -> None:
    machine = Machine(tmp_path, mirror, "first", openpgp.make(tmp_path / "other.key"))
    mirror.serves("first", brings(mirror, tmp_path, "1"), AT)
    code, said = machine.run("update")
    assert code == 100
    assert "NO_PUBKEY" in said
