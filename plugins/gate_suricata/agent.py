"""suricata-update of a machine that takes its rules by the gate's mirror: what it has put in place, and nothing more.

- Which version a tarball is, the mirror says beside it (``gate.json``: version, file, md5); what was once said is kept
  in ``folder``. The newest tarball in suricata-update's cache is what the machine has, where rules were made of it.
- Nothing is installed here. A recall needs the server alone: ``update`` (option), a command, only makes it sooner.

``folder`` is suricata-update's data directory. Options: ``mirror`` (the machine's address), ``update``, ``probe`` (a
command that must end with 0, such as one that asks the engine; ``probe_s`` seconds, 10).
"""

from __future__ import annotations

import hashlib
import json
import shlex
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from gate.hookspecs import Placed, Probed, ProbeResult, Target, hookimpl

KEPT = ".gate-rules.json"
MOST = 64 * 1024
REMEMBERED = 50
TALK_S, UPDATE_S = 10.0, 600.0


@hookimpl
def gate_agent_probe(target: Target) -> Probed:
    """The version of the rules in place; a mirror that does not answer changes nothing."""
    kept = _read(target.folder / KEPT)
    try:
        said = _said(target)
    except (OSError, ValueError, RecursionError):
        said = {}
    if {"version", "file", "md5"} <= said.keys() and kept.get(str(said["md5"])) != said["version"]:
        newer = {key: value for key, value in kept.items() if key not in ("file", said["md5"])}
        kept = dict(list(newer.items())[-REMEMBERED:]) | {str(said["md5"]): said["version"], "file": said["file"]}
        (target.folder / KEPT).write_text(json.dumps(kept))
    rules = target.folder / "rules" / "suricata.rules"
    cached = _newest(target.folder / "update" / "cache", str(kept.get("file", "")))
    if cached is None or not rules.is_file() or rules.stat().st_size == 0:
        return Probed("", (ProbeResult("rules", False, "suricata-update has put no rules in place"),))
    with cached.open("rb") as file:
        version = str(kept.get(hashlib.file_digest(file, "md5").hexdigest(), ""))
    probes = [ProbeResult("rules", True, version or "rules that this mirror has not named")]
    if target.options.get("probe"):
        probes.append(_run(target.options["probe"], float(target.options.get("probe_s", "10"))))
    return Probed("", tuple(probes), version)


@hookimpl
def gate_agent_rollback(target: Target, release: str, good: str) -> Placed:
    """The mirror has the older rules; the client takes them as it takes newer ones."""
    if not target.options.get("update"):
        return Placed(False, release, "suricata-update takes the older rules at its next run")
    done = _run(target.options["update"], UPDATE_S)
    return Placed(done.ok, good if done.ok else release, done.detail)


def _said(target: Target) -> dict[str, Any]:
    address = target.options.get("mirror", "").rstrip("/") + "/gate.json"
    if not address.startswith(("http://", "https://")):
        raise ValueError("mirror is no address")
    with urllib.request.urlopen(address, timeout=TALK_S) as answer:  # noqa: S310  (checked)
        found = json.loads(answer.read(MOST))
    return found if isinstance(found, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _newest(cache: Path, name: str) -> Path | None:
    """suricata-update keeps each address's file as its md5, a dash, and its name."""
    found = [path for path in cache.glob("*") if name and path.name.endswith(f"-{name}") and path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)


def _run(command: str, seconds: float) -> ProbeResult:
    try:
        words = shlex.split(command)
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except (OSError, ValueError, subprocess.TimeoutExpired) as problem:
        return ProbeResult("command", False, str(problem)[:300])
    said = (done.stderr or done.stdout).decode(errors="replace").strip()[-300:]
    return ProbeResult(
        "command", done.returncode == 0, "" if done.returncode == 0 else said or f"exit {done.returncode}"
    )
