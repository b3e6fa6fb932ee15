"""What does not go back is tried again until it has, and holds up no other source."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.agent import plugin as plugin_module
from gate.agent import settings
from gate.agent.boots import Running
from gate.agent.cli import main
from gate.agent.hands import Hands
from gate.agent.plugin import Plugin
from gate.agent.probes import Probes
from gate.agent.recover import recover
from gate.agent.state import Identity
from gate.core.model import ClaimState
from gate.hookspecs import Placed, Placing, Probed, ProbeResult
from tests.agent.played import SOURCE, Machine
from tests.agent.test_agent import joined, states, until_done
from tests.agent.test_recall import NEW, OLD, newest_claims, recalled, rounds
from tests.real_gate import RealGate


def stuck(home: Path) -> tuple[Machine, Path]:
    """A bad release is in place, and the one before is not where it was; the path: where it is now."""
    machine = Machine(home)
    machine.round()
    hidden = home / "hidden"
    (machine.target / "releases" / machine.old).rename(hidden)
    machine.system.now = Running("maintenance")
    machine.up(2, 5)
    machine.early()
    machine.up(2, 1000)
    machine.round()
    return machine, hidden


def found_again(machine: Machine, hidden: Path) -> None:
    hidden.rename(machine.target / "releases" / machine.old)


def test_a_release_that_does_not_go_back_is_told_once_and_leaves_the_claim_in_hand_free(tmp_path: Path) -> None:
    machine, _ = stuck(tmp_path)
    state = machine.folder.state()
    assert (machine.in_place(), state.claim) == (machine.new, None), "another source may be asked for"
    assert [one.source for one in state.going_back] == [SOURCE]
    assert state.installed[SOURCE].release == machine.new, "a check-in says what is in place"
    for number in range(3, 8):
        machine.boot(number)
    assert machine.gate.steps == ["installed", "booted", "unhealthy", "failed"]
    assert len([one for one in machine.gate.said if one["step"] == "failed"]) == 1
    assert machine.gate.said[-1]["probes"][-1]["detail"] == "the release before is not here any more"


def test_status_says_what_goes_back_still(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    machine, _ = stuck(tmp_path)
    machine.folder.save_identity(Identity("https://gate.example", "fleet", "m-1", "f", "r"))
    main(["--state", str(machine.folder.path), "status", "--language", "en"])
    assert f"goes back     {SOURCE} 2: tried 1 times, what is bad is still in place" in capsys.readouterr().out


def test_it_goes_back_in_the_next_boot_before_anything_can_load_it(tmp_path: Path) -> None:
    machine, hidden = stuck(tmp_path)
    found_again(machine, hidden)
    machine.up(3, 5)
    assert machine.early() == f"{SOURCE} has gone back"
    assert machine.in_place() == machine.old
    machine.system.now = Running("running")
    machine.boot(4)
    state = machine.folder.state()
    assert (state.going_back, state.installed[SOURCE].release) == ([], machine.old)
    assert machine.gate.steps[-1] == "rolled_back"


def test_within_a_boot_it_is_tried_again_after_a_growing_wait(tmp_path: Path) -> None:
    machine, hidden = stuck(tmp_path)
    tries = {}
    for awake_s in (1059, 1060, 1179, 1180, 1419, 1420):
        machine.up(2, awake_s)
        machine.round()
        tries[awake_s] = machine.folder.state().going_back[0].attempts
    assert tries == {1059: 1, 1060: 2, 1179: 2, 1180: 3, 1419: 3, 1420: 4}
    found_again(machine, hidden)
    machine.up(2, 1420 + 480)
    machine.round()
    assert machine.in_place() == machine.old


def test_the_wait_grows_to_an_hour(tmp_path: Path) -> None:
    machine, _ = stuck(tmp_path)
    for _ in range(12):
        again_s = machine.folder.state().going_back[0].again_s
        machine.up(2, again_s)
        machine.round()
    assert machine.folder.state().going_back[0].again_s == again_s + 3600


def test_months_of_attempts_are_an_hour_apart_still(tmp_path: Path) -> None:
    machine, _ = stuck(tmp_path)
    state = machine.folder.state()
    state.going_back[0].attempts = 5000
    machine.folder.save(state)
    machine.up(3, 5)
    machine.early()
    [one] = machine.folder.state().going_back
    assert (one.attempts, one.again_s) == (5001, 3605)


def test_its_source_takes_nothing_new_until_it_has_gone_and_a_recall_fetches_what_is_missing(
    sqlite_gate: RealGate, tmp_path: Path
) -> None:
    agent, other = joined(sqlite_gate, tmp_path), joined(sqlite_gate, tmp_path, "two", "none")
    sqlite_gate.bring("1", OLD)
    until_done(sqlite_gate, agent, other)
    sqlite_gate.bring("2", "oops")
    agent.once()
    for folder in (agent.target / "releases").iterdir():
        if folder.name != (agent.target / "current").resolve().name:
            shutil.rmtree(folder)
    sqlite_gate.clock.forward(seconds=4)
    agent.once()
    assert (agent.content(), states(sqlite_gate)[0]) == ("oops", ClaimState.FAILED)
    sqlite_gate.worker.tick()
    said = agent.once().state
    assert said.claim is None
    assert [one.source for one in said.going_back] == [SOURCE]
    assert said.said == f"{SOURCE}: nothing new before what was bad has gone back"
    recalled(sqlite_gate)
    rounds(sqlite_gate, agent, 4)
    assert agent.content() == OLD
    sqlite_gate.clock.forward(hours=1)
    rounds(sqlite_gate, agent, 2)
    assert agent.state_folder.state().going_back == []
    assert agent.state_folder.state().installed[SOURCE].counter > 0, "as the recall left it"
    assert set(newest_claims(sqlite_gate, agent.identity.machine)) == {
        ("install", ClaimState.ROLLED_BACK),
        ("recall", ClaimState.ROLLED_BACK),
    }
    sqlite_gate.bring("3", NEW)
    rounds(sqlite_gate, agent)
    assert agent.content() == NEW


def test_a_source_that_left_the_settings_holds_up_no_other(tmp_path: Path) -> None:
    for step, told in (
        ("granted", []), ("installing", ["failed"]), ("installed", ["failed"]), ("booted", ["failed"]),
        ("recalling", ["failed"]), ("rolling_back", ["failed"]),
    ):  # fmt: skip
        machine = Machine(tmp_path / step)
        diary = machine.diary()
        assert diary.state.claim is not None
        diary.state.claim.step = step
        Hands(diary, {}, Probes({}).ask).resume(diary.boot())
        state = machine.folder.state()
        assert (state.claim, [one["step"] for one in state.reports]) == (None, told), step
        assert bool(state.going_back) is (step == "rolling_back"), "it goes back once the source is there again"
        assert bool(state.events) is (step == "granted")
        machine.boot(2)
        assert machine.folder.state().going_back == []


# recalls


def recalling(home: Path, *, back_to_nothing: bool = False) -> Machine:
    """Release 2 is in place; the gate has recalled it, and the power failed before it went."""
    machine = Machine(home)
    machine.round()
    diary = machine.diary()
    assert diary.state.claim is not None
    claim = diary.state.claim
    claim.step, claim.recalls, claim.back_to = "recalling", machine.new, "" if back_to_nothing else machine.old
    claim.release = f"sha256:{claim.back_to or machine.new}"
    diary.save()
    return machine


def test_early_puts_a_recalled_release_out_of_place_and_the_agent_ends_the_recall(tmp_path: Path) -> None:
    machine = recalling(tmp_path)
    machine.up(2, 5)
    assert machine.early() == f"{SOURCE}: {machine.new[:12]} is recalled"
    state = machine.folder.state()
    assert (machine.in_place(), state.reports) == (machine.old, [])
    assert state.claim is not None and state.claim.step == "recalling", "no probe of a vendor's answers this early"
    machine.up(2, 20)
    machine.round()
    assert machine.gate.steps == ["installed", "rolled_back"]
    assert machine.folder.state().installed[SOURCE].release == machine.old


def test_early_leaves_a_recall_alone_that_needs_what_is_not_here(tmp_path: Path) -> None:
    machine = recalling(tmp_path)
    shutil.rmtree(machine.target / "releases" / machine.old)
    machine.up(2, 5)
    machine.early()
    state = machine.folder.state()
    assert state.claim is not None and (state.claim.step, machine.in_place()) == ("recalling", machine.new)


@pytest.mark.parametrize("back_to_nothing", [False, True])
def test_from_a_rescue_system_a_recalled_release_is_never_put_back(tmp_path: Path, back_to_nothing: bool) -> None:
    machine = recalling(tmp_path / "home", back_to_nothing=back_to_nothing)
    root = _mounted(machine, tmp_path)
    recover(root, Path("/state"))
    _back(machine, root)
    assert machine.in_place() == ("" if back_to_nothing else machine.old)
    assert list(machine.folder.state().quarantined) == [machine.new]
    machine.boot(3)
    assert machine.gate.steps == ["installed", "rolled_back"]
    assert machine.in_place() == ("" if back_to_nothing else machine.old)


def test_from_a_rescue_system_what_goes_back_still_is_ended(tmp_path: Path) -> None:
    machine, hidden = stuck(tmp_path / "home")
    found_again(machine, hidden)
    root = _mounted(machine, tmp_path)
    recover(root, Path("/state"))
    _back(machine, root)
    assert machine.in_place() == machine.old
    machine.boot(3)
    assert machine.gate.steps[-1] == "rolled_back"
    assert machine.folder.state().installed[SOURCE].release == machine.old


def _mounted(machine: Machine, folder: Path) -> Path:
    root = folder / "mnt"
    root.mkdir()
    machine.target.rename(root / "content")
    machine.folder.path.rename(root / "state")
    text = settings.render({}, {SOURCE: {"plugin": "directory", "folder": "/content"}}, {})
    (root / "state" / "agent.toml").write_text(text)
    return root


def _back(machine: Machine, root: Path) -> None:
    (root / "content").rename(machine.target)
    (root / "state").rename(machine.folder.path)


class HungProbe(Plugin):
    """Nobody says what is in place."""

    stays = False

    def look(self) -> tuple[Probed, bool]:
        return Probed("", (ProbeResult("probe", False, "no answer within 60 s"),)), False

    def rollback(self, release: str, good: str) -> Placed:
        return Placed(False, release, "it stays") if self.stays else super().rollback(release, good)


@pytest.mark.parametrize("stays", [False, True])
def test_a_probe_that_hangs_is_never_taken_for_nothing_in_place(tmp_path: Path, stays: bool) -> None:
    machine = recalling(tmp_path, back_to_nothing=True)
    plugin = HungProbe("directory", machine.settings.targets[SOURCE])
    plugin.stays = stays
    diary = machine.diary()
    Hands(diary, {SOURCE: plugin}, Probes({}).ask).resume(diary.boot())
    assert machine.in_place() == (machine.new if stays else "")
    assert (SOURCE in machine.folder.state().installed) is stays
    assert machine.folder.state().reports[-1]["step"] == "failed"


def test_after_a_crash_what_is_in_place_is_not_guessed(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    diary = machine.diary()
    assert diary.state.claim is not None
    diary.state.claim.step = "installing"
    plugins = {SOURCE: HungProbe("directory", machine.settings.targets[SOURCE])}
    Hands(diary, plugins, Probes({}).ask).resume(diary.boot())
    assert diary.state.claim.step == "installing"


# deadlines


class Hanging(Plugin):
    """Its installation hangs until it is let go."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)  # type: ignore[arg-type]
        self.let_go = threading.Event()

    def _install(self, placing: Placing) -> Placed:
        self.let_go.wait(60)
        return super()._install(placing)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(plugin_module, "ACT_S", 0.1)
    yield


