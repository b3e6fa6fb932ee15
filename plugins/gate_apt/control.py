"""Debian's control files: paragraphs of fields. What is read is hostile text.

- A package is named, versioned and filed in plain characters; its file's name is its own, whatever path it lay under.
- Written paragraphs keep the fields as they came, but for where the file lies and its digests: those are the gate's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gate_apt.versions import VERSION, compared

PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{0,99}\Z", re.ASCII)
FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_%:-]{0,190}\.deb\Z", re.ASCII)
DIGEST = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*):[ \t]*(.*)\Z", re.DOTALL)
OURS = frozenset({"filename", "size", "md5sum", "sha1", "sha256", "sha512"})
LONGEST = 256 * 1024


class Bad(Exception):
    """A repository, or a package in it, that is not taken, with the reason."""


@dataclass(frozen=True, slots=True)
class Package:
    """One file of a package: ``paragraph`` is what a Packages file says of it, without what is in ``OURS``."""

    name: str
    version: str
    architecture: str
    file: str
    length: int
    sha256: str
    where: str
    paragraph: str

    def written(self) -> str:
        """Its paragraph in the Packages file that the gate serves."""
        return f"{self.paragraph}Filename: pool/{self.file}\nSize: {self.length}\nSHA256: {self.sha256}\n"


def fields_of(paragraph: str) -> dict[str, str]:
    """Lower-case name -> value; continued lines are joined with newlines.

    Raises:
        Bad: it is no paragraph, or a field is there twice.
    """
    found: dict[str, str] = {}
    last = ""
    for line in paragraph.splitlines():
        if line[:1] in (" ", "\t") and last:
            found[last] += "\n" + line[1:]
            continue
        match = FIELD.match(line)
        if match is None or match[1].lower() in found:
            raise Bad(f"{line[:60]!r} is no field, or there twice")
        last = match[1].lower()
        found[last] = match[2]
    return found


def paragraphs(lines: Iterable[bytes]) -> Iterator[str]:
    """The paragraphs of a file.

    Raises:
        Bad: one is too long, or no UTF-8.
    """
    held: list[bytes] = []
    length = 0
    for line in lines:
        if line.strip():
            held.append(line)
            length += len(line)
            if length > LONGEST:
                raise Bad("a paragraph is too long")
        elif held:
            yield _text(held)
            held, length = [], 0
    if held:
        yield _text(held)


def package(paragraph: str, file: str, length: str, sha256: str, where: str) -> Package:
    """A package as a paragraph describes it.

    Raises:
        Bad: something about it is not plain.
    """
    said = fields_of(paragraph)
    name, version, architecture = (said.get(field, "") for field in ("package", "version", "architecture"))
    plain = PACKAGE.match(name) and VERSION.match(version) and PACKAGE.match(architecture)
    if not plain or not FILE.match(file) or not DIGEST.match(sha256) or not re.match(r"[1-9][0-9]{0,11}\Z", length):
        raise Bad(f"{name[:60]!r} {version[:60]!r}: its name, version, file, size or SHA256 is not plain")
    lines = []
    drop = False
    for line in paragraph.splitlines():
        if line[:1] not in (" ", "\t"):
            drop = line.partition(":")[0].lower() in OURS
        if not drop:
            lines.append(line.rstrip() + "\n")
    return Package(name, version, architecture, file, int(length), sha256, where, "".join(lines))


def newest(packages: Iterable[Package], names: Iterable[str]) -> list[Package]:
    """The newest of each name, in the order of the names.

    Raises:
        Bad: one is missing, or is there twice with other bytes.
    """
    best: dict[str, Package] = {}
    for one in packages:
        order = compared(one.version, best[one.name].version) if one.name in best else 1
        if order == 0 and one.sha256 != best[one.name].sha256:
            raise Bad(f"{one.name} {one.version} is there twice with other bytes")
        if order > 0:
            best[one.name] = one
    missing = [name for name in names if name not in best]
    if missing:
        raise Bad(f"there is no {', '.join(missing)[:200]}")
    return [best[name] for name in names]


def _text(lines: list[bytes]) -> str:
    try:
        return b"".join(lines).decode()
    except UnicodeDecodeError as problem:
        raise Bad("a paragraph is not UTF-8") from problem
