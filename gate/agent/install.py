"""Bytes onto the disk, checked, and into the hands of a plugin; whatever a plugin raises is an answer, not a crash."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from gate import hookspecs
from gate.agent.errors import Misuse, Untrusted
from gate.agent.http import Http
from gate.agent.metadata import Manifest
from gate.hookspecs import Announced, Placed, Placing, Probed, ProbeResult, Target

PART = 1 << 20


class Plugin:
    """One source's plugin on this machine.

    Raises:
        Misuse: there is no such plugin.
    """

    def __init__(self, name: str, target: Target) -> None:
        try:
            self._hooks = hookspecs.load(name, "agent")
        except LookupError as problem:
            raise Misuse(str(problem)) from problem
        self._target = target

    def install(self, placing: Placing) -> Placed:
        """Puts a release in place; an exception is a failed installation."""
        try:
            placed = hookspecs.call(self._hooks, "gate_agent_install", Placed, target=self._target, placing=placing)
        except Exception as problem:  # noqa: BLE001  (the plugin's edge: whatever it raises is its answer)
            return Placed(False, "", _said(problem))
        assert isinstance(placed, Placed)
        return placed

    def rollback(self, release: str, good: str) -> Placed:
        """Goes back; an exception is a failed rollback."""
        try:
            placed = hookspecs.call(
                self._hooks, "gate_agent_rollback", Placed, target=self._target, release=release, good=good
            )
        except Exception as problem:  # noqa: BLE001  (as above)
            return Placed(False, release, _said(problem))
        assert isinstance(placed, Placed)
        return placed

    def probe(self) -> Probed:
        """What is in place and whether it works; an exception is a bad probe."""
        try:
            probed = hookspecs.call(self._hooks, "gate_agent_probe", Probed, target=self._target)
        except Exception as problem:  # noqa: BLE001  (as above)
            return Probed("", (ProbeResult("probe", False, _said(problem)),))
        assert isinstance(probed, Probed)
        return probed


def fetch(http: Http, manifest: Manifest, digest: str, spool: Path) -> Placing:
    """Downloads a release's artifacts into ``spool``, each checked against the manifest.

    Raises:
        Unreachable: the gate went away; what was loaded stays for the next try.
        Untrusted: bytes that are not those of the manifest; they are thrown away.
    """
    folder = spool / digest
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for index, (name, length, sha256) in enumerate(manifest.artifacts):
        path = folder / f"{index}-{sha256[:16]}"
        http.download(f"/content/blobs/{sha256}", path, length)
        if _digest(path) != sha256:
            path.unlink()
            raise Untrusted(f"{name} is not what the manifest lists")
        files[name] = path
    announced = tuple(Announced(*artifact) for artifact in manifest.artifacts)
    return Placing(digest, manifest.version, announced, files)


def forget(spool: Path) -> None:
    """Throws the spool away."""
    shutil.rmtree(spool, ignore_errors=True)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()


def _said(problem: Exception) -> str:
    return f"{type(problem).__name__}: {problem}"[:500]
