"""The mirror that stock clients read: the same answers from the built-in server and from nginx on the same folder."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from gate.adapters.mirror_folder import VIEWS, MirrorFolder
from gate.core.errors import OperatorError
from gate.ports import Laid
from gate.web import mirror_plane
from gate.web.mirror_plane import FILES, KNOWN_S, NOTED, MirrorPlane
from gate.web.static_plane import LOOK_AGAIN_S, PART
from tests.conftest import missing
from tests.nginx import in_front, nginx

NOW = datetime(2026, 3, 2, 9, 0, 0, 700_000, tzinfo=UTC)
MOVED = "Mon, 02 Mar 2026 09:00:01 GMT"  # the second after: a copy of the same second is older than it
TOKEN = "t0ken_" + "a" * 26
OLD, NEW = "1" * 64, "2" * 64


class Mirror:
    """A folder with two releases of one file."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.blobs = data / "public" / "content" / "blobs"
        self.blobs.mkdir(parents=True)
        self.folder = MirrorFolder(data / "mirror", self.blobs)
        self.old = [self.blob("daily.cvd", b"a" * 512 + b"old" * 1000)]
        self.new = [self.blob("daily.cvd", b"b" * 512 + b"new" * 2000)]

    def blob(self, path: str, content: bytes) -> Laid:
        digest = hashlib.sha256(content).hexdigest()
        (self.blobs / digest).write_bytes(content)
        return Laid(path, digest)

    def content(self, holder: str = "m1") -> bytes:
        return (self.data / "mirror" / "to" / "av" / holder / "daily.cvd").read_bytes()


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    made = Mirror(tmp_path / "data")
    made.folder.admit("av", TOKEN, "m1")
    made.folder.point("av", "m1", OLD, made.old, NOW)
    return made


def inner(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"inner"]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        return


class Threads(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@contextlib.contextmanager
def built_in(mirror: Mirror) -> Iterator[int]:
    """It looks at the disk each time: its clock steps a minute at each call."""
    plane = MirrorPlane(mirror.data / "mirror", inner, itertools.count(0, 60).__next__)
    with make_server("127.0.0.1", 0, plane, Threads, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(params=["built-in", "nginx"])
def port(request: pytest.FixtureRequest, mirror: Mirror, tmp_path: Path) -> Iterator[int]:
    """A server on the mirror's folder."""
    if request.param == "built-in":
        with built_in(mirror) as found:
            yield found
        return
    if nginx() is None:
        missing("nginx is not installed")
    for folder in (tmp_path, mirror.data, *tmp_path.parents):  # its own user must get there
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o055)
    with built_in(mirror) as behind, in_front(tmp_path, mirror.data, [behind]) as found:
        yield found


def curl(port: int, path: str, *options: str) -> tuple[int, dict[str, str], bytes]:
    """What the stock client gets: status, headers, body."""
    if shutil.which("curl") is None:
        missing("curl is not installed")
    url = f"http://127.0.0.1:{port}{path}"
    raw = subprocess.run(["curl", "-s", "-i", "--path-as-is", *options, url], capture_output=True, check=True).stdout
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), {line.split(": ")[0].lower(): line.split(": ", 1)[1] for line in lines}, body


FILE = f"/mirror/av/{TOKEN}/daily.cvd"
SINCE = {
    "none": [],
    "older": ["-H", f"If-Modified-Since: {format_datetime(NOW - timedelta(days=1), usegmt=True)}"],
    "the same second": ["-H", f"If-Modified-Since: {format_datetime(NOW, usegmt=True)}"],
    "equal": ["-H", f"If-Modified-Since: {MOVED}"],
    "newer": ["-H", f"If-Modified-Since: {format_datetime(NOW + timedelta(days=1), usegmt=True)}"],
}
RANGES = {"none": None, "0-511": (0, 512), "0-95": (0, 96), "512-": (512, 3512), "-9": (3503, 3512), "9999-": "416"}


