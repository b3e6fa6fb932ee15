"""Who is asking: a server-side session by cookie, and proof that a form is ours.

- The cookie is ``__Host-gate`` (Secure, HttpOnly, Lax) where the gate is reached by https; on this machine alone it is
  ``gate``. Its token is 256 random bits; the store has only its hash.
- Every unsafe request carries a token made from the session's; and a browser must not say that it comes from elsewhere
  (``Sec-Fetch-Site``, ``Origin``). Without a session (log in), one of these headers must be there.
- A route without a stated need is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

from flask import Request
from werkzeug.wrappers import Response

from gate.core.errors import Malformed
from gate.flows import people
from gate.ports import Store, User

FORM = "This form is no longer valid; go back and try again."


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who is logged in; ``csrf`` is what their forms carry."""

    user: User
    token: str
    csrf: str
    stepped_up_at: datetime | None = None


def cookie_name(public_url: str) -> str:
    """The session cookie's name."""
    return "__Host-gate" if public_url.startswith("https://") else "gate"


def csrf_of(token: str) -> str:
    """The form token of a session: useless without the session, and the session cannot be had from it."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()


def visitor(store: Store, token: str, now: datetime, *, keeps: bool = True) -> Visitor | None:
    """Who this session is. ``keeps``: a person asks, so it stays alive; that is written at most once a minute."""
    if not token:
        return None
    with store.read() as tx:
        found = people.session_of(tx, token, now)
    if found is None:
        return None
    user, session = found
    if keeps and now - session.seen_at > people.TOUCH:
        with store.write() as tx:
            tx.touch_web_session(session.id, now)
    return Visitor(user, token, csrf_of(token), session.stepped_up_at)


def check_form(request: Request, who: Visitor | None, public_url: str) -> None:
    """Refuses an unsafe request that is not from one of our own forms.

    Raises:
        Malformed: bad_form.
    """
    site = request.headers.get("Sec-Fetch-Site", "")
    origin = request.headers.get("Origin", "")
    if site not in ("", "same-origin", "none"):
        raise Malformed("bad_form", FORM)
    if origin and urlsplit(origin).netloc not in {request.host, urlsplit(public_url).netloc}:
        raise Malformed("bad_form", FORM)
    if who is None:
        if not (site or origin):
            raise Malformed("bad_form", FORM)
        return
    if not hmac.compare_digest(request.form.get("csrf", "").encode(), who.csrf.encode()):
        raise Malformed("bad_form", FORM)


def set_cookie(response: Response, public_url: str, token: str) -> None:
    """Gives the browser its session."""
    secure = public_url.startswith("https://")
    response.set_cookie(cookie_name(public_url), token, secure=secure, httponly=True, samesite="Lax", path="/")


def drop_cookie(response: Response, public_url: str) -> None:
    """Takes it back."""
    response.delete_cookie(cookie_name(public_url), path="/", secure=public_url.startswith("https://"), httponly=True)
