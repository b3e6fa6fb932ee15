"""Tokens for scripts: a person's word without a browser, for the API for people and for nothing else.

- A token is shown once; the store has only its sha256. It expires, can be revoked, and says when it was last used.
- A scope is at most the person's role. What a token may do is the less of both: a role that is taken away takes its
  tokens with it, and a disabled person has none.
- Who acts by a token is that person: the same person by token and by page is one person, never two.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gate.core.errors import Forbidden, Malformed, NotFound, Unauthenticated
from gate.flows.people import NEEDS, ROLES, digest
from gate.ports import AccessToken, Tx, User

SCOPES = {"read": "reader", "halt": "technician", "approve": "approver", "admin": "admin"}
PREFIX = "gate_"
LONGEST_DAYS = 366
TOUCH = timedelta(minutes=1)
UNKNOWN = "this token is unknown, expired or revoked"


def create(tx: Tx, login: str, scope: str, days: int, secret: str, by: str, now: datetime) -> AccessToken:
    """A token for a person; ``secret`` is what they send.

    Raises:
        Malformed: no such scope, or too many days. NotFound: no such person. Forbidden: their role is less.
    """
    if scope not in SCOPES:
        raise Malformed("bad_field", f"a scope is one of {', '.join(SCOPES)}")
    if not 1 <= days <= LONGEST_DAYS:
        raise Malformed("bad_field", f"a token lives 1 to {LONGEST_DAYS} days")
    user = tx.user(login)
    if user is None or user.disabled:
        raise NotFound(f"there is no user {login}")
    if ROLES.index(SCOPES[scope]) > ROLES.index(user.role):
        raise Forbidden("role", f"{login} is {user.role}: scope {scope} is more than that")
    sha256 = digest(secret)
    made = AccessToken("t-" + sha256[:12], sha256, login, scope, now, by, now + timedelta(days=days))
    tx.add_token(made)
    tx.append("token_created", by, login, now, {"token": made.id, "scope": scope, "until": made.expires_at.isoformat()})
    return made


def revoke(tx: Tx, token_id: str, by: str, now: datetime) -> None:
    """A token is worth nothing from now on.

    Raises:
        NotFound: there is none, or it is revoked already.
    """
    found = next((one for one in tx.tokens() if one.id == token_id), None)
    if found is None or not tx.revoke_token(token_id, now):
        raise NotFound(f"there is no token {token_id} that could be revoked")
    tx.append("token_revoked", by, found.user, now, {"token": token_id})


def speaker(tx: Tx, secret: str, now: datetime) -> tuple[User, AccessToken]:
    """Who speaks by this token, with the role that it gives them.

    Raises:
        Unauthenticated: one answer for unknown, expired and revoked tokens and for disabled people.
    """
    token = tx.token(digest(secret)) if secret.startswith(PREFIX) else None
    user = tx.user(token.user) if token is not None else None
    if token is None or user is None or user.disabled or token.revoked_at is not None or now >= token.expires_at:
        raise Unauthenticated(UNKNOWN)
    role = min(user.role, SCOPES[token.scope], key=ROLES.index)
    return replace(user, role=role), token


def demand(speaks: User, act: str) -> None:
    """Raises Forbidden where scope and role do not allow the act."""
    if ROLES.index(speaks.role) < ROLES.index(NEEDS[act]):
        scope = next(name for name, role in SCOPES.items() if role == NEEDS[act])
        raise Forbidden("scope", f"this needs a token with scope {scope} of a person who may")


def used(tx: Tx, token: AccessToken, now: datetime) -> None:
    """Keeps when it was last used."""
    tx.use_token(token.id, now)
