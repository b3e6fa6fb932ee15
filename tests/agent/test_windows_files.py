"""What ships for Windows cannot run here; that much can be held: it says so, and names only what exists."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from tests.conftest import REPOSITORY

WINDOWS = REPOSITORY / "deploy" / "agent" / "windows"


def test_every_file_for_windows_says_that_it_has_not_run_there() -> None:
    for path in WINDOWS.iterdir():
        assert "NOT RUN ON WINDOWS" in path.read_text(encoding="utf-8").splitlines()[0], path.name
    assert "Nothing here has run on Windows" in (WINDOWS.parent / "README.md").read_text(encoding="utf-8")


def test_the_service_is_listed_for_both_safe_modes_and_taken_out_again() -> None:
    for name in ("install.ps1", "remove.ps1"):
        text = (WINDOWS / name).read_text(encoding="utf-8")
        assert "foreach ($mode in 'Minimal', 'Network')" in text
        assert r"HKLM:\SYSTEM\CurrentControlSet\Control\SafeBoot\$mode\gate-agent" in text


def test_the_state_is_for_system_and_administrators_alone() -> None:
    text = (WINDOWS / "install.ps1").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("Invoke-Checked icacls.exe @($state")]
    assert "'/inheritance:r'" in line
    assert set(re.findall(r"S-1-[0-9-]+", line)) == {"S-1-5-18", "S-1-5-32-544"}


def test_the_wrapper_starts_what_the_installation_puts_in_place() -> None:
    service = ElementTree.fromstring((WINDOWS / "gate-agent.xml").read_text(encoding="utf-8"))
    assert service.findtext("id") == "gate-agent"
    assert (service.findtext("arguments") or "").endswith("run")
    assert (WINDOWS / "gate-agent.py").exists()


PLAYED = """
import concurrent.futures, ctypes, os, signal, socket, ssl, subprocess, sys, tempfile, types
from pathlib import Path
import cryptography, pluggy, requests, tuf.ngclient

for name in ("O_CLOEXEC", "killpg"):
    delattr(os, name)
for name in ("SIGALRM", "setitimer", "ITIMER_REAL"):
    delattr(signal, name)
locked = []
sys.modules["fcntl"] = None
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda *given: locked.append(given))

def ticks(into):
    into._obj.value = 50_000_000

ctypes.windll = types.SimpleNamespace(kernel32=types.SimpleNamespace(QueryUnbiasedInterruptTime=ticks))
sys.platform = "win32"

from gate.agent import cli, commands, early, loop, recover
from gate.agent.commands import Done
from gate.agent.diary import Diary
from gate.agent.settings import AgentSettings
from gate.agent.state import State, StateFolder
from gate.agent.system import this_system
from gate.agent.times import now_utc
from gate.agent.windows import WindowsBoots

assert isinstance(this_system(), WindowsBoots)
log = (
    "<Event xmlns='x'><System><Provider Name='Microsoft-Windows-Kernel-General'/><EventID>12</EventID>"
    "<TimeCreated SystemTime='2024-07-19T01:00:00Z'/><EventRecordID>1</EventRecordID></System></Event>"
)
system = WindowsBoots(lambda argv, limit_s: Done(0, log))
folder = StateFolder(Path(sys.argv[1]))
folder.prepare()
folder.lock()
assert locked
folder.save(State(seq=7))
folder.mark_down("b")
folder.unmark_down()
diary = Diary(folder, AgentSettings(), now_utc, system)
this = diary.boot()
assert (this.boot_id, this.awake_s) == ("2024-07-19T01:00:00Z", 5.0)
diary.begin(this)
diary.settle(this)
assert folder.state().seq == 7
assert early.never_failing(folder, AgentSettings(), now_utc, system) == "nothing is on trial"
assert commands.run((sys.executable, "-c", "input()"), 10).code == 1
assert commands.run((sys.executable, "-c", "import signal; signal.pause()"), 0.1).code is None
print("done")
"""


def test_the_agent_begins_without_what_only_linux_has(tmp_path: Path) -> None:
    """Not Windows: its modules and calls that are missing there are missing here, and what is there is played."""
    words = [sys.executable, "-c", PLAYED, str(tmp_path / "state")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=REPOSITORY)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
