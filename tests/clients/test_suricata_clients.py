"""Stock suricata-update takes its rules through the gate: ring by ring, held, recalled, and nothing that is broken."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.adapters.plugins import ChildPlugins
from gate.hookspecs import Released, Source
from tests.clients.laid import Mirror, behind
from tests.clients.stock import Update
from tests.conftest import missing
from tests.rule_sets import NAME, packed, plain, put, rule

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    return tmp_path / "vendor"


@pytest.fixture
def mirror(tmp_path: Path, vendor: Path) -> Iterator[Mirror]:
    if shutil.which("suricata-update") is None:
        missing("suricata-update is not installed")
    plugins = ChildPlugins(tmp_path / "spool" / "here-1")
    with behind(Mirror(tmp_path, plugins, "suricata", Source("ids", {"folder": str(vendor)}))) as served:
        yield served


class Sensor(Update):
    """A machine with stock suricata-update; ``ring`` is what its address on the mirror leads to."""

    def __init__(self, folder: Path, mirror: Mirror, ring: str) -> None:
        super().__init__(folder / f"sensor-{ring}", mirror.url(ring))

    def takes(self) -> list[str]:
        """By ``--url``, as in a cron job."""
        return self.updates("--url", f"{self.address}/{NAME}")


def brings(mirror: Mirror, vendor: Path, number: int) -> Released:
    put(vendor, plain([1, 2], f"v{number}"), number)
    return mirror.takes()


def test_rules_go_ring_by_ring_and_stay_where_the_ring_is_not_open(
    mirror: Mirror, vendor: Path, tmp_path: Path
) -> None:
    first, rest = Sensor(tmp_path, mirror, "first"), Sensor(tmp_path, mirror, "rest")
    one = brings(mirror, vendor, 1)
    for ring in ("first", "rest"):
        mirror.serves(ring, one, AT)
    assert (first.takes(), rest.takes()) == (["v1", "v1"], ["v1", "v1"])
    two = brings(mirror, vendor, 2)
    mirror.serves("first", two, AT)
    for _ in range(3):  # ring 1 is held: it runs as ever, with what it had
        assert (first.takes(), rest.takes()) == (["v2", "v2"], ["v1", "v1"])
    assert "Remote checksum has not changed" in rest.said
    mirror.serves("rest", two, AT)
    assert rest.takes() == ["v2", "v2"]


def test_a_recall_needs_the_server_alone(mirror: Mirror, vendor: Path, tmp_path: Path) -> None:
    sensor = Sensor(tmp_path, mirror, "first")
    one, two = brings(mirror, vendor, 1), brings(mirror, vendor, 2)
    mirror.serves("first", two, AT)
    assert sensor.takes() == ["v2", "v2"]
    mirror.serves("first", one, AT)
    assert sensor.takes() == ["v1", "v1"]


def test_a_broken_rule_is_stopped_by_the_gate_where_the_client_lets_it_pass(
    mirror: Mirror, vendor: Path, tmp_path: Path
) -> None:
    sensor = Sensor(tmp_path, mirror, "first")
    mirror.serves("first", brings(mirror, vendor, 1), AT)
    assert sensor.takes() == ["v1", "v1"]
    broken = rule(1, "broken").replace("a|3b 20|b", "a|3|b")
    put(vendor, packed([("rules/a.rules", broken.encode())]), 2)
    with pytest.raises(AssertionError, match="wrong quotes, escapes or hex"):
        mirror.takes()
    assert sensor.takes() == ["v1", "v1"]
    (vendor / NAME).rename(mirror.root / NAME)  # without a gate
    assert sensor.updates("--url", mirror.url(NAME)) == ["broken"]


def test_the_index_that_is_served_enables_the_source_with_the_machines_own_address_and_no_other(
    mirror: Mirror, vendor: Path, tmp_path: Path
) -> None:
    sensor = Sensor(tmp_path, mirror, "first")
    mirror.serves("first", brings(mirror, vendor, 1), AT)
    sensor.run("update-sources")
    sensor.run("enable-source", "ids", f"mirror={mirror.url('first')}")
    assert sorted(path.name for path in (sensor.home / "update" / "sources").iterdir()) == ["ids.yaml"]
    assert sensor.updates() == ["v1", "v1"]
    mirror.serves("first", brings(mirror, vendor, 2), AT)
    assert sensor.updates() == ["v2", "v2"]
