"""``gate sources``, ``gate source try``, ``gate plugins``: and the template is what the manual shows, and works."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gate.adapters.plugin_checks import check
from gate.adapters.plugins import ChildPlugins, Network
from gate.cli.main import main
from gate.cli.sources import written
from gate.core import said_texts
from gate.hookspecs import Announced, Candidate, Source
from tests.conftest import REPOSITORY
from tests.real_gate import RealGate
from tests.upstream import upstream

MANUAL = REPOSITORY / "plugins" / "README.md"


def run(gate: RealGate, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--settings", str(gate.made.settings)])


def rows(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert isinstance(found, list)
    return found


def test_sources_say_their_state_and_what_they_brought(sqlite_gate: RealGate) -> None:
    (before,) = rows(run(sqlite_gate, "sources", "-o", "json"))
    assert (before["state"], before["newest"], before["looked_at"]) == ("new", "", "")
    sqlite_gate.bring("1")
    (after,) = rows(run(sqlite_gate, "sources", "-o", "json"))
    assert (after["source"], after["state"], after["newest"]) == ("shop-content", "ok", "1")
    assert (after["trust"], after["stored"]) == ("digest_pinned", 16)
    assert after["looked_at"]
    sqlite_gate.drop_folder.rename(sqlite_gate.folder / "away")
    sqlite_gate.worker.look()
    (failed,) = rows(run(sqlite_gate, "sources", "-o", "json"))
    assert failed["state"] == "failed"
    assert failed["next_at"] != "soon"
    with sqlite_gate.opened.store.write() as tx:
        tx.set_mark("look:shop-content", sqlite_gate.clock.now() - timedelta(days=1))
    (failed,) = rows(run(sqlite_gate, "sources", "-o", "json"))
    assert failed["next_at"] == "soon"
    table = run(sqlite_gate, "sources").output
    assert "soon" in table
    assert "loading" in table
    assert "it is not there" in str(failed["detail"])


def test_a_source_that_is_tried_brings_nothing_yet(sqlite_gate: RealGate) -> None:
    sqlite_gate.drop("1")
    (found,) = rows(run(sqlite_gate, "source", "try", "shop-content", "-o", "json"))
    assert found == {"version": "1", "files": 1, "bytes": 16, "known": False}
    with sqlite_gate.opened.store.read() as tx:
        assert tx.releases("shop-content", 1) == []
    assert run(sqlite_gate, "source", "try", "nothing").exit_code == 2


def test_plugins_are_listed_with_their_lever_and_checked(sqlite_gate: RealGate) -> None:
    found = {str(one["plugin"]): one for one in rows(run(sqlite_gate, "plugins", "list", "-o", "json"))}
    shipped = {path.parent.name for path in (REPOSITORY / "plugins").glob("gate_*/source.py")}
    assert {f"gate_{name.replace('-', '_')}" for name in found} >= shipped
    assert (found["directory"]["lever"], found["directory"]["sources"]) == ("held", "shop-content")
    sqlite_gate.drop("1")
    checked = rows(run(sqlite_gate, "plugins", "check", "directory", "--source", "shop-content", "-o", "json"))
    assert {one["ok"] for one in checked} == {"yes"}
    assert len(checked) == 7
    assert run(sqlite_gate, "plugins", "check", "nothing").exit_code == 1


def test_a_new_plugin_works_with_its_tests_and_keeps_the_contract(tmp_path: Path) -> None:
    made = CliRunner().invoke(main, ["plugins", "new", "acme-rules", "--folder", str(tmp_path)])
    assert made.exit_code == 0, made.output
    again = CliRunner().invoke(main, ["plugins", "new", "acme-rules", "--folder", str(tmp_path)])
    assert again.exit_code == 2
    said = re.findall(r"cd /srv/plugins && /opt/gate/bin/python (-m .+)", MANUAL.read_text(encoding="utf-8"))
    words = [sys.executable, "-W", "error", *said[0].split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Ran 3 tests" in ran.stderr
    with upstream() as vendor:
        raw = b"rules 12"
        digest = hashlib.sha256(raw).hexdigest()
        said = {"version": "12", "file": "rules.tgz", "length": len(raw), "sha256": digest}
        vendor.file("/latest.json", json.dumps(said).encode())
        vendor.file("/rules.tgz", raw)
        source = Source("acme", {"address": vendor.url("/latest.json")}, 1_000_000, (vendor.host,))
        plugins = ChildPlugins(tmp_path / "spool" / "here-1", folders=[tmp_path], network=Network(loopback=True))
        assert [one for one in check(plugins, "acme-rules", source) if not one.ok] == []


def test_a_new_plugin_brings_a_file_whose_length_is_not_told(tmp_path: Path) -> None:
    CliRunner().invoke(main, ["plugins", "new", "acme-rules", "--folder", str(tmp_path)])
    with upstream() as vendor:
        vendor.file("/rules.tgz", b"rules 12")
        source = Source("acme", {"address": vendor.url("/latest.json")}, 1_000_000, (vendor.host,))
        plugins = ChildPlugins(tmp_path / "spool" / "here-1", folders=[tmp_path], network=Network(loopback=True))
        candidate = Candidate("12", (Announced("rules.tgz", 0, ""),), vendor.url("/rules.tgz"))
        _, (fetched,) = plugins.fetch("acme-rules", source, candidate)
        assert fetched.length == len(b"rules 12")


def test_a_plugin_is_told_without_any_source_which_versions_it_cannot_compare(tmp_path: Path) -> None:
    CliRunner().invoke(main, ["plugins", "new", "acme-rules", "--folder", str(tmp_path)])
    plugins = ChildPlugins(tmp_path / "spool" / "here-1", folders=[tmp_path])
    found = {one.name: one for one in check(plugins, "acme-rules")}["says which versions it can compare"]
    assert found.ok
    assert "2026-03-01" in found.detail
    assert "1.2" in found.detail
    assert "12," not in found.detail
    module = tmp_path / "gate_acme_rules" / "source.py"
    before, _, rest = module.read_text(encoding="utf-8").partition("@hookimpl\ndef gate_order")
    module.write_text(before + "@hookimpl" + rest.partition("@hookimpl")[2], encoding="utf-8")
    plugins = ChildPlugins(tmp_path / "spool" / "here-2", folders=[tmp_path])
    found = {one.name: one for one in check(plugins, "acme-rules")}["says which versions it can compare"]
    assert found.detail == "it knows no order: that of discovery holds"


@pytest.mark.parametrize("name", ["", "Acme", "acme_rules", "../x", "1acme", "acme-", "a" * 42])
def test_a_name_that_no_policy_could_say_is_refused(tmp_path: Path, name: str) -> None:
    made = CliRunner().invoke(main, ["plugins", "new", name, "--folder", str(tmp_path)])
    assert made.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_the_manual_shows_the_template(tmp_path: Path) -> None:
    manual = MANUAL.read_text(encoding="utf-8")
    [shown] = re.findall(r"<!-- gate/seed/plugin_source.txt -->\n```python\n(.*?)```\n", manual, re.DOTALL)
    assert shown == written("plugin_source.txt", "acme-rules")


RUDE = {
    "no-verify": (
        "return Discovered((Candidate('1', (Announced('a', 1, ''),), ''),))",
        "(into / 'a').write_bytes(b'a')\n    return [Fetched('a', 1, __import__('hashlib').sha256(b'a').hexdigest())]",
        "return Verification('digest_pinned', True)",
        "refuses a flipped byte",
    ),
    "restless": (
        "return Discovered((), str(__import__('time').monotonic_ns()))",
        "return []",
        "return Verification('unverified', True)",
        "discovers the same when nothing has changed",
    ),
}


@pytest.mark.parametrize("name", sorted(RUDE))
def test_a_plugin_that_does_not_keep_the_contract_is_found_out(tmp_path: Path, name: str) -> None:
    discover, fetch, verify, failing = RUDE[name]
    package = tmp_path / f"gate_{name.replace('-', '_')}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "source.py").write_text(
        f"""from gate.hookspecs import *
