"""The document says what the API does: schemathesis finds no 5xx and no status that is not written there."""

from __future__ import annotations

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from gate.web import openapi
from tests.real_gate import RealGate


def test_the_document_names_every_route_and_every_status() -> None:
    document = json.loads(openapi.document())
    assert set(document["paths"]) == {
        "/v1/openapi.json",
        "/v1/enrol/challenge",
        "/v1/enrol",
        "/v1/checkin",
        "/v1/claims",
        "/v1/reports",
    }
    for path, doors in document["paths"].items():
        for door in doors.values():
            assert "503" in door["responses"] or path == "/v1/openapi.json"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_no_5xx_and_no_undocumented_status(sqlite_gate: RealGate) -> None:
    schema = schemathesis.openapi.from_dict(json.loads(openapi.document()))
    schema.app = sqlite_gate.app
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=60,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def check(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            case.validate_response(
                case.call(), checks=(not_a_server_error, status_code_conformance, content_type_conformance)
            )

        given(case=operation.as_strategy())(check)()
    assert asked > 100
