"""An admin pushes by ssh, through a stock sshd, or by https as a web server hands it to ``git http-backend``: the hook
says what becomes of it, and one tick later it rules, is a proposal, or is refused, by its signatures."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from typing import Any
from wsgiref.simple_server import make_server

import pytest
from flask import Flask

from gate.bootstrap import pages
from gate.flows import people
from tests.cli.test_pushes import hooked
from tests.flows.test_policy_edits import LOOSER, TIGHTER, signed, waiting
from tests.flows.test_policy_remote import Quiet
from tests.flows.test_policy_versions import active
from tests.flows.test_signed_pushes import Desk, desk
from tests.git_servers import Sshd, http_backend, sshd
from tests.web.test_pages import HASH, person

pytestmark = pytest.mark.slow

__all__ = ["desk"]


@pytest.fixture
def line(desk: Desk) -> Iterator[Sshd]:
    """A gate whose repository is reached by ssh, and that knows its people's signatures."""
    settings = desk.gate.made.settings
    signers = f'policy_signers = "{desk.signers}"\npolicy_revoked = "{desk.revoked}"\n'
    settings.write_text(signers + settings.read_text(encoding="utf-8"), encoding="utf-8")
    hooked(desk.gate)
    with sshd(desk.folder / "sshd") as found:
        found.lets_in(desk.key("bob-laptop"))
        yield found


def push(desk: Desk, line: Sshd, *, key: str = "bob-laptop") -> subprocess.CompletedProcess[str]:
    """What stock git and stock ssh show."""
    desk.key(key)
    address = f"{line.address}{desk.gate.opened.settings.policy}"
    words = ["git", "push", address, "HEAD:main"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(desk.folder), "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(
        words,
        cwd=desk.folder / "work",
        env=environment | line.environment(desk.folder / key),
        capture_output=True,
        text=True,
        check=False,
    )


def seen(desk: Desk, login: str = "alice") -> str:
    """The policy's page as somebody sees it."""
    now = desk.gate.clock.now()
    with desk.gate.opened.store.write() as tx:
        people.new_link(tx, login, f"again-{login}", "test", now)
        people.choose_password(tx, f"again-{login}", "correct horse battery staple", lambda _: HASH, now)
    app = pages(desk.gate.opened)
    assert isinstance(app, Flask)
    return person(app, login).client.get("/policy").text


def test_a_signed_tightening_pushed_by_ssh_is_judged_at_once_and_rules_one_tick_later(desk: Desk, line: Sshd) -> None:
    before = active(desk.gate).commit
    commit = desk.commit(TIGHTER, "bob")
    done = push(desk, line)
    assert done.returncode == 0, done.stderr
    assert f"remote: {commit[:12]}: it loosens nothing and will rule" in done.stderr
    assert active(desk.gate).commit == before, "the hook writes nothing"
    desk.gate.worker.tick()
    row = active(desk.gate)
    assert (row.commit, row.activated_by, row.problem) == (commit, "bob", "")
    page = seen(desk)
    assert "The active version" in page
    assert commit[:12] in page


def test_a_running_worker_takes_a_push_up_by_itself(desk: Desk, line: Sshd) -> None:
    commit = desk.commit(TIGHTER, "bob")
    taken = threading.Event()
    act = desk.gate.worker.decide

    def decide() -> None:
        act()
        if active(desk.gate).commit == commit:
            taken.set()

    desk.gate.worker.decide = decide  # type: ignore[method-assign]
    desk.gate.worker.start()
    try:
        assert push(desk, line).returncode == 0
        assert taken.wait(20)
    finally:
        desk.gate.worker.stop()


def test_a_signed_loosening_pushed_by_ssh_is_its_signers_proposal(desk: Desk, line: Sshd) -> None:
    commit = desk.commit(LOOSER, "bob")
    assert "it loosens: it will rule once 2 people have agreed" in push(desk, line).stderr
    desk.gate.worker.tick()
    [proposal] = waiting(desk.gate)
    assert (proposal.proposed_by, proposal.subject) == ("bob", commit)
    page = seen(desk)
    assert "A proposal waits for another person" in page
    assert "from my desk" in page
    assert active(desk.gate).commit != commit
    assert signed(desk.gate, proposal, "alice") is not None
    assert active(desk.gate).commit == commit


def test_what_nobody_has_signed_is_refused_also_for_who_may_push(desk: Desk, line: Sshd) -> None:
    commit = desk.commit(TIGHTER, "")
    said = push(desk, line).stderr
    assert f"remote: {commit[:12]}: it will be refused, and what rules goes on" in said
    desk.gate.worker.tick()
    assert "is not signed" in desk.refused()
    assert "is not signed" in seen(desk)


def test_by_ssh_a_known_key_may_push_and_nothing_else_and_an_unknown_one_nothing(desk: Desk, line: Sshd) -> None:
    before = desk.gate.opened.policies.head()
    desk.commit(TIGHTER, "bob")
    stranger = push(desk, line, key="stranger")
    assert stranger.returncode != 0
    assert "Permission denied" in stranger.stderr
    words = [*line.command(desk.folder / "bob-laptop"), line.address]
    for wish in ("id", "cat /etc/passwd", "git-upload-pack '/etc'", ""):
        done = subprocess.run([*words, *([wish] if wish else [])], capture_output=True, text=True, check=False)
        assert done.returncode != 0, wish
        assert "uid=" not in done.stdout
        assert "root:" not in done.stdout
    assert desk.gate.opened.policies.head() == before


def test_a_push_by_http_is_judged_and_taken_the_same_way(desk: Desk, line: Sshd) -> None:
    """TLS is the web server's."""
    root = desk.gate.opened.settings.policy.parent

    def answer(environ: dict[str, Any], start: Any) -> list[bytes]:
        if environ.get("HTTP_AUTHORIZATION") != "Basic " + base64.b64encode(b"bob:secret").decode():
            start("401 Unauthorized", [("WWW-Authenticate", "Basic")])
            return [b""]
        return http_backend(environ, start, root, environ["PATH_INFO"], "bob")

    server = make_server("127.0.0.1", 0, answer, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        commit = desk.commit(TIGHTER, "bob")
        where = f"127.0.0.1:{server.server_port}/policy.git"
        words = ["git", "push", f"http://bob:secret@{where}", "HEAD:main"]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(desk.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        work = desk.folder / "work"
        done = subprocess.run(words, cwd=work, env=environment, capture_output=True, text=True, check=False)
        assert f"remote: {commit[:12]}: it loosens nothing and will rule" in done.stderr
        desk.gate.worker.tick()
        assert active(desk.gate).commit == commit
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
