"""CVDs: headers, the vendor's signature (compared with sigtool), order, lint by clamscan, plans, what clamd says."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from gate.adapters.plugins import ChildPlugins, Network
from gate.hookspecs import Answer, Baseline, Candidate, Fetched, Io, Receiver, Source
from gate_clamav import cvd, source
from tests.conftest import missing
from tests.cvds import Signer, signer, vendor
from tests.upstream import upstream

OURS = signer()
NOBODY = cast("Io", None)  # a folder needs no network
MACHINE = Receiver("m-1", "till", {})
TESTFILES = Path("/usr/share/clamav-testfiles")


def filled(folder: Path, **files: bytes) -> Source:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.cvd").write_bytes(content)
    return Source("av", {"folder": str(folder), "databases": " ".join(files)})


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_sigtool_and_we_agree_on_the_vendors_databases(shared_data: Path, tmp_path: Path, version: int) -> None:
    if shutil.which("sigtool") is None:
        missing("sigtool is not installed")
    whole = vendor(shared_data, version)
    for number in (-1, 600, 512, 70, 150):  # the end, the content, the md5, the signature
        changed = bytearray(whole)
        changed[number] ^= 1
        for name, content in (("good", whole), ("bad", bytes(changed))):
            file = tmp_path / f"{name}.cvd"
            file.write_bytes(content)
            said = subprocess.run(["sigtool", "--info", str(file)], capture_output=True, text=True, check=False)
            theirs = "Verification OK" in said.stdout
            assert theirs is (name == "good")
            assert ours(file, cvd.VENDOR) is theirs


def ours(file: Path, key: cvd.PublicKey) -> bool:
    try:
        cvd.check(file, key)
    except cvd.BadCvd:
        return False
    return True


def test_every_flipped_byte_is_refused(tmp_path: Path) -> None:
    whole, file = OURS.cvd(7, content=b"x" * 40), tmp_path / "daily.cvd"
    file.write_bytes(whole)
    assert ours(file, OURS.public)
    assert not ours(file, cvd.VENDOR)
    unsigned = {b":7:1:81:", b"02 Mar 2026 09-00 +0000", b"tests", b"1772442000"}  # the vendor signs the md5 only
    header = whole[:512]
    spans = [(header.index(word), header.index(word) + len(word)) for word in unsigned]
    for place in [*range(header.rstrip().rindex(b"tests")), *range(512, len(whole))]:
        if any(start <= place < end for start, end in spans):
            continue
        changed = bytearray(whole)
        changed[place] ^= 1
        file.write_bytes(changed)
        assert not ours(file, OURS.public), place


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"ClamAV-VDB:",
        b"ClamAV-VDB:t:1:1:81:".ljust(512),
        b"ClamAV-VDC:t:1:1:81:" + b"0" * 32 + b":s:b:1".ljust(480),
        b"ClamAV-VDB:t:-1:1:81:" + b"0" * 32 + b":s:b:1".ljust(480),
        b"ClamAV-VDB:t:1:1:81:" + b"G" * 32 + b":s:b:1".ljust(480),
        b"\xff" * 512,
    ],
)
def test_what_is_no_header_is_refused(raw: bytes) -> None:
    with pytest.raises(cvd.BadCvd):
        cvd.read_header(raw)


@pytest.mark.parametrize("signature", ["", "a", "!", "9" * 400])
def test_a_signature_that_is_no_number_below_the_modulus_is_none(signature: str) -> None:
    assert not cvd.signed(cvd.Header("t", 1, 1, 81, "0" * 32, signature, "b"))


def test_a_folder_is_a_candidate_with_the_versions_of_its_databases(tmp_path: Path) -> None:
    where = filled(tmp_path / "d", main=OURS.cvd(62), daily=OURS.cvd(27800))
    (tmp_path / "d" / "daily-27800.cvd.sign").write_text("#clamsign-1.0")
    (tmp_path / "d" / "daily.cld").write_text("a client's own")
    found = source.gate_discover(where, "", NOBODY)
    assert source.gate_discover(where, found.cursor, NOBODY) == found
    (candidate,) = found.candidates
    assert candidate.version == "62.27800"
    names = ["main.cvd", "daily.cvd", "daily-27800.cvd.sign", "main-62.cdiff", "daily-27800.cdiff"]
    assert [one.name for one in candidate.artifacts] == names
    into = tmp_path / "into"
    into.mkdir()
    fetched = source.gate_fetch(where, candidate, into, NOBODY)
    assert [(one.name, one.sha256) for one in fetched] == [(one.name, one.sha256) for one in candidate.artifacts]
    assert source.verify(["main", "daily"], "62.27800", into, OURS.public).trust == "vendor_signed"
    assert not source.gate_verify(where, candidate, fetched, into).ok  # our key is not the vendor's
    assert source.verify(["main", "daily"], "62.27801", into, OURS.public).detail == "they have version 62.27800"
    assert source.verify(["main", "daily", "safe"], "62.27800.1", into, OURS.public).detail.startswith("safe.cvd")


def test_a_missing_or_torn_database_is_skipped_with_its_reason(tmp_path: Path) -> None:
    where = filled(tmp_path / "d", daily=b"half")
    assert source.gate_discover(where, "", NOBODY).skipped == ("daily.cvd: it does not begin as a CVD does",)
    (tmp_path / "d" / "daily.cvd").unlink()
    assert source.gate_discover(where, "", NOBODY).skipped == ("daily.cvd is not there",)


class Upstream:
    """A mirror over https as ``io.http`` gives it."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, list[tuple[str, str]]()

    def send(self, method: str, url: str, *, body: bytes, headers: dict[str, str]) -> Any:
        self.asked.append((url, headers["Range"]))
        content = self.files.get(url)
        return Answer(206, {}, content[:512]) if content is not None else Answer(404, {}, b"")

    def download(self, url: str, to: Path, *, most: int) -> Any:
        to.write_bytes(self.files[url])
        one = source._measured(to)
        return Fetched(one.name, one.length, one.sha256)


