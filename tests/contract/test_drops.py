"""Drops: signed by minisign, looked at without reading them again, on shares that go away or show half of a file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.adapters.plugins import ChildPlugins
from gate.core.errors import SourceError
from gate.hookspecs import Discovered, Source, Verification
from gate_directory import minisign
from gate_directory import source as directory
from tests.conftest import missing
from tests.contract.test_source_plugins import drop

KEY = "RWRkNivJBrHADDwUEXBbwz1UlndRHM7plkP+HsUfAf/4cSEz2YQ3dylw"
CONTENT = b"hello\n"
HASHED = b"""untrusted comment: signature from minisign secret key
RURkNivJBrHADKkxSjODvKaal59r/WX+xQ6sfWVLKOrq3N36Yyz4ELRFmht8qt4Jk3Zx7OLTg9TbfWxVfB93kt1cPsILp6u6uAA=
trusted comment: timestamp:1795937805\tfile:f\thashed
lwsjRDJOtpNh+kL3wpuFYj+wv6QovUGNFeVlnV2EgqC3gmrWrlZJv+HWP8PCzinCvc5IDSFcwOwDDvP+CHa1Dg==
"""
PLAIN = b"""untrusted comment: signature from minisign secret key
RWRkNivJBrHADEUB+Yff8EE3cb0cGcOvlAT2wEpp0Jw3dynDFA1AK0ZOGsoyGrRUY9QD1nrNDtRwpv51eQvP51oNuZLVOD6VzwQ=
trusted comment: timestamp:1795937805\tfile:f
X+s9kXXriBBgYt3clmAXIuwr4kH32dwT8QCUwAnUnvGyoZc/EK6ux0A6zzMKtTXGgAYWsDtYf3ITwVn1amUhBg==
"""
LINES = HASHED.split(b"\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "drops").mkdir()
    return tmp_path / "drops"


@pytest.fixture
def source(folder: Path) -> Source:
    return Source("shop", {"folder": str(folder)}, 1_000_000)


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    return ChildPlugins(tmp_path / "spool")


# signatures


@pytest.mark.parametrize("signature", [HASHED, PLAIN, HASHED.replace(b"\n", b"\r\n")], ids=["hashed", "plain", "crlf"])
def test_both_kinds_of_signature_that_the_tool_makes_are_good(signature: bytes) -> None:
    assert minisign.check(CONTENT, signature, minisign.read_key(KEY)).startswith("timestamp:1795937805\tfile:f")


BAD = [
    ("another content", b"hallo\n", HASHED, "does not fit"),
    ("another content, plain", b"hallo\n", PLAIN, "does not fit"),
    ("a comment that nobody signed", CONTENT, HASHED.replace(b"file:f", b"file:g"), "does not fit"),
    ("of another signature", CONTENT, b"\n".join([*LINES[:3], PLAIN.split(b"\n")[3], b""]), "does not fit"),
    ("another algorithm", CONTENT, HASHED.replace(b"RURk", b"RUVk").replace(b"RUVk", b"WFhk"), "algorithm"),
    ("another key", CONTENT, HASHED.replace(b"RURkNivJ", b"RURkNivK"), "is by the key CC0B106CA2B3664"),
    ("two lines", CONTENT, b"\n".join(LINES[:2]), "no signature of minisign"),
    ("empty", CONTENT, b"", "no signature of minisign"),
    ("not base 64", CONTENT, HASHED.replace(b"RURk", b"R*Rk"), "no signature of minisign"),
    ("too short", CONTENT, HASHED.replace(LINES[1], LINES[1][:-8]), "no signature of minisign"),
    ("no trusted comment", CONTENT, HASHED.replace(b"\ntrusted", b"\nbusted"), "no signature of minisign"),
    ("too long", CONTENT, HASHED + b"x" * 20_000, "no signature of minisign"),
]


@pytest.mark.parametrize(("what", "content", "signature", "why"), BAD, ids=[row[0] for row in BAD])
def test_a_signature_that_is_not_the_keys_own_over_all_of_it_is_refused(
    what: str, content: bytes, signature: bytes, why: str
) -> None:
    with pytest.raises(minisign.BadSignature, match=why):
        minisign.check(content, signature, minisign.read_key(KEY))


@pytest.mark.parametrize("text", ["", "x", KEY[:-4], "RUR" + KEY[3:], f"comment\n{KEY}"])
def test_a_key_that_is_none_is_a_source_that_failed(plugins: ChildPlugins, source: Source, text: str) -> None:
    wrong = Source("shop", {**source.options, "minisign": text or " "}, 1_000_000)
    with pytest.raises(SourceError, match="no public key of minisign"):
        plugins.discover("directory", wrong, "")


class Signer:
    """A vendor with the real tool."""

    def __init__(self, home: Path) -> None:
        self.secret, self.public = home / "vendor.key", home / "vendor.pub"
        self._run("-G", "-W", "-p", str(self.public), "-s", str(self.secret))
        self.key = self.public.read_text().splitlines()[1]

    def signs(self, path: Path, *more: str) -> None:
        self._run("-S", "-s", str(self.secret), "-m", str(path), *more)

    def _run(self, *words: str) -> None:
        subprocess.run(["minisign", *words], check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)


@pytest.fixture
def vendor(tmp_path: Path) -> Signer:
    if shutil.which("minisign") is None:
        missing("minisign is not installed")
    return Signer(tmp_path)


def verified(plugins: ChildPlugins, source: Source, found: Discovered) -> Verification:
    (candidate,) = found.candidates
    into, fetched = plugins.fetch("directory", source, candidate)
    return plugins.verify("directory", source, candidate, fetched, into)


@pytest.mark.parametrize("more", [[], ["-l"]], ids=["hashed", "plain"])
def test_a_drop_that_its_vendor_has_signed_with_the_real_tool_is_vendor_signed(
    plugins: ChildPlugins, folder: Path, vendor: Signer, more: list[str]
) -> None:
    vendor.signs(drop(folder, "1", {"a.bin": b"a"}) / "manifest.json", *more)
    source = Source("shop", {"folder": str(folder), "minisign": vendor.key}, 1_000_000)
    found = verified(plugins, source, plugins.discover("directory", source, ""))
    assert (found.trust, found.ok) == ("vendor_signed", True)
    assert found.signer.startswith(f"minisign {minisign.read_key(vendor.key).number}: timestamp:")
    assert minisign.read_key(vendor.key).number in vendor.public.read_text().splitlines()[0]


def test_with_a_key_nothing_comes_in_that_its_owner_has_not_signed(
    plugins: ChildPlugins, folder: Path, vendor: Signer, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    source = Source("shop", {"folder": str(folder), "minisign": vendor.key}, 1_000_000)
    drop(folder, "1", {"a.bin": b"a"})
    Signer(tmp_path / "other").signs(drop(folder, "2", {"a.bin": b"a"}) / "manifest.json")
    signed = drop(folder, "3", {"a.bin": b"a"}) / "manifest.json"
    vendor.signs(signed)
    signed.write_text(signed.read_text().replace('"3"', '"4"'))
    found = plugins.discover("directory", source, "")
    assert found.candidates == ()
    first, second, third = found.skipped
    assert "manifest.json.minisig is missing" in first
    assert "is by the key" in second
    assert "does not fit" in third


def test_a_manifest_that_changes_after_the_look_is_refused(plugins: ChildPlugins, folder: Path, vendor: Signer) -> None:
    manifest = drop(folder, "1", {"a.bin": b"a"}) / "manifest.json"
    vendor.signs(manifest)
    source = Source("shop", {"folder": str(folder), "minisign": vendor.key}, 1_000_000)
    found = plugins.discover("directory", source, "")
    manifest.write_text(manifest.read_text().replace('"1"', '"2"', 1))
    assert "does not fit" in verified(plugins, source, found).detail
    vendor.signs(manifest)
    refused = verified(plugins, source, found)
    assert (refused.ok, refused.detail) == (False, "manifest.json has changed since it was looked at")


def test_anybody_may_take_a_drop_back(plugins: ChildPlugins, folder: Path) -> None:
    (drop(folder, "1", {"a.bin": b"a"}) / "WITHDRAWN").touch()
    source = Source("shop", {"folder": str(folder), "minisign": KEY}, 1_000_000)
    assert plugins.discover("directory", source, "").withdrawn == ("1",)


# looks


def test_drops_that_stand_still_are_listed_and_not_read(source: Source, folder: Path) -> None:
    manifest = drop(folder, "1", {"a.bin": b"a"}) / "manifest.json"
    first = directory.gate_discover(source=source, cursor="")
    times = manifest.stat()
    manifest.write_text("x" * times.st_size)
    os.utime(manifest, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = directory.gate_discover(source=source, cursor=first.cursor)
    assert (again.unchanged, again.candidates, again.skipped) == (True, (), ())
    manifest.touch()
    assert "not JSON" in directory.gate_discover(source=source, cursor=again.cursor).skipped[0]


CHANGES: list[tuple[str, Callable[[Path], object]]] = [
    ("another drop", lambda folder: drop(folder, "2", {"a.bin": b"b"})),
    ("one that has gone", lambda folder: shutil.rmtree(folder / "1")),
    ("one that is taken back", lambda folder: (folder / "1" / "WITHDRAWN").touch()),
    ("READY that comes anew", lambda folder: os.utime(folder / "1" / "READY", (1, 1))),
    ("bytes of the same length", lambda folder: (folder / "1" / "a.bin").write_bytes(b"b")),
]


@pytest.mark.parametrize(("what", "change"), CHANGES, ids=[row[0] for row in CHANGES])
def test_whatever_changes_is_seen_at_the_next_look(
    source: Source, folder: Path, what: str, change: Callable[[Path], object]
) -> None:
    drop(folder, "1", {"a.bin": b"a"})
    drop(folder, "0", {"a.bin": b"c"})
    first = directory.gate_discover(source=source, cursor="")
    assert directory.gate_discover(source=source, cursor=first.cursor).unchanged
    change(folder)
    again = directory.gate_discover(source=source, cursor=first.cursor)
    assert not again.unchanged
    assert again.candidates != first.candidates
    after = directory.gate_discover(source=source, cursor=again.cursor)
    assert (after.unchanged, after.withdrawn) == (True, again.withdrawn)


def test_a_bad_drop_is_told_at_each_look_and_taken_once_it_is_mended(source: Source, folder: Path) -> None:
    drop(folder, "1", {"a.bin": b"a"})
    bad = drop(folder, "2", {"a.bin": b"a"}) / "a.bin"
    bad.unlink()
    first = directory.gate_discover(source=source, cursor="")
    again = directory.gate_discover(source=source, cursor=first.cursor)
    assert again.unchanged
    assert again.skipped == first.skipped == ("'2': a.bin is missing, a link or not readable (it is not there;"
                                              " a share: is it mounted?)",)  # fmt: skip
    bad.write_bytes(b"a")
    assert [one.version for one in directory.gate_discover(source=source, cursor=first.cursor).candidates] == ["1", "2"]


def test_more_bad_drops_than_a_cursor_can_name_are_read_each_time(source: Source, folder: Path) -> None:
    drop(folder, "1", {"a.bin": b"a"})
    for number in range(40):
        (drop(folder, f"{number}-" + "x" * 150, {"a.bin": b"a"}) / "a.bin").unlink()
    first = directory.gate_discover(source=source, cursor="")
    assert len(first.cursor) < 100
    again = directory.gate_discover(source=source, cursor=first.cursor)
    assert (again, len(again.skipped)) == (first, 40)


def test_another_key_in_the_settings_looks_at_everything_again(source: Source, folder: Path) -> None:
    drop(folder, "1", {"a.bin": b"a"})
    cursor = directory.gate_discover(source=source, cursor="").cursor
    strict = Source("shop", {**source.options, "minisign": KEY}, 1_000_000)
    assert "manifest.json.minisig is missing" in directory.gate_discover(source=strict, cursor=cursor).skipped[0]


# shares


def test_half_a_file_is_left_alone_until_it_is_whole(source: Source, folder: Path) -> None:
    file = drop(folder, "1", {"a.bin": b"a" * 1000}) / "a.bin"
    file.write_bytes(b"a" * 10)
    first = directory.gate_discover(source=source, cursor="")
    assert first.candidates == ()
    assert first.skipped == ("'1': a.bin has 10 of 1000 bytes: perhaps it is still being copied",)
    file.write_bytes(b"a" * 1000)
    assert len(directory.gate_discover(source=source, cursor=first.cursor).candidates) == 1


def test_bytes_that_came_late_at_the_right_length_are_another_candidate(source: Source, folder: Path) -> None:
    file = drop(folder, "1", {"a.bin": b"a" * 1000}) / "a.bin"
    file.write_bytes(b"\0" * 1000)
    (first,) = directory.gate_discover(source=source, cursor="").candidates
    file.write_bytes(b"a" * 1000)
    (again,) = directory.gate_discover(source=source, cursor="").candidates
    assert (first.version, first.artifacts) == (again.version, again.artifacts)
    assert first != again


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ESTALE, "the share is stale, its server has changed below it: unmount it and mount it again"),
        (errno.EIO, r"the share does not answer \(Input/output error\): look at its server and at the mount"),
        (errno.EHOSTDOWN, r"the share does not answer \(Host is down\)"),
        (errno.ENOENT, "it is not there; a share: is it mounted?"),
        (errno.EACCES, "Permission denied"),
    ],
)
def test_a_share_that_is_gone_is_said_in_words_that_help(
    source: Source, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    def gone(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    drop(folder, "1", {"a.bin": b"a"})
    (candidate,) = directory.gate_discover(source=source, cursor="").candidates
    monkeypatch.setattr(os, "scandir", gone)
    with pytest.raises(directory.BadDrop, match=sentence):
        directory.gate_discover(source=source, cursor="")
    monkeypatch.setattr(os, "open", gone)
    with pytest.raises(directory.BadDrop, match=sentence):
        directory.gate_fetch(source=source, candidate=candidate, into=folder)


def test_one_drop_that_cannot_be_listed_is_told_and_harms_no_other(
    source: Source, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def stale(path: str) -> object:
        if str(path).endswith("/2"):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return listed(path)

    drop(folder, "1", {"a.bin": b"a"})
    drop(folder, "2", {"a.bin": b"a"})
    monkeypatch.setattr(os, "scandir", stale)
    found = directory.gate_discover(source=source, cursor="")
    assert [one.version for one in found.candidates] == ["1"]
    assert found.skipped[0].startswith("'2': the share is stale")


def test_an_empty_folder_whose_share_is_mounted_no_more_is_a_failed_look(
    source: Source, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(folder, "1", {"a.bin": b"a"})
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == folder)
    cursor = directory.gate_discover(source=source, cursor="").cursor
    assert json.loads(cursor)["mounted"]
    shutil.rmtree(folder / "1")
    emptied = directory.gate_discover(source=source, cursor=cursor)
    assert (emptied.candidates, emptied.unchanged) == ((), False)
    monkeypatch.setattr(os.path, "ismount", lambda path: False)
    with pytest.raises(directory.BadDrop, match="the share that was mounted there is not: mount it again"):
        directory.gate_discover(source=source, cursor=emptied.cursor)
    drop(folder, "1", {"a.bin": b"a"})
    assert directory.gate_discover(source=source, cursor=emptied.cursor).candidates
