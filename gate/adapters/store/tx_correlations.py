"""How the machines of one site fail together: counted once a rollout, kept for as long as the gate."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import case, exists, func, or_, select

from gate.adapters.store import tables
from gate.adapters.store.rows import Rows, table
from gate.adapters.store.tx_claim_reads import CLAIMS
from gate.adapters.store.tx_retention import BOOT_STEPS
from gate.adapters.store.tx_rollouts import GOOD, ROLLOUTS
from gate.core.claims import FAILURE
from gate.core.correlation import Pairs
from gate.core.model import Action, ClaimState

CORRELATIONS = table(tables.CorrelationRow)
FAILED = tuple(state.value for state in FAILURE)


class CorrelationsTx(Rows):
    """See ``gate.ports.Tx``."""

    def site_outcomes(self, rollout_id: str) -> list[tuple[int, int]]:
        bad = func.sum(case((CLAIMS.c.state.in_(FAILED), 1), else_=0))
        found = (
            select(CLAIMS.c.site, func.count().label("machines"), bad.label("failed"))
            .where(
                CLAIMS.c.rollout == rollout_id,
                CLAIMS.c.action == Action.INSTALL.value,
                CLAIMS.c.state.in_((ClaimState.HEALTHY.value, *FAILED)),
            )
            .group_by(CLAIMS.c.site)
            .order_by(CLAIMS.c.site)
        )
        return [(int(row["machines"]), int(row["failed"])) for row in self._all(found)]

    def uncorrelated(self, done_before: datetime, limit: int) -> list[str]:
        found = (
            select(ROLLOUTS.c.id)
            .where(
                ROLLOUTS.c.state.in_(GOOD),
                ROLLOUTS.c.halted_at.is_(None),
                ROLLOUTS.c.reached >= 0,
                or_(ROLLOUTS.c.done_at.is_(None), ROLLOUTS.c.done_at <= done_before),
                ~exists().where(CORRELATIONS.c.rollout == ROLLOUTS.c.id),
            )
            .order_by(ROLLOUTS.c.number)
            .limit(limit)
        )
        return [str(row["id"]) for row in self._all(found)]

    def correlate(self, rollout_id: str, shown: Pairs, at: datetime) -> bool:
        values = {"machines": shown.machines, "failed": shown.failed, "pairs": shown.pairs, "both": shown.both}
        return self._insert_new(CORRELATIONS, {"rollout": rollout_id}, **values, at=at)

    def correlations(self, limit: int) -> list[Pairs]:
        found = select(CORRELATIONS).order_by(CORRELATIONS.c.at.desc(), CORRELATIONS.c.rollout).limit(limit)
        return [Pairs(row["machines"], row["failed"], row["pairs"], row["both"]) for row in self._all(found)]

    def boot_counts(self) -> dict[str, int]:
        found = select(BOOT_STEPS.c.make, func.sum(BOOT_STEPS.c.boots).label("boots")).group_by(BOOT_STEPS.c.make)
        return {str(row["make"]): int(row["boots"]) for row in self._all(found)}
