"""Suricata's rules as a source: what is taken, what is refused, and what a client is served of it."""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

import pytest

from gate.adapters.plugins import ChildPlugins, Network
from gate.core.errors import SourceError
from gate.hookspecs import Announced, Baseline, Candidate, Finding, Released, Source
from gate_suricata import rules
from gate_suricata import source as plugin
from gate_suricata.tarball import MEMBERS, BadTarball, rule_files
from tests.rule_sets import NAME, packed, plain, put, rule
from tests.upstream import Asked, Reply, Upstream, upstream

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def vendor() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    return ChildPlugins(tmp_path / "spool" / "here-1", network=Network(loopback=True))


@pytest.fixture
def folder(tmp_path: Path) -> Source:
    return Source("ids", {"folder": str(tmp_path / "vendor")})


def publishes(vendor: Upstream, raw: bytes, date: int = 1_700_000_000, name: str = NAME) -> None:
    vendor.file(f"/files/{name}", raw, etag=f'"{hashlib.md5(raw).hexdigest()}"')
    md5 = hashlib.md5(raw).hexdigest()

    def answer(asked: Asked) -> Reply:
        headers = {"ETag": f'"{md5}"', "Last-Modified": formatdate(date, usegmt=True)}
        same = asked.headers.get("if-none-match") == f'"{md5}"'
        return Reply(304 if same else 200, b"" if same else f"{md5}  {name}\n".encode(), headers)

    vendor.answers[f"/files/{name}.md5"] = answer


def over_https(vendor: Upstream, **options: str) -> Source:
    given = options or {"rules": vendor.url(f"/files/{NAME}")}
    return Source("ids", given, 10_000_000, (vendor.host,))


def lint(folder: Path, raw: bytes, before: bytes | None = None) -> list[Finding]:
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_bytes(raw)
    baseline = None
    if before is not None:
        (folder / "before").write_bytes(before)
        baseline = Baseline("1", {NAME: folder / "before"})
    candidate = Candidate("2", (Announced(NAME, 0, ""),), "")
    return list(plugin.gate_lint(Source("ids", {}), candidate, (), folder, baseline))


def refused(found: list[Finding]) -> list[str]:
    return [one.code for one in found if one.weight == "refuse"]


# where it lies, and which version it is


def test_the_version_is_the_date_of_the_md5_and_a_look_without_a_change_loads_nothing(
    plugins: ChildPlugins, vendor: Upstream
) -> None:
    publishes(vendor, plain([1]))
    source = over_https(vendor)
    first = plugins.discover("suricata", source, "")
    assert [one.version for one in first.candidates] == ["20231114T221320Z"]
    again = plugins.discover("suricata", source, first.cursor)
    assert (again.candidates, again.cursor) == (first.candidates, first.cursor)
    assert vendor.asked[-1].headers["if-none-match"]
    into, fetched = plugins.fetch("suricata", source, first.candidates[0])
    verified = plugins.verify("suricata", source, first.candidates[0], fetched, into)
    assert (verified.ok, verified.trust) == (True, "digest_pinned")


def test_other_bytes_than_the_md5_says_are_refused(plugins: ChildPlugins, vendor: Upstream) -> None:
    publishes(vendor, plain([1]))
    source = over_https(vendor)
    (candidate,) = plugins.discover("suricata", source, "").candidates
    vendor.file(f"/files/{NAME}", plain([2]), etag='"x"')
    into, fetched = plugins.fetch("suricata", source, candidate)
    assert not plugins.verify("suricata", source, candidate, fetched, into).ok


def test_the_same_version_with_other_bytes_is_skipped_and_said_for_as_long_as_it_is_so(
    plugins: ChildPlugins, vendor: Upstream
) -> None:
    publishes(vendor, plain([1]))
    source = over_https(vendor)
    cursor = plugins.discover("suricata", source, "").cursor
    publishes(vendor, plain([2]))
    for _ in range(2):
        found = plugins.discover("suricata", source, cursor)
        assert (found.candidates, len(found.skipped)) == ((), 1)
        assert "other bytes than when it was first seen" in found.skipped[0]
        cursor = found.cursor
    publishes(vendor, plain([1]))
    assert plugins.discover("suricata", source, cursor).candidates


def test_what_is_remembered_of_versions_fits_into_a_cursor(plugins: ChildPlugins, vendor: Upstream) -> None:
    publishes(vendor, plain([1]))
    source = over_https(vendor, index=vendor.url("/index.yaml"))
    cursor = ""
    for number in range(plugin.PINS + 5):
        listed = f"{number:064}"
        text = f'sources: {{a: {{url: "{vendor.url(f"/files/{NAME}")}", version: "{listed}"}}}}'
        vendor.file("/index.yaml", text.encode())
        found = plugins.discover("suricata", source, cursor)
        assert [one.version for one in found.candidates] == [listed], found.skipped
        cursor = found.cursor
        assert len(cursor) < 3000


