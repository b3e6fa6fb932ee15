"""Where packages come from: a signed repository over https, or a folder of ``.deb`` files.

- InRelease is checked by ``gpgv`` with the key ring that people gave; what it has signed is what is read, nothing
  around it. One good signature by such a key is needed, with SHA-2; a bad one, or one by a revoked key, spoils it.
- The suite is the one that was asked for; ``Valid-Until`` is not over; ``Date`` never goes back (the cursor remembers).
- Packages is loaded by its hash where the repository has that, held to SHA-256 and size, and unpacked up to a cap.
- A file in the folder has its final name when it is whole: copy it under another name, and rename it.
"""

from __future__ import annotations

import gzip
import hashlib
import lzma
import re
import subprocess
import tempfile
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from pathlib import Path
from typing import IO, cast
from urllib.parse import quote

from gate.hookspecs import Answer, Io, Source
from gate_apt.control import Bad, Package, fields_of, newest, package, paragraphs

SUITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,99}\Z", re.ASCII)
LISTED = re.compile(r"([0-9a-f]{64})\s+([0-9]{1,12})\s+(\S+)\Z", re.ASCII)
RELEASE = 4 * 1024**2
PACKAGES = 64 * 1024**2
UNPACKED = 512 * 1024**2
FILES = 500
OPENED: dict[str, Callable[[BytesIO], IO[bytes]]] = {
    ".xz": lambda raw: lzma.LZMAFile(raw),  # noqa: SIM115  (who opens it closes it)
    ".gz": lambda raw: cast(IO[bytes], gzip.GzipFile(fileobj=raw)),
    "": lambda raw: raw,
}
SHA2 = ("8", "9", "10", "11")


@dataclass(frozen=True, slots=True)
class Read:
    """What a repository offers now of the packages that are wanted; ``signer``: a fingerprint, empty for a folder."""

    packages: list[Package]
    signer: str = ""
    date: str = ""
    until: str = ""
    """``Valid-Until``; empty where the list does not say."""


def names(source: Source) -> list[str]:
    """Which packages are wanted."""
    return source.options["packages"].split()


def architecture(source: Source) -> str:
    """For which machines."""
    return source.options.get("architecture", "amd64")


def in_release(source: Source, io: Io, etag: str) -> Answer:
    """The signed list of a repository, or 304."""
    headers = {"If-None-Match": etag} if etag else {}
    return io.http.get(f"{_base(source)}/InRelease", most=RELEASE, headers=headers)


def repository(source: Source, io: Io, raw: bytes, before: str) -> Read:
    """What a repository offers; ``raw`` is its InRelease, ``before`` the Date of the last one.

    Raises:
        Bad: it is not taken, with the reason. OSError: it does not answer.
    """
    text, signer = signed(raw, Path(source.options["keyring"]))
    said = fields_of(text)
    suite = source.options["suite"]
    if suite not in (said.get("suite"), said.get("codename")):
        raise Bad(f"it is not {suite}")
    date = said.get("date", "")
    until = said.get("valid-until", "")
    still_valid(until, io)
    if before and _moment(date) < _moment(before):
        raise Bad(f"its date went back from {before[:60]} to {date[:60]}: a replay")
    found = _listed(source, io, said)
    wanted = set(names(source))
    base = source.options["repository"].rstrip("/")
    packages = []
    for paragraph in paragraphs(found):
        if paragraph.partition("\n")[0].partition(": ")[2] not in wanted and "\nPackage:" not in paragraph:
            continue
        fields = fields_of(paragraph)
        path = fields.get("filename", "")
        if fields.get("package") in wanted and _here(fields.get("architecture", ""), source):
            if ".." in path.split("/") or path.startswith("/"):
                raise Bad(f"{path[:80]!r} leads out of the repository")
            file, length, sha256 = path.rpartition("/")[2], fields.get("size", ""), fields.get("sha256", "")
            packages.append(package(paragraph, file, length, sha256, f"{base}/{quote(path)}"))
    return Read(newest(packages, names(source)), signer, date, until)


def folder(source: Source) -> Read:
    """What a folder has.

    Raises:
        Bad: it is not taken, with the reason.
    """
    home = Path(source.options["folder"])
    files = sorted(home.glob("*.deb"))
    if len(files) > FILES:
        raise Bad(f"the folder has more than {FILES} packages")
    found = []
    for path in files:
        if path.is_symlink() or not path.is_file():
            raise Bad(f"{path.name[:100]!r} is not a plain file")
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        paragraph = described(path)
        if _here(fields_of(paragraph).get("architecture", ""), source):
            found.append(package(paragraph, path.name, str(path.stat().st_size), sha256, str(path)))
    wanted = set(names(source))
    return Read(newest([one for one in found if one.name in wanted], names(source)))


