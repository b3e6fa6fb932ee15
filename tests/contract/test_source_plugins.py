"""The contract that every source plugin keeps, and what the gate does with one that does not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.adapters.plugin_process import Limits
from gate.adapters.plugins import ChildPlugins
from gate.core.errors import SourceError
from gate.hookspecs import Announced, Candidate, Receiver, Released, Served, Source
from gate_directory.__main__ import make
from tests.real_gate import RealGate


def drop(folder: Path, version: str, files: dict[str, bytes]) -> Path:
    place = folder / version
    place.mkdir(parents=True)
    listed = []
    for name, content in files.items():
        (place / name).write_bytes(content)
        listed.append({"name": name, "length": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    (place / "manifest.json").write_text(json.dumps({"version": version, "files": listed}))
    (place / "READY").touch()
    return place


@pytest.fixture
def source(tmp_path: Path) -> Source:
    (tmp_path / "drops").mkdir()
    return Source("shop", {"folder": str(tmp_path / "drops")}, 1_000_000)


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    return ChildPlugins(tmp_path / "spool")


def drops(source: Source) -> Path:
    return Path(source.options["folder"])


def test_it_describes_itself_honestly(plugins: ChildPlugins) -> None:
    info = plugins.describe("directory")
    assert (info.name, info.lever) == ("directory", "held")
    assert set(info.options) == {"folder", "minisign", "order"}


def test_discover_is_idempotent_and_fetch_and_verify_bring_the_bytes(plugins: ChildPlugins, source: Source) -> None:
    drop(drops(source), "1", {"a.bin": b"a" * 1000, "b.bin": b""})
    found = plugins.discover("directory", source, "")
    assert plugins.discover("directory", source, "") == found
    (candidate,) = found.candidates
    into, fetched = plugins.fetch("directory", source, candidate)
    assert {one.name for one in fetched} == {"a.bin", "b.bin"}
    assert (into / "a.bin").read_bytes() == b"a" * 1000
    assert plugins.verify("directory", source, candidate, fetched, into).ok


def test_verify_refuses_a_flipped_byte(plugins: ChildPlugins, source: Source) -> None:
    place = drop(drops(source), "1", {"a.bin": b"a" * 1000})
    (candidate,) = plugins.discover("directory", source, "").candidates
    (place / "a.bin").write_bytes(b"a" * 999 + b"b")
    into, fetched = plugins.fetch("directory", source, candidate)
    verified = plugins.verify("directory", source, candidate, fetched, into)
    assert not verified.ok
    assert verified.detail == "a.bin is not what manifest.json lists"


def test_a_drop_without_ready_is_left_alone(plugins: ChildPlugins, source: Source) -> None:
    place = drop(drops(source), "1", {"a.bin": b"a"})
    (place / "READY").unlink()
    found = plugins.discover("directory", source, "")
    assert (found.candidates, found.skipped) == ((), ())
    (place / "READY").touch()
    assert len(plugins.discover("directory", source, "").candidates) == 1


def test_the_oldest_ready_comes_first(plugins: ChildPlugins, source: Source) -> None:
    for number, version in enumerate(("9", "10", "8")):
        ready = drop(drops(source), version, {"a": version.encode()}) / "READY"
        os.utime(ready, (number + 1, number + 1))
    found = plugins.discover("directory", source, "")
    assert [candidate.version for candidate in found.candidates] == ["9", "10", "8"]


GOOD = {"name": "a.bin", "length": 1, "sha256": hashlib.sha256(b"a").hexdigest()}
BAD = [
    ("path", [GOOD | {"name": "../a.bin"}], "not a plain file name"),
    ("absolute", [GOOD | {"name": "/etc/passwd"}], "not a plain file name"),
    ("windows path", [GOOD | {"name": "..\\a"}], "not a plain file name"),
    ("hidden", [GOOD | {"name": ".a"}], "not a plain file name"),
    ("newline", [GOOD | {"name": "a\nb"}], "not a plain file name"),
    ("empty", [GOOD | {"name": ""}], "not a plain file name"),
    ("half a character", [GOOD | {"name": "\ud800"}], "not a plain file name"),
    ("the marker itself", [GOOD | {"name": "READY"}], "not a plain file name"),
    ("a number", [GOOD | {"name": 1}], "not a plain file name"),
    ("missing file", [GOOD | {"name": "b.bin"}], "missing, a link"),
    ("twice", [GOOD, GOOD], "listed twice"),
    ("twice but for case", [GOOD, GOOD | {"name": "A.BIN"}], "listed twice"),
    ("negative", [GOOD | {"length": -1}], "length"),
    ("length true", [GOOD | {"length": True}], "length"),
    ("too large", [GOOD | {"length": 1_000_001}], "larger than 1000000 bytes"),
    ("short digest", [GOOD | {"sha256": "ab"}], "sha256"),
    ("upper case digest", [GOOD | {"sha256": GOOD["sha256"].upper()}], "sha256"),  # type: ignore[attr-defined]
    ("a key more", [GOOD | {"mode": 1}], "not {name, length, sha256}"),
    ("no file", [], "lists 0 files"),
]


@pytest.mark.parametrize(("what", "files", "word"), BAD, ids=[row[0] for row in BAD])
def test_a_drop_that_is_not_good_is_skipped_with_its_reason(
    plugins: ChildPlugins, source: Source, what: str, files: list[object], word: str
) -> None:
    place = drop(drops(source), "1", {"a.bin": b"a"})
    drop(drops(source), "2", {"a.bin": b"good"})
    (place / "manifest.json").write_text(json.dumps({"version": "1", "files": files}))
    found = plugins.discover("directory", source, "")
    assert [candidate.version for candidate in found.candidates] == ["2"]
    assert len(found.skipped) == 1
    assert word in found.skipped[0]


def test_links_are_refused_everywhere(plugins: ChildPlugins, source: Source, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"a")
    place = drop(drops(source), "1", {"a.bin": b"a"})
    (place / "a.bin").unlink()
    (place / "a.bin").symlink_to(secret)
    outside = drop(tmp_path / "outside", "2", {"a.bin": b"a"})
    (drops(source) / "linked").symlink_to(outside)
    third = drop(drops(source), "3", {"a.bin": b"a"})
    (third / "manifest.json").rename(tmp_path / "manifest")
    (third / "manifest.json").symlink_to(tmp_path / "manifest")
    os.mkfifo(drop(drops(source), "4", {}) / "a.bin")
    found = plugins.discover("directory", source, "")
    assert found.candidates == ()
    assert len(found.skipped) == 4


def test_a_file_that_becomes_a_link_after_discovery_is_not_followed(
    plugins: ChildPlugins, source: Source, tmp_path: Path
) -> None:
    place = drop(drops(source), "1", {"a.bin": b"a"})
    (candidate,) = plugins.discover("directory", source, "").candidates
    (place / "a.bin").unlink()
    (place / "a.bin").symlink_to("/etc/hostname")
    with pytest.raises(SourceError, match="link"):
        plugins.fetch("directory", source, candidate)


def test_a_file_that_grows_while_it_is_fetched_is_cut(plugins: ChildPlugins, source: Source) -> None:
    place = drop(drops(source), "1", {"a.bin": b"a"})
    (candidate,) = plugins.discover("directory", source, "").candidates
    (place / "a.bin").write_bytes(b"a" * 5_000_000)
    with pytest.raises(SourceError, match="larger than announced"):
        plugins.fetch("directory", source, candidate)


def test_a_manifest_of_nonsense_is_skipped(plugins: ChildPlugins, source: Source) -> None:
    for number, text in enumerate(
        ("", "{", "[]", "[" * 100_000, '{"version": "1"}', '{"version": "\\u0007", "files": []}')
    ):
        (drop(drops(source), f"d{number}", {"a": b"a"}) / "manifest.json").write_text(text)
    found = plugins.discover("directory", source, "")
    assert found.candidates == ()
    assert len(found.skipped) == 6


def test_a_made_drop_is_a_good_drop(plugins: ChildPlugins, source: Source, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text("{}")
    make(drops(source), "2026.1", [tmp_path / "prices.json"])
    (candidate,) = plugins.discover("directory", source, "").candidates
    assert (candidate.version, candidate.artifacts[0].name) == ("2026.1", "prices.json")
    with pytest.raises(FileExistsError):
        make(drops(source), "2026.1", [tmp_path / "prices.json"])


# plugins that do not keep the contract

HEAD = """
from gate.hookspecs import *
import os, sys, time, json, signal, subprocess

