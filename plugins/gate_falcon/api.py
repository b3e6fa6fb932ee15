"""Falcon's API as far as content updates need it: OAuth2 client credentials, JSON, pages.

- A token is asked for with each call of the plugin and kept nowhere; one that has expired meanwhile is asked for anew,
  once. Client id and secret come from a file that only gate's user can read, and go to the token's address alone.
- 429 says until when to wait (``X-Ratelimit-RetryAfter``, seconds since 1970): until then nobody is asked again, but
  for a hold.
- A partial answer (207, or ``errors`` beside ``resources``) is none for a read; an action says what it could not do.
- Redirects to another cloud are not followed: the address is wrong, and the policy names the host.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from gate.hookspecs import Answer, Io

WAIT = "wait_until"
LONGEST_WAIT = timedelta(minutes=10)
PAGE, PAGES = 5000, 100
Pairs = Sequence[tuple[str, str]]


class Failed(OSError):
    """The vendor has answered, and not with what was asked for."""


def credentials(path: Path) -> tuple[str, str]:
    """Client id and secret: ``{"client_id": "...", "client_secret": "..."}``.

    Raises:
        ValueError: others may read the file, or it holds something else.
    """
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise ValueError(f"{path} must belong to gate's user and be readable by that user alone")
        try:
            said = json.load(file)
        except ValueError:
            said = None  # its text is a secret: no part of it may stand in a problem
    if not isinstance(said, dict) or set(said) != {"client_id", "client_secret"}:
        raise ValueError(f"{path} is not client_id and client_secret as JSON")
    return str(said["client_id"]), str(said["client_secret"])


class Api:
    """Falcon's API for one call of the plugin. ``urgent``: also while the vendor wants to be left alone."""

    def __init__(self, base: str, secret: Path, io: Io, *, urgent: bool = False) -> None:
        self._base = base.rstrip("/")
        self._secret = secret
        self._io = io
        self._urgent = urgent
        self._token = ""

    def read(self, path: str, query: Pairs) -> list[Any]:
        """The resources of one answer, all of them.

        Raises:
            OSError: no answer, or one that lacks something.
        """
        found, problem = self._asked("GET", path, query, None)
        if problem:
            raise Failed(f"{path}: {problem}")
        return list(found.get("resources") or [])

    def read_all(self, path: str, query: Pairs) -> list[Any]:
        """The same, page after page.

        Raises:
            OSError: see ``read``; or there is no end of it.
        """
        every: list[Any] = []
        for _ in range(PAGES):
            more = [("limit", str(PAGE)), ("offset", str(len(every)))]
            found, problem = self._asked("GET", path, [*query, *more], None)
            if problem:
                raise Failed(f"{path}: {problem}")
            page = found.get("resources") or []
            every += page
            total = found.get("meta", {}).get("pagination", {}).get("total", len(every))
            if not page or len(every) >= total:
                return every
        raise Failed(f"{path}: more than {PAGES * PAGE} of them")

    def act(self, path: str, action: str, ids: Sequence[str], parameters: Pairs = ()) -> str:
        """One action; what could not be done, empty: all of it is done.

        Raises:
            OSError: no answer.
        """
        body: dict[str, Any] = {"ids": list(ids)}
        if parameters:
            body["action_parameters"] = [{"name": name, "value": value} for name, value in parameters]
        _, problem = self._asked("POST", path, [("action_name", action)], body)
        return f"{action}: {problem}" if problem else ""

    def _asked(
        self, method: str, path: str, query: Pairs, body: Mapping[str, Any] | None
    ) -> tuple[dict[str, Any], str]:
        answer = self._sent(method, path, query, body)
        if answer.status == 401:  # the token has run out meanwhile
            self._token = ""
            answer = self._sent(method, path, query, body)
        if answer.status not in (200, 201, 207):
            raise Failed(f"{path} answered {answer.status}{_why(answer)}")
        found = _json(answer, path)
        return found, _errors(found)

    def _sent(self, method: str, path: str, query: Pairs, body: Mapping[str, Any] | None) -> Answer:
        self._token = self._token or self._login()
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = f"{self._base}{path}?{urlencode(query)}"
        return self._waited(method, url, json.dumps(body).encode() if body is not None else b"", headers)

    def _login(self) -> str:
        name, secret = credentials(self._secret)
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        body = urlencode({"client_id": name, "client_secret": secret}).encode()
        answer = self._waited("POST", f"{self._base}/oauth2/token", body, headers)
        if answer.status != 201:
            raise Failed(f"/oauth2/token answered {answer.status}{_why(answer)}")
        token = _json(answer, "/oauth2/token").get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token:
            raise Failed("/oauth2/token answered no token")
        return token

    def _waited(self, method: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        note = self._io.state / WAIT
        until = _moment(note.read_text()) if note.exists() else None
        now = self._io.now()
        if until is not None and now < until <= now + LONGEST_WAIT and not self._urgent:
            raise Failed(f"the vendor asks to wait until {until:%H:%M:%S} UTC")
        answer = self._io.http.send(method, url, body=body, headers=headers)
        if answer.status == 429:
            said = _moment(answer.headers.get("x-ratelimit-retryafter", "")) or now + timedelta(seconds=10)
            until = min(max(said, now), now + LONGEST_WAIT)
            note.write_text(str(int(until.timestamp())))
            raise Failed(f"the vendor asks to wait until {until:%H:%M:%S} UTC")
        return answer


def _moment(text: str) -> datetime | None:
    text = text.strip()
    return datetime.fromtimestamp(int(text), UTC) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _json(answer: Answer, path: str) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError as problem:
        raise Failed(f"{path} answered no JSON") from problem
    if not isinstance(found, dict):
        raise Failed(f"{path} answered no object")
    return found


def _errors(found: Mapping[str, Any]) -> str:
    errors = found.get("errors") or []
    said = [f"{one.get('code', '')} {one.get('message', '')}" for one in errors if isinstance(one, dict)]
    return "; ".join(said)[:200] if said else ("an error without words" if errors else "")


def _why(answer: Answer) -> str:
    """What the vendor says to it, without what was sent."""
    if answer.status in (301, 302, 307, 308):
        return f": this client belongs to the cloud {answer.headers.get('x-cs-region', 'of another address')[:20]}"
    try:
        said = _errors(_json(answer, ""))
    except OSError:
        said = ""
    scope = ": the API client lacks a scope" if answer.status == 403 else ""
    return f"{scope}: {said}" if said else scope
