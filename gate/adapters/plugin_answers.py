"""A child's answer is hostile text until every value has the type, the length and the words that the contract says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from gate.core.errors import SourceError
from gate.hookspecs import (
    LEVERS,
    RECALLS,
    TRUSTS,
    WEIGHTS,
    Announced,
    Candidate,
    Discovered,
    Fetched,
    Finding,
    Option,
    Published,
    RecallPlan,
    Served,
    ServedFile,
    SourceInfo,
    Stream,
    Verification,
)
from gate.hookvalues import PATH

T = TypeVar("T")
FINDINGS = 200
CURSOR = 4000
LONG = {"Candidate.where": 1 << 20}  # an address for each of its files
PLACE = re.compile(rf"{PATH}\Z", re.ASCII)
UNWRITTEN = re.compile("[\0\ud800-\udfff]")
DIGEST = re.compile(r"([0-9a-f]{64})?\Z")


def object_of(raw: bytes, what: str) -> dict[str, Any]:
    """The answer as an object.

    Raises:
        SourceError: ``source_failed``: no JSON object, or the plugin says that it failed. ``source_unfinished``: a
        download goes on with the next look. ``no_room``: the disk is too full for one.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise SourceError("source_failed", f"{what} answered no JSON") from problem
    try:
        found = _written(found)
    except RecursionError as problem:
        raise SourceError("source_failed", f"{what} answered no JSON") from problem
    if not isinstance(found, dict):
        raise SourceError("source_failed", f"{what} answered no object")
    if "unfinished" in found:
        raise SourceError("source_unfinished", f"{what}: {str(found['unfinished'])[:400]}")
    if "no_room" in found:
        raise SourceError("no_room", f"{what}: {str(found['no_room'])[:400]}")
    if "problem" in found:
        raise SourceError("source_failed", f"{what}: {str(found['problem'])[:400]}")
    return found


def _written(value: Any) -> Any:
    """The same in characters that every database takes: a NUL and half of a surrogate pair are none."""
    if isinstance(value, str):
        return UNWRITTEN.sub("\ufffd", value)
    if isinstance(value, list):
        return [_written(one) for one in value]
    if isinstance(value, dict):
        return {_written(name): _written(one) for name, one in value.items()}
    return value


def info(found: Mapping[str, Any]) -> SourceInfo:
    """What a plugin says of itself."""
    said = {name: value for name, value in found.items() if name != "hooks"}
    options = said.get("options")
    if not isinstance(options, dict):
        raise SourceError("source_failed", "a description without options")
    said["options"] = {str(name): _option(one) for name, one in options.items()}
    said["streams"] = tuple(made(Stream, one) for one in many(said, "streams"))
    said["kinds"] = texts(said, "kinds")
    described = made(SourceInfo, said)
    for lever in (described.lever, *(stream.lever for stream in described.streams)):
        _one_of("lever", lever, LEVERS)
    return described


def discovered(found: Mapping[str, Any]) -> Discovered:
    """What a source says exists."""
    candidates = tuple(candidate(one) for one in many(found, "candidates"))
    skipped = tuple(one[:300] for one in texts(found, "skipped")[:100])
    withdrawn = tuple(one[:300] for one in texts(found, "withdrawn")[:1000])
    unchanged = found.get("unchanged") is True
    if unchanged and candidates:
        raise SourceError("source_failed", "an answer that is unchanged and has candidates")
    cursor = str(found.get("cursor", ""))
    if len(cursor) > CURSOR:
        raise SourceError("source_failed", f"a cursor of {len(cursor)} characters, and {CURSOR} are the most")
    return Discovered(candidates, cursor, skipped, withdrawn, unchanged)


def candidate(found: Any) -> Candidate:
    """One candidate."""
    if not isinstance(found, dict):
        raise SourceError("source_failed", "a candidate that is none")
    artifacts = tuple(made(Announced, one) for one in many(found, "artifacts"))
    if not all(DIGEST.match(one.sha256) for one in artifacts):
        raise SourceError("source_failed", "a digest that is not 64 lower case hex digits")
    return made(Candidate, {**found, "artifacts": artifacts})


def verification(found: Any) -> Verification:
    """How far bytes could be verified."""
    said = made(Verification, found)
    _one_of("trust", said.trust, TRUSTS)
    return said


