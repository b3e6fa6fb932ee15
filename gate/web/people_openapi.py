"""The OpenAPI 3.1 document of the API for people, made from its routes; a test drives the API with it."""

from __future__ import annotations

from typing import Any

import msgspec

from gate.flows.people import NEEDS
from gate.flows.tokens import SCOPES
from gate.web import wire
from gate.web.people_api import ROOT, ROUTES, Route

READ = (400, 401, 403, 404, 405, 503)
ACT = (400, 401, 403, 404, 405, 408, 409, 411, 413, 415, 503)
DESCRIPTION = (
    "Every call carries `Authorization: Bearer` with a token of `gate token create`; cookies are not looked at."
)


def document() -> bytes:
    """The document as JSON."""
    shapes: list[type[msgspec.Struct]] = [wire.Problem]
    for route in ROUTES:
        shapes += [route.answer, *([route.body] if route.body else [])]
    _, components = msgspec.json.schema_components(
        list(dict.fromkeys(shapes)), ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {f"{ROOT}/openapi.json": {"get": _own()}}
    for route in ROUTES:
        paths.setdefault(ROOT + route.path, {})[route.method.lower()] = _operation(route)
    found = {
        "openapi": "3.1.0",
        "info": {"title": "gate: the API for people", "version": "1", "description": DESCRIPTION},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(found)


def _own() -> dict[str, Any]:
    said = {"200": _json("this document", {"type": "object"}), "405": _json("an error", _ref(wire.Problem))}
    return {"operationId": "get_openapi", "security": [], "responses": said}


def _operation(route: Route) -> dict[str, Any]:
    needed = next(scope for scope, role in SCOPES.items() if role == NEEDS[route.act])
    responses = {"200": _json("the answer", _ref(route.answer))}
    responses |= {str(one): _json("an error", _ref(wire.Problem)) for one in (ACT if route.body else READ)}
    words = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    asked = [{"name": one, "in": "path", "required": True, "schema": _word(1)} for one in words]
    asked += [{"name": one, "in": "query", "schema": _word(0)} for one in route.query]
    found: dict[str, Any] = {
        "operationId": route.door.__name__,
        "summary": (route.door.__doc__ or "").splitlines()[0],
        "description": f"Scope `{needed}`.",
        "parameters": asked,
        "responses": responses,
    }
    if route.body is not None:
        found["requestBody"] = {"required": True, **_content(_ref(route.body))}
    return found


def _word(least: int) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": 200}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, **_content(schema)}


def _ref(shape: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{shape.__name__}"}
