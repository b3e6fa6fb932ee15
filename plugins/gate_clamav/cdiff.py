"""A cdiff: what a client patches a database with, from the version before to its own.

- ``ClamAV-Diff:version:length:``, gzipped commands, and after the last colon a signature in the digits of a CVD's.
- The signature is RSA-PSS (SHA-256, 32 bytes of salt) over all before that colon, by another key than the CVDs' one
  (libclamav's ``cdiff.rs`` and ``cli_versig2`` in ``dsig.c``). It does not name the database.
- An empty file is one too, and nobody signs it: *there is no patch, take the whole database*. freshclam that is one
  version behind and is answered 404 instead keeps what it has.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from gate_clamav import cvd

HEAD = re.compile(rb"ClamAV-Diff:(\d{1,9}):\d{1,12}:")
SALT = 32
TAIL = 400
"""More bytes than a signature and its colon have."""

VENDOR = cvd.PublicKey(
    14783905874077467090262228516557917570254599638376203532031989214105552847269687489771975792123442185817287694951949800908791527542017115600501303394778618535864845235700041590056318230102449612217458549016089313306591388590790796515819654102320725712300822356348724011232654837503241736177907784198700834440681124727060540035754699658105895050096576226753008596881698828185652424901921668758326578462003247906470982092298106789657211905488986281078346361469524484829559560886227198091995498440676639639830463593211386055065360288422394053998134458623712540683294034953818412458362198117811990006021989844180721010947,
    100002053,
)
"""The vendor's: PSS_NSTR and PSS_ESTR in libclamav's ``cdiff.rs``."""


def check(path: Path, version: int, key: cvd.PublicKey = VENDOR) -> None:
    """A file that is the signed cdiff to ``version``, or empty.

    Raises:
        BadCvd: with the reason. OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = HEAD.match(file.read(64))
        length = file.seek(0, 2)
        if not length:
            return
        if head is None:
            raise cvd.BadCvd("it does not begin as a cdiff does")
        if int(head[1]) != version:
            raise cvd.BadCvd(f"it leads to version {int(head[1])}")
        file.seek(max(head.end() - 1, length - TAIL))
        tail = file.read()
        said = tail.rpartition(b":")[2]
        digest = _digest(file, length - len(said) - 1)
    if not _signed(digest, said.decode("ascii", "replace"), key):
        raise cvd.BadCvd("its vendor has not signed it")


def _digest(file: BinaryIO, length: int) -> bytes:
    """SHA-256 of its first ``length`` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0 and (part := file.read(min(cvd.PART, length))):
        digest.update(part)
        length -= len(part)
    return digest.digest()


def _signed(digest: bytes, said: str, key: cvd.PublicKey) -> bool:
    raw = cvd.number(said, key).to_bytes((key.modulus.bit_length() + 7) // 8)
    public = RSAPublicNumbers(key.exponent, key.modulus).public_key()
    try:
        public.verify(raw, digest, PSS(MGF1(SHA256()), SALT), Prehashed(SHA256()))
    except InvalidSignature:
        return False
    return True
