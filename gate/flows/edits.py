"""A commit is a proposal; the row is the act. Who tightens acts alone and at once; what loosens waits for another.

- An edit names the head that it was made on. Where the branch has moved, nothing is written and nothing is lost.
- ``core.policy_diff`` decides on the parsed policies, against the active one: what it cannot classify loosens.
- A loosening stands on a branch of its own until it is signed; then it becomes a commit on the head that names both
  people. Its signatures are bound to that very commit, the proposer's own does not count, and it expires in 24 hours.
  Whoever was shut out since, or may no longer, stands behind nothing; nor does a shell that is linked with nobody.
- What was pushed into the branch is judged alike: tightening acts, loosening waits for as many people as it takes.
  Without ``gate.signers`` who pushed is nobody the gate knows. With them every commit between the active one and the
  head is signed by a person who may change the policy, or was written by the gate for a proposal; else the head is
  refused. Who has signed the head has proposed it: by the key, never by the author, and looked at anew at the end.
- A pushed proposal whose commit is not the head any more is withdrawn as soon as anybody looks at the head.
- A process may die between the commit and the row: the worker finishes what is signed and what the head says.
- A broken head is refused whole: the old policy stays active, and the row says why, for the banner. So is a head that
  does not descend from the active commit: a rewound branch never rules.
- What would ask for more people than there are is refused before the commit, and before a signature; a head too.
- What would put all tills of a site into one ring is refused before the commit, and before a signature.
- Who edits, signs or takes a head up has walked the fleet before, outside the transaction that writes: ``fleet``. The
  machines are placed before a commit is written: where they have moved meanwhile, nothing has happened yet.
- A version's text is kept in the transaction in which it becomes active: what rules needs no repository.
- Halts and the brake need none of this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from gate.core.errors import Conflict, GateError, NotFound, OperatorError, Overtaken
from gate.core.policy import Policy
from gate.core.policy_diff import Change, Direction, diff, people_needed
from gate.core.policy_values import PolicyProblems, unseen_ends
from gate.flows.agreement import PROPOSAL_FOR, person, reason_given, somebody
from gate.flows.people import may
from gate.flows.placing import Walked, place_all, proposed, refuse_one_ring, written
from gate.flows.user_changes import refuse_too_many
from gate.ports import ActivePolicy, Gate, Proposal, Signers, Store, Tx

KIND = "policy"
SUBJECT = "policy"
PUSHED = "git"  # who proposes what was pushed: nobody the gate knows
PEOPLE = 2
MOVED = "the branch has another head by now; this proposal is void"
GONE = "the policy's repository cannot be read: what rules goes on, and nobody can edit it"


@dataclass(frozen=True, slots=True)
class _Act:
    """What makes a commit active: who, why, and who agreed."""

    commit: str
    by: str
    because: str
    people: Sequence[str]
    proposal: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A text beside the active policy: what it changes, and how many people that needs."""

    policy: Policy
    changes: Sequence[Change]

    @property
    def people(self) -> int:
        """Different people that must agree."""
        return people_needed(self.changes)


@dataclass(frozen=True, slots=True)
class Pushed:
    """A head that somebody has put there: who has signed it (``PUSHED``: nobody was asked), and what it changes."""

    by: str
    changes: Sequence[Change]

    @property
    def people(self) -> int:
        """Different people that must agree."""
        return people_needed(self.changes)


def judged(tx: Tx, gate: Gate, text: str, today: date) -> Judged:
    """What a text would change. Raises Malformed with every problem, NotFound where no policy is active."""
    active = tx.active_policy()
    if active is None:
        raise NotFound("no policy is active")
    policy = gate.texts.parse(text)
    return Judged(policy, diff(gate.policy(active.commit), policy, today))


def save(
    tx: Tx,
    gate: Gate,
    text: str,
    base: str,
    by: str,
    because: str,
    now: datetime,
    fleet: Walked | None = None,
) -> ActivePolicy | Proposal:
    """Commits an edit that was made on ``base``: active at once, or a proposal.

    Raises:
        Malformed: no reason, or every problem of the text. Conflict: moved (the branch has another head), unchanged,
            needs_people (it asks for more than there are), one_ring (all tills of a site would be in one ring).
        Overtaken: the fleet must be walked again.
    """
    reason_given(because)
    because = " ".join(because.split())  # in one line: below it stand the names of those who signed
    head = gate.texts.head()
    if base != head:
        raise Conflict("moved", "somebody else has changed the policy in the meantime; nothing of yours is lost")
    active = tx.active_policy()
    _not_rewound(gate, head, active)
    found = judged(tx, gate, text, today(gate, tx, now))
    assert active is not None
    if text == _said(gate, head) and (active.commit == head or (found.people > 1 and waits(tx, head, now))):
        raise Conflict("unchanged", "this is what the policy says already")
    refuse_too_many(tx, gate.policy(active.commit), found.policy)
    refuse_one_ring(tx, gate.policy(active.commit), found.policy, fleet)
    if found.people < PEOPLE:
        place_all(tx, found.policy, fleet)
        commit = gate.texts.write(text, head, by, because, now)
        return _activate(tx, gate, _Act(commit, by, because, [by]), active, now)
    again = _said_before(tx, gate, text, head, by, because, now)
    if again is not None:
        return again
    name = "p-" + hashlib.sha256(f"{head}/{by}/{now.isoformat()}/{text}".encode()).hexdigest()[:24]
    commit = gate.texts.propose(name, text, head, by, because, now)
    return _proposed(tx, name, commit, by, because, found.changes, now)


