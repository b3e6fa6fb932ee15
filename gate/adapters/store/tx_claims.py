"""Claims: granted by conditional updates in one savepoint, moved with every counter in the same transaction.

- Fixed order of rows: rollout, ring, stratum, budgets, site, site's role, machine. A zero row count rolls all back.
- What refused is told apart only after the failed update, by one read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, distinct, exists, func, or_, select, union_all

from gate.adapters.store import tables
from gate.adapters.store.prepared import Prepared, add, change, equal, get, given, together
from gate.adapters.store.rows import Rows, table
from gate.adapters.store.tx_machines import MACHINES, ROLES, SESSIONS, SITES
from gate.adapters.store.tx_rollouts import BOOTS, BUDGETS, RINGS, ROLLOUT, ROLLOUTS, STRATA
from gate.adapters.store.tx_spans import COUNT_SPAN
from gate.core.claims import BROKEN, FAILURE, HOLDS_SLOT
from gate.core.counters import Counts, boots_change, counts, last_tried
from gate.core.evalues import BOOTS as LAST_BOOT
from gate.core.model import FLEET, Action, Attribution, Claim, ClaimState, MachineStatus, RolloutState
from gate.core.spans import EVERY_BOOT, hour_of
from gate.core.spans import change as span_change
from gate.ports import GrantLimits, Holder

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
LIVE = [state.value for state in HOLDS_SLOT]
UNEXPOSED = [ClaimState.GRANTED.value, ClaimState.EXPIRED.value, ClaimState.GONE.value]
TAKEN = [*LIVE, *(state.value for state in BROKEN)]

CLAIM = get(CLAIMS, "id")
CLAIM_OF = Prepared(
    select(CLAIMS).where(*equal(CLAIMS, "machine", "rollout")).order_by(CLAIMS.c.granted_at.desc()).limit(1)
)
CLAIMS_OF = Prepared(select(CLAIMS).where(*equal(CLAIMS, "machine", "rollout")).order_by(CLAIMS.c.granted_at.desc()))
IN_HAND = Prepared(
    select(CLAIMS).join(MACHINES, MACHINES.c.claim == CLAIMS.c.id).where(MACHINES.c.id == given(MACHINES.c.id))
)
_NAMES = [column.name for column in CLAIMS.columns if column.name not in ("id", "explained")]
ADD_CLAIM = add(CLAIMS, "id", *_NAMES)
MOVE_CLAIM = change(
    CLAIMS,
    [*equal(CLAIMS, "id"), CLAIMS.c.version == given(CLAIMS.c.version, "before")],
    *_NAMES,
)

# what a grant takes, in this order; each is one conditional statement
_ROLLOUT = equal(ROLLOUTS, "id")
_GRANTS = or_(ROLLOUTS.c.state == RolloutState.RUNNING.value, ROLLOUTS.c.state == RolloutState.DONE.value)
RECALL_ROLLOUT = change(
    ROLLOUTS, [*_ROLLOUT, ROLLOUTS.c.state == RolloutState.RECALLED.value], claims=ROLLOUTS.c.claims + 1
)
TAKE_ROLLOUT = change(ROLLOUTS, [*_ROLLOUT, _GRANTS], claims=ROLLOUTS.c.claims + 1)
_RING = equal(RINGS, "rollout", "ring")
TAKE_RING = change(
    RINGS,
    [*_RING, RINGS.c.opened_at.is_not(None), or_(RINGS.c.cap == 0, RINGS.c.in_flight < RINGS.c.cap)],
    in_flight=RINGS.c.in_flight + 1,
)
_STRATUM = equal(STRATA, "rollout", "ring", "make")
TAKE_STRATUM = change(STRATA, [*_STRATUM, STRATA.c.open.is_(True)], exposed=STRATA.c.exposed)
_BUDGET = equal(BUDGETS, "rollout", "make")
_ROOM = [*_BUDGET, BUDGETS.c.stopped.is_(False), BUDGETS.c.in_flight < BUDGETS.c.allowed]
TAKE_BUDGET = change(BUDGETS, _ROOM, in_flight=BUDGETS.c.in_flight + 1)
TAKE_BUDGET_LAST = change(
    BUDGETS, [*_ROOM, BUDGETS.c.healthy >= given(BUDGETS.c.healthy, "sole_after")], in_flight=BUDGETS.c.in_flight + 1
)
_SITE = [SITES.c.id == given(SITES.c.id, "site")]
_ROLE = [ROLES.c.site == given(ROLES.c.site), ROLES.c.role == given(ROLES.c.role)]
_HALF = (ROLES.c.total - ROLES.c.broken) // 2
_ALLOWED = select(case((_HALF < 1, 1), else_=_HALF)).where(*_ROLE).scalar_subquery()
TAKE_SITE = change(
    SITES, [*_SITE, SITES.c.in_flight < given(SITES.c.in_flight, "per_site")], in_flight=SITES.c.in_flight + 1
)
TAKE_HALF_SITE = change(SITES, [*_SITE, SITES.c.in_flight < _ALLOWED], in_flight=SITES.c.in_flight + 1)
_ALONE = and_(ROLES.c.total == 1, ROLES.c.busy == 0)
TAKE_ROLE = change(ROLES, [*_ROLE, or_(_ALONE, ROLES.c.busy < ROLES.c.total - 1)], busy=ROLES.c.busy + 1)
SITE_AGAIN = change(SITES, _SITE, in_flight=SITES.c.in_flight + 1)
ROLE_AGAIN = change(ROLES, _ROLE, busy=ROLES.c.busy + 1)
SAME_MAKE = Prepared(
    select(CLAIMS.c.id)
    .where(*equal(CLAIMS, "rollout", "make", "site"), or_(*(CLAIMS.c.state == state for state in TAKEN)))
    .limit(1)
)
TAKE_MACHINE = change(
    MACHINES,
    [*equal(MACHINES, "id"), MACHINES.c.claim.is_(None), MACHINES.c.status == MachineStatus.ACTIVE.value],
    "claim",
    touches=["machines.claim"],
)
RING = get(RINGS, "rollout", "ring")
BUDGET = get(BUDGETS, "rollout", "make")

# what a move gives back
FREE_MACHINE = change(MACHINES, equal(MACHINES, "id", "claim"), "claim", touches=["machines.claim"])
COUNT_RING = change(RINGS, _RING, in_flight=RINGS.c.in_flight + given(RINGS.c.in_flight, "flight"))
COUNT_SITE = change(SITES, _SITE, in_flight=SITES.c.in_flight + given(SITES.c.in_flight, "busy_change"))
COUNT_ROLE = change(
    ROLES,
    _ROLE,
    busy=ROLES.c.busy + given(ROLES.c.busy, "busy_change"),
    broken=ROLES.c.broken + given(ROLES.c.broken, "broken_change"),
)
SUMMED = ("exposed", "healthy", "failed", "silent", "recovered", "crashed", "late_failed")
COUNT_STRATUM = change(
    STRATA, _STRATUM, **{name: STRATA.c[name] + given(STRATA.c[name], f"more_{name}") for name in SUMMED}
)
COUNT_BUDGET = change(
    BUDGETS,
    _BUDGET,
    in_flight=BUDGETS.c.in_flight + given(BUDGETS.c.in_flight, "flight"),
    healthy=BUDGETS.c.healthy + given(BUDGETS.c.healthy, "more_healthy"),
    failed=BUDGETS.c.failed + given(BUDGETS.c.failed, "more_failed"),
    tried=BUDGETS.c.tried + given(BUDGETS.c.tried, "more_tried"),
    tried_failed=BUDGETS.c.tried_failed + given(BUDGETS.c.tried_failed, "more_failed"),
)
COUNT_BOOT = change(
    BOOTS,
    equal(BOOTS, "rollout", "boot"),
    tried=BOOTS.c.tried + given(BOOTS.c.tried, "more_tried"),
    failed=BOOTS.c.failed + given(BOOTS.c.failed, "more_failed"),
)


@dataclass(frozen=True, slots=True)
class _Take:
    """One condition of a grant: how many rows the statement must meet, and which refusal it is otherwise."""

    statement: Prepared
    values: dict[str, Any]
    refused: Callable[[dict[str, Any]], str]
    count: int = 1


class _Refused(Exception):
    """Rolls the savepoint back; carries the kind."""


def to_claim(row: Any) -> Claim:
    """Row -> core."""
    values = {name: row[name] for name in Claim.__slots__ if name not in ("stay_up", "state")}
    return Claim(**values, stay_up=timedelta(seconds=row["stay_up_s"]), state=ClaimState(row["state"]))


def _values(claim: Claim) -> dict[str, Any]:
    values = {name: getattr(claim, name) for name in Claim.__slots__}
    values["stay_up_s"] = int(values.pop("stay_up").total_seconds())
    values["state"] = claim.state.value
    return values


class ClaimsTx(Rows):
    """See ``gate.ports.Tx``."""

    def claim(self, claim_id: str) -> Claim | None:
        row = self._first(CLAIM, id=claim_id)
        return to_claim(row) if row else None

    def claim_of(self, machine_id: str, rollout_id: str) -> Claim | None:
        row = self._first(CLAIM_OF, machine=machine_id, rollout=rollout_id)
        return to_claim(row) if row else None

    def claims_of(self, machine_id: str, rollout_id: str) -> list[Claim]:
        return [to_claim(row) for row in self._rows(CLAIMS_OF, machine=machine_id, rollout=rollout_id)]

    def live_claim(self, machine_id: str) -> Claim | None:
        row = self._first(IN_HAND, id=machine_id)
        return to_claim(row) if row else None

    def claims(self, rollout_id: str, *, states: Sequence[ClaimState] = (), limit: int = 500) -> list[Claim]:
        found = select(CLAIMS).where(CLAIMS.c.rollout == rollout_id).order_by(CLAIMS.c.granted_at.desc()).limit(limit)
        if states:
            found = found.where(CLAIMS.c.state.in_([state.value for state in states]))
        return [to_claim(row) for row in self._all(found)]

    def grant(self, claim: Claim, limits: GrantLimits) -> str | None:
        try:
            with self.savepoint():
                self._take(self._wanted(claim, limits))
        except _Refused as refused:
            return str(refused)
        return None

    def _take(self, wanted: Sequence[_Take]) -> None:
        """All of them, or the refusal of the first that is not to be had."""
        self.writes += 1
        if self._raw.dialect.name == "postgresql":
            counted = together(self._raw, [(one.statement, one.values) for one in wanted])
            for one, count in zip(wanted, counted, strict=True):
                if count != one.count:
                    raise _Refused(one.refused(one.values))
            return
        for one in wanted:
            if one.statement.count(self._raw, one.values) != one.count:
                raise _Refused(one.refused(one.values))

    def _wanted(self, claim: Claim, limits: GrantLimits) -> list[_Take]:
        """What the grant takes, in this order."""
        recall = claim.action == "recall"
        role = {"site": claim.site, "role": claim.role}
        takes = [_Take(RECALL_ROLLOUT if recall else TAKE_ROLLOUT, {"id": claim.rollout}, self._no_rollout)]
        if not recall:
            place = {"rollout": claim.rollout, "ring": claim.ring}
            takes.append(_Take(TAKE_RING, place, self._no_ring))
            takes.append(_Take(TAKE_STRATUM, place | {"make": claim.make}, lambda _: "make_unproven"))
            make = {"rollout": claim.rollout, "make": claim.make}
            if limits.sole:
                takes.append(_Take(TAKE_BUDGET_LAST, make | {"sole_after": limits.sole_after}, self._no_budget))
            else:
                takes.append(_Take(TAKE_BUDGET, make, self._no_budget))
            takes.append(_Take(TAKE_BUDGET, make | {"make": FLEET}, self._no_budget))
        if limits.again:
            takes.append(_Take(SITE_AGAIN, {"site": claim.site}, lambda _: "site_limit"))
        elif limits.per_site == 0:
            takes.append(_Take(TAKE_HALF_SITE, role, lambda _: "site_limit"))
        else:
            site = {"site": claim.site, "per_site": limits.per_site}
            takes.append(_Take(TAKE_SITE, site, lambda _: "site_limit"))
        if limits.first_batch:  # read under the site's row lock, which every grant takes
            same = {"rollout": claim.rollout, "make": claim.make, "site": claim.site}
            takes.append(_Take(SAME_MAKE, same, lambda _: "site_limit", count=0))
        takes.append(_Take(ROLE_AGAIN if limits.again else TAKE_ROLE, role, lambda _: "last_of_role"))
        takes.append(_Take(TAKE_MACHINE, {"id": claim.machine, "to_claim": claim.id}, lambda _: "other_in_flight"))
        takes.append(_Take(ADD_CLAIM, _values(claim), lambda _: "other_in_flight"))
        return takes

    def _no_rollout(self, values: dict[str, Any]) -> str:
        row = ROLLOUT.first(self._raw, values)
        kinds = {
            RolloutState.HALTED.value: "halted",
            RolloutState.HELD.value: "held",
            RolloutState.QUEUED.value: "held",
        }
        return kinds.get(row["state"], "superseded") if row else "ring_not_open"

    def _no_ring(self, values: dict[str, Any]) -> str:
        row = RING.first(self._raw, values)
        return "cap_reached" if row and row["opened_at"] is not None else "ring_not_open"

    def _no_budget(self, values: dict[str, Any]) -> str:
        row = BUDGET.first(self._raw, values)
        if row is None:
            return "make_unproven"
        if row["stopped"]:
            return "unexplained_failure"
        return "budget_reached" if row["in_flight"] >= row["allowed"] else "last_of_role"

    def move(self, before: Claim, after: Claim) -> bool:
        values = _values(after)
        key = values.pop("id")
        wanted = {f"to_{name}": value for name, value in values.items()}
        if not self._later(MOVE_CLAIM, exact=True, id=key, before=before.version, **wanted):
            return False
        self._count_change(after, counts(after).minus(counts(before)), boots_change(before, after))
        if after.action != "recall":
            self._count_span(after, span_change(before, after))
        if after.state not in HOLDS_SLOT and (after.state is not ClaimState.SILENT or after.recovered):
            self._later(FREE_MACHINE, id=after.machine, claim=after.id, to_claim=None)
        return True

    def _count_change(self, claim: Claim, change: Counts, boots: Mapping[int, tuple[int, int]]) -> None:
        if change.flight and claim.action != "recall":
            self._sum(COUNT_RING, {"rollout": claim.rollout, "ring": claim.ring}, {"flight": change.flight})
        if claim.action != "recall":
            self._count_evidence(claim, change)
            self._count_boots(claim, boots)
        if change.busy:
            self._sum(COUNT_SITE, {"site": claim.site}, {"busy_change": change.busy})
        if change.busy or change.broken:
            role = {"site": claim.site, "role": claim.role}
            self._sum(COUNT_ROLE, role, {"busy_change": change.busy, "broken_change": change.broken})

    def _count_evidence(self, claim: Claim, change: Counts) -> None:
        more = {f"more_{name}": getattr(change, name) for name in SUMMED}
        if any(more.values()):
            self._sum(COUNT_STRATUM, {"rollout": claim.rollout, "ring": claim.ring, "make": claim.make}, more)
        sums = {"flight": change.flight, "more_healthy": change.healthy, "more_failed": change.bad}
        sums["more_tried"] = change.tried
        if any(sums.values()):
            for make in (claim.make, FLEET):
                self._sum(COUNT_BUDGET, {"rollout": claim.rollout, "make": make}, sums)

    def _count_boots(self, claim: Claim, boots: Mapping[int, tuple[int, int]]) -> None:
        for number, (tried, failed) in boots.items():
            key = {"rollout": claim.rollout, "boot": number}
            self._sum(COUNT_BOOT, key, {"more_tried": tried, "more_failed": failed})

    def _count_span(self, claim: Claim, moved: Mapping[int, tuple[int, int]]) -> None:
        if claim.tried_at is None:
            return
        for boot, (tried, failed) in moved.items():
            key = {"rollout": claim.rollout, "hour": hour_of(claim.tried_at), "make": claim.make, "boot": boot}
            self._sum(COUNT_SPAN, key, {"more_tried": tried, "more_failed": failed})

    def failed_sites(self, rollout_id: str, rings: Sequence[str]) -> int:
        found = select(func.count(CLAIMS.c.site.distinct()).label("sites")).where(
            CLAIMS.c.rollout == rollout_id,
            CLAIMS.c.ring.in_(rings),
            CLAIMS.c.state.in_([state.value for state in FAILURE]),
            CLAIMS.c.explained.is_(False),
            CLAIMS.c.action != "recall",
        )
        return int(self._all(found)[0]["sites"])

    def exposed_sites(self, rollout_id: str) -> int:
        exposed = [CLAIMS.c.rollout == rollout_id, CLAIMS.c.state.not_in(UNEXPOSED), CLAIMS.c.action != "recall"]
        first = select(CLAIMS.c.site).where(*exposed).order_by(CLAIMS.c.site).limit(1).subquery()
        last = select(CLAIMS.c.site).where(*exposed).order_by(CLAIMS.c.site.desc()).limit(1).subquery()
        return len({row["site"] for row in self._all(union_all(select(first.c.site), select(last.c.site)))})

    def due_claims(self, now: datetime, limit: int = 500) -> list[Claim]:
        due = select(CLAIMS).where(CLAIMS.c.state.in_(LIVE), CLAIMS.c.deadline_at <= now)
        return [to_claim(row) for row in self._all(due.order_by(CLAIMS.c.deadline_at).limit(limit))]

    def watched(self, now: datetime, limit: int = 500) -> list[Claim]:
        due = select(CLAIMS).where(CLAIMS.c.watch_at <= now).order_by(CLAIMS.c.watch_at).limit(limit)
        return [to_claim(row) for row in self._all(due)]

    def count_watched(self, rollout_id: str) -> int:
        watched = [CLAIMS.c.rollout == rollout_id, CLAIMS.c.watch_at.is_not(None)]
        return int(self._all(select(func.count().label("claims")).select_from(CLAIMS).where(*watched))[0]["claims"])

    def dark_sites(self, rollout_id: str = "") -> list[str]:
        found = select(CLAIMS.c.site).where(CLAIMS.c.state.in_(LIVE), CLAIMS.c.dark_at.is_not(None))
        if rollout_id:
            found = found.where(CLAIMS.c.rollout == rollout_id)
        return [row["site"] for row in self._all(found.distinct().order_by(CLAIMS.c.site).limit(200))]

    def silent_at_site(self, rollout_id: str, site: str) -> bool:
        lost = CLAIMS.c.state == ClaimState.SILENT.value, CLAIMS.c.recovered.is_(False)
        found = select(CLAIMS.c.id).where(CLAIMS.c.rollout == rollout_id, CLAIMS.c.site == site, *lost).limit(1)
        return bool(self._all(found))

    def count_bad(self, rollout_id: str, rings: Sequence[str], kinds: Sequence[ClaimState], since: datetime) -> int:
        found = (
            select(CLAIMS.c.id)
            .where(
                CLAIMS.c.rollout == rollout_id,
                CLAIMS.c.ring.in_(rings),
                CLAIMS.c.state.in_([kind.value for kind in kinds]),
                CLAIMS.c.resolved_at >= since,
                CLAIMS.c.explained.is_(False),
            )
            .limit(1000)
        )
        return len(self._all(found))

    def quiet_since(self, rollout_id: str, rings: Sequence[str], seen_before: datetime, limit: int) -> list[Claim]:
        quiet = (
            select(CLAIMS)
            .join(MACHINES, MACHINES.c.id == CLAIMS.c.machine)
            .where(
                CLAIMS.c.rollout == rollout_id,
                CLAIMS.c.ring.in_(rings),
                CLAIMS.c.state.in_(LIVE),
                CLAIMS.c.granted_at <= seen_before,
                or_(MACHINES.c.last_seen_at.is_(None), MACHINES.c.last_seen_at <= seen_before),
            )
            .limit(limit)
        )
        return [to_claim(row) for row in self._all(quiet)]

    def healthy_sites(self, rollout_id: str, rings: Sequence[str], make: str, limit: int) -> list[str]:
        found = (
            select(CLAIMS.c.site)
            .where(
                CLAIMS.c.rollout == rollout_id,
                CLAIMS.c.make == make,
                CLAIMS.c.state == ClaimState.HEALTHY.value,
                CLAIMS.c.ring.in_(rings),
                CLAIMS.c.cohort.is_(True),
            )
            .order_by(CLAIMS.c.resolved_at)
            .limit(limit)
        )
        return [str(row["site"]) for row in self._all(found)]

    def holders(self, rollout_id: str, seen_before: datetime, limit: int = 500) -> list[Holder]:
        unheard = or_(MACHINES.c.last_seen_at.is_(None), MACHINES.c.last_seen_at <= seen_before)
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
            .where(
                CLAIMS.c.rollout == rollout_id,
                CLAIMS.c.action == Action.INSTALL.value,
                MACHINES.c.status == MachineStatus.ACTIVE.value,
                or_(SESSIONS.c.installed.contains(CLAIMS.c.release, autoescape=False), CLAIMS.c.state.in_(MAY_HAVE)),
                ~_GONE_ON,
            )
            .group_by(SITES.c.id, SITES.c.name)
            .order_by(missing.desc(), SITES.c.id)
            .limit(limit)
        )
        return [Holder(**row) for row in self._all(found)]

    def explain(self, claim_id: str) -> bool:
        claim = self.claim(claim_id)
        if claim is None or not counts(claim).bad:
            return False
        if self._update(CLAIMS, [CLAIMS.c.id == claim_id, CLAIMS.c.explained.is_(False)], explained=True) != 1:
            return False
        self._excuse(claim, 1)
        return True

    def _excuse(self, claim: Claim, more: int) -> None:
        """A failure leaves what is counted against the release (1), or comes back to it (-1)."""
        key = [STRATA.c.rollout == claim.rollout, STRATA.c.ring == claim.ring, STRATA.c.make == claim.make]
        self._update(STRATA, key, explained=STRATA.c.explained + more)
        for make in (claim.make, FLEET):
            where = [BUDGETS.c.rollout == claim.rollout, BUDGETS.c.make == make]
            self._update(
                BUDGETS,
                where,
                failed=BUDGETS.c.failed - more,
                tried=BUDGETS.c.tried - more,
                tried_failed=BUDGETS.c.tried_failed - more,
            )
        away = {EVERY_BOOT: (-more, -more)}
        if last_tried(claim) <= LAST_BOOT:
            where = [BOOTS.c.rollout == claim.rollout, BOOTS.c.boot == last_tried(claim)]
            self._update(BOOTS, where, tried=BOOTS.c.tried - more, failed=BOOTS.c.failed - more)
            away[last_tried(claim)] = (-more, -more)
        self._count_span(claim, away)

    def leave(self, before: Claim, after: Claim) -> bool:
        if not self.move(before, after):
            return False
        if self._update(CLAIMS, [CLAIMS.c.id == before.id, CLAIMS.c.explained.is_(True)], explained=False) == 1:
            self._excuse(before, -1)
        return True

    def leave_ring(self, rollout_id: str, ring: str, make: str, *, share: bool, site: bool) -> bool:
        key = [STRATA.c.rollout == rollout_id, STRATA.c.ring == ring, STRATA.c.make == make, STRATA.c.members > 0]
        less = {"share_members": int(share), "sites": int(site), "members": 1}
        wanted = {name: case((STRATA.c[name] > 0, STRATA.c[name] - by), else_=0) for name, by in less.items()}
        if self._update(STRATA, key, **wanted) != 1:
            return False
        where = [RINGS.c.rollout == rollout_id, RINGS.c.ring == ring, RINGS.c.members > 0]
        self._update(RINGS, where, members=RINGS.c.members - 1)
        return True

    def attribute(self, said: Attribution) -> None:
        self._insert(ATTRIBUTIONS, **{name: getattr(said, name) for name in Attribution.__slots__})

    def attributions(self, rollout_id: str) -> list[Attribution]:
        found = select(ATTRIBUTIONS).where(ATTRIBUTIONS.c.rollout == rollout_id).order_by(ATTRIBUTIONS.c.id)
        return [Attribution(**{name: row[name] for name in Attribution.__slots__}) for row in self._all(found)]
