"""The write plane: a WSGI callable in front of everything else that answers ``/v1`` and nothing more.

- No Flask, no cookies, no headers but length and type: who calls is who signed.
- In this order: path, method, length, size, type, body, envelope, signature, JSON, audience; only then the store.
- A call is one function in the group commit: it reads the machine again, takes the call, acts and stores the answer.
- Every error has the one JSON shape. What nobody expected is logged and answered 503; it consumes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec

from gate.core.errors import Conflict, Forbidden, GateError, Malformed, NotFound, Unauthenticated
from gate.core.model import Claim, ClaimState, Machine, MachineStatus
from gate.core.verdict import Refusal
from gate.flows import machines
from gate.flows.claims import Report
from gate.flows.machines import Answer, Call, Enrolment, SlowDown
from gate.ports import Clock, Gate, Store, Tx
from gate.web import openapi, wire
from gate.web.limits import Buckets
from gate.web.plain_http import REASONS, Environ, Refused, Start, Wsgi, body_of, problem_of, unavailable

log = logging.getLogger(__name__)

T = TypeVar("T")
KNOWN_KEYS = 50_000


class Commit(Protocol):
    """The group commit: runs ``act`` in a shared transaction and returns when it is durable."""

    def submit(self, act: Callable[[Tx], T], before: Callable[[], str] | None = None) -> T:
        """What ``act`` returned or raised; Unavailable when it cannot be made durable in time. ``before`` runs ahead
        of the transaction and says by key id who speaks; what it raises is raised here."""


class Signed(Protocol):
    """One envelope that was read."""

    @property
    def payload_type(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def keyid(self) -> str: ...
    def verify(self, key: bytes) -> bool: ...


class Envelopes(Protocol):
    """What ``gate.adapters.envelopes`` offers; the module itself is passed in."""

    def read_envelope(self, raw: bytes) -> Signed: ...
    def read_json(self, raw: bytes) -> Any: ...
    def read_key(self, text: str) -> bytes: ...


class Signer(Protocol):
    """The response key."""

    @property
    def public_key(self) -> str: ...
    def seal(self, payload_type: str, payload: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class AgentApiParts:
    """All that the write plane needs."""

    store: Store
    commit: Commit
    gate: Gate
    clock: Clock
    envelopes: Envelopes
    signer: Signer
    gate_id: str
    root_sha256: str
    poll_after_s: Callable[[str], int]
    """Seconds until a machine should come again, jittered by a hash of its id."""
    timestamp_version: Callable[[], int]
    sources: Callable[[], Sequence[wire.SourceShape]]
    place: Callable[[Tx, Machine], tuple[str, str]]
    """(ring, make) of a machine under the active policy."""
    claim: Callable[[Tx, Gate, Machine, str, str, str, datetime], tuple[Claim, bool] | Refusal]
    report: Callable[[Tx, Gate, Machine, Report, datetime], tuple[Claim, ClaimState]]
    probes: Callable[[Tx, Gate, Claim], Sequence[str]] = lambda *_: ()
    fresh: Callable[[], str] = lambda: secrets.token_hex(16)
    measure: Callable[[str, int, str, float], None] = lambda *_: None
    """Told each answer: path, status, kind of the problem, seconds."""
    enrolments: Buckets = field(default_factory=lambda: Buckets(60, 1.0))


class _Kind(msgspec.Struct):
    kind: str = ""


Door = Callable[["AgentApi", Environ], tuple[int, bytes]]
Act = Callable[[Tx, Call, Any, datetime], Answer]


class AgentApi:
    """``/v1`` is answered here, every other path by ``inner``."""

    def __init__(self, parts: AgentApiParts, inner: Wsgi | None = None) -> None:
        self._parts = parts
        self._inner = inner
        self._keys: dict[str, bytes] = {}
        self._openapi = openapi.document()

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if self._inner is not None and path != "/v1" and not path.startswith("/v1/"):
            return self._inner(environ, start_response)
        headers: dict[str, str] = {}
        began = time.perf_counter()
        try:
            status, body = _door(path, environ.get("REQUEST_METHOD", ""))(self, environ)
        except GateError as problem:
            status, body, headers = problem_of(problem)
        except Exception:
            log.exception("a call of the write plane failed: %s", path if path in ROUTES else "unknown path")
            status, body, headers = unavailable()
        kind = _kind(body) if status >= 400 else ""
        self._parts.measure(path if path in ROUTES else "other", status, kind, time.perf_counter() - began)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        headers |= {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        start_response(f"{status} {REASONS[status]}", list(headers.items()))
        return [body]

    def openapi(self, _: Environ) -> tuple[int, bytes]:
        """The document that describes this API."""
        return 200, self._openapi

    def challenge(self, environ: Environ) -> tuple[int, bytes]:
        """A nonce for one enrolment."""
        parts, now = self._parts, self._parts.clock.now()
        self._slow_down(environ, now)
        nonce = parts.fresh()
        expires_at = parts.commit.submit(lambda tx: machines.challenge(tx, nonce, now))
        return 200, wire.write(
            wire.ChallengeAnswer(nonce, expires_at, parts.gate_id, parts.root_sha256, parts.signer.public_key)
        )

    def enrol(self, environ: Environ) -> tuple[int, bytes]:
        """A new key asks to join; it signs its own request."""
        parts, now = self._parts, self._parts.clock.now()
        raw = body_of(environ)
        self._slow_down(environ, now)
        envelope = self._envelope(raw, "enrol")
        said = wire.read(wire.Enrol, parts.envelopes.read_json(envelope.payload))
        key = parts.envelopes.read_key(said.public_key)
        if not envelope.verify(key) or said.aud != parts.gate_id:
            raise Unauthenticated
        wanted = Enrolment(
            said.code, said.nonce, said.public_key, envelope.keyid, said.facts, _sha256(envelope.payload)
        )
        answer = parts.commit.submit(lambda tx: machines.enrol(tx, wanted, parts.root_sha256, now))
        return answer.status, answer.text.encode()

    def checkin(self, environ: Environ) -> tuple[int, bytes]:
        """A sign of life; the answer is signed by the response key."""
        return self._call(environ, "checkin", wire.CheckInCall, self._checkin)

    def claims(self, environ: Environ) -> tuple[int, bytes]:
        """May I have this release now?"""
        return self._call(environ, "claim", wire.ClaimCall, self._claim)

    def reports(self, environ: Environ) -> tuple[int, bytes]:
        """A claim has reached a step."""
        return self._call(environ, "report", wire.ReportCall, self._report)

    def _call(self, environ: Environ, kind: str, shape: type[Any], act: Act) -> tuple[int, bytes]:
        spoken = _Spoken(self, kind, shape, act, body_of(environ))
        return self._parts.commit.submit(spoken.act, spoken.read)

    def _checkin(self, tx: Tx, call: Call, said: wire.CheckInCall, now: datetime) -> Answer:
        parts = self._parts
        core = wire.checkin_of(said)
        machine = machines.checkin(tx, parts.gate, call.machine, core, lambda other: parts.place(tx, other), now)
        challenge = parts.fresh()
        body = wire.write(
            wire.CheckInAnswer(
                client_nonce=said.client_nonce,
                machine=machine.id,
                status=machine.status.value,
                ring=machine.ring,
                make=machine.make,
                challenge=challenge,
                seq=said.seq,
                server_time=now,
                timestamp_version=parts.timestamp_version(),
                poll_after_s=parts.poll_after_s(machine.id),
                sources=parts.sources(),
            )
        )
        return machines.answer_call(tx, call, Answer(200, body.decode()), now, challenge=challenge, said=core)

    def _claim(self, tx: Tx, call: Call, said: wire.ClaimCall, now: datetime) -> Answer:
        parts = self._parts
        found = parts.claim(tx, parts.gate, call.machine, said.source, said.release, said.boot_id, now)
        if isinstance(found, Refusal):
            answer = Answer(409, wire.refusal(found).decode())
        else:
            claim, created = found
            answer = Answer(
                201 if created else 200, wire.claim_answer(claim, parts.probes(tx, parts.gate, claim)).decode()
            )
        return machines.answer_call(tx, call, answer, now)

    def _report(self, tx: Tx, call: Call, said: wire.ReportCall, now: datetime) -> Answer:
        parts = self._parts
        try:
            claim, state = parts.report(tx, parts.gate, call.machine, wire.report_of(said), now)
            answer = Answer(202, wire.write(wire.ReportAnswer(claim.id, state.value)).decode())
        except Conflict as problem:
            seen = {"kind": problem.kind, "claim": said.claim, "step": said.step.value, "release": said.release}
            tx.append("report_refused", f"machine:{call.machine.id}", call.machine.id, now, seen)
            answer = Answer(409, wire.write(wire.Problem(problem.kind, problem.detail)).decode())
        return machines.answer_call(tx, call, answer, now)

    def _envelope(self, raw: bytes, kind: str) -> Signed:
        envelope = self._parts.envelopes.read_envelope(raw)
        if envelope.payload_type != wire.PAYLOAD_TYPES[kind]:
            raise Malformed("bad_envelope", f"payloadType here is {wire.PAYLOAD_TYPES[kind]}")
        return envelope

    def _key(self, keyid: str) -> bytes | None:
        """The key of a keyid, which never changes; whether its machine may speak is asked in the transaction."""
        key = self._keys.get(keyid)
        if key is None and len(keyid) == 64 and keyid.isascii() and keyid.isalnum():
            with self._parts.store.read() as tx:
                machine = tx.machine_by_key(keyid)
            if machine is not None:
                key = bytes.fromhex(machine.public_key)
                if len(self._keys) >= KNOWN_KEYS:
                    self._keys.clear()
                self._keys[keyid] = key
        return key

    def _slow_down(self, environ: Environ, now: datetime) -> None:
        wait = self._parts.enrolments.wait_s(environ.get("REMOTE_ADDR", ""), now)
        if wait:
            raise SlowDown("too many enrolments from this address", wait)


class _Spoken:
    """One signed call: read and verified ahead of the shared transaction, answered in it."""

    def __init__(self, api: AgentApi, kind: str, shape: type[Any], act: Act, body: bytes) -> None:
        self._api, self._kind, self._shape, self._act, self._body = api, kind, shape, act, body
        self._parts = api._parts

    def read(self) -> str:
        """Checks what the call says of itself; returns the key id that it is verified by."""
        parts, api = self._parts, self._api
        envelope = api._envelope(self._body, self._kind)
        key = api._key(envelope.keyid)
        if key is None or not envelope.verify(key):
            raise Unauthenticated
        self._said = wire.read(self._shape, parts.envelopes.read_json(envelope.payload))
        if self._said.aud != parts.gate_id:
            raise Unauthenticated
        self._keyid, self._digest, self._now = envelope.keyid, _sha256(envelope.payload), parts.clock.now()
        return envelope.keyid

    def act(self, tx: Tx) -> tuple[int, bytes]:
        """Reads the machine again, takes the call, acts and stores the answer; a check-in's answer is signed."""
        parts, said = self._parts, self._said
        machine = tx.machine_by_key(self._keyid)
        if machine is None or machine.status is MachineStatus.REVOKED or machine.id != said.machine:
            raise Unauthenticated
        if machine.status is MachineStatus.PENDING:
            wait = parts.poll_after_s(machine.id)
            raise Forbidden("pending", "a person has to accept this machine first", retry_after_s=wait)
        call = machines.take_call(tx, machine, self._kind, self._digest, said.seq, said.challenge, self._now)
        answer = call if isinstance(call, Answer) else self._act(tx, call, said, self._now)
        body = answer.text.encode()
        if self._kind == "checkin" and answer.status == 200:
            body = parts.signer.seal(wire.ANSWER_TYPE, body)
        return answer.status, body


ROUTES: dict[str, dict[str, Door]] = {
    "/v1/openapi.json": {"GET": AgentApi.openapi},
    "/v1/enrol/challenge": {"GET": AgentApi.challenge},
    "/v1/enrol": {"POST": AgentApi.enrol},
    "/v1/checkin": {"POST": AgentApi.checkin},
    "/v1/claims": {"POST": AgentApi.claims},
    "/v1/reports": {"POST": AgentApi.reports},
}


def _door(path: str, method: str) -> Door:
    doors = ROUTES.get(path)
    if doors is None:
        raise NotFound("there is no such path under /v1")
    if method not in doors:
        raise Refused(405, "method_not_allowed", f"use {', '.join(doors)} here", Allow=", ".join(doors))
    return doors[method]


def _kind(body: bytes) -> str:
    return msgspec.json.decode(body, type=_Kind).kind


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()
