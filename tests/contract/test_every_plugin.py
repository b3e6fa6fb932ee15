"""The contract tests that every plugin passes, and what those that fetch keep beyond it.

A plugin is named by ``SLUG``: the policy writes ``http-feed`` for the package ``gate_http_feed``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

import gate_github_releases.source
from gate.adapters.plugin_checks import check
from gate.adapters.plugin_process import Limits
from gate.adapters.plugins import ChildPlugins, Network
from gate.core.errors import SourceError
from gate.hookspecs import Source
from tests.conftest import REPOSITORY
from tests.contract import upstreams
from tests.contract.upstreams import SHIPPED, TufVendor, feed, github, tuf_source
from tests.upstream import Reply, Upstream, upstream


@pytest.fixture
def vendor() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture
def plugins(tmp_path: Path) -> ChildPlugins:
    return ChildPlugins(tmp_path / "spool" / "here-1", network=Network(loopback=True))


def slug(name: str) -> str:
    return name.replace("_", "-")


def test_every_plugin_that_ships_is_tried_here() -> None:
    found = {path.parent.name.removeprefix("gate_") for path in (REPOSITORY / "plugins").glob("gate_*/source.py")}
    assert found == set(SHIPPED)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_plugin_passes_every_check(plugins: ChildPlugins, vendor: Upstream, tmp_path: Path, name: str) -> None:
    source = SHIPPED[name](vendor, tmp_path)
    found = check(plugins, slug(name), source)
    assert [one for one in found if not one.ok] == []
    assert len(found) == {"observe": 3, "falcon": 5}.get(name, 7)  # without a candidate, or bytes, there is less to try


FETCHING = sorted(set(SHIPPED) - {"directory", "clamav", "defender", "falcon", "observe"})


@pytest.mark.parametrize("name", FETCHING)
def test_an_upstream_that_lies_about_bytes_brings_nothing(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path, name: str
) -> None:
    source = SHIPPED[name](vendor, tmp_path)
    (*_, candidate) = plugins.discover(slug(name), source, "").candidates
    for path in list(vendor.answers):
        if "/files/" in path or "/storage/" in path or "/targets/" in path:
            vendor.file(path, b"x" * max(one.length for one in candidate.artifacts))
    into, fetched = plugins.fetch(slug(name), source, candidate)
    assert not plugins.verify(slug(name), source, candidate, fetched, into).ok


@pytest.mark.parametrize("name", FETCHING)
@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b'{"releases": 7}', b'[{"assets": 3}]', b"\xff\xfe", b"[" * 9000])
def test_an_upstream_that_answers_nonsense_is_a_source_that_failed(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path, name: str, answer: bytes
) -> None:
    source = SHIPPED[name](vendor, tmp_path)
    for path in vendor.answers:
        vendor.answers[path] = Reply(200, answer)
    try:
        found = plugins.discover(slug(name), source, "")
    except SourceError as problem:
        assert problem.kind == "source_failed"
    else:
        assert found.candidates == ()


@pytest.mark.parametrize("name", FETCHING)
def test_an_upstream_that_hangs_is_ended_and_harms_no_other(vendor: Upstream, tmp_path: Path, name: str) -> None:
    limits = Limits(wall_s=3.0)
    plugins = ChildPlugins(tmp_path / "spool" / "here-1", limits, network=Network(loopback=True))
    source = SHIPPED[name](vendor, tmp_path)
    for path in vendor.answers:
        vendor.answers[path] = Reply(200, b"x", length=1000)
    with pytest.raises(SourceError):
        plugins.discover(slug(name), source, "")
    (tmp_path / "other").mkdir()
    assert plugins.discover("directory", upstreams.directory(vendor, tmp_path / "other"), "").candidates


@pytest.mark.parametrize("name", FETCHING)
def test_without_a_host_in_the_policy_there_is_no_network(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path, name: str
) -> None:
    source = SHIPPED[name](vendor, tmp_path)
    with pytest.raises(SourceError, match="none of the hosts that the policy names"):
        plugins.discover(slug(name), Source(source.name, source.options), "")
    assert vendor.asked == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"feed": "x", "oder": "numbers"}, "no option 'oder'; did you mean order"),
        ({}, "option feed is missing"),
        ({"feed": "x", "order": "best"}, "order is one of listed, numbers, text"),
    ],
)
def test_options_that_the_plugin_does_not_know_end_the_call(
    plugins: ChildPlugins, options: dict[str, str], why: str
) -> None:
    with pytest.raises(SourceError, match=why):
        plugins.discover("http-feed", Source("s", options), "")


# http_feed


def test_a_feed_that_has_not_changed_is_not_read_again(plugins: ChildPlugins, vendor: Upstream, tmp_path: Path) -> None:
    source = SHIPPED["http_feed"](vendor, tmp_path)
    first = plugins.discover("http-feed", source, "")
    again = plugins.discover("http-feed", source, first.cursor)
    assert (again.unchanged, again.candidates, again.cursor) == (True, (), first.cursor)
    feed(vendor, [("2", b"new")], withdrawn=["1.9"])
    third = plugins.discover("http-feed", source, first.cursor)
    assert [one.version for one in third.candidates] == ["2"]
    assert third.withdrawn == ("1.9",)


def test_a_secret_goes_to_the_feeds_own_host_alone_and_never_into_the_options(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path
) -> None:
    with upstream() as other:
        other.file("/x", b"x")
        one = {"name": "x", "length": 1, "sha256": upstreams.sha256(b"x"), "url": other.url("/x")}
        vendor.file("/feed.json", json.dumps({"releases": [{"version": "1", "files": [one]}]}).encode())
        options = {"feed": vendor.url("/feed.json"), "token": "hush"}
        source = Source("s", options, 1000, (vendor.host, other.host))
        (candidate,) = plugins.discover("http-feed", source, "").candidates
        plugins.fetch("http-feed", source, candidate)
        assert vendor.asked[0].headers["authorization"] == "Bearer hush"
        assert "authorization" not in other.asked[0].headers


FILE = {"name": "a", "length": 1, "sha256": upstreams.sha256(b"a"), "url": "a"}


@pytest.mark.parametrize(
    ("release", "why"),
    [
        ({"version": "1", "files": [FILE | {"name": "../a"}]}, "not a plain file name"),
        ({"version": "1", "files": [FILE | {"name": ".a"}]}, "not a plain file name"),
        ({"version": "1", "files": [FILE | {"length": -1}]}, "length"),
        ({"version": "1", "files": [FILE | {"length": True}]}, "length"),
        ({"version": "1", "files": [FILE | {"length": 2000}]}, "larger than 1000"),
        ({"version": "1", "files": [FILE | {"sha256": "AB"}]}, "sha256"),
        ({"version": "1", "files": [FILE, FILE]}, "listed twice"),
        ({"version": "1", "files": [FILE | {"mode": 1}]}, "a file is not"),
        ({"version": "1", "files": []}, "no files"),
        ({"version": "a b", "files": [FILE]}, "not plain"),
        ({"version": "1"}, "a release is not"),
    ],
)
def test_a_release_of_a_feed_that_is_not_good_is_skipped_with_its_reason(
    plugins: ChildPlugins, vendor: Upstream, release: object, why: str
) -> None:
    good = {"version": "good", "files": [FILE]}
    vendor.file("/feed.json", json.dumps({"releases": [release, good]}).encode())
    found = plugins.discover("http-feed", Source("s", {"feed": vendor.url("/feed.json")}, 1000, (vendor.host,)), "")
    assert [one.version for one in found.candidates] == ["good"]
    assert why in found.skipped[0]
    assert found.cursor == "", "it is read again, so that nobody forgets what is wrong with it"


# github_releases


def test_releases_are_ordered_by_the_numbers_of_their_tags(plugins: ChildPlugins) -> None:
    source = Source("s", {"repository": "a/b"})
    ordered = ["v0.9", "v1.0.0-rc1", "1.0", "v1.0.1", "release-1.2", "v1.10.0-beta2", "v1.10.0", "2024.01.02"]
    pairs = [(a, b) for a in ordered for b in ordered]
    said = plugins.order("github-releases", source, pairs)
    wanted = [(ordered.index(a) > ordered.index(b)) - (ordered.index(a) < ordered.index(b)) for a, b in pairs]
    assert said == wanted
    assert plugins.order("github-releases", source, [("v1.0", "1.0.0")]) == [0]


@pytest.mark.parametrize(
    "tags",
    [
        "r2024-02-26 r2024-03-11",
        "2024a 2024b",
        "1.1.1 1.1.1v 1.1.1w",
        "v1.2.3 v1.2.3-1 v1.2.3-2 v1.2.3-10 v1.2.4",
        "v4.5.0-rc1 v4.5.0 v4.5.0-hotfix v4.5.1-rc2 v4.5.1-rc10 v4.5.1",
        "log4j-2.17.0-beta1 log4j-2.17.0 log4j-2.17.1",
        "20240226-1 20240226-2 20240301-1",
        "v1 v1.0.1 v1.1",
    ],
)
def test_tags_are_ordered_by_every_number_and_word_in_them(tags: str) -> None:
    found = tags.split()
    for (at, a), (of, b) in product(enumerate(found), repeat=2):
        assert gate_github_releases.source.gate_order(Source("x", {}), a, b) == (at > of) - (at < of), (a, b)


def test_tags_without_a_number_have_no_order_but_that_of_discovery() -> None:
    for a, b in (("stable", "v1"), ("v1", "nightly")):
        assert gate_github_releases.source.gate_order(Source("x", {}), a, b) is None


def test_drafts_prereleases_and_half_uploaded_assets_are_left_alone(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path
) -> None:
    source = SHIPPED["github_releases"](vendor, tmp_path)
    found = plugins.discover("github-releases", source, "")
    assert [one.version for one in found.candidates] == ["v1.9.0", "v1.10.0"]
    assert plugins.discover("github-releases", source, found.cursor).unchanged
    early = Source(source.name, {**source.options, "prereleases": "yes"}, source.max_bytes, source.hosts)
    assert len(plugins.discover("github-releases", early, "").candidates) == 3
    github(vendor, [("v1", b"x")], draft=True)
    assert plugins.discover("github-releases", source, "").candidates == ()
    half = {"id": 1, "name": "rules.yar", "size": 1, "state": "starter", "digest": None}
    github(vendor, [("v1", b"x")], assets=[half])
    found = plugins.discover("github-releases", source, "")
    assert (found.candidates, found.cursor) == ((), ""), "looked at again when it is whole"


def test_a_token_goes_to_the_api_and_not_to_where_it_redirects(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path
) -> None:
    with upstream() as storage:
        source = SHIPPED["github_releases"](vendor, tmp_path)
        storage.file("/3", b"rule c {}")
        vendor.answers["/repos/acme/rules/releases/assets/3"] = Reply(302, b"", {"Location": storage.url("/3")})
        options = {**source.options, "token": "hush"}
        source = Source("rules", options, 1000, (vendor.host, storage.host))
        (*_, candidate) = plugins.discover("github-releases", source, "").candidates
        plugins.fetch("github-releases", source, candidate)
        assert all(asked.headers["authorization"] == "Bearer hush" for asked in vendor.asked)
        assert "authorization" not in storage.asked[0].headers


def test_an_asset_without_a_digest_is_unverified_and_says_so(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path
) -> None:
    source = SHIPPED["github_releases"](vendor, tmp_path)
    github(vendor, [("v1", b"x")])
    old = {"id": 1, "name": "rules.yar", "size": 1, "state": "uploaded", "digest": None}
    github(vendor, [("v1", b"x")], assets=[old])
    (candidate,) = plugins.discover("github-releases", source, "").candidates
    into, fetched = plugins.fetch("github-releases", source, candidate)
    assert plugins.verify("github-releases", source, candidate, fetched, into).trust == "unverified"


# tuf


def test_a_tuf_repository_that_goes_back_is_refused_even_when_its_state_was_lost(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path
) -> None:
    repository = TufVendor(vendor)
    source = tuf_source(repository, tmp_path)
    repository.says(3, {"a.bin": b"three"})
    cursor = plugins.discover("tuf", source, "").cursor
    repository.says(2, {"a.bin": b"two"})
    with pytest.raises(SourceError, match="BadVersionNumberError"):
        plugins.discover("tuf", source, cursor)
    elsewhere = ChildPlugins(tmp_path / "other" / "here-1", network=Network(loopback=True))
    with pytest.raises(SourceError, match="went back to an older version: a rollback"):
        elsewhere.discover("tuf", source, cursor)
    repository.says(4, {"a.bin": b"four"})
    assert [one.version for one in plugins.discover("tuf", source, cursor).candidates] == ["4"]


def test_metadata_that_is_signed_anew_is_no_new_release_and_bytes_are_signed_by_the_vendor(
    plugins: ChildPlugins, vendor: Upstream, tmp_path: Path
) -> None:
    repository = TufVendor(vendor)
    source = tuf_source(repository, tmp_path)
    repository.says(1, {"a.bin": b"one"})
    first = plugins.discover("tuf", source, "")
    repository.says(2, {"a.bin": b"one"})
    second = plugins.discover("tuf", source, first.cursor)
    assert second.candidates == first.candidates
    (candidate,) = second.candidates
    into, fetched = plugins.fetch("tuf", source, candidate)
    verified = plugins.verify("tuf", source, candidate, fetched, into)
    assert (verified.ok, verified.trust) == (True, "vendor_signed")
    repository.says(3, {"a.bin": b"two"}, version="2026.1")
    assert [one.version for one in plugins.discover("tuf", source, second.cursor).candidates] == ["2026.1"]


def test_metadata_by_another_key_is_refused(plugins: ChildPlugins, vendor: Upstream, tmp_path: Path) -> None:
    source = tuf_source(TufVendor(vendor), tmp_path)
    TufVendor(vendor).says(1, {"a.bin": b"one"})
    with pytest.raises(SourceError, match="UnsignedMetadataError"):
        plugins.discover("tuf", source, "")
