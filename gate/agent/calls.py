"""The write plane, the agent's side: signed calls, each with the next ``seq``.

- ``seq`` is on disk before a call is sent. A call that got no answer is sent again with the same bytes.
- 400, 401, 403, 429 and 503 consume nothing; a 409 is an answer.
- A challenge that was lost with an answer is let go: the next check-in carries none and brings a new one.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gate.agent import envelopes
from gate.agent.errors import Misuse, Refused, Unreachable, Untrusted
from gate.agent.http import Http
from gate.agent.state import Identity, State, StateFolder
from gate.agent.times import moment

SENDS = 3
PATHS = {"checkin": "/v1/checkin", "claim": "/v1/claims", "report": "/v1/reports"}


@dataclass(frozen=True, slots=True)
class CheckInAnswer:
    """What the gate says to a check-in, verified."""

    status: str
    ring: str
    make: str
    challenge: str
    timestamp_version: int
    poll_after_s: int
    sources: Mapping[str, bool]  # source -> boot_critical
    server_time: str


class WritePlane:
    """Calls of one machine."""

    def __init__(self, http: Http, key: bytes, identity: Identity, folder: StateFolder) -> None:
        self._http = http
        self._key = key
        self._identity = identity
        self._folder = folder

    def check_in(self, state: State, response_key: str, fields: dict[str, Any]) -> CheckInAnswer:
        """A sign of life; the answer must be signed, for this machine and this call.

        Raises:
            Refused, Unreachable, Untrusted.
        """
        nonce = secrets.token_hex(16)
        raw = self._call("checkin", state, {"client_nonce": nonce, **fields})
        found = envelopes.open_answer(raw, response_key)
        if (found.get("client_nonce"), found.get("machine")) != (nonce, self._identity.machine):
            raise Untrusted("the answer is for another call")
        try:
            sources = {str(one["source"]): bool(one["boot_critical"]) for one in found["sources"]}
            answer = CheckInAnswer(
                status=str(found["status"]),
                ring=str(found["ring"]),
                make=str(found["make"]),
                challenge=str(found["challenge"]),
                timestamp_version=int(found["timestamp_version"]),
                poll_after_s=max(int(found["poll_after_s"]), 1),
                sources=sources,
                server_time=moment(found["server_time"]).isoformat(),
            )
        except (KeyError, TypeError, ValueError) as problem:
            raise Untrusted("the answer cannot be read") from problem
        state.challenge = answer.challenge
        return answer

    def claim(self, state: State, source: str, release: str, boot_id: str) -> dict[str, Any]:
        """Asks for a claim.

        Raises:
            Refused: with the kind of the protocol. Unreachable, Untrusted.
        """
        return _object(self._call("claim", state, {"source": source, "release": release, "boot_id": boot_id}))

    def report(self, state: State, fields: dict[str, Any]) -> dict[str, Any]:
        """Says which step a claim has reached.

        Raises:
            Refused, Unreachable, Untrusted.
        """
        answer = _object(self._call("report", state, fields))
        if answer.get("claim") != fields["claim"]:
            raise Untrusted("the answer to a report is about something else")
        return answer

    def _call(self, kind: str, state: State, fields: dict[str, Any], *, again: bool = True) -> bytes:
        state.seq += 1
        self._folder.save(state)
        head = {"aud": self._identity.gate, "machine": self._identity.machine, "seq": state.seq}
        payload = {**head, "challenge": state.challenge, **fields}
        status, body = _send(self._http, PATHS[kind], envelopes.seal(self._key, kind, payload))
        if status in (200, 201, 202):
            return body
        problem = _problem(status, body)
        if problem.kind == "stale_seq" and again and problem.last_seq is not None:
            state.seq = problem.last_seq
            return self._call(kind, state, fields, again=False)
        if problem.kind == "stale_challenge":
            state.challenge = None  # a check-in may go without, and brings the next one
            if kind == "checkin" and again:
                return self._call(kind, state, fields, again=False)
        if status in (400, 401, 403, 429, 503):
            state.seq -= 1
            self._folder.save(state)
        raise problem


def enrol(http: Http, folder: StateFolder, code: str, facts: Mapping[str, str]) -> tuple[Identity, str]:
    """Pins the root that the code names, makes a key, and asks to join; returns who I am and my status.

    What is there is given up only once the gate has said yes. A key that it has revoked is worth nothing any more: then
    a new one is made.

    Raises:
        Misuse: the code is no code. Untrusted: the root is not the code's. Refused, Unreachable.
    """
    secret, _, root_sha256 = code.strip().partition(".")
    if not secret or len(root_sha256) != 64:
        raise Misuse("this is not an enrolment code: <secret>.<64 hex digits>")
    status, root, _ = http.get("/metadata/1.root.json", 512 * 1024)
    if status != 200:
        raise Unreachable(f"the root answered {status}")
    if hashlib.sha256(root).hexdigest() != root_sha256:
        raise Untrusted("the gate's root is not the one that the code names")
    before, kept = _enrolled(folder), folder.key()
    key = kept or envelopes.new_key()
    if kept is None:
        folder.write("key", key)
    try:
        identity, said = _join(http, key, code, root_sha256, facts)
    except Refused as problem:
        if before is None or problem.kind != "unauthenticated":
            raise
        key = envelopes.new_key()
        identity, said = _join(http, key, code, root_sha256, facts)
    if before is not None and (before.machine, before.root_sha256) != (identity.machine, root_sha256):
        folder.save(_anew(folder.state(), before.root_sha256 == root_sha256))
    if key != kept:
        folder.write("key", key)
    if _bytes_of(folder.path / "root.json") != root:  # another gate's metadata is of no use here
        shutil.rmtree(folder.path / "tuf", ignore_errors=True)
        folder.write("root.json", root)
    folder.save_identity(identity)
    return identity, said


def code_in(raw: bytes) -> str:
    """The code in the first line of a file that has text, as whatever editor wrote it."""
    encoding = "utf-8"
    for mark, name in ((BOM_UTF8, "utf-8"), (BOM_UTF16_LE, "utf-16-le"), (BOM_UTF16_BE, "utf-16-be")):
        if raw.startswith(mark):
            raw, encoding = raw[len(mark) :], name
            break
    lines = (line.strip() for line in raw.decode(encoding, errors="replace").splitlines())
    return next(filter(None, lines), "")


def _enrolled(folder: StateFolder) -> Identity | None:
    try:
        return folder.identity()
    except Misuse:
        return None


def _join(http: Http, key: bytes, code: str, root_sha256: str, facts: Mapping[str, str]) -> tuple[Identity, str]:
    status, body, _ = http.get("/v1/enrol/challenge", 64 * 1024)
    if status != 200:
        raise _problem(status, body)
    try:
        challenge = _object(body)
        payload = {
            "aud": str(challenge["gate"]),
            "code": code.strip(),
            "nonce": challenge["nonce"],
            "public_key": envelopes.public_key(key).hex(),
            "facts": dict(facts),
        }
        status, body = _send(http, "/v1/enrol", envelopes.seal(key, "enrol", payload))
        if status != 202:
            raise _problem(status, body)
        found = _object(body)
        machine, fingerprint, said = (str(found[name]) for name in ("machine", "fingerprint", "status"))
    except KeyError as problem:
        raise Untrusted("an answer to the enrolment is not the gate's") from problem
    return Identity(http.url, payload["aud"], machine, fingerprint, root_sha256), said


def _anew(state: State, same_gate: bool) -> State:
    """What another machine, or another gate, has no part in; what is in place here, and on trial, stays."""
    granted = state.claim is not None and state.claim.step == "granted"
    return replace(
        state,
        seq=0,
        challenge=None,
        newest_issued_at=state.newest_issued_at if same_gate else "",
        ring="",
        make="",
        status="",
        claim=None if granted else state.claim,
        reports=[],
        events=[],
        etag="",
        response_key="",
    )


def pinned_root(path: Path, identity: Identity) -> bytes:
    """The root that was pinned at enrolment.

    Raises:
        Misuse: it is not that one any more.
    """
    try:
        root = path.read_bytes()
    except OSError as problem:
        raise Misuse(f"{path} cannot be read") from problem
    if hashlib.sha256(root).hexdigest() != identity.root_sha256:
        raise Misuse(f"{path} is not the root that was pinned at enrolment")
    return root


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _send(http: Http, path: str, body: bytes) -> tuple[int, bytes]:
    for _ in range(SENDS - 1):
        try:
            return http.post(path, body)
        except Unreachable:
            continue
    return http.post(path, body)


def _problem(status: int, body: bytes) -> Refused:
    try:
        found = _object(body)
        kind, detail = str(found["kind"]), str(found["detail"])
        wait, last = int(found.get("retry_after_s") or 0), found.get("last_seq")
    except (Untrusted, KeyError, ValueError, TypeError) as problem:
        raise Unreachable(f"an answer {status} that is not the gate's") from problem
    return Refused(status, kind, detail, wait, last if isinstance(last, int) else None)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise Untrusted("an answer is not JSON") from problem
    if not isinstance(found, dict):
        raise Untrusted("an answer is not an object")
    return found
