"""What is documented is real, and what is real is documented."""

from __future__ import annotations

import re
from dataclasses import fields

import click
import pluggy
import pytest

from gate import hookspecs
from gate.cli.main import main
from gate.config import Settings, load
from gate.core.errors import OperatorError
from gate.core.policy_rows import ROWS
from gate.core.policy_schema import schema
from tests.conftest import REPOSITORY
from tests.core.test_policy import keys_of


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_every_setting_is_documented_and_every_documented_setting_exists() -> None:
    table = text("deploy/README.md").partition("## Settings")[2].partition("## ")[0]
    documented = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert documented == {one.name for one in fields(Settings)}


def test_every_hook_is_documented_in_five_parts() -> None:
    specs = {
        name: hook
        for owner in (hookspecs.SourceHooks, hookspecs.AgentHooks)
        for name, hook in vars(owner).items()
        if name.startswith("gate_")
    }
    rows = re.findall(r"^\| `(gate_\w+)` \| \w+ \| [^|]+ \| ([^|]+) \|$", text("plugins/README.md"), re.MULTILINE)
    assert {name for name, _ in rows} == set(specs)
    assert {name: without for name, without in rows if without != "needed"} == dict(hookspecs.OPTIONAL)
    for name, hook in specs.items():
        for part in ("When:", "Arguments:", "Returns:", "Failure:", "Example:"):
            assert part in (hook.__doc__ or ""), f"{name}: {part}"
    assert pluggy.HookspecMarker


def test_the_table_of_what_plugins_ran_against_has_each_that_is_shipped() -> None:
    table = text("plugins/README.md").partition("## The sources, and what each was tried with")[2].partition("## ")[0]
    shipped = sorted(place.parent.name for place in (REPOSITORY / "plugins").glob("gate_*/source.py"))
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == [one.removeprefix("gate_") for one in shipped]


def test_every_hook_of_the_gates_side_is_called_by_the_running_gate() -> None:
    running = [REPOSITORY / "gate" / "worker.py", *(REPOSITORY / "gate" / "flows").glob("*.py")]
    called = set(re.findall(r"\bsources\.(\w+)\(", " ".join(path.read_text(encoding="utf-8") for path in running)))
    hooks = {name.removeprefix("gate_") for name in vars(hookspecs.SourceHooks) if name.startswith("gate_")}
    assert hooks - called == set()
    asked = " ".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "gate" / "agent").glob("*.py"))
    assert [name for name in vars(hookspecs.AgentHooks) if name.startswith("gate_") and f'"{name}"' not in asked] == []


def test_every_field_of_the_policy_is_documented() -> None:
    manual = text("policies/README.md")
    cells = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", manual, re.MULTILINE)
    documented = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
    shared = set(re.findall(r"^\| `(\w+)` \|", manual.partition("the ring wins")[2], re.MULTILINE))
    for key in keys_of(schema()):
        last = key.rpartition(".")[2]
        if key in ("sources", "rings", "makes", "defaults", "windows", "freeze", "brakes", "at_risk", "expedite"):
            continue
        if key in ("unreachable", "default_windows") or "properties" in key:
            continue
        if re.fullmatch(r"(defaults|sources\[\]|rings\[\])\.\w+", key) and last in shared:
            continue
        if key in ("rings[].at_most", "rings[].gate", "rings[].needs") or key.startswith("rings[].gate.rule_out."):
            continue
        general = re.sub(r"^default_windows\.\w+$", "default_windows.<kind>", key)
        general = re.sub(r"^windows\.\*\.\w+$", "windows.<name>", general)
        assert general in documented, key


def test_the_manual_says_what_loosens_a_field_as_the_table_of_diff_does() -> None:
    said = {}
    row = r"^\| ((?:`[^`]+`(?:, )?)+) \|.*\| ([^|]*) \|$"
    for cells, loosens in re.findall(row, text("policies/README.md"), re.MULTILINE):
        said |= dict.fromkeys(re.findall(r"`([^`]+)`", cells), loosens)
    told_elsewhere = {name for name in ROWS if name.endswith(("[]", ")", ".make", ".fleet")) or name == "expedite"}
    assert said == {name: row.loosens for name, row in ROWS.items() if name in said}
    assert set(ROWS) - set(said) <= told_elsewhere


def commands(group: click.Group, before: str = "") -> set[str]:
    found = set()
    for name, command in group.commands.items():
        found |= commands(command, f"{before}{name} ") if isinstance(command, click.Group) else {f"{before}{name}"}
    return found


