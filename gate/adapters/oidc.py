"""A login at an OIDC provider: authorization code with PKCE, by Authlib; its word counts only when all is right.

- The provider is known by its issuer: its discovery document must name that very issuer, its answers too (RFC 9207),
  and its endpoints are https (or on this machine).
- An ID token is signed by one of the provider's keys with an asymmetric algorithm: never ``none``, never a shared
  secret. ``iss``, ``aud``, ``azp``, ``exp``, ``iat`` and the nonce of this very login are checked (OpenID Connect Core,
  3.1.3.7).
- The time is an argument. A redirect of the provider's back channel is not followed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from authlib.common.security import is_secure_transport
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from gate.core.errors import Unauthenticated, Unavailable

ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
LEEWAY_S = 60
TIMEOUT_S = 10
KEEP = timedelta(hours=1)
NOT_GOOD = "what your login provider has said is not good; log in again"


class OidcProvider:
    """One provider, as the settings name it."""

    def __init__(self, issuer: str, client_id: str, client_secret: str, scope: str = "openid profile") -> None:
        self.issuer = issuer
        self._client_id = client_id
        self._secret = client_secret
        self._scope = scope
        self._lock = threading.Lock()
        self._document: tuple[datetime, dict[str, Any]] | None = None
        self._keys: KeySet | None = None

    def address(
        self, redirect_uri: str, state: str, nonce: str, verifier: str, now: datetime, *, anew: bool = False
    ) -> str:
        """Where the browser goes; ``anew``: the provider must ask the person again.

        Raises:
            Unavailable: the provider does not answer, or not as itself.
        """
        more = {"prompt": "login", "max_age": "0"} if anew else {}
        with self._session(redirect_uri) as session:
            found, _ = session.create_authorization_url(
                self._found(now)["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce, **more
            )
        return str(found)

    def claims(
        self, redirect_uri: str, answer: Mapping[str, str], nonce: str, verifier: str, now: datetime
    ) -> Mapping[str, Any]:
        """What the provider says of the person, for the answer that came by their browser; its state was checked.

        Raises:
            Unauthenticated: no code, another issuer, or an ID token that is not good.
            Unavailable: the provider does not answer.
        """
        document = self._found(now)
        said = answer.get("iss", "")
        named = document.get("authorization_response_iss_parameter_supported") is True
        if (said or named) and said != self.issuer:
            raise Unauthenticated(NOT_GOOD)
        if not answer.get("code"):
            raise Unauthenticated("your login provider has not let you in")
        token = self._token(document, redirect_uri, answer["code"], verifier)
        return self._verified(document, token, nonce, now)

    def _token(self, document: Mapping[str, Any], redirect_uri: str, code: str, verifier: str) -> Mapping[str, Any]:
        try:
            with self._session(redirect_uri) as session:
                found = session.fetch_token(
                    document["token_endpoint"],
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=verifier,
                    timeout=TIMEOUT_S,
                    allow_redirects=False,
                )
        except OAuthError as problem:
            raise Unauthenticated(NOT_GOOD) from problem
        except (requests.RequestException, ValueError) as problem:
            raise Unavailable("the login provider does not answer") from problem
        if not isinstance(found, dict) or not isinstance(found.get("id_token"), str):
            raise Unauthenticated(NOT_GOOD)
        return found

    def _verified(
        self, document: Mapping[str, Any], token: Mapping[str, Any], nonce: str, now: datetime
    ) -> Mapping[str, Any]:
        decoded = self._decoded(document, str(token["id_token"]))
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {"iss": {"essential": True, "value": self.issuer}, "aud": {"essential": True, "value": self._client_id}},
            {"nonce": nonce, "client_id": self._client_id, "access_token": token.get("access_token")},
        )
        try:
            claims.validate(now=int(now.timestamp()), leeway=LEEWAY_S)
        except (JoseError, ValueError, TypeError) as problem:
            raise Unauthenticated(NOT_GOOD) from problem
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255 or not nonce:
            raise Unauthenticated(NOT_GOOD)
        return dict(claims)

    def _decoded(self, document: Mapping[str, Any], text: str) -> jwt.Token:
        """By the keys that are known; by fresh ones where no known one fits."""
        known = self._keys
        try:
            if known is not None:
                return jwt.decode(text, known, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError):
            known = None
        try:
            said: Any = self._json(document["jwks_uri"])
            self._keys = KeySet.import_key_set(said)
            return jwt.decode(text, self._keys, algorithms=list(ALGORITHMS))
        except (JoseError, ValueError, KeyError, TypeError) as problem:
            raise Unauthenticated(NOT_GOOD) from problem

    def _found(self, now: datetime) -> Mapping[str, Any]:
        """The provider's own description, at most an hour old."""
        with self._lock:
            if self._document is not None and timedelta() <= now - self._document[0] < KEEP:
                return self._document[1]
            found = self._json(self.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self.issuer:
                raise Unavailable("the login provider says that it is another one")
            if not all(isinstance(found.get(one), str) and is_secure_transport(found[one]) for one in ENDPOINTS):
                raise Unavailable("the login provider names an endpoint that is not https")
            self._document = (now, found)
            return found

    def _json(self, address: str) -> dict[str, Any]:
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(address, timeout=TIMEOUT_S, allow_redirects=False)
                found = answer.json() if answer.status_code == 200 else None
        except (requests.RequestException, ValueError) as problem:
            raise Unavailable("the login provider does not answer") from problem
        if not isinstance(found, dict):
            raise Unavailable("the login provider does not answer")
        return found

    def _session(self, redirect_uri: str) -> OAuth2Session:
        session = OAuth2Session(
            self._client_id,
            self._secret or None,
            scope=self._scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
        )
        session.trust_env = False
        return session


def role_of(claims: Mapping[str, Any], name: str, roles: Mapping[str, str], order: Sequence[str]) -> str:
    """The highest role that a claim (a text or a list of texts) gives; empty: none."""
    said = claims.get(name)
    words = [said] if isinstance(said, str) else said if isinstance(said, list) else []
    given = {roles[one] for one in words if isinstance(one, str) and one in roles}
    return max(given, key=list(order).index, default="")


def confirmed_at(claims: Mapping[str, Any]) -> datetime | None:
    """When the provider has asked the person last, where it says so."""
    at = claims.get("auth_time")
    if isinstance(at, bool) or not isinstance(at, int | float) or not 0 < at < 4102444800:
        return None
    return datetime.fromtimestamp(at, UTC)
