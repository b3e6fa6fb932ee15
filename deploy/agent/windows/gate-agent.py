"""NOT RUN ON WINDOWS. Starts the agent from the folder beside this file, as /usr/bin/gate-agent does on Linux."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

from gate.agent.cli import main

main()