@pytest.mark.parametrize("since", SINCE)
@pytest.mark.parametrize("span", RANGES)
def test_a_condition_is_answered_before_a_range(mirror: Mirror, port: int, since: str, span: str) -> None:
    options = SINCE[since] + ([] if span == "none" else ["-H", f"Range: bytes={span}"])
    status, headers, body = curl(port, FILE, *options)
    whole, wanted = mirror.content(), RANGES[span]
    if since in ("equal", "newer"):
        assert (status, body) == (304, b"")
    elif wanted == "416":
        assert status == 416
        return
    elif wanted is None:
        assert (status, body) == (200, whole)
    else:
        assert isinstance(wanted, tuple)
        assert (status, body) == (206, whole[slice(*wanted)])
        assert headers["content-range"] == f"bytes {wanted[0]}-{wanted[1] - 1}/{len(whole)}"
    assert headers["last-modified"] == MOVED
    assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(("since", "status"), [(MOVED, 206), ("Mon, 02 Mar 2026 09:00:00 GMT", 200), ("x", 200)])
def test_a_download_goes_on_by_its_date_while_the_pointer_stands(
    mirror: Mirror, port: int, since: str, status: int
) -> None:
    found, _, body = curl(port, FILE, "-H", "Range: bytes=512-", "-H", f"If-Range: {since}")
    assert (found, body) == (status, mirror.content()[512 if status == 206 else 0 :])


def test_a_head_says_what_a_get_would(port: int) -> None:
    status, headers, body = curl(port, FILE, "--head")
    assert (status, headers["content-length"], body) == (200, "3512", b"")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/mirror/av/{TOKEN}/daily.cld", 404),  # a stock client asks for it, and expects this answer
        (f"/mirror/av/{TOKEN[:-1]}x/daily.cvd", 429),
        (f"/mirror/other/{TOKEN}/daily.cvd", 429),
        (f"/mirror/av/{TOKEN[:12]}/daily.cvd", 429),  # cut as it was copied
        (f"/mirror/av/{TOKEN}./daily.cvd", 429),
        (f"/mirror/av/%C3%BC{TOKEN}/daily.cvd", 429),
        (f"/mirror/AV/{TOKEN}/daily.cvd", 429),
        (f"/mirror/av/{TOKEN}/", 404),
        (f"/mirror/av/{TOKEN}/.daily.cvd", 404),
        (f"/mirror/av/{TOKEN}/../../../to/av/m1/daily.cvd", 404),
        (f"/mirror/av/{TOKEN}/a/b/c", 404),
    ],
)
def test_a_missing_name_is_404_and_an_unknown_token_locks_nobody_out(port: int, path: str, status: int) -> None:
    found, headers, _ = curl(port, path)
    assert found == status
    assert headers.get("retry-after") == ("60" if status == 429 else None)


def test_no_log_of_nginx_says_a_token(mirror: Mirror, tmp_path: Path) -> None:
    if nginx() is None:
        missing("nginx is not installed")
    for folder in (tmp_path, mirror.data, *tmp_path.parents):
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o055)
    other = "x" * 32
    with built_in(mirror) as behind, in_front(tmp_path, mirror.data, [behind]) as port:
        asked = (FILE, f"{FILE[:-4]}.cld", f"/mirror/av/{TOKEN}/a/b", f"/mirror/av/{TOKEN}/", f"/mirror/av/{other}/a")
        assert [curl(port, path)[0] for path in asked] == [200, 404, 404, 404, 429]
    logs = {path.name: path.read_text() for path in tmp_path.glob("*.log")}
    assert {"nginx.log", "gate-mirror.log"} <= logs.keys()
    assert logs["gate-mirror.log"].count("\n") == len(asked)
    assert [name for name, text in logs.items() if TOKEN in text or other in text] == []
    said = [line.split()[2] for line in logs["gate-mirror.log"].splitlines()]
    assert said == [f"av/{TOKEN[:6]}"] * 4 + [f"av/{other[:6]}"], "whose address was used can be found"
    assert mirror.folder.begins("av") == {hashlib.sha256(TOKEN.encode()).hexdigest(): TOKEN[:6]}


def test_a_token_without_a_release_waits(mirror: Mirror, port: int) -> None:
    mirror.folder.admit("av", "x" * 32, "m2")
    assert curl(port, f"/mirror/av/{'x' * 32}/daily.cvd")[0] == 429


def test_a_revoked_token_waits_and_others_go_on(mirror: Mirror, port: int) -> None:
    mirror.folder.admit("av", "x" * 32, "m1")
    assert mirror.folder.shut_out("av", hashlib.sha256(b"x" * 32).hexdigest())
    assert curl(port, f"/mirror/av/{'x' * 32}/daily.cvd")[0] == 429
    assert curl(port, FILE)[0] == 200
    assert not mirror.folder.shut_out("av", hashlib.sha256(b"x" * 32).hexdigest())


