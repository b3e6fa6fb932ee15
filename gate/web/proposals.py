"""What waits for a second person besides the policy: machines, sites, holds, people, recalls, waivers.

- What was proposed of a thing that is another by now is void and is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from gate.core.model import MachineStatus, RolloutState
from gate.flows import site_changes, user_changes
from gate.flows.agreement import ACT_OF, shut_out
from gate.ports import Proposal, Tx

ROLLOUTS = {
    "recall": (RolloutState.HALTED, "a recall waits for another person"),
    "waive": (RolloutState.RUNNING, "a waiver waits for another person"),
}


def waiting(tx: Tx, now: datetime) -> Iterator[tuple[str, str, str]]:
    """(sentence, what it is about, where another person agrees)."""
    for change in user_changes.waiting(tx, now):
        yield "a change of this person waits for another person", change.change.login, "/people"
    for one in tx.proposals("open", now=now):
        if not shut_out(tx, one.proposed_by, ACT_OF[one.kind]):
            yield from _of(tx, one)


def _of(tx: Tx, one: Proposal) -> Iterator[tuple[str, str, str]]:
    if one.kind == "accept_machine":
        machine = tx.machine(one.subject)
        if machine is not None and machine.status is MachineStatus.PENDING:
            yield "a machine waits for another person", machine.name, f"/machines/{machine.id}#proposed"
    elif one.kind == site_changes.KIND:
        if not site_changes.void(tx, one):
            yield "a change of this site waits for another person", one.subject, f"/sites/{one.subject}#proposed"
    elif one.kind == "lift_hold":
        yield "a hold would be lifted: another person must agree", one.because, "/holds"
    elif one.kind in ROLLOUTS:
        state, sentence = ROLLOUTS[one.kind]
        rollout = tx.rollout(one.subject)
        if rollout is not None and rollout.state is state:
            yield sentence, rollout.source, f"/rollouts/{rollout.id}"
