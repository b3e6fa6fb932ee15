"""The agent's own releases: a start is counted before it, by the code before; a bad one goes back and is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gate.agent import itself, settings
from gate.agent.errors import Misuse
from gate.agent.hands import Hands
from gate.agent.itself import Nurse
from gate.agent.loop import Agent
from gate.core.model import ClaimState
from tests.agent.played import SOURCE, Machine
from tests.agent.test_agent import joined
from tests.conftest import REPOSITORY
from tests.load import RealAgents, Served, await_answer, free_port, prepare
from tests.real_gate import RealGate

LAUNCHER = REPOSITORY / "deploy" / "agent" / "linux" / "gate-agent"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Its own release 2 is in place, and has proven nothing."""
    machine = Machine(tmp_path, alive=True)
    machine.settings = replace(machine.settings, itself=SOURCE)
    machine.up(1, 100)
    machine.round()
    assert machine.in_place() == machine.new
    return machine


def nurse(machine: Machine, child: str, silent_s: float = 60.0, heard_s: float = 600.0) -> Nurse:
    """``child``: the new agent, as a program; ``state`` in it is the path of its state."""
    code = f"import json, os, signal, sys\nstate = {str(machine.folder.path / 'state.json')!r}\n{child}"
    words = [sys.executable, "-c", code]
    return Nurse(machine.folder, machine.settings, machine.clock, machine.system, words, 0.0, silent_s, heard_s)


def reports(machine: Machine) -> list[tuple[str, str]]:
    found = []
    for one in machine.folder.state().reports:
        said = [probe["detail"] for probe in one["probes"] if probe["name"] == "boot-health"]
        found.append((one["step"], said[0] if said else ""))
    return found


def test_after_tries_starts_that_ended_the_release_before_is_back_and_the_gate_hears_why(
    machine: Machine, tmp_path: Path
) -> None:
    nurse(machine, "sys.exit('ImportError: no module named tomorrow')").run(threading.Event())
    because = "2 starts of the agent did not last: ImportError: no module named tomorrow"
    assert machine.in_place() == machine.old
    assert reports(machine)[-1] == ("rolled_back", because)
    assert machine.folder.state().quarantined == {machine.new: because}, "never again on this machine"
    assert machine.folder.state().claim is None


def test_each_start_stands_on_disk_before_it(machine: Machine, tmp_path: Path) -> None:
    count = f"open({str(tmp_path / 'starts')!r}, 'a').write(str(json.load(open(state))['claim']['starts']))"
    nurse(machine, count).run(threading.Event())
    assert (tmp_path / "starts").read_text() == "12"


def test_starts_that_a_loss_of_power_ended_are_counted_too(machine: Machine, tmp_path: Path) -> None:
    diary = machine.diary()
    assert diary.state.claim is not None
    diary.state.claim.starts = 2
    diary.save()
    nurse(machine, f"open({str(tmp_path / 'started')!r}, 'w')").run(threading.Event())
    assert not (tmp_path / "started").exists()
    assert machine.in_place() == machine.old


def test_a_start_that_was_asked_to_stop_is_none(machine: Machine, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "up")
    stop = threading.Event()

    def when_up() -> None:
        (tmp_path / "up").read_text()
        stop.set()

    threading.Thread(target=when_up).start()
    nurse(machine, f"open({str(tmp_path / 'up')!r}, 'w').close()\nsignal.pause()").run(stop)
    claim = machine.folder.state().claim
    assert claim is not None
    assert (claim.step, claim.starts) == ("installed", 0)
    assert machine.in_place() == machine.new


def test_an_answer_to_the_new_one_and_to_no_other_is_written_down(sqlite_gate: RealGate, tmp_path: Path) -> None:
    agent = joined(sqlite_gate, tmp_path)
    agent.settings = replace(agent.settings, itself=SOURCE)
    sqlite_gate.bring("1")
    agent.once()
    for on_trial in (False, True):
        agent.stay_up()
        session = sqlite_gate.session()
        new = Agent(agent.state_folder, agent.settings, session=session, system=agent.system, on_trial=on_trial)
        new.once()
        found = new.state.claim
        assert found is not None
        assert found.heard is on_trial


def test_once_it_has_proven_itself_both_end(machine: Machine) -> None:
    settle = "found = json.load(open(state))\nfound['claim'] = None\njson.dump(found, open(state + '.new', 'w'))\n"
    nurse(machine, settle + "os.rename(state + '.new', state)\nsignal.pause()").run(threading.Event())
    assert machine.in_place() == machine.new
    assert [step for step, _ in reports(machine)] == []
    assert machine.gate.steps == ["installed"]