def test_a_mirror_over_https_is_asked_for_headers_first(tmp_path: Path) -> None:
    http = Upstream({"https://up.example/av/daily.cvd": OURS.cvd(5)})
    io = Io(cast("Any", http), {}, cast("Any", None), tmp_path)
    where = Source("av", {"mirror": "https://up.example/av/"})
    (candidate,) = source.gate_discover(where, "", io).candidates
    assert (candidate.version, candidate.artifacts[0].sha256) == ("5", "")
    assert http.asked[0] == ("https://up.example/av/daily.cvd", "bytes=0-511")
    source.gate_fetch(where, candidate, tmp_path, io)
    assert source.verify(["daily"], "5", tmp_path, OURS.public).ok
    gone = Source("av", {"mirror": "https://up.example/other"})
    assert source.gate_discover(gone, "", io).skipped == ("daily.cvd: daily.cvd: the mirror answered 404",)


@pytest.mark.parametrize(
    ("a", "b", "order"),
    [("9", "10", -1), ("10", "9", 1), ("9", "9", 0), ("62.9", "62.10", -1), ("63.10", "62.10", 1)],
)
def test_versions_are_numbers(a: str, b: str, order: int) -> None:
    assert source.gate_order(Source("av", {}), a, b) == order


@pytest.mark.parametrize(("a", "b"), [("63.27799", "62.27800"), ("62.27800", "63.27799"), ("62.9", "63.9")])
def test_where_one_number_fell_it_is_no_newer_whatever_rose(a: str, b: str) -> None:
    assert source.gate_order(Source("av", {}), a, b) == -1


def test_another_number_of_databases_than_before_has_no_order_and_stops_no_source() -> None:
    assert source.gate_order(Source("av", {}), "62.9", "9") is None
    assert source.gate_order(Source("av", {}), "9", "62.9") is None


@pytest.mark.parametrize("databases", ["", "daily daily", "../daily", "main bytecode", "Daily"])
def test_databases_that_are_none_are_refused(databases: str) -> None:
    with pytest.raises(ValueError, match=r"bytecode|names"):
        source.databases(Source("av", {"databases": databases}))


def test_half_of_the_signatures_gone_is_refused(tmp_path: Path) -> None:
    where = filled(tmp_path / "d", daily=OURS.cvd(2, 49))
    old = filled(tmp_path / "o", daily=OURS.cvd(1, 100))
    before = Baseline("1", {"daily.cvd": Path(old.options["folder"]) / "daily.cvd"})
    candidate = Candidate("2", (), "2")
    (finding,) = source.gate_lint(where, candidate, (), tmp_path / "d", before)
    assert (finding.weight, finding.code) == ("refuse", "fewer_signatures")
    filled(tmp_path / "d", daily=OURS.cvd(2, 50))
    assert source.gate_lint(where, candidate, (), tmp_path / "d", before) == []


