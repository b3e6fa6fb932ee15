"""What becomes of a claim whose stored deadline has passed: it is silent, or its clock stood meanwhile.

- The deadline is counted anew by the calendar as it is now: a site that has changed its hours, closing days, our own
  gaps and a machine that said it goes down move it. It moves later only; one that a change makes earlier stays.
- A site is dark when at least two of its machines have ever been heard and none of them for three check-ins of
  expected-on time. Its claims are pending until ``site_dark_grace`` is over; then one of them is silent, and the others
  stay pending for as long as the site is dark: the site counts once.
- When a dark site is heard again, the clocks of its pending claims begin anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gate.core import calendar, site_time
from gate.core.calendar import Interval
from gate.core.model import Claim, ClaimState, Site
from gate.core.policy import Policy, RingSettings
from gate.core.spans import dated
from gate.flows import when
from gate.ports import Gate, Quiet, Tx

MISSED = 3
MACHINES = 2
PAGE = 500  # quiet machines that are read at once, those first that were heard longest ago

Asked = tuple[Sequence[str], timedelta, int]
"""What a brake on silence asks: its rings, for how long, and how many are enough for it."""


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
    if dark is not None and (now < dark.grace_until or tx.lost_at_site(claim.rollout, claim.site, dark.since)):
        return replace(claim, dark_at=dark.since, deadline_at=now + policy.checkin)
    return dated(claim, replace(claim, state=ClaimState.SILENT, resolved_at=now))


def dark_site(
    tx: Tx, gate: Gate, policy: Policy, settings: RingSettings, site: Site | None, now: datetime
) -> Dark | None:
    """Whether the whole site is dark."""
    if site is None:
        return None
    machines, heard = tx.last_word(site.id)
    gaps = when.gaps(tx, policy, heard) if heard is not None else []
    return _dark(gate, policy, settings, site, (machines, heard), gaps, now)


def _dark(
    gate: Gate,
    policy: Policy,
    settings: RingSettings,
    site: Site,
    word: tuple[int, datetime | None],
    gaps: Sequence[Interval],
    now: datetime,
) -> Dark | None:
    """``word``: how many of its machines were ever heard, and when the last one was; ``gaps``: our own since then."""
    machines, heard = word
    if machines < MACHINES or heard is None or now - heard < MISSED * policy.checkin:
        return None
    on = site_time.without(when.opened(gate, site, heard, now + when.HORIZON), gaps)
    if calendar.open_time(on, heard, now) < MISSED * policy.checkin:
        return None
    until = calendar.add(on, heard, settings.site_dark_grace, policy.zone)
    return Dark(heard, until or now + when.HORIZON)


def count_silent(
    gate: Gate, tx: Tx, policy: Policy, source: str, rollout: str, brakes: Sequence[Asked], now: datetime
) -> list[int]:
    """For each brake, machines with a claim in flight and no sign of life for its time of expected-on time.

    Counted from the grant or the last word, whichever is later; a site that is dark within its grace counts nothing,
    and once after it. All of them in two statements a page; read until it is enough for each, or there are no more."""
    rings = sorted({ring for asked, _, _ in brakes for ring in asked})
    shortest = min((within for _, within, _ in brakes), default=timedelta())
    missed: list[tuple[Quiet, timedelta]] = []
    dark: dict[str, Dark | None] = {}
    found, last = [0 for _ in brakes], None
    while any(count < enough for count, (_, _, enough) in zip(found, brakes, strict=True)):
        quiet = tx.quiet_since(rollout, rings, now - shortest, PAGE, last)
        if quiet:
            gaps = when.gaps(tx, policy, min(min(_last(one), one.word[1] or now) for one in quiet))
            for one in quiet:
                missed.append((one, _missed(gate, policy, one, gaps, now)))
                name, settings = one.claim.site, policy.settings_for(one.claim.ring, source)
                if name not in dark:
                    dark[name] = _dark(gate, policy, settings, one.site, one.word, gaps, now) if one.site else None
            found = [
                _silent([one for one, missing in missed if missing >= within and one.claim.ring in asked], dark, now)
                for asked, within, _ in brakes
            ]
        if len(quiet) < PAGE:
            break
        last = quiet[-1]
    return found


def _silent(lost: Sequence[Quiet], dark: Mapping[str, Dark | None], now: datetime) -> int:
    count, seen = 0, set[str]()
    for one in lost:
        found = dark[one.claim.site]
        if found is None:
            count += 1
        elif one.claim.site not in seen:
            count += now >= found.grace_until
        seen.add(one.claim.site)
    return count


def _last(quiet: Quiet) -> datetime:
    return max(quiet.claim.granted_at, quiet.machine.last_seen_at or quiet.claim.granted_at)


def _missed(gate: Gate, policy: Policy, quiet: Quiet, gaps: Sequence[Interval], now: datetime) -> timedelta:
    """For how much expected-on time a machine has not been heard."""
    machine, site, last = quiet.machine, quiet.site, _last(quiet)
    hours = when.expected_on(when.around(gate, site, last, now), site, when.habit_of(machine), policy)
    gone = [*gaps, *when.shut_down(gate, quiet.claim, machine, site)]
    return calendar.open_time(site_time.without(hours, gone), last, now)
