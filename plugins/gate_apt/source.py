"""Debian packages: taken from a signed repository or a folder, served as a repository of the ring's own.

- A release is the newest version of each package in ``packages``; its version is theirs in that order, joined by a
  comma. Its artifacts are the ``.deb`` files and ``Packages``, which describes them.
- Verified: the vendor's InRelease signs Packages, and that the SHA-256 of each file: *vendor_signed*. A folder has no
  signature: *digest_pinned*.
- Order: dpkg's, of the first package that differs.
- Lint: a package says of itself what Packages says of it; one that is older than before is a warning.
- The repository that is served is signed with a key of this source alone, from the file that ``key`` names. Whoever has
  it can make such a repository, and nothing else of the gate.

Options: see ``gate_describe``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

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
    Source,
    SourceInfo,
    Verification,
    hookimpl,
)
from gate_apt import openpgp, upstream
from gate_apt.control import Bad, fields_of, paragraphs
from gate_apt.served import lay_out
from gate_apt.upstream import Read
from gate_apt.versions import compared

PACKAGES = "Packages"
KEPT = 3000
OPTIONS = {
    "packages": Option("the packages' names, with blanks between", required=True),
    "key": Option("the file with this source's private key, made by python3 -m gate_apt", required=True),
    "repository": Option("the address of an upstream repository, above its dists; this or folder"),
    "suite": Option("which suite of the repository, such as bookworm"),
    "component": Option("which component of the repository; main if not said"),
    "keyring": Option("a file with the public keys of which one must have signed the repository"),
    "folder": Option("a local folder of .deb files; this or repository"),
    "architecture": Option("of the machines; amd64 if not said"),
    "prepared": Option("whether machines pin origin gate at 1001 and allow downgrades", choices=("no", "yes")),
}


@hookimpl
def gate_describe() -> SourceInfo:
    """Held, where machines take it from the gate's mirror."""
    why = "apt takes what its own address on the mirror serves"
    return SourceInfo("apt", "held", ("binary", "engine", "sensor", "os"), OPTIONS, why=why)


@hookimpl
def gate_discover(source: Source, cursor: str, io: Io) -> Discovered:
    """The newest versions; a repository that has not changed is not read again."""
    known = json.loads(cursor) if cursor else {}
    try:
        if "folder" in source.options:
            return Discovered((_candidate(upstream.folder(_checked(source)), source),))
        asked = hashlib.sha256(repr(sorted(source.options.items())).encode()).hexdigest()
        known = known if known.get("asked") == asked else {}
        cached = known.get("candidate")
        answer = upstream.in_release(_checked(source), io, known.get("etag", "") if cached else "")
        if answer.status == 304 and cached:
            upstream.still_valid(known.get("until", ""), io)
            return Discovered((_remembered(cached),), cursor)
        read = upstream.repository(source, io, answer.body, known.get("date", ""))
        candidate = _candidate(read, source)
    except Bad as problem:
        return Discovered((), json.dumps({**known, "etag": ""}) if known else "", (str(problem)[:300],))
    told: dict[str, Any] = {"asked": asked, "date": read.date, "until": read.until[:100]}
    plain = {"version": candidate.version, "where": candidate.where}
    plain["artifacts"] = [[one.name, one.length, one.sha256] for one in candidate.artifacts]  # type: ignore[assignment]
    if len(json.dumps(plain)) < KEPT:  # else it is read anew at each look: a cursor is short
        told |= {"candidate": plain, "etag": answer.headers.get("etag", "")[:300]}
    return Discovered((candidate,), json.dumps(told))


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path, io: Io) -> Sequence[Fetched]:
    """The files from where the signed list says that they are now."""
    if "folder" in source.options:
        read = upstream.folder(source)
    else:
        read = upstream.repository(source, io, upstream.in_release(source, io, "").body, "")
    if _candidate(read, source) != candidate:
        raise OSError("the repository has changed meanwhile")
    (into / PACKAGES).write_bytes(_packages(read))
    found = []
    for one in read.packages:
        if "folder" in source.options:
            shutil.copyfile(one.where, into / one.file)
            found.append(_measured(into / one.file))
        else:
            found.append(io.http.download(one.where, into / one.file, most=one.length))
    return [*found, _measured(into / PACKAGES)]


