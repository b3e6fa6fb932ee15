"""Claims: granted by conditional updates in one savepoint, moved with every counter in the same transaction.

- Fixed order of rows: rollout, ring, stratum, budgets, site, site's role, machine. A zero row count rolls all back.
- What refused is told apart only after the failed update, by one read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, or_, select, true

from gate.adapters.store import tables
from gate.adapters.store.rows import Rows, table
from gate.adapters.store.tx_machines import MACHINES, ROLES, SITES
from gate.adapters.store.tx_rollouts import BUDGETS, RINGS, ROLLOUTS, STRATA
from gate.core.claims import BROKEN, HOLDS_SLOT
from gate.core.counters import Counts, counts
from gate.core.model import FLEET, Claim, ClaimState, MachineStatus, RolloutState
from gate.ports import GrantLimits

CLAIMS = table(tables.ClaimRow)
LIVE = [state.value for state in HOLDS_SLOT]
GRANTS = (RolloutState.RUNNING.value, RolloutState.DONE.value)


class _Refused(Exception):
    """Rolls the savepoint back; carries the kind."""


def to_claim(row: Any) -> Claim:
    """Row -> core."""
    values = {name: row[name] for name in Claim.__slots__ if name not in ("stay_up", "state")}
    return Claim(**values, stay_up=timedelta(seconds=row["stay_up_s"]), state=ClaimState(row["state"]))


def _values(claim: Claim) -> dict[str, Any]:
    values = asdict(claim)
    values["stay_up_s"] = int(values.pop("stay_up").total_seconds())
    values["state"] = claim.state.value
    return values


class ClaimsTx(Rows):
    """See ``gate.ports.Tx``."""

    def claim(self, claim_id: str) -> Claim | None:
        row = self._one(CLAIMS, CLAIMS.c.id == claim_id)
        return to_claim(row) if row else None

    def claim_of(self, machine_id: str, rollout_id: str) -> Claim | None:
        found = (
            select(CLAIMS)
            .where(CLAIMS.c.machine == machine_id, CLAIMS.c.rollout == rollout_id)
            .order_by(CLAIMS.c.granted_at.desc())
            .limit(1)
        )
        row = self._connection.execute(found).mappings().first()
        return to_claim(row) if row else None

    def live_claim(self, machine_id: str) -> Claim | None:
        in_hand = select(MACHINES.c.claim).where(MACHINES.c.id == machine_id).scalar_subquery()
        row = self._one(CLAIMS, CLAIMS.c.id == in_hand)
        return to_claim(row) if row else None

    def claims(self, rollout_id: str, *, states: Sequence[ClaimState] = (), limit: int = 500) -> list[Claim]:
        found = select(CLAIMS).where(CLAIMS.c.rollout == rollout_id).order_by(CLAIMS.c.granted_at.desc()).limit(limit)
        if states:
            found = found.where(CLAIMS.c.state.in_([state.value for state in states]))
        return [to_claim(row) for row in self._all(found)]

    def grant(self, claim: Claim, limits: GrantLimits) -> str | None:
        try:
            with self._connection.begin_nested():
                self._take_rollout(claim)
                if claim.action != "recall":
                    self._take_ring(claim)
                    self._take_budgets(claim, limits)
                self._take_site(claim, limits)
                self._take_machine(claim)
                self._insert(CLAIMS, **_values(claim))
        except _Refused as refused:
            return str(refused)
        return None

    def _take_rollout(self, claim: Claim) -> None:
        open_states = ROLLOUTS.c.state.in_(GRANTS) if claim.action != "recall" else true()
        if self._update(ROLLOUTS, [ROLLOUTS.c.id == claim.rollout, open_states], claims=ROLLOUTS.c.claims + 1) == 1:
            return
        row = self._one(ROLLOUTS, ROLLOUTS.c.id == claim.rollout)
        kinds = {
            RolloutState.HALTED.value: "halted",
            RolloutState.HELD.value: "held",
            RolloutState.QUEUED.value: "held",
        }
        raise _Refused(kinds.get(row["state"], "superseded") if row else "ring_not_open")

    def _take_ring(self, claim: Claim) -> None:
        key = [RINGS.c.rollout == claim.rollout, RINGS.c.ring == claim.ring]
        room = or_(RINGS.c.cap == 0, RINGS.c.in_flight < RINGS.c.cap)
        good = [*key, RINGS.c.opened_at.is_not(None), room]
        if self._update(RINGS, good, in_flight=RINGS.c.in_flight + 1) != 1:
            row = self._one(RINGS, *key)
            raise _Refused("cap_reached" if row and row["opened_at"] is not None else "ring_not_open")
        stratum = [STRATA.c.rollout == claim.rollout, STRATA.c.ring == claim.ring, STRATA.c.make == claim.make]
        if self._update(STRATA, [*stratum, STRATA.c.open.is_(True)], open=True) != 1:
            raise _Refused("make_unproven")

    def _take_budgets(self, claim: Claim, limits: GrantLimits) -> None:
        for make in (claim.make, FLEET):
            key = [BUDGETS.c.rollout == claim.rollout, BUDGETS.c.make == make]
            good = [*key, BUDGETS.c.stopped.is_(False), BUDGETS.c.in_flight < BUDGETS.c.allowed]
            sole = limits.sole and make != FLEET
            if sole:
                good.append(BUDGETS.c.healthy >= limits.sole_after)
            if self._update(BUDGETS, good, in_flight=BUDGETS.c.in_flight + 1) == 1:
                continue
            row = self._one(BUDGETS, *key)
            if row is None:
                raise _Refused("make_unproven")
            if row["stopped"]:
                raise _Refused("unexplained_failure")
            raise _Refused("budget_reached" if row["in_flight"] >= row["allowed"] else "last_of_role")

    def _take_site(self, claim: Claim, limits: GrantLimits) -> None:
        role = [ROLES.c.site == claim.site, ROLES.c.role == claim.role]
        allowed: Any = limits.per_site
        if limits.per_site == 0:
            half = (ROLES.c.total - ROLES.c.broken) // 2
            allowed = select(case((half < 1, 1), else_=half)).where(*role).scalar_subquery()
        good = [SITES.c.id == claim.site, SITES.c.in_flight < allowed]
        if self._update(SITES, good, in_flight=SITES.c.in_flight + 1) != 1:
            raise _Refused("site_limit")
        if limits.first_batch and self._all(self._same_make(claim)):
            raise _Refused("site_limit")
        alone = and_(ROLES.c.total == 1, ROLES.c.busy == 0)
        working = [*role, or_(alone, ROLES.c.busy < ROLES.c.total - 1)]
        if self._update(ROLES, working, busy=ROLES.c.busy + 1) != 1:
            raise _Refused("last_of_role")

    @staticmethod
    def _same_make(claim: Claim) -> Any:
        """Unproven machines of this make at this site; read under the site's row lock, which every grant takes."""
        taken = [*LIVE, *(state.value for state in BROKEN)]
        return (
            select(CLAIMS.c.id)
            .where(CLAIMS.c.rollout == claim.rollout, CLAIMS.c.make == claim.make, CLAIMS.c.state.in_(taken))
            .where(CLAIMS.c.site == claim.site)
            .limit(1)
        )

    def _take_machine(self, claim: Claim) -> None:
        active = MACHINES.c.status == MachineStatus.ACTIVE.value
        free = [MACHINES.c.id == claim.machine, MACHINES.c.claim.is_(None), active]
        if self._update(MACHINES, free, claim=claim.id) != 1:
            raise _Refused("other_in_flight")

    def move(self, before: Claim, after: Claim) -> bool:
        values = _values(after)
        where = [CLAIMS.c.id == values.pop("id"), CLAIMS.c.version == before.version]
        if self._update(CLAIMS, where, **values) != 1:
            return False
        self._count_change(after, counts(after).minus(counts(before)))
        if after.state not in HOLDS_SLOT and (after.state is not ClaimState.SILENT or after.recovered):
            mine = [MACHINES.c.id == after.machine, MACHINES.c.claim == after.id]
            self._update(MACHINES, mine, claim=None)
        return True

    def _count_change(self, claim: Claim, change: Counts) -> None:
        if change.flight and claim.action != "recall":
            ring = [RINGS.c.rollout == claim.rollout, RINGS.c.ring == claim.ring]
            self._update(RINGS, ring, in_flight=RINGS.c.in_flight + change.flight)
        if claim.action != "recall":
            self._count_evidence(claim, change)
        if change.busy:
            self._update(SITES, [SITES.c.id == claim.site], in_flight=SITES.c.in_flight + change.busy)
        if change.busy or change.broken:
            role = [ROLES.c.site == claim.site, ROLES.c.role == claim.role]
            self._update(ROLES, role, busy=ROLES.c.busy + change.busy, broken=ROLES.c.broken + change.broken)

    def _count_evidence(self, claim: Claim, change: Counts) -> None:
        names = ("exposed", "healthy", "failed", "silent", "recovered", "crashed", "late_failed")
        moved = {name: STRATA.c[name] + getattr(change, name) for name in names if getattr(change, name)}
        if moved:
            key = [STRATA.c.rollout == claim.rollout, STRATA.c.ring == claim.ring, STRATA.c.make == claim.make]
            self._update(STRATA, key, **moved)
        if change.flight or change.healthy or change.bad:
            for make in (claim.make, FLEET):
                self._update(
                    BUDGETS,
                    [BUDGETS.c.rollout == claim.rollout, BUDGETS.c.make == make],
                    in_flight=BUDGETS.c.in_flight + change.flight,
                    healthy=BUDGETS.c.healthy + change.healthy,
                    failed=BUDGETS.c.failed + change.bad,
                )

    def due_claims(self, now: datetime, limit: int = 500) -> list[Claim]:
        due = select(CLAIMS).where(CLAIMS.c.state.in_(LIVE), CLAIMS.c.deadline_at <= now)
        return [to_claim(row) for row in self._all(due.order_by(CLAIMS.c.deadline_at).limit(limit))]

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

    def explain(self, claim_id: str) -> bool:
        claim = self.claim(claim_id)
        if claim is None or not counts(claim).bad:
            return False
        if self._update(CLAIMS, [CLAIMS.c.id == claim_id, CLAIMS.c.explained.is_(False)], explained=True) != 1:
            return False
        key = [STRATA.c.rollout == claim.rollout, STRATA.c.ring == claim.ring, STRATA.c.make == claim.make]
        self._update(STRATA, key, explained=STRATA.c.explained + 1)
        for make in (claim.make, FLEET):
            where = [BUDGETS.c.rollout == claim.rollout, BUDGETS.c.make == make]
            self._update(BUDGETS, where, failed=BUDGETS.c.failed - 1)
        return True