@pytest.mark.parametrize("step", ["granted", "installing", "installed", "booted", "rolling_back"])
def test_what_the_new_one_has_taken_since_it_is_proven_is_left_to_the_next_process(machine: Machine, step: str) -> None:
    diary = machine.diary()
    assert diary.state.claim is not None
    diary.state.claim.source, diary.state.claim.step, diary.state.reports = "prices", step, []
    diary.save()
    nurse(machine, "sys.exit('it is not to be started')").run(threading.Event())
    state = machine.folder.state()
    assert state.claim is not None
    assert (state.claim.source, state.claim.step) == ("prices", step)
    assert (state.reports, state.events, state.going_back) == ([], [], [])


def test_one_that_writes_nothing_down_is_ended_and_goes_back(machine: Machine) -> None:
    nurse(machine, "signal.pause()", silent_s=0.0).run(threading.Event())
    assert machine.in_place() == machine.old
    assert "wrote nothing down" in reports(machine)[-1][1]


def test_boots_under_it_are_tries_as_ever(machine: Machine, tmp_path: Path) -> None:
    for number in (2, 3):
        machine.up(number, 3)
        assert "try" in machine.early()
    machine.up(4, 3)
    nurse(machine, f"open({str(tmp_path / 'started')!r}, 'w')").run(threading.Event())
    assert not (tmp_path / "started").exists()
    assert reports(machine)[-1] == ("rolled_back", "2 boots did not stay up: b2, b3")


def test_a_process_that_does_not_run_it_proves_nothing(machine: Machine) -> None:
    machine.up(1, 5000)
    diary = machine.diary()
    hands = Hands(diary, machine.plugins(), unproven=SOURCE)
    hands.heard()
    hands.progress(diary.boot())
    assert itself.on_trial(machine.folder.state(), SOURCE) is not None
    machine.round()
    assert machine.gate.steps == ["installed"], "what the process before it heard counts for nothing"
    heard(machine)
    machine.round()
    assert machine.gate.steps == ["installed", "healthy"]


def heard(machine: Machine) -> None:
    """The new one has had an answer of the gate's."""
    diary = machine.diary()
    Hands(diary, machine.plugins()).heard()


def test_one_that_the_gate_has_not_heard_is_not_proven_however_long_it_stays_up(machine: Machine) -> None:
    machine.up(1, 500_000)
    machine.round()
    claim = machine.folder.state().claim
    assert claim is not None
    assert (claim.step, claim.heard) == ("installed", False)
    assert machine.folder.state().said == f"{SOURCE}: the gate has not answered it yet"


def test_one_that_the_gate_does_not_answer_is_ended_and_goes_back(machine: Machine) -> None:
    alive = "import itertools, time\nfor number in itertools.count():\n    os.utime(state)\n    time.sleep(0.01)\n"
    nurse(machine, alive, heard_s=0.0).run(threading.Event())
    assert machine.in_place() == machine.old
    because = "2 starts of the agent did not last: the gate did not answer it within 0 s"
    assert reports(machine)[-1] == ("rolled_back", because)


def test_what_a_newer_agent_has_written_can_be_read(machine: Machine) -> None:
    path = machine.folder.path / "state.json"
    found = json.loads(path.read_text())
    for part in (found, found["claim"], found["installed"][SOURCE], found["boots"][0]):
        part["of_tomorrow"] = {"a": 1}
    path.write_text(json.dumps(found))
    assert itself.on_trial(machine.folder.state(), SOURCE) is not None
    assert [one.boot_id for one in machine.diary().boots()] == ["b1"]
    assert machine.folder.state().claim is not None


@pytest.mark.parametrize("by", ["", 'by = "mirror"\n'])
def test_its_own_source_is_one_that_it_installs(tmp_path: Path, by: str) -> None:
    name = "agent" if by else "other"
    text = f'itself = "{name}"\n[sources.agent]\nplugin = "directory"\nfolder = "/x"\n{by}'
    (tmp_path / "agent.toml").write_text(text)
    with pytest.raises(Misuse, match="itself"):
        settings.load(tmp_path / "agent.toml")


# the program that is never replaced

SAYS = "import sys\ndef main(): print({!r}, sys.argv[1:])\n"


