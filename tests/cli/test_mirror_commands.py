"""``gate mirror``: an address is shown once, listed without its token, and worth nothing once revoked."""

from __future__ import annotations

import json

from click.testing import CliRunner, Result

from gate.cli.main import main
from tests.real_gate import PlayedMachine, RealGate


def gate(real: RealGate, *words: str) -> Result:
    return CliRunner().invoke(main, ["mirror", *words, "--settings", str(real.made.settings)])


def fetched(real: RealGate, address: str) -> tuple[int, str]:
    answer = real.session().get(f"http://127.0.0.1:8400/{address.split('/', 3)[3]}/prices.json")
    return answer.status_code, answer.text


def test_an_address_is_made_listed_and_revoked(real_gate: RealGate) -> None:
    machine = PlayedMachine(real_gate)
    machine.enrol()
    real_gate.accept(machine.machine, "till", "first")
    machine.checkin()
    made = gate(real_gate, "token", "shop-content", "played")
    ring = gate(real_gate, "token", "shop-content", "--ring", "first")
    assert (made.exit_code, ring.exit_code) == (0, 0)
    assert "held" in made.stderr
    assert "advised" in ring.stderr
    address = made.stdout.strip()
    assert fetched(real_gate, address)[0] == 429
    real_gate.bring("1", '{"aspirin": 1}')
    assert fetched(real_gate, address) == fetched(real_gate, ring.stdout.strip()) == (200, '{"aspirin": 1}')
    listed = gate(real_gate, "list", "-o", "json")
    assert address.rsplit("/", 1)[1] not in listed.output
    rows = {one["for"]: one for one in json.loads(listed.output)}
    mine = rows[machine.machine]
    assert (mine["lever"], mine["serves"], mine["state"]) == ("held", "1", "valid")
    assert mine["last used"] != "never"
    assert mine["begins"] == address.rsplit("/", 1)[1][:6]
    assert rows["ring-first"]["lever"] == "advised"
    assert gate(real_gate, "revoke", mine["token"]).output == "revoked\n"
    assert any(fetched(real_gate, address)[0] == 429 for _ in range(1000)), "the plane looks each 50 ms"
    assert gate(real_gate, "revoke", mine["token"]).exit_code == 2
    rows = {one["for"]: one for one in json.loads(gate(real_gate, "list", "-o", "json").output)}
    assert (rows[machine.machine]["state"], rows[machine.machine]["serves"]) == ("revoked", "nothing")


def test_an_address_is_for_what_is_there(real_gate: RealGate) -> None:
    for words in (("none", "--ring", "first"), ("shop-content", "--ring", "none"), ("shop-content", "nobody"),
                  ("shop-content",)):  # fmt: skip
        assert gate(real_gate, "token", *words).exit_code == 2, words
