"""A remote of the policy, served by stock git over http: what goes on from ours is taken and judged as a push."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from gate.adapters import policy_remote
from gate.adapters.remote_address import address
from gate.bootstrap import Opened
from gate.config import load
from gate.core.errors import OperatorError
from gate.flows import policy_remote as flow
from tests.flows.test_policy_edits import TIGHTER
from tests.flows.test_policy_versions import active
from tests.git_servers import http_backend
from tests.real_gate import RealGate

LOOSER = ("first_batch: 3", "first_batch: 4")
TOKEN = "a-read-only-token"

ADDRESSES = [
    ("https://git.example.org/shop/policy.git", True),
    ("https://git.example.org:8443/policy.git", True),
    ("https://[2001:db8::1]/policy.git", True),
    ("ssh://git@git.example.org/srv/policy.git", True),
    ("ssh://git@git.example.org:2222/~/policy.git", True),
    ("http://127.0.0.1:8080/policy.git", True),
    ("http://localhost/policy.git", True),
    ("http://git.example.org/policy.git", False),
    ("http://127.0.0.1.example.org/policy.git", False),
    ("git://git.example.org/policy.git", False),
    ("file:///srv/policy.git", False),
    ("/srv/policy.git", False),
    ("ext::sh -c touch% /tmp/x", False),
    ("git@git.example.org:policy.git", False),
    ("ssh://-oProxyCommand=touch/policy.git", False),
    ("ssh://git@git.example.org/--upload-pack=touch", False),
    ("ssh://-l@git.example.org/policy.git", False),
    ("ssh://git@git.example.org/policy.git;touch", False),
    ("https://gate:secret@git.example.org/policy.git", False),
    ("https://gate@git.example.org/policy.git", False),
    ("https://git.example.org/../policy.git", False),
    ("https://git.example.org/policy.git?x=1", False),
    ("https://git.example.org:99999/policy.git", False),
    ("", False),
]


@pytest.mark.parametrize(("url", "well"), ADDRESSES)
def test_an_address_is_https_or_ssh_and_no_command_file_or_option(url: str, well: bool) -> None:
    if well:
        assert address(url).hostname
        return
    with pytest.raises(ValueError):
        address(url)


def test_a_bad_address_stops_at_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text('fleet = "f"\ndata = "."\ndatabase = "sqlite:///x"\npolicy_remote = "ext::sh -c id"\n')
    with pytest.raises(OperatorError, match="policy_remote is https"):
        load(file)


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Remote:
    """A repository elsewhere, behind stock ``git http-backend``, and the gate that fetches it."""

    def __init__(self, gate: RealGate, folder: Path) -> None:
        self.gate, self.folder, self.token, self.moved = gate, folder, "", False
        self.git("clone", "-q", "--bare", str(gate.opened.settings.policy), "far.git", within=folder)
        self.git("clone", "-q", "far.git", "work", within=folder)
        self.server = make_server("127.0.0.1", 0, self.answer, handler_class=Quiet)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/far.git"
        self.opens(policy_remote=self.url)

    def opens(self, **settings: str) -> None:
        self.gate.close()
        self.gate.opened = Opened(replace(self.gate.opened.settings, **settings), self.gate.clock)  # type: ignore[arg-type]
        self.gate.worker = self.gate.opened.worker()

    def git(self, *words: str, within: Path | None = None) -> str:
        who = ["-c", "user.name=Carla", "-c", "user.email=c@example.org", "-c", "protocol.file.allow=always"]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", *who, *words], cwd=within or self.folder / "work", env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def answer(self, environ: dict[str, Any], start: Any) -> list[bytes]:
        said = base64.b64encode(f"gate:{self.token}".encode()).decode()
        path = environ["PATH_INFO"].removeprefix("/again")
        if self.moved and path == environ["PATH_INFO"]:
            start("302 Found", [("Location", f"/again{path}?{environ['QUERY_STRING']}")])
            return [b""]
        if self.token and environ.get("HTTP_AUTHORIZATION") != f"Basic {said}":
            start("401 Unauthorized", [("WWW-Authenticate", "Basic")])
            return [b""]
        return http_backend(environ, start, self.folder, path)

    def pushes(self, *changes: tuple[str, str], more: tuple[str, ...] = ()) -> str:
        file = self.folder / "work" / "policy.yaml"
        text = file.read_text()
        for before, after in changes:
            assert before in text
            text = text.replace(before, after, 1)
        file.write_text(text)
        self.git("commit", "-qam", "from elsewhere")
        self.git("push", "-q", *more, "origin", "HEAD:main")
        return self.git("rev-parse", "HEAD")

    def looks(self) -> str:
        """One look and one tick; what is wrong with the remote."""
        self.gate.worker.fetch()
        self.gate.worker.tick()
        with self.gate.opened.store.read() as tx:
            return flow.trouble(tx)

    def events(self) -> list[str]:
        with self.gate.opened.store.read() as tx:
            return [one.kind for one in tx.events(subject=flow.SUBJECT, limit=100)]


@pytest.fixture
def remote(sqlite_gate: RealGate, tmp_path: Path) -> Iterator[Remote]:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    found = Remote(sqlite_gate, folder)
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_what_goes_on_from_ours_rules_at_the_next_tick_where_it_tightens(remote: Remote) -> None:
    assert (remote.looks(), remote.events()) == ("", [])
    commit = remote.pushes(TIGHTER)
    assert remote.looks() == ""
    assert (active(remote.gate).commit, active(remote.gate).problem) == (commit, "")
    assert (remote.looks(), remote.events()) == ("", ["policy_fetched"]), "an event where something is new"


def test_what_loosens_waits_for_two_people(remote: Remote) -> None:
    before, commit = active(remote.gate).commit, remote.pushes(LOOSER)
    assert remote.looks() == ""
    assert active(remote.gate).commit == before
    assert "two people must agree" in active(remote.gate).problem
    with remote.gate.opened.store.read() as tx:
        assert [one.subject for one in tx.proposals("open")] == [commit]


def test_where_both_have_commits_of_their_own_ours_stays_until_people_merge(remote: Remote) -> None:
    policies, now = remote.gate.opened.policies, remote.gate.clock.now()
    ours = policies.write(policies.read(policies.head()) + "# ours\n", policies.head(), "anna", "on the page", now)
    assert remote.looks() == "", "ours goes on from theirs: nothing to take"
    remote.pushes(TIGHTER)
    assert "merge ours into theirs" in remote.looks()
    assert (remote.looks(), policies.head(), remote.events()) == (flow.PARTED, ours, ["policy_remote_parted"])
    remote.git("pull", "-q", "--no-rebase", "--no-edit", str(remote.gate.opened.settings.policy), "main")
    remote.git("push", "-q", "origin", "HEAD:main")
    merged = remote.git("rev-parse", "HEAD")
    assert (remote.looks(), policies.head(), active(remote.gate).commit) == ("", merged, merged)


def test_a_remote_that_was_rewound_changes_nothing(remote: Remote) -> None:
    commit = remote.pushes(TIGHTER)
    remote.looks()
    remote.git("reset", "-q", "--hard", "HEAD~1")
    remote.git("push", "-q", "-f", "origin", "HEAD:main")
    assert (remote.looks(), remote.gate.opened.policies.head(), active(remote.gate).commit) == ("", commit, commit)


def test_by_ssh_nobody_is_asked_and_the_path_is_quoted(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program ``ssh`` is played: it notes how it was called and does on this machine what it should do far away."""
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\nfor last; do :; done\nexec sh -c "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    commit = remote.pushes(TIGHTER)
    remote.opens(policy_remote=f"ssh://git@git.example.org:2222{remote.folder}/far.git")
    assert (remote.looks(), active(remote.gate).commit) == ("", commit)
    called = (tmp_path / "called").read_text()
    assert "BatchMode=yes" in called
    assert "-p 2222" in called
    assert f"git@git.example.org git-upload-pack '{remote.folder}/far.git'" in called


