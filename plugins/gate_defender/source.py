"""Security intelligence of Microsoft Defender, as shares and the Linux mirror have it, or from Microsoft itself.

- A release is one definition version, four numbers that are compared as numbers: 1.9.0.0 is older than 1.10.0.0.
- ``folder`` is what a feeder fills (Microsoft's scripts do), in one of three layouts, and is served in the same:
  ``share`` (``x64/mpam-fe.exe``, perhaps ``x86`` and ``arm64`` beside it), ``vdi`` (the newest folder
  ``{00000000-0000-0000-0000-yyMMddHHmmss}``), ``linux`` (``linux/production/arch_*/`` with ``updates.zip`` and
  ``manifest.json``). What is younger than a minute is still being written and left alone.
- ``info`` and ``package`` are Microsoft's addresses of the version (``action=info``, XML) and of the package.
- A package's version is that of its version resource; a Linux tree's that of ``manifest.json``. Where several
  architectures do not agree, or a package is not the announced version, it is not taken.
- ``authority`` is a file of certificates, checked by people: each package must be signed by somebody whom they vouch
  for. Without it a folder is *digest_pinned* and the network *unverified*.
- Lint: half of a file gone since the release before is refused; another engine is a note, for it is a program.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gate.hookspecs import (
    Announced,
    Baseline,
    Candidate,
    Discovered,
    Fetched,
    Finding,
    Io,
    Observed,
    Option,
    RecallPlan,
    Receiver,
    Released,
    Served,
    ServedFile,
    Source,
    SourceInfo,
    Verification,
    hookimpl,
)
from gate_defender import package, reports

VERSION = re.compile(r"\d{1,9}\.\d{1,9}\.\d{1,9}\.\d{1,9}\Z", re.ASCII)
SAID = re.compile(rb"<(engine|signatures)(?:\s[^<>]{0,300})?>\s*(\d{1,9}(?:\.\d{1,9}){3})\s*</\1>")
VDI = re.compile(r"\{00000000-0000-0000-0000-\d{10,12}\}\Z", re.ASCII)
ARCHITECTURES = {"share": ("x64", "x86", "arm64"), "linux": ("arch_x86_64", "arch_arm_64")}
BELOW = {"share": "", "vdi": "", "linux": "linux/production/"}
PACKAGE, MANIFEST = "mpam-fe.exe", "manifest.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,120}\Z", re.ASCII)
SETTLED_S = 60.0
HALF = 0.5
MOST_FILES = 60
SMALL = 64 * 1024
PART = 1 << 20
WHY = "clients take it from their own address; where they may fall back to Microsoft it is no more than advised"
OPTIONS = {
    "folder": Option("a local folder that a feeder fills; this, or info and package"),
    "info": Option("Microsoft's address of the newest version, with action=info"),
    "package": Option("Microsoft's address of mpam-fe.exe for arch"),
    "arch": Option("of package; x64 if not said", choices=("x64", "x86", "arm64")),
    "layout": Option("what folder holds and clients are served; share if not said", choices=("share", "vdi", "linux")),
    "authority": Option("a file of certificates (PEM) that must vouch for whoever signed a package"),
}


class BadTree(Exception):
    """What lies there cannot be taken, with the reason."""


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    path: Path


@hookimpl
def gate_describe() -> SourceInfo:
    """Held, where machines know no other place."""
    return SourceInfo("defender", "held", ("content",), OPTIONS, why=WHY)


@hookimpl
def gate_discover(source: Source, cursor: str, io: Io) -> Discovered:
    """The newest version there is; each kind of place has no other."""
    if "folder" not in source.options:
        return _announced(source, io)
    try:
        files = list(_files(source))
        if not files or _unsettled(files, io.now()):
            return Discovered((), cursor)
        version = _version(source, files)
    except BadTree as problem:
        return Discovered((), cursor, (str(problem),))
    measured = tuple(_measured(one, io.state) for one in files)
    return Discovered((Candidate(version, measured, version),), cursor)


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path, io: Io) -> Sequence[Fetched]:
    """Copies what was announced, or downloads the package."""
    if "folder" not in source.options:
        (one,) = candidate.artifacts
        return [io.http.download(source.options["package"], into / one.name, most=source.max_bytes)]
    here = {one.name: one.path for one in _files(source)}
    fetched = []
    for announced in candidate.artifacts:
        if announced.name not in here:
            raise BadTree(f"{announced.name} is there no more")
        shutil.copyfile(here[announced.name], into / announced.name, follow_symlinks=False)
        fetched.append(_digest(into / announced.name))
    return fetched


@hookimpl
def gate_verify(source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
    """The announced digests, the version inside, and a signature where people say whose."""
    told = {one.name: (one.length, one.sha256) for one in candidate.artifacts}
    for one in fetched:
        if told.get(one.name, (0, ""))[1] and told[one.name] != (one.length, one.sha256):
            return Verification("unverified", False, detail=f"{one.name} is not what lay there")
    packages = [into / one.name for one in fetched if one.name.endswith(PACKAGE)]
    for path in packages:
        if (found := package.version_of(path)) != candidate.version:
            return Verification("unverified", False, detail=f"{path.name} is of version {found or 'nobody knows'}")
    if "authority" in source.options:
        return _signed(packages, Path(source.options["authority"]))
    pinned = all(told[one.name][1] for one in fetched)
    detail = "" if pinned else "nothing was announced to compare it with, and no authority is named"
    return Verification("digest_pinned" if pinned else "unverified", True, detail=detail)


@hookimpl
def gate_lint(
    source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path, baseline: Baseline | None
) -> Sequence[Finding]:
    """Against the release before; what is inside is Microsoft's."""
    found = []
    before = {} if baseline is None else baseline.files
    for one in fetched:
        if one.name not in before or (one.length < SMALL and one.name.endswith(MANIFEST)):
            continue
        was = before[one.name].stat().st_size
        if one.length < HALF * was:
            found.append(Finding("refuse", "shrunk", f"{one.name} has {one.length} bytes, and had {was}"))
    for name in sorted(one.name for one in fetched if one.name.endswith(MANIFEST) and one.name in before):
        engines = [_manifest(path).get("EngineVersion", "") for path in (before[name], into / name)]
        if engines[0] != engines[1]:
            found.append(Finding("note", "engine", f"{name}: engine {engines[0]} becomes {engines[1]}"))
    return found


