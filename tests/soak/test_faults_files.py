"""The policy repository is gone, or the keys cannot be read: what needs neither goes on, and both are said."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.faults import crowd, get, until
from tests.load import drop_release, program

pytestmark = pytest.mark.soak


def test_a_policy_repository_that_is_gone_stops_neither_machines_nor_the_brake(tmp_path: Path) -> None:
    with crowd(tmp_path, 20) as made:
        drop_release(tmp_path, 0)
        until(lambda: made.all_have_newest(), "nobody works")
        first, repository = made.ask_for_newest(), made.opened.settings.policy
        repository.rename(repository.with_name("away"))
        until(lambda: "BAD  policy repository" in get(made.port, "/readyz")[1], "nobody says so")
        assert get(made.port, "/readyz")[0] == 503
        drop_release(tmp_path, 1)
        until(lambda: made.all_have_newest(first), "a release without the repository never came")
        words = [program("gate"), "halt", "all", "--because", "a test", "--settings", str(tmp_path / "gate/gate.toml")]
        assert subprocess.run(words, capture_output=True, timeout=30).returncode == 0
        assert made.ask_for_newest() == ""
        repository.with_name("away").rename(repository)
        until(lambda: get(made.port, "/readyz")[0] == 200, "never ready again")
    assert "is not a git repository" in made.served.logs()


@pytest.mark.parametrize("fault", ["moved", "open to others"])
def test_keys_that_cannot_be_read_are_said_and_stop_the_next_start_only(fault: str, tmp_path: Path) -> None:
    with crowd(tmp_path, 10) as made:
        key = made.opened.settings.keys / "gate.pem"
        if fault == "moved":
            key.rename(key.with_name("away"))
        else:
            key.chmod(0o644)
        ready = until(lambda: [text for status, text in [get(made.port, "/readyz")] if status == 503], "nobody says so")
        assert "BAD  keys" in ready[0]
        drop_release(tmp_path, 0)
        until(lambda: made.all_have_newest(), "nobody works")
        words = [program("gate"), "serve", "--settings", str(tmp_path / "gate" / "gate.toml")]
        refused = subprocess.run(words, capture_output=True, text=True, timeout=30)
        assert refused.returncode != 0
        assert f"{key} is {'missing' if fault == 'moved' else 'open to others: chmod 600'}" in refused.stderr
        assert "Traceback" not in refused.stderr
        if fault == "moved":
            key.with_name("away").rename(key)
        else:
            key.chmod(0o600)
        until(lambda: get(made.port, "/readyz")[0] == 200, "never ready again")