@hookimpl
def gate_describe():
    return SourceInfo({package.name.removeprefix("gate_")!r}, "held", ("any",), why="x")
@hookimpl
def gate_discover(source):
    {discover}
@hookimpl
def gate_fetch(into):
    {fetch}
@hookimpl
def gate_verify():
    {verify}
"""
    )
    plugins = ChildPlugins(tmp_path / "spool" / "here-1", folders=[tmp_path])
    found = check(plugins, name, Source("s", {}))
    assert [one.name for one in found if not one.ok] == [failing]


def test_a_policy_that_names_a_plugin_which_is_not_here_is_told_at_once_and_logged_once(
    sqlite_gate: RealGate, caplog: pytest.LogCaptureFixture
) -> None:
    policies = sqlite_gate.opened.policies
    text = policies.read(policies.head())
    more = "  - {name: typo, plugin: directori, kind: content, boot_critical: false, lever: held}\n"
    sqlite_gate.policy_says(text.replace("\nrings:", f"{more}\nrings:", 1))
    policy = sqlite_gate.opened.rules.policy()
    assert policy is not None
    (said,) = [one for one in sqlite_gate.opened.not_yet(policy) if "no plugin" in one]
    assert re.fullmatch(r"line \d+: no plugin directori is here: nothing comes from typo", said)
    assert said_texts.said(said, "de").startswith("Zeile")
    for _ in range(3):
        sqlite_gate.worker.look()
    assert len([one for one in caplog.records if "source typo" in one.getMessage()]) == 1
