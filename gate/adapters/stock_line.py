"""The line of a simulated stock client to this gate: plain HTTP at the address that machines have, nothing kept.

- No redirects, no proxies from the environment; a body is hashed as it comes and read no further than was asked.
- A certificate is checked as a machine checks it: by the authorities of the system.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator

import requests

from gate.core.errors import SourceError

TIMEOUT = (5, 20)
WHOLE_S = 600.0
PART = 1 << 16
DOCUMENT = 16 * 1024**2


class StockLine:
    """Requests to the gate at ``address``."""

    def __init__(self, address: str, session: requests.Session | None = None) -> None:
        self._address = address.rstrip("/")
        self._session = session or requests.Session()
        self._session.trust_env = False

    def fetch(self, path: str, most: int) -> tuple[int, str]:
        """(status, sha256 of the body), which is read up to ``most`` bytes and one more.

        Raises:
            SourceError: ``no_answer``.
        """
        digest, left = hashlib.sha256(), most + 1
        with self._asked(path) as answer:
            for part in _parts(answer):
                digest.update(part[:left])
                left -= len(part)
                if left <= 0:
                    break
            return answer.status_code, digest.hexdigest()

    def read(self, path: str) -> bytes:
        """A document of at most ``DOCUMENT`` bytes.

        Raises:
            SourceError: ``no_answer``, also where the answer is not 200.
        """
        found = b""
        with self._asked(path) as answer:
            for part in _parts(answer):
                found += part
                if len(found) > DOCUMENT:
                    raise SourceError("no_answer", f"{path} is longer than {DOCUMENT >> 20} MiB")
            if answer.status_code != 200:
                raise SourceError("no_answer", f"{path} answered {answer.status_code}")
        return found

    def _asked(self, path: str) -> requests.Response:
        try:
            return self._session.get(self._address + path, timeout=TIMEOUT, allow_redirects=False, stream=True)
        except requests.RequestException as problem:
            raise SourceError("no_answer", f"{self._address} does not answer: {type(problem).__name__}") from problem


def _parts(answer: requests.Response) -> Iterator[bytes]:
    until = time.monotonic() + WHOLE_S
    try:
        for part in answer.iter_content(PART):
            if time.monotonic() > until:
                raise SourceError("no_answer", f"the answer takes longer than {WHOLE_S:g} s")
            yield part
    except requests.RequestException as problem:
        raise SourceError("no_answer", f"the answer broke off: {type(problem).__name__}") from problem
