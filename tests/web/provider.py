"""A login provider that runs in the test: Authlib's provider parts over real HTTP on loopback, with real signatures.

What a hostile or broken provider would say is said by changing ``Provider``'s fields.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin, grants
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey
from werkzeug.serving import make_server

CLIENT, SECRET = "gate-client", "client-secret"


class Client(ClientMixin):
    """gate, as the provider knows it."""

    def __init__(self, redirect_uri: str) -> None:
        self.client_id, self.redirect_uri = CLIENT, redirect_uri

    def get_client_id(self) -> str:
        return CLIENT

    def get_default_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri == self.redirect_uri

    def check_client_secret(self, secret: str) -> bool:
        return secret == SECRET

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


class Code(AuthorizationCodeMixin):
    """An authorization code that was given out."""

    def __init__(self, code: str, payload: Any, auth_time: int) -> None:
        self.code, self.redirect_uri, self.scope = code, payload.redirect_uri, payload.scope
        self.nonce = payload.data.get("nonce")
        self.code_challenge = payload.data.get("code_challenge")
        self.code_challenge_method = payload.data.get("code_challenge_method")
        self.auth_time = auth_time

    def get_redirect_uri(self) -> str:
        return str(self.redirect_uri)

    def get_scope(self) -> str:
        return str(self.scope)

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return self.auth_time

    def get_acr(self) -> None:
        return None

    def get_amr(self) -> None:
        return None


class Provider:
    """One issuer; ``person`` is who sits at its login form."""

    def __init__(self, redirect_uri: str) -> None:
        self.client = Client(redirect_uri)
        self.key = ECKey.generate_key("P-256", parameters={"kid": "one", "alg": "ES256", "use": "sig"})
        self.person: dict[str, Any] = {"sub": "4711", "name": "Anna Arnold", "email": "anna@example.org"}
        self.auth_time = lambda: int(time.time())
        self.codes: dict[str, Code] = {}
        self.answered: dict[str, str] = {}
        self.issuer = self.said_issuer = ""
        self.forge: Callable[[str], str] = lambda token: token
        self.app = self._app()

    def signed(self, header: dict[str, Any], claims: dict[str, Any], key: Any = None) -> str:
        algorithms = [header["alg"]]
        return jwt.encode(header, claims, key or self.key, algorithms=algorithms)

    def changed(self, **change: Any) -> None:
        """Every ID token from now on has these claims, well signed; None takes one away."""

        def forge(token: str) -> str:
            claims = jwt.decode(token, self.key, algorithms=["ES256"]).claims | change
            claims = {name: value for name, value in claims.items() if value is not None}
            return self.signed({"alg": "ES256", "kid": "one"}, claims)

        self.forge = forge

    def by_secret(self, token: str) -> str:
        """The same claims, signed by what both sides know."""
        claims = jwt.decode(token, self.key, algorithms=["ES256"]).claims
        key = OctKey.import_key((SECRET * 4).encode(), {"kid": "one"})
        return self.signed({"alg": "HS256", "kid": "one"}, claims, key)

    def unsigned(self, token: str) -> str:
        import base64

        head = base64.urlsafe_b64encode(b'{"alg":"none","kid":"one"}').rstrip(b"=").decode()
        return f"{head}.{token.split('.')[1]}."

    def by_another(self, token: str) -> str:
        """The same claims, signed by a key that is not the provider's."""
        claims = jwt.decode(token, self.key, algorithms=["ES256"]).claims
        other = ECKey.generate_key("P-256", parameters={"kid": "one"})
        return self.signed({"alg": "ES256", "kid": "one"}, claims, other)

    def _app(self) -> Flask:
        app, provider = Flask("provider"), self
        server = AuthorizationServer(app, query_client=self._client, save_token=lambda *_: None)

        class Grant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

            def save_authorization_code(self, code: str, request: Any) -> None:
                provider.codes[code] = Code(code, request.payload, provider.auth_time())

            def query_authorization_code(self, code: str, client: Any) -> Code | None:
                return provider.codes.get(code)

            def delete_authorization_code(self, code: Code) -> None:
                provider.codes.pop(code.code)

            def authenticate_user(self, code: Code) -> dict[str, Any]:
                return provider.person

        class Extension(OpenIDCode):  # type: ignore[misc]
            def exists_nonce(self, nonce: str, request: Any) -> bool:
                return any(one.nonce == nonce for one in provider.codes.values())

            def generate_user_info(self, user: dict[str, Any], scope: str) -> UserInfo:
                return UserInfo(user)

            def get_client_algorithm(self, client: Any) -> str:
                return "ES256"

            def get_encode_header(self, client: Any) -> dict[str, str]:
                return {"alg": "ES256", "kid": "one"}

            def resolve_client_private_key(self, client: Any) -> Any:
                return provider.key

            def get_client_claims(self, client: Any) -> dict[str, Any]:
                now = int(time.time())
                return {"iss": provider.issuer, "aud": [CLIENT], "iat": now, "exp": now + 300}

            def get_compatible_claims(self, request: Any) -> dict[str, Any]:
                return self.get_client_claims(request.client)

        server.register_grant(Grant, [Extension(), CodeChallenge(required=True)])

        @app.get("/.well-known/openid-configuration")
        def discovery() -> Any:
            return jsonify(
                issuer=self.said_issuer or self.issuer,
                authorization_endpoint=f"{self.issuer}/authorize",
                token_endpoint=f"{self.issuer}/token",
                jwks_uri=f"{self.issuer}/keys",
                authorization_response_iss_parameter_supported=True,
            )

        @app.get("/keys")
        def keys() -> Any:
            return jsonify(KeySet([self.key]).as_dict(private=False))

        @app.get("/authorize")
        def authorize() -> Any:
            grant = server.get_consent_grant(end_user=self.person)
            answer = server.create_authorization_response(grant=grant, grant_user=self.person)
            if answer.status_code == 302:
                extra = {"iss": self.issuer} | self.answered
                place = answer.headers["Location"]
                return redirect(place + "".join(f"&{name}={value}" for name, value in extra.items() if value))
            return answer

        @app.post("/token")
        def token() -> Any:
            answer = server.create_token_response(request)
            said = answer.get_json()
            if "id_token" in said:
                said["id_token"] = self.forge(said["id_token"])
                return jsonify(said)
            return answer

        return app

    def _client(self, client_id: str) -> Client | None:
        return self.client if client_id == CLIENT else None


@contextmanager
def running(redirect_uri: str) -> Iterator[Provider]:
    """The provider on a free port of this machine."""
    provider = Provider(redirect_uri)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, provider.app, threaded=True)
    provider.issuer = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
