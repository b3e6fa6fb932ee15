"""What lies beside a CVD: cdiffs (compared with sigtool), which files a version has, and who has signed a ``.sign``."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import cast

import pytest

from gate.adapters.plugins import ChildPlugins, Network
from gate.hookspecs import Candidate, Fetched, Io, Source
from gate_clamav import beside, cdiff, clamsign, cvd, source
from tests.conftest import missing
from tests.cvds import patch_signer, signer, vendor
from tests.upstream import upstream

OURS = signer()
PATCHES = patch_signer()
NOBODY = cast("Io", None)  # a folder needs no network


def patch(shared: Path, version: int) -> bytes:
    """The vendor's cdiff from the version before."""
    return (shared / "clamav" / f"test-{version}.cdiff").read_bytes()


def good(file: Path, version: int, key: cvd.PublicKey = cdiff.VENDOR) -> bool:
    try:
        cdiff.check(file, version, key)
    except cvd.BadCvd:
        return False
    return True


@pytest.mark.parametrize("version", [2, 3, 4])
def test_sigtool_and_we_agree_on_the_vendors_cdiffs(shared_data: Path, tmp_path: Path, version: int) -> None:
    if shutil.which("sigtool") is None:
        missing("sigtool is not installed")
    whole, base = patch(shared_data, version), tmp_path / "test.cvd"
    base.write_bytes(vendor(shared_data, version - 1))
    file = tmp_path / f"test-{version}.cdiff"
    for number in (None, 3, 14, 40, -400, -100, -1):  # nothing, the head, the length, the content, the signature
        changed = bytearray(whole)
        if number is not None:
            changed[number] ^= 1
        file.write_bytes(changed)
        words = ["sigtool", f"--verify-cdiff={file}", str(base)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
        theirs = "correctly applies" in done.stdout + done.stderr
        assert theirs is (number is None), (number, done)
        assert good(file, version) is theirs, number
    assert not good(file, version + 1)


def test_every_flipped_byte_of_a_cdiff_is_refused(tmp_path: Path) -> None:
    whole, file = PATCHES.cdiff(7, b"OPEN daily.hdb\n"), tmp_path / "daily-7.cdiff"
    file.write_bytes(whole)
    assert good(file, 7, PATCHES.public)
    assert not good(file, 7)  # our key is not the vendor's
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        file.write_bytes(changed)
        assert not good(file, 7, PATCHES.public), place


def test_a_cdiff_is_that_of_its_version_or_empty(tmp_path: Path) -> None:
    file = tmp_path / "daily-7.cdiff"
    file.write_bytes(PATCHES.cdiff(6))
    with pytest.raises(cvd.BadCvd, match="leads to version 6"):
        cdiff.check(file, 7, PATCHES.public)
    for bad in (PATCHES.cdiff(7, salt=20), PATCHES.cdiff(7)[:-200], b"ClamAV-Diff:7:0:", b"x", PATCHES.cdiff(7) + b":"):
        file.write_bytes(bad)
        assert not good(file, 7, PATCHES.public), bad
    file.write_bytes(b"")
    assert good(file, 7, PATCHES.public)


def filled(folder: Path, **files: bytes) -> Source:
    """A folder with daily 7 and what lies beside it: ``cdiff``, ``cvd_sign``."""
    folder.mkdir(exist_ok=True)
    (folder / "daily.cvd").write_bytes(OURS.cvd(7))
    for kind, content in files.items():
        (folder / f"daily-7.{kind.replace('_', '.')}").write_bytes(content)
    return Source("av", {"folder": str(folder)})


def brought(where: Source, into: Path, cursor: str = "") -> tuple[Candidate, str, list[Fetched]]:
    found = source.gate_discover(where, cursor, NOBODY)
    (candidate,) = found.candidates
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir()
    return candidate, found.cursor, list(source.gate_fetch(where, candidate, into, NOBODY))


def test_a_cdiff_goes_along_and_a_bad_one_refuses_the_release(tmp_path: Path) -> None:
    into = tmp_path / "into"
    where = filled(tmp_path / "d", cdiff=PATCHES.cdiff(7))
    candidate, _, fetched = brought(where, into)
    assert [one.name for one in fetched] == ["daily.cvd", "daily-7.cdiff"]
    assert [one.sha256 for one in fetched] == [one.sha256 for one in candidate.artifacts]
    assert source.verify(["daily"], "7", into, OURS.public, PATCHES.public).ok
    filled(tmp_path / "d", cdiff=PATCHES.cdiff(6))
    brought(where, into)
    refused = source.verify(["daily"], "7", into, OURS.public, PATCHES.public)
    assert (refused.ok, refused.detail) == (False, "daily-7.cdiff: it leads to version 6")


def test_a_cdiff_that_is_not_there_is_an_empty_one(tmp_path: Path) -> None:
    into = tmp_path / "into"
    for content in ({}, {"cdiff": b""}):
        _, _, fetched = brought(filled(tmp_path / "d", **content), into)
        assert fetched[1:] == [Fetched("daily-7.cdiff", 0, beside.EMPTY)]
        assert (into / "daily-7.cdiff").read_bytes() == b""
        assert source.verify(["daily"], "7", into, OURS.public, PATCHES.public).ok


def test_the_files_of_a_version_are_those_of_the_first_look_at_it(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    where = filled(folder, cvd_sign=b"#clamsign-1.0\n")
    first, cursor, _ = brought(where, tmp_path / "into")
    filled(folder, cdiff=PATCHES.cdiff(7), cdiff_sign=b"late")
    assert source.gate_discover(where, cursor, NOBODY).candidates == (first,)  # what comes late is left out
    (folder / "daily-7.cvd.sign").unlink()
    (pruned,) = source.gate_discover(where, cursor, NOBODY).candidates
    assert [one.name for one in pruned.artifacts] == [one.name for one in first.artifacts]
    known = {one.name: one.sha256 for one in first.artifacts}
    assert all(one.sha256 in ("", known[one.name]) for one in pruned.artifacts)
    (folder / "daily.cvd").write_bytes(OURS.cvd(7, content=b"other"))
    (other,) = source.gate_discover(where, cursor, NOBODY).candidates
    assert other.artifacts[0].sha256 not in ("", known["daily.cvd"])  # and alarms
    (folder / "daily.cvd").write_bytes(OURS.cvd(8))
    (folder / "daily-8.cdiff").write_bytes(PATCHES.cdiff(8))
    (later,) = source.gate_discover(where, cursor, NOBODY).candidates
    assert [one.name for one in later.artifacts] == ["daily.cvd", "daily-8.cdiff"]


def test_a_mirror_is_asked_once_a_version_for_what_lies_beside(tmp_path: Path, shared_data: Path) -> None:
    plugins = ChildPlugins(tmp_path / "spool" / "here-1", network=Network(loopback=True))
    with upstream() as mirror:
        mirror.file("/av/test.cvd", vendor(shared_data, 2))
        mirror.file("/av/test-2.cdiff", patch(shared_data, 2))
        options = {"mirror": mirror.url("/av"), "databases": "test"}
        where = Source("av", options, 1_000_000, (mirror.host,))
        found = plugins.discover("clamav", where, "")
        asked = [one.path.removeprefix("/av/") for one in mirror.asked]
        assert asked == ["test.cvd", "test-2.cdiff", "test-2.cvd.sign", "test-2.cdiff.sign"]
        assert mirror.asked[1].headers["range"] == "bytes=0-0"
        (candidate,) = found.candidates
        assert [one.name for one in candidate.artifacts] == ["test.cvd", "test-2.cdiff"]
        into, fetched = plugins.fetch("clamav", where, candidate)
        assert plugins.verify("clamav", where, candidate, fetched, into).ok
        del mirror.asked[:], mirror.answers["/av/test-2.cdiff"]
        assert plugins.discover("clamav", where, found.cursor) == found
        assert [one.path for one in mirror.asked] == ["/av/test.cvd"]
        spoilt = bytearray(patch(shared_data, 2))
        spoilt[40] ^= 1
        mirror.file("/av/test-2.cdiff", bytes(spoilt))
        into, fetched = plugins.fetch("clamav", where, candidate)
        refused = plugins.verify("clamav", where, candidate, fetched, into)
        assert (refused.ok, refused.detail) == (False, "test-2.cdiff: its vendor has not signed it")


class Authority:
    """A certificate authority of the tests' own, with one signing certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        if shutil.which("openssl") is None:
            missing("openssl is not installed")
        folder.mkdir()
        self.folder, self.certificate = folder, folder / "root.crt"
        request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650"]
        self.run(*request, "-subj", f"/CN={name}", "-keyout", "root.key", "-out", "root.crt")
        request += ["-CA", "root.crt", "-CAkey", "root.key", "-addext", "extendedKeyUsage=codeSigning,emailProtection"]
        request += ["-addext", "basicConstraints=CA:FALSE", "-keyout", "signer.key", "-out", "signer.crt"]
        self.run(*request, "-subj", f"/CN={name} signer")

    def run(self, *words: str) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=self.folder)

    def line(self, content: bytes, *more: str) -> str:
        """A line of a ``.sign`` file."""
        (self.folder / "in").write_bytes(content)
        words = ["cms", "-sign", "-binary", "-in", "in", "-signer", "signer.crt", "-inkey", "signer.key"]
        self.run(*words, "-outform", "DER", "-out", "out", *more)
        return "230::pkcs7-pem:" + base64.b64encode((self.folder / "out").read_bytes()).decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("good") / "ca", "Tests")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("bad") / "ca", "Stranger")


def sign(*lines: str) -> bytes:
    return "\n".join(("#clamsign-1.0", *lines, "")).encode()


def test_the_vendors_sign_files_are_read_and_hold_their_database_alone(shared_data: Path, tmp_path: Path) -> None:
    """By the intermediate certificate that comes in them, for the vendor's root is not at hand."""
    Authority(tmp_path / "ca", "unused")
    certs = tmp_path / "certs.pem"
    for version in (1, 2, 3, 4):
        side_car = shared_data / "clamav" / f"test-{version}.cvd.sign"
        (signature,) = clamsign.signatures(side_car.read_bytes())
        (tmp_path / "signature").write_bytes(signature)
        words = ["openssl", "pkcs7", "-inform", "DER", "-in", str(tmp_path / "signature"), "-print_certs"]
        held = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        certs.write_text("-----BEGIN" + held.split("-----BEGIN")[2])
        clamsign.check(side_car, shared_data / "clamav" / f"test-{version}.cvd", certs)
        other = shared_data / "clamav" / f"test-{version % 4 + 1}.cvd"
        with pytest.raises(clamsign.BadSign, match="openssl does not trust"):
            clamsign.check(side_car, other, certs)
        with pytest.raises(clamsign.BadSign, match="openssl does not trust"):
            clamsign.check(side_car, shared_data / "clamav" / f"test-{version}.cvd", tmp_path / "ca" / "root.crt")


def test_who_signs_is_who_the_certificates_say_and_nobody_else(
    authority: Authority, stranger: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, side_car = tmp_path / "daily.cvd", tmp_path / "daily-7.cvd.sign"
    content.write_bytes(b"database\r\n")
    ours, theirs = authority.line(b"database\r\n"), stranger.line(b"database\r\n")
    folder = tmp_path / "certs"
    folder.mkdir()
    shutil.copyfile(authority.certificate, folder / "vendor.crt")
    (folder / "README").write_text("no certificate")
    for certs in (authority.certificate, folder):
        side_car.write_bytes(sign(ours))
        clamsign.check(side_car, content, certs)
    hashed = tmp_path / "system"  # where openssl itself looks for whom to trust
    hashed.mkdir()
    shutil.copyfile(stranger.certificate, hashed / "stranger.pem")
    stranger.run("rehash", str(hashed))
    monkeypatch.setenv("SSL_CERT_DIR", str(hashed))
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger.certificate))
    embedded = authority.line(b"another", "-nodetach")
    bad = {
        "a stranger's": sign(theirs),
        "one of two": sign(ours, theirs),
        "of other bytes": sign(authority.line(b"another")),
        "of bytes that it brings itself": sign(embedded),
        "torn": sign(ours[:-40]),
        "cut in its digits": sign(ours[:-3] + "!"),
        "none": sign(),
        "none but a comment": sign("#" + ours),
        "another form": sign(ours).replace(b"1.0", b"2.0"),
        "empty": b"",
    }
    for what, raw in bad.items():
        side_car.write_bytes(raw)
        try:
            clamsign.check(side_car, content, authority.certificate)
        except clamsign.BadSign:
            continue
        pytest.fail(what)
    side_car.write_bytes(sign(ours))
    (tmp_path / "empty").mkdir()
    with pytest.raises(clamsign.BadSign, match="no certificate"):
        clamsign.check(side_car, content, tmp_path / "empty")


def test_with_certs_a_wrong_sign_file_refuses_the_release_and_none_makes_it_wait(
    authority: Authority, stranger: Authority, shared_data: Path, tmp_path: Path
) -> None:
    folder, cvd_3, patch_3 = tmp_path / "d", vendor(shared_data, 3), patch(shared_data, 3)
    folder.mkdir()
    (folder / "test.cvd").write_bytes(cvd_3)
    (folder / "test-3.cdiff").write_bytes(patch_3)
    options = {"folder": str(folder), "databases": "test", "certs": str(authority.certificate)}
    where = Source("av", options, 1_000_000)
    waits = source.gate_discover(where, "", NOBODY)
    assert waits.skipped == ("test-3.cvd.sign is not there, and option certs asks for it",)
    assert (waits.candidates, waits.cursor) == ((), "")

    def verified(side_car: str, raw: bytes) -> str:
        (folder / side_car).write_bytes(raw)
        candidate, _, fetched = brought(where, tmp_path / "into")
        done = source.gate_verify(where, candidate, fetched, tmp_path / "into")
        return done.trust if done.ok else done.detail[:40]

    assert verified("test-3.cvd.sign", sign(authority.line(cvd_3))) == "vendor_signed"
    assert verified("test-3.cvd.sign", sign(stranger.line(cvd_3))) == "test-3.cvd.sign: openssl does not trust "
    assert verified("test-3.cvd.sign", sign(authority.line(cvd_3))) == "vendor_signed"
    assert verified("test-3.cdiff.sign", sign(authority.line(patch_3))) == "vendor_signed"
    assert verified("test-3.cdiff.sign", sign(authority.line(cvd_3))) == "test-3.cdiff.sign: openssl does not trus"


def test_without_openssl_the_call_fails_instead_of_passing(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    for name, content in (("test.cvd", vendor(shared_data, 3)), ("test-3.cvd.sign", sign())):
        (folder / name).write_bytes(content)
    where = Source("av", {"folder": str(folder), "databases": "test", "certs": str(tmp_path)})
    candidate, _, fetched = brought(where, tmp_path / "into")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="openssl is not installed"):
        source.gate_verify(where, candidate, fetched, tmp_path / "into")
