"""Make a drop: ``python3 -m gate_directory DROP_FOLDER VERSION FILE...``; READY comes last."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path


def make(folder: Path, version: str, files: list[Path]) -> Path:
    """A complete drop of these files; returns its folder.

    Raises:
        FileExistsError: a drop of that version is there already.
    """
    name = "".join(char if char.isalnum() or char in "-_." else "_" for char in version).lstrip(".") or "drop"
    drop = folder / name
    drop.mkdir(parents=True)
    listed = []
    for file in files:
        copy = drop / file.name
        shutil.copyfile(file, copy)
        raw = copy.read_bytes()
        listed.append({"name": file.name, "length": len(raw), "sha256": hashlib.sha256(raw).hexdigest()})
    (drop / "manifest.json").write_text(json.dumps({"version": version, "files": listed}, indent=1))
    ready = drop / ".READY"
    ready.touch()
    ready.rename(drop / "READY")
    return drop


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    print(make(Path(sys.argv[1]), sys.argv[2], [Path(name) for name in sys.argv[3:]]))  # noqa: T201  (a command)
