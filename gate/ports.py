"""What the flows need of the world, in domain words. Adapters are the real form; fakes are held to them by tests.

- A ``Tx`` is one transaction: all of it or nothing. ``write()`` takes the write lock at its start.
- Every method that changes something under a condition answers whether its row count was one.
- Every act appends an event in the same transaction; the event is a leaf of the audit tree.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from gate.core.backtests import Backtest
from gate.core.boots import Boot
from gate.core.calendar import Interval
from gate.core.correlation import Pairs
from gate.core.evalues import Span
from gate.core.habits import Habit
from gate.core.lists import HoldList, MachineList, PersonList, RolloutList, SiteList
from gate.core.model import (
    Attribution,
    Budget,
    Claim,
    ClaimState,
    Hold,
    Machine,
    Release,
    RingState,
    Rollout,
    RolloutState,
    Site,
    SiteTime,
    Stratum,
)
from gate.core.mornings import Morning, Party, Point, SiteDay
from gate.core.policy import Policy
from gate.core.policy_values import Problem
from gate.core.recovery import KeyPlace
from gate.core.spans import Place, SpanRow, Sum
from gate.core.times import OpenDuration
from gate.hookspecs import (
    Baseline,
    Candidate,
    Discovered,
    Fetched,
    Finding,
    Held,
    Observed,
    Published,
    RecallPlan,
    Receiver,
    Released,
    Served,
    Source,
    SourceInfo,
    Verification,
)


@dataclass(frozen=True, slots=True)
class Event:
    """A stored fact: ``index`` is its leaf in the audit tree; ``subject`` the id that it is about."""

    index: int
    at: datetime
    kind: str
    actor: str
    subject: str
    detail: Mapping[str, Any]
    because: str = ""
    policy_version: str = ""


@dataclass(frozen=True, slots=True)
class Ladder:
    """What a rollout's picture shows: its release's version, its rings by position, what each make has shown."""

    version: str
    rings: Sequence[RingState]
    strata: Sequence[Stratum]


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """A decision as it was taken: ``facts`` replays it, ``reasons`` is a list of plain mappings."""

    id: int
    rollout: str
    ring: str
    at: datetime
    verdict: str  # OPEN | HOLD | HALT
    makes: tuple[str, ...]
    reasons: Sequence[Mapping[str, Any]]
    facts: Mapping[str, Any]
    policy_version: str


@dataclass(frozen=True, slots=True)
class Session:
    """What the write plane keeps of a machine: keys of calls, its last answer, its challenge."""

    machine: str
    seq: int
    challenge: str
    challenge_at: datetime | None
    last_call: str  # "<kind>:<sha256 of the payload bytes>"
    last_status: int
    last_answer: str
    boot_id: str
    timestamp_version: int
    installed: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class EnrolCode:
    """An enrolment code: only its sha256 is kept."""

    sha256: str
    site: str
    uses_left: int
    expires_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class User:
    """A person who may log in. Roles: reader, technician, approver, admin."""

    id: str
    name: str
    role: str
    password_hash: str
    disabled: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class WebSession:
    """A server-side login session; ``id`` is the sha256 of the cookie's token."""

    id: str
    user: str
    created_at: datetime
    seen_at: datetime
    stepped_up_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A person's token for the API for people; only its sha256 is kept."""

    id: str
    sha256: str
    user: str
    scope: str  # read | halt | approve | admin
    created_at: datetime
    created_by: str
    expires_at: datetime
    used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which events somebody wants to see; an empty word asks for nothing."""

    actor: str = ""
    kind: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None
    oldest: bool = False  # the oldest first


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something that needs two people: ``sha256`` binds the signatures to the exact text."""

    id: str
    kind: str  # resume | recall | waive | accept | policy
    subject: str
    because: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    sha256: str
    state: str  # open | enacted | expired | withdrawn
    signatures: tuple[str, ...] = ()


EVERY = 100_000
"""A limit for what must leave out nothing."""


@dataclass(frozen=True, slots=True)
class ActivePolicy:
    """The commit that rules, and who made it active."""

    commit: str
    activated_at: datetime
    activated_by: str
    problem: str = ""  # why the branch head is not active


@dataclass(frozen=True, slots=True)
class GrantLimits:
    """The numbers that a grant's conditional statements compare with."""

    per_site: int  # 0: half of the site's working machines of the role, at least one
    one_of_make: bool  # no other machine of its make and site may be in flight
    sole: bool  # the only one of its role at its site
    sole_after: int  # healthy machines of the make that a sole machine waits for
    heard_since: datetime  # who was not heard of since is no working machine of its role
    again: bool = False  # a recall: the machine is broken by the release and holds its site's slot and role's already


@dataclass(frozen=True, slots=True)
class Holder:
    """A site with machines that (may) have a recalled release, and how many of them are not heard of."""

    site: str
    name: str
    machines: int
    unheard: int
    last_seen_at: datetime | None  # the newest word of those that are not heard of


@dataclass(frozen=True, slots=True)
class OutOfReach:
    """A machine that has, or may have, a release and has not been heard of since long; as it stood at its claim."""

    rollout: str
    make: str
    ring: str
    state: ClaimState
    site: str
    site_name: str
    machine: str
    name: str
    facts: Mapping[str, str]
    last_seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class Joining:
    """A machine that joins an opened ring of a rollout. ``share``: it takes part; ``site``: it is the first of its make
    at its site; ``plural``: not the only one of its role there."""

    rollout: str
    ring: str
    make: str
    share: bool
    site: bool
    plural: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """What a claim of one ring and make is judged by; read in a fixed number of statements."""

    ring: RingState | None
    stratum: Stratum | None
    make: Budget | None
    fleet: Budget | None


@dataclass(frozen=True, slots=True)
class Controls:
    """Machines that a rollout is compared with: of one make, at one kind of site, last heard at about the same time."""

    hours: str
    land: str
    always_on: bool
    times: tuple[SiteTime, ...]
    make: str
    heard_at: datetime | None  # the step that their last word is in begins then; None: before the first one
    down: bool  # that word was: going down as planned
    machines: int


