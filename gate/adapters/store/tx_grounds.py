"""What a decision rests on, in a few statements: however many rings, makes, brakes and failures there are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Select, exists, func, literal, literal_column, or_, select, union_all

from gate.adapters.store.prepared import equal, given
from gate.adapters.store.rows import Rows
from gate.adapters.store.tx_claim_reads import CLAIMS, UNEXPOSED
from gate.adapters.store.tx_facts import DECISIONS, EVENTS
from gate.adapters.store.tx_machines import SITES, to_site
from gate.adapters.store.tx_mornings import LAST_MORNING, to_morning
from gate.adapters.store.tx_people import USERS
from gate.adapters.store.tx_retention import MARKS
from gate.adapters.store.tx_rollouts import (
    BOOTS,
    BUDGETS,
    KNOWN_AT_ONCE,
    RELEASES,
    RINGS,
    ROLLOUTS,
    STRATA,
    to_budget,
    to_release,
    to_stratum,
)
from gate.adapters.store.tx_spans import SIGHT_OF, SPANS_OF, SUMS, to_sight, to_span, to_sum
from gate.adapters.store.united import United
from gate.core.claims import FAILURE
from gate.core.evalues import Span
from gate.core.model import DONE, Action, ClaimState, RingState, Site
from gate.ports import BRAKED, Bad, Grounds, Said, Trials

COUNTED_TO = 1000

_RELEASE = select(*(column for column in RELEASES.columns if column.name != "manifest")).where(
    RELEASES.c.id == select(ROLLOUTS.c.release).where(ROLLOUTS.c.id == given(RINGS.c.rollout)).scalar_subquery()
)


def _newest(ring: Any) -> Any:
    own = DECISIONS.alias("own")
    newest = select(func.max(own.c.id)).where(own.c.rollout == given(own.c.rollout), own.c.ring == ring)
    return newest.correlate(RINGS).scalar_subquery().label("id")


_NEWEST = union_all(select(_newest(RINGS.c.ring)).where(*equal(RINGS, "rollout")), select(_newest(literal(DONE))))
_SAID = select(DECISIONS.c.ring, DECISIONS.c.verdict, DECISIONS.c.makes, DECISIONS.c.reasons).where(
    DECISIONS.c.id.in_(_NEWEST)
)
_PLACE = RINGS.c.rollout + "/" + RINGS.c.ring
_APPROVED = (
    select(RINGS.c.ring, EVENTS.c.actor, EVENTS.c.kind, EVENTS.c.index)
    .join_from(RINGS, EVENTS, EVENTS.c.subject == _PLACE)
    .where(*equal(RINGS, "rollout"), or_(EVENTS.c.kind == "ring_approved", EVENTS.c.kind == "approval_void"))
    .where(~exists().where(USERS.c.id == EVENTS.c.actor, USERS.c.disabled.is_(True)))  # shut out since
)
_OVERDUE = (
    select(CLAIMS.c.ring, CLAIMS.c.make, func.count().label("claims"))
    .where(
        *equal(CLAIMS, "rollout"),
        CLAIMS.c.state == ClaimState.GRANTED.value,
        CLAIMS.c.lease_until <= given(CLAIMS.c.lease_until, "now"),
        CLAIMS.c.cohort.is_(True),
        CLAIMS.c.action == Action.INSTALL.value,
    )
    .group_by(CLAIMS.c.ring, CLAIMS.c.make)
)
_LEVER = select(MARKS.c.number).where(
    MARKS.c.name
    == literal(BRAKED) + select(ROLLOUTS.c.source).where(ROLLOUTS.c.id == given(RINGS.c.rollout)).scalar_subquery(),
    MARKS.c.number != 0,
)
GROUNDS = United(
    [
        *("claims", "releases", "rollouts", "rollout_rings", "strata", "budgets"),
        *("sights", "gaps", "mornings", "decisions", "events", "users", "marks"),
    ],
    release=_RELEASE,
    rings=select(RINGS).where(*equal(RINGS, "rollout")),
    strata=select(STRATA).where(*equal(STRATA, "rollout")),
    budgets=select(BUDGETS).where(*equal(BUDGETS, "rollout")),
    sight=SIGHT_OF,
    morning=LAST_MORNING,
    said=_SAID,
    approved=_APPROVED,
    overdue=_OVERDUE,
    lever=_LEVER,
)
TRIALS = United(
    ["spans", "sums", "boots"],
    spans=SPANS_OF,
    sums=select(SUMS).where(*equal(SUMS, "rollout")),
    boots=select(BOOTS).where(*equal(BOOTS, "rollout")),
)


class GroundsTx(Rows):
    """See ``gate.ports.Tx``."""

    def grounds(self, rollout_id: str, now: datetime) -> Grounds:
        found = GROUNDS.split(self._rows(GROUNDS.statement, rollout=rollout_id, now=now))
        people: dict[str, set[str]] = defaultdict(set)
        for row in sorted(found["approved"], key=lambda one: one["index"]):
            if row["kind"] == "approval_void":
                people[row["ring"]].clear()
            else:
                people[row["ring"]].add(row["actor"])
        return Grounds(
            release=to_release(found["release"][0]),
            rings=sorted((RingState(**row) for row in found["rings"]), key=lambda ring: ring.position),
            strata=sorted(map(to_stratum, found["strata"]), key=lambda stratum: (stratum.ring, stratum.make)),
            budgets={row["make"]: to_budget(row) for row in found["budgets"]},
            sight=to_sight(found["sight"][0]),
            morning=to_morning(found["morning"][0]) if found["morning"] else None,
            said={
                row["ring"]: Said(row["verdict"], tuple(json.loads(row["makes"])), json.loads(row["reasons"]))
                for row in found["said"]
            },
            approved_by={ring: tuple(sorted(names)) for ring, names in people.items() if names},
            overdue={(row["ring"], row["make"]): int(row["claims"]) for row in found["overdue"]},
            lever_broken=bool(found["lever"]),
        )

    def trials(self, rollout_id: str) -> Trials:
        found = TRIALS.split(self._rows(TRIALS.statement, rollout=rollout_id))
        return Trials(
            spans=list(map(to_span, found["spans"])),
            sums={(row["make"], row["boot"]): to_sum(row) for row in found["sums"]},
            boots={row["boot"]: Span(row["tried"], row["failed"]) for row in found["boots"]},
        )

    def count_bad(self, rollout_id: str, wanted: Sequence[Bad]) -> list[int]:
        if not wanted:
            return []
        counted = []
        for number, one in enumerate(wanted):
            since = CLAIMS.c.crashed_at if one.crashed else CLAIMS.c.resolved_at
            few = (
                select(CLAIMS.c.id)
                .where(
                    CLAIMS.c.rollout == rollout_id,
                    CLAIMS.c.ring.in_(one.rings),
                    CLAIMS.c.state.in_([kind.value for kind in one.kinds]),
                    since >= one.since,
                    CLAIMS.c.explained.is_(False),
                )
                .limit(COUNTED_TO)
                .subquery()
            )
            counted.append(select(_number(number), func.count().label("bad")).select_from(few))
        found = {row["number"]: int(row["bad"]) for row in self._all(union_all(*counted))}
        return [found[number] for number in range(len(wanted))]

    def sites_hit(self, rollout_id: str, rings: Sequence[str]) -> tuple[int, int]:
        mine = [CLAIMS.c.rollout == rollout_id, CLAIMS.c.action != Action.RECALL.value]
        failed = select(func.count(CLAIMS.c.site.distinct())).where(
            *mine,
            CLAIMS.c.ring.in_(rings),
            CLAIMS.c.state.in_([state.value for state in FAILURE]),
            CLAIMS.c.explained.is_(False),
        )
        site = select(CLAIMS.c.site).where(*mine, CLAIMS.c.state.not_in(UNEXPOSED)).limit(1)
        ends = site.order_by(CLAIMS.c.site), site.order_by(CLAIMS.c.site.desc())
        parts = {"failed": failed, "first": ends[0], "last": ends[1]}
        [row] = self._all(select(*(part.scalar_subquery().label(name) for name, part in parts.items())))
        return int(row["failed"]), len({row["first"], row["last"]} - {None})

    def healthy_sites(
        self, rollout_id: str, rings: Sequence[str], makes: Mapping[str, int]
    ) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {make: {} for make in makes}
        if not makes:
            return found
        names = list(makes)
        oldest = [_oldest(number, rollout_id, rings, make, makes[make]) for number, make in enumerate(names)]
        for row in self._all(union_all(*oldest)):
            found[names[row["number"]]][str(row["site"])] = int(row["machines"])
        return found

    def sites_of(self, ids: Sequence[str]) -> dict[str, Site]:
        found = dict[str, Site]()
        for start in range(0, len(ids), KNOWN_AT_ONCE):
            some = select(SITES).where(SITES.c.id.in_(ids[start : start + KNOWN_AT_ONCE]))
            found |= {row["id"]: to_site(row) for row in self._all(some)}
        return found

    def opened_in(self, rollouts: Sequence[str]) -> Mapping[str, frozenset[str]]:
        failing = or_(BUDGETS.c.stopped.is_(True), BUDGETS.c.extend_to > 0)
        stopped = select(BUDGETS.c.make).where(BUDGETS.c.rollout.in_(rollouts), failing)
        opened = select(STRATA.c.ring, STRATA.c.make).where(
            STRATA.c.rollout.in_(rollouts), STRATA.c.open.is_(True), STRATA.c.make.not_in(stopped)
        )
        found: dict[str, set[str]] = defaultdict(set)
        for row in self._all(opened):
            found[row["ring"]].add(row["make"])
        return {ring: frozenset(makes) for ring, makes in found.items()}


def _number(number: int) -> Any:
    return literal_column(str(number), Integer).label("number")


def _oldest(number: int, rollout_id: str, rings: Sequence[str], make: str, limit: int) -> Select[Any]:
    found = (
        select(_number(number), CLAIMS.c.site, func.count().label("machines"))
        .where(
            CLAIMS.c.rollout == rollout_id,
            CLAIMS.c.make == make,
            CLAIMS.c.state == ClaimState.HEALTHY.value,
            CLAIMS.c.ring.in_(rings),
            CLAIMS.c.cohort.is_(True),
        )
        .group_by(CLAIMS.c.site)
        .order_by(func.min(CLAIMS.c.resolved_at), CLAIMS.c.site)
        .limit(limit)
        .subquery()
    )
    return select(found.c.number, found.c.site, found.c.machines)