def test_clamscan_refuses_a_false_alarm_and_a_blind_database(shared_data: Path, tmp_path: Path) -> None:
    if shutil.which("clamscan") is None or not TESTFILES.is_dir():
        missing("clamscan or clamav-testfiles is not installed")
    golden = tmp_path / "golden"
    golden.mkdir()
    shutil.copyfile(TESTFILES / "clam.exe", golden / "till.exe")
    findings = {}
    for version in (2, 3):
        where = filled(tmp_path / f"v{version}", daily=vendor(shared_data, version))
        for option in ("clean", "found"):
            wanted = Source("av", {**where.options, option: str(golden)})
            found = source.gate_lint(wanted, Candidate(str(version), (), ""), (), tmp_path / f"v{version}", None)
            findings[version, option] = [one.code for one in found]
    assert findings == {(2, "clean"): [], (2, "found"): ["not_found"], (3, "clean"): ["false_alarm"], (3, "found"): []}


@pytest.mark.parametrize("kib", [60_000, 40_000], ids=["for its databases", "for its libraries"])
def test_too_little_memory_for_clamscan_says_nothing_of_the_databases(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kib: int
) -> None:
    real = shutil.which("clamscan")
    if real is None:
        missing("clamscan is not installed")
    small = tmp_path / "bin" / "clamscan"
    small.parent.mkdir()
    small.write_text(f'#!/bin/sh\nulimit -v {kib}\nexec {real} "$@"\n')
    small.chmod(0o755)
    monkeypatch.setenv("PATH", f"{small.parent}:/usr/bin:/bin")
    where = filled(tmp_path / "v1", daily=vendor(shared_data, 1))
    wanted = Source("av", {**where.options, "clean": str(tmp_path / "bin")})
    with pytest.raises(OSError, match="source_call_mib"):
        source.gate_lint(wanted, Candidate("1", (), ""), (), tmp_path / "v1", None)


def test_each_client_has_its_own_way_back() -> None:
    plans = {
        client: source.gate_recall_plan(Source("av", {"client": client}), "r0", "3", "2")
        for client in ("PrivateMirror", "DatabaseCustomURL")
    }
    assert {client: (plan.how, plan.needs_agent) for client, plan in plans.items()} == {
        "PrivateMirror": ("agent_purge", True),
        "DatabaseCustomURL": ("serve_old", False),
    }
    assert source.gate_recall_plan(Source("av", {}), "r0", "1", "").how == "none"


@pytest.mark.parametrize("databases", ["main daily", "bytecode", "main"])
def test_what_our_agent_does_not_set_aside_is_left_to_hands(databases: str) -> None:
    plan = source.gate_recall_plan(Source("av", {"databases": databases}), "r0", "3", "2")
    assert (plan.how, plan.needs_agent) == ("none", False)
    custom = Source("av", {"databases": databases, "client": "DatabaseCustomURL"})
    assert source.gate_recall_plan(custom, "r0", "3", "2").how == "serve_old"


@pytest.mark.parametrize(
    ("report", "version"),
    [
        ("ClamAV 1.4.6/27800/Mon Mar  2 09:00:00 2026", "27800"),
        ("ClamAV 1.4.6", None),
        ("", None),
        ("ClamAV 1.4.6/-3/x", None),
        ("ClamAV \x00/3/x", None),
    ],
)
def test_clamd_says_what_the_machine_runs(report: str, version: str | None) -> None:
    found = source.gate_observed(Source("av", {}), MACHINE, report)
    assert (found.version if found else None) == version
    assert source.gate_observed(Source("av", {"databases": "main daily"}), MACHINE, report) is None


def test_two_signers_are_not_one(tmp_path: Path) -> None:
    other: Signer = signer()
    (tmp_path / "daily.cvd").write_bytes(other.cvd(1))
    assert ours(tmp_path / "daily.cvd", other.public)
    assert not ours(tmp_path / "daily.cvd", OURS.public)


def test_a_mirror_is_read_through_the_gates_one_way_out(tmp_path: Path, shared_data: Path) -> None:
    plugins = ChildPlugins(tmp_path / "spool" / "here-1", network=Network(loopback=True))
    with upstream() as mirror:
        mirror.file("/av/daily.cvd", vendor(shared_data, 3))
        where = Source("av", {"mirror": mirror.url("/av")}, 1_000_000, (mirror.host,))
        (candidate,) = plugins.discover("clamav", where, "").candidates
        assert mirror.asked[0].headers["range"] == "bytes=0-511"
        into, fetched = plugins.fetch("clamav", where, candidate)
        verified = plugins.verify("clamav", where, candidate, fetched, into)
        assert (candidate.version, verified.trust, verified.signer) == ("3", "vendor_signed", "raynman")
        spoilt = bytearray(vendor(shared_data, 3))
        spoilt[-1] ^= 1
        mirror.file("/av/daily.cvd", bytes(spoilt))
        into, fetched = plugins.fetch("clamav", where, candidate)
        assert not plugins.verify("clamav", where, candidate, fetched, into).ok
