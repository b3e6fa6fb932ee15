"""What the agent keeps on disk, and how: temp + fsync + rename, each write before the act that it announces.

- The directory is 0700 and one agent's alone (a lock); the key is 0600.
- ``identity.json``: who I am and whom I trust. ``state.json``: seq, challenge, newest timestamp seen, the claim in
  hand with its step, what is installed, reports that the gate has not taken yet.
- ``down``: the boot that goes down as planned; a file of its own, since it is written in the middle of whatever the
  agent does.
- ``reserve``: room that is given up for a write where others have filled the disk; what cannot be counted would never
  go back.
- Whatever the power does, a file is the old one or the new one.
- On Windows the rights are those that the installation gives the directory; a folder cannot be synced there.
- A field that is not known here was written by a newer agent, which has gone back since: it is left out.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from gate.agent.errors import Misuse

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

MOST_WAITING = 500
DOWN = "down"
RESERVE = "reserve"
RESERVED = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT)
PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0) | getattr(os, "O_BINARY", 0)
"""A handle of this process alone, of bytes."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Identity:
    """Fixed at enrolment."""

    url: str
    gate: str
    machine: str
    fingerprint: str
    root_sha256: str


@dataclass(slots=True)
class ClaimInHand:
    """A granted claim. ``step``: granted, installing, installed, booted, rolling_back, recalling, or what resolved it.

    - ``boot_id``: the boot in which it was put in place (or, where more boots are asked for, that was counted last).
    - ``tried``: the boots that began with it since, each written down before anything could load it. ``tries``: so many
      of them may end other than as planned.
    - ``recalls``: the digest that is to go, where the machine was asked to go back to ``back_to`` (empty: to nothing).
    """

    claim: str
    source: str
    release: str
    counter: int
    version: str
    lease_until: str
    granted_at: str
    evidence: str
    reboot: str
    stay_up_s: int
    boots: int
    boot_id: str
    step: str = "granted"
    previous: str = ""
    installed_at: str = ""
    boots_good: int = 0
    last_good_boot: str = ""
    recalls: str = ""
    back_to: str = ""
    tries: int = 2
    tried: list[str] = field(default_factory=list)
    probes: list[str] = field(default_factory=list)
    awake_then_s: float = 0.0  # how long this boot had been awake as it was put in place
    boots_then: int = -1  # the machine's own counter of boots then; -1: it has none
    because: str = ""  # why it goes back
    attempts: int = 0  # so often it did not go back
    again_boot: str = ""  # the boot of the last attempt
    again_s: float = 0.0  # awake for so long in it, it is tried again
    starts: int = 0  # of the agent itself, where it is its own release (``itself``)
    heard: bool = False  # that release has had an answer of the gate's


@dataclass(slots=True)
class Installed:
    """What is in place for a source, and what was before it (hex digests)."""

    release: str
    counter: int
    previous: str = ""
    previous_counter: int = 0


@dataclass(slots=True)
class State:
    """All of ``state.json``."""

    seq: int = 0
    challenge: str | None = None
    newest_issued_at: str = ""
    boot_id: str = ""
    previous_boot_id: str = ""
    ring: str = ""
    make: str = ""
    status: str = ""
    claim: ClaimInHand | None = None
    going_back: list[ClaimInHand] = field(default_factory=list)  # what is bad here and did not go back yet
    installed: dict[str, Installed] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)
    reports: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, str]] = field(default_factory=list)
    said: str = ""  # the last sentence about why nothing happens
    etag: str = ""
    response_key: str = ""
    boots: list[dict[str, Any]] = field(default_factory=list)  # ``boots.Ended``, the present one last
    at_boot: dict[str, str] = field(default_factory=dict)  # source -> what was in place as this boot began
    panics: list[str] = field(default_factory=list)  # keys of the crashes' texts that were seen already
    settled_boot: str = ""  # the boot in which the log was asked how those before it ended
    said_down: str = ""  # the boot of which the gate has heard that it goes down as planned


def known(kind: type[T], found: Mapping[str, Any]) -> T:
    """One of these, of the fields that this agent knows.

    Raises:
        TypeError: one is missing.
    """
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in found.items() if name in names})


