"""A drop folder as source.

- A drop is one folder: its files, ``manifest.json``, and ``READY``, created last and atomically. Without ``READY`` it
  is half-written and left alone.
- ``manifest.json`` is ``{"version": "...", "files": [{"name", "length", "sha256"}]}``; no other keys.
- A drop that also holds ``WITHDRAWN`` has been taken back by its vendor; its files need not be there any more.
- A name is one plain file name: no path, no leading dot, no control characters. Links are refused everywhere.
- The size cap counts announced and real bytes.

Option ``folder``: where the drops lie.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate.hookspecs import (
    Announced,
    Candidate,
    Discovered,
    Fetched,
    Option,
    RecallPlan,
    Source,
    SourceInfo,
    Verification,
    hookimpl,
)

NAME = re.compile(r"[^/\\\x00-\x1f\x7f.][^/\\\x00-\x1f\x7f]{0,199}\Z")
UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
DIGEST = re.compile(r"[0-9a-f]{64}\Z")
MAX_MANIFEST = 1024 * 1024
MAX_FILES = 10_000
PART = 1 << 20


class BadDrop(Exception):
    """A drop that cannot be taken, with the reason."""


@hookimpl
def gate_describe() -> SourceInfo:
    """A folder, any kind of content, held by the agent."""
    kinds = ("content", "sensor", "os", "rules", "binary", "engine", "price", "any")
    options = {"folder": Option("where the drops lie", required=True)}
    return SourceInfo("directory", "held", kinds, options, why="an agent of ours installs")


@hookimpl
def gate_discover(source: Source, cursor: str) -> Discovered:
    """Every drop with READY, oldest READY first; a bad one is skipped with its reason."""
    folder = Path(source.options["folder"])
    found, skipped, withdrawn = [], [], []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        try:
            ready = entry / "READY"
            if entry.is_symlink():
                raise BadDrop("is a link")
            if not entry.is_dir() or not ready.exists():
                continue
            if (entry / "WITHDRAWN").exists():
                withdrawn.append(_manifest(source, entry).version)
                continue
            found.append((ready.lstat().st_mtime_ns, entry.name, _candidate(source, entry)))
        except (BadDrop, OSError) as problem:
            skipped.append(f"{entry.name[:100]!r}: {problem}")
    found.sort(key=lambda one: one[:2])
    return Discovered(tuple(candidate for _, _, candidate in found), "", tuple(skipped[:100]), tuple(withdrawn))


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path) -> Sequence[Fetched]:
    """Copies the announced files and measures what was copied."""
    drop = Path(source.options["folder"]) / candidate.where
    if drop.is_symlink():
        raise BadDrop("is a link")
    left = source.max_bytes
    fetched = []
    for artifact in candidate.artifacts:
        one = _copy(drop / artifact.name, into / artifact.name, min(left, artifact.length))
        left -= one.length
        fetched.append(one)
    return fetched


@hookimpl
def gate_verify(source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
    """The bytes are those that the drop's manifest lists."""
    announced = {artifact.name: artifact for artifact in candidate.artifacts}
    for one in fetched:
        said = announced.get(one.name)
        if said is None or (said.length, said.sha256) != (one.length, one.sha256):
            return Verification("unverified", False, detail=f"{one.name} is not what manifest.json lists")
    if len(fetched) != len(announced):
        return Verification("unverified", False, detail="a listed file is missing")
    return Verification("digest_pinned", True)


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """The agent keeps the release before, and swaps one link."""
    return RecallPlan("agent_purge", ("The agent moves its link back to the release before.",), True)


def _manifest(source: Source, drop: Path) -> Candidate:
    with os.fdopen(_plain(drop / "manifest.json", keep=True), "rb") as file:
        return read_manifest(file.read(MAX_MANIFEST + 1), drop.name, source.max_bytes)


def _candidate(source: Source, drop: Path) -> Candidate:
    candidate = _manifest(source, drop)
    for artifact in candidate.artifacts:
        _plain(drop / artifact.name)
    return candidate


def read_manifest(raw: bytes, where: str, max_bytes: int) -> Candidate:
    """What a drop's manifest announces.

    Raises:
        BadDrop: with the reason.
    """
    found = _object(raw)
    version, files = found.get("version"), found.get("files")
    if set(found) != {"version", "files"} or not isinstance(version, str) or not isinstance(files, list):
        raise BadDrop("manifest.json is not {version, files}")
    if not 1 <= len(version) <= 128 or UNSTORABLE.search(version):
        raise BadDrop("version is empty, too long or has control characters")
    if not 1 <= len(files) <= MAX_FILES:
        raise BadDrop(f"manifest.json lists {len(files)} files")
    artifacts = tuple(_announced(file) for file in files)
    names = [artifact.name for artifact in artifacts]
    if len({name.casefold() for name in names}) != len(names):
        raise BadDrop("a name is listed twice")
    if sum(artifact.length for artifact in artifacts) > max_bytes:
        raise BadDrop(f"larger than {max_bytes} bytes")
    return Candidate(version, artifacts, where)


def _object(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_MANIFEST:
        raise BadDrop("manifest.json is too large")
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise BadDrop("manifest.json is not JSON") from problem
    if not isinstance(found, dict):
        raise BadDrop("manifest.json is not an object")
    return found


def _announced(file: Any) -> Announced:
    if not isinstance(file, dict) or set(file) != {"name", "length", "sha256"}:
        raise BadDrop("a file is not {name, length, sha256}")
    name, length, digest = file["name"], file["length"], file["sha256"]
    if (
        not isinstance(name, str)
        or not NAME.match(name)
        or UNSTORABLE.search(name)
        or name in ("READY", "WITHDRAWN", "manifest.json")
    ):
        raise BadDrop(f"{str(name)[:80]!r} is not a plain file name")
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise BadDrop(f"{name}: length is not a number of bytes")
    if not isinstance(digest, str) or not DIGEST.match(digest):
        raise BadDrop(f"{name}: sha256 is not 64 lower case hex digits")
    return Announced(name, length, digest)


def _plain(path: Path, *, keep: bool = False) -> int:
    """Opens a regular file, never through a link; returns the handle where it is kept, else -1."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise BadDrop(f"{path.name} is missing, a link or not readable") from problem
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise BadDrop(f"{path.name} is not a plain file")
    if keep:
        return handle
    os.close(handle)
    return -1


def _copy(path: Path, to: Path, most: int) -> Fetched:
    digest, length = hashlib.sha256(), 0
    with os.fdopen(_plain(path, keep=True), "rb") as source, to.open("xb") as copy:
        while part := source.read(PART):
            length += len(part)
            if length > most:
                raise BadDrop(f"{path.name} is larger than announced")
            digest.update(part)
            copy.write(part)
    return Fetched(to.name, length, digest.hexdigest())
