"""What the policy repository says to whoever pushes into it: a post-receive hook, written when gate starts.

- It asks ``gate policy judge``, as the person who pushes. Who may not read the settings is told where to look.
- It refuses nothing: what is pushed is judged by the worker. A hook that gate has not written stays as it is.
"""

from __future__ import annotations

import shlex
from pathlib import Path

MARK = "# Written by gate when it starts; a hook of your own in its place stays."
HOOK = """#!/bin/sh
{mark}
while read -r before after ref; do
  [ "$ref" = refs/heads/main ] || continue
  {program} policy judge "$after" --settings {settings} 2>/dev/null || echo {otherwise}
done
"""


def write_hook(repository: Path, program: Path, settings: Path, otherwise: str) -> bool:
    """Whether it is there now. ``otherwise``: what is said to those who may not read the settings."""
    file = repository / "hooks" / "post-receive"
    try:
        if file.exists() and MARK not in file.read_text(encoding="utf-8", errors="replace"):
            return False
        file.parent.mkdir(exist_ok=True)
        words = {"program": str(program), "settings": str(settings), "otherwise": otherwise}
        file.write_text(HOOK.format(mark=MARK, **{name: shlex.quote(one) for name, one in words.items()}), "utf-8")
        file.chmod(0o755)
    except OSError:
        return False
    return True