def _said_before(tx: Tx, gate: Gate, text: str, head: str, by: str, because: str, now: datetime) -> Proposal | None:
    """The same by the same person for the same reason, which waits: a button was pressed twice."""
    mine = [one for one in _waiting(tx, now) if (one.proposed_by, one.because) == (by, because)]
    same = (one for one in mine if gate.texts.parents(one.subject) == [head] and _said(gate, one.subject) == text)
    return next(same, None)


def _said(gate: Gate, commit: str) -> str | None:
    """A commit's text; None where it has none that can be read: an edit then takes its place."""
    try:
        return gate.texts.read(commit)
    except OperatorError:
        return None


def waits(tx: Tx, head: str, now: datetime) -> bool:
    """Is there a proposal for this head that can still be signed? Once it has expired or was refused, whoever may edit
    proposes the same text anew."""
    proposal = tx.proposal(_pushed_name(head))
    return proposal is not None and proposal.state == "open" and proposal.expires_at > now


def sign(tx: Tx, gate: Gate, proposal_id: str, by: str, now: datetime, fleet: Walked | None = None) -> Proposal:
    """One person's word for a proposal; ``finish`` enacts it when there are enough.

    Raises:
        NotFound. Conflict: closed, expired, needs_people (the proposer asks, or there are too few), given, one_ring.
        Overtaken: the fleet must be walked again.
    """
    proposal = _open(tx, proposal_id, now)
    who = somebody(tx, by)
    if person(tx, proposal.proposed_by) == who:
        raise Conflict("needs_people", f"{who} has proposed this; another person must agree")
    if who in {person(tx, one) for one in proposal.signatures}:
        raise Conflict("given", f"{who} has signed already")
    active = tx.active_policy()
    assert active is not None
    old, new = gate.policy(active.commit), gate.policy(proposal.subject)
    refuse_too_many(tx, old, new)
    refuse_one_ring(tx, old, new, fleet)
    if not tx.sign_proposal(proposal.id, by, proposal.sha256, now):
        raise Conflict("closed", "the proposal is not open any more")
    tx.append("policy_signed", by, SUBJECT, now, {"proposal": proposal.id, "commit": proposal.subject})
    return _open(tx, proposal_id, now)


def finish(tx: Tx, gate: Gate, proposal_id: str, now: datetime, fleet: Walked | None = None) -> ActivePolicy | None:
    """Enacts a proposal that enough people have signed; None while it waits.

    Raises:
        NotFound. Conflict: closed, expired, moved (the branch has another head: the proposal is void).
        Overtaken: the fleet must be walked again, or another process has enacted it.
    """
    proposal = _open(tx, proposal_id, now)
    people = behind(tx, proposal)
    if len(people) < PEOPLE:
        return None
    active = tx.active_policy()
    assert active is not None
    head, text = gate.texts.head(), gate.texts.read(proposal.subject)
    _not_rewound(gate, head, active)
    pushed = _is_pushed(proposal)
    if _moved(gate, proposal, head):
        raise Conflict("moved", MOVED if pushed else "the policy has changed since; propose it anew")
    if pushed:
        _pushed_by(tx, gate, head, active, now)
    place_all(tx, gate.policy(proposal.subject), fleet)
    if not pushed and head == gate.texts.parents(proposal.subject)[0]:  # else a process died after this commit
        head = gate.texts.write(text, head, proposal.proposed_by, _message(tx, proposal, people), now)
    if not tx.enact_proposal(proposal.id, now):
        raise Overtaken
    act = _Act(head, proposal.proposed_by, proposal.because, people, proposal.id)
    return _activate(tx, gate, act, active, now)


def sign_and_finish(store: Store, gate: Gate, proposal_id: str, by: str, now: datetime) -> ActivePolicy | None:
    """One person's word, and what follows from it where that is enough: each in a transaction of its own.

    Raises:
        As ``sign`` and ``finish``. Overtaken: machines were moved at each try.
    """

    def said() -> Policy:
        return proposed(store, gate, proposal_id)

    def agree(tx: Tx, fleet: Walked | None) -> Walked | None:
        sign(tx, gate, proposal_id, by, now, fleet)
        return fleet

    fleet = written(store, said, agree)
    return written(store, said, lambda tx, found: finish(tx, gate, proposal_id, now, found), fleet)


