"""Targets of an upstream TUF repository, through python-tuf's client.

- The first root comes from the settings (``root``, a file that people have checked); newer ones by the chain of roots.
- Trusted metadata stays in ``io.state``; the newest versions that were trusted stand in the cursor too, so that a
  repository that goes back is refused also after the state was lost.
- A release is all targets that ``targets`` (a shell pattern) names, of top-level targets; its version is the number of
  the targets metadata that brought these bytes, or what ``version`` in the targets' custom says where all agree.
- Bytes are *vendor signed*: their digests stand in metadata that a threshold of the vendor's keys has signed.

Options: ``metadata`` and ``target_files`` (addresses of the two folders), ``root``, ``targets``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from gate.hookspecs import (
    Announced,
    Candidate,
    Discovered,
    Fetched,
    Io,
    Option,
    RecallPlan,
    Source,
    SourceInfo,
    Status,
    Verification,
    hookimpl,
)

ROLES = ("root", "timestamp", "snapshot", "targets")
MOST = 5_000_000


class ThroughGate(FetcherInterface):
    """python-tuf's requests by the gate's own way out."""

    def __init__(self, io: Io) -> None:
        self._io = io

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            yield self._io.http.get(url, most=MOST).body
        except Status as problem:
            raise DownloadHTTPError(str(problem), problem.status) from problem


@hookimpl
def gate_describe() -> SourceInfo:
    """Any targets; held, since clients take them from the gate."""
    options = {
        "metadata": Option("address of the metadata folder", required=True),
        "target_files": Option("address of the folder with the targets", required=True),
        "root": Option("file with the first root metadata, which people have checked", required=True),
        "targets": Option("which targets, as a shell pattern; all without it"),
    }
    kinds = ("content", "rules", "binary", "engine", "any")
    return SourceInfo("tuf", "held", kinds, options, why="clients take it from the gate's mirror or our agent")


@hookimpl
def gate_discover(source: Source, cursor: str, io: Io) -> Discovered:
    """The newest trusted targets, as one candidate."""
    folder = io.state / "metadata"
    folder.mkdir(parents=True, exist_ok=True)
    updater = Updater(
        str(folder),
        source.options["metadata"].rstrip("/") + "/",
        fetcher=ThroughGate(io),
        config=UpdaterConfig(prefix_targets_with_hash=False),
        bootstrap=Path(source.options["root"]).read_bytes(),
    )
    updater.refresh()
    before = json.loads(cursor) if cursor else {}
    roles = {role: _signed(folder, role) for role in ROLES}
    behind = [role for role in ROLES if roles[role] < before.get("roles", {}).get(role, 0)]
    if behind:
        shutil.rmtree(folder, ignore_errors=True)
        raise ValueError(f"{', '.join(behind)} went back to an older version: a rollback")
    targets = Metadata[Targets].from_file(str(folder / "targets.json")).signed
    pattern = source.options.get("targets", "*")
    files = {name: one for name, one in targets.targets.items() if fnmatchcase(name, pattern)}
    bad = sorted(name for name, one in files.items() if "sha256" not in one.hashes or not _plain(name))
    if bad or not files:
        said = (f"{len(bad)} targets without sha256 or with a path, such as {bad[0][:80]!r}",) if bad else ()
        return Discovered((), json.dumps({**before, "roles": roles}), said)
    where = {name: _where(name, one, _consistent(folder)) for name, one in files.items()}
    artifacts = tuple(Announced(name, one.length, one.hashes["sha256"]) for name, one in sorted(files.items()))
    content = hashlib.sha256(repr(artifacts).encode()).hexdigest()
    same = before.get("content") == content  # signed anew: not a new release
    version = before["version"] if same else _version(files, targets.version)
    told = json.dumps({"roles": roles, "content": content, "version": version})
    return Discovered((Candidate(version, artifacts, json.dumps(where)),), told)


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path, io: Io) -> Sequence[Fetched]:
    """Each target, at most as long as the metadata says."""
    where = json.loads(candidate.where)
    base = source.options["target_files"].rstrip("/")
    return [
        io.http.download(f"{base}/{where[one.name]}", into / one.name, most=one.length) for one in candidate.artifacts
    ]


@hookimpl
def gate_verify(source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
    """The digests of the signed metadata, which the candidate announces."""
    said = {one.name: (one.length, one.sha256) for one in candidate.artifacts}
    for one in fetched:
        if said.get(one.name) != (one.length, one.sha256):
            return Verification("unverified", False, detail=f"{one.name} is not what the signed metadata says")
    if len(fetched) != len(said):
        return Verification("unverified", False, detail="a target is missing")
    root = hashlib.sha256(Path(source.options["root"]).read_bytes()).hexdigest()
    return Verification("vendor_signed", True, f"TUF root sha256:{root}")


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """The older targets are served again."""
    if not good:
        return RecallPlan("none", ("There is no release before: take the targets off by hand.",), False)
    return RecallPlan("serve_old", ("The gate serves the targets of the release before again.",), False)


def _signed(folder: Path, role: str) -> int:
    return int(json.loads((folder / f"{role}.json").read_bytes())["signed"]["version"])


def _consistent(folder: Path) -> bool:
    return bool(json.loads((folder / "root.json").read_bytes())["signed"]["consistent_snapshot"])


def _plain(name: str) -> bool:
    return name.isprintable() and "/" not in name and "\\" not in name and not name.startswith(".")


def _where(name: str, target: TargetFile, consistent: bool) -> str:
    return f"{target.hashes['sha256']}.{quote(name)}" if consistent else quote(name)


def _version(files: dict[str, TargetFile], number: int) -> str:
    said = {(one.custom or {}).get("version") for one in files.values()}
    told = said.pop() if len(said) == 1 else None
    return told if isinstance(told, str) and 1 <= len(told) <= 128 and told.isprintable() else str(number)
