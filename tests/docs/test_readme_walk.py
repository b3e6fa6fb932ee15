"""The README's walk, typed as it stands into one shell: two real agents, a good release, a bad one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.load import free_port

BLOCK = re.compile(r"^```sh walk\n(.*?)^```", re.MULTILINE | re.DOTALL)


def walk() -> str:
    return "\n".join(BLOCK.findall((REPOSITORY / "README.md").read_text(encoding="utf-8")))


@pytest.mark.slow
def test_a_newcomer_sees_a_good_release_go_through_two_rings_and_a_bad_one_halt(tmp_path: Path) -> None:
    assert shutil.which("curl"), "the walk asks with curl whether the gate is ready"
    port = free_port()
    script = walk().replace("make setup && . .venv/bin/activate\n", "").replace("8400", str(port))
    assert script.count(str(port)) >= 2
    script = script.replace("gate init walk --example walk", f"gate init walk --example walk --port {port}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GATE_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-e"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate(script, timeout=240)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
    logs = "\n".join(log.read_text() for log in tmp_path.glob("walk/*.log"))
    where = f"{said}\n{logs}"
    assert "shop-content 2026.1 done: first 1/1, rest 1/1" in said, where
    assert "shop-content 2026.2 halted: first 0/1 bad 1, rest -; failed >= 1 within 10m: 1 counted" in said, where
    assert re.search(
        r"two waits with shop-content 2026\.2: halted by .*policy\.yaml line \d+, changed .* by admin", said
    )
    assert said.count('{"aspirin": 499}') == 3, where
    assert "oops" not in said, where
    assert re.search(r"good: \d+ leaves, root [0-9a-f]{64}", said), where
    assert not subprocess.run(["pgrep", "-f", str(tmp_path)], stdout=subprocess.PIPE, check=False).stdout, (
        "nothing of the walk runs on"
    )
