"""Packages of a machine whose apt takes them by the gate's mirror: what dpkg has installed, and nothing more.

- The version is that of each package in ``packages``, in that order with commas between, as the source says it.
- Nothing is installed here. For a recall apt needs a pin and permission (plugins/README.md); ``update`` (option) is the
  machine's own command for that, such as a script of one's own; without it, it is done at the machine's next run.

``folder`` is the agent's own. Options: ``packages`` (names with blanks between), ``dpkg`` (``dpkg-query`` if not said,
with perhaps ``--admindir=...``), ``update``, ``probe`` (a command that must end with 0; ``probe_s`` seconds, 10).
"""

from __future__ import annotations

import re
import shlex
import subprocess

from gate.hookspecs import Placed, Probed, ProbeResult, Target, hookimpl

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,100}\Z", re.ASCII)
ASK_S, UPDATE_S = 10.0, 1800.0
FORMAT = "-f=${Package} ${Version} ${db:Status-Status}\\n"


@hookimpl
def gate_agent_probe(target: Target) -> Probed:
    """What dpkg says; a package that is half installed is a bad probe."""
    names = target.options.get("packages", "").split()
    if not names or not all(PACKAGE.match(name) for name in names):
        return Probed("", (ProbeResult("packages", False, "the settings name no packages"),))
    words = [*shlex.split(target.options.get("dpkg", "dpkg-query")), "-W", FORMAT, *names]
    code, text = _run(words, ASK_S)
    rows = [line.split(" ") for line in text.splitlines()]
    found = {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}
    bad = [name for name in names if found.get(name, ("", ""))[1] != "installed"]
    if bad:
        said = ", ".join(f"{name} is {found[name][1] if name in found else 'not there'}" for name in bad)
        return Probed("", (ProbeResult("packages", False, said if rows else f"{code}: {text[-200:]}"),))
    version = ",".join(found[name][0] for name in names)
    probes = [ProbeResult("packages", True, version)]
    if target.options.get("probe"):
        code, text = _run(shlex.split(target.options["probe"]), float(target.options.get("probe_s", "10")))
        probes.append(ProbeResult("command", code == 0, "" if code == 0 else f"exit {code}: {text[-200:]}"))
    return Probed("", tuple(probes), version)


@hookimpl
def gate_agent_rollback(target: Target, release: str, good: str) -> Placed:
    """The mirror has the older packages; the machine's own command takes them."""
    if not target.options.get("update"):
        return Placed(False, release, "the machine goes back at its next run, where it has the pin and the permission")
    code, text = _run(shlex.split(target.options["update"]), UPDATE_S)
    return Placed(code == 0, good if code == 0 else release, "" if code == 0 else f"exit {code}: {text[-300:]}")


def _run(words: list[str], seconds: float) -> tuple[int, str]:
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return -1, str(problem)[:300]
    return done.returncode, (done.stdout or done.stderr).decode(errors="replace").strip()
