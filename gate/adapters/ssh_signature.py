"""Signatures of commits: who has signed, by key, after signers that live outside the repository.

- The signature is an SSHSIG (OpenSSH, PROTOCOL.sshsig) over the commit without its ``gpgsig`` header, as ``git commit
  -S`` with ``gpg.format=ssh`` makes it; ed25519 alone, namespace ``git``.
- ``SignersFile`` reads OpenSSH's allowed_signers: a principal is a login of the gate; one key is one person. A
  wildcard, an authority, another kind of key, and a key that stands twice make the whole file wrong: then nobody has
  signed.
- ``valid-after`` and ``valid-before`` are held against the moment at which the gate looks, never against the commit's
  own date, which whoever makes the commit chooses.
- A key in the list of revoked ones (``ssh-ed25519 AAAA...`` or ``SHA256:...`` a line) has signed nothing.
- Both files are read at every look, so that a change acts at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_core_ed25519_is_valid_point

from gate.core.errors import Conflict, OperatorError

MAGIC, KIND, NAMESPACE = b"SSHSIG", b"ssh-ed25519", b"git"
HASHES = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}
BEGIN, END = b"-----BEGIN SSH SIGNATURE-----", b"-----END SSH SIGNATURE-----"
MOST = 256 * 1024
OPTION = re.compile(r'(?:([A-Za-z-]+)(?:="([^"]*)")?)(?:,|$)')
MOMENTS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}


@dataclass(frozen=True, slots=True)
class Signer:
    """A key and whose it is: ``login`` is the gate's."""

    login: str
    key: bytes
    namespaces: tuple[str, ...] = ()
    valid_after: datetime | None = None
    valid_before: datetime | None = None


class SignersFile:
    """Who may sign, by the two files; ``raw`` gives a commit's bytes."""

    def __init__(self, signers: Path, revoked: Path | None, raw: Callable[[str], bytes]) -> None:
        self._signers = signers
        self._revoked = revoked
        self._raw = raw

    def signed_by(self, commit: str, now: datetime) -> str:
        """The login of the key that has signed a commit.

        Raises:
            Conflict: unsigned: by nobody, by no key that may sign now, or not this commit.
            OperatorError: the files cannot be read, or the commit.
        """
        known = {one.key: one for one in read_signers(_text(self._signers), str(self._signers))}
        revoked = read_revoked(_text(self._revoked), str(self._revoked)) if self._revoked else frozenset()
        payload, signature = parted(self._raw(commit))
        short = commit[:12]
        if not signature:
            raise Conflict("unsigned", f"{short} is not signed")
        key = verified(signature, payload)
        if key is None:
            raise Conflict("unsigned", f"the signature of {short} does not fit it")
        signer = known.get(key)
        if signer is None or fingerprint(key) in revoked:
            said = "has been revoked" if signer else "is unknown"
            raise Conflict("unsigned", f"the key {fingerprint(key)} that has signed {short} {said}")
        if signer.namespaces and NAMESPACE.decode() not in signer.namespaces:
            raise Conflict("unsigned", f"the key of {signer.login} that has signed {short} is not for git")
        if (signer.valid_after and now < signer.valid_after) or (signer.valid_before and now >= signer.valid_before):
            raise Conflict("unsigned", f"the key of {signer.login} that has signed {short} is not valid now")
        return signer.login


def parted(raw: bytes) -> tuple[bytes, bytes]:
    """(what is signed, the signature) of a commit; no signature where it has none, or more than one."""
    head, blank, message = raw.partition(b"\n\n")
    kept: list[bytes] = []
    found: list[list[bytes]] = []
    inside = False
    for line in head.split(b"\n"):
        if line.startswith(b" ") and inside:
            found[-1].append(line[1:])
            continue
        inside = line.startswith((b"gpgsig ", b"gpgsig-sha256 "))
        if inside:
            found.append([line.partition(b" ")[2]])
        else:
            kept.append(line)
    names = [line.partition(b" ")[0] for line in kept]
    whole = len(found) == 1 and all(names.count(one) == 1 for one in (b"tree", b"author", b"committer"))
    return b"\n".join(kept) + blank + message, b"\n".join(found[0]) if whole else b""


def verified(armoured: bytes, message: bytes) -> bytes | None:
    """The raw ed25519 key that has signed ``message`` for git; None where the signature is none."""
    try:
        fields = _fields(_blob(armoured))
        key, namespace, _, algorithm, signature = (next(fields) for _ in range(5))
        ends = next(fields, None) is None
        [kind, raw], [made, exact] = list(_strings(key)), list(_strings(signature))
    except (ValueError, StopIteration, RuntimeError, struct.error, binascii.Error):
        return None
    if not ends or (kind, made, namespace) != (KIND, KIND, NAMESPACE) or algorithm not in HASHES or len(raw) != 32:
        return None
    if not crypto_core_ed25519_is_valid_point(raw):
        return None
    digest = HASHES[algorithm](message).digest()
    signed = MAGIC + b"".join(struct.pack(">I", len(one)) + one for one in (namespace, b"", algorithm, digest))
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(exact, signed)
    except InvalidSignature:
        return None
    return raw


