"""Rows. A row is never built from request data; flows hand over core values, ``sql`` translates once each way.

- Times are integers: microseconds since 1970 UTC; a naive time is refused.
- Counters stand beside their limits, so that a claim's conditional statement compares two columns.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text, TypeDecorator, UniqueConstraint, text
from sqlalchemy.engine import Dialect
from sqlmodel import Field, SQLModel

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICRO = timedelta(microseconds=1)
TOLD = text("crashed_at IS NOT NULL")


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime as microseconds."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Aware datetime -> microseconds."""
        if value is None:
            return None
        assert value.tzinfo is not None, "a naive time"
        return (value - EPOCH) // MICRO

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Microseconds -> aware UTC datetime."""
        return None if value is None else EPOCH + value * MICRO


def moment(**more: Any) -> Any:
    """A time column."""
    return Field(sa_type=Moment, **more)


def long_text(default: str = "") -> Any:
    """An unbounded text column."""
    return Field(default=default, sa_type=Text)


class SiteRow(SQLModel, table=True):
    """A site; ``in_flight`` counts its busy machines over all rings and sources."""

    __tablename__ = "sites"
    __table_args__ = (Index("sites_name", "name", "id"),)
    id: str = Field(primary_key=True)
    name: str
    land: str = ""
    hours: str = long_text()
    always_on: bool = False
    labels: str = long_text("[]")
    times: str = long_text("[]")
    in_flight: int = 0


class SiteRoleRow(SQLModel, table=True):
    """A site's machines of one role: how many, how many busy, how many of them broken."""

    __tablename__ = "site_roles"
    site: str = Field(primary_key=True, foreign_key="sites.id")
    role: str = Field(primary_key=True)
    total: int = 0
    busy: int = 0
    broken: int = 0


class MachineRow(SQLModel, table=True):
    """A machine; ``claim`` is the one it has in hand."""

    __tablename__ = "machines"
    __table_args__ = (
        Index("machines_place", "ring", "make"),
        Index("machines_site", "site", "id"),
        Index("machines_status", "status"),
        Index("machines_name", "name", "id"),
    )
    id: str = Field(primary_key=True)
    site: str
    status: str
    name: str
    role: str = "-"
    facts: str = long_text("{}")
    labels: str = long_text("[]")
    make: str = long_text()
    ring: str = ""
    accepted_at: datetime | None = moment(default=None, nullable=True)
    last_seen_at: datetime | None = moment(default=None, nullable=True)
    public_key: str = ""
    keyid: str = Field(default="", index=True)
    claim: str | None = None
    down_at: datetime | None = moment(default=None, nullable=True)
    habit: str = long_text()
    up_weekday: int | None = None
    up_saturday: int | None = None
    up_sunday: int | None = None


class SessionRow(SQLModel, table=True):
    """What the write plane keeps of a machine."""

    __tablename__ = "machine_sessions"
    machine: str = Field(primary_key=True, foreign_key="machines.id")
    seq: int = Field(default=0, sa_type=BigInteger)
    challenge: str = ""
    challenge_at: datetime | None = moment(default=None, nullable=True)
    last_call: str = ""
    last_status: int = 0
    last_answer: str = long_text()
    boot_id: str = ""
    timestamp_version: int = Field(default=0, sa_type=BigInteger)
    installed: str = long_text("{}")


class CodeRow(SQLModel, table=True):
    """An enrolment code, hashed."""

    __tablename__ = "enrol_codes"
    sha256: str = Field(primary_key=True)
    site: str
    uses_left: int
    expires_at: datetime = moment()
    created_by: str


class NonceRow(SQLModel, table=True):
    """A nonce that an enrolment may use once."""

    __tablename__ = "nonces"
    nonce: str = Field(primary_key=True)
    expires_at: datetime = moment(index=True)


class EnrolmentRow(SQLModel, table=True):
    """The stored answer of an enrolment."""

    __tablename__ = "enrolments"
    payload_sha256: str = Field(primary_key=True)
    status: int
    answer: str = long_text()
    at: datetime = moment()


class ReleaseRow(SQLModel, table=True):
    """A release and its manifest's bytes."""

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("source", "version"), UniqueConstraint("source", "counter"))
    id: str = Field(primary_key=True)
    source: str
    version: str
    kind: str
    boot_critical: bool
    counter: int = Field(sa_type=BigInteger)
    artifacts: str = long_text()
    trust: str
    first_seen_at: datetime = moment()
    manifest: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class CursorRow(SQLModel, table=True):
    """Where a source's discovery goes on; under ``lever-can:`` and its name, why its lever is no more."""

    __tablename__ = "source_cursors"
    source: str = Field(primary_key=True)
    cursor: str = long_text()


