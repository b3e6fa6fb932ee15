"""``gate-agent status`` in two languages: what the machine has, what it waits for, and every sentence of its own."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gate.agent import accept, asking, health
from gate.agent.cli import main
from gate.agent.health import Probe, Raw
from gate.agent.recover import BECAUSE
from gate.agent.state import ClaimInHand, Identity, Installed, State
from gate.agent.status import SAID, german, language_of, lines

WHO = Identity("https://gate.example", "fleet", "m-1", "1234 abcd", "r")
CLAIM = ClaimInHand(
    claim="c", source="shop", release="a" * 64, counter=2, version="2", lease_until="2026-03-02T09:30:00+00:00",
    granted_at="2026-03-02T09:00:00+00:00", evidence="boot", reboot="natural", stay_up_s=900, boots=2, boot_id="b",
)  # fmt: skip


def said(state: State, language: str) -> str:
    return "\n".join(lines(Path("/var/lib/gate-agent"), WHO, state, language))


@pytest.mark.parametrize(
    ("claim", "english", "deutsch"),
    [
        (CLAIM, "put in place before 2026-03-02T09:30", "einzusetzen vor 2026-03-02T09:30"),
        (replace(CLAIM, step="installed"), "a restart, and then 15 min", "einen Neustart, und danach 15 min"),
        (replace(CLAIM, step="installed", evidence="alive"), "waits for     15 min of", "wartet auf    15 min ohne"),
        (replace(CLAIM, step="booted", boots_good=1), "good boots: 1 of 2", "gute Starts: 1 von 2"),
        (replace(CLAIM, step="rolling_back"), "the release before", "das Release davor"),
        (replace(CLAIM, step="recalling"), "the recall", "den Rückruf"),
    ],
)
def test_what_is_in_hand_says_what_it_waits_for(claim: ClaimInHand, english: str, deutsch: str) -> None:
    state = State(claim=claim, status="active")
    assert english in said(state, "en")
    assert deutsch in said(state, "de")


def test_a_claim_that_has_ended_waits_for_nothing() -> None:
    assert "waits for" not in said(State(claim=replace(CLAIM, step="healthy")), "en")


def test_a_machine_that_nobody_has_accepted_waits_for_a_person() -> None:
    state = State(status="pending")
    assert "waits for     a person who accepts it at the gate; fingerprint 1234 abcd" in said(state, "en")
    assert "wartet auf    einen Menschen" in said(state, "de")
    assert "not heard from the gate yet" in said(State(), "en")


def test_what_it_has_and_has_not_told_is_said_in_both() -> None:
    state = State(status="active", ring="first", make="role=till", said="shop: the ring is held")
    state.installed["shop"] = Installed("a" * 64, counter=1)
    state.quarantined["b" * 64] = "it panicked"
    state.reports.append({"step": "healthy"})
    english, deutsch = said(state, "en"), said(state, "de")
    assert "installed     shop: sha256:aaaaaaaaaaaaaaaa, before it nothing" in english
    assert "not told      1 reports" in english
    assert "eingesetzt    shop: sha256:aaaaaaaaaaaaaaaa, davor nichts" in deutsch
    assert "zuletzt       shop: der Ring ist angehalten" in deutsch
    assert "hier schlecht sha256:bbbbbbbbbbbbbbbb: it panicked" in deutsch


def sentences(module: object, calls: set[str]) -> list[str]:
    """The texts that these calls are given last, each value in them as `x`."""
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))  # type: ignore[attr-defined]
    found = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or not call.args or _name(call.func) not in calls:
            continue
        last = call.args[-1]
        parts = last.values if isinstance(last, ast.JoinedStr) else [last]
        text = "".join(str(one.value) if isinstance(one, ast.Constant) else "12" for one in parts)
        found.append(text.removeprefix("12: "))
    return [one for one in found if re.search("[a-z]", one)]


def _name(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else func.id if isinstance(func, ast.Name) else ""


def test_every_sentence_about_a_release_has_its_german() -> None:
    found = sentences(accept, {"No"}) + sentences(asking, {"say", "_give_up"})
    assert len(found) > 20
    assert [one for one in found if german(one) == one] == []
    assert german("shop: ring first has no approval for shop") == "shop: für Ring first ist von shop nichts freigegeben"
    assert german("who knows what: this is") == "who knows what: this is"
    assert len({pattern for pattern, _ in SAID}) == len(SAID)


BAD = Raw(
    wanted="b", in_place="a", needs_boot=True, booted_since=True, in_place_at_boot="a", awake_s=90.0, stay_up_s=60,
    tries=2, crashes=("Kernel panic - not syncing",), lost_boots=3, system="maintenance",
)  # fmt: skip
UNKNOWN = Raw(
    wanted="b", in_place="b", needs_boot=True, booted_since=False, in_place_at_boot=None, awake_s=5.0, stay_up_s=60,
    tries=2, probes=(Probe("disk", None),), system="starting", fast_start=True, safe_mode=True,
)  # fmt: skip


def test_every_reason_why_a_release_is_not_good_has_its_german() -> None:
    reasons = [*health.judge(BAD).reasons, *health.judge(UNKNOWN).reasons]
    source = Path(health.__file__).read_text(encoding="utf-8")
    assert {one.code for one in reasons} == set(re.findall(r'\("(\w+)", f?"[^"]* [^"]*"\)', source)) - {"probe"}
    assert [one.detail for one in reasons if german(one.detail) == one.detail] == []
    waits = german(f"shop: {health.judge(UNKNOWN).because}")
    assert waits.startswith("shop: es gab seitdem keinen Neustart; der Rechner wurde geweckt")
    assert waits.endswith("wach seit 5 von 60 s; das System meldet starting; disk: keine Antwort")


def test_why_a_release_has_gone_back_is_said_in_both() -> None:
    state = State(status="active")
    state.quarantined["b" * 64] = "2 boots did not stay up: boot-1, boot-2"
    assert "bad here      sha256:bbbbbbbbbbbbbbbb: 2 boots did not stay up" in said(state, "en")
    assert "hier schlecht sha256:bbbbbbbbbbbbbbbb: 2 Starts haben nicht gehalten: boot-1, boot-2" in said(state, "de")
    panic = "it crashed under this release: Kernel panic - not syncing; RIP: 0033"
    assert german(panic) == "der Rechner ist mit diesem Release abgestürzt: Kernel panic - not syncing; RIP: 0033"
    assert german(BECAUSE) == "ein Mensch hat den Rechner von einem Rettungssystem aus gerettet"


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "de"),
        ({"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LC_MESSAGES": "de_AT", "LANG": "en_US"}, "de"),
    ],
)
def test_the_language_is_the_terminals(environ: dict[str, str], language: str) -> None:
    assert language_of(environ) == language


def test_the_command_says_it_where_nobody_has_enrolled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--state", str(tmp_path), "status", "--language", "de"])
    assert "nicht angemeldet" in capsys.readouterr().out
