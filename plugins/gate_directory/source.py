"""A drop folder as source.

- A drop is one folder: its files, ``manifest.json``, and ``READY``, created last and atomically. Without ``READY`` it
  is half-written and left alone, and so is one of which a file has not the announced length yet.
- A drop that also holds ``WITHDRAWN`` has been taken back by its vendor; its files need not be there any more.
- Links are refused everywhere. The size cap counts announced and real bytes.
- With a public key of minisign, ``manifest.json.minisig`` must be its owner's signature over ``manifest.json``, which
  names version, files and digests: nothing else of a drop needs one. A withdrawal needs none: anybody may stop.
- A look lists the drops and reads none, where no good one has changed since the look before. Bad ones are always read.
- A share that was mounted, is not, and has left an empty folder is a failed look, not one without drops.

Options: see ``gate_describe``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gate.hookspecs import (
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
from gate_directory import minisign, orders
from gate_directory.drops import (
    MANIFEST,
    MAX_MANIFEST,
    READY,
    SIGNATURE,
    WITHDRAWN,
    BadDrop,
    Seen,
    mounted,
    plain,
    read_manifest,
    said,
    seen,
)

PART = 1 << 20
TOLD = 100
CURSOR = 4000
OPTIONS = {
    "folder": Option("where the drops lie", required=True),
    "order": orders.OPTION,
    "minisign": Option("the public key (RW...) that must have signed each manifest.json, with minisign"),
}


@dataclass(slots=True)
class Looked:
    """What some drops are: candidates by (time of READY, name), the bad ones with their reason, versions taken back."""

    found: list[tuple[int, str, Candidate]] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    withdrawn: list[str] = field(default_factory=list)

    @property
    def skipped(self) -> tuple[str, ...]:
        """A sentence for each bad one."""
        return tuple(f"{name[:100]!r}: {why}" for name, why in list(self.bad.items())[:TOLD])


@hookimpl
def gate_describe() -> SourceInfo:
    """A folder, any kind of content, held by the agent."""
    kinds = ("content", "sensor", "os", "rules", "binary", "engine", "price", "any")
    return SourceInfo("directory", "held", kinds, OPTIONS, why="an agent of ours installs")


@hookimpl
def gate_discover(source: Source, cursor: str) -> Discovered:
    """Every drop with READY, oldest READY first; a bad one is skipped with its reason."""
    folder = Path(source.options["folder"])
    if source.options.get("minisign"):
        minisign.read_key(source.options["minisign"])
    before = json.loads(cursor) if cursor else {}
    drops = [drop for drop in seen(folder) if drop.complete]
    on_share = mounted(folder)
    if not drops and before.get("mounted") and not on_share:
        raise BadDrop(f"{folder} is empty, and the share that was mounted there is not: mount it again")
    doubtful = {drop.name for drop in drops if drop.problem or WITHDRAWN in drop.files} | set(before.get("bad", ()))
    looked = _looked(source, [drop for drop in drops if drop.name in doubtful])
    others = [drop for drop in drops if drop.name not in doubtful]
    mark = _mark(source, others)
    same = not looked.found and before.get("seen") == mark
    if not same:
        looked = _looked(source, drops)
        good = {name for _, name, _ in looked.found}
        mark = _mark(source, [drop for drop in drops if drop.name in good])
    told = json.dumps({"seen": mark, "bad": sorted(looked.bad), "mounted": on_share})
    if len(told) > CURSOR:
        told = json.dumps({"mounted": on_share})
    candidates = tuple(candidate for _, _, candidate in sorted(looked.found, key=lambda one: one[:2]))
    return Discovered(candidates, told, looked.skipped, tuple(looked.withdrawn), unchanged=same)


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path) -> Sequence[Fetched]:
    """Copies the announced files and measures what was copied."""
    drop = Path(source.options["folder"]) / _name(candidate)
    if drop.is_symlink():
        raise BadDrop("is a link")
    left = source.max_bytes
    fetched = []
    for artifact in candidate.artifacts:
        try:
            one = _copy(drop / artifact.name, into / artifact.name, min(left, artifact.length))
        except OSError as problem:
            raise BadDrop(f"{artifact.name}: {said(problem)}") from problem
        left -= one.length
        fetched.append(one)
    return fetched


@hookimpl
def gate_verify(source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
    """The bytes are those that the drop's manifest lists, and with a key its owner has signed that manifest."""
    announced = {artifact.name: artifact for artifact in candidate.artifacts}
    for one in fetched:
        listed = announced.get(one.name)
        if listed is None or (listed.length, listed.sha256) != (one.length, one.sha256):
            return Verification("unverified", False, detail=f"{one.name} is not what manifest.json lists")
    if len(fetched) != len(announced):
        return Verification("unverified", False, detail="a listed file is missing")
    if not source.options.get("minisign"):
        return Verification("digest_pinned", True)
    try:
        signed, signer = _manifest(source, _name(candidate), signed=True)
    except BadDrop as problem:
        return Verification("unverified", False, detail=str(problem))
    if replace(signed, where=candidate.where) != candidate:
        return Verification("unverified", False, detail="manifest.json has changed since it was looked at")
    return Verification("vendor_signed", True, signer)