class RolloutRow(SQLModel, table=True):
    """A rollout; ``number`` orders them, ``claims`` is touched by every grant."""

    __tablename__ = "rollouts"
    __table_args__ = (Index("rollouts_source", "source", "number"), Index("rollouts_state", "state"))
    number: int | None = Field(default=None, primary_key=True)
    id: str = Field(unique=True)
    release: str = Field(foreign_key="releases.id", index=True)
    source: str
    state: str
    reached: int
    salt: str
    policy_version: str
    version: int
    started_at: datetime = moment()
    halted_by: str = ""
    halted_because: str = long_text()
    halted_at: datetime | None = moment(default=None, nullable=True)
    done_at: datetime | None = moment(default=None, nullable=True)
    inherited: int = -1
    expedited_until: datetime | None = moment(default=None, nullable=True)
    claims: int = 0
    background: float = 0.0
    measured: float = 0.0


class RingRow(SQLModel, table=True):
    """One ring of one rollout."""

    __tablename__ = "rollout_rings"
    rollout: str = Field(primary_key=True, foreign_key="rollouts.id")
    ring: str = Field(primary_key=True)
    position: int
    opened_at: datetime | None = moment(default=None, nullable=True)
    in_flight: int = 0
    cap: int = 0
    members: int = 0
    ready_at: datetime | None = moment(default=None, nullable=True)
    waived_at: datetime | None = moment(default=None, nullable=True)


class StratumRow(SQLModel, table=True):
    """One make in one ring of one rollout."""

    __tablename__ = "strata"
    rollout: str = Field(primary_key=True, foreign_key="rollouts.id")
    ring: str = Field(primary_key=True)
    make: str = Field(primary_key=True)
    open: bool = False
    members: int = 0
    share_members: int = 0
    share_cut: float = 1.0
    plural: int = 0
    sites: int = 0
    exposed: int = 0
    healthy: int = 0
    failed: int = 0
    silent: int = 0
    recovered: int = 0
    crashed: int = 0
    late_failed: int = 0
    explained: int = 0
    met_at: datetime | None = moment(default=None, nullable=True)
    soak_until: datetime | None = moment(default=None, nullable=True)
    first_cut: float = 1.0
    opened_at: datetime | None = moment(default=None, nullable=True)


class BudgetRow(SQLModel, table=True):
    """The exposure budget of one make (``*``: the fleet)."""

    __tablename__ = "budgets"
    rollout: str = Field(primary_key=True, foreign_key="rollouts.id")
    make: str = Field(primary_key=True)
    in_flight: int = 0
    allowed: int = 0
    healthy: int = 0
    failed: int = 0
    stopped: bool = False
    tried: int = 0
    tried_failed: int = 0
    extended: int = 0
    extend_to: int = 0


class BootRow(SQLModel, table=True):
    """What the boots of one number, 1 to 5, have shown in one rollout."""

    __tablename__ = "boots"
    rollout: str = Field(primary_key=True, foreign_key="rollouts.id")
    boot: int = Field(primary_key=True)
    tried: int = 0
    failed: int = 0


class SpanRow(SQLModel, table=True):
    """Trials that began in one hour, of one make and boot number (0: of every boot, with the controls)."""

    __tablename__ = "spans"
    rollout: str = Field(primary_key=True, foreign_key="rollouts.id")
    hour: datetime = moment(primary_key=True, sa_column_kwargs={"autoincrement": False})
    make: str = Field(sa_type=Text, primary_key=True)
    boot: int = Field(primary_key=True)
    exposed: int = 0
    failed: int = 0
    controls: int = 0
    controls_failed: int = 0
    looked_at: datetime | None = moment(default=None, nullable=True)
    failed_then: int = 0
    closed: bool = False
    folded_exposed: int = 0
    folded_failed: int = 0


class SumRow(SQLModel, table=True):
    """What closed spans have shown against controls: of a make (boot 0) or of a boot number (make ``*``)."""

    __tablename__ = "sums"
    rollout: str = Field(primary_key=True, foreign_key="rollouts.id")
    make: str = Field(sa_type=Text, primary_key=True)
    boot: int = Field(primary_key=True)
    log_1: float = 0.0
    log_2: float = 0.0
    log_3: float = 0.0
    log_4: float = 0.0
    exposed: int = 0
    failed: int = 0