@dataclass(frozen=True, slots=True)
class Sight:
    """How well a rollout could be seen last: of how many machines without it how many were silent, and our last gap.

    ``unclear_since``: nothing is concluded since then; ``asked_at``: a person was asked.
    """

    looked_at: datetime | None = None
    controls: int = 0
    silent: int = 0
    unclear_since: datetime | None = None
    asked_at: datetime | None = None
    gap_end_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What the newest decision about a ring was."""

    verdict: str
    makes: tuple[str, ...]
    reasons: Sequence[Mapping[str, Any]]


BRAKED = "lever-brake:"
"""Begins the mark of a source whose lever a probe has found broken: 1 until a person has cleared it."""


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a decision about any ring of a rollout rests on, all of the same moment."""

    release: Release
    rings: list[RingState]  # in order of position
    strata: list[Stratum]
    budgets: Mapping[str, Budget]  # by make
    sight: Sight
    morning: Morning | None
    said: Mapping[str, Said]  # by ring
    approved_by: Mapping[str, tuple[str, ...]]  # by ring, the people who have approved it, by name
    overdue: Mapping[tuple[str, str], int]
    """(ring, make) -> granted claims of the cohort whose lease is over: those that may have died while applying."""
    lever_broken: bool = False


@dataclass(frozen=True, slots=True)
class Trials:
    """What the trials of a rollout have shown.

    ``spans``: those that are open, and those that have moved since they were folded; ``sums``: what was folded;
    ``boots``: boot number, 1 to 5 -> its trials and how many of them failed; what people have explained is in neither.
    """

    spans: list[SpanRow]
    sums: dict[Place, Sum]
    boots: dict[int, Span]


@dataclass(frozen=True, slots=True)
class Bad:
    """What a brake counts: claims of these rings in one of these states that resolved at or after ``since``; with
    ``crashed`` those that first told of a crash then, whenever they resolved."""

    rings: Sequence[str]
    kinds: Sequence[ClaimState]
    since: datetime
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class Quiet:
    """A claim in flight whose machine is not heard, with that machine, its site, and the site's last word."""

    claim: Claim
    machine: Machine
    site: Site | None
    word: tuple[int, datetime | None]


@dataclass(frozen=True, slots=True)
class Catalogued:
    """A release as the intake side vouches for it; ``manifest`` are its exact bytes."""

    manifest: bytes
    first_seen_at: str
    vendor_signature: str  # good | none | bad
    counter: int

    @property
    def hex(self) -> str:
        """Its digest."""
        return sha256(self.manifest).hexdigest()


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that the read plane should say now. ``rings`` maps ring -> source -> the approval's custom."""

    bundle: Mapping[str, Any]
    catalog: Mapping[str, Sequence[Catalogued]]
    rings: Mapping[str, Mapping[str, Mapping[str, Any]]]
    audit_size: int = 0
    audit_root: str = ""


@dataclass(frozen=True, slots=True)
class Laid:
    """A file as a stock client sees it: its path, and the bytes of that digest, or ``made`` for this client."""

    path: str
    sha256: str
    made: Path | None = None


@dataclass(frozen=True, slots=True)
class MirrorToken:
    """What a stock client says to be let in; only its sha256 is kept. ``holder``: the machine, or ``ring-`` and the
    ring, whose pointer it reads."""

    id: str
    source: str
    holder: str
    sha256: str
    created_at: datetime
    created_by: str
    used_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a holder is served of a source. ``machine`` or ``ring``, the other is empty; ``release`` with its prefix,
    empty: nothing yet; ``before``: what it was until ``moved_at``; ``ask_at``: when the worker asks again for it."""

    source: str
    holder: str
    machine: str
    ring: str
    release: str
    before: str
    moved_at: datetime
    ask_at: datetime


@dataclass(frozen=True, slots=True)
class VendorHold:
    """What is held at a source's vendor in a ring. ``halt``: which halt asks for it; ``ok``: the vendor has stopped;
    ``tries`` so far for this halt, the next one not before ``try_at``; ``since``: the first of them."""

    source: str
    ring: str
    halt: str
    ok: bool
    tries: int
    try_at: datetime
    since: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class VendorMove:
    """What a source's vendor has last been told of a machine, and has done: ``release`` (with its prefix, empty:
    nothing yet) in ``ring``. ``tries`` since something else is wanted, the next one not before ``try_at``."""

    source: str
    machine: str
    ring: str
    release: str
    tries: int
    try_at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MoveDue:
    """A machine whose vendor is to be told something: ``release`` empty: to let it go."""

    machine: Machine
    release: str
    before: VendorMove | None


@dataclass(frozen=True, slots=True)
class LeverTrouble:
    """What cannot be done at a source's vendor now. ``machines``: how many wait for it; 0: it is a hold."""

    source: str
    ring: str
    detail: str
    machines: int


@dataclass(frozen=True, slots=True)
class Observation:
    """What a machine really runs of a source, and whether it may (``core.bypass``). ``release`` empty: the gate does
    not know that version; ``at``: since when it is known so."""

    source: str
    machine: str
    release: str
    version: str
    standing: str
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """When something was last at work, and how far it has come."""

    at: datetime | None
    number: int


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf of the audit tree: an event's bytes."""

    index: int
    text: bytes


Stand = tuple[str, str, bool, str, str, tuple[str | None, ...], frozenset[str]]
"""A machine as a walk over the fleet sees it: (id, site, active, ring, make, the facts that were asked for, its labels
with those of its site)."""


class Shelf(Protocol):
    """Where rows go that leave the database."""

    def put(self, kind: str, lines: Sequence[bytes], now: datetime) -> None:
        """Adds lines, durably; a line may be there twice after a crash."""


SPARE = 256 * 1024**2
"""Bytes that no source's content takes of the disks that it comes to."""


class Publisher(Protocol):
    """The read plane."""

    @property
    def root_sha256(self) -> str: ...
    def timestamp_version(self) -> int: ...
    def put_blob(self, file: Path, digest: str) -> None:
        """Stores an artifact's bytes at their digest; idempotent."""

    def blob(self, digest: str) -> Path:
        """Where an artifact's bytes lie; to be read only."""

    def room(self) -> int:
        """Bytes that are free where artifacts are stored."""

    def taken(self, source: str, unpublished: Mapping[str, int]) -> int:
        """Bytes of what lies there of a source's releases, each file once; ``unpublished``: digest -> length of files
        that may not have been published yet. A walk."""

    def tidy(self, now: datetime) -> int:
        """Removes manifests and artifacts that nothing published names and that are a day old; returns how many."""

    def reconcile(self, read: Callable[[], Wanted | None], now: datetime) -> int | None:
        """Makes the published state what ``read`` says under the publisher's lock (None: nothing yet); returns the
        timestamp's version."""


