"""ClamAV's signature databases as source: from a folder (``cvdupdate`` fills one) or from a mirror over https.

- A release is one version of each database in ``databases``; its version is theirs in that order, joined by a dot:
  ``27800``, or ``62.27800`` for ``main daily``. ``bytecode`` runs inside the engine: a source of its own, kind engine.
- A database is taken as ``<name>.cvd`` only: a ``.cld`` is what a client patched together, and nobody has signed it.
- Verified: the md5 of the content, the vendor's RSA signature over it, and that the version is the announced one.
- What lies beside a database at the first look at a version goes along, and nothing that comes later: its cdiff, and
  the ``.sign`` files of both (``beside.py``).
- Order: whole numbers, one by one; a release with a smaller one among them is a downgrade.
- Lint: ``clamscan`` with the new databases alone. ``clean`` is a folder of files that must not be found (the till's own
  programs), ``found`` one of files that must be. Where clamscan is not installed, a note says that nobody looked.

Options: see ``gate_describe``.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
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
    Source,
    SourceInfo,
    Stream,
    Verification,
    hookimpl,
)
from gate_clamav import beside, cdiff, clamsign, cvd

DATABASE = re.compile(r"[a-z][a-z0-9_-]{0,30}\Z")
RUNS = re.compile(r"ClamAV [^/\x00-\x1f]{1,60}/(\d{1,9})/", re.ASCII)
HALF = 0.5
PART = 1 << 20
OPTIONS = {
    "folder": Option("a local folder with the databases; this or mirror"),
    "mirror": Option("an https address below which the databases lie; this or folder"),
    "databases": Option("which ones, with blanks between: daily, or main daily; daily if not said"),
    "client": Option(
        "how machines take them: freshclam's PrivateMirror or DatabaseCustomURL",
        choices=("PrivateMirror", "DatabaseCustomURL"),
    ),
    "certs": Option("a PEM file or a folder with the certificates that a .sign file must lead to; then it is required"),
    "clean": Option("a folder of files that must not be found"),
    "found": Option("a folder of files that must be found"),
}


@hookimpl
def gate_describe() -> SourceInfo:
    """Held, where machines take it from the gate's mirror."""
    why = "freshclam takes what its own address on the mirror serves"
    streams = (
        Stream("daily", "content", "held", why),
        Stream("main", "content", "held", why),
        Stream("bytecode", "engine", "held", "it runs inside the engine: a source of its own"),
    )
    return SourceInfo("clamav", "held", ("content", "engine"), OPTIONS, streams, why)


@hookimpl
def gate_discover(source: Source, cursor: str, io: Io) -> Discovered:
    """What the headers of the databases say; over https no more is loaded for that than 512 bytes of each."""
    names = databases(source)
    try:
        stems = [f"{name}-{_header(source, name, io).version}" for name in names]
    except cvd.BadCvd as problem:
        return Discovered((), cursor, (str(problem),))
    known = beside.remembered(cursor, stems)
    if known is None:
        known = [name for name in beside.names(stems) if _there(source, name, io)]
    missing = [f"{stem}.cvd.sign" for stem in stems if f"{stem}.cvd.sign" not in known]
    if "certs" in source.options and missing:
        return Discovered((), cursor, tuple(f"{name} is not there, and option certs asks for it" for name in missing))
    files = [_announced(source, f"{name}.cvd") for name in names]
    files += [_announced(source, name) for name in known]
    files += [Announced(f"{stem}.cdiff", 0, beside.EMPTY) for stem in stems if f"{stem}.cdiff" not in known]
    version = ".".join(stem.rpartition("-")[2] for stem in stems)
    return Discovered((Candidate(version, tuple(files), version),), beside.cursor(stems, known))


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path, io: Io) -> Sequence[Fetched]:
    """Each database as a whole, and what goes along; a cdiff that is not there is an empty one."""
    return [_brought(source, one, into / one.name, io) for one in candidate.artifacts]


