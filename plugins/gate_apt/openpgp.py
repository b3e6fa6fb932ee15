"""As much of OpenPGP (RFC 4880, with Ed25519 as GnuPG 2.1 and later have it) as apt needs to trust a repository.

- One key: an Ed25519 key in a PEM file that only its owner can read. Its OpenPGP form is dated ``CREATED``, so that the
  same file is always the same key with the same fingerprint.
- Two signatures: of the key over its own name, and of a text in clear (InRelease), both with SHA-512.
- The moment of a signature is an argument. No agent, no key ring and no process is needed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

CREATED = datetime(2025, 1, 1, tzinfo=UTC)
NAME = b"gate"
CURVE = bytes.fromhex("092b06010401da470f01")
EDDSA, SHA512 = 22, 10
OF_TEXT, OF_NAME = 0x01, 0x13
PUBLIC_KEY, USER_ID, SIGNATURE = 6, 13, 2
CERTIFIES_AND_SIGNS = b"\x1b\x03"


class BadKey(Exception):
    """A key file that is not used, with the reason."""


@dataclass(frozen=True, slots=True)
class Key:
    """A private key and what OpenPGP calls it."""

    private: Ed25519PrivateKey

    @property
    def body(self) -> bytes:
        """The public key as a packet's body."""
        point = b"\x40" + self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        created = struct.pack(">BIB", 4, int(CREATED.timestamp()), EDDSA)
        return created + CURVE + _number(point)

    @property
    def fingerprint(self) -> bytes:
        """20 bytes."""
        return hashlib.sha1(_framed(self.body), usedforsecurity=False).digest()

    def public(self) -> bytes:
        """What a machine's ``Signed-By`` file holds."""
        name = b"\xb4" + struct.pack(">I", len(NAME)) + NAME
        signed = self._signature(OF_NAME, _framed(self.body) + name, CREATED, CERTIFIES_AND_SIGNS)
        return _packet(PUBLIC_KEY, self.body) + _packet(USER_ID, NAME) + _packet(SIGNATURE, signed)

    def sign(self, text: str, at: datetime) -> str:
        """The text with its signature in clear; no line of it begins with a dash or ends with a blank."""
        lines = text.rstrip("\n").split("\n")
        if any(line.startswith("-") or line != line.rstrip() for line in lines):
            raise ValueError("a line that would have to be escaped")
        signature = _packet(SIGNATURE, self._signature(OF_TEXT, "\r\n".join(lines).encode(), at))
        kept = "\n".join(lines)
        return f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{kept}\n{_armoured(signature)}"

    def _signature(self, kind: int, signed: bytes, at: datetime, more: bytes = b"") -> bytes:
        parts = [b"\x21\x04" + self.fingerprint, b"\x02" + struct.pack(">I", int(at.timestamp())), more]
        hashed = b"".join(bytes([len(part)]) + part for part in parts if part)
        head = struct.pack(">BBBBH", 4, kind, EDDSA, SHA512, len(hashed)) + hashed
        digest = hashlib.sha512(signed + head + struct.pack(">BBI", 4, 0xFF, len(head))).digest()
        made = self.private.sign(digest)
        issuer = b"\x09\x10" + self.fingerprint[-8:]
        return head + struct.pack(">H", len(issuer)) + issuer + digest[:2] + _number(made[:32]) + _number(made[32:])


def make(path: Path) -> Key:
    """A new key in a new file.

    Raises:
        FileExistsError: there is one.
    """
    private = Ed25519PrivateKey.generate()
    raw = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)
    return Key(private)


def read(path: Path) -> Key:
    """The key of a file.

    Raises:
        BadKey: others can read it, or it is no Ed25519 key. OSError
    """
    with path.open("rb") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise BadKey("others can read the key's file: chmod 600")
        raw = file.read(10_000)
    try:
        private = load_pem_private_key(raw, None)
    except (ValueError, TypeError) as problem:
        raise BadKey("it is no key without a password") from problem
    if not isinstance(private, Ed25519PrivateKey):
        raise BadKey("it is no Ed25519 key")
    return Key(private)


def _number(raw: bytes) -> bytes:
    """A multiprecision integer."""
    short = raw.lstrip(b"\0")
    return struct.pack(">H", int.from_bytes(short, "big").bit_length()) + short


def _framed(body: bytes) -> bytes:
    return b"\x99" + struct.pack(">H", len(body)) + body


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + struct.pack(">I", len(body)) + body


def _armoured(raw: bytes) -> str:
    text = b64encode(raw).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    sum24 = b64encode(_crc24(raw).to_bytes(3, "big")).decode()
    return "\n".join(["-----BEGIN PGP SIGNATURE-----", "", *lines, f"={sum24}", "-----END PGP SIGNATURE-----", ""])


def _crc24(raw: bytes) -> int:
    crc = 0xB704CE
    for byte in raw:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc & 0xFFFFFF
