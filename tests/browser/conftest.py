"""A real server, a real Chromium; they end with the last test of this folder, and a test's pages with the test."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from tests.browser.serving import serving
from tests.conftest import missing
from tests.load import free_port
from tests.web.busy import Busy, busy

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def wait_for(address: str) -> None:
    until = time.monotonic() + 40
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
    raise AssertionError(f"{address} never answered")


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        missing("chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield found
        found.close()


KEPT: list[BrowserContext] = []
"""Those that several tests share."""


@pytest.fixture(autouse=True)
def closed(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test leaves open would go on asking its server."""
    yield
    if "browser" in request.fixturenames:
        for context in request.getfixturevalue("browser").contexts:
            if context not in KEPT:
                context.close()


def served(*words: str, port: int, folder: Path) -> Iterator[str]:
    gate = Path(sys.executable).with_name("gate")
    log = (folder / "serve.log").open("wb")
    server = subprocess.Popen([gate, *words], stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{address}/healthz")
        yield address
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(10)
        log.close()


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The demo, so fast that its day is halted at once."""
    port = free_port()
    yield from served("demo", "--port", str(port), "--speed", "4000", port=port, folder=tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="package", params=[("july-19", 12), ("healthy-week", 33)], ids=lambda one: str(one[0]))
def stateful(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Busy]]:
    """A day after its halt and one on which rings open, with what people and a bad morning add: (address, pages)."""
    scenario, hours = request.param
    found = busy(tmp_path_factory.mktemp("busy"), scenario, timedelta(hours=hours))
    with serving(found.app) as address:
        yield address, found


@pytest.fixture(scope="package")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A fresh gate as ``gate init`` makes it: (address, one-time link)."""
    folder, port = tmp_path_factory.mktemp("gate"), free_port()
    program = Path(sys.executable).with_name("gate")
    words = [program, "init", "g", "--fleet", "browser", "--example", "walk", "--port", str(port)]
    said = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    link = said.stdout.strip().splitlines()[-1].strip()
    for address in served("serve", "--settings", "g/gate.toml", port=port, folder=folder):
        yield address, link
