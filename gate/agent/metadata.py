"""The read plane, the agent's side: a TUF client that asks for one small file when nothing has changed.

- A poll is one conditional GET of ``timestamp.json``. On 304 the known bytes are checked anew, so that expiry still
  counts; only after a 200 the next root is asked for.
- The pinned root comes from the enrolment code, never from the network alone.
- ``targets`` and ``gate`` list no targets; a repository that does is refused.
- A file of the cache that cannot be read is set aside and fetched anew, without the ETag that could spare it. Nothing
  is trusted less for it: a root that was known once must be there again, and no older timestamp is taken (``talk``).

Source: TUF specification 1.0, detailed client workflow (python-tuf), and the agent protocol, "Read plane".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError, StorageError
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization import DeserializationError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from gate.agent.accept import Approved, Bundle, InCatalogue, Override
from gate.agent.errors import Unreachable, Untrusted
from gate.agent.http import Http
from gate.agent.times import moment

MAX_TIMESTAMP = 16 * 1024
MAX_METADATA = 5_000_000
MAX_MANIFEST = 5_000_000
PLAIN_NAME = re.compile(r"[^/\\\x00-\x1f\x7f\ud800-\udfff]{1,255}")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A release's manifest, its bytes checked against its id."""

    source: str
    version: str
    counter: int
    artifacts: tuple[tuple[str, int, str], ...]  # name, length, sha256


class _Fetcher(FetcherInterface):
    """Hands out the timestamp that was just polled; asks for the next root only when that was new."""

    def __init__(self, http: Http, timestamp: bytes, unchanged: bool) -> None:
        self._http = http
        self._timestamp = timestamp
        self._unchanged = unchanged

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = url.removeprefix(self._http.url)
        if path == "/metadata/timestamp.json":
            return iter([self._timestamp])
        if self._unchanged and path.endswith(".root.json"):
            raise DownloadHTTPError("nothing has changed", 404)
        status, body, _ = self._http.get(path, MAX_METADATA)
        if status != 200:
            raise DownloadHTTPError(f"{path} answered {status}", status)
        return iter([body])


