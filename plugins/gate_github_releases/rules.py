"""YARA and Sigma rules among the assets, compiled by their own tools (``yarac``, ``sigma check``) where these are here.

- A file counts as YARA by its ending, as Sigma by its ending and a ``detection`` in it.
- What a tool rejects, or does not answer in time, is refused; where it is missing, a note says that nobody looked.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gate.hookspecs import Finding

YARA, SIGMA = (".yar", ".yara"), (".yml", ".yaml")
DETECTION = re.compile(rb"^detection\s*:", re.MULTILINE)
TOOL_S = 20.0
FIRST = 1 << 20


def checked(files: Sequence[Path]) -> Iterator[Finding]:
    """What the tools say."""
    yara = [path for path in files if path.name.lower().endswith(YARA)]
    sigma = [path for path in files if path.name.lower().endswith(SIGMA) and _is_sigma(path)]
    yield from _by("yarac", "yara", yara, lambda path: ["yarac", str(path), "/dev/null"])
    yield from _by("sigma", "sigma", sigma, lambda path: ["sigma", "check", str(path)])


def _is_sigma(path: Path) -> bool:
    with path.open("rb") as file:
        return DETECTION.search(file.read(FIRST)) is not None


def _by(tool: str, code: str, files: Sequence[Path], words: Callable[[Path], list[str]]) -> Iterator[Finding]:
    if files and shutil.which(tool) is None:
        said = f"{tool} is not installed here: nobody has tried {len(files)} files"
        yield Finding("note", f"{code}_not_checked", said)
        return
    for path in files:
        try:
            done = subprocess.run(words(path), capture_output=True, timeout=TOOL_S, check=False)
        except subprocess.TimeoutExpired:
            yield Finding("refuse", code, f"{path.name}: {tool} has no answer within {TOOL_S:g} s")
            continue
        if done.returncode != 0:
            said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            first = next((line for line in said if "error" in line.lower()), said[0] if said else "")  # after warnings
            yield Finding("refuse", code, f"{path.name}: {first[:300] or f'exit {done.returncode}'}")