def test_the_token_is_asked_for_and_said_nowhere(remote: Remote) -> None:
    remote.token = TOKEN
    commit = remote.pushes(TIGHTER)
    remote.opens(policy_remote=remote.url, policy_remote_token="another")
    said = remote.looks()
    assert said
    assert "another" not in said
    assert active(remote.gate).commit != commit
    remote.opens(policy_remote=remote.url, policy_remote_token=TOKEN)
    assert (remote.looks(), active(remote.gate).commit) == ("", commit)


@pytest.mark.parametrize("fault", ["moved", "gone", "no branch", "too much"])
def test_a_remote_that_fails_is_said_once_and_harms_nothing(
    remote: Remote, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = active(remote.gate).commit
    remote.pushes(TIGHTER)
    if fault == "moved":
        remote.moved = True
    elif fault == "gone":
        remote.server.shutdown()
        remote.server.server_close()
    elif fault == "no branch":
        remote.git("symbolic-ref", "HEAD", "refs/heads/other", within=remote.folder / "far.git")
        remote.git("update-ref", "-d", "refs/heads/main", within=remote.folder / "far.git")
    else:
        monkeypatch.setattr(policy_remote, "MOST", 400)
    assert remote.looks() != ""
    assert remote.looks() != ""
    assert (active(remote.gate).commit, remote.events()) == (before, ["policy_remote_failed"])
