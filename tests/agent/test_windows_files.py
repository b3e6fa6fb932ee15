"""What ships for Windows cannot run here; that much can be held: it says so, and names only what exists."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

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
