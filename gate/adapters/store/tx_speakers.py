"""What a shared transaction knows of those that speak in it: read in one statement for all of them, before any act.

- What was read serves one call of a machine; its next call in the same transaction reads anew.
- Whatever an act changes is forgotten first, so that nobody reads what is no longer true. What other processes change
  meanwhile is caught where it matters: by the conditions of the statements that write.
- A release never changes; a rollout is kept for the time of the transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any

from sqlalchemy import Connection, bindparam, select

from gate.adapters.store.tx_claim_reads import CLAIMS, to_claim
from gate.adapters.store.tx_claims import ClaimsTx
from gate.adapters.store.tx_machines import MACHINES, PEER_AT, SEEN, SESSIONS, SITES, MachinesTx, to_machine, to_site
from gate.adapters.store.tx_rollouts import RolloutsTx
from gate.core.claims import WORKING
from gate.core.model import Claim, Machine, MachineStatus, Release, Rollout, Site, SiteTime
from gate.ports import GrantLimits, Session

_PARTS = (MACHINES, SESSIONS, CLAIMS, SITES)
_ENDS = tuple(accumulate(len(table.columns) for table in _PARTS))
_PLACES = tuple(
    (end - len(table.columns), end, tuple(column.name for column in table.columns))
    for table, end in zip(_PARTS, _ENDS, strict=True)
)
SPEAKERS = (
    select(*_PARTS, PEER_AT)
    .select_from(
        MACHINES.outerjoin(SESSIONS, SESSIONS.c.machine == MACHINES.c.id)
        .outerjoin(CLAIMS, CLAIMS.c.id == MACHINES.c.claim)
        .outerjoin(SITES, SITES.c.id == MACHINES.c.site)
    )
    .where(MACHINES.c.keyid.in_(bindparam("keyids", expanding=True)), MACHINES.c.status != MachineStatus.REVOKED.value)
)


def _part(row: Any, place: tuple[int, int, tuple[str, ...]]) -> dict[str, Any] | None:
    start, end, names = place
    return None if row[start] is None else dict(zip(names, row[start:end], strict=True))


class SpeakersTx(MachinesTx, RolloutsTx, ClaimsTx):
    """See ``gate.ports.Tx``."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._expected: dict[str, tuple[Machine, Session | None, Claim | None]] = {}
        self._sessions: dict[str, Session | None] = {}
        self._in_hand: dict[str, Claim | None] = {}
        self._known_sites: dict[str, Site] = {}
        self._peer_at: dict[str, datetime | None] = {}
        self._heard_at: dict[str, datetime | None] = {}
        self._releases: dict[str, Release | None] = {}
        self._rollouts: dict[str, Rollout | None] = {}

    def expect(self, keyids: Sequence[str]) -> None:
        """Reads machine, session, claim in hand and site of all who will speak."""
        for row in self._raw.execute(SPEAKERS, {"keyids": list(keyids)}):
            machine, session, claim, site = (_part(row, place) for place in _PLACES)
            assert machine is not None
            found = to_machine(machine)
            if site is not None and found.site not in self._known_sites:
                self._known_sites[found.site] = to_site(site)
            if session is not None:
                session["installed"] = json.loads(session["installed"])
            self._peer_at[found.id] = row[-1]
            self._heard_at[found.id] = found.last_seen_at or found.accepted_at
            known = Session(**session) if session is not None else None
            self._expected[machine["keyid"]] = (found, known, to_claim(claim) if claim else None)

    def machine_by_key(self, keyid: str) -> Machine | None:
        found = self._expected.pop(keyid, None)
        if found is None:
            machine = super().machine_by_key(keyid)
            if machine is not None:
                self._forget(machine.id)
            return machine
        machine, session, claim = found
        self._sessions[machine.id] = session
        self._in_hand[machine.id] = claim
        return machine

    def session(self, machine_id: str) -> Session | None:
        return self._sessions[machine_id] if machine_id in self._sessions else super().session(machine_id)

    def save_session(self, session: Session, before_seq: int) -> bool:
        self._sessions.pop(session.machine, None)
        return super().save_session(session, before_seq)

    def live_claim(self, machine_id: str) -> Claim | None:
        return self._in_hand[machine_id] if machine_id in self._in_hand else super().live_claim(machine_id)

    def claim_in_hand(self, machine_id: str, claim_id: str) -> Claim | None:
        claim = self._in_hand.get(machine_id)
        return claim if claim is not None and claim.id == claim_id else self.claim(claim_id)

    def grant(self, claim: Claim, limits: GrantLimits) -> str | None:
        self._in_hand.pop(claim.machine, None)
        return super().grant(claim, limits)

    def move(self, before: Claim, after: Claim) -> bool:
        self._in_hand.pop(before.machine, None)
        return super().move(before, after)

    def site(self, site_id: str) -> Site | None:
        return self._known_sites[site_id] if site_id in self._known_sites else super().site(site_id)

    def save_site(self, site: Site) -> None:
        self._known_sites.pop(site.id, None)
        super().save_site(site)

    def save_times(self, site_id: str, times: Sequence[SiteTime], before: Sequence[SiteTime]) -> bool:
        self._known_sites.pop(site_id, None)
        return super().save_times(site_id, times, before)

    def is_sole(self, machine: Machine, heard_since: datetime) -> bool:
        if machine.id not in self._peer_at:
            return super().is_sole(machine, heard_since)
        peer_at = self._peer_at[machine.id]
        return peer_at is None or peer_at < heard_since

    def seen(self, machine_id: str, at: datetime, *, down: bool = False) -> None:
        before = self._heard_at.pop(machine_id, at)
        if before is not None and at - before <= WORKING:
            super().seen(machine_id, at, down=down)
            return
        self._peer_at.clear()  # it works again, which its peers' claims are to know in this very transaction
        self.writes += 1
        SEEN.run(self._raw, {"id": machine_id, "to_last_seen_at": at, "to_down_at": at if down else None})

    def _count_role(self, site: str, role: str, change: int) -> None:
        self._peer_at.clear()
        super()._count_role(site, role, change)

    def release(self, release_id: str) -> Release | None:
        if not self.shared:
            return super().release(release_id)
        if release_id not in self._releases:
            self._releases[release_id] = super().release(release_id)
        return self._releases[release_id]

    def rollout(self, rollout_id: str) -> Rollout | None:
        if not self.shared:
            return super().rollout(rollout_id)
        if rollout_id not in self._rollouts:
            self._rollouts[rollout_id] = super().rollout(rollout_id)
        return self._rollouts[rollout_id]

    def rollout_of(self, release_id: str) -> Rollout | None:
        if not self.shared:
            return super().rollout_of(release_id)
        if release_id not in self._rollouts:
            self._rollouts[release_id] = super().rollout_of(release_id)
        return self._rollouts[release_id]

    def save_rollout(self, rollout: Rollout) -> bool:
        self._rollouts.clear()
        return super().save_rollout(rollout)

    def _forget(self, machine_id: str) -> None:
        self._sessions.pop(machine_id, None)
        self._in_hand.pop(machine_id, None)
