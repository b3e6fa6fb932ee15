"""Passwords: argon2id, the library's own parameters (RFC 9106, second choice)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()
NOBODY = _HASHER.hash("nobody has this password; it makes an unknown name as slow as a known one")


def hash_password(password: str) -> str:
    """The text to store."""
    return _HASHER.hash(password)


def verify_password(stored: str, password: str) -> bool:
    """Is it this password? An empty hash belongs to nobody and takes as long."""
    try:
        return _HASHER.verify(stored or NOBODY, password) and bool(stored)
    except (VerificationError, InvalidHashError):
        return False
