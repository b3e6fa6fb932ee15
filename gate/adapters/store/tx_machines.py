"""Sites, machines and what the write plane keeps of them.

- Order of rows: machines, then the fleet's version, which rises when the transaction has done all else.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import exists, func, select

from gate.adapters.store import tables
from gate.adapters.store.prepared import Prepared, change, equal, get, given
from gate.adapters.store.rows import Rows, pack, table
from gate.adapters.store.tables import EPOCH, MICRO
from gate.core import habits
from gate.core.errors import Overtaken
from gate.core.habits import Habit
from gate.core.model import Machine, MachineStatus, Site, SiteTime, TimeKind
from gate.ports import EnrolCode, Session, Stand

SITES = table(tables.SiteRow)
ROLES = table(tables.SiteRoleRow)
MACHINES = table(tables.MachineRow)
SESSIONS = table(tables.SessionRow)
CODES = table(tables.CodeRow)
NONCES = table(tables.NonceRow)
ENROLMENTS = table(tables.EnrolmentRow)
FLEET_VERSION = table(tables.FleetRow)
DAYS = table(tables.SiteDayRow)

SAID = 4096
"""How many rows a walk over the fleet takes at once, and about how many texts of facts it keeps read: a fleet says few
things, many times each, but for its hosts' names."""

SITE = get(SITES, "id")
MACHINE = get(MACHINES, "id")
SPEAKER = Prepared(select(MACHINES).where(*equal(MACHINES, "keyid"), MACHINES.c.status != MachineStatus.REVOKED.value))
SESSION = get(SESSIONS, "machine")
SESSION_VALUES = tuple(name for name in Session.__slots__ if name != "machine")
SAVE_SESSION = change(
    SESSIONS, [*equal(SESSIONS, "machine"), SESSIONS.c.seq == given(SESSIONS.c.seq, "before")], *SESSION_VALUES
)
PLACE = change(MACHINES, equal(MACHINES, "id"), "ring", "make")
SEEN = change(MACHINES, equal(MACHINES, "id"), "last_seen_at", "down_at", touches=["machines.last_seen_at"])
UP = ("up_weekday", "up_saturday", "up_sunday")
LEARN = change(MACHINES, equal(MACHINES, "id"), "habit", *UP, touches=["machines.habit"])
_ACTIVE = [*equal(MACHINES, "site"), MACHINES.c.status == MachineStatus.ACTIVE.value]
_HEARD: Any = func.max(MACHINES.c.last_seen_at, type_=tables.Moment()).label("at")


def heard_at(of: Any) -> Any:
    """When a machine was last heard of, or else accepted."""
    return func.coalesce(of.c.last_seen_at, of.c.accepted_at, type_=tables.Moment())


_PEERS = MACHINES.alias("peers")
PEER_AT = (
    select(func.max(heard_at(_PEERS), type_=tables.Moment()))
    .where(
        _PEERS.c.site == MACHINES.c.site,
        _PEERS.c.role == MACHINES.c.role,
        _PEERS.c.id != MACHINES.c.id,
        _PEERS.c.status == MachineStatus.ACTIVE.value,
    )
    .scalar_subquery()
)
"""When another machine of its role at its site was heard of last."""
PEER = Prepared(select(PEER_AT.label("at")).where(*equal(MACHINES, "id")))
_PLACE = MACHINES.c.ring, MACHINES.c.make
PLACES = select(*_PLACE, func.count()).group_by(*_PLACE)
NOT_ACTIVE = select(*_PLACE).where(MACHINES.c.status.in_([MachineStatus.PENDING.value, MachineStatus.REVOKED.value]))
LAST_WORD = Prepared(select(func.count(MACHINES.c.last_seen_at).label("machines"), _HEARD).where(*_ACTIVE))


def to_site(row: Any) -> Site:
    """Row -> core."""
    labels = frozenset(json.loads(row["labels"]))
    times = times_of(row["times"])
    return Site(row["id"], row["name"], row["land"], row["hours"], bool(row["always_on"]), labels, times)


def times_of(text: str) -> tuple[SiteTime, ...]:
    """A site's duty and closing days, as they are packed."""
    if text == "[]":
        return ()
    found = json.loads(text)
    return tuple(
        SiteTime(EPOCH + start * MICRO, EPOCH + end * MICRO, TimeKind(kind), because, by)
        for start, end, kind, because, by in found
    )