def described(path: Path) -> str:
    """What a package says of itself, by dpkg-deb.

    Raises:
        Bad: it is no package. FileNotFoundError: there is no dpkg-deb.
    """
    done = subprocess.run(["dpkg-deb", "--field", str(path)], capture_output=True, timeout=30, check=False)
    if done.returncode:
        raise Bad(f"{path.name[:100]}: dpkg-deb cannot read it")
    (found,) = paragraphs(done.stdout.splitlines(keepends=True))
    return found


def signed(raw: bytes, keyring: Path) -> tuple[str, str]:
    """The text that was signed, and by which key.

    Raises:
        Bad: no good signature by a key of the ring.
    """
    with tempfile.TemporaryDirectory() as place:
        given, keys, text = Path(place) / "given", Path(place) / "keys.gpg", Path(place) / "text"
        given.write_bytes(raw)
        keys.write_bytes(_unarmoured(keyring.read_bytes()))
        words = ["gpgv", "--homedir", place, "--keyring", str(keys), "--status-fd", "1", "--output", str(text)]
        done = subprocess.run([*words, str(given)], capture_output=True, timeout=30, check=False)
        said = [line.split() for line in done.stdout.decode("ascii", "replace").splitlines()]
        words_of = {line[1] for line in said if len(line) > 1}
        valid = [line for line in said if line[1:2] == ["VALIDSIG"] and len(line) > 9]
        if "GOODSIG" not in words_of or words_of & {"BADSIG", "REVKEYSIG"} or not valid:
            raise Bad("InRelease has no good signature by a key of the key ring")
        if any(line[9] not in SHA2 for line in valid):
            raise Bad("InRelease is signed with a weak digest")
        return text.read_text("utf-8", "strict"), valid[0][2]


def _base(source: Source) -> str:
    suite = source.options["suite"]
    if not SUITE.match(suite) or ".." in suite:
        raise ValueError("suite is not a plain word")
    return f"{source.options['repository'].rstrip('/')}/dists/{suite}"


def _here(found: str, source: Source) -> bool:
    return found in (architecture(source), "all")


def _listed(source: Source, io: Io, said: dict[str, str]) -> Iterator[bytes]:
    """The lines of the Packages file that the release lists."""
    listed = {}
    for line in said.get("sha256", "").split("\n"):
        match = LISTED.match(line.strip())
        if match is not None:
            listed[match[3]] = (match[1], int(match[2]))
    part = f"{source.options.get('component', 'main')}/binary-{architecture(source)}"
    for ending in OPENED:
        name = f"{part}/Packages{ending}"
        if name not in listed:
            continue
        sha256, length = listed[name]
        by_hash = said.get("acquire-by-hash", "").strip().lower() == "yes"
        path = f"{part}/by-hash/SHA256/{sha256}" if by_hash else name
        raw = io.http.get(f"{_base(source)}/{path}", most=PACKAGES).body
        if (hashlib.sha256(raw).hexdigest(), len(raw)) != (sha256, length):
            raise Bad(f"{name} is not what InRelease lists")
        return _unpacked(raw, ending)
    raise Bad(f"it lists no Packages for {part}")


def _unpacked(raw: bytes, ending: str) -> Iterator[bytes]:
    left = UNPACKED
    try:
        with OPENED[ending](BytesIO(raw)) as file:
            while line := file.readline(1 << 20):
                left -= len(line)
                if left < 0:
                    raise Bad("Packages is too large when unpacked")
                yield line
    except (lzma.LZMAError, zlib.error, OSError, EOFError) as problem:
        raise Bad("Packages cannot be unpacked") from problem


def still_valid(until: str, io: Io) -> None:
    """Whether the moment has not come.

    Raises:
        Bad: it is over.
    """
    if until and _moment(until) < io.now():
        raise Bad(f"it was valid until {until[:60]}: old, or somebody holds it back")


def _moment(said: str) -> datetime:
    try:
        found = parsedate_to_datetime(said)
    except (ValueError, TypeError) as problem:
        raise Bad(f"{said[:60]!r} is no date") from problem
    if found.tzinfo is None:
        raise Bad(f"{said[:60]!r} has no time zone")
    return found


def _unarmoured(raw: bytes) -> bytes:
    """gpgv reads key rings in binary alone; vendors give them in letters, too."""
    if not raw.lstrip().startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----"):
        return raw
    body = raw.replace(b"\r\n", b"\n").partition(b"\n\n")[2].partition(b"-----END")[0]
    lines = [line for line in body.split(b"\n") if line and not line.startswith(b"=")]
    try:
        return b64decode(b"".join(lines), validate=True)
    except ValueError as problem:
        raise Bad("the key ring cannot be read") from problem
