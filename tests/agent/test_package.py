"""The .deb of the agent: built by one command, complete, installed and removed by dpkg itself in a root of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, missing

UNITS = ("gate-agent.service", "gate-agent-early.service")
LINUX = REPOSITORY / "deploy" / "agent" / "linux"


def test_the_script_stops_an_agent_that_is_there_before_it_enrols(tmp_path: Path) -> None:
    said = tmp_path / "said"
    for name in ("dpkg", "systemctl", "gate-agent", "id"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho {name} "$@" >> {said}\n[ {name} != id ] || echo 0\n')
        program.chmod(0o755)
    (tmp_path / "code").write_text("code")
    words = ("sh", str(LINUX / "install.sh"), "--code-file", str(tmp_path / "code"), "a.deb", "https://gate.example")
    done = run(*words, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    acts = [line.split()[:2] for line in said.read_text().splitlines()]
    assert acts[1:] == [["dpkg", "-i"], ["systemctl", "stop"], ["gate-agent", "enrol"], ["systemctl", "restart"]]


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment}, cwd=REPOSITORY)


@pytest.fixture(scope="module")
def built() -> str:
    """What the build prints."""
    if shutil.which("dpkg-deb") is None:
        missing("dpkg-deb")
    done = run("scripts/deb", DEB_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(built: str) -> Path:
    return REPOSITORY / built.split()[-1]


@pytest.fixture(scope="module")
def root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    assert run("dpkg-deb", "-x", str(package), str(root)).returncode == 0
    return root


def agent(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed program, though not below /: its first line and its folders are put in place by hand."""
    text = (root / "usr/bin/gate-agent").read_text()
    for folder in ("usr/lib/gate-agent", "opt/gate-agent"):
        text = text.replace(f'"/{folder}"', f'"{root / folder}"')
    return subprocess.run([sys.executable, "-ISB", "-c", text, *words], capture_output=True, text=True, cwd=root)


@pytest.mark.slow
def test_the_package_holds_the_agent_alone_with_all_that_it_needs(package: Path, root: Path) -> None:
    listed = run("dpkg-deb", "-c", str(package)).stdout.splitlines()
    assert all(line.split()[1] == "root/root" for line in listed)
    names = {line.split()[5].removeprefix("./") for line in listed}
    assert {"usr/bin/gate-agent", *(f"usr/lib/systemd/system/{unit}" for unit in UNITS)} <= names
    inside = {path.name for path in (root / "usr/lib/gate-agent/gate").iterdir()} - {"__pycache__"}
    assert inside == {"__init__.py", "hookspecs.py", "hookvalues.py", "agent"}
    assert {path.name for path in (root / "usr/lib/gate-agent").glob("gate_*")} == {
        side.parent.name for side in (REPOSITORY / "plugins").glob("gate_*/agent.py")
    }
    assert not [name for name in names if str(REPOSITORY) in name or "/tests/" in name]
    assert not [line for line in listed if line.split()[0][5] == "w" or line.split()[0][8] == "w"]


def test_the_build_prints_the_hash_that_a_person_checks_the_package_by(built: str, package: Path) -> None:
    assert built.split()[0] == hashlib.sha256(package.read_bytes()).hexdigest()


def test_the_installed_agent_runs_without_this_environment(root: Path, tmp_path: Path) -> None:
    said = agent(root, "--state", str(tmp_path / "state"), "status")
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == f"{tmp_path / 'state'}: not enrolled\n"
    loaded = 'import sys; sys.path.insert(0, "usr/lib/gate-agent"); import gate.agent.cli; from gate import hookspecs'
    for side in sorted((REPOSITORY / "plugins").glob("gate_*/agent.py")):
        loaded += f'; hookspecs.load("{side.parent.name.removeprefix("gate_").replace("_", "-")}", "agent")'
    found = subprocess.run([sys.executable, "-ISB", "-c", loaded], capture_output=True, text=True, cwd=root)
    assert found.returncode == 0, found.stderr


