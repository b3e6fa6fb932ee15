"""The way out: where it leads, where never, what it costs at most, and that it goes on where it was cut."""

from __future__ import annotations

import os
import resource
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from gate.adapters.addresses import refused
from gate.adapters.egress import Caps, Cut, Egress, NoRoom, Refused, Unfinished, World
from tests.certificates import certificate
from tests.upstream import Asked, Reply, Upstream, upstream

BODY = bytes(range(256)) * 2000


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def vendor() -> Iterator[Upstream]:
    with upstream() as found:
        yield found


@pytest.fixture
def time() -> Time:
    return Time()


Way = Callable[..., Egress]


@pytest.fixture
def way(tmp_path: Path, vendor: Upstream, time: Time) -> Way:
    def made(hosts: Sequence[str] = (), caps: Caps | None = None, **world: object) -> Egress:
        given = World(clock=time.clock, sleep=time.sleep, jitter=lambda: 0.5, **world)  # type: ignore[arg-type]
        caps = caps or Caps(bytes=10_000_000, seconds=60)
        return Egress(hosts or (vendor.host,), caps, parts=tmp_path / "parts", loopback=True, world=given)

    return made


# addresses: inside, at the edge, outside

REFUSED = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.0",
    "192.0.0.255",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.7",
    "224.0.0.0",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "1fff:ffff::1",
    "2001::1",
    "2001:0:7f00:1::",
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "fe80::1%1",
    "fec0::1",
    "ff02::1",
    "2130706433",
    "0x7f.1",
    "127.1",
    "017700000001",
    "localhost",
]
ALLOWED = [
    "1.0.0.0",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2000::1",
    "2001:200::1",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2606:4700::1",
    "3ffe:ffff::1",
    "3fff:1000::1",
    "64:ff9b::808:808",
]


@pytest.mark.parametrize("address", REFUSED)
def test_no_source_is_at_an_address_of_our_own_however_it_is_written(address: str) -> None:
    assert refused(address)


@pytest.mark.parametrize("address", ALLOWED)
def test_a_source_may_be_at_any_other_address(address: str) -> None:
    assert refused(address) == ""


NUMBERS = ("127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost")


