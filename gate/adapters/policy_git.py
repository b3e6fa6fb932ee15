"""The policy repository: a bare git repository with one file, read and written by dulwich.

- The branch ``main`` is the proposal; which commit rules is a row in the store.
- A commit is a compare-and-swap on the branch: it names the head that it was made on.
- Only a regular file counts, of at most a megabyte of UTF-8 text: no link, no submodule, no filter. No object is
  inflated that is larger.
- What whoever made a commit wrote beside it (author, time, message) is cut, and freed of what moves a terminal's cursor
  or turns the direction of text; a time that no calendar has is the end of ours.
- What rules does not rest on it: a version that has ruled and cannot be read here is read from the copy that the store
  keeps. Nothing is read whose bytes are not what its id says.
- A lock file of git that stands for seconds was left by a process that was killed: writing takes milliseconds. It goes.
"""

from __future__ import annotations

import os
import re
import time
import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from difflib import SequenceMatcher
from pathlib import Path
from typing import TypeVar

from dulwich.annotate import annotate_lines
from dulwich.errors import FileFormatException, NotGitRepository
from dulwich.file import FileLocked
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.refs import Ref
from dulwich.repo import Repo

from gate.adapters.git_bounded import BoundedObjects, TooLarge
from gate.adapters.policy_yaml import parse_new, problems_of
from gate.core.errors import Conflict, GateError, NotFound, OperatorError
from gate.core.policy import Policy
from gate.core.policy_values import Problem
from gate.ports import Version

BRANCH = Ref(b"refs/heads/main")
PROPOSALS = b"refs/heads/proposals/"
FILE = b"policy.yaml"
LOCKED_S = 2.0
LONGEST_NAME, LONGEST_MESSAGE, LONGEST_SUBJECT = 100, 4000, 200
LATEST = datetime(9999, 1, 1, tzinfo=UTC)
KEPT = 16
TURNS = ("Cc", "Cf", "Cs", "Zl", "Zp")
UNREADABLE = (OSError, KeyError, ValueError, TypeError, AssertionError, FileFormatException, zlib.error)
"""What dulwich raises over objects that stock git would not write."""
T = TypeVar("T")