class Mirror(Protocol):
    """The folder that stock clients are served from."""

    def admit(self, source: str, token: str, holder: str) -> None:
        """From now on this token reads what its holder may have."""

    def shut_out(self, source: str, sha256: str) -> bool:
        """A token is worth nothing any more; False where it is not here."""

    def admitted(self) -> Collection[tuple[str, str]]:
        """(source, sha256) of each token that is let in, but for those that are lent."""

    def holders(self) -> Collection[tuple[str, str]]:
        """(source, holder) of each that is served something."""

    def used(self, source: str) -> Mapping[str, datetime]:
        """sha256 of a token -> when it was last used; those that were."""

    def begins(self, source: str) -> Mapping[str, str]:
        """sha256 of a token -> its first six characters, as the log of a file server in front may say them."""

    def stands(self, source: str, holder: str) -> str:
        """The release (hex) that a holder is served; empty: none."""

    def point(self, source: str, holder: str, release: str, files: Sequence[Laid], now: datetime) -> bool:
        """Serves a holder this release (hex; empty: nothing) from now on; False where it is so already. Raises
        OperatorError where it cannot; the pointer stays where it is then."""

    def lend(self, source: str, holder: str) -> str:
        """A token for a probe: it reads what this holder is served until it is shut out, an hour at most."""

    def paths(self, source: str, release: str) -> tuple[str, ...]:
        """What a client of a release (hex) may ask for, as it is laid out now; none: it is not."""

    def taken(self, source: str) -> int:
        """Bytes of what is laid out of a source, each view for itself; a walk."""

    def tidy(self) -> int:
        """Removes what nobody is served any more; returns how many releases' views."""


class Line(Protocol):
    """The line of a stock client to this gate, over real HTTP; it raises SourceError where nobody answers."""

    def fetch(self, path: str, most: int) -> tuple[int, str]:
        """(status, sha256 of the body); a body longer than ``most`` bytes is read no further."""

    def read(self, path: str) -> bytes:
        """A document of the read plane."""


class Sources(Protocol):
    """Source plugins; every method raises SourceError, and nothing else, when the plugin fails."""

    def discover(self, plugin: str, source: Source, cursor: str) -> Discovered: ...
    def fetch(self, plugin: str, source: Source, candidate: Candidate) -> tuple[Path, tuple[Fetched, ...]]: ...
    def verify(
        self, plugin: str, source: Source, candidate: Candidate, fetched: Sequence[Fetched], into: Path
    ) -> Verification: ...
    def serve(
        self, plugin: str, source: Source, ring: str, release: Released, at: datetime
    ) -> tuple[Path, Served | None]:
        """What a client sees of a release, and the folder with the files that were made for it; None: each artifact
        under its own name."""

    def lint(
        self,
        plugin: str,
        source: Source,
        candidate: Candidate,
        fetched: Sequence[Fetched],
        into: Path,
        baseline: Baseline | None,
    ) -> tuple[Finding, ...]: ...
    def order(self, plugin: str, source: Source, pairs: Sequence[tuple[str, str]]) -> list[int] | None:
        """-1, 0 or 1 for each pair of versions; None: the plugin knows no order."""

    def clean(self, source: str) -> None: ...
    def taken(self, source: str) -> int:
        """Bytes of what a source keeps between calls, downloads on their way among it; a walk."""

    def tidy(self) -> None:
        """Removes what processes that have ended left behind, and downloads that nobody goes on with."""

    def hooks(self, plugin: str) -> tuple[str, ...]:
        """Those of the gate's side that a plugin has."""

    def publish(
        self, plugin: str, source: Source, ring: str, release: Released | None, machines: Sequence[Receiver]
    ) -> Published: ...
    def hold(self, plugin: str, source: Source, ring: str, reason: str) -> Held: ...
    def recall_plan(self, plugin: str, source: Source, ring: str, bad: str, good: str) -> RecallPlan: ...
    def observed(
        self, plugin: str, source: Source, reports: Sequence[tuple[Receiver, str]]
    ) -> list[Observed | None] | None:
        """What each machine really runs, in one call; None: the plugin has no such hook."""

    def describe(self, plugin: str) -> SourceInfo: ...


