"""What hooks are given and what they answer: frozen values, and nothing that does anything.

- Sources: what a plugin is, what exists, what was fetched, how far it could be verified, what is wrong with it.
- Levers: which machines a release may reach now, what is served to them, how a recall is carried out.
- Agents: what to put in place, what became of it, what is in place.
- ``Io`` is the plugin's only way out: its network, its secrets and its clock are the gate's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

LEVERS = ("held", "advised", "no lever")
TRUSTS = ("unverified", "digest_pinned", "vendor_signed")
"""From the least to the most."""
WEIGHTS = ("note", "warning", "refuse")
NAME = r"[^/\x00-\x1f\x7f.][^/\x00-\x1f\x7f]{0,199}"
PATH = rf"(?:{NAME}/){{0,8}}{NAME}"
"""What a client may ask for: up to eight folders and a file, none of them hidden."""
RECALLS = ("serve_old", "republish", "agent_purge", "vendor_pin", "none")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a source. ``secret``: it comes in ``io.secrets`` and never in ``source.options``. ``choices``:
    the only values; empty: any text."""

    sentence: str
    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """One of several things that a vendor brings apart, such as ``daily`` and ``bytecode``. ``lever`` and ``why`` may
    differ from the plugin's own: a stream that cannot be held says so."""

    name: str
    kind: str
    lever: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a plugin is: its name, its honest lever (held, advised, no lever) and why, the kinds that it can bring, its
    options by name, and its streams where it has several."""

    name: str
    lever: str
    kinds: tuple[str, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    streams: tuple[Stream, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A configured source: its name in the policy, its options without the secret ones, the most bytes of one release,
    and the hosts that the policy lets it reach (``name`` or ``name:port``)."""

    name: str
    options: Mapping[str, str]
    max_bytes: int = 2 * 1024**3
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Announced:
    """One file that a candidate says it has; ``length`` in bytes, ``sha256`` 64 hex digits.

    A vendor that tells no digest before the download, or no exact length: ``sha256`` is empty, and ``length`` 0."""

    name: str
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a source says exists. ``where`` is the plugin's own pointer to it, such as a folder's name or an address,
    of 1,048,576 characters at most. Without artifacts: the vendor itself delivers, and the gate moves machines only."""

    version: str
    artifacts: tuple[Announced, ...]
    where: str


@dataclass(frozen=True, slots=True)
class Discovered:
    """Every candidate that is complete, oldest first; ``cursor`` comes back with the next call, of 4,000 characters at
    most (a longer one is no answer: ``io.state`` keeps more); ``skipped`` are
    sentences about what was there and could not be taken; ``withdrawn`` are versions that the vendor has taken back:
    their rollout halts at once, and one that is not here does not come in.

    ``unchanged``: the upstream says that nothing has changed since ``cursor``; then there are no candidates here, and
    what was known stays known."""

    candidates: tuple[Candidate, ...]
    cursor: str = ""
    skipped: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    unchanged: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that was brought into the spool, as it really is."""

    name: str
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Verification:
    """How far the bytes could be verified. ``trust``: vendor_signed, digest_pinned or unverified. Not ok is final."""

    trust: str
    ok: bool
    signer: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """The newest release of the source that the gate took, to compare with: ``files`` name -> bytes, read only."""

    version: str
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look into the content found. ``weight``: note, warning, or refuse (the candidate is not taken, and people
    are told); ``code`` is a stable word, ``detail`` one sentence."""

    weight: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Released:
    """A stored release: ``release`` is the hex digest of its manifest, ``files`` name -> bytes, read only."""

    release: str
    version: str
    artifacts: tuple[Announced, ...]
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Receiver:
    """A machine as a plugin may know it: its id, its name, and the facts that it reports (``hostname``, ``os`` ...)."""

    machine: str
    name: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Published:
    """Which machines now get the release, by id; ``detail`` says why the others do not yet."""

    machines: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Whether the spread has stopped. ``ok=False``: the source cannot, or its vendor is silent; people are told."""

    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RecallPlan:
    """How machines get from a bad release to a good one.

    ``how``: serve_old (clients take the older bytes that are served), republish (new metadata that points at the old
    content), agent_purge (our agent removes what is there, then the client fetches anew), vendor_pin (the vendor's
    console), none (by hand). ``steps``: sentences for people, in order. ``needs_agent``: a machine without our agent
    needs hands."""

    how: str
    steps: tuple[str, ...]
    needs_agent: bool


@dataclass(frozen=True, slots=True)
class ServedFile:
    """One path that a client may ask for, such as ``daily.cvd``, below its own address.

    Its bytes are either the release's artifact of that name, or the file ``made`` that the plugin wrote into ``into``:
    a plain file there. ``path`` fits ``PATH``, and is there once."""

    path: str
    artifact: str = ""
    made: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """All that a client sees of a release; any other path is answered as absent."""

    files: tuple[ServedFile, ...]


@dataclass(frozen=True, slots=True)
class Observed:
    """What a machine really runs: the version, as ``Candidate.version`` would say it; empty: not known."""

    version: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an upstream answered: ``status`` 200 or 304 (then without a body), or what ``send`` was asked to let pass;
    header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Status(OSError):
    """An upstream answered, and not with what was asked for."""

    def __init__(self, said: str, status: int) -> None:
        super().__init__(said)
        self.status = status


class Http(Protocol):
    """The network as the gate gives it: https, hosts of the policy, checked addresses, capped; whatever goes against
    that raises ``OSError``, as an upstream that does not answer does."""

    def get(self, url: str, *, most: int = 4 * 1024**2, headers: Mapping[str, str] | None = None) -> Answer:
        """A small document, at most ``most`` bytes; tried again where that can help. Any status but 200 and 304
        raises ``Status``."""

    def send(self, method: str, url: str, *, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """One call of a vendor's API, sent once; every status below 500 is an answer, redirects are not followed."""

    def download(self, url: str, to: Path, *, most: int, headers: Mapping[str, str] | None = None) -> Fetched:
        """A file, at most ``most`` bytes. What was cut off goes on where it stopped, also with the next look:
        where time runs out the call ends as *unfinished*, which is no failure."""


@dataclass(frozen=True, slots=True)
class Io:
    """The world, injected: so a plugin runs without network in a test, and every way out is the gate's.

    ``state`` is a folder of the source's own that outlives the call, such as for trusted metadata; it may be gone after
    a restore, and what must not be forgotten goes into the cursor."""

    http: Http
    secrets: Mapping[str, str]
    now: Callable[[], datetime]
    state: Path


@dataclass(frozen=True, slots=True)
class Target:
    """Where a machine keeps the content of a source, from the agent's own settings."""

    source: str
    folder: Path
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placing:
    """A verified release to put in place: ``release`` is the hex digest of its manifest, ``files`` name -> verified
    bytes on disk, with ``artifacts`` as the manifest lists them."""

    release: str
    version: str
    artifacts: tuple[Announced, ...]
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of it; ``release`` is what is in place now (hex digest, empty: nothing)."""

    ok: bool
    release: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe's answer."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probed:
    """What the machine really runs now, and whether it works. ``release`` is the hex digest of what is in place.

    A plugin for software that takes its content by itself knows no digests: ``version`` is what that says it runs."""

    release: str
    probes: tuple[ProbeResult, ...]
    version: str = ""
