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


def test_keys_that_cannot_be_read_are_said_and_stop_the_next_start_only(tmp_path: Path) -> None:
    with crowd(tmp_path, 10) as made:
        key = made.opened.settings.keys / "gate.pem"
        away = key.with_name("away")
        faults = [
            (lambda: key.rename(away), lambda: away.rename(key), "is missing"),
            (lambda: key.chmod(0o644), lambda: key.chmod(0o600), "is open to others: chmod 600"),
        ]
        words = [program("gate"), "serve", "--settings", str(tmp_path / "gate" / "gate.toml")]
        for number, (spoil, mend, said) in enumerate(faults):
            before = made.ask_for_newest()
            spoil()
            until(lambda: "BAD  keys" in get(made.port, "/readyz")[1], "nobody says so")
            drop_release(tmp_path, number)
            until(lambda: made.all_have_newest(before), "nobody works")  # noqa: B023  (called at once)
            refused = subprocess.run(words, capture_output=True, text=True, timeout=60)
            assert refused.returncode != 0
            assert f"{key} {said}" in refused.stderr
            assert "Traceback" not in refused.stderr
            mend()
            until(lambda: get(made.port, "/readyz")[0] == 200, "never ready again")
