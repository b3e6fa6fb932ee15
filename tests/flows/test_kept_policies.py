"""What rules, has ruled or was frozen is read without the policy repository: its text is kept where the facts are."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from click.testing import CliRunner
from dulwich.repo import Repo

from gate.bootstrap import Opened
from gate.cli.main import main
from gate.core.errors import GateError, OperatorError
from gate.core.model import RolloutState
from gate.flows import edits, people
from gate.ports import Proposal
from tests.flows.test_policy_edits import TIGHTER, said, saved
from tests.flows.test_policy_versions import active, push
from tests.real_gate import PlayedMachine, RealGate

SMALLER = ("first_batch: 3", "first_batch: 2")
LARGER = ("first_batch: 3", "first_batch: 4")


def kept(gate: RealGate) -> dict[str, str]:
    with gate.opened.store.read() as tx:
        rows = tx.connection.exec_driver_sql("SELECT * FROM policy_texts")
        return {str(row[0]): str(row[1]) for row in rows}


def forgotten(gate: RealGate) -> None:
    """As a database of the release before has it."""
    with gate.opened.store.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM policy_texts")


def again(gate: RealGate) -> Opened:
    """A new process."""
    return Opened(gate.opened.settings, gate.clock)


def test_every_version_that_becomes_active_is_kept_word_for_word_and_no_other_is(real_gate: RealGate) -> None:
    policies, versions = real_gate.opened.policies, [active(real_gate).commit]
    versions.append(saved(real_gate, said(real_gate, TIGHTER)).commit)  # type: ignore[union-attr]
    versions.append(push(real_gate, *SMALLER))
    real_gate.worker.tick()
    waits = saved(real_gate, said(real_gate, ("first_batch: 2", "first_batch: 5")))
    assert isinstance(waits, Proposal)
    assert kept(real_gate) == {one: policies.read(one) for one in versions}
    with real_gate.opened.store.write() as tx:
        edits.sign(tx, real_gate.opened.gate, waits.id, "berta", real_gate.clock.now())
        enacted = edits.finish(tx, real_gate.opened.gate, waits.id, real_gate.clock.now())
    assert enacted is not None
    assert kept(real_gate)[enacted.commit] == policies.read(enacted.commit)


def test_a_text_is_kept_by_the_very_transaction_that_activates_it(real_gate: RealGate) -> None:
    before = kept(real_gate)

    class Undone(Exception):
        pass

    text, head = said(real_gate, TIGHTER), real_gate.opened.policies.head()
    with pytest.raises(Undone), real_gate.opened.store.write() as tx:
        row = edits.save(tx, real_gate.opened.gate, text, head, "anna", "longer", real_gate.clock.now())
        assert tx.policy_text(row.commit) == text  # type: ignore[union-attr]
        raise Undone
    assert kept(real_gate) == before


def test_a_process_that_starts_without_the_repository_decides_grants_and_halts(real_gate: RealGate) -> None:
    machine = PlayedMachine(real_gate)
    machine.enrol()
    real_gate.accept(machine.machine, "till", "first")
    shutil.rmtree(real_gate.opened.settings.policy)
    fresh = again(real_gate)
    worker = fresh.worker()
    real_gate.drop("1.0")
    worker.look()
    worker.tick()
    with fresh.store.read() as tx:
        [rollout] = tx.rollouts()
        row = tx.active_policy()
    assert rollout.state is RolloutState.RUNNING
    assert row is not None
    assert (row.commit, row.problem) == (active(real_gate).commit, edits.GONE)
    machine.checkin()
    assert machine.claim(rollout.release)[0] == 201
    with fresh.store.write() as tx:
        people.halt(tx, rollout.id, "anna", "the shop stands still", real_gate.clock.now())
    fresh.close()


def test_the_command_line_reads_what_rules_without_the_repository(sqlite_gate: RealGate) -> None:
    machine = PlayedMachine(sqlite_gate)
    machine.enrol()
    sqlite_gate.accept(machine.machine)
    sqlite_gate.bring("1.0")
    commit = active(sqlite_gate).commit
    shutil.rmtree(sqlite_gate.opened.settings.policy)

    def says(*words: str) -> str:
        done = CliRunner().invoke(main, [*words, "--settings", str(sqlite_gate.made.settings)])
        assert done.exit_code == 0, (words, done.output)
        return done.output

    says("status")
    says("policy", "explain", "active")
    assert [row["commit"] for row in json.loads(says("policy", "history", "-o", "json"))] == [commit[:12]]
    text = [row["text"] for row in json.loads(says("policy", "blame", "-o", "json"))]
    assert "\n".join(text) == kept(sqlite_gate)[commit].rstrip("\n")
    says("why", machine.machine)


def test_what_ruled_under_the_release_before_is_filled_in_when_gate_starts(real_gate: RealGate) -> None:
    first = active(real_gate).commit
    machine = PlayedMachine(real_gate)
    machine.enrol()
    real_gate.accept(machine.machine, "till", "first")
    real_gate.bring("1.0")  # its rollout froze the first version
    push(real_gate, *SMALLER)
    real_gate.worker.tick()
    waits = push(real_gate, "first_batch: 2", "first_batch: 5")
    real_gate.worker.tick()
    forgotten(real_gate)
    real_gate.opened.upgrade()
    assert kept(real_gate).keys() == {first, active(real_gate).commit} != {waits}
    with real_gate.opened.store.write() as tx:  # the shelf has taken the events
        tx.connection.exec_driver_sql("DELETE FROM policy_texts")
        tx.connection.exec_driver_sql("UPDATE events SET kind = 'taken' WHERE kind = 'policy_activated'")
    real_gate.opened.upgrade()
    assert first in kept(real_gate), "a rollout froze it"
    forgotten(real_gate)
    shutil.rmtree(real_gate.opened.settings.policy)
    real_gate.opened.upgrade()
    assert kept(real_gate) == {}, "what cannot be read stops no start"


def test_a_version_that_a_force_push_has_dropped_still_rules(real_gate: RealGate) -> None:
    first = active(real_gate).commit
    rules = saved(real_gate, said(real_gate, TIGHTER)).commit  # type: ignore[union-attr]
    git = ["git", "-C", str(real_gate.opened.settings.policy)]
    subprocess.run([*git, "update-ref", "refs/heads/main", first], check=True)
    subprocess.run([*git, "reflog", "expire", "--expire=now", "--all"], check=True)
    subprocess.run([*git, "prune", "--expire=now"], check=True)
    fresh = again(real_gate)
    with pytest.raises(GateError):
        fresh.policies.version(rules)
    assert fresh.gate.policy(rules) == real_gate.opened.gate.policy(rules)
    fresh.worker().tick()
    assert active(real_gate).commit == rules
    assert "does not descend" in active(real_gate).problem
    fresh.close()


def test_what_is_not_what_its_id_says_is_not_read(real_gate: RealGate) -> None:
    """Whoever may write the folder puts another text where a commit's was."""
    policies, commit = real_gate.opened.policies, active(real_gate).commit
    text, proposed = policies.read(commit), push(real_gate, *LARGER)
    for one in (commit, proposed):
        _replaced(real_gate.opened.settings.policy, one)
    fresh = again(real_gate)
    assert fresh.policies.read(commit) == text, "the kept copy"
    with pytest.raises(OperatorError, match="does not hold what its id says"):
        fresh.policies.read(proposed)
    fresh.close()


def _replaced(repository: Path, commit: str) -> None:
    with Repo(str(repository)) as repo:
        tree = repo[repo[commit.encode()].tree]  # type: ignore[attr-defined,index]
        blob = tree[b"policy.yaml"][1].decode()  # type: ignore[index]
    data = b"version: 1\n"
    assert hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() != blob
    file = repository / "objects" / blob[:2] / blob[2:]
    file.chmod(0o644)
    file.write_bytes(zlib.compress(b"blob %d\0" % len(data) + data))