class GitPolicies:
    """A bare repository."""

    def __init__(self, path: Path, kept: Callable[[str], str | None] = lambda _: None) -> None:
        self._path = path
        self._kept = kept
        self._lines: dict[str, list[Version]] = {}

    @staticmethod
    def create(path: Path) -> GitPolicies:
        """A new, empty repository.

        Raises:
            OperatorError: there is something already.
        """
        if path.exists():
            raise OperatorError("policy_repository", f"{path} exists")
        path.mkdir(parents=True)
        repo = Repo.init_bare(str(path))
        repo.refs.set_symbolic_ref(Ref(b"HEAD"), BRANCH)
        repo.close()
        return GitPolicies(path)

    def head(self) -> str:
        """The commit at the branch's head.

        Raises:
            OperatorError: no repository, or no commit.
        """
        with self._open() as repo:
            try:
                return repo.refs[BRANCH].decode()
            except KeyError as problem:
                raise OperatorError("policy_repository", f"{self._path} has no branch main") from problem

    def read(self, commit: str) -> str:
        """The policy's text in a commit; the kept copy where the repository has none that can be read.

        Raises:
            OperatorError: no such commit, no such file, or not a plain text of at most a megabyte.
        """
        try:
            with self._open() as repo:
                return self._read(repo, commit)
        except OperatorError:
            kept = self._kept(commit)
            if kept is None:
                raise
            return kept

    def blame(self, commit: str, line: int) -> tuple[str, datetime, str]:
        """(author, date, first line of the message) of the commit that changed the line (from 1) last.

        Raises:
            OperatorError: no such commit or line.
        """
        lines = self.lines(commit)
        if not 1 <= line <= len(lines):
            raise OperatorError("policy_repository", f"{commit[:12]} has no line {line}")
        found = lines[line - 1]
        return found.author, found.at, found.subject

    def authors(self, commit: str) -> Sequence[tuple[str, datetime, str]]:
        """As ``blame``, of every line in order.

        Raises:
            OperatorError: no such commit.
        """
        return [(one.author, one.at, one.subject) for one in self.lines(commit)]

    def lines(self, commit: str) -> Sequence[Version]:
        """For each line of the policy in a commit the commit that changed it last; kept, since a commit never changes,
        and carried on from what is kept of those a few below it.

        Raises:
            OperatorError: no such commit, or no plain text of at most a megabyte.
        """
        kept = self._lines.get(commit)
        if kept is not None:
            return kept
        with self._open() as repo:
            self._read(repo, commit)
            found = self._carried(repo, commit)
            if found is None:
                found = [_version(one[0][0]) for one in annotate_lines(repo.object_store, _commit(commit), FILE)]
        for old in [*self._lines][: 1 - KEPT]:
            self._lines.pop(old, None)
        self._lines[commit] = found
        return found

    def _carried(self, repo: Repo, commit: str) -> list[Version] | None:
        """As ``lines``, from those of a commit a few below it that are kept; None where none is, or it was merged."""
        above, here = list[Commit](), commit
        while (found := self._lines.get(here)) is None:
            made = repo[_commit(here)]
            if not isinstance(made, Commit) or len(made.parents) != 1 or len(above) >= KEPT:
                return None
            above.append(made)
            here = made.parents[0].decode()
        try:
            before = self._read(repo, here).encode().splitlines(keepends=True)
            for made in reversed(above):
                after = self._read(repo, made.id.decode()).encode().splitlines(keepends=True)
                runs = SequenceMatcher(a=before, b=after).get_opcodes()  # as dulwich does
                found = [
                    one
                    for kind, old, old_end, new, new_end in runs
                    for one in (found[old:old_end] if kind == "equal" else [_version(made)] * (new_end - new))
                ]
                before = after
        except OperatorError:
            return None
        return found

    def raw(self, commit: str) -> bytes:
        """A commit's bytes, whose hash its id is.

        Raises:
            OperatorError: no such commit.
        """
        with self._open() as repo:
            kind, raw = repo.object_store.get_raw(_commit(commit))
            if kind != Commit.type_num:
                raise OperatorError("policy_repository", f"{commit[:12]} is not a commit")
            return bytes(raw)

    def between(self, commit: str, ancestor: str) -> list[str]:
        """The commits that ``commit`` has behind it and ``ancestor`` has not, with itself, that one first.

        Raises:
            OperatorError: no such commit.
        """
        with self._open() as repo:
            behind = set(_ancestry(repo, ancestor, frozenset()))
            return list(_ancestry(repo, commit, behind))

    def history(self, limit: int = 50, start: str = "") -> list[Version]:
        """The branch's commits, newest first; from ``start`` on, if given."""
        with self._open() as repo:
            if BRANCH not in repo.refs:
                return []
            walker = repo.get_walker(include=[_commit(start) if start else repo.refs[BRANCH]], max_entries=limit)
            return [_version(entry.commit) for entry in walker]

    def resolve(self, wanted: str) -> str:
        """The full id of a commit on the branch, from ``head`` or the first digits of its id.

        Raises:
            NotFound: none, or several.
        """
        if wanted == "head":
            return self.head()
        found = {one.commit for one in self.history(100_000) if one.commit.startswith(wanted)}
        if not re.fullmatch(r"[0-9a-f]{4,40}", wanted) or len(found) != 1:
            raise NotFound(f"there is no single commit {wanted[:60]}")
        return found.pop()

    def descends(self, commit: str, ancestor: str) -> bool:
        """Is ``ancestor`` in the history of ``commit``?"""
        with self._open() as repo:
            walker = repo.get_walker(include=[_commit(commit)])
            return any(entry.commit.id == ancestor.encode() for entry in walker)

    def parse(self, text: str) -> Policy:
        """The policy that a new text says.

        Raises:
            PolicyProblems: every problem that was found.
        """
        return parse_new(text, FILE.decode())

    def problems(self, text: str) -> Sequence[Problem]:
        """Every problem of a text."""
        return problems_of(text, FILE.decode())

    def parents(self, commit: str) -> list[str]:
        """The commits that this one was made on.

        Raises:
            OperatorError: no such commit.
        """
        with self._open() as repo:
            found = repo[_commit(commit)]
            if not isinstance(found, Commit):
                raise OperatorError("policy_repository", f"{commit[:12]} is not a commit")
            return [parent.decode() for parent in found.parents]

    def version(self, commit: str) -> Version:
        """Author, time and message of a commit.

        Raises:
            OperatorError: no such commit.
        """
        with self._open() as repo:
            found = repo[_commit(commit)]
            if not isinstance(found, Commit):
                raise OperatorError("policy_repository", f"{commit[:12]} is not a commit")
            return _version(found)

    def propose(self, name: str, text: str, parent: str, author: str, message: str, now: datetime) -> str:
        """A commit on ``parent`` on a branch of its own, ``proposals/<name>``; the head stays; returns its id.

        Raises:
            Conflict: there is such a branch. OperatorError: the repository cannot be written.
        """
        if not re.fullmatch(r"[a-z0-9-]{1,60}", name):
            raise OperatorError("policy_repository", f"{name[:60]!r} is no name of a proposal")
        return self._write(Ref(PROPOSALS + name.encode()), text, parent, "", author, message, now)

    def write(self, text: str, parent: str, author: str, message: str, now: datetime) -> str:
        """A new commit on ``parent`` (empty: the first), which must still be the head; returns its id.

        Raises:
            Conflict: ``moved``, when the branch has another head by now.
            OperatorError: the repository cannot be written.
        """
        return self._write(BRANCH, text, parent, parent, author, message, now)

    def forward(self, before: str, after: str) -> bool:
        """Moves the branch from ``before`` to ``after``, which is here already; False: it is elsewhere by now."""
        with self._open() as repo:
            return bool(_unlocked(lambda: repo.refs.set_if_equals(BRANCH, _commit(before), _commit(after))))

    def _write(self, ref: Ref, text: str, parent: str, head: str, author: str, message: str, now: datetime) -> str:
        """A commit on ``parent`` at the tip of ``ref``, which must be at ``head`` (empty: not there)."""
        with self._open() as repo:
            blob = Blob.from_string(text.encode())
            tree = self._tree(repo, parent)
            tree.add(FILE, 0o100644, blob.id)
            made = Commit()
            made.tree = tree.id
            made.parents = [_commit(parent)] if parent else []
            who = "".join(char for char in author if char.isprintable() and char not in "<>") or "unknown"
            made.author = made.committer = f"{who} <{who}@gate>".replace(" ", " ").encode()
            made.author_time = made.commit_time = int(now.timestamp())
            made.author_timezone = made.commit_timezone = 0
            made.encoding = b"UTF-8"
            made.message = message.encode()
            for one in (blob, tree, made):
                _unlocked(lambda one=one: repo.object_store.add_object(one))  # type: ignore[misc]
            if head:
                swapped = _unlocked(lambda: repo.refs.set_if_equals(ref, _commit(head), made.id))
            else:
                swapped = _unlocked(lambda: repo.refs.add_if_new(ref, made.id))
            if not swapped:
                raise Conflict("moved", "somebody else has changed the policy in the meantime")
            return str(made.id.decode())

    def _tree(self, repo: Repo, parent: str) -> Tree:
        if not parent:
            return Tree()
        before = repo[_commit(parent)]
        assert isinstance(before, Commit)
        tree = repo[before.tree]
        assert isinstance(tree, Tree)
        copy = Tree()
        for entry in tree.items():
            assert entry.path is not None
            assert entry.mode is not None
            assert entry.sha is not None
            copy.add(entry.path, entry.mode, entry.sha)
        return copy

    def _read(self, repo: Repo, commit: str) -> str:
        try:
            found = _sound(repo, _commit(commit))
            assert isinstance(found, Commit)
            tree = _sound(repo, found.tree)
            assert isinstance(tree, Tree)
            mode, sha = tree[FILE]
        except TooLarge:
            raise
        except (KeyError, AssertionError, ValueError) as problem:
            raise OperatorError("policy_repository", f"{commit[:12]} has no policy.yaml") from problem
        if mode not in (0o100644, 0o100755):
            raise OperatorError("policy_repository", f"policy.yaml in {commit[:12]} is not a plain file")
        try:
            blob = _sound(repo, sha)
            assert isinstance(blob, Blob)
        except TooLarge as problem:
            raise OperatorError(
                "policy_repository", f"policy.yaml in {commit[:12]} is larger than a megabyte"
            ) from problem
        try:
            return str(blob.data.decode("utf-8"))
        except UnicodeDecodeError as problem:
            raise OperatorError("policy_repository", f"policy.yaml in {commit[:12]} is not UTF-8") from problem

    @contextmanager
    def _open(self) -> Iterator[Repo]:
        try:
            repo = Repo(str(self._path))
            repo.object_store = BoundedObjects.of(repo)
        except (NotGitRepository, OSError) as problem:
            raise OperatorError("policy_repository", f"{self._path} is not a git repository") from problem
        try:
            yield repo
        except GateError:
            raise
        except UNREADABLE as problem:
            raise OperatorError(
                "policy_repository", f"{self._path.name} holds what cannot be read: {problem!s:.200}"
            ) from problem
        finally:
            repo.close()


