"""Changes of the policy from the command line: history, blame, propose, sign; two people where it loosens."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest

from gate.adapters.policy_git import GitPolicies
from gate.cli.common import show
from tests.cli import test_commands
from tests.cli.test_commands import gate

made = test_commands.made


def policies(settings: Path) -> GitPolicies:
    return GitPolicies(settings.parent / "data" / "policy.git")


def written(settings: Path, old: str, new: str) -> Path:
    text = policies(settings).read(policies(settings).head())
    assert old in text
    file = settings.parent / "new.yaml"
    file.write_text(text.replace(old, new, 1))
    return file


def asked(settings: Path, *words: str) -> list[dict[str, str]]:
    said = gate("policy", *words, "--settings", str(settings), "-o", "json")
    assert said.exit_code == 0, said.output
    found: list[dict[str, str]] = json.loads(said.stdout)
    return found


def test_a_table_shows_the_lists_of_a_policy(made: Path) -> None:
    text = policies(made).read(policies(made).head())
    number, line = next((n, one) for n, one in enumerate(text.splitlines(), 1) if "makes: {by: [role" in one)
    said = gate("policy", "blame", str(number), "--settings", str(made))
    assert line.partition("]")[0] + "]" in said.output


@pytest.mark.parametrize("said", ["[/x]", "[bold]b", ":smile: x", "[link=https://evil.example]x"])
def test_what_looks_like_a_style_is_shown_as_it_was_written(said: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([{"name": said}], ("name",), "table")
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("hostile", ["\x1b]0;title\x07", "\x1b[31m", "\u202e", "\x9b31m", "\r"])
def test_no_words_of_others_steer_the_terminal(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    show([{"name": f"till{hostile}3"}], ("name",), "table")
    shown = capsys.readouterr().out
    assert hostile not in shown
    assert "\ufffd" in shown


def test_what_tightens_is_active_at_once_and_stands_in_history_and_blame(made: Path) -> None:
    file = written(made, "first_batch: 3", "first_batch: 2")
    words = ("policy", "propose", str(file), "--because", "smaller\nand more", "--settings", str(made))
    said = gate(*words)
    assert said.exit_code == 0, said.output
    head = policies(made).head()
    assert said.output == f"active: {head[:12]}\n"
    newest, seed = asked(made, "history")
    assert (newest[""], newest["commit"], newest["message"], newest["active to"]) == (
        "active", head[:12], "smaller and more", ""
    )  # fmt: skip
    assert newest["agreed"].startswith("shell:")
    assert seed["active to"] == newest["active from"] != ""
    number = next(n for n, one in enumerate(file.read_text().splitlines(), 1) if one.startswith("first_batch"))
    [line] = asked(made, "blame", str(number))
    assert (line["commit"], line["because"]) == (head[:12], "smaller and more"), "a reason is one line"
    lines = asked(made, "blame")
    assert len(lines) == len(file.read_text().splitlines())
    assert {one["commit"] for one in lines} == {head[:12], seed["commit"]}
    assert gate("policy", "blame", "9999", "--settings", str(made)).exit_code != 0
    assert gate(*words).exit_code != 0, "this is what it says already"


def test_what_loosens_is_signed_by_another_person(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = policies(made).head()
    first, second = (pwd.getpwuid(number).pw_name for number in (0, 1))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    file = written(made, "first_batch: 3", "first_batch: 4")
    said = gate("policy", "propose", str(file), "--because", "faster", "--settings", str(made))
    assert said.exit_code == 0, said.output
    assert "another person signs" in said.output
    [proposal] = asked(made, "proposals")
    assert proposal["id"] in said.output
    assert (proposal["proposed by"], proposal["because"]) == (f"shell:{first}", "faster")
    own = gate("policy", "sign", proposal["id"], "--settings", str(made))
    assert own.exit_code != 0
    assert policies(made).head() == before
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    nobody = gate("policy", "sign", proposal["id"], "--settings", str(made))
    assert "counts as no person until it is linked with one" in nobody.output
    for login, account in (("kim", first), ("lea", second)):
        assert gate("user", "add", login, "--role", "admin", "--settings", str(made)).exit_code == 0
        assert gate("user", "identity", login, "shell", account, "--settings", str(made)).exit_code == 0
    signed = gate("policy", "sign", proposal["id"], "--settings", str(made))
    assert signed.exit_code == 0, signed.output
    assert signed.output == f"active: {policies(made).head()[:12]}\n"
    assert asked(made, "proposals") == []
    assert asked(made, "history")[0]["agreed"] == "kim, lea"


def test_a_proposal_is_withdrawn_with_a_reason_and_nobody_signs_it_any_more(made: Path) -> None:
    file = written(made, "first_batch: 3", "first_batch: 4")
    assert gate("policy", "propose", str(file), "--because", "faster", "--settings", str(made)).exit_code == 0
    [proposal] = asked(made, "proposals")
    words = ("policy", "withdraw", proposal["id"], "--settings", str(made))
    assert gate(*words).exit_code == 2, "a reason is needed"
    done = gate(*words, "--because", "not now")
    assert (done.exit_code, done.output) == (0, "withdrawn\n")
    assert asked(made, "proposals") == []
    assert gate(*words, "--because", "again").exit_code == 4
    assert gate("policy", "withdraw", "p-none", "--because", "x", "--settings", str(made)).exit_code == 2
    assert gate("policy", "sign", proposal["id"], "--settings", str(made)).exit_code == 4


def test_a_file_that_was_made_on_another_head_is_refused(made: Path) -> None:
    base = policies(made).head()
    file = written(made, "first_batch: 3", "first_batch: 2")
    text = file.read_text()
    assert gate("policy", "propose", str(file), "--because", "a", "--settings", str(made)).exit_code == 0
    file.write_text(text.replace("first_batch: 2", "first_batch: 1"))
    words = ("policy", "propose", str(file), "--because", "b", "--settings", str(made), "--base", base[:12])
    said = gate(*words)
    assert said.exit_code != 0
    assert "in the meantime" in said.output
    file.write_text("version: 1\n")
    assert gate("policy", "propose", str(file), "--because", "b", "--settings", str(made)).exit_code != 0
