"""The vendor mirror's tokens and pointers; a pointer moves where it still serves what was read."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.sql.elements import ColumnElement

from gate.adapters.store import tables
from gate.adapters.store.prepared import get
from gate.adapters.store.rows import Rows, table
from gate.adapters.store.tx_machines import MACHINES
from gate.core.model import MachineStatus
from gate.ports import MirrorToken, Pointer

TOKENS = table(tables.MirrorTokenRow)
POINTERS = table(tables.MirrorPointerRow)
POINTER = get(POINTERS, "source", "holder")


def _same(pointer: Pointer) -> list[ColumnElement[bool]]:
    return [
        POINTERS.c.source == pointer.source,
        POINTERS.c.holder == pointer.holder,
        POINTERS.c.release == pointer.release,
        POINTERS.c.moved_at == pointer.moved_at,
    ]


class MirrorTx(Rows):
    """See ``gate.ports.Tx``."""

    def add_mirror_token(self, token: MirrorToken, pointer: Pointer) -> None:
        self._insert(TOKENS, **asdict(token))
        values = asdict(pointer)
        self._insert_new(POINTERS, {name: values.pop(name) for name in ("source", "holder")}, **values)

    def mirror_tokens(self, source: str = "", holder: str = "") -> list[MirrorToken]:
        found = select(TOKENS).order_by(TOKENS.c.created_at.desc(), TOKENS.c.id)
        for column, word in ((TOKENS.c.source, source), (TOKENS.c.holder, holder)):
            found = found.where(column == word) if word else found
        return [MirrorToken(**row) for row in self._all(found)]

    def mirror_tokens_left(self) -> list[MirrorToken]:
        gone = MACHINES.c.status == MachineStatus.REVOKED.value
        found = (
            select(TOKENS).join(MACHINES, MACHINES.c.id == TOKENS.c.holder).where(TOKENS.c.revoked_at.is_(None), gone)
        )
        return [MirrorToken(**row) for row in self._all(found)]

    def revoke_mirror_token(self, token_id: str, at: datetime) -> bool:
        row = self._one(TOKENS, TOKENS.c.id == token_id)
        live = [TOKENS.c.id == token_id, TOKENS.c.revoked_at.is_(None)]
        if row is None or self._update(TOKENS, live, revoked_at=at) != 1:
            return False
        same = [TOKENS.c.source == row["source"], TOKENS.c.holder == row["holder"], TOKENS.c.revoked_at.is_(None)]
        if self._one(TOKENS, *same) is None:
            self._delete(POINTERS, POINTERS.c.source == row["source"], POINTERS.c.holder == row["holder"])
        return True

    def mirror_used(self, token_id: str, at: datetime) -> bool:
        older = TOKENS.c.used_at.is_(None) | (TOKENS.c.used_at < at)
        return self._update(TOKENS, [TOKENS.c.id == token_id, older], used_at=at) == 1

    def pointer(self, source: str, holder: str) -> Pointer | None:
        row = self._first(POINTER, source=source, holder=holder)
        return Pointer(**row) if row else None

    def pointers(self, source: str = "") -> list[Pointer]:
        found = select(POINTERS).order_by(POINTERS.c.source, POINTERS.c.holder)
        if source:
            found = found.where(POINTERS.c.source == source)
        return [Pointer(**row) for row in self._all(found)]

    def pointed(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for column in (POINTERS.c.release, POINTERS.c.before):
            named = select(POINTERS.c.source, column.label("named")).where(column != "").distinct()
            for row in self._all(named):
                found.setdefault(row["source"], set()).add(row["named"])
        return found

    def pointers_due(self, now: datetime, limit: int = 100) -> list[Pointer]:
        found = select(POINTERS).where(POINTERS.c.ask_at <= now).order_by(POINTERS.c.ask_at).limit(limit)
        return [Pointer(**row) for row in self._all(found)]

    def wake_pointers(self, source: str, now: datetime) -> int:
        return self._update(POINTERS, [POINTERS.c.source == source, POINTERS.c.ask_at > now], ask_at=now)

    def ask_pointer_at(self, pointer: Pointer, at: datetime) -> bool:
        return self._update(POINTERS, _same(pointer), ask_at=at) == 1

    def move_pointer(self, pointer: Pointer, release: str, at: datetime) -> bool:
        moved = {"release": release, "before": pointer.release, "moved_at": at, "ask_at": at}
        return self._update(POINTERS, _same(pointer), **moved) == 1
