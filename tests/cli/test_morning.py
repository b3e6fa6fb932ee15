"""``gate morning``: what it prints, its exit codes, and a person's word on the shell."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import time_machine
from click.testing import CliRunner, Result

from gate.cli.main import main
from gate.core.model import Site
from gate.core.mornings import Alarm, Morning, Party
from tests.real_gate import PlayedMachine, RealGate


def test_it_prints_each_opening_and_a_person_ends_the_alarm(sqlite_gate: RealGate) -> None:
    settings, runner = ["--settings", str(sqlite_gate.made.settings)], CliRunner()
    now = sqlite_gate.clock.now()
    party = Party(now - timedelta(minutes=90), now, 40, 38, 21, 9, 9, now)
    with sqlite_gate.opened.store.write() as tx:
        tx.save_morning(Morning("2026-03-02", now, now, 0.01, 38, 17, (party,), Alarm(now, 38, 17, 4)))
    shown = runner.invoke(main, ["morning", *settings])
    assert shown.exit_code == 1
    assert f"{now:%Y-%m-%d %H:%M} UTC" in shown.output
    assert "17 of 38 machines were missing" in shown.output
    assert runner.invoke(main, ["morning", "end", *settings]).exit_code == 2
    ended = runner.invoke(main, ["morning", "end", *settings, "--because", "their line is down"])
    assert (ended.exit_code, ended.output) == (0, "ended; openings go on\n")
    assert runner.invoke(main, ["morning", *settings]).exit_code == 0
    assert runner.invoke(main, ["morning", "end", *settings, "--because", "again"]).exit_code == 4


def test_of_one_site_it_says_when_it_opens_and_which_machines_were_heard_of_since(sqlite_gate: RealGate) -> None:
    gate, clock = sqlite_gate, sqlite_gate.clock

    def mornings(*words: str) -> Result:
        with time_machine.travel(clock.now(), tick=False):
            return CliRunner().invoke(main, ["morning", *words, "--settings", str(gate.made.settings)])

    first, second = PlayedMachine(gate, "first"), PlayedMachine(gate, "second")
    with gate.opened.store.write() as tx:
        tx.save_site(Site("nord", "Apotheke Nord", "NW", "Mo-Su 08:00-18:30"))
    for name, one in (("first", first), ("second", second)):
        one.enrol(facts={"role": "till", "hostname": name})
        gate.accept(one.machine, "till")
    now = datetime.now(UTC)
    gate.clock.ahead = now.replace(hour=3, minute=0) + timedelta(days=2) - now
    with gate.opened.store.write() as tx:
        tx.seen(second.machine, gate.clock.now())

    def heard() -> list[str]:
        said = mornings("nord", "-o", "json")
        assert said.exit_code == 0, said.output
        rows = {one["machine"]: one["heard of"] for one in json.loads(said.output)["machines"]}
        return [rows["first"], rows["second"]]

    assert heard() == ["not yet due", "not yet due"]
    gate.clock.forward(hours=5)
    with gate.opened.store.write() as tx:
        tx.seen(first.machine, gate.clock.now())
    assert heard() == ["yes", "no"]
    assert mornings("site", "nord").output.startswith("nord Apotheke Nord, opens: ")
    assert mornings("none").exit_code == 2
