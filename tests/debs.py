"""Packages made by dpkg-deb, and a vendor's signed repository of them."""

from __future__ import annotations

import hashlib
import lzma
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from gate_apt import openpgp
from tests.conftest import missing
from tests.upstream import Upstream

SUITE = "stable"


def needed(*programs: str) -> None:
    """Skips, or fails, where a real program is missing."""
    for program in programs:
        if shutil.which(program) is None:
            missing(f"{program} is not installed")


def deb(folder: Path, name: str, version: str, *, depends: str = "", says: str = "") -> Path:
    """A package with one file, whose content is its version; ``says``: another version in its name."""
    needed("dpkg-deb")
    tree = folder / f".{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/share" / name).mkdir(parents=True)
    (tree / "usr/share" / name / "version").write_text(version)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: V <v@vendor.example>\n"
    control += f"Depends: {depends}\n" if depends else ""
    (tree / "DEBIAN/control").write_text(control + "Description: a test\n of it\n")
    path = folder / f"{name}_{(says or version).rpartition(':')[2]}_all.deb"
    words = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)]
    subprocess.run(words, check=True, capture_output=True)
    shutil.rmtree(tree)
    return path


class Vendor:
    """A signed repository on a server of this machine."""

    def __init__(self, server: Upstream, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.key = openpgp.make(folder / "vendor.key")
        self.keyring = folder / "vendor.gpg"
        self.keyring.write_bytes(self.key.public())

    def says(self, files: Sequence[Path], at: datetime, *, head: str = "", key: openpgp.Key | None = None) -> None:
        """Publishes these packages under a date that may also go back."""
        paragraphs = []
        for path in files:
            raw = path.read_bytes()
            said = subprocess.run(["dpkg-deb", "-f", str(path)], check=True, capture_output=True, text=True).stdout
            where = f"pool/files/{path.name}"
            said += f"Filename: {where}\nSize: {len(raw)}\nMD5sum: 0\nSHA256: {hashlib.sha256(raw).hexdigest()}\n"
            paragraphs.append(said)
            self.server.file(f"/debian/{where}", raw)
        self.lists("\n".join(paragraphs), at, head=head, key=key)

    def lists(self, packages: str, at: datetime, *, head: str = "", key: openpgp.Key | None = None) -> None:
        """Publishes this Packages file."""
        raw = lzma.compress(packages.encode())
        digest = hashlib.sha256(raw).hexdigest()
        text = f"Suite: {SUITE}\nDate: {at:%a, %d %b %Y %H:%M:%S} UTC\nAcquire-By-Hash: yes\n{head}"
        text += f"SHA256:\n {digest} {len(raw)} main/binary-amd64/Packages.xz\n"
        signed = (key or self.key).sign(text, at).encode()
        self.server.file(f"/debian/dists/{SUITE}/main/binary-amd64/by-hash/SHA256/{digest}", raw)
        self.server.file(f"/debian/dists/{SUITE}/InRelease", signed, etag=f'"{hashlib.md5(signed).hexdigest()}"')

    def options(self) -> dict[str, str]:
        """Of a source on it."""
        return {"repository": self.server.url("/debian"), "suite": SUITE, "keyring": str(self.keyring)}