def test_the_agent_runs_from_a_release_of_itself(root: Path, tmp_path: Path) -> None:
    release = root / "opt/gate-agent/releases/B"
    release.mkdir(parents=True)
    shutil.copy(REPOSITORY / "dist/agent.zip", release)
    (root / "opt/gate-agent/current").symlink_to(Path("releases/B"))
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state/state.json").write_text("{}")
    said = agent(root, "--state", str(tmp_path / "state"), "status")
    assert (said.returncode, said.stderr) == (0, "")
    loaded = f'import sys; sys.path[:0] = ["{release / "agent.zip"}", "usr/lib/gate-agent"]; import gate.agent.loop'
    loaded += '; from gate import hookspecs; hookspecs.load("directory", "agent"); import tuf, certifi, cryptography'
    loaded += "; print(gate.agent.loop.__file__, gate.agent.loop.__spec__.cached, tuf.__file__, cryptography.__file__)"
    loaded += '; assert "BEGIN CERTIFICATE" in open(certifi.where()).read()'
    found = subprocess.run([sys.executable, "-ISB", "-c", loaded], capture_output=True, text=True, cwd=root)
    assert found.returncode == 0, found.stderr
    assert found.stdout.count("agent.zip/") == 3
    assert "usr/lib/gate-agent/cryptography" in found.stdout


def test_systemd_finds_nothing_wrong_with_the_units(root: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        missing("systemd-analyze")
    units = [str(root / "usr/lib/systemd/system" / unit) for unit in UNITS]
    for unit in units:
        text = Path(unit).read_text().replace("/usr/bin/gate-agent", str(root / "usr/bin/gate-agent"))
        Path(unit).write_text(text.replace("file:/usr/share/doc/gate-agent/README.md", "https://gate.example"))
    found = run("systemd-analyze", "verify", "--man=no", *units)
    assert (found.returncode, found.stderr) == (0, "")


def test_the_early_unit_runs_before_modules_are_loaded_and_is_needed_by_nobody() -> None:
    text = (LINUX / "gate-agent-early.service").read_text()
    assert "DefaultDependencies=no" in text
    before = next(line for line in text.splitlines() if line.startswith("Before=")).split("=")[1].split()
    assert {"systemd-modules-load.service", "sysinit.target", "local-fs.target"} <= set(before)
    assert "RequiredBy=" not in text
    assert "TimeoutStartSec=" in text


@pytest.mark.parametrize("unit", UNITS)
def test_a_kernel_that_only_keeps_what_a_crash_left_is_no_boot(unit: str) -> None:
    assert "ConditionPathExists=!/proc/vmcore" in (LINUX / unit).read_text().splitlines()


def test_dpkg_installs_removes_and_purges_it_in_a_root_of_its_own(package: Path, tmp_path: Path) -> None:
    if shutil.which("systemctl") is None or os.geteuid() != 0:
        missing("systemctl and root")
    root = tmp_path / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    dpkg = ("dpkg", f"--root={root}", "--force-depends", "--force-script-chrootless", "--log=/dev/null")
    done = run(*dpkg, "--install", str(package))
    assert done.returncode == 0, done.stderr
    state = root / "var/lib/gate-agent"
    assert state.stat().st_mode & 0o777 == 0o700
    wanted = root / "etc/systemd/system"
    assert (wanted / "sysinit.target.wants/gate-agent-early.service").is_symlink()
    assert (wanted / "multi-user.target.wants/gate-agent.service").is_symlink()
    (state / "key").write_bytes(b"k" * 32)
    assert run(*dpkg, "--remove", "gate-agent").returncode == 0
    assert not (wanted / "multi-user.target.wants/gate-agent.service").is_symlink()
    assert (state / "key").exists(), "who it is outlives a removal"
    assert run(*dpkg, "--purge", "gate-agent").returncode == 0
    assert not state.exists()
    assert not (root / "opt/gate-agent").exists()