class Tx(Protocol):
    """One transaction."""

    # sites and machines
    def site(self, site_id: str) -> Site | None: ...
    def sites(self, after: str = "", limit: int = 100) -> list[Site]: ...
    def save_site(self, site: Site) -> None:
        """Insert or replace; keeps its counters and times."""

    def save_times(self, site_id: str, times: Sequence[SiteTime], before: Sequence[SiteTime]) -> bool:
        """A site's duty and closing days, where they still are ``before``."""

    def last_word(self, site_id: str) -> tuple[int, datetime | None]:
        """How many active machines of a site have ever been heard, and when the last of them was."""

    def machine(self, machine_id: str) -> Machine | None: ...
    def machine_by_key(self, keyid: str) -> Machine | None:
        """The active or pending machine whose key has this keyid (hex sha256 of the raw 32 bytes)."""

    def machines(
        self, *, after: str = "", limit: int = 100, site: str = "", ring: str = "", make: str = "", status: str = ""
    ) -> list[Machine]:
        """By id, paged by key; empty strings do not filter."""

    def add_machine(self, machine: Machine, keyid: str) -> None: ...
    def accept_machine(self, machine: Machine, at: datetime) -> bool:
        """Pending -> active with site, facts (role), labels, ring, make as given; its site's role row counts more."""

    def revoke_machine(self, machine_id: str, at: datetime) -> bool:
        """Active or pending -> revoked; its role row counts one less. Frees no slot."""

    def save_facts(self, machine: Machine, facts: Mapping[str, str], make: str) -> bool:
        """What a machine says, and the make that follows, where ring and make still are what was read."""

    def memberships(self, rows: Iterable[tuple[str, str, str]]) -> None:
        """(machine, ring, make) for many machines, when a policy becomes active."""

    def move_members(self, rows: Sequence[tuple[str, str, str]], fleet_version: int) -> None:
        """The same, where no membership has changed since that version.

        Raises:
            Overtaken: one has.
        """

    def fleet(self) -> Iterable[tuple[Machine, frozenset[str]]]:
        """Every machine by its id, with the labels of its site; without its times, key and habit."""

    def stands(self, facts: Sequence[str]) -> Iterable[Stand]:
        """Where every machine stands, in no order: for whoever walks the fleet and needs these facts only."""

    def members(self, heard_since: datetime) -> Iterable[tuple[str, str, str, str, bool]]:
        """(machine, ring, make, site, plural) of every active machine; plural: its site has another of its role that
        was heard of (or accepted) since."""

    def ring_makes(self, ring: str) -> dict[str, int]:
        """make -> active machines of it in this ring."""

    def fleet_makes(self) -> dict[str, dict[str, int]]:
        """ring -> make -> active machines, of every ring and of none; from indexes, no machine is read but those that
        are not active."""

    def fleet_version(self) -> int:
        """Rises whenever a membership may have changed: what was computed from ``members`` holds until then."""

    def is_sole(self, machine: Machine, heard_since: datetime) -> bool:
        """No other machine of its role at its site was heard of (or accepted) since."""

    # write plane
    def session(self, machine_id: str) -> Session | None: ...
    def save_session(self, session: Session, before_seq: int) -> bool:
        """Saved only where the stored seq still is ``before_seq`` (-1: insert)."""

    def seen(self, machine_id: str, at: datetime, *, down: bool = False) -> None:
        """Heard at ``at``; ``down``: it said that it goes down as planned, which holds until its next word."""

    def learn(self, machine_id: str, habit: Habit) -> None:
        """What is known of when it is usually on; forgotten when its site's hours change."""

    def add_code(self, code: EnrolCode) -> None: ...
    def use_code(self, sha256: str, now: datetime) -> EnrolCode | None:
        """One use less, where there is one and it has not expired; else None."""

    def add_nonce(self, nonce: str, expires_at: datetime) -> None: ...
    def use_nonce(self, nonce: str, now: datetime) -> bool: ...
    def enrolment(self, payload_sha256: str) -> tuple[int, str] | None:
        """The stored answer of an enrolment with the same payload bytes."""

    def save_enrolment(self, payload_sha256: str, status: int, answer: str, at: datetime) -> None: ...

    # releases and rollouts
    def add_release(self, release: Release, manifest: bytes) -> bool:
        """False where source and version exist already."""

    def release(self, release_id: str) -> Release | None: ...
    def releases(self, source: str, limit: int) -> list[Release]:
        """Newest first."""

    def release_by_version(self, source: str, version: str) -> Release | None: ...
    def releases_by_version(self, source: str, versions: Sequence[str]) -> Mapping[str, Release]:
        """Those of these versions that are known, in a statement for each few hundred."""

    def manifest(self, release_id: str) -> bytes | None: ...
    def next_counter(self, source: str) -> int: ...
    def cursor(self, source: str) -> str: ...
    def save_cursor(self, source: str, cursor: str) -> None: ...
    def add_rollout(self, rollout: Rollout, rings: Sequence[RingState], budgets: Sequence[Budget]) -> None: ...
    def begin_rollout(self, rollout: Rollout, rings: Sequence[RingState], budgets: Sequence[Budget]) -> bool:
        """``save_rollout`` for one that has waited and has no claim yet, with these rings and budgets for those that
        it came with."""

    def rollout(self, rollout_id: str) -> Rollout | None: ...
    def rollouts(
        self, states: Sequence[RolloutState] = (), source: str = "", limit: int = 200, *, opened: bool = False
    ) -> list[Rollout]:
        """Newest first; ``opened``: only those that have opened a ring."""

    def exposed(self) -> list[tuple[Rollout, datetime | None]]:
        """What is done and machines have taken, and of what is superseded that under which machines are in flight or
        have failed: nothing else could halt it. Oldest first, each with when a machine has resolved last; none: some
        are in flight."""

    def save_rollout(self, rollout: Rollout) -> bool:
        """Saved where the stored version is ``rollout.version - 1``."""

    def rings(self, rollout_id: str) -> list[RingState]:
        """In order of position."""

    def strata(self, rollout_id: str) -> list[Stratum]: ...
    def ladders(self, rollouts: Sequence[Rollout]) -> Mapping[str, Ladder]:
        """Version, rings and makes of many rollouts by id, in three statements."""

    def standing(self, rollout_id: str, ring: str, make: str) -> Standing: ...
    def rollout_of(self, release_id: str) -> Rollout | None:
        """The newest rollout of a release."""

    def done_before(self, rollout_id: str, limit: int = 20) -> list[Rollout]:
        """Older rollouts of its source that were done and not halted since, newest first."""

    def budgets(self, rollout_id: str) -> list[Budget]: ...
    def open_ring(self, ring: RingState, strata: Sequence[Stratum], *, first_batch: int) -> None:
        """Sets ``opened_at``, members and cap of the ring; inserts or opens its strata."""

    def ring_ready(self, rollout_id: str, ring: str, at: datetime) -> bool:
        """The gate itself would open it; False where that has been noted before."""

    def void_waivers(self, rollout_id: str) -> list[str]:
        """Puts the gates back that are set aside and not yet open for all of their makes; those rings."""

    def waive_ring(self, rollout_id: str, ring: str, at: datetime) -> bool:
        """Two people have set its gate aside; False where they have before, or it is open for all of its makes."""

    def save_strata_times(self, strata: Sequence[Stratum]) -> None:
        """``met_at`` and ``soak_until`` only; one statement."""

    def in_flight_before(self, rollout_id: str) -> dict[str, int]:
        """make (and ``*``) -> machines in flight under the source's superseded, halted and recalled rollouts."""

    def set_limits(self, budgets: Sequence[Budget]) -> None:
        """Limit, stopped and the two of the extension, as given; the counters stay."""

    def past_trials(self, limit: int) -> Span:
        """The boots of the newest ``limit`` rollouts that ended without ever being halted, failures that people have
        explained among them."""

    # what a decision rests on; each is one statement
    def grounds(self, rollout_id: str, now: datetime) -> Grounds: ...
    def trials(self, rollout_id: str) -> Trials: ...
    def count_bad(self, rollout_id: str, wanted: Sequence[Bad]) -> list[int]:
        """A number for each of them, counted up to a thousand; answered from an index."""

    def sites_hit(self, rollout_id: str, rings: Sequence[str]) -> tuple[int, int]:
        """Different sites of failures that nobody has explained, answered from an index by the rollout's rings; and
        sites with an exposed machine, counted up to two."""

    def healthy_sites(
        self, rollout_id: str, rings: Sequence[str], makes: Mapping[str, int]
    ) -> dict[str, dict[str, int]]:
        """make -> site -> its healthy machines; of each make at most so many sites as ``makes`` says, the oldest."""

    def sites_of(self, ids: Sequence[str]) -> dict[str, Site]:
        """By their ids."""

    def opened_in(self, rollouts: Sequence[str]) -> Mapping[str, frozenset[str]]:
        """ring -> the makes that any of these rollouts is open for, but for those that have stopped in one of them, or
        are extended there."""

    # holds by selector
    def add_hold(self, hold: Hold) -> None: ...
    def hold(self, hold_id: str) -> Hold | None: ...
    def holds(self, now: datetime) -> list[Hold]:
        """Those that hold now: not lifted, and their end has not come."""

    def lift_hold(self, hold_id: str, at: datetime) -> bool:
        """Once."""

    # claims
    def claim(self, claim_id: str) -> Claim | None: ...
    def site_outcomes(self, rollout_id: str) -> list[tuple[int, int]]:
        """(machines, failures among them) of each site, of the claims that are resolved."""

    def uncorrelated(self, done_before: datetime, limit: int) -> list[str]:
        """Rollouts that ended well, and before then where they are done, and whose sites have not been compared."""

    def correlate(self, rollout_id: str, shown: Pairs, at: datetime) -> bool:
        """Keeps what its sites have shown; False where it is kept already."""

    def correlations(self, limit: int) -> list[Pairs]:
        """What sites have shown, the newest rollout first."""

    def boot_counts(self) -> dict[str, int]:
        """make -> healthy boots whose length is known."""

    def claim_of(self, machine_id: str, rollout_id: str) -> Claim | None:
        """The machine's newest claim under this rollout."""

    def claim_in_hand(self, machine_id: str, claim_id: str) -> Claim | None:
        """``claim``, for one that this machine probably has in hand."""

    def claims_of(self, machine_id: str, rollout_id: str) -> list[Claim]:
        """All claims of a machine under this rollout, newest first."""

    def rollouts_of(self, machine_id: str) -> list[Rollout]:
        """All rollouts under which a machine has a claim, newest first."""

    def holders(self, rollout_id: str, seen_before: datetime, limit: int = 500) -> list[Holder]:
        """Sites whose machines have the release of this rollout, or may have it, and have not gone back; those with
        machines that were last seen before ``seen_before`` first."""

    def count_holders(self, rollout_id: str, seen_before: datetime) -> dict[str, tuple[int, int]]:
        """ring -> (those machines, those of them that were last seen before ``seen_before``)."""

    def live_claim(self, machine_id: str) -> Claim | None:
        """The claim that the machine has in hand, of any source."""

    def claims(self, rollout_id: str, *, states: Sequence[ClaimState] = (), limit: int = 500) -> list[Claim]: ...
    def failures(
        self, rollout_id: str, limit: int, after: tuple[Claim, bool] | None = None
    ) -> list[tuple[Claim, bool]]:
        """Failed claims to install, each with whether somebody has explained it: those that nobody has first, then the
        newest; after one of them."""

    def grant(self, claim: Claim, limits: GrantLimits) -> str | None:
        """The conditional updates, in this order: rollout (running, ring reached), ring (cap), stratum (open), make
        and fleet budget (limit, not stopped), site (per_site), site's role (last working one), machine (no other
        claim in hand). None when all counted one; else a refusal kind of the protocol, and nothing has changed
        (savepoint): halted | ring_not_open | cap_reached | make_unproven | unexplained_failure | budget_reached |
        site_limit | last_of_role | other_in_flight."""

    def would_refuse(self, claim: Claim, limits: GrantLimits) -> str | None:
        """What ``grant`` would answer to a claim that installs, as it stands; reads only, and promises nothing."""

    def move(self, before: Claim, after: Claim) -> bool:
        """Saves the claim where its version is the one read, and moves every counter that the step touches
        (stratum, budget, ring, site, role, machine) in the same transaction."""

    def due_claims(self, now: datetime, limit: int = 500) -> list[Claim]:
        """In flight with ``deadline_at`` <= now, oldest first."""

    def watched(self, now: datetime, limit: int = 500) -> list[Claim]:
        """With ``watch_at`` <= now, oldest first."""

    def watched_of(self, machine_id: str, now: datetime) -> list[Claim]:
        """Claims of a machine that are healthy and watched at ``now``, by their ids; answered from an index."""

    def relapsed_of(self, machine_id: str, now: datetime) -> list[Claim]:
        """Claims of a machine that have relapsed, have told of no crash, and would be watched at ``now``, by their ids;
        answered from an index."""

    def count_watched(self, rollout_id: str) -> int:
        """Machines that were healthy and are still looked at."""

    def dark_sites(self, rollout_id: str = "") -> list[str]:
        """Sites with a claim in flight that stands because the whole site is dark, 200 at most; of one rollout or all.
        Known from the claims whose deadline has come, not by looking at every site."""

    def lost_at_site(self, rollout_id: str, site: str, since: datetime) -> bool:
        """Whether a claim of this site has become silent or relapsed after ``since`` and was not heard of again."""

    def quiet_since(
        self, rollout_id: str, rings: Sequence[str], seen_before: datetime, limit: int, after: Quiet | None = None
    ) -> list[Quiet]:
        """Claims in flight of these rings granted before ``seen_before`` whose machine was last seen before it, those
        first that were seen longest ago; from ``after`` on."""

    def explain(self, claim_id: str) -> bool:
        """Takes a failed claim out of k (once)."""

    # machines that a rollout is compared with
    def controls(self, rollout_id: str, since: datetime, step: timedelta) -> list[Controls]:
        """Active machines of every make, accepted before ``since`` and heard at some time, without a claim in hand, at
        sites without a machine that has taken the release; in steps of when they were last heard. One statement."""

    def spans(self, rollout_id: str) -> list[SpanRow]:
        """Those that are open, and those that have moved since they were folded."""

    def look_due(self, rollout_id: str, before: datetime) -> bool:
        """Whether an open span has failures that its controls were not looked at for, or only before then."""

    def looked(self, rollout_id: str, row: SpanRow) -> None:
        """Keeps a span's controls."""

    def fold(self, rollout_id: str, rows: Sequence[SpanRow], more: Mapping[Place, Sum]) -> None:
        """Closes spans as they were read and adds ``more`` to the sums; Overtaken where another has folded one."""

    def drop_span(self, rollout_id: str, hour: datetime, make: str) -> None:
        """A span of which no controls are known: the background judges its trials."""

    def sight(self, rollout_id: str) -> Sight: ...
    def save_sight(self, rollout_id: str, sight: Sight) -> None:
        """All but the gap."""

    def leave(self, before: Claim, after: Claim) -> bool:
        """As ``move``, for a claim whose machine is gone: what was explained about it leaves with it."""

    def leave_ring(
        self, rollout_id: str, ring: str, make: str, *, share: bool, site: bool, plural: bool = False
    ) -> bool:
        """One member less of an opened ring and make, where there is one; ``share``: it took part; ``site``: it was the
        last of them at its site; ``plural``: not the only one of its role there."""

    def add_make(self, rollout_id: str, ring: str, make: str, *, first_batch: int, opened: bool) -> None:
        """A make that an open ring does not know: nobody is waited for, and it has a budget; nothing where it does."""

    def join_ring(self, joining: Joining, *, first_batch: int, opened: bool) -> None:
        """A machine more in an opened ring; a make that the ring did not have begins there, ``opened`` or not, with a
        budget of its first batch."""

    def attribute(self, said: Attribution) -> None: ...
    def attributions(self, rollout_id: str) -> list[Attribution]:
        """Oldest first."""

    # decisions, events, policy
    def add_decision(self, decision: StoredDecision) -> int:
        """Appends; returns its id (the given id is ignored)."""

    def last_decision(self, rollout_id: str, ring: str) -> StoredDecision | None: ...
    def decisions(self, rollout_id: str, limit: int = 50) -> list[StoredDecision]: ...
    def decisions_after(self, after: int, limit: int) -> list[StoredDecision]:
        """Of every rollout, those with a higher number, by number."""

    def append(
        self,
        kind: str,
        actor: str,
        subject: str,
        at: datetime,
        detail: Mapping[str, Any] | None = None,
        because: str = "",
        policy_version: str = "",
    ) -> None:
        """An event and its leaf. The act fails when this fails."""

    def afterwards(self, key: Hashable, touches: str, act: Callable[[], None]) -> None:
        """Runs ``act`` once for all calls with this key: before anything reads the table that it ``touches``, at the
        latest before the commit."""

    def events(self, *, subject: str = "", before: int | None = None, limit: int = 100) -> list[Event]:
        """Newest first."""

    def asked_events(self, asked: Asked, last: int | None = None, limit: int = 100) -> list[Event]:
        """Those that somebody asks for, newest first where nothing else is asked, behind the ``last`` that was shown;
        by indexes, never by counting. Times cut where the log has passed them: clocks of several gates that differ by
        seconds may put an entry on the other side."""

    def event(self, index: int) -> Event | None: ...
    def event_after(self, kind: str, index: int) -> Event | None:
        """The next one of a kind, by an index."""

    def first_event_at(self) -> datetime | None:
        """Of the oldest entry that is still here, where older ones have left; None: none has."""

    def decision_before(self, rollout_id: str, ring: str, at: datetime) -> StoredDecision | None:
        """The last one that was taken by then."""

    def audit_leaves(self, start: int, limit: int) -> list[bytes]:
        """Leaf bytes from ``start`` on, in order."""

    def audit_size(self) -> int:
        """How many leaves the tree has: it grows with every event."""

    def newest_decision(self) -> tuple[int, datetime] | None:
        """Its number and when it was taken."""

    def audit_head(self) -> tuple[int, bytes]:
        """Size and root hash of the tree."""

    def active_policy(self) -> ActivePolicy | None: ...
    def activate_policy(self, row: ActivePolicy, before: str) -> bool:
        """Active only where the commit that rules still is ``before`` (empty: none rules yet)."""

    def keep_policy_text(self, commit: str, text: str) -> None:
        """The text of a version that rules or has ruled; once."""

    def policy_text(self, commit: str) -> str | None:
        """The kept text; None: it has never ruled."""

    def frozen_policies(self) -> list[str]:
        """The versions that rollouts began with."""

    def policy_problem(self, problem: str) -> None: ...

    # people
    def user(self, user_id: str) -> User | None: ...
    def users(self) -> list[User]: ...
    def users_in_turn(self) -> list[User]:
        """As ``users``; who else asks waits until this transaction has ended."""

    def save_user(self, user: User) -> None: ...
    def add_web_session(self, session: WebSession) -> None: ...
    def web_session(self, session_id: str) -> WebSession | None: ...
    def touch_web_session(self, session_id: str, at: datetime) -> None: ...
    def drop_web_sessions(self, *, session_id: str = "", user: str = "") -> None: ...
    def step_up(self, session_id: str, at: datetime) -> None:
        """The person behind this session has been confirmed anew."""

    def add_token(self, token: AccessToken) -> None: ...
    def token(self, sha256: str) -> AccessToken | None: ...
    def tokens(self) -> list[AccessToken]:
        """Newest first."""

    def use_token(self, token_id: str, at: datetime) -> None: ...
    def revoke_token(self, token_id: str, at: datetime) -> bool:
        """False where there is none, or it is revoked already."""

    def identity(self, issuer: str, subject: str) -> str | None:
        """The person who this is at that provider."""

    def identities(self, user: str) -> list[tuple[str, str]]:
        """(issuer, subject) of a person."""

    def add_identity(self, issuer: str, subject: str, user: str, at: datetime) -> None: ...
    def add_one_time_link(self, sha256: str, user: str, expires_at: datetime) -> None: ...
    def one_time_link(self, sha256: str, now: datetime) -> str | None:
        """The user it is for; None where it is used, expired or unknown."""

    def use_one_time_link(self, sha256: str, now: datetime) -> str | None:
        """The user it is for, once."""

    def add_proposal(self, proposal: Proposal) -> None: ...
    def proposal(self, proposal_id: str) -> Proposal | None: ...
    def proposals(self, state: str = "open", subject: str = "", now: datetime | None = None) -> list[Proposal]:
        """Newest first; with ``now`` those that have not expired by then."""

    def sign_proposal(self, proposal_id: str, user: str, sha256: str, now: datetime) -> bool:
        """A signature of one person, once, while open and unexpired and of the same hash."""

    def withdraw_proposal(self, proposal_id: str) -> bool:
        """False where it is not open."""

    def enact_proposal(self, proposal_id: str, now: datetime) -> bool:
        """open -> enacted, once."""

    # the vendor mirror
    def add_mirror_token(self, token: MirrorToken, pointer: Pointer) -> None:
        """The token, and its holder's pointer where there is none yet."""

    def mirror_tokens(self, source: str = "", holder: str = "") -> list[MirrorToken]:
        """Newest first."""

    def mirror_tokens_left(self) -> list[MirrorToken]:
        """Not revoked, of machines that are."""

    def revoke_mirror_token(self, token_id: str, at: datetime) -> bool:
        """Once. The pointer of a holder without another token goes with it."""

    def mirror_used(self, token_id: str, at: datetime) -> bool:
        """Keeps when it was last used; False where that is known."""

    def pointer(self, source: str, holder: str) -> Pointer | None: ...
    def pointers(self, source: str = "") -> list[Pointer]:
        """By source and holder."""

    def pointed(self) -> Mapping[str, Collection[str]]:
        """source -> the releases that its pointers lead to, or led to before."""

    def pointers_due(self, now: datetime, limit: int = 100) -> list[Pointer]:
        """With ``ask_at`` <= now, oldest first."""

    def wake_pointers(self, source: str, now: datetime) -> int:
        """Something of this source has changed: all are asked for at once."""

    def ask_pointer_at(self, pointer: Pointer, at: datetime) -> bool:
        """When to ask again; where it still serves what was read."""

    def move_pointer(self, pointer: Pointer, release: str, at: datetime) -> bool:
        """It serves ``release`` from now on, where it still serves what was read; asked again at once."""

    def add_pointer(self, pointer: Pointer) -> bool:
        """Where there is none of this source and holder yet."""

    # what is told to vendors, and what machines really run
    def vendor_hold(self, source: str, ring: str) -> VendorHold | None: ...
    def save_vendor_hold(self, after: VendorHold, before: VendorHold | None) -> bool:
        """Where it still is ``before``."""

    def moves_due(self, source: str, now: datetime, limit: int = 100) -> list[MoveDue]:
        """Machines with a pointer of this source whose vendor was last told something else than it says, or of another
        ring; and those that are revoked and were not let go. By ring and release."""

    def save_vendor_move(self, after: VendorMove, before: VendorMove | None) -> bool:
        """Where it still is ``before``."""

    def lever_troubles(self) -> list[LeverTrouble]:
        """By source and ring."""

    def observation(self, source: str, machine: str) -> Observation | None: ...
    def save_observation(self, after: Observation, before: Observation | None) -> bool:
        """Where it still is ``before``."""

    def observations(
        self, standing: str = "", source: str = "", machine: str = "", limit: int = 100
    ) -> list[Observation]:
        """Of active machines, newest first; empty words ask for nothing."""

    def heard_since(self, since: datetime, after: str, limit: int) -> list[tuple[Machine, Mapping[str, str]]]:
        """Active machines that were heard of at ``since`` or later, with what their agents say is installed; by id."""

    # back-tests that pages have begun
    def begin_backtest(self, one: Backtest) -> bool:
        """Where none runs: one at a time in an installation."""

    def beat_backtest(self, test_id: str, done: float, now: datetime) -> bool:
        """How far it is; False where it runs no more."""

    def end_backtest(self, ended: Backtest, beat_at: datetime | None = None) -> bool:
        """Where it still runs, and was last heard of at ``beat_at``, if that is given."""

    def backtest(self, test_id: str) -> Backtest | None: ...
    def running_backtest(self) -> Backtest | None: ...
    def backtests(self, commit: str = "", limit: int = 100) -> list[Backtest]:
        """Those of a version, or all, newest first."""

    def drop_backtests(self, keep: int) -> int:
        """All but the newest so many; one that runs stays."""

    # recovery by hand
    def boots_of(self, machine_id: str) -> list[Boot]:
        """The last boots that a machine has told, the newest last."""

    def save_boots(self, machine_id: str, after: Sequence[Boot], before: Sequence[Boot]) -> bool:
        """Where they still are ``before``."""

    def out_of_reach(
        self, seen_before: datetime, *, rollout: str = "", make: str = "", machine: str = "", limit: int = 500
    ) -> list[OutOfReach]:
        """Active machines, last heard at ``seen_before`` or earlier, whose claim to install is in flight or broken; by
        site and name. Empty words ask for nothing."""

    def count_out_of_reach(self, seen_before: datetime, rollout: str) -> Mapping[str, int]:
        """make -> how many machines of a rollout are ``out_of_reach``."""

    def key_places(self, sites: Sequence[str]) -> list[KeyPlace]:
        """By site and machine; that of a whole site first."""

    def save_key_place(self, kept: KeyPlace) -> None:
        """Insert or replace."""

    def drop_key_place(self, site: str, machine: str) -> bool:
        """False where there is none."""

    # figures for pages, from counters
    def overview(self) -> Mapping[str, int]:
        """machines_active, machines_pending, sites, claims_in_flight, rollouts_running, rollouts_halted,
        machines_bypassed."""

    # long lists for people, paged by key
    def list_machines(self, asked: MachineList, limit: int) -> list[Machine]: ...
    def list_sites(self, asked: SiteList, limit: int) -> list[Site]: ...
    def list_rollouts(self, asked: RolloutList, limit: int) -> list[Rollout]: ...
    def list_people(self, asked: PersonList, limit: int) -> list[User]: ...
    def list_holds(self, asked: HoldList, now: datetime, limit: int) -> list[Hold]:
        """Whatever ``place`` is asked for."""

    def rollout_numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Their order: what a list of them is paged by."""

    def last_words(self, sites: Sequence[str]) -> dict[str, tuple[int, datetime | None]]:
        """site -> its active machines, and when the last of them was heard."""

    def installed(self, machines: Sequence[str]) -> dict[str, Mapping[str, str]]:
        """machine -> source -> the release that it last said it has."""

    def versions(self, releases: Sequence[str]) -> dict[str, str]:
        """release -> its version."""

    def claims_since(self, machines: Sequence[str], since: datetime, limit: int) -> list[Claim]:
        """Claims of these machines that were granted or resolved since then, newest first."""

    def saved_filters(self, user: str, page: str) -> dict[str, Mapping[str, str]]:
        """name -> what it asks for, of one person and page."""

    def save_filter(self, user: str, page: str, name: str, asked: Mapping[str, str], at: datetime) -> None: ...
    def drop_filter(self, user: str, page: str, name: str) -> bool: ...

    # the fleet's mornings
    def sites_to_plan(self, now: datetime, limit: int) -> list[Site]:
        """Sites whose next morning is not planned: they are new, have changed, or their planned day is over."""

    def save_days(self, days: Sequence[SiteDay]) -> None: ...
    def morning_span(self, day: str) -> tuple[datetime, datetime] | None:
        """The first scheduled boot and the last opening of a local date; None where nobody opens."""

    def parties(self, day: str, minute: int, now: datetime, rings: tuple[str, ...] = ()) -> list[Party]:
        """Who should be up on this local date at this minute of its clock, and who was heard of, by boot and opening;
        one grouped statement over the fleet, or over these rings."""

    def morning(self) -> Morning | None:
        """The newest."""

    def mornings(self, before: str, limit: int) -> list[Morning]:
        """Those of earlier days, newest first."""

    def save_morning(self, morning: Morning) -> None: ...
    def add_point(self, day: str, point: Point) -> None: ...
    def points(self, day: str) -> list[Point]:
        """The curve of a day, in order."""

    # what has been over for long
    def mark(self, name: str) -> Mark: ...
    def marks(self, names: Sequence[str]) -> Mapping[str, Mark]:
        """Those of them that were ever set, in one statement."""

    def set_mark(self, name: str, at: datetime, number: int = 0) -> None: ...
    def number_mark(self, name: str, before: Mark, number: int, at: datetime) -> bool:
        """Sets moment and number only where both are still as in ``before``."""

    def count_mark(self, name: str, more: int, at: datetime, since: datetime) -> None:
        """Counts on, by what may be below zero, and then keeps the moment of the last who came; what was counted
        before ``since`` is forgotten."""

    def move_mark(self, name: str, before: datetime, at: datetime) -> bool:
        """Where it still stands at ``before``: one of several workers moves it."""

    def add_gap(self, start: datetime, end: datetime) -> None:
        """Nobody listened from ``start`` to ``end``."""

    def gaps(self, since: datetime) -> list[Interval]:
        """Those that end after ``since``, in order."""

    def count_boot(self, make: str, step: int) -> None:
        """One more healthy boot of a make that took as long as ``step`` says."""

    def boot_times(self, make: str) -> dict[int, int]:
        """step -> healthy boots of the make."""

    def take_turn(self, name: str, now: datetime, every: timedelta) -> bool:
        """Whether nobody has taken this turn within ``every``; takes it then. A clock that was set back waits no more
        than that."""

    def old_claims(self, before: datetime, limit: int) -> list[Claim]:
        """Claims of superseded rollouts that speak for no ring, granted before, that hold and say nothing any more."""

    def drop_claims(self, ids: Sequence[str]) -> int: ...
    def old_decisions(self, before: datetime, limit: int) -> list[StoredDecision]:
        """Decisions about superseded rollouts that speak for no ring."""

    def drop_decisions(self, ids: Sequence[int]) -> int: ...
    def old_rollouts(self, before: datetime, limit: int) -> list[Rollout]:
        """Superseded rollouts, started before, of which neither a claim nor a decision is left."""

    def drop_rollouts(self, ids: Sequence[str]) -> int:
        """With their rings, strata and budgets; their releases stay."""

    def old_events(self, start: int, before: datetime, limit: int) -> list[Leaf]:
        """Leaves from ``start`` on, up to the first event that is not old."""

    def drop_events(self, first: int, last: int, keep: Sequence[str]) -> int:
        """Events of these indexes, but for those of the kinds ``keep`` about rings of unfinished rollouts."""

    def drop_expired(self, now: datetime) -> int:
        """Nonces, links, codes, logins and stored enrolments whose time is over go; open proposals are ``expired``."""


class Store(Protocol):
    """Where facts live."""

    def read(self) -> AbstractContextManager[Tx]: ...
    def write(self) -> AbstractContextManager[Tx]: ...


class Clock(Protocol):
    """The only place that knows the time."""

    def now(self) -> datetime:
        """Aware UTC."""


@dataclass(frozen=True, slots=True)
class Version:
    """A commit as history shows it: what whoever made it wrote, cut and harmless. ``subject``: the first line."""

    commit: str
    author: str
    at: datetime
    message: str
    subject: str = ""
    parents: tuple[str, ...] = ()


class Signers(Protocol):
    """Who has signed a commit, by key."""

    def signed_by(self, commit: str, now: datetime) -> str:
        """The login of a person; Conflict (unsigned) where nobody who may has signed it."""


class PolicyTexts(Protocol):
    """The policy repository."""

    def head(self) -> str: ...
    def read(self, commit: str) -> str: ...
    def blame(self, commit: str, line: int) -> tuple[str, datetime, str]:
        """Author, date, subject of the commit that changed the line last."""

    def authors(self, commit: str) -> Sequence[tuple[str, datetime, str]]:
        """The same of every line, in order."""

    def descends(self, commit: str, ancestor: str) -> bool:
        """Is ``ancestor`` in the history of ``commit``?"""

    def parse(self, text: str) -> Policy:
        """Raises Malformed with every problem."""

    def problems(self, text: str) -> Sequence[Problem]:
        """Every problem of a text; none where it is a policy."""

    def lines(self, commit: str) -> Sequence[Version]:
        """For each line the commit that changed it last."""

    def history(self, limit: int = 50, start: str = "") -> Sequence[Version]:
        """The branch's commits, newest first; from ``start`` on, if given."""

    def version(self, commit: str) -> Version: ...
    def resolve(self, wanted: str) -> str:
        """The full id of a commit on the branch from its first digits; NotFound where there is no single one."""

    def between(self, commit: str, ancestor: str) -> list[str]:
        """The commits behind ``commit`` that are not behind ``ancestor``, itself first."""

    def parents(self, commit: str) -> list[str]: ...
    def propose(self, name: str, text: str, parent: str, author: str, message: str, now: datetime) -> str:
        """A commit on a branch of its own; the head stays."""

    def write(self, text: str, parent: str, author: str, message: str, now: datetime) -> str:
        """A commit on the head, which must be ``parent``; Conflict (moved) where it is not."""


