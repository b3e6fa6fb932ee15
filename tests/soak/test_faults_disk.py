"""The disk is full: 503 `unavailable`, nothing half-written, and work goes on when there is room again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gate.core.errors import OperatorError
from tests.conftest import missing
from tests.faults import Crowd, crowd, get, post, until
from tests.load import drop_release, newest
from tests.process_tree import children

pytestmark = pytest.mark.soak


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """``tmp_path/gate`` is a small file system: room for what a look keeps free, and a little more."""
    place = tmp_path / "gate"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        missing("the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    """Every byte that is left."""
    with (disk / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 65536):
            pass
    with (disk / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x"):
            pass


MANY = """
import sys
from gate.adapters.metrics import Metrics
counts = Metrics()
print("ready", flush=True)
sys.stdin.readline()
for number in range(100):
    counts.call(f"/v1/{number}", 503, "unavailable", 0.1)
    counts.work("source", f"failed{number}", 0.1)
print("counted")
"""


def test_counting_goes_on_where_a_full_disk_would_end_a_process(small_disk: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(small_disk)}
    words = [sys.executable, "-c", MANY]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        fill(small_disk)
        said, _ = child.communicate("\n", timeout=30)
    assert (child.returncode, said) == (0, "counted\n")


def lasting(made: Crowd) -> set[int]:
    """gate's own processes: a git of a moment, or where plugins are called, may end and begin again."""
    found = {pid for one in made.served.processes.values() for pid in [one.pid, *children(one.pid)]}
    return {pid for pid in found if name_of(pid) == "gate"}


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def test_a_full_disk_is_said_and_nothing_is_half_written(small_disk: Path, tmp_path: Path) -> None:
    with crowd(tmp_path, 12, environment={"GATE_METRICS_TOKEN": "for-this-test"}) as made:
        drop_release(tmp_path, 0)
        until(lambda: made.ask_for_newest() and made.reports() > 6, "nobody works")
        before = lasting(made)

        fill(small_disk)
        unanswered = b""

        def refused() -> bool:
            nonlocal unanswered
            fill(small_disk)  # what was given back a moment ago
            unanswered = made.probe.sealed_checkin()
            return post(made.port, "/v1/checkin", unanswered)[0] == 503

        until(refused, "a full disk was never felt")
        release = newest(made.opened)
        drop_release(tmp_path, 1)
        for _ in range(10):
            fill(small_disk)
            status, body, headers = post(made.port, "/v1/checkin", unanswered)
            assert (status, body["kind"], body["retry_after_s"] > 0) == (503, "unavailable", True)
            assert headers["Retry-After"] == str(body["retry_after_s"])
            ready = get(made.port, "/readyz")
            assert ready[0] == 503
            assert "BAD  disk" in ready[1]
            assert get(made.port, "/metadata/timestamp.json")[0] == 200
            with pytest.raises(OperatorError, match="cannot be written"):
                made.opened.worker().publish(datetime.now(UTC) + timedelta(minutes=50))
        assert newest(made.opened) == release, "no release came from half an intake"

        (small_disk / "filler").unlink()
        assert post(made.port, "/v1/checkin", unanswered)[0] == 200, "the same bytes are answered when there is room"
        until(lambda: made.all_have_newest(before=release), "the release of the full disk never came", 90)
        until(lambda: get(made.port, "/readyz")[0] == 200, "never ready again")
        after = lasting(made)
        assert before == after, "no process died of it"
    assert sum(client.lost for client in made.clients) > 0
    assert "disk" in made.served.logs()
