"""What leaves the database when it has been over for long, and the marks of how far something has come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, delete, exists, or_, select
from sqlalchemy.dialects import postgresql

from gate.adapters.store import tables
from gate.adapters.store.prepared import Prepared, get, given
from gate.adapters.store.rows import Rows, table
from gate.adapters.store.tx_claim_reads import ATTRIBUTIONS, CLAIMS, to_claim
from gate.adapters.store.tx_facts import DECISIONS, EVENTS, to_decision
from gate.adapters.store.tx_machines import CODES, ENROLMENTS, MACHINES, NONCES
from gate.adapters.store.tx_mornings import MORNINGS
from gate.adapters.store.tx_mornings import POINTS as MORNING_POINTS
from gate.adapters.store.tx_people import LINKS, PROPOSALS, WEB
from gate.adapters.store.tx_rollouts import BOOTS, BUDGETS, RINGS, ROLLOUTS, STRATA, to_rollout
from gate.adapters.store.tx_spans import SIGHTS, SPANS, SUMS
from gate.core.calendar import Interval
from gate.core.model import Claim, ClaimState, Rollout, RolloutState
from gate.ports import Leaf, Mark, StoredDecision

MARKS = table(tables.MarkRow)
GAPS = table(tables.GapRow)
GAPS_SINCE = Prepared(select(GAPS).where(GAPS.c.end_at > given(GAPS.c.end_at, "since")).order_by(GAPS.c.start_at))
BOOT_STEPS = table(tables.BootTimeRow)
BOOT_TIMES = get(BOOT_STEPS, "make")
_BOOT = postgresql.insert(BOOT_STEPS).values(
    make=given(BOOT_STEPS.c.make), step=given(BOOT_STEPS.c.step), boots=given(BOOT_STEPS.c.boots, "more")
)
COUNT_BOOT = Prepared(
    _BOOT.on_conflict_do_update(
        index_elements=["make", "step"], set_={"boots": BOOT_STEPS.c.boots + _BOOT.excluded.boots}
    ),
    touches=["boot_times"],
)
"""Both databases read this form of an insertion alike."""
OVER = (RolloutState.SUPERSEDED.value, RolloutState.RETIRED.value)
SETTLED = tuple(
    state.value for state in (ClaimState.HEALTHY, ClaimState.EXPIRED, ClaimState.ROLLED_BACK, ClaimState.GONE)
)
_NEWER = ROLLOUTS.alias("newer")
SILENT_SINCE = and_(
    ROLLOUTS.c.state.in_(OVER),
    or_(
        ROLLOUTS.c.reached < 0,
        exists().where(
            _NEWER.c.source == ROLLOUTS.c.source,
            _NEWER.c.number > ROLLOUTS.c.number,
            _NEWER.c.reached >= 0,
            _NEWER.c.state.in_((*OVER, RolloutState.DONE.value)),
        ),
    ),
)
"""Superseded, and speaks for no ring: it never opened one, or a newer one has opened all of its own."""
BESIDE = (STRATA, RINGS, BUDGETS, BOOTS, SPANS, SUMS, SIGHTS, ATTRIBUTIONS)
SESSION_FOR = timedelta(days=31)
GAP_FOR = timedelta(days=92)
MORNING_FOR = timedelta(days=92)
CURVE_FOR = timedelta(days=31)
ENROLMENT_FOR = timedelta(days=1)


class RetentionTx(Rows):
    """See ``gate.ports.Tx``."""

    def mark(self, name: str) -> Mark:
        row = self._one(MARKS, MARKS.c.name == name)
        return Mark(row["at"], int(row["number"])) if row else Mark(None, 0)

    def marks(self, names: Sequence[str]) -> Mapping[str, Mark]:
        found = self._all(select(MARKS).where(MARKS.c.name.in_(names))) if names else []
        return {row["name"]: Mark(row["at"], int(row["number"])) for row in found}

    def set_mark(self, name: str, at: datetime, number: int = 0) -> None:
        self._upsert(MARKS, {"name": name}, at=at, number=number)

    def number_mark(self, name: str, before: Mark, number: int, at: datetime) -> bool:
        same = [MARKS.c.name == name, MARKS.c.number == before.number, MARKS.c.at == before.at]
        return self._update(MARKS, same, number=number, at=at) == 1

    def count_mark(self, name: str, more: int, at: datetime, since: datetime) -> None:
        self._insert_new(MARKS, {"name": name}, at=at, number=0)
        number = case((MARKS.c.at >= since, MARKS.c.number), else_=0) + more
        begun: dict[str, Any] = {"at": at} if more > 0 else {}
        self._update(MARKS, [MARKS.c.name == name], number=case((number > 0, number), else_=0), **begun)

    def move_mark(self, name: str, before: datetime, at: datetime) -> bool:
        return self._update(MARKS, [MARKS.c.name == name, MARKS.c.at == before], at=at) == 1

    def add_gap(self, start: datetime, end: datetime) -> None:
        self._upsert(GAPS, {"start_at": start}, end_at=end)

    def gaps(self, since: datetime) -> list[Interval]:
        return [Interval(row["start_at"], row["end_at"]) for row in self._rows(GAPS_SINCE, since=since)]

    def count_boot(self, make: str, step: int) -> None:
        self._sum(COUNT_BOOT, {"make": make, "step": step}, {"more": 1})

    def boot_times(self, make: str) -> dict[int, int]:
        return {row["step"]: row["boots"] for row in self._rows(BOOT_TIMES, make=make)}

    def take_turn(self, name: str, now: datetime, every: timedelta) -> bool:
        due = [MARKS.c.name == name, or_(MARKS.c.at <= now - every, MARKS.c.at > now + every)]
        if self._update(MARKS, due, at=now) == 1:
            return True
        return self._insert_new(MARKS, {"name": name}, at=now, number=0)

    def old_claims(self, before: datetime, limit: int) -> list[Claim]:
        in_hand = exists().where(MACHINES.c.id == CLAIMS.c.machine, MACHINES.c.claim == CLAIMS.c.id)
        found = (
            select(CLAIMS)
            .join(ROLLOUTS, ROLLOUTS.c.id == CLAIMS.c.rollout)
            .where(
                SILENT_SINCE,
                CLAIMS.c.granted_at < before,
                or_(CLAIMS.c.state.in_(SETTLED), CLAIMS.c.recovered.is_(True)),
                ~in_hand,
            )
            .limit(limit)
        )
        return [to_claim(row) for row in self._all(found)]

    def drop_claims(self, ids: Sequence[str]) -> int:
        return self._delete(CLAIMS, CLAIMS.c.id.in_(ids))

    def old_decisions(self, before: datetime, limit: int) -> list[StoredDecision]:
        found = (
            select(DECISIONS)
            .join(ROLLOUTS, ROLLOUTS.c.id == DECISIONS.c.rollout)
            .where(SILENT_SINCE, DECISIONS.c.at < before)
            .order_by(DECISIONS.c.id)
            .limit(limit)
        )
        return [to_decision(row) for row in self._all(found)]

    def drop_decisions(self, ids: Sequence[int]) -> int:
        return self._delete(DECISIONS, DECISIONS.c.id.in_(ids))

    def old_rollouts(self, before: datetime, limit: int) -> list[Rollout]:
        found = (
            select(ROLLOUTS)
            .where(
                SILENT_SINCE,
                ROLLOUTS.c.started_at < before,
                ~exists().where(CLAIMS.c.rollout == ROLLOUTS.c.id),
                ~exists().where(DECISIONS.c.rollout == ROLLOUTS.c.id),
            )
            .order_by(ROLLOUTS.c.number)
            .limit(limit)
        )
        return [to_rollout(row) for row in self._all(found)]

    def drop_rollouts(self, ids: Sequence[str]) -> int:
        parts = sum(self._delete(of, of.c.rollout.in_(ids)) for of in BESIDE)
        return parts + self._delete(ROLLOUTS, ROLLOUTS.c.id.in_(ids))

    def old_events(self, start: int, before: datetime, limit: int) -> list[Leaf]:
        found = (
            select(EVENTS.c.index, EVENTS.c.at, EVENTS.c.leaf)
            .where(EVENTS.c.index >= start)
            .order_by(EVENTS.c.index)
            .limit(limit)
        )
        leaves = []
        for row in self._all(found):
            if row["at"] >= before:
                break
            leaves.append(Leaf(int(row["index"]), bytes(row["leaf"])))
        return leaves

    def drop_events(self, first: int, last: int, keep: Sequence[str]) -> int:
        unfinished = select(ROLLOUTS.c.id).where(ROLLOUTS.c.state.not_in(OVER))
        subjects = [f"{row['id']}/" for row in self._all(unfinished)]
        kept = [EVENTS.c.subject.startswith(one, autoescape=True) for one in subjects]
        gone = [EVENTS.c.index >= first, EVENTS.c.index <= last]
        if kept:
            gone.append(~(EVENTS.c.kind.in_(keep) & or_(*kept)))
        self.writes += 1
        return self._connection.execute(delete(EVENTS).where(*gone)).rowcount

    def drop_expired(self, now: datetime) -> int:
        over = [PROPOSALS.c.state == "open", PROPOSALS.c.expires_at <= now]
        return sum(
            (
                self._update(PROPOSALS, over, state="expired"),
                self._delete(NONCES, NONCES.c.expires_at <= now),
                self._delete(CODES, CODES.c.expires_at <= now - SESSION_FOR),
                self._delete(GAPS, GAPS.c.end_at <= now - GAP_FOR),
                self._delete(MORNINGS, MORNINGS.c.looked_at <= now - MORNING_FOR),
                self._delete(MORNING_POINTS, MORNING_POINTS.c.at <= now - CURVE_FOR),
                self._delete(LINKS, LINKS.c.expires_at <= now),
                self._delete(WEB, WEB.c.seen_at <= now - SESSION_FOR),
                self._delete(ENROLMENTS, ENROLMENTS.c.at <= now - ENROLMENT_FOR),
            )
        )
