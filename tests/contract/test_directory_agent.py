"""The directory plugin on a machine: atomic, idempotent, keeps the release before, probes with a time limit."""

from __future__ import annotations

import hashlib
import shutil
import threading
from pathlib import Path

import pytest

from gate import hookspecs
from gate.agent.errors import Misuse
from gate.agent.plugin import Plugin
from gate.hookspecs import Announced, Placed, Placing, Target
from gate_directory import agent


def placing(folder: Path, text: bytes, name: str = "a.bin") -> Placing:
    digest = hashlib.sha256(text).hexdigest()
    file = folder / f"src-{digest[:8]}"
    file.write_bytes(text)
    return Placing(digest, "v", (Announced(name, len(text), digest),), {name: file})


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target("shop", tmp_path / "target")


@pytest.fixture
def plugin(target: Target) -> Plugin:
    return Plugin("directory", target)


def current(target: Target) -> bytes | None:
    file = target.folder / "current" / "a.bin"
    return file.read_bytes() if file.exists() else None


def test_installing_keeps_the_release_before_and_a_rollback_goes_to_it(
    plugin: Plugin, target: Target, tmp_path: Path
) -> None:
    one, two, three = (placing(tmp_path, text) for text in (b"one", b"two", b"three"))
    assert plugin.install(one) == Placed(True, one.release)
    assert plugin.install(two) == Placed(True, two.release)
    assert plugin.install(three).ok
    assert {path.name for path in (target.folder / "releases").iterdir()} == {two.release, three.release}
    assert plugin.rollback(three.release, two.release) == Placed(True, two.release)
    assert current(target) == b"two"
    assert plugin.rollback(three.release, two.release).ok, "idempotent"
    assert not plugin.rollback(two.release, one.release).ok, "one is not here any more"
    assert current(target) == b"two"
    assert plugin.rollback(two.release, "") == Placed(True, "")
    assert current(target) is None


def test_a_probe_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    words = f"sh -c 'sleep 600 & echo $! > {mark}; wait'"
    plugin = Plugin("directory", Target("shop", tmp_path / "target", {"probe": words, "probe_s": "1"}))
    plugin.install(placing(tmp_path, b"one"))
    command = plugin.probe().probes[-1]
    assert (command.ok, command.detail) == (False, "no answer within 1 s")
    child = Path(f"/proc/{mark.read_text().strip()}/stat")
    for _ in range(200):
        if not child.exists() or ") Z " in child.read_text():
            break
        threading.Event().wait(0.01)
    else:
        raise AssertionError("its child lives on")


def test_a_probe_whose_child_lives_on_is_good_by_its_own_end(tmp_path: Path) -> None:
    options = {"probe": "sh -c 'sleep 5 & exit 0'", "probe_s": "2"}
    plugin = Plugin("directory", Target("shop", tmp_path / "target", options))
    plugin.install(placing(tmp_path, b"one"))
    assert plugin.probe().probes[-1].ok


def test_what_is_not_mounted_has_not_gone_back(target: Target) -> None:
    shutil.rmtree(target.folder, ignore_errors=True)
    for good in ("", "0" * 64):
        placed = Plugin("directory", target).rollback("1" * 64, good)
        assert not placed.ok
        assert "not mounted" in placed.detail


def test_installing_again_changes_nothing(plugin: Plugin, target: Target, tmp_path: Path) -> None:
    one = placing(tmp_path, b"one")
    plugin.install(one)
    before = (target.folder / "current").resolve().stat().st_mtime_ns
    assert plugin.install(one).detail == "in place already"
    assert (target.folder / "current").resolve().stat().st_mtime_ns == before


def test_bytes_that_changed_before_they_were_put_in_place_leave_the_old_release(
    plugin: Plugin, target: Target, tmp_path: Path
) -> None:
    one, two = placing(tmp_path, b"one"), placing(tmp_path, b"two")
    plugin.install(one)
    two.files["a.bin"].write_bytes(b"TWO")
    placed = plugin.install(two)
    assert [path.name for path in (target.folder / "releases").iterdir()] == [one.release], (
        "no half of it fills the disk"
    )
    assert not placed.ok
    assert "changed before" in placed.detail
    assert current(target) == b"one"


def test_a_crash_at_any_step_of_an_installation_leaves_the_old_release_or_the_new(
    target: Target, tmp_path: Path
) -> None:
    one, two = placing(tmp_path, b"one"), placing(tmp_path, b"two")
    agent.gate_agent_install(target, one)
    home = target.folder / "releases"
    half = home / f".{two.release}.new"
    half.mkdir()
    (half / "a.bin").write_bytes(b"tw")
    assert current(target) == b"one"
    (target.folder / ".current.new").symlink_to("nowhere")
    assert agent.gate_agent_install(target, two).ok
    assert current(target) == b"two"
    (home / one.release / "a.bin").unlink(missing_ok=True)


def test_probes_see_changed_files_and_a_command_that_fails_hangs_or_is_missing(target: Target, tmp_path: Path) -> None:
    def probed(**options: str) -> dict[str, tuple[bool, str]]:
        found = Plugin("directory", Target("shop", target.folder, options)).probe()
        return {one.name: (one.ok, one.detail) for one in found.probes}

    assert probed() == {}
    Plugin("directory", target).install(placing(tmp_path, b"one"))
    assert probed() == {"files": (True, "")}
    assert probed(probe="grep -q one {current}/a.bin")["command"] == (True, "")
    assert probed(probe="grep -q two {current}/a.bin")["command"] == (False, "exit 1")
    assert probed(probe="sh -c 'echo broken >&2; exit 3'")["command"] == (False, "broken")
    assert probed(probe="sleep 60", probe_s="0.2")["command"] == (False, "no answer within 0.2 s")
    assert not probed(probe="/no/such/program")["command"][0]
    (target.folder / "current" / "a.bin").write_bytes(b"ONE")
    assert probed()["files"] == (False, "changed: a.bin")
    (target.folder / "current" / "manifest.json").write_text("{")
    assert not probed()["files"][0]


def test_a_plugin_that_raises_is_a_failed_step_and_never_a_crash(tmp_path: Path) -> None:
    broken = Plugin("directory", Target("shop", tmp_path / "file"))
    (tmp_path / "file").write_text("not a folder")
    assert not broken.install(placing(tmp_path, b"one")).ok
    assert broken.probe().release == ""


@pytest.mark.parametrize("name", ["nothing", "../x", "Directory", ""])
def test_a_plugin_that_is_not_there_is_the_operators_to_mend(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misuse):
        Plugin(name, Target("shop", tmp_path))


def test_an_answer_of_another_type_is_no_answer() -> None:
    hooks = hookspecs.load("directory", "agent")
    with pytest.raises(TypeError):
        hookspecs.call(hooks, "gate_agent_probe", Placed, target=Target("shop", Path("/nowhere")))
