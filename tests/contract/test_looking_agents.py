"""The agents of sources that a stock client takes by the mirror: what they say is in place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.hookspecs import Target
from gate_apt import agent as apt
from gate_suricata import agent as suricata
from tests.rule_sets import NAME, plain
from tests.upstream import Reply, Upstream, upstream

ONE, TWO = plain([1], "v1"), plain([1], "v2")


@pytest.fixture
def mirror() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


def said(mirror: Upstream, raw: bytes, version: str) -> None:
    text = json.dumps({"version": version, "file": NAME, "md5": hashlib.md5(raw).hexdigest()})
    mirror.file("/m/gate.json", text.encode())


def taken(folder: Path, raw: bytes, rules: str = "alert") -> None:
    """As suricata-update leaves it."""
    (folder / "update/cache").mkdir(parents=True, exist_ok=True)
    (folder / "rules").mkdir(exist_ok=True)
    (folder / "update/cache" / f"{'0' * 32}-{NAME}").write_bytes(raw)
    (folder / "rules/suricata.rules").write_text(rules)


def sensor(folder: Path, mirror: Upstream, **more: str) -> Target:
    return Target("ids", folder, {"mirror": mirror.url("/m"), **more})


def test_rules_in_place_have_the_version_that_the_mirror_once_gave_them(tmp_path: Path, mirror: Upstream) -> None:
    target = sensor(tmp_path, mirror)
    said(mirror, ONE, "1")
    assert [one.ok for one in suricata.gate_agent_probe(target).probes] == [False]
    taken(tmp_path, ONE)
    assert suricata.gate_agent_probe(target).version == "1"
    said(mirror, TWO, "2")  # offered, not taken
    assert suricata.gate_agent_probe(target).version == "1"
    mirror.answers["/m/gate.json"] = Reply(429, b"later")
    taken(tmp_path, TWO)
    assert suricata.gate_agent_probe(target).version == "2"
    taken(tmp_path, b"from elsewhere")
    found = suricata.gate_agent_probe(target)
    assert (found.version, found.probes[0].ok) == ("", True)
    taken(tmp_path, ONE, rules="")
    assert [one.ok for one in suricata.gate_agent_probe(target).probes] == [False]


@pytest.mark.parametrize("answer", [b"", b"[]", b"{", b'{"version": 1}', b"[" * 9000])
def test_a_mirror_that_answers_nonsense_changes_nothing(tmp_path: Path, mirror: Upstream, answer: bytes) -> None:
    target = sensor(tmp_path, mirror)
    said(mirror, ONE, "1")
    taken(tmp_path, ONE)
    suricata.gate_agent_probe(target)
    mirror.file("/m/gate.json", answer)
    assert suricata.gate_agent_probe(target).version == "1"


@pytest.mark.parametrize(("probe", "ok"), [("true", True), ("false", False), ("/nowhere", False)])
def test_a_command_may_say_whether_it_works(tmp_path: Path, mirror: Upstream, probe: str, ok: bool) -> None:
    said(mirror, ONE, "1")
    taken(tmp_path, ONE)
    found = suricata.gate_agent_probe(sensor(tmp_path, mirror, probe=probe))
    assert ([one.ok for one in found.probes], found.version) == ([True, ok], "1")
    found = apt.gate_agent_probe(till(tmp_path, "till 1.9 installed", probe=probe))
    assert ([one.ok for one in found.probes], found.version) == ([True, ok], "1.9")


def till(folder: Path, rows: str, code: int = 0, packages: str = "till", **more: str) -> Target:
    """``rows``: as dpkg-query answers."""
    (folder / "rows").write_text(rows + "\n")
    program = folder / "dpkg-query"
    program.write_text(f"#!/bin/sh\ncat {folder}/rows\nexit {code}\n")
    program.chmod(0o755)
    return Target("till", folder, {"dpkg": str(program), "packages": packages, **more})


@pytest.mark.parametrize(
    ("rows", "packages", "version"),
    [
        ("till 1.9 installed", "till", "1.9"),
        ("base 2:3-1 installed\ntill 1.9 installed", "till base", "1.9,2:3-1"),
        ("till 1.9 half-configured", "till", ""),
        ("till  not-installed", "till", ""),
        ("other 1 installed", "till", ""),
        ("", "till", ""),
        ("till 1.9 installed", "", ""),
        ("till 1.9 installed", "till --root=/", ""),
    ],
)
def test_packages_have_the_versions_that_dpkg_says_and_half_of_them_is_none(
    tmp_path: Path, rows: str, packages: str, version: str
) -> None:
    found = apt.gate_agent_probe(till(tmp_path, rows, packages=packages))
    assert (found.version, all(one.ok for one in found.probes)) == (version, bool(version))


def test_going_back_is_the_machines_own_command_or_its_next_run(tmp_path: Path, mirror: Upstream) -> None:
    bad, good = "b" * 64, "a" * 64
    for hook, target in (
        (suricata.gate_agent_rollback, lambda **more: sensor(tmp_path, mirror, **more)),
        (apt.gate_agent_rollback, lambda **more: till(tmp_path, "", **more)),
    ):
        for more, placed in (
            ({}, (False, bad)),
            ({"update": "true"}, (True, good)),
            ({"update": "false"}, (False, bad)),
        ):
            found = hook(target(**more), bad, good)
            assert (found.ok, found.release) == placed
