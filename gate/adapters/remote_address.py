"""Where the policy may be fetched from: nothing that a program could take for a command, a file or an option."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

HOST = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9.:\[\]-]*\Z")
PATH = re.compile(r"/[A-Za-z0-9._~][A-Za-z0-9._~/+-]*\Z")
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


def address(url: str) -> SplitResult:
    """The parts of a remote's address.

    Raises:
        ValueError: another scheme, a password in it, or a part that a program could take for an option.
    """
    said = urlsplit(url)
    host, port = said.hostname or "", said.port
    if said.scheme not in ("https", "http", "ssh") or not HOST.match(host) or said.query or said.fragment:
        raise ValueError("policy_remote is https://host/path.git or ssh://user@host/path.git")
    if said.scheme == "http" and not _loopback(host):
        raise ValueError("policy_remote by http only to this machine; use https")
    if said.password is not None or (said.scheme != "ssh" and said.username is not None):
        raise ValueError("policy_remote has no password in it: that is policy_remote_token")
    if not PATH.match(said.path) or ".." in said.path or not USER.match(said.username or "git") or port == 0:
        raise ValueError("policy_remote has a path or a user that is none")
    return said


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
