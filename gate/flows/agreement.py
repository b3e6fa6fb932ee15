"""What needs two different people: the first proposes, the same call by another enacts.

- A proposal is bound to the sha256 of the exact thing; where that changes, the proposal is void.
- Who proposed does not count as the second, and counts only while their role allows the act. A proposal expires in 24
  hours.
- Persons are counted, not names. A login of a provider is the person that it is linked with; an account of the
  server's shell (``shell:root``) is the person that it is linked with, and nobody where it is linked with none: whoever
  has the shell could be anybody.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from gate.core.errors import Conflict, Malformed
from gate.flows.roles import may
from gate.ports import Proposal, Tx

PROPOSAL_FOR = timedelta(hours=24)
SHELL, SHELL_ISSUER = "shell:", "shell"
"""How an account of the server's shell is written as an actor, and the issuer by which it is linked with a person."""
TWO_PEOPLE: Mapping[str, tuple[str, ...]] = {
    "resume": ("resume",),
    "recall": ("recall",),
    "waive": ("waive",),
    "expedite": (),
    "accept": ("accept_machine",),
    "people": ("user_change",),
    "sign": ("policy",),
    "lift": ("lift_hold",),
    "sites": ("change_site",),
}
"""act -> the kinds of proposals by which two different people do it; of machines and sites those of the first rings. A
fast lane is no proposal: its words are counted, as many as the policy says."""

ACT_OF: Mapping[str, str] = {kind: act for act, kinds in TWO_PEOPLE.items() for kind in kinds}
"""kind of proposal -> the act that it is."""


def reason_given(because: str) -> None:
    """Raises Malformed where there is none, or where it holds what no keyboard types."""
    if not because.strip() or len(because) > 1000:
        raise Malformed("bad_field", "a reason of at most 1000 characters is needed")
    if any(char not in "\r\n\t" and unicodedata.category(char) in ("Cc", "Cs") for char in because):
        raise Malformed("bad_field", "a reason has no control characters")


def person(tx: Tx, by: str) -> str:
    """Whose word this is; empty: that of an account of the server's shell that is linked with nobody who may log in."""
    if not by.startswith(SHELL):
        return by
    login = tx.identity(SHELL_ISSUER, by.removeprefix(SHELL)) or ""
    user = tx.user(login) if login else None
    return login if user is not None and not user.disabled else ""


def somebody(tx: Tx, by: str, **ruled: object) -> str:
    """The person whose word this is; ``ruled``: the rule that asks for people, which the refusal carries.

    Raises:
        Conflict: needs_people, where it is nobody's.
    """
    found = person(tx, by)
    if not found:
        raise Conflict(
            "needs_people", f"{by} counts as no person until it is linked with one: gate user identity", **ruled
        )
    return found


def shut_out(tx: Tx, by: str, act: str) -> bool:
    """Is this nobody's word any more, of a person who has been disabled or whose role does not allow the act now, or of
    a shell that is linked with nobody? Then nobody agrees with it."""
    who = person(tx, by)
    user = tx.user(who) if who else None
    return not who or (user is not None and not may(user, act))


def agreed(
    tx: Tx,
    kind: str,
    subject: str,
    exact: str,
    because: str,
    by: str,
    now: datetime,
    said: Mapping[str, str] = MappingProxyType({}),
) -> Proposal | None:
    """The proposal that waits for another person; None when ``by`` was the second and it is enacted.

    ``said`` goes into the proposal's event, for whom another person reads what is proposed.

    Raises:
        Conflict: needs_people, when the proposer asks again, or a shell that is linked with nobody.
    """
    who = somebody(tx, by)
    for old in tx.proposals("open", subject, now):
        if (old.kind, old.sha256) != (kind, exact):
            continue
        if shut_out(tx, old.proposed_by, ACT_OF[kind]):
            continue
        if person(tx, old.proposed_by) == who:
            raise Conflict("needs_people", f"{who} has proposed this; another person must agree")
        if tx.sign_proposal(old.id, by, exact, now) and tx.enact_proposal(old.id, now):
            return None
    proposal = Proposal(
        id="p-" + hashlib.sha256(f"{subject}/{exact}/{by}/{now.isoformat()}".encode()).hexdigest()[:24],
        kind=kind,
        subject=subject,
        because=because,
        proposed_by=by,
        proposed_at=now,
        expires_at=now + PROPOSAL_FOR,
        sha256=exact,
        state="open",
    )
    tx.add_proposal(proposal)
    tx.append(f"{kind}_proposed", by, subject, now, {"sha256": exact, **said}, because)
    return proposal