@hookimpl
def gate_order(source: Source, a: str, b: str) -> int | None:
    """By option ``order``; without it a drop is newer than what was seen before it."""
    return orders.compared(source.options.get("order", ""), a, b)


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """The agent keeps the release before, and swaps one link."""
    if not good:
        return RecallPlan("agent_purge", ("There is no release before: the agent removes its link.",), True)
    return RecallPlan("agent_purge", ("The agent moves its link back to the release before.",), True)


def _mark(source: Source, drops: Iterable[Seen]) -> str:
    """Of all that a candidate depends on, as it is listed."""
    parts = [
        sorted(source.options.items()),
        source.max_bytes,
        [(drop.name, sorted(drop.files.items())) for drop in drops],
    ]
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _looked(source: Source, drops: Iterable[Seen]) -> Looked:
    found = Looked()
    for drop in drops:
        try:
            if drop.problem:
                raise BadDrop(drop.problem)
            if WITHDRAWN in drop.files:
                found.withdrawn.append(_manifest(source, drop.name, signed=False)[0].version)
            else:
                found.found.append((drop.files[READY][2], drop.name, _candidate(source, drop)))
        except (BadDrop, OSError) as problem:
            found.bad[drop.name] = said(problem) if isinstance(problem, OSError) else str(problem)
    return found


def _candidate(source: Source, drop: Seen) -> Candidate:
    candidate, _ = _manifest(source, drop.name, signed=bool(source.options.get("minisign")))
    for artifact in candidate.artifacts:
        plain(Path(source.options["folder"]) / drop.name / artifact.name)
        has = drop.files[artifact.name][1] if artifact.name in drop.files else 0
        if has != artifact.length:
            raise BadDrop(f"{artifact.name} has {has} of {artifact.length} bytes: perhaps it is still being copied")
    return replace(candidate, where=f"{drop.name}/{_mark(source, [drop])[:16]}")


def _name(candidate: Candidate) -> str:
    """The drop's folder. Behind it stands what its files were like, so that mended bytes are another candidate."""
    return candidate.where.partition("/")[0]


def _manifest(source: Source, name: str, *, signed: bool) -> tuple[Candidate, str]:
    """What a drop announces, and who has signed it."""
    drop, signer = Path(source.options["folder"]) / name, ""
    raw = _read(drop / MANIFEST, MAX_MANIFEST)
    if signed:
        key = minisign.read_key(source.options["minisign"])
        try:
            comment = minisign.check(raw, _read(drop / SIGNATURE, minisign.MOST), key)
        except minisign.BadSignature as problem:
            raise BadDrop(f"{SIGNATURE} {problem}") from problem
        signer = f"minisign {key.number}: {comment}"[:200]
    return read_manifest(raw, name, source.max_bytes), signer


def _read(path: Path, most: int) -> bytes:
    with os.fdopen(plain(path, keep=True), "rb") as file:
        return file.read(most + 1)


def _copy(path: Path, to: Path, most: int) -> Fetched:
    digest, length = hashlib.sha256(), 0
    with os.fdopen(plain(path, keep=True), "rb") as source, to.open("xb") as copy:
        while part := source.read(PART):
            length += len(part)
            if length > most:
                raise BadDrop(f"{path.name} is larger than announced")
            digest.update(part)
            copy.write(part)
    return Fetched(to.name, length, digest.hexdigest())
