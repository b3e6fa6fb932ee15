"""clamd and freshclam of a machine that takes its databases by the gate's mirror.

- Probe: clamd answers PING, and VERSION names the daily database that it has loaded. That is what the machine runs.
- Going back: freshclam never takes an older official database, so what is there is set aside and freshclam fetches
  anew. Only once the mirror serves another version than the one that is to go; and where freshclam then fails, what was
  there is put back: a machine without databases is worse off than one with a recalled one.
- Nothing is installed here: freshclam does that by itself.

``folder`` is freshclam's ``DatabaseDirectory``. Options: ``mirror`` (the address that freshclam takes as
``PrivateMirror``), ``socket`` (clamd's, /run/clamav/clamd.ctl), ``freshclam`` (its command, split like a shell would).
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from gate.hookspecs import Placed, Probed, ProbeResult, Target, hookimpl
from gate_clamav import cvd

SOCKET = "/run/clamav/clamd.ctl"
VERSION = re.compile(r"ClamAV [^/\x00-\x1f]{1,60}/(\d{1,9})/", re.ASCII)
ANSWER = 1000
TALK_S = 10.0
FRESHCLAM_S = 600.0
KINDS = ("daily.cvd", "daily.cld", "daily.inc")
ASIDE = ".gate-aside"


@hookimpl
def gate_agent_probe(target: Target) -> Probed:
    """What clamd has loaded, and whether it answers."""
    try:
        answer = asked(target, "PING")
        if answer != "PONG":
            return Probed("", (ProbeResult("clamd", False, f"PING was answered {answer[:100]!r}"),))
        said = asked(target, "VERSION")
    except OSError as problem:
        return Probed("", (ProbeResult("clamd", False, f"clamd does not answer: {problem}"),))
    match = VERSION.match(said)
    return Probed("", (ProbeResult("clamd", True, said),), match[1] if match else "")


@hookimpl
def gate_agent_rollback(target: Target, release: str, good: str) -> Placed:
    """Sets the databases aside and lets freshclam fetch what the mirror serves now."""
    if not good:
        return Placed(False, release, "there is no release to go back to")
    present = [target.folder / name for name in KINDS if (target.folder / name).exists()]
    try:
        served = _served(target)
        here = {cvd.header_of(path).version for path in present if path.is_file()}
    except (OSError, ValueError, cvd.BadCvd) as problem:
        return Placed(False, release, f"the mirror cannot be read: {problem}")
    if here == {served}:
        return Placed(False, release, f"the mirror still serves {served}")
    problem_said = _fetched_anew(target, present)
    if problem_said:
        return Placed(False, release, problem_said)
    _reload(target)
    return Placed(True, good)


def asked(target: Target, command: str) -> str:
    """clamd's answer to one command.

    Raises:
        OSError: nobody answers.
    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(TALK_S)
        line.connect(target.options.get("socket", SOCKET))
        line.sendall(b"z" + command.encode() + b"\0")
        found = b""
        while len(found) < ANSWER and (part := line.recv(ANSWER)):
            found += part
    return found.rstrip(b"\0\n").decode(errors="replace")[:ANSWER]


def _served(target: Target) -> int:
    """The version of the database that the mirror serves."""
    address = target.options["mirror"].rstrip("/") + "/daily.cvd"
    if not address.startswith(("http://", "https://")):
        raise ValueError("mirror is no address")
    wanted = urllib.request.Request(address, headers={"Range": f"bytes=0-{cvd.HEADER - 1}"})  # noqa: S310  (checked)
    with urllib.request.urlopen(wanted, timeout=TALK_S) as answer:  # noqa: S310  (checked)
        return cvd.read_header(answer.read(cvd.HEADER)).version


def _fetched_anew(target: Target, present: Sequence[Path]) -> str:
    """What went wrong; then everything is as it was."""
    aside = target.folder / ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for path in present:
        path.rename(aside / path.name)
    try:
        command = shlex.split(target.options.get("freshclam", "freshclam"))
        done = subprocess.run(command, capture_output=True, text=True, timeout=FRESHCLAM_S, check=False)
        said = "" if done.returncode == 0 else f"freshclam ended with {done.returncode}: {done.stdout.strip()[-200:]}"
        if not said and not any((target.folder / name).exists() for name in KINDS):
            said = "freshclam brought no database"
    except (OSError, ValueError, subprocess.TimeoutExpired) as problem:
        said = f"freshclam: {problem}"[:300]
    if said:
        for path in present:
            (aside / path.name).rename(path)
    shutil.rmtree(aside, ignore_errors=True)
    return said


def _reload(target: Target) -> None:
    """clamd would notice by itself at its next self-check."""
    try:
        asked(target, "RELOAD")
    except OSError:
        return
