"""What people do: log in, halt, resume, approve a ring, explain a failure.

- Stop: one person, with a reason, at once. Go (resume): two different people, bound to the sha256 of the exact
  proposal; who proposed does not count as the second. A proposal expires in 24 hours.
- There is no default password: a one-time link lets a new person choose one. Roles: reader, technician, approver,
  admin; each may do what those before it may.
- A session ends after 15 idle minutes or 8 hours; its id is new at each login, and only its hash is stored.
- A halt needs the store alone: it works with the policy repository gone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from gate.core.claims import ROLLOUT_STEPS
from gate.core.errors import Conflict, Forbidden, Malformed, NotFound, Unauthenticated
from gate.core.model import Attribution, Rollout, RolloutState
from gate.core.policy import Policy
from gate.flows import expedite
from gate.flows.agreement import agreed, person, reason_given, somebody
from gate.flows.claims import renew_limits
from gate.flows.intake import taken_over
from gate.flows.roles import NEEDS as NEEDS
from gate.flows.roles import ROLES as ROLES
from gate.flows.roles import may as may
from gate.ports import Asked, Gate, Proposal, Tx, User, WebSession

IDLE, ABSOLUTE = timedelta(minutes=15), timedelta(hours=8)
TOUCH = timedelta(minutes=1)
LINK_FOR = timedelta(hours=24)
LEAST_PASSWORD = 12
STEP_UP_FOR = timedelta(minutes=10)
TRIES = 20
MOVING = tuple(
    before for before, after in ROLLOUT_STEPS if after is RolloutState.HALTED and before is not RolloutState.SUPERSEDED
)
"""What the brake halts: what machines may take, now or later; what is done is handed out too."""
ALL = {"all": True}
"""In the event of a halt by the brake on everything."""


def add_user(tx: Tx, user_id: str, name: str, role: str, link: str, by: str, now: datetime) -> User:
    """A new person, who chooses a password by the one-time link (its secret is ``link``).

    Raises:
        Malformed: no such role, or a bad name.
        Conflict: the name is taken.
    """
    if role not in ROLES:
        raise Malformed("bad_field", f"a role is one of {', '.join(ROLES)}")
    check_login(user_id)
    if tx.user(user_id) is not None:
        raise Conflict("taken", f"{user_id} exists")
    user = User(user_id, name or user_id, role, "", False, now)
    tx.save_user(user)
    tx.append("user_added", by, user_id, now, {"role": role})
    new_link(tx, user_id, link, by, now)
    return user


def check_login(user_id: str) -> None:
    """Raises Malformed where this is no login."""
    if not user_id or len(user_id) > 60 or not all(char.isalnum() or char in ".-_@" for char in user_id):
        raise Malformed("bad_field", "a login is 1 to 60 letters, digits, dots, dashes or @")


def new_link(tx: Tx, user_id: str, link: str, by: str, now: datetime) -> None:
    """A one-time link for a person, such as for a forgotten password.

    Raises:
        NotFound: no such person.
    """
    if tx.user(user_id) is None:
        raise NotFound(f"there is no user {user_id}")
    tx.add_one_time_link(digest(link), user_id, now + LINK_FOR)
    tx.append("link_created", by, user_id, now)


def disable_user(tx: Tx, user_id: str, by: str, now: datetime) -> None:
    """A person may not log in any more; sessions end at once.

    Raises:
        NotFound: no such person.
    """
    user = tx.user(user_id)
    if user is None:
        raise NotFound(f"there is no user {user_id}")
    tx.save_user(replace(user, disabled=True))
    tx.drop_web_sessions(user=user_id)
    tx.append("user_disabled", by, user_id, now)


def link_of(tx: Tx, link: str, now: datetime) -> User | None:
    """Who may still choose a password by this one-time link. Asking does not use it."""
    user_id = tx.one_time_link(digest(link), now)
    user = tx.user(user_id) if user_id else None
    return None if user is None or user.disabled else user


def choose_password(tx: Tx, link: str, password: str, hashed: Callable[[str], str], now: datetime) -> User:
    """Uses a one-time link; every session of the person ends.

    Raises:
        Malformed: too short. Unauthenticated: no such link, used, or expired.
    """
    if len(password) < LEAST_PASSWORD or len(password) > 1000:
        raise Malformed("bad_field", f"a password has at least {LEAST_PASSWORD} characters")
    user_id = tx.use_one_time_link(digest(link), now)
    user = tx.user(user_id) if user_id else None
    if user is None or user.disabled:
        raise Unauthenticated("this link is used, expired or unknown")
    after = replace(user, password_hash=hashed(password))
    tx.save_user(after)
    tx.drop_web_sessions(user=user.id)
    tx.append("password_chosen", user.id, user.id, now)
    return after


def log_in(tx: Tx, user_id: str, verified: bool, token: str, now: datetime) -> User:
    """A new session for a person whose password was verified (outside: it takes long).

    Raises:
        Unauthenticated: one answer for an unknown name and a wrong password.
    """
    user = tx.user(user_id)
    if user is None or user.disabled or not verified:
        raise Unauthenticated("name or password is wrong")
    tx.add_web_session(WebSession(digest(token), user.id, now, now, now))
    tx.append("logged_in", user.id, user.id, now)
    return user


def session_of(tx: Tx, token: str, now: datetime) -> tuple[User, WebSession] | None:
    """Who this session is; None when it has ended."""
    session = tx.web_session(digest(token)) if token else None
    if session is None or now - session.seen_at > IDLE or now - session.created_at > ABSOLUTE:
        return None
    user = tx.user(session.user)
    return None if user is None or user.disabled else (user, session)


def step_up(tx: Tx, token: str, user_id: str, now: datetime) -> None:
    """The person behind a session has been confirmed anew."""
    tx.step_up(digest(token), now)
    tx.append("stepped_up", user_id, user_id, now)


def log_out(tx: Tx, token: str, user_id: str, now: datetime) -> None:
    """Ends one session."""
    tx.drop_web_sessions(session_id=digest(token))
    tx.append("logged_out", user_id, user_id, now)


def halt(tx: Tx, rollout_id: str, by: str, because: str, now: datetime) -> Rollout:
    """Offers a rollout to nobody any more, at once; what has waited for it starts with the worker's next tick.

    Raises:
        NotFound: no such rollout. Malformed: no reason. Conflict: it cannot be halted (any more).
    """
    reason_given(because)
    rollout = tx.rollout(rollout_id)
    if rollout is None:
        raise NotFound(f"there is no rollout {rollout_id}")
    if (rollout.state, RolloutState.HALTED) not in ROLLOUT_STEPS:
        raise Conflict("not_running", f"the rollout is {rollout.state.value}")
    halted = _halted(rollout, by, because, now)
    if not tx.save_rollout(halted):
        raise Conflict("changed", "the rollout has changed a moment ago; look again")
    tx.append("rollout_halted", by, rollout.id, now, {"because": because}, because)
    return halted


def halt_all(tx: Tx, by: str, because: str, now: datetime) -> list[Rollout]:
    """The brake: every rollout that moves is halted. One that somebody changes at this moment is read anew and halted
    too, or is left where it is over by then. Where nothing moves, that somebody has pulled it is an event.

    Raises:
        Malformed: no reason. Conflict: changed, where one was changed ``TRIES`` times on end.
    """
    reason_given(because)
    halted: list[Rollout] = []
    while moving := tx.rollouts(states=MOVING):  # what is halted or over is in the next look no more
        found = [_braked(tx, rollout, by, because, now) for rollout in moving]
        halted += [one for one in found if one is not None]
    for one in halted:  # after all rows: a worker writes in this order too
        tx.append("rollout_halted", by, one.id, now, {"because": because, **ALL}, because)
    if not halted:
        tx.append("brake_pulled", by, "all", now, {}, because)
    return halted


def by_brake(tx: Tx, rollout: Rollout) -> bool:
    """Was a halted rollout halted by the brake on everything?"""
    said = tx.asked_events(Asked(subject=rollout.id, kind="rollout_halted"), None, 1)
    return bool(said) and said[0].detail.get("all") is True


def _braked(tx: Tx, rollout: Rollout | None, by: str, because: str, now: datetime) -> Rollout | None:
    for _ in range(TRIES):
        if rollout is None or rollout.state not in MOVING:
            return None
        halted = _halted(rollout, by, because, now)
        if tx.save_rollout(halted):
            return halted
        rollout = tx.rollout(rollout.id)
    raise Conflict("changed", "the rollout has changed a moment ago; look again")


def _halted(rollout: Rollout, by: str, because: str, now: datetime) -> Rollout:
    return replace(
        rollout,
        state=RolloutState.HALTED,
        halted_by=by,
        halted_because=because,
        halted_at=now,
        version=rollout.version + 1,
    )


def resume(tx: Tx, rollout_id: str, by: str, because: str, now: datetime) -> Rollout | Proposal:
    """Lifts a halt: the first person proposes, the same call by another enacts.

    The proposal is bound to this very halt; a new halt voids it. Approvals of rings, waivers and the fast lane must be
    given anew. Where a newer release is done meanwhile it does not run again: it is superseded.

    Raises:
        NotFound, Malformed, Conflict: not_halted, needs_people (the proposer asks again), other_running.
    """
    reason_given(because)
    rollout = tx.rollout(rollout_id)
    if rollout is None:
        raise NotFound(f"there is no rollout {rollout_id}")
    if rollout.state is not RolloutState.HALTED:
        raise Conflict("not_halted", f"the rollout is {rollout.state.value}")
    busy = (RolloutState.RUNNING, RolloutState.HELD)
    if any(other.id != rollout.id for other in tx.rollouts(states=busy, source=rollout.source)):
        raise Conflict("other_running", "another release of this source is running; halt it first")
    proposal = second(tx, "resume", rollout, because, by, now)
    if proposal is not None:
        return proposal
    newer = taken_over(tx, rollout)
    after = replace(
        rollout,
        state=RolloutState.SUPERSEDED if newer else RolloutState.RUNNING,
        halted_by="",
        halted_because="",
        halted_at=None,
        expedited_until=None,
        version=rollout.version + 1,
    )
    if not tx.save_rollout(after):
        raise Conflict("changed", "the rollout has changed a moment ago; look again")
    waived = tx.void_waivers(rollout.id)  # rows before events: a worker writes in this order too
    tx.append("rollout_resumed", by, rollout.id, now, {"because": because}, because)
    if newer:
        tx.append("rollout_superseded", "gate", rollout.id, now, {"by": newer})
    for ring in tx.grounds(rollout.id, now).approved_by:  # they were given before anybody knew why it would halt
        tx.append("approval_void", by, f"{rollout.id}/{ring}", now, {"ring": ring}, because)
    expedite.void(tx, rollout, by, because, now)
    for ring in waived:
        tx.append("waiver_void", by, rollout.id, now, {"ring": ring}, because)
    return after


def approve_ring(tx: Tx, gate: Gate, rollout_id: str, ring: str, by: str, because: str, now: datetime) -> None:
    """A person's word for a ring: ``needs: {people: n}`` asks for it, or ``decides: people``; one word a person.

    Raises:
        NotFound: no such rollout or ring. Malformed: no reason. Conflict: not running, not needed, given already.
    """
    reason_given(because)
    rollout = tx.rollout(rollout_id)
    if rollout is None or ring not in {row.ring for row in tx.rings(rollout_id)}:
        raise NotFound(f"there is no rollout {rollout_id} with a ring {ring}")
    if rollout.state is not RolloutState.RUNNING:
        raise Conflict("not_running", f"the rollout is {rollout.state.value}")
    policy = gate.policy(rollout.policy_version)
    rule = policy.settings_for(ring, rollout.source)
    asks = policy.ruled(asking(policy, ring, rollout.source))
    if not rule.wants_people:
        raise Conflict("not_needed", f"ring {ring} needs nobody's approval", **asks)
    subject = f"{rollout.id}/{ring}"
    who = somebody(tx, by, **asks) if rule.needs_people > 1 else person(tx, by) or by
    if who in {person(tx, one) or one for one in tx.grounds(rollout.id, now).approved_by.get(ring, ())}:
        raise Conflict("given", f"{who} has approved ring {ring} already", **asks)
    tx.append("ring_approved", by, subject, now, {"ring": ring}, because, rollout.policy_version)


def asking(policy: Policy, ring: str, source: str) -> str:
    """The rule that asks people to open a ring, or says that nobody is asked; the ring where neither is said."""
    place = f"rings[{policy.index(ring)}]"
    needs = f"{place}.needs" if policy.settings_for(ring, source).needs_people else ""
    return needs or policy.stated_at("decides", ring, source) or place


def explain_failure(tx: Tx, gate: Gate, claim_id: str, by: str, because: str, now: datetime) -> None:
    """A failure has a cause that is not the release: it leaves the count, visibly and for ever.

    Raises:
        NotFound: no such claim. Malformed: no reason. Conflict: no failure, or explained already.
    """
    reason_given(because)
    claim = tx.claim(claim_id)
    if claim is None:
        raise NotFound(f"there is no claim {claim_id}")
    if not tx.explain(claim_id):
        raise Conflict("not_a_failure", "this claim is no unexplained failure")
    machine = tx.machine(claim.machine)
    tx.attribute(
        Attribution(
            rollout=claim.rollout,
            kind="explained",
            claim=claim.id,
            machine=claim.machine,
            name=machine.name if machine else claim.machine,
            site=claim.site,
            ring=claim.ring,
            make=claim.make,
            was=claim.state.value,
            by=by,
            because=because,
            at=now,
        )
    )
    renew_limits(tx, gate, claim.rollout, claim.make)
    detail = {"claim": claim.id, "machine": claim.machine, "make": claim.make, "state": claim.state.value}
    tx.append("failure_explained", by, claim.rollout, now, detail, because)


def second(tx: Tx, kind: str, rollout: Rollout, because: str, by: str, now: datetime) -> Proposal | None:
    """The proposal that waits for another person; None when ``by`` was the second and it is enacted."""
    return agreed(tx, kind, rollout.id, bound(kind, rollout), because, by, now)


def bound(kind: str, rollout: Rollout) -> str:
    """What a proposal's signatures are bound to: this rollout in this very state."""
    halted_at = rollout.halted_at.isoformat() if rollout.halted_at else ""
    return digest(json.dumps([kind, rollout.id, rollout.version, halted_at]))


def demand(user: User, act: str) -> None:
    """Raises Forbidden where the role does not allow the act."""
    if not may(user, act):
        raise Forbidden("role", f"this needs the role {NEEDS[act]}")


def digest(text: str) -> str:
    """Hex sha256: what is stored of a secret."""
    return hashlib.sha256(text.encode()).hexdigest()