@hookimpl
def gate_verify(source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
    """The files are those that were announced: by a signed list, where there is one."""
    announced = {one.name: one for one in candidate.artifacts}
    for one in fetched:
        said = announced.pop(one.name, None)
        if said is None or (said.length, said.sha256) != (one.length, one.sha256):
            return Verification("unverified", False, detail=f"{one.name} is not what the repository lists")
    if announced:
        return Verification("unverified", False, detail="a listed file is missing")
    return Verification("vendor_signed" if candidate.where else "digest_pinned", True, candidate.where)


@hookimpl
def gate_lint(
    source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path, baseline: Baseline | None
) -> Sequence[Finding]:
    """Each package is the one that the list says it is."""
    found = []
    if baseline is not None:
        pairs = zip(upstream.names(source), baseline.version.split(","), candidate.version.split(","), strict=False)
        found += [
            Finding("warning", "older_package", f"{name} goes back from {before} to {now}")
            for name, before, now in pairs
            if compared(now, before) < 0
        ]
    if shutil.which("dpkg-deb") is None:
        return [*found, Finding("note", "not_opened", "dpkg-deb is not installed here: nobody opened the packages")]
    for fields in _listed(into / PACKAGES):
        file = fields["filename"].removeprefix("pool/")
        try:
            own = fields_of(upstream.described(into / file))
        except Bad as problem:
            found.append(Finding("refuse", "not_a_package", str(problem)))
            continue
        found += [
            Finding("refuse", "other_package", f"{file} says of itself {name} {own.get(name, '')[:60]!r}")
            for name in ("package", "version", "architecture")
            if own.get(name) != fields[name]
        ]
    return found


@hookimpl
def gate_order(source: Source, a: str, b: str) -> int | None:
    """dpkg's order, of the first package that differs. None for other numbers of packages: the option has changed."""
    if a.count(",") != b.count(","):
        return None
    pairs = zip(a.split(","), b.split(","), strict=True)
    return next((found for one, other in pairs if (found := compared(one, other))), 0)


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """apt never goes back by itself, unless a pin above 1000 and a permission say so."""
    if not good:
        return RecallPlan("none", ("There is no release before: remove the packages by hand.",), False)
    names = " ".join(upstream.names(source))
    first = f"The mirror serves {good} in a repository with a newer date."
    if source.options.get("prepared") == "yes":
        last = "Machines pin origin gate at 1001 and allow downgrades: apt goes back at its next upgrade."
        return RecallPlan("republish", (first, last), False)
    steps = (
        first,
        "On each machine, by hand or by what configures it, since our agent does not: a file in "
        f"/etc/apt/preferences.d with Package: {names}, Pin: release o=gate, Pin-Priority: 1001.",
        f"There, too: apt-get update and apt-get install --allow-downgrades {names}.",
        "The pin may stay: the repository never has anything but what was released.",
    )
    return RecallPlan("none", steps, False)


@hookimpl
def gate_serve(source: Source, ring: str, release: Released, at: datetime, into: Path) -> Served:
    """A repository with this release alone, signed at this moment."""
    key = openpgp.read(Path(source.options["key"]))
    packages = release.files[PACKAGES].read_bytes()
    files = sorted(name for name in release.files if name != PACKAGES)
    return Served(tuple(lay_out(key, packages, files, upstream.architecture(source), at, into)))


@hookimpl
def gate_observed(source: Source, machine: Receiver, report: str) -> Observed | None:
    """What ``dpkg-query -W`` says: a name and a version a line."""
    said = dict(line.split(maxsplit=1) for line in report.splitlines()[:1000] if len(line.split()) == 2)
    found = [said.get(name, "").strip() for name in upstream.names(source)]
    return Observed(",".join(found)) if all(found) else None


def _checked(source: Source) -> Source:
    """Raises: ValueError: options that do not say where to look."""
    options = source.options
    if ("folder" in options) == ("repository" in options):
        raise ValueError("one of repository and folder is needed, and not both")
    if "repository" in options and not (options.get("suite") and options.get("keyring")):
        raise ValueError("a repository needs suite and keyring")
    if not upstream.names(source) or len(set(upstream.names(source))) != len(upstream.names(source)):
        raise ValueError("packages are names with blanks between, each once")
    return source


def _candidate(read: Read, source: Source) -> Candidate:
    raw = _packages(read)
    files = [Announced(one.file, one.length, one.sha256) for one in read.packages]
    files.append(Announced(PACKAGES, len(raw), hashlib.sha256(raw).hexdigest()))
    if sum(one.length for one in files) > source.max_bytes:
        raise Bad(f"larger than {source.max_bytes} bytes")
    return Candidate(",".join(one.version for one in read.packages), tuple(files), read.signer)


def _packages(read: Read) -> bytes:
    return "\n".join(one.written() for one in read.packages).encode()


def _remembered(found: Mapping[str, Any]) -> Candidate:
    artifacts = tuple(Announced(name, length, sha256) for name, length, sha256 in found["artifacts"])
    return Candidate(found["version"], artifacts, found["where"])


def _listed(path: Path) -> list[dict[str, str]]:
    with path.open("rb") as file:
        return [fields_of(one) for one in paragraphs(file)]


def _measured(path: Path) -> Fetched:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Fetched(path.name, file.tell(), digest)
