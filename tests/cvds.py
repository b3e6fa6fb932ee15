"""Signature databases and cdiffs made here, as libclamav reads them, signed by keys of the tests' own."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from gate_clamav import cvd

ALPHABET = "".join(sorted(cvd.DIGITS, key=cvd.DIGITS.__getitem__))


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs CVDs as their vendor does."""

    public: cvd.PublicKey
    private: int

    def sign(self, md5: str) -> str:
        return written(pow(int(md5, 16), self.private, self.public.modulus))

    def cvd(self, version: int, signatures: int = 1, content: bytes = b"") -> bytes:
        """The bytes of a database; ``content``: what makes two of the same version differ."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            entry = tarfile.TarInfo("daily.hdb")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
        md5 = hashlib.md5(packed.getvalue()).hexdigest()
        made = "02 Mar 2026 09-00 +0000"
        fields = ["ClamAV-VDB", made, version, signatures, 81, md5, self.sign(md5), "tests", 1772442000]
        return ":".join(map(str, fields)).ljust(cvd.HEADER).encode() + packed.getvalue()


@dataclass(frozen=True, slots=True)
class PatchSigner:
    """A key that signs cdiffs as their vendor does."""

    key: rsa.RSAPrivateKey

    @property
    def public(self) -> cvd.PublicKey:
        numbers = self.key.public_key().public_numbers()
        return cvd.PublicKey(numbers.n, numbers.e)

    def cdiff(self, version: int, commands: bytes = b"", salt: int = 32) -> bytes:
        """The bytes of the cdiff to a version."""
        raw = f"ClamAV-Diff:{version}:{len(commands)}:".encode() + gzip.compress(commands, mtime=0)
        pss = padding.PSS(padding.MGF1(SHA256()), salt)
        return raw + b":" + written(int.from_bytes(self.key.sign(raw, pss, SHA256()))).encode()


def written(number: int) -> str:
    """A signature in ClamAV's digits."""
    text = ""
    while number:
        number, digit = divmod(number, 64)
        text += ALPHABET[digit]
    return text


def patch_signer() -> PatchSigner:
    """A new one."""
    return PatchSigner(rsa.generate_private_key(public_exponent=65537, key_size=2048))


def signer() -> Signer:
    """A new one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    numbers = key.private_numbers()
    return Signer(cvd.PublicKey(numbers.public_numbers.n, 65537), numbers.d)


def vendor(shared: Path, version: int) -> bytes:
    """A database with its vendor's own signature: 3 and 4 find ``clam.exe``, 1 and 2 do not."""
    return (shared / "clamav" / f"test-{version}.cvd").read_bytes()
