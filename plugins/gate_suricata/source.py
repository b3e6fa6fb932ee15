"""Suricata's rules as suricata-update takes them: a tar.gz with its md5, over https or from a folder.

- Where they lie: ``rules`` (an address), ``index`` and ``name`` (an index.yaml that has the address), or ``folder``
  (one ``*.tar.gz`` and its ``.md5``; with an ``index.yaml`` in it, the one that this names).
- The version is the ``version`` of the index's entry; else the date of the ``.md5``; else the md5 itself, which has no
  order. Dates and numbers are ordered; what cannot be compared is left to discovery.
- A version is pinned to the first md5 that was seen with it (the cursor remembers), and by the gate to its SHA-256: the
  same version with other bytes is skipped and said. An md5 guards against accidents, not against a forger: there is
  no signature of the vendor, and so nothing more than *digest_pinned*.
- Lint refuses: a tarball that is no plain one, a rule that does not parse, a sid that is there twice, half of the rules
  gone. Ten in a hundred gone: a warning. Sids that are gone: a note. ``suricata -T`` where the engine is installed.
- Served: the tarball, its md5, and an ``index.yaml`` whose address is a parameter, since it differs for each machine.

Options: see ``gate_describe``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
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
    Option,
    RecallPlan,
    Released,
    Served,
    ServedFile,
    Source,
    SourceInfo,
    Verification,
    hookimpl,
)
from gate_suricata.places import ENGINE, Bad, Place, index, place_of
from gate_suricata.rules import Rules
from gate_suricata.tarball import BadTarball, rule_files

MD5 = re.compile(rb"\s*([0-9a-fA-F]{32})(?:\s.{0,300})?\s*\Z", re.DOTALL)
DATED = re.compile(r"\d{8}T\d{6}Z\Z", re.ASCII)
COUNTED = re.compile(r"\d{1,18}(\.\d{1,18}){0,5}\Z", re.ASCII)
MD5_BYTES = 4096
PINS = 15  # a cursor has 4000 characters
HALF, TENTH = 0.5, 0.1
ENGINE_S = 50.0
OPTIONS = {
    "rules": Option("the address of a rules tar.gz, with its .md5 beside it; this, index or folder"),
    "index": Option("the address of an index.yaml; this, rules or folder"),
    "name": Option("which source of the index, such as et/open"),
    "folder": Option("a local folder with the tar.gz and its .md5; this, rules or index"),
    "engine": Option(f"what stands for %(__version__)s in addresses: the engine's version; {ENGINE} if not said"),
}


@hookimpl
def gate_describe() -> SourceInfo:
    """Held, where machines take it from the gate's mirror."""
    why = "suricata-update takes what its own address on the mirror serves"
    return SourceInfo("suricata", "held", ("rules",), OPTIONS, why=why)


@hookimpl
def gate_discover(source: Source, cursor: str, io: Io) -> Discovered:
    """What the md5 says; the tarball itself is not loaded for that."""
    known = json.loads(cursor) if cursor else {}
    pins: dict[str, str] = known.get("pins", {})
    try:
        place = place_of(source, io)
        seen = _seen(place, known, io)
        if pins.setdefault(seen["version"], seen["md5"]) != seen["md5"]:
            raise Bad(f"{seen['version']} has other bytes than when it was first seen")
        artifact = _announced(Path(place.tarball)) if place.md5 else Announced(place.tarball.rpartition("/")[2], 0, "")
    except (Bad, FileNotFoundError) as problem:
        return Discovered((), json.dumps({"pins": pins}) if pins else "", (str(problem)[:300],))
    where = json.dumps({"tarball": place.tarball, "md5": seen["md5"]})
    told = {**seen, "pins": dict(list(pins.items())[-PINS:])}
    return Discovered((Candidate(seen["version"], (artifact,), where),), json.dumps(told))


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path, io: Io) -> Sequence[Fetched]:
    """The tarball as it is."""
    tarball, name = json.loads(candidate.where)["tarball"], candidate.artifacts[0].name
    if "folder" not in source.options:
        return [io.http.download(tarball, into / name, most=source.max_bytes)]
    shutil.copyfile(tarball, into / name)
    copy = _announced(into / name)
    return [Fetched(copy.name, copy.length, copy.sha256)]


@hookimpl
def gate_verify(source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path) -> Verification:
    """The bytes have the md5 that lay beside them."""
    with (into / candidate.artifacts[0].name).open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != json.loads(candidate.where)["md5"]:
        return Verification("unverified", False, detail="its md5 is not the one beside it")
    return Verification("digest_pinned", True, detail="by md5 from the same place; pinned at first sight")


@hookimpl
def gate_lint(
    source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path, baseline: Baseline | None
) -> Sequence[Finding]:
    """Every rule is read, and counted against the release before."""
    path = into / candidate.artifacts[0].name
    try:
        rules = _read(path)
    except BadTarball as problem:
        return [Finding("refuse", "tarball", str(problem))]
    found = [Finding("refuse", code, detail) for code, detail in rules.wrong]
    if rules.wrong_all > len(rules.wrong):
        found.append(Finding("refuse", "syntax", f"{rules.wrong_all - len(rules.wrong)} more rules are wrong"))
    if not rules.revs:
        found.append(Finding("refuse", "no_rules", "there is no rule in it that is on"))
    found += _against(rules, baseline)
    return found if any(one.weight == "refuse" for one in found) else [*found, *_engine(path)]