def test_older_content_is_newer_once_the_pointer_has_gone_back(mirror: Mirror, port: int) -> None:
    mirror.folder.point("av", "m1", NEW, mirror.new, NOW + timedelta(hours=1))
    copied = format_datetime(NOW + timedelta(hours=2), usegmt=True)
    assert curl(port, FILE, "-H", f"If-Modified-Since: {copied}")[0] == 304
    mirror.folder.point("av", "m1", OLD, mirror.old, NOW + timedelta(hours=2))  # in the very second of the copy
    status, headers, body = curl(port, FILE, "-H", f"If-Modified-Since: {copied}")
    assert (status, body) == (200, mirror.content())
    assert body.startswith(b"a")
    assert headers["last-modified"] == "Mon, 02 Mar 2026 11:00:01 GMT"


def test_two_moves_in_one_second_have_two_times(mirror: Mirror) -> None:
    pointed = mirror.data / "mirror" / "to" / "av" / "m1" / "daily.cvd"
    times = [pointed.stat().st_mtime]
    for release, files in ((NEW, mirror.new), (OLD, mirror.old), (NEW, mirror.new)):
        assert mirror.folder.point("av", "m1", release, files, NOW)
        times.append(pointed.stat().st_mtime)
    assert times == sorted(set(times))


def test_what_was_made_for_a_move_is_made_anew_for_the_next_one(mirror: Mirror) -> None:
    made = mirror.data / "Release"
    for number in range(VIEWS + 2):
        made.write_text(f"Date: {number}")
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        files = [*mirror.new, Laid("dists/stable/Release", digest, made)]
        mirror.folder.point("apt", f"m{number}", NEW, files, NOW + timedelta(hours=number))
        assert (mirror.data / "mirror/to/apt" / f"m{number}" / "dists/stable/Release").read_bytes() == made.read_bytes()
    assert (mirror.data / "mirror/to/apt/m0/dists/stable/Release").read_text() == "Date: 0"


def test_what_was_made_for_one_ring_is_not_served_to_another_that_moves_at_the_same_moment(mirror: Mirror) -> None:
    for ring in ("first", "rest", "first again"):
        made = mirror.data / ring
        made.write_text(f"Ring: {ring.split()[0]}")
        files = [*mirror.new, Laid("ring.txt", "", made)]
        mirror.folder.point("apt", ring, NEW, files, NOW)
        assert (mirror.data / "mirror/to/apt" / ring / "ring.txt").read_text() == made.read_text()
    assert len(list((mirror.data / "mirror/views/apt").glob("*"))) == 2
    for ring, name in (("first", "a"), ("rest", "b")):
        files = [Laid(name, mirror.new[0].sha256)]
        mirror.folder.point("named", ring, NEW, files, NOW)
        assert (mirror.data / "mirror/to/named" / ring / name).is_file()


def test_a_pointer_that_stands_stays_untouched(mirror: Mirror) -> None:
    assert not mirror.folder.point("av", "m1", OLD, mirror.old, NOW + timedelta(days=1))
    assert curl_time(mirror) == int(NOW.timestamp()) + 1


def curl_time(mirror: Mirror, holder: str = "m1") -> int:
    return int((mirror.data / "mirror" / "to" / "av" / holder / "daily.cvd").stat().st_mtime)


def test_machines_that_move_together_share_their_files_and_later_ones_date_none_anew(mirror: Mirror) -> None:
    for number in range(VIEWS - 1):
        moment = NOW + timedelta(hours=1 + number)
        for machine in ("a", "b"):
            mirror.folder.point("av", f"{machine}{number}", OLD, mirror.old, moment)
    assert len(list((mirror.data / "mirror" / "views" / "av").glob(f"{OLD}.*"))) == VIEWS
    assert curl_time(mirror) == int(NOW.timestamp()) + 1
    late = NOW + timedelta(days=1)
    mirror.folder.point("av", "late", OLD, mirror.old, late)  # no view more: the newest is dated anew
    assert len(list((mirror.data / "mirror" / "views" / "av").glob(f"{OLD}.*"))) == VIEWS
    assert curl_time(mirror) == curl_time(mirror, "m1") == int(NOW.timestamp()) + 1
    assert curl_time(mirror, "late") == curl_time(mirror, f"b{VIEWS - 2}") == int(late.timestamp()) + 1


