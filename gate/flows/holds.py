"""Holds by selector: people keep machines out that meet a pick, of one source or of all, with an owner and an end.

- One person holds, at once. Lifting a hold before its end takes two; one whose end has come holds nobody any more.
- It refuses new claims only: what is granted goes on, and a recall is never held.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from gate.core import makes
from gate.core.errors import Conflict, Malformed, NotFound
from gate.core.lists import HoldList
from gate.core.model import Hold, Machine, Site
from gate.flows.agreement import agreed, reason_given
from gate.ports import Gate, Proposal, Tx

MOST = timedelta(days=366)
LOOKED_AT = 1000  # holds that a page looks at for those of a place
MACHINES = 200  # of a site, as on its page
PAIR = re.compile(r"([a-z][a-z0-9_]{0,40})=([^=,\x00-\x1f]{1,128})\Z")


def place(
    tx: Tx, gate: Gate, pick: str, source: str, owner: str, until: datetime, because: str, by: str, now: datetime
) -> Hold:
    """A new hold; ``pick`` is ``role=till,os_build=19045``, a key that is there twice means any of its values.

    Raises:
        Malformed: no reason, pick, owner, or end within a year. NotFound: no such source in the active policy.
    """
    reason_given(because)
    if not owner.strip() or len(owner) > 100:
        raise Malformed("bad_field", "a hold needs an owner")
    if not now < until <= now + MOST:
        raise Malformed("bad_field", "a hold ends in the future, within a year")
    active = tx.active_policy()
    if source and (active is None or gate.policy(active.commit).source(source) is None):
        raise NotFound(f"there is no source {source}")
    picked: dict[str, tuple[str, ...]] = {}
    for pair in pick.split(","):
        found = PAIR.match(pair.strip())
        if found is None:
            raise Malformed("bad_field", "a pick is role=till,os_build=19045: keys are site, label or a fact")
        picked[found[1]] = (*picked.get(found[1], ()), found[2].strip())
    hold_id = "h-" + hashlib.sha256(f"{pick}/{source}/{by}/{now.isoformat()}".encode()).hexdigest()[:12]
    hold = Hold(hold_id, source, picked, owner, until, because, by, now)
    tx.add_hold(hold)
    detail = {"pick": pick, "source": source, "owner": owner, "until": until.isoformat()}
    tx.append("hold_placed", by, hold.id, now, detail, because)
    return hold


def lift(tx: Tx, hold_id: str, by: str, because: str, now: datetime) -> Hold | Proposal:
    """Lifts a hold: by one person once its end has come, by two before.

    Raises:
        NotFound, Malformed. Conflict: lifted already, needs_people (the proposer asks again).
    """
    reason_given(because)
    hold = tx.hold(hold_id)
    if hold is None:
        raise NotFound(f"there is no hold {hold_id}")
    if hold.lifted_at is not None:
        raise Conflict("lifted", "this hold has been lifted already")
    if now < hold.until:
        exact = hashlib.sha256(f"lift_hold/{hold.id}/{hold.until.isoformat()}".encode()).hexdigest()
        proposal = agreed(tx, "lift_hold", hold.id, exact, because, by, now)
        if proposal is not None:
            return proposal
    if not tx.lift_hold(hold.id, now):
        raise Conflict("lifted", "this hold has been lifted a moment ago")
    tx.append("hold_lifted", by, hold.id, now, {}, because)
    return hold


def over(tx: Tx, machine: Machine, source: str, now: datetime) -> Hold | None:
    """The hold that keeps this machine from this source now; of several the one that ends last. A label of its site
    counts as its own, as it does for rings; the site is read only where a hold asks for a label."""
    asked = [hold for hold in tx.holds(now) if hold.source in ("", source)]
    labels = machine.labels
    if any("label" in hold.pick for hold in asked):
        site = tx.site(machine.site)
        labels |= site.labels if site else frozenset()
    found = [hold for hold in asked if makes.meets(hold.pick, machine.site, labels, machine.facts)]
    return max(found, key=lambda hold: hold.until, default=None)


def at_site(tx: Tx, site: Site, machines: Sequence[Machine], now: datetime) -> list[tuple[Hold, int]]:
    """The holds that keep some of these machines of a site out, and how many."""
    counted = [
        (hold, sum(makes.meets(hold.pick, site.id, one.labels | site.labels, one.facts) for one in machines))
        for hold in tx.holds(now)
    ]
    return [(hold, count) for hold, count in counted if count]


def listed(tx: Tx, asked: HoldList, limit: int, now: datetime) -> tuple[list[Hold], Hold | None]:
    """A page of the holds that are asked for, and the one behind which the next begins; None: there are no more. A
    place is kept out by those whose pick it meets as it is today: a page has fewer where they are rare."""
    if not asked.place:
        found = tx.list_holds(asked, now, limit + 1)
        return found[:limit], found[limit - 1] if len(found) > limit else None
    keeps_out, found = _keeps_out(tx, asked.place), []
    looked_at = tx.list_holds(asked, now, LOOKED_AT + 1)
    for number, hold in enumerate(looked_at):
        if len(found) == limit or number == LOOKED_AT:
            return found, looked_at[number - 1]
        if keeps_out(hold):
            found.append(hold)
    return found, None


def _keeps_out(tx: Tx, place: str) -> Callable[[Hold], bool]:
    """Does a hold meet this machine, or some machine of this site? The ids of neither meet nothing."""
    machine = tx.machine(place)
    found = [machine] if machine else tx.machines(site=place, status="active", limit=MACHINES)
    site = tx.site(machine.site if machine else place)
    labels = site.labels if site else frozenset()
    known = [(one.site, one.labels | labels, one.facts) for one in found]
    return lambda hold: any(makes.meets(hold.pick, *one) for one in known)


def words(hold: Hold) -> str:
    """Its pick as a person writes it."""
    return ",".join(f"{key}={value}" for key, values in hold.pick.items() for value in values)
