"""Machines enrol, are accepted, check in and are revoked; their calls are taken once and in order.

- An enrolment makes a *pending* machine and nothing else: site from the code, no ring, no labels, no claim.
- A machine's id follows from its key, so that a key never speaks for two machines and a revoked key never returns.
- A machine's key is changed by a new enrolment that a person accepts; the old key works until it is revoked.
- A call is taken when its ``seq`` is above the last one, by at most a million; the same bytes as the last call get the
  stored answer. Refusals with 409 are stored and consume the ``seq``, all but ``stale_seq``.
- Role and labels are fixed at acceptance; a check-in that says another role is an event. Other facts change the make.
  A ring never follows from what a machine says about itself: it changes with the policy only.
- A check-in that tells of a crash, or of a boot that nobody asked for, speaks against what is watched (``restarts``).
- The first check-in after a night teaches when the machine is usually on; no other check-in writes more for it.
- A machine enters ring 0 or 1 by two people's word, bound to the exact site, role and labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gate.core import habits
from gate.core.errors import CallerError, Conflict, Malformed, NotFound, Overtaken, Unauthenticated
from gate.core.model import ABSENT, Machine, MachineStatus
from gate.core.policy import Policy
from gate.flows import mirror, remade, restarts
from gate.flows.agreement import person, shut_out, somebody
from gate.flows.claims import lapse
from gate.flows.placing import place
from gate.ports import EnrolCode, Gate, Proposal, Session, Tx

MAX_STEP = 1_000_000
CHALLENGE_FOR = timedelta(hours=24)
NONCE_FOR = timedelta(minutes=10)
CODE_FOR = timedelta(hours=72)
PROPOSAL_FOR = timedelta(hours=24)
PENDING_AT_A_SITE = 200
TWO_PEOPLE_RINGS = 2
NOT_USED = "claim_not_used"  # an event of a check-in: a claim, named by its detail's first word, that was not begun
GOING_DOWN = "going_down"  # the last event of a check-in: a planned shutdown, dark until the next opening day

Place = Callable[[Machine], tuple[str, str]]


class SlowDown(CallerError):
    """Too much at once; carries retry_after_s."""

    status = 429

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__("slow_down", detail, retry_after_s=retry_after_s)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call was answered, as it is stored: JSON text."""

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was taken and waits for its answer."""

    machine: Machine
    name: str
    seq: int
    session: Session | None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A machine that wants to join; its signature has been verified."""

    code: str
    nonce: str
    public_key: str
    keyid: str
    facts: Mapping[str, str]
    payload_sha256: str


@dataclass(frozen=True, slots=True)
class Said:
    """An event as the machine tells it."""

    kind: str
    at: str
    detail: str


@dataclass(frozen=True, slots=True)
class CheckIn:
    """A sign of life."""

    boot_id: str
    uptime: timedelta
    installed: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    timestamp_version: int = 0
    events: tuple[Said, ...] = ()


def challenge(tx: Tx, nonce: str, now: datetime) -> datetime:
    """Keeps a fresh nonce for one enrolment; returns when it expires."""
    tx.add_nonce(nonce, now + NONCE_FOR)
    return now + NONCE_FOR


def create_code(
    tx: Tx, secret: str, root_sha256: str, site: str, uses: int, valid: timedelta, by: str, now: datetime
) -> str:
    """A new enrolment code for a site; only the hash of its secret (128 random bits as hex) is kept.

    Raises:
        NotFound: no such site.
        Malformed: uses or time out of bounds.
    """
    if tx.site(site) is None:
        raise NotFound(f"there is no site {site}")
    if not 1 <= uses <= 1000 or not timedelta() < valid <= CODE_FOR:
        raise Malformed("bad_field", "a code has 1 to 1000 uses and holds for at most 72 hours")
    tx.add_code(EnrolCode(_sha256(secret), site, uses, now + valid, by))
    tx.append("code_created", by, site, now, {"uses": uses, "expires_at": (now + valid).isoformat()})
    return f"{secret}.{root_sha256}"


def enrol(tx: Tx, wanted: Enrolment, root_sha256: str, now: datetime) -> Answer:
    """Makes a pending machine, or answers for the one that has this key already.

    Raises:
        Unauthenticated: nonce, code or key are not good; nothing has changed then.
        SlowDown: the site has too many pending machines.
    """
    machine_id = f"m-{wanted.keyid[:32]}"
    known = tx.machine(machine_id)
    if known is not None and (known.status is MachineStatus.REVOKED or known.public_key != wanted.public_key):
        raise Unauthenticated
    stored = tx.enrolment(wanted.payload_sha256)
    if stored is not None:
        return Answer(*stored)
    secret, _, root = wanted.code.partition(".")
    if root and root != root_sha256:
        raise Unauthenticated
    code = tx.use_code(_sha256(secret), now) if tx.use_nonce(wanted.nonce, now) else None
    if code is None:
        raise Unauthenticated
    if known is None:
        _add_pending(tx, wanted, machine_id, code, now)
    status = MachineStatus.PENDING if known is None else known.status
    text = json.dumps({"machine": machine_id, "status": status.value, "fingerprint": wanted.keyid})
    tx.save_enrolment(wanted.payload_sha256, 202, text, now)
    return Answer(202, text)


