"""Definition packages that nobody's engine would load: a program of two sections with a version resource's bytes."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path

SETTLED = 1_700_000_000


def package(version: str, more: bytes = b"", *, fixed: bool = True) -> bytes:
    """A small PE file whose file version this is; ``more`` makes its bytes others."""
    first, second, third, fourth = (int(one) for one in version.split("."))
    said = struct.pack("<IIIIII", 0xFEEF04BD, 0x10000, first << 16 | second, third << 16 | fourth, 0, 0)
    body = (said if fixed else b"") + b"definitions of nothing " * 40 + more
    body += b"\0" * (-len(body) % 512)
    dos = b"MZ" + b"\0" * 58 + struct.pack("<I", 64)
    head = struct.pack("<4sHHIIIHH", b"PE\0\0", 0x8664, 1, 0, 0, 0, 240, 0x22)
    optional = struct.pack("<HBBIIIII", 0x20B, 14, 0, 0, len(body), 0, 4096, 4096)
    optional += struct.pack("<QIIHHHHHHIIIIHH", 0x140000000, 4096, 512, 6, 0, 0, 0, 6, 0, 0, 12288, 512, 0, 3, 0)
    optional += struct.pack("<QQQQII", 1 << 20, 4096, 1 << 20, 4096, 0, 16) + b"\0" * 128
    section = struct.pack("<8sIIIIIIHHI", b".rsrc", len(body), 4096, len(body), 512, 0, 0, 0, 0, 0x40000040)
    raw = dos + head + optional + section
    return raw + b"\0" * (512 - len(raw)) + body


def put(path: Path, raw: bytes) -> Path:
    """Lies there since long."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    os.utime(path, (SETTLED, SETTLED))
    return path


def share(folder: Path, version: str, *architectures: str) -> None:
    """As a feeder fills a share."""
    for one in architectures or ("x64",):
        put(folder / one / "mpam-fe.exe", package(version, one.encode()))


def linux(folder: Path, version: str, engine: str = "1.1.2.3", architecture: str = "arch_x86_64") -> None:
    """As Microsoft's downloader for Linux leaves it."""
    place = folder / "linux/production" / architecture
    put(place / "updates.zip", f"zip {version}".encode() * 100)
    put(place / "manifest.json", json.dumps({"EngineVersion": engine, "DefinitionVersion": version}).encode())


def vdi(folder: Path, moment: str, version: str) -> None:
    """As Microsoft's script for virtual desktops leaves it, unpacked."""
    place = folder / f"{{00000000-0000-0000-0000-{moment}}}"
    put(place / "mpam-fe.exe", package(version))
    for name in ("mpasbase.vdm", "mpavbase.vdm", "mpengine.dll"):
        put(place / name, f"{name} {version}".encode())


def signed(folder: Path, version: str, name: str = "Definitions") -> tuple[bytes, Path]:
    """A package that a key of its own has signed, and the certificate that vouches for it."""
    folder.mkdir(parents=True, exist_ok=True)
    key, certificate = folder / "key.pem", folder / "authority.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj", f"/CN={name}"]
    words += ["-addext", "extendedKeyUsage=codeSigning", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    (folder / "in.exe").write_bytes(package(version))
    words = ["osslsigncode", "sign", "-certs", str(certificate), "-key", str(key), "-h", "sha256"]
    words += ["-in", str(folder / "in.exe"), "-out", str(folder / "out.exe")]
    (folder / "out.exe").unlink(missing_ok=True)
    subprocess.run(words, check=True, capture_output=True)
    return (folder / "out.exe").read_bytes(), certificate
