"""DSSE envelopes, the agent's side: sign a call, verify an answer.

Source: https://github.com/secure-systems-lab/dsse, version 1.0.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gate.agent.errors import Untrusted


def new_key() -> bytes:
    """A fresh private key, 32 raw bytes."""
    return Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def public_key(key: bytes) -> bytes:
    """Its public half, 32 raw bytes."""
    return Ed25519PrivateKey.from_private_bytes(key).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def seal(key: bytes, kind: str, payload: dict[str, Any]) -> bytes:
    """A signed call: ``kind`` is enrol, checkin, claim or report."""
    media = f"application/vnd.gate.{kind}+json"
    raw = json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
    signature = Ed25519PrivateKey.from_private_bytes(key).sign(_pae(media, raw))
    keyid = hashlib.sha256(public_key(key)).hexdigest()
    signed = {"keyid": keyid, "sig": base64.b64encode(signature).decode()}
    body = {"payloadType": media, "payload": base64.b64encode(raw).decode(), "signatures": [signed]}
    return json.dumps(body, separators=(",", ":")).encode()


def open_answer(raw: bytes, response_key: str) -> dict[str, Any]:
    """The payload of a check-in answer.

    Raises:
        Untrusted: not an envelope, not this type, or not signed by the response key.
    """
    try:
        found = json.loads(raw)
        key = bytes.fromhex(response_key)
        (signed,) = found["signatures"]
        payload = base64.b64decode(found["payload"], validate=True)
        good = found["payloadType"] == "application/vnd.gate.checkin-answer+json"
        good = good and signed["keyid"] == hashlib.sha256(key).hexdigest()
        signature = base64.b64decode(signed["sig"], validate=True)
        if not good:
            raise Untrusted("the answer is not signed by the gate's response key")
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _pae(found["payloadType"], payload))
        body = json.loads(payload)
    except (ValueError, KeyError, TypeError, RecursionError, InvalidSignature) as problem:
        raise Untrusted("the answer is not signed by the gate's response key") from problem
    if not isinstance(body, dict):
        raise Untrusted("the answer is not an object")
    return body


def _pae(media: str, payload: bytes) -> bytes:
    kind = media.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