def _brought(source: Source, one: Announced, to: Path, io: Io) -> Fetched:
    if one.sha256 == beside.EMPTY:
        to.touch()
    elif "folder" in source.options:
        shutil.copyfile(Path(source.options["folder"]) / one.name, to)
    else:
        return io.http.download(f"{source.options['mirror'].rstrip('/')}/{one.name}", to, most=source.max_bytes)
    copy = _measured(to)
    return Fetched(copy.name, copy.length, copy.sha256)


@hookimpl
def gate_verify(source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
    """The vendor has signed each database and each cdiff, and they have the announced versions."""
    done = verify(databases(source), candidate.version, into)
    if not done.ok or "certs" not in source.options:
        return done
    if shutil.which("openssl") is None:
        raise OSError("openssl is not installed, and option certs needs it")
    for one in fetched:
        if one.name.endswith(".sign"):
            try:
                clamsign.check(into / one.name, into / beside.signed_by(one.name), Path(source.options["certs"]))
            except (clamsign.BadSign, OSError) as problem:
                return Verification("unverified", False, detail=f"{one.name}: {problem}")
    return done


def verify(
    names: Iterable[str],
    version: str,
    into: Path,
    key: cvd.PublicKey = cvd.VENDOR,
    patches: cvd.PublicKey = cdiff.VENDOR,
) -> Verification:
    """As ``gate_verify``, for the owner of ``key``, and of ``patches`` for cdiffs."""
    versions, builders = [], []
    for name in names:
        file = f"{name}.cvd"
        try:
            header = cvd.check(into / file, key)
            file = f"{name}-{header.version}.cdiff"
            cdiff.check(into / file, header.version, patches)
        except (cvd.BadCvd, OSError) as problem:
            return Verification("unverified", False, detail=f"{file}: {problem}")
        versions.append(str(header.version))
        builders.append(header.builder)
    if ".".join(versions) != version:
        return Verification("unverified", False, detail=f"they have version {'.'.join(versions)}")
    return Verification("vendor_signed", True, ", ".join(sorted(set(builders)))[:200])


@hookimpl
def gate_lint(
    source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path, baseline: Baseline | None
) -> Sequence[Finding]:
    """Counts against the release before, and what clamscan says of files that are known."""
    found = [] if baseline is None else list(_fewer(databases(source), into, baseline))
    folders = {name: Path(source.options[name]) for name in ("clean", "found") if name in source.options}
    if not folders:
        return found
    if shutil.which("clamscan") is None:
        return [*found, Finding("note", "not_scanned", "clamscan is not installed here: nobody looked")]
    for name, folder in folders.items():
        found += _scanned(folder, into, wanted=name == "found")
    return found


@hookimpl
def gate_order(source: Source, a: str, b: str) -> int | None:
    """Number by number: newer only where none fell; of two where each has a smaller number neither is newer. None for
    other numbers of databases: the option has changed between."""
    if a.count(".") != b.count("."):
        return None
    pairs = [(int(one), int(other)) for one, other in zip(a.split("."), b.split("."), strict=True)]
    if all(one == other for one, other in pairs):
        return 0
    return 1 if all(one >= other for one, other in pairs) else -1


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """freshclam takes an older custom database by itself, and never an older official one."""
    if not good:
        return RecallPlan("none", ("There is no release before: remove the databases by hand.",), False)
    if source.options.get("client") == "DatabaseCustomURL":
        return RecallPlan("serve_old", (f"The mirror serves {good}; freshclam takes it at its next check.",), False)
    if databases(source) != ("daily",):
        steps = (
            f"The mirror serves {good}; freshclam keeps {bad}, and our agent sets nothing but daily aside.",
            "On each machine, by hand: delete the databases of this source and run freshclam.",
        )
        return RecallPlan("none", steps, False)
    steps = (
        f"The mirror serves {good}; freshclam says that it is up to date and keeps {bad}.",
        "The agent deletes the databases and runs freshclam.",
    )
    return RecallPlan("agent_purge", steps, True)


@hookimpl
def gate_observed(source: Source, machine: Receiver, report: str) -> Observed | None:
    """clamd's answer to VERSION: ``ClamAV 1.4.6/27800/Mon Mar  2 09:00:00 2026``. It names daily's version only."""
    match = RUNS.match(report)
    if match is None or databases(source) != ("daily",):
        return None
    return Observed(match[1], report[:200])


def databases(source: Source) -> tuple[str, ...]:
    """Which ones a source brings.

    Raises:
        ValueError: a word that is no database's name, or bytecode among others.
    """
    names = tuple(source.options.get("databases", "daily").split())
    if not names or len(set(names)) != len(names) or not all(DATABASE.match(name) for name in names):
        raise ValueError("databases are names with blanks between, each once")
    if "bytecode" in names and len(names) > 1:
        raise ValueError("bytecode is a source of its own")
    return names


def _header(source: Source, name: str, io: Io) -> cvd.Header:
    try:
        if "folder" in source.options:
            return cvd.header_of(Path(source.options["folder"]) / f"{name}.cvd")
        address = f"{source.options['mirror'].rstrip('/')}/{name}.cvd"
        answer = io.http.send("GET", address, body=b"", headers={"Range": f"bytes=0-{cvd.HEADER - 1}"})
        if answer.status not in (200, 206):
            raise cvd.BadCvd(f"{name}.cvd: the mirror answered {answer.status}")
        return cvd.read_header(answer.body)
    except FileNotFoundError as problem:
        raise cvd.BadCvd(f"{name}.cvd is not there") from problem
    except cvd.BadCvd as problem:
        raise cvd.BadCvd(f"{name}.cvd: {problem}") from problem


def _there(source: Source, name: str, io: Io) -> bool:
    if "folder" in source.options:
        path = Path(source.options["folder"]) / name
        return path.is_file() and path.stat().st_size > 0
    address = f"{source.options['mirror'].rstrip('/')}/{name}"
    return io.http.send("GET", address, body=b"", headers={"Range": "bytes=0-0"}).status in (200, 206)


def _announced(source: Source, name: str) -> Announced:
    """Without a digest where it lies on a mirror, and where it has gone from the folder meanwhile."""
    path = Path(source.options["folder"]) / name if "folder" in source.options else None
    return _measured(path) if path is not None and path.is_file() else Announced(name, 0, "")


def _measured(path: Path) -> Announced:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Announced(path.name, file.tell(), digest)


def _fewer(names: Iterable[str], into: Path, baseline: Baseline) -> Iterable[Finding]:
    for name in names:
        old, new = baseline.files.get(f"{name}.cvd"), cvd.header_of(into / f"{name}.cvd").signatures
        before = cvd.header_of(old).signatures if old else 0
        if new < before * HALF:
            yield Finding("refuse", "fewer_signatures", f"{name}: {new} signatures, {baseline.version} has {before}")


def _scanned(folder: Path, into: Path, *, wanted: bool) -> list[Finding]:
    """clamscan answers 0: nothing found, 1: something found, else it could not.

    Raises:
        OSError: it cannot run, or wants more memory than a call may take: that says nothing of the databases.
    """
    command = ["clamscan", "--infected", "--no-summary", "--recursive", f"--database={into}", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1, 2) or (done.returncode == 2 and "memory" in done.stderr):
        said = done.stderr.strip()[-100:]
        raise OSError(f"clamscan does not run; with too little memory, raise source_call_mib in gate.toml: {said}")
    hits = dict(line.removesuffix(" FOUND").rsplit(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    if done.returncode not in (0, 1):
        return [Finding("refuse", "not_loaded", f"clamscan cannot load it: {done.stderr.strip()[-200:]}")]
    if not wanted:
        return [Finding("refuse", "false_alarm", f"{Path(name).name} is found as {hit}") for name, hit in hits.items()]
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    missed = [path for path in files if str(path) not in hits]
    return [Finding("refuse", "not_found", f"{path.name} is not found any more") for path in missed]
