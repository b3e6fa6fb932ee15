"""Every parser, given damaged examples and a table of hostile texts: a value or its own refusal, soon and small."""

from __future__ import annotations

import json
import time
from resource import RUSAGE_SELF, getrusage

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import REPOSITORY
from tests.fuzz.targets import HEX, targets

TARGETS = targets()
WORDS = [
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\n",
    b"\t",
    b'"',
    b"'",
    b"{",
    b"[",
    b"]}",
    b":",
    b"- ",
    b"&a ",
    b"*a",
    b"!!python/object ",
    b"<<: ",
    b"1e999",
    b"-1",
    b"NaN",
    b"null",
    b"9" * 50,
    b"../",
    b"inf",
    b"0001-01-01T00:00:00+14:00",
    b"9999-12-31T23:59:59-14:00",
    b"99999999999999d",
    b"%",
    b"=",
    b"#",
    b";",
    b",",
]
PLACE = st.integers(0, 1 << 20)
DAMAGE = st.lists(
    st.tuples(st.sampled_from(["cut", "drop", "twice", "put", "flip", "line"]), PLACE, st.integers(1, 40),
              st.sampled_from(WORDS) | st.binary(max_size=6)), min_size=1, max_size=4)  # fmt: skip


def damaged(raw: bytes, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    for what, place, length, word in edits:
        at = place % (len(raw) + 1)
        match what:
            case "cut":
                raw = raw[:at]
            case "drop":
                raw = raw[:at] + raw[at + length :]
            case "twice":
                raw = raw[:at] + raw[at : at + length] * 2 + raw[at + length :]
            case "put":
                raw = raw[:at] + word + raw[at:]
            case "flip":
                raw = raw[:at] + word + raw[at + len(word) :]
            case "line":
                lines = raw.split(b"\n")
                lines[at % len(lines)] = word
                raw = b"\n".join(lines)
    return raw


@pytest.mark.parametrize("name", TARGETS)
def test_whole_examples_are_taken(name: str) -> None:
    assert all(TARGETS[name].feed(seed) for seed in TARGETS[name].seeds)


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(which=st.integers(0, 9), edits=DAMAGE)
def test_damage_brings_a_value_or_the_refusal(name: str, which: int, edits: list[tuple[str, int, int, bytes]]) -> None:
    target = TARGETS[name]
    target.feed(damaged(min(target.seeds, key=len) if which else target.seeds[0], edits))


POLICY = TARGETS["policy"].seeds[1]
LAUGHS = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9)) for n in range(9)
)
SCENARIO = min(TARGETS["scenario"].seeds, key=len)
FILE = {"name": "a", "length": 1, "sha256": HEX}


def scenario(old: bytes, new: bytes) -> bytes:
    assert old in SCENARIO
    return SCENARIO.replace(old, new, 1)


def drop(**change: object) -> bytes:
    return json.dumps({"version": "1", "files": [FILE | change]}).encode()


def release(**change: object) -> bytes:
    body = {"source": "shop", "version": "1", "counter": 1, "artifacts": [FILE | change]}
    return json.dumps(body).encode()