@hookimpl
def gate_order(source: Source, a: str, b: str) -> int | None:
    """By date, or by number; an md5 says nothing about what is newer."""
    if a == b:
        return 0
    if DATED.match(a) and DATED.match(b):
        return int(a > b) - int(a < b)
    if COUNTED.match(a) and COUNTED.match(b):
        first, second = ([int(part) for part in one.split(".")] for one in (a, b))
        return int(first > second) - int(first < second)
    return None


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """suricata-update takes an older tarball by itself, since its md5 is another one."""
    if not good:
        return RecallPlan("none", ("There is no release before: take the rules off by hand.",), False)
    steps = (f"The mirror serves {good} again, with its md5.", "suricata-update takes it at its next run.")
    return RecallPlan("serve_old", steps, False)


@hookimpl
def gate_serve(source: Source, ring: str, release: Released, at: datetime, into: Path) -> Served:
    """Tarball, md5, an index whose one source has the machine's address as parameter, and the version for agents."""
    (name,) = release.files
    with release.files[name].open("rb") as file:
        md5 = hashlib.file_digest(file, "md5").hexdigest()
    (into / "md5").write_text(md5)
    (into / "said").write_text(json.dumps({"version": release.version, "file": name, "md5": md5}))
    (into / "index").write_text(index(source.options.get("name", source.name), name, release.version))
    return Served((
        ServedFile(name, artifact=name), ServedFile(f"{name}.md5", made="md5"), ServedFile("index.yaml", made="index"),
        ServedFile("gate.json", made="said"),
    ))  # fmt: skip


def _seen(place: Place, known: Mapping[str, Any], io: Io) -> dict[str, str]:
    """Version and md5 of what lies there now, with what the next look needs so as to ask for a change only.

    Raises:
        Bad: there is no md5.
    """
    if place.md5 is not None:
        dated: datetime | None = datetime.fromtimestamp(place.md5.stat().st_mtime, UTC)
        with place.md5.open("rb") as file:
            return {**_named(file.read(MD5_BYTES), place, dated)}
    asked = hashlib.sha256(f"{place.tarball} {place.listed}".encode()).hexdigest()
    same = known.get("asked") == asked
    headers = {"If-None-Match": known["etag"]} if same and known.get("etag") else {}
    answer = io.http.get(f"{place.tarball}.md5", most=MD5_BYTES, headers=headers)
    if answer.status == 304:
        return {key: known[key] for key in ("version", "md5", "etag", "asked")}
    named = _named(answer.body, place, _date(answer.headers.get("last-modified", "")))
    return {**named, "etag": answer.headers.get("etag", "")[:500], "asked": asked}


def _named(raw: bytes, place: Place, dated: datetime | None) -> dict[str, str]:
    match = MD5.match(raw)
    if match is None:
        raise Bad("what lies beside the rules is no md5")
    md5 = match[1].decode().lower()
    return {"version": place.listed or (f"{dated:%Y%m%dT%H%M%SZ}" if dated else md5), "md5": md5}


def _date(said: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(said)
    except (ValueError, TypeError):
        return None
    return found.astimezone(UTC) if found.tzinfo else None


def _announced(path: Path) -> Announced:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Announced(path.name, file.tell(), digest)


def _read(path: Path) -> Rules:
    rules = Rules()
    for name, raw in rule_files(path):
        rules.add(name, raw)
    return rules


def _against(rules: Rules, baseline: Baseline | None) -> list[Finding]:
    if baseline is None:
        return []
    try:
        (path,) = baseline.files.values()
        before = _read(path).revs
    except (BadTarball, ValueError):
        return [Finding("warning", "no_baseline", f"{baseline.version} cannot be read to compare with")]
    gone = sorted(sid for _, sid in before.keys() - rules.revs.keys())
    fewer = len(before) - len(rules.revs)
    found = []
    if fewer > len(before) * TENTH:
        weight = "refuse" if fewer > len(before) * HALF else "warning"
        said = f"{len(rules.revs)} rules are on, {baseline.version} has {len(before)}"
        found.append(Finding(weight, "fewer_rules", said))
    if gone:
        some = ", ".join(str(sid) for sid in gone[:20])
        found.append(Finding("note", "sids_gone", f"{len(gone)} sids of {baseline.version} are gone or off: {some}"))
    return found


def _engine(path: Path) -> list[Finding]:
    """``suricata -T`` with these rules alone; without the engine, nobody but us has looked."""
    if shutil.which("suricata") is None:
        return [Finding("note", "not_loaded", "suricata is not installed here: no engine has tried the rules")]
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "all.rules"
        with rules.open("wb") as file:
            for _, raw in rule_files(path):
                file.write(raw + b"\n")
        try:
            done = subprocess.run(
                ["suricata", "-T", "-l", folder, "-S", str(rules)],
                capture_output=True, text=True, errors="replace", timeout=ENGINE_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as problem:
            return [Finding("refuse", "engine", f"suricata -T: {type(problem).__name__}")]
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-200:]
        return [Finding("refuse", "engine", f"suricata -T ended with {done.returncode}: {said}")]
    return []
