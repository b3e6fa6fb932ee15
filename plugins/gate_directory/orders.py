"""Which of two versions is newer, where their source's option ``order`` says how they are read.

- ``listed``: as they are discovered. ``numbers``: parts between dots, dashes and underscores by number, a leading ``v``
  and closing zeros aside. ``text``: by code points, for dates such as ``2026-03-01``.
"""

from __future__ import annotations

import re
from typing import Any

from gate.hookspecs import Option

ORDERS = ("listed", "numbers", "text")
OPTION = Option("how versions are ordered; listed where nothing is said", choices=ORDERS)


def compared(order: str, a: str, b: str) -> int | None:
    """-1, 0 or 1 as ``a`` is older, as new or newer; None where the order is that of discovery."""
    if order == "numbers":
        return _sign(_numbers(a), _numbers(b))
    if order == "text":
        return _sign(a, b)
    return None


def _numbers(version: str) -> list[int]:
    found = [int(part) for part in re.split(r"[.\-_]", version.lstrip("vV")) if part.isdigit()]
    while found and found[-1] == 0:
        found.pop()
    return found


def _sign(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)
