"""The repository that a ring's machines see: signed by the gate, with the released versions and nothing else.

- ``dists/gate/InRelease``, signed with the source's own key; its ``Date`` is the moment of the move, so that apt takes
  an older release as news. No ``Valid-Until``: a ring may be held for long, and what it has stays good.
- ``Packages`` lies under its name and by its hash; ``pool/`` has the packages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from gate.hookspecs import ServedFile
from gate_apt.openpgp import Key

HASHES = {"SHA256": hashlib.sha256, "SHA512": hashlib.sha512}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def lay_out(
    key: Key, packages: bytes, files: Iterable[str], architecture: str, at: datetime, into: Path
) -> list[ServedFile]:
    """Writes what is made into ``into``, and says what clients find."""
    part = f"main/binary-{architecture}"
    (into / "Packages").write_bytes(packages)
    (into / "InRelease").write_text(key.sign(release(packages, part, architecture, at), at))
    found = [ServedFile("dists/gate/InRelease", made="InRelease")]
    found.append(ServedFile(f"dists/gate/{part}/Packages", made="Packages"))
    for name, hashed in HASHES.items():
        digest = hashed(packages).hexdigest()
        found.append(ServedFile(f"dists/gate/{part}/by-hash/{name}/{digest}", made="Packages"))
    return [*found, *(ServedFile(f"pool/{file}", artifact=file) for file in files)]


def release(packages: bytes, part: str, architecture: str, at: datetime) -> str:
    """The Release file."""
    utc = at.astimezone(UTC)
    date = f"{DAYS[utc.weekday()]}, {utc.day:02} {MONTHS[utc.month - 1]} {utc:%Y %H:%M:%S} UTC"
    lines = ["Origin: gate", "Label: gate", "Suite: gate", "Codename: gate", f"Date: {date}", "Acquire-By-Hash: yes"]
    lines += [f"Architectures: {architecture}", "Components: main"]
    for name, hashed in HASHES.items():
        lines += [f"{name}:", f" {hashed(packages).hexdigest()} {len(packages)} {part}/Packages"]
    return "\n".join(lines) + "\n"