def signed(tx: Tx, gate: Gate, now: datetime) -> list[str]:
    """Proposals that enough people have signed and nobody has enacted; void ones are left out, all where nobody can
    say."""
    found = [one for one in _waiting(tx, now) if len(behind(tx, one)) >= PEOPLE]
    try:
        return [one.id for one in found if not _moved(gate, one, gate.texts.head())]
    except OperatorError:
        return []


def _waiting(tx: Tx, now: datetime) -> list[Proposal]:
    return [one for one in tx.proposals("open", now=now) if one.kind == KIND]


def _moved(gate: Gate, proposal: Proposal, head: str) -> bool:
    """Is the branch elsewhere than a proposal needs it? What a person proposed may stand at the head already."""
    if _is_pushed(proposal):
        return head != proposal.subject
    parent = gate.texts.parents(proposal.subject)[0]
    if head == parent:
        return False
    return parent not in gate.texts.parents(head) or _said(gate, head) != gate.texts.read(proposal.subject)


def _give_up(tx: Tx, head: str, by: str, now: datetime) -> None:
    """What was pushed and is not the head any more asks nobody any more."""
    for one in _waiting(tx, now):
        if _is_pushed(one) and one.subject != head and tx.withdraw_proposal(one.id):
            detail = {"proposal": one.id, "commit": one.subject}
            tx.append("policy_withdrawn", by, SUBJECT, now, detail, MOVED)


def withdraw(tx: Tx, proposal_id: str, by: str, because: str, now: datetime) -> None:
    """A proposal is taken back or refused; its branch stays, for whoever looks.

    Raises:
        NotFound, Malformed. Conflict: closed.
    """
    reason_given(because)
    proposal = tx.proposal(proposal_id)
    if proposal is None or proposal.kind != KIND:
        raise NotFound(f"there is no proposal {proposal_id}")
    if not tx.withdraw_proposal(proposal.id):
        raise Conflict("closed", "the proposal is not open any more")
    tx.append("policy_withdrawn", by, SUBJECT, now, {"proposal": proposal.id, "commit": proposal.subject}, because)


def activate_head(tx: Tx, gate: Gate, by: str, now: datetime, fleet: Walked | None = None) -> ActivePolicy | None:
    """Takes up the branch's head: active where one person may, else a proposal; returns the row that rules now.

    Raises:
        Overtaken: another process has activated a commit meanwhile, or the fleet must be walked again.
        OperatorError: nothing rules, and nothing can.
    """
    active = tx.active_policy()
    try:
        head = gate.texts.head()
    except OperatorError:
        if active is None:
            raise
        if active.problem != GONE:
            tx.policy_problem(GONE)
        return active
    _give_up(tx, head, by, now)
    if active is not None and active.commit == head:
        if active.problem:
            tx.policy_problem("")
        return active
    try:
        found = pushed(tx, gate, head, active, now)
    except GateError as problem:
        said = f"commit {head[:12]} is refused: {problem.detail}"
        if active is not None and active.problem != said:
            tx.policy_problem(said)
            tx.append("policy_refused", by, head, now, {"problem": problem.detail[:2000]})
        return active
    if active is None or found.people < PEOPLE:
        place_all(tx, gate.policy(head), fleet)
        people = [by] if active is None else [found.by] if found.by != PUSHED else []
        return _activate(tx, gate, _Act(head, (people or [by])[0], "", people), active, now)
    _wait(tx, gate, head, active, found, now)
    return tx.active_policy()


def pushed(tx: Tx, gate: Gate, head: str, active: ActivePolicy | None, now: datetime) -> Pushed:
    """What a head says that somebody has put there; nothing is written.

    Raises:
        GateError: it never rules: it does not parse, does not descend from what rules, or nobody who may has signed it.
    """
    _not_rewound(gate, head, active)
    by, policy = _pushed_by(tx, gate, head, active, now), gate.policy(head)
    unseen = unseen_ends(gate.texts.read(head))
    if unseen:
        raise PolicyProblems(unseen)
    if active is None:
        return Pushed(by, ())
    old = gate.policy(active.commit)
    refuse_too_many(tx, old, policy)
    return Pushed(by, diff(old, policy, today(gate, tx, now)))


def _not_rewound(gate: Gate, head: str, active: ActivePolicy | None) -> None:
    if active is not None and not gate.texts.descends(head, active.commit):
        raise Conflict("rewound", f"it does not descend from the active {active.commit[:12]}")