class Installed:
    """A launcher in a root of its own, with code that only says which it is."""

    def __init__(self, root: Path) -> None:
        self.root, self.state = root, root / "state"
        self.state.mkdir(parents=True)
        (root / "packaged/gate/agent").mkdir(parents=True)
        (root / "packaged/gate/__init__.py").touch()
        (root / "packaged/gate/agent/__init__.py").touch()
        (root / "packaged/gate/agent/cli.py").write_text(SAYS.format("packaged"))
        self.program = launcher(root / "gate-agent", root / "packaged", root / "opt")

    def release(self, name: str) -> None:
        folder = self.root / "opt/releases" / name
        folder.mkdir(parents=True)
        with zipfile.ZipFile(folder / "agent.zip", "w") as into:
            for path in ("gate/__init__.py", "gate/agent/__init__.py"):
                into.writestr(path, "")
            into.writestr("gate/agent/cli.py", SAYS.format(name))

    def point(self, name: str) -> None:
        (self.root / "opt").mkdir(exist_ok=True)
        (self.root / "opt/current").symlink_to(Path("releases") / name)

    def on_trial(self, release: str, before: str, **more: str) -> None:
        claim = {"release": f"sha256:{release}", "previous": before, "step": "installed", "recalls": ""} | more
        (self.state / "state.json").write_text(json.dumps({"claim": claim}))

    def runs(self, *words: str) -> str:
        words = ("-IB", str(self.program), "--state", str(self.state), *(words or ("status",)))
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
        return done.stdout.split()[0] if done.returncode == 0 else done.stderr.strip()


def launcher(path: Path, packaged: Path, releases: Path) -> Path:
    """The program as it ships, but for its folders."""
    text = LAUNCHER.read_text(encoding="utf-8")
    for shipped, here in (("/usr/lib/gate-agent", packaged), ("/opt/gate-agent", releases)):
        assert f'"{shipped}"' in text
        text = text.replace(f'"{shipped}"', f'"{here}"')
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installed]:
    yield Installed(tmp_path / "root")


Arrange = Callable[[Installed], None]
CHOICES: list[tuple[str, Arrange, str]] = [
    ("no release is in place", lambda _: None, "packaged"),
    ("one is, and is proven", lambda on: (on.state / "state.json").write_text("{}") and None, "B"),
    ("it is on trial", lambda on: on.on_trial("B", "A"), "A"),
    ("it is the first and on trial", lambda on: on.on_trial("B", ""), "packaged"),
    ("the one before is gone", lambda on: on.on_trial("B", "Z"), "packaged"),
    ("another source's is on trial", lambda on: on.on_trial("X", "A"), "B"),
    ("it has a claim and is not in place yet", lambda on: on.on_trial("B", "A", step="granted"), "B"),
    ("it is what a recall goes back to", lambda on: on.on_trial("B", "A", recalls="A"), "B"),
    ("the state cannot be read", lambda on: (on.state / "state.json").write_text("{") and None, "packaged"),
]


@pytest.mark.parametrize(("_", "arrange", "runs"), CHOICES, ids=[case[0] for case in CHOICES])
def test_what_is_proven_runs(_: str, arrange: Arrange, runs: str, installed: Installed) -> None:
    installed.release("A")
    installed.release("B")
    if _ != CHOICES[0][0]:
        installed.point("B")
    arrange(installed)
    assert installed.runs() == runs


def test_what_is_on_trial_runs_only_where_the_one_before_asks_for_it(installed: Installed) -> None:
    installed.release("A")
    installed.release("B")
    installed.point("B")
    installed.on_trial("B", "A")
    assert installed.runs("run", "--on-trial") == "B"
    assert installed.runs("early") == "A"


def test_a_release_without_an_agent_in_it_is_no_good_start(installed: Installed) -> None:
    (installed.root / "opt/releases/B").mkdir(parents=True)
    installed.point("B")
    installed.on_trial("B", "")
    assert installed.runs("run", "--on-trial") == "the release on trial holds no agent"
    assert installed.runs("run") == "packaged"


# all of it, with processes and a gate

POLICY = """version: 1
fleet: soak
timezone: Europe/Berlin
makes: {by: [role]}
sources:
  - {name: shop, plugin: directory, kind: binary, boot_critical: false, lever: held, evidence: alive}
rings:
  - name: all
    why: one machine
    pick: {role: till}
    windows: [always]
    gate: {soak: 1s, at_least: 1}
first_batch: 3
defaults: {stay_up: 0s, checkin: 1s, lease: 2m, deadline: 30m, background_cap: 100%}
"""


