"""The defender plugin: Microsoft's layouts are read and served, versions are numbers, and what Defender says is read.

The data is self-made; the text of ``mdatp health`` follows its documentation. Nothing here ran against Defender."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.adapters.plugins import ChildPlugins, Network
from gate.core.errors import SourceError
from gate.hookspecs import Announced, Baseline, Candidate, Fetched, Receiver, Released, Source, Target, Verification
from gate_defender import agent, package, reports
from tests import definitions
from tests.conftest import missing
from tests.upstream import Upstream, upstream

AT = datetime(2026, 3, 2, 9, 30, 15, tzinfo=UTC)
INFO = b"""<?xml version="1.0" encoding="utf-8"?><versions><engine>1.1.24090.11</engine>
<platform>4.18.24090.11</platform><signatures date="2024-11-26T09:53:25Z">1.421.226.0</signatures></versions>"""
HEALTH = {
    "healthy": True,
    "healthIssues": [],
    "licensed": True,
    "engineVersion": '"1.1.24090.11"',
    "appVersion": "101.24092.0002",
    "definitionsVersion": '"1.421.226.0"',
    "definitionsStatus": {"$type": "upToDate"},
    "realTimeProtectionEnabled": {"value": True},
}


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    return ChildPlugins(tmp_path / "spool" / "here-1", network=Network(loopback=True))


@pytest.fixture
def feeder(tmp_path: Path) -> Path:
    folder = tmp_path / "feeder"
    folder.mkdir()
    return folder


def source(feeder: Path, **options: str) -> Source:
    return Source("defender", {"folder": str(feeder), **options})


def newest(plugins: ChildPlugins, of: Source) -> Candidate:
    found = plugins.discover("defender", of, "")
    assert len(found.candidates) == 1, found.skipped
    return found.candidates[0]


def brought(plugins: ChildPlugins, of: Source) -> tuple[Candidate, tuple[Fetched, ...], Path, Verification]:
    candidate = newest(plugins, of)
    into, fetched = plugins.fetch("defender", of, candidate)
    return candidate, fetched, into, plugins.verify("defender", of, candidate, fetched, into)


def paths(plugins: ChildPlugins, of: Source, folder: Path) -> list[str]:
    """What clients of it may ask for."""
    candidate, fetched, into, _ = brought(plugins, of)
    kept = folder / "kept"
    shutil.copytree(into, kept)
    artifacts = tuple(Announced(one.name, one.length, one.sha256) for one in fetched)
    files = {one.name: kept / one.name for one in fetched}
    made, served = plugins.serve("defender", of, "first", Released("a" * 64, candidate.version, artifacts, files), AT)
    assert served is not None
    assert json.loads((made / "manifest.json").read_text()) == {"DefinitionVersion": candidate.version}
    return [one.path for one in served.files]


def test_a_share_is_served_as_a_share(plugins: ChildPlugins, feeder: Path, tmp_path: Path) -> None:
    definitions.share(feeder, "1.421.226.0", "x64", "arm64")
    found = paths(plugins, source(feeder), tmp_path)
    assert found == ["manifest.json", "x64/mpam-fe.exe", "arm64/mpam-fe.exe"]
    candidate, _, _, verified = brought(plugins, source(feeder))
    assert (candidate.version, verified.trust, verified.ok) == ("1.421.226.0", "digest_pinned", True)


def test_the_newest_folder_of_virtual_desktops_is_served_under_the_moment_of_the_move(
    plugins: ChildPlugins, feeder: Path, tmp_path: Path
) -> None:
    definitions.vdi(feeder, "260301080000", "1.9.0.0")
    definitions.vdi(feeder, "260302080000", "1.10.0.0")
    here = "{00000000-0000-0000-0000-260302093015}/"
    found = paths(plugins, source(feeder, layout="vdi"), tmp_path)
    names = ["mpam-fe.exe", "mpasbase.vdm", "mpavbase.vdm", "mpengine.dll"]
    assert found == ["manifest.json", *(here + name for name in names)]
    assert newest(plugins, source(feeder, layout="vdi")).version == "1.10.0.0"


def test_a_linux_tree_is_served_as_it_is(plugins: ChildPlugins, feeder: Path, tmp_path: Path) -> None:
    definitions.linux(feeder, "1.421.226.0")
    definitions.linux(feeder, "1.421.226.0", architecture="arch_arm_64")
    places = [f"linux/production/{one}" for one in ("arch_x86_64", "arch_arm_64")]
    assert paths(plugins, source(feeder, layout="linux"), tmp_path) == [
        "manifest.json",
        *(f"{place}/{name}" for place in places for name in ("manifest.json", "updates.zip")),
    ]


@pytest.mark.parametrize(
    ("a", "b", "way"),
    [
        ("1.9.0.0", "1.10.0.0", -1),
        ("1.421.226.0", "1.421.226.0", 0),
        ("1.421.226.1", "1.421.226.0", 1),
        ("2.0.0.0", "1.999.999.9", 1),
    ],
)
def test_versions_are_four_numbers(plugins: ChildPlugins, feeder: Path, a: str, b: str, way: int) -> None:
    assert plugins.order("defender", source(feeder), [(a, b), (b, a)]) == [way, -way]


def test_what_is_being_written_is_left_alone(plugins: ChildPlugins, feeder: Path) -> None:
    definitions.share(feeder, "1.1.1.1")
    os.utime(feeder / "x64/mpam-fe.exe", (time.time() - 5,) * 2)
    found = plugins.discover("defender", source(feeder), "")
    assert (found.candidates, found.skipped) == ((), ())


def half(feeder: Path) -> None:
    definitions.share(feeder, "1.1.1.1", "x64")
    definitions.share(feeder, "1.1.1.2", "arm64")


def no_version(feeder: Path) -> None:
    definitions.put(feeder / "x64/mpam-fe.exe", definitions.package("1.1.1.1", fixed=False))


def no_program(feeder: Path) -> None:
    definitions.put(feeder / "x64/mpam-fe.exe", b"<html>not found</html>")


def a_link(feeder: Path) -> None:
    definitions.put(feeder / "other", definitions.package("1.1.1.1"))
    (feeder / "x64").mkdir()
    (feeder / "x64/mpam-fe.exe").symlink_to(feeder / "other")


@pytest.mark.parametrize(
    ("made", "why"), [(half, "no one version"), (no_version, "has none"), (no_program, "has none"), (a_link, "link")]
)
def test_a_tree_that_cannot_be_taken_says_why(plugins: ChildPlugins, feeder: Path, made: object, why: str) -> None:
    assert callable(made)
    made(feeder)
    found = plugins.discover("defender", source(feeder), "")
    assert found.candidates == ()
    assert why in found.skipped[0]


@pytest.mark.parametrize(
    ("manifest", "why"),
    [(b"{", "not JSON"), (b"[]", "no one version"), (b'{"DefinitionVersion": "x"}', "no one version")],
)
def test_a_linux_manifest_that_is_no_good_says_why(
    plugins: ChildPlugins, feeder: Path, manifest: bytes, why: str
) -> None:
    definitions.linux(feeder, "1.1.1.1")
    definitions.put(feeder / "linux/production/arch_x86_64/manifest.json", manifest)
    found = plugins.discover("defender", source(feeder, layout="linux"), "")
    assert (found.candidates, why in found.skipped[0]) == ((), True)


def lint(plugins: ChildPlugins, of: Source, baseline: Baseline) -> list[tuple[str, str]]:
    candidate, fetched, into, _ = brought(plugins, of)
    return [(one.weight, one.code) for one in plugins.lint("defender", of, candidate, fetched, into, baseline)]


def test_a_package_of_half_the_size_stays_out_and_another_engine_is_said(
    plugins: ChildPlugins, feeder: Path, tmp_path: Path
) -> None:
    of = source(feeder, layout="linux")
    definitions.linux(feeder, "1.1.1.1")
    _, fetched, into, _ = brought(plugins, of)
    kept = tmp_path / "baseline"
    shutil.copytree(into, kept)
    baseline = Baseline("1.1.1.1", {one.name: kept / one.name for one in fetched})
    definitions.linux(feeder, "1.1.1.2")
    assert lint(plugins, of, baseline) == []
    definitions.linux(feeder, "1.1.1.3", engine="1.1.9.9")
    assert lint(plugins, of, baseline) == [("note", "engine")]
    definitions.put(feeder / "linux/production/arch_x86_64/updates.zip", b"x" * 300)
    assert ("refuse", "shrunk") in lint(plugins, of, baseline)


@pytest.fixture
def microsoft() -> Iterator[tuple[Source, Upstream]]:
    with upstream() as server:
        server.file("/info", INFO)
        server.file("/mpam-fe.exe", definitions.package("1.421.226.0"))
        options = {"info": server.url("/info"), "package": server.url("/mpam-fe.exe")}
        yield Source("defender", options, hosts=(server.host,)), server


def test_from_microsoft_the_version_is_announced_and_must_be_that_of_the_package(
    plugins: ChildPlugins, microsoft: tuple[Source, Upstream]
) -> None:
    of, server = microsoft
    candidate, fetched, _, verified = brought(plugins, of)
    assert (candidate.version, [one.name for one in fetched]) == ("1.421.226.0", ["x64-mpam-fe.exe"])
    assert (verified.ok, verified.trust) == (True, "unverified")  # a policy must ask for that in a word
    server.file("/mpam-fe.exe", definitions.package("1.421.100.0"))
    _, _, _, verified = brought(plugins, of)
    assert not verified.ok
    assert "1.421.100.0" in verified.detail
    server.file("/info", b"<versions><engine>1.1.1.1</engine></versions>")
    with pytest.raises(SourceError, match="names no version"):
        plugins.discover("defender", of, "")


def test_a_signature_counts_where_people_say_whose(plugins: ChildPlugins, feeder: Path, tmp_path: Path) -> None:
    for program in ("osslsigncode", "openssl"):
        if shutil.which(program) is None:
            missing(f"{program} is not installed")
    raw, authority = definitions.signed(tmp_path / "ours", "1.2.3.4")
    _, stranger = definitions.signed(tmp_path / "theirs", "1.2.3.4", "Stranger")
    definitions.put(feeder / "x64/mpam-fe.exe", raw)
    _, _, _, verified = brought(plugins, source(feeder, authority=str(authority)))
    assert (verified.ok, verified.trust) == (True, "vendor_signed"), verified
    assert "Definitions" in verified.signer
    assert not brought(plugins, source(feeder, authority=str(stranger)))[3].ok
    spoilt = bytearray(raw)
    spoilt[700] ^= 1
    definitions.put(feeder / "x64/mpam-fe.exe", bytes(spoilt))
    assert not brought(plugins, source(feeder, authority=str(authority)))[3].ok
    definitions.put(feeder / "x64/mpam-fe.exe", definitions.package("1.2.3.4"))
    assert not brought(plugins, source(feeder, authority=str(authority)))[3].ok


@pytest.mark.parametrize(
    ("report", "version"),
    [
        (json.dumps(HEALTH), "1.421.226.0"),
        ('{"AntivirusSignatureVersion": "1.421.226.0", "AntivirusEnabled": true}', "1.421.226.0"),
        ("1.421.226.0", "1.421.226.0"),
        ('"1.421.226.0"\n', "1.421.226.0"),
        ("{}", None),
        ("[1]", None),
        ("definitions 1.2", None),
        ('{"definitionsVersion": 7}', None),
        ('{"definitionsVersion": "1.2.3.4<script>"}', None),
        ("[" * 100_000, None),
        ("x" * 300_000, None),
    ],
)
def test_what_a_machine_runs_is_what_defender_says(plugins: ChildPlugins, report: str, version: str | None) -> None:
    said = reports.read(report)
    assert (said.version if said else None) == version
    if len(report) < 10_000:
        found = plugins.observed("defender", Source("defender", {}), [(Receiver("m", "till-1", {}), report)])
        assert found is not None
        assert [one.version if one else None for one in found] == [version]


def command(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def machine(folder: Path, **options: str) -> Target:
    (folder / "said").write_text(json.dumps(HEALTH))
    health = command(folder, "health", f"cat {folder}/said")
    return Target("defender", folder, {"health": health, **options})


def test_the_agent_reads_recorded_health(tmp_path: Path) -> None:
    target = machine(tmp_path)
    found = agent.gate_agent_probe(target)
    assert (found.version, [one.ok for one in found.probes]) == ("1.421.226.0", [True])
    (tmp_path / "said").write_text(json.dumps(HEALTH | {"healthy": False, "healthIssues": ["no engine"]}))
    found = agent.gate_agent_probe(target)
    assert (found.version, [one.ok for one in found.probes]) == ("1.421.226.0", [False])
    assert "no engine" in found.probes[0].detail


@pytest.mark.parametrize("said", ["exit 1", "echo hello", "true", "kill -9 $$"])
def test_a_defender_that_says_nothing_is_a_bad_probe(tmp_path: Path, said: str) -> None:
    target = Target("defender", tmp_path, {"health": command(tmp_path, "health", said)})
    found = agent.gate_agent_probe(target)
    assert (found.version, [one.ok for one in found.probes]) == ("", [False])
    gone = Target("defender", tmp_path, {"health": str(tmp_path / "none")})
    assert [one.ok for one in agent.gate_agent_probe(gone).probes] == [False]


def test_a_machine_goes_back_by_its_own_commands_and_says_where_it_cannot(tmp_path: Path) -> None:
    assert not agent.gate_agent_rollback(machine(tmp_path), "b" * 64, "a" * 64).ok
    older = json.dumps(HEALTH | {"definitionsVersion": "1.420.1.0"})
    (tmp_path / "older").write_text(older)
    done = command(tmp_path, "done", "true")
    update = command(tmp_path, "update", f"cp {tmp_path}/older {tmp_path}/said")
    refused = command(tmp_path, "refused", "echo no space; exit 3")
    still = agent.gate_agent_rollback(machine(tmp_path, remove=done, update=done), "b" * 64, "a" * 64)
    assert (still.ok, still.release, "still has 1.421.226.0" in still.detail) == (False, "b" * 64, True)
    failed = agent.gate_agent_rollback(machine(tmp_path, remove=refused, update=update), "b" * 64, "a" * 64)
    assert (failed.ok, "no space" in failed.detail) == (False, True)
    back = agent.gate_agent_rollback(machine(tmp_path, remove=done, update=update), "b" * 64, "a" * 64)
    assert (back.ok, back.release) == (True, "a" * 64)
    assert not agent.gate_agent_rollback(machine(tmp_path, remove=done, update=update), "b" * 64, "").ok


@pytest.mark.parametrize("raw", [b"", b"MZ", b"MZ" + package.FIXED + b"\1\0", b"PK\3\4" + package.FIXED + b"\0" * 8])
def test_bytes_without_a_version_have_none(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x").write_bytes(raw)
    assert package.version_of(tmp_path / "x") == ""