class View:
    """One refresh: everything in it belongs together."""

    def __init__(self, updater: Updater, folder: Path, refreshed_at: datetime) -> None:
        self._updater = updater
        self._folder = folder
        self.refreshed_at = refreshed_at
        with _translated():
            stamp = Metadata.from_file(str(folder / "timestamp.json")).signed
        self.timestamp_version = stamp.version
        issued = stamp.unrecognized_fields.get("issued_at")
        try:
            self.issued_at = moment(issued)
        except (ValueError, TypeError) as problem:
            raise Untrusted("the timestamp does not say when it was issued") from problem

    def approved(self, ring: str, source: str) -> Approved | None:
        """My ring's approval of a source."""
        target = self._target(f"rings/{ring}/{source}/current") if ring else None
        if target is None:
            return None
        custom = _custom(target)
        makes = custom.get("makes")
        if makes != "all" and not isinstance(makes, list):
            raise Untrusted("an approval without makes")
        return Approved(
            release=str(custom.get("release")),
            length=target.length,
            sha256=target.hashes.get("sha256", ""),
            action=str(custom.get("action")),
            makes=None if makes == "all" else tuple(str(make) for make in makes),
            recalls=str(custom.get("recalls", "")),
        )

    def catalogued(self, source: str, release: str) -> tuple[InCatalogue, Manifest] | None:
        """What the catalogue says of a release, with its manifest.

        Raises:
            Unreachable, Untrusted: the manifest cannot be had, or is not what was signed.
        """
        digest = release.removeprefix("sha256:")
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            return None
        target = self._target(f"content/{source}/{digest}.json")
        if target is None:
            return None
        custom = _custom(target)
        manifest = self._manifest(target, source)
        try:
            listed = InCatalogue(
                length=target.length,
                sha256=target.hashes.get("sha256", ""),
                first_seen_at=moment(custom["first_seen_at"]),
                counter=int(custom["counter"]),
                manifest_counter=manifest.counter,
                vendor_signature=str(custom["vendor_signature"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError) as problem:
            raise Untrusted("a catalogue entry cannot be read") from problem
        return listed, manifest

    def bundle(self) -> tuple[Bundle, str]:
        """The signed bundle, and the gate's response key."""
        target = self._target("policy/bundle")
        if target is None:
            raise Untrusted("there is no signed policy bundle")
        custom = _custom(target)
        try:
            found = Bundle(
                floor_s={str(ring): int(floor) for ring, floor in custom["floor_s"].items()},
                common_floor_s=int(custom["common_floor_s"]),
                early={str(ring): tuple(map(str, machines)) for ring, machines in custom["early"].items()},
                min_counter={str(source): int(least) for source, least in custom["min_counter"].items()},
            )
            return found, str(custom["response_key"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as problem:
            raise Untrusted("the signed policy bundle cannot be read") from problem

    def override(self, ring: str, source: str) -> Override | None:
        """The signed exception below the floor; any error means that there is none."""
        try:
            target = self._target(f"override/{ring}/{source}/current")
            if target is None:
                return None
            custom = _custom(target)
            return Override(str(custom["release"]), moment(custom["expires_at"]))
        except (Untrusted, Unreachable, KeyError, ValueError, TypeError):
            return None

    def _manifest(self, target: TargetFile, source: str) -> Manifest:
        with _translated():
            path = self._updater.find_cached_target(target) or self._updater.download_target(target)
        raw = Path(path).read_bytes()
        if sha256(raw).hexdigest() != target.hashes.get("sha256"):
            raise Untrusted("a manifest is not what was signed")
        manifest = read_manifest(raw)
        if manifest.source != source:
            raise Untrusted("a manifest belongs to another source")
        return manifest

    def _target(self, path: str) -> TargetFile | None:
        with _translated():
            target = self._updater.get_targetinfo(path)
        for role in ("targets", "gate"):
            file = self._folder / f"{role}.json"
            if not _set_aside(file) and file.exists() and Metadata[Targets].from_file(str(file)).signed.targets:
                raise Untrusted(f"role {role} lists targets of its own")
        return target


class ReadPlane:
    """The client of one gate's read plane; ``root`` are the pinned bytes of ``1.root.json``."""

    def __init__(self, http: Http, folder: Path, root: bytes) -> None:
        self._http = http
        self._folder = folder
        self._root = root
        (folder / "content").mkdir(parents=True, exist_ok=True)

    def refresh(self, etag: str, now: datetime) -> tuple[View, str]:
        """The present state, and the ETag for the next poll.

        Raises:
            Unreachable: no (whole) answer. Untrusted: not signed as it must be, expired, or rolled back.
        """
        known, roots = self._folder / "timestamp.json", self._folder / "root_history"
        torn = [_set_aside(file) for file in (known, *roots.glob("*.root.json"))]
        etag = etag if known.exists() and not any(torn) else ""
        status, body, tag = self._http.get("/metadata/timestamp.json", MAX_TIMESTAMP, etag)
        if status == 304 and etag:
            body, tag = known.read_bytes(), etag
        elif status != 200:
            raise Unreachable(f"the timestamp answered {status}")
        with _translated():
            updater = Updater(
                str(self._folder),
                f"{self._http.url}/metadata/",
                str(self._folder / "content"),
                f"{self._http.url}/",
                _Fetcher(self._http, body, status == 304),
                UpdaterConfig(),
                bootstrap=self._root,
            )
            updater.refresh()
        newest = max((int(file.name.partition(".")[0]) for file in roots.glob("[0-9]*.root.*")), default=1)
        if not (roots / f"{newest}.root.json").exists():
            raise Untrusted(f"root {newest} was known once and cannot be had any more")
        return View(updater, self._folder, now), tag


def _set_aside(file: Path) -> bool:
    """A file that is there and cannot be read makes way for a new one."""
    try:
        Metadata.from_file(str(file))
    except StorageError:
        return False
    except DeserializationError:
        file.replace(file.with_suffix(".torn"))
        return True
    return False


class _translated:
    """python-tuf's errors as ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, problem: BaseException | None, trace: Any) -> None:
        if isinstance(problem, RepositoryError):
            raise Untrusted(f"the read plane is not trusted: {problem}") from problem
        if isinstance(problem, DownloadError):
            raise Unreachable(f"the read plane does not answer: {problem}") from problem


def read_manifest(raw: bytes) -> Manifest:
    """A release's manifest; its artifacts have plain names, so that none of them leaves its folder.

    Raises:
        Untrusted: it cannot be read, or an artifact is named by a path or measured by no digest.
    """
    try:
        found = json.loads(raw)
        artifacts = tuple((str(a["name"]), int(a["length"]), str(a["sha256"])) for a in found["artifacts"])
        manifest = Manifest(str(found["source"]), str(found["version"]), int(found["counter"]), artifacts)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as problem:
        raise Untrusted("a manifest cannot be read") from problem
    for name, length, digest in artifacts:
        if not PLAIN_NAME.fullmatch(name) or name in (".", "..") or length < 0 or not DIGEST.fullmatch(digest):
            raise Untrusted("a manifest lists an artifact that is none")
    if len({name for name, *_ in artifacts}) != len(artifacts):
        raise Untrusted("a manifest lists an artifact twice")
    return manifest


def _custom(target: TargetFile) -> Mapping[str, Any]:
    custom = target.unrecognized_fields.get("custom")
    if not isinstance(custom, dict):
        raise Untrusted(f"{target.path} says nothing")
    return custom