class StateFolder:
    """The agent's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def prepare(self, mode: int = 0o700) -> None:
        """Makes the directory, or checks it. ``mode``: the rights that it may have.

        Raises:
            Misuse: it is open to others, or belongs to another user.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._private(self.path, mode)

    def lock(self) -> None:
        """Keeps every other agent out until this process ends.

        Raises:
            Misuse: another agent uses it.
        """
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | PLAIN, 0o600)
        try:
            if sys.platform == "win32":
                msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            os.close(handle)
            raise Misuse(f"another agent uses {self.path}") from problem
        self._lock = handle

    def unlock(self) -> None:
        """Lets another agent in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def identity(self) -> Identity | None:
        """Who I am; None before enrolment."""
        found = self._read("identity.json")
        return None if found is None else known(Identity, found)

    def save_identity(self, identity: Identity) -> None:
        """Once, at enrolment."""
        self.write("identity.json", json.dumps(asdict(identity), indent=1).encode())

    def state(self) -> State:
        """The state as it was saved last.

        Raises:
            Misuse: it cannot be read; nothing is guessed.
        """
        found = self._read("state.json")
        if found is None:
            return State()
        try:
            if found and not found.keys() & {one.name for one in fields(State)}:
                raise TypeError("nothing in it is known")
            claim = found.pop("claim", None)
            installed = {name: known(Installed, one) for name, one in found.pop("installed", {}).items()}
            back = [known(ClaimInHand, one) for one in found.pop("going_back", [])]
            claim = known(ClaimInHand, claim) if claim else None
            return known(State, found | {"claim": claim, "going_back": back, "installed": installed})
        except (TypeError, AttributeError) as problem:
            raise Misuse(f"{self.path / 'state.json'} is not a state of this agent") from problem

    def save(self, state: State) -> None:
        """Durable when it returns."""
        del state.reports[:-MOST_WAITING]
        del state.events[:-MOST_WAITING]
        self.write("state.json", json.dumps(asdict(state), separators=(",", ":")).encode())

    def mark_down(self, boot_id: str) -> None:
        """This boot goes down as planned; durable when it returns."""
        self.write(DOWN, boot_id.encode())

    def marked_down(self) -> str:
        """The boot that said so; empty: none."""
        try:
            return (self.path / DOWN).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def unmark_down(self) -> None:
        """Taken back, durable when it returns."""
        (self.path / DOWN).unlink(missing_ok=True)
        self._sync()

    def key(self) -> bytes | None:
        """The machine's private key (32 raw bytes), None before enrolment.

        Raises:
            Misuse: others can read it.
        """
        path = self.path / "key"
        if not path.exists():
            return None
        self._private(path, 0o600)
        return path.read_bytes()

    def keep(self, path: Path, name: str) -> None:
        """A copy of this file, where there is one and the copy is not the same. A full disk may do without: the
        reserve is not for this."""
        kept = self.path / name
        with contextlib.suppress(OSError):
            if path.exists() and not (kept.exists() and kept.read_bytes() == path.read_bytes()):
                self._put(name, path.read_bytes())

    def write(self, name: str, content: bytes) -> None:
        """One file, old or new, never half."""
        try:
            self._put(name, content)
        except OSError as problem:
            if problem.errno not in FULL or not (self.path / RESERVE).exists():
                raise
            (self.path / RESERVE).unlink()
            self._sync()
            self._put(name, content)

    def reserve(self) -> None:
        """Keeps room, where there is some."""
        if not (self.path / RESERVE).exists():
            with contextlib.suppress(OSError):
                self._put(RESERVE, os.urandom(RESERVED))  # a file system may make nothing of zeros

    def _put(self, name: str, content: bytes) -> None:
        path = self.path / name
        temporary = self.path / f".{name}.new"
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | PLAIN, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)  # half of it would fill the disk
            raise
        temporary.replace(path)
        self._sync()

    def _sync(self) -> None:
        if sys.platform == "win32":
            return
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            found = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as problem:
            raise Misuse(f"{self.path / name} cannot be read: {problem}") from problem
        if not isinstance(found, dict):
            raise Misuse(f"{self.path / name} is not an object")
        return found

    @staticmethod
    def _private(path: Path, mode: int) -> None:
        if sys.platform == "win32":
            return
        found = path.lstat()
        if stat.S_IMODE(found.st_mode) & ~mode or stat.S_ISLNK(found.st_mode):
            raise Misuse(f"{path} is open to others: chmod {mode & 0o700:o} {path}")
        if hasattr(os, "geteuid") and found.st_uid != os.geteuid():
            raise Misuse(f"{path} belongs to another user")
