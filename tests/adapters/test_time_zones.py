"""Time zones on a machine that has none of its own: a bare Debian has not."""

from __future__ import annotations

import os
import subprocess
import sys


def test_the_seed_policy_is_read_where_the_machine_knows_no_time_zones() -> None:
    code = "from gate.adapters.policy_yaml import parse_text; from gate.bootstrap import seed_policy; "
    code += "print(parse_text(seed_policy()).timezone)"
    bare = {**os.environ, "PYTHONTZPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Europe/Berlin\n"), done.stderr
