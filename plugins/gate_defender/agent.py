"""Defender on a machine that takes its definitions from its own address on the gate; nothing is installed here.

- Probe: what Defender says of itself: the definitions that it has loaded, and whether it is well.
- Going back: Defender takes nothing older by itself, so ``remove`` removes what it has and ``update`` fetches anew.
  Both are commands of the machine's settings; without them a machine cannot go back, and says so. It has gone back once
  another version is loaded.

Options: ``health`` (``mdatp health --output json`` if not said), ``remove``, ``update``; each is split like a shell
would and run without one. On Windows::

    health = 'powershell -NoProfile -Command "Get-MpComputerStatus | ConvertTo-Json"'
    remove = '"C:/Program Files/Windows Defender/MpCmdRun.exe" -RemoveDefinitions -All'
    update = '"C:/Program Files/Windows Defender/MpCmdRun.exe" -SignatureUpdate -UNC'
"""

from __future__ import annotations

import shlex
import subprocess

from gate.hookspecs import Placed, Probed, ProbeResult, Target, hookimpl
from gate_defender import reports

HEALTH = "mdatp health --output json"
HEALTH_S, CHANGE_S = 60.0, 600.0


@hookimpl
def gate_agent_probe(target: Target) -> Probed:
    """What is loaded, and whether Defender is well."""
    said = _health(target)
    if isinstance(said, str):
        return Probed("", (ProbeResult("defender", False, said),))
    return Probed("", (ProbeResult("defender", said.well, said.detail),), said.version)


@hookimpl
def gate_agent_rollback(target: Target, release: str, good: str) -> Placed:
    """Removes the definitions and lets Defender fetch what its address serves now."""
    if not good:
        return Placed(False, release, "there is no release to go back to")
    missing = [name for name in ("remove", "update") if not target.options.get(name)]
    if missing:
        return Placed(False, release, f"the settings name no command to {missing[0]}: somebody must do it by hand")
    before = _health(target)
    if isinstance(before, str):
        return Placed(False, release, before)
    for name in ("remove", "update"):
        code, said = _run(target.options[name], CHANGE_S)
        if code != 0:
            return Placed(False, release, f"{name} ended with {code}: {said[-300:]}")
    after = _health(target)
    if isinstance(after, str):
        return Placed(False, release, after)
    if after.version == before.version:
        return Placed(False, release, f"it still has {after.version}")
    return Placed(True, good, after.detail)


def _health(target: Target) -> reports.Said | str:
    """What it says; a text: why nothing is known."""
    code, text = _run(target.options.get("health", HEALTH), HEALTH_S)
    if code != 0:
        return f"health ended with {code}: {text[-300:]}"
    return reports.read(text) or "it says nothing about its definitions"


def _run(command: str, seconds: float) -> tuple[int, str]:
    try:
        words = shlex.split(command)
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as problem:
        return -1, str(problem)[:300]
    return done.returncode, (done.stdout or done.stderr).decode(errors="replace").strip()