@hookimpl
def gate_order(source: Source, a: str, b: str) -> int:
    """Four numbers."""
    one, other = ([int(part) for part in version.split(".")] for version in (a, b))
    return (one > other) - (one < other)


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """Defender keeps what is newer, whatever the share has."""
    if not good:
        return RecallPlan("none", ("There is no release before: remove the definitions by hand.",), False)
    steps = (
        f"The gate serves {good} again; Defender keeps {bad}, since it takes nothing older by itself.",
        "Windows: MpCmdRun.exe -RemoveDefinitions -All, then MpCmdRun.exe -SignatureUpdate -UNC. Our agent does both.",
        "Linux: no such command is documented here; move the machine to the release before by hand.",
    )
    return RecallPlan("agent_purge", steps, True)


@hookimpl
def gate_serve(source: Source, ring: str, release: Released, at: datetime, into: Path) -> Served:
    """The layout that the source has; ``manifest.json`` at the top says which version it is."""
    layout = source.options.get("layout", "share")
    (into / MANIFEST).write_text(json.dumps({"DefinitionVersion": release.version}))
    folder = f"{{00000000-0000-0000-0000-{at:%y%m%d%H%M%S}}}/" if layout == "vdi" else BELOW[layout]
    files = [ServedFile(MANIFEST, made=MANIFEST)]
    for one in release.artifacts:
        name = one.name if layout == "vdi" else "/".join(one.name.split("-", 1))
        files.append(ServedFile(folder + name, artifact=one.name))
    return Served(tuple(files))


@hookimpl
def gate_observed(source: Source, machine: Receiver, report: str) -> Observed | None:
    """The definitions that Defender has loaded."""
    said = reports.read(report)
    return Observed(said.version, said.detail) if said is not None else None


