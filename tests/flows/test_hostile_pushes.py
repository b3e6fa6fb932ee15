"""What stock git may push into the policy repository: refused with a sentence, or harmless."""

from __future__ import annotations

import html
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask

from gate.bootstrap import pages
from gate.flows import people
from tests.flows.test_policy_edits import TIGHTER
from tests.flows.test_policy_versions import active
from tests.real_gate import RealGate
from tests.web.test_pages import HASH, PASSWORD, Person

RTL, BELL, ESCAPE = "\N{RIGHT-TO-LEFT OVERRIDE}", "\a", "\x1b[2J"
HTML = "<script>alert(1)</script>"


@dataclass
class Clone:
    """Stock git beside the gate."""

    gate: RealGate
    work: Path

    def git(self, *words: str, stdin: bytes = b"", **environment: str) -> str:
        base = {"PATH": os.environ["PATH"], "HOME": str(self.work), "GIT_CONFIG_NOSYSTEM": "1"}
        who = ["-c", "user.name=Mallory", "-c", "user.email=m@example.org", "-c", "protocol.file.allow=always"]
        words = ("git", *who, *words)
        done = subprocess.run(
            words, cwd=self.work, input=stdin, capture_output=True, env=base | environment, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode(errors="replace").strip()

    def text(self, change: Callable[[str], str] = lambda text: text) -> str:
        return change((self.work / "policy.yaml").read_text())

    def push(self, *more: str, message: bytes = b"from outside", **environment: str) -> str:
        """All that lies in the folder, as one commit on main; one tick later."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-F", "-", stdin=message, **environment)
        self.git("push", "-q", *more, "origin", "HEAD:main")
        self.gate.worker.tick()
        return self.git("rev-parse", "HEAD")

    def push_raw(self, raw: bytes) -> str:
        """A commit of these very bytes at the head."""
        made = self.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
        self.git("update-ref", "refs/heads/main", made)
        self.git("push", "-q", "origin", "main")
        self.gate.worker.tick()
        return made


@pytest.fixture
def clone(sqlite_gate: RealGate, tmp_path: Path) -> Iterator[Clone]:
    work = tmp_path / "work"
    found = Clone(sqlite_gate, tmp_path)
    found.git("clone", "-q", str(sqlite_gate.opened.settings.policy), str(work))
    found.work = work
    yield found


@pytest.fixture
def visitor(sqlite_gate: RealGate) -> Person:
    now = sqlite_gate.clock.now()
    with sqlite_gate.opened.store.write() as tx:
        people.new_link(tx, "anna", "link", "test", now)
        people.choose_password(tx, "link", PASSWORD, lambda _: HASH, now)
    app = pages(sqlite_gate.opened)
    assert isinstance(app, Flask)
    found = Person(app.test_client())
    assert found.log_in("anna") == 303
    return found


def bomb(text: str) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines) + "\n" + text


BROKEN: dict[str, tuple[Callable[[str], bytes], str]] = {
    "a bomb of aliases": (lambda text: bomb(text).encode(), "anchors and aliases are not allowed"),
    "an alias": (lambda text: text.replace("first_batch: 3", "first_batch: &n 3").encode(), "anchors and aliases"),
    "a tag": (lambda text: ("!!python/object/apply:os.system [x]\n" + text).encode(), "policy.yaml:1"),
    "a key twice": (lambda text: (text + "\nfirst_batch: 1\n").encode(), "first_batch"),
    "a tab": (lambda text: text.replace("rings:\n  -", "rings:\n\t-").encode(), "policy.yaml:"),
    "nests": (lambda _: b"a: " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
    "two megabytes": (lambda text: text.encode() + b"# " + b"x" * 2_000_000 + b"\n", "larger than a megabyte"),
    "half a megabyte": (lambda text: text.encode() + b"# " + b"x" * 500_000 + b"\n", "at most 262144 bytes"),
    "latin-1": (lambda text: text.encode() + b"# \xe4\n", "not UTF-8"),
    "a line in a note": (lambda text: (text + "# a note\u2028# more\n").encode(), "U+2028 ends a line"),
    "a null": (lambda text: text.encode() + b"# \x00\n", "policy.yaml"),
    "nothing": (lambda _: b"", "the policy is empty"),
    "two documents": (lambda text: (text + "\n---\nversion: 1\n").encode(), "policy.yaml"),
}


def refused(clone: Clone, before: str, why: str, visitor: Person) -> None:
    row = active(clone.gate)
    assert row.commit == before, "the old version stays active"
    assert why in row.problem
    page = html.unescape(visitor.client.get("/").text)
    assert why in page, "the banner says so"
    for place in ("/policy", "/policy?tab=edit", "/policy?tab=history"):
        assert visitor.client.get(place).status_code == 200, place


@pytest.mark.parametrize("name", BROKEN)
def test_a_text_that_is_no_policy_is_refused_and_the_old_version_rules(
    clone: Clone, visitor: Person, name: str
) -> None:
    before, (made, why) = active(clone.gate).commit, BROKEN[name]
    (clone.work / "policy.yaml").write_bytes(made(clone.text()))
    commit = clone.push()
    refused(clone, before, why, visitor)
    assert visitor.client.get(f"/policy/versions/{commit}").status_code in (200, 404)
    (clone.work / "policy.yaml").write_text(clone.gate.opened.policies.read(before).replace(*TIGHTER))
    commit = clone.push()
    assert (active(clone.gate).commit, active(clone.gate).problem) == (commit, ""), "and the next good one rules"


def linked(clone: Clone) -> None:
    file = clone.work / "policy.yaml"
    (clone.work / "real.yaml").write_text(clone.text())
    file.unlink()
    file.symlink_to("/etc/passwd")


def submodule(clone: Clone) -> None:
    (clone.work / "policy.yaml").unlink()
    clone.git("clone", "-q", str(clone.gate.opened.settings.policy), "policy.yaml")


def folder(clone: Clone) -> None:
    text = clone.text()
    (clone.work / "policy.yaml").unlink()
    (clone.work / "policy.yaml").mkdir()
    (clone.work / "policy.yaml" / "policy.yaml").write_text(text)


def gone(clone: Clone) -> None:
    (clone.work / "policy.yaml").rename(clone.work / "Policy.yaml")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (linked, "not a plain file"),
        (submodule, "not a plain file"),
        (folder, "not a plain file"),
        (gone, "has no policy.yaml"),
    ],
)
def test_what_is_no_plain_file_is_refused(
    clone: Clone, visitor: Person, make: Callable[[Clone], None], why: str
) -> None:
    before = active(clone.gate).commit
    make(clone)
    clone.push()
    refused(clone, before, why, visitor)


def test_filters_and_line_ends_of_git_change_nothing_that_is_read(clone: Clone) -> None:
    ran = clone.work.parent / "ran"
    (clone.work / ".gitattributes").write_text("policy.yaml filter=evil text eol=crlf working-tree-encoding=UTF-16\n")
    clone.git("config", "filter.evil.clean", "cat")
    text = clone.text(lambda text: text.replace(*TIGHTER))
    clone.git("add", ".gitattributes")
    (clone.work / "policy.yaml").write_text(text)
    blob = clone.git("hash-object", "-w", "--no-filters", "--stdin", stdin=text.encode())
    clone.git("update-index", "--cacheinfo", f"100644,{blob},policy.yaml")
    config = clone.gate.opened.settings.policy / "config"
    config.write_text(config.read_text() + f'[filter "evil"]\n\tsmudge = touch {ran}\n')
    clone.git("commit", "-q", "-m", "attributes")
    clone.git("push", "-q", "origin", "HEAD:main")
    clone.gate.worker.tick()
    assert active(clone.gate).commit == clone.git("rev-parse", "HEAD")
    assert clone.gate.opened.policies.read(active(clone.gate).commit) == text
    assert not ran.exists()


def test_a_mark_of_the_byte_order_and_windows_line_ends_are_read_as_what_they_are(clone: Clone) -> None:
    text = clone.text(lambda text: text.replace(*TIGHTER))
    (clone.work / "policy.yaml").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    commit = clone.push()
    row = active(clone.gate)
    assert (row.commit == commit) != bool(row.problem), "taken whole, or refused with a sentence"
    assert "6s" in clone.gate.opened.policies.read(commit)


@pytest.mark.parametrize("way", ["forced", "rewound", "sibling"])
def test_a_head_that_does_not_descend_never_rules(clone: Clone, visitor: Person, way: str) -> None:
    first = active(clone.gate).commit
    (clone.work / "policy.yaml").write_text(clone.text(lambda text: text.replace(*TIGHTER)))
    before = clone.push()
    assert active(clone.gate).commit == before
    if way == "forced":
        clone.git("checkout", "-q", "--orphan", "other")
    else:
        clone.git("reset", "-q", "--hard", first)
    if way == "rewound":
        clone.git("push", "-qf", "origin", "HEAD:main")
        clone.gate.worker.tick()
    else:
        text = clone.text(lambda text: text.replace("first_batch: 3", "first_batch: 2"))
        (clone.work / "policy.yaml").write_text(text)
        clone.push("-f")
    refused(clone, before, "does not descend", visitor)
    with clone.gate.opened.store.read() as tx:
        assert [one for one in tx.events(limit=50) if one.kind == "policy_refused"]
    clone.git("push", "-qf", "origin", f"{before}:main")
    clone.gate.worker.tick()
    assert active(clone.gate).problem == ""


def test_a_branch_beside_main_is_nobodys_policy(clone: Clone) -> None:
    before = active(clone.gate)
    (clone.work / "policy.yaml").write_text(clone.text(lambda text: text.replace(*TIGHTER)))
    clone.git("commit", "-qam", "beside")
    for name in ("other", "proposals/p-000000000000000000000000", "main2", "refs/tags/main"):
        clone.git("push", "-q", "origin", f"HEAD:refs/heads/{name}" if "refs" not in name else f"HEAD:{name}")
    clone.gate.worker.tick()
    assert active(clone.gate) == before
    with clone.gate.opened.store.read() as tx:
        assert tx.proposals("open") == []


def bodies(found: str) -> str:
    """A page without its own scripts."""
    return found.replace('<script src="/static/live.js" defer></script>', "")


def test_what_stands_beside_a_commit_is_cut_escaped_and_turned_by_nobody(clone: Clone, visitor: Person) -> None:
    (clone.work / "policy.yaml").write_text(clone.text(lambda text: text.replace(*TIGHTER) + f"# {HTML}\n"))
    name = f"{HTML}{RTL}{BELL}" + "n" * 10_000
    message = f"{HTML}{RTL}{ESCAPE}" + "m" * 10_000 + "\n\nSigned-off-by: anna\n" + "x" * 300_000
    environment = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "somebody else"}
    commit = clone.push(message=message.encode(), **environment)
    assert active(clone.gate).commit == commit
    number = next(n for n, one in enumerate(clone.text().splitlines(), 1) if "6s" in one)
    author, _, subject = clone.gate.opened.policies.blame(commit, number)
    assert len(author) <= 100
    assert len(subject) <= 200
    for place in ("/policy", "/policy?tab=history", f"/policy/versions/{commit}", "/audit"):
        answer = visitor.client.get(place)
        page = bodies(answer.text)
        assert answer.status_code == 200
        assert "<script" not in page, place
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page), place
        assert len(page) < 60_000, place
    page = visitor.client.get("/policy?tab=history").text
    assert re.search(r"<bdi>&lt;script&gt;alert\(1\)&lt;/script&gt;", page)
    assert "somebody else" not in page
    agreed = re.search(rf"{commit[:12]}.*?</tr>", page, re.DOTALL)
    assert agreed
    assert "<bdi>anna" not in agreed[0], "a trailer in a message is nobody's word"


HEADS: dict[str, bytes] = {
    "a time of the year 400000": b"author M <m@x> 12622780800000 +0000\ncommitter M <m@x> 12622780800000 +0000\n\nm\n",
    "a time before all": b"author M <m@x> -99999999999999 +0000\ncommitter M <m@x> -99999999999999 +0000\n\nm\n",
    "no time": b"author M <m@x>\ncommitter M <m@x>\n\nm\n",
    "a word for a time": b"author M <m@x> now +0000\ncommitter M <m@x> now +0000\n\nm\n",
    "no author": b"\nm\n",
    "a coding that nobody has": b"author M <m@x> 1 +0000\ncommitter M <m@x> 1 +0000\nencoding \xff\xfe\n\n\xff\xfe\n",
    "no address": b"author \xff\xff 1 +0000\ncommitter <> 1 +9999\n\n",
}


@pytest.mark.parametrize("name", HEADS)
def test_a_commit_that_git_would_not_write_stops_neither_the_worker_nor_the_pages(
    clone: Clone, visitor: Person, name: str
) -> None:
    before = active(clone.gate).commit
    (clone.work / "policy.yaml").write_text(clone.text(lambda text: text.replace(*TIGHTER)))
    clone.git("add", "-A")
    tree = clone.git("write-tree")
    commit = clone.push_raw(f"tree {tree}\nparent {before}\n".encode() + HEADS[name])
    row = active(clone.gate)
    assert (row.commit == commit) != bool(row.problem), "it rules, or is refused with a sentence"
    for place in ("/", "/policy", "/policy?tab=history", "/policy?tab=edit", "/audit", f"/policy/versions/{commit}"):
        assert visitor.client.get(place).status_code in (200, 404), (place, row.problem)
    clone.gate.bring("1.0")
    with clone.gate.opened.store.read() as tx:
        assert tx.rollouts(), "the worker goes on"
