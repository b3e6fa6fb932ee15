"""A feed of releases as one JSON document, asked for with ETag and date.

- ``{"releases": [{"version": "...", "files": [{"name", "length", "sha256", "url"}]}], "withdrawn": ["..."]}``, oldest
  first; ``url`` may be relative to the feed. Other keys of a release or a file are refused: a typo is no option.
- A release that is not good is skipped with its reason; the others are taken.
- YARA and Sigma rules among the files are tried by their own tools, where these are installed.
- ``order``: see ``gate_directory.orders``; ``listed`` is the order of the feed.

Options: ``feed``, the address; ``order``; ``token``, a bearer token, which goes to the feed's own host alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

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
    Source,
    SourceInfo,
    hookimpl,
)
from gate_directory import orders
from gate_github_releases import rules

NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,199}\Z")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+:~-]{0,127}\Z")
DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class Bad(Exception):
    """A release that cannot be taken, with the reason."""


@hookimpl
def gate_describe() -> SourceInfo:
    """Any files; held, since clients take them from the gate."""
    options = {
        "feed": Option("address of the JSON document", required=True),
        "order": orders.OPTION,
        "token": Option("bearer token for the feed's own host", secret=True),
    }
    kinds = ("content", "rules", "binary", "price", "any")
    return SourceInfo("http_feed", "held", kinds, options, why="clients take it from the gate's mirror or our agent")


@hookimpl
def gate_discover(source: Source, cursor: str, io: Io) -> Discovered:
    """The feed, unless it has not changed since ``cursor``."""
    feed = source.options["feed"]
    answer = io.http.get(feed, headers={**_known(cursor), **_credentials(source, io, feed)})
    if answer.status == 304:
        return Discovered((), cursor, unchanged=True)
    found = json.loads(answer.body)
    if not isinstance(found, dict) or not isinstance(found.get("releases"), list):
        raise ValueError("the feed is no object with releases")
    candidates, skipped = [], []
    for release in found["releases"]:
        try:
            candidates.append(_candidate(release, feed, source.max_bytes))
        except Bad as problem:
            skipped.append(str(problem)[:200])
    told = {"etag": answer.headers.get("etag", ""), "date": answer.headers.get("last-modified", "")}
    withdrawn = tuple(str(one) for one in found.get("withdrawn", ()))
    # a feed with something bad in it is read whole again: else nobody would hear of it twice
    return Discovered(tuple(candidates), "" if skipped else json.dumps(told), tuple(skipped[:100]), withdrawn)


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path, io: Io) -> Sequence[Fetched]:
    """Each file from its own address."""
    urls: Mapping[str, str] = json.loads(candidate.where)
    fetched = []
    for one in candidate.artifacts:
        url = urls[one.name]
        headers = _credentials(source, io, url)
        fetched.append(io.http.download(url, into / one.name, most=one.length, headers=headers))
    return fetched


@hookimpl
def gate_lint(
    source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path, baseline: Baseline | None
) -> Sequence[Finding]:
    """What the tools of YARA and Sigma rules say of those among the files."""
    return list(rules.checked([into / one.name for one in fetched]))


@hookimpl
def gate_order(source: Source, a: str, b: str) -> int | None:
    """By number or as text where that is the order; ``listed`` leaves it to the feed."""
    return orders.compared(source.options.get("order", ""), a, b)


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """The older files are served again."""
    if not good:
        return RecallPlan("none", ("There is no release before: take the files off by hand.",), False)
    return RecallPlan("serve_old", ("The gate serves the files of the release before again.",), False)


def _known(cursor: str) -> dict[str, str]:
    told = json.loads(cursor) if cursor else {}
    names = {"etag": "If-None-Match", "date": "If-Modified-Since"}
    return {names[key]: value for key, value in told.items() if key in names and value}


def _credentials(source: Source, io: Io, url: str) -> dict[str, str]:
    token = io.secrets.get("token")
    same = urlsplit(url).netloc == urlsplit(source.options["feed"]).netloc
    return {"Authorization": f"Bearer {token}"} if token and same else {}


def _candidate(release: Any, feed: str, most: int) -> Candidate:
    if not isinstance(release, dict) or set(release) != {"version", "files"}:
        raise Bad("a release is not {version, files}")
    version, files = release["version"], release["files"]
    if not isinstance(version, str) or not VERSION.match(version):
        raise Bad(f"version {str(version)[:80]!r} is not plain")
    if not isinstance(files, list) or not 1 <= len(files) <= 1000:
        raise Bad(f"{version}: no files, or too many")
    artifacts = tuple(_announced(version, one) for one in files)
    if len({one.name.casefold() for one in artifacts}) != len(artifacts):
        raise Bad(f"{version}: a name is listed twice")
    if sum(one.length for one in artifacts) > most:
        raise Bad(f"{version}: larger than {most} bytes")
    return Candidate(version, artifacts, json.dumps({one["name"]: urljoin(feed, one["url"]) for one in files}))


def _announced(version: str, file: Any) -> Announced:
    if not isinstance(file, dict) or set(file) != {"name", "length", "sha256", "url"}:
        raise Bad(f"{version}: a file is not {{name, length, sha256, url}}")
    name, length, digest = file["name"], file["length"], file["sha256"]
    if not isinstance(name, str) or not NAME.match(name):
        raise Bad(f"{version}: {str(name)[:80]!r} is not a plain file name")
    if type(length) is not int or length < 0:
        raise Bad(f"{version}: {name}: length is not a number of bytes")
    if not isinstance(digest, str) or not DIGEST.match(digest) or not isinstance(file["url"], str):
        raise Bad(f"{version}: {name}: sha256 or url is not right")
    return Announced(name, length, digest)
