"""The document says what the API does: schemathesis finds no 5xx and no status that is not written there.

Unsigned, it comes as far as the signature. Signed, each payload that it makes from the document, good ones and bad,
is sealed with the key of a machine that the gate knows, so that what is behind the signature is reached.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from gate.web import openapi
from tests.real_gate import ADDRESS, PlayedMachine, RealGate, opened

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance)
KINDS = {"/v1/enrol": "enrol", "/v1/checkin": "checkin", "/v1/claims": "claim", "/v1/reports": "report"}
some = settings(
    max_examples=60, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def test_the_document_names_every_route_and_every_status() -> None:
    document = json.loads(openapi.document())
    assert set(document["paths"]) == {"/v1/openapi.json", "/v1/enrol/challenge", *KINDS}
    for path, doors in document["paths"].items():
        for door in doors.values():
            assert "503" in door["responses"] or path == "/v1/openapi.json"


@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_no_5xx_and_no_undocumented_status(sqlite_gate: RealGate) -> None:
    schema = schemathesis.openapi.from_dict(json.loads(openapi.document()))
    schema.app = sqlite_gate.app
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @some
        def check(case: schemathesis.Case) -> None:
            nonlocal asked
            asked += 1
            case.validate_response(case.call(), checks=CHECKS)

        given(case=operation.as_strategy())(check)()
    assert asked > 100


def payloads() -> dict[str, Any]:
    """The document, with what is in an envelope in the envelope's place."""
    document: dict[str, Any] = copy.deepcopy(json.loads(openapi.document()))
    document["paths"] = {path: doors for path, doors in document["paths"].items() if path in KINDS}
    for doors in document["paths"].values():
        content = doors["post"]["requestBody"]["content"]["application/json"]
        content["schema"] = content["schema"]["allOf"][1]["properties"]["payload"]["contentSchema"]
    return document


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_nothing_behind_the_signature_either(sqlite_gate: RealGate) -> None:
    machine = PlayedMachine(sqlite_gate)
    assert machine.enrol()[0] == 202
    sqlite_gate.accept(machine.machine, "till", "first")
    assert machine.checkin()[0] == 200
    sqlite_gate.bring("1")
    with sqlite_gate.opened.store.read() as tx:
        release = tx.rollouts()[0].release
    status, granted = machine.claim(release)
    assert status == 201
    code = sqlite_gate.code(uses=1000)
    schema = schemathesis.openapi.from_dict(payloads())
    schema.app = sqlite_gate.app
    answers: dict[str, Counter[int]] = {path: Counter() for path in KINDS}

    def true(path: str) -> dict[str, Any]:
        """What a machine would say that is known here."""
        if path == "/v1/enrol":
            nonce = machine.http.get(ADDRESS + "/v1/enrol/challenge").json().get("nonce", "n")
            return {"aud": "test-fleet", "code": code, "nonce": nonce, "public_key": machine.public_key}
        more = {"/v1/claims": {"source": "shop-content", "release": release}, "/v1/checkin": {},
                "/v1/reports": {"claim": granted["claim"], "release": release}}[path]  # fmt: skip
        return machine.head() | more

    def check(case: schemathesis.Case, kept: set[str]) -> None:
        body, path = case.body, case.path
        if path == "/v1/enrol":
            sqlite_gate.clock.forward(seconds=5)  # else the limit of an address answers most of them
        if isinstance(body, dict):
            said = true(path)
            body = body | {name: said[name] for name in said.keys() - kept}
        if body is not NOT_SET:
            case.body = json.loads(machine.sealed(KINDS[path], body))
        answer = case.call()
        answers[path][answer.status_code] += 1
        if path == "/v1/checkin" and answer.status_code == 200:
            machine.challenge = opened(answer.json())["challenge"]
        if answer.status_code == 409 and "last_seq" in answer.json():
            machine.seq = answer.json()["last_seq"]  # as an agent does: a number far ahead was taken before
        case.validate_response(answer, checks=CHECKS)

    kept = st.just(set()) | st.sets(st.sampled_from(["seq", "challenge", "machine", "aud", "claim", "release", "code"]))
    for found in schema.get_all_operations():
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            some(given(case=found.ok().as_strategy(generation_mode=mode), kept=kept)(check))()
    for path, good in ("/v1/checkin", 200), ("/v1/claims", 200), ("/v1/reports", 202), ("/v1/enrol", 202):
        assert answers[path][good] > 10, answers
        assert answers[path][400] > 0, answers
    assert sum(answers.values(), Counter())[401] > 0, answers
