"""What is measured of a process is not disturbed by children that end meanwhile."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

from tests.process_tree import cpu_s, family, memory_mb, own_mb, spent_s


def test_children_that_come_and_go_while_a_process_is_measured_break_nothing() -> None:
    with subprocess.Popen(["bash", "-c", "while :; do /bin/true; done"]) as busy:
        try:
            told = [(cpu_s(busy.pid), spent_s(busy.pid), memory_mb(busy.pid), family(busy.pid)) for _ in range(300)]
        finally:
            busy.kill()
    assert told[-1][1] > 0
    assert any(len(pids) > 1 for *_, pids in told)
    assert all(memory > 0 for _, _, memory, _ in told)


def test_what_is_a_processes_own_is_less_than_what_is_there_and_grows_with_what_it_keeps() -> None:
    code = "import os, sys; kept = []\nfor line in sys.stdin: kept.append(os.urandom(20_000_000)); print(flush=True)"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as one:  # type: ignore[call-overload]
        grown = []
        for _ in range(3):
            one.stdin.write("more\n")
            one.stdin.flush()
            one.stdout.readline()
            grown.append(own_mb(one.pid))
            assert 0 < grown[-1] <= memory_mb(one.pid)
        one.stdin.close()
    more = [round(later - before) for before, later in pairwise(grown)]
    assert more == [20, 20]
