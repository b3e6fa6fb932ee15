"""An answer in time, or none: what hangs is left behind, and never asked a second time while it hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

A = TypeVar("A")


class Deadline:
    """One asker. A call that hangs (a disk of the network, a driver) cannot be ended; it keeps one thread, not more."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @property
    def hangs(self) -> bool:
        """The last call has not ended yet."""
        return self._thread is not None and self._thread.is_alive()

    def ask(self, question: Callable[[], A], limit_s: float) -> A | None:
        """The answer; None where there is none within ``limit_s`` seconds, or where the last call hangs still.

        Raises:
            BaseException: what the question raised.
        """
        if self.hangs:
            return None
        answers: list[A] = []
        problems: list[BaseException] = []

        def answer() -> None:
            try:
                answers.append(question())
            except BaseException as problem:  # noqa: BLE001  (the edge of a thread: raised again by who asks)
                problems.append(problem)

        self._thread = threading.Thread(target=answer, daemon=True)
        self._thread.start()
        self._thread.join(limit_s)
        if problems:
            raise problems[0]
        return answers[0] if answers else None
