"""Every command has help, and every one that reads answers as a table, JSON and YAML; what was known at a time."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from gate.cli.common import me
from gate.cli.main import main
from gate.core.model import RolloutState
from gate.core.past_texts import TEXTS
from gate.flows import people
from tests.real_gate import PlayedMachine, RealGate

ACTS = {
    *("approve", "db backup", "db restore", "db upgrade", "demo", "duty import", "enrol-code", "expedite", "explain"),
    *("halt", "hold", "hold lift", "init", "machines accept", "machines decommission", "machines revoke"),
    *("morning end", "policy fmt", "recall", "resume", "serve", "sites import", "token create", "token revoke"),
    *("user add", "user disable", "user identity", "user link", "user role", "waive", "brake on", "brake off"),
    *(
        "policy propose",
        "policy sign",
        "policy withdraw",
        "plugins new",
        "mirror token",
        "mirror revoke",
        "lever clear",
    ),
    *("site key keep", "site key drop", "site key import", "machines import"),
}
"""What changes something, or runs; all else reads."""
OF_THEIR_OWN = {"policy schema": "JSON Schema", "watch": "lines as they come", "completion": "a shell's script"}
SAME_SHAPE = ("table", "json", "yaml")


def commands(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"{before}{name}", command


def test_every_command_has_help_and_every_option_that_is_its_own_too() -> None:
    for name, command in commands(main):
        assert command.help, name
        shown = CliRunner().invoke(main, [*name.split(), "--help"])
        assert shown.exit_code == 0, name


def test_who_acts_is_the_account_that_runs_the_shell_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = me()
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "berta")
    assert me() == before != "shell:berta"


def test_every_command_that_reads_answers_in_three_forms() -> None:
    known = dict(commands(main))
    assert set(known) >= ACTS | set(OF_THEIR_OWN)
    for name in set(known) - ACTS - set(OF_THEIR_OWN):
        [output] = [one for one in known[name].params if one.name == "output"]
        assert isinstance(output.type, click.Choice), name
        assert tuple(output.type.choices) == SAME_SHAPE, name
        assert set(output.opts) == {"-o", "--output"}, name


@pytest.fixture
def shop(real_gate: RealGate) -> RealGate:
    """A gate with a machine, a rollout that was halted and resumed, and minutes between the steps."""
    machine = PlayedMachine(real_gate)
    machine.enrol()
    real_gate.accept(machine.machine, "till", "first")
    return real_gate


def gate(shop: RealGate, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--settings", str(shop.made.settings)])


def said(shop: RealGate, *words: str) -> object:
    """The answer as JSON; YAML says the same, a table says something."""
    found = gate(shop, *words, "-o", "json")
    assert found.exit_code == 0, (words, found.output)
    answer = json.loads(found.output)
    other = gate(shop, *words, "-o", "yaml")
    assert YAML(typ="safe", pure=True).load(other.output) == answer, words
    assert gate(shop, *words).exit_code == 0, words
    return answer


def test_the_same_is_said_in_three_forms(shop: RealGate) -> None:
    shop.bring("1")
    with shop.opened.store.read() as tx:
        rollout, machine = tx.rollouts()[0].id, tx.machines()[0]
    for words in (
        ("status",), ("rollout", "show", rollout), ("why", machine.name), ("sites", "list"), ("machines", "list"),
        ("user", "list"), ("token", "list"), ("hold", "list"), ("audit", "verify"), ("audit", "prove", "2"),
        ("db", "check"), ("mirror", "list"), ("morning",), ("duty", "list"), ("policy", "history"), ("policy", "judge"),
    ):  # fmt: skip
        assert said(shop, *words) is not None
    rows = said(shop, "rollouts")
    assert isinstance(rows, list)
    assert [(one["rollout"], one["state"]) for one in rows] == [(rollout, "running")]
    assert said(shop, "rollouts", "--state", "running", "--source", "shop-content") == rows
    for other in (("--state", "halted"), ("--source", "another")):
        assert said(shop, "rollouts", *other) == []
    rows = said(shop, "rings")
    assert isinstance(rows, list)
    assert [(one["ring"], one["machines"]) for one in rows] == [("first", 1), ("rest", 0)]
    site = said(shop, "site", "show", "nord")
    assert isinstance(site, dict)
    assert [one["id"] for one in site["machines"]] == [machine.id]
    shown = said(shop, "machine", "show", machine.name)
    assert isinstance(shown, dict)
    assert (shown["ring"], shown["role"]) == ("first", "till")
    assert "machine_accepted" in [one["what"] for one in shown["events"]]
    assert gate(shop, "site", "show", "none").exit_code == 2
    assert gate(shop, "machine", "show", "none").exit_code == 2


def test_a_refusal_by_a_rule_of_the_policy_says_the_rule_and_its_line(shop: RealGate) -> None:
    for person in ("bea", "carl"):
        assert gate(shop, "user", "add", person, "--role", "admin").exit_code == 0
    text = shop.opened.policies.read(shop.opened.policies.head())
    shop.policy_says(
        text.replace("    pick: {role", "    needs: {people: 2}\n    pick: {role") + "expedite: {people: 2}\n"
    )
    shop.bring("1")
    with shop.opened.store.read() as tx:
        [rollout] = tx.rollouts()
    lines = shop.opened.gate.texts.read(rollout.policy_version).splitlines()
    asked = lines.index("    needs: {people: 2}") + 1, lines.index("expedite: {people: 2}") + 1
    nobody = gate(shop, "approve", rollout.id, "rest", "--because", "well")
    assert nobody.exit_code == 4
    assert nobody.output.splitlines()[1:] == [f"  policy.yaml:{asked[0]}: rings[1].needs"]
    lane = gate(shop, "expedite", rollout.id, "--because", "hurry")
    assert (lane.exit_code, lane.output.splitlines()[1:]) == (4, [f"  policy.yaml:{asked[1]}: expedite.people"])
    needless = gate(shop, "approve", rollout.id, "first", "--because", "well")
    ring = lines.index("  - name: first") + 1
    assert (needless.exit_code, needless.output.splitlines()[1:]) == (4, [f"  policy.yaml:{ring}: rings[0]"])
    assert gate(shop, "user", "identity", "bea", "shell", me().removeprefix("shell:")).exit_code == 0
    assert gate(shop, "approve", rollout.id, "rest", "--because", "well").exit_code == 0
    again = gate(shop, "approve", rollout.id, "rest", "--because", "well")
    assert again.output.splitlines() == [
        "given: bea has approved ring rest already",
        f"  policy.yaml:{asked[0]}: rings[1].needs",
    ]


def test_what_a_rule_does_not_refuse_names_none_and_what_is_not_there_is_a_usage_error(shop: RealGate) -> None:
    shop.bring("1")
    with shop.opened.store.read() as tx:
        [rollout] = tx.rollouts()
    running = gate(shop, "recall", rollout.id, "--because", "it is bad")
    assert (running.exit_code, len(running.output.splitlines())) == (4, 1)
    assert gate(shop, "halt", "r-none", "--because", "it is bad").exit_code == 2
    assert gate(shop, "halt", rollout.id, "--because", " ").exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ("people: 1", "people: 9", "rings[1].needs"),
        ("expedite: {people: 2}", "expedite: {people: 9}", "expedite.people"),
    ],
)
def test_a_policy_that_asks_for_more_people_than_there_are_is_refused_by_its_own_line(
    shop: RealGate, tmp_path: Path, old: str, new: str, rule: str
) -> None:
    text = shop.opened.policies.read(shop.opened.policies.head())
    text = text.replace("    pick: {role", "    needs: {people: 1}\n    pick: {role") + "expedite: {people: 2}\n"
    shop.policy_says(text)
    file = tmp_path / "new.yaml"
    file.write_text(text.replace(old, new))
    line = file.read_text().splitlines().index(new if new.startswith("expedite") else "    needs: {people: 9}") + 1
    refused = gate(shop, "policy", "propose", str(file), "--because", "more eyes")
    assert refused.exit_code == 4, refused.output
    assert refused.output.splitlines()[-1] == f"  policy.yaml:{line}: {rule}"


def test_the_brake_works_with_the_database_alone_and_off_lifts_nothing(shop: RealGate) -> None:
    shop.bring("1")
    data = shop.folder / "gate" / "data"
    for part in ("keys", "public", "policy.git"):
        shutil.move(data / part, shop.folder / part)
    assert gate(shop, "brake", "off").output == "nothing is halted\n"
    on = gate(shop, "brake", "on", "--because", "it smells")
    assert on.exit_code == 0, on.output
    assert "the brake is on: 1 halted; two people resume each" in on.output
    off = gate(shop, "brake", "off")
    assert off.exit_code == 4
    assert "two different people resume each rollout" in off.output
    with shop.opened.store.read() as tx:
        [rollout] = tx.rollouts()
    assert rollout.state is RolloutState.HALTED
    assert f"gate resume {rollout.id} --because" in off.output
    assert gate(shop, "brake", "on", "--because", "again").output == "nothing moves\n"


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def test_what_the_gate_knew_then_is_said_and_so_is_what_nobody_can_know(shop: RealGate) -> None:
    clock, times = shop.clock, []

    def later() -> None:
        times.append(clock.now())
        clock.forward(minutes=5)

    later()
    shop.bring("1")
    with shop.opened.store.read() as tx:
        rollout, machine = tx.rollouts()[0].id, tx.machines()[0].name
    clock.forward(seconds=5)
    later()
    with shop.opened.store.write() as tx:
        people.halt(tx, rollout, "anna", "it smells", clock.now())
    clock.forward(seconds=5)
    later()
    for who in ("anna", "berta"):
        with shop.opened.store.write() as tx:
            people.resume(tx, rollout, who, "it was the fan", clock.now())
    clock.forward(seconds=5)
    later()
    states = []
    for at in times[1:]:
        [then] = json.loads(gate(shop, "rollout", "show", rollout, "--at", stamp(at), "-o", "json").output)
        states.append((then["state"], then["halted_because"], then["rings"]))
    rings = {"first": True, "rest": False}
    assert states == [("running", "", rings), ("halted", "it smells", rings), ("running", "", rings)]
    assert json.loads(gate(shop, "status", "--at", stamp(times[0]), "-o", "json").output) == []
    assert [one["state"] for one in json.loads(gate(shop, "status", "--at", stamp(times[2]), "-o", "json").output)] == [
        "halted"
    ]
    listed = json.loads(gate(shop, "rollouts", "--at", stamp(times[2]), "-o", "json").output)
    assert [(one["rollout"], one["state"]) for one in listed] == [(rollout, "halted")]
    for words in (("--state", "running"), ("--source", "another"), ("--limit", "1", "--state", "done")):
        assert json.loads(gate(shop, "rollouts", *words, "--at", stamp(times[2]), "-o", "json").output) == []
    text = gate(shop, "rollout", "show", rollout, "--at", stamp(times[2])).output
    assert "anna had halted it: it smells" in text
    assert "Ring first was open since" in text
    assert "Ring rest: the last decision before was HOLD at" in text
    assert "Cannot be known: how many were healthy at that moment" in text
    early = gate(shop, "rollout", "show", rollout, "--at", stamp(times[0])).output
    assert "it had not begun" in early
    why = gate(shop, "why", machine, "--at", stamp(times[2])).output
    assert "had no claim on it" in why
    assert "refusals are not stored" in why
    assert "Nicht zu wissen" in gate(shop, "why", machine, "--language", "de", "--at", stamp(times[2])).output
    before = gate(shop, "why", machine, "--at", stamp(times[0] - timedelta(days=1))).output
    assert "had brought nothing" in before


def test_a_rollout_is_named_by_its_version_and_says_what_has_superseded_it(shop: RealGate) -> None:
    shop.bring("1")
    with shop.opened.store.write() as tx:
        [first] = tx.rollouts()
        done = replace(first, state=RolloutState.DONE, done_at=shop.clock.now(), version=first.version + 1)
        assert tx.save_rollout(done)
    shop.clock.forward(seconds=5)
    shop.bring("2")
    for words in (("1",), ("shop-content", "1"), (first.id,)):
        assert json.loads(gate(shop, "rollout", "show", *words, "-o", "json").output)["rollout"] == first.id
        assert gate(shop, "rollout", "show", *words).output.startswith("shop-content 1 is done, superseded by 2\n"), (
            words
        )
    german = gate(shop, "rollout", "show", "1", "--language", "de").output
    assert german.startswith("shop-content 1: erledigt, abgelöst durch 2\n")
    assert gate(shop, "rollout", "show", "2").output.startswith("shop-content 2 is running\n")
    for words in (("3",), ("another", "1"), (first.id, "1")):
        assert gate(shop, "rollout", "show", *words).exit_code == 2, words


def test_a_machine_that_had_a_claim_then_is_shown_with_what_was_known_of_it(shop: RealGate) -> None:
    machine = PlayedMachine(shop)
    machine.checkin()
    shop.bring("1")
    with shop.opened.store.read() as tx:
        release = tx.rollouts()[0].release
    status, granted = machine.claim(release)
    assert status == 201, granted
    then = shop.clock.now()
    shop.clock.forward(minutes=5)
    assert machine.checkin()[0] == 200
    assert machine.report(granted["claim"], "failed", release)[0] == 202
    for at, known in ((then, "How it would end was not known."), (shop.clock.now(), "How it ended was known")):
        text = gate(shop, "why", machine.machine, "--at", stamp(at + timedelta(seconds=1))).output
        assert "had been granted it" in text
        assert known in text


def test_the_rings_and_the_log_of_a_time_are_those_of_that_time_and_no_machine_is_named(shop: RealGate) -> None:
    clock = shop.clock
    clock.forward(minutes=5)
    before = clock.now()
    clock.forward(minutes=5)
    text = shop.opened.policies.read(shop.opened.policies.head())
    shop.policy_says(text.replace("name: rest", "name: all-others"))

    def names(*words: str) -> list[str]:
        found = gate(shop, "rings", *words, "-o", "json")
        assert found.exit_code == 0, found.output
        return [one["ring"] for one in json.loads(found.output)]

    clock.forward(minutes=5)
    assert names() == names("--at", stamp(clock.now())) == ["first", "all-others"]
    assert names("--at", stamp(before)) == ["first", "rest"]
    [first, _] = json.loads(gate(shop, "rings", "--at", stamp(before), "-o", "json").output)
    assert (first["machines"], first["makes"]) == (None, None)
    assert "Cannot be known: which machines" in gate(shop, "rings", "--at", stamp(before)).output
    none = gate(shop, "rings", "--at", stamp(before - timedelta(days=300)))
    assert (none.exit_code, "no policy was active then" in none.output) == (2, True)

    def activated(*words: str) -> int:
        found = gate(shop, "audit", "list", "--kind", "policy_activated", *words, "-o", "json")
        assert found.exit_code == 0, found.output
        return len(json.loads(found.output))

    assert (activated(), activated("--at", stamp(before)), activated("--limit", "1")) == (2, 1, 1)
    assert "policy_activated" in gate(shop, "audit", "list").output


def test_a_time_that_is_none_is_a_usage_error(shop: RealGate) -> None:
    assert gate(shop, "status", "--at", "yesterday").exit_code == 2


def test_the_sentences_of_the_past_have_the_same_gaps_in_both_languages() -> None:
    import re

    for english, german in TEXTS.values():
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", german))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell])
    assert script.exit_code == 0, script.output
    assert "_GATE_COMPLETE" in script.output
    program = shutil.which(shell)
    if program is not None:
        read = subprocess.run([program, "-n"], input=script.output, text=True, capture_output=True)
        assert read.returncode == 0, read.stderr


def test_a_secret_is_in_no_answer_of_config_show(shop: RealGate) -> None:
    with shop.made.settings.open("a") as file:
        file.write('\n[oidc]\nissuer = "https://login.example"\nclient_id = "gate"\nclient_secret = "hush-hush"\n')
    text = shop.made.settings.read_text()
    shop.made.settings.write_text(text.replace("source_s", 'metrics_token = "hush-token"\nsource_s', 1))
    for form in SAME_SHAPE:
        shown = gate(shop, "config", "show", "-o", form)
        assert shown.exit_code == 0, shown.output
        assert "hush" not in shown.output
        assert "login.example" in shown.output
