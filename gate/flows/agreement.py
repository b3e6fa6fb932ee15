"""What needs two different people: the first proposes, the same call by another enacts.

- A proposal is bound to the sha256 of the exact thing; where that changes, the proposal is void.
- Who proposed does not count as the second. A proposal expires in 24 hours.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from gate.core.errors import Conflict, Malformed
from gate.ports import Proposal, Tx

PROPOSAL_FOR = timedelta(hours=24)
TWO_PEOPLE: Mapping[str, tuple[str, ...]] = {
    "resume": ("resume",),
    "recall": ("recall",),
    "waive": ("waive",),
    "accept": ("accept_machine",),
    "people": ("user_change",),
    "sign": ("policy",),
    "lift": ("lift_hold",),
    "sites": ("change_site",),
}
"""act -> the kinds of proposals by which two different people do it; of machines and sites those of the first rings."""


def reason_given(because: str) -> None:
    """Raises Malformed where there is none, or where it holds what no keyboard types."""
    if not because.strip() or len(because) > 1000:
        raise Malformed("bad_field", "a reason of at most 1000 characters is needed")
    if any(char not in "\r\n\t" and unicodedata.category(char) in ("Cc", "Cs") for char in because):
        raise Malformed("bad_field", "a reason has no control characters")


def shut_out(tx: Tx, login: str) -> bool:
    """Has this person been disabled since? Then nobody agrees with them any more."""
    user = tx.user(login)
    return user is not None and user.disabled


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
        Conflict: needs_people, when the proposer asks again.
    """
    for old in tx.proposals("open", subject):
        if (old.kind, old.sha256) != (kind, exact) or old.expires_at <= now or shut_out(tx, old.proposed_by):
            continue
        if old.proposed_by == by:
            raise Conflict("needs_people", f"{by} has proposed this; another person must agree")
        if tx.sign_proposal(old.id, by, exact, now) and tx.enact_proposal(old.id, now):
            return None
    proposal = Proposal(
        id="p-" + hashlib.sha256(f"{exact}/{by}/{now.isoformat()}".encode()).hexdigest()[:24],
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
