"""The shipped nginx lets through what gate takes, and gate itself says what is too long."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gate.web import lists, policy_edit_pages, recovery_pages
from tests.conftest import missing
from tests.nginx import in_front, nginx
from tests.upstream import Reply, upstream

FORM = 256 * 1024
MOST = {
    "/sites/import": lists.MOST_UPLOADED,
    "/sites/import-keys": lists.MOST_UPLOADED,
    "/policy/save": policy_edit_pages.MOST_SENT,
    "/rings": FORM,
}


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """nginx in front of one that says how much it got."""
    if nginx() is None or shutil.which("curl") is None:
        missing("nginx or curl is not installed")
    for folder in (tmp_path, *tmp_path.parents):  # its own user must get there
        with contextlib.suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o055)
    with upstream() as behind:
        behind.answers["/healthz"] = Reply(200)
        for path in MOST:
            behind.answers[path] = lambda asked: Reply(200, str(len(asked.body)).encode())
        with in_front(tmp_path, tmp_path / "data", [behind.port]) as found:
            yield found


@pytest.mark.parametrize("path", MOST)
def test_what_gate_takes_reaches_it(port: int, tmp_path: Path, path: str) -> None:
    file = tmp_path / "sent"
    file.write_bytes(b"x" * MOST[path])
    words = ["curl", "-s", "-H", "Expect:", "--data-binary", f"@{file}", f"http://127.0.0.1:{port}{path}"]
    assert subprocess.run(words, capture_output=True, check=True).stdout == str(MOST[path]).encode()


def test_the_pages_that_take_files_are_where_nginx_looks_for_them() -> None:
    taken = {path for path, *_ in (*lists.VIEWS, *recovery_pages.VIEWS) if "import" in path}
    assert taken == {"/sites/import", "/sites/import-keys"}
