"""Releases of one GitHub repository, by the REST API: ``GET /repos/{owner}/{repo}/releases``.

- Drafts and prereleases are left alone; ``prereleases: yes`` takes the latter.
- An asset's ``digest`` (``sha256:...``) is what its bytes must be. Assets that were uploaded before GitHub kept digests
  have none: such a release comes in only where the policy says ``trust: unverified``.
- A release is complete when each asset is ``uploaded``; one without assets that are wanted is not there.
- Versions are ordered by the numbers and words from the first number of the tag on, a prerelease before its release:
  r2024-02-26 < r2024-03-11, 1.1.1 < 1.1.1v < 1.1.1w, v4.5.0-rc1 < v4.5.0 < v4.5.0-hotfix. What stands before the first
  number, separators and closing zeros say nothing: of v1.0 and 1.0.0 the later is not taken. Where a tag has no number
  the order is that of the API. The newest ten are looked at.
- Lint: YARA and Sigma rules by their own tools, see ``rules``.
- Hosts that the policy must name: ``api.github.com``, ``github.com``, ``release-assets.githubusercontent.com``.

Options: ``repository`` (owner/name), ``assets`` (a shell pattern, all without it), ``prereleases``, ``api`` (another
server's address), ``token``, which goes to the API alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
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
    Source,
    SourceInfo,
    hookimpl,
)
from gate_github_releases import rules

API = "https://api.github.com"
REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}\Z")
NAME = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,199}\Z")
DIGEST = re.compile(r"sha256:([0-9a-f]{64})\Z")
EARLY = ("alpha", "beta", "rc", "pre", "dev")
NEWEST = 10
MOST = 8 * 1024**2


class Bad(Exception):
    """A release that cannot be taken, with the reason."""


@hookimpl
def gate_describe() -> SourceInfo:
    """Assets of releases; held, since clients take them from the gate."""
    options = {
        "repository": Option("owner/name", required=True),
        "assets": Option("which assets, as a shell pattern such as *.yar; all without it"),
        "prereleases": Option("take prereleases too", choices=("no", "yes")),
        "api": Option(f"address of the API, {API} without it"),
        "token": Option("token for the API: more calls an hour, and private repositories", secret=True),
    }
    kinds = ("rules", "content", "binary", "engine", "any")
    why = "clients take it from the gate's mirror or our agent"
    return SourceInfo("github_releases", "held", kinds, options, why=why)


@hookimpl
def gate_discover(source: Source, cursor: str, io: Io) -> Discovered:
    """The newest releases, oldest first, unless nothing has changed since ``cursor``, which is an ETag."""
    headers = {**_headers(io), "Accept": "application/vnd.github+json"}
    if cursor:
        headers["If-None-Match"] = cursor
    answer = io.http.get(f"{_releases(source)}?per_page={NEWEST}", most=MOST, headers=headers)
    if answer.status == 304:
        return Discovered((), cursor, unchanged=True)
    candidates, skipped, waiting = [], [], False
    for release in reversed(_list(json.loads(answer.body))):
        if release.get("draft") or (release.get("prerelease") and source.options.get("prereleases") != "yes"):
            continue
        assets = _wanted(release, source)
        if not assets or any(one.get("state") != "uploaded" for one in assets):
            waiting = waiting or bool(assets)
            continue
        try:
            candidates.append(_candidate(release, assets, source.max_bytes))
        except Bad as problem:
            skipped.append(str(problem)[:200])
    told = "" if skipped or waiting else answer.headers.get("etag", "")
    return Discovered(tuple(candidates), told, tuple(skipped))


@hookimpl
def gate_fetch(source: Source, candidate: Candidate, into: Path, io: Io) -> Sequence[Fetched]:
    """Each asset by its id, through the redirect that the API answers with."""
    ids = json.loads(candidate.where)
    headers = {**_headers(io), "Accept": "application/octet-stream"}
    return [
        io.http.download(
            f"{_releases(source)}/assets/{int(ids[one.name])}", into / one.name, most=one.length, headers=headers
        )
        for one in candidate.artifacts
    ]


@hookimpl
def gate_lint(
    source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path, baseline: Baseline | None
) -> Sequence[Finding]:
    """What the rules' own tools say."""
    return list(rules.checked([into / one.name for one in fetched]))


@hookimpl
def gate_order(source: Source, a: str, b: str) -> int | None:
    """By the numbers and words in the tag; a prerelease is before its release."""
    first, second = _key(a), _key(b)
    return (first > second) - (first < second) if first and second else None


@hookimpl
def gate_recall_plan(source: Source, ring: str, bad: str, good: str) -> RecallPlan:
    """The older assets are served again."""
    if not good:
        return RecallPlan("none", ("There is no release before: take the assets off by hand.",), False)
    return RecallPlan("serve_old", ("The gate serves the assets of the release before again.",), False)


def _releases(source: Source) -> str:
    repository = source.options["repository"]
    if not REPOSITORY.match(repository) or ".." in repository:
        raise ValueError(f"{repository[:80]!r} is not owner/name")
    return f"{source.options.get('api', API).rstrip('/')}/repos/{repository}/releases"


def _headers(io: Io) -> dict[str, str]:
    token = io.secrets.get("token")
    told = {"X-GitHub-Api-Version": "2022-11-28"}
    return {**told, "Authorization": f"Bearer {token}"} if token else told


def _list(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError("the API did not answer a list of releases")
    return found


def _wanted(release: dict[str, Any], source: Source) -> list[dict[str, Any]]:
    pattern = source.options.get("assets", "*")
    return [one for one in _list(release.get("assets", [])) if fnmatchcase(str(one.get("name")), pattern)]


def _candidate(release: dict[str, Any], assets: list[dict[str, Any]], most: int) -> Candidate:
    version = release.get("tag_name")
    if not isinstance(version, str) or not 1 <= len(version) <= 128 or not version.isprintable():
        raise Bad(f"tag {str(version)[:80]!r} is not plain")
    artifacts = tuple(_announced(version, one) for one in assets)
    if sum(one.length for one in artifacts) > most:
        raise Bad(f"{version}: larger than {most} bytes")
    return Candidate(version, artifacts, json.dumps({one["name"]: one["id"] for one in assets}))


def _announced(version: str, asset: dict[str, Any]) -> Announced:
    name, size = asset.get("name"), asset.get("size")
    if not isinstance(name, str) or not NAME.match(name):
        raise Bad(f"{version}: {str(name)[:80]!r} is not a plain file name")
    if type(size) is not int or size < 0 or type(asset.get("id")) is not int:
        raise Bad(f"{version}: {name} has no size or no id")
    digest = DIGEST.match(asset.get("digest") or "")
    if asset.get("digest") and not digest:
        raise Bad(f"{version}: {name} has a digest that is not sha256")
    return Announced(name, size, digest[1] if digest else "")


def _key(tag: str) -> list[tuple[int, int, str]]:
    """Every number and word from the first number on; empty where there is none. A number is after a word, a word
    after nothing, and nothing after a word that says *early*. Zeros that close a run of numbers say nothing."""
    key: list[tuple[int, int, str]] = []
    for part in re.findall(r"[0-9]+|[a-z]+", tag.lower()):
        if part.isdigit():
            key.append((2, int(part), ""))
        elif key:
            _without_zeros(key)
            key.append((-1 if part.startswith(EARLY) else 1, 0, part))
    _without_zeros(key)
    return [*key, (0, 0, "")] if key else []


def _without_zeros(key: list[tuple[int, int, str]]) -> None:
    while len(key) > 1 and key[-1] == (2, 0, ""):
        key.pop()
