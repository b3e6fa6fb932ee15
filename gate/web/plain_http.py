"""What the JSON APIs share: reasons, reading a body, and the one shape of an error; plain WSGI."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from gate.core.errors import CallerError, GateError
from gate.web import wire

log = logging.getLogger(__name__)

Environ = Mapping[str, Any]
Start = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], Start], Iterable[bytes]]
UNAVAILABLE_S = 30
REASONS = {
    200: "OK",
    201: "Created",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


class Refused(CallerError):
    """A request that HTTP itself already forbids."""

    def __init__(self, status: int, kind: str, detail: str, **headers: str) -> None:
        super().__init__(kind, detail)
        self.status = status
        self.headers = headers


def body_of(environ: Environ) -> bytes:
    """The body of a request, read to its stated length.

    Raises:
        Refused: no length, too large, not JSON, too late.
    """
    stated = str(environ.get("CONTENT_LENGTH") or "")
    if environ.get("HTTP_TRANSFER_ENCODING") or not (stated.isascii() and stated.isdigit()):
        raise Refused(411, "length_required", "state the Content-Length")
    if len(stated) > 9 or int(stated) > wire.MAX_BODY:
        raise Refused(413, "too_large", f"a body has at most {wire.MAX_BODY} bytes")
    media = str(environ.get("CONTENT_TYPE") or "").split(";")[0].strip().lower()
    coding = str(environ.get("HTTP_CONTENT_ENCODING") or "identity").strip().lower()
    if media != "application/json" or coding != "identity":
        raise Refused(415, "unsupported_media_type", "a body is application/json, not encoded")
    wanted, parts = int(stated), []
    try:
        while wanted:
            part = environ["wsgi.input"].read(wanted)
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
    except OSError as problem:
        raise Refused(408, "timeout", "the body did not come in time") from problem
    if wanted:
        raise Refused(408, "timeout", "the body ended before its length")
    return b"".join(parts)


def problem_of(problem: GateError) -> tuple[int, bytes, dict[str, str]]:
    """Status, body and headers that say this problem."""
    if not isinstance(problem, CallerError) and problem.status != 503:
        log.error("a call failed: %s", problem)
        return unavailable()
    more = {name: problem.more[name] for name in ("retry_after_s", "last_seq") if name in problem.more}
    body = msgspec.json.encode({"kind": problem.kind, "detail": problem.detail, **more})
    headers = dict(getattr(problem, "headers", {}))
    if problem.status in (429, 503):
        headers["Retry-After"] = str(more.get("retry_after_s", UNAVAILABLE_S))
    return problem.status, body, headers


def unavailable() -> tuple[int, bytes, dict[str, str]]:
    """The answer where nobody knows why it failed."""
    body = wire.write(wire.Problem("unavailable", "try again later", UNAVAILABLE_S))
    return 503, body, {"Retry-After": str(UNAVAILABLE_S)}
