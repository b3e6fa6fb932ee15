"""Source plugins, each call in a child process of its own, with limits; its answer is length-limited and checked.

- The child gets one JSON call on its standard input and answers one JSON object on its standard output. It has no
  keys, no database, an empty environment, and its spool as directory.
- Limits: wall time, CPU time, memory, file size, open files, answer size. Whatever dies, hangs, prints too much or
  answers something else is a ``SourceError``; the whole process group is ended.
- The child runs as this process's user: it is contained against faults, not against that user's rights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gate.core.errors import OperatorError, SourceError
from gate.hookspecs import Announced, Candidate, Discovered, Fetched, Source, SourceInfo, Verification

ANSWER = 8 * 1024 * 1024
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one call. Bytes and seconds."""

    wall_s: float = 60.0
    memory: int = 1024**3
    open_files: int = 128
    answer: int = ANSWER


class ChildPlugins:
    """Calls source plugins."""

    def __init__(self, spool: Path, limits: Limits | None = None, folders: Sequence[Path] = ()) -> None:
        self._spool = spool
        self._limits = limits or Limits()
        self._folders = [str(folder) for folder in folders]

    def describe(self, plugin: str) -> SourceInfo:
        """What a plugin is.

        Raises:
            SourceError
        """
        found = self._call(plugin, "gate_describe", {}, self._folder("describe"), 1)
        return _made(SourceInfo, {**found, "kinds": tuple(found.get("kinds", ()))})

    def discover(self, plugin: str, source: Source, cursor: str) -> Discovered:
        """The candidates that are complete now.

        Raises:
            SourceError
        """
        arguments = {"source": dataclasses.asdict(source), "cursor": cursor}
        found = self._call(plugin, "gate_discover", arguments, self._folder(source.name), 1)
        candidates = tuple(_candidate(one) for one in _list(found, "candidates"))
        skipped = tuple(str(one)[:300] for one in _list(found, "skipped")[:100])
        withdrawn = tuple(str(one)[:300] for one in _list({"withdrawn": [], **found}, "withdrawn")[:1000])
        return Discovered(candidates, str(found.get("cursor", ""))[:4000], skipped, withdrawn)

    def fetch(self, plugin: str, source: Source, candidate: Candidate) -> tuple[Path, tuple[Fetched, ...]]:
        """Brings the bytes into the spool and measures them again; returns the folder and what is in it.

        Raises:
            SourceError: also where the plugin says something else than what it wrote.
        """
        shutil.rmtree(self._spool / source.name / "fetched", ignore_errors=True)
        into = self._folder(source.name, "fetched")
        arguments = {
            "source": dataclasses.asdict(source),
            "candidate": dataclasses.asdict(candidate),
            "into": str(into),
        }
        said = self._call(plugin, "gate_fetch", arguments, into.parent, source.max_bytes)
        fetched = tuple(_made(Fetched, one) for one in _list(said, "answer"))
        for one in fetched:
            if one != measure(into, one.name):
                raise SourceError("source_lied", f"{one.name[:80]!r} is not what the plugin says it wrote")
        if {path.name for path in into.iterdir()} != {one.name for one in fetched}:
            raise SourceError("source_lied", "the spool holds other files than the plugin says")
        return into, fetched

    def verify(
        self, plugin: str, source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path
    ) -> Verification:
        """How far the bytes could be verified.

        Raises:
            SourceError
        """
        arguments = {
            "source": dataclasses.asdict(source),
            "candidate": dataclasses.asdict(candidate),
            "fetched": [dataclasses.asdict(one) for one in fetched],
            "into": str(into),
        }
        found = _made(Verification, self._call(plugin, "gate_verify", arguments, into.parent, 1))
        if found.trust not in ("vendor_signed", "digest_pinned", "unverified") or not isinstance(found.ok, bool):
            raise SourceError("source_failed", f"{plugin} answered a verification that is none")
        return found

    def tidy(self) -> None:
        """Removes what processes of this host that have ended left in their spools."""
        host, _, _ = self._spool.name.rpartition("-")
        for folder in self._spool.parent.glob(f"{host}-*"):
            pid = folder.name.rpartition("-")[2]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)

    def clean(self, source: str) -> None:
        """Empties a source's spool."""
        shutil.rmtree(self._spool / source, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._spool.rmdir()

    def _folder(self, *names: str) -> Path:
        folder = self._spool.joinpath(*names)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise OperatorError("no_spool", f"{folder} cannot be made: {problem.strerror}") from problem
        return folder

    def _call(
        self, plugin: str, hook: str, arguments: Mapping[str, Any], folder: Path, most_written: int
    ) -> dict[str, Any]:
        limits = self._limits
        call = {"plugin": plugin, "hook": hook, "arguments": arguments, "folders": self._folders}
        with tempfile.TemporaryFile() as question:
            question.write(json.dumps(call).encode())
            question.seek(0)
            child = subprocess.Popen(
                [sys.executable, "-I", "-m", "gate.adapters.plugin_child", json.dumps(_numbers(limits, most_written))],
                stdin=question,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=folder,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)},
                start_new_session=True,
                close_fds=True,
            )
        try:
            raw = _talk(child, limits)
        finally:
            _end(child)
        if raw is None:
            raise SourceError("source_failed", f"{plugin}.{hook} did not answer within {limits.wall_s:g} s")
        if child.returncode != 0 or len(raw) > limits.answer:
            raise SourceError("source_failed", f"{plugin}.{hook} died or answered too much ({child.returncode})")
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as problem:
            raise SourceError("source_failed", f"{plugin}.{hook} answered no JSON") from problem
        if not isinstance(found, dict):
            raise SourceError("source_failed", f"{plugin}.{hook} answered no object")
        if "problem" in found:
            raise SourceError("source_failed", f"{plugin}.{hook}: {str(found['problem'])[:400]}")
        return found