class SightRow(SQLModel, table=True):
    """How well a rollout could be seen: the last look at machines without it, and since when nothing is concluded."""

    __tablename__ = "sights"
    rollout: str = Field(primary_key=True, foreign_key="rollouts.id")
    looked_at: datetime | None = moment(default=None, nullable=True)
    controls: int = 0
    silent: int = 0
    unclear_since: datetime | None = moment(default=None, nullable=True)
    asked_at: datetime | None = moment(default=None, nullable=True)


class ClaimRow(SQLModel, table=True):
    """A claim, with ring, make and site as they were when it was granted."""

    __tablename__ = "claims"
    __table_args__ = (
        Index("claims_machine", "machine", "rollout"),
        Index("claims_due", "state", "deadline_at"),
        Index("claims_bad", "rollout", "ring", "state", "resolved_at"),
        Index("claims_crashed", "rollout", "ring", "crashed_at", sqlite_where=TOLD, postgresql_where=TOLD),
        Index("claims_make", "rollout", "make", "state"),
        Index("claims_site", "rollout", "site"),
        Index("claims_watched", "watch_at"),
        Index("claims_resolved", "rollout", "resolved_at"),
    )
    id: str = Field(primary_key=True)
    rollout: str = Field(foreign_key="rollouts.id")
    release: str
    source: str
    machine: str = Field(foreign_key="machines.id")
    site: str
    role: str
    ring: str
    make: str
    state: str
    granted_at: datetime = moment()
    lease_until: datetime = moment()
    deadline_at: datetime = moment()
    boot_id: str
    evidence: str
    boots: int
    stay_up_s: int
    reboot: str
    tries: int
    cohort: bool
    action: str = "install"
    boots_healthy: int = 0
    last_boot_id: str = ""
    installed_at: datetime | None = moment(default=None, nullable=True)
    resolved_at: datetime | None = moment(default=None, nullable=True)
    recovered: bool = False
    watch_until: datetime | None = moment(default=None, nullable=True)
    watch_at: datetime | None = moment(default=None, nullable=True)
    explained: bool = False
    version: int = 1
    clock_from: datetime | None = moment(default=None, nullable=True)
    dark_at: datetime | None = moment(default=None, nullable=True)
    days: int = 0
    trial_at: datetime | None = moment(default=None, nullable=True)
    tried_at: datetime | None = moment(default=None, nullable=True)
    crashed_at: datetime | None = moment(default=None, nullable=True)


class HoldRow(SQLModel, table=True):
    """A hold by selector; ``pick`` is JSON, ``source`` empty for all."""

    __tablename__ = "holds"
    id: str = Field(primary_key=True)
    source: str = ""
    pick: str = long_text()
    owner: str
    until: datetime = moment()
    because: str = long_text()
    made_by: str
    made_at: datetime = moment()
    lifted_at: datetime | None = moment(default=None, nullable=True)


