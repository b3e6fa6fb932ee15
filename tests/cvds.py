"""Signature databases made here: a CVD as libclamav reads it, signed by a key of the tests' own."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from gate_clamav import cvd

ALPHABET = "".join(sorted(cvd.DIGITS, key=cvd.DIGITS.__getitem__))


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs CVDs as their vendor does."""

    public: cvd.PublicKey
    private: int

    def sign(self, md5: str) -> str:
        number, text = pow(int(md5, 16), self.private, self.public.modulus), ""
        while number:
            number, digit = divmod(number, 64)
            text += ALPHABET[digit]
        return text

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


def signer() -> Signer:
    """A new one."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    numbers = key.private_numbers()
    return Signer(cvd.PublicKey(numbers.public_numbers.n, 65537), numbers.d)


def vendor(shared: Path, version: int) -> bytes:
    """A database with its vendor's own signature: 3 and 4 find ``clam.exe``, 1 and 2 do not."""
    return (shared / "clamav" / f"test-{version}.cvd").read_bytes()