def measure(folder: Path, name: str) -> Fetched:
    """A file in the spool as it really is.

    Raises:
        SourceError: no plain file of that name.
    """
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise SourceError("source_lied", "a fetched name is a path")
    digest, length = hashlib.sha256(), 0
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as problem:
        raise SourceError("source_lied", f"{name[:80]!r} is not in the spool") from problem
    with os.fdopen(handle, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
            length += len(part)
    return Fetched(name, length, digest.hexdigest())


def _numbers(limits: Limits, most_written: int) -> dict[str, int]:
    return {
        "RLIMIT_AS": limits.memory,
        "RLIMIT_CPU": max(int(limits.wall_s), 1),
        "RLIMIT_FSIZE": most_written,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_CORE": 0,
    }


def _talk(child: subprocess.Popen[bytes], limits: Limits) -> bytes | None:
    """The answer, at most one byte more than allowed; None after the time is up."""
    assert child.stdout is not None
    until = time.monotonic() + limits.wall_s
    parts, length = [], 0
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while length <= limits.answer:
            left = until - time.monotonic()
            if left <= 0 or not selector.select(left):
                return None
            part = os.read(child.stdout.fileno(), 1 << 16)
            if not part:
                break
            parts.append(part)
            length += len(part)
    try:
        child.wait(max(until - time.monotonic(), 0.01) if length <= limits.answer else 0.01)
    except subprocess.TimeoutExpired:
        return None if length <= limits.answer else b"".join(parts)
    return b"".join(parts)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Ends the child and whatever it started, by its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    if child.stdout is not None:
        child.stdout.close()
    child.wait()


def apply_limits(numbers: Mapping[str, int]) -> None:
    """In the child: the limits that the parent wants."""
    for name, most in numbers.items():
        which = getattr(resource, name)
        _, hard = resource.getrlimit(which)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (wanted, wanted))


def _list(found: Mapping[str, Any], key: str) -> list[Any]:
    value = found.get(key)
    if not isinstance(value, list) or len(value) > 10_000:
        raise SourceError("source_failed", f"an answer without a list of {key}")
    return value


def _candidate(found: Any) -> Candidate:
    if not isinstance(found, dict):
        raise SourceError("source_failed", "a candidate that is none")
    artifacts = tuple(_made(Announced, one) for one in _list(found, "artifacts"))
    return _made(Candidate, {**found, "artifacts": artifacts})


def _made(shape: type[T], found: Any) -> T:
    """A frozen value from an answer; every text and number of the type that the shape says."""
    if not isinstance(found, dict):
        raise SourceError("source_failed", f"an answer that is no {shape.__name__}")
    wanted = {field.name: field for field in dataclasses.fields(shape)}  # type: ignore[arg-type]
    if not set(found) <= set(wanted):
        raise SourceError("source_failed", f"an answer with fields that no {shape.__name__} has")
    for name, value in found.items():
        kind = {"str": str, "int": int, "bool": bool}.get(str(wanted[name].type))
        if kind is not None and (type(value) is not kind or (kind is int and found[name] < 0)):
            raise SourceError("source_failed", f"{shape.__name__}.{name} is not {kind.__name__}")
        if isinstance(value, str) and len(value) > 4000:
            raise SourceError("source_failed", f"{shape.__name__}.{name} is too long")
    try:
        return shape(**found)
    except TypeError as problem:
        raise SourceError("source_failed", f"an answer that is no whole {shape.__name__}") from problem
