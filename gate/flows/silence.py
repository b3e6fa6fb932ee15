"""What becomes of a claim whose stored deadline has passed: it is silent, or its clock stood meanwhile.

- The deadline is counted anew by the calendar as it is now: a site that has changed its hours, closing days, our own
  gaps and a machine that said it goes down move it. It moves later only; one that a change makes earlier stays.
- A site is dark when at least two of its machines have ever been heard and none of them for three check-ins of
  expected-on time. Its claims are pending until ``site_dark_grace`` is over; then one of them is silent, and the others
  stay pending for as long as the site is dark: the site counts once.
- When a dark site is heard again, the clocks of its pending claims begin anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gate.core import calendar, site_time
from gate.core.model import Claim, ClaimState, Site
from gate.core.policy import Policy, RingSettings
from gate.core.spans import dated
from gate.flows import when
from gate.ports import Gate, Tx

MISSED = 3
MACHINES = 2


@dataclass(frozen=True, slots=True)
class Dark:
    """A whole site that is not heard: since when, and until when that is no failure."""

    since: datetime
    grace_until: datetime


def judge(tx: Tx, gate: Gate, claim: Claim, now: datetime) -> Claim:
    """The claim with a later deadline, or silent."""
    rollout = tx.rollout(claim.rollout)
    assert rollout is not None
    policy = gate.policy(rollout.policy_version)
    settings = policy.settings_for(claim.ring, claim.source)
    site = tx.site(claim.site)
    heard = tx.last_word(claim.site)[1]
    if claim.dark_at is not None and heard is not None and heard > claim.dark_at:
        return when.clocked(gate, tx, claim, tx.machine(claim.machine), site, now)
    again = when.counted_again(gate, tx, policy, claim, site, now)
    if again.deadline_at > now:
        return again
    dark = dark_site(tx, gate, policy, settings, site, now)
    if dark is not None and (now < dark.grace_until or tx.silent_at_site(claim.rollout, claim.site)):
        return replace(claim, dark_at=dark.since, deadline_at=now + policy.checkin)
    return dated(claim, replace(claim, state=ClaimState.SILENT, resolved_at=now), now)


def dark_site(
    tx: Tx, gate: Gate, policy: Policy, settings: RingSettings, site: Site | None, now: datetime
) -> Dark | None:
    """Whether the whole site is dark."""
    if site is None:
        return None
    machines, heard = tx.last_word(site.id)
    if machines < MACHINES or heard is None or now - heard < MISSED * policy.checkin:
        return None
    on = site_time.without(when.opened(gate, site, heard, now + when.HORIZON), when.gaps(tx, policy, heard))
    if calendar.open_time(on, heard, now) < MISSED * policy.checkin:
        return None
    until = calendar.add(on, heard, settings.site_dark_grace, policy.zone)
    return Dark(heard, until or now + when.HORIZON)


def count_silent(
    gate: Gate, tx: Tx, policy: Policy, source: str, rollout: str, brake: tuple[list[str], timedelta], now: datetime
) -> int:
    """Machines with a claim in flight and no sign of life for a time of expected-on time, and those already silent.

    ``brake``: its rings and that time. Counted from the grant or the last word, whichever is later; a site that is dark
    within its grace counts nothing, and once after it."""
    rings, within = brake
    count, dark = 0, dict[str, Dark | None]()
    for claim in tx.quiet_since(rollout, rings, now - within, 200):
        machine, site = tx.machine(claim.machine), tx.site(claim.site)
        last = max(claim.granted_at, machine.last_seen_at or claim.granted_at) if machine else claim.granted_at
        hours = when.expected_on(when.opened(gate, site, last, now), site, when.habit_of(machine), policy)
        on = site_time.without(hours, when.not_counted(gate, tx, policy, claim, machine, site, last))
        if calendar.open_time(on, last, now) < within:
            continue
        if claim.site not in dark:
            settings = policy.settings_for(claim.ring, source)
            dark[claim.site] = found = dark_site(tx, gate, policy, settings, site, now)
            count += found is None or now >= found.grace_until
        else:
            count += dark[claim.site] is None
    return count + tx.count_bad(rollout, rings, (ClaimState.SILENT,), now - within)
