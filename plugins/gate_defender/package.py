"""What a definition package says of itself: the file version in its version resource (``VS_FIXEDFILEINFO``), and who
has signed it (Authenticode, by ``osslsigncode``)."""

from __future__ import annotations

import mmap
import re
import shutil
import struct
import subprocess
from pathlib import Path

FIXED = b"\xbd\x04\xef\xfe\x00\x00\x01\x00"
"""The signature of ``VS_FIXEDFILEINFO`` and its version 1.0; the file version follows."""
SIGNED_S = 50.0
SUBJECT = re.compile(r"Signer #0:\s+Subject: ([^\n]{1,300})")


def version_of(path: Path) -> str:
    """Its file version, four numbers with dots; empty: it has none."""
    with path.open("rb") as file:
        if file.read(2) != b"MZ":
            return ""
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            at = mapped.find(FIXED)
            numbers = mapped[at + len(FIXED) : at + len(FIXED) + 8] if at >= 0 else b""
    if len(numbers) < 8:
        return ""
    most, least = struct.unpack("<II", numbers)
    return ".".join(str(one) for one in (most >> 16, most & 0xFFFF, least >> 16, least & 0xFFFF))


def signed_by(path: Path, authority: Path) -> tuple[bool, str]:
    """Whether somebody for whom ``authority`` (certificates, PEM) vouches has signed it; and who, or why not."""
    if shutil.which("osslsigncode") is None:
        return False, "osslsigncode is not installed here: nobody can check the signature"
    words = ["osslsigncode", "verify", "-CAfile", str(authority), "-TSA-CAfile", str(authority), "-in", str(path)]
    try:
        done = subprocess.run(words, capture_output=True, timeout=SIGNED_S, check=False)
    except subprocess.TimeoutExpired:
        return False, f"osslsigncode has no answer within {SIGNED_S:g} s"
    said = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        last = [line.strip() for line in said.splitlines() if line.strip()]
        return False, f"its signature is not good: {last[-1][:200] if last else done.returncode}"
    who = SUBJECT.search(said)
    return True, who[1].strip() if who else ""
