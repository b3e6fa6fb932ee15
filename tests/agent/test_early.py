"""Real boots against a real gate: tries are counted early, a crash is told, and a planned stop is none."""

from __future__ import annotations

import contextlib
import errno
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gate.agent import diary as diary_module
from gate.agent import early as early_module
from gate.agent.boots import Cause, Ended, Left, Running
from gate.agent.cli import main
from gate.agent.early import never_failing
from gate.agent.errors import AgentError, Misuse
from gate.agent.hands import Hands
from gate.agent.plugin import Plugin
from gate.agent.probes import Probes
from gate.agent.settings import RAN
from gate.agent.state import RESERVE, StateFolder
from gate.core.model import ClaimState
from gate.hookspecs import Placed
from tests.agent.played import PANIC, SOURCE, Machine
from tests.agent.test_agent import boot_policy, joined, states, until_done
from tests.conftest import NOW, REPOSITORY
from tests.real_gate import RealAgent, RealGate

START = "from gate.agent.cli import main; main()"
OLD, NEW = '{"aspirin": 499}', '{"aspirin": 599}'


def on_trial(gate: RealGate, folder: Path) -> RealAgent:
    """Release 1 is in place and healthy, 2 is installed and waits for its boot."""
    agent, other = joined(gate, folder), joined(gate, folder, "two", "none")
    gate.bring("1", OLD)
    until_done(gate, agent, other)
    boot_policy(gate)
    gate.bring("2", NEW)
    agent.once()
    assert agent.content() == NEW
    return agent


def panic(agent: RealAgent, number: int) -> None:
    """The kernel dies; it is up again ten seconds later."""
    agent.system.left.append(Left(f"panic {number}", PANIC, agent.gate.clock.now()))
    agent.gate.clock.forward(seconds=10)


