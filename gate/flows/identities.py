"""Who a person is at an OIDC provider: issuer and subject, never an e-mail address or a name.

- An identity belongs to one person. An admin links it at the server's shell, or the first login makes the person where
  the settings map a claim to roles.
- Where a claim is mapped the provider rules: each login sets the role, and one without a role is refused.
- An account of the server's shell is linked alike, with the issuer ``shell``: its word counts as that person's.
- A session is as freshly confirmed as the provider says that the person was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from gate.core.errors import Conflict, Forbidden, NotFound, Unauthenticated
from gate.flows.people import ROLES, digest
from gate.ports import Tx, User, WebSession


@dataclass(frozen=True, slots=True)
class Shown:
    """What a provider has said of a person, verified: ``role`` is None where no claim is mapped."""

    issuer: str
    subject: str
    name: str
    role: str | None
    confirmed_at: datetime | None


def link(tx: Tx, login: str, issuer: str, subject: str, by: str, now: datetime) -> None:
    """This identity is this person from now on.

    Raises:
        NotFound: no such person. Conflict: it is somebody already.
    """
    if tx.user(login) is None:
        raise NotFound(f"there is no user {login}")
    known = tx.identity(issuer, subject)
    if known is not None:
        raise Conflict("taken", f"this identity is {known} already")
    tx.add_identity(issuer, subject, login, now)
    tx.append("identity_linked", by, login, now, {"issuer": issuer, "oidc_subject": subject})


def log_in(tx: Tx, shown: Shown, token: str, now: datetime) -> User:
    """A new session for who the provider has shown.

    Raises:
        Unauthenticated: nobody here, or disabled. Forbidden: the claim gives no role here.
    """
    if shown.role is not None and shown.role not in ROLES:
        raise Forbidden("role", "your login provider gives you no role here")
    login = tx.identity(shown.issuer, shown.subject)
    if login is None:
        if shown.role is None:
            raise Unauthenticated(f"nobody here is {shown.subject} of {shown.issuer}: an admin must link it")
        login = "oidc-" + digest(f"{shown.issuer} {shown.subject}")[:12]
        tx.save_user(User(login, shown.name or login, shown.role, "", False, now))
        tx.append("user_added", "oidc", login, now, {"role": shown.role})
        link(tx, login, shown.issuer, shown.subject, "oidc", now)
    user = tx.user(login)
    if user is None or user.disabled:
        raise Unauthenticated("name or password is wrong")
    if shown.role is not None and shown.role != user.role:
        tx.append("user_role_changed", "oidc", login, now, {"was": user.role, "role": shown.role})
        user = replace(user, role=shown.role)
        tx.save_user(user)
        tx.drop_web_sessions(user=login)
    confirmed_at = min(shown.confirmed_at, now) if shown.confirmed_at else None
    tx.add_web_session(WebSession(digest(token), login, now, now, confirmed_at))
    tx.append("logged_in", login, login, now, {"issuer": shown.issuer})
    return user


def confirm(tx: Tx, shown: Shown, user: User, token: str, fresh_after: datetime, now: datetime) -> None:
    """The person behind a session was confirmed by the provider a moment ago.

    Raises:
        Unauthenticated: somebody else, or not confirmed anew.
    """
    if tx.identity(shown.issuer, shown.subject) != user.id:
        raise Unauthenticated("your login provider has confirmed somebody else")
    if shown.confirmed_at is None or shown.confirmed_at < fresh_after:
        raise Unauthenticated("your login provider has not asked you anew")
    tx.step_up(digest(token), min(shown.confirmed_at, now))
    tx.append("stepped_up", user.id, user.id, now, {"issuer": shown.issuer})
