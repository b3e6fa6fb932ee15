"""The JSON shapes of the write plane, and their translation to core values.

- A field that the protocol does not name is refused, so that nobody can set ``ring`` or ``status``.
- Every text, list and number has a limit, so that whatever passes here fits the store.
- Times on the wire are RFC 3339 with an offset; durations are seconds and end in ``_s``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec

from gate.core.errors import Malformed
from gate.core.model import Claim, Step
from gate.core.verdict import Refusal
from gate.flows.claims import Probe, Report
from gate.flows.machines import CheckIn, Said

MAX_BODY = 64 * 1024
MAX_SEQ = 2**53 - 1

PAYLOAD_TYPES = {
    "enrol": "application/vnd.gate.enrol+json",
    "checkin": "application/vnd.gate.checkin+json",
    "claim": "application/vnd.gate.claim+json",
    "report": "application/vnd.gate.report+json",
}
ANSWER_TYPE = "application/vnd.gate.checkin-answer+json"

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Short = Annotated[str, msgspec.Meta(max_length=128)]
Text = Annotated[str, msgspec.Meta(max_length=2000)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)]
Seq = Annotated[int, msgspec.Meta(ge=1, le=MAX_SEQ)]
Version = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Hex64 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
Facts = Annotated[dict[Word, Short], msgspec.Meta(max_length=32)]
Installed = Annotated[dict[Word, Short], msgspec.Meta(max_length=64)]


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    """An object without any other fields."""


class Enrol(Shape):
    """``POST /v1/enrol``."""

    aud: Word
    code: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    nonce: Word
    public_key: Hex64
    facts: Facts = msgspec.field(default_factory=dict)


class SaidEvent(Shape):
    """Something that the machine noticed."""

    kind: Word
    at: Time
    detail: Text = ""


class CheckInCall(Shape):
    """``POST /v1/checkin``."""

    aud: Word
    machine: Word
    seq: Seq
    challenge: Short | None
    client_nonce: Word
    boot_id: Word
    uptime_s: Seconds
    timestamp_version: Version
    installed: Installed = msgspec.field(default_factory=dict)
    facts: Facts = msgspec.field(default_factory=dict)
    events: Annotated[list[SaidEvent], msgspec.Meta(max_length=32)] = msgspec.field(default_factory=list)


class ClaimCall(Shape):
    """``POST /v1/claims``."""

    aud: Word
    machine: Word
    seq: Seq
    challenge: Short | None
    source: Word
    release: Word
    boot_id: Word


class ProbeShape(Shape):
    """One probe's answer."""

    name: Word
    ok: bool
    detail: Text = ""


class BootShape(Shape):
    """One boot that the machine remembers."""

    boot_id: Word
    started_at: Time
    ended: Annotated[str, msgspec.Meta(pattern="^(clean|unclean|unknown)$")]


class ReportCall(Shape):
    """``POST /v1/reports``."""

    aud: Word
    machine: Word
    seq: Seq
    challenge: Short | None
    claim: Word
    step: Step
    boot_id: Word
    uptime_s: Seconds
    release: Word
    prev_boot_id: Short | None = None
    booted_at: Time | None = None
    observed_at: Time | None = None
    probes: Annotated[list[ProbeShape], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=list)
    boots: Annotated[list[BootShape], msgspec.Meta(max_length=64)] = msgspec.field(default_factory=list)


class Signature(Shape):
    """The one signature of an envelope."""

    keyid: str
    sig: str


class EnvelopeShape(Shape):
    """A DSSE envelope; the payload is base64 of one of the calls."""

    payloadType: str
    payload: str
    signatures: Annotated[list[Signature], msgspec.Meta(min_length=1, max_length=1)]


class Problem(Shape, omit_defaults=True):
    """Every error, on every path."""

    kind: str
    detail: str
    retry_after_s: int | None = None
    rule: str | None = None
    earliest_at: Time | None = None
    last_seq: int | None = None


class ChallengeAnswer(Shape):
    """Answer of ``GET /v1/enrol/challenge``."""

    nonce: str
    expires_at: Time
    gate: str
    root_sha256: str
    response_key: str


class EnrolAnswer(Shape):
    """Answer of ``POST /v1/enrol``."""

    machine: str
    status: str
    fingerprint: str


class ClaimAnswer(Shape):
    """A granted claim."""

    claim: str
    granted_at: Time
    lease_until: Time
    deadline_at: Time
    evidence: str
    reboot: str
    stay_up_s: int
    boots: int
    tries: int
    probes: list[str]


class ReportAnswer(Shape):
    """Where the claim stands after a report."""

    claim: str
    state: str


class SourceShape(Shape):
    """One source that an agent may ask for."""

    source: str
    kind: str
    boot_critical: bool


class CheckInAnswer(Shape):
    """The signed answer's payload."""

    client_nonce: str
    machine: str
    status: str
    ring: str
    make: str
    challenge: str
    seq: int
    server_time: Time
    timestamp_version: int
    poll_after_s: int
    sources: Sequence[SourceShape]


S = TypeVar("S", bound=Shape)
_encode = msgspec.json.Encoder().encode


def read(shape: type[S], found: Any) -> S:
    """The shape in parsed JSON.

    Raises:
        Malformed: bad_field, with the path of the field.
    """
    try:
        return msgspec.convert(found, shape)
    except msgspec.ValidationError as problem:
        raise Malformed("bad_field", str(problem)[:300]) from problem


def write(shape: Shape) -> bytes:
    """The shape as JSON."""
    return _encode(shape)


def checkin_of(said: CheckInCall) -> CheckIn:
    """The core's form of a check-in."""
    return CheckIn(
        boot_id=said.boot_id,
        uptime=timedelta(seconds=said.uptime_s),
        installed=said.installed,
        facts=said.facts,
        timestamp_version=said.timestamp_version,
        events=tuple(Said(event.kind, event.at.isoformat(), event.detail) for event in said.events),
    )


def report_of(said: ReportCall) -> Report:
    """The core's form of a report."""
    return Report(
        claim=said.claim,
        step=said.step,
        boot_id=said.boot_id,
        uptime=timedelta(seconds=said.uptime_s),
        release=said.release,
        probes=tuple(Probe(probe.name, probe.ok, probe.detail) for probe in said.probes),
        prev_boot_id=said.prev_boot_id,
        more={
            "booted_at": said.booted_at.isoformat() if said.booted_at else None,
            "observed_at": said.observed_at.isoformat() if said.observed_at else None,
            "boots": [(boot.boot_id, boot.started_at.isoformat(), boot.ended) for boot in said.boots],
        },
    )


def claim_answer(claim: Claim, probes: Sequence[str]) -> bytes:
    """A granted claim as JSON."""
    return write(
        ClaimAnswer(
            claim=claim.id,
            granted_at=claim.granted_at,
            lease_until=claim.lease_until,
            deadline_at=claim.deadline_at,
            evidence=claim.evidence,
            reboot=claim.reboot,
            stay_up_s=int(claim.stay_up.total_seconds()),
            boots=claim.boots,
            tries=claim.tries,
            probes=list(probes),
        )
    )


def refusal(no: Refusal) -> bytes:
    """A refused claim as JSON."""
    return write(Problem(no.kind, no.detail, no.retry_after_s, no.rule or None, no.earliest_at))
