"""Bytes onto the disk, each file checked against its manifest; never so many that the disk is full."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from gate.agent.errors import NoRoom, Untrusted
from gate.agent.http import Http
from gate.agent.metadata import Manifest
from gate.hookspecs import Announced, Placing

PART = 1 << 20
KEPT_FREE = 64 << 20
"""Bytes that stay free: a full disk stops a till, and keeps the agent from writing down what it does."""


def fetch(http: Http, manifest: Manifest, digest: str, spool: Path) -> Placing:
    """Downloads a release's artifacts into ``spool``, each checked against the manifest.

    Raises:
        Unreachable: the gate went away; what was loaded stays for the next try.
        Untrusted: bytes that are not those of the manifest; they are thrown away.
        NoRoom: the disk would be full. OSError: it refuses.
    """
    folder = spool / digest
    folder.mkdir(parents=True, exist_ok=True)
    _room(manifest, folder)
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


def _room(manifest: Manifest, folder: Path) -> None:
    """Twice the size, since a plugin makes its own copy; it is not asked where: that disk may hang."""
    whole, have = (
        sum(length for _, length, _ in manifest.artifacts),
        sum(one.stat().st_size for one in folder.iterdir()),
    )
    need, free = max(2 * whole - have, 0), shutil.disk_usage(folder).free
    if free - need < KEPT_FREE:
        raise NoRoom(f"there is no room for it: {need >> 20} MB more, and {free >> 20} MB are free")


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(PART):
            digest.update(part)
    return digest.hexdigest()