def _both(own: str, of_site: str) -> frozenset[str]:
    return _labels(own) | _labels(of_site)


def _labels(text: str) -> frozenset[str]:
    return frozenset(json.loads(text))


def _packed_times(times: Iterable[SiteTime]) -> str:
    return pack(
        [
            [(one.start_at - EPOCH) // MICRO, (one.end_at - EPOCH) // MICRO, one.kind.value, one.because, one.by]
            for one in times
        ]
    )


def to_machine(row: Any) -> Machine:
    """Row -> core."""
    return Machine(
        id=row["id"],
        site=row["site"],
        status=MachineStatus(row["status"]),
        name=row["name"],
        facts=json.loads(row["facts"]),
        labels=frozenset(json.loads(row["labels"])),
        make=row["make"],
        ring=row["ring"],
        accepted_at=row["accepted_at"],
        last_seen_at=row["last_seen_at"],
        public_key=row["public_key"],
        down_at=row["down_at"],
        habit=row["habit"],
    )


class MachinesTx(Rows):
    """See ``gate.ports.Tx``."""

    def site(self, site_id: str) -> Site | None:
        row = self._first(SITE, id=site_id)
        return to_site(row) if row else None

    def sites(self, after: str = "", limit: int = 100) -> list[Site]:
        found = self._all(select(SITES).where(SITES.c.id > after).order_by(SITES.c.id).limit(limit))
        return [to_site(row) for row in found]

    def save_site(self, site: Site) -> None:
        changed = exists().where(SITES.c.id == site.id, SITES.c.hours != site.hours)
        self._update(MACHINES, [MACHINES.c.site == site.id, changed], habit="", **dict.fromkeys(UP))
        self._upsert(
            SITES,
            {"id": site.id},
            name=site.name,
            land=site.land,
            hours=site.hours,
            always_on=site.always_on,
            labels=pack(site.labels),
        )
        self._upsert(DAYS, {"site": site.id}, until=EPOCH)

    def save_times(self, site_id: str, times: Sequence[SiteTime], before: Sequence[SiteTime]) -> bool:
        unchanged = [SITES.c.id == site_id, SITES.c.times == _packed_times(before)]
        if self._update(SITES, unchanged, times=_packed_times(times)) != 1:
            return False
        self._update(DAYS, [DAYS.c.site == site_id], until=EPOCH)
        return True

    def last_word(self, site_id: str) -> tuple[int, datetime | None]:
        row = self._first(LAST_WORD, site=site_id)
        assert row is not None
        return int(row["machines"]), row["at"]

    def machine(self, machine_id: str) -> Machine | None:
        row = self._first(MACHINE, id=machine_id)
        return to_machine(row) if row else None

    def machine_by_key(self, keyid: str) -> Machine | None:
        row = self._first(SPEAKER, keyid=keyid)
        return to_machine(row) if row else None

    def machines(
        self, *, after: str = "", limit: int = 100, site: str = "", ring: str = "", make: str = "", status: str = ""
    ) -> list[Machine]:
        wanted = {"site": site, "ring": ring, "make": make, "status": status}
        where = [MACHINES.c[name] == value for name, value in wanted.items() if value]
        found = select(MACHINES).where(MACHINES.c.id > after, *where).order_by(MACHINES.c.id).limit(limit)
        return [to_machine(row) for row in self._all(found)]

    def add_machine(self, machine: Machine, keyid: str) -> None:
        self._insert(
            MACHINES,
            id=machine.id,
            site=machine.site,
            status=machine.status.value,
            name=machine.name,
            role=machine.role,
            facts=pack(dict(machine.facts)),
            labels=pack(machine.labels),
            make=machine.make,
            ring=machine.ring,
            accepted_at=machine.accepted_at,
            last_seen_at=machine.last_seen_at,
            public_key=machine.public_key,
            keyid=keyid,
        )

    def accept_machine(self, machine: Machine, at: datetime) -> bool:
        pending = [MACHINES.c.id == machine.id, MACHINES.c.status == MachineStatus.PENDING.value]
        changed = self._update(
            MACHINES,
            pending,
            site=machine.site,
            status=MachineStatus.ACTIVE.value,
            name=machine.name,
            role=machine.role,
            facts=pack(dict(machine.facts)),
            labels=pack(machine.labels),
            make=machine.make,
            ring=machine.ring,
            accepted_at=at,
            last_seen_at=machine.last_seen_at,
        )
        if changed:
            self._count_role(machine.site, machine.role, 1)
            self._moved()
        return changed == 1

    def revoke_machine(self, machine_id: str, at: datetime) -> bool:
        machine = self.machine(machine_id)
        if machine is None:
            return False
        live = [MACHINES.c.id == machine_id, MACHINES.c.status != MachineStatus.REVOKED.value]
        changed = self._update(MACHINES, live, status=MachineStatus.REVOKED.value)
        if changed and machine.status is MachineStatus.ACTIVE:
            self._count_role(machine.site, machine.role, -1)
            self._moved()
        return changed == 1

    def _count_role(self, site: str, role: str, change: int) -> None:
        where = [ROLES.c.site == site, ROLES.c.role == role]
        if self._update(ROLES, where, total=ROLES.c.total + change) == 0:
            self._insert(ROLES, site=site, role=role, total=change, busy=0, broken=0)

    def save_facts(self, machine: Machine, facts: Mapping[str, str], make: str) -> bool:
        unmoved = [MACHINES.c.id == machine.id, MACHINES.c.ring == machine.ring, MACHINES.c.make == machine.make]
        if self._update(MACHINES, unmoved, facts=pack(dict(facts)), make=make) != 1:
            return False
        self._moved()
        return True

    def fleet_version(self) -> int:
        self.finish()
        row = self._one(FLEET_VERSION, FLEET_VERSION.c.id == 1)
        return int(row["version"]) if row else 0

    def _moved(self) -> None:
        self.last("fleet", self._count_move)

    def _count_move(self) -> None:
        if self._update(FLEET_VERSION, [FLEET_VERSION.c.id == 1], version=FLEET_VERSION.c.version + 1) == 0:
            self._insert(FLEET_VERSION, id=1, version=1)

    def memberships(self, rows: Iterable[tuple[str, str, str]]) -> None:
        values = [{"id": machine, "to_ring": ring, "to_make": make} for machine, ring, make in rows]
        if values:
            PLACE.many(self._connection, values)
            self._moved()

    def move_members(self, rows: Sequence[tuple[str, str, str]], fleet_version: int) -> None:
        if self.fleet_version() != fleet_version:
            raise Overtaken
        if rows:
            PLACE.many(self._connection, [{"id": one, "to_ring": ring, "to_make": make} for one, ring, make in rows])
        unmoved = [FLEET_VERSION.c.id == 1, FLEET_VERSION.c.version == fleet_version]
        changed = self._update(FLEET_VERSION, unmoved, version=fleet_version + 1) == 1
        if not changed and not (fleet_version == 0 and self._insert_new(FLEET_VERSION, {"id": 1}, version=1)):
            raise Overtaken

    def fleet(self) -> Iterable[tuple[Machine, frozenset[str]]]:
        names = ("id", "site", "status", "name", "facts", "labels", "make", "ring")
        wanted = [*(MACHINES.c[name] for name in names), func.coalesce(SITES.c.labels, "[]")]
        found = select(*wanted).join(SITES, SITES.c.id == MACHINES.c.site, isouter=True).order_by(MACHINES.c.id)
        facts, labels = cache(json.loads), cache(_labels)  # a fleet says few things, many times each
        for one, site, status, name, said, own, make, ring, of_site in self._connection.execute(found):
            machine = Machine(one, site, MachineStatus(status), name, facts(said), labels(own), make, ring)
            yield machine, labels(of_site)

    def stands(self, facts: Sequence[str]) -> Iterable[Stand]:
        names = ("id", "site", "status", "ring", "make", "facts", "labels")
        found = self._connection.execute(select(*(MACHINES.c[name] for name in names)))
        labelled = select(SITES.c.id, SITES.c.labels).where(SITES.c.labels != "[]")
        of_site = {row["id"]: row["labels"] for row in self._all(labelled)}  # a join would look for it at each machine
        active = MachineStatus.ACTIVE.value
        labels, known = cache(_both), dict[str, tuple[str | None, ...]]()
        for rows in found.partitions(SAID):
            known = known if len(known) < SAID else {}
            fresh = list({row[5] for row in rows} - known.keys())
            many = json.loads(f"[{','.join(fresh)}]")  # at once: a call for each text costs more than reading it
            known.update(zip(fresh, [tuple(map(one.get, facts)) for one in many], strict=True))
            for one, site, status, ring, make, text, own in rows:
                yield one, site, status == active, ring, make, known[text], labels(own, of_site.get(site, "[]"))

    def members(self, heard_since: datetime) -> Iterable[tuple[str, str, str, str, bool]]:
        active = MACHINES.c.status == MachineStatus.ACTIVE.value
        heard = heard_at(MACHINES) >= heard_since
        place = MACHINES.c.site, MACHINES.c.role
        # two plain readings: PostgreSQL, which plans once for every moment, would join them by walking one for each row
        counted = select(*place, func.count()).where(active, heard).group_by(*place)
        working = {(site, role): count for site, role, count in self._connection.execute(counted)}
        found = select(MACHINES.c.id, MACHINES.c.ring, MACHINES.c.make, *place, heard).where(
            active, MACHINES.c.ring != ""
        )
        for machine, ring, make, site, role, is_heard in self._connection.execute(found):
            yield machine, ring, make, site, bool(is_heard) and working.get((site, role), 0) > 1

    def ring_makes(self, ring: str) -> dict[str, int]:
        active = [MACHINES.c.status == MachineStatus.ACTIVE.value, MACHINES.c.ring == ring]
        found = select(MACHINES.c.make, func.count().label("machines")).where(*active).group_by(MACHINES.c.make)
        return {row["make"]: int(row["machines"]) for row in self._all(found)}

    def fleet_makes(self) -> dict[str, dict[str, int]]:
        idle = Counter((ring, make) for ring, make in self._connection.execute(NOT_ACTIVE))
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for ring, make, count in self._connection.execute(PLACES):
            if count > idle[ring, make]:
                found[ring][make] = count - idle[ring, make]
        return dict(found)

    def is_sole(self, machine: Machine, heard_since: datetime) -> bool:
        row = self._first(PEER, id=machine.id)
        return row is None or row["at"] is None or row["at"] < heard_since

    def session(self, machine_id: str) -> Session | None:
        row = self._first(SESSION, machine=machine_id)
        if row is None:
            return None
        return Session(**{**row, "installed": json.loads(row["installed"])})

    def save_session(self, session: Session, before_seq: int) -> bool:
        values = {name: getattr(session, name) for name in SESSION_VALUES}
        values["installed"] = pack(dict(session.installed))
        if before_seq < 0:
            self._insert(SESSIONS, machine=session.machine, **values)
            return True
        wanted = {f"to_{name}": value for name, value in values.items()}
        return self._later(SAVE_SESSION, exact=True, machine=session.machine, before=before_seq, **wanted)

    def seen(self, machine_id: str, at: datetime, *, down: bool = False) -> None:
        self._later(SEEN, id=machine_id, to_last_seen_at=at, to_down_at=at if down else None)

    def learn(self, machine_id: str, habit: Habit) -> None:
        up: dict[str, Any] = {f"to_{name}": minute for name, minute in zip(UP, habits.up_from(habit), strict=True)}
        self._later(LEARN, id=machine_id, to_habit=str(habit), **up)

    def add_code(self, code: EnrolCode) -> None:
        self._insert(CODES, **{name: getattr(code, name) for name in EnrolCode.__slots__})

    def use_code(self, sha256: str, now: datetime) -> EnrolCode | None:
        good = [CODES.c.sha256 == sha256, CODES.c.uses_left > 0, CODES.c.expires_at > now]
        if self._update(CODES, good, uses_left=CODES.c.uses_left - 1) != 1:
            return None
        row = self._one(CODES, CODES.c.sha256 == sha256)
        return EnrolCode(**row) if row else None

    def add_nonce(self, nonce: str, expires_at: datetime) -> None:
        self._insert(NONCES, nonce=nonce, expires_at=expires_at)

    def use_nonce(self, nonce: str, now: datetime) -> bool:
        used = self._delete(NONCES, NONCES.c.nonce == nonce, NONCES.c.expires_at > now)
        self._delete(NONCES, NONCES.c.expires_at <= now)
        return used == 1

    def enrolment(self, payload_sha256: str) -> tuple[int, str] | None:
        row = self._one(ENROLMENTS, ENROLMENTS.c.payload_sha256 == payload_sha256)
        return (row["status"], row["answer"]) if row else None

    def save_enrolment(self, payload_sha256: str, status: int, answer: str, at: datetime) -> None:
        self._insert(ENROLMENTS, payload_sha256=payload_sha256, status=status, answer=answer, at=at)

    def _count(self, of: Any, *where: Any) -> int:
        return int(self._connection.execute(select(func.count()).select_from(of).where(*where)).scalar_one())