@pytest.mark.usefixtures("soon")
def test_an_installation_that_hangs_has_failed_and_what_it_puts_in_place_later_goes_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    plugin, diary = Hanging("directory", machine.settings.targets[SOURCE]), machine.diary()
    hands, claim = Hands(diary, {SOURCE: plugin}, Probes({}).ask), diary.state.claim
    assert claim is not None
    hands.install(claim, machine.placing("2"), diary.boot())
    assert [one["step"] for one in diary.state.reports] == ["failed"]
    assert (diary.state.claim, machine.in_place()) == (None, machine.old)
    machine.up(1, 1000)
    hands.resume(diary.boot())
    assert diary.state.going_back, "it hangs still, and nothing is begun beside it"
    plugin.let_go.set()
    assert plugin._acting._thread is not None
    plugin._acting._thread.join(10)
    assert machine.in_place() == machine.new
    machine.up(1, 9000)
    hands.resume(diary.boot())
    assert (machine.in_place(), diary.state.going_back) == (machine.old, [])


class InPlaceAndFailed(Plugin):
    """It fails after the content is in place."""

    def install(self, placing: Placing) -> Placed:
        super().install(placing)
        return Placed(False, "", "the disk refused to sync")


class SilentToo(InPlaceAndFailed):
    """And then it does not say what is in place."""

    silent = True

    def look(self) -> tuple[Probed, bool]:
        return (Probed("", ()), False) if self.silent else super().look()


def test_where_nobody_knows_what_a_failed_installation_left_it_goes_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    plugin, diary = SilentToo("directory", machine.settings.targets[SOURCE]), machine.diary()
    assert diary.state.claim is not None
    hands = Hands(diary, {SOURCE: plugin}, Probes({}).ask)
    hands.install(diary.state.claim, machine.placing("2"), diary.boot())
    assert machine.in_place() == machine.new
    machine.up(1, 5000)
    hands.resume(diary.boot())
    assert (machine.in_place(), diary.state.going_back) == (machine.old, [])


def test_an_installation_that_failed_leaves_nothing_in_place(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    plugin, diary = InPlaceAndFailed("directory", machine.settings.targets[SOURCE]), machine.diary()
    assert diary.state.claim is not None
    Hands(diary, {SOURCE: plugin}, Probes({}).ask).install(diary.state.claim, machine.placing("2"), diary.boot())
    assert machine.in_place() == machine.old
    assert [one["step"] for one in diary.state.reports] == ["failed", "rolled_back"]
    assert diary.state.installed[SOURCE].release == machine.old
