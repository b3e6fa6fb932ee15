"""What claims show: one, those of a machine, those that are due, the sites that a decision asks for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, case, distinct, exists, func, literal, or_, select

from gate.adapters.store import tables
from gate.adapters.store.prepared import Prepared, equal, get, given
from gate.adapters.store.rows import Rows, table
from gate.adapters.store.tx_machines import MACHINES, SESSIONS, SITES, to_machine, to_site
from gate.adapters.store.tx_rollouts import BUDGETS, RINGS, ROLLOUTS, to_rollout
from gate.core.claims import FAILURE, HOLDS_SLOT
from gate.core.model import FLEET, Action, Attribution, Claim, ClaimState, MachineStatus, Rollout, RolloutState
from gate.ports import Holder, Quiet

CLAIMS = table(tables.ClaimRow)
ATTRIBUTIONS = table(tables.AttributionRow)
MAY_HAVE = [state.value for state in (ClaimState.INSTALLED, ClaimState.BOOTED, ClaimState.SILENT)]
_LATER = CLAIMS.alias("later")
_BACK = and_(_LATER.c.action == Action.RECALL.value, _LATER.c.state == ClaimState.ROLLED_BACK.value)
_NEWER_STATES = [*MAY_HAVE[:2], ClaimState.HEALTHY.value, ClaimState.UNHEALTHY.value]
_NEWER = and_(_LATER.c.rollout != CLAIMS.c.rollout, _LATER.c.state.in_(_NEWER_STATES))
_GONE_ON = exists().where(
    _LATER.c.machine == CLAIMS.c.machine,
    _LATER.c.source == CLAIMS.c.source,
    _LATER.c.granted_at > CLAIMS.c.granted_at,
    or_(_BACK, _NEWER),
)
"""The machine has gone back, or has taken a newer release of the same source since."""
FAILED = [state.value for state in FAILURE]
LOST = [ClaimState.SILENT.value, ClaimState.RELAPSED.value]
LIVE = [state.value for state in HOLDS_SLOT]
UNEXPOSED = [ClaimState.GRANTED.value, ClaimState.EXPIRED.value, ClaimState.GONE.value]

_MACHINE = tuple(column.label(f"machine_{column.name}") for column in MACHINES.columns)
_SITE = tuple(column.label(f"site_{column.name}") for column in SITES.columns)
_PEERS = MACHINES.alias("peers")
_HEARD: Any = func.max(_PEERS.c.last_seen_at, type_=tables.Moment())
_WORD = tuple(
    select(of)
    .where(_PEERS.c.site == CLAIMS.c.site, _PEERS.c.status == MachineStatus.ACTIVE.value)
    .scalar_subquery()
    .label(name)
    for name, of in (("word_machines", func.count(_PEERS.c.last_seen_at)), ("word_at", _HEARD))
)
_OF_FLEET = [BUDGETS.c.rollout == ROLLOUTS.c.id, BUDGETS.c.make == FLEET]
_FLYING = exists().where(*_OF_FLEET, BUDGETS.c.in_flight > 0)
_SHOWN = exists().where(*_OF_FLEET, or_(BUDGETS.c.in_flight > 0, BUDGETS.c.failed > 0))
_LAST: Any = (
    select(CLAIMS.c.resolved_at)
    .where(CLAIMS.c.rollout == ROLLOUTS.c.id, CLAIMS.c.resolved_at.is_not(None))
    .order_by(CLAIMS.c.resolved_at.desc())
    .limit(1)
    .scalar_subquery()
)
_DONE = ROLLOUTS.c.state == RolloutState.DONE.value
_SUPERSEDED = ROLLOUTS.c.state == RolloutState.SUPERSEDED.value
_EXPOSED = (
    select(*ROLLOUTS.columns, _FLYING.label("flying"), _LAST.label("last"))
    .where(or_(_DONE, and_(_SUPERSEDED, _SHOWN)))
    .order_by(ROLLOUTS.c.number)
)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_SEEN: Any = func.coalesce(MACHINES.c.last_seen_at, literal(NEVER, tables.Moment()), type_=tables.Moment())
CLAIM = get(CLAIMS, "id")
CLAIM_OF = Prepared(
    select(CLAIMS).where(*equal(CLAIMS, "machine", "rollout")).order_by(CLAIMS.c.granted_at.desc()).limit(1)
)
CLAIMS_OF = Prepared(select(CLAIMS).where(*equal(CLAIMS, "machine", "rollout")).order_by(CLAIMS.c.granted_at.desc()))
_IN_WATCH = [*equal(CLAIMS, "machine"), CLAIMS.c.watch_until > given(CLAIMS.c.watch_until, "now")]
WATCHED_OF = Prepared(
    select(CLAIMS).where(*_IN_WATCH, CLAIMS.c.state == ClaimState.HEALTHY.value).order_by(CLAIMS.c.id)
)
RELAPSED_OF = Prepared(
    select(CLAIMS)
    .where(*_IN_WATCH, CLAIMS.c.state == ClaimState.RELAPSED.value, CLAIMS.c.crashed_at.is_(None))
    .order_by(CLAIMS.c.id)
)
IN_HAND = Prepared(
    select(CLAIMS).join(MACHINES, MACHINES.c.claim == CLAIMS.c.id).where(MACHINES.c.id == given(MACHINES.c.id))
)


def _part(row: Any, prefix: str, of: Table) -> dict[str, Any]:
    return {column.name: row[f"{prefix}{column.name}"] for column in of.columns}


def to_claim(row: Any) -> Claim:
    """Row -> core."""
    values = {name: row[name] for name in Claim.__slots__ if name not in ("stay_up", "state")}
    return Claim(**values, stay_up=timedelta(seconds=row["stay_up_s"]), state=ClaimState(row["state"]))


class ClaimReadsTx(Rows):
    """See ``gate.ports.Tx``."""

    def claim(self, claim_id: str) -> Claim | None:
        row = self._first(CLAIM, id=claim_id)
        return to_claim(row) if row else None

    def claim_of(self, machine_id: str, rollout_id: str) -> Claim | None:
        row = self._first(CLAIM_OF, machine=machine_id, rollout=rollout_id)
        return to_claim(row) if row else None

    def claims_of(self, machine_id: str, rollout_id: str) -> list[Claim]:
        return [to_claim(row) for row in self._rows(CLAIMS_OF, machine=machine_id, rollout=rollout_id)]

    def rollouts_of(self, machine_id: str) -> list[Rollout]:
        mine = select(CLAIMS.c.rollout).where(CLAIMS.c.machine == machine_id)
        found = select(ROLLOUTS).where(ROLLOUTS.c.id.in_(mine)).order_by(ROLLOUTS.c.number.desc())
        return [to_rollout(row) for row in self._all(found)]

    def live_claim(self, machine_id: str) -> Claim | None:
        row = self._first(IN_HAND, id=machine_id)
        return to_claim(row) if row else None

    def claims(self, rollout_id: str, *, states: Sequence[ClaimState] = (), limit: int = 500) -> list[Claim]:
        found = select(CLAIMS).where(CLAIMS.c.rollout == rollout_id).order_by(CLAIMS.c.granted_at.desc()).limit(limit)
        if states:
            found = found.where(CLAIMS.c.state.in_([state.value for state in states]))
        return [to_claim(row) for row in self._all(found)]

    def failures(
        self, rollout_id: str, limit: int, after: tuple[Claim, bool] | None = None
    ) -> list[tuple[Claim, bool]]:
        rings = select(RINGS.c.ring).where(RINGS.c.rollout == rollout_id)
        installs = CLAIMS.c.rollout == rollout_id, CLAIMS.c.action == Action.INSTALL.value
        found = select(CLAIMS).where(*installs, CLAIMS.c.ring.in_(rings), CLAIMS.c.state.in_(FAILED))
        if after is not None:
            last, explained = after
            same = and_(CLAIMS.c.granted_at == last.granted_at, CLAIMS.c.id > last.id)
            later, said = or_(CLAIMS.c.granted_at < last.granted_at, same), CLAIMS.c.explained.is_(True)
            found = found.where(and_(said, later) if explained else or_(said, later))
        found = found.order_by(CLAIMS.c.explained, CLAIMS.c.granted_at.desc(), CLAIMS.c.id).limit(limit)
        return [(to_claim(row), bool(row["explained"])) for row in self._all(found)]

    def due_claims(self, now: datetime, limit: int = 500) -> list[Claim]:
        due = select(CLAIMS).where(CLAIMS.c.state.in_(LIVE), CLAIMS.c.deadline_at <= now)
        return [to_claim(row) for row in self._all(due.order_by(CLAIMS.c.deadline_at).limit(limit))]

    def watched(self, now: datetime, limit: int = 500) -> list[Claim]:
        due = select(CLAIMS).where(CLAIMS.c.watch_at <= now).order_by(CLAIMS.c.watch_at).limit(limit)
        return [to_claim(row) for row in self._all(due)]

    def watched_of(self, machine_id: str, now: datetime) -> list[Claim]:
        return [to_claim(row) for row in self._rows(WATCHED_OF, machine=machine_id, now=now)]

    def relapsed_of(self, machine_id: str, now: datetime) -> list[Claim]:
        return [to_claim(row) for row in self._rows(RELAPSED_OF, machine=machine_id, now=now)]

    def exposed(self) -> list[tuple[Rollout, datetime | None]]:
        rows = [row for row in self._all(_EXPOSED) if row["flying"] or row["last"] is not None]
        return [(to_rollout(row), None if row["flying"] else row["last"]) for row in rows]

    def count_watched(self, rollout_id: str) -> int:
        watched = [CLAIMS.c.rollout == rollout_id, CLAIMS.c.watch_at.is_not(None)]
        return int(self._all(select(func.count().label("claims")).select_from(CLAIMS).where(*watched))[0]["claims"])

    def dark_sites(self, rollout_id: str = "") -> list[str]:
        found = select(CLAIMS.c.site).where(CLAIMS.c.state.in_(LIVE), CLAIMS.c.dark_at.is_not(None))
        if rollout_id:
            found = found.where(CLAIMS.c.rollout == rollout_id)
        return [row["site"] for row in self._all(found.distinct().order_by(CLAIMS.c.site).limit(200))]

    def lost_at_site(self, rollout_id: str, site: str, since: datetime) -> bool:
        lost = CLAIMS.c.state.in_(LOST), CLAIMS.c.recovered.is_(False), CLAIMS.c.resolved_at > since
        found = select(CLAIMS.c.id).where(CLAIMS.c.rollout == rollout_id, CLAIMS.c.site == site, *lost).limit(1)
        return bool(self._all(found))

    def quiet_since(
        self, rollout_id: str, rings: Sequence[str], seen_before: datetime, limit: int, after: Quiet | None = None
    ) -> list[Quiet]:
        quiet = (
            select(*CLAIMS.columns, *_MACHINE, *_SITE, *_WORD)
            .select_from(
                CLAIMS.join(MACHINES, MACHINES.c.id == CLAIMS.c.machine).outerjoin(SITES, SITES.c.id == CLAIMS.c.site)
            )
            .where(
                CLAIMS.c.rollout == rollout_id,
                CLAIMS.c.ring.in_(rings),
                CLAIMS.c.state.in_(LIVE),
                CLAIMS.c.granted_at <= seen_before,
                or_(MACHINES.c.last_seen_at.is_(None), MACHINES.c.last_seen_at <= seen_before),
            )
            .order_by(_SEEN, CLAIMS.c.id)
            .limit(limit)
        )
        if after is not None:
            seen = after.machine.last_seen_at or NEVER
            quiet = quiet.where(or_(seen < _SEEN, and_(seen == _SEEN, CLAIMS.c.id > after.claim.id)))
        return [
            Quiet(
                to_claim(row),
                to_machine(_part(row, "machine_", MACHINES)),
                to_site(_part(row, "site_", SITES)) if row["site_id"] is not None else None,
                (int(row["word_machines"]), row["word_at"]),
            )
            for row in self._all(quiet)
        ]

    def holders(self, rollout_id: str, seen_before: datetime, limit: int = 500) -> list[Holder]:
        unheard = _unheard(seen_before)
        count = func.count(distinct(MACHINES.c.id))
        missing = func.count(distinct(case((unheard, MACHINES.c.id))))
        found = (
            select(
                SITES.c.id.label("site"),
                SITES.c.name,
                count.label("machines"),
                missing.label("unheard"),
                func.max(case((unheard, MACHINES.c.last_seen_at))).label("last_seen_at"),
            )
            .select_from(CLAIMS)
            .join(ROLLOUTS, ROLLOUTS.c.id == CLAIMS.c.rollout)
            .join(MACHINES, MACHINES.c.id == CLAIMS.c.machine)
            .join(SITES, SITES.c.id == MACHINES.c.site)
            .outerjoin(SESSIONS, SESSIONS.c.machine == MACHINES.c.id)
            .where(*_holding(rollout_id))
            .group_by(SITES.c.id, SITES.c.name)
            .order_by(missing.desc(), SITES.c.id)
            .limit(limit)
        )
        return [Holder(**row) for row in self._all(found)]

    def count_holders(self, rollout_id: str, seen_before: datetime) -> dict[str, tuple[int, int]]:
        missing = func.count(distinct(case((_unheard(seen_before), MACHINES.c.id))))
        found = (
            select(MACHINES.c.ring, func.count(distinct(MACHINES.c.id)).label("machines"), missing.label("unheard"))
            .select_from(CLAIMS)
            .join(ROLLOUTS, ROLLOUTS.c.id == CLAIMS.c.rollout)
            .join(MACHINES, MACHINES.c.id == CLAIMS.c.machine)
            .outerjoin(SESSIONS, SESSIONS.c.machine == MACHINES.c.id)
            .where(*_holding(rollout_id))
            .group_by(MACHINES.c.ring)
        )
        return {row["ring"]: (row["machines"], row["unheard"]) for row in self._all(found)}

    def attributions(self, rollout_id: str) -> list[Attribution]:
        found = select(ATTRIBUTIONS).where(ATTRIBUTIONS.c.rollout == rollout_id).order_by(ATTRIBUTIONS.c.id)
        return [Attribution(**{name: row[name] for name in Attribution.__slots__}) for row in self._all(found)]


def _unheard(seen_before: datetime) -> ColumnElement[bool]:
    return or_(MACHINES.c.last_seen_at.is_(None), MACHINES.c.last_seen_at <= seen_before)


def _holding(rollout_id: str) -> tuple[ColumnElement[bool], ...]:
    """Active machines that have the release of a rollout, or may have it, and have not gone back or on."""
    return (
        CLAIMS.c.rollout == rollout_id,
        CLAIMS.c.action == Action.INSTALL.value,
        MACHINES.c.status == MachineStatus.ACTIVE.value,
        or_(SESSIONS.c.installed.contains(CLAIMS.c.release, autoescape=False), CLAIMS.c.state.in_(MAY_HAVE)),
        ~_GONE_ON,
    )
