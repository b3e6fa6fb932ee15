"""What the gate speaks of: machines, sites, releases, rollouts, claims.

Rules:
- Frozen values; a change is a new value. Closed sets are enums, each state with its sentence.
- All times are aware UTC; ids are opaque strings; slugs match ``[a-z0-9][a-z0-9-]{0,40}``.
- An absent fact is the value ``-`` and makes an ordinary make.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,40}\Z")
ABSENT = "-"
FLEET = "*"  # the row that stands for all makes together
DONE = "done"  # the gate of the last ring, as if one more ring came after it


class MachineStatus(StrEnum):
    """Where a machine stands with us."""

    PENDING = "pending"  # enrolled, no person has accepted it yet
    ACTIVE = "active"  # accepted; may claim and report
    REVOKED = "revoked"  # its key is worth nothing any more


class RolloutState(StrEnum):
    """Where a rollout stands."""

    QUEUED = "queued"  # waits until the running release of its source is through
    RUNNING = "running"  # going through the rings
    HELD = "held"  # a person or a time makes it wait; lifts by itself
    HALTED = "halted"  # a person or a brake; only two people resume
    DONE = "done"  # the last ring's gate has passed
    SUPERSEDED = "superseded"  # a newer release of the same source took over
    RECALLED = "recalled"  # machines are asked to go back
    RETIRED = "retired"  # superseded or recalled, and no machine has it any more


class ClaimState(StrEnum):
    """Where a claim stands; ``core.claims`` has the table of legal steps."""

    GRANTED = "granted"  # may install now
    INSTALLED = "installed"  # put in place; what a broken machine says last
    BOOTED = "booted"  # booted with it
    HEALTHY = "healthy"  # stayed up, probes good
    UNHEALTHY = "unhealthy"  # booted, but a probe is bad
    FAILED = "failed"  # says so itself
    ROLLED_BACK = "rolled_back"  # went back by itself
    SILENT = "silent"  # its deadline passed in expected-on time without a healthy report
    RELAPSED = "relapsed"  # bad after it was healthy
    EXPIRED = "expired"  # never started: a check-in after the lease showed the release absent
    GONE = "gone"  # a person has decommissioned its machine: it counts as nothing any more


class Step(StrEnum):
    """What an agent may report."""

    INSTALLED = "installed"
    BOOTED = "booted"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class Trust(StrEnum):
    """How far a source could verify what it brought."""

    VENDOR_SIGNED = "vendor_signed"
    DIGEST_PINNED = "digest_pinned"
    UNVERIFIED = "unverified"


class Action(StrEnum):
    """What a ring's approval asks for."""

    INSTALL = "install"
    HOLD = "hold"
    RECALL = "recall"


class TimeKind(StrEnum):
    """What a stretch of a site's time is that its opening hours do not say."""

    DUTY = "duty"  # night duty: open, and expected-on
    CLOSED = "closed"  # a declared closing day: its machines are dark


@dataclass(frozen=True, slots=True, order=True)
class SiteTime:
    """[start_at, end_at) of one site, in UTC, with who said so and why."""

    start_at: datetime
    end_at: datetime
    kind: TimeKind
    because: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """One pharmacy. ``hours`` is OSM opening_hours text, ``land`` a German Land (``NW``).

    ``times``: its night duty and declared closing days, in order.
    """

    id: str
    name: str
    land: str = ""
    hours: str = ""
    always_on: bool = False
    labels: frozenset[str] = frozenset()
    times: tuple[SiteTime, ...] = ()


@dataclass(frozen=True, slots=True)
class Machine:
    """One computer of a pharmacy. Role and labels are fixed when it is accepted."""

    id: str
    site: str
    status: MachineStatus
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    make: str = ""
    ring: str = ""  # slug; empty: no ring picks it
    accepted_at: datetime | None = None
    last_seen_at: datetime | None = None
    public_key: str = ""
    down_at: datetime | None = None  # its last word: it goes down as planned
    habit: str = ""  # when it is usually on: see core.habits

    @property
    def role(self) -> str:
        """Its role, ``-`` when it never said."""
        return self.facts.get("role", ABSENT)


@dataclass(frozen=True, slots=True)
class Artifact:
    """Bytes of a release; ``length`` in bytes, ``sha256`` 64 hex digits."""

    name: str
    length: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Release:
    """A checked, stored, immutable candidate. ``id`` is ``sha256:`` + hex digest of its manifest's bytes."""

    id: str
    source: str
    version: str
    kind: str
    boot_critical: bool
    counter: int
    artifacts: tuple[Artifact, ...]
    trust: Trust
    first_seen_at: datetime

    @property
    def hex(self) -> str:
        """The digest without its prefix."""
        return self.id.removeprefix("sha256:")


