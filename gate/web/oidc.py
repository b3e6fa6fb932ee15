"""Logging in at the login provider, and confirming there: there and back by the browser.

- What belongs together is held by a cookie of ten minutes: state, nonce and PKCE verifier are made from its secret, and
  state also from what the person wanted. An answer without it, or with another state, is nobody's.
- Where they go afterwards is a path of this site, as after any login. Confirming changes the session that asked, and
  only where the provider has confirmed this very person after that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from flask import g, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from gate.core.errors import NotFound, Unauthenticated
from gate.flows import identities
from gate.flows.identities import Shown
from gate.web import auth
from gate.web.forms import ours

FOR = timedelta(minutes=10)
SKEW = timedelta(minutes=1)
LOST = "this login was begun elsewhere or too long ago; begin again"


class Provider(Protocol):
    """What ``gate.adapters.oidc`` offers."""

    def address(
        self, redirect_uri: str, state: str, nonce: str, verifier: str, now: datetime, *, anew: bool = False
    ) -> str: ...
    def claims(
        self, redirect_uri: str, answer: Mapping[str, str], nonce: str, verifier: str, now: datetime
    ) -> Mapping[str, Any]: ...


@dataclass(frozen=True, slots=True)
class LoginProvider:
    """The provider, its name on the button, and what its claims mean here."""

    name: str
    provider: Provider
    shown: Callable[[Mapping[str, Any]], Shown]
    """What verified claims say of a person."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A way there and back."""

    secret: str
    wish: str
    anew: bool
    at: int

    def made(self, what: str) -> str:
        """State, nonce or verifier: none can be had from another, all are bound to what was wanted."""
        bound = json.dumps([what, self.wish, self.anew, self.at])
        return hmac.new(self.secret.encode(), bound.encode(), hashlib.sha256).hexdigest()


def oidc_login() -> Response:
    """To the login provider."""
    wish = request.args.get("wish", "")
    return _there(wish if ours(wish) else "/", anew=False)


def oidc_confirm() -> Response:
    """To the login provider, which is to ask anew."""
    return _there("/", anew=True)


def oidc_back() -> str | Response:
    """Back from it: a new session, or a confirmed one."""
    known = _known()
    begun = _begun(request.cookies.get(_cookie(), ""))
    if begun is None or not hmac.compare_digest(request.args.get("state", "").encode(), begun.made("state").encode()):
        raise Unauthenticated(LOST)
    answer = {name: request.args[name] for name in ("code", "iss", "error") if name in request.args}
    claims = known.provider.claims(_redirect_uri(), answer, begun.made("nonce"), begun.made("verifier"), g.now)
    shown: Shown = known.shown(claims)
    if begun.anew:
        if g.visitor is None:
            raise Unauthenticated(LOST)
        since = datetime.fromtimestamp(begun.at, UTC) - SKEW
        with g.parts.store.write() as tx:
            identities.confirm(tx, shown, g.visitor.user, g.visitor.token, since, g.now)
        return render_template("confirmed.html")
    token = secrets.token_urlsafe(32)
    with g.parts.store.write() as tx:
        identities.log_in(tx, shown, token, g.now)
    said = redirect(begun.wish, 303)
    auth.set_cookie(said, g.parts.public_url, token)
    said.delete_cookie(_cookie(), path="/", secure=_secure(), httponly=True, samesite="Lax")
    return said


def _there(wish: str, *, anew: bool) -> Response:
    begun = Begun(secrets.token_urlsafe(32), wish, anew, int(g.now.timestamp()))
    state, nonce, verifier = (begun.made(one) for one in ("state", "nonce", "verifier"))
    said = redirect(_known().provider.address(_redirect_uri(), state, nonce, verifier, g.now, anew=anew), 303)
    text = json.dumps([begun.secret, begun.wish, begun.anew, begun.at]).encode()
    said.set_cookie(
        _cookie(),
        base64.urlsafe_b64encode(text).decode(),
        max_age=int(FOR.total_seconds()),
        secure=_secure(),
        httponly=True,
        samesite="Lax",
        path="/",
    )
    return said


def _begun(text: str) -> Begun | None:
    try:
        secret, wish, anew, at = json.loads(base64.urlsafe_b64decode(text.encode()))
        begun = Begun(str(secret), str(wish), anew is True, int(at))
    except (ValueError, TypeError):
        return None
    age = g.now.timestamp() - begun.at
    return begun if begun.secret and ours(begun.wish) and 0 <= age + 1 < FOR.total_seconds() else None


def _known() -> LoginProvider:
    found: LoginProvider | None = g.parts.oidc
    if found is None:
        raise NotFound("there is no such page")
    return found


def _redirect_uri() -> str:
    """The one address that the provider knows of us; never from a header where a public URL is set."""
    return (g.parts.public_url.rstrip("/") or request.host_url.rstrip("/")) + url_for("oidc_back")


def _cookie() -> str:
    return "__Host-gate-oidc" if _secure() else "gate-oidc"


def _secure() -> bool:
    return bool(g.parts.public_url.startswith("https://"))


GET = ["GET"]
VIEWS = (
    ("/oidc/login", oidc_login, "public", GET),
    ("/oidc/confirm", oidc_confirm, "view", GET),
    ("/oidc/back", oidc_back, "public", GET),
)
