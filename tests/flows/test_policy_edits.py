"""One truth, two ways to edit it: tightening acts with one person, loosening waits for two, and nothing is lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gate.core.errors import Conflict, Malformed, NotFound
from gate.flows import edits, identities, people, user_changes
from gate.flows.agreement import agreed
from gate.ports import ActivePolicy, Proposal
from tests.flows.test_policy_versions import active, rewind
from tests.real_gate import RealGate

DAY = timedelta(hours=24)
TIGHTER = ("gate: {soak: 5s, at_least: 1}", "gate: {soak: 6s, at_least: 1}")
LOOSER = ("gate: {soak: 5s, at_least: 1}", "gate: {soak: 4s, at_least: 1}")


def said(gate: RealGate, change: tuple[str, str]) -> str:
    text = gate.opened.policies.read(gate.opened.policies.head())
    assert change[0] in text
    return text.replace(*change, 1)


def saved(
    gate: RealGate, text: str, by: str = "anna", because: str = "longer after the trial", base: str = ""
) -> ActivePolicy | Proposal:
    with gate.opened.store.write() as tx:
        head = base or gate.opened.policies.head()
        return edits.save(tx, gate.opened.gate, text, head, by, because, gate.clock.now())


def proposed(gate: RealGate, change: tuple[str, str] = LOOSER, by: str = "anna") -> Proposal:
    found = saved(gate, said(gate, change), by)
    assert isinstance(found, Proposal)
    return found


def signed(gate: RealGate, proposal: Proposal, by: str) -> ActivePolicy | None:
    with gate.opened.store.write() as tx:
        edits.sign(tx, gate.opened.gate, proposal.id, by, gate.clock.now())
    with gate.opened.store.write() as tx:
        return edits.finish(tx, gate.opened.gate, proposal.id, gate.clock.now())


def test_one_person_tightens_and_it_acts_at_once(real_gate: RealGate) -> None:
    before = active(real_gate)
    row = saved(real_gate, said(real_gate, TIGHTER))
    assert isinstance(row, ActivePolicy)
    assert active(real_gate).commit == row.commit == real_gate.opened.policies.head() != before.commit
    [version, _] = real_gate.opened.policies.history()
    assert (version.author, version.message) == ("anna", "longer after the trial")
    with real_gate.opened.store.read() as tx:
        event = next(one for one in tx.events(subject=row.commit, limit=5) if one.kind == "policy_activated")
    assert (event.actor, event.because, event.detail["people"]) == ("anna", "longer after the trial", ["anna"])


def test_what_loosens_waits_for_another_person_and_both_stand_in_the_commit(real_gate: RealGate) -> None:
    before, head = active(real_gate).commit, real_gate.opened.policies.head()
    proposal = proposed(real_gate)
    assert active(real_gate).commit == before
    assert real_gate.opened.policies.head() == head, "a proposal moves no head"
    with real_gate.opened.store.write() as tx, pytest.raises(Conflict, match="another person"):
        edits.sign(tx, real_gate.opened.gate, proposal.id, "anna", real_gate.clock.now())
    row = signed(real_gate, proposal, "berta")
    assert row is not None
    assert active(real_gate).commit == row.commit == real_gate.opened.policies.head()
    message = real_gate.opened.policies.history()[0].message
    assert message == "longer after the trial\n\nProposed-by: anna\nSigned-off-by: berta"
    assert "soak: 4s" in real_gate.opened.policies.read(row.commit)
    with real_gate.opened.store.write() as tx, pytest.raises(Conflict, match="enacted"):
        edits.sign(tx, real_gate.opened.gate, proposal.id, "carl", real_gate.clock.now())


@pytest.mark.parametrize(
    ("later", "closed", "good"),
    [(DAY - timedelta(microseconds=1), False, True), (DAY, False, False), (DAY, True, False)],
)
def test_a_proposal_expires_after_a_day(real_gate: RealGate, later: timedelta, closed: bool, good: bool) -> None:
    proposal = proposed(real_gate)
    at = proposal.proposed_at + later
    with real_gate.opened.store.write() as tx:
        if closed:
            tx.drop_expired(at)
        if good:
            edits.sign(tx, real_gate.opened.gate, proposal.id, "berta", at)
            assert edits.finish(tx, real_gate.opened.gate, proposal.id, at)
        else:
            with pytest.raises(Conflict, match="has expired"):
                edits.sign(tx, real_gate.opened.gate, proposal.id, "berta", at)


def test_two_edits_at_once_lose_nothing_and_the_second_is_told(real_gate: RealGate) -> None:
    base, mine = real_gate.opened.policies.head(), said(real_gate, TIGHTER)
    saved(real_gate, said(real_gate, ("first_batch: 3", "first_batch: 2")), "berta", "smaller")
    now = active(real_gate).commit
    with pytest.raises(Conflict, match="in the meantime"):
        saved(real_gate, mine, base=base)
    assert active(real_gate).commit == now


def test_a_change_in_between_voids_a_proposal_that_waits(real_gate: RealGate) -> None:
    proposal = proposed(real_gate)
    saved(real_gate, said(real_gate, ("first_batch: 3", "first_batch: 2")), "berta", "smaller")
    with pytest.raises(Conflict, match="propose it anew"):
        signed(real_gate, proposal, "berta")
    assert "soak: 5s" in real_gate.opened.policies.read(active(real_gate).commit)


def test_what_it_says_already_and_what_does_not_parse_is_refused(real_gate: RealGate) -> None:
    text = real_gate.opened.policies.read(real_gate.opened.policies.head())
    with pytest.raises(Conflict, match="already"):
        saved(real_gate, text)
    with pytest.raises(Malformed, match="fleeet"):
        saved(real_gate, text.replace("fleet:", "fleeet:"))
    with pytest.raises(Malformed, match="reason"):
        saved(real_gate, said(real_gate, TIGHTER), because=" ")
    assert len(real_gate.opened.policies.history()) == 1


MANY = ("gate: {soak: 5s, at_least: 1}", "needs: {people: 3}\n    gate: {soak: 6s, at_least: 1}")
EXPEDITE = ("first_batch: 3", "expedite: {people: 3}\nfirst_batch: 3")


@pytest.mark.parametrize("way", ["saved", "signed", "pushed"])
def test_no_policy_asks_for_more_people_than_there_are(real_gate: RealGate, way: str) -> None:
    before = active(real_gate).commit
    joined(real_gate, "vera", "approver")  # beside anna
    text = said(real_gate, MANY)
    if way == "pushed":
        commit = push(real_gate, MANY)
        real_gate.worker.tick()
        assert active(real_gate).commit == before
        assert "needs 3 people, and there are 2 who may" in active(real_gate).problem
        joined(real_gate, "lea", "approver")
        real_gate.worker.tick()
        assert active(real_gate).commit == commit
        return
    if way == "signed":
        joined(real_gate, "lea", "approver")
        waits = saved(real_gate, text.replace("soak: 5s", "soak: 4s").replace("soak: 6s", "soak: 4s"))
        assert isinstance(waits, Proposal)
        with real_gate.opened.store.write() as tx:
            people.disable_user(tx, "lea", "test", real_gate.clock.now())
        with pytest.raises(Conflict, match="needs 3 people, and there are 2 who may"):
            signed(real_gate, waits, "berta")
        return
    for change, act in ((MANY, "approve"), (EXPEDITE, "expedite")):
        with pytest.raises(Conflict, match=f"{act} needs 3 people, and there are 2 who may"):
            saved(real_gate, said(real_gate, change))
    assert active(real_gate).commit == before == real_gate.opened.policies.head()
    joined(real_gate, "lea", "approver")
    assert isinstance(saved(real_gate, text), ActivePolicy)
    with real_gate.opened.store.write() as tx:
        people.disable_user(tx, "lea", "test", real_gate.clock.now())
    later = saved(real_gate, said(real_gate, ("timezone: ", "timezone:  ")))
    assert isinstance(later, ActivePolicy), "what was there before is no reason to refuse another edit"


def push(gate: RealGate, change: tuple[str, str]) -> str:
    policies = gate.opened.policies
    return policies.write(said(gate, change), policies.head(), "mallory", "from outside", gate.clock.now())


def waiting(gate: RealGate) -> list[Proposal]:
    with gate.opened.store.read() as tx:
        return [one for one in tx.proposals("open") if one.kind == edits.KIND]


def joined(gate: RealGate, login: str, role: str) -> None:
    with gate.opened.store.write() as tx:
        people.add_user(tx, login, login, role, f"link-{login}", "test", gate.clock.now())


@pytest.mark.parametrize("left", ["disabled", "reader"])
def test_who_was_shut_out_or_may_no_longer_stands_behind_nothing(real_gate: RealGate, left: str) -> None:
    for login, role in (("mallory", "admin"), ("vera", "approver"), ("kim", "approver"), ("lea", "approver")):
        joined(real_gate, login, role)
    proposal, before = proposed(real_gate, by="mallory"), active(real_gate).commit
    with real_gate.opened.store.write() as tx:
        if left == "disabled":
            people.disable_user(tx, "mallory", "anna", real_gate.clock.now())
        else:
            user_changes.change_role(tx, "mallory", left, "anna", "why", real_gate.clock.now())
    assert signed(real_gate, proposal, "vera") is None, "one person of those who still may"
    assert active(real_gate).commit == before
    with real_gate.opened.store.write() as tx:
        people.disable_user(tx, "vera", "anna", real_gate.clock.now())
    assert signed(real_gate, proposal, "kim") is None
    row = signed(real_gate, proposal, "lea")
    assert row is not None
    message = real_gate.opened.policies.history()[0].message
    assert message.endswith("Proposed-by: mallory\nSigned-off-by: kim\nSigned-off-by: lea")


def test_nobody_agrees_with_a_person_who_was_shut_out(real_gate: RealGate) -> None:
    joined(real_gate, "mallory", "admin")
    now = real_gate.clock.now()
    with real_gate.opened.store.write() as tx:
        assert agreed(tx, "resume", "r-1", "exact", "why", "mallory", now) is not None
        people.disable_user(tx, "mallory", "anna", now)
        mine = agreed(tx, "resume", "r-1", "exact", "why", "anna", now)
        assert mine is not None
        assert mine.proposed_by == "anna"
        assert agreed(tx, "resume", "r-1", "exact", "why", "berta", now) is None


def test_an_account_of_the_shell_is_nobody_until_it_is_linked_and_then_that_person(real_gate: RealGate) -> None:
    joined(real_gate, "kim", "admin")
    joined(real_gate, "lea", "approver")
    now = real_gate.clock.now()
    with real_gate.opened.store.write() as tx, pytest.raises(Conflict, match="counts as no person"):
        agreed(tx, "resume", "r-1", "exact", "why", "shell:root", now)
    proposal = proposed(real_gate, by="shell:root")
    with pytest.raises(Conflict, match="counts as no person"):
        signed(real_gate, proposal, "shell:other")
    assert signed(real_gate, proposal, "kim") is None, "who proposed it is nobody: one person so far"
    with real_gate.opened.store.write() as tx:
        identities.link(tx, "kim", "shell", "root", "anna", now)
    with pytest.raises(Conflict, match="kim has proposed this"):
        signed(real_gate, proposal, "kim")
    assert signed(real_gate, proposal, "lea") is not None
    assert real_gate.opened.policies.history()[0].message.endswith("Proposed-by: shell:root\nSigned-off-by: lea")
    with real_gate.opened.store.write() as tx:
        assert agreed(tx, "resume", "r-2", "exact", "why", "shell:root", now) is not None
        with pytest.raises(Conflict, match="kim has proposed this"):
            agreed(tx, "resume", "r-2", "exact", "why", "kim", now)
        assert agreed(tx, "resume", "r-2", "exact", "why", "lea", now) is None
        assert agreed(tx, "resume", "r-4", "exact", "why", "shell:root", now) is not None
        people.disable_user(tx, "kim", "anna", now)
        alone = agreed(tx, "resume", "r-4", "exact", "why", "lea", now)
        assert alone is not None, "kim's word through the shell has gone with kim"
        with pytest.raises(Conflict, match="counts as no person"):
            agreed(tx, "resume", "r-3", "exact", "why", "shell:root", now)


def test_a_push_that_tightens_rules_from_the_next_tick(real_gate: RealGate) -> None:
    commit = push(real_gate, TIGHTER)
    real_gate.worker.tick()
    assert active(real_gate).commit == commit


def test_a_push_that_loosens_waits_for_two_people_that_the_gate_knows(real_gate: RealGate) -> None:
    before = active(real_gate).commit
    commit = push(real_gate, LOOSER)
    for _ in range(3):
        real_gate.worker.tick()
    [proposal] = waiting(real_gate)
    assert (proposal.proposed_by, proposal.subject) == ("git", commit)
    assert active(real_gate).commit == before
    assert "two people" in active(real_gate).problem
    assert signed(real_gate, proposal, "mallory") is None, "who wrote the commit is nobody special"
    row = signed(real_gate, proposal, "berta")
    assert row is not None
    assert active(real_gate).commit == commit
    real_gate.worker.tick()
    assert active(real_gate).problem == ""


def test_a_push_that_loosens_gives_way_to_an_edit_that_tightens(real_gate: RealGate) -> None:
    push(real_gate, LOOSER)
    real_gate.worker.tick()
    row = saved(real_gate, said(real_gate, ("soak: 4s", "soak: 6s")))
    assert isinstance(row, ActivePolicy), "held against what is active, it loosens nothing"
    real_gate.worker.tick()
    assert active(real_gate).problem == ""


def test_a_push_upon_a_push_voids_what_people_have_signed(real_gate: RealGate) -> None:
    push(real_gate, LOOSER)
    real_gate.worker.tick()
    [proposal] = waiting(real_gate)
    signed(real_gate, proposal, "berta")
    push(real_gate, ("first_batch: 3", "first_batch: 4"))
    with pytest.raises(Conflict, match="another head"):
        signed(real_gate, proposal, "carl")


@pytest.mark.parametrize("by", ["a push that waits", "a push that is refused", "a push that rules", "an edit"])
def test_a_pushed_proposal_asks_nobody_once_the_branch_has_another_head(real_gate: RealGate, by: str) -> None:
    commit = push(real_gate, LOOSER)
    real_gate.worker.tick()
    assert [one.subject for one in waiting(real_gate)] == [commit]
    if by == "an edit":
        saved(real_gate, said(real_gate, ("soak: 4s", "soak: 6s")))
    else:
        change = {
            "a push that waits": ("first_batch: 3", "first_batch: 4"),
            "a push that is refused": ("first_batch:", "first_bach:"),
            "a push that rules": ("soak: 4s", "soak: 6s"),
        }[by]
        push(real_gate, change)
        real_gate.worker.tick()
    assert commit not in [one.subject for one in waiting(real_gate)]
    with real_gate.opened.store.read() as tx:
        event = next(one for one in tx.events(subject=edits.SUBJECT) if one.kind == "policy_withdrawn")
    assert (event.detail["commit"], event.because) == (commit, edits.MOVED)


@pytest.mark.parametrize("pushed", [True, False])
def test_what_people_have_signed_and_is_void_is_no_work(real_gate: RealGate, pushed: bool) -> None:
    if pushed:
        push(real_gate, LOOSER)
        real_gate.worker.tick()
        [proposal] = waiting(real_gate)
    else:
        proposal = proposed(real_gate)
    with real_gate.opened.store.write() as tx:
        for login in ("berta", "carl"):
            edits.sign(tx, real_gate.opened.gate, proposal.id, login, real_gate.clock.now())
        assert edits.signed(tx, real_gate.opened.gate, real_gate.clock.now()) == [proposal.id]
    push(real_gate, ("first_batch: 3", "first_batch: 4"))
    with real_gate.opened.store.read() as tx:
        assert edits.signed(tx, real_gate.opened.gate, real_gate.clock.now()) == []


def test_a_proposal_is_withdrawn_and_does_not_come_back(real_gate: RealGate) -> None:
    push(real_gate, LOOSER)
    real_gate.worker.tick()
    [proposal] = waiting(real_gate)
    with real_gate.opened.store.write() as tx:
        edits.withdraw(tx, proposal.id, "anna", "not now", real_gate.clock.now())
        with pytest.raises(Conflict):
            edits.withdraw(tx, proposal.id, "anna", "not now", real_gate.clock.now())
        with pytest.raises(NotFound):
            edits.withdraw(tx, "p-none", "anna", "not now", real_gate.clock.now())
    real_gate.worker.tick()
    assert waiting(real_gate) == []


def test_a_death_after_the_signature_is_made_good_by_the_worker(real_gate: RealGate) -> None:
    proposal = proposed(real_gate)
    with real_gate.opened.store.write() as tx:
        edits.sign(tx, real_gate.opened.gate, proposal.id, "berta", real_gate.clock.now())
    real_gate.worker.tick()
    assert "soak: 4s" in real_gate.opened.policies.read(active(real_gate).commit)


def test_a_death_after_the_commit_is_made_good_without_a_second_one(real_gate: RealGate) -> None:
    proposal = proposed(real_gate)

    class Dies(Exception):
        pass

    with pytest.raises(Dies), real_gate.opened.store.write() as tx:
        edits.sign(tx, real_gate.opened.gate, proposal.id, "berta", real_gate.clock.now())
        tx.append("before", "test", "x", real_gate.clock.now())
        raise Dies
    with real_gate.opened.store.write() as tx:
        edits.sign(tx, real_gate.opened.gate, proposal.id, "berta", real_gate.clock.now())
    with pytest.raises(Dies), real_gate.opened.store.write() as tx:
        edits.finish(tx, real_gate.opened.gate, proposal.id, real_gate.clock.now())
        raise Dies
    head = real_gate.opened.policies.head()
    assert active(real_gate).commit != head
    real_gate.worker.tick()
    assert active(real_gate).commit == head == real_gate.opened.policies.head()
    assert waiting(real_gate) == []


def test_a_rewind_below_a_proposal_never_rules(real_gate: RealGate) -> None:
    first = active(real_gate).commit
    row = saved(real_gate, said(real_gate, TIGHTER))
    assert isinstance(row, ActivePolicy)
    rewind(real_gate, first)
    real_gate.worker.tick()
    assert active(real_gate).commit == row.commit
    assert "does not descend" in active(real_gate).problem
    with pytest.raises(Conflict, match="does not descend"):
        saved(real_gate, said(real_gate, ("soak: 5s", "soak: 7s")))


def test_a_halt_works_with_the_repository_gone_and_an_edit_says_so(real_gate: RealGate) -> None:
    text = said(real_gate, TIGHTER)
    head = real_gate.opened.policies.head()
    real_gate.opened.settings.policy.rename(real_gate.folder / "gone")
    with pytest.raises(Exception, match="not a git repository"):
        saved(real_gate, text, base=head)
    with real_gate.opened.store.write() as tx:
        assert people.halt_all(tx, "anna", "all of it", real_gate.clock.now()) == []
