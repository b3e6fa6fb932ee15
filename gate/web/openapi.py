"""The OpenAPI 3.1 document of the write plane, made from the shapes that read the requests.

- Every status of the protocol's tables stands at its path, and no other; a test drives the API with it.
- A body is a DSSE envelope of one payload type; ``contentSchema`` says what its base64 payload holds.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gate.web import wire

BODY = (400, 408, 411, 413, 415)
ALWAYS = (405, 503)
CALL = (*ALWAYS, *BODY, 401, 403, 409)
KINDS: dict[int, tuple[str, ...]] = {
    400: ("bad_json", "bad_envelope", "bad_field"),
    401: ("unauthenticated",),
    403: ("pending",),
    404: ("not_found",),
    405: ("method_not_allowed",),
    408: ("timeout",),
    409: (
        *("no_approval", "ring_not_open", "halted", "held", "frozen", "window_closed", "ring_empty", "outside_share"),
        *("make_unproven", "unexplained_failure", "cap_reached", "budget_reached", "needs_people", "site_limit"),
        *("last_of_role", "other_in_flight", "already_installed", "superseded", "unknown_release"),
        *("stale_seq", "stale_challenge", "illegal_step", "unknown_claim"),
    ),
    411: ("length_required",),
    413: ("too_large",),
    415: ("unsupported_media_type",),
    429: ("slow_down",),
    503: ("unavailable",),
}

ROWS: tuple[tuple[str, str, type[wire.Shape] | None, dict[int, type[wire.Shape] | None], tuple[int, ...]], ...] = (
    ("/v1/openapi.json", "get", None, {200: None}, ALWAYS),
    ("/v1/enrol/challenge", "get", None, {200: wire.ChallengeAnswer}, (*ALWAYS, 429)),
    ("/v1/enrol", "post", wire.Enrol, {202: wire.EnrolAnswer}, (*ALWAYS, *BODY, 401, 429)),
    ("/v1/checkin", "post", wire.CheckInCall, {200: wire.EnvelopeShape}, CALL),
    ("/v1/claims", "post", wire.ClaimCall, {200: wire.ClaimAnswer, 201: wire.ClaimAnswer}, CALL),
    ("/v1/reports", "post", wire.ReportCall, {202: wire.ReportAnswer}, CALL),
)

KIND_OF: dict[type[wire.Shape], str] = {
    wire.Enrol: "enrol",
    wire.CheckInCall: "checkin",
    wire.ClaimCall: "claim",
    wire.ReportCall: "report",
}


def document() -> bytes:
    """The document as JSON."""
    shapes: list[type[wire.Shape]] = [wire.Problem, wire.EnvelopeShape, wire.CheckInAnswer]
    for _, _, call, answers, _ in ROWS:
        shapes += [shape for shape in (call, *answers.values()) if shape is not None]
    unique = list(dict.fromkeys(shapes))
    _, components = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
    paths: dict[str, Any] = {}
    for path, method, call, answers, errors in ROWS:
        paths[path] = {method: _operation(path, method, call, answers, errors)}
    found = {
        "openapi": "3.1.0",
        "info": {"title": "gate: the agent protocol", "version": "1"},
        "paths": paths,
        "components": {"schemas": components},
    }
    return msgspec.json.encode(found)


def _operation(
    path: str,
    method: str,
    call: type[wire.Shape] | None,
    answers: dict[int, type[wire.Shape] | None],
    errors: tuple[int, ...],
) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, shape in answers.items():
        schema = {"type": "object"} if shape is None else _ref(shape)
        responses[str(status)] = {"description": "the answer", "content": {"application/json": {"schema": schema}}}
    for status in sorted(errors):
        responses[str(status)] = {
            "description": ", ".join(KINDS[status]),
            "content": {"application/json": {"schema": _error(status)}},
        }
    found: dict[str, Any] = {"operationId": f"{method}_{path.rsplit('/', 1)[1].split('.')[0]}", "responses": responses}
    if call is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _sealed(call)}}}
    return found


def _sealed(call: type[wire.Shape]) -> dict[str, Any]:
    """An envelope with this call in it."""
    payload = {"contentEncoding": "base64", "contentMediaType": "application/json", "contentSchema": _ref(call)}
    known = {"payloadType": {"const": wire.PAYLOAD_TYPES[KIND_OF[call]]}, "payload": payload}
    return {"allOf": [_ref(wire.EnvelopeShape), {"properties": known}]}


def _error(status: int) -> dict[str, Any]:
    """The shape of an error; at 429 and 503 it always says when to come again."""
    known: dict[str, Any] = {"properties": {"kind": {"enum": list(KINDS[status])}}}
    if status in (429, 503):
        known["required"] = ["retry_after_s"]
    return {"allOf": [_ref(wire.Problem), known]}


def _ref(shape: type[wire.Shape]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}
