"""``gate morning``: what it prints, its exit codes, and a person's word on the shell."""

from __future__ import annotations

from datetime import timedelta

from click.testing import CliRunner

from gate.cli.main import main
from gate.core.mornings import Alarm, Morning, Party
from tests.real_gate import RealGate


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
