"""What the published files say of themselves: each role's version and the day on which it expires."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Role:
    """One role of the read plane, as it is published now."""

    name: str
    version: int
    expires_at: datetime
    written_at: datetime


def roles(public: Path) -> list[Role]:
    """The newest file of each role, by name; what cannot be read is left out, and readiness says why."""
    newest: dict[str, Role] = {}
    for one in _read(public / "metadata"):
        if one.name not in newest or one.version > newest[one.name].version:
            newest[one.name] = one
    return [newest[name] for name in sorted(newest)]


def _read(folder: Path) -> Iterator[Role]:
    for file in folder.glob("*.json"):
        try:
            signed = json.loads(file.read_bytes())["signed"]
            expires = datetime.fromisoformat(signed["expires"])
            written = datetime.fromtimestamp(file.stat().st_mtime, UTC)
            version = int(signed["version"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        yield Role(file.name.removesuffix(".json").rpartition(".")[2], version, expires, written)