def test_after_two_panics_the_release_before_is_back_and_the_gate_hears_why(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent = on_trial(sqlite_gate, tmp_path)
    agent.boot(2, uptime=3)
    assert agent.early() == "shop-content 2: try 1, of which 2 may fail"
    panic(agent, 2)
    agent.boot(3, uptime=3)
    assert agent.early() == "shop-content 2: try 2, of which 2 may fail"
    panic(agent, 3)
    assert agent.content() == NEW
    agent.boot(4, uptime=3)
    assert agent.early() == "shop-content 2 goes: 2 boots did not stay up: boot-2, boot-3"
    assert agent.content() == OLD, "before the network, before the agent"
    [report] = agent.state_folder.state().reports
    last = agent.once()
    assert states(sqlite_gate)[0] is ClaimState.ROLLED_BACK
    assert report["step"] == "rolled_back"
    assert [one["detail"] for one in report["probes"] if one["name"] == "panic"] == [PANIC, PANIC]
    ended = [(one["boot_id"], one["ended"]) for one in report["boots"]]
    assert ended == [("boot-2", "unclean"), ("boot-3", "unclean"), ("boot-4", "unknown")]
    assert last.state.quarantined, "never again on this machine"
    with sqlite_gate.opened.store.read() as tx:
        rollout = tx.rollouts(limit=1)[0]
        said = [one.detail for one in tx.events(subject=rollout.id) if one.kind == "report_step"]
        crashed = [one.detail for one in tx.events(subject=agent.identity.machine) if one.kind == "machine_said"]
    assert any(PANIC in one.get("bad_probes", "") for one in said)
    assert "boot-2, boot-3" in [one.get("unclean_boots") for one in said]
    assert "crashed" in [one["kind"] for one in crashed]


def test_one_crash_is_bad_even_where_the_machine_comes_up_again(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = on_trial(sqlite_gate, tmp_path)
    agent.boot(2, uptime=3)
    agent.early()
    panic(agent, 2)
    agent.boot(3, uptime=5)
    agent.early()
    agent.once()
    assert agent.content() == OLD
    assert states(sqlite_gate)[0] is ClaimState.ROLLED_BACK


def test_a_crash_long_after_it_was_healthy_is_a_failure_of_the_release(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = on_trial(sqlite_gate, tmp_path)
    agent.boot(2, uptime=3)
    agent.early()
    agent.once()
    agent.boot(2, uptime=900)
    agent.once()
    assert states(sqlite_gate)[0] is ClaimState.HEALTHY
    panic(agent, 2)
    agent.boot(3, uptime=5)
    agent.early()
    agent.once()
    assert agent.content() == NEW, "it runs"
    assert states(sqlite_gate)[0] is ClaimState.RELAPSED


def test_a_machine_that_boots_twice_at_opening_has_failed_nothing(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = on_trial(sqlite_gate, tmp_path)
    for number in range(2, 6):
        agent.boot(number, uptime=3)
        assert "try" in agent.early()
        agent.system.now = Running("stopping")
        agent.agent().leave()
        agent.system.now = Running("running")
    agent.boot(6, uptime=1)
    agent.early()
    agent.once()
    assert agent.content() == NEW
    assert states(sqlite_gate)[0] is ClaimState.BOOTED
    agent.boot(6, uptime=900)
    agent.once()
    assert states(sqlite_gate)[0] is ClaimState.HEALTHY


def test_clean_boots_without_end_go_back_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up(1, 100)
    machine.round()
    said = ""
    for number in range(2, 15):
        machine.up(number, 3)
        said = machine.early()
        machine.folder.mark_down(f"b{number}")
    assert "12 boots did not stay up" in said, "something restarts this machine again and again"
    assert machine.in_place() == machine.old


def test_a_loss_of_power_counts_as_a_try_and_is_no_crash(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up(1, 100)
    machine.round()
    machine.up(2, 3)
    machine.early()
    machine.boot(3)
    assert machine.gate.steps == ["installed", "booted", "healthy"]


def test_as_many_losses_of_power_as_tries_go_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.up(1, 100)
    machine.round()
    for number in (2, 3):
        machine.up(number, 3)
        assert "try" in machine.early()
    machine.system.log = (Ended("b2", "", "unclean", Cause.POWER_LOSS), Ended("b3", "", "unclean", Cause.POWER_LOSS))
    machine.up(4, 3)
    assert "2 boots did not stay up: b2, b3" in machine.early()
    assert machine.in_place() == machine.old


def test_boots_before_it_was_in_place_have_not_tried_it(tmp_path: Path) -> None:
    """The power fails again and again between the marker and the rename."""
    machine = Machine(tmp_path)
    for number in range(2, 7):
        diary = machine.diary()
        assert diary.state.claim is not None
        diary.state.claim.step = "installing"
        diary.save()
        machine.up(number, 5)
        machine.early()
        diary = machine.diary()
        diary.begin(diary.boot())
        Hands(diary, machine.plugins(), Probes({}).ask).resume(diary.boot())
        assert diary.state.claim is not None
        assert (diary.state.claim.step, diary.state.claim.tried) == ("granted", [])
    assert machine.gate.steps == []


def test_content_that_was_put_in_place_in_this_boot_is_not_what_this_boot_began_with(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent = joined(sqlite_gate, tmp_path)
    boot_policy(sqlite_gate)
    sqlite_gate.bring("1", OLD)

    def down(_: object) -> None:
        import requests

        raise requests.ConnectionError

    def claimed_only(request: object, _: object) -> None:
        if str(getattr(request, "url", "")).endswith("/v1/claims"):
            sqlite_gate.line.before = down

    sqlite_gate.line.after = claimed_only
    agent.once()
    sqlite_gate.line.before, sqlite_gate.line.after = (lambda _: None), (lambda *_: None)
    assert agent.content() is None, "it has the claim, and went down before it had the bytes"
    agent.boot(2)
    hand = agent.once().state.claim
    assert agent.content() == OLD
    assert hand is not None and hand.boot_id == "boot-2"
    sqlite_gate.clock.forward(minutes=1)
    agent.once()
    assert states(sqlite_gate) == [ClaimState.INSTALLED], "boot 2 began before the content was there"
    agent.boot(3)
    agent.once()
    assert states(sqlite_gate) == [ClaimState.HEALTHY]


@pytest.mark.parametrize("state", ["{", "[]", ""])
def test_early_never_fails_the_boot(tmp_path: Path, state: str) -> None:
    machine = Machine(tmp_path)
    (machine.folder.path / "state.json").write_text(state)
    said = never_failing(machine.folder, machine.settings, lambda: NOW, machine.system)
    assert said.startswith("nothing done: ")
    gone = StateFolder(tmp_path / "none")
    assert never_failing(gone, machine.settings, lambda: NOW, machine.system) == "nothing is on trial"
    assert not gone.path.exists()


def test_early_beside_a_running_agent_leaves_everything_to_it(tmp_path: Path) -> None:
    machine, other = Machine(tmp_path), StateFolder(tmp_path / "disk" / "state")
    other.lock()
    try:
        said = never_failing(machine.folder, machine.settings, lambda: NOW, machine.system)
    finally:
        other.unlock()
    assert "another agent" in said


def test_early_that_hangs_ends_in_time_and_is_begun_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)
    monkeypatch.setattr(early_module, "LIMIT_S", 0.2)

    def hang() -> tuple[Left, ...]:
        import threading

        threading.Event().wait(60)
        return ()

    machine.system.panics = hang  # type: ignore[method-assign]
    machine.up(2, 3)
    assert "not done within" in never_failing(machine.folder, machine.settings, lambda: NOW, machine.system)
    machine.folder.unlock()
    del machine.system.panics  # type: ignore[method-assign]
    assert machine.early() == "nothing is on trial"


class Full(StateFolder):
    """On a disk that something else has filled."""

    kept = 0

    def _put(self, name: str, content: bytes) -> None:
        if name == RESERVE or (self.path / RESERVE).exists() or self.kept:
            raise OSError(errno.ENOSPC, "No space left on device")
        super()._put(name, content)


def test_on_a_full_disk_a_boot_is_counted_by_the_room_that_was_kept(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.round()
    machine.folder.reserve()
    size = (machine.folder.path / RESERVE).stat().st_size
    assert size >= 1 << 20
    machine.folder = Full(machine.folder.path)
    machine.up(2, 3)
    assert machine.early() == "shop-content 2: try 1, of which 2 may fail"
    machine.folder.reserve()
    assert not (machine.folder.path / RESERVE).exists(), "once there is room again"
    machine.folder.kept = 1  # type: ignore[attr-defined]
    machine.up(3, 3)
    assert "No space left" in never_failing(machine.folder, machine.settings, lambda: NOW, machine.system)
    assert list(machine.folder.path.glob(".*.new")) == []


def test_each_round_keeps_the_room(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.once()
    made = (agent.state_folder.path / RESERVE).stat()
    agent.once()
    assert (agent.state_folder.path / RESERVE).stat().st_ino == made.st_ino, "written once"


class Hung(Plugin):
    """Its disk does not answer."""

    def rollback(self, release: str, good: str) -> Placed:
        raise early_module.Late


def test_what_hangs_as_it_goes_back_keeps_no_boot_of_another_release_from_being_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)
    machine.round()
    diary = machine.diary()
    assert diary.state.claim is not None
    other = replace(diary.state.claim, source="prices", claim="c-0", step="rolling_back", attempts=1)
    diary.state.going_back = [other]
    diary.save()
    target = machine.settings.targets[SOURCE]
    machine.settings = replace(
        machine.settings,
        plugins={**machine.settings.plugins, "prices": "directory"},
        targets={**machine.settings.targets, "prices": replace(target, source="prices")},
    )
    monkeypatch.setattr(early_module, "Plugin", lambda name, to: (Hung if to.source == "prices" else Plugin)(name, to))
    machine.up(2, 3)
    assert "not done within" in never_failing(machine.folder, machine.settings, lambda: NOW, machine.system)
    claim = machine.folder.state().claim
    assert claim is not None
    assert claim.tried == ["b2"]


def test_texts_of_panics_that_cannot_be_read_in_time_keep_no_boot_from_being_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path)
    machine.round()
    monkeypatch.setattr(diary_module, "PANICS_S", 0.05)
    hang = threading.Event()

    def panics() -> tuple[Left, ...]:
        hang.wait(60)
        return ()

    machine.system.panics = panics  # type: ignore[method-assign]
    machine.up(2, 3)
    assert machine.early() == "shop-content 2: try 1, of which 2 may fail"
    hang.set()

    def refuses() -> tuple[Left, ...]:
        raise OSError("Input/output error")

    machine.system.panics = refuses  # type: ignore[method-assign]
    machine.up(3, 3)
    assert machine.early() == "shop-content 2: try 2, of which 2 may fail"


def test_the_command_ends_with_0_and_loads_nothing_of_the_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", START, "--state", str(tmp_path / "none"), "early"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'plugins'}", "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stdout) == (0, "nothing is on trial\n")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    heavy = {"requests", "tuf", "securesystemslib", "cryptography", "urllib3", "gate.agent.loop", "http.client", "ssl"}
    assert not heavy & loaded


def test_a_boot_that_the_log_says_crashed_is_told_once(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = on_trial(sqlite_gate, tmp_path)
    agent.boot(2, uptime=3)
    agent.system.log = (Ended("boot-1", "", "unclean", Cause.CRASH, "bugcheck 0x50"),)
    agent.once()
    agent.boot(2, uptime=900)
    agent.once()
    assert agent.content() == OLD
    with sqlite_gate.opened.store.read() as tx:
        said = [one.detail for one in tx.events(subject=agent.identity.machine) if one.kind == "machine_said"]
    assert [one["detail"] for one in said if one["kind"] == "crashed"] == ["bugcheck 0x50"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("running", "said"),
    [
        (Running("starting"), "shop-content: the system is starting"),
        (Running("running", safe_mode=True), "shop-content: Safe Mode leaves out"),
        (
            Running("running", fast_start=True),
            "shop-content: it was woken and not booted: fast start-up or hibernation",
        ),
    ],
)
def test_what_is_not_known_waits_and_is_never_good(
    sqlite_gate: RealGate, tmp_path: Path, running: Running, said: str
) -> None:
    agent = on_trial(sqlite_gate, tmp_path)
    agent.boot(2, uptime=900)
    agent.system.now = running
    last = agent.once()
    assert states(sqlite_gate)[0] is ClaimState.BOOTED
    assert said in last.state.said
    agent.system.now = Running("running")
    agent.once()
    assert states(sqlite_gate)[0] is ClaimState.HEALTHY


def test_the_report_says_when_the_system_was_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.system.now = Running("running", 4.2)
    machine.round()
    machine.boot(2)
    assert machine.gate.said[-1]["probes"][-1] == {"name": "ready", "ok": True, "detail": "after 4.2 s"}


def test_lost_boots_by_the_machines_own_counter_are_bad(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent, other = joined(sqlite_gate, tmp_path), joined(sqlite_gate, tmp_path, "two", "none")
    sqlite_gate.bring("1", OLD)
    until_done(sqlite_gate, agent, other)
    boot_policy(sqlite_gate)
    sqlite_gate.bring("2", NEW)
    agent.system.count = 100
    agent.once()
    agent.boot(2, uptime=900)
    agent.system.count = 103
    agent.once()
    assert agent.content() == OLD


def test_another_users_state_is_not_touched(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.folder.path.chmod(0o775)
    assert "open to others: chmod 700" in never_failing(machine.folder, machine.settings, lambda: NOW, machine.system)
    machine.folder.path.chmod(0o755)
    with pytest.raises(Misuse, match="open to others: chmod 700"):
        machine.folder.prepare()


def test_where_others_can_only_read_a_boot_is_counted(tmp_path: Path) -> None:
    machine = Machine(tmp_path, bad=True)
    machine.boot(1)
    machine.folder.path.chmod(0o755)
    machine.up(2, 5)
    said = never_failing(machine.folder, machine.settings, machine.clock, machine.system)
    assert said == "shop-content 2: try 1, of which 2 may fail"


@pytest.mark.parametrize("wrong", ["[sources", "", None], ids=["a mistake", "emptied", "removed"])
def test_settings_that_are_wrong_since_the_agent_ran_keep_no_boot_from_being_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str | None
) -> None:
    machine = Machine(tmp_path, bad=True)
    settings = machine.folder.path / "agent.toml"
    settings.write_text((machine.home / "agent.toml").read_text())
    machine.folder.keep(settings, RAN)
    machine.boot(1)
    if wrong is None:
        settings.unlink()
    else:
        settings.write_text(wrong)
    machine.up(2, 5)
    main(["--state", str(machine.folder.path), "early"])
    said = capsys.readouterr().out
    if wrong == "":  # its sources were taken out: the agent lets go of what it has in hand
        assert said == "nothing is on trial\n"
        return
    assert said.endswith("shop-content 2: try 1, of which 2 may fail\n")
    assert (f"by {RAN}, as it ran last" in said) == (wrong is not None)


def test_a_full_disk_does_without_the_copy_and_keeps_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Machine(tmp_path).folder
    folder.reserve()

    def full(_: StateFolder, name: str, __: bytes) -> None:
        raise OSError(errno.ENOSPC, name)

    monkeypatch.setattr(StateFolder, "_put", full)
    folder.keep(tmp_path / "agent.toml", RAN)
    assert (folder.path / RESERVE).exists()
    assert not (folder.path / RAN).exists()


def test_the_settings_with_which_the_agent_runs_are_kept(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    folder = agent.state_folder.path
    with contextlib.suppress(AgentError):
        main(["--state", str(folder), "once"])
    assert (folder / RAN).read_bytes() == (folder / "agent.toml").read_bytes()


def test_a_boot_that_began_with_another_release_proves_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.round()
    machine.up(2, 1000)
    diary = machine.diary()
    diary.begin(diary.boot())
    diary.state.at_boot = {SOURCE: machine.old}
    diary.save()
    machine.round()
    assert machine.gate.steps == ["installed"]
    machine.boot(3)
    assert machine.gate.steps == ["installed", "booted", "healthy"]
