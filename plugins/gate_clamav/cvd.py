"""ClamAV's signature databases: what a CVD says of itself, and whether its vendor has signed it.

- A CVD is 512 bytes of text and a gzipped tar: ``ClamAV-VDB:time:version:sigs:flevel:md5:dsig:builder:epoch``, filled
  up with blanks. ``md5`` is of all after byte 512.
- ``dsig`` is plain RSA over that md5, no padding: base 64 in an alphabet of ClamAV's own, least significant digit
  first; ``signature ** exponent % modulus`` is the md5 as a number (libclamav's ``dsig.c`` and ``cvd.c``).
- So the signature holds the content by md5 alone, which is the vendor's matter; gate pins the bytes by sha256 besides.
- A version is a whole number that rises: order is theirs, and a smaller one is a replay.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

HEADER = 512
MAGIC = "ClamAV-VDB"
DIGITS = {char: value for value, char in enumerate("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/")}
NUMBER = re.compile(r"\d{1,9}\Z", re.ASCII)
MD5 = re.compile(r"[0-9a-f]{32}\Z")
PART = 1 << 20


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An RSA key that a CVD is checked with."""

    modulus: int
    exponent: int


VENDOR = PublicKey(
    118640995551645342603070001658453189751527774412027743746599405743243142607464144767361060640655844749760788890022283424922762488917565551002467771109669598189410434699034532232228621591089508178591428456220796841621637175567590476666928698770143328137383952820383197532047771780196576957695822641224262693037,
    100001027,
)
"""The vendor's: CLI_NSTR and CLI_ESTR in libclamav's ``dsig.c``."""


class BadCvd(Exception):
    """Why a file is no CVD that could be taken."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a CVD says of itself. ``engine``: the functionality level that it needs at least."""

    made: str
    version: int
    signatures: int
    engine: int
    md5: str
    signature: str
    builder: str


def read_header(raw: bytes) -> Header:
    """The first 512 bytes of a CVD.

    Raises:
        BadCvd: they are not its header.
    """
    try:
        text = raw[:HEADER].decode("ascii")
    except UnicodeDecodeError as problem:
        raise BadCvd("its header is not text") from problem
    fields = text.rstrip(" \n\0").split(":")
    if len(raw) < HEADER or len(fields) < 8 or fields[0] != MAGIC:
        raise BadCvd("it does not begin as a CVD does")
    _, made, version, signatures, engine, md5, signature, builder, *_ = fields
    if not (NUMBER.match(version) and NUMBER.match(signatures) and NUMBER.match(engine) and MD5.match(md5)):
        raise BadCvd("its header has a number or a digest that is none")
    return Header(made, int(version), int(signatures), int(engine), md5, signature, builder)


def header_of(path: Path) -> Header:
    """Of a file.

    Raises:
        BadCvd: it is no CVD. OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return read_header(file.read(HEADER))


def signed(header: Header, key: PublicKey = VENDOR) -> bool:
    """Has the owner of ``key`` signed this header's md5?"""
    value = number(header.signature, key)
    return value > 0 and pow(value, key.exponent, key.modulus) == int(header.md5, 16)


def number(signature: str, key: PublicKey) -> int:
    """A signature as the number that it writes; 0 where it writes none below the key's modulus."""
    value = 0
    for place, char in enumerate(signature):
        if char not in DIGITS:
            return 0
        value += DIGITS[char] << (6 * place)
    return value if value < key.modulus else 0


def check(path: Path, key: PublicKey = VENDOR) -> Header:
    """The header of a file whose content and signature are good.

    Raises:
        BadCvd: with the reason. OSError: it cannot be read.
    """
    header, digest = header_of(path), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        file.seek(HEADER)
        while part := file.read(PART):
            digest.update(part)
    if digest.hexdigest() != header.md5:
        raise BadCvd("its content is not what its header says")
    if not signed(header, key):
        raise BadCvd("its vendor has not signed it")
    return header
