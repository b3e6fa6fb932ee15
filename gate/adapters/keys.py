"""Keys on disk: one PEM file a key (PKCS 8, Ed25519), 0600 in a 0700 directory, refused otherwise.

- The profile "all keys here": ``gate init`` makes every key on this machine. Each name is one key and no key value
  stands under two names, so that a threshold of two is two.
- A keyid is the sha256 of the canonical public key (securesystemslib); the response key's is that of its raw bytes.
- A file that others can read, that somebody else owns or that is a link stops the start: python-tuf would load it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from gate.adapters.envelopes import ResponseKey
from gate.core.errors import OperatorError

PEOPLE = ("root", "targets", "policy", "override-1", "override-2")
ONLINE = ("gate", "timestamp", "catalog", "response")
NAMES = (*PEOPLE, *ONLINE)


def create(folder: Path) -> None:
    """Makes every key.

    Raises:
        OperatorError: there are keys already; they are never replaced.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError as problem:
        raise OperatorError("keys_exist", f"{folder} exists; keys are never replaced") from problem
    folder.chmod(0o700)
    for name in NAMES:
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        handle = os.open(folder / f"{name}.pem", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())


def load_signer(folder: Path, name: str) -> CryptoSigner:
    """A key as a signer of TUF metadata.

    Raises:
        OperatorError: missing, readable by others, another's, a link, or no Ed25519 key.
    """
    return CryptoSigner(_load(folder, name))


def load_signers(folder: Path) -> dict[str, CryptoSigner]:
    """All keys but the response key, by name; no key value twice.

    Raises:
        OperatorError: as ``load_signer``, or two names have one key.
    """
    signers = {name: load_signer(folder, name) for name in NAMES if name != "response"}
    values = {signer.public_key.keyid for signer in signers.values()}
    if len(values) != len(signers):
        raise OperatorError("bad_keys", f"two files in {folder} hold the same key")
    return signers


def load_response_key(folder: Path) -> ResponseKey:
    """The key that signs check-in answers.

    Raises:
        OperatorError: as ``load_signer``.
    """
    seed = _load(folder, "response").private_bytes(
        serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
    )
    return ResponseKey(seed)


def _load(folder: Path, name: str) -> Ed25519PrivateKey:
    _private(folder, stat.S_ISDIR, 0o700)
    path = folder / f"{name}.pem"
    _private(path, stat.S_ISREG, 0o600)
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise OperatorError("bad_keys", f"{path} is not a readable key") from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise OperatorError("bad_keys", f"{path} is not an Ed25519 key")
    return key


def _private(path: Path, kind: object, mode: int) -> None:
    try:
        found = path.lstat()
    except OSError as problem:
        raise OperatorError("bad_keys", f"{path} is missing") from problem
    if not callable(kind) or not kind(found.st_mode):
        raise OperatorError("bad_keys", f"{path} is a link or not what it should be")
    if stat.S_IMODE(found.st_mode) & ~mode:
        raise OperatorError("bad_keys", f"{path} is open to others: chmod {mode:o} {path}")
    if found.st_uid != os.geteuid():
        raise OperatorError("bad_keys", f"{path} belongs to another user")
