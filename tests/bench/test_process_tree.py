"""What is measured of a process is not disturbed by children that end meanwhile."""

from __future__ import annotations

import subprocess

from tests.process_tree import cpu_s, family, memory_mb, spent_s


def test_children_that_come_and_go_while_a_process_is_measured_break_nothing() -> None:
    with subprocess.Popen(["bash", "-c", "while :; do /bin/true; done"]) as busy:
        try:
            told = [(cpu_s(busy.pid), spent_s(busy.pid), memory_mb(busy.pid), family(busy.pid)) for _ in range(300)]
        finally:
            busy.kill()
    assert told[-1][1] > 0
    assert any(len(pids) > 1 for *_, pids in told)
    assert all(memory > 0 for _, _, memory, _ in told)