REFUSED: list[tuple[str, str, bytes]] = [
    ("policy", "aliases", LAUGHS),
    ("policy", "a bomb of merges", b"a: &a {x: 1}\n" + b"b: &b {<<: [*a, *a, *a]}\n" * 50),
    ("policy", "a tag", b"version: !!python/object/apply:os.system [x]\n"),
    ("policy", "tabs", POLICY.replace(b"\n  ", b"\n\t", 1)),
    ("policy", "a key twice", POLICY + b"\nversion: 1\n"),
    ("policy", "two megabytes", POLICY + b"# " + b"x" * 2_000_000),
    ("policy", "two megabytes of one line", b"a: [" + b"1," * 1_000_000 + b"]"),
    ("policy", "nested", b"a: " + b"[" * 5_000),
    ("policy", "nested and closed", b"a: " + b"[" * 900 + b"]" * 900),
    ("policy", "nested maps", b"{a: " * 50_000),
    ("policy", "a comment between a key and its value", b"fleet: # ours\n  north\n\nrings: # in order\n"),
    ("policy", "a NUL", POLICY + b"\x00"),
    ("policy", "not UTF-8", POLICY + b"\xff"),
    ("policy", "two documents", POLICY + b"\n---\n" + POLICY),
    ("policy", "nothing", b""),
    ("policy", "UTF-16", POLICY.decode().encode("utf-16")),
    ("policy", "a time without end", POLICY.replace(b"lease: 5m", b"lease: 99999999999999999d")),
    ("policy", "many digits", POLICY.replace(b"lease: 5m", b"lease: " + b"9" * 5000 + b"d")),
    ("scenario", "aliases", LAUGHS),
    ("scenario", "a billion sites", scenario(b"sites: 4", b"sites: 1000000000")),
    ("scenario", "no number of sites", scenario(b"sites: 4", b"sites: [1]")),
    ("scenario", "a run without end", scenario(b"run:", b"run: 999999999999d #")),
    ("scenario", "a seed that is a text", SCENARIO + b"\nseed: x\n"),
    ("scenario", "keys of two kinds", SCENARIO + b"\n1: a\nx: b\n"),
    ("scenario", "releases that are a number", scenario(b"releases:", b"releases: 3\nx:")),
    ("scenario", "nested", b"a: " + b"[" * 50_000),
    ("hours", "a megabyte", b"Mo-Fr 08:00-18:30; " * 55_000),
    ("hours", "quotes", b'"' * 100_001),
    ("hours", "nested", b"(" * 100_000),
    ("hours", "nested within the length", b"(" * 900),
    ("hours", "many rules of holidays", b"PH,Mo" * 150),
    ("hours", "half a character", b"Mo \xed\xa0\x80"),
    ("json", "nested", b"[" * 60_000),
    ("json", "nested maps", b'{"a":' * 12_000),
    ("envelope", "nested", b'{"payloadType":' + b"[" * 50_000),
    ("call-checkin", "facts without end", json.dumps({"facts": {str(n): "x" for n in range(5_000)}}).encode()),
    ("answer", "nested", b"[" * 60_000),
    ("manifest", "nested", b"[" * 60_000),
    ("manifest", "an endless counter", release().replace(b'"counter": 1', b'"counter": 1e999')),
    ("manifest", "a path", release(name="../../etc/passwd")),
    ("manifest", "the folder above", release(name="..")),
    ("manifest", "half a character", release(name="\ud800")),
    ("manifest", "a digest that is a path", release(sha256="/../../../../etc")),
    ("manifest", "less than nothing", release(length=-1)),
    ("manifest", "twice", json.dumps({"source": "s", "version": "1", "counter": 1, "artifacts": [FILE] * 2}).encode()),
    ("drop", "a path", drop(name="../x")),
    ("drop", "half a character", drop(name="\ud800")),
    ("drop", "a version of half a character", drop().replace(b'"version": "1"', b'"version": "\\udfff"')),
    ("drop", "nested", b"[" * 100_000),
    ("drop", "two megabytes", b'{"version": "' + b"x" * 2_000_000 + b'"}'),
    ("agent.toml", "nested", b"a = " + b"[" * 50_000),
    ("agent.toml", "a number for a path", b"boot_id_path = 1"),
    ("agent.toml", "a table for a command", b"[reboot]\na = 'b'"),
    ("agent.toml", "not UTF-8", b"\xff"),
    ("gate.toml", "nested", TARGETS["gate.toml"].seeds[0] + b"\nx = " + b"[" * 50_000),
    ("gate.toml", "a port that is not finite", b"fleet='a'\ndata='d'\ndatabase='x'\nport = inf"),
    ("gate.toml", "a port that is none", b"fleet='a'\ndata='d'\ndatabase='x'\nport = 70000"),
    ("gate.toml", "a pause that is no number", b"fleet='a'\ndata='d'\ndatabase='x'\ntick_s = nan"),
    ("gate.toml", "a pause below nothing", b"fleet='a'\ndata='d'\ndatabase='x'\nsource_s = -1"),
    ("gate.toml", "a number for an address", b"fleet='a'\ndata='d'\ndatabase='x'\nbind = 1"),
    ("gate.toml", "one text for a list", b"fleet='a'\ndata='d'\ndatabase='x'\nproxies = '10.0.0.1'"),
    ("sites.csv", "a field without end", b"id,name\nnord," + b"x" * 200_000),
    ("sites.csv", "an open quote", b'id,name\nnord,"' + b"x\n" * 200_000),
    ("sites.csv", "a NUL", b"id,name\nnord,a\x00b\n"),
    ("sites.csv", "not UTF-8", "id,name\nnord,Größe\n".encode("latin-1")),
    ("sites.csv", "too many columns", b"id,name\nnord,a,b,c\n"),
    ("sites.csv", "twice", b"id,name\nnord,a\nnord,b\n"),
    ("sites.csv", "a line in a name", b'id,name\nnord,"a\nb"\n'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "what", "raw"), REFUSED, ids=[f"{name}: {what}" for name, what, _ in REFUSED])
def test_hostile_texts_are_refused_soon_and_in_little_memory(name: str, what: str, raw: bytes) -> None:
    began, most = time.process_time(), getrusage(RUSAGE_SELF).ru_maxrss
    assert not TARGETS[name].feed(raw)
    assert time.process_time() - began < 10
    assert getrusage(RUSAGE_SELF).ru_maxrss - most < 100_000, "kilobytes more at its peak"


@pytest.mark.parametrize("raw", [b"\xef\xbb\xbf" + POLICY, POLICY.replace(b"\n", b"\r\n")])
def test_a_policy_of_another_editor_is_read(raw: bytes) -> None:
    assert TARGETS["policy"].feed(raw)


def test_every_parser_is_fuzzed_and_make_says_so() -> None:
    text = (REPOSITORY / "Makefile").read_text()
    assert "-m tests.fuzz\n" in text