def test_a_spoilt_blob_moves_no_pointer(mirror: Mirror) -> None:
    blob = mirror.blobs / mirror.new[0].sha256
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(OperatorError, match="not what they were"):
        mirror.folder.point("av", "m1", NEW, mirror.new, NOW + timedelta(hours=1))
    assert mirror.folder.stands("av", "m1") == OLD
    assert mirror.content().startswith(b"a")
    assert not [path for path in (mirror.data / "mirror" / "views" / "av").iterdir() if path.name.startswith(".")]


def test_views_that_nobody_is_pointed_to_go(mirror: Mirror) -> None:
    mirror.folder.point("av", "m1", NEW, mirror.new, NOW)
    assert mirror.folder.tidy() == 1
    assert mirror.content().startswith(b"b")
    assert mirror.folder.tidy() == 0


def test_that_a_token_is_used_is_noted_and_not_at_each_call(mirror: Mirror) -> None:
    sha256 = hashlib.sha256(TOKEN.encode()).hexdigest()
    assert mirror.folder.used("av") == {}
    with built_in(mirror) as port:
        curl(port, FILE)
        first = mirror.folder.used("av")[sha256]
        assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
        link = mirror.data / "mirror" / "at" / "av" / TOKEN
        os.utime(link, (1000, 1000), follow_symlinks=False)
        curl(port, FILE)
        assert link.lstat().st_mtime == 1000
    assert NOTED >= 10_000


def test_tokens_cannot_be_listed(mirror: Mirror) -> None:
    assert (mirror.data / "mirror" / "at" / "av").stat().st_mode & 0o066 == 0


class Clocked:
    """A mirror plane whose clock is set by hand."""

    def __init__(self, mirror: Mirror) -> None:
        self.now = 0.0
        self.plane = MirrorPlane(mirror.data / "mirror", nobody, lambda: self.now)

    def asked(self, name: str = "daily.cvd", method: str = "GET", **headers: str) -> bytes:
        path = f"/mirror/av/{TOKEN}/{name}"
        self.status = ""
        return b"".join(self.plane({"REQUEST_METHOD": method, "PATH_INFO": path, **headers}, self._said))

    def _said(self, status: str, headers: list[tuple[str, str]], *_: Any) -> None:
        self.status, self.headers = status, headers


def test_a_small_file_is_kept_and_what_has_changed_behind_the_gates_back_is_read_anew(mirror: Mirror) -> None:
    clocked = Clocked(mirror)
    plane, asked = clocked.plane, clocked.asked
    view = mirror.data / "mirror" / "to" / "av" / "m1" / "daily.cvd"
    before, raw = view.stat(), view.read_bytes()
    assert asked() == raw
    assert len(plane._files) == 1
    assert asked() == raw
    view.write_bytes(raw[:-1] + b"?")
    os.utime(view, ns=(before.st_atime_ns, before.st_mtime_ns))  # same inode, same size, same time
    clocked.now += KNOWN_S - 0.001
    assert asked() == raw
    clocked.now += 0.001
    assert asked() == raw[:-1] + b"?"
    for number in range(FILES + 2):
        (view.parent.resolve() / f"f{number}").write_bytes(b"x")
        asked(f"f{number}")
    assert len(plane._files) <= FILES
    (view.parent.resolve() / "large").write_bytes(b"x" * (PART + 1))
    plane._files.clear()
    assert len(asked("large")) == PART + 1
    assert not plane._files


MOVES: list[tuple[str, Callable[[Mirror], object], str]] = [
    ("a pointer that moves", lambda mirror: mirror.folder.point("av", "m1", NEW, mirror.new, NOW), "200 OK"),
    ("a pointer that is taken away", lambda mirror: mirror.folder.point("av", "m1", "", [], NOW), "429"),
    ("a token that is revoked", lambda mirror: mirror.folder.shut_out("av", hashlib.sha256(TOKEN.encode()).hexdigest()),
     "429"),
    ("a token that is given to another", lambda mirror: mirror.folder.admit("av", TOKEN, "m2"), "429"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "move", "status"), MOVES, ids=[row[0] for row in MOVES])
