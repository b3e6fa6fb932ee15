"""Who watches the watchman: what a supervisor asks at ``/readyz``, and beside it ages, queues, keys, policy, backup.

- Everything is read when it is asked for; what is not known is said to be not known.
- ``/live`` is what an open page asks every few seconds: one short word that changes when something has happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

from flask import Response, g, render_template, request

from gate.flows import edits, levers, listening, mornings, orders, policy_remote
from gate.ports import Store, Tx
from gate.web import forms

SOON = timedelta(days=14)
LATE = 0.25  # of its life: what is written anew by itself is late when less is left
DUE = 500
BYPASSED = "/machines?status=active&standing=bypassed"
MARKS = (
    ("a worker was at work", listening.MARK),
    ("this morning was looked at", mornings.MARK),
    ("old rows left the database", "retention"),
    ("it was planned whether releases arrive in time", "plans"),
    ("a backup was made", "backup"),
)


def system() -> str:
    """Is gate itself well?"""
    with g.parts.store.read() as tx:
        checks = [*g.parts.ready(), *policy_checks(tx)]
        marks = [(said, tx.mark(name).at) for said, name in MARKS]
        decision = tx.newest_decision()
        queues, undone = _queues(tx), orders.troubles(tx)
        size, root = tx.audit_head()
        active = tx.active_policy()
        remote = tx.mark(policy_remote.MARK).at, policy_remote.trouble(tx)
        policy = g.parts.policy()
        held = levers.levers(tx, policy.sources) if policy else {}
    roles = g.parts.roles()
    return render_template(
        "system.html",
        checks=checks,
        bad=[what for what, well, _ in checks if not well],
        marks=marks,
        decided_at=decision[1] if decision else None,
        queues=queues,
        undone=undone,
        audit=(size, root.hex()),
        active=active,
        head=forms.branch_head(),
        remote=remote,
        held=held,
        roles=[(one, _left(one.written_at, one.expires_at)) for one in roles],
        published_at=max((one.written_at for one in roles), default=None),
        about=g.parts.about,
        now=g.now,
    )


def policy_checks(tx: Tx) -> list[tuple[str, bool, str]]:
    """Does the policy rule that its branch says? A head that waits for people is no fault.

    ``/readyz`` does not ask this: the gate works on with the version before, and stays in service.
    """
    active, found = tx.active_policy(), []
    if active is not None and g.parts.policy() is None:
        found.append(("active policy", False, "The policy cannot be read: nothing opens and nothing is granted."))
    elif active is not None:
        refused = active.problem if active.problem and not edits.waits(tx, forms.branch_head(), g.now) else ""
        found.append(("policy branch", not refused, refused or "the branch's head is active, or waits for people"))
    trouble = policy_remote.trouble(tx)
    return [*found, ("policy remote", False, trouble)] if trouble else found


def live() -> Response:
    """A word that changes with every event, decision and minute; 304 where the asker has it already.

    It is answered at once: ``stream`` tells the same as it happens, to as many as there is room for.
    """
    answer = Response(status=204)
    answer.set_etag(mark(g.parts.store, g.now))
    answer.make_conditional(request)
    return answer


def mark(store: Store, now: datetime) -> str:
    """A word that is another one after every event, decision and minute."""
    with store.read() as tx:
        size, decision = tx.audit_size(), tx.newest_decision()
    said = f"{size}/{decision[0] if decision else 0}/{int(now.timestamp()) // 60}"
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _left(written: datetime, at: datetime) -> str:
    """How an expiry stands: over, soon, or neither."""
    left = at - g.now
    return "over" if left <= timedelta() else "soon" if left < min(SOON, LATE * (at - written)) else ""


def _queues(tx: Tx) -> Sequence[tuple[str, str, str]]:
    """(what, how many, where to look); a number with a plus is at least that."""
    figures = tx.overview()
    due, plans = len(tx.due_claims(g.now, DUE)), len(tx.sites_to_plan(g.now, DUE))

    def most(number: int) -> str:
        return f"{number}+" if number >= DUE else str(number)

    return (
        ("claims in flight", str(figures["claims_in_flight"]), "/machines?claim=in_flight"),
        ("claims whose deadline has come", most(due), "/machines?claim=in_flight&sort=last_seen"),
        ("sites whose next morning is not planned", most(plans), "/sites"),
        ("machines run what was never granted to them", str(figures["machines_bypassed"]), BYPASSED),
        ("machines wait to be accepted", str(figures["machines_pending"]), "/machines?status=pending"),
        ("proposals wait for another person", str(len(tx.proposals("open", now=g.now))), "/#waiting"),
    )


VIEWS = (
    ("/system", system, "view", ["GET"]),
    ("/live", live, "view", ["GET"]),
)
