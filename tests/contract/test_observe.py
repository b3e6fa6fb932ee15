"""Software without a lever: every answer says so, and what a machine runs is read all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.adapters.plugins import ChildPlugins
from gate.hookspecs import Discovered, Io, Receiver, Released, Source
from gate_observe import source as plugin
from tests.contract.upstreams import AT

SOURCE = Source("terminal", {"after": "Firmware "})


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    return ChildPlugins(tmp_path / "spool" / "here-1")


def test_every_answer_says_that_there_is_no_lever(plugins: ChildPlugins, tmp_path: Path) -> None:
    info = plugins.describe("observe")
    assert (info.lever, "nothing is held" in info.why) == ("no lever", True)
    plan = plugins.recall_plan("observe", SOURCE, "r", "2", "1")
    assert (plan.how, plan.needs_agent) == ("none", False)
    assert "no lever" in plan.steps[0]
    held = plugin.gate_hold(SOURCE, "r", "why", Io(None, {}, lambda: AT, tmp_path))  # type: ignore[arg-type]
    assert (held.ok, held.detail) == (False, info.why)


def test_it_brings_nothing_and_delivers_nothing(plugins: ChildPlugins) -> None:
    assert plugins.discover("observe", SOURCE, "") == Discovered(())
    hooks = plugins.hooks("observe")
    assert not {"gate_fetch", "gate_publish", "gate_serve"} & set(hooks)
    _, served = plugins.serve("observe", SOURCE, "r", Released("0" * 64, "1", (), {}), AT)
    assert served is None


@pytest.mark.parametrize(
    ("after", "report", "version"),
    [
        ("Firmware ", "Terminal 7, Firmware 3.1.4-b2, ok", "3.1.4-b2"),
        ("Firmware ", "Firmware 3.1.4", "3.1.4"),
        ("", " 2026.1\n", "2026.1"),
        ("Firmware ", "Firmware ", ""),
        ("Firmware ", "Firmware 1 Firmware 2", ""),
        ("Firmware ", "3.1.4", ""),
        ("Firmware ", "Firmware <b>", ""),
        ("", "version 2026.1", ""),
        ("", "", ""),
        ("", "x" * 200, ""),
        ("", "1\x00", ""),
    ],
)
def test_a_version_is_read_where_it_stands_once_and_else_not_known(
    plugins: ChildPlugins, after: str, report: str, version: str
) -> None:
    source = Source("terminal", {"after": after} if after else {})
    (found,) = plugins.observed("observe", source, [(Receiver("m", "m", {}), report)]) or []
    assert (found.version if found else "") == version
