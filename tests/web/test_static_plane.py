"""The read plane over HTTP: known names only, conditions before ranges."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from gate.web.static_plane import StaticPlane

DIGEST = "ab" * 32
BLOB = f"/content/blobs/{DIGEST}"


def inner(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("X-Inner", "yes")])
    return [b"inner"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "content" / "blobs").mkdir(parents=True)
    (tmp_path / "metadata" / "timestamp.json").write_bytes(b'{"signed": 1}')
    (tmp_path / "metadata" / "1.root.json").write_bytes(b"{}")
    (tmp_path / "content" / "blobs" / DIGEST).write_bytes(bytes(range(256)) * 1000)
    (tmp_path / "secret.pem").write_text("secret")
    os.symlink(tmp_path / "secret.pem", tmp_path / "metadata" / "2.root.json")
    return tmp_path


def ask(folder: Path, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    said: list[Any] = []
    environ = {"PATH_INFO": path, "REQUEST_METHOD": method}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    body = b"".join(StaticPlane(folder, inner)(environ, lambda status, headers: said.extend([status, headers])))
    return int(said[0].split()[0]), dict(said[1]), body


def test_a_poll_with_the_known_tag_is_304_without_a_body(folder: Path) -> None:
    status, headers, body = ask(folder, "/metadata/timestamp.json")
    assert (status, body, headers["Cache-Control"]) == (200, b'{"signed": 1}', "no-cache")
    status, again, body = ask(folder, "/metadata/timestamp.json", if_none_match=headers["ETag"])
    assert (status, body, again["ETag"]) == (304, b"", headers["ETag"])
    assert ask(folder, "/metadata/timestamp.json", if_none_match='"other"')[0] == 200
    assert ask(folder, "/metadata/timestamp.json", if_modified_since=headers["Last-Modified"])[0] == 304


@pytest.mark.parametrize(
    ("asked", "status", "span"),
    [
        ("bytes=0-511", 206, (0, 512)),
        ("bytes=0-0", 206, (0, 1)),
        ("bytes=255999-", 206, (255999, 256000)),
        ("bytes=-5", 206, (255995, 256000)),
        ("bytes=0-99999999", 206, (0, 256000)),
        ("bytes=256000-", 416, (0, 0)),
        ("bytes=-0", 416, (0, 0)),
        ("bytes=5-4", 200, (0, 256000)),
        ("bytes=0-1,5-6", 200, (0, 256000)),
        ("lines=0-1", 200, (0, 256000)),
        ("bytes=-", 200, (0, 256000)),
        ("bytes=٣-٤", 200, (0, 256000)),
    ],
)
def test_ranges(folder: Path, asked: str, status: int, span: tuple[int, int]) -> None:
    whole = bytes(range(256)) * 1000
    found, headers, body = ask(folder, BLOB, range=asked)
    assert (found, body) == (status, whole[span[0] : span[1]])
    assert int(headers["Content-Length"]) == len(body)


def test_a_condition_is_answered_before_a_range(folder: Path) -> None:
    _, headers, _ = ask(folder, BLOB)
    assert ask(folder, BLOB, range="bytes=0-1", if_none_match=headers["ETag"])[0] == 304
    assert ask(folder, BLOB, range="bytes=0-1", if_range='"other"')[0] == 200
    assert ask(folder, BLOB, range="bytes=0-1", if_range=headers["ETag"])[0] == 206


def test_head_has_the_length_and_no_body(folder: Path) -> None:
    status, headers, body = ask(folder, BLOB, "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "256000", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/metadata/",
        "/metadata/3.root.json",
        "/metadata/../secret.pem",
        "/metadata/..%2fsecret.pem",
        "/metadata//etc/passwd",
        "/metadata/timestamp.json/",
        "/metadata/timestamp.json\n",
        "/metadata/.timestamp.json.new",
        "/metadata/2.root.json",
        "/content/blobs/../../secret.pem",
        "/content/blobs/" + DIGEST.upper(),
        "/content/blobs/" + "c" * 64,
        "/content/\u0440\u0430/x.json",
    ],
)
def test_nothing_but_known_names_is_served_and_a_404_is_never_cached(folder: Path, path: str) -> None:
    status, headers, body = ask(folder, path)
    assert (status, body, headers["Cache-Control"]) == (404, b"not found\n", "no-store")


def test_only_get_and_head_and_other_paths_go_on(folder: Path) -> None:
    assert ask(folder, "/metadata/timestamp.json", "POST")[0] == 405
    assert ask(folder, "/")[2] == b"inner"
    assert ask(folder, "/metadata")[2] == b"inner"
