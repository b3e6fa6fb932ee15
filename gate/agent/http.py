"""The agent's HTTP: one address, no redirects, a proxy only where its settings name one, limits on time and bytes.

The time of a whole call is limited, from the first byte of the handshake on: a server that drips is one that does not
answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3

from gate.agent.errors import Misuse, Unreachable
from gate.agent.lines import Lines

TIMEOUT = (5, 20)
CALL_S = 25.0
WHOLE_S = 600.0
"""For an artifact; what has come by then is gone on with."""
PART = 1 << 16
MOST_ANSWER = 256 * 1024
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_url(url: str) -> str:
    """The gate's address without a slash at its end.

    Raises:
        Misuse: not https (http is allowed on this machine only), or more than an address.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not secure or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise Misuse(f"{url!r} is not an https address of a gate")
    return url.rstrip("/")


class Http:
    """Requests to one gate.

    Raises:
        Misuse: ``ca`` is not there. Only who talks needs it: neither ``early`` nor a rescue system does.
    """

    def __init__(self, url: str, session: requests.Session | None = None, proxy: str = "", ca: str = "") -> None:
        self.url = check_url(url)
        if ca and not Path(ca).is_file():
            raise Misuse(f"ca = {ca!r} is no file")
        self._lines = Lines()
        self._session = session or requests.Session()
        if session is None:
            self._session.mount("https://", self._lines)
            self._session.mount("http://", self._lines)
        self._session.trust_env = False
        self._session.verify = ca or True
        if proxy:
            self._session.proxies = {"http": proxy, "https": proxy}

    def get(self, path: str, most: int, etag: str = "") -> tuple[int, bytes, str]:
        """(status, body of at most ``most`` bytes, ETag).

        Raises:
            Unreachable: no answer, too slow or too long.
        """
        headers, until = {"If-None-Match": etag} if etag else {}, time.monotonic() + CALL_S
        with self._ask("GET", path, headers=headers) as answer:
            return answer.status_code, b"".join(_parts(answer, most, until)), answer.headers.get("ETag", "")

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """(status, body of at most 256 KiB).

        Raises:
            Unreachable: no answer, too slow or too long.
        """
        headers, until = {"Content-Type": "application/json"}, time.monotonic() + CALL_S
        with self._ask("POST", path, data=body, headers=headers) as answer:
            return answer.status_code, b"".join(_parts(answer, MOST_ANSWER, until))

    def download(self, path: str, to: Path, length: int) -> None:
        """Bytes into a file, going on where an earlier try ended; never more than ``length``.

        Raises:
            Unreachable: as above, or the file is shorter than it should be.
        """
        have = to.stat().st_size if to.exists() else 0
        if have > length:
            to.unlink()
            have = 0
        if have == length:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        until = time.monotonic() + WHOLE_S
        with self._ask("GET", path, headers=headers) as answer:
            if answer.status_code not in (200, 206):
                raise Unreachable(f"{path} answered {answer.status_code}")
            have = have if answer.status_code == 206 else 0
            with to.open("ab" if have else "wb") as file:
                for part in _parts(answer, length - have, until):
                    have += file.write(part)
        if have != length:
            raise Unreachable(f"{path} ended at {have} of {length} bytes")

    def _ask(
        self, method: str, path: str, *, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        until = time.monotonic() + CALL_S
        try:
            with self._lines.cut_after(CALL_S):
                answer = self._session.request(
                    method,
                    self.url + path,
                    data=data,
                    headers={**(headers or {}), "Accept-Encoding": "identity"},
                    timeout=TIMEOUT,
                    allow_redirects=False,
                    stream=True,
                )
        except (*BROKEN, ValueError) as problem:  # TLS on a line that was cut is no value
            raise Unreachable(f"{self.url} does not answer") from problem
        if time.monotonic() > until:  # the head of an answer that was cut may look whole
            answer.close()
            raise Unreachable(f"{self.url} answers too slowly")
        return answer


def _parts(answer: requests.Response, most: int, until: float) -> Iterator[bytes]:
    """A body as it comes in, at most ``most`` bytes of it, and no longer than ``until`` (monotonic seconds).

    Raises:
        Unreachable: too long, too slow, or it broke off.
    """
    length = 0
    try:
        while part := answer.raw.read1(PART):
            length += len(part)
            if length > most or time.monotonic() > until:
                raise Unreachable("an answer was too long or too slow")
            yield part
    except BROKEN as problem:
        raise Unreachable("an answer broke off") from problem
