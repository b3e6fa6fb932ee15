"""Envelopes and strict JSON: DSSE's own vector, what is refused with its kind, and nothing else that is raised."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from gate.adapters.envelopes import keyid_of, pae, read_envelope, read_json, read_key, seal
from gate.core.errors import GateError, Malformed, Unauthenticated

KEY = SigningKey(b"k" * 32)
PUBLIC = bytes(KEY.verify_key)
KIND = "application/vnd.gate.checkin+json"


def test_the_encoding_before_signing_is_that_of_the_specification() -> None:
    # protocol.md of DSSE 1.0: PAE("http://example.com/HelloWorld", "hello world")
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_what_is_sealed_is_read_and_verified() -> None:
    envelope = read_envelope(seal(KEY, KIND, b'{"a":1}'))
    assert (envelope.payload_type, envelope.payload, envelope.keyid) == (KIND, b'{"a":1}', keyid_of(PUBLIC))
    assert envelope.verify(PUBLIC)
    assert not envelope.verify(bytes(SigningKey(b"x" * 32).verify_key))


def test_a_message_of_one_type_is_never_one_of_another() -> None:
    found = json.loads(seal(KEY, KIND, b"{}"))
    found["payloadType"] = "application/vnd.gate.claim+json"
    assert not read_envelope(json.dumps(found).encode()).verify(PUBLIC)


@given(raw=st.binary(max_size=60), at=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_no_flipped_bit_is_verified(raw: bytes, at: int, bit: int) -> None:
    found = json.loads(seal(KEY, KIND, raw))
    for name in ("payload", "sig"):
        holder = found if name == "payload" else found["signatures"][0]
        good = holder[name]
        spoilt = bytearray(base64.b64decode(good))
        if not spoilt:
            continue
        spoilt[at % len(spoilt)] ^= 1 << bit
        holder[name] = base64.b64encode(bytes(spoilt)).decode()
        assert not read_envelope(json.dumps(found).encode()).verify(PUBLIC)
        holder[name] = good


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"signatures": []}, "unauthenticated"),
        ({"signatures": [{"keyid": "a", "sig": "YQ=="}] * 2}, "bad_envelope"),
        ({"signatures": [{"keyid": "a"}]}, "bad_envelope"),
        ({"signatures": [{"keyid": "a", "sig": "YQ==", "more": 1}]}, "bad_envelope"),
        ({"signatures": {"keyid": "a", "sig": "YQ=="}}, "bad_envelope"),
        ({"payload": 1}, "bad_envelope"),
        ({"payload": "not base64!"}, "bad_envelope"),
        ({"payload": "YQ"}, "bad_envelope"),
        ({"more": 1}, "bad_envelope"),
    ],
)
def test_an_envelope_has_one_shape(change: dict[str, object], kind: str) -> None:
    found = json.loads(seal(KEY, KIND, b"{}")) | change
    with pytest.raises((Malformed, Unauthenticated)) as refused:
        read_envelope(json.dumps(found).encode())
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": 1, "a": 2}', b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b'"\\ud800"', b'"\\u0000"',
        b'"\x00"', b"\xff", b"", b"[" * 10_000, b"[" * 40 + b"]" * 40, b"{} {}", b"'a'", b"{a: 1}", b"\xef\xbb\xbf{}",
        b"0" * 2, b"1.", b'"\n"', b"[1,]",
    ],
)  # fmt: skip
def test_json_is_read_strictly(raw: bytes) -> None:
    with pytest.raises(Malformed) as refused:
        read_json(raw)
    assert refused.value.kind == "bad_json"


@given(
    raw=st.one_of(
        st.binary(max_size=400), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
)
def test_no_bytes_bring_anything_but_a_value_or_a_refusal(raw: bytes) -> None:
    for parse in (read_json, read_envelope):
        try:
            parse(raw)
        except GateError as refused:
            assert refused.kind in ("bad_json", "bad_envelope", "unauthenticated")


WORDS = st.text(st.characters(exclude_categories=["Cs"], min_codepoint=1), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=20,
)


@given(value=PLAIN)
def test_good_json_is_read_as_the_standard_library_reads_it(value: object) -> None:
    assert read_json(json.dumps(value).encode()) == value


@given(found=st.dictionaries(st.sampled_from(["payloadType", "payload", "signatures", "x"]), PLAIN))
def test_any_object_is_an_envelope_or_a_refusal(found: dict[str, object]) -> None:
    with pytest.raises(GateError) as refused:
        read_envelope(json.dumps(found).encode())
    assert refused.value.kind in ("bad_json", "bad_envelope", "unauthenticated")


# points of small order: any signature fits them (RFC 8032's curve has eight)
SMALL = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
]


@pytest.mark.parametrize(
    "text", [*SMALL, "", "ab", PUBLIC.hex().upper(), PUBLIC.hex() + "00", "g" * 64, " " + PUBLIC.hex()]
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        read_key(text)


def test_a_key_is_read() -> None:
    assert read_key(PUBLIC.hex()) == PUBLIC
