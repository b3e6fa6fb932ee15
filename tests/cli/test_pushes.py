"""Somebody pushes a policy with stock git: what becomes of it is said to them at once, and stands in the history."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gate.adapters.policy_hook import MARK, write_hook
from gate.flows import edits
from tests.cli.test_every_command import said
from tests.flows.test_policy_versions import active
from tests.real_gate import RealGate

TIGHTER, LOOSER = ("first_batch: 3", "first_batch: 2"), ("first_batch: 3", "first_batch: 4")
MAIN = "from gate.cli.main import main; main()"
BROKEN = ("first_batch: 3", "first_batch: many")


def hooked(gate: RealGate, otherwise: str = "received; look at /policy") -> None:
    """The hook, with this very tree's program."""
    program = gate.folder / "gate-program"
    paths = ":".join(one for one in sys.path if one)
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{paths}" exec "{sys.executable}" -c "{MAIN}" "$@"\n')
    program.chmod(0o755)
    assert write_hook(gate.opened.settings.policy, program, gate.made.settings, otherwise)


def pushed(gate: RealGate, change: tuple[str, str], subject: str = "a wish\n\nand why", *, force: bool = False) -> str:
    """What stock git shows to whoever pushes."""
    clone = gate.folder / "clone"
    if not clone.exists():
        subprocess.run(["git", "clone", "-q", str(gate.opened.settings.policy), str(clone)], check=True)
    git = ["git", "-C", str(clone), "-c", "user.name=Eve", "-c", "user.email=eve@example"]
    file = clone / "policy.yaml"
    file.write_text(file.read_text().replace(*change))
    subprocess.run([*git, "commit", "-qam", subject, *(["--amend"] if force else [])], check=True)
    words = [*git, "push", *(["-f"] if force else []), "origin", "HEAD:main"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (TIGHTER, "it loosens nothing and will rule"),
        (LOOSER, "it loosens: it will rule once 2 people have agreed"),
        (BROKEN, "it will be refused, and what rules goes on"),
    ],
)
def test_who_pushes_is_told_what_becomes_of_it_and_that_is_what_becomes_of_it(
    sqlite_gate: RealGate, change: tuple[str, str], told: str
) -> None:
    before = active(sqlite_gate).commit
    hooked(sqlite_gate)
    heard = pushed(sqlite_gate, change)
    assert f"remote: {sqlite_gate.opened.policies.head()[:12]}: {told}" in heard
    assert "gate takes it up within" in heard
    assert active(sqlite_gate).commit == before, "nothing is written by that"
    sqlite_gate.worker.tick()
    row = active(sqlite_gate)
    assert (row.commit != before) == (change is TIGHTER)
    assert ("loosens" in row.problem, "refused" in row.problem) == (change is LOOSER, change is BROKEN)


def test_a_rewound_branch_is_told_so_too(sqlite_gate: RealGate) -> None:
    hooked(sqlite_gate)
    pushed(sqlite_gate, TIGHTER)
    sqlite_gate.worker.tick()
    heard = pushed(sqlite_gate, ("first_batch: 2", "first_batch: 1"), force=True)
    assert "does not descend from the active" in heard


def test_who_may_not_read_the_settings_is_told_where_to_look_and_another_hook_stays(sqlite_gate: RealGate) -> None:
    repository, nowhere = sqlite_gate.opened.settings.policy, Path("/nowhere/gate")
    assert write_hook(repository, nowhere, nowhere, "received; gate's page: 'it's /policy'")
    assert "remote: received; gate's page: 'it's /policy'" in pushed(sqlite_gate, TIGHTER)
    hook = repository / "hooks" / "post-receive"
    hook.write_text("#!/bin/sh\necho ours\n")
    assert not write_hook(repository, nowhere, nowhere, "x")
    assert (MARK in hook.read_text(), "ours" in hook.read_text()) == (False, True)
    assert not write_hook(repository / "gone", nowhere, nowhere, "x"), "a repository that is gone stops no start"
    assert not (repository / "gone").exists()


def test_a_proposal_that_was_pushed_bears_its_commits_first_line(sqlite_gate: RealGate) -> None:
    pushed(sqlite_gate, LOOSER, "More at once\n\nsince the trial went well")
    sqlite_gate.worker.tick()
    with sqlite_gate.opened.store.read() as tx:
        [proposal] = [one for one in tx.proposals("open") if one.kind == edits.KIND]
    assert proposal.because == "More at once"


def test_the_history_marks_what_was_refused_and_why(sqlite_gate: RealGate) -> None:
    pushed(sqlite_gate, BROKEN, "a slip")
    sqlite_gate.worker.tick()
    newest, oldest = said(sqlite_gate, "policy", "history")  # type: ignore[misc]
    assert (newest[""], newest["message"], newest["active from"]) == ("refused", "a slip", "")
    assert "first_batch" in newest["refused"]
    assert (oldest[""], oldest["refused"]) == ("active", "")
