"""How often one address may ask: a bucket of tokens per address, bounded in memory.

- The address is the peer's, never a header's: ``X-Forwarded-*`` is anybody's word.
- The oldest buckets are forgotten first; a full table never refuses a new address.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime


class Buckets:
    """``size`` calls at once, then ``per_second``; at most ``addresses`` are remembered."""

    def __init__(self, size: float, per_second: float, addresses: int = 10_000) -> None:
        self._size = size
        self._rate = per_second
        self._addresses = addresses
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, address: str, now: datetime) -> int:
        """Takes a token; 0 when there was one, else the seconds until there is one."""
        at = now.timestamp()
        with self._lock:
            left, before = self._left.pop(address, (self._size, at))
            left = min(self._size, left + max(at - before, 0.0) * self._rate)
            taken = left >= 1
            self._left[address] = (left - 1 if taken else left, at)
            while len(self._left) > self._addresses:
                self._left.popitem(last=False)
        return 0 if taken else max(1, round((1 - left) / self._rate + 0.5))
