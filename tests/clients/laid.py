"""What ``gate_serve`` lays out, behind a plain static web server: a link for each ring, moved as the gate moves it."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from gate.adapters.plugins import ChildPlugins
from gate.hookspecs import Announced, Candidate, Fetched, Released, Source, Verification

DATED = 1_700_000_000


class Mirror:
    """Releases of one source, taken from its plugin, and what each ring is served of them.

    Every move of a pointer has a newer ``Last-Modified``, as the gate's mirror has it."""

    def __init__(self, folder: Path, plugins: ChildPlugins, plugin: str, source: Source) -> None:
        self.root = folder / "served"
        self._store = folder / "stored"
        self._plugins, self._plugin, self._source = plugins, plugin, source
        self._views = 0
        self.cursor = ""
        self.port = 0
        self.root.mkdir()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def looks(self) -> Candidate:
        """The newest candidate."""
        found = self._plugins.discover(self._plugin, self._source, self.cursor)
        assert found.candidates, found.skipped
        self.cursor = found.cursor
        return found.candidates[-1]

    def takes(self, candidate: Candidate | None = None) -> Released:
        """A look, as the gate takes what is good; the bytes are kept."""
        candidate = candidate or self.looks()
        into, fetched = self._plugins.fetch(self._plugin, self._source, candidate)
        verified = self.verified(candidate, fetched, into)
        assert verified.ok, verified.detail
        findings = self._plugins.lint(self._plugin, self._source, candidate, fetched, into, None)
        bad = [one.detail for one in findings if one.weight == "refuse"]
        assert not bad, bad
        kept = self._store / candidate.version
        shutil.copytree(into, kept)
        files = {one.name: kept / one.name for one in fetched}
        artifacts = tuple(Announced(one.name, one.length, one.sha256) for one in fetched)
        release = hashlib.sha256(repr(artifacts).encode()).hexdigest()
        return Released(release, candidate.version, artifacts, files)

    def verified(self, candidate: Candidate, fetched: tuple[Fetched, ...], into: Path) -> Verification:
        return self._plugins.verify(self._plugin, self._source, candidate, fetched, into)

    def serves(self, ring: str, release: Released, at: datetime) -> None:
        """The ring's pointer moves."""
        made, served = self._plugins.serve(self._plugin, self._source, ring, release, at)
        assert served is not None
        self._views += 1
        view = self._store / f"view-{self._views}"
        for one in served.files:
            to = view / one.path
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(release.files[one.artifact] if one.artifact else made / one.made, to)
            os.utime(to, (DATED + self._views,) * 2)
        new = self.root / ".new"
        new.symlink_to(view)
        new.rename(self.root / ring)


class Quiet(SimpleHTTPRequestHandler):
    """Files, and no word about it."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def behind(mirror: Mirror) -> Iterator[Mirror]:
    """Serves it while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(mirror.root)))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  (a client that has enough hangs up)
    mirror.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
