"""Source plugins, each call in a child process of its own, with limits; its answer is length-limited and checked.

- The child gets one JSON call on its standard input and answers one JSON object on its standard output. It has no
  keys, no database, an empty environment, and its spool as directory.
- Limits: wall time, CPU time, memory, file size, open files, answer size. Whatever dies, hangs, prints too much or
  answers something else is a ``SourceError``; the whole process group is ended.
- What a source keeps between calls (its own state, and downloads that go on later) lies in ``kept/<source>`` beside
  the spools; state that is larger than ``STATE`` is thrown away, and of downloads the oldest, until they are no more
  than the largest release of the source may be.
- The child runs as this process's user: it is contained against faults, not against that user's rights.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from gate.adapters import plugin_answers as read
from gate.adapters.plugin_answers import measure
from gate.adapters.plugin_nursery import Nursery
from gate.adapters.plugin_process import Limits, run
from gate.core.errors import OperatorError, SourceError
from gate.hookspecs import (
    Baseline,
    Candidate,
    Discovered,
    Fetched,
    Finding,
    Held,
    Observed,
    Published,
    RecallPlan,
    Receiver,
    Released,
    Served,
    Source,
    SourceInfo,
    Verification,
)
from gate.ports import SPARE

STATE = 64 * 1024 * 1024
STATE_FILE = 8 * 1024 * 1024
LEFT_S = 7 * 86400
SPARE_S = 5.0
"""So much before the child's end its network stops, so that it can still say what it has."""


@dataclass(frozen=True, slots=True)
class Network:
    """What the settings say of sources' network. ``per_second``: bytes; 0: as fast as it goes."""

    loopback: bool = False
    per_second: int = 0


