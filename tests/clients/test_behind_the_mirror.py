"""suricata-update and apt behind the real mirror of a gate that serves: promoted ring by ring, held, recalled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from gate.cli.main import main
from gate.core.model import ClaimState, RolloutState
from gate_apt import openpgp
from tests.clients.served import ServedGate, StockMachine, promoted, until
from tests.clients.stock import Apt, Update
from tests.conftest import missing
from tests.debs import deb, needed
from tests.rule_sets import NAME, packed, plain, put, rule

pytestmark = pytest.mark.clients


class Sensor(StockMachine):
    """A machine with stock suricata-update, which a cron job runs with ``--url``."""

    def __init__(self, gate: ServedGate, name: str, site: str, labels: list[str]) -> None:
        super().__init__(gate, name, site, labels)
        self.client = Update(self.home / "data", self.address)
        self.begins({"folder": str(self.client.home)})

    def updates(self) -> str:
        (said,) = set(self.client.updates("--url", f"{self.address}/{NAME}"))
        return version_of(int(said.removeprefix("v")))


def version_of(number: int) -> str:
    """What the plugin calls the rules of this number: the date of their md5."""
    return f"20231114T2213{20 + number:02}Z"


class Till(StockMachine):
    """A machine with stock apt in a root of its own, prepared to go back."""

    def __init__(self, gate: ServedGate, name: str, site: str, labels: list[str]) -> None:
        super().__init__(gate, name, site, labels)
        self.apt = Apt(self.home / "root", self.address, openpgp.read(gate.folder / "gate.key").public())
        self.apt.pins()
        admin = f"dpkg-query --admindir={self.home}/root/var/lib/dpkg"
        self.begins({"folder": str(self.home), "packages": "till", "dpkg": admin})

    def updates(self) -> str:
        return self.apt.updates("--allow-downgrades")


@pytest.fixture
def started() -> Iterator[list[StockMachine]]:
    found: list[StockMachine] = []
    yield found
    for one in found:
        one.end()


@pytest.fixture
def sensors(tmp_path: Path, started: list[StockMachine]) -> Iterator[tuple[ServedGate, Sensor, Sensor]]:
    if shutil.which("suricata-update") is None:
        missing("suricata-update is not installed")
    gate = ServedGate(tmp_path, "ids", "suricata", "rules")
    first, rest = Sensor(gate, "first", "nord", ["first"]), Sensor(gate, "rest", "sued", [])
    started += [first, rest]
    yield gate, first, rest
    gate.end()


@pytest.fixture
def tills(tmp_path: Path, started: list[StockMachine]) -> Iterator[tuple[ServedGate, Till, Till]]:
    needed("apt-get", "dpkg", "gpgv")
    openpgp.make(tmp_path / "gate.key")
    gate = ServedGate(tmp_path, "till", "apt", "binary", packages="till", key=str(tmp_path / "gate.key"))
    first, rest = Till(gate, "first", "nord", ["first"]), Till(gate, "rest", "sued", [])
    started += [first, rest]
    yield gate, first, rest
    gate.end()


def through(
    gate: ServedGate, first: StockMachine, rest: StockMachine, one: str, two: str, brings: Callable[[int], None]
) -> None:
    """Promoted, held, probed, promoted, recalled."""
    brings(1)
    promoted(first, one)
    promoted(rest, one)
    brings(2)
    until(lambda: first.stands() == two, f"{two} is not served")
    assert first.updates() == two
    assert [rest.updates() for _ in range(3)] == [one] * 3  # held: content, and what it had
    found = CliRunner().invoke(main, ["lever", "check", gate.source, "--settings", str(gate.made.settings)])
    assert found.exit_code == 0, found.output
    assert "2 addresses" in found.output
    assert "nothing was withheld" not in found.output
    promoted(first, two)
    promoted(rest, two)
    until(lambda: gate.rollout(two).state is RolloutState.DONE, f"{two} is not done")  # type: ignore[union-attr]
    gate.recalls()
    for machine in (first, rest):
        until(lambda it=machine: it.stands() == one, "the pointer has not gone back")  # type: ignore[misc]
        assert machine.updates() == one

        def back(it: StockMachine = machine) -> bool:
            it.says()
            return it.claim(two) is ClaimState.ROLLED_BACK

        until(back, f"not back: {machine.agent.state.said}")


def test_suricata_update_is_promoted_held_and_recalled_by_the_gate(
    sensors: tuple[ServedGate, Sensor, Sensor],
) -> None:
    gate, first, rest = sensors

    def brings(number: int) -> None:
        put(gate.upstream, plain([1, 2], f"v{number}"), number)

    through(gate, first, rest, version_of(1), version_of(2), brings)
    broken = rule(1, "v3").replace("a|3b 20|b", "a|3|b")
    put(gate.upstream, packed([("rules/a.rules", broken.encode())]), 3)

    def refused() -> bool:
        with gate.opened.store.read() as tx:
            events = tx.events(subject="source:ids")
        return any("wrong quotes, escapes or hex" in str(one.detail) for one in events)

    until(refused, "nobody refused it")
    assert (gate.rollout(version_of(3)), first.updates()) == (None, version_of(1))


def test_apt_is_promoted_held_and_recalled_by_the_gate(tills: tuple[ServedGate, Till, Till]) -> None:
    gate, first, rest = tills

    def brings(number: int) -> None:
        deb(gate.upstream, "till", f"1.{number + 8}")

    through(gate, first, rest, "1.9", "1.10", brings)


def test_a_leak_of_the_mirror_is_found_over_real_http(sensors: tuple[ServedGate, Sensor, Sensor]) -> None:
    gate, first, rest = sensors
    put(gate.upstream, plain([1, 2], "v1"), 1)
    promoted(first, version_of(1))
    promoted(rest, version_of(1))
    put(gate.upstream, plain([1, 2], "v2"), 2)
    until(lambda: first.stands() == version_of(2), "2 is not served")
    home = gate.opened.settings.mirror / "to" / "ids"
    link = home / rest.machine.id
    link.unlink()
    link.symlink_to((home / first.machine.id).readlink())
    found = CliRunner().invoke(main, ["lever", "check", "ids", "--settings", str(gate.made.settings)])
    assert found.exit_code == 1
    assert "withheld" in found.output
    shown = CliRunner().invoke(main, ["sources", "--settings", str(gate.made.settings), "-o", "json"])
    assert '"state": "broken"' in shown.output
