"""Signatures as the tool ``minisign`` makes them (https://jedisct1.github.io/minisign/, "Signature format").

- A public key is 42 bytes in base 64: ``Ed``, eight bytes of id, an Ed25519 key; the second line of minisign's file.
- A signature file has four lines: a comment that nobody has signed, 74 bytes in base 64 (algorithm, id, signature), a
  trusted comment, and a signature over the first one and that comment together. Both must be good.
- Algorithm ``ED`` signs the BLAKE2b-512 of the content, ``Ed`` (older) the content itself.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TRUSTED = b"trusted comment: "
MOST = 16 * 1024
PLAIN, HASHED = b"Ed", b"ED"


class BadSignature(Exception):
    """Why content is not signed by the owner of a key."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """``number`` is how minisign shows a key's id."""

    id: bytes
    key: bytes

    @property
    def number(self) -> str:
        return f"{int.from_bytes(self.id, 'little'):X}"


def read_key(text: str) -> PublicKey:
    """A public key, from the second line of minisign's file.

    Raises:
        ValueError: it is none.
    """
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        raw = b""
    if len(raw) != 42 or raw[:2] != PLAIN:
        raise ValueError("that is no public key of minisign: its line begins with RW")
    return PublicKey(raw[2:10], raw[10:])


def check(content: bytes, signature: bytes, key: PublicKey) -> str:
    """The trusted comment of a good signature.

    Raises:
        BadSignature: with the reason.
    """
    lines = signature[: MOST + 1].split(b"\n")
    try:
        signed, bound = (base64.b64decode(lines[number].strip(), validate=True) for number in (1, 3))
    except (ValueError, IndexError) as problem:
        raise BadSignature("is no signature of minisign") from problem
    comment = lines[2].rstrip(b"\r")
    if len(signature) > MOST or len(signed) != 74 or len(bound) != 64 or not comment.startswith(TRUSTED):
        raise BadSignature("is no signature of minisign")
    algorithm, by, made = signed[:2], signed[2:10], signed[10:]
    if by != key.id:
        raise BadSignature(f"is by the key {PublicKey(by, b'').number}, and not by {key.number}")
    if algorithm not in (PLAIN, HASHED):
        raise BadSignature("has an algorithm that is not known")
    comment = comment.removeprefix(TRUSTED)
    public = Ed25519PublicKey.from_public_bytes(key.key)
    try:
        public.verify(made, hashlib.blake2b(content).digest() if algorithm == HASHED else content)
        public.verify(bound, made + comment)
    except InvalidSignature as problem:
        raise BadSignature("does not fit") from problem
    return comment.decode(errors="replace")
