"""The ``gate`` command where perhaps only the agent is installed: a sentence instead of a traceback."""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Runs the command line.

    Raises:
        SystemExit: 2 where the server's libraries are missing.
    """
    if find_spec("click") is None or find_spec("sqlalchemy") is None:
        sys.exit("only the agent is installed here; for the server: pip install 'gate[server]'")
    from gate.cli.main import main as commands

    commands()