def _sound(repo: Repo, sha: ObjectID) -> ShaFile:
    """An object whose bytes are what its id says."""
    found = ShaFile.from_raw_string(*repo.object_store.get_raw(sha))
    if found.id != sha:
        raise OperatorError("policy_repository", f"{sha[:12].decode()} does not hold what its id says")
    return found


def _unlocked(act: Callable[[], T]) -> T:
    """What ``act`` returns, once no lock file is in its way."""
    until = time.monotonic() + LOCKED_S
    while True:
        try:
            return act()
        except FileLocked as problem:
            if time.monotonic() < until:
                time.sleep(0.05)
                continue
            with suppress(FileNotFoundError):
                os.unlink(problem.lockfilename)
            until += LOCKED_S


def commit_id(text: str) -> str:
    """``text``, which is the id of a commit.

    Raises:
        OperatorError: not 40 hex digits.
    """
    return str(_commit(text).decode())


def _commit(text: str) -> ObjectID:
    """The id of a commit; a name of a branch or an option is none.

    Raises:
        OperatorError: not 40 hex digits.
    """
    if not re.fullmatch(r"[0-9a-f]{40}", text):
        raise OperatorError("policy_repository", f"{text[:40]!r} is not a commit's id")
    return ObjectID(text.encode())


def _ancestry(repo: Repo, commit: str, known: AbstractSet[str]) -> Iterator[str]:
    """A commit and all behind it, up to what is known; dates, which whoever commits chooses, play no part."""
    seen, waiting = set(known), [commit]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        found = repo[_commit(one)]
        if not isinstance(found, Commit):
            raise OperatorError("policy_repository", f"{one[:12]} is not a commit")
        yield one
        waiting += [parent.decode() for parent in found.parents]


def _version(commit: Commit) -> Version:
    author = harmless((commit.author or b"").decode(errors="replace").partition(" <")[0], LONGEST_NAME)
    try:
        at = datetime.fromtimestamp(commit.commit_time, UTC)
    except (ValueError, OverflowError, OSError):
        at = LATEST
    message = harmless(commit.message.decode(errors="replace").strip(), LONGEST_MESSAGE)
    subject = harmless(message.partition("\n")[0], LONGEST_SUBJECT)
    parents = tuple(one.decode() for one in commit.parents)
    return Version(commit.id.decode(), author or "unknown", at, message, subject, parents)


def harmless(text: str, most: int) -> str:
    """``text``, cut, without control characters (a line's end stays) and without what turns the direction."""
    cut = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(
        char if char == "\n" or unicodedata.category(char) not in TURNS else "\N{REPLACEMENT CHARACTER}" for char in cut
    )
