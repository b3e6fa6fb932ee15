"""DSSE envelopes and strict JSON: what machines send us, and what we sign for them.

- JSON is read strictly: no duplicate keys, NaN, Infinity, 1e999, overlong numbers, lone surrogates, NUL, invalid
  UTF-8 or nesting deeper than 32. Whatever cannot be read is ``bad_json``, never an exception of the parser.
- An envelope has exactly one signature and no other fields; the signature is over DSSE's PAE, so that a message of
  one type is never taken for another.
- A key is 32 raw bytes; its keyid is the hex sha256 of them. Points of small order are no keys.

Source: https://github.com/secure-systems-lab/dsse (protocol.md, envelope.md), version 1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from gate.core.errors import Malformed, Unauthenticated

MAX_DEPTH = 32
MAX_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Envelope:
    """One signed message; ``payload`` are the exact bytes that were signed."""

    payload_type: str
    payload: bytes
    keyid: str
    signature: bytes

    def verify(self, key: bytes) -> bool:
        """Is the signature good under this raw key, and is the keyid the key's?"""
        if keyid_of(key) != self.keyid:
            return False
        try:
            VerifyKey(key).verify(pae(self.payload_type, self.payload), self.signature)
        except (BadSignatureError, ValueError, TypeError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class ResponseKey:
    """The gate's key for check-in answers, from its 32 byte seed."""

    seed: bytes

    def __repr__(self) -> str:
        """Never the seed."""
        return f"ResponseKey({self.public_key})"

    @property
    def public_key(self) -> str:
        """The 32 raw bytes as 64 hex digits."""
        return bytes(_signing_key(self.seed).verify_key).hex()

    def seal(self, payload_type: str, payload: bytes) -> bytes:
        """The envelope's bytes; the same input gives the same bytes."""
        return seal(_signing_key(self.seed), payload_type, payload)


@lru_cache(maxsize=4)
def _signing_key(seed: bytes) -> SigningKey:
    """Deriving it costs as much as signing."""
    return SigningKey(seed)


def seal(key: SigningKey, payload_type: str, payload: bytes) -> bytes:
    """Signs a payload; shared by the gate's answers and by tests that play a machine."""
    signature = base64.b64encode(key.sign(pae(payload_type, payload)).signature)
    keyid = keyid_of(bytes(key.verify_key)).encode()
    body = b'{"payloadType":"%b","payload":"%b","signatures":[{"keyid":"%b","sig":"%b"}]}'
    return body % (payload_type.encode(), base64.b64encode(payload), keyid, signature)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def keyid_of(key: bytes) -> str:
    """Hex sha256 of the raw key."""
    return hashlib.sha256(key).hexdigest()


def read_key(text: str) -> bytes:
    """A machine's public key from 64 hex digits.

    Raises:
        Malformed: bad_field, where it is no such text, no point of the curve, or of small order.
    """
    try:
        key = bytes.fromhex(text)
    except ValueError as problem:
        raise Malformed("bad_field", "public_key is not 64 hex digits") from problem
    if len(key) != 32 or text != key.hex():
        raise Malformed("bad_field", "public_key is not 64 lower case hex digits")
    if not crypto_core_ed25519_is_valid_point(key):
        raise Malformed("bad_field", "public_key is not a point that can sign")
    return key


def read_envelope(raw: bytes) -> Envelope:
    """The one envelope in a body.

    Raises:
        Malformed: bad_json, or bad_envelope for a wrong shape or two signatures.
        Unauthenticated: the list of signatures is empty.
    """
    found = read_json(raw)
    if not isinstance(found, dict) or found.keys() != {"payloadType", "payload", "signatures"}:
        raise Malformed("bad_envelope", "the body is not a DSSE envelope of payloadType, payload, signatures")
    signatures = found["signatures"]
    if signatures == []:
        raise Unauthenticated
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise Malformed("bad_envelope", "an envelope carries exactly one signature")
    signed = signatures[0]
    if not isinstance(signed, dict) or signed.keys() != {"keyid", "sig"}:
        raise Malformed("bad_envelope", "a signature is keyid and sig")
    texts = (found["payloadType"], found["payload"], signed["keyid"], signed["sig"])
    if not all(isinstance(text, str) for text in texts):
        raise Malformed("bad_envelope", "payloadType, payload, keyid and sig are texts")
    return Envelope(texts[0], _base64(texts[1]), texts[2], _base64(texts[3]))


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as problem:
        raise Malformed("bad_envelope", "payload or sig is not base64") from problem


def read_json(raw: bytes) -> Any:
    """The value in strict JSON.

    Raises:
        Malformed: bad_json.
    """
    try:
        found = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError as problem:
        raise Malformed("bad_json", "not UTF-8") from problem
    except RecursionError as problem:
        raise Malformed("bad_json", f"nested deeper than {MAX_DEPTH}") from problem
    except ValueError as problem:
        raise Malformed("bad_json", str(problem)[:200]) from problem
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _deeper_than(found, MAX_DEPTH):
        raise Malformed("bad_json", f"nested deeper than {MAX_DEPTH}")
    if b"\\u" in raw:
        for text in _texts(found):
            _check_text(text)
    return found


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Malformed("bad_json", "a NUL in a text")
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        raise Malformed("bad_json", "a lone surrogate in a text") from problem


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number with too many digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text) if len(text) <= MAX_DIGITS else math.inf
    if not math.isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_whole, parse_float=_finite, parse_constant=_constant, strict=True
)


def _deeper_than(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit + 1):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _texts(value: Any) -> Iterator[str]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
