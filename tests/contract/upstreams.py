"""One upstream for each plugin that ships, as the vendor's own server would answer."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, TargetFile, Targets, Timestamp

from gate.hookspecs import Source
from gate_apt import openpgp
from gate_directory.__main__ import make
from tests import debs, definitions, rule_sets
from tests.conftest import shared
from tests.cvds import vendor as signed_cvd
from tests.falcon_mock import Falcon, falcon_source
from tests.upstream import Asked, Reply, Upstream

AT = datetime(2026, 3, 1, tzinfo=UTC)


def sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def directory(vendor: Upstream, folder: Path) -> Source:
    """A drop folder with two drops."""
    (folder / "drops").mkdir()
    for version in ("1", "2"):
        file = folder / "prices.json"
        file.write_text(f'{{"version": {version}}}')
        make(folder / "drops", version, [file])
    return Source("shop", {"folder": str(folder / "drops")}, 1_000_000)


def feed(vendor: Upstream, releases: list[tuple[str, bytes]], **more: Any) -> None:
    """A feed with one file a release."""
    listed = []
    for version, raw in releases:
        vendor.file(f"/files/{version}", raw)
        one = {"name": "rules.yar", "length": len(raw), "sha256": sha256(raw), "url": f"files/{version}"}
        listed.append({"version": version, "files": [one]})
    raw = json.dumps({"releases": listed, **more}).encode()
    vendor.file("/feed.json", raw, etag=f'"{sha256(raw)[:8]}"')


def http_feed(vendor: Upstream, folder: Path) -> Source:
    """A feed on a web server."""
    feed(vendor, [("1.9", b"rule a {}"), ("1.10", b"rule b {}")])
    options = {"feed": vendor.url("/feed.json"), "order": "numbers"}
    return Source("rules", options, 1_000_000, (vendor.host,))


def github(vendor: Upstream, releases: list[tuple[str, bytes]], **more: Any) -> None:
    """As api.github.com answers: releases newest first, assets behind a redirect."""
    found = []
    for number, (tag, raw) in enumerate(releases, 1):
        vendor.file(f"/storage/{number}", raw)
        vendor.answers[f"/repos/acme/rules/releases/assets/{number}"] = Reply(
            302, b"", {"Location": vendor.url(f"/storage/{number}")}
        )
        asset = {"id": number, "name": "rules.yar", "size": len(raw), "state": "uploaded", "url": "x"}
        asset |= {"digest": f"sha256:{sha256(raw)}", "browser_download_url": "x", "content_type": "text/plain"}
        release = {"id": number, "tag_name": tag, "draft": False, "prerelease": "-rc" in tag, "assets": [asset]}
        found.append({**release, **more})
    raw = json.dumps(found[::-1]).encode()

    def answer(asked: Asked) -> Reply:
        etag = f'W/"{sha256(raw)[:8]}"'
        if asked.headers.get("if-none-match") == etag:
            return Reply(304, b"", {"ETag": etag})
        return Reply(200, raw, {"ETag": etag})

    vendor.answers["/repos/acme/rules/releases"] = answer


def github_releases(vendor: Upstream, folder: Path) -> Source:
    """A repository with two releases and a prerelease."""
    github(vendor, [("v1.9.0", b"rule a {}"), ("v1.10.0-rc1", b"rule b {}"), ("v1.10.0", b"rule c {}")])
    options = {"repository": "acme/rules", "api": vendor.url("")}
    return Source("rules", options, 1_000_000, (vendor.host,))


class TufVendor:
    """A TUF repository of a vendor, with one key for all."""

    def __init__(self, vendor: Upstream) -> None:
        self.vendor = vendor
        self.signer = CryptoSigner.generate_ed25519()
        root = Root(expires=self.later(), consistent_snapshot=True)
        for role in ("root", "timestamp", "snapshot", "targets"):
            root.add_key(self.signer.public_key, role)
        self.root = self.signed(Metadata(root))
        self.number = 0

    def later(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)

    def signed(self, metadata: Metadata[Any]) -> bytes:
        metadata.sign(self.signer)
        return metadata.to_bytes()

    def says(self, number: int, files: dict[str, bytes], version: str = "") -> None:
        """Publishes targets under a number that may also go back."""
        self.number = number
        targets = Targets(version=number, expires=self.later())
        for name, raw in files.items():
            target = TargetFile.from_data(name, raw, ["sha256"])
            if version:
                target.unrecognized_fields["custom"] = {"version": version}
            targets.targets[name] = target
            self.vendor.file(f"/targets/{sha256(raw)}.{name}", raw)
        snapshot = Snapshot(version=number, expires=self.later())
        snapshot.meta["targets.json"].version = number
        timestamp = Timestamp(version=number, expires=self.later())
        timestamp.snapshot_meta.version = number
        for name, made in (
            (f"{number}.targets", self.signed(Metadata(targets))),
            (f"{number}.snapshot", self.signed(Metadata(snapshot))),
            ("timestamp", self.signed(Metadata(timestamp))),
        ):
            self.vendor.answers[f"/metadata/{name}.json"] = Reply(200, made)


def tuf_source(repository: TufVendor, folder: Path) -> Source:
    """A source on that repository."""
    vendor = repository.vendor
    (folder / "root.json").write_bytes(repository.root)
    options = {"metadata": vendor.url("/metadata"), "target_files": vendor.url("/targets")}
    return Source("vendor", {**options, "root": str(folder / "root.json")}, 1_000_000, (vendor.host,))


def tuf(vendor: Upstream, folder: Path) -> Source:
    """A TUF repository with two targets."""
    repository = TufVendor(vendor)
    repository.says(1, {"a.bin": b"a" * 100, "b.bin": b"b" * 100})
    return tuf_source(repository, folder)


def suricata(vendor: Upstream, folder: Path) -> Source:
    """A rules tarball with its md5 beside it."""
    raw = rule_sets.plain([1, 2, 3])
    md5 = hashlib.md5(raw).hexdigest()
    vendor.file(f"/files/{rule_sets.NAME}", raw)
    vendor.file(f"/files/{rule_sets.NAME}.md5", md5.encode())
    return Source("ids", {"rules": vendor.url(f"/files/{rule_sets.NAME}")}, 1_000_000, (vendor.host,))


def apt(vendor: Upstream, folder: Path) -> Source:
    """A signed repository, of which one package is wanted."""
    repository = debs.Vendor(vendor, folder)
    repository.says([debs.deb(folder, "till", "1"), debs.deb(folder, "printer", "2")], AT)
    openpgp.make(folder / "own.key")
    options = {**repository.options(), "packages": "till", "key": str(folder / "own.key")}
    return Source("till", options, 1_000_000, (vendor.host,))


def observe(vendor: Upstream, folder: Path) -> Source:
    """Nothing: it asks nobody."""
    return Source("terminal", {})


def clamav(vendor: Upstream, folder: Path) -> Source:
    """A folder as cvdupdate fills it, with a database that its vendor has signed."""
    (folder / "cvds").mkdir()
    (folder / "cvds" / "daily.cvd").write_bytes(signed_cvd(shared(), 3))
    return Source("av", {"folder": str(folder / "cvds")}, 1_000_000)


def edr(vendor: Upstream, folder: Path) -> Source:
    """A vendor that delivers by itself, with two versions that can be pinned."""
    return falcon_source(Falcon(vendor, {"rapid_response_al_bl_listing": ["2026.11.1", "2026.11.2"]}), folder)


def defender(vendor: Upstream, folder: Path) -> Source:
    """A feeder's share."""
    definitions.share(folder / "feeder", "1.421.226.0", "x64", "arm64")
    return Source("defender", {"folder": str(folder / "feeder")}, 1_000_000)


SHIPPED = {
    "apt": apt,
    "clamav": clamav,
    "defender": defender,
    "directory": directory,
    "falcon": edr,
    "http_feed": http_feed,
    "github_releases": github_releases,
    "observe": observe,
    "suricata": suricata,
    "tuf": tuf,
}
