"""A remote of the policy repository: its branch ``main`` is fetched, and taken where it goes on from ours.

- The gate never pushes, and never rewinds: where both sides have commits of their own, ours stays and people merge.
- ``https``, or ``http`` to this machine, or ``ssh`` that asks nothing; nothing else is an address.
- A fetch reads at most ``MOST`` bytes; what it has brought rules no sooner than anything that is pushed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import urllib3
from dulwich.client import GitClient, HttpGitClient, HTTPUnauthorized, SSHGitClient
from dulwich.errors import GitProtocolError, NotGitRepository
from dulwich.objects import ObjectID
from dulwich.refs import Ref
from dulwich.repo import Repo

from gate.adapters.policy_git import BRANCH, UNREADABLE, commit_id
from gate.adapters.remote_address import address
from gate.core.errors import OperatorError

MOST = 32 * 1024 * 1024
WAIT_S = 15.0
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=5 -o ServerAliveCountMax=3"
FAILS = (*UNREADABLE, GitProtocolError, NotGitRepository, HTTPUnauthorized, urllib3.exceptions.HTTPError)


class Branches(Protocol):
    """What moves our own branch."""

    def descends(self, commit: str, ancestor: str) -> bool: ...

    def head(self) -> str: ...

    def forward(self, before: str, after: str) -> bool: ...


class PolicyRemote:
    """One remote of a bare repository at ``path``."""

    def __init__(self, path: Path, url: str, token: str, branches: Branches) -> None:
        self._path, self._to, self._token, self._branches = path, address(url), token, branches

    def fetch(self) -> str:
        """``same``, ``taken`` (our branch has moved to theirs), ``ahead`` (ours goes on from theirs) or ``parted``.

        Raises:
            OperatorError: it does not answer, has no branch main, sends too much, or what it sends cannot be read.
        """
        try:
            theirs = self._bring()
        except FAILS as problem:
            raise OperatorError("policy_remote", f"{self._to.hostname}: {problem!s:.200}") from problem
        ours = self._branches.head()
        if theirs == ours:
            return "same"
        if self._branches.descends(ours, theirs):
            return "ahead"
        if not self._branches.descends(theirs, ours):
            return "parted"
        return "taken" if self._branches.forward(ours, theirs) else "same"

    def _bring(self) -> str:
        """The head of their ``main``, once it and all behind it is here."""
        repo, read = Repo(str(self._path)), 0
        pack, commit, abort = repo.object_store.add_pack()

        def write(part: bytes) -> int:
            nonlocal read
            read += len(part)
            if read > MOST:
                raise OperatorError("policy_remote", f"{self._to.hostname} sends more than {MOST} bytes")
            return pack.write(part)

        def wanted(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            if BRANCH not in refs:
                raise OperatorError("policy_remote", f"{self._to.hostname} has no branch main")
            return [refs[BRANCH]] if refs[BRANCH] not in repo.object_store else []

        try:
            found = self._client().fetch_pack(self._to.path, wanted, repo.get_graph_walker(), write)
            commit()
            head = found.refs[BRANCH]
            assert head is not None
            return commit_id(head.decode())
        except BaseException:
            abort()
            raise
        finally:
            repo.close()

    def _client(self) -> GitClient:
        said = self._to
        assert said.hostname is not None
        if said.scheme == "ssh":
            return SSHGitClient(said.hostname, said.port, said.username, ssh_command=SSH, thin_packs=False)
        port = f":{said.port}" if said.port else ""
        host = f"[{said.hostname}]" if ":" in said.hostname else said.hostname
        pool = urllib3.PoolManager(timeout=urllib3.Timeout(WAIT_S), retries=urllib3.Retry(0, redirect=0))
        token = self._token or None
        return HttpGitClient(
            f"{said.scheme}://{host}{port}", False, pool, username=token and "gate", password=token, thin_packs=False
        )
