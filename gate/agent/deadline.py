"""An answer in time, or none: what hangs is left behind, and never asked a second time while it hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

A = TypeVar("A")


class Deadline:
    """One asker. A call that hangs (a disk of the network, a driver) cannot be ended; it keeps one thread, not more."""

    def __init__(self) -> None:
        self._hangs: threading.Thread | None = None

    def ask(self, question: Callable[[], A], limit_s: float) -> A | None:
        """The answer; None where there is none within ``limit_s`` seconds, or where the last call hangs still."""
        if self._hangs is not None and self._hangs.is_alive():
            return None
        answers: list[A] = []
        thread = threading.Thread(target=lambda: answers.append(question()), daemon=True)
        thread.start()
        thread.join(limit_s)
        self._hangs = thread
        return answers[0] if answers else None
