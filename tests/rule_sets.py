"""Rule sets as a vendor would publish them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

NAME = "test.rules.tar.gz"


def rule(sid: int, msg: str = "test", rev: int = 1) -> str:
    """A good rule."""
    header = "alert http $HOME_NET any -> [10.0.0.0/8,!10.1.1.1] 80"
    return f'{header} (msg:"{msg}"; content:"a|3b 20|b"; sid:{sid}; rev:{rev};)'


def plain(sids: Iterable[int], msg: str = "test") -> bytes:
    """A tarball of good rules."""
    return packed([("rules/test.rules", "\n".join(rule(sid, msg) for sid in sids).encode())])


def packed(files: Sequence[tuple[str, bytes]], members: Sequence[tarfile.TarInfo] = ()) -> bytes:
    """A tarball with these files, and other members as they are."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for member in members:
            tar.addfile(member)
    return gzip.compress(raw.getvalue(), mtime=0)


def put(folder: Path, raw: bytes, number: int, name: str = NAME) -> None:
    """The vendor publishes; ``number``: the second of its date."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(raw)
    (folder / f"{name}.md5").write_text(hashlib.md5(raw).hexdigest() + "\n")
    os.utime(folder / f"{name}.md5", (1_700_000_000 + number,) * 2)