def _add_pending(tx: Tx, wanted: Enrolment, machine_id: str, code: EnrolCode, now: datetime) -> None:
    if len(tx.machines(site=code.site, status="pending", limit=PENDING_AT_A_SITE)) >= PENDING_AT_A_SITE:
        raise SlowDown("too many machines of this site wait to be accepted", 3600)
    name = wanted.facts.get("hostname") or machine_id
    twins = [m for m in tx.machines(site=code.site, status="active", limit=1000) if m.name == name]
    machine = Machine(
        id=machine_id,
        site=code.site,
        status=MachineStatus.PENDING,
        name=name,
        facts=dict(wanted.facts),
        public_key=wanted.public_key,
    )
    tx.add_machine(machine, wanted.keyid)
    detail = {"site": code.site, "fingerprint": wanted.keyid, "code_by": code.created_by}
    tx.append("machine_enrolled", f"machine:{machine_id}", machine_id, now, detail)
    for twin in twins:
        tx.append("enrolment_conflict", f"machine:{machine_id}", twin.id, now, {"pending": machine_id, "name": name})


def accept(
    tx: Tx,
    gate: Gate,
    machine: Machine,
    site: str,
    role: str,
    labels: Iterable[str],
    by: str,
    now: datetime,
    policy: Policy,
    *,
    people: int = 2,
) -> Machine | Proposal:
    """A person lets a pending machine in, with its site, role and labels; ring and make follow from the policy.

    Into ring 0 or 1 it takes ``people`` (2; 1 where the operator's own shell acts): the first call proposes, the same
    call by another person enacts.

    Raises:
        NotFound: no such site.
        Conflict: not_pending, or needs_people when the proposer asks again.
    """
    if tx.site(site) is None:
        raise NotFound(f"there is no site {site}")
    if machine.status is not MachineStatus.PENDING:
        raise Conflict("not_pending", f"machine {machine.id} is {machine.status.value}")
    wanted = replace(
        machine,
        site=site,
        status=MachineStatus.ACTIVE,
        facts={**machine.facts, "role": role},
        labels=frozenset(labels),
        accepted_at=now,
    )
    ring, make = place(tx, policy, wanted)
    wanted = replace(wanted, ring=ring, make=make)
    early = {rule.name for rule in policy.rings[:TWO_PEOPLE_RINGS]}
    if people > 1 and ring in early:
        open_proposal = _second(tx, wanted, by, now)
        if open_proposal is not None:
            return open_proposal
    if not tx.accept_machine(wanted, now):
        raise Conflict("not_pending", f"machine {machine.id} has been decided a moment ago")
    remade.came(tx, gate, wanted)
    detail = {"site": site, "role": role, "labels": sorted(wanted.labels), "ring": ring, "make": make}
    tx.append("machine_accepted", by, machine.id, now, detail)
    return wanted


def _second(tx: Tx, wanted: Machine, by: str, now: datetime) -> Proposal | None:
    """The proposal that still waits for another person; None when ``by`` was the second and it is enacted."""
    text = json.dumps([wanted.id, wanted.site, wanted.role, sorted(wanted.labels), wanted.ring])
    digest, who = _sha256(text), somebody(tx, by)
    for old in tx.proposals("open", wanted.id, now):
        if (old.kind, old.sha256) != ("accept_machine", digest):
            continue
        if shut_out(tx, old.proposed_by, "accept"):
            continue
        if person(tx, old.proposed_by) == who:
            raise Conflict("needs_people", f"{who} has proposed this; another person must accept")
        if tx.sign_proposal(old.id, by, digest, now) and tx.enact_proposal(old.id, now):
            return None
    proposal = Proposal(
        id="p-" + _sha256(f"{digest}/{by}/{now.isoformat()}")[:24],
        kind="accept_machine",
        subject=wanted.id,
        because=text,
        proposed_by=by,
        proposed_at=now,
        expires_at=now + PROPOSAL_FOR,
        sha256=digest,
        state="open",
    )
    tx.add_proposal(proposal)
    tx.append("machine_proposed", by, wanted.id, now, {"ring": wanted.ring, "sha256": digest})
    return proposal


def revoke(tx: Tx, machine: Machine, by: str, because: str, now: datetime) -> None:
    """A machine's key and its tokens are worth nothing from now on; its slot is free only after its claim's deadline.

    Raises:
        Conflict: revoked already.
    """
    if not tx.revoke_machine(machine.id, now):
        raise Conflict("revoked", f"machine {machine.id} is revoked already")
    tx.append("machine_revoked", by, machine.id, now, {"site": machine.site}, because)
    mirror.shut_out(tx, machine.id, by, now)


