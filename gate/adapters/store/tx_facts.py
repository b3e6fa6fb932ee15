"""Decisions, events with their audit leaves, and the active policy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from gate.adapters.store import tables
from gate.adapters.store.prepared import Prepared, add, change, equal
from gate.adapters.store.rows import pack, table
from gate.adapters.store.tx_machines import MACHINES, SITES, MachinesTx
from gate.adapters.store.tx_rollouts import RINGS, ROLLOUTS
from gate.core import merkle
from gate.core.bypass import Standing
from gate.core.errors import Overtaken
from gate.core.model import MachineStatus, RolloutState
from gate.ports import ActivePolicy, Asked, Event, StoredDecision

DECISIONS = table(tables.DecisionRow)
EVENTS = table(tables.EventRow)
HEAD = table(tables.AuditHeadRow)
ACTIVE = table(tables.ActivePolicyRow)
SEEN = table(tables.ObservationRow)
TEXTS = table(tables.PolicyTextRow)

WALKED = 5_000
"""Entries along an index that are looked at to choose among several."""

LOCK_HEAD = Prepared(select(HEAD).with_for_update())
MOVE_HEAD = change(HEAD, [HEAD.c.id == 1, *equal(HEAD, "size")], "size", "peaks")
ADD_EVENT = add(EVENTS)
LAST_DECISION = Prepared(
    select(DECISIONS).where(*equal(DECISIONS, "rollout", "ring")).order_by(DECISIONS.c.id.desc()).limit(1)
)


def to_decision(row: Any) -> StoredDecision:
    """Row -> port value."""
    packed = {name: json.loads(row[name]) for name in ("makes", "reasons", "facts")}
    return StoredDecision(**{**row, **packed, "makes": tuple(packed["makes"])})


def to_event(row: Any) -> Event:
    """Row -> port value."""
    values = {name: row[name] for name in Event.__slots__}
    return Event(**{**values, "detail": json.loads(row["detail"])})


class FactsTx(MachinesTx):
    """See ``gate.ports.Tx``."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._events: list[tuple[Any, ...]] = []
        self._ruled_by: str | None = None
        """The policy that this transaction has gone by (empty: there was none); None: it has asked for none."""

    def add_decision(self, decision: StoredDecision) -> int:
        values = {
            "rollout": decision.rollout,
            "ring": decision.ring,
            "at": decision.at,
            "verdict": decision.verdict,
            "makes": pack(list(decision.makes)),
            "reasons": pack([dict(reason) for reason in decision.reasons]),
            "facts": pack(dict(decision.facts)),
            "policy_version": decision.policy_version,
        }
        self.writes += 1
        done = self._connection.execute(DECISIONS.insert().values(**values))
        key = done.inserted_primary_key
        assert key is not None
        return int(key[0])

    def last_decision(self, rollout_id: str, ring: str) -> StoredDecision | None:
        row = self._first(LAST_DECISION, rollout=rollout_id, ring=ring)
        return to_decision(row) if row else None

    def decisions(self, rollout_id: str, limit: int = 50) -> list[StoredDecision]:
        found = select(DECISIONS).where(DECISIONS.c.rollout == rollout_id).order_by(DECISIONS.c.id.desc()).limit(limit)
        return [to_decision(row) for row in self._all(found)]

    def decisions_after(self, after: int, limit: int) -> list[StoredDecision]:
        found = select(DECISIONS).where(DECISIONS.c.id > after).order_by(DECISIONS.c.id).limit(limit)
        return [to_decision(row) for row in self._all(found)]

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
        self.writes += 1
        event = (kind, actor, subject, at, dict(detail or {}), because, policy_version)
        if self.shared:
            self._events.append(event)
            self.afterwards("events", "events", self._append_all)
        else:
            self._append([event])

    def _append_all(self) -> None:
        events, self._events = self._events, []
        self._append(events)

    def _append(self, events: Sequence[tuple[Any, ...]]) -> None:
        head = LOCK_HEAD.first(self._raw, {})
        assert head is not None, "the migrations make this row"
        index = size = int(head["size"])
        peaks = tuple(bytes.fromhex(peak) for peak in head["peaks"].split())
        rows = []
        for kind, actor, subject, at, detail, because, policy_version in events:
            fields = {
                "index": index,
                "at": at.isoformat(),
                "kind": kind,
                "actor": actor,
                "subject": subject,
                "detail": detail,
                "because": because,
                "policy_version": policy_version,
            }
            leaf = pack(fields).encode("utf-8", "surrogatepass")
            peaks = merkle.append(index, peaks, leaf)
            rows.append({**fields, "at": at, "detail": pack(detail), "leaf": leaf})
            index += 1
        ADD_EVENT.many(self._raw, rows)
        text = " ".join(peak.hex() for peak in peaks)
        changed = MOVE_HEAD.run(self._raw, {"size": size, "to_size": index, "to_peaks": text})
        assert changed == 1, "the audit head is locked"

    def events(self, *, subject: str = "", before: int | None = None, limit: int = 100) -> list[Event]:
        found = select(EVENTS).order_by(EVENTS.c.index.desc()).limit(limit)
        if subject:
            found = found.where(EVENTS.c.subject == subject)
        if before is not None:
            found = found.where(EVENTS.c.index < before)
        return [to_event(row) for row in self._all(found)]

    def asked_events(self, asked: Asked, last: int | None = None, limit: int = 100) -> list[Event]:
        found = select(EVENTS).order_by(EVENTS.c.index if asked.oldest else EVENTS.c.index.desc()).limit(limit)
        words = {"subject": asked.subject, "actor": asked.actor, "kind": asked.kind}
        wanted = {name: word for name, word in words.items() if word}
        driving = self._rarest(wanted) if len(wanted) > 1 else next(iter(wanted), "")
        for name, word in wanted.items():
            # what is not compared bare is no reason for a database to walk that index instead
            found = found.where((EVENTS.c[name] if name == driving else EVENTS.c[name].concat("")) == word)
        least = self._passed(asked.since) if asked.since is not None else None
        most = self._passed(asked.until) if asked.until is not None else None
        if last is not None and asked.oldest:
            least = max(last + 1, least or 0)
        elif last is not None:
            most = last if most is None else min(most, last)
        if least is not None:
            found = found.where(EVENTS.c.index >= least)
        if most is not None:
            found = found.where(EVENTS.c.index < most)
        return [to_event(row) for row in self._all(found)]

    def _rarest(self, wanted: Mapping[str, str]) -> str:
        """The word with the fewest entries, as far as a short walk along each index shows."""

        def entries(name: str) -> int:
            short = select(EVENTS.c[name]).where(EVENTS.c[name] == wanted[name]).limit(WALKED).subquery()
            return int(self._connection.execute(select(func.count()).select_from(short)).scalar_one())

        return min(wanted, key=entries)

    def _passed(self, at: datetime) -> int:
        """The index from which on the log's times are ``at`` or later: halved, an index at a time."""
        least, most = 0, self.audit_head()[0]
        while least < most:
            middle = (least + most) // 2
            after = (
                select(EVENTS.c.index, EVENTS.c.at).where(EVENTS.c.index >= middle).order_by(EVENTS.c.index).limit(1)
            )
            row = self._connection.execute(after).mappings().first()
            if row is None or row["at"] >= at:
                most = middle
            else:
                least = int(row["index"]) + 1
        return least

    def event(self, index: int) -> Event | None:
        row = self._one(EVENTS, EVENTS.c.index == index)
        return to_event(row) if row else None

    def event_after(self, kind: str, index: int) -> Event | None:
        later = select(EVENTS).where(EVENTS.c.kind == kind, EVENTS.c.index > index)
        rows = self._all(later.order_by(EVENTS.c.index).limit(1))
        return to_event(rows[0]) if rows else None

    def first_event_at(self) -> datetime | None:
        oldest = self._all(select(EVENTS.c.index, EVENTS.c.at).order_by(EVENTS.c.index).limit(1))
        return oldest[0]["at"] if oldest and oldest[0]["index"] > 0 else None

    def decision_before(self, rollout_id: str, ring: str, at: datetime) -> StoredDecision | None:
        found = select(DECISIONS).where(DECISIONS.c.rollout == rollout_id, DECISIONS.c.ring == ring)
        rows = self._all(found.where(DECISIONS.c.at <= at).order_by(DECISIONS.c.id.desc()).limit(1))
        return to_decision(rows[0]) if rows else None

    def audit_leaves(self, start: int, limit: int) -> list[bytes]:
        found = select(EVENTS.c.leaf).where(EVENTS.c.index >= start).order_by(EVENTS.c.index).limit(limit)
        return [bytes(row["leaf"]) for row in self._all(found)]

    def audit_head(self) -> tuple[int, bytes]:
        head = self._connection.execute(select(HEAD)).mappings().one()
        peaks = tuple(bytes.fromhex(peak) for peak in head["peaks"].split())
        return int(head["size"]), merkle.root(peaks)

    def active_policy(self) -> ActivePolicy | None:
        row = self._one(ACTIVE, ACTIVE.c.id == 1)
        if self._ruled_by is None:
            self._ruled_by = row["commit"] if row else ""
        return ActivePolicy(row["commit"], row["activated_at"], row["activated_by"], row["problem"]) if row else None

    def activate_policy(self, row: ActivePolicy, before: str) -> bool:
        values = {name: getattr(row, name) for name in ActivePolicy.__slots__}
        if before:
            done = self._update(ACTIVE, [ACTIVE.c.id == 1, ACTIVE.c.commit == before], **values) == 1
        else:
            done = self._insert_new(ACTIVE, {"id": 1}, **values)
        self._ruled_by = row.commit if done else self._ruled_by
        return done

    def _count_move(self) -> None:
        """Whoever activates a policy holds the fleet's row until it rules: machines were placed by what rules, or by
        what another process has just replaced."""
        super()._count_move()
        if self._ruled_by is None:
            return
        row = self._one(ACTIVE, ACTIVE.c.id == 1)
        if (row["commit"] if row else "") != self._ruled_by:
            raise Overtaken

    def keep_policy_text(self, commit: str, text: str) -> None:
        self._insert_new(TEXTS, {"commit": commit}, text=text)

    def policy_text(self, commit: str) -> str | None:
        row = self._one(TEXTS, TEXTS.c.commit == commit)
        return str(row["text"]) if row else None

    def frozen_policies(self) -> list[str]:
        found = select(ROLLOUTS.c.policy_version).distinct().order_by(ROLLOUTS.c.policy_version)
        return [row["policy_version"] for row in self._all(found)]

    def policy_problem(self, problem: str) -> None:
        self._update(ACTIVE, [ACTIVE.c.id == 1], problem=problem)

    def overview(self) -> Mapping[str, int]:
        def count(of: Any, *where: Any) -> int:
            return int(self._connection.execute(select(func.count()).select_from(of).where(*where)).scalar_one())

        def states(state: RolloutState) -> int:
            return count(ROLLOUTS, ROLLOUTS.c.state == state.value)

        seen = select(func.count(func.distinct(SEEN.c.machine))).where(
            SEEN.c.standing == Standing.BYPASSED.value,
            SEEN.c.machine.in_(select(MACHINES.c.id).where(MACHINES.c.status == MachineStatus.ACTIVE.value)),
        )
        bypassed = int(self._connection.execute(seen).scalar_one())
        flight = select(func.coalesce(func.sum(RINGS.c.in_flight), 0))
        return {
            "machines_active": count(MACHINES, MACHINES.c.status == MachineStatus.ACTIVE.value),
            "machines_pending": count(MACHINES, MACHINES.c.status == MachineStatus.PENDING.value),
            "sites": count(SITES),
            "claims_in_flight": int(self._connection.execute(flight).scalar_one()),
            "rollouts_running": states(RolloutState.RUNNING),
            "rollouts_halted": states(RolloutState.HALTED),
            "machines_bypassed": bypassed,
        }
