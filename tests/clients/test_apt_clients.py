"""Stock apt takes packages through the gate, in a root of its own: ring by ring, held, recalled, and nothing spoilt."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gate.adapters.plugins import ChildPlugins
from gate.hookspecs import Released, Source
from gate_apt import openpgp
from tests.clients.laid import Mirror, behind
from tests.debs import deb, needed

pytestmark = pytest.mark.slow
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


class Machine:
    """apt and dpkg with a root and a database of their own, and one repository: the ring's."""

    def __init__(self, folder: Path, mirror: Mirror, ring: str, key: openpgp.Key) -> None:
        self.root = folder / f"machine-{ring}"
        for name in ("etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/dpkg/info", "var/lib/dpkg/updates",
                     "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt"):  # fmt: skip
            (self.root / name).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "gate.gpg").write_bytes(key.public())
        line = f"deb [signed-by={self.root}/gate.gpg] {mirror.url(ring)} gate main\n"
        (self.root / "etc/apt/sources.list").write_text(line)
        options = {
            "Dir": self.root,
            "Dir::State::status": self.root / "var/lib/dpkg/status",
            "Dir::Bin::methods": "/usr/lib/apt/methods",
            "APT::Architecture": "amd64",
            "APT::Architectures": "amd64",
            "APT::Sandbox::User": "root",
            "APT::Update::Error-Mode": "any",
            "Debug::NoLocking": "true",
        }
        self.conf = self.root / "apt.conf"
        dpkg = [f"--root={self.root}", "--force-not-root,script-chrootless,bad-path", "--log=/dev/null"]
        lines = [f'{name} "{value}";' for name, value in options.items()]
        lines += [f'DPkg::Options:: "{word}";' for word in dpkg]
        self.conf.write_text("\n".join(lines) + "\n")

    def run(self, *words: str) -> tuple[int, str]:
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "APT_CONFIG": str(self.conf), "LC_ALL": "C",
                       "DEBIAN_FRONTEND": "noninteractive"}  # fmt: skip
        done = subprocess.run(["apt-get", "-y", *words], env=environment, capture_output=True, text=True, timeout=60,
                              check=False)  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def good(self, *words: str) -> str:
        code, said = self.run(*words)
        assert code == 0, said
        return said

    def has(self) -> str:
        """What is really on its disk."""
        path = self.root / "usr/share/till/version"
        return path.read_text() if path.exists() else ""

    def updates(self, *words: str) -> str:
        """As a nightly job does."""
        self.good("update")
        self.said = self.good("install", *words, "till") if not self.has() else self.good("upgrade", *words)
        return self.has()

    def pins(self) -> None:
        """What a recall asks of it."""
        (self.root / "etc/apt/preferences.d/gate").write_text(
            "Package: till\nPin: release o=gate\nPin-Priority: 1001\n"
        )


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