INDEX = """version: 1
sources:
  et/open: {{url: "{url}/files/%(__version__)s.rules.tar.gz", vendor: ET, version: 10842}}
  old: {{url: "{url}/files/x.tar.gz", obsolete: yes}}
  loose: {{url: "{url}/files/x.tar.gz", checksum: false}}
  paid: {{url: "{url}/files/%(secret-code)s/x.tar.gz"}}
  odd: {{url: "{url}/files/x.rules"}}
"""


def test_an_index_says_address_and_version(plugins: ChildPlugins, vendor: Upstream) -> None:
    vendor.file("/index.yaml", INDEX.format(url=vendor.url("")).encode())
    publishes(vendor, plain([1]), name="7.0.3.rules.tar.gz")
    source = over_https(vendor, index=vendor.url("/index.yaml"), name="et/open", engine="7.0.3")
    (candidate,) = plugins.discover("suricata", source, "").candidates
    assert (candidate.version, candidate.artifacts[0].name) == ("10842", "7.0.3.rules.tar.gz")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("old", "obsolete"),
        ("loose", "without an md5"),
        ("paid", "wants parameters"),
        ("odd", "no tar.gz"),
        ("", "no source"),
    ],
)
def test_an_entry_of_an_index_that_cannot_be_taken_says_why(
    plugins: ChildPlugins, vendor: Upstream, name: str, why: str
) -> None:
    vendor.file("/index.yaml", INDEX.format(url=vendor.url("")).encode())
    found = plugins.discover("suricata", over_https(vendor, index=vendor.url("/index.yaml"), name=name), "")
    assert found.candidates == ()
    assert why in found.skipped[0]


@pytest.mark.parametrize("raw", [b"", b"[", b"- a", b"sources: 3", b"a: &a [*a]", b"\xff", b"{" * 500])
def test_an_index_of_nonsense_brings_nothing(plugins: ChildPlugins, vendor: Upstream, raw: bytes) -> None:
    vendor.file("/index.yaml", raw)
    source = over_https(vendor, index=vendor.url("/index.yaml"), name="x")
    try:
        assert plugins.discover("suricata", source, "").candidates == ()
    except SourceError as problem:
        assert problem.kind == "source_failed"


def test_exactly_one_place_is_given(plugins: ChildPlugins) -> None:
    for options in ({}, {"rules": "a", "folder": "b"}):
        with pytest.raises(SourceError, match="one of rules, index and folder"):
            plugins.discover("suricata", Source("s", options), "")


def test_a_folder_is_taken_when_its_md5_is_there_and_links_are_not(
    plugins: ChildPlugins, folder: Source, tmp_path: Path
) -> None:
    home = tmp_path / "vendor"
    put(home, plain([1]), 0)
    (candidate,) = plugins.discover("suricata", folder, "").candidates
    assert candidate.artifacts[0].sha256 == hashlib.sha256(plain([1])).hexdigest()
    (home / f"{NAME}.md5").rename(tmp_path / "md5")
    assert "is missing" in plugins.discover("suricata", folder, "").skipped[0]
    (home / f"{NAME}.md5").symlink_to(tmp_path / "md5")
    assert "a link" in plugins.discover("suricata", folder, "").skipped[0]
    (home / "second.tar.gz").touch()
    assert "2 tarballs" in plugins.discover("suricata", folder, "").skipped[0]
    os.replace(tmp_path / "md5", home / f"{NAME}.md5")
    (home / "index.yaml").write_text(f'sources: {{a: {{url: "https://x/{NAME}", version: "7"}}}}')
    assert plugins.discover("suricata", folder, "").candidates[0].version == "7"


def test_versions_are_ordered_by_date_and_number_and_md5s_are_not() -> None:
    def order(a: str, b: str) -> int | None:
        return plugin.gate_order(Source("s", {}), a, b)

    assert order("20260301T000000Z", "20260302T000000Z") == -1
    assert order("10.9", "10.10") == -1
    assert order("10843", "10842") == 1
    assert order("a" * 32, "a" * 32) == 0
    assert order("a" * 32, "b" * 32) is None
    assert order("20260301T000000Z", "10842") is None


# rules