def test_what_the_gate_moves_is_seen_within_fifty_milliseconds(
    mirror: Mirror, what: str, move: Callable[[Mirror], object], status: str
) -> None:
    clocked = Clocked(mirror)
    before = clocked.asked()
    move(mirror)
    clocked.now += LOOK_AGAIN_S
    after = clocked.asked()
    assert clocked.status.startswith(status)
    assert after != before


def test_what_is_looked_up_while_a_pointer_moves_is_not_remembered(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked = Clocked(mirror)
    looked, before = os.stat, clocked.asked()
    clocked.now += KNOWN_S

    def slow(place: Any, **options: Any) -> os.stat_result:
        found = looked(place, **options)
        monkeypatch.undo()
        mirror.folder.point("av", "m1", NEW, mirror.new, NOW)
        clocked.now += LOOK_AGAIN_S
        clocked.asked("another")  # another request has seen the move meanwhile
        return found

    monkeypatch.setattr(os, "stat", slow)
    clocked.asked()
    assert clocked.asked() == mirror.content() != before


def test_what_has_become_large_while_a_pointer_moves_is_served_whole(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocked, looked = Clocked(mirror), os.stat
    large = [mirror.blob("daily.cvd", b"x" * 3 * PART)]

    def slow(place: Any, **options: Any) -> os.stat_result:
        found = looked(place, **options)
        monkeypatch.undo()
        mirror.folder.point("av", "m1", NEW, large, NOW)
        return found

    monkeypatch.setattr(os, "stat", slow)
    assert len(clocked.asked()) == 3 * PART


def test_a_path_that_is_known_costs_no_look_at_the_disk(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    clocked = Clocked(mirror)
    assert clocked.asked() == mirror.content()

    def not_here(real: Callable[..., Any]) -> Callable[..., Any]:
        def looked(place: Any, *words: Any, **options: Any) -> Any:
            assert not str(place).startswith(str(mirror.data)), "the disk is asked"
            return real(place, *words, **options)

        return looked

    monkeypatch.setattr(os, "stat", not_here(os.stat))
    monkeypatch.setattr("builtins.open", not_here(open))
    assert clocked.asked() == clocked.asked() != b""
    assert clocked.asked(method="HEAD") == b""
    clocked.asked(method="POST")
    assert clocked.status.startswith("405")


def test_whether_a_large_file_is_still_what_a_client_has_costs_no_look_at_the_disk(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.folder.point("av", "m1", NEW, [mirror.blob("daily.cvd", b"x" * 3 * PART)], NOW)
    clocked = Clocked(mirror)
    assert len(clocked.asked()) == 3 * PART
    modified = dict(clocked.headers)["Last-Modified"]
    monkeypatch.setattr(os, "stat", forbidden)
    monkeypatch.setattr("builtins.open", forbidden)
    assert clocked.asked(HTTP_IF_MODIFIED_SINCE=modified) == b""
    assert clocked.status.startswith("304")
    monkeypatch.undo()
    assert len(clocked.asked()) == 3 * PART, "its bytes are read for each answer that carries them"
    assert clocked.asked(HTTP_RANGE="bytes=0-9") == b"x" * 10


def forbidden(place: Any, *words: Any, **options: Any) -> Any:
    raise AssertionError(f"the disk is asked for {place}")


def test_where_nothing_is_counted_nothing_is_remembered_for_longer(mirror: Mirror) -> None:
    clocked = Clocked(mirror)
    (mirror.data / "mirror" / ".moving").unlink()
    before = clocked.asked()
    view = mirror.data / "mirror" / "to" / "av" / "m1"
    view.unlink()
    clocked.now += LOOK_AGAIN_S
    assert clocked.asked() != before
    assert clocked.status.startswith("429")


def test_no_more_paths_are_remembered_than_fit(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_plane, "PATHS", 3)
    view = mirror.data / "mirror" / "to" / "av" / "m1"
    clocked = Clocked(mirror)
    for number in range(9):
        (view.resolve() / f"f{number}").write_bytes(b"x")
        clocked.asked(f"f{number}")
        assert len(clocked.plane._known) <= 3


def nobody(*_: Any, **__: Any) -> Iterable[bytes]:
    raise AssertionError("nobody asks for this")
