"""Where this machine's own words about its boots are."""

from __future__ import annotations

import sys

from gate.agent.diary import Boots


def this_system() -> Boots:
    """Windows' log, or Linux' journal."""
    if sys.platform == "win32":
        from gate.agent.windows import WindowsBoots

        return WindowsBoots()
    from gate.agent.linux import LinuxBoots

    return LinuxBoots()