@pytest.mark.parametrize(
    "line",
    [
        rule(1),
        'alert pkthdr any any -> any any (msg:"x"; decode-event:ipv4.pkt_too_small; sid:2200000; rev:2;)',
        "drop tcp ![1.2.3.4, 10.0.0.0/8] [1024:65535,!8080] <> $EXTERNAL_NET any (sid:4294967295;)",
        'alert http any any -> any any (msg:"a \\"b\\" \\; c"; pcre:"/a\\;b"c/R"; sid:1; rev:1; gid:3;)',
        'alert http any any -> any any (content:!"|0d 0A|x\\\\"; nocase; sid:1;)',
        'alert http1:request_line any any -> [2001:db8::/32] any (http.uri; content:"a"; sid:1;)',
    ],
)
def test_rules_that_an_engine_takes_are_good(line: str) -> None:
    assert rules.read(line)[1] > 0


HEAD = "alert tcp any any -> any any "


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("alert tcp any any -> any any", "round brackets"),
        (HEAD + "(sid:1;", "round brackets"),
        ("alarm tcp any any -> any any (sid:1;)", "not an action"),
        ("alert TCP! any any -> any any (sid:1;)", "not a protocol"),
        ("alert tcp any any any any (sid:1;)", "6 parts"),
        ("alert tcp any any => any any (sid:1;)", "not a direction"),
        ("alert tcp [1.2.3.4,[5.6.7.8] any -> any any (sid:1;)", "square brackets"),
        ("alert tcp 1.2.3.4] any -> any any (sid:1;)", "square brackets"),
        ("alert tcp [] any -> any any (sid:1;)", "not an address"),
        ("alert tcp a;b any -> any any (sid:1;)", "not an address"),
        (HEAD + "()", "no sid"),
        (HEAD + '(msg:"x";)', "no sid"),
        (HEAD + "(sid:0;)", "not one number"),
        (HEAD + "(sid:4294967296;)", "not one number"),
        (HEAD + "(sid:1; sid:2;)", "not one number"),
        (HEAD + "(sid:-1;)", "not one number"),
        (HEAD + "(sid:1; rev:x;)", "not one number"),
        (HEAD + "(sid:1; rev:1)", "does not end with a semicolon"),
        (HEAD + "(sid:1\\;)", "does not end with a semicolon"),
        (HEAD + "(sid:1; a b;)", "not an option"),
        (HEAD + "(sid:1;;)", "not an option"),
        (HEAD + "(sid:1; flow:;)", "has no value"),
        (HEAD + "(msg:x; sid:1;)", "not in quotes"),
        (HEAD + '(msg:"a"b"; sid:1;)', "not in quotes"),
        (HEAD + '(msg:"a;b"; sid:1;)', "not in quotes"),
        (HEAD + '(content:"a|3|"; sid:1;)', "wrong quotes"),
        (HEAD + '(content:"a|0d"; sid:1;)', "wrong quotes"),
        (HEAD + '(content:"a|zz|"; sid:1;)', "wrong quotes"),
        (HEAD + '(content:"\\n"; sid:1;)', "wrong quotes"),
        (HEAD + '(content:""; sid:1;)', "wrong quotes"),
        (HEAD + '(content:a; sid:1;)', "wrong quotes"),
        (HEAD + '(content:"a; sid:1;)', "wrong quotes"),
        (HEAD + "(sid:1;" + " " * 70_000 + ")", "too long"),
    ],
)  # fmt: skip
def test_rules_that_would_stop_an_engine_are_refused_with_their_reason(line: str, why: str) -> None:
    with pytest.raises(rules.BadRule, match=why):
        rules.read(line)


def test_a_rule_may_go_on_over_lines_and_what_is_off_counts_for_nothing(tmp_path: Path) -> None:
    text = f"# words\n\n#{rule(5)}\nalert tcp any any -> \\\n any any (sid:1; \\\n rev:7;)\n"
    text += f"# off \\\n more of it\n{rule(2)}\n"
    found = rules.Rules()
    found.add("a", text.encode())
    assert (found.revs, found.wrong) == ({(1, 1): 7, (1, 2): 1}, [])
    found.add("b", b"alert tcp any any -> \\\n any (sid:3;)\n\xff\n" + rule(4).encode() + b"\\")
    assert [detail.partition(":")[0] for _, detail in found.wrong] == ["b line 1", "b line 3", "b line 4"]


def test_a_sid_that_is_there_twice_is_refused_also_in_two_files(tmp_path: Path) -> None:
    raw = packed([("a.rules", rule(1).encode()), ("b.rules", rule(1, rev=2).encode())])
    assert refused(lint(tmp_path, raw)) == ["duplicate_sid"]


def test_many_wrong_rules_are_counted_and_not_all_told(tmp_path: Path) -> None:
    found = lint(tmp_path, packed([("a.rules", b"nonsense\n" * 1000)]))
    assert len(found) == rules.KEPT + 2
    assert "980 more rules" in found[rules.KEPT].detail


