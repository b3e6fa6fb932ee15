"""Claims: granted by conditional updates in one savepoint, moved with every counter in the same transaction.

- Fixed order of rows: rollout, ring, stratum, budgets, site, site's role, machine. A zero row count rolls all back.
- What refused is told apart only after the failed update, by one read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, and_, case, exists, func, literal, or_, select

from gate.adapters.store.prepared import Prepared, add, change, equal, get, given, together
from gate.adapters.store.tx_claim_reads import ATTRIBUTIONS, CLAIMS, LIVE, ClaimReadsTx
from gate.adapters.store.tx_machines import MACHINES, ROLES, SITES, heard_at
from gate.adapters.store.tx_rollouts import BOOTS, BUDGETS, RINGS, ROLLOUT, ROLLOUTS, STRATA
from gate.adapters.store.tx_spans import COUNT_SPAN
from gate.core.claims import BROKEN, HOLDS_SLOT
from gate.core.counters import Counts, boots_change, counts, last_tried
from gate.core.evalues import BOOTS as LAST_BOOT
from gate.core.model import FLEET, Attribution, Claim, ClaimState, MachineStatus, RolloutState
from gate.core.spans import EVERY_BOOT, hour_of
from gate.core.spans import change as span_change
from gate.ports import GrantLimits, Joining

TAKEN = [*LIVE, *(state.value for state in BROKEN)]

_NAMES = [column.name for column in CLAIMS.columns if column.name not in ("id", "explained")]
ADD_CLAIM = add(CLAIMS, "id", *_NAMES)
MOVE_CLAIM = change(
    CLAIMS,
    [*equal(CLAIMS, "id"), CLAIMS.c.version == given(CLAIMS.c.version, "before")],
    *_NAMES,
)


def _asks(table: Table, conditions: Sequence[Any]) -> Prepared:
    """One row where the conditions are met; nothing changes."""
    found = select(literal(1).label("met")).select_from(table).where(*conditions).limit(1)
    return Prepared(found, touches=[table.name, ROLES.name, MACHINES.name, CLAIMS.name])


# what a grant takes, in this order; each is one conditional statement, and ``ASK_`` reads the same conditions
_ROLLOUT = equal(ROLLOUTS, "id")
_GRANTS = or_(ROLLOUTS.c.state == RolloutState.RUNNING.value, ROLLOUTS.c.state == RolloutState.DONE.value)
RECALL_ROLLOUT = change(
    ROLLOUTS, [*_ROLLOUT, ROLLOUTS.c.state == RolloutState.RECALLED.value], claims=ROLLOUTS.c.claims + 1
)
TAKE_ROLLOUT = change(ROLLOUTS, [*_ROLLOUT, _GRANTS], claims=ROLLOUTS.c.claims + 1)
ASK_ROLLOUT = _asks(ROLLOUTS, [*_ROLLOUT, _GRANTS])
_RING = equal(RINGS, "rollout", "ring")
_UNDER_CAP = [*_RING, RINGS.c.opened_at.is_not(None), or_(RINGS.c.cap == 0, RINGS.c.in_flight < RINGS.c.cap)]
TAKE_RING = change(RINGS, _UNDER_CAP, in_flight=RINGS.c.in_flight + 1)
ASK_RING = _asks(RINGS, _UNDER_CAP)
_STRATUM = equal(STRATA, "rollout", "ring", "make")
TAKE_STRATUM = change(STRATA, [*_STRATUM, STRATA.c.open.is_(True)], exposed=STRATA.c.exposed)
ASK_STRATUM = _asks(STRATA, [*_STRATUM, STRATA.c.open.is_(True)])
_BUDGET = equal(BUDGETS, "rollout", "make")
_ROOM = [*_BUDGET, BUDGETS.c.stopped.is_(False), BUDGETS.c.in_flight < BUDGETS.c.allowed]
TAKE_BUDGET = change(BUDGETS, _ROOM, in_flight=BUDGETS.c.in_flight + 1)
ASK_BUDGET = _asks(BUDGETS, _ROOM)
_ROOM_FOR_LAST = [*_ROOM, BUDGETS.c.healthy >= given(BUDGETS.c.healthy, "sole_after")]
TAKE_BUDGET_LAST = change(BUDGETS, _ROOM_FOR_LAST, in_flight=BUDGETS.c.in_flight + 1)
ASK_BUDGET_LAST = _asks(BUDGETS, _ROOM_FOR_LAST)
_SITE = [SITES.c.id == given(SITES.c.id, "site")]
_ROLE = [ROLES.c.site == given(ROLES.c.site), ROLES.c.role == given(ROLES.c.role)]
_HALF = (ROLES.c.total - ROLES.c.broken) // 2
_ALLOWED = select(case((_HALF < 1, 1), else_=_HALF)).where(*_ROLE).scalar_subquery()
_PLACE_AT_SITE = [*_SITE, SITES.c.in_flight < given(SITES.c.in_flight, "per_site")]
TAKE_SITE = change(SITES, _PLACE_AT_SITE, in_flight=SITES.c.in_flight + 1)
ASK_SITE = _asks(SITES, _PLACE_AT_SITE)
TAKE_HALF_SITE = change(SITES, [*_SITE, SITES.c.in_flight < _ALLOWED], in_flight=SITES.c.in_flight + 1)
ASK_HALF_SITE = _asks(SITES, [*_SITE, SITES.c.in_flight < _ALLOWED])
_PEERS, _THEIRS = MACHINES.alias("peers"), CLAIMS.alias("theirs")
_COUNTED = exists().where(
    _THEIRS.c.machine == _PEERS.c.id,
    or_(*(_THEIRS.c.state == state for state in TAKEN)),
    _THEIRS.c.recovered.is_(False),
)  # busy has them
_LOST = (
    select(func.count())
    .select_from(_PEERS)
    .where(
        _PEERS.c.site == given(ROLES.c.site),
        _PEERS.c.role == given(ROLES.c.role),
        _PEERS.c.id != given(_PEERS.c.id, "machine"),
        _PEERS.c.status == MachineStatus.ACTIVE.value,
        heard_at(_PEERS) < given(_PEERS.c.last_seen_at, "heard_since"),
        ~_COUNTED,
    )
    .scalar_subquery()
)
_WORKING = ROLES.c.total - _LOST
_ALONE = and_(_WORKING <= 1, ROLES.c.busy == 0)
_READS = [ROLES.name, MACHINES.name, CLAIMS.name]
_NOT_LAST = [*_ROLE, or_(_ALONE, ROLES.c.busy < _WORKING - 1)]
TAKE_ROLE = change(ROLES, _NOT_LAST, touches=_READS, busy=ROLES.c.busy + 1)
ASK_ROLE = _asks(ROLES, _NOT_LAST)
SITE_AGAIN = change(SITES, _SITE, in_flight=SITES.c.in_flight + 1)
ROLE_AGAIN = change(ROLES, _ROLE, busy=ROLES.c.busy + 1)
SAME_MAKE = Prepared(
    select(CLAIMS.c.id)
    .where(*equal(CLAIMS, "rollout", "make", "site"), or_(*(CLAIMS.c.state == state for state in LIVE)))
    .limit(1)
)
_FREE = [*equal(MACHINES, "id"), MACHINES.c.claim.is_(None), MACHINES.c.status == MachineStatus.ACTIVE.value]
TAKE_MACHINE = change(MACHINES, _FREE, "claim", touches=["machines.claim"])
ASK_MACHINE = _asks(MACHINES, _FREE)
ASKS = {
    TAKE_ROLLOUT: ASK_ROLLOUT,
    TAKE_RING: ASK_RING,
    TAKE_STRATUM: ASK_STRATUM,
    TAKE_BUDGET: ASK_BUDGET,
    TAKE_BUDGET_LAST: ASK_BUDGET_LAST,
    TAKE_SITE: ASK_SITE,
    TAKE_HALF_SITE: ASK_HALF_SITE,
    SAME_MAKE: SAME_MAKE,
    TAKE_ROLE: ASK_ROLE,
    TAKE_MACHINE: ASK_MACHINE,
}
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


def _values(claim: Claim) -> dict[str, Any]:
    values = {name: getattr(claim, name) for name in Claim.__slots__}
    values["stay_up_s"] = int(values.pop("stay_up").total_seconds())
    values["state"] = claim.state.value
    return values


class ClaimsTx(ClaimReadsTx):
    """See ``gate.ports.Tx``."""

    def grant(self, claim: Claim, limits: GrantLimits) -> str | None:
        try:
            with self.savepoint():
                self._take(self._wanted(claim, limits))
        except _Refused as refused:
            return str(refused)
        return None

    def would_refuse(self, claim: Claim, limits: GrantLimits) -> str | None:
        for one in self._wanted(claim, limits):
            asks = ASKS.get(one.statement)
            if asks is not None and (self._first(asks, **one.values) is not None) != bool(one.count):
                return one.refused(one.values)
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
        if limits.one_of_make:  # read under the site's row lock, which every grant takes
            same = {"rollout": claim.rollout, "make": claim.make, "site": claim.site}
            takes.append(_Take(SAME_MAKE, same, lambda _: "site_limit", count=0))
        working = role | {"machine": claim.machine, "heard_since": limits.heard_since}
        takes.append(_Take(ROLE_AGAIN if limits.again else TAKE_ROLE, working, lambda _: "last_of_role"))
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

    def leave_ring(
        self, rollout_id: str, ring: str, make: str, *, share: bool, site: bool, plural: bool = False
    ) -> bool:
        key = [STRATA.c.rollout == rollout_id, STRATA.c.ring == ring, STRATA.c.make == make, STRATA.c.members > 0]
        less = {"share_members": int(share), "sites": int(site), "plural": int(plural), "members": 1}
        wanted = {name: case((STRATA.c[name] > 0, STRATA.c[name] - by), else_=0) for name, by in less.items()}
        if self._update(STRATA, key, **wanted) != 1:
            return False
        where = [RINGS.c.rollout == rollout_id, RINGS.c.ring == ring, RINGS.c.members > 0]
        self._update(RINGS, where, members=RINGS.c.members - 1)
        return True

    def add_make(self, rollout_id: str, ring: str, make: str, *, first_batch: int, opened: bool) -> None:
        key = {"rollout": rollout_id, "ring": ring, "make": make}
        none = {"members": 0, "share_members": 0, "share_cut": 1.0, "plural": 0, "sites": 0}
        self._insert_new(STRATA, key, open=opened, **none)
        self._insert_new(BUDGETS, {"rollout": rollout_id, "make": make}, in_flight=0, allowed=first_batch)

    def join_ring(self, joining: Joining, *, first_batch: int, opened: bool) -> None:
        key = {"rollout": joining.rollout, "ring": joining.ring, "make": joining.make}
        more = {
            "members": 1,
            "share_members": int(joining.share),
            "sites": int(joining.site),
            "plural": int(joining.plural),
        }
        if not self._insert_new(STRATA, key, open=opened, share_cut=1.0, **more):
            where = [STRATA.c[name] == value for name, value in key.items()]
            self._update(STRATA, where, **{name: STRATA.c[name] + count for name, count in more.items()})
        budget = {"rollout": joining.rollout, "make": joining.make}
        self._insert_new(BUDGETS, budget, in_flight=0, allowed=first_batch)
        ring = [RINGS.c.rollout == joining.rollout, RINGS.c.ring == joining.ring]
        self._update(RINGS, ring, members=RINGS.c.members + 1)

    def attribute(self, said: Attribution) -> None:
        self._insert(ATTRIBUTIONS, **{name: getattr(said, name) for name in Attribution.__slots__})