@dataclass(frozen=True, slots=True)
class Rollout:
    """One release going through the rings. ``reached`` is the index of the last opened ring, -1 for none.

    ``version`` rises with every saved change; a save names the version it read. ``salt`` draws the shares.
    """

    id: str
    release: str
    source: str
    state: RolloutState
    reached: int
    salt: str
    policy_version: str
    version: int
    started_at: datetime
    halted_by: str = ""
    halted_because: str = ""
    halted_at: datetime | None = None
    background: float = 0.0  # the share of boots that fail anyway; fixed when the rollout is made
    measured: float = 0.0  # the background as it was measured then, without a cap; 0: stated, or not known
    done_at: datetime | None = None  # its last ring's gate has passed, then
    inherited: int = -1  # up to this ring it takes over what the release before had reached
    expedited_until: datetime | None = None  # two people have opened the fast lane, until then


@dataclass(frozen=True, slots=True)
class Claim:
    """A machine's right to take a release now. Ring, make and site stay as they were when it was granted."""

    id: str
    rollout: str
    release: str
    source: str
    machine: str
    site: str
    role: str
    ring: str
    make: str
    state: ClaimState
    granted_at: datetime
    lease_until: datetime
    deadline_at: datetime
    boot_id: str
    evidence: str  # boot | alive
    boots: int
    stay_up: timedelta
    reboot: str  # natural | after install
    tries: int
    cohort: bool  # it was in the ring when the ring started; others count for halting only
    action: str = "install"
    boots_healthy: int = 0
    last_boot_id: str = ""
    installed_at: datetime | None = None
    resolved_at: datetime | None = None
    recovered: bool = False
    watch_until: datetime | None = None  # after it was healthy it is watched until then
    watch_at: datetime | None = None  # when it is looked at next; None: not any more
    version: int = 1
    clock_from: datetime | None = None  # since when its deadline is counted; None: since the grant
    dark_at: datetime | None = None  # its whole site was found dark then, and has not been heard since
    days: int = 0  # opening days of the watch that have been decided, the one on which it relapsed among them
    trial_at: datetime | None = None  # when its machine is first expected on for the trial that it waits for
    tried_at: datetime | None = None  # the same of the last trial that has been decided
    crashed_at: datetime | None = None  # when it first told of a crash, or that it went back by itself


@dataclass(frozen=True, slots=True)
class RingState:
    """One ring of one rollout: counters beside limits. ``cap`` 0 means no cap."""

    rollout: str
    ring: str
    position: int
    opened_at: datetime | None
    in_flight: int
    cap: int
    members: int
    ready_at: datetime | None = None  # people decide here, and since then the gate itself would have opened it
    waived_at: datetime | None = None  # two people have set its gate aside


@dataclass(frozen=True, slots=True)
class Stratum:
    """What one make has shown in one ring of one rollout (counts of machines).

    ``share_cut``: a member takes part when its rank is at most this (1.0: all do).
    ``plural``: members that are not the only one of their role at their site.
    ``sites``: of those that take part, that no earlier ring takes of the make.
    ``first_cut``: while nothing of the make has resolved, a member may be first when its rank is at most this.
    """

    rollout: str
    ring: str
    make: str
    open: bool
    members: int
    share_members: int
    share_cut: float
    plural: int
    sites: int = 0
    exposed: int = 0
    healthy: int = 0
    failed: int = 0
    silent: int = 0
    recovered: int = 0
    crashed: int = 0
    late_failed: int = 0  # failures of machines that joined after the ring had started
    explained: int = 0
    met_at: datetime | None = None
    soak_until: datetime | None = None
    first_cut: float = 1.0
    opened_at: datetime | None = None  # for this make; None: it was met when its ring had opened

    @property
    def bad(self) -> int:
        """Failures, the silent among them."""
        return self.failed + self.silent

    @property
    def unexplained(self) -> int:
        """The failures that a decision counts: those of late joiners too, without those that a person has explained."""
        return self.bad + self.late_failed - self.explained

    @property
    def pending(self) -> int:
        """Exposed and not resolved."""
        return max(self.exposed - self.healthy - self.bad, 0)

    @property
    def left(self) -> int:
        """Of those that take part, not resolved; who follows in its own ring is not among them."""
        return max(self.share_members - self.healthy - self.bad, 0)


@dataclass(frozen=True, slots=True)
class Hold:
    """People keep machines out that meet ``pick``: of one source or of all (empty), until its end or until lifted."""

    id: str
    source: str
    pick: Mapping[str, tuple[str, ...]]
    owner: str
    until: datetime
    because: str
    made_by: str
    made_at: datetime
    lifted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Attribution:
    """What has left the count by a person's word: shown with its rollout for ever.

    ``kind``: ``explained`` (its failure has another cause; it leaves k) or ``decommissioned`` (its machine is gone; it
    leaves n and k). ``was``: the state of its claim then, empty where it had none.
    """

    rollout: str
    kind: str
    claim: str
    machine: str
    name: str
    site: str
    ring: str
    make: str
    was: str
    by: str
    because: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Budget:
    """In flight beside its limit for one make of one rollout (``*``: the fleet)."""

    rollout: str
    make: str
    in_flight: int
    limit: int
    healthy: int
    failed: int
    stopped: bool  # an unexplained failure: no further claim, a person decides
    tried: int = 0  # boots that have been decided
    tried_failed: int = 0  # those that failed; what a person has explained is in neither
    extended: int = 0  # batches since it came into its present ring
    extend_to: int = 0  # an extension runs until so many have resolved; 0: none runs