@hookimpl
def gate_describe():
    return SourceInfo("rude", "held", ("content",))

"""
DISCOVER = "@hookimpl\ndef gate_discover(source, cursor):\n    "
RUDE = {
    "hanging": "time.sleep(1000)",
    "forking": "subprocess.Popen(['sleep', '1000.123'])\n    time.sleep(1000)",
    "dying": "os.kill(os.getpid(), signal.SIGKILL)",
    "exiting": "os._exit(0)",
    "raising": "raise ValueError('no luck')",
    "silent": "return None",
    "wrong-type": "return [1, 2]",
    "hungry": "return Discovered((), 'x' * (3 << 30))",
    "loud": "return Discovered((), 'x' * 20_000_000)",
    "numbers": "return Discovered((Candidate(1, (), 'x'),))",
    "spinning": "while True: pass",
    "disk": "open('big', 'wb').write(b'x' * 10_000_000)\n    return Discovered(())",
}
STRANGE = {
    "wrong-hook": "@hookimpl\ndef gate_discover(source, nonsense):\n    return Discovered(())\n",
    "not-python": "this is not python\n",
}


def rude(folder: Path, name: str, text: str) -> None:
    package = folder / f"gate_{name.replace('-', '_')}"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "source.py").write_text(HEAD + text)


@pytest.mark.parametrize("name", sorted(RUDE | STRANGE))
def test_a_plugin_that_hangs_dies_or_lies_is_a_source_error_and_ends(tmp_path: Path, name: str) -> None:
    rude(tmp_path / "plugins", name, STRANGE.get(name) or DISCOVER + RUDE[name])
    limits = Limits(wall_s=2.0, memory=600 * 1024**2)
    plugins = ChildPlugins(tmp_path / "spool", limits, [tmp_path / "plugins"])
    began = time.monotonic()
    with pytest.raises(SourceError):
        plugins.discover(name, Source("shop", {}), "")
    assert time.monotonic() - began < 20
    if name == "forking":
        left = subprocess.run(["pgrep", "-f", "sleep 1000.123"], stdout=subprocess.PIPE, check=False).stdout
        assert left == b"", "what a plugin starts ends with it"


@pytest.mark.parametrize(("length", "good"), [(4000, True), (4001, False)])
def test_a_cursor_that_is_too_long_is_refused_and_never_cut(tmp_path: Path, length: int, good: bool) -> None:
    rude(tmp_path / "plugins", "wordy", DISCOVER + f"return Discovered((), 'x' * {length})\n")
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    if good:
        assert plugins.discover("wordy", Source("shop", {}), "").cursor == "x" * length
        return
    with pytest.raises(SourceError, match="a cursor of 4001 characters, and 4000 are the most"):
        plugins.discover("wordy", Source("shop", {}), "")


@pytest.mark.parametrize(("length", "good"), [(1 << 20, True), ((1 << 20) + 1, False)])
def test_where_a_candidates_bytes_come_from_may_be_a_thousand_addresses(
    tmp_path: Path, length: int, good: bool
) -> None:
    rude(tmp_path / "plugins", "wide", DISCOVER + f"return Discovered((Candidate('1', (), 'x' * {length}),))\n")
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    if good:
        assert plugins.discover("wide", Source("shop", {}), "").candidates[0].where == "x" * length
        return
    with pytest.raises(SourceError, match=r"Candidate\.where is too long"):
        plugins.discover("wide", Source("shop", {}), "")


@pytest.mark.parametrize(("raised", "kind"), [("NoRoom", "no_room"), ("Unfinished", "source_unfinished")])
def test_what_the_way_out_says_of_the_disk_and_of_time_is_a_kind_of_its_own(
    tmp_path: Path, raised: str, kind: str
) -> None:
    body = f"from gate.adapters.egress import {raised}\n    raise {raised}('vendor.example/x: no room')"
    rude(tmp_path / "plugins", "full", DISCOVER + body)
    with pytest.raises(SourceError, match="x: no room") as found:
        ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"]).discover("full", Source("shop", {}), "")
    assert found.value.kind == kind


def test_what_a_plugin_prints_is_not_its_answer(tmp_path: Path) -> None:
    rude(tmp_path / "plugins", "printing", DISCOVER + "print('{}' * 1000000)\n    return Discovered(())\n")
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    assert plugins.discover("printing", Source("shop", {}), "").candidates == ()


def test_a_plugin_gets_no_secret_by_its_environment_and_sits_in_its_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATE_SECRET", "hush")
    rude(
        tmp_path / "plugins", "curious", DISCOVER + "return Discovered((), json.dumps([os.getcwd(), dict(os.environ)]))"
    )
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    where, environment = json.loads(plugins.discover("curious", Source("shop", {}), "").cursor)
    assert where == str(tmp_path / "spool" / "shop")
    assert "hush" not in str(environment)
    assert set(environment) <= {"PATH", "LC_ALL", "HOME", "TMPDIR", "LC_CTYPE"}


def test_a_plugin_finds_the_programs_of_the_system_and_those_that_are_installed_beside_gate(tmp_path: Path) -> None:
    rude(tmp_path / "plugins", "curious", DISCOVER + "return Discovered((), os.environ['PATH'])")
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    places = plugins.discover("curious", Source("shop", {}), "").cursor.split(":")
    assert places == ["/usr/bin", "/bin", "/usr/local/bin", str(Path(sys.executable).parent)]


A = hashlib.sha256(b"a").hexdigest()
SAYS_A = f"return [Fetched('a', 1, '{A}')]"
LIES = {
    "other bytes": f"(into / 'a').write_bytes(b'b')\n    {SAYS_A}",
    "another file": f"(into / 'a').write_bytes(b'a')\n    (into / 'extra').write_bytes(b'a')\n    {SAYS_A}",
    "a file twice": f"(into / 'a').write_bytes(b'a')\n    return [Fetched('a', 1, '{A}')] * 2",
    "nothing written": SAYS_A,
    "a path": f"return [Fetched('../a', 1, '{A}')]",
    "a link": f"(into / 'a').symlink_to('/etc/hostname')\n    {SAYS_A}",
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_a_plugin_that_lies_about_what_it_wrote_is_found_out(tmp_path: Path, lie: str) -> None:
    rude(tmp_path / "plugins", "lying", f"@hookimpl\ndef gate_fetch(source, candidate, into):\n    {LIES[lie]}\n")
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    candidate = Candidate("1", (Announced("a", 1, hashlib.sha256(b"a").hexdigest()),), "x")
    with pytest.raises(SourceError):
        plugins.fetch("lying", Source("shop", {}), candidate)


SERVED = {
    "as it is": "ServedFile('a', artifact='a')",
    "below folders": "ServedFile('pool/x y/a', artifact='a')",
    "made": "ServedFile('a.md5', made='made')",
    "a path upwards": "ServedFile('../../x', artifact='a')",
    "a path that is whole": "ServedFile('/etc/x', artifact='a')",
    "a hidden path": "ServedFile('.new/a', artifact='a')",
    "no path": "ServedFile('', artifact='a')",
    "a path of many folders": "ServedFile('x/' * 9 + 'a', artifact='a')",
    "an unknown artifact": "ServedFile('a', artifact='b')",
    "neither": "ServedFile('a')",
    "both": "ServedFile('a', artifact='a', made='made')",
    "a file elsewhere": "ServedFile('a', made='/etc/hostname')",
    "a file above": "ServedFile('a', made='../x')",
    "a file that is not there": "ServedFile('a', made='b')",
    "a link": "ServedFile('a', made='link')",
    "a folder": "ServedFile('a', made='folder')",
    "a path twice": "ServedFile('a', artifact='a'), ServedFile('a', made='made')",
}


def test_a_source_that_serves_nothing_to_clients_lays_nothing_out(tmp_path: Path) -> None:
    rude(tmp_path / "plugins", "silent", "@hookimpl\ndef gate_serve(source):\n    return None\n")
    rude(tmp_path / "plugins", "without", "")
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    release = Released("00", "1", (Announced("a", 1, A),), {"a": tmp_path / "a"})
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    said = [plugins.serve(name, Source("shop", {}), "first", release, moment)[1] for name in ("silent", "without")]
    assert said == [Served(()), None]


@pytest.mark.parametrize("answer", sorted(SERVED))
def test_what_clients_would_see_is_laid_out_of_the_release_and_of_made_files_only(tmp_path: Path, answer: str) -> None:
    body = (
        "@hookimpl\ndef gate_serve(source, ring, release, at, into):\n"
        "    from gate.hookspecs import Served, ServedFile\n"
        "    (into / 'made').write_text('x')\n    (into / 'folder').mkdir()\n"
        f"    (into / 'link').symlink_to('/etc/hostname')\n    return Served(({SERVED[answer]},))\n"
    )
    rude(tmp_path / "plugins", "laying", body)
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    release = Released("00", "1", (Announced("a", 1, A),), {"a": tmp_path / "a"})
    moment = datetime(2026, 3, 2, tzinfo=UTC)
    if answer in ("as it is", "below folders", "made"):
        assert plugins.serve("laying", Source("shop", {}), "first", release, moment)[1] is not None
        return
    with pytest.raises(SourceError) as refused:
        plugins.serve("laying", Source("shop", {}), "first", release, moment)
    assert refused.value.kind == "source_lied"


def test_a_report_that_cannot_be_read_blinds_no_other_machine(tmp_path: Path) -> None:
    body = "@hookimpl\ndef gate_observed(source, machine, report):\n    return Observed(str(int(report)))\n"
    rude(tmp_path / "plugins", "reading", body)
    plugins = ChildPlugins(tmp_path / "spool", Limits(), [tmp_path / "plugins"])
    asked = [Receiver(name, name, {}) for name in ("a", "b", "c")]
    found = plugins.observed("reading", Source("shop", {}), list(zip(asked, ("1", "x", "3"), strict=True)))
    assert found is not None
    assert [one and one.version for one in found] == ["1", "", "3"]
    assert found[1] is not None
    assert "invalid literal" in found[1].detail
    with pytest.raises(SourceError, match="invalid literal"):
        plugins.observed("reading", Source("shop", {}), [(one, "x") for one in asked])


@pytest.mark.parametrize("name", ["nothing", "../x", "os", "Directory", "directory.agent", ""])
def test_a_plugin_that_is_not_there_is_a_source_error(plugins: ChildPlugins, name: str) -> None:
    with pytest.raises(SourceError):
        plugins.discover(name, Source("shop", {}), "")


# what the gate makes of it


def kinds(gate: RealGate, subject: str = "source:shop-content") -> list[str]:
    with gate.opened.store.read() as tx:
        return [event.kind for event in tx.events(subject=subject)]


def test_a_source_that_fails_is_an_event_once_and_recovers(sqlite_gate: RealGate) -> None:
    away = sqlite_gate.folder / "away"
    sqlite_gate.drop_folder.rename(away)
    sqlite_gate.worker.look()
    sqlite_gate.worker.look()
    assert kinds(sqlite_gate) == ["source_failed"]
    away.rename(sqlite_gate.drop_folder)
    sqlite_gate.bring("1")
    assert kinds(sqlite_gate) == ["source_recovered", "source_failed"]
    with sqlite_gate.opened.store.read() as tx:
        assert len(tx.rollouts()) == 1


def test_the_same_version_with_other_bytes_is_refused_and_alarmed_once(real_gate: RealGate) -> None:
    real_gate.bring("1")
    place = real_gate.drop_folder / "1"
    (place / "prices.json").write_text("{}")
    listed = {"name": "prices.json", "length": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
    (place / "manifest.json").write_text(json.dumps({"version": "1", "files": [listed]}))
    for _ in range(3):
        real_gate.worker.look()
    assert kinds(real_gate) == ["candidate_refused"]
    with real_gate.opened.store.read() as tx:
        assert len(tx.rollouts()) == 1
        release = tx.release(tx.rollouts()[0].release)
    assert release is not None
    assert release.artifacts[0].length == len('{"aspirin": 499}')


def test_bytes_that_are_not_those_of_the_manifest_are_never_catalogued(real_gate: RealGate) -> None:
    real_gate.drop("1")
    (real_gate.drop_folder / "1" / "prices.json").write_text('{"aspirin": 500}')
    real_gate.worker.look()
    assert kinds(real_gate) == ["candidate_refused"]
    with real_gate.opened.store.read() as tx:
        assert tx.rollouts() == []
    assert not list(real_gate.opened.settings.public.glob("content/blobs/*"))


def test_one_bad_source_harms_no_other(sqlite_gate: RealGate) -> None:
    policies = sqlite_gate.opened.policies
    text = policies.read(policies.head())
    extra = "  - {name: a-broken-one, plugin: nowhere, kind: content, boot_critical: false, lever: held}\n"
    text = text.replace("sources:\n", "sources:\n" + extra)
    sqlite_gate.policy_says(text, "one more")
    sqlite_gate.bring("1")
    assert kinds(sqlite_gate, "source:a-broken-one") == ["source_failed"]
    with sqlite_gate.opened.store.read() as tx:
        assert len(tx.rollouts()) == 1