class AttributionRow(SQLModel, table=True):
    """What has left the count by a person's word."""

    __tablename__ = "attributions"
    __table_args__ = (Index("attributions_rollout", "rollout", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    rollout: str = Field(foreign_key="rollouts.id")
    kind: str
    claim: str = ""
    machine: str
    name: str
    site: str
    ring: str
    make: str = long_text()
    was: str = ""
    by: str
    because: str = long_text()
    at: datetime = moment()


class CorrelationRow(SQLModel, table=True):
    """How the machines of one site failed together under one rollout; kept when the rollout has gone."""

    __tablename__ = "correlations"
    rollout: str = Field(primary_key=True)
    machines: int
    failed: int
    pairs: int = Field(sa_type=BigInteger)
    both: int = Field(sa_type=BigInteger)
    at: datetime = moment(index=True)


class DecisionRow(SQLModel, table=True):
    """A decision, for ever."""

    __tablename__ = "decisions"
    __table_args__ = (Index("decisions_ring", "rollout", "ring", "id"),)
    id: int | None = Field(default=None, primary_key=True)
    rollout: str = Field(foreign_key="rollouts.id")
    ring: str
    at: datetime = moment()
    verdict: str
    makes: str = long_text("[]")
    reasons: str = long_text("[]")
    facts: str = long_text("{}")
    policy_version: str


class EventRow(SQLModel, table=True):
    """A stored fact and the bytes of its leaf."""

    __tablename__ = "events"
    __table_args__ = (
        Index("events_subject", "subject", "index"),
        Index("events_actor", "actor", "index"),
        Index("events_kind", "kind", "index"),
    )
    index: int = Field(primary_key=True, sa_type=BigInteger, sa_column_kwargs={"autoincrement": False})
    at: datetime = moment()
    kind: str
    actor: str
    subject: str
    detail: str = long_text("{}")
    because: str = long_text()
    policy_version: str = ""
    leaf: bytes = Field(sa_column=Column(LargeBinary, nullable=False))


class AuditHeadRow(SQLModel, table=True):
    """Size and peaks of the audit tree; one row."""

    __tablename__ = "audit_head"
    id: int = Field(primary_key=True)
    size: int = Field(default=0, sa_type=BigInteger)
    peaks: str = long_text()


class MarkRow(SQLModel, table=True):
    """How far something has come, and when it was last at work."""

    __tablename__ = "marks"
    name: str = Field(primary_key=True)
    at: datetime | None = moment(default=None, nullable=True)
    number: int = Field(default=0, sa_type=BigInteger)


class GapRow(SQLModel, table=True):
    """A stretch in which nobody listened."""

    __tablename__ = "gaps"
    start_at: datetime = moment(primary_key=True, sa_column_kwargs={"autoincrement": False})
    end_at: datetime = moment(index=True)


class BootTimeRow(SQLModel, table=True):
    """How many healthy boots of a make took how long, in expected-on time; ``step`` as ``gate.core.boot_times``."""

    __tablename__ = "boot_times"
    make: str = Field(sa_type=Text, primary_key=True)
    step: int = Field(primary_key=True)
    boots: int = Field(default=0, sa_type=BigInteger)


class SiteDayRow(SQLModel, table=True):
    """When a site's morning begins; planned anew at ``until``."""

    __tablename__ = "site_days"
    site: str = Field(primary_key=True)
    day: str = Field(default="", index=True)
    boots_at: datetime | None = moment(default=None, nullable=True)
    opens_at: datetime | None = moment(default=None, nullable=True)
    until: datetime = moment(index=True)


class MachineBootsRow(SQLModel, table=True):
    """The last boots of a machine, as its reports tell them; ``boots`` is JSON, the newest last."""

    __tablename__ = "machine_boots"
    machine: str = Field(primary_key=True, foreign_key="machines.id")
    boots: str = long_text("[]")


class KeyPlaceRow(SQLModel, table=True):
    """Where a recovery key is kept, and its id; never the key. ``machine`` empty: those of the whole site."""

    __tablename__ = "key_places"
    site: str = Field(primary_key=True, foreign_key="sites.id")
    machine: str = Field(primary_key=True)
    place: str = long_text()
    key_id: str = ""
    by: str
    at: datetime = moment()


class MorningRow(SQLModel, table=True):
    """One day's morning; ``parties`` and ``alarm`` are JSON."""

    __tablename__ = "mornings"
    day: str = Field(primary_key=True)
    looked_at: datetime = moment()
    judged_at: datetime | None = moment(default=None, nullable=True)
    usual: float
    expected: int
    missing: int
    parties: str = long_text("[]")
    alarm: str = long_text()


class MorningPointRow(SQLModel, table=True):
    """A point of a morning's curve."""

    __tablename__ = "morning_points"
    day: str = Field(primary_key=True)
    at: datetime = moment(primary_key=True, sa_column_kwargs={"autoincrement": False})
    expected: int
    seen: int


class FleetRow(SQLModel, table=True):
    """How often a ring's or make's membership has changed; one row."""

    __tablename__ = "fleet"
    id: int = Field(primary_key=True)
    version: int = Field(default=0, sa_type=BigInteger)


class ActivePolicyRow(SQLModel, table=True):
    """The commit that rules; one row."""

    __tablename__ = "active_policy"
    id: int = Field(primary_key=True)
    commit: str
    activated_at: datetime = moment()
    activated_by: str
    problem: str = long_text()


class PolicyTextRow(SQLModel, table=True):
    """The text of a policy version that has ruled: what it froze can be read with the repository gone."""

    __tablename__ = "policy_texts"
    commit: str = Field(primary_key=True)
    text: str = long_text()


class UserRow(SQLModel, table=True):
    """A person."""

    __tablename__ = "users"
    id: str = Field(primary_key=True)
    name: str
    role: str
    password_hash: str = ""
    disabled: bool = False
    created_at: datetime = moment()


class SavedFilterRow(SQLModel, table=True):
    """A list's filter that a person keeps; ``asked`` is JSON."""

    __tablename__ = "saved_filters"
    user: str = Field(primary_key=True, foreign_key="users.id")
    page: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    asked: str = long_text("{}")
    saved_at: datetime = moment()


class WebSessionRow(SQLModel, table=True):
    """A login session; the id is the sha256 of the cookie's token."""

    __tablename__ = "web_sessions"
    id: str = Field(primary_key=True)
    user: str = Field(foreign_key="users.id", index=True)
    created_at: datetime = moment()
    seen_at: datetime = moment()
    stepped_up_at: datetime | None = moment(default=None, nullable=True)


class AccessTokenRow(SQLModel, table=True):
    """A token for the API for people; only its sha256 is kept."""

    __tablename__ = "access_tokens"
    id: str = Field(primary_key=True)
    sha256: str = Field(index=True, unique=True)
    user: str = Field(foreign_key="users.id")
    scope: str
    created_at: datetime = moment()
    created_by: str
    expires_at: datetime = moment()
    used_at: datetime | None = moment(default=None, nullable=True)
    revoked_at: datetime | None = moment(default=None, nullable=True)


class IdentityRow(SQLModel, table=True):
    """Who a person is at an OIDC provider: issuer and subject, never an e-mail address."""

    __tablename__ = "identities"
    issuer: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    user: str = Field(foreign_key="users.id", index=True)
    since_at: datetime = moment()


class OneTimeLinkRow(SQLModel, table=True):
    """A link that sets a password once."""

    __tablename__ = "one_time_links"
    sha256: str = Field(primary_key=True)
    user: str
    expires_at: datetime = moment()


class ProposalRow(SQLModel, table=True):
    """Something that needs two people."""

    __tablename__ = "proposals"
    id: str = Field(primary_key=True)
    kind: str
    subject: str = Field(index=True)
    because: str = long_text()
    proposed_by: str
    proposed_at: datetime = moment()
    expires_at: datetime = moment()
    sha256: str
    state: str = Field(default="open", index=True)


class SignatureRow(SQLModel, table=True):
    """One person's signature of a proposal, once."""

    __tablename__ = "signatures"
    proposal: str = Field(primary_key=True, foreign_key="proposals.id")
    user: str = Field(primary_key=True)
    at: datetime = moment()


class MirrorPointerRow(SQLModel, table=True):
    """What a machine or a ring is served of a source by the mirror."""

    __tablename__ = "mirror_pointers"
    __table_args__ = (Index("mirror_pointers_ask_at", "ask_at"),)
    source: str = Field(primary_key=True)
    holder: str = Field(primary_key=True)
    machine: str
    ring: str
    release: str
    before: str
    moved_at: datetime = moment()
    ask_at: datetime = moment()


class MirrorTokenRow(SQLModel, table=True):
    """What a stock client is let in by; only its sha256 is kept."""

    __tablename__ = "mirror_tokens"
    __table_args__ = (Index("mirror_tokens_holder", "source", "holder"), UniqueConstraint("sha256"))
    id: str = Field(primary_key=True)
    source: str
    holder: str
    sha256: str
    created_at: datetime = moment()
    created_by: str
    used_at: datetime | None = moment(default=None, nullable=True)
    revoked_at: datetime | None = moment(default=None, nullable=True)


class VendorHoldRow(SQLModel, table=True):
    """What is held at a source's vendor in a ring, and how that goes."""

    __tablename__ = "vendor_holds"
    source: str = Field(primary_key=True)
    ring: str = Field(primary_key=True)
    halt: str
    ok: bool
    tries: int
    try_at: datetime = moment()
    since: datetime = moment()
    detail: str = long_text()


class VendorMoveRow(SQLModel, table=True):
    """What a source's vendor was last told of a machine."""

    __tablename__ = "vendor_moves"
    source: str = Field(primary_key=True)
    machine: str = Field(primary_key=True)
    ring: str
    release: str
    tries: int
    try_at: datetime = moment()
    detail: str = long_text()


class ObservationRow(SQLModel, table=True):
    """What a machine really runs of a source."""

    __tablename__ = "observations"
    __table_args__ = (Index("observations_standing", "standing"), Index("observations_machine", "machine"))
    source: str = Field(primary_key=True)
    machine: str = Field(primary_key=True)
    release: str
    version: str
    standing: str
    at: datetime = moment()
    detail: str = long_text()


class BacktestRow(SQLModel, table=True):
    """A back-test; ``slot`` is 1 while it runs and NULL afterwards, so that one runs at a time. ``found`` is JSON."""

    __tablename__ = "backtests"
    __table_args__ = (UniqueConstraint("slot"), Index("backtests_asked", "asked_at"))
    id: str = Field(primary_key=True)
    slot: int | None = Field(default=None, nullable=True)
    commit: str
    against: str
    what: str
    asked_by: str
    asked_at: datetime = moment()
    beat_at: datetime = moment()
    state: str
    done: float
    ended_at: datetime | None = moment(default=None, nullable=True)
    problem: str = long_text()
    found: str = long_text()
