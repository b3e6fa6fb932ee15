"""``install.sh`` and ``remove.sh``: what they call, in which order, and what they write. The programs are stand-ins."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

LINUX = REPOSITORY / "deploy" / "agent" / "linux"
STAND_IN = '#!/bin/sh\necho "${0##*/} $*" >> "$CALLED"\n[ "${0##*/}" != gate-agent ] || cat >> "$CALLED"\n'
WORDS = ("gate-agent_0.1.0_amd64.deb", "https://gate.example", "--fact", "role=till")


def run(folder: Path, script: str, *words: str, said: str = "", user: str = "0") -> tuple[int, list[str]]:
    """Its exit code, and what it called with what that read. Below ``folder`` lies what would be ``/etc``."""
    programs, called = folder / "bin", folder / "called"
    programs.mkdir(exist_ok=True)
    for name in ("dpkg", "systemctl", "gate-agent"):
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    (programs / "id").write_text(f"#!/bin/sh\necho {user}\n")
    (programs / "id").chmod(0o755)
    called.write_text("")
    text = (LINUX / script).read_text(encoding="utf-8").replace("/etc/systemd", str(folder / "etc" / "systemd"))
    done = subprocess.run(
        ["/bin/sh", "-c", text, script, *words],
        input=said,
        capture_output=True,
        text=True,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "CALLED": str(called)},
    )
    return done.returncode, called.read_text().splitlines()


@pytest.mark.parametrize("by_file", [True, False], ids=["from a stick", "typed"])
def test_a_machine_is_installed_enrolled_and_started_and_the_code_stands_on_no_command_line(
    tmp_path: Path, by_file: bool
) -> None:
    (tmp_path / "code").write_text("the-code\n")
    way = ("--code-file", str(tmp_path / "code")) if by_file else ()
    code, called = run(tmp_path, "install.sh", *way, *WORDS, said="" if by_file else "the-code\n")
    assert code == 0
    assert called == [
        "dpkg -i gate-agent_0.1.0_amd64.deb",
        "systemctl stop gate-agent.service",
        "gate-agent enrol https://gate.example - --fact role=till",
        "the-code",
        "systemctl restart gate-agent.service",
    ]


def test_both_units_may_write_into_the_folders_that_are_named_and_forget_takes_that_back(tmp_path: Path) -> None:
    folders = [str(tmp_path / name) for name in ("one", "two")]
    code, called = run(tmp_path, "install.sh", "--writes", folders[0], "--writes", folders[1], *WORDS)
    assert code == 0
    assert called[1] == "systemctl daemon-reload"
    for unit in ("gate-agent", "gate-agent-early"):
        written = (tmp_path / f"etc/systemd/system/{unit}.service.d/folders.conf").read_text()
        assert f"\nReadWritePaths=-{folders[0]} -{folders[1]}\n" in written
        assert f"\nRequiresMountsFor={folders[0]} {folders[1]}\n" in written
    assert all(Path(one).is_dir() for one in folders)
    assert run(tmp_path, "remove.sh") == (0, ["dpkg --remove gate-agent"])
    assert list((tmp_path / "etc/systemd/system").iterdir())
    assert run(tmp_path, "remove.sh", "--forget") == (0, ["dpkg --purge gate-agent"])
    assert not list((tmp_path / "etc/systemd/system").iterdir())


@pytest.mark.parametrize(
    "words",
    [
        (),
        WORDS[:1],
        ("--writes",),
        ("--writes", "", *WORDS),
        ("--writes", "srv", *WORDS),
        ("--writes", "/srv/a b", *WORDS),
        ("--writes", "/home/shop", *WORDS),
        ("--code-file", "/nowhere/code", *WORDS),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_installed(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, called = run(tmp_path, "install.sh", *words)
    assert code != 0
    assert called == []


def test_only_root_installs_and_removes(tmp_path: Path) -> None:
    assert run(tmp_path, "install.sh", *WORDS, user="1000") == (1, [])
    assert run(tmp_path, "remove.sh", user="1000") == (1, [])