def _announced(source: Source, io: Io) -> Discovered:
    if not {"info", "package"} <= set(source.options):
        raise BadTree("option folder is missing, or info and package")
    said = dict(SAID.findall(io.http.get(source.options["info"], most=SMALL).body))
    version = said.get(b"signatures", b"").decode()
    if not version:
        raise BadTree("the answer to info names no version of signatures")
    name = f"{source.options.get('arch', 'x64')}-{PACKAGE}"
    return Discovered((Candidate(version, (Announced(name, 0, ""),), version),))


def _files(source: Source) -> Iterator[_File]:
    """Every file of the layout, by its artifact's name."""
    layout, folder = source.options.get("layout", "share"), Path(source.options["folder"])
    if layout == "vdi":
        places = sorted(one.name for one in folder.iterdir() if VDI.match(one.name) and not one.is_symlink())
        yield from ((_File(one.name, one)) for one in _plain(folder / places[-1])) if places else ()
        return
    for architecture in ARCHITECTURES[layout]:
        place = folder / BELOW[layout] / architecture
        if place.is_dir():
            wanted = (PACKAGE,) if layout == "share" else ()
            yield from (_File(f"{architecture}-{one.name}", one) for one in _plain(place, wanted))


def _plain(folder: Path, wanted: Sequence[str] = ()) -> list[Path]:
    found = []
    for one in sorted(folder.iterdir()):
        if one.is_symlink() or not NAME.match(one.name):
            raise BadTree(f"{one.name[:80]!r} in {folder.name} is a link, or no plain name")
        if one.is_file() and (not wanted or one.name in wanted):
            found.append(one)
    if len(found) > MOST_FILES:
        raise BadTree(f"{folder.name} has {len(found)} files")
    return found


def _unsettled(files: Sequence[_File], now: datetime) -> bool:
    return any(now.timestamp() - one.path.stat().st_mtime < SETTLED_S for one in files)


def _version(source: Source, files: Sequence[_File]) -> str:
    """That of all of them.

    Raises:
        BadTree: there is none, or there are several.
    """
    found = dict[str, str]()
    for one in files:
        if one.path.name == PACKAGE:
            found[one.name] = package.version_of(one.path)
        elif one.path.name == MANIFEST:
            found[one.name] = str(_manifest(one.path).get("DefinitionVersion", ""))
    versions = set(found.values())
    if len(versions) != 1 or not VERSION.match(next(iter(versions))):
        said = ", ".join(f"{name} has {version or 'none'}" for name, version in sorted(found.items()))
        raise BadTree(f"there is no one version: {said or 'nothing says one'}"[:500])
    if source.options.get("layout") == "linux":
        for architecture in {one.name.split("-", 1)[0] for one in files}:
            names = {one.path.name for one in files if one.name.startswith(f"{architecture}-")}
            if not {"updates.zip", MANIFEST} <= names:
                raise BadTree(f"{architecture} lacks updates.zip or {MANIFEST}")
    return versions.pop()


def _manifest(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(SMALL))
    except (OSError, ValueError, RecursionError) as problem:
        raise BadTree(f"{path.name} is not JSON") from problem
    return found if isinstance(found, dict) else {}


def _signed(packages: Sequence[Path], authority: Path) -> Verification:
    if not packages:
        return Verification("unverified", False, detail="authority is for packages, and there is none")
    who = ""
    for path in packages:
        good, who = package.signed_by(path, authority)
        if not good:
            return Verification("unverified", False, detail=f"{path.name}: {who}")
    return Verification("vendor_signed", True, who[:200])


def _measured(one: _File, state: Path) -> Announced:
    """With the digest of an earlier look, where the file is the same."""
    found = one.path.stat()
    key, kept = f"{found.st_mtime_ns}-{found.st_size}", state / f"{one.name}.sha256"
    if kept.exists():
        before, _, sha256 = kept.read_text().partition(" ")
        if before == key:
            return Announced(one.name, found.st_size, sha256)
    measured = _digest(one.path)
    kept.write_text(f"{key} {measured.sha256}")
    return Announced(one.name, measured.length, measured.sha256)


def _digest(path: Path) -> Fetched:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Fetched(path.name, file.tell(), sha256)