def _blob(armoured: bytes) -> bytes:
    lines = armoured.strip().split(b"\n")
    if len(armoured) > MOST or len(lines) < 3 or lines[0].strip() != BEGIN or lines[-1].strip() != END:
        raise ValueError("no SSH signature")
    return base64.b64decode(b"".join(line.strip() for line in lines[1:-1]), validate=True)


def _fields(blob: bytes) -> Iterator[bytes]:
    if blob[:6] != MAGIC or struct.unpack(">I", blob[6:10]) != (1,):
        raise ValueError("no SSH signature of version 1")
    yield from _strings(blob[10:])


def _strings(blob: bytes) -> Iterator[bytes]:
    """The length-prefixed strings that make up ``blob`` and nothing else."""
    at = 0
    while at < len(blob):
        (length,) = struct.unpack(">I", blob[at : at + 4])
        if at + 4 + length > len(blob):
            raise ValueError("cut short")
        yield blob[at + 4 : at + 4 + length]
        at += 4 + length


def fingerprint(key: bytes) -> str:
    """``SHA256:...`` as ssh-keygen says it."""
    blob = b"".join(struct.pack(">I", len(one)) + one for one in (KIND, key))
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def read_signers(text: str, file: str) -> list[Signer]:
    """The lines of an allowed_signers file.

    Raises:
        OperatorError: bad_signers, with the first line that is wrong.
    """
    found: list[Signer] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            made = _signer(line.strip())
            if any(made.key == one.key for one in found):
                raise ValueError("this key stands here twice: one key is one person")
        except (ValueError, binascii.Error) as problem:
            raise OperatorError("bad_signers", f"{file}:{number}: {problem}") from problem
        found.append(made)
    return found


def _signer(line: str) -> Signer:
    principal, _, rest = line.partition(" ")
    login = principal.strip('"')
    if not re.fullmatch(r"[\w.@-]{1,60}", login):
        raise ValueError("a line names one login of the gate, without a wildcard")
    said: dict[str, str] = {}
    if not rest.lstrip().startswith("ssh-"):
        options, key = _split(rest.strip())
        while options:
            one = OPTION.match(options)
            if one is None or one[1].lower() not in ("namespaces", "valid-after", "valid-before") or one[2] is None:
                raise ValueError(f"the option {options[:40]!r} is not known here")
            said[one[1].lower()] = one[2]
            options = options[one.end() :]
        rest = key
    after, before = (_moment(said[one]) if one in said else None for one in ("valid-after", "valid-before"))
    namespaces = tuple(one for one in said.get("namespaces", "").split(",") if one)
    if "namespaces" in said and not namespaces:
        raise ValueError("namespaces names none")
    return Signer(login, _key(rest), namespaces, after, before)


def _split(rest: str) -> tuple[str, str]:
    """Options up to the first blank outside quotes, and what follows."""
    quoted = False
    for at, char in enumerate(rest):
        quoted ^= char == '"'
        if char in " \t" and not quoted:
            return rest[:at], rest[at + 1 :]
    raise ValueError("there is no key")


def _moment(said: str) -> datetime:
    """YYYYMMDD[HHMM[SS]][Z]; here it is UTC either way."""
    digits = said.removesuffix("Z")
    if not digits.isascii() or not digits.isdigit() or len(digits) not in MOMENTS:
        raise ValueError(f"{said!r} is no time such as 20270101Z")
    return datetime.strptime(digits, MOMENTS[len(digits)]).replace(tzinfo=UTC)


def _key(text: str) -> bytes:
    parts = text.split()
    if len(parts) < 2 or parts[0] != KIND.decode():
        raise ValueError("only ssh-ed25519 keys are known here")
    kind, *rest = _strings(base64.b64decode(parts[1], validate=True))
    if kind != KIND or len(rest) != 1 or len(rest[0]) != 32 or not crypto_core_ed25519_is_valid_point(rest[0]):
        raise ValueError("this is no key that can sign")
    return rest[0]


def read_revoked(text: str, file: str) -> frozenset[str]:
    """Fingerprints of revoked keys.

    Raises:
        OperatorError: bad_signers, with the first line that is wrong.
    """
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        said = line.strip()
        if not said or said.startswith("#"):
            continue
        if re.match(r"SHA256:[A-Za-z0-9+/]{43}(\s|$)", said):
            found.add(said.split()[0])
            continue
        try:
            found.add(fingerprint(_key(said)))
        except (ValueError, struct.error, binascii.Error) as problem:
            raise OperatorError("bad_signers", f"{file}:{number}: {problem}") from problem
    return frozenset(found)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise OperatorError("bad_signers", f"{file} cannot be read") from problem
