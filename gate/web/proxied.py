"""Who calls, where a proxy stands in front: the address that the proxy has seen, and nobody else's word.

- ``X-Forwarded-For`` counts only from a peer that the settings name; of its addresses only the last, which that proxy
  wrote itself.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

Start = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], Start], Iterable[bytes]]


class Proxied:
    """Sets ``REMOTE_ADDR`` for everything behind it."""

    def __init__(self, inner: Wsgi, proxies: Collection[str]) -> None:
        self._inner = inner
        self._proxies = frozenset(proxies)

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        if environ.get("REMOTE_ADDR") in self._proxies:
            last = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
            if last:
                environ["REMOTE_ADDR"] = last
        return self._inner(environ, start_response)