def tree(into: Callable[[str, bytes], object], mark: Path, broken: bool = False) -> None:
    """The agent's code, which says in ``mark`` that it runs; a broken one ends as it starts."""
    files = [REPOSITORY / "gate" / name for name in ("__init__.py", "hookspecs.py", "hookvalues.py")]
    files += [*(REPOSITORY / "gate/agent").glob("*.py"), *(REPOSITORY / "plugins/gate_directory").glob("*.py")]
    for file in files:
        name = str(file.relative_to(REPOSITORY)).removeprefix("plugins/")
        text = file.read_text(encoding="utf-8")
        if name == "gate/agent/loop.py":
            text += "\nraise RuntimeError('broken at start')\n" if broken else ""
            text += f"\nfrom pathlib import Path\nPath({str(mark)!r}).touch()\n"
        into(name, text.encode())


def drop(folder: Path, version: str, mark: Path, broken: bool = False) -> None:
    with zipfile.ZipFile(folder / f"{version}.zip", "w") as archive:
        tree(archive.writestr, mark, broken)
    home = folder / "made" / version
    home.mkdir(parents=True)
    (folder / f"{version}.zip").rename(home / "agent.zip")
    words = [sys.executable, "-m", "gate_directory", str(folder / "drop"), version, str(home / "agent.zip")]
    subprocess.run(words, check=True, cwd=REPOSITORY / "plugins", capture_output=True)


class Supervised(RealAgents):
    """The agent as it ships, started by the program that is never replaced, and again as often as it ends."""

    def _words(self, number: int) -> list[str]:
        return [sys.executable, str(self.folder / "gate-agent"), "--state", str(self.folder / f"agent-{number}")]

    def tend(self) -> None:
        if 0 not in self.processes or self.processes[0].poll() is not None:
            assert self.processes.get(0) is None or self.processes[0].returncode == 0, self.said()
            self.start(0)


def test_an_agent_brings_itself_from_a_to_b_and_back_from_a_c_that_does_not_start(tmp_path: Path) -> None:
    marks = {name: tmp_path / f"{name}-ran" for name in "ABC"}
    packaged = tmp_path / "packaged"

    def write(name: str, raw: bytes) -> None:
        (packaged / name).parent.mkdir(parents=True, exist_ok=True)
        (packaged / name).write_bytes(raw)

    tree(write, marks["A"])
    launcher(tmp_path / "gate-agent", packaged, tmp_path / "content-0")
    port = free_port()
    opened = prepare(tmp_path, "", [], port, POLICY)
    served = Served(tmp_path / "gate" / "gate.toml", tmp_path)
    await_answer(port)
    agents = Supervised(tmp_path, opened, port, 1, more=("--itself", "shop"))

    def claims(version: str) -> list[ClaimState]:
        agents.tend()
        with opened.store.read() as tx:
            named = {one.id: one.version for one in tx.releases("shop", 9)}
            rollouts = [one.id for one in tx.rollouts(limit=9) if named.get(one.release) == version]
            return [claim.state for one in rollouts for claim in tx.claims(one)]

    def until(version: str, wanted: ClaimState) -> None:
        end = time.monotonic() + 120
        while claims(version) != [wanted]:
            assert time.monotonic() < end, (claims(version), agents.said(), served.logs()[-3000:])
            time.sleep(0.2)

    try:
        drop(tmp_path, "B", marks["B"])
        until("B", ClaimState.HEALTHY)
        assert marks["A"].exists()
        assert marks["B"].exists()
        good = os.readlink(tmp_path / "content-0" / "current")
        drop(tmp_path, "C", marks["C"], broken=True)
        until("C", ClaimState.ROLLED_BACK)
        assert os.readlink(tmp_path / "content-0" / "current") == good
        assert not marks["C"].exists()
        marks["B"].unlink()
        agents.kill(0)
        agents.start(0)
        end = time.monotonic() + 60
        while not marks["B"].exists():
            assert time.monotonic() < end, agents.said()
            time.sleep(0.2)
        with opened.store.read() as tx:
            said = [one.detail for one in tx.events(limit=500) if one.kind == "report_step"]
        assert any("broken at start" in str(one.get("bad_probes")) for one in said), said
    finally:
        agents.end()
        served.end()
        opened.close()
