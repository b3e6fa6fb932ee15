"""The policy repository, with stock git on the other side."""

from __future__ import annotations

import os
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dulwich.objects
import dulwich.pack
import pytest
from dulwich.repo import Repo

from gate.adapters.policy_git import GitPolicies
from gate.core.errors import Conflict, OperatorError

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def git(where: Path, *words: str, stdin: str = "") -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(where), "GIT_CONFIG_NOSYSTEM": "1"}
    who = ["-c", "user.name=Klara Lehmann", "-c", "user.email=k@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *who, *words], cwd=where, input=stdin, capture_output=True, text=True, env=environment, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def policies(tmp_path: Path) -> GitPolicies:
    made = GitPolicies.create(tmp_path / "policy.git")
    made.write("a: 1\nb: 2\n", "", "anna", "The first policy", NOW)
    return made


class Counting(GitPolicies):
    """With how many objects were read."""

    objects = 0

    @contextmanager
    def _open(self) -> Iterator[Repo]:
        with super()._open() as repo:
            store, read = repo.object_store, repo.object_store.get_raw

            def counted(name: Any) -> tuple[int, bytes]:
                self.objects += 1
                return read(name)

            store.get_raw = counted  # type: ignore[method-assign]
            yield repo


def test_who_changed_each_line_last_is_carried_on_from_the_commit_before(policies: GitPolicies, tmp_path: Path) -> None:
    read = Counting(tmp_path / "policy.git")
    lines = ["a: 1", "b: 2", *(f"line{number}: x" for number in range(20))]
    for number in range(200):
        lines[number * 7 % 22] = f"key{number}: {number}"
        if number % 20 == 10:
            lines.insert(number % 13, f"more{number}: {number}")
            del lines[number % 17]
        policies.write("\n".join(lines) + "\n", policies.head(), f"anna{number}", f"Change {number}", NOW)
        if number >= 150 and number % 3 == 0:
            read.objects = 0
            read.lines(policies.head())
            assert number == 150 or read.objects < 40
    assert read.lines(policies.head()) == GitPolicies(tmp_path / "policy.git").lines(policies.head())


def test_stock_git_reads_what_is_written_and_pushes_what_is_read(policies: GitPolicies, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "policy.git", "work")
    work = tmp_path / "work"
    assert git(work, "log", "--format=%an: %s") == "anna: The first policy"
    assert git(work, "fsck", "--strict") == ""
    (work / "policy.yaml").write_text("a: 1\nb: 3\n")
    (work / "README.md").write_text("hello\n")
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "longer after the trial")
    git(work, "push", "-q", "origin", "HEAD:main")
    head = policies.head()
    assert head == git(work, "rev-parse", "HEAD")
    assert policies.read(head) == "a: 1\nb: 3\n"
    assert policies.blame(head, 1)[0] == "anna"
    author, at, message = policies.blame(head, 2)
    assert (author, message) == ("Klara Lehmann", "longer after the trial")
    assert at.tzinfo is not None
    after = policies.write("a: 9\nb: 3\n", head, "berta", "a", NOW)
    git(work, "pull", "-q", "origin", "main")
    assert (work / "README.md").read_text() == "hello\n", "what else lies in the repository stays"
    assert git(work, "show", "--stat", "--format=%an", after).splitlines()[-1].strip().startswith("1 file changed")
    git(tmp_path / "policy.git", "gc", "-q")
    assert policies.read(after).startswith("a: 9")
    assert [version.author for version in policies.history()] == ["berta", "Klara Lehmann", "anna"]


@pytest.mark.parametrize("name", ["refs/heads/main.lock", "object"])
def test_a_lock_that_a_killed_process_left_is_in_the_way_for_seconds_only(
    policies: GitPolicies, tmp_path: Path, name: str
) -> None:
    repository = tmp_path / "policy.git"
    text, head = "a: 7\n", policies.head()
    blob = git(repository, "hash-object", "--stdin", stdin=text)
    lock = repository / (f"objects/{blob[:2]}/{blob[2:]}.lock" if name == "object" else name)
    lock.parent.mkdir(exist_ok=True)
    lock.write_bytes(b"half")
    made = policies.write(text, head, "anna", "again", NOW)
    assert (policies.head(), policies.read(made)) == (made, text)
    assert not lock.exists()


def test_a_commit_on_a_head_that_moved_is_refused_and_nothing_is_lost(policies: GitPolicies) -> None:
    head = policies.head()
    first = policies.write("a: 2\n", head, "anna", "mine", NOW)
    with pytest.raises(Conflict, match="somebody else"):
        policies.write("a: 3\n", head, "berta", "hers", NOW)
    assert policies.head() == first
    with pytest.raises(Conflict):
        policies.write("a: 3\n", "", "berta", "a first one", NOW)


def test_descent(policies: GitPolicies) -> None:
    first = policies.head()
    second = policies.write("a: 2\n", first, "anna", "m", NOW)
    assert policies.descends(second, first)
    assert policies.descends(first, first)
    assert not policies.descends(first, second)