def test_every_command_that_the_documents_name_exists() -> None:
    known = commands(main)
    first = {name.split()[0] for name in known}
    pages = ("README.md", "policies/README.md", "plugins/README.md", "deploy/README.md", "CHANGELOG.md")
    for page in pages:
        for line in re.findall(r"(?:^|`)gate ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", text(page), re.MULTILINE):
            assert line.split()[0] in first, f"{page}: gate {line}"
    for name in known:
        helped = main.commands[name.split()[0]]
        assert helped.help, name


def test_what_lies_in_an_environment_of_its_own_is_called_by_its_path() -> None:
    blocks = re.findall(r"^```(?:sh)?\n(.*?)^```", text("deploy/README.md"), re.MULTILINE | re.DOTALL)
    apart = [block for block in blocks if "-m venv /opt/" in block]
    assert len(apart) == 2
    assert [line for block in apart for line in block.splitlines() if line.startswith(("gate ", "gate-agent "))] == []


PROMISED = {
    "start": "demo, init, serve, doctor, version",
    "see": "status, rollouts, rollout show, rings, sites list, site show, machine show, why, morning, watch, "
    "morning site",
    "act": "halt, resume, hold, approve, expedite, recall, brake on, brake off",
    "policy": "policy lint, policy fmt, policy plan, policy explain, policy diff, policy backtest, policy schema",
    "fleet": "enrol-code, machines import, machines list, machines accept, sites import, hours check, duty import",
    "prove": "simulate, audit list, audit verify, audit prove",
    "run": "db upgrade, db check, db backup, db restore, user add, user disable, token create, token revoke, "
    "config show, plugins list",
    "what a page can do": "user role, user link, policy propose, policy sign, policy withdraw, machines revoke, "
    "machines decommission, waive, explain, hold lift, morning end, lever clear, source try, site key keep",
}
"""The table of commands that people are promised, by group. Of what was drafted once ``drill``, ``report`` and
``keys`` are not there."""


@pytest.mark.parametrize("group", PROMISED)
def test_every_command_that_people_are_promised_exists(group: str) -> None:
    asked = set(PROMISED[group].split(", "))
    assert asked - commands(main) - {name for name, one in main.commands.items() if _runs(one)} == set()


def _runs(command: click.Command) -> bool:
    """Does a group do something of its own?"""
    return isinstance(command, click.Group) and command.invoke_without_command


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("fleet = 'x'\ndata = 'd'\ndatabase = 'sqlite:///x'\nprot = 1", "did you mean port?"),
        ("fleet = 'x'", "data, database missing"),
        ("fleet = ", "gate.toml"),
        ("fleet = 'x'\ndata = 'd'\ndatabase = 'sqlite:///x'\nport = 'many'", "many"),
        ("fleet = 'x'\ndata = 'd'\ndatabase = 'sqlite:///x'\nsources = 3", "table"),
    ],
)
def test_settings_with_a_mistake_stop_the_start_with_a_sentence(tmp_path: object, content: str, word: str) -> None:
    from pathlib import Path

    file = Path(str(tmp_path)) / "gate.toml"
    file.write_text(content)
    with pytest.raises(OperatorError) as refused:
        load(file, {})
    assert word in refused.value.detail


def test_the_environment_wins_over_the_file_and_paths_are_relative_to_it(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "gate.toml").write_text("fleet = 'x'\ndata = 'd'\ndatabase = 'sqlite:///d/gate.db'\nport = 1")
    found = load(folder / "gate.toml", {"GATE_PORT": "2", "GATE_LAND": "BY"})
    assert (found.port, found.land) == (2, "BY")
    assert found.database == f"sqlite:///{folder / 'd' / 'gate.db'}"
    assert found.keys == folder / "d" / "keys"


def test_no_document_speaks_of_a_registry_or_a_path_of_this_machine() -> None:
    for file in REPOSITORY.rglob("*"):
        inside = file.relative_to(REPOSITORY).parts
        if not file.is_file() or {".git", ".venv", "__pycache__"} & set(inside) or file.suffix not in (
            ".py", ".md", ".toml", ".txt", ".yaml", ".html", ".css", ".js", ".service",
        ):  # fmt: skip
            continue
        content = file.read_text(encoding="utf-8")
        assert "/wo" + "rk/" not in content, file
        assert "--index" + "-url" not in content, file


def test_every_fault_names_a_test_that_exists_and_every_test_of_faults_stands_there() -> None:
    table = text("deploy/README.md").partition("## What holds under which fault")[2].partition("\n## ")[0]
    named = re.findall(r"`(test_\w+)`", table)
    assert len(named) == len(set(named))

    def tests(files: str) -> set[str]:
        found = (REPOSITORY / "tests").glob(files)
        return {name for file in found for name in re.findall(r"^def (test_\w+)\(", file.read_text(), re.MULTILINE)}

    assert set(named) <= tests("**/test_*.py")
    assert tests("soak/test_*.py") - set(named) == tests("soak/test_long_*.py")  # days without a fault
