"""The agent's HTTP: one address, no redirects, a proxy only where its settings name one, limits on time and bytes."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import requests

from gate.agent.errors import Misuse, Unreachable

TIMEOUT = (5, 20)
WHOLE_S = 600.0
PART = 1 << 16
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
    """Requests to one gate."""

    def __init__(self, url: str, session: requests.Session | None = None, proxy: str = "") -> None:
        self.url = check_url(url)
        self._session = session or requests.Session()
        self._session.trust_env = False
        if proxy:
            self._session.proxies = {"http": proxy, "https": proxy}

    def get(self, path: str, most: int, etag: str = "") -> tuple[int, bytes, str]:
        """(status, body of at most ``most`` bytes, ETag).

        Raises:
            Unreachable: no answer, too slow or too long.
        """
        headers = {"If-None-Match": etag} if etag else {}
        with self._ask("GET", path, headers=headers) as answer:
            return answer.status_code, self._read(answer, most), answer.headers.get("ETag", "")

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """(status, body of at most 256 KiB).

        Raises:
            Unreachable: no answer, too slow or too long.
        """
        headers = {"Content-Type": "application/json"}
        with self._ask("POST", path, data=body, headers=headers) as answer:
            return answer.status_code, self._read(answer, 256 * 1024)

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
                try:
                    for part in answer.iter_content(PART):
                        have += len(part)
                        if have > length or time.monotonic() > until:
                            raise Unreachable(f"{path} is longer than announced, or too slow")
                        file.write(part)
                except requests.RequestException as problem:
                    raise Unreachable(f"{path} broke off") from problem
        if have != length:
            raise Unreachable(f"{path} ended at {have} of {length} bytes")

    def _ask(
        self, method: str, path: str, *, data: bytes | None = None, headers: dict[str, str] | None = None
    ) -> requests.Response:
        try:
            return self._session.request(
                method,
                self.url + path,
                data=data,
                headers={**(headers or {}), "Accept-Encoding": "identity"},
                timeout=TIMEOUT,
                allow_redirects=False,
                stream=True,
            )
        except requests.RequestException as problem:
            raise Unreachable(f"{self.url} does not answer") from problem

    @staticmethod
    def _read(answer: requests.Response, most: int) -> bytes:
        parts, length = [], 0
        until = time.monotonic() + sum(TIMEOUT)
        try:
            for part in answer.iter_content(PART):
                length += len(part)
                if length > most or time.monotonic() > until:
                    raise Unreachable("an answer was too long or too slow")
                parts.append(part)
        except requests.RequestException as problem:
            raise Unreachable("an answer broke off") from problem
        return b"".join(parts)