class PolicyEditor(Protocol):
    """Edits of a policy's text by the places of its nodes; each raises Malformed and changes nothing where it cannot.

    A path is what the policy calls a place: ``rings[2].gate.soak``. A value is a text, a list or a map of such.
    """

    def said(self, text: str) -> Any:
        """What the text says, without places: dictionaries, lists and texts."""

    def edited(self, text: str, changes: Sequence[tuple[str, Any]]) -> str:
        """With each place set to its value; None removes the key."""

    def with_item(self, text: str, path: str, item: Mapping[str, Any], at: int | None = None) -> str:
        """With one item more in a list, before item ``at`` or at its end."""

    def without_item(self, text: str, path: str) -> str:
        """Without the list item at ``path``."""

    def moved_item(self, text: str, path: str, to: int) -> str:
        """With the list item at ``path`` at place ``to``."""


class Backtester(Protocol):
    """Lives through days under policies, in a process of its own."""

    @property
    def scenarios(self) -> Sequence[str]:
        """The shipped ones, by name."""

    def run(
        self, texts: Mapping[str, str], what: str, now: datetime, told: Callable[[float], bool]
    ) -> Mapping[str, Any] | None:
        """What came of ``texts`` (``this``, and ``other`` where there is one); None where ``told``, which hears the
        share done at least every two seconds, has said no. ``what`` and the answer are those of ``Backtest``.

        Raises:
            OperatorError: it died, took too long, or cannot be done.
        """


class Hours(Protocol):
    """Opening hours as intervals."""

    def intervals(self, hours: str, land: str, start: datetime, end: datetime) -> Sequence[Interval]:
        """Opening intervals that meet [start, end)."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What the flows are given besides a transaction."""

    policy: Callable[[str], Policy]
    """The parsed policy of a commit; cached, since a commit never changes."""
    texts: PolicyTexts
    hours: Hours
    signers: Signers | None = None
    """Who may push; None: nobody is asked, and who pushed is nobody the gate knows."""
    cohorts: MutableMapping[tuple[str, str, int, date], tuple[int, list[Stratum]]] = field(default_factory=dict)
    """(rollout, ring, fleet version) -> the ring's members by make: not walked again until a membership changes."""
    learned: MutableMapping[str, tuple[datetime, OpenDuration | None]] = field(default_factory=dict)
    """make -> when its learned deadline was read, and the deadline (none yet)."""
