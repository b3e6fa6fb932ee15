"""The API for people and their scripts: a WSGI callable that answers ``/api/v1`` in front of the pages.

- Who asks is who has the token: ``Authorization: Bearer``. Cookies are not looked at here, and the pages know no token.
- What a token may do is the less of its scope and the person's role; each route states the act that it is.
- Every answer is JSON; an error has the one shape of the agents' API. A query or a body that the document does not name
  is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from gate.core.errors import GateError, Malformed, NotFound, Unauthenticated
from gate.flows import tokens
from gate.ports import Clock, Gate, Store, User
from gate.web import people_doors as doors
from gate.web import people_wire as shapes
from gate.web import wire
from gate.web.people_doors import Ask, Door
from gate.web.plain_http import REASONS, Environ, Refused, Start, Wsgi, body_of, problem_of, unavailable

log = logging.getLogger(__name__)
ROOT = "/api/v1"
LONGEST = 200


@dataclass(frozen=True, slots=True)
class PeopleApiParts:
    """All that the API needs."""

    store: Store
    gate: Gate
    clock: Clock
    read_json: Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One thing that can be asked: the act it is, what the query may name, what the body is, what it answers."""

    method: str
    path: str
    act: str
    door: Door
    answer: type[shapes.Said]
    query: tuple[str, ...] = ()
    body: type[wire.Shape] | None = None

    def names(self, path: str) -> dict[str, str] | None:
        """What the path names; None where it is another."""
        wanted, said = self.path.split("/"), path.split("/")
        if len(wanted) != len(said):
            return None
        found = {}
        for part, word in zip(wanted, said, strict=True):
            if part.startswith("{"):
                found[part[1:-1]] = word
            elif part != word:
                return None
        return found


AUDIT = ("actor", "kind", "subject", "since", "until", "before")
ROUTES = (
    Route("GET", "/status", "view", doors.status, shapes.StatusSaid),
    Route("GET", "/rollouts", "view", doors.rollouts, shapes.RolloutsSaid),
    Route("GET", "/rollouts/{rollout}", "view", doors.rollout, shapes.OneRollout),
    Route("GET", "/why", "view", doors.why, shapes.Answers, ("machine", "source")),
    Route("GET", "/sites", "view", doors.sites, shapes.Sites, ("after",)),
    Route("GET", "/machines", "view", doors.machines, shapes.Machines, ("after", "site", "ring", "make", "status")),
    Route("GET", "/audit", "view", doors.audit, shapes.Audit, AUDIT),
    Route("POST", "/halt", "halt", doors.halt_all, shapes.Halted, body=shapes.Reasoned),
    Route("POST", "/rollouts/{rollout}/halt", "halt", doors.halt, shapes.Halted, body=shapes.Reasoned),
    Route("POST", "/rollouts/{rollout}/resume", "resume", doors.resume, shapes.Done, body=shapes.Reasoned),
    Route("POST", "/rollouts/{rollout}/recall", "recall", doors.recall, shapes.Done, body=shapes.Reasoned),
    Route("POST", "/rollouts/{rollout}/expedite", "expedite", doors.expedite, shapes.Done, body=shapes.Reasoned),
    Route("POST", "/rollouts/{rollout}/approve", "approve", doors.approve, shapes.Done, body=shapes.OfRing),
    Route("POST", "/rollouts/{rollout}/waive", "waive", doors.waive, shapes.Done, body=shapes.OfRing),
    Route("POST", "/machines/{machine}/accept", "accept", doors.accept, shapes.Done, body=shapes.Acceptance),
)


class PeopleApi:
    """``/api/v1`` is answered here, every other path by ``inner``."""

    def __init__(self, parts: PeopleApiParts, inner: Wsgi, document: bytes) -> None:
        self._parts = parts
        self._inner = inner
        self._document = document

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path != ROOT and not path.startswith(f"{ROOT}/"):
            return self._inner(environ, start_response)
        headers: dict[str, str] = {}
        try:
            status, body = 200, self._answer(path, environ)
        except GateError as problem:
            status, body, headers = problem_of(problem)
        except Exception:
            log.exception("a call of the API for people failed")
            status, body, headers = unavailable()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        headers |= {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        start_response(f"{status} {REASONS[status]}", list(headers.items()))
        return [body]

    def _answer(self, path: str, environ: Environ) -> bytes:
        method = environ.get("REQUEST_METHOD", "")
        inside = _plain(path)[len(ROOT) :]
        if inside == "/openapi.json":
            if method != "GET":
                raise Refused(405, "method_not_allowed", "use GET here", Allow="GET")
            return self._document
        route, names = _route(method, inside)
        query = _query(environ, route)
        user = self._speaker(environ, route)
        body = None
        if route.body is not None:
            body = wire.read(route.body, self._parts.read_json(body_of(environ)))
        parts = self._parts
        door = parts.store.write if method == "POST" else parts.store.read
        with door() as tx:
            said = route.door(Ask(tx, parts.gate, parts.clock.now(), user, names, query, body))
        return msgspec.json.encode(said)

    def _speaker(self, environ: Environ, route: Route) -> User:
        kind, _, secret = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
        if kind.lower() != "bearer" or not secret.isascii() or len(secret) > LONGEST:
            raise Unauthenticated(tokens.UNKNOWN)
        now = self._parts.clock.now()
        with self._parts.store.read() as tx:
            user, token = tokens.speaker(tx, secret, now)
        if token.used_at is None or now - token.used_at > tokens.TOUCH:
            with self._parts.store.write() as tx:
                tokens.used(tx, token, now)
        tokens.demand(user, route.act)
        return user


def _route(method: str, path: str) -> tuple[Route, Mapping[str, str]]:
    found = [(one, names) for one in ROUTES if (names := one.names(path)) is not None]
    if not found:
        raise NotFound(f"there is no such path under {ROOT}")
    for route, names in found:
        if route.method == method:
            return route, names
    allowed = ", ".join(one.method for one, _ in found)
    raise Refused(405, "method_not_allowed", f"use {allowed} here", Allow=allowed)


def _query(environ: Environ, route: Route) -> dict[str, str]:
    try:
        pairs = parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True, errors="strict", max_num_fields=20)
    except (ValueError, UnicodeError) as problem:
        raise Malformed("bad_field", "the query cannot be read") from problem
    found = dict(pairs)
    if len(found) != len(pairs) or set(found) - set(route.query):
        raise Malformed("bad_field", f"the query here names each at most once: {', '.join(route.query) or 'nothing'}")
    if any(len(value) > LONGEST or not _clean(value) for value in found.values()):
        raise Malformed("bad_field", "a value of the query is too long, or has control characters")
    return found


def _plain(path: str) -> str:
    """The path as text; WSGI has its bytes as latin-1."""
    try:
        text = path.encode("latin-1").decode("utf-8")
    except UnicodeError as problem:
        raise NotFound("there is no such path") from problem
    if not _clean(text) or len(text) > 2 * LONGEST:
        raise NotFound("there is no such path")
    return text


def _clean(text: str) -> bool:
    return all(ord(char) >= 32 and ord(char) != 127 for char in text)
