"""What a person needs who stands at a machine: who is out of reach, the last boots, where recovery keys are kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, distinct, func, or_, select

from gate.adapters.store import tables
from gate.adapters.store.prepared import change, equal, get, given
from gate.adapters.store.rows import Rows, pack, table
from gate.adapters.store.tx_claim_reads import CLAIMS
from gate.adapters.store.tx_machines import MACHINES, SITES
from gate.core.boots import Boot
from gate.core.claims import BROKEN, HOLDS_SLOT
from gate.core.model import Action, ClaimState, MachineStatus
from gate.core.recovery import KeyPlace
from gate.ports import OutOfReach

KEYS = table(tables.KeyPlaceRow)
TOLD = table(tables.MachineBootsRow)
BOOTS_OF = get(TOLD, "machine")
TELL = change(TOLD, [*equal(TOLD, "machine"), TOLD.c.boots == given(TOLD.c.boots, "before")], "boots")
ASKED = 500
NOT_BACK = [state.value for state in HOLDS_SLOT | BROKEN]


class RecoveryTx(Rows):
    """See ``gate.ports.Tx``."""

    def out_of_reach(
        self, seen_before: datetime, *, rollout: str = "", make: str = "", machine: str = "", limit: int = 500
    ) -> list[OutOfReach]:
        wanted = {"rollout": rollout, "make": make, "machine": machine}
        found = (
            select(
                CLAIMS.c.rollout,
                CLAIMS.c.make,
                CLAIMS.c.ring,
                CLAIMS.c.state,
                MACHINES.c.site,
                SITES.c.name.label("site_name"),
                MACHINES.c.id.label("machine"),
                MACHINES.c.name,
                MACHINES.c.facts,
                MACHINES.c.last_seen_at,
            )
            .select_from(
                CLAIMS.join(MACHINES, MACHINES.c.id == CLAIMS.c.machine).outerjoin(SITES, SITES.c.id == MACHINES.c.site)
            )
            .where(*_unheard(seen_before), *(CLAIMS.c[name] == value for name, value in wanted.items() if value))
            .order_by(MACHINES.c.site, MACHINES.c.name, MACHINES.c.id, CLAIMS.c.granted_at.desc())
            .limit(limit)
        )
        return [_lost(row) for row in self._all(found)]

    def count_out_of_reach(self, seen_before: datetime, rollout: str) -> dict[str, int]:
        found = (
            select(CLAIMS.c.make, func.count(distinct(CLAIMS.c.machine)).label("machines"))
            .select_from(CLAIMS.join(MACHINES, MACHINES.c.id == CLAIMS.c.machine))
            .where(*_unheard(seen_before), CLAIMS.c.rollout == rollout)
            .group_by(CLAIMS.c.make)
        )
        return {row["make"]: row["machines"] for row in self._all(found)}

    def boots_of(self, machine_id: str) -> list[Boot]:
        row = self._first(BOOTS_OF, machine=machine_id)
        return [_boot(one) for one in json.loads(row["boots"])] if row else []

    def save_boots(self, machine_id: str, after: Sequence[Boot], before: Sequence[Boot]) -> bool:
        text = _packed(after)
        if not before:
            return self._insert_new(TOLD, {"machine": machine_id}, boots=text)
        return self._run(TELL, machine=machine_id, before=_packed(before), to_boots=text) == 1

    def key_places(self, sites: Sequence[str]) -> list[KeyPlace]:
        found: list[KeyPlace] = []
        for start in range(0, len(sites), ASKED):
            asked = select(KEYS).where(KEYS.c.site.in_(sites[start : start + ASKED]))
            found += [KeyPlace(**row) for row in self._all(asked.order_by(KEYS.c.site, KEYS.c.machine))]
        return found

    def save_key_place(self, kept: KeyPlace) -> None:
        values = asdict(kept)
        self._upsert(KEYS, {name: values.pop(name) for name in ("site", "machine")}, **values)

    def drop_key_place(self, site: str, machine: str) -> bool:
        return self._delete(KEYS, KEYS.c.site == site, KEYS.c.machine == machine) == 1


def _unheard(seen_before: datetime) -> list[ColumnElement[bool]]:
    """Active, last heard then or earlier, and its claim to install is in flight or broken."""
    return [
        CLAIMS.c.action == Action.INSTALL.value,
        CLAIMS.c.state.in_(NOT_BACK),
        CLAIMS.c.recovered.is_(False),
        MACHINES.c.status == MachineStatus.ACTIVE.value,
        or_(MACHINES.c.last_seen_at.is_(None), MACHINES.c.last_seen_at <= seen_before),
    ]


def _boot(told: dict[str, Any]) -> Boot:
    return Boot(**{**told, "against": tuple(told.get("against", ()))})


def _packed(boots: Sequence[Boot]) -> str:
    """As it was always written where nothing speaks against a claim: what is stored is compared as a text."""
    return pack([{name: of for name, of in asdict(one).items() if name != "against" or of} for one in boots])


def _lost(row: Any) -> OutOfReach:
    values = {name: row[name] for name in OutOfReach.__slots__}
    values |= {
        "facts": json.loads(row["facts"]),
        "state": ClaimState(row["state"]),
        "site_name": row["site_name"] or "",
    }
    return OutOfReach(**values)