def pushed(tmp_path: Path, policies: GitPolicies, spoil: str) -> str:
    git(tmp_path, "clone", "-q", "policy.git", "work")
    work = tmp_path / "work"
    file = work / "policy.yaml"
    match spoil:
        case "link":
            file.unlink()
            file.symlink_to("/etc/passwd")
        case "folder":
            file.unlink()
            file.mkdir()
            (file / "x").write_text("a: 1")
        case "missing":
            file.rename(work / "other.yaml")
        case "large":
            file.write_text("# " + "x" * 1024 * 1024)
        case "not text":
            file.write_bytes(b"\xff\xfe")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "spoilt")
    git(work, "push", "-q", "origin", "HEAD:main")
    return policies.head()


@pytest.mark.parametrize("spoil", ["link", "folder", "missing", "large", "not text"])
def test_only_a_plain_text_of_a_sane_size_is_read(policies: GitPolicies, tmp_path: Path, spoil: str) -> None:
    head = pushed(tmp_path, policies, spoil)
    with pytest.raises(OperatorError):
        policies.read(head)


class Spied:
    """``zlib`` as dulwich sees it, with how many bytes its largest piece had."""

    error = zlib.error

    def __init__(self) -> None:
        self.most = 0

    def decompressobj(self) -> Spied:
        found = Spied()
        found.__dict__ = self.__dict__ | {"inner": zlib.decompressobj(), "outer": self}
        return found

    def decompress(self, data: bytes, most: int = 0) -> bytes:
        piece: bytes = self.inner.decompress(data, most)  # type: ignore[attr-defined]
        self.outer.most = max(self.outer.most, len(piece))  # type: ignore[attr-defined]
        return piece

    def __getattr__(self, name: str) -> object:
        return getattr(self.__dict__["inner"], name)


ZEROS = 64 * 1024 * 1024


def zeros(policies: GitPolicies, tmp_path: Path, kept: str) -> str:
    """The head, whose policy is 64 megabytes of zeros: loose, packed, or made by a delta of such."""
    unpacks = "transfer.unpackLimit", "10000" if kept == "loose" else "1"
    git(tmp_path / "policy.git", "config", *unpacks)
    git(tmp_path, "clone", "-q", "policy.git", "work")
    work = tmp_path / "work"
    (work / "policy.yaml").write_bytes(bytes(ZEROS))
    git(work, "commit", "-qam", "zeros")
    if kept == "delta":
        (work / "policy.yaml").write_bytes(bytes(ZEROS // 2) + b"1" + bytes(ZEROS // 2))
        git(work, "commit", "-qam", "zeros and a one")
    git(work, "push", "-q", "origin", "HEAD:main")
    return policies.head()


@pytest.mark.parametrize("kept", ["loose", "packed", "delta"])
def test_what_is_too_large_is_refused_before_it_is_inflated(
    policies: GitPolicies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    before, head, spied = policies.head(), zeros(policies, tmp_path, kept), Spied()
    for module in (dulwich.objects, dulwich.pack):
        monkeypatch.setattr(module, "zlib", spied)
    for act in (policies.read, policies.lines):
        with pytest.raises(OperatorError, match="larger than a megabyte"):
            act(head)
    assert policies.read(before) == "a: 1\nb: 2\n"
    assert 0 < spied.most <= 1024 * 1024, "no piece is larger than what is read"


def test_what_repacking_has_made_deltas_of_is_read_as_before(policies: GitPolicies, tmp_path: Path) -> None:
    texts = ["".join(f"line{number}: {number * turn}\n" for number in range(500)) for turn in range(1, 12)]
    for text in texts:
        policies.write(text, policies.head(), "anna", "m", NOW)
    git(tmp_path / "policy.git", "repack", "-qadf", "--depth=20")
    assert [policies.read(one.commit) for one in policies.history(len(texts))] == texts[::-1]


def test_a_repository_that_is_gone_or_broken_is_a_clear_error(policies: GitPolicies, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="exists"):
        GitPolicies.create(tmp_path / "policy.git")
    for commit in ("0" * 40, "nonsense", "refs/heads/main", "--upload-pack=x"):
        with pytest.raises(OperatorError):
            policies.read(commit)
    with pytest.raises(OperatorError, match="no line 99"):
        policies.blame(policies.head(), 99)
    (tmp_path / "policy.git").rename(tmp_path / "gone")
    with pytest.raises(OperatorError, match="not a git repository"):
        policies.head()


def test_an_author_cannot_smuggle_another_identity(policies: GitPolicies, tmp_path: Path) -> None:
    head = policies.write("a: 2\n", policies.head(), "eve <anna@gate>\nparent x", "m", NOW)
    shown = git(tmp_path / "policy.git", "log", "-1", "--format=%an|%ae", head)
    assert shown == "eve anna@gateparent x|eve anna@gateparent x@gate"
