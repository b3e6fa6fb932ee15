"""Probes that the policy asks for by name; what a name means on this machine stands in its own settings.

- The gate names, and never says what to run: an answer of the gate's is no way to a command on this machine.
- Each probe has its own deadline. One that hangs is bad, not a hang; while it hangs it is not started a second time.
- All probes of a claim run beside each other: the slowest decides how long it takes.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gate.agent.commands import Done, run
from gate.agent.deadline import Deadline
from gate.agent.health import Probe

PART = 1 << 20
MOST = 256 * 1024
DETAIL = 500
LIMIT_S = 10.0
MOST_LIMIT_S = 300.0
CLAMD = "/run/clamav/clamd.ctl"
VERSION = re.compile(r"ClamAV [^/\x00-\x1f]{1,60}/(\d{1,9})/", re.ASCII)
Said = tuple[bool, str]


@dataclass(frozen=True, slots=True)
class ProbeSetting:
    """One probe of this machine, from ``[probes.<name>]``."""

    kind: str
    options: Mapping[str, str]
    limit_s: float = LIMIT_S


@dataclass(frozen=True, slots=True)
class Kind:
    """``options`` it needs, ``may`` it can have."""

    options: tuple[str, ...]
    may: tuple[str, ...]
    ask: Callable[[Mapping[str, str], float], Said]


class Probes:
    """This machine's probes by name."""

    def __init__(self, settings: Mapping[str, ProbeSetting]) -> None:
        self._settings = settings
        self._deadlines = {name: Deadline() for name in settings}

    def ask(self, names: list[str]) -> tuple[Probe, ...]:
        """What each says; a name that is not set up here has no answer."""
        if not names:
            return ()
        with ThreadPoolExecutor(max_workers=min(len(names), 16)) as pool:
            return tuple(pool.map(self._one, names))

    def _one(self, name: str) -> Probe:
        setting = self._settings.get(name)
        if setting is None:
            return Probe(name, None, "not set up on this machine")
        found = self._deadlines[name].ask(lambda: _asked(setting), setting.limit_s)
        if found is None:
            return Probe(name, False, f"no answer within {setting.limit_s:g} s")
        return Probe(name, found[0], found[1][:DETAIL])


def problem_of(setting: ProbeSetting) -> str:
    """What is wrong with a probe's settings; empty: nothing."""
    kind = KINDS.get(setting.kind)
    if kind is None:
        return f"kind is one of {', '.join(KINDS)}"
    missing = [option for option in kind.options if not setting.options.get(option)]
    unknown = sorted(setting.options.keys() - {*kind.options, *kind.may})
    if missing or unknown:
        return f"a probe of kind {setting.kind} needs {', '.join(kind.options) or 'nothing'}" + (
            f" and knows no {', '.join(unknown)}" if unknown else ""
        )
    if not 0 < setting.limit_s <= MOST_LIMIT_S:
        return f"limit_s is between 0 and {MOST_LIMIT_S:g}"
    return ""


def _asked(setting: ProbeSetting) -> Said:
    try:
        return KINDS[setting.kind].ask(setting.options, setting.limit_s)
    except (OSError, ValueError) as problem:
        return False, str(problem) or type(problem).__name__


def _service(options: Mapping[str, str], limit_s: float) -> Said:
    if sys.platform == "win32":
        done = run(("sc", "query", options["unit"]), limit_s)
        return "RUNNING" in done.said, _last(done)
    done = run(("systemctl", "is-active", "--", options["unit"]), limit_s)
    return done.code == 0, _last(done)


def _process(options: Mapping[str, str], limit_s: float) -> Said:
    name = options["name"]
    if sys.platform == "win32":
        done = run(("tasklist", "/FI", f"IMAGENAME eq {name}", "/NH"), limit_s)
        return name.lower() in done.said.lower(), "" if done.code == 0 else _last(done)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        if words[0] and Path(words[0].decode(errors="replace")).name == name:
            return True, ""
    return False, f"no process {name}"


def _tcp(options: Mapping[str, str], limit_s: float) -> Said:
    host, _, port = options["address"].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), limit_s):
        return True, ""


def _http(options: Mapping[str, str], limit_s: float) -> Said:
    import http.client  # not for `early`, which is in every boot's way and asks no probe

    parts = urlsplit(options["url"])
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url is no http or https address")
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    line = make(parts.hostname, parts.port, timeout=limit_s)
    try:
        line.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        answer = line.getresponse()
        body = answer.read(MOST)
    except http.client.HTTPException as problem:
        return False, str(problem) or type(problem).__name__
    finally:
        line.close()
    if not 200 <= answer.status < 300:
        return False, f"answered {answer.status}"
    wanted = options.get("says", "")
    return wanted.encode() in body, "" if wanted.encode() in body else f"does not say {wanted!r}"


def _file(options: Mapping[str, str], _: float) -> Said:
    found = hashlib.sha256()
    with Path(options["path"]).open("rb") as file:
        while part := file.read(PART):
            found.update(part)
    good = found.hexdigest() == options["sha256"].lower()
    return good, "" if good else f"has sha256 {found.hexdigest()}"


def _disk(options: Mapping[str, str], _: float) -> Said:
    free_mb = shutil.disk_usage(options["path"]).free // 2**20
    return free_mb >= int(options["free_mb"]), f"{free_mb} MB are free"


def _clamd(options: Mapping[str, str], limit_s: float) -> Said:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(limit_s)
        line.connect(options.get("socket", CLAMD))
        line.sendall(b"zVERSION\0")
        found = b""
        while len(found) < DETAIL and (part := line.recv(DETAIL)):
            found += part
    said = found.rstrip(b"\0\n").decode(errors="replace")
    match = VERSION.match(said)
    return match is not None and int(match[1]) >= int(options.get("least", "0")), said


def _command(options: Mapping[str, str], limit_s: float) -> Said:
    done = run(shlex.split(options["command"]), limit_s)
    return done.code == 0, "" if done.code == 0 else _last(done)


def _last(done: Done) -> str:
    lines = done.said.strip().splitlines()
    return (lines[-1] if lines else f"exit {done.code}")[-DETAIL:]


KINDS: Mapping[str, Kind] = {
    "service": Kind(("unit",), (), _service),
    "tcp": Kind(("address",), (), _tcp),
    "http": Kind(("url",), ("says",), _http),
    "process": Kind(("name",), (), _process),
    "file": Kind(("path", "sha256"), (), _file),
    "disk": Kind(("path", "free_mb"), (), _disk),
    "clamd": Kind((), ("socket", "least"), _clamd),
    "command": Kind(("command",), (), _command),
}
