"""A published directory for tests, and a stock TUF client on it."""

from __future__ import annotations

import json
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater, UpdaterConfig

from gate.adapters import keys
from gate.adapters.publisher_tuf import TufPublisher
from gate.ports import Catalogued, Wanted


class FolderFetcher(FetcherInterface):
    """Reads the published directory as a file server would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def _fetch(self, url: str) -> Any:
        path = url.removeprefix("http://gate.test/")
        self.asked.append(path)
        file = self.folder / path
        if not file.is_file():
            raise DownloadHTTPError("not found", 404)
        return iter([file.read_bytes()])


def manifest(source: str = "shop", version: str = "1", counter: int = 1) -> bytes:
    body = {"source": source, "version": version, "kind": "content", "boot_critical": False, "counter": counter}
    return json.dumps(body | {"artifacts": []}, sort_keys=True, separators=(",", ":")).encode()


def catalogued(version: str = "1", counter: int = 1, first_seen_at: str = "2026-03-01T00:00:00Z") -> Catalogued:
    return Catalogued(manifest("shop", version, counter), first_seen_at, "none", counter)


def custom(release: Catalogued, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "release": f"sha256:{release.hex}",
        "decision": "1",
        "decided_at": "2026-03-02T00:00:00Z",
        "policy_version": "c" * 40,
        "makes": "all",
        "action": "install",
    }
    return base | more


def bundle(**more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "policy_version": "c" * 40,
        "floor_s": {"first": 0, "rest": 3600},
        "common_floor_s": 0,
        "early": {},
        "max_stale_s": 300,
        "min_counter": {},
        "response_key": "ab" * 32,
        "root_sha256": "cd" * 32,
    }
    return base | more


def wanted(*releases: Catalogued, **rings: dict[str, Any]) -> Wanted:
    return Wanted(bundle(), {"shop": releases}, {"first": {}, "rest": {}, **rings}, 7, "ab" * 32)


def publisher(folder: Path, now: datetime) -> TufPublisher:
    keys.create(folder / "keys")
    made = TufPublisher(folder / "public", keys.load_signers(folder / "keys"))
    made.create_root(now)
    return made


def updater(folder: Path, cache: Path, fetcher: FolderFetcher | None = None) -> Updater:
    cache.mkdir(parents=True, exist_ok=True)
    root = (folder / "public" / "metadata" / "1.root.json").read_bytes()
    return Updater(
        str(cache),
        "http://gate.test/metadata/",
        str(cache),
        "http://gate.test/",
        fetcher or FolderFetcher(folder / "public"),
        UpdaterConfig(),
        bootstrap=root,
    )


def digest(raw: bytes) -> str:
    return sha256(raw).hexdigest()