class ChildPlugins:
    """Calls source plugins."""

    def __init__(
        self, spool: Path, limits: Limits | None = None, folders: Sequence[Path] = (), network: Network | None = None
    ) -> None:
        self._spool = spool
        self._limits = limits or Limits()
        self._folders = [str(folder) for folder in folders]
        self._network = network or Network()
        self._nursery = Nursery()

    def describe(self, plugin: str) -> SourceInfo:
        """What a plugin is.

        Raises:
            SourceError
        """
        return read.info(self._call(plugin, "gate_describe", {}, self._folder("describe"), 1))

    def hooks(self, plugin: str) -> tuple[str, ...]:
        """The hooks of the gate's side that a plugin has."""
        return read.texts(self._call(plugin, "gate_describe", {}, self._folder("describe"), 1), "hooks")

    def discover(self, plugin: str, source: Source, cursor: str) -> Discovered:
        """The candidates that are complete now.

        Raises:
            SourceError
        """
        arguments = {"source": dataclasses.asdict(source), "cursor": cursor}
        return read.discovered(self._needed(plugin, "gate_discover", arguments, self._folder(source.name), STATE_FILE))

    def fetch(self, plugin: str, source: Source, candidate: Candidate) -> tuple[Path, tuple[Fetched, ...]]:
        """Brings the bytes into the spool and measures them again; returns the folder and what is in it.

        Raises:
            SourceError: also where the plugin says something else than what it wrote.
        """
        shutil.rmtree(self._spool / source.name / "fetched", ignore_errors=True)
        into = self._folder(source.name, "fetched")
        if not candidate.artifacts:
            return into, ()
        arguments = {**_of(source, candidate), "into": str(into)}
        said = self._needed(plugin, "gate_fetch", arguments, into.parent, source.max_bytes)
        fetched = tuple(read.made(Fetched, one) for one in read.many(said, "answer"))
        for one in fetched:
            if one != measure(into, one.name):
                raise SourceError("source_lied", f"{one.name[:80]!r} is not what the plugin says it wrote")
        if sorted(path.name for path in into.iterdir()) != sorted(one.name for one in fetched):
            raise SourceError("source_lied", "the spool holds other files than the plugin says")
        if sum(one.length for one in fetched) > source.max_bytes:
            raise SourceError("source_failed", f"more than {source.max_bytes} bytes")
        return into, fetched

    def verify(
        self, plugin: str, source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path
    ) -> Verification:
        """How far the bytes could be verified; a plugin without that hook leaves it to the announced digests, and what
        is not as announced no plugin's word makes good.

        Raises:
            SourceError
        """
        arguments = {**_of(source, candidate, fetched), "into": str(into)}
        found = self._call(plugin, "gate_verify", arguments, into.parent, 1)
        by_digests = _by_digests(candidate, fetched)
        said = by_digests if "missing" in found else read.verification(found)
        return said if by_digests.ok or not said.ok else by_digests

    def lint(
        self,
        plugin: str,
        source: Source,
        candidate: Candidate,
        fetched: Sequence[Fetched],
        into: Path,
        baseline: Baseline | None,
    ) -> tuple[Finding, ...]:
        """What is wrong with the content; nothing where the plugin does not look.

        Raises:
            SourceError
        """
        arguments = {**_of(source, candidate, fetched), "into": str(into), "baseline": _plain(baseline)}
        found = self._call(plugin, "gate_lint", arguments, into.parent, source.max_bytes)
        return () if "missing" in found else read.findings(found)

    def order(self, plugin: str, source: Source, pairs: Sequence[tuple[str, str]]) -> list[int] | None:
        """-1, 0 or 1 for each pair of versions, in one call; None: the plugin knows no order.

        Raises:
            SourceError
        """
        if not pairs:
            return []
        arguments = {"source": dataclasses.asdict(source), "pairs": pairs}
        found = self._call(plugin, "gate_order", arguments, self._folder(source.name), 1)
        if "missing" in found:
            return None
        said = read.many(found, "answer")
        if None in said:
            return None
        if len(said) != len(pairs) or not all(type(one) is int and one in (-1, 0, 1) for one in said):
            raise SourceError("source_failed", f"{plugin}.gate_order did not answer -1, 0 or 1")
        return said

    def recall_plan(self, plugin: str, source: Source, ring: str, bad: str, good: str) -> RecallPlan:
        """How machines get from a bad release to a good one; by hand where the plugin does not say.

        Raises:
            SourceError
        """
        arguments = {"source": dataclasses.asdict(source), "ring": ring, "bad": bad, "good": good}
        found = self._call(plugin, "gate_recall_plan", arguments, self._folder(source.name), 1)
        return RecallPlan("none", (), False) if "missing" in found else read.recall_plan(found)

    def serve(
        self, plugin: str, source: Source, ring: str, release: Released, at: datetime
    ) -> tuple[Path, Served | None]:
        """What a client sees of a release, and the folder with the files that were made for it; None: the plugin lays
        nothing out, and each artifact is served under its own name.

        Raises:
            SourceError
        """
        shutil.rmtree(self._spool / ".served" / source.name, ignore_errors=True)  # a look at the source may go on
        into = self._folder(".served", source.name)
        arguments = {
            "source": dataclasses.asdict(source),
            "ring": ring,
            "release": _plain(release),
            "at": at.isoformat(),
            "into": str(into),
        }
        found = self._call(plugin, "gate_serve", arguments, into.parent, source.max_bytes)
        if "nothing" in found:
            return into, Served(())
        return into, None if "missing" in found else read.served(found, into, release.files)

    def publish(
        self, plugin: str, source: Source, ring: str, release: Released | None, machines: Sequence[Receiver]
    ) -> Published:
        """Lets these machines take a release at the vendor; whom it does not name is not done.

        Raises:
            SourceError: also where it names a machine that it was not asked about.
        """
        arguments = {
            "source": dataclasses.asdict(source),
            "ring": ring,
            "release": _plain(release),
            "machines": [_plain(one) for one in machines],
        }
        done = read.published(self._needed(plugin, "gate_publish", arguments, self._lever(source.name), STATE_FILE))
        if not set(done.machines) <= {one.machine for one in machines}:
            raise SourceError("source_lied", f"{plugin}.gate_publish names machines that it was not asked about")
        return done

    def hold(self, plugin: str, source: Source, ring: str, reason: str) -> Held:
        """Stops the spread at the vendor.

        Raises:
            SourceError
        """
        arguments = {"source": dataclasses.asdict(source), "ring": ring, "reason": reason}
        return read.made(Held, self._needed(plugin, "gate_hold", arguments, self._lever(source.name), STATE_FILE))

    def observed(
        self, plugin: str, source: Source, reports: Sequence[tuple[Receiver, str]]
    ) -> list[Observed | None] | None:
        """What machines really run, in one call; None where the plugin has no such hook.

        Raises:
            SourceError
        """
        asked = [(_plain(machine), report) for machine, report in reports]
        arguments = {"source": dataclasses.asdict(source), "reports": asked}
        found = self._call(plugin, "gate_observed", arguments, self._lever(source.name), STATE_FILE)
        if "missing" in found:
            return None
        said = read.many(found, "answer")
        if len(said) != len(reports):
            raise SourceError("source_failed", f"{plugin}.gate_observed did not answer for each machine")
        return [None if one is None else read.made(Observed, one) for one in said]

    def loading(self, source: str) -> list[str]:
        """The downloads of a source that are on their way, each as a sentence."""
        found = []
        for note in sorted((self._spool.parent / "kept" / source / "parts").glob("*.json")):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                said, have = json.loads(note.read_bytes()), note.with_suffix("").stat().st_size
                found.append(f"{have} of {said['length'] or '?'} bytes of {str(said['url']).partition('?')[0][:200]}")
        return found

    def tidy(self) -> None:
        """Removes what processes of this host that have ended left in their spools, and downloads that nobody goes on
        with."""
        for part in self._spool.parent.glob("kept/*/parts/*"):
            with contextlib.suppress(FileNotFoundError):  # a look goes on beside this
                if time.time() - part.stat().st_mtime > LEFT_S:
                    part.unlink()
        host, _, _ = self._spool.name.rpartition("-")
        for folder in self._spool.parent.glob(f"{host}-*"):
            pid = folder.name.rpartition("-")[2]
            if pid.isdigit() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(folder, ignore_errors=True)

    def taken(self, source: str) -> int:
        """Bytes of what a source keeps between calls, downloads on their way among it."""
        return _size(self._spool.parent / "kept" / source)

    def clean(self, source: str) -> None:
        """Empties a source's spool."""
        shutil.rmtree(self._spool / source, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._spool.rmdir()

    def _lever(self, source: str) -> Path:
        """Not the spool of a look at the source, which may go on beside it."""
        return self._folder(".lever", source)

    def _folder(self, *names: str) -> Path:
        return _made_folder(self._spool.joinpath(*names))

    def _kept(self, source: str, part: str) -> Path:
        return _made_folder(self._spool.parent / "kept" / source / part)

    def _needed(
        self, plugin: str, hook: str, arguments: Mapping[str, Any], folder: Path, most_written: int
    ) -> dict[str, Any]:
        found = self._call(plugin, hook, arguments, folder, most_written)
        if "missing" in found:
            raise SourceError("source_failed", f"{plugin} has no {hook}")
        return found

    def _call(
        self, plugin: str, hook: str, arguments: Mapping[str, Any], folder: Path, most_written: int
    ) -> dict[str, Any]:
        limits = self._limits
        name = arguments["source"]["name"] if "source" in arguments else "describe"
        state, parts = self._kept(name, "state"), self._kept(name, "parts")
        io = {
            "state": str(state),
            "parts": str(parts),
            "spare": SPARE,
            "seconds": max(limits.wall_s - SPARE_S, limits.wall_s / 2),
            "loopback": self._network.loopback,
            "per_second": self._network.per_second,
        }
        call = {"plugin": plugin, "hook": hook, "arguments": arguments, "folders": self._folders, "io": io}
        try:
            return read.object_of(run(self._nursery, call, folder, limits, most_written), f"{plugin}.{hook}")
        finally:
            _bounded(state)
            if "source" in arguments:
                _oldest_out(parts, arguments["source"]["max_bytes"])


def _made_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OperatorError("no_spool", f"{folder} cannot be made: {problem.strerror}") from problem
    return folder


def _bounded(state: Path) -> None:
    if _size(state) > STATE:
        shutil.rmtree(state, ignore_errors=True)


def _size(folder: Path) -> int:
    size = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # another call's, renamed or gone meanwhile
            found = file.lstat()
            size += 0 if stat.S_ISDIR(found.st_mode) else found.st_size
    return size


def _oldest_out(parts: Path, most: int) -> None:
    """The one that a call goes on with was written last."""
    found = []
    for part in parts.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if not part.suffix:
                found.append((part.stat().st_mtime, part.stat().st_size, part))
    for _, size, part in sorted(found, reverse=True):
        most -= size
        if most < 0:
            part.unlink(missing_ok=True)
            part.with_suffix(".json").unlink(missing_ok=True)


def _of(source: Source, candidate: Candidate, fetched: Sequence[Fetched] | None = None) -> dict[str, Any]:
    found = {"source": dataclasses.asdict(source), "candidate": dataclasses.asdict(candidate)}
    return found if fetched is None else {**found, "fetched": [dataclasses.asdict(one) for one in fetched]}


def _plain(value: Baseline | Released | Receiver | None) -> dict[str, Any] | None:
    if value is None:
        return None
    found: dict[str, Any] = dataclasses.asdict(value)
    if not isinstance(value, Receiver):
        found["files"] = {name: str(path) for name, path in value.files.items()}
    return found


def _by_digests(candidate: Candidate, fetched: Sequence[Fetched]) -> Verification:
    announced = {one.name: one for one in candidate.artifacts}
    for one in fetched:
        said = announced.get(one.name)
        if said is not None and said.sha256 and (said.length, said.sha256) != (one.length, one.sha256):
            return Verification("unverified", False, detail=f"{one.name} is not what was announced")
    pinned = {one.name for one in candidate.artifacts if one.sha256} == {one.name for one in fetched}
    return Verification("digest_pinned" if pinned else "unverified", True)
