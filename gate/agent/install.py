"""Bytes onto the disk, each file checked against its manifest."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from gate.agent.errors import Untrusted
from gate.agent.http import Http
from gate.agent.metadata import Manifest
from gate.hookspecs import Announced, Placing

PART = 1 << 20


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