@pytest.mark.parametrize("host", [*NUMBERS, "169.254.169.254", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0"])
def test_a_host_that_the_policy_names_and_that_is_ours_is_refused_all_the_same(tmp_path: Path, host: str) -> None:
    egress = Egress((host.strip("[]"),), Caps(1000, 5), parts=tmp_path)
    with pytest.raises(OSError, match=r"is at|does not resolve") as said:
        egress.get(f"https://{host}/x")
    assert isinstance(said.value, Refused | Cut)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://elsewhere.example/x", "none of the hosts"),
        ("https://vendor.example:8443/x", "none of the hosts"),
        ("https://vendor.example./x", "none of the hosts"),
        ("http://vendor.example/x", "not https"),
        ("ftp://vendor.example/x", "not https"),
        ("file:///etc/passwd", "not https"),
        ("https://me@vendor.example/x", "name or a password"),
        ("https://vendor.example\\@127.0.0.1/x", "not a plain"),
        ("https://vendor.example/a b", "not a plain"),
        ("https://vendor.example/\r\nHost: x", "not a plain"),
        ("https://[::1/x", "not an address"),
        ("https://vendor.example:99999/", "not an address"),
        ("//vendor.example/x", "not https"),
        ("", "not https"),
    ],
)
def test_an_address_that_is_not_plain_https_to_a_named_host_is_refused(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        Egress(("vendor.example",), Caps(1000, 5), parts=tmp_path).get(url)


@pytest.mark.parametrize("answers", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1"], ["2606:4700::1", "fe80::1"]])
def test_one_bad_address_of_a_name_refuses_it_and_nothing_is_connected(tmp_path: Path, answers: list[str]) -> None:
    world = World(resolve=lambda host, port: answers)
    with pytest.raises(Refused, match=r"vendor\.example is at"):
        Egress(("vendor.example",), Caps(1000, 5), parts=tmp_path, world=world).get("https://vendor.example/")


def test_a_name_is_resolved_once_a_request_and_that_address_is_connected_to(way: Way, vendor: Upstream) -> None:
    vendor.answers["/x"] = Reply(200, b"good")
    told = iter((["127.0.0.1"], ["169.254.169.254"]))
    named = f"vendor.example:{vendor.port}"
    egress = way((named,), resolve=lambda host, port: next(told))
    assert egress.get(f"http://{named}/x").body == b"good"
    with pytest.raises(Refused, match="link-local"):
        egress.get(f"http://{named}/x")
    assert vendor.asked[0].headers["host"] == named
    assert len(vendor.asked) == 1


# redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_place_that_is_not_allowed_is_not_followed(way: Way, vendor: Upstream, status: int) -> None:
    vendor.answers["/x"] = Reply(status, b"", {"Location": "https://127.0.0.1/inside"})
    with pytest.raises(Refused, match="none of the hosts"):
        way().get(vendor.url("/x"))


def test_a_redirect_to_a_named_host_is_checked_again_and_loses_its_credentials(way: Way, vendor: Upstream) -> None:
    other = f"other.example:{vendor.port}"
    vendor.answers["/x"] = Reply(302, b"", {"Location": f"http://{other}/y"})
    vendor.answers["/y"] = Reply(200, b"y")
    where = {"127.0.0.1": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
    egress = way((vendor.host, other), resolve=lambda host, port: where[host])
    secrets = {"Authorization": "s", "PRIVATE-TOKEN": "s", "X-Auth-Token": "s", "Ocp-Apim-Subscription-Key": "s"}
    plain = {"Accept": "text/plain", "Range": "bytes=0-", "If-None-Match": '"2"'}
    assert egress.get(vendor.url("/x"), headers=secrets | plain).body == b"y"
    assert {name.lower() for name in secrets} <= vendor.asked[0].headers.keys()
    assert vendor.asked[1].headers.keys() & {name.lower() for name in secrets} == set()
    assert {vendor.asked[1].headers[name.lower()] for name in plain} == set(plain.values())
    where["other.example"] = ["192.168.1.1"]
    with pytest.raises(Refused, match="private"):
        egress.get(vendor.url("/x"))


@pytest.mark.parametrize(("hops", "good"), [(5, True), (6, False)])
def test_redirects_end_after_five_hops(way: Way, vendor: Upstream, hops: int, good: bool) -> None:
    for number in range(hops):
        vendor.answers[f"/{number}"] = Reply(302, b"", {"Location": f"/{number + 1}"})
    vendor.answers[f"/{hops}"] = Reply(200, b"end")
    if good:
        assert way().get(vendor.url("/0")).body == b"end"
    else:
        with pytest.raises(Refused, match="more than 5 redirects"):
            way().get(vendor.url("/0"))


# TLS, proxies


def test_tls_is_held_to_the_name_though_an_address_is_connected_to(tmp_path: Path) -> None:
    server, trusted = certificate(tmp_path, "vendor.example")
    client = ssl.create_default_context(cafile=trusted)
    with upstream(server) as vendor:
        vendor.answers["/x"] = Reply(200, b"x")

        def get(name: str, context: ssl.SSLContext | None) -> bytes:
            named = f"{name}:{vendor.port}"
            world = World(resolve=lambda host, port: ["127.0.0.1"], context=context)
            caps = Caps(1000, 5, tries=1)
            return Egress((named,), caps, parts=tmp_path, loopback=True, world=world).get(f"https://{named}/x").body

        assert get("vendor.example", client) == b"x"
        with pytest.raises(Cut, match="SSLError"):
            get("other.example", client)
        with pytest.raises(Cut, match="SSLError"):
            get("vendor.example", None)


def test_proxies_of_the_environment_are_not_asked(way: Way, vendor: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    vendor.answers["/x"] = Reply(200, b"x")
    assert way().get(vendor.url("/x")).body == b"x"


def test_this_machine_and_plain_http_are_refused_without_the_setting(tmp_path: Path, vendor: Upstream) -> None:
    egress = Egress((vendor.host,), Caps(1000, 5), parts=tmp_path)
    with pytest.raises(Refused, match="not https"):
        egress.get(vendor.url("/x"))
    with pytest.raises(Refused, match="loopback"):
        egress.get(f"https://{vendor.host}/x")
    away = World(resolve=lambda host, port: ["8.8.8.8"])
    egress = Egress(("vendor.example:80",), Caps(1000, 5), parts=tmp_path, loopback=True, world=away)
    with pytest.raises(Refused, match="plain http is for this machine"):
        egress.get("http://vendor.example/x")
    assert vendor.asked == []


# caps


@pytest.mark.parametrize(("most", "good"), [(999, False), (1000, True), (1001, True)])
def test_a_body_is_cut_at_its_limit(way: Way, vendor: Upstream, most: int, good: bool) -> None:
    vendor.answers["/x"] = Reply(200, b"x" * 1000)
    if good:
        assert len(way().get(vendor.url("/x"), most=most).body) == 1000
    else:
        with pytest.raises(Refused, match="more than 999 bytes"):
            way().get(vendor.url("/x"), most=most)


def test_a_call_ends_at_its_bytes_and_its_requests(way: Way, vendor: Upstream) -> None:
    vendor.answers["/x"] = Reply(200, b"x" * 1000)
    egress = way(caps=Caps(bytes=2500, seconds=60))
    egress.get(vendor.url("/x"))
    egress.get(vendor.url("/x"))
    with pytest.raises(Refused, match="more than 2500 bytes"):
        egress.get(vendor.url("/x"))
    egress = way(caps=Caps(bytes=100_000, seconds=60, requests=2))
    egress.get(vendor.url("/x"))
    egress.get(vendor.url("/x"))
    with pytest.raises(Refused, match="more than 2 requests"):
        egress.get(vendor.url("/x"))


def test_no_more_bytes_a_second_than_allowed(way: Way, vendor: Upstream, time: Time) -> None:
    vendor.answers["/x"] = Reply(200, BODY)
    way(caps=Caps(bytes=10_000_000, seconds=60, per_second=100_000)).get(vendor.url("/x"))
    assert time.now == pytest.approx(len(BODY) / 100_000)


def test_an_encoded_body_is_refused(way: Way, vendor: Upstream) -> None:
    vendor.answers["/x"] = Reply(200, b"bomb", {"Content-Encoding": "gzip"})
    with pytest.raises(Refused, match="encoded"):
        way().get(vendor.url("/x"))
    assert vendor.asked[0].headers["accept-encoding"] == "identity"


# again, and on


def test_a_busy_upstream_is_asked_again_later_and_later(way: Way, vendor: Upstream, time: Time) -> None:
    replies = iter([Reply(503), Reply(429, b"", {"Retry-After": "7"}), Reply(200, b"x")])
    vendor.answers["/x"] = lambda _: next(replies)
    assert way().get(vendor.url("/x")).body == b"x"
    assert time.slept == [1.0, 7.0]
    vendor.answers["/x"] = Reply(503)
    with pytest.raises(Cut, match="503"):
        way().get(vendor.url("/x"))
    assert time.slept[2:] == [1.0, 2.0, 4.0]


def test_an_answer_that_no_try_can_change_is_not_asked_for_again(way: Way, vendor: Upstream) -> None:
    with pytest.raises(OSError, match="answered 404"):
        way().get(vendor.url("/x"))
    assert len(vendor.asked) == 1


def test_what_has_not_changed_is_not_sent_again(way: Way, vendor: Upstream) -> None:
    vendor.file("/x", b"x", etag='"7"')
    first = way().get(vendor.url("/x"))
    assert (first.status, first.headers["etag"]) == (200, '"7"')
    again = way().get(vendor.url("/x"), headers={"If-None-Match": '"7"'})
    assert (again.status, again.body) == (304, b"")


def test_a_download_that_is_cut_goes_on_where_it_was(way: Way, vendor: Upstream, tmp_path: Path) -> None:
    vendor.file("/x", BODY, cut=100_000)
    fetched = way().download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    assert (tmp_path / "x").read_bytes() == BODY
    assert fetched.length == len(BODY)
    assert [one.headers.get("range") for one in vendor.asked] == [None, "bytes=100000-"]
    assert not list((tmp_path / "parts").iterdir())


def test_a_download_that_runs_out_of_time_goes_on_with_the_next_call(
    way: Way, vendor: Upstream, time: Time, tmp_path: Path
) -> None:
    vendor.file("/x", BODY)
    slow = Caps(bytes=10_000_000, seconds=2, per_second=100_000)
    for _ in range(2):
        with pytest.raises(Unfinished, match="of 512000 bytes so far"):
            way(caps=slow).download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    way(caps=slow).download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    assert (tmp_path / "x").read_bytes() == BODY
    starts = [one.headers.get("range") for one in vendor.asked]
    assert len(starts) == 3
    assert None not in starts[1:]


def test_a_file_that_has_changed_meanwhile_begins_anew(way: Way, vendor: Upstream, tmp_path: Path) -> None:
    vendor.file("/x", BODY)
    slow = Caps(bytes=10_000_000, seconds=2, per_second=100_000)
    with pytest.raises(Unfinished):
        way(caps=slow).download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    vendor.file("/x", BODY[::-1], etag='"2"')
    way().download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    assert (tmp_path / "x").read_bytes() == BODY[::-1]


def test_a_server_that_answers_another_part_than_asked_for_is_asked_for_all(
    way: Way, vendor: Upstream, tmp_path: Path
) -> None:
    def lying(asked: Asked) -> Reply:
        if "range" in asked.headers:
            return Reply(206, BODY, {"Content-Range": f"bytes 0-{len(BODY) - 1}/{len(BODY)}", "ETag": '"1"'})
        first = len(vendor.asked) == 1
        return Reply(200, BODY, {"ETag": '"1"'}, cut=1000 if first else None)

    vendor.answers["/x"] = lying
    way().download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    assert (tmp_path / "x").read_bytes() == BODY


def test_the_rest_of_another_file_is_not_taken_for_that_of_the_first(
    way: Way, vendor: Upstream, tmp_path: Path
) -> None:
    def careless(asked: Asked) -> Reply:  # it knows no If-Range, and the file has changed
        if span := asked.headers.get("range", ""):
            first = int(span.removeprefix("bytes=").rstrip("-"))
            more = {"Content-Range": f"bytes {first}-{len(BODY) - 1}/{len(BODY)}", "ETag": '"2"'}
            return Reply(206, BODY[::-1][first:], more)
        if len(vendor.asked) == 1:
            return Reply(200, BODY, {"ETag": '"1"'}, cut=1000)
        return Reply(200, BODY[::-1], {"ETag": '"2"'})

    vendor.answers["/x"] = careless
    way().download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    assert (tmp_path / "x").read_bytes() == BODY[::-1]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(302, b"", {"Location": "https://[::1"}),
        Reply(302, b"", {"Location": "https://127.0.0.1:99999/"}),
        Reply(503, b"", {"Retry-After": "\u00b2"}),
    ],
    ids=["no address", "no port", "no time"],
)
def test_headers_of_nonsense_are_an_upstream_that_fails(way: Way, vendor: Upstream, reply: Reply) -> None:
    vendor.answers["/x"] = reply
    with pytest.raises(OSError):
        way().get(vendor.url("/x"))


def test_a_length_that_is_no_number_says_nothing(way: Way, vendor: Upstream) -> None:
    vendor.answers["/x"] = Reply(200, b"abc", {"Content-Length": "\u00b2"}, ends=True)
    assert way().get(vendor.url("/x")).body == b"abc"


@pytest.mark.parametrize(("most", "good"), [(len(BODY) - 1, False), (len(BODY), True)])
def test_a_download_that_is_too_large_is_refused_before_it_is_loaded(
    way: Way, vendor: Upstream, tmp_path: Path, most: int, good: bool
) -> None:
    vendor.file("/x", BODY)
    if good:
        assert way().download(vendor.url("/x"), tmp_path / "x", most=most).length == len(BODY)
    else:
        with pytest.raises(Refused, match="larger than"):
            way().download(vendor.url("/x"), tmp_path / "x", most=most)
        assert not (tmp_path / "x").exists()


def test_a_disk_that_takes_no_more_gets_its_room_back(way: Way, vendor: Upstream, tmp_path: Path) -> None:
    vendor.file("/x", BODY)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            way().download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [file.stat().st_size for file in (tmp_path / "parts").iterdir()] == [0]
    way().download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    assert (tmp_path / "x").read_bytes() == BODY


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize(("more", "good"), [(0, True), (-1, False)])
def test_a_download_leaves_the_spare_room_of_its_disk_and_gives_its_own_back(
    way: Way, vendor: Upstream, tmp_path: Path, said: bool, more: int, good: bool
) -> None:
    spare = 1000
    caps = Caps(bytes=10_000_000, seconds=60, spare=spare)

    def free(file: int) -> int:
        return spare + len(BODY) + more - os.fstat(file).st_size

    vendor.answers["/x"] = Reply(200, BODY, {"ETag": '"1"'}, ends=not said)
    egress = way(caps=caps, free=free)
    if good:
        assert egress.download(vendor.url("/x"), tmp_path / "x", most=len(BODY)).length == len(BODY)
        return
    with pytest.raises(NoRoom, match="no room: 0 MiB are free, and 0 MiB stay so"):
        egress.download(vendor.url("/x"), tmp_path / "x", most=len(BODY))
    assert [file.stat().st_size for file in (tmp_path / "parts").iterdir()] == [0]


def test_a_call_of_an_api_is_made_once_and_follows_nothing(way: Way, vendor: Upstream) -> None:
    vendor.answers["/api"] = lambda asked: Reply(404 if asked.body == b"no" else 201, asked.body)
    assert (way().send("POST", vendor.url("/api"), body=b"hi").status, vendor.asked[0].body) == (201, b"hi")
    assert way().send("PATCH", vendor.url("/api"), body=b"no").status == 404
    vendor.answers["/api"] = Reply(302, b"", {"Location": "/other"})
    assert way().send("POST", vendor.url("/api"), body=b"").status == 302
    vendor.answers["/api"] = Reply(503)
    before = len(vendor.asked)
    with pytest.raises(Cut):
        way().send("POST", vendor.url("/api"), body=b"")
    assert len(vendor.asked) == before + 1


def test_what_changes_something_is_sent_once_whichever_addresses_its_host_has(way: Way, vendor: Upstream) -> None:
    def breaks(asked: Asked) -> Reply:
        raise ConnectionError("after the body")

    vendor.answers["/api"] = breaks
    twice = way(resolve=lambda host, port: ["127.0.0.1", "127.0.0.1"])
    with pytest.raises(Cut):
        twice.send("POST", vendor.url("/api"), body=b"{}")
    assert [one.method for one in vendor.asked] == ["POST"]
    with pytest.raises(Cut):
        way(resolve=lambda host, port: ["127.0.0.1", "127.0.0.1"]).get(vendor.url("/api"))
    assert len(vendor.asked) == 1 + 2 * Caps(0, 0).tries
    vendor.answers["/api"] = Reply(200, b"done")
    nobody_first = way(resolve=lambda host, port: ["127.0.0.2", "127.0.0.1"])
    assert nobody_first.send("POST", vendor.url("/api"), body=b"{}").body == b"done"