@pytest.mark.parametrize(
    ("left", "weight"), [(200, ""), (180, ""), (179, "warning"), (100, "warning"), (99, "refuse"), (0, "refuse")]
)
def test_fewer_rules_warn_from_a_tenth_and_refuse_from_half(tmp_path: Path, left: int, weight: str) -> None:
    found = lint(tmp_path, plain(range(1, left + 1)), plain(range(1, 201)))
    assert [one.weight for one in found if one.code == "fewer_rules"] == ([weight] if weight else [])
    gone = [one.detail for one in found if one.code == "sids_gone"]
    assert gone == [] if left == 200 else gone[0].startswith(f"{200 - left} sids")


def test_rules_that_were_exchanged_are_noted(tmp_path: Path) -> None:
    found = lint(tmp_path, plain([1, 2, 9]), plain([1, 2, 3]))
    assert refused(found) == []
    assert [one.detail for one in found if one.code == "sids_gone"] == ["1 sids of 1 are gone or off: 3"]


def test_the_engine_is_asked_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [one.code for one in lint(tmp_path / "a", plain([1]))] == ["not_loaded"]
    engine = tmp_path / "suricata"
    lines = "while read -r line; do case $line in *bad*) echo no keyword >&2; exit 1;; esac; done"
    engine.write_text(f'#!/bin/sh\n[ "$1" = -T ] || exit 9\n{lines} <"$5"\n')
    engine.chmod(engine.stat().st_mode | stat.S_IXUSR)
    assert lint(tmp_path / "a", plain([1])) == []
    (found,) = lint(tmp_path / "a", plain([1], "bad"))
    assert (found.weight, found.code) == ("refuse", "engine")
    assert "no keyword" in found.detail


# tarballs


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (packed([("../a.rules", b"")]), "plain relative name"),
        (packed([("/etc/a.rules", b"")]), "plain relative name"),
        (packed([("a/../../b", b"")]), "plain relative name"),
        (packed([("a\\b", b"")]), "plain relative name"),
        (packed([("a\nb", b"")]), "plain relative name"),
        (packed([("a.rules", b""), ("./A.rules", b"")]), "there twice"),
        (packed([], [member("a.rules", tarfile.SYMTYPE, "/etc/passwd")]), "a link"),
        (packed([("b", b"")], [member("a.rules", tarfile.LNKTYPE, "b")]), "a link"),
        (packed([], [member("a", tarfile.CHRTYPE)]), "a device"),
        (packed([], [member("a", tarfile.BLKTYPE)]), "a device"),
        (packed([], [member("a", tarfile.FIFOTYPE)]), "a pipe"),
        (packed([], [member(f"m{n}") for n in range(MEMBERS + 1)]), "more than"),
        (b"", "no tar.gz"),
        (b"PK\x03\x04", "no tar.gz"),
        (gzip.compress(b"x" * 2000, mtime=0), "no tar.gz"),
        (plain([1])[:-20], "no tar.gz"),
        (packed([("a.rules", b"\0" * 3_000_000)]), "too large when unpacked"),
        (packed([("a.bin", b"\0" * 3_000_000)]), "too large when unpacked"),
    ],
)
def test_a_hostile_tarball_is_refused(tmp_path: Path, raw: bytes, why: str) -> None:
    (tmp_path / NAME).write_bytes(raw)
    with pytest.raises(BadTarball, match=why):
        list(rule_files(tmp_path / NAME, most=2_600_000))


def test_a_tarball_that_is_no_good_or_empty_is_refused_by_lint(tmp_path: Path) -> None:
    assert refused(lint(tmp_path, b"x")) == ["tarball"]
    assert refused(lint(tmp_path, packed([("rules/a.txt", rule(1).encode())]))) == ["no_rules"]
    assert refused(lint(tmp_path, packed([("a.rules", b"#" + rule(1).encode())]))) == ["no_rules"]


# what clients see


def test_a_client_sees_tarball_md5_and_index(plugins: ChildPlugins, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(plain([1]))
    into, served = plugins.serve(
        "suricata", Source("ids", {}), "r", Released("0", "7", (), {NAME: tmp_path / NAME}), AT
    )
    assert served is not None
    assert [(one.path, one.artifact) for one in served.files] == [
        (NAME, NAME),
        (f"{NAME}.md5", ""),
        ("index.yaml", ""),
        ("gate.json", ""),
    ]
    assert (into / "md5").read_text() == hashlib.md5(plain([1])).hexdigest()
    assert f"%(mirror)s/{NAME}" in (into / "index").read_text()


def test_a_recall_is_served_and_without_a_release_before_it_is_for_hands(plugins: ChildPlugins) -> None:
    assert plugins.recall_plan("suricata", Source("s", {}), "r", "2", "1").how == "serve_old"
    assert plugins.recall_plan("suricata", Source("s", {}), "r", "2", "").how == "none"
