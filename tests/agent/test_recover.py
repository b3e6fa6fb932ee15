"""From a rescue system: the release before is back on a machine that dies before anything of ours runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from gate.agent import settings
from gate.agent.errors import Misuse
from gate.agent.recover import BECAUSE, recover
from gate.agent.settings import RAN
from tests.agent.played import SOURCE, Machine


def mounted(tmp_path: Path, *, healthy: bool = False) -> tuple[Machine, Path, Path]:
    """A machine whose disk is mounted elsewhere than where it names it itself: /srv/content, /var/lib/gate-agent."""
    machine = Machine(tmp_path)
    machine.up(1, 100)
    machine.round()
    if healthy:
        machine.boot(2)
    root = tmp_path / "mnt"
    (root / "srv").mkdir(parents=True)
    (root / "var" / "lib").mkdir(parents=True)
    machine.target.rename(root / "srv" / "content")
    machine.folder.path.rename(root / "var" / "lib" / "gate-agent")
    text = settings.render({}, {SOURCE: {"plugin": "directory", "folder": "/srv/content"}}, {})
    (root / "var/lib/gate-agent/agent.toml").write_text(text)
    return machine, root, Path("/var/lib/gate-agent")


def back(machine: Machine, root: Path) -> None:
    """The disk is in its machine again."""
    (root / "srv" / "content").rename(machine.target)
    (root / "var" / "lib" / "gate-agent").rename(machine.folder.path)


def test_what_is_on_trial_gives_way_and_the_machines_own_agent_tells_the_gate(tmp_path: Path) -> None:
    machine, root, state = mounted(tmp_path)
    said = recover(root, state)
    assert said[1] == f"In place now: sha256:{machine.old}."
    assert (root / "srv" / "content" / "current").resolve().name == machine.old
    back(machine, root)
    machine.boot(5)
    assert machine.gate.steps == ["installed", "rolled_back"]
    [probe] = machine.gate.said[-1]["probes"]
    assert (probe["detail"], machine.gate.said[-1]["boot_id"]) == (BECAUSE, "b5")
    assert machine.in_place() == machine.old
    assert machine.new in machine.folder.state().quarantined


def test_an_authority_of_ones_own_need_not_be_on_the_rescue_system(tmp_path: Path) -> None:
    machine, root, state = mounted(tmp_path)
    toml = root / "var/lib/gate-agent/agent.toml"
    toml.write_text('ca = "/etc/gate-agent/ca.pem"\n' + toml.read_text())
    assert recover(root, state)[1] == f"In place now: sha256:{machine.old}."


def test_a_mistake_in_the_settings_is_no_obstacle_once_the_agent_has_run(tmp_path: Path) -> None:
    machine, root, state = mounted(tmp_path)
    toml = root / "var/lib/gate-agent/agent.toml"
    good = toml.read_bytes()
    toml.write_text("[sources")
    with pytest.raises(Misuse, match=r"agent\.toml"):
        recover(root, state)
    toml.with_name(RAN).write_bytes(good)
    assert recover(root, state)[1] == f"In place now: sha256:{machine.old}."


def test_it_can_be_done_twice(tmp_path: Path) -> None:
    machine, root, state = mounted(tmp_path)
    assert recover(root, state) == recover(root, state)
    back(machine, root)
    machine.boot(5)
    assert machine.gate.steps == ["installed", "rolled_back"]


def test_what_was_healthy_once_goes_where_it_is_named(tmp_path: Path) -> None:
    machine, root, state = mounted(tmp_path, healthy=True)
    with pytest.raises(Misuse, match=f"nothing is on trial; name what is to go: --source {SOURCE}"):
        recover(root, state)
    recover(root, state, SOURCE)
    back(machine, root)
    now = machine.folder.state()
    assert (machine.in_place(), now.installed[SOURCE].release) == (machine.old, machine.old)
    assert now.events[-1]["kind"] == "recovered"


def test_without_a_machines_disk_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="is the machine's disk mounted"):
        recover(tmp_path, Path("/var/lib/gate-agent"))
    assert list(tmp_path.iterdir()) == [], "and makes nothing there"


def test_a_plugin_that_cannot_go_back_is_said_and_begun_again(tmp_path: Path) -> None:
    import shutil

    machine, root, state = mounted(tmp_path)
    shutil.rmtree(root / "srv" / "content" / "releases" / machine.old)
    with pytest.raises(Misuse, match="not here any more"):
        recover(root, state)
