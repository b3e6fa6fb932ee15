"""The write plane to the letter of the protocol: what is taken, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import base64
import concurrent.futures
import json
from datetime import timedelta
from typing import Any

import pytest

from gate.core.model import ClaimState, Machine
from gate.web import wire
from tests.real_gate import ADDRESS, PlayedMachine, RealGate


def joined(gate: RealGate, seed: str = "machine", *labels: str) -> PlayedMachine:
    machine = PlayedMachine(gate, seed)
    assert machine.enrol()[0] == 202
    gate.accept(machine.machine, "till", *(labels or ("first",)))
    assert machine.checkin()[0] == 200
    return machine


def release(gate: RealGate) -> str:
    gate.bring("1")
    with gate.opened.store.read() as tx:
        return tx.rollouts()[0].release


def everything(gate: RealGate) -> list[Any]:
    """What a call may have changed."""
    with gate.opened.store.read() as tx:
        return [tx.audit_head(), tx.machines(limit=1000), [tx.session(m.id) for m in tx.machines(limit=1000)]]


def test_a_machine_enrols_waits_is_accepted_and_checks_in(real_gate: RealGate) -> None:
    machine = PlayedMachine(real_gate)
    status, answer = machine.enrol()
    assert (status, answer) == (
        202,
        {"machine": machine.machine, "status": "pending", "fingerprint": machine.keyid},
    )
    assert machine.checkin() == (
        403,
        {"kind": "pending", "detail": "a person has to accept this machine first", "retry_after_s": 2},
    )
    machine.seq -= 1
    real_gate.accept(machine.machine, "till", "first")
    status, answer = machine.checkin()
    assert status == 200
    assert (answer["ring"], answer["make"], answer["status"], answer["seq"]) == ("first", "role=till", "active", 1)
    assert answer["sources"] == [{"source": "shop-content", "kind": "content", "boot_critical": False}]
    assert answer["poll_after_s"] in (2, 3)


def test_a_claim_is_granted_reported_and_healthy(real_gate: RealGate) -> None:
    machine = joined(real_gate)
    wanted = release(real_gate)
    status, claim = machine.claim(wanted)
    assert status == 201
    assert set(claim) == {
        "claim", "granted_at", "lease_until", "deadline_at", "evidence", "reboot", "stay_up_s", "boots", "tries",
        "probes",
    }  # fmt: skip
    assert machine.claim(wanted) == (200, claim)
    assert machine.report(claim["claim"], "installed", wanted) == (202, {"claim": claim["claim"], "state": "installed"})
    assert machine.report(claim["claim"], "installed", wanted)[1]["state"] == "installed"
    assert machine.report(claim["claim"], "healthy", wanted, uptime_s=2)[1]["state"] == "installed", "stay_up is 3 s"
    assert machine.report(claim["claim"], "healthy", wanted, uptime_s=3)[1]["state"] == "healthy"
    assert machine.report(claim["claim"], "installed", wanted)[1]["state"] == "healthy", "late reports change nothing"
    assert machine.claim(wanted)[1]["kind"] == "already_installed"


def test_the_same_bytes_get_the_stored_answer_once_consumed(real_gate: RealGate) -> None:
    machine = joined(real_gate)
    wanted = release(real_gate)
    body = machine.sealed("claim", machine.head() | {"source": "shop-content", "release": wanted, "boot_id": "b1"})
    first = machine.post("/v1/claims", body)
    assert first[0] == 201
    assert machine.post("/v1/claims", body) == first
    assert machine.report("c-none", "installed", wanted)[0] == 409
    assert machine.post("/v1/claims", body) == (
        409,
        {"kind": "stale_seq", "detail": "the last seq was 3", "last_seq": 3},
    )


def test_a_refused_report_is_answered_again_with_the_same_words(sqlite_gate: RealGate) -> None:
    machine = joined(sqlite_gate)
    now = "2026-03-02T09:00:00Z"
    payload = machine.head() | {
        "claim": "c-none", "step": "installed", "boot_id": "b1", "uptime_s": 1, "release": "r", "observed_at": now,
    }  # fmt: skip
    body = machine.sealed("report", payload)
    first = machine.post("/v1/reports", body)
    assert (first[0], first[1]["kind"]) == (409, "unknown_claim")
    assert machine.post("/v1/reports", body) == first


def test_an_enrolment_is_answered_again_also_when_its_code_is_used_up(real_gate: RealGate) -> None:
    machine = PlayedMachine(real_gate)
    nonce = machine.http.get(ADDRESS + "/v1/enrol/challenge").json()["nonce"]
    payload = {
        "aud": "test-fleet",
        "code": real_gate.code(uses=1),
        "nonce": nonce,
        "public_key": machine.public_key,
        "facts": {},
    }
    body = machine.sealed("enrol", payload)
    first = machine.post("/v1/enrol", body)
    assert first[0] == 202
    assert machine.post("/v1/enrol", body) == first


SPOILT = [
    ("unknown code", {"code": "0" * 32 + "." + "0" * 64}, 401),
    ("a used nonce", {"nonce": "used"}, 401),
    ("another fleet", {"aud": "other"}, 401),
    ("another key than the one that signs", {"public_key": "ab" * 32}, 400),
    ("a small-order key", {"public_key": "01" + "00" * 31}, 400),
    ("upper case key", {"public_key": "AB" * 32}, 400),
    ("a ring of its own choice", {"ring": "first"}, 400),
    ("a status of its own choice", {"status": "active"}, 400),
    ("a site of its own choice", {"site": "sued"}, 400),
    ("an id of its own choice", {"id": "m-1"}, 400),
    ("33 facts", {"facts": {f"f{n}": "x" for n in range(33)}}, 400),
    ("a long fact", {"facts": {"role": "x" * 129}}, 400),
    ("a fact that is a number", {"facts": {"role": 1}}, 400),
]


@pytest.mark.parametrize(("what", "change", "status"), SPOILT, ids=[row[0] for row in SPOILT])
def test_an_enrolment_that_is_not_good_changes_nothing(
    sqlite_gate: RealGate, what: str, change: dict[str, Any], status: int
) -> None:
    machine = PlayedMachine(sqlite_gate)
    with sqlite_gate.opened.store.read() as tx:
        assert tx.machines() == []
    found, answer = machine.enrol(**change)
    assert found == status, answer
    assert answer["kind"] in ("unauthenticated", "bad_field")
    with sqlite_gate.opened.store.read() as tx:
        assert tx.machines() == []
        assert [event.kind for event in tx.events()].count("machine_enrolled") == 0


def test_ten_machines_with_one_code_of_one_use_give_one_pending_machine(real_gate: RealGate) -> None:
    code = real_gate.code(uses=1)
    machines = [PlayedMachine(real_gate, f"m{n}") for n in range(10)]
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        found = list(pool.map(lambda one: one.enrol(code=code)[0], machines))
    assert sorted(found) == [202] + [401] * 9
    with real_gate.opened.store.read() as tx:
        assert len(tx.machines(status="pending")) == 1


def test_an_expired_code_is_unauthenticated(sqlite_gate: RealGate) -> None:
    code = sqlite_gate.code()
    sqlite_gate.clock.forward(hours=1, seconds=1)
    assert PlayedMachine(sqlite_gate).enrol(code=code)[0] == 401


def envelope(machine: PlayedMachine, **change: Any) -> bytes:
    good = json.loads(machine.sealed("checkin", machine.checkin_payload()))
    return json.dumps(good | change).encode()


def payload_of(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def malformed(machine: PlayedMachine) -> list[tuple[str, bytes, int, str]]:
    good = json.loads(envelope(machine))
    twice = good["signatures"] * 2

    def signed(raw: bytes) -> bytes:
        return machine.sealed("checkin", raw)

    def said(change: dict[str, Any]) -> bytes:
        return signed(json.dumps(machine.checkin_payload() | change).encode())

    event = {"kind": "x", "at": "2026-03-02T09:00:00Z"}
    text = json.dumps(machine.checkin_payload())
    return [
        ("not JSON", b"{", 400, "bad_json"),
        ("not UTF-8", b'{"a": "\xff"}', 400, "bad_json"),
        ("a list", b"[]", 400, "bad_envelope"),
        ("deep nesting", b"[" * 100_00 + b"]" * 100_00, 400, "bad_json"),
        ("NaN", b'{"a": NaN}', 400, "bad_json"),
        ("too large a number", b'{"a": 1e999}', 400, "bad_json"),
        ("5,000 digits", b'{"a": ' + b"9" * 5000 + b"}", 400, "bad_json"),
        ("a lone surrogate", b'{"a": "\\ud800"}', 400, "bad_json"),
        ("a field more", envelope(machine, more=1), 400, "bad_envelope"),
        ("two signatures", envelope(machine, signatures=twice), 400, "bad_envelope"),
        ("no signature", envelope(machine, signatures=[]), 401, "unauthenticated"),
        ("another type", envelope(machine, payloadType="application/vnd.gate.report+json"), 400, "bad_envelope"),
        ("payload is not base64", envelope(machine, payload="%%%"), 400, "bad_envelope"),
        ("another payload", envelope(machine, payload=payload_of(b"{}")), 401, "unauthenticated"),
        ("doubled keys inside", signed(text.replace('"seq"', '"seq": 1, "seq"').encode()), 400, "bad_json"),
        ("an unknown field inside", said({"ring": "rest"}), 400, "bad_field"),
        ("a missing field inside", signed(b'{"aud": "test-fleet"}'), 400, "bad_field"),
        ("seq 0", said({"seq": 0}), 400, "bad_field"),
        ("seq of 2^53", said({"seq": 2**53}), 400, "bad_field"),
        ("seq far ahead", said({"seq": 1_000_002}), 400, "bad_field"),
        ("seq true", said({"seq": True}), 400, "bad_field"),
        ("another audience", said({"aud": "x"}), 401, "unauthenticated"),
        ("another machine's id", said({"machine": "m-2"}), 401, "unauthenticated"),
        ("a wrong challenge", said({"challenge": "x"}), 409, "stale_challenge"),
        ("33 events", said({"events": [event] * 33}), 400, "bad_field"),
        ("a time without zone", said({"events": [event | {"at": "2026-03-02T09:00:00"}]}), 400, "bad_field"),
    ]  # fmt: skip


def test_what_cannot_be_read_gets_its_kind_and_changes_nothing(sqlite_gate: RealGate) -> None:
    machine = joined(sqlite_gate)
    machine.seq = 1
    for what, body, status, kind in malformed(machine):
        before = everything(sqlite_gate)
        machine.seq = 1
        found, answer = machine.post("/v1/checkin", body)
        assert (found, answer["kind"]) == (status, kind), (what, answer)
        assert answer["detail"], what
        if status != 409:
            assert everything(sqlite_gate) == before, what


def test_a_body_that_is_too_large_too_short_or_of_another_kind_is_refused(sqlite_gate: RealGate) -> None:
    machine = joined(sqlite_gate)

    def ask(**environ: Any) -> int:
        import io

        base: dict[str, Any] = {
            "REQUEST_METHOD": "POST", "PATH_INFO": "/v1/checkin", "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": "2", "wsgi.input": io.BytesIO(b"{}"), "REMOTE_ADDR": "127.0.0.1",
        }  # fmt: skip
        said: list[Any] = []
        body = b"".join(sqlite_gate.app({**base, **environ}, lambda status, headers: said.extend([status, headers])))
        assert dict(said[1])["Content-Type"] == "application/json"
        assert set(json.loads(body)) >= {"kind", "detail"}
        return int(said[0].split()[0])

    assert ask(CONTENT_LENGTH=str(wire.MAX_BODY + 1)) == 413
    assert ask(CONTENT_LENGTH=str(wire.MAX_BODY)) == 408, "the body ended before its length"
    assert ask(CONTENT_LENGTH="") == 411
    assert ask(CONTENT_LENGTH="-1") == 411
    assert ask(CONTENT_LENGTH="9" * 400) == 413
    assert ask(HTTP_TRANSFER_ENCODING="chunked") == 411
    assert ask(CONTENT_TYPE="text/plain") == 415
    assert ask(HTTP_CONTENT_ENCODING="gzip") == 415
    assert ask(REQUEST_METHOD="PUT") == 405
    assert ask(PATH_INFO="/v1/") == 404
    assert ask(PATH_INFO="/v1/checkin/") == 404
    assert ask(PATH_INFO="/v1") == 404
    assert machine.checkin()[0] == 200


def test_calls_that_are_replayed_or_reordered_are_stale(real_gate: RealGate) -> None:
    machine = joined(real_gate)
    old = machine.sealed("checkin", machine.checkin_payload())
    assert machine.post("/v1/checkin", old)[0] == 200
    machine.challenge = None
    assert machine.checkin()[0] == 200
    assert machine.post("/v1/checkin", old)[1]["kind"] == "stale_seq"


def test_one_report_on_two_workers_at_once_is_taken_once(real_gate: RealGate) -> None:
    machine = joined(real_gate)
    wanted = release(real_gate)
    claim = machine.claim(wanted)[1]["claim"]
    second = real_gate.opened.wsgi(real_gate.app)
    now = real_gate.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    head = {"claim": claim, "boot_id": "b1", "uptime_s": 100, "release": wanted, "observed_at": now}
    bodies = [
        machine.sealed("report", machine.head() | head | {"step": "installed", "seq": machine.seq + 1})
        for _ in range(2)
    ]
    other = PlayedMachine(real_gate)
    other.http.mount("http://", type(real_gate.line)(second))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        posts = [
            pool.submit(one.post, "/v1/reports", body)
            for one, body in zip((machine, other) * 4, bodies * 4, strict=True)
        ]
        found = {post.result()[0] for post in posts}
    assert found <= {202, 409}
    with real_gate.opened.store.read() as tx:
        rollout = tx.rollouts()[0].id
        assert [event.kind for event in tx.events(subject=rollout)].count("report_step") == 1


def test_a_challenge_holds_a_day_and_belongs_to_its_machine(sqlite_gate: RealGate) -> None:
    one, two = joined(sqlite_gate, "one"), joined(sqlite_gate, "two")
    wanted = release(sqlite_gate)
    two.challenge = one.challenge
    assert two.claim(wanted)[1]["kind"] == "stale_challenge"
    one.challenge, kept = None, one.challenge
    assert one.claim(wanted)[1]["kind"] == "stale_challenge", "no call but a check-in goes without"
    one.challenge = kept
    sqlite_gate.clock.forward(hours=24, seconds=-5)
    assert one.claim(wanted)[1].get("kind") != "stale_challenge"
    sqlite_gate.clock.forward(seconds=10)
    assert one.claim(wanted)[1]["kind"] == "stale_challenge"


def test_a_revoked_machine_is_unauthenticated_and_its_reports_do_not_count(real_gate: RealGate) -> None:
    from gate.flows import machines

    machine = joined(real_gate)
    wanted = release(real_gate)
    claim = machine.claim(wanted)[1]["claim"]
    with real_gate.opened.store.write() as tx:
        found = tx.machine(machine.machine)
        assert isinstance(found, Machine)
        machines.revoke(tx, found, "anna", "stolen", real_gate.clock.now())
    unknown = PlayedMachine(real_gate, "nobody")
    assert machine.checkin() == unknown.checkin()
    assert machine.report(claim, "healthy", wanted)[0] == 401
    assert machine.enrol()[0] == 401, "a revoked key never returns"
    with real_gate.opened.store.read() as tx:
        held = tx.claim(claim)
        assert held is not None
        assert held.state is ClaimState.GRANTED, "revoking frees no slot before the deadline"
    real_gate.pass_minutes(12)
    with real_gate.opened.store.read() as tx:
        held = tx.claim(claim)
        assert held is not None
        assert held.state is ClaimState.SILENT


def test_a_report_for_another_machines_claim_is_unknown(sqlite_gate: RealGate) -> None:
    one, two = joined(sqlite_gate, "one"), joined(sqlite_gate, "two")
    wanted = release(sqlite_gate)
    claim = one.claim(wanted)[1]["claim"]
    assert two.report(claim, "healthy", wanted)[1]["kind"] == "unknown_claim"
    assert one.report(claim, "installed", wanted)[0] == 202


def test_a_second_enrolment_for_a_known_name_is_an_alarm_and_the_old_key_works_on(sqlite_gate: RealGate) -> None:
    machine = joined(sqlite_gate)
    twin = PlayedMachine(sqlite_gate, "twin")
    assert twin.enrol(facts={"hostname": "played", "role": "till"})[1]["status"] == "pending"
    assert machine.checkin()[0] == 200
    with sqlite_gate.opened.store.read() as tx:
        assert "enrolment_conflict" in [event.kind for event in tx.events(subject=machine.machine)]


def test_headers_that_claim_who_somebody_is_are_ignored(sqlite_gate: RealGate) -> None:
    machine = joined(sqlite_gate)
    nobody = PlayedMachine(sqlite_gate, "nobody")
    body = nobody.sealed("checkin", machine.checkin_payload())
    forged = {
        "X-Controller-Id": machine.machine,
        "X-Client-Cert": "x",
        "X-Forwarded-For": "10.0.0.1",
        "Cookie": "gate=x",
    }
    assert nobody.post("/v1/checkin", body, **forged)[0] == 401


def test_too_many_enrolments_from_one_address_are_slowed_down(sqlite_gate: RealGate) -> None:
    machine = PlayedMachine(sqlite_gate)
    found = [machine.http.get(ADDRESS + "/v1/enrol/challenge") for _ in range(80)]
    slowed = [answer for answer in found if answer.status_code == 429]
    assert slowed
    assert slowed[0].json()["kind"] == "slow_down"
    assert int(slowed[0].headers["Retry-After"]) >= 1


def test_a_database_that_is_gone_is_503_and_consumes_nothing(sqlite_gate: RealGate) -> None:
    machine = joined(sqlite_gate)
    body = machine.sealed("checkin", machine.checkin_payload())
    path = sqlite_gate.folder / "gate" / "data" / "gate.db"
    sqlite_gate.opened.store.close()
    kept = [(file, file.read_bytes()) for file in path.parent.glob("gate.db*")]
    for file, _ in kept:
        file.unlink()
    path.mkdir()
    status, answer = machine.post("/v1/checkin", body)
    assert (status, answer["kind"], answer["retry_after_s"]) == (503, "unavailable", 30)
    path.rmdir()
    for file, content in kept:
        file.write_bytes(content)
    assert machine.post("/v1/checkin", body)[0] == 200


def test_a_lease_that_ended_unused_is_free_after_the_next_check_in(sqlite_gate: RealGate) -> None:
    machine = joined(sqlite_gate)
    wanted = release(sqlite_gate)
    claim = machine.claim(wanted)[1]["claim"]
    sqlite_gate.clock.forward(minutes=5, seconds=1)
    with sqlite_gate.opened.store.read() as tx:
        assert tx.rings(tx.rollouts()[0].id)[0].in_flight == 1
    machine.checkin()
    with sqlite_gate.opened.store.read() as tx:
        expired = tx.claim(claim)
        assert expired is not None
        assert expired.state is ClaimState.EXPIRED
        assert tx.rings(tx.rollouts()[0].id)[0].in_flight == 0
    again = machine.claim(wanted)
    assert again[0] == 201
    assert again[1]["claim"] != claim


def test_a_silent_machine_that_reports_later_is_recovered_and_stays_a_failure(sqlite_gate: RealGate) -> None:
    machine = joined(sqlite_gate)
    wanted = release(sqlite_gate)
    claim = machine.claim(wanted)[1]["claim"]
    machine.report(claim, "installed", wanted)
    sqlite_gate.pass_minutes(15)
    assert machine.report(claim, "healthy", wanted)[1]["state"] == "silent"
    with sqlite_gate.opened.store.read() as tx:
        found = tx.claim(claim)
        assert found is not None
        assert (found.state, found.recovered) == (ClaimState.SILENT, True)


def test_the_enrolment_of_a_thousand_is_capped_at_a_site(sqlite_gate: RealGate) -> None:
    from gate.flows.machines import PENDING_AT_A_SITE, Enrolment, SlowDown, challenge, enrol

    now = sqlite_gate.clock.now()
    code = sqlite_gate.code(uses=1000)
    root = sqlite_gate.opened.publisher.root_sha256
    taken = 0
    for number in range(PENDING_AT_A_SITE + 1):
        with sqlite_gate.opened.store.write() as tx:
            challenge(tx, f"n{number}", now)
            keyid = f"{number:064x}"
            wanted = Enrolment(code, f"n{number}", keyid, keyid[::-1], {}, f"{number:064d}")
            try:
                enrol(tx, wanted, root, now + timedelta(seconds=1))
                taken += 1
            except SlowDown:
                break
    assert taken == PENDING_AT_A_SITE
