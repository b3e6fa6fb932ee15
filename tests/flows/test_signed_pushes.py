"""With ``policy_signers`` only commits signed by known people rule: stock git signs, the gate looks at keys."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from gate.bootstrap import Opened
from gate.core.errors import Conflict, OperatorError
from gate.flows import edits, people
from tests.flows.test_policy_edits import LOOSER, TIGHTER, proposed, said, saved, signed, waiting
from tests.flows.test_policy_versions import active
from tests.real_gate import RealGate


@dataclass
class Desk:
    """Somebody's clone of the policy repository, and everybody's keys."""

    gate: RealGate
    folder: Path
    signers: Path
    revoked: Path

    def git(self, *words: str, **environment: str) -> str:
        base = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1"}
        who = ["-c", "user.name=alice", "-c", "user.email=alice@example.org", "-c", "gpg.format=ssh"]
        where = self.folder / "work" if (self.folder / "work").is_dir() else self.folder
        words = ("git", *who, *words)
        done = subprocess.run(words, cwd=where, capture_output=True, text=True, env=base | environment, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def key(self, name: str, kind: str = "ed25519") -> str:
        """A key of this name; its public line."""
        file = self.folder / name
        if not file.exists():
            words = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(file)]
            subprocess.run(words, check=True)
        return " ".join((self.folder / f"{name}.pub").read_text().split()[:2])

    def allow(self, *lines: str) -> None:
        self.signers.write_text("".join(f"{line}\n" for line in lines))

    def commit(self, change: tuple[str, str] | None = TIGHTER, key: str = "alice", *more: str, **env: str) -> str:
        """A commit of one change, signed with a key (empty: by nobody); its id."""
        if change is not None:
            file = self.folder / "work" / "policy.yaml"
            text = file.read_text()
            assert change[0] in text
            file.write_text(text.replace(*change, 1))
        signing = ["-c", f"user.signingkey={self.folder / key}", "commit", "-S"] if key else ["commit"]
        self.git(*signing, "-qam", "from my desk", "--allow-empty", *more, **env)
        return self.git("rev-parse", "HEAD")

    def push(self, *more: str) -> None:
        self.git("push", "-q", *more, "origin", "HEAD:main")
        self.gate.worker.tick()

    def refused(self) -> str:
        """Why the head does not rule; the version before it does."""
        row = active(self.gate)
        assert row.commit != self.gate.opened.policies.head()
        return row.problem


@pytest.fixture
def desk(sqlite_gate: RealGate, tmp_path: Path) -> Iterator[Desk]:
    folder = tmp_path / "desk"
    folder.mkdir()
    signers, revoked = folder / "signers", folder / "revoked"
    revoked.write_text("# nobody yet\n")
    sqlite_gate.opened.commit.close()
    sqlite_gate.opened.close()
    settings = replace(sqlite_gate.opened.settings, policy_signers=signers, policy_revoked=revoked)
    sqlite_gate.opened = Opened(settings, sqlite_gate.clock)
    sqlite_gate.worker = sqlite_gate.opened.worker()
    with sqlite_gate.opened.store.write() as tx:
        for login, role in (("alice", "admin"), ("bob", "admin"), ("rita", "reader")):
            people.add_user(tx, login, login, role, f"link-{login}", "test", sqlite_gate.clock.now())
    found = Desk(sqlite_gate, folder, signers, revoked)
    found.git("clone", "-q", str(sqlite_gate.opened.settings.policy), "work")
    found.allow(f'alice namespaces="git" {found.key("alice")}', f"bob {found.key('bob')}", f"rita {found.key('rita')}")
    yield found


def test_a_signed_push_that_tightens_rules_as_its_signers_word(desk: Desk) -> None:
    commit = desk.commit(TIGHTER, "bob")
    desk.push()
    row = active(desk.gate)
    assert (row.commit, row.problem) == (commit, "")
    assert row.activated_by == "bob", "by key: the author says alice"
    with desk.gate.opened.store.read() as tx:
        [event] = [one for one in tx.events(subject=commit) if one.kind == "policy_activated"]
    assert (event.actor, event.detail["people"]) == ("bob", ["bob"])


def test_a_signed_push_that_loosens_waits_for_one_more_person_who_is_not_its_signer(desk: Desk) -> None:
    commit = desk.commit(LOOSER, "bob")
    desk.push()
    [proposal] = waiting(desk.gate)
    assert (proposal.proposed_by, proposal.subject) == ("bob", commit)
    with pytest.raises(Conflict, match="another person"):
        signed(desk.gate, proposal, "bob")
    assert signed(desk.gate, proposal, "anna") is not None
    assert active(desk.gate).commit == commit


def test_what_was_signed_with_a_key_that_is_revoked_meanwhile_is_not_enacted(desk: Desk) -> None:
    desk.commit(LOOSER, "bob")
    desk.push()
    [proposal] = waiting(desk.gate)
    desk.revoked.write_text(desk.key("bob") + "\n")
    with pytest.raises(Conflict, match="revoked"):
        signed(desk.gate, proposal, "anna")
    desk.refused()


def test_what_nobody_has_signed_is_refused_and_what_is_signed_upon_it_too(desk: Desk) -> None:
    desk.commit(TIGHTER, "")
    desk.push()
    assert "is not signed" in desk.refused()
    desk.commit(("first_batch: 3", "first_batch: 2"))
    desk.push()
    assert "is not signed" in desk.refused()
    with desk.gate.opened.store.read() as tx:
        assert len([one for one in tx.events(limit=50) if one.kind == "policy_refused"]) == 2


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("bob {bob}", "is unknown"),
        ('alice valid-before="20200101Z" {alice}', "not valid now"),
        ('alice valid-after="20990101" {alice}', "not valid now"),
        ('alice namespaces="file,release" {alice}', "not for git"),
        ("rita {alice}", "may not change the policy"),
        ("nobody {alice}", "may not change the policy"),
        ("alice,bob {alice}", "one login"),
        ("* {alice}", "one login"),
        ("alice cert-authority {alice}", "not known here"),
        ("alice {alice}\nbob {alice}", "twice"),
        ("alice ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ", "only ssh-ed25519"),
        ("alice", "no key"),
    ],
)
def test_what_the_signers_do_not_allow_is_refused(desk: Desk, line: str, why: str) -> None:
    desk.allow(line.format(alice=desk.key("alice"), bob=desk.key("bob")))
    desk.commit(GIT_COMMITTER_DATE="2019-06-01T12:00:00Z", GIT_AUTHOR_DATE="2019-06-01T12:00:00Z")
    desk.push()
    assert why in desk.refused()


def test_a_key_expires_at_the_moment_at_which_the_gate_looks(desk: Desk) -> None:
    until = desk.gate.clock.now() + timedelta(hours=1)
    desk.allow(f'alice valid-before="{until:%Y%m%d%H%M%S}Z" {desk.key("alice")}')
    commit = desk.commit()
    signers = desk.gate.opened.gate.signers
    assert signers is not None
    desk.push()
    whole = until.replace(microsecond=0)
    assert signers.signed_by(commit, whole - timedelta(seconds=1)) == "alice"
    with pytest.raises(Conflict, match="not valid now"):
        signers.signed_by(commit, whole)


@pytest.mark.parametrize("fingerprint", [True, False])
def test_a_revoked_key_signs_nothing(desk: Desk, fingerprint: bool) -> None:
    said_of = ["ssh-keygen", "-lf", str(desk.folder / "alice.pub")]
    print_ = subprocess.run(said_of, check=True, capture_output=True, text=True).stdout.split()[1]
    desk.revoked.write_text((print_ if fingerprint else desk.key("alice")) + "\n")
    desk.commit()
    desk.push()
    assert "has been revoked" in desk.refused()


def test_files_that_cannot_be_read_mean_that_nobody_has_signed(desk: Desk) -> None:
    desk.commit()
    desk.signers.unlink()
    desk.push()
    assert "cannot be read" in desk.refused()


def test_what_was_changed_after_it_was_signed_is_refused(desk: Desk) -> None:
    commit = desk.commit()
    raw = desk.git("cat-file", "commit", commit).replace("from my desk", "from another")
    file = desk.folder / "raw"
    file.write_text(raw + "\n")
    made = desk.git("hash-object", "-t", "commit", "-w", str(file))
    desk.git("reset", "-q", "--hard", made)
    desk.push()
    assert "does not fit" in desk.refused()


def test_a_signature_for_another_namespace_is_refused(desk: Desk) -> None:
    commit = desk.commit(TIGHTER, "")
    file = desk.folder / "payload"
    raw = desk.git("cat-file", "commit", commit) + "\n"
    file.write_text(raw)
    words = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(desk.folder / "alice"), "-n", "file", str(file)]
    subprocess.run(words, check=True, capture_output=True)
    armoured = (desk.folder / "payload.sig").read_text().strip().replace("\n", "\n ")
    head, blank, message = raw.partition("\n\n")
    file.write_text(f"{head}\ngpgsig {armoured}{blank}{message}")
    desk.git("reset", "-q", "--hard", desk.git("hash-object", "-t", "commit", "-w", str(file)))
    desk.push()
    assert "does not fit" in desk.refused()


def test_a_key_that_is_no_ed25519_signs_nothing(desk: Desk) -> None:
    desk.key("ellie", "ecdsa")
    desk.commit(TIGHTER, "ellie")
    desk.push()
    assert "does not fit" in desk.refused()


def test_a_signed_merge_of_what_nobody_has_signed_is_refused(desk: Desk) -> None:
    desk.git("checkout", "-qb", "aside")
    desk.commit(("first_batch: 3", "first_batch: 2"), "", GIT_COMMITTER_DATE="2001-01-01T00:00:00Z")
    desk.git("checkout", "-q", "main")
    desk.commit(TIGHTER)
    key = ["-c", f"user.signingkey={desk.folder / 'alice'}"]
    desk.git(*key, "merge", "-q", "-S", "--no-ff", "-m", "both", "aside")
    desk.push()
    assert "is not signed" in desk.refused()


def test_signers_that_a_commit_brings_along_allow_nothing(desk: Desk) -> None:
    desk.key("eve")
    (desk.folder / "work" / "signers").write_text(f"eve {desk.key('eve')}\n")
    desk.git("add", ".")
    desk.commit(TIGHTER, "eve")
    desk.push()
    assert "is unknown" in desk.refused()


def test_what_the_gate_wrote_needs_no_signature(desk: Desk) -> None:
    saved(desk.gate, said(desk.gate, TIGHTER))
    proposal = proposed(desk.gate, ("first_batch: 3", "first_batch: 4"))
    assert signed(desk.gate, proposal, "berta") is not None
    desk.gate.worker.tick()
    assert active(desk.gate).problem == ""
    desk.git("pull", "-q", "origin", "main")
    commit = desk.commit(("first_batch: 4", "first_batch: 1"))
    desk.push()
    assert active(desk.gate).commit == commit


def test_a_proposal_that_somebody_merges_and_signs_is_the_signers_word(desk: Desk) -> None:
    proposal = proposed(desk.gate)
    desk.git("fetch", "-q", "origin", f"proposals/{proposal.id}:taken")
    key = ["-c", f"user.signingkey={desk.folder / 'bob'}"]
    desk.git(*key, "merge", "-q", "-S", "--no-ff", "-m", "taken", "taken")
    desk.push()
    found = {one.proposed_by for one in waiting(desk.gate)}
    assert found == {"anna", "bob"}
    assert "two people" in desk.refused()


def test_an_edit_in_the_gate_is_the_way_past_a_refused_push(desk: Desk) -> None:
    desk.commit(LOOSER, "")
    desk.push()
    desk.refused()
    text = desk.gate.opened.policies.read(active(desk.gate).commit)
    row = saved(desk.gate, text.replace(*TIGHTER), "anna")
    desk.gate.worker.tick()
    assert active(desk.gate).commit == getattr(row, "commit", "") == desk.gate.opened.policies.head()
    assert active(desk.gate).problem == ""


def test_a_wrong_line_is_named(desk: Desk) -> None:
    desk.allow("# people", f"alice {desk.key('alice')}", "bob what")
    signers = desk.gate.opened.gate.signers
    assert signers is not None
    with pytest.raises(OperatorError, match=r"signers:3: there is no key"):
        signers.signed_by(desk.commit(), desk.gate.clock.now())


def test_one_person_is_one_person_with_two_keys(desk: Desk) -> None:
    desk.allow(f"bob {desk.key('bob')}", f"bob {desk.key('bob2')}")
    desk.commit(LOOSER, "bob2")
    desk.push()
    [proposal] = waiting(desk.gate)
    with pytest.raises(Conflict, match="another person"), desk.gate.opened.store.write() as tx:
        edits.sign(tx, desk.gate.opened.gate, proposal.id, "bob", desk.gate.clock.now())
