"""Open pages are told what changes by server-sent events, as long as there is room; the others ask ``/live``.

- Under WSGI a stream keeps one of the server's threads, and machines are answered by the same threads. So a process has
  room for few, and whoever finds none is answered 204, which ends it without an error, and asks every three seconds, as
  a page without streams does.
- A stream says something every second, so that a closed page gives its room back, and lasts ``LASTS_S``: a server that
  stops waits no longer. Then the browser begins the next.
- A stream ends at once, and says so, where its session has ended or its person has another role.
- It says no more than ``/live`` does: a word that changes with every event, decision and minute.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from flask import Response, g

from gate.core.errors import GateError
from gate.ports import Clock, Store
from gate.web import auth, system
from gate.web.auth import Visitor

MOST = 8
LASTS_S, LOOK_S = 8.0, 1.0
AGAIN_MS = 300
OVER, STILL = b"event: over\ndata: x\n\n", b":\n\n"


@dataclass(slots=True)
class Stream:
    """The events of one open page; ``close`` gives its room back, whether it was ever read or not."""

    store: Store
    clock: Clock
    who: Visitor | None
    room: threading.BoundedSemaphore
    said: str = ""
    closed: bool = False
    until: float = field(default_factory=lambda: time.monotonic() + LASTS_S)
    pause: threading.Event = field(default_factory=threading.Event)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> bytes:
        """The next event, or, a second later, a comment: only by saying something is a closed page noticed."""
        if self.closed or time.monotonic() >= self.until:
            raise StopIteration
        if self.said:
            self.pause.wait(LOOK_S)
        try:
            word = self._word()
        except GateError:  # the database: the page asks again, and is told there
            raise StopIteration from None
        if word is None:
            self.until = 0.0
            return OVER
        if word == self.said:
            return STILL
        self.said = word
        return f"retry: {AGAIN_MS}\ndata: {word}\n\n".encode()

    def _word(self) -> str | None:
        """What ``/live`` says; None where the session is another one than at first."""
        now = self.clock.now()
        if self.who is not None:
            found = auth.visitor(self.store, self.who.token, now, keeps=False)
            if found is None or found.user.role != self.who.user.role:
                return None
        return system.mark(self.store, now)

    def close(self) -> None:
        """Gives the room back, once."""
        if not self.closed:
            self.closed = True
            self.pause.set()
            self.room.release()

    def __del__(self) -> None:
        self.close()


def live_stream() -> Response:
    """Events of what changes; 204 where all room is taken: a browser takes that for *ask no more* (HTML, 9.2.3)."""
    room: threading.BoundedSemaphore = g.parts.room
    if not room.acquire(blocking=False):
        return Response(status=204)
    who = None if g.parts.guest is not None else g.visitor
    answer = Response(Stream(g.parts.store, g.parts.clock, who, room), mimetype="text/event-stream")
    answer.headers["X-Accel-Buffering"] = "no"  # nginx would keep back what is small
    return answer


VIEWS = (("/live/stream", live_stream, "view", ["GET"]),)
