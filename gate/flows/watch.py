"""Every machine that was healthy is watched for ``watch``: what breaks at a later boot is seen as well.

- Each opening day is decided when its deadline has passed, also where the day is shorter than that and it ends after
  closing or on the next one: not heard of since the day's first boot, it has *relapsed*, a failure that counts for the
  brakes in all rings. It keeps its site's slot meanwhile. What did not count (our gaps, changed hours) moves the look.
- Heard of again, it is recovered and stays a failure, as one that was silent. One that reports that it failed, or is
  unhealthy, is recovered once it has gone back, and by nothing else.
- Where nobody of its site is heard of, the site is dark: set aside for ``site_dark_grace``, then one of its machines
  has relapsed, and no further one for as long as nobody of it is heard. When it is heard again, clocks begin anew.
- Each opening day that is decided so is a trial, of the number after the last one. An ``always_on`` site has a day
  every twenty hours; what is looked at in between is no trial of its own.
- A machine that has installed another release of the source, and has yet to show how it boots, is missing under that
  one.
- The watch ends with the last day that begins within its time, with a newer release on the machine, or with the
  machine's revocation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from gate.core import calendar
from gate.core.model import Claim, ClaimState, Machine, MachineStatus, Site
from gate.flows import in_place, when
from gate.ports import Gate, Tx

LOOK_AGAIN = timedelta(minutes=10)
A_DAY = timedelta(hours=20)


def begun(tx: Tx, gate: Gate, claim: Claim, machine: Machine, now: datetime) -> Claim:
    """The claim of a machine that is healthy since now, watched from now on."""
    rollout = tx.rollout(claim.rollout)
    assert rollout is not None
    until = now + gate.policy(rollout.policy_version).defaults.watch
    return _renewed(tx, gate, replace(claim, watch_until=until), machine, now)


def look(tx: Tx, gate: Gate, now: datetime) -> Iterator[tuple[str, str]]:
    """Looks at all whose time has come; yields rollout and make of each that has relapsed."""
    for claim in tx.watched(now):
        after = _looked_at(tx, gate, claim, now)
        if not tx.move(claim, replace(after, version=claim.version + 1)):
            continue
        if after.state is not claim.state:
            detail = {"claim": claim.id, "machine": claim.machine, "site": claim.site, "ring": claim.ring}
            tx.append("claim_relapsed", "gate", claim.rollout, now, detail)
            yield claim.rollout, claim.make


def _looked_at(tx: Tx, gate: Gate, claim: Claim, now: datetime) -> Claim:
    machine = tx.machine(claim.machine)
    if machine is None or machine.status is not MachineStatus.ACTIVE or claim.watch_until is None:
        return replace(claim, watch_at=None)
    if claim.state is ClaimState.RELAPSED:
        heard = machine.last_seen_at is not None and machine.last_seen_at > (claim.resolved_at or now)
        return replace(claim, recovered=True, watch_at=None) if heard else replace(claim, watch_at=now + LOOK_AGAIN)
    if _has_another_in_hand(tx, claim):
        again = now + LOOK_AGAIN
        return replace(claim, watch_at=again if again <= claim.watch_until else None)
    session = tx.session(machine.id)
    moved_on = session is not None and in_place.of(tx, session, machine.id, claim.source) != claim.release
    if claim.state is not ClaimState.HEALTHY or moved_on:
        return replace(claim, watch_at=None)
    return _judged(tx, gate, claim, machine, now)


def _has_another_in_hand(tx: Tx, claim: Claim) -> bool:
    """Has the machine installed another release of the source that has yet to show how it boots?"""
    live = tx.live_claim(claim.machine)
    if live is None or live.source != claim.source or live.rollout == claim.rollout:
        return False
    return live.state is not ClaimState.GRANTED


def _judged(tx: Tx, gate: Gate, claim: Claim, machine: Machine, now: datetime) -> Claim:
    """The claim once the day that it waits for is decided, or later looked at."""
    since = _day_began(tx, gate, claim, now)
    if since is None:
        return _renewed(tx, gate, claim, machine, now)
    day = _a_day_more(tx, claim, since)
    if _heard(machine, since):
        return _renewed(tx, gate, day, machine, now)
    due = when.due(gate, tx, claim, machine, claim.trial_at or since, now)
    if due > now:
        return replace(claim, watch_at=due)
    word = tx.last_word(claim.site)[1] or claim.granted_at
    if claim.dark_at is not None and word > claim.dark_at:
        return replace(claim, dark_at=None, watch_at=when.due(gate, tx, claim, machine, now, now))
    if word < since:
        patience = _grace_ends(tx, gate, claim, since)
        if now < patience:
            return replace(claim, dark_at=word, watch_at=patience)
        if tx.lost_at_site(claim.rollout, claim.site, word):
            return _renewed(tx, gate, claim, machine, now)
    return replace(day, state=ClaimState.RELAPSED, resolved_at=now, watch_at=now + LOOK_AGAIN)


def _a_day_more(tx: Tx, claim: Claim, since: datetime) -> Claim:
    """The claim once the day that began then is decided, whichever way."""
    site = tx.site(claim.site)
    began = since if _always(site) else since + when.BOOT_LEAD
    last = claim.tried_at or claim.resolved_at or claim.granted_at
    counts = not _always(site) or began - last >= A_DAY
    return replace(claim, days=claim.days + 1, tried_at=began) if counts else claim


def _always(site: Site | None) -> bool:
    return site is None or site.always_on


def _heard(machine: Machine, since: datetime) -> bool:
    return machine.last_seen_at is not None and machine.last_seen_at >= since


def _renewed(tx: Tx, gate: Gate, claim: Claim, machine: Machine, now: datetime) -> Claim:
    """The next look: at the deadline of the next opening day, where that begins within the watch."""
    assert claim.watch_until is not None
    begins, due = when.next_day(gate, tx, claim, machine, now)
    return replace(claim, dark_at=None, trial_at=begins, watch_at=due if begins < claim.watch_until else None)


def _day_began(tx: Tx, gate: Gate, claim: Claim, now: datetime) -> datetime | None:
    """When this site's machines should have been up on the day that the claim waits for, None where that is yet to
    come; an ``always_on`` site's: a deadline ago."""
    site = tx.site(claim.site)
    if site is None or site.always_on:
        rollout = tx.rollout(claim.rollout)
        assert rollout is not None
        policy = gate.policy(rollout.policy_version)
        return now - policy.settings_for(claim.ring, claim.source).deadline.amount
    waits = claim.trial_at or now
    day = calendar.opening_day(when.opened(gate, site, waits - when.NEAR, now + when.NEAR), waits)
    return None if day is None or day.start_at > now else day.start_at - when.BOOT_LEAD


def _grace_ends(tx: Tx, gate: Gate, claim: Claim, since: datetime) -> datetime:
    rollout = tx.rollout(claim.rollout)
    assert rollout is not None
    policy = gate.policy(rollout.policy_version)
    grace = policy.settings_for(claim.ring, claim.source).site_dark_grace
    site = tx.site(claim.site)
    intervals = when.opened(gate, site, since, since + when.HORIZON)
    return calendar.add(intervals, since, grace, policy.zone) or since + when.HORIZON