def findings(found: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What lint found; cut, but what refuses is never cut away."""
    said = [made(Finding, one) for one in many(found, "answer")]
    for one in said:
        _one_of("weight", one.weight, WEIGHTS)
    said.sort(key=lambda one: -WEIGHTS.index(one.weight))
    return tuple(dataclasses.replace(one, detail=one.detail[:400]) for one in said[:FINDINGS])


def recall_plan(found: Any) -> RecallPlan:
    """How a recall is carried out."""
    said = made(RecallPlan, {**found, "steps": texts(found, "steps")})
    _one_of("how", said.how, RECALLS)
    return said


def served(found: Mapping[str, Any], into: Path, artifacts: Collection[str]) -> Served:
    """What a client sees of a release with these artifacts; what was made lies ``into`` that folder.

    Raises:
        SourceError: also ``source_lied``: a path that no client may ask for or that is there twice, or other bytes.
    """
    files = tuple(made(ServedFile, one) for one in many(found, "files"))
    for one in files:
        if not PLACE.match(one.path):
            raise SourceError("source_lied", f"{one.path[:80]!r} is no path that a client may ask for")
        if bool(one.artifact) == bool(one.made) or (one.artifact and one.artifact not in artifacts):
            raise SourceError("source_lied", f"{one.path[:80]!r} is neither an artifact of the release nor a made file")
        if one.made and not _is_plain(into, one.made):
            raise SourceError("source_lied", f"{one.made[:80]!r} is no plain file in the folder for what is made")
    if len({one.path for one in files}) < len(files):
        raise SourceError("source_lied", "a path is served twice")
    return Served(files)


def published(found: Mapping[str, Any]) -> Published:
    """For which machines it is done."""
    return made(Published, {**found, "machines": texts(found, "machines")})


def measure(folder: Path, name: str) -> Fetched:
    """A file in the spool as it really is.

    Raises:
        SourceError: no plain file of that name.
    """
    if not _is_name(name):
        raise SourceError("source_lied", "a fetched name is a path")
    digest, length = hashlib.sha256(), 0
    try:
        handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as problem:
        raise SourceError("source_lied", f"{name[:80]!r} is not in the spool") from problem
    with os.fdopen(handle, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
            length += len(part)
    return Fetched(name, length, digest.hexdigest())


def _is_name(name: str) -> bool:
    return "/" not in name and "\\" not in name and name not in ("", ".", "..")


def _is_plain(folder: Path, name: str) -> bool:
    try:
        return _is_name(name) and stat.S_ISREG((folder / name).lstat().st_mode)
    except (OSError, ValueError):
        return False


def many(found: Mapping[str, Any], key: str) -> list[Any]:
    """A list of an answer."""
    value = found.get(key)
    if not isinstance(value, list) or len(value) > 10_000:
        raise SourceError("source_failed", f"an answer without a list of {key}")
    return value


def texts(found: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """A list of texts of an answer."""
    if not all(isinstance(one, str) for one in many(found, key)):
        raise SourceError("source_failed", f"{key} is not a list of texts")
    return tuple(one[:4000] for one in found[key])


def made(shape: type[T], found: Any) -> T:
    """A frozen value from an answer; every text and number of the type that the shape says."""
    if not isinstance(found, dict):
        raise SourceError("source_failed", f"an answer that is no {shape.__name__}")
    wanted = {field.name: field for field in dataclasses.fields(shape)}  # type: ignore[arg-type]
    if not set(found) <= set(wanted):
        raise SourceError("source_failed", f"an answer with fields that no {shape.__name__} has")
    for name, value in found.items():
        kind = {"str": str, "int": int, "bool": bool}.get(str(wanted[name].type))
        if kind is not None and (type(value) is not kind or (kind is int and found[name] < 0)):
            raise SourceError("source_failed", f"{shape.__name__}.{name} is not {kind.__name__}")
        if isinstance(value, str) and len(value) > LONG.get(f"{shape.__name__}.{name}", 4000):
            raise SourceError("source_failed", f"{shape.__name__}.{name} is too long")
    try:
        return shape(**found)
    except TypeError as problem:
        raise SourceError("source_failed", f"an answer that is no whole {shape.__name__}") from problem


def _option(found: Any) -> Option:
    return (
        made(Option, {**found, "choices": texts(found, "choices")}) if isinstance(found, dict) else made(Option, found)
    )


def _one_of(what: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise SourceError("source_failed", f"{what} {word[:40]!r} is none of {', '.join(words)}")
