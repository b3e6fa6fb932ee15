"""A ``.sign`` side-car, as ClamAV 1.5 reads it: who has signed the file beside it, by certificates.

- ``#clamsign-1.0``, then a signature a line: ``least:most:pkcs7-pem:...``. The numbers are the functionality levels of
  the clients that it is for; the rest is a detached PKCS#7 signature over the whole file, DER in base 64.
- Every signature of that kind must be good, for a machine takes the one for its level; lines of other kinds are the
  client's matter.
- Checked by ``openssl cms``, trusting the certificates that are given and none of this system's: any authority for
  e-mail could else sign.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import subprocess
from pathlib import Path

FIRST = "#clamsign-1.0"
LINE = re.compile(r"\d{0,9}:\d{0,9}:pkcs7-pem:([A-Za-z0-9+/]+={0,2})\Z")
MOST = 1 << 20
CERTS = 60_000
"""A pipe holds a little more."""
OPENSSL_S = 50.0


class BadSign(Exception):
    """Why a side-car signs nothing that could be trusted."""


def check(side_car: Path, content: Path, certs: Path) -> None:
    """The owners of ``certs``, a PEM file or a folder with ``.pem`` and ``.crt`` files, have signed ``content``.

    Raises:
        BadSign: they have not; with the reason. OSError: something cannot be read, or openssl is not installed.
    """
    with side_car.open("rb") as file:
        raw = file.read(MOST)
    trusted = _trusted(certs)
    for signature in signatures(raw):
        _checked(signature, content, trusted)


def signatures(raw: bytes) -> list[bytes]:
    """The PKCS#7 signatures of a side-car, at least one.

    Raises:
        BadSign: there is none, or it is torn.
    """
    first, *lines = raw.decode("utf-8", "replace").splitlines() or [""]
    if first.strip() != FIRST:
        raise BadSign("it does not begin as a .sign file does")
    wanted = [line.strip() for line in lines if ":pkcs7-pem:" in line and not line.startswith("#")]
    try:
        found = [base64.b64decode(match[1], validate=True) for line in wanted if (match := LINE.match(line))]
    except binascii.Error as problem:
        raise BadSign("a signature in it is torn") from problem
    if not found or len(found) != len(wanted):
        raise BadSign("a signature in it is torn" if wanted else "it has no signature")
    return found


def _trusted(certs: Path) -> bytes:
    files = [certs]
    if certs.is_dir():
        files = sorted(one for one in certs.iterdir() if one.suffix in (".pem", ".crt"))
    trusted = b"\n".join(one.read_bytes() for one in files)
    if b"-----BEGIN CERTIFICATE-----" not in trusted:
        raise BadSign("option certs leads to no certificate")
    if len(trusted) > CERTS:
        raise BadSign(f"option certs leads to {len(trusted)} bytes of certificates, and {CERTS} are the most")
    return trusted


def _checked(signature: bytes, content: Path, trusted: bytes) -> None:
    """By pipes, for who verifies may write no file."""
    anchors, end = os.pipe()
    os.write(end, trusted)
    os.close(end)
    words = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-content", str(content), "-out", "/dev/null"]
    words += ["-CAfile", f"/dev/fd/{anchors}", "-no-CApath", "-no-CAstore", "-partial_chain"]
    try:
        done = subprocess.run(
            words, input=signature, capture_output=True, timeout=OPENSSL_S, check=False, pass_fds=[anchors]
        )
    except subprocess.TimeoutExpired as problem:
        raise BadSign("openssl takes too long over it") from problem
    finally:
        os.close(anchors)
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][-200:]
        raise BadSign(f"openssl does not trust its signature: {said}")