def take_call(
    tx: Tx, machine: Machine, kind: str, payload_sha256: str, seq: int, challenge: str | None, now: datetime
) -> Call | Answer:
    """Takes a verified call of an active machine, or returns the answer it has already.

    Raises:
        Malformed: bad_field, where the seq steps too far.
        Conflict: stale_seq, with last_seq.
    """
    session = tx.session(machine.id)
    name = f"{kind}:{payload_sha256}"
    if session is not None and session.last_call == name:
        return Answer(session.last_status, session.last_answer)
    last = session.seq if session else 0
    if seq <= last:
        raise _stale(last)
    if seq - last > MAX_STEP:
        raise Malformed("bad_field", f"seq steps by more than {MAX_STEP} from {last}")
    call = Call(machine, name, seq, session)
    if not _challenge_holds(session, kind, challenge, now):
        text = json.dumps({"kind": "stale_challenge", "detail": "check in again: the challenge is not the latest"})
        return answer_call(tx, call, Answer(409, text), now)
    return call


def answer_call(
    tx: Tx,
    call: Call,
    answer: Answer,
    now: datetime,
    *,
    challenge: str = "",
    said: CheckIn | None = None,
) -> Answer:
    """Stores the answer and consumes the seq; a check-in also brings its challenge and what the machine runs.

    Raises:
        Conflict: stale_seq, where another process took the same seq; the caller's transaction is rolled back.
    """
    old = call.session
    before = old if old is not None else Session(call.machine.id, 0, "", None, "", 0, "", "", 0, {})
    spoken = call.name, answer.status, answer.text
    if said is not None:
        told = said.boot_id, said.timestamp_version, said.installed
        after = Session(before.machine, call.seq, challenge, now, *spoken, *told)
    else:
        told = before.boot_id, before.timestamp_version, before.installed
        after = Session(before.machine, call.seq, before.challenge, before.challenge_at, *spoken, *told)
    if not tx.save_session(after, old.seq if old is not None else -1):
        raise _stale(max(call.seq, before.seq))
    tx.seen(call.machine.id, now, down=said is not None and bool(said.events) and said.events[-1].kind == GOING_DOWN)
    return answer


def _stale(last: int) -> Conflict:
    return Conflict("stale_seq", f"the last seq was {last}", last_seq=last)


def _challenge_holds(session: Session | None, kind: str, challenge: str | None, now: datetime) -> bool:
    if challenge is None:
        return kind == "checkin"
    if session is None or session.challenge_at is None or not session.challenge:
        return False
    return session.challenge == challenge and now <= session.challenge_at + CHALLENGE_FOR


def checkin(tx: Tx, gate: Gate, machine: Machine, said: CheckIn, place: Place, now: datetime) -> Machine:
    """Takes what a machine says about itself; returns it as it is known from now on.

    Raises:
        Overtaken: another process has moved the machine meanwhile.
    """
    actor = f"machine:{machine.id}"
    for event in said.events:
        detail = {"kind": event.kind, "at": event.at, "detail": event.detail}
        tx.append("machine_said", actor, machine.id, now, detail)
    if habits.starts(machine.last_seen_at, now):
        _learn(tx, gate, machine, now)
    live = tx.live_claim(machine.id)
    by_mirror = live is not None and mirror.heard(tx, gate, machine, live, said, now)
    if live is not None and not by_mirror and said.installed.get(live.source, ABSENT) != live.release:
        given_up = [event.detail.partition(" ")[0] for event in said.events if event.kind == NOT_USED]
        lapse(tx, gate, live, now, given_up=live.id in given_up)
    session = tx.session(machine.id)
    if session is not None:
        restarts.heard(tx, gate, machine, session.boot_id, said, now)
    return _take_facts(tx, gate, machine, said.facts, place, now) if said.facts else machine


def _learn(tx: Tx, gate: Gate, machine: Machine, now: datetime) -> None:
    """A day of this machine starts: what is known of when it is on."""
    active = tx.active_policy()
    if active is not None:
        zone = gate.policy(active.commit).zone
        tx.learn(machine.id, habits.learned(habits.read(machine.habit), machine.last_seen_at, now, zone))


def _take_facts(tx: Tx, gate: Gate, machine: Machine, facts: Mapping[str, str], place: Place, now: datetime) -> Machine:
    actor = f"machine:{machine.id}"
    role = facts.get("role", machine.role)
    if role != machine.role:
        said = {"fact": "role", "accepted": machine.role, "said": role}
        newest = next((e for e in tx.events(subject=machine.id, limit=50) if e.kind == "fact_mismatch"), None)
        if newest is None or dict(newest.detail) != said:
            tx.append("fact_mismatch", actor, machine.id, now, said)
    kept = {key: value for key, value in facts.items() if key != "role"}
    if "role" in machine.facts:
        kept["role"] = machine.facts["role"]
    if kept == dict(machine.facts):
        return machine
    ring, make = place(replace(machine, facts=kept))
    after = replace(machine, facts=kept, make=make)
    if make != machine.make and machine.status is MachineStatus.ACTIVE:
        remade.moved(tx, gate, machine, make, now)
    if not tx.save_facts(machine, kept, make):
        raise Overtaken
    if (ring, make) != (machine.ring, machine.make):
        moved = {"make": make, "make_before": machine.make, "ring": machine.ring, "ring_by_policy": ring}
        tx.append("make_changed", actor, machine.id, now, moved)
    return after


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
