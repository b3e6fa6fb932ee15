"""People, their sessions and what they sign."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError

from gate.adapters.store import tables
from gate.adapters.store.rows import Rows, table
from gate.ports import AccessToken, Proposal, User, WebSession

USERS = table(tables.UserRow)
WEB = table(tables.WebSessionRow)
LINKS = table(tables.OneTimeLinkRow)
PROPOSALS = table(tables.ProposalRow)
SIGNATURES = table(tables.SignatureRow)
TOKENS = table(tables.AccessTokenRow)
IDENTITIES = table(tables.IdentityRow)
_USERS = select(USERS).order_by(USERS.c.id)


def to_user(row: Any) -> User:
    """Row -> core."""
    return User(**{**row, "disabled": bool(row["disabled"])})


class PeopleTx(Rows):
    """See ``gate.ports.Tx``."""

    def user(self, user_id: str) -> User | None:
        row = self._one(USERS, USERS.c.id == user_id)
        return to_user(row) if row else None

    def users(self) -> list[User]:
        return [to_user(row) for row in self._all(_USERS)]

    def users_in_turn(self) -> list[User]:
        return [to_user(row) for row in self._all(_USERS.with_for_update(key_share=True))]

    def save_user(self, user: User) -> None:
        values = asdict(user)
        self._upsert(USERS, {"id": values.pop("id")}, **values)

    def add_web_session(self, session: WebSession) -> None:
        self._insert(WEB, **asdict(session))

    def web_session(self, session_id: str) -> WebSession | None:
        row = self._one(WEB, WEB.c.id == session_id)
        return WebSession(**row) if row else None

    def touch_web_session(self, session_id: str, at: datetime) -> None:
        self._update(WEB, [WEB.c.id == session_id], seen_at=at)

    def drop_web_sessions(self, *, session_id: str = "", user: str = "") -> None:
        assert session_id or user
        self._delete(WEB, or_(WEB.c.id == session_id, WEB.c.user == user))

    def step_up(self, session_id: str, at: datetime) -> None:
        self._update(WEB, [WEB.c.id == session_id], stepped_up_at=at, seen_at=at)

    def add_token(self, token: AccessToken) -> None:
        self._insert(TOKENS, **asdict(token))

    def token(self, sha256: str) -> AccessToken | None:
        row = self._one(TOKENS, TOKENS.c.sha256 == sha256)
        return AccessToken(**row) if row else None

    def tokens(self) -> list[AccessToken]:
        found = self._all(select(TOKENS).order_by(TOKENS.c.created_at.desc(), TOKENS.c.id))
        return [AccessToken(**row) for row in found]

    def use_token(self, token_id: str, at: datetime) -> None:
        self._update(TOKENS, [TOKENS.c.id == token_id], used_at=at)

    def revoke_token(self, token_id: str, at: datetime) -> bool:
        return self._update(TOKENS, [TOKENS.c.id == token_id, TOKENS.c.revoked_at.is_(None)], revoked_at=at) == 1

    def identity(self, issuer: str, subject: str) -> str | None:
        row = self._one(IDENTITIES, IDENTITIES.c.issuer == issuer, IDENTITIES.c.subject == subject)
        return str(row["user"]) if row else None

    def identities(self, user: str) -> list[tuple[str, str]]:
        found = self._all(select(IDENTITIES).where(IDENTITIES.c.user == user).order_by(IDENTITIES.c.since_at))
        return [(str(row["issuer"]), str(row["subject"])) for row in found]

    def add_identity(self, issuer: str, subject: str, user: str, at: datetime) -> None:
        self._insert(IDENTITIES, issuer=issuer, subject=subject, user=user, since_at=at)

    def add_one_time_link(self, sha256: str, user: str, expires_at: datetime) -> None:
        self._insert(LINKS, sha256=sha256, user=user, expires_at=expires_at)

    def one_time_link(self, sha256: str, now: datetime) -> str | None:
        row = self._one(LINKS, LINKS.c.sha256 == sha256, LINKS.c.expires_at > now)
        return str(row["user"]) if row else None

    def use_one_time_link(self, sha256: str, now: datetime) -> str | None:
        user = self.one_time_link(sha256, now)
        return user if self._delete(LINKS, LINKS.c.sha256 == sha256) == 1 else None

    def add_proposal(self, proposal: Proposal) -> None:
        values = asdict(proposal)
        values.pop("signatures")
        self._insert(PROPOSALS, **values)

    def proposal(self, proposal_id: str) -> Proposal | None:
        row = self._one(PROPOSALS, PROPOSALS.c.id == proposal_id)
        return self._to_proposal(row) if row else None

    def proposals(self, state: str = "open", subject: str = "", now: datetime | None = None) -> list[Proposal]:
        found = select(PROPOSALS).where(PROPOSALS.c.state == state).order_by(PROPOSALS.c.proposed_at.desc())
        if subject:
            found = found.where(PROPOSALS.c.subject == subject)
        if now is not None:
            found = found.where(PROPOSALS.c.expires_at > now)
        return [self._to_proposal(row) for row in self._all(found)]

    def _to_proposal(self, row: Any) -> Proposal:
        signed = select(SIGNATURES.c.user).where(SIGNATURES.c.proposal == row["id"]).order_by(SIGNATURES.c.at)
        return Proposal(**row, signatures=tuple(str(one["user"]) for one in self._all(signed)))

    def sign_proposal(self, proposal_id: str, user: str, sha256: str, now: datetime) -> bool:
        good = [
            PROPOSALS.c.id == proposal_id,
            PROPOSALS.c.state == "open",
            PROPOSALS.c.sha256 == sha256,
            PROPOSALS.c.expires_at > now,
        ]
        if self._update(PROPOSALS, good, state="open") != 1:
            return False
        try:
            with self.savepoint():
                self._insert(SIGNATURES, proposal=proposal_id, user=user, at=now)
        except IntegrityError:
            return False
        return True

    def withdraw_proposal(self, proposal_id: str) -> bool:
        good = [PROPOSALS.c.id == proposal_id, PROPOSALS.c.state == "open"]
        return self._update(PROPOSALS, good, state="withdrawn") == 1

    def enact_proposal(self, proposal_id: str, now: datetime) -> bool:
        good = [PROPOSALS.c.id == proposal_id, PROPOSALS.c.state == "open", PROPOSALS.c.expires_at > now]
        return self._update(PROPOSALS, good, state="enacted") == 1
