"""Debian packages as a source: whose signature counts, what is refused, and the repository that is served."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from gate.adapters.plugins import ChildPlugins, Network
from gate.core.errors import SourceError
from gate.hookspecs import Baseline, Discovered, Fetched, Receiver, Released, Source
from gate_apt import control, openpgp
from gate_apt import source as plugin
from gate_apt.__main__ import main
from gate_apt.versions import compared
from tests.debs import Vendor, deb, needed
from tests.upstream import Reply, Upstream, upstream

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
RELEASE = "/debian/dists/stable/InRelease"


@pytest.fixture
def server() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    needed("gpgv", "dpkg-deb")
    return ChildPlugins(tmp_path / "spool" / "here-1", network=Network(loopback=True))


@pytest.fixture
def vendor(server: Upstream, tmp_path: Path) -> Vendor:
    return Vendor(server, tmp_path)


@pytest.fixture
def source(vendor: Vendor, tmp_path: Path) -> Source:
    openpgp.make(tmp_path / "own.key")
    options = {**vendor.options(), "packages": "till", "key": str(tmp_path / "own.key")}
    return Source("till", options, 1_000_000, (vendor.server.host,))


@pytest.fixture
def folder(tmp_path: Path) -> Source:
    (tmp_path / "debs").mkdir()
    return Source("till", {"folder": str(tmp_path / "debs"), "packages": "till", "key": "-"}, 1_000_000)


def look(plugins: ChildPlugins, source: Source, cursor: str = "") -> Discovered:
    return plugins.discover("apt", source, cursor)


def versions(found: Discovered) -> list[str]:
    return [one.version for one in found.candidates]


def trusted(plugins: ChildPlugins, source: Source) -> str:
    (candidate,) = look(plugins, source).candidates
    into, fetched = plugins.fetch("apt", source, candidate)
    verified = plugins.verify("apt", source, candidate, fetched, into)
    assert verified.ok, verified.detail
    assert plugins.lint("apt", source, candidate, fetched, into, None) == ()
    return verified.trust


def test_the_newest_of_each_named_package_is_taken_and_signed_by_its_vendor(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    files = [deb(tmp_path, "till", version) for version in ("1.9", "1:0.1", "1.10")]
    vendor.says([*files, deb(tmp_path, "other", "7")], AT)
    found = look(plugins, source)
    assert versions(found) == ["1:0.1"]
    assert [one.name for one in found.candidates[0].artifacts] == ["till_0.1_all.deb", "Packages"]
    assert trusted(plugins, source) == "vendor_signed"
    both = Source(source.name, {**source.options, "packages": "other till"}, source.max_bytes, source.hosts)
    assert versions(look(plugins, both)) == ["7,1:0.1"]
    none = Source(source.name, {**source.options, "packages": "till nothing"}, source.max_bytes, source.hosts)
    assert "there is no nothing" in look(plugins, none).skipped[0]


def test_a_repository_that_has_not_changed_is_not_read_again_and_says_the_same(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    vendor.says([deb(tmp_path, "till", "1")], AT)
    first = look(plugins, source)
    asked = len(vendor.server.asked)
    again = look(plugins, source, first.cursor)
    assert (again.candidates, again.cursor) == (first.candidates, first.cursor)
    assert len(vendor.server.asked) == asked + 1


def test_a_signature_by_another_key_or_over_other_bytes_is_refused(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    files = [deb(tmp_path, "till", "1")]
    vendor.says(files, AT, key=openpgp.make(tmp_path / "another"))
    assert "no good signature" in look(plugins, source).skipped[0]
    text = vendor.key.sign("Suite: stable\n", AT).replace("Suite: stable", "Suite: stable2")
    for raw in (text.encode(), b"Suite: stable\n", b"", b"\xff"):
        vendor.server.answers[RELEASE] = Reply(200, raw)
        found = look(plugins, source)
        assert (found.candidates, "no good signature" in found.skipped[0]) == ((), True)


def test_what_stands_around_the_signed_text_is_not_read(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    vendor.says([deb(tmp_path, "till", "1")], AT)
    text = vendor.key.sign("Suite: other\n", AT)
    vendor.server.answers[RELEASE] = Reply(200, f"Suite: stable\n{text}Suite: stable\n".encode())
    found = look(plugins, source)
    assert found.candidates == ()
    assert "not stable" in found.skipped[0] or "no good signature" in found.skipped[0]


def test_a_key_ring_in_letters_is_read_too(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    needed("gpg")
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    words = ["gpg", "--homedir", str(home), "--no-autostart"]
    subprocess.run([*words, "--import", str(vendor.keyring)], check=True, capture_output=True)
    letters = subprocess.run([*words, "--armor", "--export"], check=True, capture_output=True).stdout
    assert letters.startswith(b"-----BEGIN")
    vendor.keyring.write_bytes(letters)
    vendor.says([deb(tmp_path, "till", "1")], AT)
    assert versions(look(plugins, source)) == ["1"]


def test_a_repository_that_goes_back_is_a_replay_and_one_that_is_over_is_held_back(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    one, two = deb(tmp_path, "till", "1"), deb(tmp_path, "till", "2")
    vendor.says([two], AT)
    cursor = look(plugins, source).cursor
    vendor.says([one], AT - timedelta(seconds=1))
    for _ in range(2):
        found = look(plugins, source, cursor)
        assert (found.candidates, "a replay" in found.skipped[0]) == ((), True)
        cursor = found.cursor
    vendor.says([two], AT + timedelta(days=1), head="Valid-Until: Wed, 04 Mar 2026 09:00:00 UTC\n")
    assert "valid until" in look(plugins, source, cursor).skipped[0]
    vendor.says([two], AT + timedelta(days=1), head="Valid-Until: Wed, 04 Mar 2099 09:00:00 UTC\n")
    assert versions(look(plugins, source, cursor)) == ["2"]


def test_a_repository_that_stands_still_until_it_is_over_is_held_back_too(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    vendor.says([deb(tmp_path, "till", "1")], AT, head="Valid-Until: Wed, 04 Mar 2099 09:00:00 UTC\n")
    cursor = look(plugins, source).cursor
    assert versions(look(plugins, source, cursor)) == ["1"]
    over = look(plugins, source, cursor.replace("Mar 2099", "Mar 2026"))
    assert (over.candidates, "valid until" in over.skipped[0]) == ((), True)


def paragraph(**fields: str) -> str:
    given = {"Package": "till", "Version": "1", "Architecture": "all", "Filename": "pool/till_1_all.deb", "Size": "3"}
    given |= {"SHA256": "0" * 64, **fields}
    return "".join(f"{name}: {value}\n" for name, value in given.items())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (paragraph(Filename="../../till_1_all.deb"), "leads out"),
        (paragraph(Filename="/etc/till_1_all.deb"), "leads out"),
        (paragraph(Filename="pool/.deb"), "not plain"),
        (paragraph(Filename="pool/InRelease"), "not plain"),
        (paragraph(Version="1 2"), "not plain"),
        (paragraph(Version="-1"), "not plain"),
        (paragraph(Size="0"), "not plain"),
        (paragraph(Size="-3"), "not plain"),
        (paragraph(SHA256="AB"), "not plain"),
        (paragraph(Size="2000000"), "larger than 1000000"),
        (paragraph() + "Size: 4\n", "there twice"),
        (paragraph() + "\n" + paragraph(SHA256="1" * 64), "twice with other bytes"),
        (paragraph(Architecture="arm64"), "there is no till"),
        (paragraph() + "Description: " + "x" * 300_000 + "\n", "too long"),
        ("", "there is no till"),
    ],
)
def test_a_list_with_something_odd_about_a_package_is_refused_though_it_is_signed(
    plugins: ChildPlugins, vendor: Vendor, source: Source, text: str, why: str
) -> None:
    vendor.lists(text, AT)
    found = look(plugins, source)
    assert found.candidates == ()
    assert why in found.skipped[0]


def test_a_list_or_a_package_with_a_flipped_byte_is_refused(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    vendor.says([deb(tmp_path, "till", "1")], AT)
    (candidate,) = look(plugins, source).candidates
    path = next(one for one in vendor.server.answers if one.endswith(".deb"))
    vendor.server.file(path, b"x" * candidate.artifacts[0].length)
    into, fetched = plugins.fetch("apt", source, candidate)
    assert not plugins.verify("apt", source, candidate, fetched, into).ok
    assert not plugins.verify("apt", source, candidate, fetched[1:], into).ok
    listed = next(one for one in vendor.server.answers if "by-hash" in one)
    vendor.server.file(listed, b"x")
    assert "not what InRelease lists" in look(plugins, source).skipped[0]


def test_a_repository_that_changes_between_look_and_fetch_is_looked_at_again(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    vendor.says([deb(tmp_path, "till", "1")], AT)
    (candidate,) = look(plugins, source).candidates
    vendor.says([deb(tmp_path, "till", "2")], AT + timedelta(hours=1))
    with pytest.raises(SourceError, match="changed meanwhile"):
        plugins.fetch("apt", source, candidate)


def test_a_folder_of_packages_is_pinned_by_digest_and_links_are_refused(
    plugins: ChildPlugins, folder: Source, tmp_path: Path
) -> None:
    home = tmp_path / "debs"
    deb(home, "till", "1")
    two = deb(home, "till", "2")
    assert versions(look(plugins, folder)) == ["2"]
    assert trusted(plugins, folder) == "digest_pinned"
    two.rename(tmp_path / two.name)
    two.symlink_to(tmp_path / two.name)
    assert "not a plain file" in look(plugins, folder).skipped[0]
    two.unlink()
    two.write_bytes(b"!<arch>\n")
    assert "dpkg-deb cannot read it" in look(plugins, folder).skipped[0]


def test_lint_refuses_a_package_that_is_another_than_the_list_says(
    plugins: ChildPlugins, vendor: Vendor, source: Source, tmp_path: Path
) -> None:
    vendor.says([deb(tmp_path, "till", "1")], AT)
    (candidate,) = look(plugins, source).candidates
    into, fetched = plugins.fetch("apt", source, candidate)
    shutil.copyfile(deb(tmp_path, "till", "3", says="x"), into / "till_1_all.deb")
    found = plugins.lint("apt", source, candidate, fetched, into, Baseline("2", {}))
    assert [(one.weight, one.code) for one in found] == [("refuse", "other_package"), ("warning", "older_package")]
    (into / "till_1_all.deb").write_bytes(b"x")
    found = plugins.lint("apt", source, candidate, fetched, into, None)
    assert [(one.weight, one.code) for one in found] == [("refuse", "not_a_package")]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"folder": "x", "repository": "y"}, "one of repository and folder"),
        ({}, "one of repository and folder"),
        ({"repository": "y"}, "needs suite and keyring"),
        ({"folder": "x", "packages": "a a"}, "each once"),
    ],
)
def test_options_that_do_not_say_where_to_look_end_the_call(
    plugins: ChildPlugins, options: dict[str, str], why: str
) -> None:
    with pytest.raises(SourceError, match=why):
        look(plugins, Source("s", {"packages": "a", "key": "k", **options}))


def test_another_number_of_packages_than_before_has_no_order_and_stops_no_source() -> None:
    assert plugin.gate_order(Source("debs", {}), "1.0,2.0", "1.0") is None
    assert plugin.gate_order(Source("debs", {}), "1.0", "1.0,2.0") is None
    assert plugin.gate_order(Source("debs", {}), "1.0,2.0", "1.0,1.9") == 1


def test_versions_are_ordered_as_dpkg_orders_them() -> None:
    needed("dpkg")
    known = ["1", "1.0", "1.0-1", "1:0.5", "1.0~rc1", "1.0~rc1-1", "1.0a", "1.0+b", "1.10", "1.9", "0", "1.0-0", "1~~"]
    for a, b in product(known, known):
        words = {-1: "lt", 0: "eq", 1: "gt"}[compared(a, b)]
        assert subprocess.run(["dpkg", "--compare-versions", a, words, b], check=False).returncode == 0, (a, b)


# what clients see


def served(plugins: ChildPlugins, source: Source, tmp_path: Path, at: datetime) -> tuple[Path, list[str]]:
    file = deb(tmp_path / "made", "till", "1")
    (tmp_path / "made" / "Packages").write_text("Package: till\n")
    files = {file.name: file, "Packages": tmp_path / "made" / "Packages"}
    into, found = plugins.serve("apt", source, "r", Released("0" * 64, "1", (), files), at)
    assert found is not None
    return into, [one.path for one in found.files]


def test_a_repository_is_served_with_by_hash_a_date_of_the_move_and_the_gates_signature(
    plugins: ChildPlugins, source: Source, tmp_path: Path
) -> None:
    (tmp_path / "made").mkdir()
    into, paths = served(plugins, source, tmp_path, AT)
    assert paths[:2] == ["dists/gate/InRelease", "dists/gate/main/binary-amd64/Packages"]
    assert [path.split("/")[4:6] for path in paths[2:4]] == [["by-hash", "SHA256"], ["by-hash", "SHA512"]]
    assert paths[4:] == ["pool/till_1_all.deb"]
    text = (into / "InRelease").read_text()
    assert "Date: Mon, 02 Mar 2026 09:00:00 UTC\n" in text
    ring = tmp_path / "own.gpg"
    ring.write_bytes(openpgp.read(tmp_path / "own.key").public())
    words = ["gpgv", "--keyring", str(ring), str(into / "InRelease")]
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0
    (into / "InRelease").write_text(text.replace("09:00:00", "10:00:00"))
    assert subprocess.run(words, check=False, capture_output=True).returncode != 0


def test_a_key_that_others_can_read_is_not_used(plugins: ChildPlugins, source: Source, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    os.chmod(tmp_path / "own.key", 0o640)
    with pytest.raises(SourceError, match="others can read"):
        served(plugins, source, tmp_path, AT)


def test_a_made_key_is_always_the_same_key_and_never_written_over(tmp_path: Path) -> None:
    assert main([str(tmp_path / "a"), str(tmp_path / "a.gpg")]) == 0
    assert openpgp.read(tmp_path / "a").public() == (tmp_path / "a.gpg").read_bytes()
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        openpgp.make(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"x")
    (tmp_path / "b").chmod(0o600)
    with pytest.raises(openpgp.BadKey):
        openpgp.read(tmp_path / "b")


def test_a_recall_says_what_hands_must_do_unless_machines_are_prepared(plugins: ChildPlugins, source: Source) -> None:
    plan = plugins.recall_plan("apt", source, "r", "2", "1")
    assert (plan.how, plan.needs_agent) == ("none", False), "the agent does not do it"
    assert "Pin-Priority: 1001" in plan.steps[1]
    assert "--allow-downgrades till" in plan.steps[2]
    prepared = Source(source.name, {**source.options, "prepared": "yes"})
    found = plugins.recall_plan("apt", prepared, "r", "2", "1")
    assert (found.how, found.needs_agent) == ("republish", False)
    assert plugins.recall_plan("apt", source, "r", "2", "").how == "none"


def test_what_a_machine_runs_is_what_dpkg_says(plugins: ChildPlugins) -> None:
    source = Source("s", {"packages": "till printer", "key": "k", "folder": "f"})
    machine = Receiver("m", "m", {})
    reports = [(machine, "printer 2\nodd\ntill 1:1-1\n"), (machine, "till 1\n")]
    found, nothing = plugins.observed("apt", source, reports) or []
    assert found is not None
    assert found.version == "1:1-1,2"
    assert nothing is None


def test_paragraphs_keep_what_the_vendor_says_but_for_where_and_digests() -> None:
    text = paragraph(MD5sum="0") + "Description: a\n b\n"
    one = control.package(text, "till_1_all.deb", "3", "0" * 64, "")
    assert one.written().count("Filename:") == 1
    assert "MD5sum" not in one.written()
    assert "Description: a\n b\n" in one.written()


def test_a_measured_file_is_compared_by_size_too(plugins: ChildPlugins, folder: Source, tmp_path: Path) -> None:
    deb(tmp_path / "debs", "till", "1")
    (candidate,) = look(plugins, folder).candidates
    fetched = [Fetched(one.name, one.length + 1, one.sha256) for one in candidate.artifacts]
    assert not plugins.verify("apt", folder, candidate, fetched, tmp_path).ok
