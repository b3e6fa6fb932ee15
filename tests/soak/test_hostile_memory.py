"""A server is no larger after thousands of hostile requests of each kind than after the first, and never says 5xx."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from gate.adapters.envelopes import seal
from gate.web import wire
from tests.fuzz.targets import targets
from tests.fuzz.test_targets import damaged
from tests.load import Client, Served, await_answer, free_port, prepare
from tests.process_tree import own_mb

pytestmark = pytest.mark.soak

FIRST, MORE, MOST_MB = 1000, 3000, 1.5  # half a kilobyte a request, again and again
Request = tuple[str, str, bytes, dict[str, str]]
JSON = {"Content-Type": "application/json"}


def kinds(client: Client) -> dict[str, Callable[[int], Request]]:
    """Each makes its n-th request, all of them different."""
    dice = random.Random(5)
    whole = targets()
    envelopes = whole["envelope"].seeds

    def post(path: str, body: bytes) -> Request:
        return "POST", path, body, JSON

    def signed(kind: str, path: str, payload: bytes) -> Request:
        return post(path, seal(client.key, wire.PAYLOAD_TYPES[kind], payload))

    def spoilt(raw: bytes) -> bytes:
        what, word = dice.choice(["cut", "drop", "twice", "put", "flip"]), dice.randbytes(5)
        return damaged(raw, [(what, dice.randrange(1 << 20), dice.randrange(1, 40), word)])

    def stale(n: int) -> Request:
        said = {"aud": "soak", "machine": client.machine, "seq": 1, "challenge": None, "client_nonce": f"n{n}"}
        body = said | {"boot_id": f"b{n}", "uptime_s": n, "timestamp_version": 1, "events": [], "facts": {f"f{n}": "x"}}
        return signed("checkin", "/v1/checkin", json.dumps(body).encode())

    def stranger(n: int) -> Request:
        key = SigningKey(hashlib.sha256(b"%d" % n).digest())
        return post("/v1/claims", seal(key, wire.PAYLOAD_TYPES["claim"], b"{}"))

    def forged(n: int) -> Request:
        found = json.loads(seal(client.key, wire.PAYLOAD_TYPES["claim"], b'{"n": %d}' % n))
        found["signatures"][0]["sig"] = base64.b64encode(dice.randbytes(64)).decode()
        return post("/v1/claims", json.dumps(found).encode())

    return {
        "no JSON": lambda n: post("/v1/checkin", dice.randbytes(dice.randrange(1, 2000))),
        "large": lambda n: post("/v1/reports", b'{"a%d":"' % n + b"x" * 65_000 + b'"}'),
        "too large": lambda n: post("/v1/reports", b"[" * 70_000),
        "nested": lambda n: post("/v1/reports", b"[" * (30_000 + n)),
        "damaged envelopes": lambda n: post("/v1/checkin", spoilt(dice.choice(envelopes))),
        "strangers": stranger,
        "forged": forged,
        "signed and damaged": lambda n: signed("checkin", "/v1/checkin", spoilt(whole["call-checkin"].seeds[0])),
        "signed and stale": stale,
        "enrolments": lambda n: post("/v1/enrol", spoilt(envelopes[0])),
        "paths": lambda n: ("GET", f"/v1/{n}/{'x' * 500}?{n}", b"", {}),
        "pages": lambda n: ("GET", f"/machines/{n}{'%2e%2e/' * 20}", b"", {"Cookie": f"a{n}={'b' * 500}"}),
        "files": lambda n: ("GET", f"/metadata/..%2f{n}.json", b"", {f"X-H-{n}": "x" * 500}),
        "content": lambda n: ("GET", f"/content/blobs/{n:064x}", b"", {"Range": f"bytes={n}-1", "If-Range": f"{n}"}),
        "methods": lambda n: (f"M{n % 100}", "/v1/checkin", b"", {}),
        "media": lambda n: ("POST", "/v1/checkin", b"{}", {"Content-Type": f"a/b{n}"}),
    }  # fmt: skip


class Line:
    """One connection, made again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self.line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, request: Request) -> int:
        method, path, body, headers = request
        for last in (False, True):
            try:
                self.line.request(method, path, body or None, headers)
                answer = self.line.getresponse()
                answer.read()
                return answer.status
            except (http.client.HTTPException, OSError):
                self.line.close()
                if last:
                    raise
        raise AssertionError


def test_hostile_requests_leave_nothing_in_memory(tmp_path: Path) -> None:
    port = free_port()
    clients = [Client(number, port, None) for number in range(2)]  # type: ignore[arg-type]
    opened = prepare(tmp_path, "", clients, port)
    opened.close()
    served = Served(tmp_path / "gate" / "gate.toml", tmp_path, names=("web",))
    try:
        await_answer(port)
        assert clients[0].call("/v1/checkin", "checkin", client_nonce="n", boot_id="b", uptime_s=1,
                               timestamp_version=1).status == 200  # fmt: skip
        pid, line, grown = served.processes["web"].pid, Line(port), {}
        for name, make in kinds(clients[0]).items():
            statuses = {line.ask(make(n)) for n in range(FIRST)}
            for n in range(FIRST, FIRST + 6 * MORE, MORE):  # a buffer grows once, an arena twice; what is kept, always
                before = own_mb(pid)
                statuses |= {line.ask(make(one)) for one in range(n, n + MORE)}
                grown[name] = round(own_mb(pid) - before, 1)
                if grown[name] < MOST_MB:
                    break
            assert max(statuses) < 500, (name, statuses)
            assert min(statuses) >= 300 or name in ("pages", "signed and damaged"), (name, statuses)
        line.line.close()
        print(grown, f"{own_mb(pid):.0f} MB")
        assert max(grown.values()) < MOST_MB, grown
    finally:
        clients[0].hang_up()
        served.end()
    assert "Traceback" not in served.logs(), served.logs()[-4000:]
