"""Long lists for people, paged by key, and the filters that people keep.

- No list counts and none skips rows: a page is the rows after the last one's sort key and id.
- The newest word of a machine has no index, so that a check-in writes none: a list by it looks at every machine once,
  at its small columns only, and then fetches the rows of one page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, exists, false, func, or_, select, true, type_coerce
from sqlalchemy.types import BigInteger

from gate.adapters.store import tables
from gate.adapters.store.rows import Rows, pack, table
from gate.adapters.store.tx_claim_reads import CLAIMS, to_claim
from gate.adapters.store.tx_facts import DECISIONS, HEAD, SEEN
from gate.adapters.store.tx_machines import DAYS, MACHINES, SESSIONS, SITES, to_machine, to_site
from gate.adapters.store.tx_mornings import expected
from gate.adapters.store.tx_people import USERS, to_user
from gate.adapters.store.tx_rollouts import HOLDS, RELEASES, ROLLOUTS, to_hold, to_rollout
from gate.core import lists
from gate.core.claims import HOLDS_SLOT
from gate.core.lists import After, HoldList, MachineList, PersonList, RolloutList, SiteList, states_of
from gate.core.model import Claim, ClaimState, Hold, Machine, MachineStatus, Rollout, RolloutState, Site
from gate.ports import User

FILTERS = table(tables.SavedFilterRow)
HEARD = func.coalesce(type_coerce(MACHINES.c.last_seen_at, BigInteger), 0)
CURRENT = [one.value for one in (RolloutState.RUNNING, RolloutState.HELD, RolloutState.HALTED, RolloutState.DONE)]
IN_FLIGHT = [state.value for state in HOLDS_SLOT]


class ListsTx(Rows):
    """See ``gate.ports.Tx``."""

    def list_machines(self, asked: MachineList, limit: int) -> list[Machine]:
        by = {"name": MACHINES.c.name, "site": MACHINES.c.site, "last_seen": HEARD}[asked.sort.lstrip("-")]
        narrow = select(MACHINES.c.id).where(*_machines_where(asked))
        narrow = _page(narrow, by, MACHINES.c.id, asked.sort.startswith("-"), asked.after, limit)
        ids = [row["id"] for row in self._all(narrow)]
        rows = {row["id"]: row for row in self._all(select(MACHINES).where(MACHINES.c.id.in_(ids)))}
        return [to_machine(rows[one]) for one in ids]

    def list_sites(self, asked: SiteList, limit: int) -> list[Site]:
        wide: Any = select(SITES)
        by: Any = {"name": SITES.c.name, "site": SITES.c.id}.get(asked.sort, SITES.c.id)
        if asked.sort.endswith("last_seen"):
            active = MACHINES.c.status == MachineStatus.ACTIVE.value
            words = select(MACHINES.c.site, func.max(HEARD).label("at")).where(active).group_by(MACHINES.c.site)
            heard = words.subquery("heard")
            wide, by = wide.outerjoin(heard, heard.c.site == SITES.c.id), func.coalesce(heard.c.at, 0)
        wide = wide.where(*_sites_where(asked))
        found = _page(wide, by, SITES.c.id, asked.sort.startswith("-"), asked.after, limit)
        return [to_site(row) for row in self._all(found)]

    def list_rollouts(self, asked: RolloutList, limit: int) -> list[Rollout]:
        wide = select(ROLLOUTS).limit(limit)
        where = [ROLLOUTS.c[name] == value for name in ("source", "state") if (value := getattr(asked, name))]
        if asked.text:
            named = _begins(RELEASES.c.version, asked.text)
            where.append(ROLLOUTS.c.release.in_(select(RELEASES.c.id).where(named)))
        if asked.after is not None:
            where.append(_rollouts_after(asked.sort, asked.after))
        newest = ROLLOUTS.c.number.desc()
        order: dict[str, list[Any]] = {
            "newest": [newest],
            "oldest": [ROLLOUTS.c.number],
            "source": [ROLLOUTS.c.source, newest],
        }
        return [to_rollout(row) for row in self._all(wide.where(*where).order_by(*order.get(asked.sort, [newest])))]

    def list_people(self, asked: PersonList, limit: int) -> list[User]:
        by = {"name": USERS.c.name, "role": USERS.c.role}.get(asked.sort, USERS.c.id)
        where = [USERS.c.role == asked.role] if asked.role else []
        if asked.state in lists.PERSON_STATES:
            where.append(USERS.c.disabled.is_(asked.state == "disabled"))
        if asked.text:
            where.append(or_(_begins(USERS.c.id, asked.text), _begins(USERS.c.name, asked.text)))
        found = _page(select(USERS).where(*where), by, USERS.c.id, False, asked.after, limit)
        return [to_user(row) for row in self._all(found)]

    def list_holds(self, asked: HoldList, now: datetime, limit: int) -> list[Hold]:
        by: Any = type_coerce(HOLDS.c.made_at if asked.sort == "-made" else HOLDS.c.until, BigInteger)
        open_, ended = HOLDS.c.lifted_at.is_(None), HOLDS.c.until <= now
        states: dict[str, list[Any]] = {"lifted": [~open_], "over": [open_, ended], "ever": []}
        where = states.get(asked.state, [open_, ~ended])
        if asked.source:
            where.append(HOLDS.c.source.in_(["", asked.source]))
        if asked.text:
            where.append(or_(_begins(HOLDS.c.owner, asked.text), _begins(HOLDS.c.made_by, asked.text)))
        wide = select(HOLDS).where(*where)
        found = _page(wide, by, HOLDS.c.id, asked.sort.startswith("-"), asked.after, limit)
        return [to_hold(row) for row in self._all(found)]

    def rollout_numbers(self, ids: Sequence[str]) -> dict[str, int]:
        found = select(ROLLOUTS.c.id, ROLLOUTS.c.number).where(ROLLOUTS.c.id.in_(ids))
        return {row["id"]: int(row["number"]) for row in self._all(found)}

    def last_words(self, sites: Sequence[str]) -> dict[str, tuple[int, datetime | None]]:
        active = MACHINES.c.status == MachineStatus.ACTIVE.value
        how_many: Any = func.count().filter(active)  # as a condition SQLite would find all active machines by it
        newest: Any = func.max(MACHINES.c.last_seen_at, type_=tables.Moment()).filter(active)
        found = (
            select(MACHINES.c.site, how_many.label("machines"), newest.label("at"))
            .where(MACHINES.c.site.in_(sites))
            .group_by(MACHINES.c.site)
        )
        return {row["site"]: (int(row["machines"]), row["at"]) for row in self._all(found)}

    def installed(self, machines: Sequence[str]) -> dict[str, Mapping[str, str]]:
        found = select(SESSIONS.c.machine, SESSIONS.c.installed).where(SESSIONS.c.machine.in_(machines))
        return {row["machine"]: json.loads(row["installed"]) for row in self._all(found)}

    def versions(self, releases: Sequence[str]) -> dict[str, str]:
        found = select(RELEASES.c.id, RELEASES.c.version).where(RELEASES.c.id.in_(releases))
        return {row["id"]: str(row["version"]) for row in self._all(found)}

    def claims_since(self, machines: Sequence[str], since: datetime, limit: int) -> list[Claim]:
        found = (
            select(CLAIMS)
            .where(CLAIMS.c.machine.in_(machines), or_(CLAIMS.c.granted_at >= since, CLAIMS.c.resolved_at >= since))
            .order_by(CLAIMS.c.granted_at.desc())
            .limit(limit)
        )
        return [to_claim(row) for row in self._all(found)]

    def audit_size(self) -> int:
        return int(self._connection.execute(select(HEAD.c.size)).scalar_one())

    def newest_decision(self) -> tuple[int, datetime] | None:
        newest = select(DECISIONS.c.id, DECISIONS.c.at).order_by(DECISIONS.c.id.desc()).limit(1)
        row = self._connection.execute(newest).mappings().first()
        return (int(row["id"]), row["at"]) if row else None

    def saved_filters(self, user: str, page: str) -> dict[str, Mapping[str, str]]:
        mine = [FILTERS.c.user == user, FILTERS.c.page == page]
        found = self._all(select(FILTERS).where(*mine).order_by(FILTERS.c.name))
        return {row["name"]: json.loads(row["asked"]) for row in found}

    def save_filter(self, user: str, page: str, name: str, asked: Mapping[str, str], at: datetime) -> None:
        self._upsert(FILTERS, {"user": user, "page": page, "name": name}, asked=pack(dict(asked)), saved_at=at)

    def drop_filter(self, user: str, page: str, name: str) -> bool:
        return self._delete(FILTERS, FILTERS.c.user == user, FILTERS.c.page == page, FILTERS.c.name == name) == 1


def _page(wide: Select[Any], by: Any, row_id: Any, down: bool, after: After | None, limit: int) -> Select[Any]:
    """The rows after one of them; ids are the last word where sort keys are alike."""
    if after is not None:
        value, last = after
        further, same = (by < value, row_id < last) if down else (by > value, row_id > last)
        wide = wide.where(or_(further, and_(by == value, same)))
        wide = wide.where(by <= value if down else by >= value)
    order = (by.desc(), row_id.desc()) if down else (by, row_id)
    return wide.order_by(*order).limit(limit)


def _begins(column: Any, text: str) -> Any:
    return func.lower(column).startswith(text.lower(), autoescape=True)


def _machines_where(asked: MachineList) -> list[Any]:
    exact = ("site", "ring", "make", "role", "status")
    where: list[Any] = [MACHINES.c[name] == value for name in exact if (value := getattr(asked, name))]
    if asked.text:
        where.append(or_(*(_begins(one, asked.text) for one in (MACHINES.c.name, MACHINES.c.site, MACHINES.c.id))))
    if asked.dark:
        where.append(MACHINES.c.site.in_(_dark()))
    if asked.standing:
        where.append(MACHINES.c.id.in_(select(SEEN.c.machine).where(SEEN.c.standing == asked.standing)))
    return [*where, *_claimed(asked), *_this_morning(asked)]


def _this_morning(asked: MachineList) -> list[Any]:
    if asked.morning not in lists.MORNING:
        return []
    if asked.look is None:  # nobody has looked yet
        return [false()]
    heard, due = MACHINES.c.last_seen_at >= DAYS.c.boots_at, DAYS.c.opens_at <= asked.look.due_by
    which = {"expected": true(), "here": heard, "late": and_(~heard, ~due), "missing": and_(~heard, due)}[asked.morning]
    return [exists().where(DAYS.c.site == MACHINES.c.site, *expected(asked.look), which)]


def _claimed(asked: MachineList) -> list[Any]:
    """By the state of a claim. What most machines have is looked up for each, what few have is gathered first."""
    states = states_of(asked.claim)
    if not (asked.rollout or states):
        return []
    of_state = CLAIMS.c.state.in_(states) if states else true()
    of_rollouts = [CLAIMS.c.rollout == asked.rollout] if asked.rollout else []
    if states and ClaimState.HEALTHY.value not in states:
        return [MACHINES.c.id.in_(select(CLAIMS.c.machine).where(*of_rollouts, of_state))]
    now = select(ROLLOUTS.c.id).where(ROLLOUTS.c.state.in_(CURRENT))
    of_rollouts = of_rollouts or [CLAIMS.c.rollout.in_(now)]
    return [exists().where(CLAIMS.c.machine == MACHINES.c.id, *of_rollouts, of_state)]


def _sites_where(asked: SiteList) -> list[Any]:
    where: list[Any] = [SITES.c.land == asked.land] if asked.land else []
    if asked.text:
        where.append(or_(_begins(SITES.c.id, asked.text), _begins(SITES.c.name, asked.text)))
    if asked.dark:
        where.append(SITES.c.id.in_(_dark()))
    of_machine = ("ring", "make", "role", "status")
    having = [MACHINES.c[name] == value for name in of_machine if (value := getattr(asked, name))]
    if having:
        where.append(exists().where(MACHINES.c.site == SITES.c.id, *having))
    return where


def _dark() -> Select[Any]:
    return select(CLAIMS.c.site).where(CLAIMS.c.state.in_(IN_FLIGHT), CLAIMS.c.dark_at.is_not(None))


def _rollouts_after(sort: str, after: After) -> Any:
    value, last = after
    number = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
    if sort == "oldest":
        return ROLLOUTS.c.number > number
    if sort == "source":
        same = and_(ROLLOUTS.c.source == value, ROLLOUTS.c.number < number)
        return or_(ROLLOUTS.c.source > value, same)
    return ROLLOUTS.c.number < number