def _pushed_by(tx: Tx, gate: Gate, head: str, active: ActivePolicy | None, now: datetime) -> str:
    """Who has signed the head; ``PUSHED`` where nobody is asked.

    Raises:
        Conflict: unsigned: a commit since the active one that no person who may has signed.
    """
    if gate.signers is None or active is None:
        return PUSHED
    signers = {commit: _signer(tx, gate.signers, commit, now) for commit in gate.texts.between(head, active.commit)}
    return signers[head]


def _signer(tx: Tx, signers: Signers, commit: str, now: datetime) -> str:
    for state in ("open", "enacted", "expired", "withdrawn"):
        for one in tx.proposals(state, commit):
            if one.kind == KIND and not _is_pushed(one):
                return one.proposed_by  # the gate wrote it
    login = signers.signed_by(commit, now)
    user = tx.user(login)
    if user is None or not may(user, "policy"):
        raise Conflict("unsigned", f"{login}, who has signed {commit[:12]}, may not change the policy")
    return login


def _wait(tx: Tx, gate: Gate, head: str, active: ActivePolicy, found: Pushed, now: datetime) -> None:
    """A head that loosens becomes a proposal."""
    if tx.proposal(_pushed_name(head)) is None:  # else it waits, has expired or was withdrawn
        _proposed(tx, _pushed_name(head), head, found.by, _subject(gate, head), found.changes, now)
    said = f"commit {head[:12]} loosens: two people must agree"
    if active.problem != said:
        tx.policy_problem(said)


def _subject(gate: Gate, head: str) -> str:
    """What whoever pushed it wrote above it."""
    return gate.texts.version(head).subject or f"pushed as {head[:12]}"


def _pushed_name(head: str) -> str:
    return f"p-{head[:24]}"


def _is_pushed(proposal: Proposal) -> bool:
    return proposal.id == _pushed_name(proposal.subject)


def today(gate: Gate, tx: Tx, now: datetime) -> date:
    """The policy's local day: a freeze that is over may be dropped by one person."""
    active = tx.active_policy()
    return now.astimezone(gate.policy(active.commit).zone).date() if active else now.date()


def behind(tx: Tx, proposal: Proposal) -> list[str]:
    """Who stands behind it now: whoever was shut out since, or has a lesser role, does not."""
    words = [(proposal.proposed_by, "policy"), *((one, "sign") for one in proposal.signatures)]
    return list(dict.fromkeys(person(tx, by) for by, act in words if _still(tx, by, act)))


def _still(tx: Tx, by: str, act: str) -> bool:
    login = person(tx, by)
    user = tx.user(login) if login else None
    return login not in ("", PUSHED) and (user is None or may(user, act))


def _open(tx: Tx, proposal_id: str, now: datetime) -> Proposal:
    proposal = tx.proposal(proposal_id)
    if proposal is None or proposal.kind != KIND:
        raise NotFound(f"there is no proposal {proposal_id}")
    if proposal.state == "expired" or (proposal.state == "open" and proposal.expires_at <= now):
        raise Conflict("expired", "the proposal has expired; propose it anew")
    if proposal.state != "open":
        raise Conflict("closed", f"the proposal is {proposal.state}")
    return proposal


def _proposed(
    tx: Tx, name: str, commit: str, by: str, because: str, changes: Sequence[Change], now: datetime
) -> Proposal:
    exact = hashlib.sha256(f"{KIND}/{commit}".encode()).hexdigest()
    made = Proposal(name, KIND, commit, because, by, now, now + PROPOSAL_FOR, exact, "open")
    tx.add_proposal(made)
    looser = sum(one.direction is Direction.LOOSENS for one in changes)
    detail = {"proposal": name, "commit": commit, "loosens": looser, "changes": len(changes)}
    tx.append("policy_proposed", by, SUBJECT, now, detail, because)
    return made


def _message(tx: Tx, proposal: Proposal, people: Sequence[str]) -> str:
    proposer = person(tx, proposal.proposed_by)
    signed = "".join(f"Signed-off-by: {name}\n" for name in people if name != proposer)
    return f"{proposal.because}\n\nProposed-by: {proposal.proposed_by}\n{signed}"


def _activate(tx: Tx, gate: Gate, act: _Act, active: ActivePolicy | None, now: datetime) -> ActivePolicy:
    row, before = ActivePolicy(act.commit, now, act.by), active.commit if active else ""
    if not tx.activate_policy(row, before):
        raise Overtaken
    _give_up(tx, act.commit, act.by, now)
    tx.keep_policy_text(act.commit, gate.texts.read(act.commit))
    detail = {"before": before, "people": list(act.people), **({"proposal": act.proposal} if act.proposal else {})}
    tx.append("policy_activated", act.by, act.commit, now, detail, act.because, act.commit)
    return row
